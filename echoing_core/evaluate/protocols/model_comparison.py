"""Several models beside each other on one prepared set: one pass of embedding each, one table.

Every model answers the same questions by the same probes, neighbours and draws, and every figure of
a model is compared with the first one's on the same resamples of the patients. Beside the models
stands the ECG encoder of each architecture with random weights, which is what a probe finds without
any training. What a model lacks is said in words where its figure would stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.prepared import check_filter_padding
from echoing_core.embed.encode import encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols.answers import (
    AUROC,
    FEW_SHOT_10,
    FEW_SHOT_100,
    FINE_TUNED,
    NEIGHBOURS,
    is_deterministic,
    probe_scores,
)
from echoing_core.evaluate.protocols.classes import class_probe_scores, labelled_rows
from echoing_core.evaluate.protocols.cost import REPEATS, WINDOWS, Cost, cost_of
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    embed_ecgs,
    label_names,
    open_data,
    patient_subset,
    patients_of,
    questions_of,
    truth_of,
)
from echoing_core.evaluate.protocols.field import FieldFigures
from echoing_core.evaluate.protocols.fine_tune import tuned_runs
from echoing_core.evaluate.protocols.settings import (
    ZERO_SHOT,
    EvaluationOptions,
    EvaluationPreset,
)
from echoing_core.evaluate.shipped.held_out import random_encoder
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_over_seeds
from echoing_core.metrics.nearest import K, nearest_share, share_logit
from echoing_core.metrics.results import (
    PROTOCOL_KEYS,
    Experiment,
    Result,
    Table,
    to_records,
    with_interval,
)
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    SAME_TEXT,
    ResampledAuroc,
    median_split,
    recall_at_k,
    text_to_ecg_ranks,
)
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

FEW_SHOT_1 = "1 % probe"
PROBES: Mapping[str, float] = {FEW_SHOT_1: 0.01, FEW_SHOT_10: 0.1, FEW_SHOT_100: 1.0}
RETRIEVAL_KS = (1, 10)
FINDS_ERRORS = "sigma^2 finds wrong answers"
SURER_HALF = "surer half - less sure half"
MACRO = "macro AUROC"
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
        """Keep what an entrant scored."""
        self.scores.setdefault(protocol, {})[entrant] = per_seed


@dataclass(frozen=True, eq=False)
class _Embedded:
    """One entrant's two splits."""

    train: GaussianEmbedding
    test: GaussianEmbedding


def entrants_of(checkpoints: Mapping[str, Checkpoint]) -> list[Entrant]:
    """The models, and random weights of each of their architectures.

    Parameters
    ----------
    checkpoints : mapping of name to Checkpoint

    Returns
    -------
    list of Entrant
        Models in their order, then controls. Models of one ECG architecture share a control, which
        has the scale and the texts of the first of them.
    """
    models = [Entrant(name, one, one.encoder.ecg) for name, one in checkpoints.items()]
    controls: dict[str, Entrant] = {}
    for model in models:
        key = _architecture(model.checkpoint)
        if key not in controls:
            controls[key] = Entrant(
                f"random, as {model.name}",
                model.checkpoint,
                random_encoder(model.checkpoint),
                is_control=True,
            )
    return [*models, *controls.values()]


def _architecture(checkpoint: Checkpoint) -> str:
    """What the means of ECGs are computed with: the same text for the same network."""
    settings = checkpoint.encoder.config.settings()
    # The text half, and which heads of sigma^2 there are, change no mean.
    aside = ("text", "released_text", "text_plugin", "text_options", "sigma2", "log_var_bias")
    kept = {name: value for name, value in settings.items() if name not in aside}
    return json.dumps(kept, sort_keys=True, default=str)


def compare_models(
    checkpoints: Mapping[str, Checkpoint],
    folder: Path,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions,
    *,
    fine_tuned: bool = False,
    classes: Mapping[str, EvaluationPreset] | None = None,
    progress: Progress = SILENT,
) -> tuple[Experiment, FieldFigures]:
    """Measure models on one prepared set, each by every way of answering that it has.

    Parameters
    ----------
    checkpoints : mapping of name to Checkpoint
        Differences are to the first.
    folder : path
        A prepared set with the splits train and test.
    prompts : sequence of PromptSet
        Where no labels are named, those whose label the set has, with `FEWEST` test ECGs or more
        of either answer.
    options : EvaluationOptions
        ``by_entropy`` and ``windows`` are not used.
    fine_tuned : bool
        Train all weights for each question, too.
    classes : mapping of str to EvaluationPreset, optional
        Presets of the protocol ``classes`` that are measured, too, for the field's table.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    experiment : Experiment
    field : FieldFigures
        Of ``classes``, by preset, protocol and model; empty without them.

    Raises
    ------
    DataSetError
        The set cannot be used, or none of its labels can be asked.
    """
    first = next(iter(checkpoints.values()))
    for checkpoint in checkpoints.values():
        check_filter_padding(folder, checkpoint.filter_padding)
    splits = ("train", "valid", "test") if fine_tuned else ("train", "test")
    data = open_data(first, folder, splits, progress=progress.stage("open the data"))
    questions = _questions(data, prompts, options.labels)
    task = Task(
        "all questions",
        {str(q.label): q.question for q in questions},
        _truth(data, "test", [str(q.label) for q in questions]),
        patients_of(data.split("test")),
    )
    groups = {name: _classes_task(data, preset) for name, preset in (classes or {}).items()}
    entrants = entrants_of(checkpoints)
    costs: dict[str, Cost] = {}
    ranks: dict[str, npt.NDArray[np.int64]] = {}
    unsure: dict[str, Floats] = {}
    reports = _reports(data)
    for entrant in entrants:
        costs[entrant.name] = cost_of(
            entrant.encoder, entrant.checkpoint.scaler, data.split("test")
        )
        embedded = _embed(entrant, data, progress.stage(f"embed, {entrant.name}"))
        _answer(entrant, embedded, data, questions, task, options.n_seeds)
        if not entrant.lacks_sigma2:
            unsure[entrant.name] = embedded.test.uncertainty
        if entrant.checkpoint.has_text and reports is not None:
            ranks[entrant.name] = _ranks(entrant, embedded.test, reports)
        for name, preset in (classes or {}).items():
            _answer_classes(entrant, embedded, data, preset, groups[name], options.n_seeds)
        if fine_tuned:
            _fine_tune(entrant, data, task, options, progress.stage(f"fine-tune, {entrant.name}"))
    measured = _Measured(data, task, entrants, costs, options.n_resamples, reports is None)
    told = progress.stage("intervals")
    n_steps = len(task.scores) + 2 + sum(len(group.scores) for group in groups.values())
    for done, protocol in enumerate(task.scores, start=1):
        measured.answers(protocol)
        told(done, n_steps)
    measured.retrieval(ranks)
    measured.sigma2(unsure)
    told(len(task.scores) + 2, n_steps)
    field_figures: FieldFigures = {}
    for name, group in groups.items():
        field_figures[name] = _field_of(group, entrants, options.n_resamples)
    told(n_steps, n_steps)
    return measured.experiment(fine_tuned=fine_tuned, options=options), field_figures


def _questions(
    data: EvaluationData, prompts: Sequence[PromptSet], labels: Sequence[str] | None
) -> tuple[PromptSet, ...]:
    train, test = data.split("train"), data.split("test")
    chosen = labels
    if chosen is None:
        there = set(label_names(test))
        asked = [str(p.label) for p in prompts if p.label and p.label in there]
        # In a resample a question with three positives is another question each time.
        chosen = [label for label in asked if min(_counts(truth_of(test, label))) >= FEWEST]
        if not chosen:
            raise DataSetError(
                f"Of no shipped question has {data.name} at least {FEWEST} test ECGs with either "
                f"answer. Name labels with --labels; it has: {', '.join(sorted(there)) or 'none'}."
            )
    questions = questions_of(test, prompts, chosen)
    known = tuple(q for q in questions if min(_counts(truth_of(train, str(q.label)))) > 0)
    if not known:
        raise DataSetError(
            f"No label is known with both answers among the training ECGs of {data.name}, so no "
            "probe can learn it. Take a larger set, or name others with --labels."
        )
    return known


def _counts(truth: Floats) -> tuple[int, int]:
    return int((truth > 0.5).sum()), int((truth <= 0.5).sum())


def _truth(data: EvaluationData, split: str, labels: Sequence[str]) -> Floats:
    return np.column_stack([truth_of(data.split(split), label) for label in labels])


def _reports(data: EvaluationData) -> list[str] | None:
    """Reports of the test split; None where a study has none, since then none can be ranked."""
    texts = data.split("test").table["report"]
    there = texts.notna() & (texts.astype(str).str.strip() != "")
    return [str(text) for text in texts] if bool(there.all()) else None


def _embed(entrant: Entrant, data: EvaluationData, progress: Progress) -> _Embedded:
    train, test = data.split("train"), data.split("test")
    total = len(train) + len(test)
    parts = []
    for studies, before in ((train, 0), (test, len(train))):
        parts.append(
            embed_ecgs(
                entrant.encoder,
                entrant.checkpoint.scaler,
                studies,
                progress=Progress(
                    lambda _, done, __, before=before: progress(before + done, total)
                ),
            )
        )
    return _Embedded(*parts)


def _answer(
    entrant: Entrant,
    embedded: _Embedded,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    task: Task,
    n_seeds: int,
) -> None:
    """Zero-shot, probes and neighbours of the questions."""
    if entrant.checkpoint.has_text:
        margins = [question_margins(entrant.checkpoint, embedded.test, q)[0] for q in questions]
        task.add(ZERO_SHOT, entrant.name, [np.column_stack(margins)])
    truth = _truth(data, "train", list(task.labels))
    people = patients_of(data.split("train"))
    for protocol, share in PROBES.items():
        per_seed = []
        # All patients: nothing to draw, and one solution.
        for seed in range(n_seeds if share < 1.0 else 1):
            columns = []
            for answers in truth.T:
                rows = np.isfinite(answers)
                columns.append(
                    probe_scores(
                        embedded.train.mu[rows],
                        answers[rows] > 0.5,
                        people[rows],
                        embedded.test,
                        share=share,
                        seed=seed,
                    )
                )
            per_seed.append(np.column_stack(columns))
        task.add(protocol, entrant.name, per_seed)
    task.add(NEIGHBOURS, entrant.name, [_nearest(embedded, truth)])


def _nearest(embedded: _Embedded, truth: Floats) -> Floats:
    """Log-odds of the nearest, one search for all questions that the same ECGs have answers to."""
    known = np.isfinite(truth)
    scores = np.empty((len(embedded.test), truth.shape[1]))
    patterns, which = np.unique(known.T, axis=0, return_inverse=True)
    for i, rows in enumerate(patterns):
        columns = np.flatnonzero(which.ravel() == i)
        labels = truth[np.ix_(rows, columns)] > 0.5
        share = nearest_share(embedded.train.mu[rows], labels, embedded.test.mu)
        scores[:, columns] = share_logit(share, min(K, int(rows.sum())))
    return scores


def _ranks(
    entrant: Entrant, ecg: GaussianEmbedding, reports: Sequence[str]
) -> npt.NDArray[np.int64]:
    text = encode_texts(entrant.checkpoint, reports)
    # A model without sigma^2 is searched by cosine, as it was trained.
    order = COSINE if is_deterministic(entrant.checkpoint) else CSD
    return text_to_ecg_ranks(text, ecg, reports, order=order, hit=SAME_TEXT)


def _fine_tune(
    entrant: Entrant,
    data: EvaluationData,
    task: Task,
    options: EvaluationOptions,
    progress: Progress,
) -> None:
    """All weights trained for each question; a question without both answers is left at chance."""
    per_label = []
    for done, label in enumerate(task.labels, start=1):
        runs, _ = tuned_runs(
            entrant.checkpoint,
            entrant.encoder,
            data,
            label,
            options.fine_tune,
            n_seeds=options.n_seeds,
        )
        test = data.split("test")
        per_label.append(
            [run.logits(entrant.checkpoint.scaler, test) for run in runs]
            or [np.zeros(len(test))] * options.n_seeds
        )
        progress(done, len(task.labels))
    task.add(
        FINE_TUNED, entrant.name, [np.column_stack(seed) for seed in zip(*per_label, strict=True)]
    )


def _classes_task(data: EvaluationData, preset: EvaluationPreset) -> Task:
    """The preset's classes that the test ECGs have with both answers."""
    test = data.split("test")
    rows = _class_rows(data, "test", preset)
    truth = _truth(data, "test", list(preset.classes))[rows]
    usable = [min(_counts(answers)) > 0 for answers in truth.T]
    labels = [label for label, use in zip(preset.classes, usable, strict=True) if use]
    if not labels:
        raise DataSetError(
            f"None of the classes of {preset.title} is known with both answers in the test split. "
            "Take a larger set, or leave out --field."
        )
    return Task(
        preset.title,
        {label: preset.classes[label] for label in labels},
        truth[:, np.asarray(usable)],
        patients_of(test)[rows],
    )


def _class_rows(data: EvaluationData, split: str, preset: EvaluationPreset) -> BoolArray:
    studies = data.split(split)
    if not preset.only_labelled:
        return np.ones(len(studies), dtype=bool)
    return labelled_rows(studies, preset.classes)


def _answer_classes(
    entrant: Entrant,
    embedded: _Embedded,
    data: EvaluationData,
    preset: EvaluationPreset,
    task: Task,
    n_seeds: int,
) -> None:
    """As `classes.class_results` scores them, from embeddings that are there already."""
    rows, train_rows = _class_rows(data, "test", preset), _class_rows(data, "train", preset)
    test_ecg, train_ecg = embedded.test[rows], embedded.train[train_rows]
    if entrant.checkpoint.has_text:
        text = encode_texts(entrant.checkpoint, tuple(task.labels.values())).mu
        task.add(
            ZERO_SHOT, entrant.name, [test_ecg.mu.astype(np.float64) @ text.astype(np.float64).T]
        )
    truth = _truth(data, "train", list(task.labels))[train_rows]
    people = patients_of(data.split("train"))[train_rows]
    for share in preset.shares:
        scores = []
        for seed in range(n_seeds if share < 1.0 else 1):
            # Many labels at once cannot be stratified; every class sees the same patients.
            nobody = np.zeros(len(people), dtype=bool)
            drawn = patient_subset(people, nobody, share, np.random.default_rng(seed))
            scores.append(class_probe_scores(train_ecg.mu[drawn], truth[drawn], test_ecg))
        task.add(f"{100 * share:g} % probe", entrant.name, scores)


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


def _field_of(
    task: Task, entrants: Sequence[Entrant], n_resamples: int
) -> dict[str, dict[str, Estimate]]:
    """Macro AUROC by protocol and entrant."""
    return {
        protocol: {
            name: estimates[f"{name}|"] for name in (e.name for e in entrants) if name in scores
        }
        for protocol, scores in task.scores.items()
        for estimates in (_estimates(task, protocol, "", n_resamples)[0],)
    }


@dataclass(eq=False)
class _Measured:
    """Figures as they are made, and the tables of them."""

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
        return self.entrants[0].name

    def answers(self, protocol: str) -> None:
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
            self._keep(
                name, estimate, protocol="text to ECG", metric=metric, gallery=len(self.task.truth)
            )

    def sigma2(self, unsure: Mapping[str, Floats]) -> None:
        """How sigma^2 goes with the answers of the probe from all training patients."""
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
            self.task.labels.get(label, self.task.name),
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
                "GFLOP of its matrix products and convolutions for a window of 10 s; ms a window "
                f"in a batch of {WINDOWS}, the best of {REPEATS}, with "
                f"{self.costs[self.first].threads} threads of this machine. Intervals: 95 %, "
                "bootstrap over patients, and over draws where there are several.",
                *([self._tuned_words(options)] if fine_tuned else ["Not fine-tuned."]),
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
        rows |= {("text to ECG", f"R@{k}"): f"text to ECG, R@{k}" for k in RETRIEVAL_KS}
        protocol = f"sigma^2, {FEW_SHOT_100}"
        return rows | {
            (protocol, FINDS_ERRORS): f"{FINDS_ERRORS}, AUROC",
            (protocol, SURER_HALF): f"{SURER_HALF}, {MACRO}",
        }

    def _why_not(self, entrant: Entrant, protocol: str) -> str:
        if protocol in (ZERO_SHOT, "text to ECG") and not entrant.checkpoint.has_text:
            return NO_TEXT
        if protocol == "text to ECG" and self.no_reports:
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
            ["ms a window", *(f"{cost.ms:.1f}" for cost in costs)],
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
            **asdict(self.costs[entrant.name]),
            "lacks": {
                title: self._why_not(entrant, protocol)
                for (protocol, metric), title in rows.items()
                if (protocol, metric, entrant.name) not in found
            },
        }
