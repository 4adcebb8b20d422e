"""Many classes at once, as MELP and MERL evaluate: one prompt a class, and linear probes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_texts
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols.answers import AUROC
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    patient_subset,
    patients_of,
    truth_of,
)
from echoing_core.evaluate.protocols.settings import ZERO_SHOT
from echoing_core.evaluate.protocols.tables import grid
from echoing_core.metrics.bootstrap import patient_bootstrap_over_seeds
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.results import Result, Table, estimate_record, with_interval
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

MACRO = "macro AUROC"
NO_SPLIT = "not split"


@dataclass(frozen=True, eq=False)
class ClassData:
    """The splits with the truth of each class.

    Attributes
    ----------
    data : EvaluationData
        ECGs without any of the classes are gone where that was asked for.
    classes : mapping of str to str
        Label to prompt; those that the test split knows with both answers.
    left_out : tuple of str
        Labels of the others.
    """

    data: EvaluationData
    classes: Mapping[str, str]
    left_out: tuple[str, ...]

    def truth(self, split: str) -> Floats:
        """True answers of a split.

        Parameters
        ----------
        split : str

        Returns
        -------
        ndarray, shape (n, n_classes)
            1, 0, or NaN where unknown.
        """
        studies = self.data.split(split)
        return np.column_stack([truth_of(studies, label) for label in self.classes])


def with_classes(
    data: EvaluationData, classes: Mapping[str, str], *, only_labelled: bool
) -> ClassData:
    """Keep the ECGs that count, and the classes that can be measured on them.

    Parameters
    ----------
    data : EvaluationData
    classes : mapping of str to str
        Label to prompt.
    only_labelled : bool
        Leave out ECGs that have none of the classes.

    Returns
    -------
    ClassData

    Raises
    ------
    DataSetError
        The set lacks a label, or no class has both answers.
    """
    # Training ECGs are cut by the same rule, or a probe would learn from a different population.
    splits = {
        name: _labelled(studies, classes) if only_labelled else studies
        for name, studies in data.splits.items()
    }
    counted = EvaluationData(data.name, data.source, data.simulated, splits)
    test = counted.split("test")
    # AUROC needs both answers; a class without one is named in the method, never averaged in.
    usable = {}
    for label, prompt in classes.items():
        truth = truth_of(test, label)
        if np.unique(truth[np.isfinite(truth)]).size == 2:
            usable[label] = prompt
    left_out = tuple(label for label in classes if label not in usable)
    if left_out:
        logger.warning("not both answers among the test ECGs, left out: %s", ", ".join(left_out))
    if not usable:
        raise DataSetError(
            "None of the classes is known with both answers in the test split. Take a larger set."
        )
    return ClassData(counted, usable, left_out)


def labelled_rows(studies: StudySet, classes: Mapping[str, str]) -> BoolArray:
    """Which ECGs have at least one of the classes.

    Parameters
    ----------
    studies : StudySet, n rows
    classes : mapping of str to str
        By label.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    DataSetError
        None has, or the set lacks a label.
    """
    truth = np.column_stack([truth_of(studies, label) for label in classes])
    # NaN > 0.5 is false: an ECG of which nothing is known has none of the classes.
    mask = np.asarray((truth > 0.5).any(axis=1), dtype=np.bool_)
    if not mask.any():
        raise DataSetError("No ECG of a split has any of the classes. Take a larger set.")
    return mask


def _labelled(studies: StudySet, classes: Mapping[str, str]) -> StudySet:
    mask = labelled_rows(studies, classes)
    # A cut copies; a memory-mapped set that is used whole stays on disk.
    return studies if bool(np.all(mask)) else studies.where(np.atleast_1d(mask))


def class_results(
    checkpoint: Checkpoint,
    name: str,
    known: ClassData,
    test_ecg: GaussianEmbedding,
    train_ecg: GaussianEmbedding,
    *,
    shares: Sequence[float],
    n_seeds: int,
    n_resamples: int,
    progress: Progress = SILENT,
) -> list[Result]:
    """AUROC of each class and their mean: by prompts, and by probes from shares of the training.

    By prompts the score is mu . p, p the embedding of the class's one prompt. A probe is a
    logistic regression for each class on frozen mu. A share below 1 is drawn by patient,
    ``n_seeds`` times, the same for all classes and not stratified; a class of which the draw has
    one answer only scores every ECG alike (AUROC 50 %).

    Parameters
    ----------
    checkpoint : Checkpoint
        Embeds the prompts, if it reads texts.
    name : str
        How tables call the encoder that made the embeddings.
    known : ClassData
    test_ecg, train_ecg : GaussianEmbedding
        The splits, by one encoder.
    shares : sequence of float
        Of the training patients, 0 < share <= 1.
    n_seeds, n_resamples : int
    progress : Progress, optional
        Counts probes.

    Returns
    -------
    list of Result
        ``label`` is the class, and empty for the mean over classes.
    """
    scored: dict[str, list[Floats]] = {}
    if checkpoint.has_text:
        # mu is of unit norm on both sides: the product is the cosine. Shape (n_test, n_classes).
        text = encode_texts(checkpoint, tuple(known.classes.values())).mu.astype(np.float64)
        scored[ZERO_SHOT] = [test_ecg.mu.astype(np.float64) @ text.T]
    truth = known.truth("train")
    people = patients_of(known.data.split("train"))
    jobs = [(share, seed) for share in shares for seed in range(n_seeds if share < 1.0 else 1)]
    for done, (share, seed) in enumerate(jobs):
        progress(done, len(jobs))
        # Many labels at once cannot be stratified; every class sees the same patients.
        nobody = np.zeros(len(people), dtype=bool)
        rows = patient_subset(people, nobody, share, np.random.default_rng(seed))
        scored.setdefault(f"{share:.0%} probe".replace("%", " %"), []).append(
            class_probe_scores(train_ecg.mu[rows], truth[rows], test_ecg)
        )
    progress(len(jobs), len(jobs))
    results: list[Result] = []
    for protocol, scores in scored.items():
        results += _results(known, name, protocol, scores, n_resamples)
    return results


def class_probe_scores(
    mu: npt.NDArray[np.float32], truth: Floats, test_ecg: GaussianEmbedding
) -> Floats:
    """Logits of one logistic regression a class, each on the ECGs whose answer is known.

    Parameters
    ----------
    mu : ndarray, shape (n, dim)
        Of training ECGs.
    truth : ndarray, shape (n, n_classes)
        1, 0, or NaN where unknown.
    test_ecg : GaussianEmbedding, n_test rows

    Returns
    -------
    ndarray, shape (n_test, n_classes)
        All alike for a class of which the training ECGs have one answer only.
    """
    columns = []
    for answers in truth.T:
        rows = np.isfinite(answers)
        yes = answers[rows] > 0.5
        if yes.size and yes.any() and not yes.all():
            columns.append(LinearProbe.fit(mu[rows], yes).logits(test_ecg)[0])
        else:
            # Nothing to learn from: all alike, which is an AUROC of one half.
            columns.append(np.zeros(len(test_ecg)))
    return np.column_stack(columns)


def _results(
    known: ClassData, name: str, protocol: str, scores: Sequence[Floats], n_resamples: int
) -> list[Result]:
    test = known.data.split("test")
    truth = known.truth("test")
    labels = tuple(known.classes)

    def measured(truth: Floats, score: Floats) -> dict[str, float]:
        by_class = {}
        for i, label in enumerate(labels):
            rows = np.isfinite(truth[:, i])
            # The empty label below is the mean over classes; no class is called so.
            by_class[label] = auroc(truth[rows, i] > 0.5, score[rows, i])
        # A resample may lack a rare class; the mean is then that of the others.
        defined = [value for value in by_class.values() if np.isfinite(value)]
        return by_class | {"": float(np.mean(defined)) if defined else float("nan")}

    per_seed = [(truth, score) for score in scores]
    estimates = patient_bootstrap_over_seeds(
        measured, per_seed, patients_of(test), n_resamples=n_resamples
    )
    by_seed = [measured(*arrays) for arrays in per_seed]
    return [
        Result(
            known.data.name,
            known.classes.get(label, "all classes"),
            AUROC if label else MACRO,
            name,
            estimate,
            known.data.simulated,
            label=label,
            protocol=protocol,
            n_group=len(test),
            split=NO_SPLIT,
            n_seeds=len(scores),
            per_seed=tuple(one[label] for one in by_seed),
        )
        for label, estimate in estimates.items()
    ]


def macro_table(results: Sequence[Result]) -> Table:
    """Mean AUROC over classes, one row a model and one column a protocol.

    Parameters
    ----------
    results : sequence of Result
        Of `class_results`, of one or more models.

    Returns
    -------
    Table
    """
    protocols = list(dict.fromkeys(r.protocol for r in results))
    rows = grid([r for r in results if r.metric == MACRO], lambda r: r.model, lambda r: r.protocol)
    return Table(
        "Macro AUROC, percent, with 95 % intervals",
        ["Model", *protocols],
        [
            [model, *(with_interval(cells[p].estimate, percent=True) for p in protocols)]
            for model, cells in rows.items()
        ],
        [
            {"model": model} | {p: estimate_record(cells[p].estimate) for p in protocols}
            for model, cells in rows.items()
        ],
    )


def class_table(results: Sequence[Result], known: ClassData, model: str) -> Table:
    """AUROC of each class of one model, one column a protocol.

    Parameters
    ----------
    results : sequence of Result
        Of `class_results`.
    known : ClassData
        Gives prompts, and how many test ECGs have each class.
    model : str
        Whose figures; as tables call it.

    Returns
    -------
    Table
    """
    protocols = list(dict.fromkeys(r.protocol for r in results))
    truth = known.truth("test")
    by_label = grid(
        [r for r in results if (r.model, r.metric) == (model, AUROC)],
        lambda r: r.label,
        lambda r: r.protocol,
    )
    rows, records = [], []
    for i, (label, prompt) in enumerate(known.classes.items()):
        cells, positive = by_label[label], int((truth[:, i] > 0.5).sum())
        rows.append(
            [label, prompt, str(positive)]
            + [with_interval(cells[p].estimate, percent=True) for p in protocols]
        )
        records.append(
            {"label": label, "prompt": prompt, "positive": positive}
            | {p: estimate_record(cells[p].estimate) for p in protocols}
        )
    header = ["Label", "Prompt", "Positive", *protocols]
    return Table(f"AUROC of each class, {model}", header, rows, records)
