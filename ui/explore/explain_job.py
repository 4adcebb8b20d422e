"""What is still to be looked at of the open recording: the second round, and closer views.

There are no threads. Streamlit leaves a script only where the script calls it, so the work is done
in steps of a fraction of a second with the progress bar between them: a click anywhere, and so
also on "Cancel", is served after one step. A long recording is shown after its first round
(`record.first_look`); the second goes on at the end of every run of the page, and whatever is
clicked meanwhile comes first.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import services
from ui import record, resources, state, windows

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from echoing_core.services import ExplainJob, Explanation, Model


def _under_way(explanation: Explanation) -> bool:
    """Whether windows of this recording are still to be looked at."""
    looking = state.Opened.job.value
    return looking is not None and looking.ecg is explanation.ecg and not looking.finished


def go_on(explanation: Explanation, place: DeltaGenerator) -> None:
    """The second round, at the end of the page; ``place`` is where its progress is shown.

    Returns at once where there is nothing left. Ends in a new run of the page with all windows.

    Parameters
    ----------
    explanation : Explanation
        Of the open recording.
    place : DeltaGenerator
    """
    looking = state.Opened.job.value
    if looking is None:
        return
    # The job is of a recording that was open before, and is no longer needed.
    if looking.ecg is not explanation.ecg:
        state.Opened.job.clear()
        return
    with place.container(horizontal=True, vertical_alignment="center", key="second_look"):
        bar = st.progress(
            looking.done / looking.total,
            text=record.progress_words(looking, "Filling in"),
            width="stretch",
        )
        st.button("Stop here", key="stop_look", on_click=_stop, args=(looking,))
    while not looking.finished:
        with resources.turn():
            looking.step()
        bar.progress(
            looking.done / looking.total, text=record.progress_words(looking, "Filling in")
        )
    _replace(looking.explanation())
    state.Opened.job.clear()
    st.rerun()


def _stop(looking: ExplainJob) -> None:
    _replace(looking.explanation())
    state.Opened.job.clear()


def closer(
    model: Model, explanation: Explanation, view_s: tuple[float, float] | None
) -> Explanation:
    """A window every second where a person zoomed in; the rest as it was.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    view_s : (float, float) or None
        Seconds of the detail; None for the whole recording.

    Returns
    -------
    Explanation
        ``explanation`` itself where there is nothing to add.
    """
    begin, end = (0.0, explanation.ecg.duration_s) if view_s is None else view_s
    if end - begin > services.CLOSE_VIEW_S or _under_way(explanation):
        return explanation
    # Every window of the published encoder would cost a pass of its own.
    if explanation.track.stride_s <= 1.0 or not model.masks_leads:
        return explanation
    current = state.Opened.record.value
    if current is None or current.stride_s != services.fitting_stride_s(explanation.ecg.duration_s):
        return explanation  # a person asked for this distance between windows
    with st.spinner("Looking more closely"), resources.turn():
        finer = services.refine(model, explanation, begin, end)
    if finer is not explanation:
        _replace(finer)
    return finer


def _replace(explanation: Explanation) -> None:
    """Take another explanation of the open recording, at the same chosen window."""
    current = state.Opened.record.value
    if current is None:
        return
    track = current.explanation.track
    here_s = float(track.start_s[windows.chosen(track)])
    state.Opened.record.value = dataclasses.replace(current, explanation=explanation)
    state.Opened.window.value = windows.nearest(explanation.track, here_s)
