"""What an upload is, in one go: for a program that asks a person before it opens something."""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoing_core.errors import (
    EchoingError,
    MissingLeadError,
    RecordError,
    SamplingRateError,
    UnitsError,
    UnsaidTimesError,
)
from echoing_core.io.many import BatchItem
from echoing_core.io.reading import channels_in, read_recording, records_in, table_in
from echoing_core.io.sources import Source
from echoing_core.records import Recording

_UNSAID = (MissingLeadError, SamplingRateError, UnitsError, UnsaidTimesError)


@dataclass(frozen=True, eq=False)
class Looked:
    """What was found in files that somebody gave.

    Attributes
    ----------
    names : tuple of str
        Of the recordings, for ``record_name``; of several, nothing else was looked at.
    is_table : bool
        A person has to say what its columns are, before anything is read.
    recording : Recording or None
    error : EchoingError or None
        Why there is no recording.
    can_be_told : bool
        Only something is not said in the files: there are channels to look at, and to name.
    """

    names: tuple[str, ...] = ()
    is_table: bool = False
    recording: Recording | None = None
    error: EchoingError | None = None
    can_be_told: bool = False


def look(source: Source, record_name: str | None = None) -> Looked:
    """Read a recording, or find out what a person has to say first.

    Parameters
    ----------
    source
        As for `read_recording`.
    record_name : str, optional
        Which of several recordings; without, several are listed and not read.

    Returns
    -------
    Looked
        Never an error of what the files hold: that is one of its fields.
    """
    names: tuple[str, ...] = ()
    if record_name is None:
        try:
            names = tuple(records_in(source))
        except RecordError:  # the reader says what is wrong
            names = ()
        if len(names) > 1:
            return Looked(names)
    try:
        if table_in(source, None, record_name) is not None:
            return Looked(names, is_table=True)
    except RecordError:
        pass
    try:
        return Looked(names, recording=read_recording(source, record_name=record_name))
    except EchoingError as error:
        return Looked(
            names,
            error=error,
            can_be_told=isinstance(error, _UNSAID) and _told(source, record_name),
        )


def _told(source: Source, record_name: str | None) -> bool:
    try:
        return bool(channels_in(source, record_name).columns)
    except EchoingError:
        return False


def opened_archive(item: BatchItem) -> list[BatchItem] | None:
    """The recordings of an item that is an archive.

    Parameters
    ----------
    item : BatchItem

    Returns
    -------
    list of BatchItem or None
        With their unpacked files in place of the archive. None where it is no archive, and can be
        read as it is.

    Raises
    ------
    UnreadableRecordError
        The archive is damaged, encrypted, or larger than an archive of ECGs.
    """
    if not item.files or not item.is_archive:
        return None
    return [replace(inner, files=files) for inner, files in item.inside()]
