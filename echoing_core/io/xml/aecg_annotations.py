"""Annotation sets of an HL7 annotated ECG: beats, rhythms, measurements, interpretation.

References
----------
HL7 aECG Implementation Guide, 21 March 2005, "Annotations"; codes of ISO 11073-10102.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from echoing_core.io.annotations import Gathered
from echoing_core.io.xml.aecg_time import SECONDS, quantity, seconds_of
from echoing_core.io.xml.tree import text_of

BEAT_CODES: Mapping[str, str] = {
    "N": "MDC_ECG_BEAT_NORMAL",
    "L": "MDC_ECG_BEAT_LBB_BLK_COMP",
    "R": "MDC_ECG_BEAT_RBB_BLK_COMP",
    "B": "MDC_ECG_BEAT_BB_BLK",
    "A": "MDC_ECG_BEAT_ATR_P_C",
    "a": "MDC_ECG_BEAT_ATR_P_C_ABERR",
    "J": "MDC_ECG_BEAT_JUNC_P_C",
    "S": "MDC_ECG_BEAT_SV_P_C",
    "V": "MDC_ECG_BEAT_V_P_C",
    "r": "MDC_ECG_BEAT_V_P_C_RonT",
    "F": "MDC_ECG_BEAT_V_P_C_FUSION",
    "e": "MDC_ECG_BEAT_ATR_ESC",
    "j": "MDC_ECG_BEAT_JUNC_ESC",
    "n": "MDC_ECG_BEAT_SV_ESC",
    "E": "MDC_ECG_BEAT_V_ESC",
    "/": "MDC_ECG_BEAT_PACED",
    "f": "MDC_ECG_BEAT_PACED_FUS",
    "Q": "MDC_ECG_BEAT_UNKNOWN",
    "?": "MDC_ECG_BEAT_LEARN",
}
"""WFDB's letter of a beat -> its code."""

MEASUREMENT_CODES: Mapping[str, tuple[str, str]] = {
    "heart_rate_bpm": ("MDC_ECG_HEART_RATE", "bpm"),
    "atrial_rate_bpm": ("MDC_ECG_ATRIAL_RATE", "bpm"),
    "rr_ms": ("MDC_ECG_TIME_PD_RR", "ms"),
    "p_ms": ("MDC_ECG_TIME_PD_P", "ms"),
    "pr_ms": ("MDC_ECG_TIME_PD_PR", "ms"),
    "qrs_ms": ("MDC_ECG_TIME_PD_QRS", "ms"),
    "qt_ms": ("MDC_ECG_TIME_PD_QT", "ms"),
    "qtc_ms": ("MDC_ECG_TIME_PD_QTc", "ms"),
    "p_axis_deg": ("MDC_ECG_ANGLE_P_FRONT", "deg"),
    "qrs_axis_deg": ("MDC_ECG_ANGLE_QRS_FRONT", "deg"),
    "t_axis_deg": ("MDC_ECG_ANGLE_T_FRONT", "deg"),
}
"""Name of a measurement -> its code, and the unit in which it is written."""

RHYTHM_CODE = "MDC_ECG_RHYTHM"
STATEMENT_CODES = (
    "MDC_ECG_INTERPRETATION",
    "MDC_ECG_INTERPRETATION_STATEMENT",
    "MDC_ECG_INTERPRETATION_SUMMARY",
)

_SYMBOLS = {code.upper(): symbol for symbol, code in BEAT_CODES.items()}
_NAMES = {code.upper(): name for name, (code, _) in MEASUREMENT_CODES.items()}
# Devices write the correction that they use into the code.
_NAMES |= dict.fromkeys(("MDC_ECG_TIME_PD_QTCB", "MDC_ECG_TIME_PD_QTCF"), "qtc_ms")
_RATES = {"bpm": 1.0, "/min": 1.0, "1/min": 1.0, "{beats}/min": 1.0, "{beat}/min": 1.0}
_ANGLES = {"deg": 1.0}
# What counts from 1970 is a date and time; no recording is three years long.
_DATED_S = 1e8


def annotations_of(root: ET.Element, series: ET.Element, origin_s: float) -> Gathered:
    """What the annotation sets say.

    Parameters
    ----------
    root : Element
    series : Element
        The rhythm that is read. Beats and rhythms are its own; measurements and statements may
        stand in any other, such as the representative beat's.
    origin_s : float
        Of the first sample, on the clock of its sequences.

    Returns
    -------
    Gathered
    """
    said = Gathered("annotations of the aECG")
    own = list(series.iter("annotation"))
    for annotation in own:
        _add_timed(said, annotation, origin_s)
    # Those of the rhythm go first, since the first of two measurements is kept.
    known = set(map(id, own))
    for annotation in (*own, *(a for a in root.iter("annotation") if id(a) not in known)):
        _add_finding(said, annotation)
    return said


def _add_timed(said: Gathered, annotation: ET.Element, origin_s: float) -> None:
    code, value = _code(annotation), annotation.find("value")
    if not code.startswith(("MDC_ECG_BEAT", RHYTHM_CODE)):
        return
    start_s, stop_s = _region(annotation, origin_s)
    if start_s is None:
        return
    kind = "" if value is None else value.get("code", "").upper()
    if code.startswith("MDC_ECG_BEAT"):
        # The kind stands in the value, or in the code itself.
        said.add_beat(start_s, _SYMBOLS.get(kind) or _SYMBOLS.get(code, "Q"))
        return
    words = text_of(annotation, "value") or kind.removeprefix("MDC_ECG_RHY_").replace("_", " ")
    if stop_s is None or stop_s <= start_s:
        said.change_rhythm(start_s, words)
    else:
        said.add_rhythm(start_s, stop_s, words)


def _add_finding(said: Gathered, annotation: ET.Element) -> None:
    code, value = _code(annotation), annotation.find("value")
    if code in STATEMENT_CODES:
        said.add_statement(text_of(annotation, "value"))
    # Those of a lead or a stretch are not of the whole ECG.
    elif code in _NAMES and value is not None and annotation.find("support") is None:
        name, number, unit = _NAMES[code], quantity(value), value.get("unit", "")
        factors = {"bpm": _RATES, "ms": {u: 1e3 * s for u, s in SECONDS.items()}, "deg": _ANGLES}
        factor = factors[MEASUREMENT_CODES[name][1]].get(unit)
        if number is not None and factor is not None:
            said.add_measurement(name, number * factor)


def _region(annotation: ET.Element, origin_s: float) -> tuple[float | None, float | None]:
    """Start and end in seconds from the first sample; None for what is not said."""
    for boundary in annotation.findall("support/supportingROI/component/boundary"):
        value = boundary.find("value")
        if not _code(boundary).startswith("TIME_") or value is None:
            continue
        found: list[float | None] = []
        for element in (value.find("low"), value.find("high"), value.find("center")):
            try:
                at_s = seconds_of(element)
            except ValueError:
                at_s = None
            # Seconds from the start beside a clock of dates count from the first sample.
            dated = at_s is not None and at_s > _DATED_S
            shift = origin_s if dated == (origin_s > _DATED_S) else 0.0
            found.append(None if at_s is None else at_s - shift)
        low, high, centre = found
        return (centre if low is None else low), high
    return None, None


def _code(element: ET.Element) -> str:
    code = element.find("code")
    return "" if code is None else code.get("code", "").upper()
