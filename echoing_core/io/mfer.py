"""MFER files (ISO 22077-1), which monitors and carts of Nihon Kohden and others export.

A file is a row of definitions: a tag, a length, a value. What is defined holds for all channels,
or, within a channel's attributes (tag 3F and its number), for that one. Waveform data are sequences
of blocks: in each sequence, of each channel in turn, so many samples. Several waveform definitions
of one layout follow each other in time. Of who the patient is nothing is looked at.

References
----------
ISO 22077-1:2015; MFER part 1 (encoding rules), part 3-1 (12-lead ECG) and 3-2 (long-term ECG), as
published by the MFER committee (mfer.org).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import Channel, Findings, check_rate, check_size, recording_from
from echoing_core.io.lead_names import canonical_lead_name, says_ecg
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING, Told, channel_leads
from echoing_core.records import LEADS, Recording

_PREAMBLE, _PREAMBLE_TEXT = 0x40, b"MFR "
_END = 0x80
_BYTE_ORDER, _BLOCK, _CHANNELS, _SEQUENCES = 0x01, 0x04, 0x05, 0x06
_WAVEFORM_KIND, _LEAD, _DATA_TYPE = 0x08, 0x09, 0x0A
_INTERVAL, _RESOLUTION, _OFFSET, _COMPRESSION, _NULL = 0x0B, 0x0C, 0x0D, 0x0E, 0x12
_WAVEFORM, _ATTRIBUTES, _GROUP = 0x1E, 0x3F, 0x67

_MAX_CHANNELS = 64
_MAX_DEFINITIONS = 200_000
_MAX_BLOCK = 10_000_000
_DEEPEST = 8
_MAX_LAYOUTS = 1000
_NO_ECG = {9, 25, 26, 30, 31, 40, 41, 42, 43}
"""Kinds of waveform: a representative beat, spectra, trends, sounds, pulse waves, EEG."""
_OF_LAYOUT = {
    _BYTE_ORDER, _BLOCK, _CHANNELS, _LEAD, _DATA_TYPE, _INTERVAL, _RESOLUTION, _OFFSET,
    _COMPRESSION, _NULL,
}  # fmt: skip
_TYPES = {0: "i2", 1: "u2", 2: "i4", 3: "u1", 5: "i1", 6: "u4", 7: "f4", 8: "f8"}
_SIZES = {4: 2} | {code: int(kind[1]) for code, kind in _TYPES.items()}
_HERTZ, _SECONDS, _VOLTS = 0, 1, 0

_NUMBERS = dict(zip((1, 2, 61, 62, 63, 64, *range(3, 9)), LEADS, strict=True))
_NUMBERS |= {
    9: "V7", 11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z",
    19: "CC5", 20: "CM5", 66: "V8", 67: "V9", 68: "V8R", 69: "V9R",
    4166: "ECG1", 4167: "ECG2", 4168: "ECG3", 4169: "ECG4",
}  # fmt: skip
"""Numbers of leads; those up to 72 are SCP-ECG's."""


@dataclass
class _Definitions:
    """What is defined so far, for all channels and for each.

    Attributes
    ----------
    little : bool
        Whether the least significant byte comes first; without a definition it comes last.
    n_channels : int
    common : dict of int to bytes
        Value by tag.
    own : dict of int to dict
        The same of each channel, counted from 0.
    """

    little: bool = False
    n_channels: int = 1
    common: dict[int, bytes] = field(default_factory=dict)
    own: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def of(self, channel: int, tag: int) -> bytes:
        """Value of a definition for a channel; empty where there is none."""
        own = self.own.get(channel, {})
        if tag == _LEAD and self.n_channels > 1:
            # A name for all is the name of none.
            return own.get(tag, b"")
        return own.get(tag, self.common.get(tag, b""))

    def number(self, value: bytes, *, signed: bool = False) -> int:
        return int.from_bytes(value, "little" if self.little else "big", signed=signed)


@dataclass(frozen=True)
class _ChannelLayout:
    """One channel of a frame.

    Attributes
    ----------
    name : str
    block, kind : int
        Samples of a block; data type.
    fs_hz, mv_per_unit : float or None
        None where not said; ``mv_per_unit`` is 0 for what is no voltage.
    null : int or None
    has_offset : bool
    little : bool
        Whether the least significant byte of a sample comes first.
    """

    name: str
    block: int
    kind: int
    fs_hz: float | None
    mv_per_unit: float | None
    null: int | None
    has_offset: bool
    little: bool

    @property
    def n_bytes(self) -> int:
        return self.block * _SIZES[self.kind]


@dataclass(frozen=True)
class _Frame:
    """Waveform data and their layout."""

    layout: tuple[_ChannelLayout, ...]
    start: int
    n_sequences: int


def is_mfer(head: bytes) -> bool:
    """Whether a file begins with MFER's preamble.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head[:1] == bytes([_PREAMBLE]) and head[2:6] == _PREAMBLE_TEXT


def read_mfer(file: SourceFile) -> Recording:
    """Read the waveforms of one MFER file.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    Recording
        Millivolts; NaN where the file's own value for "nothing" stands.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    told = file.told or NOTHING
    data = file.content()
    frames = _frames(data, file.size, name)
    notes = Findings()
    if not frames:
        raise UnreadableRecordError(
            f"{name} holds no waveform of an ECG (only representative beats, or none); export it "
            "with its waveforms."
        )
    # The layout with the most samples: short strips of other layouts lie beside long recordings.
    sizes: dict[int, int] = {}
    layouts = {id(frame.layout): frame.layout for frame in frames}
    for frame in frames:
        sizes[id(frame.layout)] = sizes.get(id(frame.layout), 0) + frame.n_sequences
    layout = layouts[max(sizes, key=lambda i: sizes[i] * sum(c.n_bytes for c in layouts[i]))]
    if len(sizes) > 1:
        notes.add("Waveforms of other layouts in the file are left out.")
    wanted = _wanted(layout, told, name, notes)
    taken = [frame for frame in frames if frame.layout is layout]
    n_sequences = sum(frame.n_sequences for frame in taken)
    fastest = max(layout[i].block for i in wanted)
    check_size(n_sequences * fastest, len(wanted), layout[next(iter(wanted))].fs_hz or 1.0, name)
    blocks = _blocks(data, taken)
    channels = []
    for index, lead in wanted.items():
        one = layout[index]
        fs_hz = one.fs_hz or told.fs_hz
        if fs_hz is None:
            raise SamplingRateError(
                f"{name} gives no sampling interval; say the rate, or export the recording again."
            )
        check_rate(fs_hz, name)
        if one.has_offset:
            notes.add(
                "The file states an offset, which moves a lead as a whole; left out: {}.", lead
            )
        mv_per_unit = told.mv_per_number or one.mv_per_unit or 0.0
        row = _samples(blocks, layout, index, mv_per_unit)
        channels.append(Channel(one.name, lead, fs_hz, row, f"{1000 * mv_per_unit:g} uV per unit"))
    return recording_from(channels, file.name.rsplit(".", 1)[0], "MFER", notes)


def _wanted(
    layout: Sequence[_ChannelLayout], told: Told, name: str, notes: Findings
) -> Mapping[int, str]:
    """Places of the channels that are ECG leads or may be, and what each is called."""
    wanted: dict[int, str] = {}
    leads = channel_leads([one.name for one in layout], told)
    for index, (one, lead) in enumerate(zip(layout, leads, strict=True)):
        if lead is None:
            continue
        is_ecg = bool(lead.lead or says_ecg(one.name)) or one.name.startswith("channel")
        if one.kind not in _TYPES or one.mv_per_unit == 0:
            notes.add("Channels that are not voltages are left out: {}.", one.name)
        elif told.mv_per_number is None and one.mv_per_unit is None and is_ecg:
            raise UnitsError(
                f"{name} does not say the size of one unit (sampling resolution); say it, or "
                "export the recording again."
            )
        elif is_ecg or told.every:
            if lead.note:
                notes.add(lead.note)
            wanted[index] = lead.lead or canonical_lead_name(one.name) or one.name
        else:
            notes.add("Signals that are no ECG lead are left out: {}.", one.name)
    if not wanted:
        listed = ", ".join(one.name for one in layout[:8])
        raise MissingLeadError(f"{name} holds no ECG lead; it holds: {listed}.")
    return wanted


def _frames(data: object, size: int, name: str) -> list[_Frame]:
    """The frames of waveform data in the order of the file."""
    definitions = _Definitions()
    frames: list[_Frame] = []
    layout: tuple[_ChannelLayout, ...] | None = None
    n_bytes = 0
    n_layouts = 0
    # Frames of equal layout share one object, so that they need not be compared again.
    known: dict[tuple[_ChannelLayout, ...], tuple[_ChannelLayout, ...]] = {}
    for tag, channel, start, stop in _walk(data, 0, size, name):
        if tag == _WAVEFORM:
            kind = definitions.common.get(_WAVEFORM_KIND, b"")
            if channel is not None or (kind and definitions.number(kind[:2]) in _NO_ECG):
                continue
            # Worked out once for all frames between which nothing is defined anew.
            if layout is None:
                n_layouts += 1
                if n_layouts > _MAX_LAYOUTS:
                    raise UnreadableRecordError(
                        f"{name} changes its layout more often than a recording does; export it "
                        "again."
                    )
                layout = _layouts(definitions, name)
                layout = known.setdefault(layout, layout)
                n_bytes = sum(one.n_bytes for one in layout)
            frames.append(_frame(definitions, layout, n_bytes, start, stop, name))
            continue
        layout = None if tag in _OF_LAYOUT else layout
        value = bytes(data[start : min(stop, start + 64)])  # type: ignore[index]
        if tag == _BYTE_ORDER and value:
            definitions.little = value[0] == 1
        elif tag == _CHANNELS and value and channel is None:
            definitions.n_channels = definitions.number(value[:4])
            definitions.own.clear()
            if not 1 <= definitions.n_channels <= _MAX_CHANNELS:
                raise UnreadableRecordError(
                    f"{name} declares {definitions.n_channels:,} channels; from 1 to "
                    f"{_MAX_CHANNELS} can be read."
                )
        elif channel is None:
            definitions.common[tag] = value
        elif channel < _MAX_CHANNELS:
            definitions.own.setdefault(channel, {})[tag] = value
    return frames


def _walk(
    data: object, start: int, stop: int, name: str
) -> Iterator[tuple[int, int | None, int, int]]:
    """Each definition in turn: tag, channel or None, and where its value begins and ends."""
    # Groups and attributes are entered: where each ends, whose it is, and whether two zeros end it.
    inside: list[tuple[int, int | None, bool]] = [(stop, None, False)]
    at = start
    for _ in range(_MAX_DEFINITIONS):
        while len(inside) > 1 and at >= inside[-1][0]:
            inside.pop()
        end, channel, ends_in_zeros = inside[-1]
        if at >= end:
            return
        tag = data[at]  # type: ignore[index]
        at += 1
        if tag == 0:
            # Filling, or the end of a group without a stated length.
            if ends_in_zeros and data[at : at + 1] == b"\0":  # type: ignore[index]
                inside.pop()
                at += 1
            continue
        if tag == _END and len(inside) == 1:
            return
        number = None
        if tag == _ATTRIBUTES:
            number, at = _channel_number(data, at, end, name)
        length, at = _length(data, at, end, name)
        if tag in (_ATTRIBUTES, _GROUP):
            if len(inside) > _DEEPEST:
                raise UnreadableRecordError(f"{name} is nested too deeply; export it again.")
            ends = end if length is None else min(end, at + length)
            inside.append((ends, channel if number is None else number, length is None))
            continue
        if length is None or at + length > end:
            raise UnreadableRecordError(
                f"{name} is cut short or damaged: a definition is longer than the file; copy or "
                "export it again."
            )
        yield tag, channel, at, at + length
        at += length
    raise UnreadableRecordError(
        f"{name} holds more definitions than a recording has; export it again."
    )


def _channel_number(data: object, at: int, end: int, name: str) -> tuple[int, int]:
    number = 0
    for place in range(at, min(at + 3, end)):
        byte = data[place]  # type: ignore[index]
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            return number, place + 1
    raise UnreadableRecordError(f"{name} names a channel that cannot be; export it again.")


def _length(data: object, at: int, end: int, name: str) -> tuple[int | None, int]:
    """Bytes of the value (None where its end is marked instead), and where it begins."""
    first = data[at] if at < end else 0xFF  # type: ignore[index]
    if first < 0x80:
        return first, at + 1
    if first == 0x80:
        return None, at + 1
    n = first & 0x7F
    if n > 4 or at + 1 + n > end:
        raise UnreadableRecordError(f"{name} is cut short or damaged; copy or export it again.")
    return int.from_bytes(data[at + 1 : at + 1 + n], "big"), at + 1 + n  # type: ignore[index]


def _layouts(definitions: _Definitions, name: str) -> tuple[_ChannelLayout, ...]:
    if definitions.number(definitions.common.get(_COMPRESSION, b"")[:2]):
        raise UnreadableRecordError(
            f"{name} stores its waveforms compressed; export it without compression."
        )
    return tuple(_layout(definitions, i, name) for i in range(definitions.n_channels))


def _frame(
    definitions: _Definitions,
    layout: tuple[_ChannelLayout, ...],
    n_bytes: int,
    start: int,
    stop: int,
    name: str,
) -> _Frame:
    """The waveform data between two bytes, ``n_bytes`` a sequence."""
    held = (stop - start) // n_bytes
    stated = definitions.common.get(_SEQUENCES, b"")
    declared = definitions.number(stated[:4]) if stated else held
    if not 0 < declared <= held:
        raise UnreadableRecordError(
            f"{name} is cut short: it holds {held:,} of {declared:,} blocks of its waveforms; copy "
            "or export it again."
        )
    return _Frame(layout, start, declared)


def _layout(definitions: _Definitions, channel: int, name: str) -> _ChannelLayout:
    block = definitions.of(channel, _BLOCK)
    n = definitions.number(block[:4]) if block else 1
    kind = (definitions.of(channel, _DATA_TYPE) or b"\0")[0]
    if not 1 <= n <= _MAX_BLOCK or kind not in _SIZES:
        raise UnreadableRecordError(
            f"Channel {channel + 1} of {name} is stored in a way that cannot be read (blocks of "
            f"{n:,}, type {kind}); export it without compression, or as DICOM."
        )
    interval = _quantity(definitions, channel, _INTERVAL)
    fs_hz = None
    if interval is not None and interval[1] > 0 and interval[0] in (_HERTZ, _SECONDS):
        fs_hz = interval[1] if interval[0] == _HERTZ else 1.0 / interval[1]
    resolution = _quantity(definitions, channel, _RESOLUTION)
    mv_per_unit = None
    if resolution is not None:
        mv_per_unit = 1000.0 * resolution[1] if resolution[0] == _VOLTS else 0.0
    lead = definitions.of(channel, _LEAD)
    number = definitions.number(lead[:2]) if lead else -1
    null, offset = definitions.of(channel, _NULL), definitions.of(channel, _OFFSET)
    has_offset = bool(offset) and definitions.number(offset[:8]) != 0
    return _ChannelLayout(
        name=_NUMBERS.get(number) or (f"MFER lead {number}" if lead else f"channel {channel + 1}"),
        block=n,
        kind=kind,
        fs_hz=fs_hz,
        mv_per_unit=mv_per_unit,
        null=definitions.number(null[:4], signed=True) if null else None,
        has_offset=has_offset,
        little=definitions.little,
    )


def _quantity(definitions: _Definitions, channel: int, tag: int) -> tuple[int, float] | None:
    """Unit and value: a byte for the unit, one for the power of ten, and a whole number."""
    value = definitions.of(channel, tag)
    if not 3 <= len(value) <= 6:
        return None
    exponent = int.from_bytes(value[1:2], "big", signed=True)
    number = definitions.number(value[2:], signed=len(value) > 3)
    return value[0], number * 10.0**exponent


def _blocks(data: object, frames: Sequence[_Frame]) -> npt.NDArray[np.uint8]:
    """The sequences of frames of one layout, shape (n_sequences, n_bytes)."""
    n_bytes = sum(one.n_bytes for one in frames[0].layout)
    if len(frames) == 1:
        # A view of the file.
        flat = np.frombuffer(
            data,  # type: ignore[call-overload]
            dtype=np.uint8,
            count=frames[0].n_sequences * n_bytes,
            offset=frames[0].start,
        )
    else:
        parts = (data[f.start : f.start + f.n_sequences * n_bytes] for f in frames)  # type: ignore[index]
        flat = np.frombuffer(b"".join(parts), dtype=np.uint8)
    blocks: npt.NDArray[np.uint8] = flat.reshape(-1, n_bytes)
    return blocks


def _samples(
    blocks: npt.NDArray[np.uint8],
    layout: Sequence[_ChannelLayout],
    index: int,
    mv_per_unit: float,
) -> npt.NDArray[np.float32]:
    """Millivolts of one channel."""
    first = sum(one.n_bytes for one in layout[:index])
    one = layout[index]
    raw = np.ascontiguousarray(blocks[:, first : first + one.n_bytes])
    digital = raw.view(("<" if one.little else ">") + _TYPES[one.kind]).ravel()
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no ECG's and made NaN
        mv: npt.NDArray[np.float32] = np.multiply(digital, mv_per_unit, dtype=np.float32)
    mv[~np.isfinite(mv)] = np.nan
    if one.null is not None:
        width = 8 * _SIZES[one.kind]
        null = one.null if _TYPES[one.kind][0] == "i" else one.null % (1 << width)
        mv[digital == null] = np.nan
    return mv
