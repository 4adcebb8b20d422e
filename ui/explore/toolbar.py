"""From window to window: a slider, uncertain stretches, and the surest and least sure windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.records import WindowTrack
from ui import state, windows
from ui.explore import overview

if TYPE_CHECKING:
    from echoing_core.services import Explanation, FlaggedInterval, Model

# All of the toolbar fits into one line of a wide screen; the table has more.
_N_LISTED = 3


def show(model: Model, explanation: Explanation, *, with_extremes: bool) -> None:
    """One row of ways to choose another window; nothing where there is one window.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    with_extremes : bool
        Whether the surest and least sure windows are offered: not where nothing tells them apart.
    """
    track = explanation.track
    if len(track) < 2:
        return
    with st.container(
        horizontal=True, vertical_alignment="bottom", gap="small", key="window_toolbar"
    ):
        with st.container(width="stretch", key="window_slider"):
            windows.slider(
                "Window starts at",
                track,
                windows.chosen(track),
                overview.jump,
                key="window_start",
                tenths=track.stride_s < 1,
                words="With the keyboard: Tab to the handle, then the arrow keys.",
            )
        _stretches(track, overview.flagged(model, explanation))
        if with_extremes:
            for words, surest in (("Most sure", True), ("Least sure", False)):
                _extremes(track, words, surest=surest)
        with st.popover("Hide", icon=":material/visibility_off:", width="content"):
            st.slider(
                "Hide what is above percentile",
                min_value=0,
                max_value=100,
                value=100,
                key=state.Explore.hide_above.key,
                persist_state="session",
                width=280,
                help="Hidden windows are grey here, and are left out of exports and of answers per "
                "window. 100 hides none.",
            )
    # Windows without signal are not hidden, there is nothing of them to show.
    hidden = np.isfinite(figures.shown_percentile(track)) & ~windows.visible(track)
    if hidden.any():
        st.caption(f"Hidden: {hidden.sum():,} of {len(track):,} windows.")


def _stretches(track: WindowTrack, intervals: tuple[FlaggedInterval, ...]) -> None:
    """To the uncertain stretches before and after the chosen window."""
    here = float(track.start_s[windows.chosen(track)])
    worst = [t.interval.worst for t in intervals]
    # By time and not by number: windows are added while a recording is looked at.
    before = [w for w in worst if track.start_s[w] < here - 1e-6]
    after = [w for w in worst if track.start_s[w] > here + 1e-6]
    with st.container(horizontal=True, gap="small", width="content", key="next_unsure"):
        for words, icon, key, there in (
            ("Previous unsure", ":material/chevron_left:", "previous_unsure", before[-1:]),
            ("Next unsure", ":material/chevron_right:", "next_unsure_one", after[:1]),
        ):
            st.button(
                words,
                key=key,
                icon=icon,
                disabled=not there,
                help="To the worst window of the uncertain stretch "
                + ("before this one" if key == "previous_unsure" else "after this one"),
                on_click=overview.jump,
                args=(there[0] if there else windows.chosen(track),),
            )


def _extremes(track: WindowTrack, words: str, *, surest: bool) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", gap="xsmall", width="content",
        key="most_sure" if surest else "least_sure",
    ):  # fmt: skip
        st.markdown(f"**{words}**", width="content")
        # By rank in the key: the window behind a button changes when windows are added.
        for rank, index in enumerate(services.extreme_windows(track, _N_LISTED, surest=surest)):
            st.button(
                figures.clock(float(track.start_s[index])),
                key=f"{'sure' if surest else 'unsure'}_{rank}",
                help=f"Uncertainty percentile {float(track.percentile[index]):.0f}",
                on_click=overview.jump,
                args=(index,),
            )
