"""ISHNE Holter files to `Recording`, with the annotations beside them.

Magic number, checksum, a header of 512 bytes, a block of any length, then 16-bit samples of all
leads in turn. A file of annotations (``.ann``) begins alike and holds beats in their place. The
fields that tell who the patient is are never looked at.

References
----------
Badilini, The ISHNE Holter standard output file format, Ann Noninvasive Electrocardiol 1998;
3:263-266. Annotations: "ISHNE annotation format", thew-project.org.
"""

from __future__ import annotations

import binascii
from functools import partial

import numpy as np
import numpy.typing as npt

from echoing_core.errors import MissingLeadError, UnitsError, UnreadableRecordError
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import (
    Channel,
    Findings,
    check_rate,
    check_size,
    check_span,
    recording_from,
)
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.stored import StoredFrames, StoredRow
from echoing_core.io.told import NOTHING
from echoing_core.records import LEADS, Recording

_MARK = b"ISHNE1.0"
_ANNOTATIONS_MARK = b"ANN  1.0"

# Of the standard: offsets in bytes from the start of the file, integers least significant first.
_HEADER_AT = 10
_HEADER_END = 522
_MAX_LEADS = 12

_BEATS = {ord("N"): "N", ord("V"): "V", ord("S"): "S", ord("B"): "B", ord("P"): "/", ord("U"): "Q"}
"""Their labels of beats as WFDB's; C (calibration), X (artefact) and ! (a long pause) are none."""
ISHNE_ANNOTATIONS = ".ann"
"""How the file of annotations beside a recording ends."""
MAX_ANNOTATION_BYTES = 8 * 1024**2

_NOT_MEASURED = -32768
"""What a recorder writes while a lead is off."""

_LEADS = {2: "X", 3: "Y", 4: "Z", **dict(enumerate(LEADS, 5))}
_OTHER_LEADS = {1: "bipolar", 17: "ES", 18: "AS", 19: "AI"}
_QUALITY = {
    2: "intermittent noise",
    3: "frequent noise",
    4: "intermittently disconnected",
    5: "frequently disconnected",
}


def is_ishne(head: bytes) -> bool:
    """Whether a file begins as ISHNE recordings or ISHNE annotations do.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head.startswith((_MARK, _ANNOTATIONS_MARK))


def is_ishne_annotations(head: bytes) -> bool:
    """Whether a file begins as ISHNE annotations do.

    Parameters
    ----------
    head : bytes
    """
    return head.startswith(_ANNOTATIONS_MARK)


def belongs_to_ishne(said: SourceFile, recording: SourceFile) -> bool:
    """Whether a file holds annotations, and the other of the two an ISHNE recording.

    Parameters
    ----------
    said, recording : SourceFile
        With the same stem.
    """
    begins = recording.head(len(_MARK)) == _MARK
    return begins and is_ishne_annotations(said.head(len(_ANNOTATIONS_MARK)))


def header_checksum(header: bytes) -> int:
    """CRC-CCITT (x^16 + x^12 + x^5 + 1, all ones first) of both blocks of the header."""
    return binascii.crc_hqx(header, 0xFFFF)


def read_ishne(file: SourceFile) -> Recording:
    """Read one ISHNE recording.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    Recording
        Millivolts; NaN where the recorder says that a lead was off.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    head = file.head(_HEADER_END)
    if head.startswith(_ANNOTATIONS_MARK):
        raise UnreadableRecordError(
            f"{name} holds the annotations of an ISHNE recording and no samples; choose the file "
            "of the recording itself."
        )
    if len(head) < _HEADER_END:
        raise UnreadableRecordError(
            f"The header of {name} is cut short; copy or export the recording again."
        )
    n_variable, n_stated, _, start = np.frombuffer(head, "<i4", 4, _HEADER_AT).tolist()
    checksum = int.from_bytes(head[8:10], "little")
    n_leads, rate = (int.from_bytes(head[i : i + 2], "little", signed=True) for i in (156, 272))
    told = file.told or NOTHING
    fs_hz = told.fs_hz or float(rate)
    if not 1 <= n_leads <= _MAX_LEADS:
        raise MissingLeadError(
            f"{name} declares {n_leads} leads; from 1 to {_MAX_LEADS} can be read."
        )
    check_rate(fs_hz, name)
    if not _HEADER_END <= start <= file.size or not 0 <= n_variable <= start - _HEADER_END:
        raise UnreadableRecordError(
            f"The header of {name} contradicts itself about where the samples begin; export the "
            "recording again."
        )
    notes = Findings()
    n_times = _n_times(n_stated, file.size - start, n_leads, fs_hz, name, notes)
    check_size(n_times, n_leads, fs_hz, name)
    check_span(n_times / fs_hz, name)
    data = file.content()
    # Old recorders leave it zero.
    if checksum and checksum != header_checksum(bytes(data[_HEADER_AT : _HEADER_END + n_variable])):
        notes.add(
            "The checksum of the header does not fit, so its sampling rate, leads and units may be "
            "damaged: compare them with the recorder."
        )
    frames = StoredFrames(file, start, n_times, n_leads)
    codes, quality, resolution = (
        np.frombuffer(head, "<i2", _MAX_LEADS, at).tolist() for at in (158, 182, 206)
    )
    channels = []
    for i in range(n_leads):
        lead = _LEADS.get(codes[i])
        label = lead or _OTHER_LEADS.get(codes[i]) or f"channel {i + 1}"
        mv_per_unit = told.mv_per_number or resolution[i] * 1e-6
        if mv_per_unit <= 0:
            raise UnitsError(
                f"{name} does not say how many nanovolts one unit of {label} is; say it, or export "
                "the recording again."
            )
        # Made into one array, row by row, at the end: a day is not in memory twice.
        mv = StoredRow(frames, i, partial(_to_mv, mv_per_unit=mv_per_unit))
        if quality[i] in _QUALITY:
            notes.add(f"The recorder calls the quality of {{}} {_QUALITY[quality[i]]}.", label)
        channels.append(Channel(label, label, fs_hz, mv, f"{mv_per_unit * 1e6:g} nV per unit"))
    said = Gathered() if file.beside is None else _beats_of(file.beside, fs_hz)
    return recording_from(
        channels, file.name.rsplit(".", 1)[0], "ISHNE Holter", notes, annotations=said
    )


def _to_mv(raw: npt.NDArray[np.int16], mv_per_unit: float) -> npt.NDArray[np.float32]:
    mv = raw.astype(np.float32)
    mv *= mv_per_unit
    mv[raw == _NOT_MEASURED] = np.nan
    return mv


def _beats_of(file: SourceFile, fs_hz: float) -> Gathered:
    """Beats of a file of annotations; empty where it is none, since it has no say in the rest."""
    said = Gathered(source=shown(file.name))
    head = file.head(_HEADER_END)
    if len(head) < _HEADER_END or file.size > MAX_ANNOTATION_BYTES:
        return said
    start = _HEADER_END + int.from_bytes(head[_HEADER_AT : _HEADER_AT + 4], "little", signed=True)
    if not is_ishne_annotations(head) or not _HEADER_END <= start <= file.size - 4:
        return said
    # It has the header of its recording, whose samples it counts.
    fs_hz = float(int.from_bytes(head[272:274], "little", signed=True)) or fs_hz
    data = bytes(file.content()[start:])
    n = (len(data) - 4) // 4
    pairs = np.frombuffer(data, np.dtype([("label", "u1"), ("own", "u1"), ("since", "<u2")]), n, 4)
    at = int.from_bytes(data[:4], "little") + np.cumsum(pairs["since"], dtype=np.int64)
    for label, sample in zip(pairs["label"].tolist(), at.tolist(), strict=True):
        if label in _BEATS and fs_hz > 0:
            said.add_beat(sample / fs_hz, _BEATS[label])
    return said


def _n_times(
    stated: int, n_bytes: int, n_leads: int, fs_hz: float, name: str, notes: Findings
) -> int:
    """Samples of each lead; some recorders count one lead in the header, some all."""
    held, rest = divmod(n_bytes, 2 * n_leads)
    if held < 1:
        raise UnreadableRecordError(
            f"{name} holds a header and no samples; copy or export the recording again."
        )
    if stated <= 0:
        notes.add("The header does not say how long the recording is; all of the file is read.")
        return held
    if stated == held:
        return held
    if n_leads > 1 and stated // n_leads == held and not stated % n_leads:
        return held
    if stated > held:
        raise UnreadableRecordError(
            f"{name} is cut short: it holds {held / fs_hz:.1f} s of the {stated / fs_hz:.1f} s "
            "that its header declares; copy or export it again."
        )
    if rest or held - stated > 0:
        notes.add("The file is longer than its header declares; the rest is left out.")
    return stated
