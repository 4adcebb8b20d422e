"""Grading windows: accept, reject, write a note, go on to the next, and take the list away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import WindowTrack
from echoing_core.services import MAX_MARKS, MAX_NOTE, Explanation, Grade, WindowMark
from ui import frame, record, state, windows
from ui.explore import overview

if TYPE_CHECKING:
    from echoing_core.services import Model, WindowReasons

_SIZES = (10, 20, 50, 100)
_SIGNS: dict[str, str] = {"accepted": "accepted", "rejected": "rejected", "": ""}


def marks() -> tuple[WindowMark, ...]:
    """What was said of windows of the open recording, in the order of time."""
    current, kept = record.opened(), state.Review.marks.value
    if current is None or kept is None or kept[0]() is not current.recording:
        return ()
    said = kept[1]
    return tuple(said[start_s] for start_s in sorted(said))


def take_marks(given: tuple[WindowMark, ...]) -> None:
    """Marks in place of those that there are.

    Parameters
    ----------
    given : tuple of WindowMark
        Of the open recording.
    """
    current = record.opened()
    if current is not None:
        by_start = {round(mark.start_s, 3): mark for mark in given}
        state.Review.marks.value = (ref(current.recording), by_start)


def mark_words() -> dict[str, str]:
    """The marks for the report: when, and what was said."""
    return {
        f"Window {figures.clock(m.start_s)} to {figures.clock(m.end_s)}": m.words
        for m in marks()
        if m.words
    }


def show(model: Model, explanation: Explanation) -> None:
    """A closed panel to grade windows in; nothing where nothing tells windows apart.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    """
    if not explanation.has_sigma2:
        return
    # Shortcuts work while it is open, so that no stray key grades anything.
    words = "Review windows: accept, reject, note"
    box = frame.panel(words, ":material/rate_review:", "review_panel")
    if box is not None:
        with box, frame.guarded():
            _panel(model, explanation)


def _panel(model: Model, explanation: Explanation) -> None:
    track = explanation.track
    worst, reasons = _listed(model, explanation)
    chosen = windows.chosen(track)
    mark = _mark_of(track, chosen)
    graded = {round(m.start_s, 3) for m in marks() if m.grade}
    n_done = sum(_start(track, window) in graded for window in worst)
    st.caption(
        f"The {len(worst)} least sure windows that do not overlap: {n_done} graded. Keys while "
        "this is open: Y accept, X reject, N next. Any other window can be graded, too."
    )
    begin = float(track.start_s[chosen])
    said = f", {mark.grade}" if mark.grade else ""
    st.markdown(
        f"**Window {figures.clock(begin)} to {figures.clock(begin + track.window_s)}{said}**, "
        f"percentile {float(track.percentile[chosen]):.0f}"
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        grades: tuple[tuple[str, Grade, str, str], ...] = (
            ("Accept", "accepted", "Y", ":material/check:"),
            ("Reject", "rejected", "X", ":material/close:"),
        )
        for words, grade, key, icon in grades:
            st.button(
                words,
                key=f"review_{grade}",
                icon=icon,
                shortcut=key,
                type="primary" if mark.grade == grade else "secondary",
                help="And go on to the next that is not graded",
                on_click=_grade,
                args=(track, chosen, grade, worst),
            )
        st.button(
            "Next",
            key="review_next",
            icon=":material/skip_next:",
            shortcut="N",
            help="The next window of the list that is not graded",
            on_click=_go_on,
            args=(track, chosen, worst),
        )
        st.button(
            "Take the mark off",
            key="review_clear",
            disabled=not mark.words,
            on_click=_forget,
            args=(track, chosen),
        )
    _note(track, chosen, mark)
    _list(explanation, worst, reasons)


def _note(track: WindowTrack, window: int, mark: WindowMark) -> None:
    # Another key for each window: the text of one must not show at another.
    key = state.Opened.round.key_of(f"review_note_{_start(track, window)}")
    entry: state.Entry[str] = state.Entry(key, "")
    entry.follow(mark.note)
    st.text_input(
        "Note on this window",
        key=key,
        max_chars=MAX_NOTE,
        on_change=_write,
        args=(track, window, key),
        help="It is kept in the session file, in the list, in the report, and as an annotation of "
        "an exported recording. Write no name.",
    )


def _list(explanation: Explanation, worst: list[int], reasons: dict[int, WindowReasons]) -> None:
    import pandas as pd

    track = explanation.track
    st.segmented_control(
        "Windows in the list",
        _SIZES,
        default=_SIZES[0],
        required=True,
        key=state.Review.n_listed.key,
        persist_state="session",
    )
    name = services.clean_name(state.Document.name.value) or "recording"
    rows = services.review_rows(name, track, worst, marks(), reasons)
    table = pd.DataFrame(
        [
            (
                figures.clock(row.start_s),
                round(row.percentile),
                _SIGNS[row.grade],
                row.note,
                row.reason,
            )
            for row in rows
        ],
        columns=["Time", "Percentile", "Grade", "Note", "Reason"],
    )
    key = state.Opened.round.key_of("review_list")
    st.dataframe(
        table,
        hide_index=True,
        key=key,
        on_select=partial(_take_row, key, track, [row.start_s for row in rows]),
        selection_mode="single-row",
        column_config={"Reason": st.column_config.TextColumn(width="large")},
    )
    st.caption(
        f"The list calls the recording “{frame.literal(name)}”, the name typed for the report "
        "under “Take it away”."
    )
    frame.download(
        "Review list as CSV",
        partial(services.review_csv, rows),
        f"{name.replace(' ', '_')}_review.csv",
        frame.CSV,
    )


def _listed(model: Model, explanation: Explanation) -> tuple[list[int], dict[int, WindowReasons]]:
    n = int(state.Review.n_listed.value)
    return state.remembered(
        "review_listed", (explanation.track, n), partial(_with_reasons, model, explanation, n)
    )


def _with_reasons(
    model: Model, explanation: Explanation, n: int
) -> tuple[list[int], dict[int, WindowReasons]]:
    worst = services.extreme_windows(explanation.track, n, surest=False)
    return worst, services.window_reasons(model, explanation, worst)


def _start(track: WindowTrack, window: int) -> float:
    return round(float(track.start_s[window]), 3)


def _mark_of(track: WindowTrack, window: int) -> WindowMark:
    start_s = _start(track, window)
    known = {round(mark.start_s, 3): mark for mark in marks()}
    return known.get(start_s, WindowMark(start_s, start_s + track.window_s))


def _keep(mark: WindowMark) -> None:
    """Keep a mark; one that says nothing is dropped."""
    others = [one for one in marks() if round(one.start_s, 3) != round(mark.start_s, 3)]
    if mark.words and len(others) < MAX_MARKS:
        others.append(mark)
    take_marks(tuple(others))


def _grade(track: WindowTrack, window: int, grade: Grade, worst: list[int]) -> None:
    mark = _mark_of(track, window)
    _keep(WindowMark(mark.start_s, mark.end_s, grade, mark.note))
    _go_on(track, window, worst)


def _write(track: WindowTrack, window: int, key: str) -> None:
    entry: state.Entry[str] = state.Entry(key, "")
    mark = _mark_of(track, window)
    _keep(WindowMark(mark.start_s, mark.end_s, mark.grade, " ".join(entry.value.split())))


def _forget(track: WindowTrack, window: int) -> None:
    mark = _mark_of(track, window)
    _keep(WindowMark(mark.start_s, mark.end_s))


def _go_on(track: WindowTrack, window: int, worst: list[int]) -> None:
    """To the next window of the list that has no grade, from the chosen one on and round."""
    graded = {round(m.start_s, 3) for m in marks() if m.grade}
    here = worst.index(window) + 1 if window in worst else 0
    for following in (*worst[here:], *worst[:here]):
        if _start(track, following) not in graded and following != window:
            overview.jump(following)
            return


def _take_row(key: str, track: WindowTrack, starts_s: list[float]) -> None:
    row = state.selected_row(key)
    if row is not None:
        overview.jump(windows.nearest(track, starts_s[row]))
