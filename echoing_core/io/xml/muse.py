"""GE MUSE XML (``RestingECG``) to `Recording`.

The format is not published; what is read here is what files of MUSE 7 to 9 and the readers of
several groups agree on: ``Waveform`` elements of the types Rhythm and Median, in them one
``LeadData`` a lead with samples as 16-bit integers, least significant byte first, in Base64. MUSE
stores I, II and V1-V6; the other limb leads follow from I and II and are derived later, where
every derived lead is called so.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import xml.etree.ElementTree as ET
from functools import partial

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import (
    MAX_FS_HZ,
    Channel,
    Findings,
    array_of,
    check_rate,
    check_size,
    mv_per_unit,
    readable,
    recording_from,
)
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.numbers import NUMBER
from echoing_core.io.sources import shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.xml.tree import add_measurements, number_in, text_of, with_one_length
from echoing_core.records import Recording

ROOT = "RestingECG"

# The smallest 16-bit integer.
_NOT_MEASURED = -32768


def read_muse(root: ET.Element, file_name: str, told: Told = NOTHING) -> Recording:
    """Read the rhythm leads of a MUSE file; its median beats are never taken for them.

    Parameters
    ----------
    root : Element
        ``RestingECG``.
    file_name : str
    told : Told, optional
        The unit that was said goes before the file's; the rate stands in where the file has none.

    Returns
    -------
    Recording
        Millivolts; NaN where a lead says that it was not measured.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file_name)
    waveforms = root.findall("Waveform")
    rhythms = [w for w in waveforms if text_of(w, "WaveformType").lower() == "rhythm"]
    if not rhythms:
        kinds = {text_of(w, "WaveformType").lower() for w in waveforms}
        if "median" in kinds:
            raise UnreadableRecordError(
                f"{name} holds only the median beat, not the rhythm; export it with the rhythm "
                "waveform."
            )
        raise UnreadableRecordError(
            f"{name} is a MUSE report without waveforms; export it with the rhythm waveform."
        )
    # Some files hold a short rhythm strip beside the 12 leads.
    rhythm = max(rhythms, key=lambda w: len(w.findall("LeadData")))
    fs_hz = _sampling_rate(rhythm, told, name)
    notes = Findings()
    if any(text_of(w, "WaveformType").lower() == "median" for w in waveforms):
        notes.add("The file holds a median beat too; the rhythm is used.")
    filters = _filters(rhythm)
    offsets: dict[str, float] = {}
    channels = readable(
        (
            (
                text_of(data, "LeadID"),
                partial(_lead, data, fs_hz, filters, offsets, told, name, notes),
            )
            for data in rhythm.findall("LeadData")
        ),
        notes,
    )
    if not channels:
        raise MissingLeadError(f"{name} holds a rhythm waveform without leads; export it again.")
    check_size(max(c.signal_mv.size for c in channels), len(channels), fs_hz, name)
    if any(offsets.values()):
        _place(channels, offsets, fs_hz, name, notes)
    with_one_length(channels, told, name)
    stem = file_name.rsplit(".", 1)[0]
    said = _annotations(root)
    return recording_from(channels, stem, "GE MUSE XML", notes, annotations=said)


_MEASURED = {
    "VentricularRate": "heart_rate_bpm",
    "AtrialRate": "atrial_rate_bpm",
    "PRInterval": "pr_ms",
    "QRSDuration": "qrs_ms",
    "QTInterval": "qt_ms",
    "QTCorrected": "qtc_ms",
    "PAxis": "p_axis_deg",
    "RAxis": "qrs_axis_deg",
    "TAxis": "t_axis_deg",
}


def _annotations(root: ET.Element) -> Gathered:
    """Measurements, the diagnosis, and when the QRS complexes are."""
    said = Gathered("measurements and diagnosis of the MUSE file")
    for tag in ("RestingECGMeasurements", "OriginalRestingECGMeasurements"):
        add_measurements(said, root.find(tag), _MEASURED)
    # What a person corrected goes before what the device said first.
    diagnosis = root.find("Diagnosis")
    if diagnosis is None or diagnosis.find("DiagnosisStatement") is None:
        diagnosis = root.find("OriginalDiagnosis")
    line: list[str] = []
    for statement in [] if diagnosis is None else diagnosis.findall("DiagnosisStatement"):
        line.append(text_of(statement, "StmtText"))
        # A line is made of one statement or of several.
        flags = {" ".join("".join(f.itertext()).split()) for f in statement.findall("StmtFlag")}
        if "ENDSLINE" in flags or not flags:
            said.add_statement(" ".join(line))
            line = []
    said.add_statement(" ".join(line))
    _add_beats(said, root)
    return said


def _add_beats(said: Gathered, root: ET.Element) -> None:
    """Beats of ``QRSTimesTypes``, where the file shows by itself which unit their times have."""
    times = [number_in(text_of(qrs, "Time")) for qrs in root.findall("QRSTimesTypes/QRS")]
    known = [t for t in times if t is not None and 0 <= t < 1e7]
    apart_ms = number_in(text_of(root.find("QRSTimesTypes"), "GlobalRR"))
    if len(known) < 3 or apart_ms is None or apart_ms <= 0:
        return
    measured = root.find("RestingECGMeasurements")
    base = number_in(text_of(measured, "ECGSampleBase"))
    units_s = [1e-3, *([1 / base] if base is not None and 0 < base <= MAX_FS_HZ else [])]
    step = float(np.median(np.diff(sorted(known))))
    # Milliseconds or samples: that in which the beats are as far apart as the file says.
    fitting = [u for u in units_s if abs(1000 * u * step / apart_ms - 1) < 0.2]
    if len(set(fitting)) == 1:
        for time in known:
            said.add_beat(time * fitting[0], "Q")


def _sampling_rate(waveform: ET.Element, told: Told, name: str) -> float:
    """SampleBase times ten to SampleExponent, in Hz."""
    base, exponent = text_of(waveform, "SampleBase"), text_of(waveform, "SampleExponent") or "0"
    if not NUMBER.fullmatch(base) or not re.fullmatch(r"[-+]?\d", exponent, re.ASCII):
        if told.fs_hz is not None:
            return told.fs_hz
        raise SamplingRateError(f"{name} gives no sampling rate (SampleBase); export it again.")
    fs_hz = float(base) * 10.0 ** int(exponent)
    check_rate(fs_hz, name)
    return fs_hz


def _filters(waveform: ET.Element) -> str:
    """What the file says of filters; the unit of the high pass is hundredths of Hz in MUSE."""
    parts = []
    for tag, words in (("LowPassFilter", "low pass {} Hz"), ("ACFilter", "mains {}")):
        value = text_of(waveform, tag)
        if value and value != "0":
            parts.append(words.format(value))
    return ", ".join(parts)


def _place(
    channels: list[Channel], offsets: dict[str, float], fs_hz: float, name: str, notes: Findings
) -> None:
    """Put leads that begin later where they begin; the shorter ones end in NaN."""
    starts = sorted({offsets[c.source_name] for c in channels})
    steps = np.diff(starts)
    # Offsets are in samples or in milliseconds, which no file says: in that unit in which each
    # column of the page begins where the one before it ends.
    shortest = min(c.signal_mv.size for c in channels)
    fitting = [
        per_unit
        for per_unit in (1.0, fs_hz / 1000.0)
        if steps.size and np.allclose(steps * per_unit, shortest, rtol=0.02, atol=1)
    ]
    if len(set(fitting)) != 1 or starts[0] != 0:
        raise UnreadableRecordError(
            f"Leads of {name} begin later than others, and how much is not said clearly; export "
            "it with full-length rhythm leads."
        )
    places = [round(offsets[c.source_name] * fitting[0]) for c in channels]
    total = max(p + c.signal_mv.size for p, c in zip(places, channels, strict=True))
    check_size(total, len(channels), fs_hz, name)
    for place, channel in zip(places, channels, strict=True):
        row = np.full(total, np.nan, dtype=np.float32)
        row[place : place + channel.signal_mv.size] = array_of(channel)
        channel.signal_mv = row
    notes.add("The leads follow one another in time, as the file says of each.")


def _lead(
    data: ET.Element,
    fs_hz: float,
    filters: str,
    offsets: dict[str, float],
    told: Told,
    name: str,
    notes: Findings,
) -> Channel:
    source = text_of(data, "LeadID") or "a lead without a name"
    lead = canonical_lead_name(source) or shown(source)
    units, gain_text = (
        text_of(data, "LeadAmplitudeUnits"),
        text_of(data, "LeadAmplitudeUnitsPerBit"),
    )
    factor = mv_per_unit(units) if units else None
    if told.mv_per_number is not None:
        factor, gain_text, units = told.mv_per_number, "1", "of the unit said"
    if factor is None:
        given = f"in {shown(units)}" if units else "without a unit"
        raise UnitsError(f"Lead {lead} of {name} is {given}, so its size in mV is not known.")
    gain = float(gain_text) if NUMBER.fullmatch(gain_text) else math.nan
    if not 0 < gain < math.inf:
        raise UnitsError(
            f"Lead {lead} of {name} gives no usable size of its units (LeadAmplitudeUnitsPerBit); "
            "export it again."
        )
    if (text_of(data, "LeadSampleSize") or "2") != "2":
        raise UnreadableRecordError(
            f"Lead {lead} of {name} does not use two bytes a sample, as MUSE does; export it again."
        )
    # Leads of a 3 x 4 page follow one another in time.
    offset = number_in(text_of(data, "LeadTimeOffset") or "0")
    if offset is None or not 0 <= offset <= 1e7:
        raise UnreadableRecordError(
            f"When lead {lead} of {name} begins is not said clearly; export it again."
        )
    offsets[source] = offset
    digital = base64_integers(data.findtext("WaveFormData") or "", f"Lead {lead} of {name}")
    # A cut file still decodes, to fewer samples.
    declared = text_of(data, "LeadSampleCountTotal")
    if declared and declared != str(digital.size):
        raise UnreadableRecordError(
            f"Lead {lead} of {name} holds {digital.size} samples where {shown(declared)} are "
            "declared; export it again."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        mv = (digital.astype(np.float64) * (gain * factor)).astype(np.float32)
    if np.isinf(mv).any():
        raise UnitsError(f"Lead {lead} of {name} holds values without end; export it again.")
    mv[digital == _NOT_MEASURED] = np.nan
    if text_of(data, "LeadOff").upper() == "TRUE":
        notes.add("The device says that the electrode was off: {}.", lead)
    stated = f"{gain:g} {units.lower()} per unit" + (f", {filters}" if filters else "")
    return Channel(source, lead, fs_hz, mv, shown(stated))


def base64_integers(text: str, what: str) -> npt.NDArray[np.int16]:
    """16-bit integers, least significant byte first, out of Base64 text.

    Parameters
    ----------
    text : str
    what : str
        Beginning of a message.

    Raises
    ------
    UnreadableRecordError
        Not Base64, empty, or half a sample left over.
    """
    data = base64_bytes(text, what)
    if not data or len(data) % 2:
        raise UnreadableRecordError(f"{what} holds no whole samples; export it again.")
    return np.frombuffer(data, dtype="<i2")


def base64_bytes(text: str, what: str) -> bytes:
    """The bytes of Base64 text with line breaks in it.

    Parameters
    ----------
    text : str
    what : str
        Beginning of a message.

    Raises
    ------
    UnreadableRecordError
        It is no Base64.
    """
    try:
        return base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise UnreadableRecordError(f"{what} is damaged (no Base64); export it again.") from exc
