"""What an SCP-ECG file is made of: pointers (section 0), leads (3), QRS complexes (4), filters (1).

Numbers are stored least significant byte first. Of section 1, which tells who the patient is, the
tags of the filters alone are read.

References
----------
ISO 11073-91064:2009 (EN 1064), clauses 5.2 to 5.9.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from echoing_core.errors import MissingLeadError, UnreadableRecordError
from echoing_core.io.channels import Findings
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import SourceFile, shown
from echoing_core.records import LEADS

MAX_BYTES = 16 * 1024**2
"""A lead of a section holds at most 64 KB; a file of ten seconds has some ten KB in all."""

MAX_LEADS = 32
_SECTION_HEADER = 16
_POINTER = struct.Struct("<HII")
_MARK = b"SCPECG"
_MAX_QRS = 10_000

_LEADS = dict(zip((1, 2, 61, 62, 63, 64, *range(3, 9)), LEADS, strict=True))
_OTHER_LEADS = {
    9: "V7", 11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z",
    19: "CC5", 20: "CM5", 65: "-aVR", 66: "V8", 67: "V9", 70: "D (Nehb)", 71: "A (Nehb)",
    72: "J (Nehb)",
}  # fmt: skip


@dataclass(frozen=True)
class Lead:
    """One lead of section 3.

    Attributes
    ----------
    name : str
        As the standard calls its number.
    start, end : int
        First and last sample, counted from 1.
    """

    name: str
    start: int
    end: int

    @property
    def n(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True)
class Beats:
    """Section 4: where the reference beat was taken away, and what was not thinned out.

    Attributes
    ----------
    length_ms : int
        Of the reference beat.
    fiducial : int
        Sample of its fiducial point, counted from 1.
    zones : tuple of (start, fiducial, end)
        Samples of the rhythm, counted from 1, of each QRS complex of the reference beat's type.
    protected : tuple of (start, end)
        The same, of stretches that bimodal compression leaves whole.
    """

    length_ms: int
    fiducial: int
    zones: tuple[tuple[int, int, int], ...]
    protected: tuple[tuple[int, int], ...]

    def n_samples_to(self, last: int) -> int:
        """Samples in all zones and areas, those that overlap counted again, up to ``last``."""
        spans = [*((a, b) for a, _, b in self.zones), *self.protected]
        return sum(max(0, min(b, last) - a + 1) for a, b in spans)


def is_scp(head: bytes) -> bool:
    """Whether a file begins as SCP-ECG does: with section 0, whose first pointer is to itself.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    if len(head) < 32 or head[8:10] != b"\0\0":
        return False
    if head[16:22] == _MARK:
        return True
    # Before version 1.3 there was no mark.
    length = int.from_bytes(head[10:14], "little")
    return length >= 136 and _POINTER.unpack_from(head, 22) == (0, length, 7)


def sections_of(file: SourceFile, notes: Findings) -> dict[int, bytes]:
    """The sections of a file by their numbers, each without its header.

    Parameters
    ----------
    file : SourceFile
    notes : Findings
        Told where a checksum does not fit.

    Raises
    ------
    UnreadableRecordError
        Too large, cut short, or pointers that lead nowhere.
    """
    name = shown(file.name)
    if file.size > MAX_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_BYTES // 1024**2} MB, which no SCP-ECG file is; export it "
            "again."
        )
    data = bytes(file.content()[:])
    record_size = int.from_bytes(data[2:6], "little")
    length = int.from_bytes(data[10:14], "little")
    if record_size > len(data) or not _SECTION_HEADER < length <= len(data) - 6:
        raise UnreadableRecordError(
            f"{name} is cut short: it holds {len(data):,} bytes of the {record_size:,} that it "
            "declares; copy or export it again."
        )
    stored = int.from_bytes(data[:2], "little")
    if stored and stored != binascii.crc_hqx(data[2:record_size], 0xFFFF):
        notes.add("The checksum of the file does not fit: something in it may be damaged.")
    found: dict[int, bytes] = {}
    for at in range(6 + _SECTION_HEADER, 6 + length - _POINTER.size + 1, _POINTER.size):
        number, size, index = _POINTER.unpack_from(data, at)
        # Absent sections have a pointer too. The manufacturers' own begin at 128.
        if size == 0 or not 0 < number <= 11 or number in found:
            continue
        start = index - 1
        header = data[start : start + _SECTION_HEADER] if start >= 0 else b""
        if (
            size < _SECTION_HEADER
            or start + size > len(data)
            or len(header) < _SECTION_HEADER
            or int.from_bytes(header[2:4], "little") != number
        ):
            raise UnreadableRecordError(
                f"The pointers of {name} do not lead to its section {number}: the file is damaged "
                "or cut short; export it again."
            )
        found[number] = data[start + _SECTION_HEADER : start + size]
    return found


def leads_of(section: bytes | None, name: str) -> tuple[list[Lead], bool]:
    """The leads of section 3, and whether a reference beat was taken away from them.

    Parameters
    ----------
    section : bytes or None
    name : str
        Of the file, fit for a message.

    Raises
    ------
    MissingLeadError
        It is not there, or names no lead.
    UnreadableRecordError
        A lead ends before it begins, or the section is cut short.
    """
    n_leads = section[0] if section else 0
    if section is None or not 1 <= n_leads <= MAX_LEADS:
        raise MissingLeadError(
            f"{name} declares {n_leads} leads; from 1 to {MAX_LEADS} can be read."
        )
    if len(section) < 2 + 9 * n_leads:
        raise UnreadableRecordError(
            f"The list of leads of {name} is cut short; export the recording again."
        )
    leads = []
    for i in range(n_leads):
        start, end, number = struct.unpack_from("<IIB", section, 2 + 9 * i)
        label = _LEADS.get(number) or _OTHER_LEADS.get(number) or f"SCP lead {number}"
        if start > end:
            raise UnreadableRecordError(
                f"{label} of {name} ends before it begins; export the recording again."
            )
        leads.append(Lead(canonical_lead_name(label) or label, start, end))
    return leads, bool(section[1] & 1)


def beats_of(section: bytes, name: str) -> Beats:
    """Section 4.

    Parameters
    ----------
    section : bytes
    name : str
        Of the file, fit for a message.

    Raises
    ------
    UnreadableRecordError
        Cut short, or more QRS complexes than a recording has.
    """
    if len(section) < 6:
        raise UnreadableRecordError(f"Section 4 of {name} is cut short; export it again.")
    length_ms, fiducial, n = struct.unpack_from("<HHH", section)
    if n > _MAX_QRS or len(section) < 6 + 14 * n:
        raise UnreadableRecordError(
            f"{name} declares {n} QRS complexes and does not hold so many; export it again."
        )
    every = [struct.unpack_from("<HIII", section, 6 + 14 * i) for i in range(n)]
    zones = tuple((a, f, b) for kind, a, f, b in every if kind == 0 and 0 < a <= b)
    at = 6 + 14 * n
    n_protected = min(n, (len(section) - at) // 8)
    pairs = [struct.unpack_from("<II", section, at + 8 * i) for i in range(n_protected)]
    return Beats(length_ms, fiducial, zones, tuple((a, b) for a, b in pairs if 0 < a <= b))


def filters_of(section: bytes | None) -> str:
    """What section 1 says of filters, in words; empty where it says nothing."""
    at, words, values = 0, [], dict[int, int]()
    while section is not None and at + 3 <= len(section) and section[at] != 255:
        size = int.from_bytes(section[at + 1 : at + 3], "little")
        if section[at] in _FILTERS and size >= 2:
            values[section[at]] = int.from_bytes(section[at + 3 : at + 5], "little")
        at += 3 + size
    for tag, (word, factor) in _FILTERS.items():
        if values.get(tag):
            words.append(word.format(values[tag] * factor))
    return ", ".join(words)


_FILTERS: Mapping[int, tuple[str, float]] = {
    27: ("high pass {:g} Hz", 0.01),
    28: ("low pass {:g} Hz", 1.0),
}
