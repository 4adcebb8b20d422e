"""Ten seconds on ECG paper with calipers, drawn in the browser by ``components/ecg_paper``.

The browser gets the samples of one window, 2 bytes each, and draws in millimetres of paper; a
change of speed, gain, layout or zoom needs no answer of the server. What was chosen is told to
Python, so that the next window, page or session file has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from echoing_core import figures
from echoing_core.records import LEADS, WINDOW_S, Annotations, StandardEcg
from echoing_core.services import HeartBeats, beat_words, heart_beats, rhythm_words
from ui import frame, state

if TYPE_CHECKING:
    from echoing_core.services import Explanation, WindowReasons

# int16 microvolts reach 32.767 mV; the lowest value marks a gap, so signals are clipped below it.
_GAP = np.iinfo(np.int16).min
_MOST_MV = 32.0

_component = frame.component(
    "ecg_paper", "paper.css", "layout.js", "draw.js", "calipers.js", "paper.js"
)


def settings() -> dict[str, Any]:
    """Layout, speed, gain and so on as last chosen in this session; what was not is absent."""
    return dict(state.Explore.paper_settings.value)


def restore(wanted: object) -> None:
    """Take settings from a session file or from another paper of the page.

    Parameters
    ----------
    wanted : object
        Comes from outside: what this paper does not know is left out.
    """
    state.Explore.paper_settings.value = _known(wanted)
    state.Explore.paper_round.begin_anew()


def show(explanation: Explanation, start_s: float, report: WindowReasons, key: str) -> None:
    """Ten seconds on paper, in a box that scrolls by itself.

    Parameters
    ----------
    explanation : Explanation
    start_s : float
        Seconds from the start of the recording.
    report : WindowReasons
        Of the window.
    key : str
        Of the box.
    """
    with st.container(key=f"ecg_{key}"):
        _fragment(explanation, start_s, report, key)
    st.caption(_words(explanation.ecg, shaded=bool(report.leads)))


@st.fragment
def _fragment(explanation: Explanation, start_s: float, report: WindowReasons, key: str) -> None:
    with frame.guarded():
        # Round and second: the same second of another recording is another window.
        window = f"{state.Opened.round.value}:{round(start_s, 3)}"
        draw(explanation, start_s, report, key=key, window=window)


def draw(
    explanation: Explanation,
    start_s: float,
    report: WindowReasons,
    *,
    key: str,
    window: str,
    beside: bool = False,
) -> None:
    """The paper itself.

    Parameters
    ----------
    explanation : Explanation
    start_s : float
        Seconds from the start of the recording.
    report : WindowReasons
        Colours the paper where a lead is to blame.
    key : str
    window : str
        Another one than before makes the browser forget its calipers.
    beside : bool
        Whether it stands beside another paper: it is then drawn small enough to be seen whole, and
        a change of settings goes for the other one, too.
    """
    drawn = f"{key}_drawn"

    # A callback: it runs before the page is drawn again, so all papers have the new settings.
    def take() -> None:
        wanted = state.sent_by(drawn).get("settings")
        if beside:
            # A new round makes the other papers of the page take the settings, too.
            restore(wanted)
        else:
            state.Explore.paper_settings.value = _known(wanted)

    beats = heart_beats(explanation.ecg, start_s)
    _component(
        key=drawn,
        data={
            **window_data(explanation.ecg, start_s, beats, report),
            "window": window,
            "round": state.Explore.paper_round.value,
            "settings": settings(),
            "beside": beside,
        },
        on_settings_change=take,
    )


def _known(wanted: object) -> dict[str, Any]:
    """Only settings that there are, with values that there are: they come from a browser."""
    if not isinstance(wanted, dict):
        return {}
    return {
        name: wanted[name]
        for name, choices in state.PAPER_CHOICES.items()
        if name in wanted
        # True == 1 in Python, and 1 is a zoom.
        and isinstance(wanted[name], bool) == isinstance(choices[0], bool)
        and isinstance(wanted[name], (bool, int, float, str))
        and wanted[name] in choices
    }


def window_data(
    ecg: StandardEcg, start_s: float, beats: HeartBeats, report: WindowReasons
) -> dict[str, Any]:
    """One window for the browser: its samples, and what to mark.

    Parameters
    ----------
    ecg : StandardEcg
    start_s : float
        Seconds from the start of the recording.
    beats : HeartBeats
        Of this window.
    report : WindowReasons
        Of this window.

    Returns
    -------
    dict
        JSON values. Samples are int16 microvolts in Base64, lead after lead; leads that were not
        recorded take no bytes, and a gap is the lowest int16.
    """
    begin = round(start_s * ecg.fs_hz)
    # A window never reaches beyond the recording.
    end = min(begin + round(WINDOW_S * ecg.fs_hz), ecg.n_times)
    there = np.array([origin != "missing" for origin in ecg.lead_origin])
    millivolts = ecg.signal_mv[there, begin:end].clip(-_MOST_MV, _MOST_MV)
    # Little-endian, as JavaScript reads it on every machine in use.
    microvolts = np.round(1000.0 * millivolts).astype("<i2")
    microvolts[~ecg.valid[there, begin:end]] = _GAP
    # Nothing is coloured where no lead is to blame.
    cells = report.cell_percentile if report.leads else None
    return {
        "fs": ecg.fs_hz,
        "n": end - begin,
        "leads": [
            {"name": lead, "origin": origin}
            for lead, origin in zip(LEADS, ecg.lead_origin, strict=True)
        ],
        "samples": figures.packed(microvolts, "<i2"),
        "cells": None if cells is None else [_whole(row) for row in cells],
        "beats": {
            "t": [round(float(t), 4) for t in beats.time_s],
            "rr": [None if np.isnan(rr) else round(float(rr), 1) for rr in beats.rr_ms],
            "words": rate_words(beats),
            "caution": beats.caution,
        },
        "device": _device(ecg.annotations, start_s),
    }


def _device(annotations: Annotations, start_s: float) -> dict[str, Any]:
    """The beats that the file marks in this window, and its rhythm, in words."""
    stop_s = start_s + WINDOW_S
    first, last = np.searchsorted(annotations.beat_s, [start_s, stop_s])
    rhythms = [
        rhythm_words(span.name)
        for span in annotations.rhythms
        if span.start_s < stop_s and span.stop_s > start_s
    ]
    words = [*dict.fromkeys(rhythms), beat_words(annotations, start_s, stop_s)]
    said = "; ".join(word for word in words if word)
    return {
        "t": [round(float(t) - start_s, 4) for t in annotations.beat_s[first:last]],
        "symbol": annotations.beat_symbols[first:last].tolist(),
        "words": f"The file: {said}" if said else "",
    }


def _whole(percentiles: np.ndarray[Any, Any]) -> list[int | None]:
    return [round(float(p)) if np.isfinite(p) else None for p in percentiles]


def rate_words(beats: HeartBeats) -> str:
    """``"Heart rate 72 bpm (68 to 77), 12 beats"``.

    Parameters
    ----------
    beats : HeartBeats

    Returns
    -------
    str
        Empty where no rate can be told.
    """
    if beats.rate_bpm is None or beats.rate_range_bpm is None:
        return ""
    low, high = (round(bpm) for bpm in beats.rate_range_bpm)
    between = f" ({low} to {high})" if low != high else ""
    return f"Heart rate {beats.rate_bpm:.0f} bpm{between}, {len(beats.time_s)} beats"


def _words(ecg: StandardEcg, *, shaded: bool) -> str:
    words = "Small box 0.04 s and 0.1 mV at 25 mm/s and 10 mm/mV; 0.5 to 40 Hz at 100 Hz, as the "
    words += "model sees it."
    if shaded:
        words += " Orange behind a trace: there the model is unsure of that lead."
    if ecg.leads_with("derived"):
        how = f" ({frame.literal(ecg.derivation)})" if ecg.derivation else ""
        words += f" Leads in blue are derived{how}, not measured."
    if ecg.leads_with("missing"):
        words += f" Not recorded: {', '.join(ecg.leads_with('missing'))}."
    return words
