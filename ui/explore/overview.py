"""The uncertainty map of a recording: choosing a window or a span on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures, services
from echoing_core.records import WindowTrack
from echoing_core.services import UNSURE_PERCENTILE, Explanation, SpanSummary, summarise_span
from ui import frame, record, state, windows

if TYPE_CHECKING:
    from echoing_core.services import FlaggedInterval, Model

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

_map = frame.component("uncertainty_map", "map.css", "map.js")


def _map_view() -> state.MapView:
    """What the map shows of the open recording; another one begins anew."""
    shown, now = state.Explore.map_view.value, state.Opened.round.value
    if shown is None or shown.round != now:
        shown = state.Explore.map_view.value = state.MapView(now)
    return shown


def view() -> tuple[float, float] | None:
    """What the detail shows, in seconds; None for the whole recording."""
    return _map_view().view_s


def in_reading(explanation: Explanation) -> Explanation:
    """The explanation with percentiles among what was chosen: ECGs with these leads, or 12-lead.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    Explanation
        ``explanation`` itself in the default reading, and where there is no other.
    """
    if state.Explore.percentile_among.value != "all":
        return explanation
    return state.remembered(
        "read_among_all", (explanation,), lambda: explanation.read_among(all_leads=True)
    )


def show(model: Model, explanation: Explanation) -> None:
    """The uncertainty along the recording, and ways to choose a window or a span of it.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    """
    ecg, track = explanation.ecg, explanation.track
    lead = figures.first_shown_lead(ecg)
    other = "" if lead == "I" else " (lead I was not recorded)"
    rows = (
        "The rows under it tell the leads apart in the same colours: a row is as bright as the "
        "strip would be if all leads there are were like it. Grey: not recorded. "
        if model.has_attribution
        else ""
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(
            f"**Lead {lead}{other}, coloured by how unsure the model is**",
            width="content",
            help="Each 10-second window is compared with the reference ECGs of this model, "
            "reduced to the leads of this recording. "
            f"Percentile 96 means: less sure than on 96 of 100 of them. {rows}Where several "
            "windows share a pixel, the least sure is shown.\n\n"
            f"{frame.literal(explanation.measured)}\n\n{frame.literal(explanation.sigma2_means)}",
        )
        _legend()
        _reading(explanation)
    shown = _map_view()
    intervals = flagged(model, explanation)
    # Where no lead was recorded there is no signal whose cause could be looked for.
    marks = [figures.Mark(*span, "not recorded") for span in figures.unrecorded_spans(ecg)]
    marks += [figures.Mark(t.interval.start_s, t.interval.end_s, t.kind) for t in intervals]
    data = figures.map_data(
        ecg,
        track,
        explanation.reference,
        view_s=shown.view_s,
        selected=windows.chosen(track),
        span_s=shown.span_s,
        hide_above=windows.hide_above(),
        marks=marks,
        trace=_trace(explanation, shown.view_s),
    )
    _map(
        key="overview",
        data={**data, "ack": shown.ack, "round": shown.round},
        on_act_change=_take_act,
    )
    st.caption(data["words"])
    if not model.has_attribution:
        st.caption("This model does not tell which leads and moments its uncertainty comes from.")
    if shown.span_s is not None:
        _span(explanation, shown.span_s, intervals)


def _take_act() -> None:
    """What was chosen on the map. All of it comes each time, so a lost message does no harm."""
    act = state.sent_by("overview").get("act")
    current = record.opened()
    if act is None or current is None:
        return
    explanation = current.explanation
    take_act(explanation.track, explanation.ecg.duration_s, act)


def take_act(track: WindowTrack, duration_s: float, act: dict[str, Any]) -> None:
    """Keep a choice that the browser sent, within the recording.

    Parameters
    ----------
    track : WindowTrack
    duration_s : float
        Of the recording.
    act : dict
        ``start``: start of the window; ``view`` and ``span``: two times or None; ``n``: running
        number.
    """
    shown = _map_view()
    # Told back to the browser, which sends again whatever was not acknowledged.
    shown.ack = max(int(act["n"]), shown.ack)
    state.Opened.window.value = windows.nearest(track, float(act["start"]))
    shown.view_s = _within(act["view"], duration_s, min(track.window_s, duration_s))
    shown.span_s = _within(act["span"], duration_s, 0.5)


def _within(
    span: list[float] | None, duration_s: float, shortest_s: float
) -> tuple[float, float] | None:
    if span is None:
        return None
    begin, end = (min(max(float(s), 0.0), duration_s) for s in span)
    # A millionth of a second of tolerance: the browser computes in floats of its own.
    return (begin, end) if end - begin >= shortest_s - 1e-6 else None


def _trace(
    explanation: Explanation, view_s: tuple[float, float] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The decimated trace; kept, because a day of it takes a while and the view changes seldom."""
    ecg = explanation.ecg
    begin, end = (0.0, ecg.duration_s) if view_s is None else view_s
    return state.remembered(
        "map_trace", (ecg, view_s), lambda: figures.trace_points(ecg, begin, end)
    )


def flagged(model: Model, explanation: Explanation) -> tuple[FlaggedInterval, ...]:
    """The uncertain stretches with their causes, found once for each track.

    Parameters
    ----------
    model : Model
    explanation : Explanation

    Returns
    -------
    tuple of FlaggedInterval
    """
    entry = state.Explore.flagged
    known = entry.value
    if known is None or known[0] is not explanation.track:
        # What is already known of this recording need not be looked at again.
        earlier = known[2] if known is not None and known[1] is explanation.ecg else ()
        intervals = services.flagged_intervals(model, explanation, known=earlier)
        known = entry.value = (explanation.track, explanation.ecg, intervals)
    return known[2]


def _legend() -> None:
    """The colour scale in one line; fixed, so two recordings can be compared."""
    # Steps, not a smooth ramp: the map has ten colours.
    pairs = zip(figures.SCALE, figures.SCALE_DARK, strict=True)
    stops = ", ".join(
        f"light-dark({light}, {dark}) {10 * i}% {10 * i + 10}%"
        for i, (light, dark) in enumerate(pairs)
    )
    st.html(
        '<div class="legend"><span>percentile 0, sure</span>'
        f'<span class="scale" style="background:linear-gradient(90deg,{stops})"></span>'
        "<span>100, unsure</span></div>",
        width="content",
    )


def _reading(explanation: Explanation) -> None:
    """What percentiles compare with, where there are two answers."""
    if explanation.lead_reference is explanation.all_reference:
        return
    words = {"alike": "ECGs with these leads", "all": "12-lead ECGs"}
    st.segmented_control(
        "Compared with",
        list(words),
        format_func=words.__getitem__,
        default="alike",
        required=True,
        key=state.Explore.percentile_among.key,
        persist_state="session",
        help=f"{frame.literal(services.measured_words(explanation.ecg))}. Beside 12-lead ECGs, a "
        "recording of few leads is unsure from end to end. Beside ECGs with the same leads, its "
        "own noisy and clean stretches show. The order of the windows is the same in both.",
    )


def _span(
    explanation: Explanation, span_s: tuple[float, float], intervals: tuple[FlaggedInterval, ...]
) -> None:
    """What a span holds: how sure, which leads, which causes; and its surest and worst window."""
    summary = summarise_span(explanation.track, explanation.ecg.duration_s, *span_s)
    with st.container(border=True, key="span_summary"):
        st.markdown(f"**Span {figures.clock(span_s[0])} to {figures.clock(span_s[1])}**")
        st.markdown(span_sentence(summary, intervals))
        with st.container(horizontal=True, gap="small"):
            for words, key, window in (
                ("Its surest window", "span_surest", summary.surest),
                ("Its least sure window", "span_worst", summary.worst),
            ):
                if window is not None:
                    st.button(words, key=key, on_click=jump, args=(window,))
            st.button("Drop the span", key="span_drop", on_click=_drop_span)


def span_sentence(summary: SpanSummary, intervals: tuple[FlaggedInterval, ...]) -> str:
    """A `SpanSummary` in words, with the causes of the stretches that reach into the span.

    Parameters
    ----------
    summary : SpanSummary
    intervals : tuple of FlaggedInterval
        Of the whole recording.

    Returns
    -------
    str
    """
    if summary.surest is None:
        return "Nothing was recorded in this span."
    words = [
        f"{summary.end_s - summary.start_s:.0f} s, {summary.n_windows} windows: percentile "
        f"{summary.median:.0f} in the middle, {summary.highest:.0f} at most; "
        f"{100 * summary.unsure_share:.0f} % of the time at {UNSURE_PERCENTILE:.0f} or above."
    ]
    # What would round to 100 % is not worth a sentence.
    if summary.recorded_share < 0.995:
        words.append(f"{100 * (1 - summary.recorded_share):.0f} % of it was not recorded.")
    most = ", ".join(f"{lead} {100 * part:.0f} %" for lead, part in summary.share_by_lead[:3])
    if most:
        words.append(f"Most of the uncertainty comes from {most}.")
    inside = [
        CAUSES.get(t.kind, t.kind)
        for t in intervals
        if t.kind and t.interval.start_s < summary.end_s and t.interval.end_s > summary.start_s
    ]
    if inside:
        # In the order in which they come; a cause is named once with its number.
        counted = {cause: inside.count(cause) for cause in inside}
        words.append(
            "Causes: " + ", ".join(f"{c} ({n})" if n > 1 else c for c, n in counted.items()) + "."
        )
    return " ".join(words)


def _drop_span() -> None:
    _map_view().span_s = None


def jump(index: int) -> None:
    """Choose a window, and move the view to it if it is elsewhere.

    Parameters
    ----------
    index : int
        Of the window in the track.
    """
    state.Opened.window.value = index
    current, shown = record.opened(), _map_view()
    if current is None or shown.view_s is None:
        return
    track, duration_s = current.explanation.track, current.explanation.ecg.duration_s
    start, (begin, end) = float(track.start_s[index]), shown.view_s
    # In view already: the view stays where the person put it.
    if begin <= start and start + track.window_s <= end:
        return
    # The view keeps its length: a jump is no zoom.
    length = end - begin
    begin = min(max(start + (track.window_s - length) / 2, 0.0), duration_s - length)
    shown.view_s = (begin, begin + length)
