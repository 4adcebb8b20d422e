"""Windows of a recording: which is chosen, which are hidden, and a slider to choose one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core.records import WindowTrack
from echoing_core.services import visible_windows
from ui import state

# A slider of times needs dates; a recording begins at midnight of this one.
_DAY_ONE = datetime(2000, 1, 1)


def chosen(track: WindowTrack) -> int:
    """The chosen window of the open recording; every page asks here.

    Parameters
    ----------
    track : WindowTrack
        Of the open recording.

    Returns
    -------
    int
    """
    # Another stride or a link may have left a number that this track does not reach.
    return min(max(state.Opened.window.value, 0), len(track) - 1)


def nearest(track: WindowTrack, start_s: float) -> int:
    """The window that starts nearest to a time.

    Parameters
    ----------
    track : WindowTrack
    start_s : float
        Seconds from the start of the recording.

    Returns
    -------
    int
    """
    return int(np.abs(track.start_s - start_s).argmin())


def hide_above() -> float:
    """Percentile above which windows are hidden; 100 hides none."""
    return float(state.Explore.hide_above.value)


def visible(track: WindowTrack) -> npt.NDArray[np.bool_]:
    """Windows that hold signal and are not hidden by the person's threshold.

    Parameters
    ----------
    track : WindowTrack

    Returns
    -------
    ndarray of bool, shape (n_windows,)
    """
    return visible_windows(track, hide_above())


def slider(
    label: str,
    track: WindowTrack,
    window: int,
    choose: Callable[[int], None],
    *,
    key: str,
    tenths: bool = False,
    words: str | None = None,
) -> None:
    """A slider along the starts of the windows; it follows choices that are made elsewhere.

    Parameters
    ----------
    label : str
    track : WindowTrack
        Of two windows or more.
    window : int
        The chosen one.
    choose : callable
        Called with the number of the window that the person moved to.
    key : str
        Of the widget.
    tenths : bool
        Whether tenths of a second are shown.
    words : str, optional
        Help on it.
    """
    start_s, last_s = track.start_s, float(track.start_s[-1])
    entry: state.Entry[datetime] = state.Entry(key, _DAY_ONE)
    ends: state.Entry[tuple[float, float]] = state.Entry(f"{key}_ends", (0.0, 0.0))
    before = _clock(start_s[window])
    if ends.value != (float(start_s[0]), last_s):
        # A slider with other ends is another widget, which would start at the first window.
        ends.value = (float(start_s[0]), last_s)
        entry.clear()
    # Before it is drawn: clicks and buttons choose windows, too.
    entry.follow(before)

    def take() -> None:
        now = entry.value
        index = nearest(track, (now - _DAY_ONE).total_seconds())
        if now != before and index == window:
            # Windows may lie farther apart than the slider's step, which is the shortest distance
            # between two: a step must still lead to the next one.
            index += 1 if now > before else -1
        choose(min(max(index, 0), len(track) - 1))

    days = "[day] D " if last_s >= 86400 else ""
    hours = "HH:mm:ss" if last_s >= 3600 else "mm:ss"
    st.slider(
        label,
        min_value=_clock(start_s[0]),
        max_value=_clock(last_s),
        step=timedelta(seconds=float(np.diff(start_s).min())),
        format=days + hours + (".S" if tenths else ""),
        key=key,
        on_change=take,
        help=words,
    )


def _clock(start_s: float) -> datetime:
    return _DAY_ONE + timedelta(seconds=float(start_s))
