"""What kind of recording a file holds, by its first bytes and not by its name."""

from __future__ import annotations

from typing import Literal

from echoing_core.io.ecg_dicom import is_dicom
from echoing_core.io.edf import is_edf
from echoing_core.io.sources import SourceFile
from echoing_core.io.table.cells import NPY_MARK, PARQUET_MARK, is_table_text
from echoing_core.io.xml.tree import is_xml
from echoing_core.io.zipped import ZIP_MARKS

Kind = Literal["edf", "dicom", "zip", "xml", "table"]

_HEAD_BYTES = 1 << 18

WFDB_DATA_ENDINGS = (".dat", ".mat", ".flac", ".xyz")
WFDB_ENDINGS = (".hea", *WFDB_DATA_ENDINGS)

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF, which holds a picture of an ECG and not its signal"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"II*\0", "a picture"),
    (b"BM", "a picture"),
    (b"\x1f\x8b", "packed with gzip, so unpack it first"),
    (b"7z\xbc\xaf", "packed with 7-Zip, so unpack it first"),
    (b"Rar!", "packed with RAR, so unpack it first"),
    (b"\xd0\xcf\x11\xe0", "an Office document, so save the table as CSV"),
    (b"\x89HDF", "an HDF5 or MATLAB 7.3 file, so save the signal as NPY, CSV or EDF"),
)


def kind_of(file: SourceFile) -> Kind | None:
    """The kind of a file that holds a recording by itself, or None."""
    head = file.head(_HEAD_BYTES)
    if is_edf(head):
        return "edf"
    if is_dicom(head):
        return "dicom"
    if head.startswith(ZIP_MARKS):
        return "zip"
    if head.startswith((NPY_MARK, PARQUET_MARK)):
        return "table"
    # What belongs to a WFDB record may begin with anything.
    if file.name.lower().endswith(WFDB_ENDINGS):
        return None
    if is_xml(head):
        return "xml"
    return "table" if is_table_text(head) else None


def foreign(file: SourceFile) -> str | None:
    """What a file is that is known and cannot be read, in words, or None."""
    head = file.head(16)
    return next((words for mark, words in _FOREIGN if head.startswith(mark)), None)
