"""Ten seconds on ECG paper with calipers, drawn in the browser by ``components/ecg_paper``.

The browser gets the samples of one window, 2 bytes each, and draws in millimetres of paper; a
change of speed, gain, layout or zoom needs no answer of the server. What was chosen is told to
Python, so that the next window, page or session file has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures
from echoing_core.records import LEADS, WINDOW_S, Annotations, Recording, StandardEcg
from echoing_core.services import HAND_MARKS, HeartBeats, beat_words, heart_beats, rhythm_words
from ui import by_hand, frame, record, state

if TYPE_CHECKING:
    from echoing_core.services import Explanation, LaidUnder, Measured, WindowReasons

# int16 microvolts reach 32.767 mV; the lowest value marks a gap, so signals are clipped below it.
_GAP = np.iinfo(np.int16).min
_MOST_MV = 32.0

_component = frame.component(
    "ecg_paper", "paper.css", "layout.js", "draw.js", "calipers.js", "waves.js", "paper.js"
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
    """Ten seconds of the open recording on paper, in a box that scrolls by itself.

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
    # Whatever is measured stands elsewhere on the page, too.
    if state.Explore.marks_moved.take():
        st.rerun()
    with frame.guarded():
        current = record.opened()
        recording = None if current is None else current.recording
        # Round and second: the same second of another recording is another window.
        window = f"{state.Opened.round.value}:{round(start_s, 3)}"
        draw(explanation, start_s, report, key=key, window=window, recording=recording)


def draw(
    explanation: Explanation,
    start_s: float,
    report: WindowReasons,
    *,
    key: str,
    window: str,
    beside: Literal["", "first", "second"] = "",
    label: str = "",
    recording: Recording | None = None,
    under: LaidUnder | None = None,
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
    beside : {"", "first", "second"}
        Which of two papers beside each other it is: it is then drawn small enough to be seen whole,
        and a change of settings goes for the other one, too.
    label : str
        Which one it is, for screen readers, where there are two.
    recording : Recording, optional
        The open one, as it was read: its waves can be shown and moved, and calipers are kept.
    under : LaidUnder, optional
        Another ECG, drawn under this one.
    """
    drawn = f"{key}_drawn"

    # A callback: it runs before the page is drawn again, so all papers have the new settings.
    def take() -> None:
        wanted = state.sent_by(drawn).get("settings")
        if beside or under is not None:
            # A new round makes the other papers of the page take the settings, too.
            restore(wanted)
        else:
            state.Explore.paper_settings.value = _known(wanted)

    stretch = None
    if recording is not None:
        stretch = by_hand.stretch(recording, start_s, explanation.track.window_s)

    def take_marks() -> None:
        wanted = state.sent_by(drawn).get("marks")
        number = wanted.get("n") if isinstance(wanted, dict) else None
        if recording is None or not isinstance(number, int):
            return
        state.Explore.marks_seen.value = number
        by_hand.take_marks(recording, stretch, wanted)
        state.Explore.marks_moved.value = True

    def take_calipers() -> None:
        wanted = state.sent_by(drawn).get("calipers")
        # Of a recording that is not open any more they are of no use.
        round_now = f"{state.Opened.round.value}:"
        if isinstance(wanted, dict) and str(wanted.get("window")).startswith(round_now):
            at = wanted.get("start")
            if isinstance(at, int | float):
                by_hand.take_calipers(float(at), wanted.get("list"))

    beats = heart_beats(explanation.ecg, start_s)
    _component(
        key=drawn,
        data={
            **window_data(explanation.ecg, start_s, beats, report),
            "window": window,
            "start": start_s,
            "round": state.Explore.paper_round.value,
            "settings": settings(),
            "beside": beside,
            "label": label,
            "under": None if under is None else _under_data(under),
            "waves": None if recording is None else _waves(recording, start_s, stretch),
            "calipers": None if recording is None else _kept_calipers(start_s),
        },
        on_settings_change=take,
        on_marks_change=take_marks,
        on_calipers_change=take_calipers,
    )


def _waves(
    recording: Recording, start_s: float, stretch: tuple[float, float] | None
) -> dict[str, Any]:
    """Where P, QRS and T begin and end, for the browser; measured only where that is asked for."""
    told: dict[str, Any] = {"ack": state.Explore.marks_seen.value}
    if not settings().get("waves", False):
        return told
    found = by_hand.measured(recording, stretch, "measured")
    return told | waves_data(found, start_s, by_hand.steps_back(recording, (stretch or (0.0,))[0]))


def waves_data(found: Measured, start_s: float, steps: int = 0) -> dict[str, Any]:
    """Marks of all leads together, and the beats that they were found on.

    Parameters
    ----------
    found : Measured
    start_s : float
        Of the window that is shown.
    steps : int
        How many changes can be taken back.

    Returns
    -------
    dict
        JSON values: ``beats`` in seconds of the window, ``marks`` in ms from them, null where there
        is none; or ``why`` alone.
    """
    if found.beat is None:
        return {"why": f"Not measurable: {found.get('qrs_ms').why}."}
    at = found.beat.time_s + found.start_s - start_s
    marks = {name: found.mark_ms(name) for name in (*HAND_MARKS, "t_onset")}
    # A T wave set by hand has an end alone: its band begins where the QRS ends.
    if (
        np.isnan(marks["t_onset"])
        or not marks["qrs_offset"] <= marks["t_onset"] < marks["t_offset"]
    ):
        marks["t_onset"] = marks["qrs_offset"]
    missing = {
        name: f"no {words}: {found.get(name).why}"
        for name, words in (("pr_ms", "PR"), ("qt_ms", "QT"))
        if found.get(name).value is None
    }
    return {
        "beats": [round(float(t), 4) for t in at if 0.0 <= t <= WINDOW_S],
        "marks": {n: round(ms, 1) if np.isfinite(ms) else None for n, ms in marks.items()},
        "hand": [name for name in HAND_MARKS if name in found.by_hand],
        "missing": missing,
        "steps": steps,
    }


def _kept_calipers(start_s: float) -> list[dict[str, Any]]:
    return [
        {
            "lead": one.lead,
            "t": [round(one.start_s - start_s, 4), round(one.end_s - start_s, 4)],
            "mv": [one.start_mv, one.end_mv],
            "march": one.march,
        }
        for one in by_hand.calipers(start_s)
    ]


def _under_data(under: LaidUnder) -> dict[str, Any]:
    there = np.array(under.recorded)
    return {
        "leads": [
            {"name": lead, "origin": "measured" if recorded else "missing"}
            for lead, recorded in zip(LEADS, under.recorded, strict=True)
        ],
        "samples": _packed(under.signal_mv[there], np.isfinite(under.signal_mv[there])),
    }


def _packed(signal_mv: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> str:
    """int16 microvolts in Base64, lead after lead; a gap is the lowest int16."""
    millivolts = np.where(valid, signal_mv, 0.0).clip(-_MOST_MV, _MOST_MV)
    # Little-endian, as JavaScript reads it on every machine in use.
    microvolts = np.round(1000.0 * millivolts).astype("<i2")
    microvolts[~valid] = _GAP
    return figures.packed(microvolts, "<i2")


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
    # Nothing is coloured where no lead is to blame.
    cells = report.cell_percentile if report.leads else None
    return {
        "fs": ecg.fs_hz,
        "n": end - begin,
        "leads": [
            {"name": lead, "origin": origin}
            for lead, origin in zip(LEADS, ecg.lead_origin, strict=True)
        ],
        "samples": _packed(ecg.signal_mv[there, begin:end], ecg.valid[there, begin:end]),
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
