"""A recording is looked at: with progress and the time left, to be stopped at any moment.

There are no threads. Streamlit leaves a script only where the script calls it, so the work is done
in steps of a fraction of a second with the progress bar between them: a click anywhere, and so
also on "Cancel", is served after one step. A long recording is shown after its first round; the
second goes on at the end of every run of the page, and whatever is clicked meanwhile comes first.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from echoing_core import services
from ui import resources

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from echoing_core.records import Recording
    from echoing_core.services import Explanation, Looking, Model

_JOB = "looking"


def first_look(model: Model, recording: Recording, stride_s: float, vcg_method: str) -> Explanation:
    """Look at a recording until there is a picture of all of it; the rest is left to `go_on`."""
    st.session_state.pop(_JOB, None)
    # In one placeholder, which takes what is left of the page before with it.
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center", key="first_look"):
        bar = st.progress(0.0, text="Filtering the recording", width="stretch")
        st.button("Cancel", key="cancel_look", on_click=_cancelled)
    try:
        with resources.turn():
            looking = services.Looking(model, recording, stride_s, vcg_method=vcg_method)
        while not looking.has_picture:
            with resources.turn():
                looking.step()
            bar.progress(looking.done / looking.total, text=_words(looking))
    finally:
        place.empty()
    if not looking.finished:
        st.session_state[_JOB] = looking
    return looking.explanation()


def _cancelled() -> None:
    st.session_state["upload_error"] = (
        "Stopped before the recording was looked at; it was not opened. Choose it again to start "
        "anew."
    )


def under_way(explanation: Explanation) -> bool:
    """Whether windows of this recording are still to be looked at."""
    looking: Looking | None = st.session_state.get(_JOB)
    return looking is not None and looking.ecg is explanation.ecg and not looking.finished


def go_on(explanation: Explanation, place: DeltaGenerator) -> None:
    """The second round, at the end of the page; ``place`` is where its progress is shown.

    Returns at once where there is nothing left. Ends in a new run of the page with all windows.
    """
    looking: Looking | None = st.session_state.get(_JOB)
    if looking is None:
        return
    if looking.ecg is not explanation.ecg:
        del st.session_state[_JOB]
        return
    with place.container(horizontal=True, vertical_alignment="center", key="second_look"):
        bar = st.progress(
            looking.done / looking.total, text=_words(looking, "Filling in"), width="stretch"
        )
        st.button("Stop here", key="stop_look", on_click=_stop, args=(looking,))
    while not looking.finished:
        with resources.turn():
            looking.step()
        bar.progress(looking.done / looking.total, text=_words(looking, "Filling in"))
    keep(looking.explanation())
    del st.session_state[_JOB]
    st.rerun()


def _stop(looking: Looking) -> None:
    keep(looking.explanation())
    st.session_state.pop(_JOB, None)


def closer(
    model: Model, explanation: Explanation, view_s: tuple[float, float] | None
) -> Explanation:
    """A window every second where a person zoomed in; the rest as it was."""
    begin, end = (0.0, explanation.ecg.duration_s) if view_s is None else view_s
    if end - begin > services.CLOSE_VIEW_S or under_way(explanation):
        return explanation
    if explanation.track.stride_s <= 1.0 or not model.has_attribution:
        return explanation
    chosen_s = st.session_state["record"].stride_s
    if chosen_s != services.fitting_stride_s(explanation.ecg.duration_s):
        return explanation  # a person asked for this distance between windows
    with st.spinner("Looking more closely"), resources.turn():
        finer = services.look_closer(model, explanation, begin, end)
    if finer is not explanation:
        keep(finer)
    return finer


def keep(explanation: Explanation) -> None:
    """Put what was found in the place of the open recording's, at the same chosen window."""
    record = st.session_state["record"]
    track = record.explanation.track
    window = min(max(st.session_state.get("window", 0), 0), len(track) - 1)
    here = float(track.start_s[window])
    st.session_state["record"] = dataclasses.replace(record, explanation=explanation)
    st.session_state["window"] = int(np.abs(explanation.track.start_s - here).argmin())


def _words(looking: Looking, start: str = "Looking at every window") -> str:
    words = f"{start}: {looking.done:,} of {looking.total:,}"
    # Asked between two turns, so whoever stands in line is somebody else.
    others = resources.turn().waiting
    if others:
        words += f", in turns with {others} other{'s' if others > 1 else ''}"
    left_s = looking.left_s
    if not math.isfinite(left_s) or left_s < 1.5:
        return words
    if left_s >= 90:
        return f"{words}, about {left_s / 60:.0f} min left"
    return f"{words}, about {math.ceil(left_s / 5) * 5 if left_s > 10 else left_s:.0f} s left"
