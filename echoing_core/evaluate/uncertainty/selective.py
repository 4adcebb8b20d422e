"""Does sigma^2 know when the model is wrong? Selective answers and calibration.

Leave out the ECGs that are least sure, and see how often the answers about the others are right:
in halves (median split) and at every share kept (risk-coverage curve and its area, AURC). sigma^2
stands beside what else could choose: the entropy of the answer itself, a plain signal-quality
index, sigma^2 of random weights, and P(wrong), the closed-form probability that joins sigma^2 and
the margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.evaluate.uncertainty.scores import PLAIN, SIGMA2, Floats
from echoing_core.evaluate.uncertainty.selective_tasks import (
    CONDITIONS,
    ENTROPY,
    P_WRONG,
    REJECTERS,
    ZERO_SHOT,
    Task,
    build_tasks,
)
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.results import Experiment, Result, Table, to_records, with_interval
from echoing_core.metrics.scores import (
    aurc,
    auroc,
    balanced_accuracy,
    balanced_weights,
    expected_calibration_error,
    median_split,
    reliability,
    risk_coverage,
)
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.zeroshot.prompts import PromptSet

COVERAGES = tuple(np.linspace(0.05, 1.0, 20).round(2).tolist())
"""Shares kept at which curves are written down."""

N_BINS = 10

BALANCED_ERROR, PLAIN_ERROR = "balanced error", "0/1 error"
SPLIT_METRICS = ("balanced accuracy", "AUROC")

COMPARED = ((SIGMA2, ENTROPY), (SIGMA2, PLAIN), (P_WRONG, ENTROPY), (P_WRONG, PLAIN))
"""What is compared by AURC. Entropy and P(wrong) speak of one question, the others of the ECG."""

_TITLE = "Does it know when the model is wrong?"

_METHOD = (
    "Yes/no questions about held-out ECGs, answered zero-shot (shipped prompts, margin > 0) and by "
    "a linear probe on mu (trained on training patients as recorded; logit > 0). *As recorded*: "
    "the test ECGs as they are (of the simulated ones, 55 % carry noise). *Mixed quality*: each "
    "simulated ECG twice and each of PTB-XL four times, each time by lot with device faults of a "
    "severity even between 0 and 1 (half of the draws) and with lost leads (a quarter); drawn by "
    "the functions that training draws faults with, as written down before any figure was seen. "
    "*Every dose of noise*: as often, each time with simulated wander, electrode motion or muscle "
    "noise at none, 24, 18, 12, 6, 0 or -6 dB, by lot. *Real noise until all is lost*: as often, "
    "with one of the three noises of the MIT-BIH Noise Stress Test at none of these or -12, -18 "
    "or -24 dB. *Misplaced electrodes*: as often, in half of the draws, by the lead equations; "
    "training draws none. "
    "AURC: area under the risk-coverage curve, lower is better; the risk is the balanced error, "
    "each class weighted by 1 / prevalence, so that always saying no is no good answer. Intervals: "
    "95 %, bootstrap over patients; gaps and differences are paired."
)


def selective_study(
    checkpoint: Checkpoint,
    ptbxl: Path | None,
    prompts: Sequence[PromptSet],
    *,
    nstdb: Path | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Median split, risk-coverage and calibration on simulated test patients and PTB-XL fold 9.

    Parameters
    ----------
    checkpoint : Checkpoint
    ptbxl : path or None
        Folder of PTB-XL; without it, simulated patients only.
    prompts : sequence of PromptSet
        With the labels of `selective_tasks.LABELS`.
    nstdb : path or None
        Folder with real noise; without it, the condition that adds it is left out.
    n_resamples : int
    progress : Progress
        Counts tasks measured, once all ECGs are embedded.

    Returns
    -------
    Experiment
        ``task`` of a result is question, method and condition, and ``model`` what the ECGs were
        left out by. JSON holds besides: for each condition and in all, on how many tasks what the
        product promises holds (``summary``); the risk at `COVERAGES` by task and rejecter
        (``risk_coverage``); expected calibration error and reliability points by zero-shot task
        and kind of probability (``calibration``).
    """
    tasks = build_tasks(checkpoint, ptbxl, prompts, nstdb=nstdb)
    results: list[Result] = []
    for done, task in enumerate(tasks, start=1):
        results += measure(task, n_resamples=n_resamples)
        progress(done, len(tasks))
    summary = summarise(results)
    calibration = [row for task in tasks if task.method == ZERO_SHOT for row in _calibration(task)]
    figures = {(r.data, r.task, r.metric, r.model): r.estimate for r in results}
    places = list(dict.fromkeys((r.data, r.task) for r in results))
    return Experiment(
        "selective",
        _TITLE,
        _METHOD,
        tuple(results),
        (
            _summary_table(summary),
            _split_table(places, figures),
            *(_aurc_table(places, figures, error) for error in (BALANCED_ERROR, PLAIN_ERROR)),
            _calibration_table(calibration),
        ),
        content={
            "title": _TITLE,
            "method": _METHOD,
            "summary": [dict(row) for row in summary],
            "results": to_records(results),
            "risk_coverage": [row for task in tasks for row in _curves(task)],
            "calibration": calibration,
        },
    )


def task_name(task: Task) -> str:
    """A task as tables name it."""
    return f"{task.question}, {task.method}, {task.condition}"


def measure(task: Task, *, n_resamples: int) -> list[Result]:
    """Halves, AURC and their paired differences of one task, all on the same resamples.

    The halves are those of the whole test set in every resample.

    Parameters
    ----------
    task : Task
    n_resamples : int

    Returns
    -------
    list of Result
    """
    # Columns as `REJECTERS`; the halves are settled before any resampling.
    unsure = np.stack([task.unsure[name] for name in REJECTERS], axis=1)
    low = np.stack([median_split(column) for column in unsure.T], axis=1)
    estimates = patient_bootstrap_all(
        _figures, (task.truth, task.score, unsure, low), task.patients, n_resamples=n_resamples
    )
    return [
        Result(task.data, task_name(task), metric, model, estimate, task.simulated)
        for (metric, model), estimate in (
            (name.split("|"), estimate) for name, estimate in estimates.items()
        )
    ]


def _figures(truth: BoolArray, score: Floats, unsure: Floats, low: BoolArray) -> dict[str, float]:
    """All figures of one resample, by ``metric|rejecter``, and the differences of `COMPARED`."""
    figures: dict[str, float] = {}
    for column, name in enumerate(REJECTERS):
        surer_half = low[:, column]
        halves = [_quality_of(truth[half], score[half]) for half in (surer_half, ~surer_half)]
        for metric, surer, less_sure in zip(SPLIT_METRICS, *halves, strict=True):
            figures[f"{metric}, low half|{name}"] = surer
            figures[f"{metric}, high half|{name}"] = less_sure
            figures[f"{metric}, low - high|{name}"] = surer - less_sure
    # 0/1 error as it is, and with both classes of equal weight.
    wrong = (score > 0) != truth
    for error, weights in ((BALANCED_ERROR, balanced_weights(truth)), (PLAIN_ERROR, None)):
        area = {name: aurc(unsure[:, i], wrong, weights) for i, name in enumerate(REJECTERS)}
        figures[f"{error}|all kept"] = float(np.average(wrong, weights=weights))
        figures |= {f"AURC, {error}|{name}": value for name, value in area.items()}
        for one, other in COMPARED:
            figures[f"AURC, {error}|{one} - {other}"] = area[one] - area[other]
    return figures


def _quality_of(truth: BoolArray, score: Floats) -> tuple[float, float]:
    """The figures of `SPLIT_METRICS`; NaN where a half is empty or has one class."""
    if truth.size == 0:
        return float("nan"), float("nan")
    return balanced_accuracy(truth, score > 0), auroc(truth, score)


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """On how many tasks what the product promises holds.

    Parameters
    ----------
    results : sequence of Result
        Of `measure`.

    Returns
    -------
    list of dict
        One for each of `CONDITIONS`, and one for all of them together.
    """
    by_task: dict[tuple[str, str], dict[tuple[str, str], Estimate]] = {}
    for result in results:
        figures = by_task.setdefault((result.data, result.task), {})
        figures[result.metric, result.model] = result.estimate
    rows = []
    for condition in (*CONDITIONS, "all"):
        tasks = [
            figures
            for (_, task), figures in by_task.items()
            if condition == "all" or task.endswith(condition)
        ]
        row: dict[str, Any] = {"condition": condition, "tasks": len(tasks)}
        for metric in SPLIT_METRICS:
            gaps = [figures[f"{metric}, low - high", SIGMA2] for figures in tasks]
            row[f"low half better, {metric}"] = sum(gap.value > 0 for gap in gaps)
            # Surely: the whole interval of the paired gap is above 0.
            row[f"low half surely better, {metric}"] = sum(gap.low > 0 for gap in gaps)
        for one, other in COMPARED:
            gaps = [figures[f"AURC, {BALANCED_ERROR}", f"{one} - {other}"] for figures in tasks]
            row[f"AURC of {one} below that of {other}"] = sum(gap.value < 0 for gap in gaps)
            row[f"AURC of {one} surely below that of {other}"] = sum(gap.high < 0 for gap in gaps)
        rows.append(row)
    return rows


def _curves(task: Task) -> list[dict[str, Any]]:
    """Risk among the surest, at `COVERAGES` of the (class-balanced) weight."""
    weights = balanced_weights(task.truth)
    wrong = (task.score > 0) != task.truth
    rows = []
    for name in REJECTERS:
        coverage, risk = risk_coverage(task.unsure[name], wrong, weights)
        # The first point of the curve that keeps at least this share.
        at = np.minimum(np.searchsorted(coverage, np.array(COVERAGES) - 1e-9), len(risk) - 1)
        rows.append(
            {
                "data": task.data,
                "task": task_name(task),
                "by": name,
                "coverage": list(COVERAGES),
                "balanced_error": risk[at].tolist(),
            }
        )
    return rows


def _calibration(task: Task) -> list[dict[str, Any]]:
    rows = []
    for kind, probability in (("with sigma^2", task.closed), ("without sigma^2", task.plain)):
        predicted, observed, count = reliability(task.truth, probability, n_bins=N_BINS)
        # Empty bins have no point.
        filled = count > 0
        rows.append(
            {
                "data": task.data,
                "task": task_name(task),
                "probability": kind,
                "ece": expected_calibration_error(task.truth, probability, n_bins=N_BINS),
                "brier": float(np.mean((probability - task.truth) ** 2)),
                "share_positive": float(task.truth.mean()),
                "mean_probability": float(probability.mean()),
                "reliability": [
                    {"predicted": float(p), "observed": float(o), "count": int(n)}
                    for p, o, n in zip(
                        predicted[filled], observed[filled], count[filled], strict=True
                    )
                ],
            }
        )
    return rows


Figures = Mapping[tuple[str, str, str, str], Estimate]


def _summary_table(summary: Sequence[Mapping[str, Any]]) -> Table:
    names = [key for key in summary[0] if key != "condition"]
    rows = [[name, *(str(row[name]) for row in summary)] for name in names]
    return Table("", ["", *(row["condition"] for row in summary)], rows)


def _split_table(places: Sequence[tuple[str, str]], figures: Figures) -> Table:
    header = ["Data", "Task"]
    for metric in SPLIT_METRICS:
        header += [f"{metric}: low sigma^2", "high", "gap"]
    rows = []
    for data, task in places:
        row = [data, task]
        for metric in SPLIT_METRICS:
            low, high, gap = (
                figures[data, task, f"{metric}, {which}", SIGMA2]
                for which in ("low half", "high half", "low - high")
            )
            row += [f"{low.value:.3f}", f"{high.value:.3f}", with_interval(gap, signed=True)]
        rows.append(row)
    return Table("", header, rows)


def _aurc_table(places: Sequence[tuple[str, str]], figures: Figures, error: str) -> Table:
    metric = f"AURC, {error}"
    pairs = [f"{one} - {other}" for one, other in COMPARED]
    header = ["Data", "Task", f"{error}, all kept", *(f"AURC by {name}" for name in REJECTERS)]
    header += pairs
    rows = []
    for data, task in places:
        row = [data, task, f"{figures[data, task, error, 'all kept'].value:.3f}"]
        row += [f"{figures[data, task, metric, name].value:.3f}" for name in REJECTERS]
        row += [with_interval(figures[data, task, metric, pair], signed=True) for pair in pairs]
        rows.append(row)
    return Table("", header, rows)


def _calibration_table(calibration: Sequence[Mapping[str, Any]]) -> Table:
    header = ["Data", "Task", "Probability", "ECE", "Brier", "Mean probability", "Share of yes"]
    keys = ("ece", "brier", "mean_probability", "share_positive")
    rows = [
        [row["data"], row["task"], row["probability"], *(f"{row[key]:.3f}" for key in keys)]
        for row in calibration
    ]
    return Table("", header, rows)
