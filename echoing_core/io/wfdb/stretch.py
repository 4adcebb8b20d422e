"""A stretch of a long WFDB record, without reading the rest of it.

A day of Holter is 100 MB, and a window of it 10 s. Records of one data file in format 16 are read
from the place on; all others are read in full and cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from echoing_core.errors import SignalQualityError, UnreadableRecordError
from echoing_core.io.lead_names import named_leads
from echoing_core.io.sources import FileSet, SourceFile, gather, shown
from echoing_core.io.wfdb.data import Layout, checked_layout
from echoing_core.io.wfdb.header import Header
from echoing_core.io.wfdb.record import read_described, read_header
from echoing_core.records import Recording

_BYTES = 2
_FORMAT = "16"


@dataclass(frozen=True)
class Extent:
    """What the header of a record says, and the size of its data file agrees with.

    Attributes
    ----------
    n_times : int
    fs_hz : float
    lead_names : tuple of str
        Canonical where the channel is a lead, otherwise as the file spells it.
    simulated : bool
        True when the header says so.
    """

    n_times: int
    fs_hz: float
    lead_names: tuple[str, ...]
    simulated: bool

    @property
    def duration_s(self) -> float:
        return self.n_times / self.fs_hz


def record_extent(header_path: Path) -> Extent:
    """Length, rate and leads of a record; no sample is read.

    Parameters
    ----------
    header_path : Path
        The .hea file.

    Raises
    ------
    RecordError
        The header is damaged, or the data file is missing or shorter than declared.
    """
    files, name = _gathered(header_path)
    header = read_header(files, name)
    named = zip(header.signals, named_leads([s.name for s in header.signals]), strict=True)
    names = tuple(lead.lead or shown(s.name) for s, lead in named)
    if header.segments:
        n_times = sum(s.n_frames for s in header.segments)
    else:
        n_times = checked_layout(files, header, name).n_frames
    return Extent(n_times, header.fs_hz, names, header.simulated)


def read_stretch(header_path: Path, start_s: float, stop_s: float) -> Recording:
    """Read one record from ``start_s`` to ``stop_s``, or to its end where that is earlier.

    Parameters
    ----------
    header_path : Path
        The .hea file.
    start_s, stop_s : float
        Seconds from the start of the record; rounded to its samples.

    Returns
    -------
    Recording
        As `read_recording` gives it, its first sample being the one at ``start_s``. A test
        pattern is looked for at the start of the stretch.

    Raises
    ------
    RecordError
        As for `read_recording`, or nothing of the record lies in the stretch.
    """
    if not 0.0 <= start_s < stop_s:
        raise ValueError(f"{start_s} to {stop_s} s is no stretch of a recording")
    files, name = _gathered(header_path)
    header = read_header(files, name)
    first, stop = round(start_s * header.fs_hz), round(stop_s * header.fs_hz)
    layout = None if header.segments else checked_layout(files, header, name)
    if layout is None or not _can_be_cut(layout):
        record = read_described(files, header, name)
        first, stop = round(start_s * record.fs_hz), round(stop_s * record.fs_hz)
        _check_inside(name, first, record.n_times)
        # A copy: a view would keep the whole record in memory.
        return replace(record, signal_mv=record.signal_mv[:, first:stop].copy())
    _check_inside(name, first, layout.n_frames)
    stop = min(stop, layout.n_frames)
    return read_described(*_cut(files, header, layout, first, stop), name)


def _gathered(header_path: Path) -> tuple[FileSet, str]:
    files, name = gather(header_path)
    if name is None:
        raise UnreadableRecordError(
            f"{shown(header_path.name)} is not a header; choose the record's .hea file."
        )
    return files, name


def _can_be_cut(layout: Layout) -> bool:
    # Where a file is longer than declared, all of it has to be looked at before it is believed.
    return (
        len(layout.data_files) == 1
        and layout.data_files[0].fmt == _FORMAT
        and layout.longer_than_declared_from is None
        and all(signal.skew == 0 for signal in layout.header.signals)
    )


def _cut(
    files: FileSet, header: Header, layout: Layout, first: int, stop: int
) -> tuple[FileSet, Header]:
    """Bytes of the stretch as a record of its own."""
    data_file = layout.data_files[0]
    path = data_file.file.path
    per_frame = data_file.samples_per_frame * _BYTES
    if path is None:
        raise ValueError("a stretch is read from a file on disk")
    try:
        with path.open("rb") as stream:
            stream.seek(data_file.byte_offset + first * per_frame)
            data = stream.read((stop - first) * per_frame)
    except OSError as exc:
        raise UnreadableRecordError(
            f"{shown(path.name)} cannot be opened; check that you may read it."
        ) from exc
    file = SourceFile(data_file.file.name, len(data), data=data)
    # Checksums are those of the whole record.
    signals = tuple(replace(s, byte_offset=0, checksum=None) for s in header.signals)
    cut = replace(header, n_frames=stop - first, signals=signals)
    return FileSet({file.name.lower(): file}), cut


def _check_inside(name: str, first: int, n_times: int) -> None:
    if first >= n_times:
        raise SignalQualityError(
            f"{shown(name)} holds {n_times} samples, and the stretch asked for starts at sample "
            f"{first}. Choose an earlier one."
        )
