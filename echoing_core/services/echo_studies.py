"""Models that are trained towards whole echo studies, and what they are worth."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.given import check_given, check_model_out, run_folder_of
from echoing_core.services.models import Model, assets_folder, load_model

if TYPE_CHECKING:
    from echoing_core.datasets.study_set import StudySet
    from echoing_core.echo.study_views import StudyViews
    from echoing_core.metrics.results import Experiment
    from echoing_core.training.settings import RunConfig


def train_echo2ecg(
    config: RunConfig,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    echo: str | os.PathLike[str] | None = None,
    texts: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tensorboard: str | os.PathLike[str] | None = None,
    log_to: Sequence[str] = ("json",),
    progress: Progress = SILENT,
) -> Model | None:
    """Train an ECG encoder towards echo studies and write the model folder ``out``.

    Under ``torchrun`` every process calls this; all but the first return None.

    Parameters
    ----------
    config : RunConfig
        `training.settings.load_preset`, of ``echo2ecg`` or ``ulip``.
    data : path
        A prepared set (``echoing prepare``).
    out : path
    echo : path, optional
        Embeddings of clips: a store of ``echoing teacher embed --by-clip``, or a file of
        EchoPrime's form (`echo.study_views`). Without it the clips of simulated patients are drawn
        and embedded by ``teacher``, and kept in the run's folder.
    texts : path, optional
        For ``ulip``: embeddings of the studies' reports by the same teacher, in the form of
        ``echo``. Without it reports of simulated patients are worded and embedded.
    teacher : path, optional
        The shipped stand-in without one.
    run, resume, tensorboard, log_to
        As in `train_preset`.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Model or None
        None in every process but the first.

    Raises
    ------
    ConfigError, DataSetError, CheckpointError
    """
    check_given(data=data, echo=echo, teacher=teacher)
    check_given(echo=texts)
    check_model_out(out)
    from echoing_core.datasets.prepared import check_filter_padding, load_prepared
    from echoing_core.training.distributed import joined, one_of_each_machine_first
    from echoing_core.training.echo2ecg import (
        StudyTrainer,
        StudyValidation,
        build_study_inputs,
        write_study_model,
    )
    from echoing_core.training.metric_logs import check_loggers
    from echoing_core.training.run import train
    from echoing_core.training.study_batches import StudyBatches

    check_loggers([*log_to, *(["tensorboard"] if tensorboard is not None else [])])
    out_folder = Path(out)
    run_folder = run_folder_of(out, run)
    started = time.monotonic()
    check_filter_padding(Path(data), config.filter_padding)
    studies = load_prepared(Path(data))
    with joined() as world:
        # What has to be drawn is drawn once; the other processes read it.
        with one_of_each_machine_first(world):
            views = clips_of(
                studies,
                echo,
                teacher,
                run_folder / "echo",
                splits=("train", "valid"),
                progress=progress,
            )
        worded = None
        if config.model.study.teacher:
            worded = texts_of(studies, texts, teacher)
        inputs = build_study_inputs(config, studies, views, worded)
        validate = None
        if config.validate_every and inputs.valid is not None and world.is_first:
            validate = StudyValidation(inputs.valid)
        trained = train(
            inputs.encoder,
            StudyBatches(inputs.train, inputs.config, world=world),
            inputs.config,
            kind=StudyTrainer,
            run=run_folder,
            resume=resume,
            world=world,
            validate=validate,
            tensorboard=None if tensorboard is None else Path(tensorboard),
            log_to=log_to,
            progress=progress.stage("train towards echo studies"),
        )
        if not world.is_first:
            return None
    write_study_model(
        out_folder,
        inputs,
        trained,
        origin={"data": Path(data).name, "echo": None if echo is None else Path(echo).name},
        minutes=(time.monotonic() - started) / 60,
    )
    return load_model(out_folder)


def evaluate_echo_studies(
    model: Model,
    data: str | os.PathLike[str],
    *,
    echo: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Classes of ejection fraction and structural disease, and search from ECG to study and back.

    Parameters
    ----------
    model : Model
        Of any kind for the classes; search needs one that reads echo studies.
    data : path
        A prepared set with train and test patients.
    echo, teacher
        As in `train_echo2ecg`, for the test patients; not needed for a model that reads no echo
        studies.
    cache : path, optional
        Where clips that are drawn here are kept.
    n_resamples : int
        Bootstrap resamples of the patients.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError, DataSetError
        The set cannot be used.
    """
    check_given(data=data, echo=echo, teacher=teacher)
    from echoing_core.datasets.prepared import load_prepared
    from echoing_core.evaluate.protocols.echo_studies import run_echo_studies

    views = None
    if model.checkpoint.encoder.config.has_study:
        views = clips_of(
            load_prepared(Path(data), splits=("test",)),
            echo,
            teacher,
            None if cache is None else Path(cache),
            splits=("test",),
            progress=progress,
        )
    return run_echo_studies(
        model.checkpoint, Path(data), views, n_resamples=n_resamples, progress=progress
    )


def clips_of(
    studies: StudySet,
    echo: str | os.PathLike[str] | None,
    teacher: str | os.PathLike[str] | None,
    cache: Path | None,
    *,
    splits: Sequence[str],
    progress: Progress = SILENT,
) -> StudyViews:
    """Embeddings of clips: those given, or drawn for simulated patients.

    Parameters
    ----------
    studies : StudySet
    echo, teacher
        As in `train_echo2ecg`.
    cache : Path or None
        Store to write what is drawn to, or to read it from.
    splits : sequence of str
        Whose patients are drawn.
    progress : Progress, optional

    Returns
    -------
    StudyViews

    Raises
    ------
    ConfigError
        No clips are given, and some of the ECGs are not simulated.
    """
    from echoing_core.echo.study_views import read_views

    if echo is not None:
        return read_views(Path(echo))
    wanted = _simulated_studies(studies, splits, "--echo")
    if cache is not None and (cache / "card.json").is_file():
        return read_views(cache)
    from echoing_core.echo.simulated import simulated_echo_embeddings
    from echoing_core.echo.store import save_echo_embeddings
    from echoing_core.echo.study_views import views_of
    from echoing_core.echo.teacher import load_teacher

    loaded = load_teacher(teacher or assets_folder() / "teachers" / "stand_in")
    embeddings = simulated_echo_embeddings(
        loaded,
        wanted,
        by_clip=True,
        progress=progress.stage("draw and embed echo clips"),
    )
    if cache is not None:
        save_echo_embeddings(cache, embeddings)
    return views_of(embeddings)


def texts_of(
    studies: StudySet,
    texts: str | os.PathLike[str] | None,
    teacher: str | os.PathLike[str] | None,
) -> StudyViews:
    """A teacher's embeddings of echo reports: those given, or of simulated patients' reports.

    Parameters
    ----------
    studies : StudySet
    texts, teacher
        As in `train_echo2ecg`.

    Returns
    -------
    StudyViews

    Raises
    ------
    ConfigError
        None are given, and some of the ECGs are not simulated.
    """
    from echoing_core.echo.study_views import read_views, views_of

    if texts is not None:
        return read_views(Path(texts))
    wanted = _simulated_studies(studies, ("train", "valid"), "--texts")
    from echoing_core.echo.simulated import simulated_text_embeddings
    from echoing_core.echo.teacher import load_teacher

    loaded = load_teacher(teacher or assets_folder() / "teachers" / "stand_in")
    return views_of(simulated_text_embeddings(loaded, wanted))


def _simulated_studies(studies: StudySet, splits: Sequence[str], option: str) -> list[str]:
    wanted = studies.table[studies.table["split"].isin(splits)]
    if not wanted["simulated"].astype(bool).all():
        raise ConfigError(
            "These ECGs are of real patients, and no echo studies can be simulated for them. Name "
            f"the embeddings of their echo studies with {option}."
        )
    return list(dict.fromkeys(wanted["study_id"].astype(str)))
