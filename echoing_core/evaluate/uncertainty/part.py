"""One part of the benchmark: figures, how they were made, and what was left out of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.results import Result, to_records

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One question that was put to sigma^2, and its figures.

    Attributes
    ----------
    name : str
        Key in the JSON.
    title : str
    method : str
        How it was measured, in sentences.
    results : tuple of Result
        ``model`` is the score measured: ``"sigma^2"``, ``"plain index"``, ``"random weights"``.
    counts : mapping of str to int
        What entered and what was left out.
    """

    name: str
    title: str
    method: str
    results: tuple[Result, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; a figure that is not defined is null."""
        return {
            "title": self.title,
            "method": self.method,
            "counts": dict(self.counts),
            "results": to_records(self.results),
        }

    def to_markdown(self) -> str:
        """A section with a table, one row a figure and one column a score."""
        lines = [f"## {self.title}", "", self.method, ""]
        if self.counts:
            told = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
            lines += [f"Counts: {told}.", ""]
        return "\n".join([*lines, scores_table(self.results), ""])


def measured(
    place: tuple[str, str, str],
    metric: Callable[..., float],
    scores: Mapping[str, npt.NDArray[Any]],
    ids: npt.ArrayLike,
    *,
    given: tuple[npt.NDArray[Any], ...] = (),
    simulated: bool,
    n_resamples: int,
) -> list[Result]:
    """One figure for each score, all on the same resamples; none where there are no rows.

    Parameters
    ----------
    place : (data, task, metric)
        As in `Result`.
    metric : callable
        Takes the arrays of ``given``, then a score, each cut to the same rows.
    scores : mapping of name to ndarray, first dimension n
    ids : array-like, shape (n,)
        What is drawn: the patient, recording or stretch that a row belongs to.
    given : tuple of ndarray, first dimension n
        For example the labels.
    """
    data, task, name = place
    names, columns = list(scores), tuple(scores.values())
    if not len(columns[0]):
        return []

    def all_scores(*rows: npt.NDArray[Any]) -> dict[str, float]:
        kept, values = rows[: len(given)], rows[len(given) :]
        return {n: metric(*kept, column) for n, column in zip(names, values, strict=True)}

    estimates = patient_bootstrap_all(all_scores, (*given, *columns), ids, n_resamples=n_resamples)
    return [
        Result(data, task, name, score, estimate, simulated)
        for score, estimate in estimates.items()
    ]


def scores_table(results: Sequence[Result]) -> str:
    """A Markdown table with one row a figure; scores stand beside each other."""
    scores = list(dict.fromkeys(result.model for result in results))
    figures: dict[tuple[str, str, str], dict[str, Estimate]] = {}
    for result in results:
        row = figures.setdefault((result.data, result.task, result.metric), {})
        row[result.model] = result.estimate
    header = ["Data", "Task", "Metric", *scores, "Items (units drawn)"]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for place, row in figures.items():
        cells = [_with_interval(row[name]) if name in row else "" for name in scores]
        first = next(iter(row.values()))
        lines.append(
            "| " + " | ".join([*place, *cells, f"{first.n_items} ({first.n_patients})"]) + " |"
        )
    return "\n".join(lines)


def _with_interval(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return "not defined"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
