"""Pieces of work that other processes look up by their name, for the tests of `workers`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def squared(number: int) -> int:
    return number * number


def refused(number: int) -> int:
    from echoing_core.errors import ConfigError

    raise ConfigError(f"{number} cannot be done.")


def dies_once(number: int, folder: Path, at: int) -> int:
    """Squares, but the first process to meet ``at`` is ended as if memory were short."""
    mark = folder / "died"
    if number == at and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def always_dies(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def slowly_written(number: int, folder: Path) -> tuple[int, int]:
    """Takes a moment, and tells which process did it."""
    from echoing_core.artifacts import replacing_file

    time.sleep(0.3)
    with replacing_file(folder / f"{number}.txt") as draft:
        draft.write_text(str(number * number))
    return number * number, os.getpid()
