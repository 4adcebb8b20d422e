"""Does sigma^2 agree with people: graded recordings, and the notes of PTB-XL's annotators?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echoing_core.datasets.ptbxl import NOTES
from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.uncertainty.annotations import find_records, read_grades, read_judged
from echoing_core.evaluate.uncertainty.scores import (
    PLAIN,
    RANDOM,
    SCORES,
    SIGMA2,
    Floats,
    Scorer,
    measure_scores,
    section,
)
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.results import Experiment, Result, json_number, side_by_side
from echoing_core.metrics.scores import auroc, average_precision, midranks
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.signals.quality import lead_quality, rail_samples
from echoing_core.signals.windows import WINDOW_N, window_starts
from echoing_core.training.demo import PTBXL_TEST_FOLDS

FLAT_SHARE = 0.5
"""A lead counts as flat when more of it than this is flat."""

SATURATED_SHARE = 0.01
"""A lead counts as saturated when more of it than this is at a rail or beyond 5 mV."""

WORST = {SIGMA2: np.inf, PLAIN: 1.0, RANDOM: np.inf}
"""Scores of a recording that the reader refuses because nothing in it moves."""

WHOLE, NO_FLAT, NEITHER = "all", "no_flat_lead", "no_flat_and_no_saturated_lead"

# How JSON calls the scores and the sets; the names are part of the format.
_KEYS = {SIGMA2: "sigma2", PLAIN: "plain_index", RANDOM: "random_weights"}

_GRADES_METHOD = (
    "Recordings graded by people; no grade is used in training. Scores are means over windows of "
    "10 s. A recording that the reader refuses because nothing in it moves counts as the worst in "
    "every score. Intervals: 95 %, bootstrap over recordings. A lead is flat when more than half "
    "of it is, or when it is missing; saturated when more than 1 % of it is at a rail or beyond "
    "5 mV."
)

_NOTES_METHOD = (
    "ECGs with a note against ECGs without any, among those whose metadata are complete (in the "
    "others an empty note says nothing). A note names the leads concerned, often a single one, "
    "and was made on the raw signal, wander below 0.5 Hz included. On the folds that the model "
    "was trained on, an ECG without notes may have served as a clean original; no note was a "
    "target. Intervals: 95 %, bootstrap over patients."
)


@dataclass(frozen=True)
class _GradedSet:
    """How well each score tells bad from good in one set of recordings.

    Attributes
    ----------
    name : str
        One of `WHOLE`, `NO_FLAT` and `NEITHER`.
    n, n_bad : int
    auroc, average_precision : mapping of score to Estimate
        NaN where there is only one grade.
    difference : Estimate
        AUROC of sigma^2 minus that of the plain index, on the same resamples.
    """

    name: str
    n: int
    n_bad: int
    auroc: Mapping[str, Estimate]
    average_precision: Mapping[str, Estimate]
    difference: Estimate

    def to_dict(self) -> dict[str, Any]:
        """One object a score, and the difference; what is not defined is null."""
        figures: dict[str, Any] = {
            _KEYS[score]: {
                "auroc": json_number(self.auroc[score].value),
                "auroc_ci": _interval(self.auroc[score]),
                "average_precision": json_number(self.average_precision[score].value),
                "average_precision_ci": _interval(self.average_precision[score]),
                "n": self.n,
                "n_bad": self.n_bad,
            }
            for score in SCORES
        }
        figures["auroc_difference"] = {
            "of": "sigma2 - plain_index",
            "value": json_number(self.difference.value),
            "ci": _interval(self.difference),
        }
        return figures

    def results(self, data: str) -> list[Result]:
        """The figures with their place; ``data`` is the name of the folder."""
        place = f"{data}: {self.name.replace('_', ' ')} ({self.n_bad} bad)"
        return [
            Result(place, "bad recordings", metric, score, estimate, simulated=False)
            for metric, by_score in (
                ("AUROC", self.auroc),
                ("average precision", self.average_precision),
                ("AUROC minus that of the plain index", {SIGMA2: self.difference}),
            )
            for score, estimate in by_score.items()
        ]


@dataclass(frozen=True)
class _Row:
    scores: Mapping[str, float]
    flat: bool
    saturated: bool


def quality_of_recordings(
    checkpoint: Checkpoint,
    folder: Path,
    labels: Path,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """AUROC and average precision of sigma^2, plain index and random weights for bad grades.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path
        Recordings that `read_recording` reads, anywhere below it.
    labels : path
        CSV with the columns ``record`` and ``quality``, see `annotations.read_grades`.
    n_resamples : int
    progress : Progress
        Counts recordings.

    Returns
    -------
    Experiment
        All recordings, those without a flat lead, and those also without a saturated one.

    Raises
    ------
    DataSetError
        The table or the folder is not as it should be, or a recording cannot be used. One in
        which nothing moves is no error: it counts as the worst.
    """
    grades = read_grades(labels)
    headers = find_records(folder, grades)
    scorer = Scorer.of(checkpoint)
    rows: list[_Row | None] = []
    for done, header in enumerate(headers.values(), start=1):
        # One recording at a time: a set of a thousand would not fit into memory.
        rows.append(_row_of(header, scorer))
        progress(done, len(headers))
    bad = np.array(list(grades.values()))
    # A flat recording has no scores; it gets the worst of each.
    refused = np.array([row is None for row in rows])
    scores = {
        name: np.array([WORST[name] if row is None else row.scores[name] for row in rows])
        for name in SCORES
    }
    flat = np.array([row is None or row.flat for row in rows])
    saturated = np.array([row is None or row.saturated for row in rows])
    # The subsets show whether a score knows more than flat and saturated leads.
    sets = [
        _graded(name, bad, scores, rows_in, n_resamples)
        for name, rows_in in (
            (WHOLE, np.ones(bad.size, dtype=np.bool_)),
            (NO_FLAT, ~flat),
            (NEITHER, ~flat & ~saturated),
        )
        if rows_in.any()
    ]
    data = folder.resolve().name
    results = [result for graded in sets for result in graded.results(data)]
    n_refused, n_refused_bad = int(refused.sum()), int((refused & bad).sum())
    refused_words = (
        f"Refused as flat: {n_refused}, of which {n_refused_bad} are graded bad. "
        f"Model: {checkpoint.name}, hash {checkpoint.hash[:16]}."
    )
    whole, *subsets = (graded.to_dict() for graded in sets)
    # The figures of sigma^2 on all recordings stand in front, too: they are what is asked first.
    content = {
        **{key: whole["sigma2"][key] for key in ("auroc", "auroc_ci", "n", "n_bad")},
        **whole,
        "refused": {"n": n_refused, "n_bad": n_refused_bad},
        "parts": {graded.name: part for graded, part in zip(sets[1:], subsets, strict=True)},
        "model": checkpoint.name,
        "model_hash": checkpoint.hash,
        "method": _GRADES_METHOD,
    }
    return Experiment(
        "quality",
        "Graded recordings",
        f"{_GRADES_METHOD}\n\n{refused_words}",
        tuple(results),
        (side_by_side(results),),
        content=content,
    )


def _row_of(header: Path, scorer: Scorer) -> _Row | None:
    """Scores of one recording; None if the reader refuses it because nothing in it moves."""
    judged = read_judged(header)
    if judged is None:
        return None
    recording, ecg = judged
    # Windows side by side, so that every second counts once.
    starts = window_starts(ecg.n_times, WINDOW_N, WINDOW_N)
    # The plain index is given the raw recording's rails, to be as strong a rival as it can be.
    rails = rail_samples(recording, ecg)
    scores = scorer.recording(ecg, starts, saturated=rails)
    quality = lead_quality(ecg.signal_mv, ecg.valid, saturated=rails)
    return _Row(
        scores={name: float(values.mean()) for name, values in scores.items()},
        flat=bool((~quality.present | (quality.flat_fraction > FLAT_SHARE)).any()),
        saturated=bool((quality.saturated_fraction > SATURATED_SHARE).any()),
    )


def _graded(
    name: str,
    bad: BoolArray,
    scores: Mapping[str, Floats],
    rows: BoolArray,
    n_resamples: int,
) -> _GradedSet:
    label = bad[rows]
    # Ranks say the same to every metric here, and the worst has no finite value.
    ranks = tuple(midranks(scores[score][rows]) for score in SCORES)
    estimates = patient_bootstrap_all(
        _figures, (label, *ranks), np.arange(label.size), n_resamples=n_resamples
    )
    return _GradedSet(
        name=name,
        n=int(label.size),
        n_bad=int(label.sum()),
        auroc={score: estimates[f"auroc {score}"] for score in SCORES},
        average_precision={score: estimates[f"precision {score}"] for score in SCORES},
        difference=estimates["difference"],
    )


def _figures(label: BoolArray, *ranks: Floats) -> dict[str, float]:
    """All figures of one resample; ``ranks`` are those of `SCORES`."""
    figures: dict[str, float] = {}
    for score, values in zip(SCORES, ranks, strict=True):
        figures[f"auroc {score}"] = auroc(label, values)
        figures[f"precision {score}"] = average_precision(label, values)
    figures["difference"] = figures[f"auroc {SIGMA2}"] - figures[f"auroc {PLAIN}"]
    return figures


def _interval(estimate: Estimate) -> list[float | None]:
    return [json_number(estimate.low), json_number(estimate.high)]


def notes_study(
    checkpoint: Checkpoint,
    studies: StudySet,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """AUROC of each score for each kind of note and for any, on the held-out fold and on all.

    Parameters
    ----------
    checkpoint : Checkpoint
    studies : StudySet
        PTB-XL, from `load_ptbxl`.
    n_resamples : int
    progress : Progress
        Counts ECGs.

    Returns
    -------
    Experiment
    """
    known = studies.where(studies.table["quality"] != "unknown")
    table = known.table
    scores = Scorer.of(checkpoint).windows(known.signal_mv, known.valid, progress=progress)
    patients = np.asarray(table["patient_id"].astype(str))
    noted = {name: _has(table[name]) for name in NOTES}
    # Compared with ECGs without any note, not with all that lack this one.
    clean = ~np.logical_or.reduce(list(noted.values()))
    held_out = np.isin(table["fold"].to_numpy(), PTBXL_TEST_FOLDS)
    results: list[Result] = []
    for data, rows in (
        ("PTB-XL fold 9", held_out),
        ("PTB-XL folds 1-9 (1-7 were in training)", np.ones_like(held_out)),
    ):
        for task, positive in {"any note": ~clean, **noted}.items():
            compared = rows & (positive | clean)
            label = positive[compared]
            # A note that nobody made gives no figure.
            if label.all() or not label.any():
                continue
            results += measure_scores(
                (data, f"{task.replace('_', ' ')} ({int(label.sum())})", "AUROC"),
                auroc,
                {name: values[compared] for name, values in scores.items()},
                patients[compared],
                given=(label,),
                simulated=False,
                n_resamples=n_resamples,
            )
    return section(
        "ptbxl_notes",
        "PTB-XL's own notes",
        _NOTES_METHOD,
        results,
        {"ECGs": len(known), "left out, notes unknown": len(studies) - len(known)},
    )


def _has(note: pd.Series) -> BoolArray:
    # Some notes are commas and spaces only.
    return np.asarray(note.fillna("").astype(str).str.strip(" ,") != "")
