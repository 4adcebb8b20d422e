"""The chosen window: how sure the model is, where that comes from, and its leads on paper."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures, services
from echoing_core.records import LEADS
from echoing_core.services import Explanation, percentile_words, span_words
from ui import ecg_paper, frame, windows

if TYPE_CHECKING:
    from echoing_core.services import Model, WindowReasons

_N_BARS = 6


def show(model: Model, explanation: Explanation) -> None:
    """The chosen window: how sure the model is, where that comes from, and its leads on paper.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    """
    track = explanation.track
    index = windows.chosen(track)
    percentile = float(figures.shown_percentile(track)[index])
    # NaN where no lead holds any signal.
    there = bool(np.isfinite(percentile))
    report = services.window_reasons(model, explanation, [index])[index] if there else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="window_line"):
        st.header(f"Window {span_words(track, index)}", anchor=False, width="content")
        if report is not None and model.has_sigma2:
            _uncertainty(explanation, index, percentile, report)
    if report is None:
        st.warning("Nothing was recorded in this window.", icon=":material/signal_disconnected:")
        return
    hide_above = windows.hide_above()
    if percentile > hide_above:
        st.info(
            f"This window is above percentile {hide_above:.0f}, and so hidden by the threshold.",
            icon=":material/visibility_off:",
        )
    shares = report.share_by_lead
    # The sentence names one lead with its share; several are told apart by bars.
    if model.has_sigma2 and shares is not None and len(report.leads) > 1:
        with st.container(key="reasons"):
            st.html(_bars(report, shares))
    ecg_paper.show(explanation, float(track.start_s[index]), report, key="paper")


def _uncertainty(
    explanation: Explanation, index: int, percentile: float, report: WindowReasons
) -> None:
    """How sure the model is of the window, and why, on the line of its heading."""
    track = explanation.track
    st.html(
        '<span class="swatch" style="background:light-dark('
        f'{figures.colour_of(percentile)},{figures.colour_of(percentile, dark=True)})"></span>',
        width="content",
    )
    help_words = [
        f"{frame.literal(explanation.measured)}",
        f"sum of sigma² {track.uncertainty[index]:.4g}. {frame.literal(explanation.sigma2_means)}",
    ]
    if report.share_by_lead is not None:
        help_words.append(
            "sigma² is a sum over leads and fifths of a second, so shares of leads are read off, "
            "not estimated. They are shares of what all measured leads give. The cause is told by "
            "plain measurements of the trace, not by the model."
        )
    st.markdown(
        f"**Uncertainty percentile {percentile:.0f}**, {percentile_words(percentile)}",
        width="content",
        help="\n\n".join(help_words),
    )
    if other := _other_reading(explanation, index):
        st.caption(other, width="content")
    novelty = None if track.novelty is None else float(track.novelty[index])
    # 1 is the distance that 99 % of the training windows stay within.
    if novelty is not None and novelty > 1:
        st.badge(
            "unlike training",
            icon=":material/help_center:",
            color="orange",
            help=f"{novelty:.1f} times as far from the windows that the model learnt from "
            "as 99 % of those are. sigma² was not learnt for such ECGs.",
        )
    st.markdown(frame.literal(report.sentence), width="content")


def _other_reading(explanation: Explanation, index: int) -> str:
    """The percentile in the reading that is not on the screen; empty where there is only one."""
    if explanation.lead_reference is explanation.all_reference:
        return ""
    other, among = explanation.all_reference, "12-lead ECGs"
    if explanation.among_all:
        other, among = explanation.lead_reference, "ECGs with these leads"
    value = float(other.percentile(explanation.track.uncertainty[index]))
    return f"{value:.0f} among {among}"


def _bars(report: WindowReasons, share_by_lead: npt.NDArray[np.float64]) -> str:
    """The leads to blame with their shares, greatest first, as a list of bars."""
    share = dict(zip(LEADS, 100 * share_by_lead, strict=True))
    ranked = sorted(report.leads, key=lambda lead: -share[lead])
    # One lead alone is never folded into "1 more", which would take as much room.
    n_shown = _N_BARS if len(ranked) > _N_BARS + 1 else len(ranked)
    shown, others = ranked[:n_shown], ranked[n_shown:]
    rows = [(lead, share[lead]) for lead in shown]
    if others:
        total = sum(share[lead] for lead in others)
        rows.append((f"{len(others)} more", total))
    # Widths are numbers of ours; names are escaped all the same.
    items = "".join(
        f'<li><span>{html.escape(name)}</span><span class="track"><span class="bar"'
        f' style="width:{value:.0f}%"></span></span><span>{value:.0f} %</span></li>'
        for name, value in rows
    )
    return f'<ul class="shares" aria-label="Shares of the leads to blame">{items}</ul>'
