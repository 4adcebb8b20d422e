"""Run an evaluation preset: from a model and a prepared set to a `Study`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from echoing_core.datasets.prepared import load_prepared, read_card
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols.classes import (
    class_figures,
    class_table,
    macro_table,
    with_classes,
)
from echoing_core.evaluate.protocols.data import RANDOM_WEIGHTS, embed_ecgs, open_data
from echoing_core.evaluate.protocols.fine_tune import FineTuneSettings
from echoing_core.evaluate.protocols.preset_files import (
    CLASSES,
    FEW_SHOT,
    FINE_TUNE,
    RETRIEVAL,
    EvaluationPreset,
)
from echoing_core.evaluate.protocols.results import Figure, Study
from echoing_core.evaluate.protocols.runs import (
    run_few_shot,
    run_fine_tune,
    run_retrieval,
    run_zero_shot,
)
from echoing_core.evaluate.shipped.held_out import random_encoder
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.zeroshot.prompts import PromptSet


def run_preset(
    checkpoint: Checkpoint,
    folder: Path,
    preset: EvaluationPreset,
    prompts: Sequence[PromptSet],
    *,
    settings: FineTuneSettings | None = None,
    deterministic: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """Do what a preset says on a prepared set.

    Parameters
    ----------
    prompts : sequence of PromptSet
        Those that the preset's questions are among.
    settings : FineTuneSettings, optional
        How to fine-tune; the number of ECGs and of seeds are the preset's.
    deterministic : bool, optional
        As in `run_zero_shot`.

    Raises
    ------
    ConfigError
        A question of the preset is not among the prompts.
    DataSetError
        The set cannot be used, lacks a label, or has several windows of a recording to tune on.
    """
    source = str(read_card(folder)["source"])
    asked = _questions(preset, prompts)
    if preset.protocol == CLASSES:
        study = _run_classes(checkpoint, folder, preset, n_resamples=n_resamples, progress=progress)
    elif preset.protocol == RETRIEVAL:
        study = run_retrieval(
            checkpoint,
            folder,
            deterministic=deterministic,
            n_resamples=n_resamples,
            progress=progress,
        )
    elif preset.protocol == FEW_SHOT:
        study = run_few_shot(
            checkpoint,
            folder,
            asked,
            labels=preset.labels,
            n_seeds=preset.n_seeds,
            deterministic=deterministic,
            n_resamples=n_resamples,
            progress=progress,
        )
    elif preset.protocol == FINE_TUNE:
        _refuse_several_windows(folder)
        study = run_fine_tune(
            checkpoint,
            folder,
            asked,
            labels=preset.labels,
            settings=replace(
                settings or FineTuneSettings(), n_train=preset.n_train, n_seeds=preset.n_seeds
            ),
            deterministic=deterministic,
            n_resamples=n_resamples,
            progress=progress,
        )
    else:
        study = run_zero_shot(
            checkpoint,
            folder,
            asked,
            labels=preset.labels,
            deterministic=deterministic,
            n_resamples=n_resamples,
            progress=progress,
        )
    notes = list(preset.notes)
    if source != preset.source:
        notes.insert(
            0,
            f"The preset is for data of the source {preset.source} ({preset.prepare}); these are "
            f"of {source}, so the figures are not those of its table.",
        )
    return replace(
        study,
        title=f"{preset.title}: {study.title}",
        method=" ".join((study.method, *notes)),
    )


def _refuse_several_windows(folder: Path) -> None:
    """A recording must count once; of several windows the row (start) would not be true."""
    test = load_prepared(folder, splits=("test",)).table
    again = int(test.duplicated(["source", "study_id"]).sum())
    if again:
        raise DataSetError(
            f"{folder.name} has {again} further windows of the same recordings in its test split. "
            "Prepare the set with one window a recording (for music: --set windows=first)."
        )


def _questions(preset: EvaluationPreset, prompts: Sequence[PromptSet]) -> list[PromptSet]:
    by_name = {item.name: item for item in prompts}
    missing = [name for name in preset.questions if name not in by_name]
    if missing:
        raise ConfigError(
            f"There is no question {missing[0]} among the prompts. There are "
            f"{', '.join(sorted(by_name))}."
        )
    return [by_name[name] for name in preset.questions] if preset.questions else list(prompts)


def _run_classes(
    checkpoint: Checkpoint,
    folder: Path,
    preset: EvaluationPreset,
    *,
    n_resamples: int,
    progress: Progress,
) -> Study:
    data = open_data(checkpoint, folder, ("train", "test"))
    known = with_classes(data, preset.classes, only_labelled=preset.only_labelled)
    figures: list[Figure] = []
    encoders = {
        checkpoint.name: checkpoint.encoder.ecg,
        RANDOM_WEIGHTS: random_encoder(checkpoint),
    }
    train, test = known.data.split("train"), known.data.split("test")
    for name, encoder in encoders.items():
        stage = progress.stage(f"embed, {name}")
        train_ecg = embed_ecgs(encoder, checkpoint.scaler, train, progress=stage)
        figures += class_figures(
            checkpoint,
            name,
            known,
            embed_ecgs(encoder, checkpoint.scaler, test),
            train_ecg,
            shares=preset.shares,
            n_seeds=preset.n_seeds,
            n_resamples=n_resamples,
            progress=progress.stage(f"probes, {name}"),
        )
    left_out = (
        f" Left out, since the test ECGs have one answer only: {', '.join(known.left_out)}."
        if known.left_out
        else ""
    )
    return Study(
        "classes",
        f"{len(known.classes)} classes of {data.name}",
        "Zero-shot: the cosine of an ECG's mu and that of the class's one prompt. Probes: logistic "
        "regression for each class on frozen mu, from shares of the training patients "
        f"({preset.n_seeds} draws of a part), not stratified. *{RANDOM_WEIGHTS}*: the same ECG "
        "architecture untrained. Intervals: 95 %, bootstrap over patients, and over draws where "
        "there are several." + left_out,
        tuple(figures),
        (macro_table(figures), class_table(figures, known, checkpoint.name)),
        counts={
            "training ECGs": len(train),
            "test ECGs": len(test),
            "classes": len(known.classes),
        },
    )
