"""Training runs on prepared data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.services.recordings import Model, load_model, prompt_sets

if TYPE_CHECKING:
    from echoing_core.training.settings import RunConfig

Stage = Callable[[str, int, int], None]


def preset(name: str, changes: Sequence[str] = ()) -> RunConfig:
    """Settings of a preset or a YAML file, with single ones changed (``"optimiser.lr=1e-4"``)."""
    from echoing_core.recipes.preset_files import load_preset

    return load_preset(name, changes)


def train_preset(
    config: RunConfig,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    echo: str | os.PathLike[str] | None = None,
    text_model: str | None = None,
    text_cache: str | os.PathLike[str] | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
    with_second_stage: bool = False,
    progress: Stage | None = None,
) -> Model | None:
    """Train both encoders on a prepared data set and write the model folder ``out``.

    Under ``torchrun`` every process calls this; all but the first return None.

    Parameters
    ----------
    config : RunConfig
    data : path
        A prepared set (``echoing prepare``).
    run : path, optional
        Folder of metrics and states; beside ``out`` and named after it without one.
    resume : bool
        Go on with the newest state in ``run``.
    echo : path, optional
        The teacher's embeddings (``echoing teacher embed``).
    text_model : str, optional
        BERT that the published text encoder starts from: a folder, or a name on the hub.
    text_cache : path, optional
        Where a frozen text model's states go.
    with_second_stage : bool
        Learn sigma^2 anew on the frozen means, as the demo model does (compact encoder only).

    Raises
    ------
    ConfigError, DataSetError, CheckpointError
    """
    from echoing_core.config import DEMO_TRAINING
    from echoing_core.datasets.prepared import load_prepared
    from echoing_core.embed.echo_store import load_echo_embeddings
    from echoing_core.recipes.paired import Stopwatch, finish, in_memory, prepare, train_paired
    from echoing_core.recipes.validation import Validation
    from echoing_core.training.distributed import joined
    from echoing_core.training.run import TrainedPair

    out_folder = Path(out)
    run_folder = Path(run) if run is not None else out_folder.with_name(f"{out_folder.name}-run")
    watch = Stopwatch()
    with joined() as world:
        prepared = prepare(
            config,
            load_prepared(Path(data)),
            echo=None if echo is None else load_echo_embeddings(Path(echo)),
            text_model=text_model,
        )
        validate = None
        if config.validate_every and len(prepared.valid) > 1 and world.is_first:
            untrained = in_memory(prepared, TrainedPair(prepared.encoder, 1.0, 0.0, 0))
            validate = Validation(untrained, prepared.valid, prompt_sets())
        trained = train_paired(
            prepared,
            run=run_folder,
            resume=resume,
            world=world,
            states_folder=None if text_cache is None else Path(text_cache),
            validate=validate,
            tensorboard=None if tensorboard is None else Path(tensorboard),
            progress=progress,
        )
        if not world.is_first:
            return None
    finish(
        out_folder,
        prepared,
        trained,
        origin={"data": Path(data).name, "echo": None if echo is None else Path(echo).name},
        minutes=watch.minutes,
        second_stage=DEMO_TRAINING if with_second_stage else None,
        progress=progress,
    )
    return load_model(out_folder)
