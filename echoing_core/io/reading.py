"""One entrance for recordings: finds the record, then hands it to the reader of its format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from echoing_core.errors import (
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
    UnsaidTimesError,
)
from echoing_core.io.grouping import group_records
from echoing_core.io.ishne import (
    ISHNE_ANNOTATIONS,
    belongs_to_ishne,
    is_ishne_annotations,
)
from echoing_core.io.kinds import (
    FORMATS,
    WFDB_DATA_ENDINGS,
    kind_of,
    read_file,
    unreadable_kind,
)
from echoing_core.io.lead_names import canonical_lead_name, guessed_leads
from echoing_core.io.printed import PRINTED
from echoing_core.io.sources import (
    FileSet,
    Source,
    SourceFile,
    base_name,
    file_at,
    from_bytes,
    from_files,
    gather,
    listed,
    shown,
)
from echoing_core.io.table import (
    HEAD_ROWS,
    SamplesIn,
    TableColumn,
    TableLayout,
    TablePreview,
    is_matrix,
    preview_table,
    read_table,
    read_table_as_stated,
)
from echoing_core.io.told import NOTHING, Told, as_told
from echoing_core.io.wfdb import read_wfdb
from echoing_core.io.zipped import unzip
from echoing_core.records import Recording


def read_recording(
    source: Source,
    *,
    record_name: str | None = None,
    layout: TableLayout | None = None,
    told: Told = NOTHING,
    stay_stored: bool = False,
) -> Recording:
    """Read one ECG recording, of whatever format its content shows.

    Parameters
    ----------
    source : path, sequence of paths, mapping of name to bytes, or sequence of (name, bytes)
        A path may be a header (.hea), a data file beside its header, a record's name without
        ending, a file that is a recording by itself (EDF, DICOM, XML, a table, a zip), or a folder
        with one record. Bytes are the files of an upload.
    record_name : str, optional
        Which record, where ``source`` holds several.
    layout : TableLayout, optional
        What the columns of a table are, where it does not say so itself.
    told : Told, optional
        What the file does not say, in any format: which lead a channel is, sampling rate, unit.
    stay_stored : bool
        For whoever goes over a long recording once, as `standardise` does: where its format allows
        it, its signal stays in the file (`io.stored.StoredSignal`), indexed as an array is.

    Returns
    -------
    Recording
        Millivolts as measured, leads by name, NaN where nothing was measured.

    Raises
    ------
    RecordError
        One of its children, with one or two sentences saying what was seen, what is needed
        and what to do.

    Examples
    --------
    >>> recording = read_recording("P0001_H")  # doctest: +SKIP
    >>> recording.signal_mv.shape, recording.fs_hz  # doctest: +SKIP
    ((3, 1196000), 1000.0)
    >>> night = read_recording("night.edf", told=Told({"ECG": "II"}))  # doctest: +SKIP
    """
    record = _find(source, record_name)
    if not isinstance(record, SourceFile):
        return as_told(read_wfdb(*record, told, stay_stored=stay_stored), told)
    record = replace(record, told=told)
    if layout is not None and _is_table(record):
        recording = read_table(record, layout)
    elif _is_table(record):
        recording = read_table_as_stated(record)
    else:
        recording = read_file(record)
    # Formats have no common place for it, so the mark is looked for in the raw bytes.
    return as_told(replace(recording, simulated=record.says_simulated()), told)


def table_in(
    source: Source, samples_in: SamplesIn | None = None, record_name: str | None = None
) -> TablePreview | None:
    """What a table among the files looks like; None where they are no table.

    Parameters
    ----------
    source
        As for `read_recording`.
    samples_in : {"rows", "columns"}, optional
        See `preview_table`.
    record_name : str, optional
        Which record, where ``source`` holds several.

    Raises
    ------
    RecordError
        The files cannot be read at all.
    """
    record = _find(source, record_name)
    if isinstance(record, SourceFile) and _is_table(record):
        return preview_table(record, samples_in)
    return None


def records_in(source: Source) -> list[str]:
    """Names of the recordings among the files, for `read_recording`'s ``record_name``.

    Parameters
    ----------
    source
        As for `read_recording`.

    Returns
    -------
    list of str
        In the order of their names; one name where the files are one recording.

    Raises
    ------
    RecordError
        The files cannot be reached.
    """
    files, header_name = _gathered(source)
    only = _only(files)
    if header_name is None and only is not None and kind_of(only) == "zip":
        files = from_bytes(unzip(only))
    if header_name is not None:
        return [header_name]
    found = []
    for group in group_records(files.files.values()):
        if group.header_name is not None:
            found.append(group.header_name.rsplit(".", 1)[0])
        elif not group.refusal and kind_of(group.files[0]) not in (None, "zip"):
            found.append(group.name)
    return found


def channels_in(source: Source, record_name: str | None = None) -> TablePreview:
    """What the channels of a recording are called, and how its first numbers look.

    For a person who has to say which lead a channel is, or in which unit its numbers are: nothing
    that was not said stands in the way of looking.

    Parameters
    ----------
    source
        As for `read_recording`.
    record_name : str, optional

    Returns
    -------
    TablePreview
        Of a table that of `table_in`. Of any other format its channels, with ``fs_hz`` and
        ``units`` where the file says them, and guesses for leads that it does not say.

    Raises
    ------
    RecordError
        The files hold no recording, or a damaged one.
    """
    record = _find(source, record_name)
    if isinstance(record, SourceFile) and _is_table(record):
        return preview_table(record)
    name = record.name if isinstance(record, SourceFile) else record[1]
    fs_hz: float | None = None
    units: str | None = "mV"
    told = Told(every=True)
    # At most three things may not be said: unit, rate, and how leads lie in time. Placeholders
    # stand for them while looking.
    for _ in range(4):
        try:
            recording = read_recording(source, record_name=record_name, told=told)
            break
        except UnitsError:
            if told.unit:
                raise
            # So small that no number of a converter is refused as impossible.
            told, units = replace(told, unit="1e6/mV"), None
        except SamplingRateError:
            if told.fs_hz:
                raise
            told = replace(told, fs_hz=100.0)
        except UnsaidTimesError:
            if told.printed:
                raise
            told = replace(told, printed=next(iter(PRINTED)))
    if told.fs_hz is None:
        fs_hz = recording.fs_hz
    spelled = list(recording.source_names or recording.lead_names)
    guesses = guessed_leads(spelled)
    columns = tuple(
        TableColumn(
            i, source, lead if canonical_lead_name(lead) else None, units, False,
            guesses.get(source),
        )
        for i, (source, lead) in enumerate(zip(spelled, recording.lead_names, strict=True))
    )  # fmt: skip
    rows = recording.signal_mv
    if told.printed:
        # Each from where it begins, which is what the file holds of it.
        begins = np.argmax(~np.isnan(rows), axis=1)
        rows = np.array([np.roll(row, -n) for row, n in zip(rows, begins, strict=True)])
    first = rows[:, :HEAD_ROWS].astype(np.float64)
    return TablePreview(
        file_name=name,
        kind=recording.file_format,
        n_samples=recording.n_times,
        columns=columns,
        samples_in="rows",
        fs_hz=fs_hz,
        fs_from="its header" if fs_hz else "",
        time_column=None,
        time_unit="s",
        units=units,
        first=first if units else first * 1e6,
        is_table=False,
        needs_page=bool(told.printed),
    )


def _gathered(source: Source) -> tuple[FileSet, str | None]:
    """As `gather`, but a recording by itself is no data file of a header of its name beside it."""
    given = source[0] if isinstance(source, list | tuple) and len(source) == 1 else source
    alone = file_at(Path(given)) if isinstance(given, str | Path) else None
    if alone is not None and kind_of(alone) is not None:
        return from_files([alone]), None
    return gather(source)


def _find(source: Source, record_name: str | None) -> SourceFile | tuple[FileSet, str]:
    """The one file that is the recording, or the files of a WFDB record and its header's name."""
    files, header_name = _gathered(source)
    only = _only(files)
    if header_name is None and only is not None and kind_of(only) == "zip":
        # An archive is looked at as an upload of its files would be.
        files = from_bytes(unzip(only))
        if not files.names():
            raise UnreadableRecordError(f"{shown(only.name)} holds no file.")
    if header_name is not None:
        return files, header_name
    if not files.names(".hea"):
        return _single(files, record_name)
    # Beside headers a file may be a recording by itself; it goes by its whole name.
    named = files.find(record_name) if record_name is not None else None
    if named is not None and kind_of(named) not in (None, "zip"):
        return named
    only = _only(files)
    if only is not None and kind_of(only) is not None:
        return only
    return files, _choose_header(files, record_name)


def _is_table(file: SourceFile) -> bool:
    # A MATLAB file mostly belongs to a header, so it is a table only where it was found alone.
    return kind_of(file) == "table" or (kind_of(file) is None and is_matrix(file.head(128)))


def _only(files: FileSet) -> SourceFile | None:
    return next(iter(files.files.values())) if len(files.files) == 1 else None


def _single(files: FileSet, record_name: str | None) -> SourceFile:
    """The one among files without a header that holds a recording by itself."""
    # Lists and annotations beside a recording hold none, and do not make it ambiguous.
    holders = [f for f in files.files.values() if kind_of(f) not in (None, "zip")]
    recordings = [f for f in holders if not is_ishne_annotations(f.head(8))]
    # Alone, they are read, and refused with what is missing.
    holders = recordings or holders
    holders = holders or [f for f in files.files.values() if is_matrix(f.head(128))]
    if record_name is not None:
        wanted = base_name(record_name).lower()
        named = [f for f in holders if wanted in (f.name.lower(), f.name.lower().rsplit(".", 1)[0])]
        if holders and not named:
            raise UnreadableRecordError(
                f"There is no record {shown(base_name(record_name))} among the files; they hold "
                f"{_listed([f.name for f in holders])}."
            )
        holders = named
    if len(holders) == 1:
        return _with_annotations(holders[0], files)
    if len(holders) > 1:
        raise UnreadableRecordError(
            f"The files hold {len(holders)} recordings ({_listed([f.name for f in holders])}); "
            "choose one of them."
        )
    raise UnreadableRecordError(_no_header(files))


def _with_annotations(file: SourceFile, files: FileSet) -> SourceFile:
    """An ISHNE recording with the file of its annotations, where there is one."""
    if kind_of(file) != "ishne":
        return file
    # A path given alone stands for what lies beside it, as a WFDB header does.
    alone = file.path is not None and len(files.files) == 1
    place = FileSet({}, file.path.parent) if alone and file.path is not None else files
    said = place.beside(f"{file.stem}{ISHNE_ANNOTATIONS}")
    if said is None or not belongs_to_ishne(said, file):
        return file
    return replace(file, beside=said)


def _choose_header(files: FileSet, record_name: str | None) -> str:
    headers = files.names(".hea")
    if not headers:
        raise UnreadableRecordError(_no_header(files))
    if record_name is not None:
        wanted = record_name.lower().removesuffix(".hea") + ".hea"
        for name in headers:
            if name.lower() == wanted:
                return name
        raise UnreadableRecordError(
            f"There is no record {shown(base_name(record_name))} among the files; "
            f"they hold {_listed(headers)}."
        )
    if len(headers) > 1:
        records = {group.header_name for group in group_records(files.files.values())}
        # Headers that name each other in a circle are all segments.
        headers = [name for name in headers if name in records] or headers
    if len(headers) > 1:
        raise UnreadableRecordError(
            f"The files hold {len(headers)} recordings ({_listed(headers)}); choose one of them."
        )
    return headers[0]


def _listed(headers: list[str]) -> str:
    return listed([name.removesuffix(".hea").removesuffix(".HEA") for name in headers])


def _no_header(files: FileSet) -> str:
    others = list(files.files.values())
    if not others:
        return f"No file was given; choose {FORMATS}."
    first = others[0]
    if not any(file.size for file in others):
        return f"{shown(first.name)} is empty; copy or export it again."
    data = files.names(*WFDB_DATA_ENDINGS)
    if data:
        stem = data[0].rsplit(".", 1)[0]
        return (
            f"{shown(data[0])} came without its header; add {shown(stem)}.hea, which says how to "
            "read it."
        )
    known = unreadable_kind(first)
    if known is not None:
        return f"{shown(first.name)} is {known}; not a recording that can be read here."
    return f"{shown(first.name)} is not a recording that can be read here; choose {FORMATS}."
