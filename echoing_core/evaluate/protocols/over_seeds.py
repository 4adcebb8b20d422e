"""Several models trained from several seeds each, on one test set: means, intervals, differences.

An interval is over patients and seeds together: each resample draws the patients of the test set
and the training seeds, both with replacement, and averages the figure over the seeds drawn. In a
difference of two rows both see the same patients and the same seeds: seed i of one is the partner
of seed i of the other. With few seeds, the part of the spread that comes from training is told
too small (by (s - 1) / s of its variance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.protocols.paper import PROVENANCE, TABLE_5
from echoing_core.evaluate.protocols.tables import Table, estimate_record, markdown_table, percent
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_over_seeds
from echoing_core.metrics.scores import auroc, balanced_accuracy, recall_at_k
from echoing_core.records import BoolArray

Floats = npt.NDArray[np.float64]

LVEF, STRUCTURE = "lvef_lt40", "slvh_or_dlv"

METHOD = (
    "Mean over training seeds. Intervals: 95 %, each of the resamples draws patients and seeds "
    "with replacement and averages over the seeds drawn; differences are paired by patient and by "
    "seed. With few seeds the part that comes from training is told too small."
)


@dataclass(frozen=True, eq=False)
class SeedScores:
    """What one trained model gave on the test set and in the gallery.

    Attributes
    ----------
    margins : mapping of label to ndarray, shape (n_test,)
        As `zero_shot_scores` gives them.
    ranks : ndarray of int, shape (n_gallery,)
        As `retrieval_ranks` gives them.
    """

    margins: Mapping[str, Floats]
    ranks: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TestSet:
    """What is true of the ECGs that every model was tested on.

    Attributes
    ----------
    truth : mapping of label to ndarray, shape (n_test,)
        0, 1 or NaN.
    patients : ndarray of str, shape (n_test,)
    gallery_patients : ndarray of str, shape (n_gallery,)
    source : str
        Of both; the paper's rows stand beside ours only where it is the paper's.
    simulated : bool
    """

    # pytest takes every class of this name for a test.
    __test__ = False

    truth: Mapping[str, Floats]
    patients: npt.NDArray[np.str_]
    gallery_patients: npt.NDArray[np.str_]
    source: str
    simulated: bool


@dataclass(frozen=True)
class Ablation:
    """Table 5 of several rows, and the differences asked for.

    Attributes
    ----------
    figures : mapping of (row, figure) to Estimate
        Of rows and, named ``"a - b"``, of differences.
    per_seed : mapping of (row, figure) to tuple of float
        Of rows only.
    """

    rows: tuple[str, ...]
    differences: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    further: tuple[str, ...]
    figures: Mapping[tuple[str, str], Estimate]
    per_seed: Mapping[tuple[str, str], tuple[float, ...]]
    probabilistic: Mapping[str, bool] = field(default_factory=dict)
    source: str = ""
    simulated: bool = True
    gallery_size: int = 0

    def tables(self) -> list[Table]:
        """The layout of Table 5, the threshold-free figures beside it, and the differences."""
        names = [f"{a} - {b}" for a, b in self.differences]
        found = [
            self._table("Table 5 layout: ablation, zero-shot", self.rows, self.columns, False),
            self._table("Threshold-free, and R@10", self.rows, self.further, False),
        ]
        if names:
            every = (*self.columns, *self.further)
            found.append(self._table("Paired differences", names, every, True))
        return found

    def to_markdown(self) -> str:
        """All tables, with how they were made."""
        parts = [f"### {heading}\n\n{markdown}" for heading, markdown, _ in self.tables()]
        return "\n".join([*parts, METHOD, ""])

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "method": METHOD,
            "simulated": self.simulated,
            "gallery_size": self.gallery_size,
            "tables": [{"title": heading, "rows": rows} for heading, _, rows in self.tables()],
            "per_seed": [
                {"row": row, "figure": figure, "values": list(values)}
                for (row, figure), values in self.per_seed.items()
            ],
        }

    def _table(
        self, heading: str, rows: Sequence[str], columns: Sequence[str], signed: bool
    ) -> Table:
        lines, records = [], []
        for row in rows:
            told = ("yes" if self.probabilistic[row] else "no") if row in self.probabilistic else ""
            cells = [percent(self.figures[row, column], signed=signed) for column in columns]
            lines.append([row, told, *cells])
            records.append(
                {"row": row, "paper": False}
                | {column: estimate_record(self.figures[row, column]) for column in columns}
            )
        if columns is self.columns and not signed:
            lines += self._paper_lines()
        header = ["Method", "Prob.", *columns]
        return heading, markdown_table(header, lines) + "\n" + self._note() + "\n", records

    def _paper_lines(self) -> list[list[str]]:
        if self.simulated or self.source not in TABLE_5.sources:
            return []
        return [
            [f"paper: {name}", "yes" if name.startswith("PCME") else "no", *map(str, row.values())]
            for name, row in TABLE_5.rows.items()
        ]

    def _note(self) -> str:
        size = f"Gallery: {self.gallery_size:,} ECGs, exact pair."
        if self._paper_lines():
            return f"{size} Percent. The paper's: {PROVENANCE}. {TABLE_5.note}"
        start = "Simulated ECGs. " if self.simulated else ""
        return (
            f"{start}{size} Percent. The paper's figures were measured on other data and are not "
            "set beside these."
        )


def table_5(
    rows: Mapping[str, Sequence[SeedScores]],
    test: TestSet,
    *,
    compare: Sequence[tuple[str, str]] = (),
    probabilistic: Mapping[str, bool] | None = None,
    labels: tuple[str, str] = (LVEF, STRUCTURE),
    n_resamples: int = 1000,
    seed: int = 0,
) -> Ablation:
    """Table 5: methods against LVEF < 40 %, SLVH or DLV, and R@1, each averaged over its seeds.

    Parameters
    ----------
    rows : mapping of method to sequence of SeedScores
        One for each training seed.
    test : TestSet
    compare : sequence of (row, row)
        Differences first minus second; both need as many seeds, in the same order.
    probabilistic : mapping of method to bool, optional
        For the column of that name.

    Returns
    -------
    Ablation
    """
    metrics: dict[str, tuple[str, Callable[..., float]]] = {}
    for label, short in zip(labels, ("LVEF<40 ZS", "SLVH+DLV ZS"), strict=True):
        metrics[short] = (label, _accuracy)
        metrics[f"{short} AUROC"] = (label, auroc)
    columns = ("LVEF<40 ZS", "SLVH+DLV ZS", "R@1")
    further = ("LVEF<40 ZS AUROC", "SLVH+DLV ZS AUROC", "R@10")
    figures: dict[tuple[str, str], Estimate] = {}
    per_seed: dict[tuple[str, str], tuple[float, ...]] = {}

    for name, (label, metric) in metrics.items():
        known = np.isfinite(test.truth[label])
        yes, people = test.truth[label][known] > 0.5, test.patients[known]
        scores = {r: [s.margins[label][known] for s in seeds] for r, seeds in rows.items()}
        for row, given in scores.items():
            figures[row, name] = over_seeds(
                metric, yes, given, people, n_resamples=n_resamples, seed=seed
            )
            per_seed[row, name] = tuple(metric(yes, score) for score in given)
        for a, b in compare:
            figures[f"{a} - {b}", name] = paired_over_seeds(
                metric, yes, scores[a], scores[b], people, n_resamples=n_resamples, seed=seed
            )
    for k in (1, 10):
        metric, name = _recall(k), f"R@{k}"
        ranks = {row: [s.ranks for s in seeds] for row, seeds in rows.items()}
        nothing = np.zeros(len(test.gallery_patients), dtype=bool)
        for row, given_ranks in ranks.items():
            figures[row, name] = over_seeds(
                metric,
                nothing,
                given_ranks,
                test.gallery_patients,
                n_resamples=n_resamples,
                seed=seed,
            )
            per_seed[row, name] = tuple(metric(nothing, rank) for rank in given_ranks)
        for a, b in compare:
            figures[f"{a} - {b}", name] = paired_over_seeds(
                metric,
                nothing,
                ranks[a],
                ranks[b],
                test.gallery_patients,
                n_resamples=n_resamples,
                seed=seed,
            )
    return Ablation(
        rows=tuple(rows),
        differences=tuple((a, b) for a, b in compare),
        columns=columns,
        further=further,
        figures=figures,
        per_seed=per_seed,
        probabilistic=probabilistic or {},
        source=test.source,
        simulated=test.simulated,
        gallery_size=len(test.gallery_patients),
    )


def over_seeds(
    metric: Callable[..., float],
    labels: npt.NDArray[Any],
    scores: Sequence[npt.NDArray[Any]],
    patients: npt.NDArray[Any],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean of ``metric(labels, score)`` over seeds, interval over patients and seeds.

    Parameters
    ----------
    labels : ndarray, shape (n,)
    scores : sequence of ndarray, shape (n,)
        One for each training seed.
    patients : ndarray, shape (n,)
    """
    return patient_bootstrap_over_seeds(
        lambda y, score: {"": metric(y, score)},
        [(labels, score) for score in scores],
        patients,
        n_resamples=n_resamples,
        seed=seed,
    )[""]


def paired_over_seeds(
    metric: Callable[..., float],
    labels: npt.NDArray[Any],
    scores_a: Sequence[npt.NDArray[Any]],
    scores_b: Sequence[npt.NDArray[Any]],
    patients: npt.NDArray[Any],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean over seeds of metric of a minus metric of b, paired by patient and by seed.

    Parameters
    ----------
    labels : ndarray, shape (n,)
    scores_a, scores_b : sequence of ndarray, shape (n,)
        As many seeds in both, in the same order.
    patients : ndarray, shape (n,)

    Raises
    ------
    ValueError
        The two differ in their number of seeds.
    """
    if len(scores_a) != len(scores_b):
        raise ValueError(f"{len(scores_a)} and {len(scores_b)} seeds cannot be paired")
    return patient_bootstrap_over_seeds(
        lambda y, a, b: {"": metric(y, a) - metric(y, b)},
        [(labels, a, b) for a, b in zip(scores_a, scores_b, strict=True)],
        patients,
        n_resamples=n_resamples,
        seed=seed,
    )[""]


def _accuracy(truth: BoolArray, margin: Floats) -> float:
    return balanced_accuracy(truth, margin > 0)


def _recall(k: int) -> Callable[..., float]:
    return lambda _, ranks: recall_at_k(ranks, k)
