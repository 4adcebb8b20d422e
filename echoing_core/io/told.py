"""What a person says of a recording where its file does not: leads, rate, unit, size, direction.

A file may call its one channel "ECG", forget the unit, or hold bare numbers. Nothing of that is
guessed in silence: readers ask the `Told` that came with the file, and without an answer they
refuse in a sentence, or leave the channel under the file's own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from echoing_core.errors import ConfigError, MissingLeadError, SamplingRateError, UnitsError
from echoing_core.io.channels import MAX_FS_HZ, is_doubtful_amplitude, mv_per_unit
from echoing_core.io.lead_names import NamedLead, canonical_lead_name, named_leads
from echoing_core.io.printed import PRINTED, in_columns
from echoing_core.io.sources import shown
from echoing_core.records import Recording

LEFT_OUT = "none"
"""Said instead of a lead: the channel is not used."""

_RAW = re.compile(r"((?:\d+(?:\.\d*)?|\.\d+)(?:e\d{1,2})?)\s*/\s*mV", re.IGNORECASE | re.ASCII)
_STEP = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(\D+)", re.ASCII)


@dataclass(frozen=True)
class Told:
    """What a person says of a recording.

    Attributes
    ----------
    leads : mapping of str to str
        Channel as the file spells it, upper and lower case alike -> lead (`LEADS`,
        `FRANK_LEADS`), ``"-II"`` for one recorded upside down, or `LEFT_OUT`. In a file without
        names, channels are "channel 1", "column 1" or "row 1".
    fs_hz : float, optional
        Sampling rate in Hz; goes before what the file says.
    unit : str
        Of the file's numbers: ``"mV"``, ``"uV"``, ``"V"``, or of raw numbers ``"200/mV"`` (so
        many are 1 mV) or ``"4.88uV"`` (the size of one). Empty: as the file says.
    scale : float
        What all millivolts are multiplied by in the end.
    samples_in : {"rows", "columns"}, optional
        Of a table: whether one row is one moment or one row is one lead.
    printed : str
        The leads follow one another in time as on a printed page: a key of `PRINTED`. Empty: all
        at once, or as the file says.
    every : bool
        Keep all voltages of the file, also what is called like no ECG: for looking at them.
    where_there : bool
        Said of many files at once: a channel that one of them lacks is no mistake there.

    Raises
    ------
    ConfigError
        A lead that does not exist, or one lead for two channels.
    SamplingRateError, UnitsError
        A rate, unit or scale that no ECG has.
    """

    leads: Mapping[str, str] = field(default_factory=dict)
    fs_hz: float | None = None
    unit: str = ""
    scale: float = 1.0
    samples_in: Literal["rows", "columns"] | None = None
    printed: str = ""
    every: bool = False
    where_there: bool = False

    def __post_init__(self) -> None:
        for channel, lead in self.leads.items():
            if lead.lower() != LEFT_OUT and canonical_lead_name(lead.removeprefix("-")) is None:
                raise ConfigError(
                    f"{shown(lead)} is no lead for {shown(channel)}; the leads are I, II, III, "
                    f"aVR, aVL, aVF, V1 to V6, X, Y and Z, or {LEFT_OUT}."
                )
        said = [_spelled(lead).removeprefix("-") for lead in self.leads.values()]
        if len(self.taken) < len([lead for lead in said if lead != LEFT_OUT]):
            raise ConfigError("Two channels were called the same lead; each lead is one channel.")
        if self.fs_hz is not None and not 0 < self.fs_hz <= MAX_FS_HZ:
            raise SamplingRateError(
                f"A sampling rate of {self.fs_hz:g} Hz does not fit an ECG; a number above 0 and "
                f"up to {MAX_FS_HZ:.0f} is needed."
            )
        if self.unit and self.mv_per_number is None:
            raise UnitsError(
                f"{shown(self.unit)} is no voltage; say mV, uV or V, or for raw numbers how many "
                "are 1 mV (200/mV) or the size of one (4.88uV)."
            )
        if self.printed and self.printed not in PRINTED:
            raise ConfigError(
                f"No page is printed as {shown(self.printed)}; the pages are {', '.join(PRINTED)}."
            )
        if not np.isfinite(self.scale) or self.scale == 0:
            raise UnitsError("A scale has to be a number other than 0.")

    @property
    def mv_per_number(self) -> float | None:
        """Millivolts in one number of the file; None where nothing was said of it."""
        if raw := _RAW.fullmatch(self.unit.strip()):
            return 1.0 / float(raw[1]) if float(raw[1]) > 0 else None
        if step := _STEP.fullmatch(self.unit.strip()):
            size = mv_per_unit(step[2])
            return float(step[1]) * size if size and float(step[1]) > 0 else None
        return mv_per_unit(self.unit) if self.unit else None

    @property
    def taken(self) -> frozenset[str]:
        """The leads that were said, without their minus."""
        said = (_spelled(lead).removeprefix("-") for lead in self.leads.values())
        return frozenset(lead for lead in said if lead != LEFT_OUT)

    def taken_among(self, channels: Sequence[str]) -> frozenset[str]:
        """The leads that were said of these channels.

        Parameters
        ----------
        channels : sequence of str
            Of one file. Of a single file all that was said is about it.
        """
        if not self.where_there:
            return self.taken
        there = {_key(channel) for channel in channels}
        said = {k: v for k, v in self.leads.items() if _key(k) in there}
        return replace(self, leads=said).taken

    def lead_of(self, channel: str) -> str | None:
        """What was said of a channel: a lead, one after a minus, or `LEFT_OUT`.

        Parameters
        ----------
        channel : str
            As the file spells it.

        Returns
        -------
        str or None
            None where nothing was said of it.
        """
        wanted = _key(channel)
        return next((_spelled(v) for k, v in self.leads.items() if _key(k) == wanted), None)


NOTHING = Told()
"""Nothing was said."""


def channel_leads(names: Sequence[str], told: Told) -> list[NamedLead | None]:
    """The leads of a file's channels: as a person says, and else by their names.

    Parameters
    ----------
    names : sequence of str
        Of all channels, as the file spells them.
    told : Told

    Returns
    -------
    list of NamedLead or None
        Parallel to ``names``; None for a channel that is not to be read, because that was said, or
        because another one was said to be its lead.
    """
    said = [told.lead_of(name) for name in names]
    taken = told.taken_among(names)
    found: list[NamedLead | None] = []
    for by_name, lead in zip(named_leads(names), said, strict=True):
        if lead is None:
            found.append(None if by_name.lead in taken else by_name)
        else:
            found.append(None if lead == LEFT_OUT else NamedLead(lead.removeprefix("-")))
    return found


def as_told(recording: Recording, told: Told) -> Recording:
    """A recording with its channels called as a person says.

    Parameters
    ----------
    recording : Recording
        As its reader gives it; ``fs_hz`` and ``unit`` were heard there where the format can lack
        them.
    told : Told

    Returns
    -------
    Recording
        The same one where nothing was said. What was said stands in its notes.

    Raises
    ------
    MissingLeadError
        There is no such channel, or none is left.
    UnitsError
        Multiplied, a lead is no ECG's any more.
    """
    if told == NOTHING:
        return recording
    spelled = recording.source_names or recording.lead_names
    taken = told.taken_among([*spelled, *recording.lead_names])
    if not told.where_there:
        _check_channels(told, [*spelled, *recording.lead_names], recording.record_id)
    said = [
        told.lead_of(source) or told.lead_of(name)
        for source, name in zip(spelled, recording.lead_names, strict=True)
    ]
    rows: list[int] = []
    names: list[str] = []
    notes = list(recording.notes)
    factors: list[float] = []
    for row, lead in enumerate(said):
        own = recording.lead_names[row]
        if lead == LEFT_OUT:
            notes.append(f"Left out, as was said: {spelled[row]}.")
        elif lead is None and own in taken:
            notes.append(f"{spelled[row]} gives way to the channel that was said to be {own}.")
        else:
            rows.append(row)
            names.append(own if lead is None else lead.removeprefix("-"))
            factors.append(-told.scale if lead is not None and lead[0] == "-" else told.scale)
            if lead is not None:
                turned = ", upside down" if lead[0] == "-" else ""
                notes.append(f"As was said, {spelled[row]} is lead {names[-1]}{turned}.")
    if not rows:
        raise MissingLeadError(
            f"Every channel of {recording.record_id} was left out; keep at least one lead."
        )
    if told.fs_hz is not None:
        notes.append(f"The sampling rate of {told.fs_hz:g} Hz was said, not read.")
    if told.unit:
        notes.append(f"The unit {shown(told.unit)} was said, not read.")
    if told.scale != 1.0:
        notes.append(f"All amplitudes were multiplied by {told.scale:g}, as was said.")
    signal_mv = recording.signal_mv[rows]
    if told.printed or any(factor != 1.0 for factor in factors):
        # A signal that is still in its file has to be made now.
        signal_mv = np.asarray(signal_mv)
    if any(factor != 1.0 for factor in factors):
        signal_mv = signal_mv * np.asarray(factors, dtype=np.float32)[:, None]
        if abs(told.scale) > 1.0:
            for row, name in zip(signal_mv, names, strict=True):
                is_doubtful_amplitude(row, name, told.fs_hz or recording.fs_hz)
    if told.printed:
        fs_hz = recording.fs_hz if told.fs_hz is None else told.fs_hz
        signal_mv = in_columns(signal_mv, names, fs_hz, told.printed)
        notes.append(
            f"As was said, the leads follow one another in time as on a page of {told.printed}."
        )
    return replace(
        recording,
        signal_mv=signal_mv,
        fs_hz=recording.fs_hz if told.fs_hz is None else told.fs_hz,
        lead_names=tuple(names),
        source_names=tuple(spelled[row] for row in rows),
        stated=tuple(recording.stated[row] for row in rows) if recording.stated else (),
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_channels(told: Told, channels: Sequence[str], record_id: str) -> None:
    there = {_key(channel) for channel in channels}
    for channel, lead in told.leads.items():
        # What was left out by its reader already is left out.
        if _key(channel) not in there and lead.lower() != LEFT_OUT:
            raise MissingLeadError(
                f"{record_id} has no channel called {shown(channel)} that can be a lead; it holds "
                f"{', '.join(dict.fromkeys(channels))}."
            )


def _key(name: str) -> str:
    return " ".join(shown(name).lower().split())


def _spelled(lead: str) -> str:
    if lead.lower() == LEFT_OUT:
        return LEFT_OUT
    sign = "-" if lead.startswith("-") else ""
    return sign + (canonical_lead_name(lead.removeprefix("-")) or lead)
