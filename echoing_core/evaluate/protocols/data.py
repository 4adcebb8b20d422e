"""What the protocols run on: the splits of one data set, its labels, and embeddings of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from echoing_core.config import from_mapping
from echoing_core.datasets.prepared import check_filter_padding, load_prepared, read_card
from echoing_core.datasets.simulated import SOURCE, CohortConfig, build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, to_tensors
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.reports.understanding import AskedFinding, Understood, prompt_sets_of
from echoing_core.reports.vocabulary import WORDING
from echoing_core.signals.scaling import LeadScaler
from echoing_core.zeroshot.prompts import PromptSet, prompt_set_from_text, with_either

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

DEFAULT_LABELS = ("lvef_lt40", "slvh", "dlv", "slvh_or_dlv", "af", "lbbb")

N_TRAIN_PATIENTS = 2500
"""Of a model's own simulated cohort, the first patients train probes and heads."""


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """The splits of one data set.

    Attributes
    ----------
    name : str
        As tables call it.
    source : str
        The ``source`` of its rows: ``"simulated"``, ``"mimic-iv"``, ``"music"``.
    simulated : bool
        True where any of its ECGs was simulated.
    splits : mapping of str to StudySet
    """

    name: str
    source: str
    simulated: bool
    splits: Mapping[str, StudySet]

    def split(self, name: str) -> StudySet:
        """One split.

        Parameters
        ----------
        name : str
            ``"train"``, ``"valid"`` or ``"test"``.

        Returns
        -------
        StudySet

        Raises
        ------
        DataSetError
            The set does not have it.
        """
        if name not in self.splits:
            raise DataSetError(f"{self.name} has no {name} split, which this protocol needs.")
        return self.splits[name]


def open_data(
    checkpoint: Checkpoint,
    folder: Path | None,
    splits: Collection[str],
    *,
    progress: Progress = SILENT,
) -> EvaluationData:
    """A prepared folder, or the simulated cohort that the model was trained on.

    Parameters
    ----------
    checkpoint : Checkpoint
        Names the simulated cohort.
    folder : path or None
        What `save_prepared` wrote. Without it the cohort named in the model's training record is
        simulated again: all its test patients, and of the other splits the first
        `N_TRAIN_PATIENTS` patients.
    splits : collection of str
        Which splits are needed. A prepared set may lack ``"valid"``.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    EvaluationData

    Raises
    ------
    DataSetError
        The folder is damaged, has no such split, or was filtered otherwise than the model reads.
    ConfigError
        No folder is given, and the model does not name a simulated cohort.
    """
    if folder is not None:
        check_filter_padding(folder, checkpoint.filter_padding)
        return _prepared(folder, splits)
    if "cohort" not in checkpoint.training:
        raise ConfigError(
            f"Model {checkpoint.name} does not name the simulated cohort it was trained on. Name "
            "a prepared folder with --data."
        )
    cohort = from_mapping(CohortConfig, checkpoint.training["cohort"])
    studies = {}
    for split in splits:
        # Test patients are all used; probes need no more than some of the others.
        n = cohort.n_patients if split == "test" else min(N_TRAIN_PATIENTS, cohort.n_patients)
        studies[split] = build_simulated(
            n,
            cohort.seed,
            splits=(split,),
            n_workers=2,
            filter_padding=checkpoint.filter_padding,
            progress=progress,
        )
    return EvaluationData("simulated patients", SOURCE, True, studies)


def _prepared(folder: Path, splits: Collection[str]) -> EvaluationData:
    card = read_card(folder)
    studies = {
        split: load_prepared(folder, splits=(split,))
        for split in splits
        # Small sets (MUSIC) have no valid patients; whoever needs some takes them from train.
        if split != "valid" or card["splits"]["valid"]["studies"]
    }
    # What was simulated says so in every table.
    name = f"{folder.name} (simulated)" if card["simulated"] else folder.name
    return EvaluationData(name, str(card["source"]), bool(card["simulated"]), studies)


def truth_of(studies: StudySet, label: str) -> Floats:
    """Read the true answers of a set.

    Parameters
    ----------
    studies : StudySet, n rows
    label : str
        Without ``label_``.

    Returns
    -------
    ndarray, shape (n,)
        0 and 1, NaN where unknown.

    Raises
    ------
    DataSetError
        The set does not have this label.
    """
    column = f"label_{label}"
    if column not in studies.table.columns:
        raise DataSetError(
            f"This study set has no label {label}. Choose another with --labels; it has: "
            f"{', '.join(label_names(studies)) or 'none'}."
        )
    return np.asarray(studies.table[column].astype(np.float64))


def label_names(studies: StudySet) -> tuple[str, ...]:
    """Labels of a set that are yes or no, without ``label_``.

    Parameters
    ----------
    studies : StudySet

    Returns
    -------
    tuple of str
    """
    table = studies.table
    return tuple(
        column.removeprefix("label_")
        for column in table.columns
        if column.startswith("label_")
        and table[column].dtype.kind in "bf"
        and table[column].dropna().astype(float).isin((0.0, 1.0)).all()
    )


def patients_of(studies: StudySet) -> npt.NDArray[np.str_]:
    """Name the patient of each row so that it is unique across sources.

    Parameters
    ----------
    studies : StudySet, n rows

    Returns
    -------
    ndarray of str, shape (n,)
    """
    table = studies.table
    return np.asarray(table["source"].astype(str) + "/" + table["patient_id"].astype(str))


def reports_of(gallery: StudySet) -> list[str]:
    """Read the reports of a set, in order.

    Parameters
    ----------
    gallery : StudySet

    Returns
    -------
    list of str

    Raises
    ------
    DataSetError
        A study has none.
    """
    texts = gallery.table["report"]
    missing = int((texts.isna() | (texts.astype(str).str.strip() == "")).sum())
    if missing:
        raise DataSetError(
            f"{missing} of {len(texts)} studies have no report, so they cannot be searched by it. "
            "Choose a set with reports."
        )
    return [str(text) for text in texts]


def patient_subset(
    patients: npt.NDArray[np.str_], positive: BoolArray, share: float, rng: np.random.Generator
) -> BoolArray:
    """Draw rows of a share of the patients, apart among those with and without the finding.

    Parameters
    ----------
    patients : ndarray of str, shape (n,)
    positive : ndarray of bool, shape (n,)
        A patient has the finding if any of the patient's ECGs has it.
    share : float, 0 < share <= 1
        Of the patients, rounded to whole ones, and at least one of each kind that there is.
    rng : Generator

    Returns
    -------
    ndarray of bool, shape (n,)
        All the rows of the patients drawn.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a share of the patients lies above 0 and up to 1, not at {share}")
    # code: shape (n,), the number of each row's patient among `names`.
    names, code = np.unique(patients, return_inverse=True)
    has_finding = np.bincount(code, weights=positive, minlength=len(names)) > 0
    drawn = np.zeros(len(names), dtype=bool)
    for stratum in (np.flatnonzero(has_finding), np.flatnonzero(~has_finding)):
        if stratum.size:
            n = max(1, round(share * stratum.size))
            # Permuted first, so that a larger share of one seed holds the smaller one.
            drawn[rng.permutation(stratum)[:n]] = True
    return np.asarray(drawn[code])


def questions_of(
    studies: StudySet, prompts: Sequence[PromptSet], labels: Sequence[str] | None = None
) -> tuple[PromptSet, ...]:
    """The questions whose true answers a set has, of both classes.

    Parameters
    ----------
    studies : StudySet
    prompts : sequence of PromptSet
        The question for either of severe hypertrophy and dilatation is made of those two where it
        is not among them.
    labels : sequence of str, optional
        Which; without, those of `DEFAULT_LABELS` that the set has.

    Returns
    -------
    tuple of PromptSet
        In the order of the labels.

    Raises
    ------
    ConfigError
        A label that was asked for is no text that can be asked.
    DataSetError
        The set lacks a label that was asked for, or has no label with both classes.
    """
    known = {item.label: item for item in prompts if item.label}
    # The article asks for either; no prompt file needs to hold the joined question.
    if {"slvh", "dlv"} <= set(known) and "slvh_or_dlv" not in known:
        known["slvh_or_dlv"] = with_either(prompts)[-1]
    questions = []
    for label in labels if labels is not None else DEFAULT_LABELS:
        if label not in known:
            if labels is None:
                # Defaults that the prompt files do not ask are no mistake of anyone.
                continue
            truth_of(studies, label)
            known[label] = replace(_own_question(label, prompts), label=label)
        if labels is None and f"label_{label}" not in studies.table.columns:
            continue
        truth = truth_of(studies, label)
        # Neither metric is defined for one class.
        if np.unique(truth[np.isfinite(truth)]).size < 2:
            logger.warning("%s: only one class of it among these ECGs; left out", label)
            continue
        questions.append(known[label])
    if not questions:
        raise DataSetError(
            "None of the labels is known with both answers among these ECGs. Take a larger set, or "
            f"name others with --labels; the set has: {', '.join(label_names(studies)) or 'none'}."
        )
    return tuple(questions)


def _own_question(label: str, prompts: Sequence[PromptSet]) -> PromptSet:
    """A label that no prompt file has: as the finding of its name is asked, or by its own words."""
    if label in WORDING:
        return prompt_sets_of(Understood(label, (AskedFinding(label),)), prompts)[0]
    return prompt_set_from_text(label.replace("_", " "))


def embed_ecgs(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    studies: StudySet,
    *,
    progress: Progress = SILENT,
) -> GaussianEmbedding:
    """Embed a whole set, window by window.

    Parameters
    ----------
    encoder : EcgEncoder
    scaler : LeadScaler
        The model's own, also for an encoder with random weights.
    studies : StudySet, n rows
    progress : Progress, optional
        Counts ECGs.

    Returns
    -------
    GaussianEmbedding, n rows
    """
    return encode_batch(encoder, scaler, studies.signal_mv, studies.valid, progress=progress)


def batch_of(scaler: LeadScaler, studies: StudySet, rows: Any) -> tuple[Tensor, Tensor]:
    """Rows as an encoder takes them.

    Parameters
    ----------
    scaler : LeadScaler
    studies : StudySet
    rows : slice or ndarray of int

    Returns
    -------
    scaled, mask : Tensor, shape (n_rows, 12, 1000)
    """
    return to_tensors(scaler, studies.signal_mv[rows], studies.valid[rows])
