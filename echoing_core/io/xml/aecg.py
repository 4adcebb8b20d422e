"""HL7 annotated ECG (``AnnotatedECG``) to `Recording`.

A rhythm series holds one or more sequence sets: a time sequence (head and increment) and one
sequence of voltages a lead (origin, scale, digits). Sets are laid side by side by their heads,
NaN between them. Derived series, which hold representative beats, are never taken.

References
----------
HL7 aECG Implementation Guide, 21 March 2005.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    RecordError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import (
    Channel,
    Findings,
    check_rate,
    check_size,
    check_span,
    mv_per_unit,
    recording_from,
)
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.xml.aecg_annotations import annotations_of
from echoing_core.io.xml.aecg_time import SECONDS, quantity, seconds_of
from echoing_core.io.xml.tree import numbers_in
from echoing_core.records import Recording

ROOT = "AnnotatedECG"


@dataclass(eq=False)
class _LeadSequence:
    """One lead of one sequence set."""

    source_name: str
    start_s: float
    step_s: float
    signal_mv: npt.NDArray[np.float32]
    stated: str


def read_aecg(root: ET.Element, file_name: str, told: Told = NOTHING) -> Recording:
    """Read the rhythm of an annotated ECG.

    Parameters
    ----------
    root : Element
        ``AnnotatedECG``.
    file_name : str
    told : Told, optional
        The unit that was said goes before the file's; the rate stands in where the file has none.

    Returns
    -------
    Recording
        Millivolts; NaN where a lead was not recorded.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file_name)
    series = _rhythm(root, name)
    notes = Findings()
    sets = series.findall("component/sequenceSet")
    refused: dict[str, RecordError] = {}
    sequences = [part for one in sets for part in _lead_sequences(one, told, name, refused)]
    # One damaged lead does not spoil the others.
    if refused and not any(canonical_lead_name(s.source_name) for s in sequences):
        raise next(iter(refused.values()))
    for why in refused.values():
        notes.add(f"A lead is left out. {why}".replace("{", "(").replace("}", ")"))
    if not sequences:
        raise MissingLeadError(
            f"{name} holds no sequence of voltages; export it with the rhythm waveform."
        )
    step_s = sequences[0].step_s
    if any(not math.isclose(s.step_s, step_s, rel_tol=1e-6) for s in sequences):
        raise SamplingRateError(
            f"The leads of {name} have different sampling rates; export them at one rate."
        )
    fs_hz = 1.0 / step_s
    # An increment of 0.002 s is 500 Hz, not 499.99999.
    if math.isclose(fs_hz, round(fs_hz), rel_tol=1e-6):
        fs_hz = float(round(fs_hz))
    check_rate(fs_hz, name)
    channels = _joined(sequences, fs_hz, name, notes)
    stem = file_name.rsplit(".", 1)[0]
    said = annotations_of(root, series, min(s.start_s for s in sequences))
    return recording_from(channels, stem, "HL7 aECG", notes, annotations=said)


def _rhythm(root: ET.Element, name: str) -> ET.Element:
    """The series with the most voltages that is no representative beat."""
    series = root.findall("component/series")
    usable = [
        s
        for s in series
        if "BEAT" not in _code(s).upper() and s.find("component/sequenceSet") is not None
    ]
    if not usable:
        if root.find(".//derivedSeries") is not None or series:
            raise UnreadableRecordError(
                f"{name} holds representative beats only, not the rhythm; export it with the "
                "rhythm waveform."
            )
        raise UnreadableRecordError(
            f"{name} holds no waveform; export it with the rhythm waveform."
        )
    # By characters of digits: lengths are stated nowhere else.
    return max(usable, key=lambda s: sum(len(d.text or "") for d in s.iter("digits")))


def _code(element: ET.Element) -> str:
    code = element.find("code")
    return "" if code is None else code.get("code", "")


def _lead_sequences(
    sequence_set: ET.Element, told: Told, name: str, refused: dict[str, RecordError]
) -> list[_LeadSequence]:
    """The leads of one set that can be read; the others are added to ``refused``."""
    clock: tuple[float, float] | None = None
    voltages: list[tuple[str, ET.Element]] = []
    for sequence in sequence_set.findall("component/sequence"):
        value, code = sequence.find("value"), _code(sequence)
        if value is None:
            continue
        if code.startswith("TIME_"):
            clock = _clock(value, told, name)
        elif value.find("digits") is not None:
            voltages.append((code, value))
    if clock is None and told.fs_hz is not None:
        clock = 0.0, 1.0 / told.fs_hz
    if voltages and clock is None:
        raise SamplingRateError(
            f"{name} holds voltages without their times (increment); export it again."
        )
    start_s, step_s = clock or (0.0, 1.0)
    found = []
    for code, value in voltages:
        try:
            found.append(_voltages(code, value, start_s, step_s, told, name))
        except RecordError as error:
            refused.setdefault(code, error)
    return found


def _clock(value: ET.Element, told: Told, name: str) -> tuple[float, float]:
    """Start in seconds and time between samples in seconds."""
    increment = value.find("increment")
    step = quantity(increment)
    unit = "s" if increment is None else increment.get("unit", "s")
    if (step is None or step <= 0 or unit not in SECONDS) and told.fs_hz is not None:
        step, unit = 1.0 / told.fs_hz, "s"
    if step is None or step <= 0 or unit not in SECONDS:
        raise SamplingRateError(f"{name} gives no usable time between samples; export it again.")
    try:
        start_s = seconds_of(value.find("head"))
    except ValueError:
        raise UnreadableRecordError(
            f"{name} gives a start that is no date and time; export it again."
        ) from None
    return start_s or 0.0, step * SECONDS[unit]


def _voltages(
    code: str, value: ET.Element, start_s: float, step_s: float, told: Told, name: str
) -> _LeadSequence:
    lead = canonical_lead_name(code) or shown(code)
    scale, origin = value.find("scale"), value.find("origin")
    units = "" if scale is None else scale.get("unit", "")
    factor, gain = mv_per_unit(units) if units else None, quantity(scale)
    if told.mv_per_number is not None:
        # Of the digits themselves, so an origin in another unit says nothing.
        factor, gain, units, origin = told.mv_per_number, 1.0, "of the unit said", None
    if factor is None or not gain:
        raise UnitsError(
            f"Lead {lead} of {name} gives no usable scale in a unit of voltage; export it again."
        )
    offset_mv = 0.0
    if origin is not None:
        offset, offset_factor = quantity(origin), mv_per_unit(origin.get("unit", units))
        if offset is None or offset_factor is None:
            raise UnitsError(f"Lead {lead} of {name} gives no usable origin; export it again.")
        offset_mv = offset * offset_factor
    digits = numbers_in(value.findtext("digits") or "", f"Lead {lead} of {name}")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        mv = (digits * (gain * factor) + offset_mv).astype(np.float32)
    if np.isinf(mv).any():
        raise UnitsError(f"Lead {lead} of {name} holds values without end; export it again.")
    return _LeadSequence(code, start_s, step_s, mv, f"{gain:g} {shown(units)} per unit")


def _joined(
    sequences: Sequence[_LeadSequence], fs_hz: float, name: str, notes: Findings
) -> list[Channel]:
    """Sequences on one time line, lead by lead."""
    origin_s = min(s.start_s for s in sequences)
    places = [round((s.start_s - origin_s) * fs_hz) for s in sequences]
    n_times = max(p + s.signal_mv.size for p, s in zip(places, sequences, strict=True))
    check_span(n_times / fs_hz, name)
    # In the order of the file, each lead once.
    codes = list(dict.fromkeys(s.source_name for s in sequences))
    check_size(n_times, len(codes), fs_hz, name)
    channels = []
    for code in codes:
        row = np.full(n_times, np.nan, dtype=np.float32)
        stated = ""
        for place, sequence in zip(places, sequences, strict=True):
            if sequence.source_name != code:
                continue
            # A view: only samples that are still NaN are filled.
            free = row[place : place + sequence.signal_mv.size]
            if not np.isnan(free).all():
                notes.add(
                    "Recorded twice for the same time, and the first is used: {}.",
                    canonical_lead_name(code) or shown(code),
                )
            free[:] = np.where(np.isnan(free), sequence.signal_mv, free)
            stated = sequence.stated
        lead = canonical_lead_name(code) or shown(code)
        channels.append(Channel(code, lead, fs_hz, row, stated))
    return channels
