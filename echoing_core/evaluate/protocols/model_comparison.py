"""Several models beside each other on one prepared set: one pass of embedding each, one table.

Every model answers the same questions by the same probes, neighbours and draws, and every figure of
a model is compared with the first one's on the same resamples of the patients. Beside the models
stands the ECG encoder of each architecture with random weights, which is what a probe finds without
any training. What a model lacks is said in words where its figure would stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.prepared import check_filter_padding
from echoing_core.embed.encode import encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols.answers import (
    FINE_TUNED,
    NEIGHBOURS,
    is_deterministic,
    probe_scores,
)
from echoing_core.evaluate.protocols.classes import class_probe_scores, labelled_rows
from echoing_core.evaluate.protocols.comparison_tables import (
    FEWEST,
    PROBES,
    Entrant,
    Floats,
    Measured,
    Task,
    field_of,
)
from echoing_core.evaluate.protocols.cost import Cost, cost_of
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
from echoing_core.metrics.nearest import K, nearest_share, share_logit
from echoing_core.metrics.results import Experiment
from echoing_core.metrics.scores import COSINE, CSD, SAME_TEXT, text_to_ecg_ranks
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.zeroshot.prompts import PromptSet


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
    measured = Measured(data, task, entrants, costs, options.n_resamples, reports is None)
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
        field_figures[name] = field_of(group, entrants, options.n_resamples)
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


def _from(before: int, total: int, progress: Progress) -> Progress:
    return Progress(lambda _, done, __: progress(before + done, total))


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
                progress=_from(before, total, progress),
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
