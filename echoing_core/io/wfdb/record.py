"""WFDB records to `Recording`.

The header is checked first (`wfdb.header`). Then the signals are read by the wfdb package
from a private folder that holds a header written here and the data files under names given
here; nothing that came with the record names a file or reaches a log. The folder is gone
when reading ends, whichever way it ends.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    RecordError,
    SignalQualityError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import Channel, Findings, mv_per_unit, recording_from
from echoing_core.io.lead_names import canonical_lead_name, is_modified_limb_lead
from echoing_core.io.sources import FileSet, shown
from echoing_core.io.wfdb.data import checked_layout
from echoing_core.io.wfdb.header import (
    DEFAULT_GAIN,
    MAX_HEADER_BYTES,
    NULL_FORMAT,
    Header,
    SignalLine,
    check_n_values,
    parse_header,
)
from echoing_core.records import Recording

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
# Headers write rates with few digits; 1e-6 of a day is less than a tenth of a second.
_FIXED_FS_TOLERANCE = 1e-6


def read_wfdb(files: FileSet, header_name: str) -> Recording:
    """Read one WFDB record.

    Parameters
    ----------
    files : FileSet
        Where its header and its data files are.
    header_name : str
        File name of the header (of the master header where there are segments).

    Returns
    -------
    Recording
        Millivolts; gaps and a test pattern at the start are NaN.

    Raises
    ------
    RecordError
        One of its children, with one or two sentences saying what is wrong.
    """
    return read_described(files, read_header(files, header_name), header_name)


def read_described(files: FileSet, header: Header, header_name: str) -> Recording:
    """Read one WFDB record by a header that was parsed already; see `read_wfdb`.

    Parameters
    ----------
    files : FileSet
    header : Header
    header_name : str
        File name of the header, which gives the record its id.

    Raises
    ------
    RecordError
        As for `read_wfdb`.
    """
    record_id = header_name[: -len(".hea")]
    notes = Findings()
    if header.segments:
        channels, simulated = _read_segments(files, header, header_name, notes)
    else:
        channels = _read_signals(files, header, header_name, notes)
        simulated = header.simulated
    return recording_from(channels, record_id, "WFDB", notes, simulated=simulated)


def read_header(files: FileSet, header_name: str) -> Header:
    """Parse the header called ``header_name``.

    Parameters
    ----------
    files : FileSet
    header_name : str

    Raises
    ------
    RecordError
        It is missing, is no WFDB header, or contradicts itself.
    """
    file = files.find(header_name)
    if file is None:
        raise UnreadableRecordError(
            f"The header {shown(header_name)} is missing; add it to the other files."
        )
    return parse_header(file.head(MAX_HEADER_BYTES + 1), header_name)


def _read_signals(
    files: FileSet, header: Header, header_name: str, notes: Findings
) -> list[Channel]:
    """All usable channels of a record without segments."""
    # Position in the header -> mV per physical unit, of the channels that are read.
    factors: dict[int, float] = {}
    for index, line in enumerate(header.signals):
        lead = canonical_lead_name(line.name)
        factor = mv_per_unit(line.units)
        if line.fmt == NULL_FORMAT or line.file_name == "~":
            notes.add("Declared but not recorded: {}.", shown(line.name))
        elif factor is None and lead is not None:
            raise UnitsError(
                f"Lead {lead} is in {shown(line.units or '')}, which is not a voltage; "
                "export the recording in mV."
            )
        elif factor is None:
            notes.add("Channels that are not voltages are left out: {}.", shown(line.name))
        else:
            factors[index] = factor
            _note_line(line, lead, notes)
    if not factors:
        raise MissingLeadError(
            f"{shown(header_name)} describes no voltage channel, so there is no ECG lead to read."
        )

    layout = checked_layout(files, header, header_name)
    for sentence in layout.notes:
        notes.add(sentence)
    with tempfile.TemporaryDirectory(prefix="echoing-") as folder:
        digital = _run_wfdb(
            lambda: layout.read_digital(Path(folder)), f"The data of {shown(header_name)}"
        )
    layout.check_channels(digital)
    channels = []
    for index, factor in factors.items():
        line = header.signals[index]
        # Popped, so that the digital samples of a long recording are freed one by one.
        samples = digital.pop(index)
        if layout.has_wrong_checksum(index, samples):
            notes.add(
                "The samples of {} do not add up to the header's checksum; the data file may be "
                "damaged or belong to another recording.",
                canonical_lead_name(line.name) or shown(line.name),
            )
        mv = _to_mv(samples, line, factor, layout.invalid_value(line.fmt))
        channels.append(
            Channel(
                source_name=line.name,
                name=canonical_lead_name(line.name) or shown(line.name),
                fs_hz=header.fs_hz * line.samples_per_frame,
                signal_mv=mv,
                stated=_stated(line),
            )
        )
    return channels


def _stated(line: SignalLine) -> str:
    units = shown(line.units) if line.units else "mV (the WFDB default)"
    if line.gain_assumed:
        return f"no gain given, {line.gain:g} per {units} assumed"
    return f"{line.gain:g} per {units}, baseline {line.baseline}"


def _note_line(line: SignalLine, lead: str | None, notes: Findings) -> None:
    name = lead or shown(line.name)
    if is_modified_limb_lead(line.name):
        notes.add(
            f"Lead {name} is {shown(line.name)}, a modified limb lead taken on the trunk; "
            "its shape differs somewhat from a standard limb lead."
        )
    if line.gain_assumed:
        notes.add(
            "The header gives no gain for {}; WFDB's default of "
            f"{DEFAULT_GAIN:.0f} units per mV is assumed, so amplitudes are uncertain.",
            name,
        )
    elif line.units is None:
        notes.add("The header gives no units for {}; mV, the WFDB default, is assumed.", name)


def _to_mv(
    digital: npt.NDArray[np.integer], line: SignalLine, factor: float, invalid: int
) -> npt.NDArray[np.float32]:
    """mV = (digital - baseline) / gain * factor, and NaN where digital is ``invalid``.

    In blocks: 24 hours in float64 would need twice the memory of the result.
    """
    mv = np.empty(digital.size, dtype=np.float32)
    for start in range(0, digital.size, _CHUNK):
        block = digital[start : start + _CHUNK]
        value = (block.astype(np.float64) - line.baseline) * (factor / line.gain)
        value[block == invalid] = np.nan
        mv[start : start + _CHUNK] = value
    return mv


def _run_wfdb(
    read: Callable[[], dict[int, npt.NDArray[np.integer]]], what: str
) -> dict[int, npt.NDArray[np.integer]]:
    """Run ``read``; whatever it raises becomes one sentence."""
    try:
        return read()
    except RecordError:
        raise
    except MemoryError as exc:
        raise UnreadableRecordError(
            f"{what} need more memory than there is; export a shorter part of the recording."
        ) from exc
    except Exception as exc:
        # wfdb raises KeyError, IndexError, TypeError, ValueError and others for damaged files.
        logger.info("wfdb could not read a record: %s", type(exc).__name__)
        raise UnreadableRecordError(
            f"{what} do not fit the header, or are damaged; copy or export the recording again."
        ) from exc


def _read_segments(
    files: FileSet, header: Header, header_name: str, notes: Findings
) -> tuple[list[Channel], bool]:
    """Channels of a multi-segment record, NaN where a segment or a channel is absent."""
    master = shown(header_name)
    total = sum(segment.n_frames for segment in header.segments)
    if header.n_frames is not None and header.n_frames != total:
        raise UnreadableRecordError(
            f"The header {master} declares {header.n_frames} samples, but its segments add up to "
            f"{total}; export the recording again."
        )
    check_n_values(total, header.n_signals, header.fs_hz, master)
    # All missing segments in one sentence, rather than one after the other.
    missing = [
        s.name
        for s in header.segments
        if s.name != "~" and s.n_frames and files.find(s.name + ".hea") is None
    ]
    if missing:
        raise UnreadableRecordError(
            f"{master} is made of segments, and {len(missing)} of their headers are missing "
            f"({_some(missing)}); give the header and data files of all segments."
        )

    joined: dict[str, Channel] = {}
    simulated = header.simulated
    start = 0
    for segment in header.segments:
        name = segment.name + ".hea"
        # A first segment of length 0 only lists the channels (variable layout).
        if segment.name != "~" and segment.n_frames:
            described = read_header(files, name)
            if described.segments:
                raise UnreadableRecordError(
                    f"Segment {shown(name)} is itself made of segments, which WFDB does not allow."
                )
            if described.n_frames not in (None, segment.n_frames) or (
                abs(described.fs_hz - header.fs_hz) > _FIXED_FS_TOLERANCE * header.fs_hz
            ):
                raise UnreadableRecordError(
                    f"Segment {shown(name)} differs in length or sampling rate from what the "
                    f"header {master} says of it; export the recording again."
                )
            simulated = simulated or described.simulated
            described = replace(described, n_frames=segment.n_frames)
            _join(joined, _read_signals(files, described, name, notes), start, total, header)
        start += segment.n_frames
    if not joined:
        raise SignalQualityError(f"{master} is made of gaps only: no segment holds a signal.")
    return list(joined.values()), simulated


def _join(
    joined: dict[str, Channel], segments: Sequence[Channel], start: int, total: int, header: Header
) -> None:
    """Write the channels of one segment into those of the whole record, by name."""
    for segment in segments:
        per_frame = round(segment.fs_hz / header.fs_hz)
        channel = joined.get(segment.source_name)
        if channel is None:
            check_n_values(total, (len(joined) + 1) * per_frame, header.fs_hz, "of the record")
            gap = np.full(total * per_frame, np.nan, dtype=np.float32)
            fs_hz = header.fs_hz * per_frame
            channel = Channel(segment.source_name, segment.name, fs_hz, gap, segment.stated)
            joined[segment.source_name] = channel
        elif channel.signal_mv.size != total * per_frame:
            raise UnreadableRecordError(
                f"Channel {shown(segment.source_name)} changes its sampling rate between segments; "
                "such records cannot be read."
            )
        first = start * per_frame
        channel.signal_mv[first : first + segment.signal_mv.size] = segment.signal_mv


def _some(names: Sequence[str], n_shown: int = 5) -> str:
    text = ", ".join(shown(n) for n in names[:n_shown])
    return text if len(names) <= n_shown else f"{text} and {len(names) - n_shown} more"
