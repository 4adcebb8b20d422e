"""Channels on their way from a file to a `Recording`: units, names, clocks, doubtful stretches.

Every reader ends in `recording_from`, so that what is doubtful about a recording is noticed and
said alike for all formats: amplitudes that no ECG has, and the flat or two-valued run with which
some recorders begin. Recordings of the MUSIC study start with about 10 s in which every channel
alternates between the digital values 0 and 1; a model that reads the first window would read it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    RecordError,
    SamplingRateError,
    SignalQualityError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.annotations import Gathered
from echoing_core.io.lead_names import canonical_lead_name, may_be_ecg
from echoing_core.io.sources import shown
from echoing_core.io.stored import StoredRow, StoredSignal
from echoing_core.records import NO_ANNOTATIONS, Recording

MOST_RATIO, _SMALL_BYTES = 100, 64 * 1024**2
"""Of numbers in memory to what they are in a packed file, once it is not small: an ECG has 2 to 20.
"""

MAX_VALUES = 600_000_000
"""Largest number of sample values in one record: 2.4 GB of float32, 24 h of 12 leads at 500 Hz."""

MAX_FS_HZ = 10_000.0
"""Ten times what research recorders of ECGs use."""

MAX_MISSING = 0.01
"""Share at the end of a recording that may be missing against what its header declares; it is
noted. More is refused, since what is missing may be what the person looks for."""

MAX_DAYS = 31.0
"""Longest time from the first to the last sample of a recording, gaps included."""

_MV_PER_VOLT_WITH = {
    "": 1e3,
    "m": 1.0, "milli": 1.0, "mili": 1.0,
    "u": 1e-3, "μ": 1e-3, "micro": 1e-3, "mikro": 1e-3, "mc": 1e-3,
    "n": 1e-6, "nano": 1e-6,
}  # fmt: skip
"""Millivolts in one volt with this prefix."""

# A micro sign in UTF-8 or in a DOS code page, read as Latin-1, and what programs make of it
# where they know ASCII only. A question mark is none of these: it may stand for any letter.
_MICRO_SPELLINGS = ("Âµ", "Â\u03bc", "Î¼", "æ", "Au", "\u00b5", "\u03bc")
_VOLTAGE = re.compile(r"([a-zμ]*?)v(?:olts?)?")
_PLAIN_UNITS = ("mv", "uv", "μv", "v", "nv", "microvolt", "microvolts", "millivolt", "millivolts")

IMPLAUSIBLE_MV = 1_000.0
"""No electrode on the skin gives a volt; such values are raw counts or another unit."""

SUSPICIOUS_MV = 50.0
"""More than any ECG, but amplifiers show it when an electrode comes off."""

SWING_MV = 100.0
"""A lead that swings by this much wherever one looks holds no ECG in mV: a QRS reaches 10 mV at
most, and a low one in microvolts is 200 of them. An electrode that is off does so for a while."""

# A beat fits in; drift of the baseline stays small.
_SWING_S = 2.0
_N_SWINGS = 60

# An evenly spaced sample of a day decides as well as all of it, in a hundredth of the time.
_MAX_CHECKED = 200_000

MIN_PATTERN_S = 2.0
"""A shorter run at the start is left in the recording."""

MIN_PULSE_S, MAX_PULSE_S = 0.05, 1.0
"""How long the 1 mV of a calibration lasts; 0.2 s where it is drawn at 25 mm/s."""

_MIN_CALIBRATION_S = 0.1
_SAME_MV = 0.0055
# Recorders write 1 mV to within a few units of their converter.
_PULSE_MV = (0.95, 1.05)


@dataclass(eq=False)
class Channel:
    """One channel of one segment in mV, at its own rate.

    Attributes
    ----------
    source_name : str
        As the file spells it.
    name : str
        The lead, or the file's own name for a channel that is none.
    fs_hz : float
    signal_mv : ndarray, shape (n_times,), float32
        NaN where nothing was measured. Of a long record it may be a `StoredRow`.
    stated : str
        What the file says of it, for people: unit, gain, filters.
    """

    source_name: str
    name: str
    fs_hz: float
    signal_mv: npt.NDArray[np.float32] | StoredRow
    stated: str = ""


@dataclass
class Findings:
    """Notes on a record, each sentence once, with the leads that it holds for.

    Attributes
    ----------
    by_sentence : dict of str to list of str
        Sentence, with ``{}`` where its leads go -> leads.
    """

    by_sentence: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sentence: str, lead: str = "") -> None:
        """Note a sentence, or one more lead for a sentence that was noted before.

        Parameters
        ----------
        sentence : str
            ``{}`` in it stands for the leads.
        lead : str, optional
        """
        leads = self.by_sentence.setdefault(sentence, [])
        if lead and lead not in leads:
            leads.append(lead)

    def sentences(self, all_leads: Sequence[str]) -> tuple[str, ...]:
        """The notes, with "all leads" for what holds for each of three or more.

        Parameters
        ----------
        all_leads : sequence of str
            Of the recording as it is returned.
        """

        def listed(leads: list[str]) -> str:
            every = len(leads) > 2 and set(leads) >= set(all_leads)
            return "all leads" if every else ", ".join(leads)

        return tuple(s.replace("{}", listed(leads)) for s, leads in self.by_sentence.items())


def array_of(channel: Channel) -> npt.NDArray[np.float32]:
    """The signal of a channel whose reader gave it as an array.

    Parameters
    ----------
    channel : Channel

    Returns
    -------
    ndarray, shape (n_times,), float32
    """
    assert isinstance(channel.signal_mv, np.ndarray)
    return channel.signal_mv


def name_once(channels: Sequence[Channel], notes: Findings) -> list[Channel]:
    """Each name once: the first of two channels for one lead stays.

    Parameters
    ----------
    channels : sequence of Channel
        A channel that is no lead gets a number if its name is taken.
    notes : Findings
    """
    by_name: dict[str, Channel] = {}
    for channel in channels:
        if channel.name not in by_name:
            by_name[channel.name] = channel
            continue
        if canonical_lead_name(channel.name):
            used = by_name[channel.name].source_name
            notes.add(
                f"Two channels hold lead {channel.name}; {shown(used)} "
                f"is used and {shown(channel.source_name)} is left out."
            )
            continue
        number = 2
        while f"{channel.name} ({number})" in by_name:
            number += 1
        channel.name = f"{channel.name} ({number})"
        by_name[channel.name] = channel
    return list(by_name.values())


def one_clock(
    channels: Sequence[Channel], notes: Findings
) -> tuple[npt.NDArray[np.float32] | StoredSignal, float, list[Channel]]:
    """All leads at the rate of the fastest lead, as one array.

    Parameters
    ----------
    channels : sequence of Channel
        Leads that are slower are interpolated, other channels of another rate left out.
    notes : Findings

    Returns
    -------
    signal_mv : ndarray, shape (n_channels, n_times), float32
        Stays stored where all channels are, and of one rate.
    fs_hz : float
    channels : list of Channel
        Those of the rows; their signals are views of ``signal_mv``.
    """
    leads = [c for c in channels if canonical_lead_name(c.name)] or list(channels)
    fastest = max(leads, key=lambda c: c.fs_hz)
    n_times = fastest.signal_mv.size
    stored = [c.signal_mv for c in channels if isinstance(c.signal_mv, StoredRow)]
    if len(stored) == len(channels) and all(c.fs_hz == fastest.fs_hz for c in channels):
        return StoredSignal(tuple(stored)), fastest.fs_hz, list(channels)
    taken: list[Channel] = []
    for channel in channels:
        if channel.fs_hz == fastest.fs_hz:
            taken.append(channel)
        elif channel in leads:
            notes.add(
                f"Recorded more slowly and interpolated to {fastest.fs_hz:g} Hz: {{}}.",
                channel.name,
            )
            # Times in samples of the slow channel; both clocks start together. np.interp
            # spreads a NaN over the two neighbouring intervals, which is what a gap needs.
            times = np.arange(n_times) * (channel.fs_hz / fastest.fs_hz)
            slow = channel.signal_mv[:]
            channel.signal_mv = np.interp(times, np.arange(slow.size), slow).astype(np.float32)
            taken.append(channel)
        else:
            notes.add("Channels with another sampling rate are left out: {}.", channel.name)
    signal_mv = np.empty((len(taken), n_times), dtype=np.float32)
    for row, channel in zip(signal_mv, taken, strict=True):
        row[:] = channel.signal_mv[:]
        channel.signal_mv = row  # frees the copy
    return signal_mv, fastest.fs_hz, taken


def readable(reads: Iterable[tuple[str, Callable[[], Channel]]], notes: Findings) -> list[Channel]:
    """The channels that can be read; one that is damaged does not spoil the others.

    Parameters
    ----------
    reads : iterable of (str, callable)
        Name of a channel, and what reads it or raises a `RecordError`.
    notes : Findings
        What was left out, and why.

    Raises
    ------
    RecordError
        The first refusal, where no lead is left and the channel refused may have been one.
    """
    channels: list[Channel] = []
    refused: list[tuple[str, RecordError]] = []
    for name, read in reads:
        try:
            channels.append(read())
        except RecordError as error:
            refused.append((name, error))
    has_lead = any(canonical_lead_name(channel.name) for channel in channels)
    if refused and not has_lead and (not channels or any(may_be_ecg(n) for n, _ in refused)):
        raise refused[0][1]
    for name, why in refused:
        notes.add(f"{_no_braces(name)} is left out. {_no_braces(str(why))}")
    return channels


def _no_braces(text: str) -> str:
    # Braces would be taken for the place of leads in a note.
    return text.replace("{", "(").replace("}", ")")


def check_size(n_times: int, n_channels: int, fs_hz: float, name: str) -> None:
    """Refuse recordings that would not fit into memory.

    Raises
    ------
    UnreadableRecordError
        If ``n_times * n_channels`` is above ``MAX_VALUES``.
    """
    if n_times * n_channels > MAX_VALUES:
        raise UnreadableRecordError(
            f"{shown(name)} holds {n_channels} channels of {n_times / fs_hz / 3600:,.0f} hours, "
            "more than can be read at once; export a shorter part."
        )


def check_rate(fs_hz: float, name: str) -> None:
    """Refuse a sampling rate that no ECG has.

    Parameters
    ----------
    fs_hz : float
        As a file gives it, NaN included.
    name : str
        Of the file, fit for a message.

    Raises
    ------
    SamplingRateError
        If it is not above 0 and up to ``MAX_FS_HZ``.
    """
    if not 0 < fs_hz <= MAX_FS_HZ:
        raise SamplingRateError(
            f"{name} gives a sampling rate of {fs_hz:g} Hz; a number above 0 and up to "
            f"{MAX_FS_HZ:.0f} is needed."
        )


def check_unpacked(n_bytes: int, packed: int, name: str, *, gaps: bool = False) -> None:
    """Refuse numbers that take far more memory than a packed ECG of their size becomes.

    What repeats can be packed a thousandfold, and nothing that a file declares has to be true of
    more than a few of its bytes.

    Parameters
    ----------
    n_bytes : int
        In memory.
    packed : int
        In the file.
    name : str
        Of the file, for the message.
    gaps : bool
        It is the time between its parts that takes the memory.

    Raises
    ------
    UnreadableRecordError
    """
    if n_bytes > max(_SMALL_BYTES, MOST_RATIO * packed):
        if gaps:
            raise UnreadableRecordError(
                f"{name} is nearly all gaps: with the time between its parts it would be more than "
                f"{MOST_RATIO} times as long as what was recorded. Export the parts one by one."
            )
        raise UnreadableRecordError(
            f"{name} would unpack to more than {MOST_RATIO} times its size, which no ECG does; "
            "export a shorter part, or in another format."
        )


def check_span(span_s: float, name: str) -> None:
    """Refuse a recording whose parts lie too far apart: the gaps between take memory, too.

    Parameters
    ----------
    span_s : float
        Seconds from the first to the last sample.
    name : str
        Of the file, fit for a message.

    Raises
    ------
    UnreadableRecordError
        If it is above ``MAX_DAYS``.
    """
    if span_s > MAX_DAYS * 86400:
        raise UnreadableRecordError(
            f"{name} spans more than {MAX_DAYS:.0f} days; export a shorter part."
        )


def recording_from(
    channels: Sequence[Channel],
    record_id: str,
    file_format: str,
    notes: Findings,
    *,
    simulated: bool = False,
    annotations: Gathered | None = None,
    stay_stored: bool = False,
) -> Recording:
    """The channels of a file as a `Recording`: one clock, each name once, the start looked at.

    Parameters
    ----------
    channels : sequence of Channel
        At least one; those of one rate have one length. Their arrays may be changed.
    record_id : str
        From the file's name.
    file_format : str
        As a person would call it.
    notes : Findings
        What the reader found so far.
    annotations : Gathered, optional
        What the file says of beats, rhythm and findings.
    stay_stored : bool
        Channels that are stored stay so; else the recording holds an array.

    Raises
    ------
    SignalQualityError
        If nothing was measured, or all of it is flat.
    UnitsError
        If an amplitude cannot be an ECG's.
    """
    channels = name_once(channels, notes)
    signal_mv, fs_hz, channels = one_clock(channels, notes)

    leads = [c for c in channels if canonical_lead_name(c.name)] or channels
    rows = [c.signal_mv for c in leads]
    # Leads decide; a respiration channel that was measured is no ECG.
    if all(_is_empty(row) for row in rows):
        raise SignalQualityError(
            f"{shown(record_id)} holds no measured sample: every lead is a gap from start "
            "to end; choose another recording."
        )
    # Only at the start: a lead that goes flat later is judged by the quality index, not hidden
    # here.
    n_pattern = start_pattern_length(rows, fs_hz)
    if n_pattern == signal_mv.shape[1]:
        raise SignalQualityError(
            f"Every lead of {shown(record_id)} is flat or a test pattern from start to end; "
            "choose another recording."
        )
    if n_pattern:
        signal_mv = _blanked(signal_mv, 0, n_pattern, leads)
        notes.add(
            f"The first {n_pattern / fs_hz:.1f} s are flat or a test pattern in every lead "
            "and are treated as not measured."
        )
    impossible: list[tuple[Channel, UnitsError]] = []
    any_doubtful = False
    for start, stop in calibration_pulses([c.signal_mv for c in leads], fs_hz):
        signal_mv = _blanked(signal_mv, start, stop, leads)
        where = f"first {stop / fs_hz:.2g}" if start == 0 else f"last {(stop - start) / fs_hz:.2g}"
        notes.add(
            f"The {where} s are a calibration pulse of 1 mV, alike in every lead, and are treated "
            "as not measured."
        )
    for channel in leads:
        try:
            doubtful = is_doubtful_amplitude(channel.signal_mv, channel.name, fs_hz)
        except UnitsError as error:
            impossible.append((channel, error))
            continue
        any_doubtful = any_doubtful or doubtful
        if doubtful:
            notes.add(
                f"Amplitudes above {SUSPICIOUS_MV:.0f} mV, far more than an ECG, in {{}}: "
                "a lead was off, or the gain or units in the header are wrong.",
                channel.name,
            )
    if impossible:
        # One lead among sound ones is damaged itself; of most, or beside others that are far too
        # large, it is the unit.
        if any_doubtful or 2 * len(impossible) > len(leads):
            raise impossible[0][1]
        for channel, why in impossible:
            notes.add(f"{channel.name} is left out. {_no_braces(str(why))}")
        out = {id(channel) for channel, _ in impossible}
        kept = [i for i, channel in enumerate(channels) if id(channel) not in out]
        signal_mv, channels = signal_mv[kept], [channels[i] for i in kept]
    if isinstance(signal_mv, StoredSignal) and not stay_stored:
        signal_mv = np.asarray(signal_mv)
    said = NO_ANNOTATIONS
    if annotations is not None:
        said = annotations.done(signal_mv.shape[1] / fs_hz)
        if annotations.n_dropped:
            notes.add(
                f"Annotations outside the recording, unknown or too many are left out: "
                f"{annotations.n_dropped:,}."
            )
    return Recording(
        # A recording is read as an array is, whichever of the two it holds.
        signal_mv=cast("npt.NDArray[np.float32]", signal_mv),
        fs_hz=fs_hz,
        lead_names=tuple(c.name for c in channels),
        record_id=shown(record_id),
        source_names=tuple(shown(c.source_name) for c in channels),
        notes=notes.sentences([c.name for c in channels]),
        file_format=file_format,
        simulated=simulated,
        stated=tuple(c.stated for c in channels),
        annotations=said,
    )


def _is_empty(row: npt.NDArray[np.float32] | StoredRow) -> bool:
    step = 1 << 20
    blocks = (row[start : start + step] for start in range(0, row.size, step))
    return all(bool(np.isnan(block).all()) for block in blocks)


def _blanked(
    signal_mv: npt.NDArray[np.float32] | StoredSignal, start: int, stop: int, leads: list[Channel]
) -> npt.NDArray[np.float32] | StoredSignal:
    """A stretch counts as not measured, in the array and in the channels of the leads."""
    if not isinstance(signal_mv, StoredSignal):
        signal_mv[:, start:stop] = np.nan
        return signal_mv
    old = {id(row): i for i, row in enumerate(signal_mv.rows)}
    blanked = signal_mv.blanked(start, stop)
    for channel in leads:
        channel.signal_mv = blanked.rows[old[id(channel.signal_mv)]]
    return blanked


def mv_per_unit(units: str | None) -> float | None:
    """Millivolts in one ``units``; None where ``units`` is no voltage.

    Parameters
    ----------
    units : str or None
        As the header spells it, upper and lower case alike (real headers hold ``mv``).
        None means that the header gives none, and then WFDB's default, mV, holds.
    """
    if units is None:
        return 1.0
    prefix = _prefix(units)
    return None if prefix is None else _MV_PER_VOLT_WITH.get(prefix)


def note_unit(units: str, lead: str, notes: Findings) -> None:
    """Note a unit that is spelled in a way that had to be understood.

    Parameters
    ----------
    units : str
        A voltage, as the file spells it.
    lead : str
    notes : Findings
    """
    factor = mv_per_unit(units)
    # NFKC turns the micro sign U+00B5 into the Greek mu U+03BC.
    if factor is None or unicodedata.normalize("NFKC", units).strip().lower() in _PLAIN_UNITS:
        return
    word = {1e3: "V", 1.0: "mV", 1e-3: "uV", 1e-6: "nV"}[factor]
    spelled = shown(units).replace("{", "(").replace("}", ")")
    notes.add(f"The unit {spelled} is read as {word}, in {{}}.", lead)


def _prefix(units: str) -> str | None:
    """What stands before "volt" in a unit; None where it is no voltage."""
    text = units.strip(" ()[].\0")
    for spelling in _MICRO_SPELLINGS:
        if text.startswith(spelling):
            text = "u" + text.removeprefix(spelling)
            break
    text = unicodedata.normalize("NFKC", text).lower()
    match = _VOLTAGE.fullmatch(re.sub(r"[\s._-]", "", text))
    return None if match is None else match[1]


def is_doubtful_amplitude(
    signal_mv: npt.NDArray[np.float32] | StoredRow, lead_name: str, fs_hz: float
) -> bool:
    """Whether one lead is larger than an ECG should be.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_times,)
    lead_name : str
    fs_hz : float

    Returns
    -------
    bool
        True if 1 % of the values lie more than ``SUSPICIOUS_MV`` from the median.

    Raises
    ------
    UnitsError
        If 1 % of them lie more than ``IMPLAUSIBLE_MV`` from the median, or three of four stretches
        of 2 s swing by ``SWING_MV`` or more.
    """
    some = signal_mv[:: max(1, signal_mv.size // _MAX_CHECKED)]
    some = some[~np.isnan(some)].astype(np.float64)
    if some.size == 0:
        return False
    # The 99th percentile: single spikes of a switch or a pacemaker are no sign of a wrong unit.
    largest_mv = float(np.quantile(np.abs(some - np.median(some)), 0.99, method="higher"))
    if largest_mv <= SUSPICIOUS_MV:
        return False
    if largest_mv <= IMPLAUSIBLE_MV:
        largest_mv = _usual_swing_mv(signal_mv, fs_hz)
        if largest_mv < SWING_MV:
            return True
    raise UnitsError(
        f"Lead {shown(lead_name)} would reach {largest_mv:,.0f} mV, which no ECG does; its gain or "
        "unit is wrong. Say the unit, as in --unit uV, or export the recording again."
    )


def _usual_swing_mv(signal_mv: npt.NDArray[np.float32] | StoredRow, fs_hz: float) -> float:
    """From lowest to highest within 2 s, which three of four stretches reach; 0 of gaps."""
    n = max(1, min(round(_SWING_S * fs_hz), signal_mv.size))
    starts = np.unique(np.linspace(0, signal_mv.size - n, _N_SWINGS).astype(np.int64))
    stretches = (np.asarray(signal_mv[start : start + n]) for start in starts.tolist())
    swings = [
        float(np.ptp(some[~np.isnan(some)])) for some in stretches if not np.isnan(some).all()
    ]
    return float(np.quantile(swings, 0.25)) if swings else 0.0


def start_pattern_length(
    channels: Iterable[npt.NDArray[np.float32] | StoredRow], fs_hz: float
) -> int:
    """Number of samples at the start in which no channel shows more than two values.

    Parameters
    ----------
    channels : iterable of ndarray, shape (n_times,)
        All leads of a recording. A lead without any measured sample says nothing.
    fs_hz : float

    Returns
    -------
    int
        0 if the run is shorter than ``MIN_PATTERN_S``.
    """
    shortest: int | None = None
    for channel in channels:
        # Ordinary ECG leaves the run within a few samples, so most calls end at once.
        run = _two_valued_run(channel if shortest is None else channel[:shortest])
        if run is not None and (shortest is None or run < shortest):
            shortest = run
        if shortest is not None and shortest < MIN_PATTERN_S * fs_hz:
            return 0
    return shortest or 0


def calibration_pulses(
    leads: Sequence[npt.NDArray[np.float32] | StoredRow], fs_hz: float
) -> list[tuple[int, int]]:
    """The calibration before or after an ECG: a rectangle of 1 mV in every lead at once.

    Philips files end with one, and some recorders begin with one. It is nobody's heart, and the
    same in leads that measure different things, which no ECG is.

    Parameters
    ----------
    leads : sequence of ndarray, shape (n_times,)
        All leads of a recording; of fewer than three nothing is said.
    fs_hz : float

    Returns
    -------
    list of (int, int)
        First sample and the one after the last, at the start, the end, or both.
    """
    if len(leads) < 3 or leads[0].size < 2:
        return []
    n_times = leads[0].size
    # A calibration fills no more than some seconds.
    most = min(n_times, round(5.0 * fs_hz))
    found = []
    for at_end in (False, True):
        part = slice(n_times - most, n_times) if at_end else slice(0, most)
        block = np.stack([lead[part] for lead in leads]).astype(np.float64)
        if at_end:
            block = block[:, ::-1]
        # NaN is not the same as NaN here, so gaps end the stretch.
        differs = ~(np.ptp(block, axis=0) <= _SAME_MV)
        n = int(np.argmax(differs)) if differs.any() else most
        if n < _MIN_CALIBRATION_S * fs_hz or not _is_rectangle(block[0, :n], fs_hz):
            continue
        found.append((n_times - n, n_times) if at_end else (0, n))
    return found


def _is_rectangle(signal: npt.NDArray[np.float64], fs_hz: float) -> bool:
    low, high = float(signal.min()), float(signal.max())
    if not _PULSE_MV[0] <= high - low <= _PULSE_MV[1]:
        return False
    up, down = signal >= high - 0.05, signal <= low + 0.05
    edges = np.flatnonzero(np.diff(up, prepend=False, append=False))
    lengths_s = np.diff(edges)[::2] / fs_hz
    # Two levels and hardly anything between them; the pulse neither a spike nor a baseline.
    return bool(
        (up | down).mean() >= 0.9
        and ((lengths_s >= MIN_PULSE_S) & (lengths_s <= MAX_PULSE_S)).all()
    )


def _two_valued_run(signal: npt.NDArray[np.float32] | StoredRow) -> int | None:
    """Length of the longest start with at most two distinct values; None if all is NaN."""
    step = 4096
    values: list[float] = []
    measured = False
    for start in range(0, signal.size, step):
        block = signal[start : start + step]
        other = ~np.isnan(block)
        measured = measured or bool(other.any())
        for value in values:
            other &= block != value
        while other.any():
            first = int(np.argmax(other))
            if len(values) == 2:
                return start + first
            values.append(float(block[first]))
            other &= block != block[first]
    return int(signal.size) if measured else None
