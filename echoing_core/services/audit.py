"""One line for each file that somebody opened on a server, without anything of the patient.

Off, unless the environment names a file (`AUDIT_FILE`). A line is JSON: when, by which session (a
random number of its own, told to nobody), what was asked for, the format that was found, how many
bytes, how long it took, and how it ended. No name of a person or a file, no text of either, no
address.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from echoing_core.errors import ConfigError, EchoingError
from echoing_core.records import Recording
from echoing_core.services import uploads

logger = logging.getLogger(__name__)

AUDIT_FILE = "ECHOING_AUDIT"

P = ParamSpec("P")
R = TypeVar("R")

# One line at a time, also where a file system writes longer ones in pieces.
_writing = threading.Lock()


class Audited:
    """`uploads.gated` for one session, with a line of what happened.

    Parameters
    ----------
    session : str
        A random number of the session's own.
    """

    def __init__(self, session: str) -> None:
        self.session = session

    def __call__(self, function: Callable[P, R], /, *args: P.args, **named: P.kwargs) -> R:
        """As `uploads.gated`."""
        if not audit_file():
            return uploads.gated(function, *args, **named)
        begun = time.monotonic()
        outcome, found = "failed", ""
        try:
            result = uploads.gated(function, *args, **named)
            outcome, found = _outcome_of(result), _format_of(result)
            return result
        except EchoingError as error:
            outcome = type(error).__name__
            raise
        finally:
            # Also where a page is left while it reads, which is an exception of Streamlit's.
            _write(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "session": self.session,
                    "task": function.__name__,
                    "format": found,
                    "bytes": uploads.n_bytes([args, named]),
                    "seconds": round(time.monotonic() - begun, 3),
                    "outcome": outcome,
                }
            )


def audit_file() -> Path | None:
    """Where lines go, if anywhere.

    Returns
    -------
    Path or None
    """
    named = os.environ.get(AUDIT_FILE, "").strip()
    return Path(named) if named else None


def check_audit() -> None:
    """That a line can be written, where lines were asked for.

    Raises
    ------
    ConfigError
        The file cannot be opened for writing at its end.
    """
    path = audit_file()
    if path is None:
        return
    try:
        os.close(_opened(path))
    except OSError as error:
        raise ConfigError(
            f"{AUDIT_FILE} names a file that cannot be written ({error.strerror}). Make its folder "
            "and let the user who runs the app write there, or unset it."
        ) from error


def _opened(path: Path) -> int:
    # For whoever runs the app alone: who opened what, and when, is nobody else's business.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _write(line: dict[str, Any]) -> None:
    path = audit_file()
    if path is None:
        return
    try:
        with _writing:
            handle = _opened(path)
            try:
                os.write(handle, (json.dumps(line) + "\n").encode())
            finally:
                os.close(handle)
    except OSError:
        # The recording is open and the person waits; whoever runs the app learns of it here.
        logger.exception("a line of the audit could not be written")


def _outcome_of(result: object) -> str:
    """How it ended; what is looked at first brings its refusal along (`Looked.error`)."""
    error = getattr(result, "error", None)
    return type(error).__name__ if isinstance(error, EchoingError) else "opened"


def _format_of(result: object) -> str:
    """Of a recording, or of what holds one; a name of this program, never of the file."""
    recording = result if isinstance(result, Recording) else getattr(result, "recording", None)
    return recording.file_format if isinstance(recording, Recording) else ""
