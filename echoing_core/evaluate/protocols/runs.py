"""One function a protocol: from a model and a data set to an `Experiment`.

All have one signature, so that a preset or a command names the protocol and nothing else
(`RUNS`, `run_preset`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from echoing_core.datasets.prepared import load_prepared, read_card
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols.answers import (
    PromptSpread,
    Scored,
    differences,
    few_shot,
    is_deterministic,
    prompt_spread,
    zero_shot,
)
from echoing_core.evaluate.protocols.classes import (
    class_results,
    class_table,
    macro_table,
    with_classes,
)
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    embed_ecgs,
    open_data,
    questions_of,
)
from echoing_core.evaluate.protocols.fine_tune import fine_tune
from echoing_core.evaluate.protocols.retrieval import retrieval
from echoing_core.evaluate.protocols.settings import (
    CLASSES,
    DEFAULTS,
    FEW_SHOT,
    FINE_TUNE,
    RETRIEVAL,
    ZERO_SHOT,
    EvaluationOptions,
    EvaluationPreset,
)
from echoing_core.evaluate.protocols.tables import (
    MUSIC_LABELS,
    answers_table,
    differences_table,
    recall_table,
    spread_table,
    table_2,
    table_3,
    table_4,
)
from echoing_core.evaluate.shipped.gallery import GALLERY_SEED, gallery_set
from echoing_core.evaluate.shipped.held_out import RANDOM_WEIGHTS, encoders_of
from echoing_core.metrics.results import PROTOCOL_KEYS, Experiment, Result, Table, to_records
from echoing_core.metrics.scores import COSINE, CSD
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.zeroshot.prompts import PromptSet

GALLERY_N = 1000

# Sentences of the method text that several protocols share; a report prints them.
_INTERVALS = "Intervals: 95 %, bootstrap over patients"
# By `by_entropy`.
_HALVES = {
    False: "low and high: halves of the test set by the median of the ECG's sum of sigma^2, ties "
    "low",
    True: "low and high: the entropy of the answer up to 0.5 bit, and above",
}
_RANDOM = "*random weights*: the same ECG architecture untrained, everything else the same"


def run_zero_shot(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Answer questions by prompts alone.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path or None
        As in `open_data`.
    prompts : sequence of PromptSet
        Those that have a label are asked, see `questions_of`.
    options : EvaluationOptions
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, or there is no question for a label.
    """
    data = open_data(checkpoint, folder, ("test",), progress=progress.stage("open the data"))
    questions = questions_of(data.split("test"), prompts, options.labels)
    by_entropy = _by_entropy(checkpoint, options)
    scored: list[Scored] = []
    spreads: list[PromptSpread] = []
    for name, encoder in encoders_of(checkpoint).items():
        ecg = embed_ecgs(
            encoder,
            checkpoint.scaler,
            data.split("test"),
            progress=progress.stage(f"embed, {name}"),
        )
        scored += zero_shot(checkpoint, name, ecg, data, questions, by_entropy=by_entropy)
        spreads += prompt_spread(checkpoint, name, ecg, data, questions)
    results, gains = _measured(checkpoint, scored, options.n_resamples)
    return _experiment(
        "zero_shot",
        f"Zero-shot on {data.name}",
        f"Yes where mu lies nearer to the mean of the prompts for yes than to that for no; no "
        f"threshold is tuned. {_HALVES[by_entropy]}. {_RANDOM}. {_INTERVALS}.",
        results,
        (answers_table(results), differences_table(gains), spread_table(spreads)),
        {"test ECGs": len(data.split("test"))},
        gains=gains,
        spreads=spreads,
    )


def run_few_shot(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Fit probes on 10 % and 100 % of the training patients, beside zero-shot answers.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path or None
        As in `open_data`; train and test are used.
    prompts : sequence of PromptSet
        Those that have a label are asked, see `questions_of`.
    options : EvaluationOptions
        ``n_seeds`` draws of the 10 %.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, or there is no question for a label.
    """
    data = open_data(
        checkpoint, folder, ("train", "test"), progress=progress.stage("open the data")
    )
    train, test = data.split("train"), data.split("test")
    questions = questions_of(test, prompts, options.labels)
    by_entropy = _by_entropy(checkpoint, options)
    scored: list[Scored] = []
    for name, encoder in encoders_of(checkpoint).items():
        stage = progress.stage(f"embed, {name}")
        # Embedded once for each encoder: all questions and draws use the same mu.
        train_ecg = embed_ecgs(encoder, checkpoint.scaler, train, progress=stage)
        test_ecg = embed_ecgs(encoder, checkpoint.scaler, test)
        scored += zero_shot(checkpoint, name, test_ecg, data, questions, by_entropy=by_entropy)
        scored += few_shot(
            name,
            train_ecg,
            test_ecg,
            data,
            questions,
            n_seeds=options.n_seeds,
            by_entropy=by_entropy,
        )
    results, gains = _measured(checkpoint, scored, options.n_resamples)
    return _experiment(
        "few_shot",
        f"Few-shot on {data.name}",
        f"Logistic regression on frozen mu, both classes weighing as much, from 10 % of the "
        f"training patients (drawn by patient, stratified by the label, {options.n_seeds} draws) "
        f"and from all of them (one fit); yes where its logit is positive. {_HALVES[by_entropy]}. "
        f"{_RANDOM}. {_INTERVALS}, and over draws where there are several.",
        results,
        (
            # Table 2 has one label; the rest stand in the table of all answers.
            table_2(results, source=data.source, label=str(questions[0].label)),
            differences_table(gains),
            answers_table(results),
        ),
        {"training ECGs": len(train), "test ECGs": len(test)},
        gains=gains,
    )


def run_fine_tune(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Train all weights of the ECG encoder for each label, beside probe, zero-shot and random.

    The model itself stays as it is: every run tunes a copy.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path or None
        As in `open_data`; all three splits are used, ``"valid"`` where the set has it.
    prompts : sequence of PromptSet
        Those that have a label are asked, see `questions_of`.
    options : EvaluationOptions
        Without labels, the four of the article's Table 3 that the set has.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, or there is no question for a label.
    """
    settings = options.fine_tune
    data = open_data(
        checkpoint, folder, ("train", "valid", "test"), progress=progress.stage("open the data")
    )
    test = data.split("test")
    # The article's four labels where nobody chose any.
    labels: Sequence[str] | None = options.labels
    if labels is None:
        labels = [name for name in MUSIC_LABELS if f"label_{name}" in test.table.columns]
    # A set with none of the four falls back to the labels that it has.
    questions = questions_of(test, prompts, labels or None)
    by_entropy = _by_entropy(checkpoint, options)
    # Made once, since the random encoder is tuned and measured from the same weights.
    encoders = encoders_of(checkpoint)
    scored: list[Scored] = []
    counts: dict[str, float] = {"test ECGs": len(test)}
    for name, encoder in encoders.items():
        # Before tuning: sigma^2 for the halves, and the zero-shot row beside.
        ecg = embed_ecgs(encoder, checkpoint.scaler, test)
        scored += zero_shot(checkpoint, name, ecg, data, questions, by_entropy=by_entropy)
        tuned, of_training = fine_tune(
            checkpoint,
            name,
            encoder,
            ecg,
            data,
            questions,
            settings,
            n_seeds=options.n_seeds,
            by_entropy=by_entropy,
            progress=progress.stage(f"fine-tune, {name}"),
        )
        scored += tuned
        counts |= {f"{name}, {key}": value for key, value in of_training.items()}
    results, gains = _measured(checkpoint, scored, options.n_resamples)
    # Of a recording its first window is prepared, which the article's rows call (start).
    rows = {f"{name} (start)": [r for r in results if r.model == name] for name in encoders}
    return _experiment(
        "fine_tune",
        f"Fine-tuning on {data.name}",
        f"All weights of the ECG encoder and a linear head on mu, which begins as the frozen "
        f"probe: AdamW, learning rates {settings.lr:g} and {settings.head_lr:g}, weight decay "
        f"{settings.weight_decay:g}, batches of {settings.batch_size}, {settings.epochs} epochs, "
        f"classes weighted; about {settings.n_train} training ECGs of whole patients, stratified "
        f"by the label; the epoch is chosen by the AUROC on about {settings.n_valid} valid ECGs; "
        f"{options.n_seeds} seeds, each with its own draw. *frozen probe*: logistic regression on "
        f"the untuned mu of the same ECGs. {_HALVES[by_entropy]}, before tuning. {_RANDOM}, "
        f"trained in the same way. {_INTERVALS} and seeds.",
        results,
        (table_3(rows, source=data.source), differences_table(gains), answers_table(results)),
        counts,
        gains=gains,
    )


def run_retrieval(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet] = (),
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Search the ECG of each report.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path or None
        A prepared set, whose test split is the gallery; without it, `GALLERY_N` simulated ECGs of
        patients that no training saw.
    prompts : sequence of PromptSet
        None is asked.
    options : EvaluationOptions
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        The set cannot be used, or a study has no report.
    """
    if folder is None:
        gallery = gallery_set(
            GALLERY_N, GALLERY_SEED, progress=progress.stage("simulate the gallery")
        )
        # Another seed than any cohort's, so no training saw these people.
        data = EvaluationData("simulated gallery", "simulated", True, {"test": gallery})
    else:
        data = open_data(checkpoint, folder, ("test",))
        gallery = data.split("test")
    by_entropy = _by_entropy(checkpoint, options)
    results: list[Result] = []
    for name, encoder in encoders_of(checkpoint).items():
        ecg = embed_ecgs(
            encoder, checkpoint.scaler, gallery, progress=progress.stage(f"embed, {name}")
        )
        results += retrieval(
            checkpoint, name, ecg, data, by_entropy=by_entropy, n_resamples=options.n_resamples
        )
    # Stated beside the figures: equal reports bound the recall of an exact pair.
    texts = gallery.table["report"].astype(str)
    return _experiment(
        "retrieval",
        f"Text to ECG on {data.name}",
        "Every report is a query for its ECG. *exact pair*: only its own ECG is a hit; *same "
        "text*: any ECG with the same report. A tie counts as a miss. low and high: halves by the "
        "median of the ECG's sum of sigma^2, once ranked in the full gallery and once each half in "
        f"a gallery of its own. {_RANDOM}; its texts go through the trained text encoder. "
        f"{_INTERVALS}.",
        results,
        (
            # A model without sigma^2 is searched by cosine, as it was trained.
            table_4(results, source=data.source, order=COSINE if by_entropy else CSD),
            recall_table(results),
        ),
        {"gallery ECGs": len(gallery), "different reports": int(texts.nunique())},
    )


# By the names that presets and commands use.
RUNS: Mapping[str, Callable[..., Experiment]] = {
    ZERO_SHOT: run_zero_shot,
    FEW_SHOT: run_few_shot,
    FINE_TUNE: run_fine_tune,
    RETRIEVAL: run_retrieval,
}
"""The protocols that ask prompt sets, or none; ``classes`` needs a preset."""


def run_preset(
    checkpoint: Checkpoint,
    folder: Path,
    preset: EvaluationPreset,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Do what a preset says on a prepared set.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path
        A prepared set.
    preset : EvaluationPreset
    prompts : sequence of PromptSet
        Those that the preset's questions are among.
    options : EvaluationOptions
        Labels and the numbers of seeds and training ECGs are the preset's.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError
        A question of the preset is not among the prompts.
    DataSetError
        The set cannot be used, lacks a label, or has several windows of a recording to tune on.
    """
    source = str(read_card(folder)["source"])
    questions = _questions(preset, prompts)
    # A published table fixes these; the command line chooses the rest.
    options = replace(
        options,
        labels=tuple(preset.labels),
        n_seeds=preset.n_seeds,
        fine_tune=replace(options.fine_tune, n_train=preset.n_train),
    )
    if preset.protocol == CLASSES:
        # `classes` needs the preset itself; the other protocols share one signature.
        measured = run_classes(checkpoint, folder, preset, options, progress=progress)
    else:
        if preset.protocol == FINE_TUNE:
            _refuse_several_windows(folder)
        measured = RUNS[preset.protocol](checkpoint, folder, questions, options, progress=progress)
    notes = list(preset.notes)
    if source != preset.source:
        # First, since it decides whether any of the other notes matters.
        notes.insert(
            0,
            f"The preset is for data of the source {preset.source} ({preset.prepare}); these are "
            f"of {source}, so the figures are not those of its table.",
        )
    # The preset says what is repeated, the protocol what it was done on.
    title = f"{preset.title}: {measured.title}"
    method = " ".join((measured.method, *notes))
    return replace(
        measured,
        title=title,
        method=method,
        # `content` is what the JSON writes, so title and method are replaced there too.
        content=measured.to_dict() | {"title": title, "method": method},
    )


def run_classes(
    checkpoint: Checkpoint,
    folder: Path,
    preset: EvaluationPreset,
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Tell many classes apart by one prompt each, and by probes from shares of the training.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path
        A prepared set.
    preset : EvaluationPreset
        Gives the classes and the shares.
    options : EvaluationOptions
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        The set cannot be used, or no class has both answers in it.
    """
    data = open_data(checkpoint, folder, ("train", "test"))
    known = with_classes(data, preset.classes, only_labelled=preset.only_labelled)
    results: list[Result] = []
    train, test = known.data.split("train"), known.data.split("test")
    for name, encoder in encoders_of(checkpoint).items():
        stage = progress.stage(f"embed, {name}")
        train_ecg = embed_ecgs(encoder, checkpoint.scaler, train, progress=stage)
        # Zero-shot and probes of one encoder from the same two embeddings.
        results += class_results(
            checkpoint,
            name,
            known,
            embed_ecgs(encoder, checkpoint.scaler, test),
            train_ecg,
            shares=preset.shares,
            n_seeds=options.n_seeds,
            n_resamples=options.n_resamples,
            progress=progress.stage(f"probes, {name}"),
        )
    left_out = (
        f" Left out, since the test ECGs have one answer only: {', '.join(known.left_out)}."
        if known.left_out
        else ""
    )
    return _experiment(
        "classes",
        f"{len(known.classes)} classes of {data.name}",
        "Zero-shot: the cosine of an ECG's mu and that of the class's one prompt. Probes: logistic "
        "regression for each class on frozen mu, from shares of the training patients "
        f"({options.n_seeds} draws of a part), not stratified. *{RANDOM_WEIGHTS}*: the same ECG "
        "architecture untrained. Intervals: 95 %, bootstrap over patients, and over draws where "
        "there are several." + left_out,
        results,
        (macro_table(results), class_table(results, known, checkpoint.name)),
        {"training ECGs": len(train), "test ECGs": len(test), "classes": len(known.classes)},
    )


def _by_entropy(checkpoint: Checkpoint, options: EvaluationOptions) -> bool:
    # None leaves the choice to how the model was trained.
    chosen = options.by_entropy
    return is_deterministic(checkpoint) if chosen is None else chosen


def _measured(
    checkpoint: Checkpoint, scored: Sequence[Scored], n_resamples: int
) -> tuple[list[Result], list[Result]]:
    """Figures of every way of answering, and paired differences to random weights and probes."""
    results = [result for s in scored for result in s.results(n_resamples=n_resamples)]
    gains = differences(
        scored, model=checkpoint.name, control=RANDOM_WEIGHTS, n_resamples=n_resamples
    )
    return results, gains


def _experiment(
    name: str,
    title: str,
    method: str,
    results: Sequence[Result],
    tables: tuple[Table, ...],
    counts: Mapping[str, float],
    *,
    gains: Sequence[Result] = (),
    spreads: Sequence[PromptSpread] = (),
) -> Experiment:
    """An experiment whose JSON tells figures, differences, wordings and tables apart."""
    content: dict[str, Any] = {
        "title": title,
        "method": method,
        "counts": dict(counts),
        # Apart from the differences, since a difference is no figure of a model.
        "figures": to_records(results, PROTOCOL_KEYS),
        "differences": to_records(gains, PROTOCOL_KEYS),
        "prompt_spread": [asdict(spread) for spread in spreads],
        "tables": [{"title": table.title, "rows": table.records} for table in tables],
    }
    return Experiment(name, title, method, tuple(results), tables, counts, content=content)


def _refuse_several_windows(folder: Path) -> None:
    """A recording must count once; of several windows the row (start) would not be true."""
    test = load_prepared(folder, splits=("test",)).table
    # Not by patient: several recordings of one patient are fine, the bootstrap draws patients.
    again = int(test.duplicated(["source", "study_id"]).sum())
    if again:
        raise DataSetError(
            f"{folder.name} has {again} further windows of the same recordings in its test split. "
            "Prepare the set with one window a recording (for music: --set windows=first)."
        )


def _questions(preset: EvaluationPreset, prompts: Sequence[PromptSet]) -> list[PromptSet]:
    by_name = {item.name: item for item in prompts}
    # An unknown question would be left out silently and change the table.
    missing = [name for name in preset.questions if name not in by_name]
    if missing:
        raise ConfigError(
            f"There is no question {missing[0]} among the prompts. There are "
            f"{', '.join(sorted(by_name))}."
        )
    return [by_name[name] for name in preset.questions] if preset.questions else list(prompts)
