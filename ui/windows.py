"""Choosing a window: by click on the overview, by keyboard, or the surest and least sure."""

from __future__ import annotations

import dataclasses
import html
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from echoing_core import figures, services
from echoing_core.records import LEADS, WindowTrack
from echoing_core.services import Explanation
from echoing_core.services.report import percentile_words
from echoing_core.uncertainty.stretches import (
    UNSURE_PERCENTILE,
    SpanSummary,
    kept_windows,
    summarise_span,
)
from ui import ecg_paper, frame

if TYPE_CHECKING:
    from echoing_core.services import Model, ToldStretch, WindowReport

CAUSES = {
    "": "not looked for",
    "gap": "gap in a lead",
    "lead off": "electrode off",
    "saturated": "beyond 5 mV",
    "noise": "noise",
    "baseline or motion": "drift, motion or ectopic beats",
    "none": "no plain cause",
    "missing leads": "leads not recorded",
    "misplaced electrodes": "electrodes misplaced?",
    "unlike training": "unlike training",
}
"""Kinds of `Reason` in a few words, as on the map."""

_DAY_ONE = datetime(2000, 1, 1)
_N_BARS = 6
_N_LISTED = 4
_N_ROWS = 10
CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False}

_FOLDER = Path(__file__).parent / "components" / "uncertainty_map"
_map = st.components.v2.component(
    "uncertainty_map",
    js=(_FOLDER / "map.js").read_text(encoding="utf-8"),
    css=(_FOLDER / "map.css").read_text(encoding="utf-8"),
)


def chosen(track: WindowTrack) -> int:
    """Number of the chosen window; every page asks here."""
    window: int = st.session_state.get("window", 0)
    return min(max(window, 0), len(track) - 1)


def span_words(track: WindowTrack, index: int) -> str:
    """``"07:31 to 07:41"``, with tenths where the recording is that short."""
    start = float(track.start_s[index])
    tenths = track.stride_s < 1
    begin, end = (figures.clock(s, tenths=tenths) for s in (start, start + track.window_s))
    return f"{begin} to {end}"


def hide_above() -> float:
    """Percentile above which windows are hidden; 100 hides none."""
    return float(st.session_state.get("hide_above", 100))


def kept(track: WindowTrack) -> npt.NDArray[np.bool_]:
    """Windows that hold signal and are not hidden by the person's threshold."""
    return kept_windows(track, hide_above())


def kept_explanation(explanation: Explanation) -> Explanation:
    """The explanation with the windows that are `kept`, for exports; it says what was hidden."""
    if hide_above() >= 100:
        return explanation
    track = explanation.track
    rows = np.flatnonzero(kept(track))
    by_lead, novelty = track.by_lead, track.novelty
    return dataclasses.replace(
        explanation,
        track=dataclasses.replace(
            track,
            start_s=track.start_s[rows],
            embedding=track.embedding[rows],
            uncertainty=track.uncertainty[rows],
            percentile=track.percentile[rows],
            valid_fraction=track.valid_fraction[rows],
            by_lead=None if by_lead is None else by_lead[rows],
            novelty=None if novelty is None else novelty[rows],
        ),
        settings={**explanation.settings, "hidden_above_percentile": hide_above()},
    )


def _map_state() -> dict[str, Any]:
    """View, span and the last number of the map, of the open recording alone."""
    now = st.session_state.get("record_round", 0)
    state: dict[str, Any] | None = st.session_state.get("map_state")
    if state is None or state["round"] != now:
        state = {"round": now, "view": None, "span": None, "ack": 0}
        st.session_state["map_state"] = state
    return state


def view() -> tuple[float, float] | None:
    """What the detail shows, in seconds; None for the whole recording."""
    shown: tuple[float, float] | None = _map_state()["view"]
    return shown


def overview(model: Model, explanation: Explanation) -> None:
    """The uncertainty along the recording, and ways to choose a window or a span of it."""
    ecg, track = explanation.ecg, explanation.track
    lead = figures.first_shown_lead(ecg)
    other = "" if lead == "I" else " (lead I was not recorded)"
    rows = (
        "The rows under it tell the leads apart in the same colours: a row is as bright as the "
        "strip would be if all twelve leads were like it. Grey: not recorded. "
        if model.has_attribution
        else ""
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(
            f"**Lead {lead}{other}, coloured by how unsure the model is**",
            width="content",
            help="Each 10-second window is compared with the reference ECGs of this model. "
            f"Percentile 96 means: less sure than on 96 of 100 of them. {rows}Where several "
            "windows share a pixel, the least sure is shown.",
        )
        _legend()
    state = _map_state()
    told = _told(model, explanation)
    marks = [figures.Mark(*span, "not recorded") for span in figures.unrecorded_spans(ecg)]
    marks += [figures.Mark(t.stretch.start_s, t.stretch.end_s, t.kind) for t in told]
    data = figures.map_data(
        ecg,
        track,
        model.reference,
        view_s=state["view"],
        selected=chosen(track),
        span_s=state["span"],
        hide_above=hide_above(),
        marks=marks,
        trace=_trace(explanation, state["view"]),
    )
    _map(
        key="overview",
        data={**data, "ack": state["ack"], "round": state["round"]},
        on_act_change=_take_act,
    )
    st.caption(data["words"])
    if not model.has_attribution:
        st.caption("This model does not tell which leads and moments its uncertainty comes from.")
    _slider(track)
    _next_buttons(track, told)
    if state["span"] is not None:
        _span(explanation, state["span"], told)


def _take_act() -> None:
    """What was chosen on the map. All of it comes each time, so a lost message does no harm."""
    act = dict(st.session_state["overview"]).get("act")
    record = st.session_state.get("record")
    if act is None or record is None:
        return
    explanation = record.explanation
    take_act(explanation.track, explanation.ecg.duration_s, act)


def take_act(track: WindowTrack, duration_s: float, act: dict[str, Any]) -> None:
    """Keep a choice that the browser sent, within the recording.

    Parameters
    ----------
    act : dict
        ``start``: start of the window; ``view`` and ``span``: two times or None; ``n``: running
        number.
    """
    state = _map_state()
    state["ack"] = max(int(act["n"]), state["ack"])
    st.session_state["window"] = int(np.abs(track.start_s - float(act["start"])).argmin())
    state["view"] = _within(act["view"], duration_s, min(track.window_s, duration_s))
    state["span"] = _within(act["span"], duration_s, 0.5)


def _within(
    span: list[float] | None, duration_s: float, shortest_s: float
) -> tuple[float, float] | None:
    if span is None:
        return None
    begin, end = (min(max(float(s), 0.0), duration_s) for s in span)
    return (begin, end) if end - begin >= shortest_s - 1e-6 else None


def _trace(
    explanation: Explanation, view_s: tuple[float, float] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The decimated trace; kept, because a day of it takes a while and the view changes seldom."""
    ecg = explanation.ecg
    kept_trace = st.session_state.get("map_trace")
    if kept_trace is not None and kept_trace[0] is ecg and kept_trace[1] == view_s:
        return kept_trace[2]  # type: ignore[no-any-return]
    begin, end = (0.0, ecg.duration_s) if view_s is None else view_s
    points = figures.trace_points(ecg, begin, end)
    st.session_state["map_trace"] = (ecg, view_s, points)
    return points


def _told(model: Model, explanation: Explanation) -> tuple[ToldStretch, ...]:
    """The uncertain stretches with their causes, found once for each track."""
    known = st.session_state.get("map_told")
    if known is not None and known[0] is explanation.track:
        return known[2]  # type: ignore[no-any-return]
    earlier = known[2] if known is not None and known[1] is explanation.ecg else ()
    told = services.told_stretches(model, explanation, known=earlier)
    st.session_state["map_told"] = (explanation.track, explanation.ecg, told)
    return told


def _legend() -> None:
    """The colour scale in one line; fixed, so two recordings can be compared."""
    stops = ", ".join(f"{c} {10 * i}% {10 * i + 10}%" for i, c in enumerate(figures.SCALE))
    st.html(
        '<div style="display:flex;align-items:center;gap:.5rem;font-size:.85rem;'
        'color:var(--quiet)">'
        "<span>percentile 0, sure</span>"
        '<span style="width:130px;height:10px;border-radius:2px;'
        f'background:linear-gradient(90deg,{stops})"></span>'
        "<span>100, unsure</span></div>",
        width="content",
    )


def _slider(track: WindowTrack) -> None:
    if len(track) < 2:
        st.caption("This recording is one window long.")
        return
    starts = [_DAY_ONE + timedelta(seconds=float(s)) for s in track.start_s[[0, -1]]]
    days = "[day] D " if track.start_s[-1] >= 86400 else ""
    hours = "HH:mm:ss" if track.start_s[-1] >= 3600 else "mm:ss"
    tenths = ".S" if track.stride_s < 1 else ""
    # The slider follows clicks and buttons, so its value is set before it is drawn.
    st.session_state["window_start"] = _DAY_ONE + timedelta(
        seconds=float(track.start_s[chosen(track)])
    )
    st.slider(
        "Window starts at",
        min_value=starts[0],
        max_value=starts[1],
        step=timedelta(seconds=float(np.diff(track.start_s).min())),
        format=days + hours + tenths,
        key="window_start",
        on_change=_take_slider,
        args=(track.start_s,),
        help="With the keyboard: Tab to the handle, then the arrow keys.",
    )


def _take_slider(start_s: npt.NDArray[np.float64]) -> None:
    wanted = (st.session_state["window_start"] - _DAY_ONE).total_seconds()
    before = min(max(st.session_state.get("window", 0), 0), len(start_s) - 1)
    index = int(np.abs(start_s - wanted).argmin())
    if index == before and wanted != start_s[before]:
        # Windows lie closer together where somebody zoomed in, and the slider's step is theirs:
        # elsewhere a step must still lead to the next window.
        index += 1 if wanted > start_s[before] else -1
    _jump(min(max(index, 0), len(start_s) - 1))


def _next_buttons(track: WindowTrack, told: tuple[ToldStretch, ...]) -> None:
    """To the uncertain stretches before and after, and the threshold that hides windows."""
    if len(track) < 2:
        return
    here = float(track.start_s[chosen(track)])
    worst = [t.stretch.worst for t in told]
    before = [w for w in worst if track.start_s[w] < here - 1e-6]
    after = [w for w in worst if track.start_s[w] > here + 1e-6]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="next_unsure"):
        for words, key, found in (
            ("Previous uncertain stretch", "previous_unsure", before[-1:]),
            ("Next uncertain stretch", "next_unsure_one", after[:1]),
        ):
            st.button(
                words,
                key=key,
                disabled=not found,
                on_click=_jump,
                args=(found[0] if found else chosen(track),),
            )
        st.slider(
            "Hide what is above percentile",
            min_value=0,
            max_value=100,
            value=100,
            key="hide_above",
            persist_state="session",
            width=280,
            help="Hidden windows are grey here, and are left out of exports and of answers per "
            "window. 100 hides none.",
        )
    hidden = np.isfinite(figures.shown_percentile(track)) & ~kept(track)
    if hidden.any():
        st.caption(f"Hidden: {hidden.sum():,} of {len(track):,} windows.")


def _span(
    explanation: Explanation, span_s: tuple[float, float], told: tuple[ToldStretch, ...]
) -> None:
    """What a span holds: how sure, which leads, which causes; and its surest and worst window."""
    summary = summarise_span(explanation.track, explanation.ecg.duration_s, *span_s)
    with st.container(border=True, key="span_summary"):
        st.markdown(f"**Span {figures.clock(span_s[0])} to {figures.clock(span_s[1])}**")
        st.markdown(span_sentence(summary, told))
        with st.container(horizontal=True, gap="small"):
            for words, key, window in (
                ("Its surest window", "span_surest", summary.surest),
                ("Its least sure window", "span_worst", summary.worst),
            ):
                if window is not None:
                    st.button(words, key=key, on_click=_jump, args=(window,))
            st.button("Drop the span", key="span_drop", on_click=_drop_span)


def span_sentence(summary: SpanSummary, told: tuple[ToldStretch, ...]) -> str:
    """A `SpanSummary` in words, with the causes of the stretches that reach into the span."""
    if summary.surest is None:
        return "Nothing was recorded in this span."
    words = [
        f"{summary.end_s - summary.start_s:.0f} s, {summary.n_windows} windows: percentile "
        f"{summary.median:.0f} in the middle, {summary.highest:.0f} at most; "
        f"{100 * summary.unsure_share:.0f} % of the time at {UNSURE_PERCENTILE:.0f} or above."
    ]
    if summary.recorded_share < 0.995:
        words.append(f"{100 * (1 - summary.recorded_share):.0f} % of it was not recorded.")
    most = ", ".join(f"{lead} {100 * part:.0f} %" for lead, part in summary.share_by_lead[:3])
    if most:
        words.append(f"Most of the uncertainty comes from {most}.")
    inside = [
        CAUSES.get(t.kind, t.kind)
        for t in told
        if t.kind and t.stretch.start_s < summary.end_s and t.stretch.end_s > summary.start_s
    ]
    if inside:
        counted = {cause: inside.count(cause) for cause in inside}
        words.append(
            "Causes: " + ", ".join(f"{c} ({n})" if n > 1 else c for c, n in counted.items()) + "."
        )
    return " ".join(words)


def _drop_span() -> None:
    _map_state()["span"] = None


def shortcuts(track: WindowTrack) -> None:
    """Buttons that jump to the surest and the least sure windows."""
    if len(track) < 2:
        return
    columns = st.columns(2)
    for column, words, surest in zip(
        columns, ("Most sure", "Least sure"), (True, False), strict=True
    ):
        with column.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{words}**", width="content")
            for rank, index in enumerate(services.extreme_windows(track, _N_LISTED, surest=surest)):
                percentile = float(track.percentile[index])
                st.button(
                    figures.clock(float(track.start_s[index])),
                    key=f"{'sure' if surest else 'unsure'}_{rank}",
                    help=f"Uncertainty percentile {percentile:.0f}",
                    on_click=_jump,
                    args=(index,),
                )


def listed(model: Model, explanation: Explanation) -> None:
    """Least sure, surest and uncertain stretches as a table; a row chosen is a window chosen."""
    if len(explanation.track) < 2:
        return
    told = _told(model, explanation)
    names = {
        "least": "Least sure windows",
        "most": "Surest windows",
        "stretches": f"Uncertain stretches ({len(told)})",
    }
    with st.expander("Windows and stretches as a table", icon=":material/table_rows:"):
        kind = st.segmented_control(
            "Table of",
            list(names),
            format_func=names.__getitem__,
            default="least",
            required=True,
            key="listed_kind",
            persist_state="session",
        )
        table, windows_of = (
            _stretch_table(told)
            if kind == "stretches"
            else _window_table(model, explanation, surest=kind == "most")
        )
        if table.empty:
            st.info(
                f"No window of this recording is at percentile {UNSURE_PERCENTILE:.0f} or above.",
                icon=":material/check_circle:",
            )
            return
        key = f"listed_{kind}_{st.session_state.get('record_round', 0)}"
        st.dataframe(
            table,
            hide_index=True,
            on_select=partial(_take_row, key, windows_of),
            selection_mode="single-row",
            key=key,
            column_config={"Reason": st.column_config.TextColumn(width="large")},
        )
        st.caption(
            f"Stretches: windows in a row at percentile {UNSURE_PERCENTILE:.0f} or above; the "
            "reason is that of the least sure window. Choose a row to go there; click on a heading "
            "to sort."
            if kind == "stretches"
            else "Choose a row to go to that window; click on a heading to sort."
        )


def _take_row(key: str, windows_of: list[int]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        _jump(windows_of[rows[0]])


def _window_table(
    model: Model, explanation: Explanation, *, surest: bool
) -> tuple[pd.DataFrame, list[int]]:
    track = explanation.track
    known: tuple[WindowTrack, dict[bool, tuple[list[int], dict[int, WindowReport]]]] | None = (
        st.session_state.get("map_listed")
    )
    if known is None or known[0] is not track:
        known = (track, {})
        st.session_state["map_listed"] = known
    if surest not in known[1]:
        found = services.extreme_windows(track, _N_ROWS, surest=surest)
        known[1][surest] = (found, services.window_reports(model, explanation, found))
    found, reports = known[1][surest]
    shown = kept(track)
    table = pd.DataFrame(
        {
            "Time": [figures.clock(float(track.start_s[i])) for i in found],
            "Percentile": [round(float(track.percentile[i])) for i in found],
            "Reason": [reports[i].sentence for i in found],
        }
    )
    if not shown.all():
        table.insert(2, "Shown", ["yes" if shown[i] else "hidden" for i in found])
    return table, found


def _stretch_table(told: tuple[ToldStretch, ...]) -> tuple[pd.DataFrame, list[int]]:
    return pd.DataFrame(
        {
            "From": [figures.clock(t.stretch.start_s) for t in told],
            "To": [figures.clock(t.stretch.end_s) for t in told],
            "Seconds": [round(t.stretch.duration_s) for t in told],
            "Percentile": [round(t.stretch.percentile) for t in told],
            "Cause": [CAUSES.get(t.kind, "not looked for") for t in told],
            "Reason": [t.sentence for t in told],
        }
    ), [t.stretch.worst for t in told]


def _jump(index: int) -> None:
    """Choose a window, and move the view to it if it is elsewhere."""
    st.session_state["window"] = index
    record, state = st.session_state.get("record"), _map_state()
    if record is None or state["view"] is None:
        return
    track, duration_s = record.explanation.track, record.explanation.ecg.duration_s
    start, (begin, end) = float(track.start_s[index]), state["view"]
    if begin <= start and start + track.window_s <= end:
        return
    length = end - begin
    begin = min(max(start + (track.window_s - length) / 2, 0.0), duration_s - length)
    state["view"] = (begin, begin + length)


def detail(model: Model, explanation: Explanation) -> None:
    """The chosen window: how sure the model is, where that comes from, and its leads on paper."""
    ecg, track = explanation.ecg, explanation.track
    index = chosen(track)
    percentile = float(figures.shown_percentile(track)[index])
    st.subheader(f"Window {span_words(track, index)}", anchor=False)
    if not np.isfinite(percentile):
        st.warning("Nothing was recorded in this window.", icon=":material/signal_disconnected:")
        return
    report = services.window_report(model, explanation, index)
    if percentile > hide_above():
        st.info(
            f"This window is above percentile {hide_above():.0f}, and so hidden by the threshold.",
            icon=":material/visibility_off:",
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"**Uncertainty percentile {percentile:.0f}**", width="content")
        st.markdown(percentile_words(percentile), width="content")
        st.caption(f"sum of sigma² {track.uncertainty[index]:.4g}", width="content")
        if ecg.simulated:
            frame.simulated_badge()
    _reasons(report, None if track.novelty is None else float(track.novelty[index]))
    ecg_paper.show(explanation, float(track.start_s[index]), report, key="paper")


def _reasons(report: WindowReport, novelty: float | None) -> None:
    """The sentence, and the leads to blame as bars."""
    with st.container(key="reasons"):
        st.markdown(
            f"**{frame.literal(report.sentence)}**",
            help=None
            if report.share_by_lead is None
            else "sigma² is a sum over leads and fifths of a second, so these parts are read off, "
            "not estimated. Shares are of what all leads give. The cause is told by plain "
            "measurements of the trace, not by the model.",
        )
        if novelty is not None and novelty > 1:
            st.badge(
                "unlike training",
                icon=":material/help_center:",
                color="orange",
                help=f"{novelty:.1f} times as far from the windows that the model learnt from "
                "as 99 % of those are. sigma² was not learnt for such ECGs.",
            )
        if report.share_by_lead is not None and report.leads:
            st.html(_bars(report, report.share_by_lead))


def _bars(report: WindowReport, share_by_lead: npt.NDArray[np.float64]) -> str:
    """The leads to blame with their shares, greatest first, as a list of bars."""
    missing = {lead for r in report.reasons if r.kind == "missing leads" for lead in r.leads}
    share = dict(zip(LEADS, 100 * share_by_lead, strict=True))
    ranked = sorted(report.leads, key=lambda lead: -share[lead])
    n_shown = _N_BARS if len(ranked) > _N_BARS + 1 else len(ranked)
    shown, others = ranked[:n_shown], ranked[n_shown:]
    rows = [(lead, share[lead], lead in missing) for lead in shown]
    if others:
        total = sum(share[lead] for lead in others)
        rows.append((f"{len(others)} more", total, set(others) <= missing))
    items = "".join(
        f'<li><span>{html.escape(name)}</span><span class="track"><span class="bar'
        f'{" absent" if absent else ""}" style="width:{value:.0f}%"></span></span>'
        f"<span>{value:.0f} %{', not recorded' if absent else ''}</span></li>"
        for name, value, absent in rows
    )
    return f'<ul class="shares" aria-label="Shares of the leads to blame">{items}</ul>'
