"""One function a protocol: from a model and a data set to an `Experiment`.

All have one signature, so that a preset or a command names the protocol and nothing else
(`RUNS`, `run_preset`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from echoing_core.datasets.prepared import load_prepared
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols.answers import (
    AUROC,
    BALANCED_ACCURACY,
    PromptSpread,
    Scored,
    by_nearest,
    differences,
    few_shot,
    full_probes,
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
from echoing_core.evaluate.protocols.fine_tune import Tuned, fine_tune
from echoing_core.evaluate.protocols.heads import probe_head, tuned_head
from echoing_core.evaluate.protocols.long_recordings import (
    has_long_recordings,
    open_long,
    source_of,
)
from echoing_core.evaluate.protocols.retrieval import retrieval
from echoing_core.evaluate.protocols.settings import (
    CLASSES,
    DEFAULTS,
    FEW_SHOT,
    FINE_TUNE,
    NEAREST,
    RETRIEVAL,
    WINDOWS,
    ZERO_SHOT,
    EvaluationOptions,
    EvaluationPreset,
)
from echoing_core.evaluate.protocols.tables import (
    MUSIC_LABELS,
    answers_table,
    differences_table,
    rank_table,
    recall_table,
    spread_table,
    table_2,
    table_3,
    table_4,
)
from echoing_core.evaluate.protocols.windows import (
    MEAN_RANK,
    answers_by_window,
    gaps_of,
    overall,
)
from echoing_core.evaluate.shipped.gallery import GALLERY_SEED, gallery_set
from echoing_core.evaluate.shipped.held_out import RANDOM_WEIGHTS, encoders_of
from echoing_core.metrics.nearest import K
from echoing_core.metrics.results import ALL, PROTOCOL_KEYS, Experiment, Result, Table, to_records
from echoing_core.metrics.scores import COSINE, CSD
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.heads import Head
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
    checkpoint.require_text()
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
    heads: list[Head] | None = None,
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
    heads : list of Head, optional
        The model's probes from all training patients are added to it.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, or there is no question for a label.
    """
    # Probes need no valid ECGs; a head is calibrated on them.
    splits = ("train", "test") if heads is None else ("train", "valid", "test")
    data = open_data(checkpoint, folder, splits, progress=progress.stage("open the data"))
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
        if heads is not None and encoder is checkpoint.encoder.ecg:
            heads += [
                probe_head(checkpoint, data, question, probe)
                for question, probe in full_probes(train_ecg, train, questions)
            ]
    results, gains = _measured(checkpoint, scored, options.n_resamples)
    return _experiment(
        "few_shot",
        f"Few-shot on {data.name}",
        f"Logistic regression on frozen mu, both classes weighing as much, from 10 % of the "
        f"training patients (drawn by patient, stratified by the label, {options.n_seeds} draws) "
        f"and from all of them (one fit); yes where its logit is positive. {_HALVES[by_entropy]}. "
        f"{_RANDOM}. {_INTERVALS}, and over draws where there are several."
        f"{_caution(checkpoint)}",
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


def run_nearest(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Answer each question by what most of the nearest training ECGs are, beside zero-shot.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path or None
        As in `open_data`; train and test are used.
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
    data = open_data(
        checkpoint, folder, ("train", "test"), progress=progress.stage("open the data")
    )
    train, test = data.split("train"), data.split("test")
    questions = questions_of(test, prompts, options.labels)
    by_entropy = _by_entropy(checkpoint, options)
    scored: list[Scored] = []
    for name, encoder in encoders_of(checkpoint).items():
        stage = progress.stage(f"embed, {name}")
        train_ecg = embed_ecgs(encoder, checkpoint.scaler, train, progress=stage)
        test_ecg = embed_ecgs(encoder, checkpoint.scaler, test)
        scored += zero_shot(checkpoint, name, test_ecg, data, questions, by_entropy=by_entropy)
        scored += by_nearest(name, train_ecg, test_ecg, data, questions, by_entropy=by_entropy)
    results, gains = _measured(checkpoint, scored, options.n_resamples)
    return _experiment(
        "knn",
        f"Nearest neighbours on {data.name}",
        f"The {K} training ECGs whose mu is nearest by Euclidean distance, each counting alike; "
        f"yes where most of them are. Nothing is trained. {_HALVES[by_entropy]}. {_RANDOM}. "
        f"{_INTERVALS}.{_caution(checkpoint)}",
        results,
        (answers_table(results), differences_table(gains)),
        {"training ECGs": len(train), "test ECGs": len(test)},
        gains=gains,
    )


def run_fine_tune(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    heads: list[Head] | None = None,
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
    heads : list of Head, optional
        What the model's first seed was tuned to is added to it, for each label.
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

    def keep(question: PromptSet, tuned: Tuned) -> None:
        if heads is not None:
            heads.append(tuned_head(checkpoint, data, question, tuned, settings))

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
            # Random weights are there to compare with, not to be used.
            keep=keep if encoder is checkpoint.encoder.ecg else None,
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
        f"trained in the same way. {_INTERVALS} and seeds.{_caution(checkpoint)}",
        results,
        (table_3(rows, source=data.source), differences_table(gains), answers_table(results)),
        counts,
        gains=gains,
    )


def run_windows(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    options: EvaluationOptions = DEFAULTS,
    *,
    progress: Progress = SILENT,
) -> Experiment:
    """Table 3 whole: long recordings answered by their first, surest, least sure or fused windows.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : path or None
        As in `long_recordings.open_long`.
    prompts : sequence of PromptSet
        Those that have a label are asked, see `questions_of`.
    options : EvaluationOptions
        Without labels, the four of the article's Table 3.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, there is no question for a label, or nothing taught sigma^2.
    """
    if is_deterministic(checkpoint):
        raise ConfigError(
            f"Nothing taught the sigma^2 of {checkpoint.name}, so it cannot choose windows. Choose "
            "another model, or the command fine-tune for first windows alone."
        )
    checkpoint.require_sigma2()
    settings, fine = options.windows, options.fine_tune
    long = open_long(checkpoint, folder, settings, fine, progress=progress)
    data = long.data
    labels = list(MUSIC_LABELS) if options.labels is None else options.labels
    questions = questions_of(data.split("test"), prompts, labels)
    answers = answers_by_window(
        checkpoint, long, questions, fine, n_seeds=options.n_seeds, progress=progress
    )
    told = progress.stage("intervals")
    results: list[Result] = []
    for done, one in enumerate(answers.scored.values(), start=1):
        # Halves of windows that sigma^2 has chosen already would say little.
        results += [
            result for result in one.results(n_resamples=options.n_resamples) if result.group == ALL
        ]
        told(done, len(answers.scored))
    gaps = gaps_of(answers, n_resamples=options.n_resamples)
    means, mean_gaps = overall(answers, n_resamples=options.n_resamples)
    by_row: dict[str, list[Result]] = {}
    for result in results:
        by_row.setdefault(result.model, []).append(result)
    return _experiment(
        "windows",
        f"Long recordings by one window or fused: {data.name}",
        f"Windows of 10 s every {settings.stride_s:g} s. *start*: the first in which enough was "
        f"measured; *low* and *high*: those of the lowest and highest sum of sigma^2, which in "
        f"this model is the {checkpoint.sigma2} sigma^2; *fused*: windows every "
        f"{settings.fused_every_s:g} s, precision-weighted. Fine-tuning: all weights of the ECG "
        f"encoder and a linear head on mu, on the first windows of the training recordings "
        f"({fine.epochs} epochs, learning rates {fine.lr:g} and {fine.head_lr:g}, "
        f"{options.n_seeds} seeds); all rows are answered by the same tuned encoders, and windows "
        f"are chosen and weighed by the sigma^2 before tuning. *frozen probe*: logistic "
        f"regression on the untuned mu of the same first windows. Yes where the zero-shot margin "
        f"or the logit is positive; no threshold is tuned. {_INTERVALS}, and seeds where there "
        "are several.",
        [*results, *means],
        (
            table_3(by_row, source=data.source),
            rank_table(means, metrics=(BALANCED_ACCURACY, AUROC, MEAN_RANK)),
            differences_table([*mean_gaps, *gaps]),
        ),
        {**long.counts, **answers.counts},
        gains=[*mean_gaps, *gaps],
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
    checkpoint.require_text()
    if folder is None:
        gallery = gallery_set(
            GALLERY_N,
            GALLERY_SEED,
            filter_padding=checkpoint.filter_padding,
            progress=progress.stage("simulate the gallery"),
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
    NEAREST: run_nearest,
    FINE_TUNE: run_fine_tune,
    RETRIEVAL: run_retrieval,
    WINDOWS: run_windows,
}
"""The protocols that ask prompt sets, or none; ``classes`` needs a preset."""

TRAINS: Mapping[str, Callable[..., Experiment]] = {
    FEW_SHOT: run_few_shot,
    FINE_TUNE: run_fine_tune,
}
"""Those of `RUNS` that train something a model folder can keep; they take ``heads``."""


def run_preset(
    checkpoint: Checkpoint,
    folder: Path | None,
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
    folder : path or None
        A prepared set; for ``"windows"`` also as `long_recordings.open_long` takes it, or None.
        A set with one window a recording gets the row (start) alone.
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
    questions = _questions(preset, prompts)
    # A published table fixes these; the command line chooses the rest.
    options = replace(
        options,
        labels=tuple(preset.labels),
        n_seeds=preset.n_seeds,
        fine_tune=replace(options.fine_tune, n_train=preset.n_train),
    )
    notes = list(preset.notes)
    protocol, source = preset.protocol, source_of(folder)
    if folder is None and protocol != WINDOWS:
        raise ConfigError("This preset needs a prepared set: name its folder with --data.")
    if protocol == WINDOWS and folder is not None and not has_long_recordings(folder):
        # The one window that was prepared is the first one, whose row needs no choice.
        protocol = FINE_TUNE
        notes.append("The set has one window of each recording, so the row (start) stands alone.")
    if folder is not None and protocol == CLASSES:
        # `classes` needs the preset itself; the other protocols share one signature.
        measured = run_classes(checkpoint, folder, preset, options, progress=progress)
    else:
        if folder is not None and protocol == FINE_TUNE:
            _refuse_several_windows(folder)
        measured = RUNS[protocol](checkpoint, folder, questions, options, progress=progress)
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
        "there are several." + left_out + _caution(checkpoint),
        results,
        (macro_table(results), class_table(results, known, checkpoint.name)),
        {"training ECGs": len(train), "test ECGs": len(test), "classes": len(known.classes)},
    )


def _caution(checkpoint: Checkpoint) -> str:
    return checkpoint.caution and f" {checkpoint.name}: {checkpoint.caution}"


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
