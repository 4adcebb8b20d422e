"""What a DICOM ECG says of itself: measurements and statements of its waveform annotations.

Measurements are coded, by MDC (ISO/IEEE 11073-10102), SCP-ECG or a maker's own codes, and each code
carries its meaning in English, which devices write alike; so they are known by that.

References
----------
DICOM PS3.3, C.10.10 (Waveform Annotation Module); PS3.16, CID 3227 to 3229.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from echoing_core.io.annotations import Gathered

_MAX_ITEMS = 10_000
_REMARKS = ("Converted by EchoingECG", "Simulated by EchoingECG")

_MEANINGS: Mapping[str, str] = {
    "ventricular heart rate": "heart_rate_bpm",
    "ventricular rate": "heart_rate_bpm",
    "heart rate": "heart_rate_bpm",
    "atrial heart rate": "atrial_rate_bpm",
    "atrial rate": "atrial_rate_bpm",
    "rr interval": "rr_ms",
    "rr interval global": "rr_ms",
    "p duration": "p_ms",
    "p wave duration": "p_ms",
    "pr interval": "pr_ms",
    "pr interval global": "pr_ms",
    "qrs duration": "qrs_ms",
    "qrs duration global": "qrs_ms",
    "qt interval": "qt_ms",
    "qt interval global": "qt_ms",
    "qtc interval": "qtc_ms",
    "qtc interval global": "qtc_ms",
    "qtc bazett": "qtc_ms",
    "p axis": "p_axis_deg",
    "p wave axis": "p_axis_deg",
    "qrs axis": "qrs_axis_deg",
    "t axis": "t_axis_deg",
    "t wave axis": "t_axis_deg",
}
"""Meaning in small letters, punctuation as blanks -> name of a measurement."""
_UNITS: Mapping[str, tuple[str, float]] = {
    "ms": ("ms", 1.0), "msec": ("ms", 1.0), "s": ("ms", 1000.0),
    "bpm": ("bpm", 1.0), "/min": ("bpm", 1.0), "{h.b.}/min": ("bpm", 1.0),
    "{beats}/min": ("bpm", 1.0), "deg": ("deg", 1.0),
}  # fmt: skip
"""Code of a unit -> how a measurement's name ends, and the factor to that unit."""


def dicom_annotations(dataset: Any) -> Gathered:
    """Measurements and statements of an object.

    Parameters
    ----------
    dataset : pydicom.Dataset

    Returns
    -------
    Gathered
    """
    said = Gathered("annotations of the DICOM object")
    items = list(dataset.get("WaveformAnnotationSequence") or [])[:_MAX_ITEMS]
    texts = [str(item.get("UnformattedTextValue") or "") for item in items]
    # Of an object of ours, other texts are remarks on the conversion.
    ours = any(text.startswith(_REMARKS) for text in texts)
    for item, text in zip(items, texts, strict=True):
        if text and not said.add_line(text) and not ours:
            for line in text.splitlines():
                said.add_statement(line)
        for concept in _first(item, "ConceptNameCodeSequence"):
            _add_measurement(said, str(concept.get("CodeMeaning") or ""), item)
    return said


def _add_measurement(said: Gathered, meaning: str, item: Any) -> None:
    name = _MEANINGS.get(" ".join(re.sub(r"[^a-z]+", " ", meaning.lower()).split()))
    value = item.get("NumericValue")
    if name is None or value is None:
        return
    for unit in _first(item, "MeasurementUnitsCodeSequence"):
        ending, factor = _UNITS.get(str(unit.get("CodeValue") or "").lower(), ("", 1.0))
        if ending and name.endswith(ending):
            # One number, or several of which the first is the ECG's.
            number = (
                value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value
            )
            said.add_measurement(name, float(number) * factor)


def _first(item: Any, keyword: str) -> Iterable[Any]:
    return list(item.get(keyword) or [])[:1]
