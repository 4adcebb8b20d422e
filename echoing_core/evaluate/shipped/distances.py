"""What distances of a model mean: reference pairs, measured on simulated ECGs it never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.simulated import build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import GaussianEmbedding
from echoing_core.reports.stated import read_report
from echoing_core.reports.understanding import asked_of_all, prompt_sets_of
from echoing_core.retrieve.scale import (
    FindingScale,
    ReferenceDistances,
    finding_scale,
    quantiles_of,
)
from echoing_core.zeroshot.prompts import PromptSet

SEED = 30_001
"""Another seed than any cohort's and than the shipped index's: other people."""

_MOST_PAIRS = 20_000


def measure_distances(
    checkpoint: Checkpoint,
    questions: Sequence[PromptSet] = (),
    *,
    n_patients: int = 900,
    seed: int = SEED,
    progress: Progress = SILENT,
) -> ReferenceDistances:
    """Measure reference pairs on a simulated cohort of its own.

    Parameters
    ----------
    checkpoint : Checkpoint
    questions : sequence of PromptSet
        The shipped ones, whose wording is taken where they ask for the same.
    n_patients : int
        Simulated patients; each has one ECG or more.
    seed : int
        Of the cohort; not that of any training.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    ReferenceDistances
    """
    studies = build_simulated(n_patients, seed, n_workers=2, progress=progress)
    n = len(studies.table)
    source = f"{n:,} simulated ECGs of {n_patients:,} simulated patients that no training saw"
    return distances_of(checkpoint, studies, questions, source=source, seed=seed)


def distances_of(
    checkpoint: Checkpoint,
    studies: StudySet,
    questions: Sequence[PromptSet] = (),
    *,
    source: str,
    seed: int = SEED,
) -> ReferenceDistances:
    """Measure reference pairs on any ECGs with reports that no training saw.

    Parameters
    ----------
    checkpoint : Checkpoint
    studies : StudySet
        With the column ``report``. A finding counts as there where the report states it.
    questions : sequence of PromptSet
        As in `measure_distances`.
    source : str
        What the ECGs are, as a person reads it.
    seed : int
        Draws the pairs of different patients.

    Returns
    -------
    ReferenceDistances
    """
    table = studies.table
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, studies.signal_mv, studies.valid)
    reports = [str(report) for report in table["report"]]
    text = encode_texts(checkpoint, reports)
    patients = np.asarray(table["patient_id"], dtype=str)
    rng = np.random.default_rng(seed)
    first, second = (rng.integers(len(patients), size=_MOST_PAIRS) for _ in range(2))
    strangers = patients[first] != patients[second]
    first, second = first[strangers], second[strangers]
    every = np.arange(len(patients))
    same = _pairs_within(patients)
    chosen = {
        "own_report": (ecg, every, text, every),
        "other_report": (ecg, first, text, second),
        "same_patient": (ecg, same[:, 0], ecg, same[:, 1]),
        "other_patient": (ecg, first, ecg, second),
        "reports": (text, first, text, second),
    }
    pairs = {
        (order, kind): quantiles_of(_apart(a, i, b, j, order))
        for kind, (a, i, b, j) in chosen.items()
        for order in ("csd", "cosine")
        if len(i)
    }
    return ReferenceDistances(
        source=source,
        n_ecgs=len(patients),
        simulated=bool(table["simulated"].all()),
        pairs=pairs,
        findings=_findings(checkpoint, ecg, reports, questions),
    )


def _findings(
    checkpoint: Checkpoint,
    ecg: GaussianEmbedding,
    reports: Sequence[str],
    shipped: Sequence[PromptSet],
) -> dict[str, FindingScale]:
    stated = [read_report(report) for report in reports]
    scales: dict[str, FindingScale] = {}
    every = asked_of_all()
    for asked, question in zip(every.findings, prompt_sets_of(every, shipped), strict=True):
        having = np.array([s.answers(asked)[0] is True for s in stated])
        scale = finding_scale(question_margins(checkpoint, ecg, question)[0], having)
        if scale is not None:
            scales[question.name] = scale
    return scales


def _pairs_within(patients: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Rows of two ECGs of one patient, shape (n_pairs, 2)."""
    pairs = [
        (int(a), int(b))
        for patient in np.unique(patients)
        for rows in (np.flatnonzero(patients == patient),)
        for at, a in enumerate(rows)
        for b in rows[at + 1 :]
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _apart(
    a: GaussianEmbedding,
    i: npt.NDArray[np.int64],
    b: GaussianEmbedding,
    j: npt.NDArray[np.int64],
    order: str,
) -> npt.NDArray[np.float64]:
    """Distance of row i[k] of ``a`` to row j[k] of ``b`` for every k."""
    one, other = a.mu[i].astype(np.float64), b.mu[j].astype(np.float64)
    if order == "csd":
        squared = ((one - other) ** 2).sum(axis=1)
        return np.asarray(squared + a.uncertainty[i] + b.uncertainty[j])
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray(1.0 - (one * other).sum(axis=1) / lengths)
