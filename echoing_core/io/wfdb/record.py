"""WFDB records to `Recording`.

The header is checked first (`wfdb.header`). Then the signals are read from the bytes of the data
files (`wfdb.data`), in memory: nothing of an upload is written anywhere, and nothing that came with
the record names a file or reaches a log.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    RecordError,
    SignalQualityError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import (
    Channel,
    Findings,
    array_of,
    check_unpacked,
    mv_per_unit,
    note_unit,
    recording_from,
)
from echoing_core.io.lead_names import NamedLead, may_be_ecg, says_ecg
from echoing_core.io.sources import FileSet, shown
from echoing_core.io.stored import StoredFrames, StoredRow
from echoing_core.io.told import NOTHING, Told, channel_leads
from echoing_core.io.wfdb.annotations import beside_record
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

_CHUNK = 1 << 14
# Headers write rates with few digits; 1e-6 of a day is less than a tenth of a second.
_FIXED_FS_TOLERANCE = 1e-6


def read_wfdb(
    files: FileSet, header_name: str, told: Told = NOTHING, *, stay_stored: bool = False
) -> Recording:
    """Read one WFDB record.

    Parameters
    ----------
    files : FileSet
        Where its header and its data files are.
    header_name : str
        File name of the header (of the master header where there are segments).
    told : Told, optional
        What a person says of its channels.
    stay_stored : bool
        A long record in format 16 stays in its file (`StoredSignal`).

    Returns
    -------
    Recording
        Millivolts; gaps and a test pattern at the start are NaN.

    Raises
    ------
    RecordError
        One of its children, with one or two sentences saying what is wrong.
    """
    header = read_header(files, header_name, told)
    return read_described(files, header, header_name, told, stay_stored=stay_stored)


def read_described(
    files: FileSet,
    header: Header,
    header_name: str,
    told: Told = NOTHING,
    *,
    stay_stored: bool = False,
) -> Recording:
    """Read one WFDB record by a header that was parsed already; see `read_wfdb`.

    Parameters
    ----------
    files : FileSet
    header : Header
    header_name : str
        File name of the header, which gives the record its id.
    told : Told, optional
    stay_stored : bool

    Raises
    ------
    RecordError
        As for `read_wfdb`.
    """
    record_id = header_name[: -len(".hea")]
    notes = Findings()
    if header.segments:
        channels, simulated = _read_segments(files, header, header_name, told, notes)
    else:
        channels = _read_signals(files, header, header_name, told, notes)
        simulated = header.simulated
    said = beside_record(files, header_name, header.fs_hz)
    return recording_from(
        channels,
        record_id,
        "WFDB",
        notes,
        simulated=simulated,
        annotations=said,
        stay_stored=stay_stored,
    )


def read_header(files: FileSet, header_name: str, told: Told = NOTHING) -> Header:
    """Parse the header called ``header_name``.

    Parameters
    ----------
    files : FileSet
    header_name : str
    told : Told, optional
        Its sampling rate holds where the header gives none.

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
    return parse_header(file.head(MAX_HEADER_BYTES + 1), header_name, told.fs_hz)


def _read_signals(
    files: FileSet, header: Header, header_name: str, told: Told, notes: Findings
) -> list[Channel]:
    """All usable channels of a record without segments."""
    # Position in the header -> mV per physical unit, of the channels that are read.
    factors: dict[int, float] = {}
    refused: dict[int, RecordError] = {}
    leads = channel_leads([line.name for line in header.signals], told)
    for index, line in enumerate(header.signals):
        lead = leads[index]
        factor = told.mv_per_number or mv_per_unit(line.units)
        if lead is None:
            continue
        if line.fmt == NULL_FORMAT or line.file_name == "~":
            notes.add("Declared but not recorded: {}.", shown(line.name))
        elif line.problem or (factor is None and (lead.lead or says_ecg(line.name))):
            problem = line.problem or (
                f"{f'Lead {lead.lead}' if lead.lead else shown(line.name)} is in "
                f"{shown(line.units or '')}, which is not a voltage; "
                "say the unit of its numbers, or export the recording in mV."
            )
            refused[index] = UnreadableRecordError(problem) if line.problem else UnitsError(problem)
        elif factor is None:
            notes.add("Channels that are not voltages are left out: {}.", shown(line.name))
        else:
            factors[index] = factor
            note_unit(line.units or "mV", lead.lead or shown(line.name), notes)
            _note_line(line, lead, told, notes)
    may_be = [index for index in refused if may_be_ecg(header.signals[index].name)]
    if refused and (not factors or (may_be and not any(_has_lead(leads[i]) for i in factors))):
        raise next(iter(refused.values()))
    for index, error in refused.items():
        name = header.signals[index].name.replace("{", "(").replace("}", ")")
        notes.add(f"{shown(name)} is left out. {error}")
    if not factors:
        raise MissingLeadError(
            f"{shown(header_name)} describes no voltage channel, so there is no ECG lead to read."
        )

    if header.n_lines_left:
        notes.add("Text after the lines of the signals in the header is left unread.")
    layout = checked_layout(files, header, header_name)
    for sentence in layout.notes:
        notes.add(sentence)
    stored = layout.stored_frames()
    digital: dict[int, npt.NDArray[np.integer]] = {}
    if stored is None:
        digital = _decoded(layout.read_digital, f"The data of {shown(header_name)}")
        layout.check_channels(digital)
    columns = layout.data_files[0].indices
    channels = []
    for index, factor in factors.items():
        line = header.signals[index]
        if layout.has_wrong_checksum(
            index, functools.partial(_total, index, digital, stored, columns)
        ):
            notes.add(
                "The samples of {} do not add up to the header's checksum; the data file may be "
                "damaged or belong to another recording.",
                _name(line, leads[index]),
            )
        # Without a gain, the numbers that a person speaks of are the file's own.
        factor *= line.gain if told.unit and line.gain_assumed else 1.0
        invalid = layout.invalid_value(line.fmt)
        mv: npt.NDArray[np.float32] | StoredRow
        if stored is None:
            # Popped, so that the digital samples of a long recording are freed one by one.
            mv = _to_mv(digital.pop(index), line, factor, invalid)
        else:
            to_mv = functools.partial(_to_mv, line=line, factor=factor, invalid=invalid)
            mv = StoredRow(stored, columns.index(index), to_mv)
        channels.append(
            Channel(
                source_name=line.name,
                name=_name(line, leads[index]),
                fs_hz=header.fs_hz * line.samples_per_frame,
                signal_mv=mv,
                stated=_stated(line),
            )
        )
    return channels


def _total(
    index: int,
    digital: dict[int, npt.NDArray[np.integer]],
    stored: StoredFrames | None,
    columns: Sequence[int],
) -> int:
    """Sum of the digital samples of one signal."""
    if stored is None:
        return int(digital[index].sum(dtype=np.int64))
    return int(stored.sums[columns.index(index)])


def _stated(line: SignalLine) -> str:
    units = shown(line.units) if line.units else "mV (the WFDB default)"
    if line.gain_assumed:
        return f"no gain given, {line.gain:g} per {units} assumed"
    return f"{line.gain:g} per {units}, baseline {line.baseline:g}"


def _has_lead(lead: NamedLead | None) -> bool:
    return lead is not None and lead.lead is not None


def _name(line: SignalLine, lead: NamedLead | None) -> str:
    if lead is not None and lead.lead:
        return lead.lead
    own = shown(line.name)
    # A name that is a lead's, and doubted, must not be taken for one later.
    return f"{own} (EEG)" if lead is not None and lead.is_doubted else own


def _note_line(line: SignalLine, lead: NamedLead, told: Told, notes: Findings) -> None:
    name = _name(line, lead)
    if lead.note:
        notes.add(lead.note)
    if lead.is_doubted:
        notes.add(
            "Called like an ECG lead, but other channels are electrodes of an EEG, so it is taken "
            "for such, too: {}.",
            shown(line.name),
        )
    if told.unit:
        return
    if line.gain_assumed:
        notes.add(
            "The header gives no gain for {}; WFDB's default of "
            f"{DEFAULT_GAIN:.0f} units per mV is assumed, so amplitudes are uncertain.",
            name,
        )
    elif line.units is None:
        notes.add("The header gives no units for {}; mV, the WFDB default, is assumed.", name)


def _to_mv(
    digital: npt.NDArray[np.integer], line: SignalLine, factor: float, invalid: int | None
) -> npt.NDArray[np.float32]:
    """mV = (digital - baseline) / gain * factor, and NaN where digital is ``invalid``.

    In blocks that stay in the processor's cache, in float64.
    """
    mv = np.empty(digital.size, dtype=np.float32)
    for start in range(0, digital.size, _CHUNK):
        block = digital[start : start + _CHUNK]
        value = block.astype(np.float64)
        value -= line.baseline
        value *= factor / line.gain
        if invalid is not None:
            value[block == invalid] = np.nan
        mv[start : start + _CHUNK] = value
    return mv


def _decoded(
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
        # libsndfile has errors of its own for damaged FLAC, and NumPy for what does not fit.
        logger.info("the data of a record could not be decoded: %s", type(exc).__name__)
        raise UnreadableRecordError(
            f"{what} do not fit the header, or are damaged; copy or export the recording again."
        ) from exc


def _read_segments(
    files: FileSet, header: Header, header_name: str, told: Told, notes: Findings
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
    # A gap of a month takes a line.
    recorded = sum(segment.n_frames for segment in header.segments if segment.name != "~")
    check_unpacked(4 * total * header.n_signals, 4 * recorded * header.n_signals, master, gaps=True)
    names = [s.name.lower() for s in header.segments if s.name != "~" and s.n_frames]
    if len(set(names)) < len(names):
        # Else a few bytes a line would read the same file again and again.
        raise UnreadableRecordError(
            f"{master} names one segment more than once, which no recorder does; export the "
            "recording again."
        )
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
            described = read_header(files, name, told)
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
            _join(joined, _read_signals(files, described, name, told, notes), start, total, header)
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
        array_of(channel)[first : first + segment.signal_mv.size] = segment.signal_mv[:]


def _some(names: Sequence[str], n_shown: int = 5) -> str:
    text = ", ".join(shown(n) for n in names[:n_shown])
    return text if len(names) <= n_shown else f"{text} and {len(names) - n_shown} more"
