"""What a file holds before it is read, and what the model saw of it afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echoing_core.io import FORMATS, SamplesIn, TablePreview, channels_in, table_in
from echoing_core.records import FRANK_LEADS, LEADS, Recording, StandardEcg

BAND_HZ = (0.5, 40.0)
"""What `signals.standardise` keeps."""

MAX_GAPS = 100
"""Gaps that `what_the_model_saw` lists; a torn recording has thousands."""


@dataclass(frozen=True)
class SeenLead:
    """One of the 12 leads as it came to the model.

    Attributes
    ----------
    lead, origin : str
        ``origin`` is ``"measured"``, ``"derived"`` or ``"missing"``.
    source : str
        The channel's name in the file, or what it was derived from; empty where missing.
    renamed : bool
        Whether the file spells the lead in another way.
    stated : str
        What the file says of the channel: unit, gain, filters.
    measured_pct : float
        Share of the recording, in percent, in which it is there.
    """

    lead: str
    origin: str
    source: str
    renamed: bool
    stated: str
    measured_pct: float


@dataclass(frozen=True)
class SeenGap:
    """A time in which nothing of some leads was there.

    Attributes
    ----------
    start_s, stop_s : float
        Seconds from the start of the recording.
    leads : tuple of str
    """

    start_s: float
    stop_s: float
    leads: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What the model saw of a recording, and what was done to it on the way.

    Attributes
    ----------
    file_format : str
    source_fs_hz, fs_hz : float
        Sampling rate of the file and of what the model reads.
    band_hz : tuple of float
    leads : tuple of 12 SeenLead
        In the order of `LEADS`.
    gaps : tuple of SeenGap
        In time, at most `MAX_GAPS`.
    n_gaps : int
    notes : tuple of str
    """

    file_format: str
    source_fs_hz: float
    fs_hz: float
    band_hz: tuple[float, float]
    leads: tuple[SeenLead, ...]
    gaps: tuple[SeenGap, ...]
    n_gaps: int
    notes: tuple[str, ...]


def formats() -> str:
    """What can be opened, in words."""
    return FORMATS


def table_preview(
    files: Sequence[tuple[str, bytes]],
    samples_in: SamplesIn | None = None,
    record_name: str | None = None,
) -> TablePreview | None:
    """What a table among uploaded files looks like and says of itself.

    Parameters
    ----------
    files : sequence of (name, bytes)
    samples_in : {"rows", "columns"}, optional
        Look at it this way; without, as its shape suggests.
    record_name : str, optional
        Which of several recordings.

    Returns
    -------
    TablePreview or None
        None where the files are a recording that says everything itself.

    Raises
    ------
    RecordError
        The files cannot be read at all.
    """
    return table_in(files, samples_in, record_name)


def has_leads(recording: Recording) -> bool:
    """Whether a recording has what a model reads: one of the 12 leads, or all of X, Y and Z.

    Parameters
    ----------
    recording : Recording
    """
    names = set(recording.lead_names)
    return bool(names & set(LEADS)) or set(FRANK_LEADS) <= names


def channel_preview(
    files: Sequence[tuple[str, bytes]], record_name: str | None = None
) -> TablePreview:
    """The channels of an upload and their first numbers, whatever its format and its gaps.

    Parameters
    ----------
    files : sequence of (name, bytes)
    record_name : str, optional
        Which of several recordings.

    Raises
    ------
    RecordError
        The files hold no recording.
    """
    return channels_in(files, record_name)


def preview(
    files: Sequence[tuple[str, bytes]],
    samples_in: SamplesIn | None = None,
    record_name: str | None = None,
) -> TablePreview:
    """`table_preview` of a table, `channel_preview` of anything else.

    Parameters
    ----------
    files, samples_in, record_name
        As there.

    Raises
    ------
    RecordError
        The files hold no recording.
    """
    found = table_preview(files, samples_in, record_name)
    return channel_preview(files, record_name) if found is None else found


def what_the_model_saw(recording: Recording, ecg: StandardEcg) -> Seen:
    """How the channels of a file became the 12 leads that the model reads.

    Parameters
    ----------
    recording : Recording
        As it was read.
    ecg : StandardEcg
        Made of ``recording``.

    Returns
    -------
    Seen
    """
    names = recording.lead_names
    # Not strict: a reader that knows no spelling or statement gives none.
    spelled = dict(zip(names, recording.source_names, strict=False))
    stated = dict(zip(names, recording.stated, strict=False))
    leads = []
    for row, (lead, origin) in enumerate(zip(LEADS, ecg.lead_origin, strict=True)):
        source = spelled.get(lead, lead) if origin == "measured" else ""
        leads.append(
            SeenLead(
                lead=lead,
                origin=origin,
                source=source or (ecg.derivation or "" if origin == "derived" else ""),
                renamed=origin == "measured" and source.strip() != lead,
                stated=stated.get(lead, "") if origin == "measured" else "",
                measured_pct=100.0 * float(ecg.valid[row].mean()),
            )
        )
    gaps = _gaps(ecg)
    return Seen(
        file_format=recording.file_format,
        source_fs_hz=recording.fs_hz,
        fs_hz=ecg.fs_hz,
        band_hz=BAND_HZ,
        leads=tuple(leads),
        gaps=tuple(gaps[:MAX_GAPS]),
        n_gaps=len(gaps),
        # The reader and `standardise` may note the same thing.
        notes=tuple(dict.fromkeys([*recording.notes, *ecg.notes])),
    )


def _gaps(ecg: StandardEcg) -> list[SeenGap]:
    """Runs in which the same of the leads that are not missing are absent."""
    rows = [i for i, origin in enumerate(ecg.lead_origin) if origin != "missing"]
    if not rows:
        return []
    # One number for each moment: which leads are absent then.
    absent = np.zeros(ecg.n_times, dtype=np.uint16)
    for row in rows:
        absent |= np.where(ecg.valid[row], 0, 1 << row).astype(np.uint16)
    # Where the set of absent leads changes, one run ends and the next begins.
    edges = np.concatenate([[0], np.flatnonzero(np.diff(absent)) + 1, [ecg.n_times]])
    return [
        SeenGap(
            start_s=float(start / ecg.fs_hz),
            stop_s=float(stop / ecg.fs_hz),
            leads=tuple(LEADS[row] for row in rows if absent[start] >> row & 1),
        )
        for start, stop in itertools.pairwise(edges.tolist())
        if absent[start]
    ]
