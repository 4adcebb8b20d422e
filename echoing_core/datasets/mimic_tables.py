"""CSV tables of the MIMIC-IV modules, plain or gzipped, columns by name."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from echoing_core.errors import DataSetError

SOURCE = "mimic-iv"
"""One name for all modules: their ``subject_id`` are the same people."""

_TIME = "%Y-%m-%d %H:%M:%S"
# Half a gigabyte of discharge notes, the longest rows of all tables.
_ROWS_AT_ONCE = 50_000


def patient_name(subject_id: object) -> str:
    """``patient_id`` of a subject, the same in every module.

    Parameters
    ----------
    subject_id : int or str

    Returns
    -------
    str
    """
    return f"{SOURCE}-{subject_id}"


def find_table(folder: Path, *stems: str, below: Sequence[str] = ()) -> Path | None:
    """``stem.csv`` or ``stem.csv.gz`` in a folder or in one of its folders ``below``.

    Parameters
    ----------
    folder : Path
    *stems : str
        Names under which the table is known; the first that is there is taken.
    below : sequence of str
        Further places, such as ``"hosp"``: people name a module's folder or the one around it.

    Returns
    -------
    Path or None
    """
    for place in (folder, *(folder / name for name in below)):
        for stem in stems:
            for ending in (".csv", ".csv.gz"):
                if (place / f"{stem}{ending}").is_file():
                    return place / f"{stem}{ending}"
    return None


def need_table(folder: Path, *stems: str, of: str, below: Sequence[str] = ()) -> Path:
    """As `find_table`.

    Parameters
    ----------
    folder, *stems, below
        As in `find_table`.
    of : str
        What the folder should be, for the message.

    Returns
    -------
    Path

    Raises
    ------
    DataSetError
        It is not there.
    """
    path = find_table(folder, *stems, below=below)
    if path is None:
        raise DataSetError(
            f"There is no {stems[0]}.csv or {stems[0]}.csv.gz in {folder.name or folder}, so it is "
            f"not {of} as it is published. Name the folder that holds it."
        )
    return path


def header_of(path: Path) -> list[str]:
    """Names of a table's columns, without spaces around them.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of str

    Raises
    ------
    DataSetError
        It cannot be read.
    """
    try:
        # A byte order mark, left by programs that save tables again, is no part of a name.
        names = pd.read_csv(path, nrows=0, encoding="utf-8-sig", encoding_errors="replace").columns
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path) from error
    return [str(name).strip() for name in names]


def read_table(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """Parts of a table, every value as text ("" where there is none), spaces trimmed.

    A part at a time, because discharge notes alone take several gigabytes.

    Parameters
    ----------
    path : Path
    needed, optional : sequence of str
        Columns to give; an optional one that is not there is "" throughout.

    Returns
    -------
    iterator of DataFrame

    Raises
    ------
    DataSetError
        A needed column is not there, or the file is damaged.
    """
    names = header_of(path)
    missing = [name for name in needed if name not in names]
    if missing:
        raise DataSetError(
            f"{path.name} lacks the column{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}. Use the published table."
        )
    wanted = [*needed, *(name for name in optional if name in names)]
    try:
        parts = pd.read_csv(
            path,
            header=0,
            names=names,
            usecols=wanted,
            # Text: numbers with leading zeros and ids that overflow float64 must survive.
            dtype=str,
            keep_default_na=False,
            chunksize=_ROWS_AT_ONCE,
            encoding="utf-8-sig",
            # A few bytes of another code page must not cost the other 800,000 rows.
            encoding_errors="replace",
        )
        for part in parts:
            trimmed = part.apply(lambda column: column.str.strip())
            yield trimmed.reindex(columns=[*needed, *optional], fill_value="")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path) from error


def whole_table(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """All of a table that fits into memory; see `read_table`.

    Parameters
    ----------
    path, needed, optional
        As for `read_table`.

    Returns
    -------
    DataFrame
        Every value as text.

    Raises
    ------
    DataSetError
        A needed column is not there, or the file is damaged.
    """
    parts = list(read_table(path, needed, optional))
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=str) for name in (*needed, *optional)})
    return pd.concat(parts, ignore_index=True)


def times(column: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Read times such as ``2180-07-23 08:44:00``.

    Parameters
    ----------
    column : Series of str

    Returns
    -------
    Series of Timestamp
        NaT where there is none.
    """
    # Some releases add fractions of a second.
    return pd.to_datetime(column.str.slice(0, 19), format=_TIME, errors="coerce")


def numbers(column: pd.Series[str]) -> pd.Series[float]:
    """Numbers as float; NaN where there is none.

    Parameters
    ----------
    column : Series of str

    Returns
    -------
    Series of float
    """
    return pd.to_numeric(column, errors="coerce").astype(np.float64)


def read_admissions(hosp: Path) -> pd.DataFrame:
    """``subject_id``, ``hadm_id``, ``start``, ``end`` of every stay in hospital.

    Rows without both times, or that end before they start, are left out: nothing can lie in them.

    Parameters
    ----------
    hosp : Path
        MIMIC-IV's folder, or its ``hosp``.

    Returns
    -------
    DataFrame

    Raises
    ------
    DataSetError
        The folder has no admissions table.
    """
    path = need_table(hosp, "admissions", of="MIMIC-IV", below=("hosp",))
    table = whole_table(path, ("subject_id", "hadm_id", "admittime", "dischtime"))
    start, end = times(table["admittime"]), times(table["dischtime"])
    stays = table[["subject_id", "hadm_id"]].assign(start=start, end=end)
    return stays[(start <= end).to_numpy()].reset_index(drop=True)


def _unreadable(path: Path) -> DataSetError:
    return DataSetError(
        f"{path.name} cannot be read as a table. Download it again and compare its checksum with "
        "the published one."
    )
