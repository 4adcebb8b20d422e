"""Philips XML (``restingecgdata``, Sierra ECG 1.03 and 1.04) to `Recording`.

Waveforms are 16-bit integers in Base64, plain or compressed by XLI, which Philips does not
describe but others do: for each lead eight bytes (size, a one, a first value), then LZW with codes
of 10 bits, most significant bit first; what comes out are the high bytes of all numbers and then
the low bytes; each number is 64 less than the change of slope to follow.

III, aVR, aVL and aVF are stored as what is left of them after I and II were taken away. They are
left out here and derived from I and II later, where every derived lead is called so.

References
----------
C. A. Watford, "XLI Compression Scheme", wiki of sierra-ecg-tools (2012, 2014).
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import MAX_FS_HZ, Channel, Findings, check_size, recording_from
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.xml.muse import base64_bytes
from echoing_core.io.xml.tree import add_measurements, text_of
from echoing_core.records import LEADS, Recording

ROOT = "restingecgdata"

_TYPES = ("sierraecg", "philipsecg")
_VERSIONS = ("1.03", "1.04")
# Stored as what is left after the sum of I and II was taken away; see above.
_STORED_AS_REST = ("III", "aVR", "aVL", "aVF")
_STANDARD_WIRES = ("STD-12", "10-WIRE")
_MAX_LEADS = 32
_MAX_S = 3600.0
_LZW_BITS = 10
# The last code of 10 bits is never used.
_LARGEST_CODE = (1 << _LZW_BITS) - 2
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def read_philips(root: ET.Element, file_name: str, told: Told = NOTHING) -> Recording:
    """Read the main waveforms of a Philips file; its representative beats are never taken.

    Parameters
    ----------
    root : Element
        ``restingecgdata``.
    file_name : str
    told : Told, optional
        The unit that was said goes before the file's; the rate stands in where the file has none.

    Returns
    -------
    Recording
        Millivolts.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file_name)
    info = root.find("documentinfo")
    kind, version = text_of(info, "documenttype"), text_of(info, "documentversion")
    if kind.lower() not in _TYPES or not version.startswith(_VERSIONS):
        raise UnreadableRecordError(
            f"{name} is Philips XML of the kind {shown(kind)} {shown(version)}; Sierra ECG 1.03 "
            "and 1.04 are read, so export it as one of these, or as DICOM."
        )
    details = root.find("dataacquisition/signalcharacteristics")
    waveforms = root.find("waveforms/parsedwaveforms")
    if waveforms is None:
        raise UnreadableRecordError(
            f"{name} holds no waveforms (only a report or representative beats); export it with "
            "its waveforms."
        )
    fs_hz = _number(
        waveforms.get("samplespersecond") or text_of(details, "samplingrate"), 0, MAX_FS_HZ
    )
    fs_hz = fs_hz or told.fs_hz
    if fs_hz is None:
        raise SamplingRateError(f"{name} gives no usable sampling rate; export it again.")
    # Version 1.04 has it at the waveforms, 1.03 among the characteristics, under either name.
    stated = (
        waveforms.get("resolution")
        or text_of(details, "resolution")
        or text_of(details, "signalresolution")
    )
    uv_per_unit = _number(stated, 0, 1000.0)
    if told.mv_per_number is not None:
        uv_per_unit = 1000.0 * told.mv_per_number
    if uv_per_unit is None:
        raise UnitsError(
            f"{name} does not say how many microvolts one unit is (resolution); export it again."
        )
    labels = _labels(waveforms, details, name)
    n_times = _n_times(waveforms, fs_hz, name)
    check_size(n_times, len(labels), fs_hz, name)
    digital = _samples(waveforms, len(labels), n_times, name)
    notes = Findings()
    channels = []
    for label, row in zip(labels, digital, strict=True):
        lead = canonical_lead_name(label)
        if lead in _STORED_AS_REST:
            notes.add("Not read but computed from I and II, as Philips files ask for: {}.", lead)
            continue
        mv = (row.astype(np.float64) * (uv_per_unit / 1000.0)).astype(np.float32)
        words = f"{uv_per_unit:g} uV per unit{_filters(waveforms, details)}"
        channels.append(Channel(label, lead or shown(label), fs_hz, mv, shown(words)))
    if not {"I", "II"} <= {c.name for c in channels}:
        raise MissingLeadError(
            f"{name} does not hold leads I and II, on which the others rest; export it as DICOM."
        )
    stem = file_name.rsplit(".", 1)[0]
    said = _annotations(root)
    return recording_from(channels, stem, "Philips XML", notes, annotations=said)


_MEASURED = {
    "heartrate": "heart_rate_bpm",
    "meanventrate": "heart_rate_bpm",
    "rrint": "rr_ms",
    "pdur": "p_ms",
    "print": "pr_ms",
    "meanprint": "pr_ms",
    "qrsdur": "qrs_ms",
    "meanqrsdur": "qrs_ms",
    "qtint": "qt_ms",
    "meanqtint": "qt_ms",
    "qtcb": "qtc_ms",
    "meanqtc": "qtc_ms",
    "pfrontaxis": "p_axis_deg",
    "qrsfrontaxis": "qrs_axis_deg",
    "tfrontaxis": "t_axis_deg",
}
"""Tags of version 1.04 and, with "mean", of 1.03."""


def _annotations(root: ET.Element) -> Gathered:
    """Measurements and the statements of the first interpretation."""
    said = Gathered("measurements and interpretation of the Philips file")
    interpretation = root.find("interpretations/interpretation")
    if interpretation is not None:
        add_measurements(said, interpretation.find("globalmeasurements"), _MEASURED)
        add_measurements(said, interpretation.find("interpretationmeasurements"), _MEASURED)
        # The right half says why: "rate< 50".
        for statement in interpretation.findall("statement"):
            halves = (text_of(statement, "leftstatement"), text_of(statement, "rightstatement"))
            said.add_statement(": ".join(half for half in halves if half))
        said.add_statement(text_of(interpretation, "severity").strip("- "))
    add_measurements(said, root.find("measurements/globalmeasurements"), _MEASURED)
    return said


def _labels(waveforms: ET.Element, details: ET.Element | None, name: str) -> list[str]:
    labels = (waveforms.get("leadlabels") or "").split()
    if labels:
        stated = waveforms.get("numberofleads") or ""
        labels = labels[: int(stated)] if re.fullmatch(r"\d{1,2}", stated, re.ASCII) else labels
    elif text_of(details, "acquisitiontype").upper() in _STANDARD_WIRES:
        stated = text_of(details, "numberchannelsallocated")
        n = int(stated) if re.fullmatch(r"\d{1,2}", stated, re.ASCII) else 0
        # Ten wires on the standard places give the 12 leads, in this order.
        labels = [*LEADS, *(f"channel {i + 1}" for i in range(len(LEADS), n))][:n]
    if not 0 < len(labels) <= _MAX_LEADS:
        raise MissingLeadError(f"{name} does not say which leads it holds; export it as DICOM.")
    return labels


def _n_times(waveforms: ET.Element, fs_hz: float, name: str) -> int:
    duration_ms = _number(waveforms.get("durationperchannel") or "", 0, _MAX_S * 1000)
    if duration_ms is None:
        raise UnreadableRecordError(
            f"{name} does not say how long its waveforms are; export it again."
        )
    return int(duration_ms * fs_hz / 1000.0)


def _filters(waveforms: ET.Element, details: ET.Element | None) -> str:
    low, high = (waveforms.get(tag) or text_of(details, tag) for tag in ("hipass", "lowpass"))
    return f", filters {low} to {high} Hz" if low and high else ""


def _number(text: str, low: float, high: float) -> float | None:
    text = text.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if low < value <= high else None


def _samples(
    waveforms: ET.Element, n_leads: int, n_times: int, name: str
) -> list[npt.NDArray[np.int16]]:
    """Digital samples lead by lead, each of ``n_times``."""
    encoding = waveforms.get("dataencoding") or ""
    method = waveforms.get("compressmethod") or waveforms.get("compression") or "Uncompressed"
    if (waveforms.get("compressflag") or "").lower() == "false":
        method = "Uncompressed"
    if encoding.lower() != "base64" or method.lower() not in ("xli", "uncompressed"):
        raise UnreadableRecordError(
            f"{name} stores its waveforms as {shown(encoding)}, {shown(method)}, which cannot be "
            "read here; export it without compression, or as DICOM."
        )
    data = base64_bytes("".join(waveforms.itertext()), f"The waveform of {name}")
    if method.lower() == "xli":
        rows = _xli(data, n_leads, n_times, name)
    else:
        flat = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")
        if flat.size != n_leads * n_times:
            raise UnreadableRecordError(
                f"{name} holds {flat.size} samples where {n_leads} leads of {n_times} are "
                "declared; export it again."
            )
        rows = list(flat.reshape(n_leads, n_times))
    return rows


def _xli(data: bytes, n_leads: int, n_times: int, name: str) -> list[npt.NDArray[np.int16]]:
    rows = []
    place = 0
    for _ in range(n_leads):
        # Head of a lead: size (4 bytes), a one (2 bytes), first value (2 bytes).
        size = int.from_bytes(data[place : place + 4], "little", signed=True)
        if len(data) - place < 8 or not 0 < size <= len(data) - place - 8:
            raise UnreadableRecordError(
                f"The compressed waveform of {name} is cut short; export it again."
            )
        first = int.from_bytes(data[place + 6 : place + 8], "little", signed=True)
        unpacked = lzw_decode(data[place + 8 : place + 8 + size], 2 * n_times + 2)
        place += 8 + size
        row = undo_differences(unpacked, first)
        # Codes are padded to whole bytes, which may give a sample too many.
        if not n_times <= row.size <= n_times + 1:
            raise UnreadableRecordError(
                f"The compressed waveform of {name} gives {row.size} samples a lead where "
                f"{n_times} are declared; export it again."
            )
        rows.append(row[:n_times])
    return rows


def lzw_decode(data: bytes, most: int) -> bytes:
    """LZW with codes of 10 bits, most significant bit first, and a table that stops growing.

    Parameters
    ----------
    data : bytes
    most : int
        No more than so many bytes (and the rest of a last string) are unpacked.
    """
    table: list[bytes] = [bytes([i]) for i in range(256)]
    n_codes = 8 * len(data) // _LZW_BITS
    codes = _codes(data, n_codes) if n_codes else []
    out = bytearray()
    previous = b""
    for code in codes:
        if code < len(table):
            string = table[code]
        elif previous and code == len(table) <= _LARGEST_CODE:
            string = previous + previous[:1]
        else:  # the end: padding, or a code that was never made
            break
        out += string
        if previous and len(table) <= _LARGEST_CODE:
            table.append(previous + string[:1])
        previous = string
        if len(out) >= most:
            break
    return bytes(out)


def _codes(data: bytes, n_codes: int) -> list[int]:
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[: n_codes * _LZW_BITS]
    weights = 1 << np.arange(_LZW_BITS - 1, -1, -1)
    return (bits.reshape(n_codes, _LZW_BITS) @ weights).tolist()  # type: ignore[no-any-return]


def undo_differences(unpacked: bytes, first: int) -> npt.NDArray[np.int16]:
    """Samples out of the unpacked bytes of one lead: high bytes, low bytes, then differences.

    With d the stored numbers: x0 = d0, x1 = d1, and from then on
    x[i] = 2 x[i-1] - x[i-2] - e, where e is ``first`` and later d[i-1] - 64.

    Parameters
    ----------
    unpacked : bytes
        Of one lead, see `lzw_decode`.
    first : int
        First change of slope, from the head of the lead.

    Returns
    -------
    ndarray of int16
    """
    half = -(-len(unpacked) // 2)
    raw = np.frombuffer(unpacked.ljust(2 * half, b"\0"), dtype=np.uint8).astype(np.int64)
    stored = ((raw[:half] << 8 | raw[half:]) ^ 0x8000) - 0x8000
    if half < 3:
        return stored.astype(np.int16)
    # Second differences, then two cumulative sums; 64-bit until the end, where 16 bits wrap.
    curve = np.empty(half - 2, dtype=np.int64)
    curve[0] = -first
    curve[1:] = -(stored[2:-1] - 64)
    slope = stored[1] - stored[0] + np.cumsum(curve)
    samples = np.concatenate([stored[:2], stored[1] + np.cumsum(slope)])
    return (((samples & 0xFFFF) ^ 0x8000) - 0x8000).astype(np.int16)
