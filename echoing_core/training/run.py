"""The training run of both encoders: any loss, with or without an echo teacher.

Every random choice follows from the seed and the number of the step, so a state on disk is
weights, averages and the optimiser's moments, and a run that is killed at any moment and resumed
ends with the same bits on the same processor with as many threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from echoing_core.config import to_mapping
from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.training.batches import Batches, StepBatch
from echoing_core.training.distributed import World, wait_for_all
from echoing_core.training.run_state import MetricsLog, load_state, save_state
from echoing_core.training.settings import RunConfig
from echoing_core.training.text_cache import TextStates
from echoing_core.training.trainer import Trainer

logger = logging.getLogger(__name__)

Validate = Callable[[nn.Module, int], Mapping[str, float]]
"""Called with the encoder in evaluation mode and the number of steps done."""


@dataclass(frozen=True, eq=False)
class TrainedPair:
    """Result of a run.

    Attributes
    ----------
    encoder : Module
        Of the class that was given, in evaluation mode; the averaged weights where an average
        was kept.
    scale, shift : float
        Learnt constants of the ECG-text loss.
    """

    encoder: Any
    scale: float
    shift: float
    steps: int


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let numbers below 1e-38 be 0 inside; works as a decorator, too.

    Averages of the optimiser decay towards such numbers, and processors take a slow path for
    them. The processor's state is given back, since others do count on these numbers.
    """
    was_flushed = (torch.tensor(1e-42) * 1.0).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushed)


@flushed_denormals()
def train(
    encoder: nn.Module,
    batches: Batches,
    config: RunConfig,
    *,
    run: Path | None = None,
    resume: bool = False,
    world: World | None = None,
    states: TextStates | None = None,
    validate: Validate | None = None,
    log: Callable[[int, Mapping[str, float]], None] | None = None,
    tensorboard: Path | None = None,
    progress: Progress = SILENT,
) -> TrainedPair:
    """Train to the end, from the beginning or from the newest state of ``run``.

    Parameters
    ----------
    run : Path, optional
        Folder of the run: ``metrics.jsonl`` and the states under ``steps/``.
    resume : bool
        Go on with what ``run`` holds; without a state there, begin.
    validate : callable, optional
        Called every ``config.validate_every`` steps and after the last, in the first process; its
        figures are logged as ``valid/...``.
    log : callable, optional
        Called with (step, figures) beside what is written.

    Raises
    ------
    ConfigError
        ``run`` holds states and ``resume`` is False, or they are of a run with other settings,
        data, processes or threads.
    """
    world = world or World()
    trainer = Trainer(encoder, batches, config, world=world, states=states)
    facts = _facts(trainer, world)
    if run is not None:
        _begin(trainer, run, facts, resume)
    writer = MetricsLog(
        run / "metrics.jsonl" if run is not None and world.is_first else None,
        first_step=trainer.done,
        tensorboard=tensorboard if world.is_first else None,
    )

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
            if _is_due(trainer.done, config.validate_every, last) and validate is not None:
                if world.is_first:
                    report(trainer.done - 1, _validated(trainer, validate))
                wait_for_all(world)
            if _is_due(trainer.done, config.save_every, last) and run is not None:
                if world.is_first:
                    save_state(run, trainer.done, trainer.tensors(), facts)
                wait_for_all(world)
            if world.is_first:
                progress(trainer.done, trainer.n_steps)
    result = trainer.result.eval().requires_grad_(False).cpu()
    return TrainedPair(
        result, trainer.text_loss.scale.item(), trainer.text_loss.shift.item(), trainer.done
    )


def _validated(trainer: Trainer, validate: Validate) -> dict[str, float]:
    encoder = trainer.result
    encoder.eval()
    return {f"valid/{k}": v for k, v in validate(encoder, trainer.done).items()}


def _is_due(done: int, every: int, last: bool) -> bool:
    return every > 0 and (last or done % every == 0)


def _begin(trainer: Trainer, run: Path, facts: dict[str, Any], resume: bool) -> None:
    saved = load_state(run)
    if saved is None:
        return
    if not resume:
        raise ConfigError(
            f"{run.name} holds a run that has done {saved[0]} steps. Resume it with --resume, or "
            "name another folder."
        )
    step, tensors, old = saved
    differing = sorted(key for key in facts if facts[key] != old.get(key))
    if differing:
        raise ConfigError(
            f"The run in {run.name} was begun with other settings or data "
            f"({', '.join(differing)}). Resume it with the same, or name another folder."
        )
    trainer.restore(step, tensors)
    logger.info("resumed after %d of %d steps", step, trainer.n_steps)


def _facts(trainer: Trainer, world: World) -> dict[str, Any]:
    """What must be the same for a resumed run to end as one that was never cut off."""
    # How often it is saved or validated changes no weight.
    plain = replace(trainer.config, save_every=0, validate_every=0)
    return {
        "settings": to_mapping(plain),
        "steps": trainer.n_steps,
        "data": trainer.batches.fingerprint(),
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def _ahead(
    batches: Batches, first_step: int, n_steps: int, accumulate: int
) -> Iterator[list[StepBatch]]:
    """The batches of each step, the next ones made while the last are learnt from."""

    def drawn(step: int) -> list[StepBatch]:
        return [batches.at(step * accumulate + part) for part in range(accumulate)]

    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = [
            pool.submit(drawn, step) for step in range(first_step, min(first_step + 2, n_steps))
        ]
        for step in range(first_step, n_steps):
            ready = coming.pop(0).result()
            if step + 2 < n_steps:
                coming.append(pool.submit(drawn, step + 2))
            yield ready
