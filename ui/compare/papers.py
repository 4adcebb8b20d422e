"""Both windows on ECG paper of one scale: beside each other, or one over the other."""

from __future__ import annotations

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import WINDOW_S
from ui import ecg_paper, frame, state
from ui.compare.sides import COLOURS, Side

BESIDE, OVER = "beside", "over"
_KINDS = {BESIDE: "Beside each other", OVER: "Over each other"}


def show(one: Side, other: Side) -> None:
    """Both windows, in the way that was chosen.

    Parameters
    ----------
    one, other : Side
    """
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center",
        gap="small",
    ):  # fmt: skip
        st.header("Both on the same paper", anchor=False, width="content")
        kind = st.segmented_control(
            "Papers",
            list(_KINDS),
            format_func=_KINDS.__getitem__,
            default=BESIDE,
            required=True,
            key=state.Compare.papers.key,
            persist_state="session",
            label_visibility="collapsed",
        )
    if kind == OVER:
        _over(one, other)
    else:
        _beside(one, other)


def _heading(side: Side) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
        st.badge(side.letter, color=COLOURS[side.letter])
        begin = figures.clock(side.start_s, tenths=side.track.stride_s < 1)
        end = figures.clock(side.start_s + WINDOW_S, tenths=side.track.stride_s < 1)
        name = frame.literal(side.explanation.recording_id)
        st.markdown(f"**{name}**, {begin} to {end}", width="content")
        if side.explanation.ecg.simulated:
            frame.simulated_badge()


def _beside(one: Side, other: Side) -> None:
    for at, column in zip((one, other), st.columns(2, gap="small"), strict=True):
        with column:
            _heading(at)
            key = f"compare_paper_{at.letter}"
            with st.container(key=f"ecg_{key}"):
                ecg_paper.draw(
                    at.explanation,
                    at.start_s,
                    at.report,
                    key=key,
                    # By the track: two recordings have windows that start at the same second.
                    window=f"{at.letter}:{id(at.track)}:{at.start_s:.3f}",
                    beside="first" if at is one else "second",
                    label=at.letter,
                )
    st.caption("A change of layout, speed, gain or zoom goes for both.")


def _over(one: Side, other: Side) -> None:
    with st.container(horizontal=True, gap="medium"):
        for at in (one, other):
            _heading(at)
    under = services.laid_under(one.explanation.ecg, one.start_s, other.explanation.ecg,
                                other.start_s)  # fmt: skip
    key = "compare_paper_over"
    with st.container(key=f"ecg_{key}"):
        ecg_paper.draw(
            one.explanation,
            one.start_s,
            one.report,
            key=key,
            window=f"over:{id(one.track)}:{one.start_s:.3f}:{id(other.track)}:{other.start_s:.3f}",
            under=under,
        )
    moved = "as it was recorded"
    if under.shift_s:
        way = "later" if under.shift_s > 0 else "earlier"
        moved = f"moved {abs(under.shift_s):.2f} s {way}, so that the first beats meet"
    st.caption(
        f"Black: A. Orange: B, {moved}. With another rate later beats part; the median beats "
        "below lie over each other by the onset of the QRS."
    )
