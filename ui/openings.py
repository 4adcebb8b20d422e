"""How a session has its uploads read: through the gate, with a line of the audit where it is on."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from echoing_core.services.audit import Audited
from ui import state

P = ParamSpec("P")
R = TypeVar("R")


def through() -> Audited:
    """What reads uploads for this session, for whoever goes on without one.

    Returns
    -------
    Audited
        Called as `gated`; a thread of the session may hold it.
    """
    return Audited(state.App.audit_id.value)


def gated(function: Callable[P, R], /, *args: P.args, **named: P.kwargs) -> R:
    """As `echoing_core.services.uploads.gated`, told to the audit.

    Parameters
    ----------
    function, *args, **named
        As there.
    """
    return through()(function, *args, **named)
