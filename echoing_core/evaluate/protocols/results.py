"""Figures of the protocols, for all ECGs and for the surer and less sure ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_over_seeds
from echoing_core.metrics.scores import auroc, balanced_accuracy
from echoing_core.records import BoolArray

Floats = npt.NDArray[np.float64]

ALL, LOW, HIGH, GAP = "all", "low", "high", "low - high"
BALANCED_ACCURACY, AUROC = "balanced accuracy", "AUROC"

ZERO_SHOT = "zero-shot"
FEW_SHOT_10, FEW_SHOT_100 = "10 % probe", "100 % probe"
FROZEN_PROBE, FINE_TUNED = "frozen probe", "fine-tuned"


@dataclass(frozen=True)
class Figure:
    """One figure of a protocol.

    Attributes
    ----------
    data, model : str
    task : str
        The question, or ``"text to ECG"``.
    label : str
        Without ``label_``; empty for retrieval.
    protocol : str
        ``"zero-shot"``, ``"10 % probe"``, ``"by csd, exact pair"``.
    group : str
        `ALL`, `LOW`, `HIGH` or `GAP`.
    metric : str
    estimate : Estimate
        For answers ``n_items`` and ``n_patients`` are those of the whole test set, of which the
        group is a part; for retrieval those of the group.
    simulated : bool
    n_group : int
        ECGs of the group, averaged over seeds and rounded.
    split : str
        What the groups are made by.
    n_seeds : int
    per_seed : tuple of float
        The figure of each seed; its mean is the estimate's value.
    gallery_size : int or None
    """

    data: str
    model: str
    task: str
    label: str
    protocol: str
    group: str
    metric: str
    estimate: Estimate
    simulated: bool
    n_group: int
    split: str
    n_seeds: int = 1
    per_seed: tuple[float, ...] = ()
    gallery_size: int | None = None


@dataclass(frozen=True)
class PromptSpread:
    """How much a zero-shot figure hangs on the wording: over all pairs of one yes and one no.

    Attributes
    ----------
    low, median, high : float
    n_pairs : int
    """

    data: str
    model: str
    task: str
    label: str
    metric: str
    low: float
    median: float
    high: float
    n_pairs: int


@dataclass(frozen=True)
class Study:
    """What one protocol found, as JSON and as Markdown.

    Attributes
    ----------
    name, title, method : str
        The method in sentences.
    figures : tuple of Figure
    tables : tuple of (heading, Markdown, records)
        Tables made of the figures.
    differences : tuple of Figure
        Paired; ``protocol`` tells what is subtracted from what.
    spreads : tuple of PromptSpread
    counts : mapping
    """

    name: str
    title: str
    method: str
    figures: tuple[Figure, ...]
    tables: tuple[tuple[str, str, list[dict[str, Any]]], ...]
    differences: tuple[Figure, ...] = ()
    spreads: tuple[PromptSpread, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; a figure that is not defined is null."""
        return {
            "title": self.title,
            "method": self.method,
            "counts": dict(self.counts),
            "figures": figure_records(self.figures),
            "differences": figure_records(self.differences),
            "prompt_spread": [asdict(spread) for spread in self.spreads],
            "tables": [{"title": heading, "rows": rows} for heading, _, rows in self.tables],
        }

    def to_markdown(self) -> str:
        """A section with its tables."""
        lines = [f"## {self.title}", "", self.method, ""]
        if self.counts:
            told = ", ".join(f"{name} {count:,g}" for name, count in self.counts.items())
            lines += [f"Counts: {told}.", ""]
        for heading, markdown, _ in self.tables:
            lines += [f"### {heading}", "", markdown.rstrip(), ""]
        return "\n".join(lines)


@dataclass(frozen=True)
class Place:
    """Where figures belong; the fields are those of `Figure`."""

    data: str
    model: str
    task: str
    label: str
    protocol: str
    simulated: bool
    split: str


@dataclass(frozen=True, eq=False)
class Scored:
    """What one way of answering one question gave, before it is measured.

    Attributes
    ----------
    place : Place
    truth : ndarray, shape (n,)
        0, 1 or NaN; ECGs whose answer is not known are left out.
    scores : sequence of ndarray, shape (n,)
        For each seed the score of each ECG; yes where it is positive.
    low : sequence of ndarray of bool, shape (n,)
        For each seed, which ECGs are the surer ones. The halves are those of the whole test set in
        every resample.
    patients : ndarray of str, shape (n,)
    """

    place: Place
    truth: npt.NDArray[Any]
    scores: Sequence[Floats]
    low: Sequence[BoolArray]
    patients: npt.NDArray[np.str_]

    def figures(self, *, n_resamples: int) -> list[Figure]:
        """Balanced accuracy at score > 0 and AUROC: all, low, high, and the gap of the halves."""
        known = np.isfinite(self.truth)
        yes = self.truth[known] > 0.5
        per_seed = [
            (yes, score[known], kept[known])
            for score, kept in zip(self.scores, self.low, strict=True)
        ]
        estimates = patient_bootstrap_over_seeds(
            _group_figures, per_seed, self.patients[known], n_resamples=n_resamples
        )
        by_seed = [_group_figures(*arrays) for arrays in per_seed]
        n_low = round(float(np.mean([kept.sum() for _, _, kept in per_seed])))
        sizes = {ALL: yes.size, LOW: n_low, HIGH: yes.size - n_low, GAP: yes.size}
        found = []
        for name, estimate in estimates.items():
            metric, group = name.split("|")
            found.append(
                Figure(
                    **asdict(self.place),
                    group=group,
                    metric=metric,
                    estimate=estimate,
                    n_group=sizes[group],
                    n_seeds=len(per_seed),
                    per_seed=tuple(figures[name] for figures in by_seed),
                )
            )
        return found

    def minus(self, other: Scored, name: str, *, n_resamples: int) -> list[Figure]:
        """Both figures of all ECGs minus those of ``other``, paired by patient and by seed.

        Parameters
        ----------
        other : Scored
            The same ECGs and question, with as many seeds.
        name : str
            What the difference is called, in the place of the protocol.
        """
        known = np.isfinite(self.truth)
        yes = self.truth[known] > 0.5
        pairs = list(zip(self.scores, other.scores, strict=True))
        estimates = patient_bootstrap_over_seeds(
            _differences,
            [(yes, a[known], b[known]) for a, b in pairs],
            self.patients[known],
            n_resamples=n_resamples,
        )
        by_seed = [_differences(yes, a[known], b[known]) for a, b in pairs]
        place = asdict(self.place) | {"protocol": name}
        return [
            Figure(
                **place,
                group=ALL,
                metric=metric,
                estimate=estimate,
                n_group=yes.size,
                n_seeds=len(pairs),
                per_seed=tuple(figures[metric] for figures in by_seed),
            )
            for metric, estimate in estimates.items()
        ]


def differences(
    scored: Sequence[Scored], *, model: str, control: str, n_resamples: int
) -> list[Figure]:
    """What a model gains over its control, protocol by protocol, and tuning over its own probe."""
    by_place = {(s.place.label, s.place.protocol, s.place.model): s for s in scored}
    found: list[Figure] = []
    for (label, protocol, name), one in by_place.items():
        other = by_place.get((label, protocol, control))
        if name == model and other is not None:
            told = f"{protocol}: {model} - {control}"
            found += one.minus(other, told, n_resamples=n_resamples)
        probe = by_place.get((label, FROZEN_PROBE, name))
        if protocol == FINE_TUNED and probe is not None:
            told = f"{name}: {FINE_TUNED} - {FROZEN_PROBE}"
            found += one.minus(probe, told, n_resamples=n_resamples)
    return found


def figure_records(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """One flat dictionary a figure, for JSON: NaN becomes None."""
    rows = []
    for figure in figures:
        row = {k: v for k, v in asdict(figure).items() if k != "estimate"}
        row |= asdict(figure.estimate)
        row["per_seed"] = [_json_value(value) for value in figure.per_seed]
        rows.append({key: _json_value(value) for key, value in row.items()})
    return rows


def _group_figures(truth: BoolArray, score: Floats, low: BoolArray) -> dict[str, float]:
    found: dict[str, float] = {}
    groups = {ALL: np.ones(truth.shape, dtype=bool), LOW: low, HIGH: ~low}
    for metric in (BALANCED_ACCURACY, AUROC):
        for group, rows in groups.items():
            found[f"{metric}|{group}"] = _metric_of(metric, truth[rows], score[rows])
        found[f"{metric}|{GAP}"] = found[f"{metric}|{LOW}"] - found[f"{metric}|{HIGH}"]
    return found


def _differences(truth: BoolArray, one: Floats, other: Floats) -> dict[str, float]:
    return {
        metric: _metric_of(metric, truth, one) - _metric_of(metric, truth, other)
        for metric in (BALANCED_ACCURACY, AUROC)
    }


def _metric_of(metric: str, truth: BoolArray, score: Floats) -> float:
    if truth.size == 0:
        return float("nan")
    return auroc(truth, score) if metric == AUROC else balanced_accuracy(truth, score > 0)


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
