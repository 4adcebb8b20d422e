"""Rhythm over time: heart rate, atrial fibrillation, pauses and ectopic beats on one clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import Recording
from echoing_core.services import Beats, Explanation, Progress, Rhythm, RhythmView
from ui import frame, record, state, windows
from ui.explore import overview, review

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_MOST_ROWS = 200


def show(current: record.OpenRecord, explanation: Explanation) -> None:
    """A closed panel with everything about rhythm; nothing for recordings of half a minute.

    Parameters
    ----------
    current : OpenRecord
    explanation : Explanation
    """
    if current.recording.duration_s <= services.SHOWN_FROM_S:
        return
    # Its content is made when it is open: the beats of a day take half a minute to find.
    box = frame.panel("Rhythm over time", ":material/monitor_heart:", "rhythm_panel")
    if box is not None:
        with box, frame.guarded():
            _panel(current, _rhythm(current.recording, explanation), explanation)


def _rhythm(recording: Recording, explanation: Explanation) -> Rhythm:
    """Beats once for a recording; figures anew when windows are added or read otherwise."""
    beats: Beats = state.remembered("rhythm_beats", (recording,), partial(_beats, recording))
    # Rejected by ECGs with the same leads, in either reading: else missing leads would reject all.
    alike = explanation.read_among(all_leads=False)
    return state.remembered(
        "rhythm_told",
        # The same in both readings of one track.
        (beats, explanation.track.embedding),
        lambda: services.rhythm_over_time(recording, alike, beats=beats),
    )


def _beats(recording: Recording) -> Beats:
    bar = st.progress(0.0, text="Finding the beats")
    try:
        told = Progress(partial(_tell, bar))
        return services.rhythm_over_time(recording, progress=told).all.beats
    finally:
        bar.empty()


def _tell(bar: DeltaGenerator, stage: str, done: float, total: int) -> None:
    del stage  # there is one
    bar.progress(done / max(total, 1), text="Finding the beats")


def _panel(current: record.OpenRecord, found: Rhythm, explanation: Explanation) -> None:
    if not len(found.all.beats):
        st.info("No beats were found in this recording.", icon=":material/info:")
        return
    view = _chosen_view(found)
    track = explanation.track
    middle_s = float(track.start_s[windows.chosen(track)]) + track.window_s / 2
    _chart(view, found, middle_s)
    st.caption(
        "Black: usual heart rate; grey band: slowest to fastest of single intervals, so wider than "
        "in the tables, which give means over nine. Shaded: windows in which the model is unsure "
        "(percentile 90 and above). Click on a mark to go there. Beats are told by shape, width "
        "and timing, atrial fibrillation by intervals alone; no P wave is read."
    )
    _measures(found)
    _events(view)
    _intervals(view)
    _downloads(current, found)


def _chosen_view(found: Rhythm) -> RhythmView:
    if found.kept is None:
        return found.all
    n_left_out = len(found.all.beats) - len(found.kept.beats)
    words = {
        "all": "All of the recording",
        "kept": f"Without unsure windows ({n_left_out:,} beats fewer)",
    }
    kind = st.segmented_control(
        "Rhythm of",
        list(words),
        format_func=words.__getitem__,
        default="all",
        required=True,
        key=state.Rhythm.kept.key,
        persist_state="session",
    )
    return found.kept if kind == "kept" else found.all


def _chart(view: RhythmView, found: Rhythm, middle_s: float) -> None:
    figure = figures.rate_figure(view, found.rejected, middle_s)
    if st.context.theme.type == "dark":
        figure = figures.in_dark(figure)
    key = state.Opened.round.key_of("rhythm_rate")
    st.plotly_chart(
        figure,
        key=key,
        theme=None,
        config=frame.CHART_CONFIG,
        on_select=partial(_take_click, key),
        selection_mode="points",
        alt="Heart rate along the recording, with episodes like atrial fibrillation, pauses and "
        "ectopic beats below it. The tables below hold the same.",
    )


def _take_click(key: str) -> None:
    at_s = state.clicked_value(key)
    if at_s is not None:
        go_to(at_s)


def go_to(at_s: float) -> None:
    """Choose the window whose middle is nearest to a moment.

    Parameters
    ----------
    at_s : float
        Seconds from the start of the recording.
    """
    current = record.opened()
    if current is None:
        return
    track = current.explanation.track
    overview.jump(windows.nearest(track, at_s - track.window_s / 2))


def _measures(found: Rhythm) -> None:
    heads = ["Measure", "All of it", "Without unsure windows"]
    rows = services.measure_rows(found)
    st.html(
        frame.html_table(
            heads[: len(rows[0])],
            rows,
            label="Measures of the rhythm, of all and without unsure windows",
            css_class="beside sentences",
        )
    )


def _events(view: RhythmView) -> None:
    """Episodes and pauses as a table; a row chosen is a window chosen."""
    import pandas as pd

    rows = [
        (
            "like atrial fibrillation",
            e.start_s,
            e.stop_s,
            f"{100 * e.probability:.0f} % by its intervals",
        )
        for e in view.episodes
    ]
    rows += [
        ("pause", p.start_s, p.stop_s, "a beat beside it is unsure" if p.doubtful else "")
        for p in view.pauses
    ]
    rows.sort(key=lambda row: row[1])
    if not rows:
        st.caption("No episode like atrial fibrillation and no pause over 2 s was found.")
        return
    table = pd.DataFrame(
        [
            (figures.clock(a, tenths=True), kind, f"{b - a:.1f}", words)
            for kind, a, b, words in rows[:_MOST_ROWS]
        ],
        columns=["From", "What", "Seconds", "Note"],
    )
    key = state.Opened.round.key_of("rhythm_events")
    st.dataframe(
        table,
        hide_index=True,
        key=key,
        on_select=partial(_take_row, key, [row[1] for row in rows]),
        selection_mode="single-row",
    )
    more = len(rows) - _MOST_ROWS
    st.caption(
        "Choose a row to go there."
        + (f" {more:,} more are in the exported JSON." if more > 0 else "")
    )


def _take_row(key: str, starts_s: list[float]) -> None:
    row = state.selected_row(key)
    if row is not None:
        go_to(starts_s[row])


def _intervals(view: RhythmView) -> None:
    import pandas as pd

    frame.chart(
        figures.interval_figure(view),
        state.Opened.round.key_of("rhythm_intervals"),
        "Histogram of the intervals between beats, and each interval against the next.",
    )
    if len(view.hours) > 1:
        table = pd.DataFrame(
            [
                (
                    figures.clock(row.start_s),
                    row.n_beats,
                    row.rate_bpm,
                    row.slowest_bpm,
                    row.fastest_bpm,
                    row.n_ventricular,
                    row.n_supraventricular,
                )
                for row in view.hours
            ],
            columns=[
                "From", "Beats", "Mean bpm", "Slowest", "Fastest", "Ventricular",
                "Supraventricular",
            ],
        )  # fmt: skip
        st.dataframe(
            table,
            hide_index=True,
            placeholder="",
            column_config={
                name: st.column_config.NumberColumn(format="%.0f")
                for name in ("Mean bpm", "Slowest", "Fastest")
            },
        )


def _downloads(current: record.OpenRecord, found: Rhythm) -> None:
    # The name of the file may be a person's; the one typed for the report takes its place.
    name = services.clean_name(state.Document.name.value) or "recording"
    with st.container(horizontal=True, gap="small"):
        frame.download("Beats as CSV", partial(services.rhythm_csv, found), "beats.csv", frame.CSV)
        made = partial(services.rhythm_json, found, name)
        frame.download("Rhythm as JSON", made, "rhythm.json", frame.JSON)
        frame.download(
            "Recording with its beats as WFDB",
            partial(_as_wfdb, current.recording, found),
            "recording_with_beats.zip",
            "application/zip",
        )


def _as_wfdb(recording: Recording, found: Rhythm) -> bytes:
    ours = services.annotated(recording, found)
    marks = [*services.pause_marks(found), *services.marks_as_text(review.marks())]
    marks.sort(key=lambda mark: mark.at_s)
    return services.converted_download(ours, "wfdb", "recording", marks)
