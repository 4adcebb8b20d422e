"""Where the figures of a training run go: one small class each, chosen by name.

A run tells `MetricsLog` its figures; each `Logger` keeps them in its own way. A further one is a
class with the three methods, named in `LOGGERS`. What is not ours is imported only where somebody
asked for it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from echoing_core.artifacts import write_text_atomically
from echoing_core.config import flattened
from echoing_core.errors import ConfigError

JSON, TENSORBOARD, WANDB, MLFLOW = "json", "tensorboard", "wandb", "mlflow"

_PROJECT = "echoing"
"""Of the run at Weights & Biases and MLflow, where their own variables name none."""

_REMEMBERED = "trackers.json"
_PARAMETERS_AT_ONCE = 100


@dataclass(frozen=True)
class LogPlace:
    """What a logger is told of the run.

    Attributes
    ----------
    folder : Path or None
        Of the run; without one only what needs none is kept.
    name : str
        Of the run, for a person.
    settings : mapping
        As `config.to_mapping` gives them.
    first_step : int
        Steps from here on will be told, also where an earlier attempt told them.
    metrics : Path or None
        Another file for the JSON lines than ``metrics.jsonl`` in ``folder``.
    tensorboard : Path or None
        Another folder for its events than ``tensorboard`` in ``folder``.
    """

    folder: Path | None = None
    name: str = "run"
    settings: Mapping[str, Any] = field(default_factory=dict)
    first_step: int = 0
    metrics: Path | None = None
    tensorboard: Path | None = None

    def remembered(self, logger: str) -> str | None:
        """The id that a service gave this run when it was begun; None for a new run."""
        path = None if self.folder is None else self.folder / _REMEMBERED
        if path is None or not path.is_file() or self.first_step == 0:
            return None
        value = json.loads(path.read_text(encoding="utf-8")).get(logger)
        return None if value is None else str(value)

    def remember(self, logger: str, run_id: str) -> None:
        """Keep it, so that a resumed run goes on as the same one."""
        if self.folder is None:
            return
        path = self.folder / _REMEMBERED
        ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write_text_atomically(path, json.dumps({**ids, logger: run_id}, indent=1) + "\n")


class Logger(Protocol):
    """Keeps figures. ``package`` is the module it needs, and ``install`` what pip calls it."""

    package: ClassVar[str]
    install: ClassVar[str]

    def __init__(self, place: LogPlace) -> None: ...

    def write(self, step: int, values: Mapping[str, float], stage: str) -> None:
        """Keep the figures of a step; it counts from 0 in each stage."""

    def close(self) -> None:
        """Let what is under way arrive."""


class JsonLines:
    """``metrics.jsonl``: one object a line, on disk at once.

    Lines of the first step and later ones are left over from a run that was killed after its last
    saved state, and are dropped, as is a last line that was cut short.
    """

    package: ClassVar[str] = "json"
    install: ClassVar[str] = ""

    def __init__(self, place: LogPlace) -> None:
        self.path = place.metrics
        if self.path is None and place.folder is not None:
            self.path = place.folder / "metrics.jsonl"
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Steps of this run that will be done again would stand twice.
        earlier = [
            line
            for line in _complete_lines(self.path)
            if json.loads(line)["step"] < place.first_step
        ]
        write_text_atomically(self.path, "".join(line + "\n" for line in earlier))

    def write(self, step: int, values: Mapping[str, float], stage: str) -> None:
        if self.path is not None:
            line = {**({"stage": stage} if stage else {}), "step": step, **values}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Nothing is under way."""


class TensorBoard:
    """Events in ``tensorboard`` of the run's folder."""

    package: ClassVar[str] = "tensorboard"
    install: ClassVar[str] = "tensorboard"

    def __init__(self, place: LogPlace) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = place.tensorboard
        if folder is None:
            folder = _needed(place, TENSORBOARD) / "tensorboard"
        # Events of steps that will be done again are hidden.
        self._writer: Any = SummaryWriter(str(folder), purge_step=place.first_step or None)

    def write(self, step: int, values: Mapping[str, float], stage: str) -> None:
        for name, value in _named(values, stage).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run at Weights & Biases; ``WANDB_MODE=offline`` keeps it in the run's folder."""

    package: ClassVar[str] = "wandb"
    install: ClassVar[str] = "wandb"

    def __init__(self, place: LogPlace) -> None:
        wandb = importlib.import_module(self.package)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=place.name,
            id=place.remembered(WANDB),
            resume="allow",
            dir=None if place.folder is None else str(place.folder),
            config=dict(place.settings),
        )
        place.remember(WANDB, str(self._run.id))
        self._stages: set[str] = set()

    def write(self, step: int, values: Mapping[str, float], stage: str) -> None:
        if not stage:
            self._run.log(dict(values), step=step)
            return
        # Its own counter never goes back, and each stage begins at 0: a stage has its own axis.
        if stage not in self._stages:
            self._stages.add(stage)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._run.log({**_named(values, stage), f"{stage}/step": step})

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """A run of MLflow: wherever ``MLFLOW_TRACKING_URI`` says, or in the run's folder as files."""

    package: ClassVar[str] = "mlflow"
    install: ClassVar[str] = "mlflow-skinny"

    def __init__(self, place: LogPlace) -> None:
        self._mlflow: Any = importlib.import_module(self.package)
        if not os.environ.get("MLFLOW_TRACKING_URI") and place.folder is not None:
            # Its own choice would be a database, for which its small package has no driver; files
            # are to be asked for by name.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            self._mlflow.set_tracking_uri((place.folder / "mlruns").resolve().as_uri())
        self._mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT))
        known = place.remembered(MLFLOW)
        run = self._mlflow.start_run(run_id=known, run_name=None if known else place.name)
        place.remember(MLFLOW, str(run.info.run_id))
        # Those of a resumed run stand there already.
        settings = [] if known else list(flattened(place.settings).items())
        for first in range(0, len(settings), _PARAMETERS_AT_ONCE):
            self._mlflow.log_params(dict(settings[first : first + _PARAMETERS_AT_ONCE]))

    def write(self, step: int, values: Mapping[str, float], stage: str) -> None:
        # It refuses other characters, such as the @ of R@10.
        named = {
            re.sub(r"[^A-Za-z0-9_\-. /]", "_", name): value
            for name, value in _named(values, stage).items()
        }
        self._mlflow.log_metrics(named, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


LOGGERS: dict[str, type[Logger]] = {
    JSON: JsonLines,
    TENSORBOARD: TensorBoard,
    WANDB: Wandb,
    MLFLOW: Mlflow,
}


class MetricsLog:
    """Tells every figure to all the loggers of a run; to none without any.

    Parameters
    ----------
    *loggers : Logger
    """

    def __init__(self, *loggers: Logger) -> None:
        self.loggers = loggers

    def write(self, step: int, values: Mapping[str, float], *, stage: str = "") -> None:
        """Keep the figures of a step.

        Parameters
        ----------
        step : int
        values : mapping of str to float
        stage : str
            Which part of a run in parts; each counts its steps from 0.
        """
        for logger in self.loggers:
            logger.write(step, values, stage)

    def close(self) -> None:
        """Let what is under way arrive."""
        for logger in self.loggers:
            logger.close()


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers that are unknown or not installed, before any work.

    Parameters
    ----------
    names : sequence of str
        Of `LOGGERS`.

    Raises
    ------
    ConfigError
        There is no such logger, or its package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"Figures cannot be logged to {name!r}. Choose among {', '.join(LOGGERS)}."
            )
        kind = LOGGERS[name]
        try:
            importlib.import_module(kind.package)
        except ImportError as error:
            raise ConfigError(
                f"Logging to {name} needs a package that is not installed. Install it with: pip "
                f"install {kind.install}, or leave out {name}: metrics.jsonl has the same figures."
            ) from error


def open_log(names: Sequence[str], place: LogPlace) -> MetricsLog:
    """Open the loggers of a run, each once.

    Parameters
    ----------
    names : sequence of str
        Of `LOGGERS`. TensorBoard is among them wherever ``place`` has a folder for it.
    place : LogPlace

    Returns
    -------
    MetricsLog

    Raises
    ------
    ConfigError
        As `check_loggers`, or a logger needs a folder and the run has none.
    """
    chosen = list(dict.fromkeys(names))
    if place.tensorboard is not None and TENSORBOARD not in chosen:
        chosen.append(TENSORBOARD)
    check_loggers(chosen)
    return MetricsLog(*(LOGGERS[name](place) for name in chosen))


def _needed(place: LogPlace, logger: str) -> Path:
    if place.folder is None:
        raise ConfigError(f"Logging to {logger} needs the run's folder. Name one with --run.")
    return place.folder


def _named(values: Mapping[str, float], stage: str) -> dict[str, float]:
    return {f"{stage}/{name}" if stage else name: value for name, value in values.items()}


def _complete_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    # What stands after the last line break was cut short by a kill.
    return [line for line in lines[:-1] if line]
