"""AliveCor ATC files (KardiaMobile, 1, 6 or 12 leads) to `Recording`.

A signature and blocks: name, length, data, checksum. Averaged beats, annotations, accelerations
and the block that tells of the person's phone are passed over.

References
----------
AliveCor, ATC File Format Specification 1.7 (2021).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from echoing_core.errors import MissingLeadError, UnitsError, UnreadableRecordError
from echoing_core.io.channels import Channel, Findings, check_rate, check_size, recording_from
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING
from echoing_core.records import LEADS, Recording

_MARK = b"ALIVE\0\0\0"
_FIRST_BLOCK_AT = 12
# Names of the blocks are "ecg ", "ecg2" to "ecg9", "ecga" to "ecgc".
_LEADS = {f"ecg{sign}".encode(): lead for sign, lead in zip(" 23456789abc", LEADS, strict=True)}

MAX_BYTES = 64 * 1024**2
_MAX_BLOCKS = 1000


def is_atc(head: bytes) -> bool:
    """Whether a file begins with the signature of ATC.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head.startswith(_MARK)


def read_atc(file: SourceFile) -> Recording:
    """Read one ATC file.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    Recording
        Millivolts.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    if file.size > MAX_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_BYTES // 1024**2} MB, which no ATC file is."
        )
    notes = Findings()
    form: tuple[int, int, int, int] | None = None
    samples: dict[str, bytes] = {}
    for block, data in _blocks(bytes(file.content()[:]), name, notes):
        if block == b"fmt " and len(data) >= 6:
            form = struct.unpack_from("<BHHB", data)
        lead = _LEADS.get(block)
        if lead is not None and lead not in samples:
            samples[lead] = data
    if form is None:
        raise UnitsError(
            f"{name} says neither its sampling rate nor its units (no block fmt); export it again."
        )
    kind, fs_hz, nv, _ = form
    if kind != 1:
        raise UnreadableRecordError(
            f"{name} stores its samples in a way that is not read here ({kind}); export it again."
        )
    check_rate(float(fs_hz), name)
    mv_per_unit = (file.told or NOTHING).mv_per_number or nv * 1e-6
    if mv_per_unit == 0:
        raise UnitsError(f"{name} does not say how many nanovolts one unit is; export it again.")
    if not samples:
        raise MissingLeadError(f"{name} holds no lead; export the recording again.")
    sizes = {len(data) // 2 for data in samples.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise UnreadableRecordError(
            f"The leads of {name} have different lengths or none; export it again."
        )
    check_size(sizes.pop(), len(samples), float(fs_hz), name)
    channels = []
    for lead in sorted(samples, key=LEADS.index):
        data = samples[lead]
        digital = np.frombuffer(data, dtype="<i2", count=len(data) // 2)
        mv = (digital * mv_per_unit).astype(np.float32)
        stated = f"{mv_per_unit * 1e6:g} nV per unit"
        channels.append(Channel(lead, lead, float(fs_hz), mv, stated))
    return recording_from(channels, file.name.rsplit(".", 1)[0], "AliveCor ATC", notes)


def _blocks(data: bytes, name: str, notes: Findings) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the blocks."""
    at = _FIRST_BLOCK_AT
    for _ in range(_MAX_BLOCKS):
        if at + 8 > len(data):
            return
        block, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length
        if end > len(data):
            raise UnreadableRecordError(
                f"{name} is cut short in its block {shown(block.decode('latin-1'))}; copy or "
                "export it again."
            )
        stored = data[end : end + 4]
        whole = data[at:end]
        if len(stored) == 4 and not _fits(whole, int.from_bytes(stored, "little")):
            notes.add("The checksum of a part of the file does not fit: it may be damaged.")
        yield block, data[at + 8 : end]
        at = end + 4


def _fits(whole: bytes, stored: int) -> bool:
    # Files of the first versions hold the plain sum of the bytes.
    return stored in (zlib.crc32(whole), int(np.frombuffer(whole, np.uint8).sum()) & 0xFFFFFFFF)
