"""Recordings that people judged, and what they said: one grade, or a flag for each lead."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from echoing_core.errors import DataSetError, RecordError, SignalQualityError
from echoing_core.io import read_recording
from echoing_core.records import LEADS, BoolArray, Recording, StandardEcg
from echoing_core.signals import standardise

_GRADES = {
    "acceptable": False,
    "good": False,
    "clean": False,
    "0": False,
    "unacceptable": True,
    "bad": True,
    "noisy": True,
    "1": True,
}
_N_NAMED = 3


def read_grades(path: Path) -> dict[str, bool]:
    """Read a CSV with the columns ``record`` and ``quality``.

    Parameters
    ----------
    path : path
        Further columns are ignored. ``quality`` is acceptable, good, clean or 0, or else
        unacceptable, bad, noisy or 1, in small or capital letters.

    Returns
    -------
    dict of record name to bool
        True for a bad recording, in the order of the file.

    Raises
    ------
    DataSetError
        The file is no such table, grades a record twice, or holds only one of the two grades.
    """
    grades: dict[str, bool] = {}
    for row in _rows(path, ("record", "quality")):
        record, word = row["record"], row["quality"].lower()
        if word not in _GRADES:
            raise DataSetError(
                f"{path.name} grades record {record!r} as {row['quality']!r}. Write acceptable "
                "or unacceptable, good or bad, clean or noisy, or 0 or 1 (1 = bad)."
            )
        # Two grades of one recording cannot both hold, and neither is the better one.
        _once(record, grades, path)
        grades[record] = _GRADES[word]
    # An AUROC of one class is not defined, and the user should know why.
    if len(set(grades.values())) < 2:
        kind = "bad" if any(grades.values()) else "good"
        raise DataSetError(
            f"All {len(grades)} records of {path.name} are graded {kind}. How well a score tells "
            "good from bad needs both."
        )
    return grades


def read_bad_leads(path: Path) -> dict[str, BoolArray]:
    """Read a CSV with the columns ``record`` and ``bad_I`` to ``bad_V6`` (1 = bad lead).

    Returns
    -------
    dict of record name to ndarray, shape (12,), bool
        In the order of `LEADS`.

    Raises
    ------
    DataSetError
        The file is no such table, or names a record twice.
    """
    columns = [f"bad_{lead}" for lead in LEADS]
    flags: dict[str, BoolArray] = {}
    for row in _rows(path, ("record", *columns)):
        wrong = [name for name in columns if row[name] not in ("0", "1")]
        if wrong:
            raise DataSetError(
                f"{path.name} holds {row[wrong[0]]!r} as {wrong[0]} of record "
                f"{row['record']!r}, where 0 or 1 is needed."
            )
        _once(row["record"], flags, path)
        flags[row["record"]] = np.array([row[name] == "1" for name in columns])
    return flags


def find_records(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Header of each record, anywhere below ``folder``.

    Raises
    ------
    DataSetError
        There is no such folder, a record is not in it, or more than one has its name.
    """
    if not folder.is_dir():
        raise DataSetError(f"There is no folder {folder.name or folder}. Name one with recordings.")
    headers: dict[str, list[Path]] = {}
    for header in sorted(folder.rglob("*.hea")):
        # By name anywhere below: challenge sets come in folders of their own making.
        headers.setdefault(header.stem, []).append(header)
    wanted = list(names)
    missing = [name for name in wanted if name not in headers]
    if missing:
        named = ", ".join(missing[:_N_NAMED]) + (", ..." if len(missing) > _N_NAMED else "")
        raise DataSetError(
            f"{len(missing)} of {len(wanted)} graded records have no header (.hea) in "
            f"{folder.name or folder}: {named}. Name the folder that holds them all."
        )
    for name in wanted:
        if len(headers[name]) > 1:
            raise DataSetError(
                f"{folder.name or folder} holds {len(headers[name])} records named {name}, so "
                "nobody knows which one was graded. Keep one of them."
            )
    return {name: headers[name][0] for name in wanted}


def read_judged(header: Path) -> tuple[Recording, StandardEcg] | None:
    """A recording that people judged; None if the reader refuses it because nothing in it moves.

    Raises
    ------
    DataSetError
        It cannot be used for another reason.
    """
    try:
        try:
            recording = read_recording(header)
        # Nothing moves in it. That is a judgement too, and the worst one.
        except SignalQualityError:
            return None
        return recording, standardise(recording)
    except RecordError as error:
        raise DataSetError(f"Graded record {header.stem} cannot be used: {error}") from error


def _once(record: str, so_far: dict[str, bool] | dict[str, BoolArray], path: Path) -> None:
    if record in so_far:
        raise DataSetError(f"{path.name} names record {record!r} twice. Keep one line of it.")


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Lines of a CSV with at least ``columns``; spaces around names and values do not count."""
    try:
        # Spreadsheets put a byte-order mark in front.
        with path.open(encoding="utf-8-sig", newline="") as table:
            # strict: a stray quote would otherwise swallow the rest of the file.
            reader = csv.reader(table, strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if "".join(line).strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(
            f"{path.name or path} cannot be read as a CSV file ({_reason(error)}). Name a table "
            f"with the columns {columns[0]} and {columns[1]}."
        ) from error
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataSetError(
            f"{path.name} lacks the column{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}; it has {', '.join(header) or 'none'}."
        )
    for number, line in lines:
        if len(line) != len(header):
            raise DataSetError(
                f"Line {number} of {path.name} has {len(line)} cells, and the header "
                f"{len(header)}. Correct that line."
            )
    if not lines:
        raise DataSetError(f"{path.name} has a header and no line below it.")
    return [
        {name: cell.strip() for name, cell in zip(header, line, strict=True)} for _, line in lines
    ]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be opened"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
