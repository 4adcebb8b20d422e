"""Records of one's own: a folder and a CSV that names them.

Only the column with the record is needed. The others are taken where they are there:
``patient_id`` (or ``patient``), ``study_id``, ``record_id``, ``report`` (or ``text``), ``split``,
``quality``, and ``label_...``; any further column is kept as it is, and a label of nothing but
words as text, without ``label_``. Files written by a spreadsheet (semicolons, decimal commas,
Windows letters) are read as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from echoing_core.datasets.adapter import PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.datasets.study_set import SPLITS
from echoing_core.errors import DataSetError
from echoing_core.io import read_recording
from echoing_core.records import LONG_PADDING, FilterPadding, StandardEcg
from echoing_core.simulate import split_of

NO_RECORD = "row names no record"
OUTSIDE = "record outside the folder"

RECORD_COLUMNS = ("path", "record", "recording", "filename", "file")
TEXT_COLUMNS = ("report", "text")
PATIENT_COLUMNS = ("patient_id", "patient")
_SPLITS = {
    **{name: name for name in SPLITS},
    "training": "train",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "testing": "test",
}
# What spreadsheets and pandas write for bools.
_TRUTH = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_UNKNOWN = {"", "nan", "na", "n/a", "none", "null", "unknown", "?"}


@dataclass(frozen=True)
class Plain:
    """A folder of WFDB records and a CSV, for `datasets.preparing`.

    Without ``patient_id`` each record counts as a patient. Without ``split`` a patient's split
    hangs on its id alone: 80, 10 and 10 %. A patient of whom some rows name a split has it in all.
    """

    table: str = field(
        default="studies.csv", metadata={"help": "The CSV, as seen from the folder."}
    )
    record: str | None = field(
        default=None,
        metadata={"help": f"Column that names the records; without, {', '.join(RECORD_COLUMNS)}."},
    )
    source: str = field(default="plain", metadata={"help": "Name of the set in its table."})
    shorter: Literal["leave_out", "pad"] = field(
        default="leave_out",
        metadata={"help": "Records under 10 s: left out, or filled up with invalid samples."},
    )
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "plain"

    def plan(self, root: Path) -> Plan:
        """Read the CSV; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            There is no such table, or a column or cell cannot be used.
        """
        given, decimal_comma = read_csv(root / self.table)
        column = self._record_column(given)
        named = given[column].str.replace("\\", "/", regex=False).str.strip()
        paths = named.str.removesuffix(".hea").str.removesuffix(".dat").str.removesuffix(".mat")
        # A table comes from anywhere: what it names outside the folder is not read.
        inside = np.asarray([_is_inside(path) for path in paths], dtype=np.bool_)
        left_out = tuple(
            # Row 1 of the file holds the names, so the first record is row 2.
            LeftOut(path or f"row {number + 2}", OUTSIDE if path else NO_RECORD)
            for number, (path, good) in enumerate(zip(paths, inside, strict=True))
            if not good
        )
        given = given[inside].reset_index(drop=True)
        paths = paths[inside].reset_index(drop=True)
        # A record without an id is called by its path; slashes would read as folders.
        records = _column(given, "record_id", paths.str.replace("/", "_", regex=False))
        text = next((name for name in TEXT_COLUMNS if name in given.columns), None)
        person = next((name for name in PATIENT_COLUMNS if name in given.columns), "")
        patients = _column(given, person, records)
        columns: dict[str, Any] = {
            "source": self.source,
            "patient_id": patients,
            "study_id": _column(given, "study_id", records),
            "record_id": records,
            "split": _splits(given, patients, self.table),
            "report": "" if text is None else given[text],
            "simulated": _simulated(given),
            "quality": _column(given, "quality", pd.Series("unknown", index=given.index)),
            "path": paths,
        }
        words = _words(given, columns)
        for name in given.columns:
            if name in words:
                columns[words[name]] = given[name]
            elif name.startswith("label_"):
                columns[name] = label_numbers(given[name], name, self.table, decimal_comma)
            # Whatever else the table says stays, as text.
            elif name not in {*columns, column, text, person}:
                columns[name] = given[name]
        notes = []
        if not person:
            notes.append("The table names no patients: each record counts as one.")
        if "split" not in given.columns:
            notes.append("Splits by patient: 80 % train, 10 % valid, 10 % test.")
        if words:
            kept = ", ".join(f"{name} as {plain}" for name, plain in words.items())
            notes.append(f"Labels are numbers, so columns of words are kept as text: {kept}.")
        return Plan(pd.DataFrame(columns, index=given.index), left_out, {"notes": notes})

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read the first 10 s of one record; see `Adapter.read`.

        Raises
        ------
        RecordError
            It is damaged, or too short and ``shorter`` is ``"leave_out"``.
        """
        recording = read_recording(root / str(row["path"]))
        return first_window(
            recording,
            pad_shorter=self.shorter == "pad",
            filter_padding=self.filter_padding,
        )

    def _record_column(self, given: pd.DataFrame) -> str:
        wanted = RECORD_COLUMNS if self.record is None else (self.record,)
        for name in wanted:
            if name in given.columns:
                return name
        raise DataSetError(
            f"{self.table} has no column {' or '.join(wanted)} that names the records; it has "
            f"{', '.join(given.columns)}."
        )


def read_csv(path: Path) -> tuple[pd.DataFrame, bool]:
    """Read a CSV as spreadsheets write them.

    Parameters
    ----------
    path : Path

    Returns
    -------
    table : DataFrame
        All cells as text, without spaces around them.
    decimal_comma : bool
        Whether commas are decimal.

    Raises
    ------
    DataSetError
        It is not there, or no such table.
    """
    if not path.is_file():
        raise DataSetError(
            f"There is no {path.name} in {path.parent.name}. Write one with a column path, or name "
            "another with: --set table=NAME"
        )
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Letters of Windows, as spreadsheets there write them.
        text = raw.decode("cp1252", errors="replace")
    # The commonest of the three in the row of names; quoted text comes only below.
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise DataSetError(f"{path.name} is not a CSV that can be read: {error}.") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise DataSetError(f"{path.name} holds no row below its names. Add the records.")
    names = [name.strip() for name in rows[0]]
    if len(set(names)) < len(names):
        raise DataSetError(f"{path.name} has two columns of one name. Rename one of them.")
    odd = [number for number, row in enumerate(rows[1:], 2) if len(row) != len(names)]
    if odd:
        raise DataSetError(
            f"Line {odd[0]} of {path.name} has another number of cells than the names above it."
        )
    cells = [[cell.strip() for cell in row] for row in rows[1:]]
    # Spreadsheets that separate by semicolons do so because the comma is their decimal point.
    return pd.DataFrame(cells, columns=names, dtype=str), delimiter == ";"


def _is_inside(path: str) -> bool:
    """Whether a name stays in the folder: a table must not reach for other files."""
    parts = PurePosixPath(path).parts
    return bool(path) and not path.startswith("/") and ":" not in path and ".." not in parts


def _column(given: pd.DataFrame, name: str, otherwise: pd.Series[Any]) -> pd.Series[Any]:
    if name not in given.columns:
        return otherwise
    # An empty cell is no name; the other name takes its place row by row.
    return given[name].where(given[name] != "", otherwise)


def _splits(given: pd.DataFrame, patients: pd.Series[Any], table: str) -> list[str]:
    if "split" not in given.columns:
        return [split_of(str(patient)) for patient in patients]
    # One row that names a split decides for all rows of the patient.
    known: dict[str, str] = {}
    for patient, word in zip(patients, given["split"].str.lower(), strict=True):
        if not word:
            continue
        if word not in _SPLITS:
            raise DataSetError(
                f"{table} names the split {word}. The splits are {', '.join(SPLITS)}."
            )
        if known.setdefault(patient, _SPLITS[word]) != _SPLITS[word]:
            raise DataSetError(
                f"{table} puts patient {patient} into two splits. Split by patient, not by "
                "recording."
            )
    return [known.get(patient) or split_of(str(patient)) for patient in patients]


def _words(given: pd.DataFrame, taken: Collection[str]) -> dict[str, str]:
    """Columns called label_ that hold nothing but words, such as a sex, and their names as text.

    One number among the words makes it a label in which something is wrong.
    """
    words: dict[str, str] = {}
    for name in given.columns:
        plain = name.removeprefix("label_")
        if plain == name or not plain or plain in (*given.columns, *taken):
            continue
        cells = {cell.lower() for cell in given[name]} - _UNKNOWN
        if cells and all(cell[0].isalpha() and cell not in _TRUTH for cell in cells):
            words[name] = plain
    return words


def _simulated(given: pd.DataFrame) -> list[bool]:
    if "simulated" not in given.columns:
        return [False] * len(given)
    return [text.lower() in ("true", "1", "yes") for text in given["simulated"]]


def label_numbers(
    cells: pd.Series[Any], name: str, table: str, decimal_comma: bool
) -> pd.Series[Any]:
    """A label as bool where all of it is known and 0 or 1, otherwise as float with NaN.

    Parameters
    ----------
    cells : Series of str
    name, table : str
        Of the column and of its file, for messages.
    decimal_comma : bool

    Returns
    -------
    Series

    Raises
    ------
    DataSetError
        A cell is none of these.
    """

    def number(cell: str) -> float:
        word = cell.lower()
        if word in _UNKNOWN:
            return float("nan")
        if word in _TRUTH:
            return _TRUTH[word]
        try:
            return float(cell.replace(",", ".") if decimal_comma else cell)
        except ValueError as error:
            raise DataSetError(
                f"{table} has {cell!r} in the column {name}; labels are numbers, true or false, or "
                "empty where not known."
            ) from error

    # A label that is nowhere unknown is a bool, as evaluations of classes expect.
    values = cells.map(number).astype(np.float64)
    return values.astype(np.bool_) if values.isin((0.0, 1.0)).all() else values
