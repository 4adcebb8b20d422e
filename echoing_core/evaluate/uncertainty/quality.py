"""Does sigma^2 tell bad recordings from good ones, as people graded them?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.evaluate.uncertainty.annotations import find_records, read_grades, read_judged
from echoing_core.evaluate.uncertainty.part import Floats, scores_table
from echoing_core.evaluate.uncertainty.scores import PLAIN, RANDOM, SCORES, SIGMA2, Scorer
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import auroc, average_precision, midranks
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.signals.quality import lead_quality, rail_samples
from echoing_core.signals.windows import WINDOW_N, window_starts

FLAT_SHARE = 0.5
"""A lead counts as flat when more of it than this is flat."""

SATURATED_SHARE = 0.01
"""A lead counts as saturated when more of it than this is at a rail or beyond 5 mV."""

WORST = {SIGMA2: np.inf, PLAIN: 1.0, RANDOM: np.inf}
"""Scores of a recording that the reader refuses because nothing in it moves."""

WHOLE, NO_FLAT, NEITHER = "all", "no_flat_lead", "no_flat_and_no_saturated_lead"

_KEYS = {SIGMA2: "sigma2", PLAIN: "plain_index", RANDOM: "random_weights"}

_METHOD = (
    "Recordings graded by people; no grade is used in training. Scores are means over windows of "
    "10 s. A recording that the reader refuses because nothing in it moves counts as the worst in "
    "every score. Intervals: 95 %, bootstrap over recordings. A lead is flat when more than half "
    "of it is, or when it is missing; saturated when more than 1 % of it is at a rail or beyond "
    "5 mV."
)


@dataclass(frozen=True)
class GradedSet:
    """How well each score tells bad from good in one set of recordings.

    Attributes
    ----------
    name : str
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
                "auroc": _number(self.auroc[score].value),
                "auroc_ci": _interval(self.auroc[score]),
                "average_precision": _number(self.average_precision[score].value),
                "average_precision_ci": _interval(self.average_precision[score]),
                "n": self.n,
                "n_bad": self.n_bad,
            }
            for score in SCORES
        }
        figures["auroc_difference"] = {
            "of": "sigma2 - plain_index",
            "value": _number(self.difference.value),
            "ci": _interval(self.difference),
        }
        return figures


@dataclass(frozen=True)
class QualityStudy:
    """Figures of one folder of graded recordings.

    Attributes
    ----------
    data : str
        Name of the folder.
    sets : tuple of GradedSet
        All recordings, those without a flat lead, those also without a saturated one.
    n_refused, n_refused_bad : int
        Recordings in which nothing moves, and how many of them are graded bad.
    model, model_hash : str
    """

    name = "quality"

    data: str
    sets: tuple[GradedSet, ...]
    n_refused: int
    n_refused_bad: int
    model: str
    model_hash: str

    def to_dict(self) -> dict[str, Any]:
        """``auroc``, ``auroc_ci`` and ``n`` of sigma^2, then every score and every part."""
        whole, *parts = (graded.to_dict() for graded in self.sets)
        first = whole["sigma2"]
        return {
            **{key: first[key] for key in ("auroc", "auroc_ci", "n", "n_bad")},
            **whole,
            "refused": {"n": self.n_refused, "n_bad": self.n_refused_bad},
            "parts": {graded.name: part for graded, part in zip(self.sets[1:], parts, strict=True)},
            "model": self.model,
            "model_hash": self.model_hash,
            "method": _METHOD,
        }

    def to_markdown(self) -> str:
        """A section with a table."""
        results = []
        for graded in self.sets:
            data = f"{self.data}: {graded.name.replace('_', ' ')} ({graded.n_bad} bad)"
            for metric, figures in (
                ("AUROC", graded.auroc),
                ("average precision", graded.average_precision),
                ("AUROC minus that of the plain index", {SIGMA2: graded.difference}),
            ):
                results += [
                    Result(data, "bad recordings", metric, score, estimate, simulated=False)
                    for score, estimate in figures.items()
                ]
        told = (
            f"Refused as flat: {self.n_refused}, of which {self.n_refused_bad} are graded bad. "
            f"Model: {self.model}, hash {self.model_hash[:16]}."
        )
        return "\n".join(
            ["## Graded recordings", "", _METHOD, "", told, "", scores_table(results), ""]
        )


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
) -> QualityStudy:
    """AUROC and average precision of sigma^2, plain index and random weights for bad grades.

    Parameters
    ----------
    folder : path
        Recordings that `read_recording` reads, anywhere below it.
    labels : path
        CSV with the columns ``record`` and ``quality``, see `annotations.read_grades`.

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
        rows.append(_row_of(header, scorer))
        progress(done, len(headers))
    bad = np.array(list(grades.values()))
    refused = np.array([row is None for row in rows])
    scores = {
        name: np.array([WORST[name] if row is None else row.scores[name] for row in rows])
        for name in SCORES
    }
    flat = np.array([row is None or row.flat for row in rows])
    saturated = np.array([row is None or row.saturated for row in rows])
    sets = [
        _graded(name, bad, scores, rows_in, n_resamples)
        for name, rows_in in (
            (WHOLE, np.ones(bad.size, dtype=np.bool_)),
            (NO_FLAT, ~flat),
            (NEITHER, ~flat & ~saturated),
        )
        if rows_in.any()
    ]
    return QualityStudy(
        data=folder.resolve().name,
        sets=tuple(sets),
        n_refused=int(refused.sum()),
        n_refused_bad=int((refused & bad).sum()),
        model=checkpoint.name,
        model_hash=checkpoint.hash,
    )


def _row_of(header: Path, scorer: Scorer) -> _Row | None:
    """Scores of one recording; None if the reader refuses it because nothing in it moves."""
    judged = read_judged(header)
    if judged is None:
        return None
    recording, ecg = judged
    starts = window_starts(ecg.n_times, WINDOW_N, WINDOW_N)
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
) -> GradedSet:
    label = bad[rows]
    # Ranks say the same to every metric here, and the worst has no finite value.
    ranks = tuple(midranks(scores[score][rows]) for score in SCORES)
    estimates = patient_bootstrap_all(
        _figures, (label, *ranks), np.arange(label.size), n_resamples=n_resamples
    )
    return GradedSet(
        name=name,
        n=int(label.size),
        n_bad=int(label.sum()),
        auroc={score: estimates[f"auroc {score}"] for score in SCORES},
        average_precision={score: estimates[f"precision {score}"] for score in SCORES},
        difference=estimates["difference"],
    )


def _figures(label: BoolArray, *ranks: Floats) -> dict[str, float]:
    """All figures of one resample; ``ranks`` are those of `SCORES`."""
    found: dict[str, float] = {}
    for score, values in zip(SCORES, ranks, strict=True):
        found[f"auroc {score}"] = auroc(label, values)
        found[f"precision {score}"] = average_precision(label, values)
    found["difference"] = found[f"auroc {SIGMA2}"] - found[f"auroc {PLAIN}"]
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(estimate: Estimate) -> list[float | None]:
    return [_number(estimate.low), _number(estimate.high)]
