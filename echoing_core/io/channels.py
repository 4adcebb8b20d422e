"""Channels on their way from a file to a `Recording`: units, names, clocks, doubtful stretches.

Every reader ends in `recording_from`, so that what is doubtful about a recording is noticed and
said alike for all formats: amplitudes that no ECG has, and the flat or two-valued run with which
some recorders begin. Recordings of the MUSIC study start with about 10 s in which every channel
alternates between the digital values 0 and 1; a model that reads the first window would read it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    SamplingRateError,
    SignalQualityError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown
from echoing_core.records import Recording

MAX_VALUES = 600_000_000
"""Largest number of sample values in one record: 2.4 GB of float32, 24 h of 12 leads at 500 Hz."""

MAX_FS_HZ = 10_000.0
"""Ten times what research recorders of ECGs use."""

MAX_DAYS = 31.0
"""Longest time from the first to the last sample of a recording, gaps included."""

_MV_PER_UNIT = {
    "v": 1e3, "volt": 1e3, "volts": 1e3,
    "mv": 1.0, "millivolt": 1.0, "millivolts": 1.0,
    "uv": 1e-3, "μv": 1e-3, "microvolt": 1e-3, "microvolts": 1e-3,
    "nv": 1e-6, "nanovolt": 1e-6, "nanovolts": 1e-6,
}  # fmt: skip

IMPLAUSIBLE_MV = 1_000.0
"""No electrode on the skin gives a volt; such values are raw counts or another unit."""

SUSPICIOUS_MV = 50.0
"""More than any ECG, but amplifiers show it when an electrode comes off."""

# An evenly spaced sample of a day decides as well as all of it, in a hundredth of the time.
_MAX_CHECKED = 200_000

MIN_PATTERN_S = 2.0
"""A shorter run at the start is left in the recording."""


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
        NaN where nothing was measured.
    stated : str
        What the file says of it, for people: unit, gain, filters.
    """

    source_name: str
    name: str
    fs_hz: float
    signal_mv: npt.NDArray[np.float32]
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
) -> tuple[npt.NDArray[np.float32], float, list[Channel]]:
    """All leads at the rate of the fastest lead, as one array.

    Parameters
    ----------
    channels : sequence of Channel
        Leads that are slower are interpolated, other channels of another rate left out.
    notes : Findings

    Returns
    -------
    signal_mv : ndarray, shape (n_channels, n_times), float32
    fs_hz : float
    channels : list of Channel
        Those of the rows; their signals are views of ``signal_mv``.
    """
    leads = [c for c in channels if canonical_lead_name(c.name)] or list(channels)
    fastest = max(leads, key=lambda c: c.fs_hz)
    n_times = fastest.signal_mv.size
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
            slow = channel.signal_mv
            channel.signal_mv = np.interp(times, np.arange(slow.size), slow).astype(np.float32)
            taken.append(channel)
        else:
            notes.add("Channels with another sampling rate are left out: {}.", channel.name)
    signal_mv = np.empty((len(taken), n_times), dtype=np.float32)
    for row, channel in zip(signal_mv, taken, strict=True):
        row[:] = channel.signal_mv
        channel.signal_mv = row  # frees the copy
    return signal_mv, fastest.fs_hz, taken


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
    rows = [signal_mv[channels.index(c)] for c in leads]
    # Leads decide; a respiration channel that was measured is no ECG.
    if all(bool(np.isnan(row).all()) for row in rows):
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
        signal_mv[:, :n_pattern] = np.nan
        notes.add(
            f"The first {n_pattern / fs_hz:.1f} s are flat or a test pattern in every lead "
            "and are treated as not measured."
        )
    for channel, row in zip(leads, rows, strict=True):
        if is_doubtful_amplitude(row, channel.name):
            notes.add(
                f"Amplitudes above {SUSPICIOUS_MV:.0f} mV, far more than an ECG, in {{}}: "
                "a lead was off, or the gain or units in the header are wrong.",
                channel.name,
            )
    return Recording(
        signal_mv=signal_mv,
        fs_hz=fs_hz,
        lead_names=tuple(c.name for c in channels),
        record_id=shown(record_id),
        source_names=tuple(shown(c.source_name) for c in channels),
        notes=notes.sentences([c.name for c in channels]),
        file_format=file_format,
        simulated=simulated,
        stated=tuple(c.stated for c in channels),
    )


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
    # NFKC turns the micro sign U+00B5 into the Greek mu U+03BC.
    return _MV_PER_UNIT.get(unicodedata.normalize("NFKC", units).lower())


def is_doubtful_amplitude(signal_mv: npt.NDArray[np.float32], lead_name: str) -> bool:
    """Whether one lead is larger than an ECG should be.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_times,)
    lead_name : str

    Returns
    -------
    bool
        True if 1 % of the values lie more than ``SUSPICIOUS_MV`` from the median.

    Raises
    ------
    UnitsError
        If 1 % of them lie more than ``IMPLAUSIBLE_MV`` from the median.
    """
    some = signal_mv[:: max(1, signal_mv.size // _MAX_CHECKED)]
    some = some[~np.isnan(some)].astype(np.float64)
    if some.size == 0:
        return False
    # The 99th percentile: single spikes of a switch or a pacemaker are no sign of a wrong unit.
    largest_mv = float(np.quantile(np.abs(some - np.median(some)), 0.99, method="higher"))
    if largest_mv > IMPLAUSIBLE_MV:
        raise UnitsError(
            f"Lead {shown(lead_name)} would reach {largest_mv:,.0f} mV, which no ECG does; "
            "the gain or the units in the header are wrong, so export the recording again."
        )
    return largest_mv > SUSPICIOUS_MV


def start_pattern_length(channels: Iterable[npt.NDArray[np.float32]], fs_hz: float) -> int:
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


def _two_valued_run(signal: npt.NDArray[np.float32]) -> int | None:
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
