"""Channels on their way from a file to a `Recording`: names, clocks, and what to tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.errors import SignalQualityError, UnreadableRecordError
from echoing_core.io.calibration import start_pattern_length
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown
from echoing_core.io.units import SUSPICIOUS_MV, is_doubtful_amplitude
from echoing_core.records import Recording

MAX_VALUES = 600_000_000
"""Largest number of sample values in one record: 2.4 GB of float32, 24 h of 12 leads at 500 Hz."""


@dataclass(eq=False)
class Channel:
    """One channel of one segment in mV, at its own rate.

    ``stated`` is what the file says of it, for people: unit, gain, filters.
    """

    source_name: str
    name: str
    fs_hz: float
    signal_mv: npt.NDArray[np.float32]
    stated: str = ""


@dataclass
class Findings:
    """What there is to tell about a record, each thing once, with the leads it holds for."""

    by_sentence: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sentence: str, lead: str = "") -> None:
        """Note ``sentence``; ``{}`` in it stands for the leads."""
        leads = self.by_sentence.setdefault(sentence, [])
        if lead and lead not in leads:
            leads.append(lead)

    def sentences(self, all_leads: Sequence[str]) -> tuple[str, ...]:
        """The notes, with "all leads" for what holds for each of three or more."""

        def listed(leads: list[str]) -> str:
            every = len(leads) > 2 and set(leads) >= set(all_leads)
            return "all leads" if every else ", ".join(leads)

        return tuple(s.replace("{}", listed(leads)) for s, leads in self.by_sentence.items())


def name_once(channels: Sequence[Channel], notes: Findings) -> list[Channel]:
    """Each name once: the first of two channels for one lead stays."""
    kept: dict[str, Channel] = {}
    for channel in channels:
        if channel.name not in kept:
            kept[channel.name] = channel
            continue
        if canonical_lead_name(channel.name):
            notes.add(
                f"Two channels hold lead {channel.name}; {shown(kept[channel.name].source_name)} "
                f"is used and {shown(channel.source_name)} is left out."
            )
            continue
        number = 2
        while f"{channel.name} ({number})" in kept:
            number += 1
        channel.name = f"{channel.name} ({number})"
        kept[channel.name] = channel
    return list(kept.values())


def one_clock(
    channels: Sequence[Channel], notes: Findings
) -> tuple[npt.NDArray[np.float32], float, list[Channel]]:
    """All leads at the rate of the fastest lead, as one array, shape (n_leads, n_times)."""
    leads = [c for c in channels if canonical_lead_name(c.name)] or list(channels)
    fastest = max(leads, key=lambda c: c.fs_hz)
    n_times = fastest.signal_mv.size
    kept: list[Channel] = []
    for channel in channels:
        if channel.fs_hz == fastest.fs_hz:
            kept.append(channel)
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
            kept.append(channel)
        else:
            notes.add("Channels with another sampling rate are left out: {}.", channel.name)
    signal_mv = np.empty((len(kept), n_times), dtype=np.float32)
    for row, channel in zip(signal_mv, kept, strict=True):
        row[:] = channel.signal_mv
        channel.signal_mv = row  # frees the copy
    return signal_mv, fastest.fs_hz, kept


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
    if all(bool(np.isnan(row).all()) for row in rows):
        raise SignalQualityError(
            f"{shown(record_id)} holds no measured sample: every lead is a gap from start "
            "to end; choose another recording."
        )
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
