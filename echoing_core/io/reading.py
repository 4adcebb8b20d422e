"""One entrance for recordings: finds the record, then hands it to the reader of its format."""

from __future__ import annotations

from echoing_core.errors import EchoingError, UnreadableRecordError
from echoing_core.io.sources import FileSet, Source, base_name, gather, shown
from echoing_core.io.wfdb import read_wfdb
from echoing_core.io.wfdb_header import MAX_HEADER_BYTES, parse_header
from echoing_core.records import Recording

_DATA_ENDINGS = (".dat", ".mat", ".flac", ".xyz")
_MAX_NAMED = 8


def read_recording(source: Source, *, record_name: str | None = None) -> Recording:
    """Read one ECG recording.

    Parameters
    ----------
    source : path, sequence of paths, mapping of name to bytes, or sequence of (name, bytes)
        A path may be a header (.hea), a data file beside its header, a record's name without
        ending, or a folder with one record. Bytes are the files of an upload.
    record_name : str, optional
        Which record, where ``source`` holds several.

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
    """
    files, header_name = gather(source)
    if header_name is None:
        header_name = _choose_header(files, record_name)
    return read_wfdb(files, header_name)


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
        headers = _without_segments(files, headers)
    if len(headers) > 1:
        raise UnreadableRecordError(
            f"The files hold {len(headers)} recordings ({_listed(headers)}); choose one of them."
        )
    return headers[0]


def _without_segments(files: FileSet, headers: list[str]) -> list[str]:
    """Headers that are not segments of another one among them."""
    segments: set[str] = set()
    for name in headers:
        file = files.find(name)
        try:
            header = parse_header(file.head(MAX_HEADER_BYTES + 1), name) if file else None
        except EchoingError:
            continue  # a damaged header is reported if it is the one chosen
        if header is not None:
            segments.update(s.name.lower() + ".hea" for s in header.segments)
    return [name for name in headers if name.lower() not in segments] or headers


def _listed(headers: list[str]) -> str:
    stems = [shown(name[: -len(".hea")]) for name in headers]
    more = f" and {len(stems) - _MAX_NAMED} more" if len(stems) > _MAX_NAMED else ""
    return ", ".join(stems[:_MAX_NAMED]) + more


def _no_header(files: FileSet) -> str:
    data = files.names(*_DATA_ENDINGS)
    if data:
        stem = data[0].rsplit(".", 1)[0]
        return (
            f"{shown(data[0])} came without its header; add {shown(stem)}.hea, which says how to "
            "read it."
        )
    others = files.names()
    if not others:
        return "No file was given; choose the header (.hea) and the data file (.dat or .mat)."
    return (
        f"{shown(others[0])} is not a WFDB recording; choose a header (.hea) together with its "
        "data file (.dat or .mat)."
    )
