"""Recordings to files of other formats. A format is one writer and one entry in `WRITERS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from echoing_core.io.wfdb.annotations import annotation_bytes
from echoing_core.io.wfdb.write import wfdb_files
from echoing_core.io.write.aecg import aecg_bytes
from echoing_core.io.write.dicom import dicom_bytes
from echoing_core.io.write.edf import edf_bytes
from echoing_core.io.write.outgoing import Outgoing, outgoing
from echoing_core.io.write.tables import csv_bytes, parquet_bytes

__all__ = ["WRITERS", "Outgoing", "Writer", "outgoing"]


@dataclass(frozen=True)
class Writer:
    """One format that recordings can be written in.

    Attributes
    ----------
    words : str
        For people.
    ending : str
        Of the file that is named; with the point.
    files : callable
        From a recording and the stem of its files to the files' contents by name.
    """

    words: str
    ending: str
    files: Callable[[Outgoing, str], dict[str, bytes]]


def _wfdb_files(out: Outgoing, stem: str) -> dict[str, bytes]:
    files = wfdb_files(
        stem, out.signal_mv(), out.fs_hz, out.lead_names,
        comments=out.remarks, gain=1000.0 / out.unit_uv,
    )  # fmt: skip
    # The header first, as people look for it.
    files = dict(sorted(files.items(), key=lambda file: not file[0].endswith(".hea")))
    if out.annotations:
        files[f"{stem}.atr"] = annotation_bytes(out.annotations, out.fs_hz)
    return files


def _single(words: str, ending: str, make: Callable[[Outgoing], bytes]) -> Writer:
    return Writer(words, ending, lambda out, stem: {f"{stem}{ending}": make(out)})


WRITERS: dict[str, Writer] = {
    "wfdb": Writer("WFDB", ".hea", _wfdb_files),
    "edf": _single("EDF+", ".edf", edf_bytes),
    "dicom": _single("DICOM", ".dcm", dicom_bytes),
    "aecg": _single("HL7 aECG", ".xml", aecg_bytes),
    "csv": _single("CSV", ".csv", csv_bytes),
    "parquet": _single("Parquet", ".parquet", parquet_bytes),
}
