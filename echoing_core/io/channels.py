"""Channels on their way from a file to a `Recording`: names, clocks, and what to tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown


@dataclass(eq=False)
class Channel:
    """One channel of one segment in mV, at its own rate."""

    source_name: str
    name: str
    fs_hz: float
    signal_mv: npt.NDArray[np.float32]


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
        if canonical_lead_name(channel.source_name):
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
    leads = [c for c in channels if canonical_lead_name(c.source_name)] or list(channels)
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
