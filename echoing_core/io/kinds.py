"""The formats that can be read: how a file of each begins, and its reader.

A file is known by its first bytes and not by its name. To add a format whose files are recordings
by themselves, write a module with a test of the first bytes and a reader, and give it one line in
`KINDS`; another package names its `Kind` as an entry point of ``echoing.readers``. WFDB stands
apart: there a recording is a header and the files that it names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from echoing_core import plugins
from echoing_core.io.atc import is_atc, read_atc
from echoing_core.io.contec import is_contec, read_contec
from echoing_core.io.ecg_dicom import is_dicom, read_dicom_ecg
from echoing_core.io.edf import is_edf, read_edf
from echoing_core.io.fhir import is_fhir, read_fhir
from echoing_core.io.ishne import is_ishne, read_ishne
from echoing_core.io.mfer import is_mfer, read_mfer
from echoing_core.io.scp import is_scp, read_scp
from echoing_core.io.sources import SourceFile
from echoing_core.io.table import is_binary_table, is_table_text, read_table_as_stated
from echoing_core.io.xml import is_xml, read_xml
from echoing_core.io.zipped import is_zip
from echoing_core.records import Recording

logger = logging.getLogger(__name__)

FORMATS = (
    "WFDB (.hea with .dat or .mat), EDF, EDF+, BDF, DICOM, SCP-ECG, ISHNE Holter, AliveCor "
    "ATC, MFER, GE MUSE, GE CardioSoft, Mortara ELI, Philips or HL7 aECG XML, "
    "HL7 FHIR (JSON), "
    "a table (CSV, TSV, XLSX, Parquet, NPY), or a zip of these"
)
"""What can be read, for people."""

WFDB_DATA_ENDINGS = (".dat", ".mat", ".flac", ".xyz")
WFDB_ENDINGS = (".hea", *WFDB_DATA_ENDINGS)


@dataclass(frozen=True)
class Kind:
    """One format whose files are recordings by themselves.

    Attributes
    ----------
    name : str
        Several lines may have one name, where a format begins in several ways.
    begins : callable
        Whether the first bytes of a file are those of this format.
    read : callable or None
        The reader; None for an archive, which is unpacked first.
    is_text : bool
        Plain text has no mark of its own, so the files of a WFDB record are excepted: they may
        begin with anything.
    endings : tuple of str
        Of names of such files, in small letters with the point: what a folder of recordings is
        searched for. Ours are in `io.many`.
    """

    name: str
    begins: Callable[[bytes], bool]
    read: Callable[[SourceFile], Recording] | None
    is_text: bool = False
    endings: tuple[str, ...] = ()


KINDS: tuple[Kind, ...] = (
    Kind("edf", is_edf, read_edf),
    Kind("dicom", is_dicom, read_dicom_ecg),
    Kind("ishne", is_ishne, read_ishne),
    Kind("atc", is_atc, read_atc),
    Kind("scp", is_scp, read_scp),
    Kind("mfer", is_mfer, read_mfer),
    Kind("contec", is_contec, read_contec),
    # A spreadsheet is a zip, too.
    Kind("table", is_binary_table, read_table_as_stated),
    Kind("zip", is_zip, None),
    Kind("xml", is_xml, read_xml, is_text=True),
    Kind("fhir", is_fhir, read_fhir, is_text=True),
    Kind("table", is_table_text, read_table_as_stated, is_text=True),
)
"""Asked in this order: what has a mark of its own comes before what is guessed from text."""


def kinds() -> tuple[Kind, ...]:
    """`KINDS` and those of plugins, in the order in which they are asked.

    Returns
    -------
    tuple of Kind
        What has a mark of its own first, ours before those of plugins; then what is text, with
        ours last, since a table of numbers may be taken for anything.
    """
    plugged = []
    for name, kind in plugins.load_all(plugins.READERS).items():
        if isinstance(kind, Kind):
            plugged.append(kind)
        else:
            logger.warning("The reader %s is no echoing_core.io.kinds.Kind, and is left out.", name)
    both = (*(k for k in KINDS if not k.is_text), *plugged, *(k for k in KINDS if k.is_text))
    return tuple(sorted(both, key=lambda kind: kind.is_text))


HEAD_BYTES = 1 << 18
"""What tells a format: a header of a table or XML can be long before anything else."""

_UNREADABLE: tuple[tuple[bytes, str], ...] = (
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
    (b"@  MFER", "an MFER file, so export it as SCP-ECG, DICOM or EDF"),
    (b"MFR ", "an MFER file, so export it as SCP-ECG, DICOM or EDF"),
    (b"GDF ", "a GDF file, so convert it to EDF"),
)


def kind_of(file: SourceFile) -> str | None:
    """Name among `kinds` of the format of a file that is a recording by itself.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    str or None
        ``"zip"`` for an archive; None for what belongs to a WFDB record or cannot be read.
    """
    kind = _kind(file)
    return None if kind is None else kind.name


def read_file(file: SourceFile) -> Recording:
    """Read a file that is a recording by itself.

    Parameters
    ----------
    file : SourceFile
        One for which `kind_of` gives neither None nor ``"zip"``.

    Raises
    ------
    RecordError
        One of its children, from the reader of its format.
    """
    kind = _kind(file)
    if kind is None or kind.read is None:
        raise ValueError(f"{file.name} is no recording by itself")
    return kind.read(file)


def unreadable_kind(file: SourceFile) -> str | None:
    """What a file is that is known and cannot be read, in words.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    str or None
        The middle of a sentence; None for a file that is not known either.
    """
    head = file.head(16)
    return next((words for mark, words in _UNREADABLE if head.startswith(mark)), None)


def _kind(file: SourceFile) -> Kind | None:
    head = file.head(HEAD_BYTES)
    of_wfdb = file.name.lower().endswith(WFDB_ENDINGS)
    for kind in kinds():
        if not (kind.is_text and of_wfdb) and kind.begins(head):
            return kind
    return None
