"""The cells of a table: text, Parquet and NPY behind one face, within limits."""

from __future__ import annotations

import abc
import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.documents import DocumentError, parse_json
from echoing_core.errors import UnreadableRecordError
from echoing_core.io.channels import check_unpacked, mv_per_unit
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.numbers import NUMBER
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.table.matlab import is_matrix, matrix_in
from echoing_core.io.table.sheet import is_sheet, sheet_as_text

if TYPE_CHECKING:
    import pandas as pd

_NPY_MARK = b"\x93NUMPY"
_PARQUET_MARK = b"PAR1"

SamplesIn = Literal["rows", "columns"]

MAX_COLUMNS = 256
MAX_CELLS = 200_000_000
"""1.6 GB, if all of them were read at once, which they are not."""
MAX_TEXT_BYTES = 512 * 1024**2
HEAD_ROWS = 4000

TIME_WORDS = frozenset(
    {
        "time", "t", "times", "timestamp", "timestamps", "seconds", "elapsed time", "zeit",
        "sensor timestamp", "phone timestamp", "timestamp (formatted)", "unix time",
    }
)  # fmt: skip

_HEAD_BYTES = 4 * 1024**2
# Lines looked at: preambles of recorders have up to a hundred.
_MOST_LINES = 2000
_PREAMBLE_LINES = 200
# More fields than this in a line are samples, not channels.
_WIDE = 128
# Cells of a line that are looked at to see whether it holds numbers, and characters of them.
_LINE_CELLS, _LINE_HEAD = 2000, 20_000
# Of what `_AT_END` finds, with what stands before it.
_LONGEST_END = 8
_NPY_HEADER = re.compile(
    r"\{\s{0,9}'descr':\s{0,9}'([<>|=]?[a-zA-Z]\d{0,3})',\s{0,9}'fortran_order':\s{0,9}(True|False),"
    r"\s{0,9}'shape':\s{0,9}\(([\dL, ]{0,60})\),?\s{0,9}\}\s*",
    re.ASCII,
)
_EMPTY = ("", "nan", "na", "n/a", "null", "none", "-", "nd")
_CLOCK = re.compile(
    r"\[?(?:\d{4}-\d\d-\d\d[T ])?\d{1,6}:\d{1,2}(?::\d{1,2})?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"
    r"(?: \d\d/\d\d/\d{4})?\]?",
    re.ASCII,
)
_UNIT = r"mV|uV|µV|μV|nV|V|m?volts?|microvolts?|millivolts?|s|ms|us|µs|μs|ns|sec|seconds?"
# Patterns for what a file says have bounded parts alone: with two that may both take the same
# characters, a line made for it holds the program for minutes.
_AT_END = re.compile(r"[\s_](mV|uV|µV|μV|ms|us|s|sec|seconds)\Z", re.IGNORECASE)
_ONLY_UNIT = re.compile(_UNIT, re.IGNORECASE)
# "Sampling rate: 500 Hz", "sample frequency (kHz) = 1", "fs_hz,250".
_RATE = re.compile(
    r"(?:sampl[a-z]{0,8}[\s_]{0,4}(?:rate|freq[a-z]{0,8})|frequency|\bfs(?:_hz)?\b)"
    r"\D{0,12}?(\d{1,9}(?:\.\d{1,9})?)\s{0,4}(k?)",
    re.IGNORECASE | re.ASCII,
)
# "Abtastrate,512 Hertz": a number in Hz is a rate in any language, if it is the only one.
_IN_HZ = re.compile(
    r"[,;:=\t]\s{0,9}\"?(\d{2,5}(?:[.,]\d{1,9})?)\s{0,4}(k?)(?:hz|hertz|hercios|herz|гц|герц|ヘルツ|赫兹|赫茲|헤르츠)",
    re.IGNORECASE,
)
_UNITS_LINE = re.compile(r"\bunits?\b\W{0,20}(mV|uV|µV|μV|V)\b", re.IGNORECASE)


def name_and_unit(name: str) -> tuple[str, str | None]:
    """A column's name and the unit in it.

    Parameters
    ----------
    name : str
        ``"II (mV)"`` and ``"time_ms"`` hold a unit, ``"V1"`` does not.

    Returns
    -------
    name : str
    unit : str or None
    """
    text = name.strip().strip("'\"").strip()
    if text[-1:] in ("]", ")"):
        at = max(text.rfind("["), text.rfind("("))
        unit = text[at + 1 : -1].strip()
        before = text[:at] if at >= 0 and _ONLY_UNIT.fullmatch(unit) else ""
    else:
        match = _AT_END.search(text, max(0, len(text) - _LONGEST_END))
        unit, before = (match[1], text[: match.start()]) if match else ("", "")
    if not before.strip():
        return text, None
    return before.strip(" _\t"), unit


@dataclass
class Cells(abc.ABC):
    """A table: names, and columns of numbers on demand.

    With ``samples_in`` "columns" its rows are called columns here, so that a column is always one
    series in time.

    Attributes
    ----------
    kind : str
        ``"CSV"``, ``"TSV"``, ``"Parquet"``, ``"NPY"`` or ``"XLSX"``.
    names : list of str
    units : list of str or None
        Parallel to ``names``.
    n_samples : int
        Of each column.
    samples_in : {"rows", "columns"}
    stated_fs_hz, stated_units
        Of the whole table, where its header or preamble says so.
    stated_lead : str or None
        Of its one column, where its preamble says so.
    stated_finding : str or None
        What the recorder found, where its preamble says so.
    clocks : frozenset of int
        Columns of times such as 12:00:00.5.
    """

    kind: str
    names: list[str]
    units: list[str | None]
    n_samples: int
    samples_in: SamplesIn
    stated_fs_hz: float | None = None
    stated_units: str | None = None
    stated_lead: str | None = None
    stated_finding: str | None = None
    clocks: frozenset[int] = field(default_factory=frozenset)

    def load(self, columns: Sequence[int]) -> None:
        """Read columns at once; afterwards ``n_samples`` is exact, which matters for text.

        Parameters
        ----------
        columns : sequence of int
        """
        del columns

    @abc.abstractmethod
    def column(self, index: int, n: int | None = None) -> npt.NDArray[np.float64]:
        """The numbers of a column.

        Parameters
        ----------
        index : int
        n : int, optional
            No more than the first ``n``.

        Returns
        -------
        ndarray, float64
            NaN for empty cells.

        Raises
        ------
        UnreadableRecordError
            The file is damaged, or the column holds something else than numbers.
        """

    def first(self) -> npt.NDArray[np.float64]:
        """The first values of each column, shape (n_columns, n)."""
        n = min(HEAD_ROWS, self.n_samples)
        return np.array([self.column(i, n) for i in range(len(self.names))], dtype=np.float64)

    def has_clock(self, index: int) -> bool:
        """Whether a column holds times such as 12:00:00.5."""
        return index in self.clocks

    def times(self, index: int, n: int | None = None) -> npt.NDArray[np.float64]:
        """A time column, in its own unit; times of day and dates in seconds.

        Parameters
        ----------
        index : int
        n : int, optional
            No more than the first ``n``.
        """
        return self.column(index, n)


def is_binary_table(head: bytes) -> bool:
    """Whether a file begins as NPY, Parquet or XLSX does.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head.startswith((_NPY_MARK, _PARQUET_MARK)) or is_sheet(head)


def is_table_text(head: bytes) -> bool:
    """Whether a file begins like a text with columns of numbers.

    Parameters
    ----------
    head : bytes
        The first bytes of the file; a long preamble needs many of them.
    """
    try:
        return _sniff(_decoded(head[:_HEAD_BYTES])[0], cut=True) is not None
    except UnreadableRecordError:
        return False


def open_cells(file: SourceFile, samples_in: SamplesIn | None = None) -> Cells:
    """The table in a file, by its content.

    Parameters
    ----------
    file : SourceFile
    samples_in : {"rows", "columns"}, optional
        Without, as the shape suggests.

    Raises
    ------
    UnreadableRecordError
        No table, damaged, or beyond the limits.
    """
    head = file.head(64)
    if is_sheet(head):
        cells = _open_text(sheet_as_text(file), samples_in)
        cells.kind = "XLSX"
        return cells
    if head.startswith(_NPY_MARK):
        return _open_npy(file, samples_in)
    if is_matrix(file.head(128)):
        return _array_cells(matrix_in(file), "MATLAB", samples_in, shown(file.name))
    if head.startswith(_PARQUET_MARK):
        return _open_parquet(file, samples_in)
    return _open_text(file, samples_in)


def _check_shape(n_samples: int, n_columns: int, name: str) -> None:
    if n_samples < 1 or n_columns < 1:
        raise UnreadableRecordError(f"{name} is an empty table; export the recording again.")
    if n_columns > MAX_COLUMNS:
        raise UnreadableRecordError(
            f"{name} has {n_columns} columns; at most {MAX_COLUMNS} are read, so export the ECG "
            "leads alone, or say whether samples lie in rows or in columns."
        )
    if n_samples * n_columns > MAX_CELLS:
        raise UnreadableRecordError(
            f"{name} has {n_samples:,} rows of {n_columns} columns, more than can be read at once; "
            "export a shorter part."
        )


# --- NPY ---------------------------------------------------------------------------------------


@dataclass
class _ArrayCells(Cells):
    array: npt.NDArray[Any] = field(default_factory=lambda: np.empty((0, 0)))

    def column(self, index: int, n: int | None = None) -> npt.NDArray[np.float64]:
        return np.asarray(self.array[index, :n], dtype=np.float64)


def _open_npy(file: SourceFile, samples_in: SamplesIn | None) -> Cells:
    name = shown(file.name)
    content = file.content()
    try:
        shape, fortran, dtype, start = _npy_header(bytes(content[:4096]))
    except (ValueError, TypeError) as exc:
        raise UnreadableRecordError(
            f"{name} is a damaged NPY file, or not one of plain numbers; save the array again."
        ) from exc
    if dtype.kind not in "iuf" or dtype.hasobject or len(shape) not in (1, 2) or 0 in shape:
        raise UnreadableRecordError(
            f"{name} is not an array of numbers with leads and times; save one array of shape "
            "(leads, times)."
        )
    if math.prod(shape) > MAX_CELLS:
        raise UnreadableRecordError(f"{name} is larger than can be read at once; save a part.")
    count = math.prod(shape)
    if file.size - start < count * dtype.itemsize:
        raise UnreadableRecordError(f"{name} is cut short; copy or save it again.")
    flat = np.frombuffer(content, dtype=dtype, count=count, offset=start)
    # A view of the file: nothing is copied until a column is asked for.
    array = flat.reshape(shape, order="F" if fortran else "C")
    return _array_cells(array, "NPY", samples_in, name)


def _npy_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type and first byte of the numbers; NumPy's own reader evaluates the text.

    Raises
    ------
    ValueError, TypeError
        It is not the header of an array of plain numbers.
    """
    # Versions 2 and 3 have a longer number before the text, which 3 writes in UTF-8.
    wide = head[6:7] in (b"\x02", b"\x03")
    if head[:6] != b"\x93NUMPY" or not (wide or head[6:7] == b"\x01"):
        raise ValueError("another version")
    first = 12 if wide else 10
    start = first + int.from_bytes(head[8:first], "little")
    match = _NPY_HEADER.fullmatch(head[first:start].decode("utf-8"))
    if match is None or start > len(head):
        raise ValueError("another header")
    sizes = (n.strip().removesuffix("L") for n in match[3].split(","))
    # Python 2 wrote its long integers with an L.
    return tuple(int(n) for n in sizes if n), match[2] == "True", np.dtype(match[1]), start


def _array_cells(
    array: npt.NDArray[Any], kind: str, samples_in: SamplesIn | None, name: str
) -> Cells:
    along: SamplesIn
    if array.ndim == 1:
        array = array[None]
        along = "columns"
    else:
        along = samples_in or ("rows" if array.shape[0] >= array.shape[1] else "columns")
        if along == "rows":
            array = array.T
    _check_shape(array.shape[1], array.shape[0], name)
    names = [f"column {i + 1}" if along == "rows" else f"row {i + 1}" for i in range(len(array))]
    return _ArrayCells(
        kind=kind,
        names=names,
        units=[None] * len(names),
        n_samples=array.shape[1],
        samples_in=along,
        array=array,
    )


# --- Parquet -----------------------------------------------------------------------------------


@dataclass
class _ParquetCells(Cells):
    table: Any = None
    places: tuple[int, ...] = ()
    name: str = ""

    def column(self, index: int, n: int | None = None) -> npt.NDArray[np.float64]:
        import pyarrow as pa

        try:
            if n is None:
                column = self.table.read(columns=[self._path(index)]).column(0)
                if len(column) != self.n_samples:
                    raise ValueError("a column of another length than the table")
            else:
                batch = next(self.table.iter_batches(batch_size=n, columns=[self._path(index)]))
                column = batch.column(0)
            if self.has_clock(index):
                moments = np.asarray(column.to_numpy(zero_copy_only=False))
                return np.asarray((moments - moments[0]) / np.timedelta64(1, "s"), np.float64)
            return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        except (pa.ArrowException, ValueError, TypeError, OSError, StopIteration) as exc:
            raise UnreadableRecordError(
                f"{self.name} is damaged, or a column of it holds no numbers; save it again."
            ) from exc

    def first(self) -> npt.NDArray[np.float64]:
        """As of any table; in a damaged one columns end where they like."""
        rows = [self.column(i, min(HEAD_ROWS, self.n_samples)) for i in range(len(self.names))]
        if len({len(row) for row in rows}) > 1:
            raise UnreadableRecordError(
                f"{self.name} is damaged: its columns are of different lengths; save it again."
            )
        return np.array(rows, dtype=np.float64)

    def _path(self, index: int) -> str:
        return str(self.table.schema_arrow.names[self.places[index]])


def _open_parquet(file: SourceFile, samples_in: SamplesIn | None) -> Cells:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = shown(file.name)
    if samples_in == "columns":
        raise UnreadableRecordError(
            f"In {name} each column is one series, as in every Parquet file; choose "
            "samples in rows."
        )
    try:
        table = pq.ParquetFile(pa.BufferReader(file.content()))
        schema, meta = table.schema_arrow, table.metadata
        # Compression can hide a thousandfold; what it unpacks to stands in the metadata.
        unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    except (pa.ArrowException, ValueError, OSError) as exc:
        raise UnreadableRecordError(f"{name} is a damaged Parquet file; save it again.") from exc
    places: list[int] = []
    clocks: set[int] = set()
    for place, column in enumerate(schema):
        kind = column.type
        clock = pa.types.is_timestamp(kind) or pa.types.is_duration(kind)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or clock:
            # Place among the numeric columns, as names and values are.
            if clock:
                clocks.add(len(places))
            places.append(place)
    names = [str(schema.names[place]) for place in places]
    if len(set(schema.names)) < len(schema.names):
        raise UnreadableRecordError(f"{name} has two columns of one name; save it again.")
    if meta.num_rows and not names:
        raise UnreadableRecordError(f"{name} holds no column of numbers; save the ECG leads.")
    _check_shape(int(meta.num_rows), len(names), name)
    # Repeated numbers take no room in any of the declared sizes, but in memory they do.
    check_unpacked(8 * int(meta.num_rows) * len(names), file.size, name)
    if unpacked > 8 * MAX_CELLS:
        raise UnreadableRecordError(
            f"{name} unpacks to more than can be read at once; save a shorter part."
        )
    stated = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (schema.metadata or {}).items()
        if key in (b"fs_hz", b"units")
    }
    rate = stated.get("fs_hz", "")
    return _ParquetCells(
        kind="Parquet",
        names=names,
        units=[None] * len(names),
        n_samples=int(meta.num_rows),
        samples_in="rows",
        stated_fs_hz=float(rate) if NUMBER.fullmatch(rate) and float(rate) > 0 else None,
        stated_units=stated.get("units"),
        clocks=frozenset(clocks),
        table=table,
        places=tuple(places),
        name=name,
    )


# --- Text --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sniffed:
    """How a text is cut into cells."""

    separator: str
    decimal: str
    data_line: int
    n_fields: int
    names: tuple[str, ...]
    units: tuple[str | None, ...]
    preamble: str
    clocks: frozenset[int]


@dataclass
class _TextCells(Cells):
    content: Any = b""
    encoding: str = "utf-8"
    sniffed: _Sniffed | None = None
    name: str = ""
    rows: npt.NDArray[np.float64] | None = None
    _read_columns: pd.DataFrame | None = None
    _is_complete: bool = False

    def column(self, index: int, n: int | None = None) -> npt.NDArray[np.float64]:
        if self.rows is not None:
            return self.rows[index, :n]
        if self.has_clock(index):
            return self.times(index, n)
        # The first rows are read for a preview, all of them only where a column is asked for in
        # full.
        if self._read_columns is None or (n is None and not self._is_complete):
            self._read_columns = self._frame(n)
            self._is_complete = n is None
        return np.asarray(self._read_columns[index].to_numpy()[:n], dtype=np.float64)

    def load(self, columns: Sequence[int]) -> None:
        if self.rows is None:
            self._read_columns, self._is_complete = self._frame(None, columns), True
            self.n_samples = len(self._read_columns)

    def _frame(self, n: int | None, columns: Sequence[int] | None = None) -> pd.DataFrame:
        every = range(len(self.names)) if columns is None else columns
        wanted = [i for i in every if i not in self.clocks]
        return self._read(wanted, n, dict.fromkeys(wanted, "float64"))

    def _read(self, columns: list[int], n: int | None, kinds: dict[int, str]) -> pd.DataFrame:
        import pandas as pd

        how = self.sniffed
        if how is None:
            raise ValueError("a text that was not looked at")
        try:
            return pd.read_csv(
                io.BytesIO(self.content),
                # Runs of blanks are one separator: numbers are often aligned by them.
                sep=r"\s+" if how.separator == " " else how.separator,
                decimal=how.decimal,
                header=None,
                skiprows=how.data_line,
                names=list(range(how.n_fields)),
                # Without, a line that ends in a separator would shift all columns by one.
                index_col=False,
                usecols=columns,
                dtype=kinds,
                na_values=list(_EMPTY),
                nrows=n,
                encoding=self.encoding,
                encoding_errors="replace",
                skip_blank_lines=True,
                engine="c",
                float_precision="high",
            )
        except (ValueError, OverflowError, MemoryError) as exc:
            raise UnreadableRecordError(
                f"{self.name} has cells that are no numbers, or rows of different length; export "
                "the table again."
            ) from exc

    def times(self, index: int, n: int | None = None) -> npt.NDArray[np.float64]:
        if not self.has_clock(index):
            return self.column(index, n)
        texts = self._read([index], n, {index: "str"})[index]
        return _clock_seconds(texts, self.name)


def _clock_seconds(texts: pd.Series[Any], name: str) -> npt.NDArray[np.float64]:
    """Times such as 1:02.5, 12:00:00.5 or 2024-05-01T12:00:00.5 in seconds."""
    import pandas as pd

    plain = texts.str.strip("[]' \"")
    try:
        if plain.str.contains("-", regex=False).any():
            moments = pd.to_datetime(plain, format="ISO8601", utc=True)
            return np.asarray((moments - moments.iloc[0]).dt.total_seconds(), dtype=np.float64)
        time_of_day = plain.str.split(" ").str[0]
        parts = time_of_day.str.split(":", expand=True).astype("float64").to_numpy()
    except (ValueError, TypeError, OverflowError, AttributeError) as exc:
        raise UnreadableRecordError(
            f"The time column of {name} holds something that is no time; say the sampling rate."
        ) from exc
    # Horner: hours, minutes and seconds, or minutes and seconds alone.
    seconds = np.zeros(len(parts))
    for column in parts.T:
        seconds = seconds * 60.0 + column
    # A recording over midnight goes on, it does not jump back by a day.
    steps = np.diff(seconds, prepend=seconds[:1])
    return np.asarray(seconds + 86400.0 * np.cumsum(steps < -43200.0), dtype=np.float64)


def _open_text(file: SourceFile, samples_in: SamplesIn | None) -> Cells:
    name = shown(file.name)
    if file.size > MAX_TEXT_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_TEXT_BYTES // 1024**2} MB, the most that is read of text; "
            "export a shorter part."
        )
    content = file.content()
    text, encoding = _decoded(bytes(content[:_HEAD_BYTES]))
    how = _sniff(text, cut=file.size > _HEAD_BYTES)
    if how is None:
        raise UnreadableRecordError(
            f"{name} is not a recording that can be read here, and not a table of numbers either; "
            "choose another file."
        )
    stated, unit = _stated_rate(how.preamble), _stated_unit(how.preamble)
    wide = samples_in == "columns" or (samples_in is None and how.n_fields > _WIDE)
    kind = "TSV" if how.separator == "\t" and how.n_fields > 1 else "CSV"
    if wide:
        return _open_wide(content, how, encoding, name, kind, stated, unit)
    # Counting newlines takes a fraction of parsing; it is made exact when the columns are read.
    n_lines = _count_lines(content, encoding) - how.data_line
    _check_shape(n_lines, how.n_fields, name)
    cells = _TextCells(
        kind=kind,
        names=list(how.names),
        units=list(how.units),
        n_samples=n_lines,
        samples_in="rows",
        stated_fs_hz=stated or None,
        stated_units=unit,
        stated_lead=_stated_lead(how.preamble) if how.n_fields == 1 else None,
        stated_finding=_stated_finding(how.preamble),
        clocks=how.clocks,
        content=content,
        encoding=encoding,
        sniffed=how,
        name=name,
    )
    # Blank lines between or at the end are no rows: the count is that of what was read.
    if n_lines <= HEAD_ROWS or _has_blank_end(content):
        # Any numeric column will do: all have as many rows.
        probe = next((i for i in range(how.n_fields) if i not in how.clocks), None)
        if probe is None:
            raise UnreadableRecordError(f"{name} holds times but no numbers; export it again.")
        cells.n_samples = len(cells._read([probe], None, {probe: "float64"}))
        _check_shape(cells.n_samples, how.n_fields, name)
    return cells


def _open_wide(
    content: Any,
    how: _Sniffed,
    encoding: str,
    name: str,
    kind: str,
    stated: float | None,
    unit: str | None,
) -> Cells:
    """One row a lead, perhaps with its name before it."""
    lines = [
        line for line in bytes(content[:]).decode(encoding, "replace").splitlines() if line.strip()
    ]
    # Cells are counted, and cut one line at a time: as texts they take ten times their bytes.
    n_cells = [_count_cells(line, how.separator) for line in lines]
    # A row without its name is one shorter; anything shorter still is a preamble.
    widest = max(n_cells)
    rows = [
        line
        for line, n in zip(lines, n_cells, strict=True)
        if n >= widest - 1 and _share_of_numbers(_cut(line[:_LINE_HEAD], how.separator), how) > 0.5
    ]
    if not rows or len(rows) > MAX_COLUMNS:
        raise UnreadableRecordError(
            f"{name} has {len(rows)} rows of numbers, which is too many or too few for leads; "
            "choose samples in rows."
        )
    names, values = [], []
    for number, line in enumerate(rows, start=1):
        first = _cut(line[:_LINE_HEAD], how.separator)[0]
        named = not _is_number(first, how.decimal)
        names.append(first.strip(" '\"") if named else f"row {number}")
        try:
            values.append(_numbers_of(line, how)[named:])
        except ValueError as exc:
            raise UnreadableRecordError(
                f"Row {number} of {name} has cells that are no numbers; export the table again."
            ) from exc
    if len({len(row) for row in values}) > 1:
        raise UnreadableRecordError(f"The rows of {name} have different lengths; export it again.")
    array = np.array(values, dtype=np.float64)
    _check_shape(array.shape[1], array.shape[0], name)
    return _TextCells(
        kind=kind,
        names=names,
        units=[None] * len(names),
        n_samples=array.shape[1],
        samples_in="columns",
        stated_fs_hz=stated or None,
        stated_units=unit,
        rows=array,
        name=name,
    )


def _stated_rate(preamble: str) -> float | None:
    """Samples per second, where the lines above the numbers say it."""
    rate = _RATE.search(preamble)
    if rate is None:
        in_hz = list(_IN_HZ.finditer(preamble))
        rate = in_hz[0] if len(in_hz) == 1 else None
    if rate is None:
        return None
    return float(rate[1].replace(",", ".")) * (1000.0 if rate[2] else 1.0)


def _stated_unit(preamble: str) -> str | None:
    """The one unit that the lines above the numbers say, in any language: "Einheit,µV"."""
    if named := _UNITS_LINE.search(preamble):
        return named[1]
    # OpenBCI writes microvolts, and says so in its manual alone.
    if preamble.lstrip("\ufeff").startswith("%OpenBCI"):
        return "uV"
    values = [cell for line in preamble.splitlines() for cell in _key_and_value(line)[1:]]
    units = {value for value in values if value and mv_per_unit(value) is not None}
    return units.pop() if len(units) == 1 else None


def _stated_lead(preamble: str) -> str | None:
    """The lead of a table of one column: "Lead,Lead I" or "Ableitung,Ableitung II"."""
    leads = set()
    for line in preamble.splitlines():
        cells = _key_and_value(line)
        words = cells[1].split() if len(cells) == 2 else []
        # A word before it, which other lines with a bare "I" in them do not have.
        if len(words) >= 2 or (words and "lead" in cells[0].lower()):
            leads.add(canonical_lead_name(words[-1]))
    leads.discard(None)
    return leads.pop() if len(leads) == 1 else None


# As watches spell it in the languages of Europe, in Japanese and in Chinese.
_FINDING = re.compile(
    r"(?:classifi[ck]a[a-zçãóòé]+|classificatie|clasificaci[oó]n|klassifi[a-z]+|klasyfikacja|分類|分类)",
    re.IGNORECASE,
)


def _stated_finding(preamble: str) -> str | None:
    """What a watch found: "Classification,Sinus Rhythm"."""
    for line in preamble.splitlines():
        cells = _key_and_value(line)
        if len(cells) == 2 and cells[1] and _FINDING.fullmatch(cells[0]):
            return cells[1]
    return None


def _key_and_value(line: str) -> list[str]:
    separator = next((s for s in (",", ";", "\t", ":", "=") if s in line), ",")
    return [cell.strip(" \"'#%") for cell in line.split(separator, 1)]


def _decoded(head: bytes) -> tuple[str, str]:
    """Text of the first bytes and its encoding."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[: len(head) // 2 * 2].decode("utf-16", "replace"), "utf-16"
    # Other control bytes do not occur in a text.
    if sum(byte < 32 and byte not in b"\t\r\n\f\x1a" for byte in head[:4096]):
        raise UnreadableRecordError("This is no text.")
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        # The last letter may be cut in two.
        if exc.start < len(head) - 4:
            return head.decode("latin-1"), "latin-1"
    return head.decode("utf-8-sig", "replace"), "utf-8-sig"


def _count_lines(content: Any, encoding: str) -> int:
    step = 1 << 24
    newline = b"\n"
    count = sum(bytes(content[i : i + step]).count(newline) for i in range(0, len(content), step))
    # Old Macintosh programs end lines with a carriage return alone.
    if not count:
        return bytes(content[:]).count(b"\r") + 1
    return count + (0 if bytes(content[-2:]).rstrip(b"\0").endswith(newline) else 1)


def _has_blank_end(content: Any) -> bool:
    tail = bytes(content[-64:]).replace(b"\0", b"").replace(b"\r", b"")
    return tail.endswith(b"\n\n") or tail[-1:] in (b" ", b"\t", b";", b",")


def _cut(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    if '"' in line:
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
        except csv.Error:
            pass
    return [cell.strip() for cell in line.rstrip("\r\n").split(separator)]


def _is_number(cell: str, decimal: str) -> bool:
    cell = cell.strip().strip('"').strip()
    if cell.lower() in _EMPTY:
        return True
    return bool(NUMBER.fullmatch(cell.replace(",", ".", 1) if decimal == "," else cell))


def _count_cells(line: str, separator: str) -> int:
    if separator == " ":
        return len(line.split())
    # A separator within quotation marks is none.
    if '"' in line:
        return len(_cut(line, separator)) if len(line) <= _HEAD_BYTES else line.count('","') + 1
    return line.count(separator) + 1


def _numbers_of(line: str, how: _Sniffed) -> npt.NDArray[np.float64]:
    """The numbers of one long line; NaN for empty cells, and for a name that comes first.

    Raises
    ------
    ValueError
        Another cell is no number.
    """
    import pandas as pd

    if how.separator == " ":
        text = re.sub(r"\s+", "\n", line.strip())
    elif '"' in line and len(line) <= _HEAD_BYTES:
        text = "\n".join(_cut(line, how.separator))
    elif how.separator == how.decimal:
        text = line.strip().replace('","', "\n")
    else:
        text = line.rstrip("\r\n").replace(how.separator, "\n")
    text = text.replace('"', "")
    first, _, rest = text.partition("\n")
    if not _is_number(first, how.decimal):
        text = f"\n{rest}"
    column = pd.read_csv(
        # Bytes: as a stream of text each character would take four.
        io.BytesIO(text.encode()),
        header=None,
        names=[0],
        # Between the cells of a line nothing but line breaks is left.
        sep="\x01",
        decimal=how.decimal,
        dtype="float64",
        na_values=[*_EMPTY, *(word.upper() for word in _EMPTY)],
        skip_blank_lines=False,
        skipinitialspace=True,
        quoting=csv.QUOTE_NONE,
        engine="c",
        float_precision="high",
    )
    return column[0].to_numpy()


def _share_of_numbers(row: list[str], how: _Sniffed) -> float:
    return sum(_is_number(cell, how.decimal) for cell in row[:50]) / max(len(row[:50]), 1)


def _sniff(text: str, *, cut: bool) -> _Sniffed | None:
    """How a text is to be cut; None where it is no table."""
    lines = text.splitlines()[:_MOST_LINES]
    if cut and len(lines) > 1 and len(lines) < _MOST_LINES:
        # The last line may be cut in the middle by the limit on bytes.
        lines = lines[:-1]
    best: tuple[tuple[int, int], _Sniffed] | None = None
    for separator in ("\t", ";", ",", " "):
        # A comma is both only where cells stand in quotation marks.
        quoted = any('"' in line for line in lines[-5:])
        for decimal in (".", ",") if separator != "," or quoted else (".",):
            sniffed = _try(lines, separator, decimal)
            if sniffed is None:
                continue
            # A semicolon or tab that works is meant; between decimals, the one that works.
            rank = (sniffed.n_fields, -sniffed.data_line)
            if best is None or rank > best[0]:
                best = (rank, sniffed)
    return None if best is None else best[1]


def _try(lines: list[str], separator: str, decimal: str) -> _Sniffed | None:
    for start in range(min(len(lines), _PREAMBLE_LINES)):
        n, row = _beginning(lines[start], separator)
        if not lines[start].strip() or not _is_data(row, decimal):
            continue
        # Six lines alike are a table; a single line of numbers may be part of a preamble.
        following = [
            _beginning(line, separator) for line in lines[start : start + 6] if line.strip()
        ]
        if any(m != n or not _is_data(r, decimal) for m, r in following):
            continue
        if len(following) < 2 and n <= _WIDE:
            return None
        if separator == "," and n == 2 and _is_decimal_comma(lines, start):
            return None
        return _described(lines, start, n, row, separator, decimal)
    return None


def _is_decimal_comma(lines: list[str], start: int) -> bool:
    """Whether lines such as -265,868 are one number each, and not two columns of whole numbers.

    Decimals have leading zeros (0,034), which a column of numbers has not, and never a sign. A
    header with two names right above the numbers says that they are two.
    """
    cells = [line.strip().split(",") for line in lines[start:] if line.strip()]
    if any(
        len(c) != 2 or not re.fullmatch(r"[-+]?\d+", c[0]) or not re.fullmatch(r"\d+", c[1])
        for c in cells
    ):
        return False
    return any(len(c[1]) > 1 and c[1][0] == "0" for c in cells) or any(c[0] == "-0" for c in cells)


def _is_data(row: list[str], decimal: str) -> bool:
    """Numbers, times and empty cells, with one number at least; a name may come first."""
    # Where samples run along rows, the lead's name may stand first.
    rest = row[1:_LINE_CELLS] if len(row) > _WIDE else row
    numbers = 0
    for cell in rest:
        plain = cell.strip().strip("'\"").strip()
        if _is_number(plain, decimal):
            numbers += plain.lower() not in _EMPTY
        elif not _CLOCK.fullmatch(plain):
            return False
    return numbers > 0


def _beginning(line: str, separator: str) -> tuple[int, list[str]]:
    """How many cells a line has, and those at its beginning: of a long one not all are made."""
    if len(line) <= _LINE_HEAD or '"' in line:
        cells = _cut(line, separator)
        return len(cells), cells
    # The last of them is cut in the middle.
    cells = _cut(line[:_LINE_HEAD], separator)[:-1]
    n = _count_cells(line, separator)
    return (n, cells) if cells else (1, [line])


def _described(
    lines: list[str], start: int, n: int, row: list[str], separator: str, decimal: str
) -> _Sniffed:
    names = _names_in_json(lines[:start], n) or tuple(f"column {i + 1}" for i in range(n))
    units: tuple[str | None, ...] = (None,) * n
    before = [i for i in range(start) if lines[i].strip()]
    # A header stands right above the numbers; what is further up is about all of them.
    if before and before[-1] == start - 1 and n <= _WIDE and '": ' not in lines[before[-1]]:
        last = [c.strip("'\" #") for c in _cut(lines[before[-1]], separator)]
        if len(last) == n and all(_ONLY_UNIT.fullmatch(c) for c in last if c) and any(last):
            units = tuple(c or None for c in last)
            before = before[:-1]
            last = [c.strip("'\" #") for c in _cut(lines[before[-1]], separator)] if before else []
        if len(last) == n and any(last):
            names = tuple(c or names[i] for i, c in enumerate(last))
            before = before[:-1]
    plain = [c.strip().strip("'\"").strip() for c in row]
    clocks = frozenset(
        i for i, c in enumerate(plain) if not _is_number(c, decimal) and _CLOCK.fullmatch(c)
    )
    return _Sniffed(
        separator=separator,
        decimal=decimal,
        data_line=start,
        n_fields=n,
        names=names,
        units=units,
        preamble="\n".join(lines[i] for i in before)[:20_000],
        clocks=clocks if n <= _WIDE else frozenset(),
    )


def _names_in_json(before: Sequence[str], n: int) -> tuple[str, ...] | None:
    """Columns as OpenSignals names them, in JSON in a comment above the numbers.

    There "CH1" says the socket and a second list what is plugged into it, so a channel is called
    "CH1 ECG" here.
    """
    for line in before:
        text = line.lstrip("# ")
        if not text.startswith("{") or '"column"' not in text or len(text) > 20_000:
            continue
        try:
            devices = parse_json(text.encode())
        except DocumentError:
            return None
        device = next(iter(devices.values()), None) if isinstance(devices, dict) else None
        names = device.get("column") if isinstance(device, dict) else None
        if not isinstance(names, list) or len(names) != n:
            return None
        sensors = device.get("sensor") if isinstance(device, dict) else None
        sensors = list(sensors) if isinstance(sensors, list) else []
        # Sensors are those of the last columns; counters and digital lines come first.
        first = n - len(sensors)
        return tuple(
            f"{name} {sensors[i - first]}" if i >= first and sensors else f"digital {name}"
            for i, name in enumerate(names)
        )
    return None
