"""A worker: ``python -m echoing_core.gate.worker MODULE...``. One call after another, by pipes.

Nothing of what it reads leaves it but its answers: it writes no file, no core, and no line.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import select
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from echoing_core.errors import EchoingError
from echoing_core.gate.limits import Limits, confine, has_grown, kept
from echoing_core.gate.wire import TooMuchError, send

VALUE, TOLD, MEMORY, OUTPUT, UNEXPECTED = "value", "told", "memory", "output", "unexpected"
"""What the first part of an answer says that the second is."""

_SMALL = 1 << 20
_PACKAGE = Path(__file__).resolve().parents[1]


def fingerprint(error: BaseException) -> str:
    """Which exception, and where in this package it came from; nothing of what was read.

    Parameters
    ----------
    error : exception

    Returns
    -------
    str
        For example ``"KeyError at io/edf.py:120"``.
    """
    place, step = "", error.__traceback__
    while step is not None:
        path = Path(step.tb_frame.f_code.co_filename)
        if path.is_relative_to(_PACKAGE):
            # The innermost of our own: below it are libraries, whose versions differ.
            place = f" at {path.relative_to(_PACKAGE).as_posix()}:{step.tb_lineno}"
        step = step.tb_next
    return f"{type(error).__name__}{place}"


def answer(call: tuple[Any, tuple[Any, ...], dict[str, Any]]) -> tuple[str, Any]:
    """What comes of one call, never an exception.

    Parameters
    ----------
    call : tuple
        Function, arguments, and named arguments.
    """
    function, args, named = call
    try:
        return VALUE, function(*args, **named)
    except EchoingError as error:
        return TOLD, error
    except MemoryError:
        return MEMORY, ""
    except Exception as error:  # noqa: BLE001 - told by its place alone
        return UNEXPECTED, fingerprint(error)


def serve(calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls until there are no more, or this process has grown and says so.

    Parameters
    ----------
    calls, answers : binary stream
        Each answer is what `answer` gives, and whether it was the last.
    """
    last = False
    while not last:
        try:
            call, limits = _next(calls)
        except EOFError:
            return
        with kept(limits):
            kind, value = answer(call)
            del call
            last = has_grown()
            try:
                send(answers, (kind, value, last), limits.output_bytes)
                continue
            except TooMuchError:
                kind, value = OUTPUT, ""
            except MemoryError:
                kind, value = MEMORY, ""
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - an answer that cannot be pickled
                kind, value = UNEXPECTED, fingerprint(error)
            send(answers, (kind, value, last), _SMALL)


def _next(calls: BinaryIO) -> tuple[tuple[Any, tuple[Any, ...], dict[str, Any]], Limits]:
    # This way the server writes, and is trusted.
    call, limits = pickle.load(calls)
    return call, limits


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, whatever is being read."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _main(modules: list[str]) -> None:
    confine()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    for module in modules:
        # While nobody waits; what is missing then is imported by whoever uses it.
        if os.name == "posix" and select.select([calls], [], [], 0)[0]:
            break
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    # The server ended this call already; there is nobody to tell.
    with contextlib.suppress(BrokenPipeError):
        serve(calls, answers)


if __name__ == "__main__":
    _main(sys.argv[1:])
