"""What people upload to a server is parsed through the gate: in another process, within limits.

The command line, whose files its own user chose, calls the same functions without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from echoing_core.gate import IN_PROCESS, Gate, direct, limits_for, no_core_file
from echoing_core.lazy import lazily

# A server listens before it has the readers.
if TYPE_CHECKING:
    from echoing_core.io.looking import Looked, look
    from echoing_core.io.many import BatchItem
else:
    __getattr__ = lazily(__name__, __file__)

__all__ = [
    "Looked",
    "Through",
    "at_once",
    "close",
    "gated",
    "look",
    "no_core_file",
    "plan",
    "planned",
    "sweep",
    "warm",
]

P = ParamSpec("P")
R = TypeVar("R")

# As `tempfile` names folders.
_LEFT, _LEFT_S = re.compile(r"echoing-[a-z0-9_]{8}"), 600.0

Plan = list[tuple[str, tuple[int, ...], str]]

# Imported in this order while nobody waits: what reads any recording, then what some formats need.
_MODULES = (
    "echoing_core.io.looking",
    "pandas",
    "pydicom",
    "echoing_core.zeroshot.prompts",
    "echoing_core.services.session_file",
)

_starting = threading.Lock()
_gate: Gate | None = None


class Through(Protocol):
    """Calls a function with these arguments, here or elsewhere."""

    def __call__(self, function: Callable[P, R], /, *args: P.args, **named: P.kwargs) -> R: ...


def at_once(function: Callable[P, R], /, *args: P.args, **named: P.kwargs) -> R:
    """`Through` nothing: for files of somebody who is trusted.

    Parameters
    ----------
    function, *args, **named
        As in `gated`.
    """
    return function(*args, **named)


def gated(function: Callable[P, R], /, *args: P.args, **named: P.kwargs) -> R:
    """Call a function on what somebody uploaded, in a worker process within limits.

    Parameters
    ----------
    function : callable
        At the top of a module of this package.
    *args, **named
        Its arguments. The bytes among them set the limits.

    Returns
    -------
    object
        What it gives.

    Raises
    ------
    EchoingError
        What it raises, as it is.
    StoppedReadingError
        It was stopped at a limit, failed in a way that nobody expected, or no worker is free.
    """
    limits = limits_for(n_bytes([args, named]))
    # For systems that have no processes to give, and tests.
    if os.environ.get(IN_PROCESS) == "1":
        return direct(limits, function, *args, **named)
    return _shared().run(limits, function, *args, **named)


def warm() -> None:
    """Start a worker, so that the first upload need not wait for one."""
    if os.environ.get(IN_PROCESS) != "1":
        _shared().warm()


def close() -> None:
    """End the workers that are idle."""
    global _gate
    with _starting:
        gate, _gate = _gate, None
    if gate is not None:
        gate.close()


def sweep(folder: Path | None = None) -> int:
    """Remove what earlier versions left in the folder for temporary files when they were killed.

    They read records from folders of their own there, with the signal in them. This one makes none.

    Parameters
    ----------
    folder : Path, optional
        Without, the system's.

    Returns
    -------
    int
        Folders that were removed.
    """
    removed = 0
    # There may be no place at all for temporary files, and then nothing was left in it.
    with contextlib.suppress(OSError):
        place = Path(tempfile.gettempdir()) if folder is None else folder
        for path in place.glob("echoing-*"):
            with contextlib.suppress(OSError):
                info = path.lstat()
                if (
                    _LEFT.fullmatch(path.name)
                    and stat.S_ISDIR(info.st_mode)
                    and (not hasattr(os, "getuid") or info.st_uid == os.getuid())
                    # Another server of that version may be reading just now.
                    and time.time() - info.st_mtime > _LEFT_S
                ):
                    shutil.rmtree(path)
                    removed += 1
    return removed


def _shared() -> Gate:
    global _gate
    with _starting:
        if _gate is None:
            _gate = Gate(_MODULES)
        return _gate


def plan(files: Iterable[tuple[str, bytes]]) -> Plan:
    """Which of many files belong together; only the beginning of each goes through the gate.

    Parameters
    ----------
    files : iterable of (str, bytes)

    Returns
    -------
    list
        For `planned`; nothing of the files but their names is in it.
    """
    from echoing_core.io.kinds import HEAD_BYTES
    from echoing_core.io.many import grouped_heads

    return gated(grouped_heads, [(name, len(data), data[:HEAD_BYTES]) for name, data in files])


def planned(plan: Plan, files: Iterable[tuple[str, bytes]]) -> list[BatchItem]:
    """The same as `io.many.group_files`, by a plan of the same files.

    Parameters
    ----------
    plan : list
        From `plan`.
    files : iterable of (str, bytes)

    Returns
    -------
    list of BatchItem
    """
    from echoing_core.io.many import BatchItem
    from echoing_core.io.sources import SourceFile, base_name

    sources = [SourceFile(base_name(name), len(data), data=data) for name, data in files]
    return [
        BatchItem(name, tuple(sources[place] for place in places), (), refusal)
        for name, places, refusal in plan
    ]


def n_bytes(value: Any) -> int:
    """Of all bytes in some arguments, each counted once.

    Parameters
    ----------
    value : object
        Bytes, files, and lists and mappings of such.

    Returns
    -------
    int
    """
    from echoing_core.io.many import BatchItem
    from echoing_core.io.sources import SourceFile

    counted: set[int] = set()

    def size(part: Any) -> int:
        if isinstance(part, bytes):
            if id(part) in counted:
                return 0
            counted.add(id(part))
            return len(part)
        if isinstance(part, SourceFile):
            return size(part.data) if part.data is not None else part.size
        if isinstance(part, BatchItem):
            return sum(size(file) for file in part.files)
        if isinstance(part, Mapping):
            return sum(size(one) for one in part.values())
        if isinstance(part, list | tuple):
            return sum(size(one) for one in part)
        return 0

    return size(value)
