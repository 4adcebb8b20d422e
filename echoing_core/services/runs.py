"""Training runs on prepared data."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoing_core.errors import ConfigError, DataSetError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.given import (
    check_given,
    check_model_out,
    check_text_model,
    check_text_model_out,
    run_folder_of,
)
from echoing_core.services.models import Model, load_model, model_folder, prompt_sets

if TYPE_CHECKING:
    from echoing_core.metrics.results import Experiment
    from echoing_core.training.settings import RunConfig


def train_preset(
    config: RunConfig,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    echo: str | os.PathLike[str] | None = None,
    text_model: str | None = None,
    begin: str | os.PathLike[str] | None = None,
    text_cache: str | os.PathLike[str] | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
    log_to: Sequence[str] = ("json",),
    with_second_stage: bool = False,
    progress: Progress = SILENT,
) -> Model | None:
    """Train both encoders on a prepared data set and write the model folder ``out``.

    Under ``torchrun`` every process calls this; all but the first return None.

    Parameters
    ----------
    config : RunConfig
        `training.settings.load_preset`.
    data : path
        A prepared set (``echoing prepare``).
    run : path, optional
        Folder of metrics and states; beside ``out`` and named after it without one.
    resume : bool
        Go on with the newest state in ``run``.
    echo : path, optional
        The teacher's embeddings (``echoing teacher embed``); with ``loss.name`` = infonce also a
        file of vectors by study, of any modality (`echo.study_views`).
    text_model : str, optional
        BERT that the published text encoder starts from: a folder, or a name on the hub.
    begin : path or str, optional
        A model whose ECG network MELP's second stage begins with: that of the first.
    text_cache : path, optional
        Where a frozen text model's states go.
    tensorboard : path, optional
        Another folder for its events than that in the run's.
    log_to : sequence of str
        Who keeps the figures of every step: ``"json"``, ``"tensorboard"``, ``"wandb"``,
        ``"mlflow"``.
    with_second_stage : bool
        Learn sigma^2 anew on the frozen means, as the demo model does (compact encoder only).
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
    from_file = echo is not None and Path(echo).is_file()
    check_given(data=data, echo=echo)
    if begin is not None:
        check_given(model=model_folder(begin)[0])
    check_text_model(text_model)
    check_model_out(out)
    if from_file and config.loss.name != "infonce":
        raise ConfigError(
            f"{echo} is a file of vectors without sigma^2, which loss.name = {config.loss.name} "
            "reads. Set it to infonce, or name a store of echo embeddings."
        )
    if config.model.has_study:
        raise ConfigError(
            "Settings with model.study are of a model that reads echo studies. Train it by "
            "`echoing train echo2ecg`; a file of your own goes behind --settings."
        )
    from echoing_core.datasets.prepared import check_filter_padding, load_prepared
    from echoing_core.echo.store import load_echo_embeddings
    from echoing_core.echo.study_views import as_embeddings, read_views
    from echoing_core.training.distributed import joined
    from echoing_core.training.metric_logs import check_loggers
    from echoing_core.training.paired import (
        as_checkpoint,
        build_inputs,
        train_paired,
        write_model,
    )
    from echoing_core.training.run import TrainedPair
    from echoing_core.training.validation import Validation

    # All of this before the data are opened. Such a model would say nothing by its sigma^2.
    if config.means_only and not with_second_stage:
        raise ConfigError(
            "With means_only nothing learns sigma^2. Add --second-stage or set it to false."
        )
    check_loggers([*log_to, *(["tensorboard"] if tensorboard is not None else [])])
    out_folder = Path(out)
    run_folder = run_folder_of(out, run)
    started = time.monotonic()
    check_filter_padding(Path(data), config.filter_padding)
    embedded = None
    if echo is not None:
        embedded = (
            as_embeddings(read_views(Path(echo))) if from_file else load_echo_embeddings(Path(echo))
        )
    if embedded is not None and config.echo_frames not in ("", embedded.frames):
        raise ConfigError(
            f"The teacher saw the frames {embedded.frames!r} of each clip and this run asks for "
            f"{config.echo_frames!r}. Embed the clips again with --frames {config.echo_frames}, or "
            f"set echo_frames to {embedded.frames}."
        )
    with joined() as world:
        inputs = build_inputs(
            config,
            load_prepared(Path(data)),
            echo=embedded,
            text_model=text_model,
            begin=None if begin is None else load_model(begin).checkpoint,
            questions=prompt_sets(),
        )
        validate = None
        watched = config.model.has_text and len(inputs.valid) > 1
        if config.validate_every and watched and world.is_first:
            untrained = as_checkpoint(inputs, TrainedPair(inputs.encoder, 1.0, 0.0, 0))
            validate = Validation(untrained, inputs.valid, prompt_sets())
            if config.keep == "best" and config.keep_by not in validate.names:
                raise ConfigError(
                    f"Validation has no figure {config.keep_by!r} to keep the best by. Set "
                    f"keep_by to one of: {', '.join(validate.names)}."
                )
        trained = train_paired(
            inputs,
            run=run_folder,
            resume=resume,
            world=world,
            states_folder=None if text_cache is None else Path(text_cache),
            validate=validate,
            tensorboard=None if tensorboard is None else Path(tensorboard),
            log_to=log_to,
            progress=progress,
        )
        # One process writes; the others have the same weights.
        if not world.is_first:
            return None
    write_model(
        out_folder,
        inputs,
        trained,
        origin={
            "data": Path(data).name,
            "echo": None if echo is None else Path(echo).name,
            **({} if begin is None else {"begun_with": Path(begin).name}),
        },
        minutes=(time.monotonic() - started) / 60,
        with_second_stage=with_second_stage,
        progress=progress,
    )
    return load_model(out_folder)


def train_language_model(
    config: RunConfig,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    texts: str | os.PathLike[str] | None = None,
    text_model: str | None = None,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tensorboard: str | os.PathLike[str] | None = None,
    log_to: Sequence[str] = ("json",),
    progress: Progress = SILENT,
) -> dict[str, float] | None:
    """Train MELP's language model on reports, and write the BERT ``out`` for ``--text-model``.

    Under ``torchrun`` every process calls this; all but the first return None.

    Parameters
    ----------
    config : RunConfig
        The preset ``melp-text``.
    data : path
        A prepared set; reports of its training patients are learnt from, and those of its
        validation patients say how well.
    texts : path, optional
        A text file with further texts, one a line.
    text_model : str, optional
        A BERT to begin with, of the same sizes.
    run, resume, tensorboard, log_to, progress
        As in `train_preset`.

    Returns
    -------
    dict or None
        Perplexity on the validation reports, and that of counting words alone; empty where there
        are no such reports.

    Raises
    ------
    ConfigError, DataSetError, CheckpointError
    """
    check_given(data=data)
    if texts is not None and not Path(texts).is_file():
        raise DataSetError(f"There is no file {texts}. Name a text file with one text a line.")
    check_text_model(text_model)
    check_text_model_out(out)
    from echoing_core.config import to_mapping
    from echoing_core.datasets.prepared import load_prepared
    from echoing_core.training.distributed import joined
    from echoing_core.training.language import (
        LanguageTrainer,
        Texts,
        new_language_model,
        perplexities,
        texts_to_learn,
        write_text_model,
    )
    from echoing_core.training.melp import vocabulary_of
    from echoing_core.training.run import train

    with joined() as world:
        learnt, unseen = texts_to_learn(
            load_prepared(Path(data)), None if texts is None else Path(texts)
        )
        tokenizer, config = vocabulary_of(config, learnt, text_model)
        sizes = config.model.released_text
        model: Any = new_language_model(sizes, text_model, seed=config.seed)
        trained = train(
            model,
            Texts(learnt, tokenizer, config.batch_size, config.seed),
            config,
            kind=LanguageTrainer,
            run=run_folder_of(out, run),
            resume=resume,
            world=world,
            tensorboard=None if tensorboard is None else Path(tensorboard),
            log_to=log_to,
            progress=progress.stage("training"),
        )
        if not world.is_first:
            return None
    figures = perplexities(trained.encoder, tokenizer, unseen, learnt) if unseen else {}
    card = {
        "data": Path(data).name,
        "n_texts": len(learnt),
        "begun_with": text_model,
        "steps": trained.steps,
        "figures": figures,
        "config": to_mapping(config),
    }
    write_text_model(Path(out), model, tokenizer, sizes, card)
    return figures


def evaluate_ablation(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    echo: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    n_patients: int = 4000,
    n_test_patients: int = 2000,
    echo_in_report: float = 0.02,
    cohort_seed: int = 31,
    n_seeds: int = 3,
    steps: int | None = None,
    methods: Sequence[str] | None = None,
    both_variances: bool = False,
    ptbxl: str | os.PathLike[str] | None = None,
    cinc: str | os.PathLike[str] | None = None,
    nstdb: str | os.PathLike[str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Train and compare the four rows of Table 5, with several seeds each.

    Parameters
    ----------
    out : path
        Folder of the runs' scores; an experiment that was cut off goes on there.
    data, echo : path, optional
        A prepared set and the teacher's embeddings of its echocardiograms. Without them a cohort
        is simulated and embedded by ``teacher``.
    teacher : path, optional
        Teacher folder. Without it, the stand-in is trained first, into ``out``.
    n_patients, n_test_patients : int
        Of the simulated cohort: those whose train and valid patients are used, and about how many
        test patients.
    echo_in_report : float
        Share of the simulated reports that tell the echocardiogram, too.
    cohort_seed, n_seeds : int
        Of the simulated cohort; trainings of each row, with seeds 1, 2...
    steps : int, optional
        Of each training; the ablation's own number without.
    n_resamples : int
        Of the bootstrap.
    methods : sequence of str, optional
        Keys of `evaluate.protocols.ablation.KNOWN`; the four rows of Table 5 without.
    both_variances : bool
        Every run learns both kinds of sigma^2, and further tables set them beside each other
        (`evaluate.protocols.two_variances`).
    ptbxl : path, optional
        PTB-XL: folds 1-7 train with the cohort; with ``both_variances`` fold 9 is measured.
    cinc, nstdb : path, optional
        Graded recordings and real noise, for ``both_variances``.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError
        Only one of ``data`` and ``echo`` is given, or a method is unknown.
    """
    check_given(data=data, echo=echo, teacher=teacher)
    from echoing_core.datasets.prepared import load_prepared, save_prepared
    from echoing_core.datasets.ptbxl import load_ptbxl
    from echoing_core.echo.simulated import simulated_echo_embeddings
    from echoing_core.echo.stand_in import train_teacher
    from echoing_core.echo.store import load_echo_embeddings, save_echo_embeddings
    from echoing_core.echo.teacher import load_teacher
    from echoing_core.evaluate.protocols.ablation import (
        KNOWN,
        METHODS,
        AblationConfig,
        cohort_of,
        measure_ablation,
        run_ablation,
        teacher_sides,
    )
    from echoing_core.evaluate.protocols.two_variances import build_bench, readings_of_runs
    from echoing_core.evaluate.protocols.two_variances_tables import measure_variances
    from echoing_core.models.config import BOTH
    from echoing_core.training.demo import PTBXL_TRAIN_FOLDS
    from echoing_core.training.paired import with_echo

    folder = Path(out)
    if (data is None) != (echo is None):
        raise ConfigError(
            "Give both a prepared data set and the echo embeddings of it, or neither."
        )
    # Checked before anything is simulated or trained.
    known = {method.key: method for method in KNOWN}
    for key in methods or ():
        if key not in known:
            raise ConfigError(f"There is no method {key!r}. Choose among {', '.join(known)}.")
    chosen = [known[key] for key in methods] if methods else list(METHODS)

    teacher_folder = None if teacher is None else Path(teacher)
    if teacher_folder is None and data is None:
        # Kept in the experiment's folder, so that a second call finds it trained.
        teacher_folder = folder / "teacher"
        if not teacher_folder.is_dir():
            train_teacher(teacher_folder, progress=progress)
    # Its prompts are asked of the models, too, where the spaces have as many dimensions.
    loaded = None if teacher_folder is None else load_teacher(str(teacher_folder))
    if data is None or echo is None:
        data, echo = folder / "data", folder / "echo"
        # Each folder appears whole or not at all, so what is there is done.
        if not data.is_dir():
            cohort = cohort_of(
                n_patients, n_test_patients, cohort_seed, echo_in_report, progress=progress
            )
            save_prepared(data, cohort)
        if not echo.is_dir():
            studies = with_echo(load_prepared(data), AblationConfig().echo_share)
            # Without data there is always a teacher: it was trained above where none was named.
            assert loaded is not None
            save_echo_embeddings(
                echo,
                simulated_echo_embeddings(
                    loaded,
                    studies,
                    progress=progress.stage("embed echo"),
                ),
            )
    embeddings = load_echo_embeddings(Path(echo))
    # The ECG's space must have the teacher's dimensions, or the two could not be compared.
    config = AblationConfig(seeds=tuple(range(1, n_seeds + 1)), dim=embeddings.dim)
    if steps is not None:
        config = replace(config, steps=steps)
    if both_variances:
        config = replace(config, sigma2=BOTH)
    studies_set = load_prepared(Path(data))
    if ptbxl is not None:
        studies_set = studies_set.concat(load_ptbxl(Path(ptbxl), folds=PTBXL_TRAIN_FOLDS))
    scores = run_ablation(
        folder / "runs",
        studies_set,
        embeddings,
        prompt_sets(),
        config,
        # Sentences of a teacher with other dimensions say nothing in this space.
        sides=None if loaded is None or loaded.dim != config.dim else teacher_sides(loaded),
        methods=chosen,
        progress=progress,
    )
    report = measure_ablation(scores, studies_set, config, n_resamples=n_resamples)
    if not both_variances:
        return report
    bench = build_bench(
        studies_set,
        ptbxl=None if ptbxl is None else Path(ptbxl),
        cinc=None if cinc is None else Path(cinc),
        nstdb=None if nstdb is None else Path(nstdb),
    )
    readings = readings_of_runs(
        folder / "runs",
        bench,
        prompt_sets(),
        chosen,
        config.seeds,
        progress=progress.stage("measure both kinds of sigma^2"),
    )
    further = measure_variances(readings, bench, chosen, n_resamples=n_resamples)
    return replace(
        report,
        results=(*report.results, *further.results),
        tables=(*report.tables, *further.tables),
        content=report.to_dict() | {"two_variances": further.to_dict()},
    )
