"""Figures and tables of models beside each other (`model_comparison`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.protocols.answers import (
    AUROC,
    FEW_SHOT_10,
    FEW_SHOT_100,
    NEIGHBOURS,
    is_deterministic,
)
from echoing_core.evaluate.protocols.classes import MACRO
from echoing_core.evaluate.protocols.cost import REPEATS, WINDOWS, Cost
from echoing_core.evaluate.protocols.data import EvaluationData
from echoing_core.evaluate.protocols.retrieval import TASK as SEARCH
from echoing_core.evaluate.protocols.settings import ZERO_SHOT, EvaluationOptions
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_over_seeds
from echoing_core.metrics.nearest import K
from echoing_core.metrics.results import (
    PROTOCOL_KEYS,
    Experiment,
    Result,
    Table,
    to_records,
    with_interval,
)
from echoing_core.metrics.scores import ResampledAuroc, median_split, recall_at_k
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.models.hub_card import trained_on

Floats = npt.NDArray[np.float64]

FEW_SHOT_1 = "1 % probe"
PROBES: Mapping[str, float] = {FEW_SHOT_1: 0.01, FEW_SHOT_10: 0.1, FEW_SHOT_100: 1.0}
RETRIEVAL_KS = (1, 10)
FINDS_ERRORS = "sigma^2 finds wrong answers"
SURER_HALF = "surer half - less sure half"
FEWEST = 10
"""Test ECGs of either answer that a question needs where none is named: below, a figure rests on
single ECGs."""

NO_TEXT = "no text encoder"
NO_SIGMA2 = "no sigma^2"
UNTAUGHT = "nothing taught its sigma^2"
NO_REPORTS = "no reports in these data"


@dataclass(frozen=True, eq=False)
class Entrant:
    """One column of the table: an ECG encoder, and the model whose scale and texts it uses.

    Attributes
    ----------
    name : str
    checkpoint : Checkpoint
    encoder : EcgEncoder
        The checkpoint's, or one of its architecture with random weights.
    is_control : bool
        Random weights.
    """

    name: str
    checkpoint: Checkpoint
    encoder: EcgEncoder
    is_control: bool = False

    @property
    def lacks_sigma2(self) -> str:
        """Why its sigma^2 is not measured; empty where it is."""
        if not self.checkpoint.encoder.config.has_sigma2:
            return NO_SIGMA2
        return UNTAUGHT if self.is_control or is_deterministic(self.checkpoint) else ""


@dataclass(frozen=True, eq=False)
class Task:
    """Questions to a test set, and what every entrant scored on them.

    Attributes
    ----------
    name : str
        As `Result.task` has it where it is about all questions.
    labels : mapping of str to str
        Label to what is asked.
    truth : ndarray, shape (n, n_labels)
        1, 0, or NaN where unknown.
    patients : ndarray of str, shape (n,)
    scores : dict of protocol to dict of entrant to list of ndarray, shape (n, n_labels)
        One array a seed. Who lacks a protocol is not in it.
    """

    name: str
    labels: Mapping[str, str]
    truth: Floats
    patients: npt.NDArray[np.str_]
    scores: dict[str, dict[str, list[Floats]]] = field(default_factory=dict)

    def add(self, protocol: str, entrant: str, per_seed: list[Floats]) -> None:
        """Keep what an entrant scored.

        Parameters
        ----------
        protocol, entrant : str
        per_seed : list of ndarray, shape (n, n_labels)
        """
        self.scores.setdefault(protocol, {})[entrant] = per_seed


def macro_figures(
    values: Floats, names: Sequence[str], labels: Sequence[str], first: str
) -> dict[str, float]:
    """Figures of each entrant and label, their mean over labels, and differences to the first.

    Parameters
    ----------
    values : ndarray, shape (n_entrants, n_labels)
        NaN where a figure is not defined.
    names, labels : sequence of str
    first : str
        The entrant that others are compared with; where it is not among them, there is no
        difference.

    Returns
    -------
    dict of str to float
        By ``ENTRANT|LABEL``, the label empty for the mean over the labels where the figure is
        defined; and by ``ENTRANT - FIRST|LABEL``.
    """
    defined = np.isfinite(values)
    counts = defined.sum(axis=1)
    # A resample may lack a rare answer; the mean is then that of the other labels.
    means = np.divide(
        np.where(defined, values, 0.0).sum(axis=1),
        counts,
        out=np.full(len(names), np.nan),
        where=counts > 0,
    )
    columns = (*labels, "")
    table = np.column_stack([values, means])
    figures = {
        f"{name}|{column}": float(table[i, j])
        for i, name in enumerate(names)
        for j, column in enumerate(columns)
    }
    if first in names:
        gaps = table - table[list(names).index(first)]
        figures |= {
            f"{name} - {first}|{column}": float(gaps[i, j])
            for i, name in enumerate(names)
            for j, column in enumerate(columns)
            if name != first
        }
    return figures


def _auroc_of(truth: Floats, scores: Sequence[Floats]) -> Callable[[npt.ArrayLike], Floats]:
    """From rows to the AUROC of each entrant and label, shape (n_entrants, n_labels)."""
    counted = ResampledAuroc(np.tile(truth, (1, len(scores))), np.column_stack(scores))
    return lambda rows: counted(rows).reshape(len(scores), truth.shape[1])


def _estimates(
    task: Task, protocol: str, first: str, n_resamples: int
) -> tuple[dict[str, Estimate], list[dict[str, float]]]:
    """Figures of all entrants of one protocol, and those of each seed."""
    by_entrant = task.scores[protocol]
    names, labels = list(by_entrant), list(task.labels)
    n_seeds = len(by_entrant[names[0]])
    of_seed = [
        _auroc_of(task.truth, [by_entrant[name][seed] for name in names]) for seed in range(n_seeds)
    ]

    def measured(rows: npt.NDArray[np.int64], seed: npt.NDArray[np.int64]) -> dict[str, float]:
        return macro_figures(of_seed[int(seed[0])](rows), names, labels, first)

    everyone = np.arange(len(task.truth))
    per_seed = [(everyone, np.full(len(everyone), seed)) for seed in range(n_seeds)]
    estimates = patient_bootstrap_over_seeds(
        measured, per_seed, task.patients, n_resamples=n_resamples
    )
    return estimates, [measured(*arrays) for arrays in per_seed]


def field_of(
    task: Task, entrants: Sequence[Entrant], n_resamples: int
) -> dict[str, dict[str, Estimate]]:
    """Macro AUROC of a task of classes, for the field's table.

    Parameters
    ----------
    task : Task
    entrants : sequence of Entrant
    n_resamples : int

    Returns
    -------
    dict of protocol to dict of entrant to Estimate
    """
    return {
        protocol: {
            name: estimates[f"{name}|"] for name in (e.name for e in entrants) if name in scores
        }
        for protocol, scores in task.scores.items()
        for estimates in (_estimates(task, protocol, "", n_resamples)[0],)
    }


@dataclass(eq=False)
class Measured:
    """Figures as they are made, and the tables of them.

    Attributes
    ----------
    data : EvaluationData
    task : Task
        With what every entrant scored.
    entrants : sequence of Entrant
        Differences are to the first.
    costs : mapping of entrant to Cost
    n_resamples : int
    no_reports : bool
        The data have none to search by.
    results, differences : list of Result
        Of the entrants, and of one less the first.
    """

    data: EvaluationData
    task: Task
    entrants: Sequence[Entrant]
    costs: Mapping[str, Cost]
    n_resamples: int
    no_reports: bool
    results: list[Result] = field(default_factory=list)
    differences: list[Result] = field(default_factory=list)

    @property
    def first(self) -> str:
        """Whom the others are compared with."""
        return self.entrants[0].name

    def answers(self, protocol: str) -> None:
        """AUROC of every question and their mean, by one way of answering.

        Parameters
        ----------
        protocol : str
            Of the task's.
        """
        estimates, by_seed = _estimates(self.task, protocol, self.first, self.n_resamples)
        for key, estimate in estimates.items():
            name, label = key.rsplit("|", 1)
            self._keep(
                name,
                estimate,
                protocol=protocol,
                metric=AUROC if label else MACRO,
                label=label,
                per_seed=tuple(one[key] for one in by_seed),
            )

    def retrieval(self, ranks: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Recall of the searches by report.

        Parameters
        ----------
        ranks : mapping of entrant to ndarray of int, shape (n,)
            Of each report's ECG; empty where nobody can search.
        """
        if not ranks:
            return
        names = list(ranks)

        def measured(*columns: npt.NDArray[np.int64]) -> dict[str, float]:
            by_name = dict(zip(names, columns, strict=True))
            figures = {
                f"{name}|R@{k}": recall_at_k(of, k)
                for name, of in by_name.items()
                for k in RETRIEVAL_KS
            }
            return figures | {
                f"{name} - {self.first}|R@{k}": figures[f"{name}|R@{k}"]
                - figures[f"{self.first}|R@{k}"]
                for name in names
                for k in RETRIEVAL_KS
                if self.first in by_name and name != self.first
            }

        estimates = patient_bootstrap_over_seeds(
            measured,
            [tuple(ranks.values())],
            self.task.patients,
            n_resamples=self.n_resamples,
        )
        for key, estimate in estimates.items():
            name, metric = key.rsplit("|", 1)
            self._keep(name, estimate, protocol=SEARCH, metric=metric, gallery=len(self.task.truth))

    def sigma2(self, unsure: Mapping[str, Floats]) -> None:
        """How sigma^2 goes with the answers of the probe from all training patients.

        Parameters
        ----------
        unsure : mapping of entrant to ndarray, shape (n,)
            Sums of sigma^2; without entrants whose sigma^2 was never taught.
        """
        if not unsure:
            return
        names, labels = list(unsure), list(self.task.labels)
        truth = self.task.truth
        probes = [self.task.scores[FEW_SHOT_100][name][0] for name in names]
        shape = (1, len(labels))
        sums = [np.tile(unsure[name][:, None], shape) for name in names]
        low = [np.tile(median_split(unsure[name])[:, None], shape) for name in names]
        # The same AUROC of other labels: wrong answers, and the truth in one half alone.
        wrong = [
            np.where(np.isfinite(truth), (probe > 0) != (truth > 0.5), np.nan) for probe in probes
        ]
        finds = ResampledAuroc(np.column_stack(wrong), np.column_stack(sums))
        halves = [
            ResampledAuroc(
                np.column_stack([np.where(half == is_low, truth, np.nan) for half in low]),
                np.column_stack(probes),
            )
            for is_low in (True, False)
        ]

        def measured(rows: npt.NDArray[np.int64]) -> dict[str, float]:
            values = {FINDS_ERRORS: finds(rows), SURER_HALF: halves[0](rows) - halves[1](rows)}
            return {
                f"{metric}|{key}": value
                for metric, of in values.items()
                for key, value in macro_figures(
                    of.reshape(len(names), -1), names, labels, self.first
                ).items()
            }

        estimates = patient_bootstrap_over_seeds(
            measured,
            [(np.arange(len(truth)),)],
            self.task.patients,
            n_resamples=self.n_resamples,
        )
        for key, estimate in estimates.items():
            metric, name, label = key.split("|")
            protocol = f"sigma^2, {FEW_SHOT_100}"
            self._keep(name, estimate, protocol=protocol, metric=metric, label=label)

    def _keep(
        self,
        name: str,
        estimate: Estimate,
        *,
        protocol: str,
        metric: str,
        label: str = "",
        per_seed: tuple[float, ...] = (),
        gallery: int | None = None,
    ) -> None:
        names = {e.name for e in self.entrants}
        result = Result(
            self.data.name,
            SEARCH if protocol == SEARCH else self.task.labels.get(label, self.task.name),
            metric,
            name,
            estimate,
            self.data.simulated,
            gallery_size=gallery,
            label=label,
            protocol=protocol,
            n_group=estimate.n_items,
            n_seeds=max(1, len(per_seed)),
            per_seed=per_seed or (estimate.value,),
        )
        (self.results if name in names else self.differences).append(result)

    def experiment(self, *, fine_tuned: bool, options: EvaluationOptions) -> Experiment:
        """What was measured, as tables and as JSON.

        Parameters
        ----------
        fine_tuned : bool
            Whether all weights were trained, too.
        options : EvaluationOptions
            Say how.

        Returns
        -------
        Experiment
            Its results are the figures, then the differences.
        """
        rows = self._rows()
        data, n_seeds = self.data, options.n_seeds
        cautions = dict.fromkeys(
            f"{e.name}: {e.checkpoint.caution}"
            for e in self.entrants
            if e.checkpoint.caution and not e.is_control
        )
        method = " ".join(
            [
                f"Every model is given the same {len(data.split('train')):,} training and "
                f"{len(data.split('test')):,} test ECGs, embedded once. {MACRO}: mean over "
                f"{len(self.task.labels)} questions ({', '.join(self.task.labels.values())}). "
                "Zero-shot: the margin of the prompts. Probes: logistic regression on frozen mu, "
                f"from 1 % and 10 % of the training patients ({n_seeds} draws, stratified by the "
                f"label) and from all. {NEIGHBOURS}: the share of yes among the {K} training ECGs "
                "whose mu is nearest. Text to ECG: every test report searches the test ECGs; a hit "
                "is any ECG with the same report. sigma^2: the AUROC with which its sum finds the "
                f"wrong answers of the {FEW_SHOT_100}, and the {MACRO} of that probe in the surer "
                "half of the ECGs less that in the other. *random*: the ECG encoder of that model "
                "with random weights and the model's own texts. Costs are the ECG encoder's: "
                "GFLOP of its matrix products and convolutions for a window of 10 s; milliseconds "
                f"of processor time a window in a batch of {WINDOWS}, the best of {REPEATS}, with "
                f"{self.costs[self.first].threads} threads of this machine. Intervals: 95 %, "
                "bootstrap over patients, and over draws where there are several.",
                *([self._tuned_words(options)] if fine_tuned else ["Not fine-tuned."]),
                *(words for e in self.entrants if (words := _learnt(e))),
                *cautions,
            ]
        )
        tables = (self._main_table(rows), self._difference_table(rows), self._label_table())
        content = {
            "title": f"Models beside each other on {data.name}",
            "method": method,
            "models": [self._about(entrant, rows) for entrant in self.entrants],
            "figures": to_records(self.results, PROTOCOL_KEYS),
            "differences": to_records(self.differences, PROTOCOL_KEYS),
        }
        return Experiment(
            "compare_models",
            str(content["title"]),
            method,
            (*self.results, *self.differences),
            tables,
            {
                "training ECGs": len(data.split("train")),
                "test ECGs": len(data.split("test")),
                "questions": len(self.task.labels),
            },
            content=content,
        )

    @staticmethod
    def _tuned_words(options: EvaluationOptions) -> str:
        s = options.fine_tune
        return (
            f"Fine-tuned: all weights and a linear head, {s.epochs} epochs on about {s.n_train} "
            f"training ECGs, learning rates {s.lr:g} and {s.head_lr:g}, the epoch chosen on valid "
            f"ECGs, {options.n_seeds} seeds."
        )

    def _rows(self) -> dict[tuple[str, str], str]:
        """(protocol, metric) of every row of figures, and how it is called."""
        rows = {(p, MACRO): f"{p}, {MACRO}" for p in self.task.scores}
        # Before the probes where no model has any: a row of reasons is better than none.
        if ZERO_SHOT not in self.task.scores:
            rows = {(ZERO_SHOT, MACRO): f"{ZERO_SHOT}, {MACRO}"} | rows
        rows |= {(SEARCH, f"R@{k}"): f"{SEARCH}, R@{k}" for k in RETRIEVAL_KS}
        protocol = f"sigma^2, {FEW_SHOT_100}"
        return rows | {
            (protocol, FINDS_ERRORS): f"{FINDS_ERRORS}, AUROC",
            (protocol, SURER_HALF): f"{SURER_HALF}, {MACRO}",
        }

    def _why_not(self, entrant: Entrant, protocol: str) -> str:
        if protocol in (ZERO_SHOT, SEARCH) and not entrant.checkpoint.has_text:
            return NO_TEXT
        if protocol == SEARCH and self.no_reports:
            return NO_REPORTS
        return entrant.lacks_sigma2 or "not measured"

    def _found(self, results: Sequence[Result]) -> dict[tuple[str, str, str], Estimate]:
        return {(r.protocol, r.metric, r.model): r.estimate for r in results if not r.label}

    def _main_table(self, rows: Mapping[tuple[str, str], str]) -> Table:
        found = self._found(self.results)
        lines = []
        for (protocol, metric), title in rows.items():
            cells = []
            for entrant in self.entrants:
                estimate = found.get((protocol, metric, entrant.name))
                cells.append(
                    self._why_not(entrant, protocol)
                    if estimate is None
                    else with_interval(estimate, percent=True, signed=metric == SURER_HALF)
                )
            lines.append([title, *cells])
        costs = [self.costs[e.name] for e in self.entrants]
        lines += [
            ["parameters of the ECG encoder", *(f"{cost.parameters:,}" for cost in costs)],
            ["GFLOP a window", *(f"{cost.gflop:.2f}" for cost in costs)],
            ["processor ms a window", *(f"{cost.ms:.1f}" for cost in costs)],
        ]
        header = ["", *(e.name for e in self.entrants)]
        return Table("Figures in percent, with 95 % intervals", header, lines)

    def _difference_table(self, rows: Mapping[tuple[str, str], str]) -> Table:
        found = self._found(self.differences)
        own = self._found(self.results)
        others = [e for e in self.entrants if e.name != self.first]
        lines = []
        for (protocol, metric), title in rows.items():
            cells = []
            for entrant in others:
                estimate = found.get((protocol, metric, f"{entrant.name} - {self.first}"))
                if estimate is not None:
                    cells.append(with_interval(estimate, percent=True, signed=True))
                    continue
                # Whose figure is missing: the other's, or the first one's.
                lacking = (
                    entrant if (protocol, metric, entrant.name) not in own else self.entrants[0]
                )
                words = self._why_not(lacking, protocol)
                cells.append(words if lacking is entrant else f"{self.first}: {words}")
            lines.append([title, *cells])
        return Table(
            f"Differences to {self.first} in points, paired by patient",
            ["", *(e.name for e in others)],
            lines,
        )

    def _label_table(self) -> Table:
        by_place: dict[tuple[str, str], dict[str, Estimate]] = {}
        for r in self.results:
            if r.label and r.metric == AUROC:
                by_place.setdefault((r.task, r.protocol), {})[r.model] = r.estimate
        positives = {
            question: int((self.task.truth[:, i] > 0.5).sum())
            for i, question in enumerate(self.task.labels.values())
        }
        lines = [
            [
                question,
                str(positives[question]),
                protocol,
                *(
                    with_interval(cells[e.name], percent=True)
                    if e.name in cells
                    else self._why_not(e, protocol)
                    for e in self.entrants
                ),
            ]
            for (question, protocol), cells in sorted(
                by_place.items(), key=lambda place: list(positives).index(place[0][0])
            )
        ]
        header = ["Question", "Yes in test", "Answered by", *(e.name for e in self.entrants)]
        return Table("AUROC of each question, percent", header, lines)

    def _about(self, entrant: Entrant, rows: Mapping[tuple[str, str], str]) -> dict[str, Any]:
        """What the JSON says of an entrant, with the words for what it lacks."""
        found = self._found(self.results)
        return {
            "name": entrant.name,
            "model_hash": entrant.checkpoint.hash,
            "random_weights": entrant.is_control,
            "architecture": entrant.checkpoint.encoder.config.architecture,
            "learnt_from": _learnt(entrant),
            **asdict(self.costs[entrant.name]),
            "lacks": {
                title: self._why_not(entrant, protocol)
                for (protocol, metric), title in rows.items()
                if (protocol, metric, entrant.name) not in found
            },
        }


def _learnt(entrant: Entrant) -> str:
    """A sentence on what a model has seen, without which a figure on the same data says little."""
    record = entrant.checkpoint.training
    if entrant.is_control:
        return ""
    if by_authors := record.get("imported") and record.get("trained_on"):
        return f"{entrant.name} was trained by its authors on {by_authors}."
    taught = len(record.get("questions") or ())
    answers = f", and the answers to {taught} questions: to these it is not zero-shot"
    return f"{entrant.name} learnt from {trained_on(record)}{answers if taught else ''}."
