"""The rhythm of an SCP-ECG file (section 6) in millivolts, with the reference beat (5) put back.

Samples are 16-bit numbers or Huffman codes of them, of their first or of their second differences.
Where the reference beat was taken away from every QRS complex, it is added again. Bimodal
compression keeps every sample near a QRS complex and the mean of a few elsewhere, between which is
interpolated.

References
----------
ISO 11073-91064:2009, clauses 5.8 to 5.10 and annex C.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import SamplingRateError, UnitsError, UnreadableRecordError
from echoing_core.io.channels import (
    MAX_FS_HZ,
    Channel,
    Findings,
    check_size,
    recording_from,
)
from echoing_core.io.scp.findings import findings_of
from echoing_core.io.scp.huffman import Huffman, huffman_of
from echoing_core.io.scp.sections import Beats, Lead, beats_of, filters_of, leads_of, sections_of
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING
from echoing_core.records import Recording

_MAX_THINNING = 16
_MAX_APART_S = 60.0
"""Between leads that were recorded one after the other."""


@dataclass(frozen=True)
class _Samples:
    """Section 5 or 6.

    Attributes
    ----------
    nv : float
        Nanovolts of one unit.
    step_us : int
        Microseconds between two samples.
    differences : int
        How often differences were taken: 0, 1 or 2.
    bimodal : bool
    leads : tuple of bytes
        The encoded samples of each lead.
    """

    nv: float
    step_us: int
    differences: int
    bimodal: bool
    leads: tuple[bytes, ...]


def read_scp(file: SourceFile) -> Recording:
    """Read the rhythm of one SCP-ECG file; its reference beats are never taken for it.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    Recording
        Millivolts; NaN where a lead was not recorded.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    notes = Findings()
    sections = sections_of(file, notes)
    if 6 not in sections:
        what = "only a reference beat" if 5 in sections else "a report without waveforms"
        raise UnreadableRecordError(
            f"{name} holds {what}, not the rhythm; export it with the rhythm data."
        )
    leads, is_subtracted = leads_of(sections.get(3), name)
    said = (file.told or NOTHING).mv_per_number
    said_nv = None if said is None else 1e6 * said
    rhythm = _samples(sections[6], 6, len(leads), said_nv, name)
    huffman = huffman_of(sections[2], name) if 2 in sections else None
    beats = reference = None
    thinning, step_us = 1, rhythm.step_us
    if is_subtracted or rhythm.bimodal:
        if 4 not in sections or 5 not in sections:
            raise UnreadableRecordError(
                f"{name} was compressed with a reference beat that it does not hold; export it "
                "without compression, or as DICOM."
            )
        beats = beats_of(sections[4], name)
        reference = _samples(sections[5], 5, len(leads), said_nv, name)
        thinning, rest = divmod(rhythm.step_us, reference.step_us)
        if rest or not 1 <= thinning <= _MAX_THINNING or (thinning > 1 and not rhythm.bimodal):
            raise UnreadableRecordError(
                f"The reference beat of {name} does not fit its rhythm in time; export it without "
                "compression, or as DICOM."
            )
        step_us = reference.step_us
    fs_hz = 1e6 / step_us
    _check_lengths(leads, rhythm, thinning, huffman is not None, fs_hz, name)
    origin = min(lead.start for lead in leads)
    n_times = max(lead.end for lead in leads) - origin + 1
    if beats is not None and beats.n_samples_to(origin + n_times) > 4 * n_times:
        raise UnreadableRecordError(
            f"The QRS complexes of {name} overlap in time; export it without compression."
        )
    stated = ", ".join(filter(None, (f"{rhythm.nv:g} nV per unit", filters_of(sections.get(1)))))
    channels = []
    for i, lead in enumerate(leads):
        what = f"Lead {lead.name} of {name}"
        protected = beats.protected if beats is not None else ()
        knots = _kept(lead, protected, thinning)
        stored = _decoded(rhythm.leads[i], knots.size, rhythm.differences, huffman, what)
        nv = stored.astype(np.float64) * rhythm.nv
        if knots.size < lead.n:
            nv = np.interp(np.arange(lead.n), knots, nv)
        if is_subtracted and beats is not None and reference is not None:
            _add_beats(nv, lead, beats, _beat(reference, i, beats, huffman, what))
        row = np.full(n_times, np.nan, dtype=np.float32)
        row[lead.start - origin : lead.end - origin + 1] = nv * 1e-6
        channels.append(Channel(lead.name, lead.name, fs_hz, row, stated))
    if thinning > 1:
        notes.add(
            f"Between the QRS complexes the file keeps the mean of every {thinning} samples "
            "(bimodal compression); there the signal is interpolated."
        )
    stem = file.name.rsplit(".", 1)[0]
    found = findings_of(sections)
    return recording_from(channels, stem, "SCP-ECG", notes, annotations=found)


def _samples(
    section: bytes, number: int, n_leads: int, said_nv: float | None, name: str
) -> _Samples:
    """Header of section 5 or 6 and the bytes of each lead; a unit that was said goes before."""
    if len(section) < 6 + 2 * n_leads:
        raise UnreadableRecordError(f"Section {number} of {name} is cut short; export it again.")
    stated_nv, step_us, differences, bimodal = struct.unpack_from("<HHBB", section)
    nv = said_nv or float(stated_nv)
    if nv == 0:
        raise UnitsError(
            f"{name} does not say how many nanovolts one unit is (section {number}); say it, or "
            "export the recording again."
        )
    if step_us == 0 or 1e6 / step_us > MAX_FS_HZ:
        raise SamplingRateError(
            f"{name} gives {step_us} microseconds between samples (section {number}); at least "
            f"{1e6 / MAX_FS_HZ:.0f} are needed."
        )
    if differences > 2:
        raise UnreadableRecordError(
            f"{name} stores its samples in a way that SCP-ECG does not know ({differences}); "
            "export it again."
        )
    sizes = struct.unpack_from(f"<{n_leads}H", section, 6)
    at = 6 + 2 * n_leads
    if len(section) < at + sum(sizes):
        raise UnreadableRecordError(
            f"Section {number} of {name} is cut short: it holds {len(section) - at:,} of "
            f"{sum(sizes):,} bytes; export it again."
        )
    leads = []
    for size in sizes:
        leads.append(section[at : at + size])
        at += size
    # In section 5 the byte of bimodal compression is not used.
    return _Samples(nv, step_us, differences, number == 6 and bimodal == 1, tuple(leads))


def _check_lengths(
    leads: list[Lead], rhythm: _Samples, thinning: int, is_huffman: bool, fs_hz: float, name: str
) -> None:
    """Refuse lengths that the bytes cannot hold, before anything is made of them."""
    for lead, data in zip(leads, rhythm.leads, strict=True):
        # A code takes a bit at least.
        most = thinning * (8 * len(data) if is_huffman else len(data) // 2)
        if lead.n > most:
            raise UnreadableRecordError(
                f"Lead {lead.name} of {name} declares {lead.n:,} samples, more than its "
                f"{len(data):,} bytes hold; export it again."
            )
    span = max(lead.end for lead in leads) - min(lead.start for lead in leads) + 1
    if span > sum(lead.n for lead in leads) + _MAX_APART_S * fs_hz:
        raise UnreadableRecordError(
            f"The leads of {name} lie too far apart in time; export them again."
        )
    check_size(span, len(leads), fs_hz, name)


def _decoded(
    data: bytes,
    n: int,
    differences: int,
    huffman: Huffman | None,
    what: str,
    *,
    may_end: bool = False,
) -> npt.NDArray[np.int64]:
    """The first ``n`` samples in units of the file, or all that there are where that is said."""
    if huffman is not None:
        values = huffman.decode(data, n, what, may_end=may_end)
    else:
        n = min(n, len(data) // 2) if may_end else n
        if len(data) < 2 * n:
            raise UnreadableRecordError(f"{what} ends before its last sample; export it again.")
        values = np.frombuffer(data, dtype="<i2", count=n).astype(np.int64)
    if differences == 1:
        return np.cumsum(values)
    if differences == 2 and values.size > 1:
        # The first two are samples; from then on changes of slope.
        slope = values[1:].copy()
        slope[0] -= values[0]
        return np.concatenate([values[:1], values[0] + np.cumsum(np.cumsum(slope))])
    return values


def _kept(
    lead: Lead, protected: tuple[tuple[int, int], ...], thinning: int
) -> npt.NDArray[np.float64]:
    """Times of the stored samples of a lead, in its own samples from 0.

    Those within protected areas stand for themselves, others for the middle of their block.
    """
    if thinning == 1:
        return np.arange(lead.n, dtype=np.float64)
    is_whole = np.zeros(lead.n, dtype=bool)
    for start, end in protected:
        is_whole[max(0, start - lead.start) : max(0, end - lead.start + 1)] = True
    edges = np.flatnonzero(np.diff(is_whole)) + 1
    times = []
    for a, b in zip([0, *edges.tolist()], [*edges.tolist(), lead.n], strict=True):
        if is_whole[a]:
            times.append(np.arange(a, b, dtype=np.float64))
        else:
            first = np.arange(a, b, thinning, dtype=np.float64)
            times.append((first + np.minimum(first + thinning, b) - 1) / 2)
    return np.concatenate(times)


def _beat(
    reference: _Samples, i: int, beats: Beats, huffman: Huffman | None, what: str
) -> npt.NDArray[np.float64]:
    """The reference beat of one lead in nanovolts."""
    n = round(beats.length_ms * 1000 / reference.step_us)
    what = f"The reference beat of {what[0].lower()}{what[1:]}"
    # Its length in whole milliseconds may be a sample too many.
    decoded = _decoded(reference.leads[i], n, reference.differences, huffman, what, may_end=True)
    return decoded.astype(np.float64) * reference.nv


def _add_beats(
    nv: npt.NDArray[np.float64], lead: Lead, beats: Beats, beat: npt.NDArray[np.float64]
) -> None:
    """Put the reference beat back, in place, where it was taken away."""
    for start, fiducial, end in beats.zones:
        # Place in the beat of the lead's first sample, so that the fiducial points meet.
        shift = beats.fiducial - 1 - fiducial + lead.start
        first = max(start - lead.start, -shift, 0)
        stop = min(end - lead.start + 1, beat.size - shift, lead.n)
        if first < stop:
            nv[first:stop] += beat[first + shift : stop + shift]
