"""A zip archive of one recording to its files, in memory, within limits.

Only the last part of each name counts; nothing is written to disk. What an archive says of its
sizes is checked first, and what comes out is counted again while it is unpacked.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from mmap import mmap
from pathlib import PurePosixPath

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile, base_name, shown

_MARKS = (b"PK\x03\x04", b"PK\x05\x06")

# A multi-segment record of a day, or a batch of some ten records.
MAX_ENTRIES = 64
MAX_RATIO = 100
MAX_TOTAL_BYTES = 512 * 1024**2
_SMALL_BYTES = 1024**2
"""Below this no ratio is a bomb: a header of repeated lines shrinks well."""

# Nested archives are how zip bombs multiply.
_NESTED = (b"PK\x03\x04", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 1 << 20
_MOST_DIRECTORY = 1 << 20
_END, _LOCATOR, _END_64 = 22, 20, 56


def is_zip(head: bytes) -> bool:
    """Whether a file begins as a zip archive does, be it an empty one.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head.startswith(_MARKS)


def unzip(file: SourceFile) -> list[tuple[str, bytes]]:
    """The files of an archive, by their last names.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    list of (str, bytes)
        In the archive's order; what macOS adds (``__MACOSX``, ``.DS_Store``) is left out.

    Raises
    ------
    UnreadableRecordError
        Not a zip archive, damaged, encrypted, too many or too large files, links, or archives
        within the archive.
    """
    name = shown(file.name)
    if file.size > MAX_TOTAL_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_TOTAL_BYTES // 1024**2} MB; give the files unzipped."
        )
    # The list of files is read before the first can be counted: a million take ten seconds.
    if _directory_bytes(file.content()) > _MOST_DIRECTORY:
        raise UnreadableRecordError(
            f"{name} holds far more than {MAX_ENTRIES} files; zip the files of one recording."
        )
    try:
        # In memory: no name of an archive ever becomes a path.
        with zipfile.ZipFile(io.BytesIO(file.content()[:])) as archive:
            return _unpack(archive, name)
    except UnreadableRecordError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        # Of offsets beyond any file, and extra fields that end early.
        OverflowError,
        LookupError,
        struct.error,
    ) as exc:
        raise UnreadableRecordError(
            f"{name} is a damaged zip archive; zip the files of the recording again."
        ) from exc


def _directory_bytes(content: bytes | mmap) -> int:
    """Length of an archive's list of files as its end says; 0 where there is none."""
    # At the end, before a comment of at most 65,535 bytes; looked for as `zipfile` does, which
    # also believes the record of 64 bits before it, whatever the short one says.
    end = bytes(content[-(_END + 65_535 + _LOCATOR + _END_64) :])
    at = len(end) - _END
    if not (end[at:].startswith(_MARKS[1]) and end.endswith(b"\0\0")):
        at = end.rfind(_MARKS[1])
    if at < 0:
        return 0
    long = at - _LOCATOR - _END_64
    said = int.from_bytes(end[at + 12 : at + 16], "little")
    if long >= 0 and end[at - _LOCATOR : at].startswith(b"PK\x06\x07"):
        return int.from_bytes(end[long + 40 : long + 48], "little")
    return said


def _unpack(archive: zipfile.ZipFile, name: str) -> list[tuple[str, bytes]]:
    # `is_dir` looks at the last letter of a name, and a damaged archive may have none.
    named = [e for e in archive.infolist() if e.filename]
    entries = [e for e in named if not e.is_dir() and not _is_clutter(e.filename)]
    if not entries:
        raise UnreadableRecordError(f"{name} holds no file; zip the files of one recording.")
    if len(entries) > MAX_ENTRIES:
        raise UnreadableRecordError(
            f"{name} holds {len(entries)} files; at most {MAX_ENTRIES} are read, so zip the files "
            "of one recording."
        )
    if sum(e.file_size for e in entries) > MAX_TOTAL_BYTES:
        raise UnreadableRecordError(
            f"{name} unpacks to more than {MAX_TOTAL_BYTES // 1024**2} MB; zip fewer files, or "
            "give them unzipped."
        )
    for entry in entries:
        _check(entry, name)
    # Counted again while unpacking, as the sizes of the directory may lie.
    left = MAX_TOTAL_BYTES
    unpacked = []
    for entry in entries:
        data = bytearray()
        with archive.open(entry) as stream:
            while chunk := stream.read(_CHUNK):
                data += chunk
                if len(data) > entry.file_size or len(data) > left:
                    raise UnreadableRecordError(
                        f"{name} unpacks to more than it declares; zip the files again."
                    )
        left -= len(data)
        if data[:8].startswith(_NESTED):
            raise UnreadableRecordError(
                f"{name} holds another archive ({shown(base_name(entry.filename))}); unpack that "
                "one first and zip the files themselves."
            )
        unpacked.append((base_name(entry.filename), bytes(data)))
    return unpacked


def _is_clutter(path: str) -> bool:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return "__MACOSX" in parts or not parts or parts[-1] in (".DS_Store", "Thumbs.db")


def _check(entry: zipfile.ZipInfo, name: str) -> None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UnreadableRecordError(
            f"{name} holds a link instead of a file; zip the files themselves."
        )
    if entry.flag_bits & 0x1:
        raise UnreadableRecordError(
            f"{name} is protected by a password; zip the files again without one."
        )
    if entry.compress_type not in _METHODS:
        raise UnreadableRecordError(
            f"{name} is packed in a way that is not read here; zip the files with the ordinary "
            "method (deflate)."
        )
    if entry.file_size > _SMALL_BYTES and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise UnreadableRecordError(
            f"{name} would unpack to more than {MAX_RATIO} times its size, which no ECG does; give "
            "the files unzipped."
        )
