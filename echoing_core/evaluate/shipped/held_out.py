"""Held-out figures of a model: simulated test patients, and PTB-XL fold 9 where it is there.

Every figure stands beside that of an encoder with random weights, and carries a patient
bootstrap interval. Nothing is tuned on the test data: the decision is margin > 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.config import from_mapping
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.simulated import CohortConfig, build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.shipped.gallery import GALLERY_SEED, gallery_set
from echoing_core.metrics.bootstrap import patient_bootstrap
from echoing_core.metrics.results import Experiment, Result, results_table, to_records
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    EXACT_PAIR,
    SAME_TEXT,
    auroc,
    balanced_accuracy,
    macro_auroc,
    recall_at_k,
    text_to_ecg_ranks,
)
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder, build_ecg_encoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import GaussianEmbedding
from echoing_core.training.demo import PTBXL_TEST_FOLDS
from echoing_core.zeroshot.prompts import PromptSet

logger = logging.getLogger(__name__)

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
GALLERY_N = 1000

# Fixed, so that the control is the same encoder in every evaluation.
RANDOM_WEIGHTS, RANDOM_SEED = "random weights", 0

SIMULATED = "simulated test patients"
PTBXL = "PTB-XL fold 9 (real)"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A test set and how it is called in tables.

    Attributes
    ----------
    name : str
        `SIMULATED` or `PTBXL`.
    studies : StudySet
    simulated : bool
    """

    name: str
    studies: StudySet
    simulated: bool

    def labels(self, label: str) -> npt.NDArray[np.float64] | None:
        """True answers.

        Parameters
        ----------
        label : str
            Without ``label_``.

        Returns
        -------
        ndarray, shape (n,), or None
            0 and 1, NaN where unknown; None where the set does not have this label.
        """
        column = f"label_{label}"
        if column not in self.studies.table.columns:
            return None
        return np.asarray(self.studies.table[column].astype(float))

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        return np.asarray(self.studies.table["patient_id"].astype(str))


def held_out_sets(
    checkpoint: Checkpoint, ptbxl: Path | None, *, progress: Progress = SILENT
) -> list[HeldOut]:
    """Give the test patients of the cohort that the model was trained on, and PTB-XL fold 9.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its training record names the cohort, which is simulated again.
    ptbxl : path or None
        Folder of PTB-XL; without it, simulated patients alone.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    list of HeldOut
    """
    # Simulation is a function of the seed: no test set needs to be stored.
    cohort = from_mapping(CohortConfig, checkpoint.training["cohort"])
    simulated = build_simulated(
        cohort.n_patients,
        cohort.seed,
        n_workers=2,
        splits=("test",),
        filter_padding=checkpoint.filter_padding,
        progress=progress,
    )
    sets = [HeldOut(SIMULATED, simulated, simulated=True)]
    if ptbxl is not None:
        real = load_ptbxl(
            ptbxl,
            folds=PTBXL_TEST_FOLDS,
            filter_padding=checkpoint.filter_padding,
        )
        sets.append(HeldOut(PTBXL, real, simulated=False))
    return sets


def evaluate_held_out(
    checkpoint: Checkpoint,
    sets: Sequence[HeldOut],
    prompts: Sequence[PromptSet],
    *,
    further: Sequence[Result] = (),
    n_resamples: int = 1000,
) -> Experiment:
    """Measure zero-shot answers and retrieval of a model and of random weights.

    Parameters
    ----------
    checkpoint : Checkpoint
    sets : sequence of HeldOut
        As `held_out_sets` gives them.
    prompts : sequence of PromptSet
        Those are asked whose label a set has.
    further : sequence of Result
        To stand below them in the same table.
    n_resamples : int
        Of the patients.

    Returns
    -------
    Experiment
        One result per set, task, metric and encoder; retrieval is in a simulated gallery.
    """
    results: list[Result] = []
    # Made once: both encoders are searched in the same gallery.
    gallery = gallery_set(GALLERY_N, GALLERY_SEED)
    for encoder_name, encoder in encoders_of(checkpoint).items():
        for held_out in sets:
            embedding = encode_batch(
                encoder, checkpoint.scaler, held_out.studies.signal_mv, held_out.studies.valid
            )
            results += _zero_shot(
                checkpoint, encoder_name, held_out, embedding, prompts, n_resamples
            )
        results += _retrieval(checkpoint, encoder_name, encoder, gallery, n_resamples)
    results += further
    return Experiment(
        "held_out",
        "",
        "",
        tuple(results),
        (results_table(results),),
        content={"results": to_records(results)},
    )


def random_encoder(checkpoint: Checkpoint, seed: int = RANDOM_SEED) -> EcgEncoder:
    """Build the model's ECG encoder with random weights: what the prompts find without training.

    Parameters
    ----------
    checkpoint : Checkpoint
        Gives the architecture.
    seed : int
        Of torch's generator, which is as it was afterwards.

    Returns
    -------
    EcgEncoder
        In evaluation mode.
    """
    # Whoever trains in this process keeps their own stream of random numbers.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = build_ecg_encoder(checkpoint.encoder.config)
    encoder.eval()
    return encoder


def encoders_of(checkpoint: Checkpoint) -> dict[str, EcgEncoder]:
    """Return the model's ECG encoder and that with random weights, as tables call them.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    dict of name to EcgEncoder
        The model's own first, which is the order of every table.
    """
    return {checkpoint.name: checkpoint.encoder.ecg, RANDOM_WEIGHTS: random_encoder(checkpoint)}


def _zero_shot(
    checkpoint: Checkpoint,
    encoder_name: str,
    held_out: HeldOut,
    embedding: GaussianEmbedding,
    prompts: Sequence[PromptSet],
    n_resamples: int,
) -> list[Result]:
    results = []
    margins: dict[str, npt.NDArray[np.floating]] = {}
    truths: dict[str, npt.NDArray[np.float64]] = {}
    for prompt_set in prompts:
        label = prompt_set.label
        truth = held_out.labels(label) if label else None
        if truth is None or not label:
            continue
        # Random weights are asked through the trained text encoder: the ECG's side is compared.
        margin, _ = question_margins(checkpoint, embedding, prompt_set)
        margins[label], truths[label] = margin, truth
        # The macro figure below still takes the margins of a class that is left out here.
        known = np.isfinite(truth)
        if len(np.unique(truth[known])) < 2:
            logger.warning("%s has only one class of %s", held_out.name, label)
            continue
        # AUROC takes the margin itself, balanced accuracy the decision at margin > 0.
        for metric, function, predicted in (
            ("AUROC", auroc, margin),
            ("balanced accuracy", balanced_accuracy, margin > 0),
        ):
            estimate = patient_bootstrap(
                function,
                (truth[known].astype(bool), predicted[known]),
                held_out.patients[known],
                n_resamples=n_resamples,
            )
            results.append(
                Result(
                    held_out.name,
                    prompt_set.question,
                    metric,
                    encoder_name,
                    estimate,
                    held_out.simulated,
                )
            )
    if all(name in margins for name in SUPERCLASSES):
        all_truths = np.stack([truths[name] for name in SUPERCLASSES], axis=1)
        all_margins = np.stack([margins[name] for name in SUPERCLASSES], axis=1)
        # A row counts if all five labels are known, so that the classes are measured on one set.
        complete = np.flatnonzero(np.isfinite(all_truths).all(axis=1))
        estimate = patient_bootstrap(
            macro_auroc,
            (all_truths[complete].astype(bool), all_margins[complete]),
            held_out.patients[complete],
            n_resamples=n_resamples,
        )
        results.append(
            Result(
                held_out.name,
                "five superclasses",
                "macro AUROC",
                encoder_name,
                estimate,
                held_out.simulated,
            )
        )
    return results


def _retrieval(
    checkpoint: Checkpoint,
    encoder_name: str,
    encoder: EcgEncoder,
    gallery: StudySet,
    n_resamples: int,
) -> list[Result]:
    # Every report is a query for its own ECG.
    texts = [str(report) for report in gallery.table["report"]]
    patients = np.asarray(gallery.table["patient_id"].astype(str))
    ecg = encode_batch(encoder, checkpoint.scaler, gallery.signal_mv, gallery.valid)
    query = encode_texts(checkpoint, texts)
    results = []
    for order in (CSD, COSINE):
        for hit in (SAME_TEXT, EXACT_PAIR):
            ranks = text_to_ecg_ranks(query, ecg, texts, order=order, hit=hit)
            for k in (1, 10):
                estimate = patient_bootstrap(
                    _recall(k), (ranks,), patients, n_resamples=n_resamples
                )
                results.append(
                    Result(
                        "simulated gallery",
                        f"text to ECG by {order}",
                        f"R@{k} ({hit})",
                        encoder_name,
                        estimate,
                        True,
                        gallery_size=len(texts),
                    )
                )
    return results


def _recall(k: int) -> Callable[[npt.NDArray[np.generic]], float]:
    # A function, not a lambda in the loop, so that each k is bound when it is made.
    return lambda ranks: recall_at_k(ranks, k)
