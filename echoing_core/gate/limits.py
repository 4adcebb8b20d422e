"""What one call may cost, and how a worker is held to it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

resource: Any
try:
    import resource
except ImportError:  # Windows, where wall time alone is limited
    resource = None

_MB, _GB = 1024**2, 1024**3

MOST_CPU_S, MOST_MEMORY, MOST_OUTPUT = 120.0, 6 * _GB, 3 * _GB

GROWN = 384 * _MB
"""A worker that once held so much is not used again: its memory goes back to the system."""


@dataclass(frozen=True)
class Limits:
    """What one call may cost.

    Attributes
    ----------
    cpu_s : float
        Seconds of processor time.
    wall_s : float
        Seconds by the clock.
    memory_bytes : int
        Of address space, beyond what the worker holds when it begins.
    output_bytes : int
        Of the answer.
    """

    cpu_s: float
    wall_s: float
    memory_bytes: int
    output_bytes: int


def limits_for(n_bytes: int) -> Limits:
    """What reading an upload may cost, by its size.

    Several times what the slowest reader (a spreadsheet) takes on a slow machine, and far less
    than what was seen of files made to do harm.

    Parameters
    ----------
    n_bytes : int
        Of all files together.

    Returns
    -------
    Limits
    """
    cpu_s = min(10.0 + n_bytes / _MB, MOST_CPU_S)
    # Processors are shared: by the clock a file may wait for others.
    return Limits(
        cpu_s=cpu_s,
        wall_s=3.0 * cpu_s,
        # A packed file becomes a hundred times as much (`io.zipped`), of which samples in float32
        # and what a reader holds on the way are some times more.
        memory_bytes=min(_GB + 40 * n_bytes, MOST_MEMORY),
        output_bytes=min(512 * _MB + 20 * n_bytes, MOST_OUTPUT),
    )


def put_after_others(pid: int, steps: int) -> None:
    """Let a worker have the cores that others leave.

    Linux shares the cores out among sessions first, and `os.nice` counts within one; each worker
    has a session of its own. Unlike niceness this can be taken back.

    Parameters
    ----------
    pid : int
    steps : int
        0 as everybody, 19 the last.
    """
    # Other systems have no such file, and some have it switched off.
    with contextlib.suppress(OSError):
        place = Path(f"/proc/{pid}/autogroup")
        try:
            place.write_text(str(steps), encoding="ascii")
        except BlockingIOError:
            # The system takes ten changes a second from all of its users.
            time.sleep(0.11)
            place.write_text(str(steps), encoding="ascii")


def confine() -> None:
    """For the life of a worker: no core file, no byte into any file, and after everybody else."""
    no_core_file()
    _limit("RLIMIT_FSIZE", 0)
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)


def no_core_file() -> None:
    """If this process crashes, no image of its memory is written: uploads are in it."""
    _limit("RLIMIT_CORE", 0)


def in_a_process() -> dict[str, str]:
    """Settings of the environment that a worker starts with, so that its limits can be kept.

    Libraries reserve address space for each thread, and for memory pools, that they never use.
    """
    return {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


@contextlib.contextmanager
def kept(limits: Limits) -> Iterator[None]:
    """Within it, this process ends when it takes more time, and gets no more memory.

    The system ends it, not this program: a library that never comes back to Python cannot go on.

    Parameters
    ----------
    limits : Limits
    """
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        # Whole seconds of the whole life of the process.
        _soft("RLIMIT_CPU", math.ceil(used.ru_utime + used.ru_stime + limits.cpu_s))
        _soft("RLIMIT_AS", _address_space() + limits.memory_bytes)
        # The server ends a worker by the clock, too; this holds where the server is gone.
        signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
    try:
        yield
    finally:
        if resource is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _soft("RLIMIT_AS", None)
            _soft("RLIMIT_CPU", None)


def has_grown() -> bool:
    """Whether this process has held more than `GROWN` at any time."""
    if resource is None:
        return False
    return _most_held() > GROWN


def _most_held() -> int:
    # What `getrusage` tells begins with what the server held when it started this process.
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    # In kB, on macOS in bytes, where a worker is then replaced after every call.
    return 1024 * int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        # Elsewhere more is reserved from the start.
        return 8 * _GB
    return pages * os.sysconf("SC_PAGE_SIZE")


def _limit(name: str, value: int) -> None:
    if resource is not None:
        # Systems may know a limit by name and refuse to set it.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _soft(name: str, value: int | None) -> None:
    """Set the soft limit, which may be raised again; None for as much as there is."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        wanted = hard if value is None else value
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(kind, (wanted, hard))
