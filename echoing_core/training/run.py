"""The training run of both encoders: any loss, with or without an echo teacher.

Every random choice follows from the seed and the number of the step, so a state on disk is
weights, averages and the optimiser's moments, and a run that is killed at any moment and resumed
ends with the same bits on the same processor with as many processes and threads; with others, with
the same batches and dropout, and weights that differ by the rounding of sums.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoing_core.artifacts import replacing_folder, sha256_of_file
from echoing_core.config import flattened, to_mapping
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.encoders import Encoder
from echoing_core.progress import SILENT, Progress
from echoing_core.training.batches import BatchSource
from echoing_core.training.best import BestWeights, Kept
from echoing_core.training.distributed import World, check_same, wait_for_all
from echoing_core.training.metric_logs import JSON, LogPlace, MetricsLog, open_log
from echoing_core.training.settings import BEST, RunConfig
from echoing_core.training.text_cache import TextStates
from echoing_core.training.trainer import Trainer

logger = logging.getLogger(__name__)

Log = Callable[[int, Mapping[str, float]], None]
"""Called with the number of the step, from 0, and its figures."""

Validate = Callable[[Encoder, int], Mapping[str, float]]
"""Called with the encoder in evaluation mode and the number of steps done."""

_MAY_DIFFER = ("processes", "threads")
"""Of what a state was made with: they change the order of sums, and neither batches nor dropout."""

_STATES_KEPT = 2
"""The newest may be damaged by whatever killed the run; the one before it then serves."""


@dataclass(frozen=True, eq=False)
class TrainedPair:
    """Result of a run.

    Attributes
    ----------
    encoder : Module
        Of the class that was given, in evaluation mode; the averaged weights where an average
        was kept. With ``config.keep`` = best those of the best validation, in the first process.
    scale, shift : float
        Learnt constants of the ECG-text loss.
    kept : Kept or None
        Which weights they are, where they are not the last.
    """

    encoder: Encoder
    scale: float
    shift: float
    steps: int
    kept: Kept | None = None


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let numbers below 1e-38 be 0 inside; works as a decorator, too.

    Averages of the optimiser decay towards such numbers, and processors take a slow path for
    them. The processor's state is given back, since others do count on these numbers.
    """
    # torch has no getter for it; a denormal times one tells.
    was_flushed = (torch.tensor(1e-42) * 1.0).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushed)


@flushed_denormals()
def train(
    encoder: Encoder,
    batches: BatchSource,
    config: RunConfig,
    *,
    kind: type[Trainer] = Trainer,
    run: Path | None = None,
    resume: bool = False,
    world: World | None = None,
    states: TextStates | None = None,
    validate: Validate | None = None,
    log: Log | None = None,
    tensorboard: Path | None = None,
    log_to: Sequence[str] = (JSON,),
    progress: Progress = SILENT,
) -> TrainedPair:
    """Train to the end, from the beginning or from the newest state of ``run``.

    A run may be resumed with another number of processes or threads: its batches stay the same,
    and its weights are then the same up to rounding, not bit for bit.

    Parameters
    ----------
    encoder : DualEncoder or ReleasedDualEncoder
        Trained in place.
    batches : BatchSource
    config : RunConfig
    kind : type of Trainer
        Whose losses are used.
    world : World, optional
        This process alone without it.
    states : TextStates, optional
        With ``config.freeze_text``.
    tensorboard : Path, optional
        Another folder for its events than ``run/tensorboard``.
    log_to : sequence of str
        Names of `metric_logs.LOGGERS`.
    progress : Progress
        Steps done, of the first process.
    run : Path, optional
        Folder of the run: ``metrics.jsonl`` and the states under ``steps/``.
    resume : bool
        Go on with what ``run`` holds; without a state there, begin.
    validate : callable, optional
        Called every ``config.validate_every`` steps and after the last, in the first process; its
        figures are logged as ``valid/...``.
    log : callable, optional
        Called with (step, figures) beside what is written.

    Returns
    -------
    TrainedPair

    Raises
    ------
    ConfigError
        ``run`` holds states and ``resume`` is False, or they are of a run with other settings or
        data, or the processes do not all see the same.
    LostProcessError
        Another process ended before the run was done.
    """
    world = world or World()
    trainer = kind(encoder, batches, config, world=world, states=states)
    facts = _facts(trainer, world)
    if run is not None:
        _begin(trainer, run, facts, resume, world)
    # Before the first gather, in which they would learn from different steps, or wait for ever.
    alike = {key: value for key, value in facts.items() if key not in _MAY_DIFFER}
    check_same(json.dumps({**alike, "done": trainer.done}, sort_keys=True), world)
    best = None
    if config.keep == BEST and world.is_first:
        if validate is None:
            raise ConfigError(
                "The best weights are chosen on validation patients, and there are none. Prepare "
                "data with a valid split, or set keep to last."
            )
        best = BestWeights(config.keep_by, run, begun=trainer.done > 0)
    writer = MetricsLog()
    if world.is_first:
        place = LogPlace(
            folder=run,
            name="run" if run is None else run.resolve().name,
            settings=to_mapping(config),
            first_step=trainer.done,
            tensorboard=tensorboard,
        )
        writer = open_log(log_to, place)

    def report(step: int, values: Mapping[str, float]) -> None:
        if world.is_first:
            writer.write(step, values)
            if log is not None:
                log(step, values)

    started = time.monotonic()
    with closing(writer):
        for drawn in _ahead(batches, trainer.done, trainer.n_steps, config.accumulate):
            values = trainer.step(drawn)
            report(trainer.done - 1, {**values, "seconds": time.monotonic() - started})
            last = trainer.done == trainer.n_steps
            # All wait where the settings say so, whether or not there is anything to do: a process
            # that waits once less than another is gone when that one waits for it.
            if _is_due(trainer.done, config.validate_every, last):
                if world.is_first and validate is not None:
                    figures = _validated(trainer, validate)
                    report(trainer.done - 1, {f"valid/{k}": v for k, v in figures.items()})
                    if best is not None:
                        best.offer(figures, trainer)
                wait_for_all(world)
            # Weights are the same in all processes, so one saves for all.
            if _is_due(trainer.done, config.save_every, last) and run is not None:
                if world.is_first:
                    save_state(run, trainer.done, trainer.tensors(), facts)
                wait_for_all(world)
            if world.is_first:
                progress(trainer.done, trainer.n_steps)
    kept = None if best is None else best.put_back(trainer)
    # On the CPU and without gradients, as a checkpoint is used.
    result = trainer.result.eval().requires_grad_(False).cpu()
    if config.precision == "float64":
        result = result.float()
    scale, shift = trainer.text_loss.scale.item(), trainer.text_loss.shift.item()
    return TrainedPair(result, scale, shift, trainer.done, kept)


def _validated(trainer: Trainer, validate: Validate) -> dict[str, float]:
    encoder = trainer.result
    if trainer.config.precision == "float64":
        # As it will be written, and as everything that reads a model has it.
        encoder = copy.deepcopy(encoder).float()
    encoder.eval()
    return dict(validate(encoder, trainer.done))


def _is_due(done: int, every: int, last: bool) -> bool:
    return every > 0 and (last or done % every == 0)


def _begin(trainer: Trainer, run: Path, facts: dict[str, Any], resume: bool, world: World) -> None:
    saved = load_state(run)
    if saved is None:
        return
    if not resume:
        raise ConfigError(
            f"{run.name} holds a run that has done {saved[0]} steps. Resume it with --resume, or "
            "name another folder."
        )
    step, tensors, old = saved
    # Any of these would change the next step, and the run would end with other weights.
    then, now = _flat(old), _flat(facts)
    # A setting that there was not yet had the effect of its present default.
    defaults = flattened(to_mapping(RunConfig()))
    then = {name: defaults[name] for name in now if name in defaults} | then
    differing = [
        # A hash of the data says no more than that it is another.
        name
        if name == "data"
        else f"{name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name) and name not in _MAY_DIFFER
    ]
    if differing:
        # One that changed mostly changed alone; all of another preset would fill the screen.
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ConfigError(
            f"The run in {run.name} was begun with other settings or data "
            f"({'; '.join(differing[:3])}{more}). Resume it with the same, or name another folder."
        )
    trainer.restore(step, tensors)
    if world.is_first:
        logger.info("resumed after %d of %d steps", step, trainer.n_steps)


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names that ``--set`` takes, beside the other facts."""
    others = {key: value for key, value in facts.items() if key != "settings"}
    return flattened(facts.get("settings", {})) | flattened(others)


def _facts(trainer: Trainer, world: World) -> dict[str, Any]:
    """What a resumed run must share with the one that was cut off, but for `_MAY_DIFFER`."""
    # How often it is saved or validated changes no weight, nor does the stage that follows, nor
    # which of the weights on the way are given in the end.
    settings = to_mapping(trainer.config) | {"save_every": 0, "validate_every": 0}
    for name in ("variance", "keep", "keep_by"):
        del settings[name]
    return {
        "settings": settings,
        "steps": trainer.n_steps,
        "data": trainer.batches.fingerprint(),
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def _ahead(
    batches: BatchSource, first_step: int, n_steps: int, accumulate: int
) -> Iterator[list[Any]]:
    """The batches of each step, the next ones made while the last are learnt from."""

    def drawn(step: int) -> list[Any]:
        return [batches.at(step * accumulate + k) for k in range(accumulate)]

    # One thread, two steps ahead: NumPy and torch let each other run meanwhile.
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = [
            pool.submit(drawn, step) for step in range(first_step, min(first_step + 2, n_steps))
        ]
        for step in range(first_step, n_steps):
            ready = coming.pop(0).result()
            if step + 2 < n_steps:
                coming.append(pool.submit(drawn, step + 2))
            yield ready


def save_state(
    run: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> Path:
    """Write ``run/steps/<step>`` whole or not at all, and drop all but the last two.

    Parameters
    ----------
    run : Path
    step : int
        Steps done.
    tensors : mapping of str to Tensor
    facts : mapping
        What must be equal when the run is resumed, as JSON.

    Returns
    -------
    Path
        Of the folder written.
    """
    from safetensors.torch import save_file

    folder = run / "steps" / f"{step:08d}"
    with replacing_folder(folder) as draft:
        save_file(
            # Cloned, since safetensors refuses tensors that share memory.
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            str(draft / "state.safetensors"),
        )
        content = {
            "step": step,
            "facts": dict(facts),
            "sha256": sha256_of_file(draft / "state.safetensors"),
        }
        (draft / "state.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    # Only after the new state is whole on disk.
    for old in _saved_steps(run)[:-_STATES_KEPT]:
        shutil.rmtree(old)
    return folder


def load_state(run: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    """Step, tensors and facts of the newest state, or None where there is none.

    Parameters
    ----------
    run : Path

    Returns
    -------
    (step, tensors, facts) or None
        As `save_state` took them.

    Raises
    ------
    CheckpointError
        The newest state is damaged.
    """
    from safetensors.torch import load_file

    saved = _saved_steps(run)
    if not saved:
        return None
    folder = saved[-1]
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        path = folder / "state.safetensors"
        if sha256_of_file(path) != content["sha256"]:
            raise ValueError("hash")
        return int(content["step"]), load_file(str(path)), content["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"The state of step {folder.name} is damaged. Remove the folder {folder.name} under "
            "steps/, and the run resumes from the state before it."
        ) from error


def _saved_steps(run: Path) -> list[Path]:
    """Complete states, oldest first. Half-written ones have names that begin with a dot."""
    folder = run / "steps"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit())
