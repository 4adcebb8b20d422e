"""Figures and tables of `two_variances`: what its runs say, over seeds, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.protocols.ablation import OWN_WORDS, Method
from echoing_core.evaluate.protocols.ablation_tables import figure_over_seeds
from echoing_core.evaluate.protocols.two_variances import (
    DISPLACED,
    JOINT,
    LABELS,
    RANDOM_PROBE,
    READINGS,
    TOGETHER,
    Bench,
    RunReadings,
    Shown,
)
from echoing_core.evaluate.shipped.held_out import SIMULATED
from echoing_core.evaluate.uncertainty.added_noise import SNR_DB
from echoing_core.evaluate.uncertainty.scores import PLAIN
from echoing_core.evaluate.uncertainty.selective_tasks import AS_RECORDED, ENTROPY, MIXED
from echoing_core.metrics.bootstrap import patient_bootstrap_over_seeds
from echoing_core.metrics.results import Experiment, Result, Table, estimate_record, with_interval
from echoing_core.metrics.scores import (
    COSINE,
    EXACT_PAIR,
    SAME_TEXT,
    aurc,
    auroc,
    balanced_accuracy,
    balanced_weights,
    median_split,
    recall_at_k,
    spearman,
)
from echoing_core.records import BoolArray

Floats = npt.NDArray[np.float64]

ORDERS = (*READINGS, ENTROPY, PLAIN)
"""By what ECGs are left out: each sigma^2, and two rivals that need none."""

_METHOD = (
    "Mean over training seeds; intervals 95 %, patients and seeds drawn together, differences "
    "paired. Answers are zero-shot, yes above a threshold that is chosen on validation ECGs "
    "(simulated patients; PTB-XL fold 8) for the best balanced accuracy. Gap: balanced accuracy of "
    "the half with lower sigma^2 minus that of the other half, in percent. AURC: area under the "
    "risk-coverage curve of the balanced error, lower is better. Both: mean of the two ranks; in "
    "a search the sum of the two variances. Mixed quality: faults and lost leads by lot, drawn as "
    "training draws them, with other seeds. Dose: rank correlation of sigma^2 with the strength of "
    "real noise (24 to -6 dB) added to clean ECGs of fold 9. CinC 2011: AUROC of sigma^2 for the "
    "recordings that people graded as bad. The plain index and the entropy of the answer need no "
    "sigma^2. InfoNCE alone teaches no sigma^2: its joint one is what it began with."
)


def measure_variances(
    runs: Mapping[str, Sequence[RunReadings]],
    bench: Bench,
    methods: Sequence[Method],
    *,
    n_resamples: int = 300,
) -> Experiment:
    """Tables of what `readings_of` gave.

    Parameters
    ----------
    runs : mapping of method key to sequence of RunReadings
        One a seed, as many of each method.
    bench : Bench
        The same as there.
    methods : sequence of Method
    n_resamples : int

    Returns
    -------
    Experiment
        ``model`` of a result is ``"method, reading"`` or a difference of two.
    """
    results: list[Result] = []
    names = {method.key: method.name for method in methods if method.key in runs}
    for key, name in names.items():
        of_run = _Measured(name, runs[key], bench, n_resamples)
        results += of_run.answers() + of_run.searches() + of_run.quality()
    for one, other in _pairs(names):
        results += _differences(
            f"{names[one]} minus {names[other]}", runs[one], runs[other], bench, n_resamples
        )
    tables = _tables(results, list(names.values()))
    return Experiment(
        "two_variances",
        "Losses, echo teacher and two kinds of sigma^2",
        _METHOD,
        tuple(results),
        tables,
        content={
            "method": _METHOD,
            "results": [
                {"data": r.data, "task": r.task, "metric": r.metric, "model": r.model}
                | {"simulated": r.simulated}
                | estimate_record(r.estimate)
                for r in results
            ],
        },
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """The figures of one method, over its seeds."""

    name: str
    runs: Sequence[RunReadings]
    bench: Bench
    n_resamples: int

    def answers(self) -> list[Result]:
        """AUROC and balanced accuracy of each question, gaps and AURC by each order."""
        results = []
        for shown in self.bench.shown:
            labels = _asked(shown, self.runs[0])
            estimates = patient_bootstrap_over_seeds(
                _answer_figures(labels),
                [_answer_arrays(shown, run, labels) for run in self.runs],
                shown.held_out.patients,
                n_resamples=self.n_resamples,
            )
            for figure, estimate in estimates.items():
                task, metric, order = figure.split("|")
                results.append(
                    Result(
                        shown.data,
                        f"{task}, {shown.condition}",
                        metric,
                        f"{self.name}, {order}" if order else self.name,
                        estimate,
                        shown.held_out.simulated,
                    )
                )
        for shown in self.bench.shown:
            if shown.condition == AS_RECORDED:
                results += self._random_probe(shown)
        return results

    def _random_probe(self, shown: Shown) -> list[Result]:
        results = []
        for label, truth in shown.truth.items():
            if f"{shown.data}|{label}" not in self.runs[0].probes:
                continue
            known = np.isfinite(truth)
            estimate = figure_over_seeds(
                lambda yes, score: auroc(yes, score),
                [(truth[known] > 0.5, r.probes[f"{shown.data}|{label}"][known]) for r in self.runs],
                shown.held_out.patients[known],
                n_resamples=self.n_resamples,
            )
            results.append(
                Result(
                    shown.data,
                    f"{label}, {AS_RECORDED}",
                    "AUROC",
                    f"{self.name}, {RANDOM_PROBE}",
                    estimate,
                    shown.held_out.simulated,
                )
            )
        return results

    def searches(self) -> list[Result]:
        """Recall of a report's own ECG, and of one with the same text."""
        patients = np.asarray(self.bench.gallery.table["patient_id"].astype(str))
        results = []
        for place in self.runs[0].ranks:
            order, hit = place.split("|")
            for k in (1, 10):
                estimate = figure_over_seeds(
                    _recall(k),
                    [(run.ranks[place],) for run in self.runs],
                    patients,
                    n_resamples=self.n_resamples,
                )
                results.append(
                    Result(
                        SIMULATED,
                        "text to ECG",
                        f"R@{k} ({hit})",
                        f"{self.name}, {order}",
                        estimate,
                        simulated=True,
                        gallery_size=len(patients),
                    )
                )
        return results

    def quality(self) -> list[Result]:
        """How sigma^2 finds bad recordings, and follows the dose of noise."""
        results = []
        if self.bench.graded is not None:
            for reading in READINGS:
                estimate = figure_over_seeds(
                    lambda bad, score: auroc(bad, score),
                    [(self.bench.bad, run.graded[reading]) for run in self.runs],
                    np.arange(len(self.bench.bad)),
                    n_resamples=self.n_resamples,
                )
                results.append(
                    Result(
                        "CinC 2011",
                        "graded bad",
                        "AUROC",
                        f"{self.name}, {reading}",
                        estimate,
                        simulated=False,
                    )
                )
        for noise, windows in self.bench.ladders.items():
            level = np.arange(1 + len(SNR_DB), dtype=np.float64)
            people = windows.groups.reshape(-1, 1 + len(SNR_DB))[:, 0]
            for reading in READINGS:
                rows = [
                    np.array([spearman(level, row) for row in run.doses[f"{noise}|{reading}"]])
                    for run in self.runs
                ]
                estimate = figure_over_seeds(
                    lambda values: float(np.mean(values)),
                    [(of_seed,) for of_seed in rows],
                    people,
                    n_resamples=self.n_resamples,
                )
                results.append(
                    Result(
                        "PTB-XL fold 9 + real noise",
                        f"dose, {noise}",
                        "rank correlation",
                        f"{self.name}, {reading}",
                        estimate,
                        simulated=False,
                    )
                )
        return results


def _asked(shown: Shown, run: RunReadings) -> list[str]:
    """Labels with a question, an answer of both kinds, and a threshold."""
    return [
        label
        for label, truth in shown.truth.items()
        if f"{shown.data}|{shown.condition}|{label}" in run.margins
        and f"{shown.data}|{label}" in run.thresholds
        and np.unique(truth[np.isfinite(truth)]).size == 2
    ]


def _answer_arrays(
    shown: Shown, run: RunReadings, labels: Sequence[str]
) -> tuple[npt.NDArray[Any], ...]:
    """Of each ECG: truth and margin by label, and by order what is unsure and which half it is."""
    place = f"{shown.data}|{shown.condition}"
    truth = np.stack([shown.truth[label] for label in labels], axis=1)
    above = np.stack(
        [
            run.margins[f"{place}|{label}"] - run.thresholds[f"{shown.data}|{label}"]
            for label in labels
        ],
        axis=1,
    )
    readings = [run.sigma2[f"{place}|{reading}"] for reading in READINGS]
    whole = np.stack([*readings, shown.plain_index], axis=1)
    # Settled before any resampling: halves and ranks are those of the whole test set.
    low = np.stack([median_split(column) for column in whole.T], axis=1)
    low_by_entropy = np.stack([median_split(-np.abs(column)) for column in above.T], axis=1)
    return truth, above, whole, low, low_by_entropy


def _answer_figures(labels: Sequence[str]) -> Callable[..., dict[str, float]]:
    """Figures of one resample, by ``task|metric|order``."""

    def figures(
        truth: Floats, above: Floats, whole: Floats, low: BoolArray, low_by_entropy: BoolArray
    ) -> dict[str, float]:
        found: dict[str, float] = {}
        for column, label in enumerate(labels):
            known = np.isfinite(truth[:, column])
            yes, score = truth[known, column] > 0.5, above[known, column]
            wrong, weights = (score > 0) != yes, balanced_weights(yes)
            found[f"{label}|AUROC|"] = auroc(yes, score)
            found[f"{label}|balanced accuracy|"] = balanced_accuracy(yes, score > 0)
            unsure = dict(zip((*READINGS, PLAIN), whole[known].T, strict=True))
            surer = dict(zip((*READINGS, PLAIN), low[known].T, strict=True))
            unsure[ENTROPY], surer[ENTROPY] = -np.abs(score), low_by_entropy[known, column]
            for order in ORDERS:
                half = surer[order]
                found[f"{label}|gap|{order}"] = _accuracy(yes[half], score[half]) - _accuracy(
                    yes[~half], score[~half]
                )
                found[f"{label}|AURC|{order}"] = aurc(unsure[order], wrong, weights)
        for metric in ("AUROC", "balanced accuracy"):
            found[f"all questions|{metric}|"] = _mean(found, labels, metric, "")
        for order in ORDERS:
            for metric in ("gap", "AURC"):
                found[f"all questions|{metric}|{order}"] = _mean(found, labels, metric, order)
        for metric in ("gap", "AURC"):
            for one, other in ((JOINT, DISPLACED), (TOGETHER, DISPLACED), (JOINT, PLAIN)):
                found[f"all questions|{metric}|{one} minus {other}"] = (
                    found[f"all questions|{metric}|{one}"]
                    - found[f"all questions|{metric}|{other}"]
                )
        return found

    return figures


def _mean(found: Mapping[str, float], labels: Sequence[str], metric: str, order: str) -> float:
    return float(np.mean([found[f"{label}|{metric}|{order}"] for label in labels]))


def _accuracy(yes: BoolArray, score: Floats) -> float:
    return balanced_accuracy(yes, score > 0) if yes.size else float("nan")


def _pairs(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """With and without the teacher; and PCME++'s loss against the other two."""
    pairs = [(f"{key}_echo", key) for key in names if f"{key}_echo" in names]
    for other in ("csd_infonce", "infonce"):
        for echo in ("", "_echo"):
            pairs.append((f"pcmepp{echo}", f"{other}{echo}"))
    return [(one, other) for one, other in pairs if one in names and other in names]


def _differences(
    name: str,
    ones: Sequence[RunReadings],
    others: Sequence[RunReadings],
    bench: Bench,
    n_resamples: int,
) -> list[Result]:
    """Paired differences of answers and of searches."""
    results = []
    for shown in bench.shown:
        if shown.condition != AS_RECORDED:
            continue
        for label in _asked(shown, ones[0]):
            truth = shown.truth[label]
            known = np.isfinite(truth)
            place = f"{shown.data}|{shown.condition}|{label}"

            def above(run: RunReadings, rows: BoolArray = known, at: str = place) -> Floats:
                data, _, label = at.split("|")
                return (run.margins[at] - run.thresholds[f"{data}|{label}"])[rows]

            estimates = patient_bootstrap_over_seeds(
                lambda yes, a, b: {
                    "AUROC": auroc(yes, a) - auroc(yes, b),
                    "balanced accuracy": balanced_accuracy(yes, a > 0)
                    - balanced_accuracy(yes, b > 0),
                },
                [
                    (truth[known] > 0.5, above(a), above(b))
                    for a, b in zip(ones, others, strict=True)
                ],
                shown.held_out.patients[known],
                n_resamples=n_resamples,
            )
            results += [
                Result(
                    shown.data,
                    f"{label}, {AS_RECORDED}, {OWN_WORDS}",
                    metric,
                    name,
                    estimate,
                    shown.held_out.simulated,
                )
                for metric, estimate in estimates.items()
            ]
    patients = np.asarray(bench.gallery.table["patient_id"].astype(str))
    for hit in (EXACT_PAIR, SAME_TEXT):
        for k in (1, 10):
            estimate = figure_over_seeds(
                lambda a, b, k=k: recall_at_k(a, k) - recall_at_k(b, k),
                [
                    (_best_ranks(a, hit), _best_ranks(b, hit))
                    for a, b in zip(ones, others, strict=True)
                ],
                patients,
                n_resamples=n_resamples,
            )
            results.append(
                Result(
                    SIMULATED,
                    "text to ECG",
                    f"R@{k} ({hit})",
                    name,
                    estimate,
                    simulated=True,
                    gallery_size=len(patients),
                )
            )
    return results


def _best_ranks(run: RunReadings, hit: str) -> npt.NDArray[np.int64]:
    # By the distance that the loss trains: CSD by the joint sigma^2. With a sigma^2 that is the
    # same of all ECGs, as InfoNCE leaves it, that is the order of the cosine.
    return run.ranks[f"{JOINT}|{hit}"]


def _recall(k: int) -> Callable[..., float]:
    return lambda ranks: recall_at_k(ranks, k)


def _tables(results: Sequence[Result], names: Sequence[str]) -> tuple[Table, ...]:
    figures = {(r.data, r.task, r.metric, r.model): r for r in results}

    def cell(key: tuple[str, str, str, str], *, signed: bool = False) -> str:
        found = figures.get(key)
        return "" if found is None else with_interval(found.estimate, percent=True, signed=signed)

    questions = [
        (data, f"{label}, {AS_RECORDED}")
        for data, labels in LABELS.items()
        for label in labels
        if any(r.data == data and r.task == f"{label}, {AS_RECORDED}" for r in results)
    ]
    headings = [
        task.split(",")[0] + (" (sim.)" if data == SIMULATED else "") for data, task in questions
    ]
    hits = [(k, hit) for hit in (EXACT_PAIR, SAME_TEXT) for k in (1, 10)]
    answers = [
        [f"{name}{suffix}", *(cell((d, t, "AUROC", f"{name}{suffix}")) for d, t in questions)]
        for name in names
        for suffix in ("", f", {RANDOM_PROBE}")
    ]
    tables = [Table("Zero-shot, AUROC in percent", ["Method", *headings], answers, rule="---")]

    searched = [
        [
            f"{name}, {order}",
            *(
                cell((SIMULATED, "text to ECG", f"R@{k} ({hit})", f"{name}, {order}"))
                for k, hit in hits
            ),
        ]
        for name in names
        for order in (*READINGS, COSINE)
    ]
    tables.append(
        Table(
            "Text to ECG among simulated test ECGs, percent",
            ["Method, sigma^2", *(f"R@{k}, {hit}" for k, hit in hits)],
            searched,
            rule="---",
        )
    )

    doses = sorted({r.task for r in results if r.task.startswith("dose")})
    known = [
        [
            f"{name}, {reading}",
            cell(("CinC 2011", "graded bad", "AUROC", f"{name}, {reading}")),
            *(
                cell(("PTB-XL fold 9 + real noise", dose, "rank correlation", f"{name}, {reading}"))
                for dose in doses
            ),
        ]
        for name in names
        for reading in READINGS
    ]
    tables.append(
        Table(
            "What sigma^2 knows of the recording, percent",
            ["Method, sigma^2", "CinC 2011 AUROC", *doses],
            known,
            rule="---",
        )
    )
    places = [
        (d, c)
        for d in LABELS
        for c in (AS_RECORDED, MIXED)
        if any(r.data == d and r.task == f"all questions, {c}" for r in results)
    ]
    orders = (*ORDERS, f"{JOINT} minus {DISPLACED}", f"{TOGETHER} minus {DISPLACED}")
    for metric, title in (("gap", "Low half minus high half"), ("AURC", "AURC")):
        rows = [
            [
                f"{name}, {order}",
                *(
                    cell(
                        (d, f"all questions, {c}", metric, f"{name}, {order}"),
                        signed=metric == "gap" or "minus" in order,
                    )
                    for d, c in places
                ),
            ]
            for name in names
            for order in orders
        ]
        tables.append(
            Table(
                f"{title}, mean of the questions, percent",
                ["Method, order", *(f"{d}, {c}" for d, c in places)],
                rows,
                rule="---",
            )
        )
    each = [
        [
            f"{name}, {order}, {condition}",
            *(
                cell((d, f"{t.split(',')[0]}, {condition}", "gap", f"{name}, {order}"), signed=True)
                for d, t in questions
            ),
        ]
        for name in names
        for order in (*READINGS, PLAIN)
        for condition in (AS_RECORDED, MIXED)
    ]
    tables.append(
        Table(
            "Low half minus high half, by question", ["Method, order", *headings], each, rule="---"
        )
    )
    differences = [r for r in results if " minus " in r.model and ", " not in r.model]
    compared = [
        [
            r.model,
            r.task.removesuffix(f", {OWN_WORDS}"),
            r.metric,
            with_interval(r.estimate, percent=True, signed=True),
        ]
        for r in differences
    ]
    tables.append(
        Table(
            "Paired differences, percent",
            ["Pair", "Task", "Figure", "Difference"],
            compared,
            rule="---",
        )
    )
    return tuple(tables)
