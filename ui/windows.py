"""Choosing a window: by click on the overview, by keyboard, or the surest and least sure."""

from __future__ import annotations

import html
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures, services
from echoing_core.records import LEADS, WindowTrack
from echoing_core.services import Explanation
from ui import ecg_paper, frame

if TYPE_CHECKING:
    from echoing_core.services import Model, WindowReport

_DAY_ONE = datetime(2000, 1, 1)
_VIEWS_S = {"Whole": None, "10 min": 600.0, "2 min": 120.0, "30 s": 30.0}
_N_BARS = 6
_N_LISTED = 4
CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False}


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


def percentile_words(percentile: float) -> str:
    """What a percentile means to somebody who does not know the word sigma."""
    if percentile < 25:
        return "the model is surer here than usual"
    if percentile < 75:
        return "about as sure as usual"
    if percentile < 90:
        return "less sure than usual"
    return "the model is unsure here: read its answers with care"


def overview(model: Model, explanation: Explanation) -> None:
    """The trace, the uncertainty along it and each lead's part; a click chooses a window."""
    ecg, track = explanation.ecg, explanation.track
    lead = figures.first_shown_lead(ecg)
    other = "" if lead == "I" else " (lead I was not recorded)"
    rows = (
        "The rows under it tell the leads apart in the same colours: a row is as bright as the "
        "strip would be if all twelve leads were like it. Grey: not recorded. "
    )
    in_rows = ", and the part that each of the twelve leads has in it"
    if not model.tells_leads:
        rows = in_rows = ""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(
            f"**Lead {lead}{other}, coloured by how unsure the model is**",
            width="content",
            help="Each 10-second window is compared with the reference ECGs of this model. "
            f"Percentile 96 means: less sure than on 96 of 100 of them. {rows}Click to choose a "
            "window.",
        )
        _legend()
        view_s = _view(ecg.duration_s, float(track.start_s[chosen(track)]), track.window_s)
    figure = figures.overview_figure(
        ecg,
        track,
        model.reference,
        selected=chosen(track) if len(track) > 1 else None,
        view_s=view_s,
    )
    st.plotly_chart(
        figure,
        key="overview",
        theme=None,
        on_select=_take_click,
        selection_mode="points",
        config=CHART_CONFIG,
        alt=f"Lead {lead} over time, under it the uncertainty percentile of each window{in_rows}. "
        "The slider below chooses the same windows by keyboard.",
    )
    if not model.tells_leads:
        st.caption("This model does not tell which leads and moments its uncertainty comes from.")
    _slider(track)


def _legend() -> None:
    """The colour scale in one line; fixed, so two recordings can be compared."""
    stops = ", ".join(f"{c} {10 * i}% {10 * i + 10}%" for i, c in enumerate(figures.SCALE))
    st.html(
        '<div style="display:flex;align-items:center;gap:.5rem;font-size:.85rem;color:#5b6675">'
        "<span>percentile 0, sure</span>"
        '<span style="width:130px;height:10px;border-radius:2px;'
        f'background:linear-gradient(90deg,{stops})"></span>'
        "<span>100, unsure</span></div>",
        width="content",
    )


def _view(duration_s: float, start_s: float, window_s: float) -> tuple[float, float] | None:
    names = [name for name, s in _VIEWS_S.items() if s is None or s < 0.7 * duration_s]
    if len(names) < 2:
        return None
    name = st.segmented_control(
        "Show",
        names,
        default=names[0],
        # A choice that the next recording is too short for must not outlive this one.
        key=f"view_{st.session_state.get('record_round', 0)}",
        required=True,
        label_visibility="collapsed",
    )
    length_s = _VIEWS_S.get(name or names[0])
    if length_s is None:
        return None
    begin = min(max(start_s + (window_s - length_s) / 2, 0.0), duration_s - length_s)
    return begin, begin + length_s


def _take_click() -> None:
    points = st.session_state["overview"]["selection"]["points"]
    windows = [p["customdata"] for p in points if p.get("customdata") is not None]
    if windows:
        value = windows[0]
        st.session_state["window"] = int(value[0] if isinstance(value, list) else value)


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
        step=timedelta(seconds=track.stride_s),
        format=days + hours + tenths,
        key="window_start",
        on_change=_take_slider,
        args=(track.start_s,),
        help="With the keyboard: Tab to the handle, then the arrow keys.",
    )


def _take_slider(start_s: npt.NDArray[np.float64]) -> None:
    wanted = (st.session_state["window_start"] - _DAY_ONE).total_seconds()
    st.session_state["window"] = int(np.abs(start_s - wanted).argmin())


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


def _jump(index: int) -> None:
    st.session_state["window"] = index


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
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"**Uncertainty percentile {percentile:.0f}**", width="content")
        st.markdown(percentile_words(percentile), width="content")
        st.caption(f"sum of sigma² {track.uncertainty[index]:.4g}", width="content")
        if ecg.simulated:
            frame.simulated_badge()
    _reasons(report, None if track.strangeness is None else float(track.strangeness[index]))
    ecg_paper.show(explanation, float(track.start_s[index]), report, key="paper")


def _reasons(report: WindowReport, strangeness: float | None) -> None:
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
        if strangeness is not None and strangeness > 1:
            st.badge(
                "unlike training",
                icon=":material/help_center:",
                color="orange",
                help=f"{strangeness:.1f} times as far from the windows that the model learnt from "
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


def export(model: Model, explanation: Explanation) -> None:
    """The track to take away; in JSON with the reports of the windows that the page lists."""
    stem = "".join(c for c in explanation.recording_id if c.isalnum() or c in "-_") or "recording"
    with st.container(horizontal=True, gap="small"):
        # The text is made when the button is pressed, not on every rerun.
        st.download_button(
            "Download JSON",
            partial(_json_text, model, explanation, chosen(explanation.track)),
            f"{stem}_uncertainty.json",
            "application/json",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            "Download CSV",
            explanation.csv_text,
            f"{stem}_uncertainty.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
        )


def _json_text(model: Model, explanation: Explanation, index: int) -> str:
    listed = {index}
    for surest in (True, False):
        listed.update(services.extreme_windows(explanation.track, _N_LISTED, surest=surest))
    return explanation.json_text(services.window_reports(model, explanation, sorted(listed)))
