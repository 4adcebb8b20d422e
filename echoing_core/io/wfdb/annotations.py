"""Annotation files of WFDB records (.atr, .qrs and others), read and written.

Pairs of bytes, least significant first: six bits of a type and ten of an interval since the
annotation before. Pseudo-types carry a longer interval (SKIP), fields of the annotation before
(NUM, SUB, CHN) and its text (AUX). A day of beats is 200 KB, so a plain loop will do.

References
----------
WFDB Applications Guide, annot(5) (https://physionet.org/physiotools/wag/annot-5.htm).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from echoing_core.io.annotations import (
    ENOUGH_DROPPED,
    Gathered,
    measurement_line,
    statement_line,
)
from echoing_core.io.sources import FileSet, shown
from echoing_core.records import Annotations

ENDINGS = (".atr", ".qrs", ".qrsc", ".ecg", ".ari", ".man", ".wqrs", ".gqrs")
"""Annotators that are read, the best first: beats of the first that has beats, and so on. Others
(.st-, .apn, .i to .v6 of LUDB) annotate what is neither a beat nor a rhythm."""

MAX_BYTES = 8 * 1024**2
"""Of all annotation files of a record together; a month of beats is less."""
_NOTE, _RHYTHM, _START_VF, _END_VF = 22, 28, 32, 33
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
_LONGEST_STEP = 1023
_CODES = {
    "N": 1, "L": 2, "R": 3, "a": 4, "V": 5, "F": 6, "J": 7, "A": 8, "S": 9, "E": 10, "j": 11,
    "/": 12, "Q": 13, "B": 25, "?": 30, "e": 34, "n": 35, "f": 38, "r": 41,
}  # fmt: skip
_SYMBOLS = {code: symbol for symbol, code in _CODES.items()}
_RESOLUTION = "## time resolution: "


@dataclass
class _Mark:
    """One annotation as it is stored.

    Attributes
    ----------
    sample, code : int
    aux : str
    """

    sample: int
    code: int
    aux: str = ""


def beside_record(files: FileSet, header_name: str, fs_hz: float) -> Gathered:
    """What the annotation files of a record say.

    Parameters
    ----------
    files : FileSet
    header_name : str
        Of the record; they have its stem.
    fs_hz : float
        Frames a second, in which annotations count.

    Returns
    -------
    Gathered
        Empty where there are none. A damaged one is left unread and does not spoil the recording.
    """
    stem = header_name[: -len(".hea")]
    found = Gathered()
    left = MAX_BYTES
    for ending in ENDINGS:
        file = files.beside(f"{stem}{ending}")
        if file is None or not 2 <= file.size <= left:
            continue
        left -= file.size
        gathered = read_annotations(bytes(file.content()[:]), fs_hz)
        gathered.source = shown(file.name)
        found.take(gathered)
    return found


def read_annotations(data: bytes, fs_hz: float) -> Gathered:
    """Beats, rhythms and texts of one annotation file.

    Parameters
    ----------
    data : bytes
    fs_hz : float
        Of the record, unless the file states a resolution of its own.

    Returns
    -------
    Gathered
        What follows a damaged place is left out.
    """
    gathered = Gathered()
    fluttering = False
    rhythm = ""
    for mark in _marks(data):
        if mark.code == _NOTE and mark.aux.startswith("##"):
            # A definition of the file itself, at its very start.
            text = mark.aux.removeprefix(_RESOLUTION).strip()
            if mark.aux.startswith(_RESOLUTION) and text.replace(".", "", 1).isdecimal():
                fs_hz = float(text) or fs_hz
            continue
        if gathered.n_dropped > ENOUGH_DROPPED:
            break
        at_s = mark.sample / fs_hz
        if mark.code in _SYMBOLS:
            gathered.add_beat(at_s, _SYMBOLS[mark.code])
        if mark.code == _RHYTHM and mark.aux.startswith("("):
            rhythm = mark.aux[1:].strip()
            gathered.change_rhythm(at_s, rhythm)
        elif mark.code == _START_VF and not fluttering:
            fluttering = True
            gathered.change_rhythm(at_s, "VFL")
        elif mark.code == _END_VF and fluttering:
            fluttering = False
            gathered.change_rhythm(at_s, "" if rhythm == "VFL" else rhythm)
        elif mark.aux:
            gathered.add_text(at_s, mark.aux)
    return gathered


def _marks(data: bytes) -> Iterable[_Mark]:
    """The annotations of a file in turn, each with its text."""
    sample, at, last = 0, 0, None
    while at + 2 <= len(data):
        word = data[at] | data[at + 1] << 8
        at += 2
        code, low = word >> 10, word & 0x3FF
        if word == 0:
            break
        if code == _SKIP:
            if at + 4 > len(data):
                break
            # The upper half comes first, each half least significant byte first.
            high, rest = struct.unpack_from("<hH", data, at)
            sample += (high << 16) | rest
            at += 4
        elif code == _AUX:
            if last is not None:
                raw = data[at : at + low]
                last.aux = raw.split(b"\0")[0].decode("utf-8", "replace").strip()
            at += low + (low & 1)
        elif code in (_NUM, _SUB, _CHN):
            continue
        else:
            if last is not None:
                yield last
            sample += low
            last = _Mark(sample, code)
    if last is not None:
        yield last


def annotation_bytes(annotations: Annotations, fs_hz: float) -> bytes:
    """One annotation file.

    Parameters
    ----------
    annotations : Annotations
    fs_hz : float
        Of the record.

    Returns
    -------
    bytes
        Measurements and statements are notes at the first sample. Rhythms without a code of WFDB
        stand there in their own words.
    """
    lines = [measurement_line(name, value) for name, value in annotations.measurements.items()]
    lines += [statement_line(statement) for statement in annotations.statements]
    marks = [_Mark(0, _NOTE, line) for line in lines]
    marks += [_Mark(round(t.at_s * fs_hz), _NOTE, t.text) for t in annotations.texts]
    for i, span in enumerate(annotations.rhythms):
        marks.append(_Mark(round(span.start_s * fs_hz), _RHYTHM, f"({span.name}"))
        follows = annotations.rhythms[i + 1 : i + 2]
        # A rhythm lasts to the next one, so an end that no other rhythm follows at once is said.
        if not follows or follows[0].start_s > span.stop_s + 1 / fs_hz:
            marks.append(_Mark(round(span.stop_s * fs_hz), _RHYTHM, "("))
    samples = [round(at * fs_hz) for at in annotations.beat_s.tolist()]
    for sample, symbol in zip(samples, annotations.beat_symbols.tolist(), strict=True):
        marks.append(_Mark(sample, _CODES[symbol]))
    out, now = bytearray(), 0
    for mark in sorted(marks, key=lambda m: m.sample):
        out += _encoded(mark, mark.sample - now)
        now = mark.sample
    return bytes(out) + b"\0\0"


def _encoded(mark: _Mark, step: int) -> bytes:
    out = b""
    if step > _LONGEST_STEP:
        out += struct.pack("<HhH", _SKIP << 10, step >> 16, step & 0xFFFF)
        step = 0
    out += struct.pack("<H", mark.code << 10 | step)
    if mark.aux:
        # No letter is cut in two.
        text = mark.aux.encode()[:255].decode(errors="ignore").encode()
        out += struct.pack("<H", _AUX << 10 | len(text)) + text + b"\0" * (len(text) & 1)
    return out
