"""EDF, EDF+ and BDF files to `Recording`.

The header is checked before anything is allocated. The samples are then taken channel by channel
out of the data records, so a day of Holter needs its own size once more and nothing else. The
fields that may tell who the patient is are never looked at.

References
----------
Kemp et al. 1992, Electroenceph Clin Neurophysiol 82:391 (EDF); Kemp & Olivan 2003, Clin
Neurophysiol 114:1755 (EDF+: time stamps of data records, interrupted recordings).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import (
    MAX_DAYS,
    MAX_FS_HZ,
    MAX_MISSING,
    Channel,
    Findings,
    check_size,
    check_unpacked,
    mv_per_unit,
    note_unit,
    readable,
    recording_from,
)
from echoing_core.io.edf_annotations import read_lists
from echoing_core.io.edf_gaps import with_gaps
from echoing_core.io.lead_names import is_eeg, says_ecg, says_other
from echoing_core.io.numbers import NUMBER
from echoing_core.io.sources import SourceFile, let_go, listed, shown
from echoing_core.io.told import NOTHING, Told, channel_leads
from echoing_core.records import Recording

EDF_MARK = b"0       "
BDF_MARK = b"\xffBIOSEMI"

MAX_SIGNALS = 512
MAX_RECORDS = 10_000_000
MAX_UNNAMED = 16
"""Of so many voltages whose names say nothing, a person may say what they are; an EEG has more."""

_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
# Values converted at once: float64 of a whole day would double the memory.
_BLOCK_VALUES = 1 << 20
# Widths in bytes of the fields of a signal; the header stores field by field, not signal by
# signal.
_BLANKS = " \t\r\n\0"
_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15[\d.]*)?\x14")


@dataclass(frozen=True)
class EdfSignal:
    """One signal as the header describes it.

    Attributes
    ----------
    label, units, prefilter : str
    n : int
        Samples in one data record.
    offset : int
        First byte within a data record.
    physical_min, physical_max, digital_min, digital_max : str
        As written; only those of ECG leads have to be numbers.
    """

    label: str
    units: str
    prefilter: str
    n: int
    offset: int
    physical_min: str
    physical_max: str
    digital_min: str
    digital_max: str

    @property
    def is_annotations(self) -> bool:
        return self.label in _ANNOTATIONS


@dataclass(frozen=True)
class EdfHeader:
    """What the header of an EDF or BDF file says, checked.

    Attributes
    ----------
    file_format : str
        ``"EDF"``, ``"EDF+"``, ``"BDF"`` or ``"BDF+"``.
    n_bytes, sample_bytes, record_bytes : int
        Of the header, of a sample, and of a data record.
    record_s : float
        Duration of a data record in seconds.
    n_records : int
        As the file holds, where the header says -1.
    is_interrupted : bool
        Whether there may be gaps between data records (EDF+D).
    signals : tuple of EdfSignal
    n_missing : int
        Data records at the end that the header declares and the file lacks, at most `MAX_MISSING`
        of all.
    longer_than_declared : bool
    """

    file_format: str
    n_bytes: int
    sample_bytes: int
    record_bytes: int
    record_s: float
    n_records: int
    is_interrupted: bool
    signals: tuple[EdfSignal, ...]
    n_missing: int
    longer_than_declared: bool


def is_edf(head: bytes) -> bool:
    """Whether a file begins as EDF or BDF does.

    Parameters
    ----------
    head : bytes
        At least 192 of the first bytes, where the file has them.
    """
    return head.startswith((EDF_MARK, BDF_MARK)) and len(head) >= 192


def parse_edf_header(
    data: bytes, size: int, file_name: str, fs_hz: float | None = None
) -> EdfHeader:
    """Parse and check the header.

    Parameters
    ----------
    data : bytes
        The beginning of the file: 256 bytes, and 256 more for each signal.
    size : int
        Bytes of the whole file.
    file_name : str
    fs_hz : float, optional
        Of the fastest signal, where the file gives no duration for its data records.

    Raises
    ------
    UnreadableRecordError
        Not EDF or BDF, contradictory, cut short, or beyond the limits.
    SamplingRateError
        No usable duration of data records.
    """
    name = shown(file_name)
    if not is_edf(data) or len(data) < 256:
        raise UnreadableRecordError(f"{name} does not begin like an EDF file; export it again.")
    is_bdf = data.startswith(BDF_MARK)
    text = data[8:256].decode("latin-1")
    reserved, stated_bytes = text[184:228].strip(), _whole(text[176:184], name, "header size")
    n_records = _whole(text[228:236], name, "number of data records")
    record_s = _real(text[236:244], name, "duration of data records")
    n_signals = _whole(text[244:248], name, "number of signals")
    if not 1 <= n_signals <= MAX_SIGNALS:
        raise UnreadableRecordError(
            f"{name} declares {n_signals} signals; from 1 to {MAX_SIGNALS} can be read."
        )
    # 256 bytes for the file and for each signal; the stated size must agree, or fields are
    # shifted.
    n_bytes = 256 * (n_signals + 1)
    if stated_bytes != n_bytes or len(data) < n_bytes:
        raise UnreadableRecordError(
            f"The header of {name} is cut short or contradicts itself; export the recording again."
        )
    sample_bytes = 3 if is_bdf else 2
    signals = _signals(data[256:n_bytes].decode("latin-1"), n_signals, sample_bytes, name)
    record_bytes = sum(s.n for s in signals) * sample_bytes
    if record_s <= 0 and fs_hz is not None:
        record_s = max((s.n for s in signals if not s.is_annotations), default=1) / fs_hz
    if record_s <= 0 and any(not s.is_annotations for s in signals):
        raise SamplingRateError(
            f"{name} gives no duration for its data records, so its sampling rate is not known; "
            "export the recording again."
        )
    held = (size - n_bytes) // record_bytes
    if n_records == -1:  # a recorder that was not stopped properly
        n_records = held
    if n_records < 1 or n_records > MAX_RECORDS:
        raise UnreadableRecordError(
            f"{name} holds {max(n_records, 0):,} data records; from 1 to {MAX_RECORDS:,} can be "
            "read."
        )
    # Refused rather than read in part: what is missing may be what the person looks for.
    n_declared = n_records
    if 0 < n_records - held <= MAX_MISSING * n_records:
        n_records = held
    if held < n_records:
        raise UnreadableRecordError(
            f"{name} is cut short: it holds {held * record_s:.1f} s of the "
            f"{n_records * record_s:.1f} s that its header declares; copy or export it again."
        )
    kind = "BDF" if is_bdf else "EDF"
    return EdfHeader(
        file_format=f"{kind}+" if reserved.startswith(("EDF+", "BDF+")) else kind,
        n_bytes=n_bytes,
        sample_bytes=sample_bytes,
        record_bytes=record_bytes,
        record_s=record_s,
        n_records=n_records,
        is_interrupted=reserved.startswith(("EDF+D", "BDF+D")),
        signals=signals,
        n_missing=n_declared - n_records,
        longer_than_declared=size - n_bytes > n_declared * record_bytes,
    )


def _signals(text: str, n: int, sample_bytes: int, name: str) -> tuple[EdfSignal, ...]:
    columns: list[list[str]] = []
    start = 0
    for width in _FIELDS:
        stop = start + width * n
        columns.append([text[i : i + width].strip(_BLANKS) for i in range(start, stop, width)])
        start = stop
    signals = []
    offset = 0
    for i in range(n):
        n_samples = _whole(columns[8][i], name, "number of samples in a data record")
        if not 1 <= n_samples <= 10_000_000:
            raise UnreadableRecordError(
                f"Signal {i + 1} of {name} declares {n_samples} samples in a data record; export "
                "the recording again."
            )
        signals.append(
            EdfSignal(
                label=columns[0][i],
                units=columns[2][i],
                prefilter=columns[7][i],
                n=n_samples,
                offset=offset,
                physical_min=columns[3][i],
                physical_max=columns[4][i],
                digital_min=columns[5][i],
                digital_max=columns[6][i],
            )
        )
        offset += n_samples * sample_bytes
    return tuple(signals)


def read_edf(file: SourceFile) -> Recording:
    """Read one EDF, EDF+ or BDF file.

    Only signals called like ECG leads are read; those of a sleep study would not fit into memory.
    Where an EDF+ recording was interrupted, NaN fills the time between.

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
        One of its children, with one or two sentences saying what is wrong.
    """
    data = file.content()
    n_head = min(file.size, 256 * (MAX_SIGNALS + 1))
    told = file.told or NOTHING
    header = parse_edf_header(bytes(data[:n_head]), file.size, file.name, told.fs_hz)
    name = shown(file.name)
    notes = Findings()
    if header.longer_than_declared:
        notes.add("The file is longer than its header declares; the rest is left out.")
    if header.n_missing:
        notes.add(
            f"The file ends {header.n_missing * header.record_s:g} s before the end that its "
            "header declares."
        )
    wanted = _wanted(header, told, name, notes)
    runs = _runs(data, header, name)
    n_out = runs[-1][0] + runs[-1][2]
    if n_out * header.record_s > MAX_DAYS * 86400:
        raise UnreadableRecordError(
            f"{name} spans more than {MAX_DAYS:.0f} days from its first to its last sample; "
            "export a shorter part."
        )
    # With gaps filled, which may be far more than the file holds.
    total = sum(math.ceil(n_out * signal.n) for signal in wanted)
    check_unpacked(4 * total, file.size, name, gaps=header.is_interrupted)
    check_size(total, 1, max(s.n for s in wanted) * len(wanted) / header.record_s, name)
    for signal, lead in wanted.items():
        note_unit(signal.units, lead or shown(signal.label), notes)
    channels = readable(
        (
            (
                signal.label,
                partial(_channel, data, header, signal, lead, runs, n_out, told, name, notes),
            )
            for signal, lead in wanted.items()
        ),
        notes,
    )
    lists = _annotation_bytes(data, header)
    if not header.is_interrupted and with_gaps(channels, lists):
        notes.add("Gaps are where annotations of the file say that nothing was recorded.")
    first = _ONSET.match(lists)
    said = read_lists(lists, 0.0 if first is None else float(first[1]))
    for start, end, seconds in _gaps(runs, header.record_s):
        notes.add(f"The recording was interrupted for {seconds:.1f} s, from {_clock(start, end)}.")
        # Enough to see how the recording was interrupted.
        if len(notes.by_sentence) > 40:
            notes.add("There are more interruptions than are listed here.")
            break
    stem = file.name.rsplit(".", 1)[0]
    return recording_from(channels, stem, header.file_format, notes, annotations=said)


def _wanted(
    header: EdfHeader, told: Told, name: str, notes: Findings
) -> dict[EdfSignal, str | None]:
    """The signals that are ECG leads, or may be, and the lead of each where it is known."""
    signals = [s for s in header.signals if not s.is_annotations]
    if not signals:
        raise MissingLeadError(
            f"{name} holds annotations only; choose the file that holds the ECG."
        )
    named = {
        signal: lead
        for signal, lead in zip(
            signals, channel_leads([s.label for s in signals], told), strict=True
        )
        if lead is not None
    }
    # A montage of a sleep study has dozens of other signals at other rates.
    wanted = {
        signal: lead.lead
        for signal, lead in named.items()
        if lead.lead or told.every or says_ecg(signal.label)
    }
    doubted = [s for s, lead in named.items() if lead.is_doubted]
    voltages = [s for s in named if mv_per_unit(s.units) is not None and not says_other(s.label)]
    eeg = bool(doubted) or is_eeg([s.label for s in named])
    if not wanted and not eeg and 0 < len(voltages) <= MAX_UNNAMED:
        # Nothing says what it is, so a person has to; signals that are no voltage are not asked.
        wanted = dict.fromkeys(voltages)
    for signal, lead in named.items():
        if signal in wanted:
            if lead.note:
                notes.add(lead.note)
        elif lead.is_doubted:
            notes.add(
                "Called like ECG leads, but other channels are electrodes of an EEG, so they are "
                "taken for such, too: {}.",
                shown(signal.label),
            )
        else:
            notes.add("Signals that are no ECG lead are left out: {}.", shown(signal.label))
    if wanted:
        return wanted
    holds = listed([s.label or "a signal without a name" for s in signals])
    if eeg:
        raise MissingLeadError(
            f"{name} looks like an EEG; it holds: {holds}. If some of these are ECG leads, "
            "say which."
        )
    raise MissingLeadError(
        f"No signal of {name} is called like an ECG lead; it holds: {holds}. "
        "Say which of them is which lead, or name the leads (I, II, V1, ...) where the file is "
        "exported."
    )


def _channel(
    data: object,
    header: EdfHeader,
    signal: EdfSignal,
    lead: str | None,
    runs: Sequence[tuple[float, int, int]],
    n_out: float,
    told: Told,
    name: str,
    notes: Findings,
) -> Channel:
    """One signal in mV, NaN between runs."""
    low, high = (_real(v, name, "range") for v in (signal.digital_min, signal.digital_max))
    bottom, top = (_real(v, name, "range") for v in (signal.physical_min, signal.physical_max))
    if low == high or bottom == top:
        raise UnitsError(
            f"{name} gives no usable gain for {shown(signal.label)} (its smallest and largest "
            "value are equal); export the recording again."
        )
    if "," in signal.physical_min + signal.physical_max:
        notes.add("Decimal commas in the header were read as points.")
    factor = told.mv_per_number or mv_per_unit(signal.units)
    if factor is None:
        given = f"in {shown(signal.units)}" if signal.units else "without a unit"
        raise UnitsError(
            f"{f'Lead {lead}' if lead else shown(signal.label)} of {name} is {given}, which is not "
            "a voltage; say the unit of its numbers, or export the recording in mV or uV."
        )
    # May be negative: some recorders store leads upside down and say so by it.
    gain = (top - bottom) / (high - low)
    fs_hz = signal.n / header.record_s
    if not 0 < fs_hz <= MAX_FS_HZ:
        raise SamplingRateError(
            f"{shown(signal.label)} of {name} has a sampling rate of {fs_hz:g} Hz; a number above "
            f"0 and up to {MAX_FS_HZ:.0f} is needed."
        )
    mv = np.full(round(n_out * signal.n), np.nan, dtype=np.float32)
    # First sample of each run on the signal's own clock.
    starts = np.rint(np.array([place for place, _, _ in runs]) * signal.n).astype(np.int64)
    firsts = np.array([first for _, first, _ in runs])
    step = max(1, _BLOCK_VALUES // signal.n)
    for begin in range(0, header.n_records, step):
        count = min(step, header.n_records - begin)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            values = (_digital(data, header, signal, begin, count) - low) * gain + bottom
            values *= factor
        records = np.arange(begin, begin + count)
        run = np.searchsorted(firsts, records, side="right") - 1
        at = starts[run] + (records - firsts[run]) * signal.n
        if run[0] == run[-1]:
            mv[at[0] : at[0] + values.size] = values
        else:
            # All at once, as there may be a gap after every record.
            mv[at[:, None] + np.arange(signal.n)] = values.reshape(count, signal.n)
        let_go(data)
    if not np.isfinite(mv[~np.isnan(mv)]).all():
        raise UnitsError(
            f"The range of {shown(signal.label)} in {name} is no ECG's; export it again."
        )
    stated = f"{abs(gain):.4g} {signal.units} per unit"
    if signal.prefilter:
        stated += f", filters {signal.prefilter}"
    return Channel(signal.label, lead or shown(signal.label), fs_hz, mv, shown(stated))


def _digital(
    data: object, header: EdfHeader, signal: EdfSignal, first: int, count: int
) -> npt.NDArray[np.float64]:
    """Digital values of one signal in ``count`` data records."""
    # A view of the file: one row a data record, all signals one after the other in it.
    records = np.frombuffer(
        data,  # type: ignore[call-overload]
        dtype=np.uint8,
        count=count * header.record_bytes,
        offset=header.n_bytes + first * header.record_bytes,
    ).reshape(count, header.record_bytes)
    samples = records[:, signal.offset : signal.offset + signal.n * header.sample_bytes]
    samples = np.ascontiguousarray(samples)
    # EDF stores 16 bits, BDF 24.
    if header.sample_bytes == 2:
        return samples.view("<i2").ravel().astype(np.float64)
    triples = samples.reshape(-1, 3).astype(np.int32)
    # The highest of the three bytes carries the sign.
    value = triples[:, 0] | triples[:, 1] << 8 | ((triples[:, 2] ^ 0x80) - 0x80) << 16
    return value.astype(np.float64)


def _runs(data: object, header: EdfHeader, name: str) -> list[tuple[float, int, int]]:
    """Runs without interruption: start in data records, first record, number of records."""
    if not header.is_interrupted:
        return [(0.0, 0, header.n_records)]
    # The first annotation of each data record is the time at which it begins (EDF+ 2.2.4).
    stamps = next((s for s in header.signals if s.is_annotations), None)
    if stamps is None:
        raise UnreadableRecordError(
            f"{name} was interrupted, but does not say when; export the recording again."
        )
    size = stamps.n * header.sample_bytes
    # Contiguous first: a slice of the map for each record takes most of the time.
    raw = _bytes_of(data, header, stamps)
    onset_s = np.array(
        [_onset(raw[i * size : (i + 1) * size], i, name) for i in range(header.n_records)],
        dtype=np.float64,
    )
    onset_s -= onset_s[0]
    # Clocks may be written with fewer digits than a sample is short: what is off by less than a
    # sample of the fastest signal goes on without a gap.
    tolerance_s = header.record_s / max(s.n for s in header.signals if not s.is_annotations)
    step_s = np.diff(onset_s)
    if (step_s < header.record_s - tolerance_s).any():
        raise UnreadableRecordError(
            f"The data records of {name} overlap in time or are out of order; export it again."
        )
    # Longer steps than a record are gaps; shorter ones were refused above.
    starts = np.flatnonzero(step_s > header.record_s + tolerance_s) + 1
    edges = [0, *starts.tolist(), header.n_records]
    return [(float(onset_s[a]) / header.record_s, a, b - a) for a, b in itertools.pairwise(edges)]


def _onset(raw: bytes, index: int, name: str) -> float:
    """Seconds at which a data record begins: its first annotation."""
    match = _ONSET.match(raw)
    if match is None:
        raise UnreadableRecordError(
            f"Data record {index + 1} of {name} does not say when it begins; export it again."
        )
    return float(match[1])


def _annotation_bytes(data: object, header: EdfHeader) -> bytes:
    """The annotations of all data records, one after the other."""
    signals = (signal for signal in header.signals if signal.is_annotations)
    return b"".join(_bytes_of(data, header, signal) for signal in signals)


def _bytes_of(data: object, header: EdfHeader, signal: EdfSignal) -> bytes:
    """The bytes of one signal in all data records."""
    records = np.frombuffer(
        data,  # type: ignore[call-overload]
        dtype=np.uint8,
        count=header.n_records * header.record_bytes,
        offset=header.n_bytes,
    ).reshape(header.n_records, header.record_bytes)
    stop = signal.offset + signal.n * header.sample_bytes
    return bytes(records[:, signal.offset : stop].tobytes())


def _gaps(
    runs: Sequence[tuple[float, int, int]], record_s: float
) -> list[tuple[float, float, float]]:
    ends = [(place + n) * record_s for place, _, n in runs]
    starts = [place * record_s for place, _, _ in runs]
    return [(a, b, b - a) for a, b in zip(ends[:-1], starts[1:], strict=True)]


def _clock(start_s: float, end_s: float) -> str:
    def words(seconds: float) -> str:
        whole = int(seconds)
        return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"

    return f"{words(start_s)} to {words(end_s)}"


def _whole(text: str, name: str, what: str) -> int:
    text = text.strip(_BLANKS)
    if not re.fullmatch(r"[-+]?\d{1,8}", text, re.ASCII):
        raise UnreadableRecordError(
            f"The header of {name} gives {shown(text) or 'nothing'} as the {what}; a whole number "
            "is needed."
        )
    return int(text)


def _real(text: str, name: str, what: str) -> float:
    # Recorders in Europe write decimals with a comma; a field has no room for thousands.
    text = text.strip(_BLANKS).replace(",", ".", 1)
    if not NUMBER.fullmatch(text):
        raise UnreadableRecordError(
            f"The header of {name} gives {shown(text) or 'nothing'} as the {what}; a number is "
            "needed."
        )
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableRecordError(
            f"The header of {name} gives a {what} without end; export the recording again."
        )
    return value
