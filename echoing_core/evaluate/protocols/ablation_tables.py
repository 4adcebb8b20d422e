"""Several models trained from several seeds each, on one test set: means, intervals, differences.

An interval is over patients and seeds together: each resample draws the patients of the test set
and the training seeds, both with replacement, and averages the figure over the seeds drawn. In a
difference of two rows both see the same patients and the same seeds: seed i of one is the partner
of seed i of the other. With few seeds, the part of the spread that comes from training is told
too small (by (s - 1) / s of its variance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.protocols.article import PROVENANCE, TABLE_5
from echoing_core.evaluate.protocols.tables import grid
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_over_seeds
from echoing_core.metrics.results import (
    Experiment,
    Result,
    Table,
    estimate_record,
    with_interval,
)
from echoing_core.metrics.scores import auroc, balanced_accuracy, recall_at_k
from echoing_core.records import BoolArray

Floats = npt.NDArray[np.float64]

LVEF, STRUCTURE = "lvef_lt40", "slvh_or_dlv"
COLUMNS = ("LVEF<40 ZS", "SLVH+DLV ZS", "R@1")
FURTHER = ("LVEF<40 ZS AUROC", "SLVH+DLV ZS AUROC", "R@10")

PAIR = "pair"
"""Under which a run keeps its ranks of exact pairs; those of equal texts are under
`metrics.scores.SAME_TEXT`."""

METHOD = (
    "Mean over training seeds. Intervals: 95 %, each of the resamples draws patients and seeds "
    "with replacement and averages over the seeds drawn; differences are paired by patient and by "
    "seed. With few seeds the part that comes from training is told too small."
)


@dataclass(frozen=True, eq=False)
class RunScores:
    """What one trained model says of the test patients.

    Attributes
    ----------
    margins : mapping of str to ndarray, shape (n_test,)
        By label, with prompts in the model's own words; ``"teacher:<label>"`` with the echo
        teacher's sentences, through its text encoder, against the ECG's mu.
    ranks : mapping of str to ndarray of int, shape (n_gallery,)
        Of each report's ECG in the gallery, the first test ECGs: `PAIR` and `SAME_TEXT`, by the
        distance that the loss uses (CSD, or cosine for InfoNCE).
    sigma2 : ndarray, shape (n_test,)
        Sum over dimensions.
    minutes : float
        Of training.
    """

    margins: Mapping[str, Floats]
    ranks: Mapping[str, npt.NDArray[np.int64]]
    sigma2: Floats
    minutes: float


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
        Of both; the article's rows stand beside ours only where it is the article's.
    simulated : bool
    """

    # pytest takes every class of this name for a test.
    __test__ = False

    truth: Mapping[str, Floats]
    patients: npt.NDArray[np.str_]
    gallery_patients: npt.NDArray[np.str_]
    source: str
    simulated: bool


def table_5(
    rows: Mapping[str, Sequence[RunScores]],
    test: TestSet,
    *,
    compare: Sequence[tuple[str, str]] = (),
    probabilistic: Mapping[str, bool] | None = None,
    labels: tuple[str, str] = (LVEF, STRUCTURE),
    n_resamples: int = 1000,
) -> Experiment:
    """Table 5: methods against LVEF < 40 %, SLVH or DLV, and R@1, each averaged over its seeds.

    Parameters
    ----------
    rows : mapping of method to sequence of RunScores
        One for each training seed.
    test : TestSet
    compare : sequence of (row, row)
        Differences first minus second; both need as many seeds, in the same order.
    probabilistic : mapping of method to bool, optional
        For the column of that name.
    labels : (str, str)
        Of the first two columns.
    n_resamples : int

    Returns
    -------
    Experiment
        ``model`` of a result is a row, or ``"a - b"``; ``metric`` is the column.
    """
    # Each column: a metric, the truth and patients of its items, and every run's scores of them.
    columns: dict[str, tuple[Callable[..., float], BoolArray, npt.NDArray[np.str_]]] = {}
    scores: dict[str, dict[str, list[npt.NDArray[Any]]]] = {}
    for label, name in zip(labels, COLUMNS, strict=False):
        known = np.isfinite(test.truth[label])
        yes, people = test.truth[label][known] > 0.5, test.patients[known]
        # The margin at 0 decides for the article's column; the AUROC of the same margins needs no
        # threshold.
        for column, metric in ((name, _accuracy), (f"{name} AUROC", auroc)):
            columns[column] = metric, yes, people
            scores[column] = {
                r: [s.margins[label][known] for s in runs] for r, runs in rows.items()
            }
    for k in (1, 10):
        # Recall knows no truth but the ranks.
        nothing = np.zeros(len(test.gallery_patients), dtype=bool)
        columns[f"R@{k}"] = _recall(k), nothing, test.gallery_patients
        scores[f"R@{k}"] = {r: [s.ranks[PAIR] for s in runs] for r, runs in rows.items()}

    results: list[Result] = []
    for column, (metric, yes, people) in columns.items():
        of_rows = scores[column]
        # Rows first, then their differences: the order of the tables.
        estimates = {
            row: over_seeds(metric, yes, of_runs, people, n_resamples=n_resamples)
            for row, of_runs in of_rows.items()
        } | {
            f"{a} - {b}": paired_over_seeds(
                metric, yes, of_rows[a], of_rows[b], people, n_resamples=n_resamples
            )
            for a, b in compare
        }
        results += [
            Result(
                test.source,
                "ablation",
                column,
                row,
                estimate,
                test.simulated,
                gallery_size=len(test.gallery_patients),
                # A difference has no run of its own.
                per_seed=tuple(metric(yes, one) for one in of_rows.get(row, ())),
            )
            for row, estimate in estimates.items()
        ]
    return _experiment(results, list(rows), test, probabilistic or {})


def figure_over_seeds(
    metric: Callable[..., float],
    per_seed: Sequence[tuple[npt.NDArray[Any], ...]],
    patients: npt.NDArray[Any],
    *,
    n_resamples: int = 1000,
) -> Estimate:
    """Mean of one figure over seeds, interval over patients and seeds.

    Parameters
    ----------
    metric : callable
        Of the arrays of one seed.
    per_seed : sequence of tuple of ndarray
        All of first dimension n.
    patients : ndarray, shape (n,)
    n_resamples : int

    Returns
    -------
    Estimate
    """
    return patient_bootstrap_over_seeds(
        lambda *arrays: {"": metric(*arrays)}, per_seed, patients, n_resamples=n_resamples
    )[""]


def over_seeds(
    metric: Callable[..., float],
    labels: npt.NDArray[Any],
    scores: Sequence[npt.NDArray[Any]],
    patients: npt.NDArray[Any],
    *,
    n_resamples: int = 1000,
) -> Estimate:
    """Mean of ``metric(labels, score)`` over seeds, interval over patients and seeds.

    Parameters
    ----------
    metric : callable
    labels : ndarray, shape (n,)
    scores : sequence of ndarray, shape (n,)
        One for each training seed.
    patients : ndarray, shape (n,)
    n_resamples : int

    Returns
    -------
    Estimate
    """
    return figure_over_seeds(
        metric, [(labels, score) for score in scores], patients, n_resamples=n_resamples
    )


def paired_over_seeds(
    metric: Callable[..., float],
    labels: npt.NDArray[Any],
    scores_a: Sequence[npt.NDArray[Any]],
    scores_b: Sequence[npt.NDArray[Any]],
    patients: npt.NDArray[Any],
    *,
    n_resamples: int = 1000,
) -> Estimate:
    """Mean over seeds of metric of a minus metric of b, paired by patient and by seed.

    Parameters
    ----------
    metric : callable
    labels : ndarray, shape (n,)
    scores_a, scores_b : sequence of ndarray, shape (n,)
        As many seeds in both, in the same order.
    patients : ndarray, shape (n,)
    n_resamples : int

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        The two differ in their number of seeds.
    """
    if len(scores_a) != len(scores_b):
        raise ValueError(f"{len(scores_a)} and {len(scores_b)} seeds cannot be paired")
    return figure_over_seeds(
        # Subtracted within each resample: both rows see the same patients, so what they share
        # cancels out of the interval.
        lambda y, a, b: metric(y, a) - metric(y, b),
        [(labels, a, b) for a, b in zip(scores_a, scores_b, strict=True)],
        patients,
        n_resamples=n_resamples,
    )


def _experiment(
    results: Sequence[Result], rows: Sequence[str], test: TestSet, probabilistic: Mapping[str, bool]
) -> Experiment:
    """The layout of Table 5, the threshold-free figures beside it, and the differences."""
    by_row = grid(results, lambda r: r.model, lambda r: r.metric)
    differences = [name for name in by_row if name not in rows]
    beside = [] if test.simulated or test.source not in TABLE_5.sources else _article_rows()
    size = f"Gallery: {len(test.gallery_patients):,} ECGs, exact pair."
    note = (
        f"{size} Percent. The paper's: {PROVENANCE}. {TABLE_5.note}"
        if beside
        else f"{'Simulated ECGs. ' if test.simulated else ''}{size} Percent. The paper's figures "
        "were measured on other data and are not set beside these."
    )

    def table(title: str, names: Sequence[str], columns: Sequence[str], signed: bool) -> Table:
        lines, records = [], []
        for name in names:
            # `probabilistic` knows rows only, so the cell is empty for a difference.
            estimates = {column: by_row[name][column].estimate for column in columns}
            kind = ("yes" if probabilistic[name] else "no") if name in probabilistic else ""
            cells = [with_interval(e, percent=True, signed=signed) for e in estimates.values()]
            lines.append([name, kind, *cells])
            records.append(
                {"row": name, "paper": False}
                | {column: estimate_record(e) for column, e in estimates.items()}
            )
        return Table(title, ["Method", "Prob.", *columns], lines, records, note)

    tables = [
        table("Table 5 layout: ablation, zero-shot", rows, COLUMNS, False),
        table("Threshold-free, and R@10", rows, FURTHER, False),
    ]
    # The article's rows stand in the layout only; it prints no threshold-free figure.
    tables[0] = replace(tables[0], rows=[*tables[0].rows, *beside])
    if differences:
        tables.append(table("Paired differences", differences, (*COLUMNS, *FURTHER), True))
    # Once, below the last table, since it holds for all of them.
    tables[-1] = replace(tables[-1], note=f"{note}\n\n{METHOD}")
    content = {
        "method": METHOD,
        "simulated": test.simulated,
        "gallery_size": len(test.gallery_patients),
        "tables": [{"title": one.title, "rows": one.records} for one in tables],
        "per_seed": [
            {"row": r.model, "figure": r.metric, "values": list(r.per_seed)}
            for r in results
            if r.per_seed
        ],
    }
    return Experiment("ablation", "", "", tuple(results), tuple(tables), content=content)


def _article_rows() -> list[list[str]]:
    return [
        [f"paper: {name}", "yes" if name.startswith("PCME") else "no", *map(str, row.values())]
        for name, row in TABLE_5.rows.items()
    ]


def _accuracy(truth: BoolArray, margin: Floats) -> float:
    return balanced_accuracy(truth, margin > 0)


def _recall(k: int) -> Callable[..., float]:
    return lambda _, ranks: recall_at_k(ranks, k)
