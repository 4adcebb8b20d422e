"""Who works on the cores next: one at a time, first come, first served, and told to wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ui import state

# Shorter waits show no message; in longer ones the message is renewed this often.
_PATIENCE_S = 0.7
_REMEMBERED = 20
_WORTH_TELLING_S = 3.0


class Turns:
    """A lock that is fair, knows how long its line is, and tells those who wait in it.

    Use it as ``with turns: ...`` for some of the work at a time: two recordings at once on few
    cores would both crawl, and of two that take turns each gets on.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._mine = threading.local()
        self._held_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._since = 0.0

    def __enter__(self) -> None:
        # Equal to itself alone, so a place in the line is found whoever holds it.
        ticket = object()
        with self._changed:
            # At the end: first come, first served, which a plain lock does not promise.
            self._line.append(ticket)
            served = self._changed.wait_for(lambda: self._line[0] is ticket, _PATIENCE_S)
        if not served:
            try:
                self._wait(ticket)
            except BaseException:
                # The person went elsewhere, which Streamlit says by an exception.
                with self._changed:
                    self._line.remove(ticket)
                    self._changed.notify_all()
                raise
        self._since = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._held_s.append(time.monotonic() - self._since)
            # Whoever leaves is the first in line: nobody enters before being that.
            self._line.popleft()
            self._changed.notify_all()

    def _wait(self, ticket: object) -> None:
        """Until it is this one's turn; what is drawn meanwhile also lets Streamlit end the wait."""
        # A batch waits in a thread of its own, without a page to tell it on.
        has_page = get_script_run_ctx(suppress_warning=True) is not None
        place = state.App.turn_place.value if has_page else None
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._line[0] is ticket, _PATIENCE_S):
                    break
                words = self._words(self._line.index(ticket))
            if place is not None:
                place.info(words, icon=":material/hourglass_top:")
        if place is not None:
            place.empty()

    def _words(self, ahead: int) -> str:
        words = f"Others are using the model: {ahead} ahead of you."
        # By the mean of the last turns that were held.
        left_s = ahead * sum(self._held_s) / max(len(self._held_s), 1)
        return f"{words} About {left_s:.0f} s." if left_s >= _WORTH_TELLING_S else words

    @property
    def waiting(self) -> int:
        """How many stand in line or are being served."""
        with self._changed:
            return len(self._line)


def place() -> None:
    """Where a wait is told, on top of the page; drawn in every run, so that nothing moves."""
    state.App.turn_place.value = st.empty()
