"""Tables (CSV, TSV, Parquet, NPY) to `Recording`, by what the file says and a person adds.

A table of numbers does not say what they are. A time column or a header may tell the sampling
rate, and headers may tell leads and units; the rest has to be said (`TableLayout`), and nothing
is taken from the position of a column.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import (
    MAX_FS_HZ,
    Channel,
    Findings,
    check_size,
    check_span,
    mv_per_unit,
    recording_from,
)
from echoing_core.io.lead_names import canonical_lead_name, guessed_leads, named_leads
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.table.cells import (
    HEAD_ROWS,
    TIME_WORDS,
    Cells,
    SamplesIn,
    name_and_unit,
    open_cells,
)
from echoing_core.io.told import LEFT_OUT, NOTHING, Told, channel_leads
from echoing_core.records import Recording

COUNTS = "counts"
"""The unit of raw numbers of a converter; they need `TableLayout.counts_per_mv`."""

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_IRREGULAR = 0.25
"""Share of a step by which a time stamp may be off, besides the rounding of all stamps."""


@dataclass(frozen=True)
class TableColumn:
    """One series of numbers in a table: a column, or a row where samples run along rows.

    Attributes
    ----------
    index : int
        Its position, from 0.
    name : str
        As the table calls it, or "column 3".
    lead : str or None
        Canonical lead, where its name says one.
    unit : str or None
        Where its name or a second header line says one.
    is_time : bool
    guess : str or None
        The lead that it may be, where its name says none; a person has to agree.
    """

    index: int
    name: str
    lead: str | None
    unit: str | None
    is_time: bool
    guess: str | None = None


@dataclass(frozen=True)
class TableLayout:
    """What the numbers of a table are.

    Attributes
    ----------
    leads : mapping of int to str
        Lead (`LEADS`, `FRANK_LEADS`) by column; columns not named are left out.
    units : str
        Of all leads: mV, uV, V, or `COUNTS`.
    fs_hz : float, optional
        Sampling rate; not with ``time_column``.
    time_column : int, optional
        The column that gives the time of each sample, from which rate and gaps follow.
    time_unit : str
        s, ms or us; without meaning for times such as 12:00:00.5.
    samples_in : {"rows", "columns"}
        Whether one row is one moment (the usual way) or one row is one lead.
    counts_per_mv : float, optional
        For `COUNTS`.
    """

    leads: Mapping[int, str]
    units: str
    fs_hz: float | None = None
    time_column: int | None = None
    time_unit: str = "s"
    samples_in: SamplesIn = "rows"
    counts_per_mv: float | None = None


@dataclass(frozen=True, eq=False)
class TablePreview:
    """What a table looks like, and what it says of itself.

    Attributes
    ----------
    file_name, kind : str
    n_samples : int
        Of each column.
    columns : tuple of TableColumn
    samples_in : {"rows", "columns"}
        As asked for, or as the shape suggests.
    fs_hz : float or None
        Where a header says it, or a time column shows it.
    fs_from : str
        Which of the two, in words.
    time_column : int or None
    time_unit : str
    units : str or None
        The one unit of all leads, where the table says it.
    first : ndarray, shape (n_columns, n), float64
        The first values as they stand in the table; NaN where there is no number.
    is_table : bool
        False for the channels of a recording of another format, whose values are in ``units``.
    needs_page : bool
        Leads have different lengths, and on which printed page they lie has to be said.
    """

    file_name: str
    kind: str
    n_samples: int
    columns: tuple[TableColumn, ...]
    samples_in: SamplesIn
    fs_hz: float | None
    fs_from: str
    time_column: int | None
    time_unit: str
    units: str | None
    first: npt.NDArray[np.float64] = field(repr=False)
    is_table: bool = True
    needs_page: bool = False

    @property
    def stated(self) -> TableLayout | None:
        """The layout, if the table says all of it.

        Returns
        -------
        TableLayout or None
            None if a person has to say some of it.
        """
        leads = {c.index: c.lead for c in self.columns if c.lead and not c.is_time}
        rate = self.fs_hz is not None or self.time_column is not None
        if not leads or self.units is None or not rate or len(set(leads.values())) < len(leads):
            return None
        by_time = self.time_column is not None
        return TableLayout(
            leads=leads,
            units=self.units,
            fs_hz=None if by_time else self.fs_hz,
            time_column=self.time_column,
            time_unit=self.time_unit,
            samples_in=self.samples_in,
        )


def preview_table(file: SourceFile, samples_in: SamplesIn | None = None) -> TablePreview:
    """Look at a table without reading all of it.

    Parameters
    ----------
    file : SourceFile
    samples_in : {"rows", "columns"}, optional
        Without, rows, unless the table is short and wide.

    Raises
    ------
    UnreadableRecordError
        No table, damaged, or beyond the limits.
    """
    cells = open_cells(file, samples_in)
    named = [name_and_unit(raw) for raw in cells.names]
    units = [cells.units[i] or unit for i, (_, unit) in enumerate(named)]
    fs_hz, fs_from, time_unit = cells.stated_fs_hz, "its header", "s"
    # Recorders write several clocks, of which one may count samples or come in bursts.
    clocks = [i for i, (name, _) in enumerate(named) if name.lower() in TIME_WORDS]
    rates = {i: _first_rate(cells, i, units[i]) for i in clocks}
    time_column = min(
        (i for i, rate in rates.items() if rate is not None),
        key=lambda i: (cells.has_clock(i), i),
        default=None,
    )
    if time_column is not None and (rate_and_unit := rates[time_column]) is not None:
        fs_hz, time_unit = rate_and_unit
        fs_from = f"its time column {shown(cells.names[time_column])}"
    # Names with a unit ("V1 (mV)") and names that only look as if they had one ("ECG_V").
    spelled = [
        raw if canonical_lead_name(name) is None and canonical_lead_name(raw) else name
        for raw, (name, _) in zip(cells.names, named, strict=True)
    ]
    leads = [lead.lead for lead in named_leads(spelled)]
    if len(leads) == 1 and leads[0] is None:
        leads = [cells.stated_lead]
    guesses = guessed_leads(spelled)
    columns = [
        TableColumn(
            i,
            shown(raw),
            None if i in clocks else leads[i],
            None if i in clocks and i != time_column else units[i],
            i == time_column,
            None if leads[i] or i in clocks else guesses.get(spelled[i]),
        )
        for i, raw in enumerate(cells.names)
    ]
    first = cells.first()
    # Leads in different units would need a layout lead by lead, which nobody writes.
    sure = {c.unit for c in columns if c.lead} or {c.unit for c in columns if c.guess}
    in_all = {c.unit for c in columns if c.unit and mv_per_unit(c.unit) is not None}
    unit_of_all = sure.pop() if len(sure) == 1 else None
    if unit_of_all is None and not any(c.lead for c in columns) and len(in_all) == 1:
        unit_of_all = in_all.pop()
    unit_of_all = unit_of_all or cells.stated_units
    return TablePreview(
        file_name=file.name,
        kind=cells.kind,
        n_samples=cells.n_samples,
        columns=tuple(columns),
        samples_in=cells.samples_in,
        fs_hz=fs_hz,
        fs_from=fs_from if fs_hz is not None else "",
        time_column=time_column,
        time_unit=time_unit,
        units=unit_of_all if unit_of_all and mv_per_unit(unit_of_all) is not None else None,
        first=first,
    )


def read_table(file: SourceFile, layout: TableLayout) -> Recording:
    """Read a table whose layout is known.

    Parameters
    ----------
    file : SourceFile
    layout : TableLayout

    Returns
    -------
    Recording
        Millivolts; NaN for empty cells, and where a time column jumps.

    Raises
    ------
    RecordError
        One of its children: the layout does not fit the table, or the numbers cannot be an ECG.
    """
    name = shown(file.name)
    cells = open_cells(file, layout.samples_in)
    _check_layout(layout, cells, name)
    # Twice: before columns are read, and again when gaps in time are filled.
    check_size(cells.n_samples, len(layout.leads), layout.fs_hz or 100.0, name)
    cells.load([*layout.leads, *([] if layout.time_column is None else [layout.time_column])])
    notes = Findings()
    places: npt.NDArray[np.int64] | None = None
    if layout.time_column is None:
        fs_hz = float(layout.fs_hz or 0.0)
    else:
        time_s = cells.times(layout.time_column) * (
            1.0 if cells.has_clock(layout.time_column) else TIME_UNITS[layout.time_unit]
        )
        fs_hz, places = _grid(time_s, name)
        # A day of stamps in float64 is 350 MB at 500 Hz.
        del time_s
        notes.add(f"The sampling rate of {fs_hz:g} Hz was taken from the time column.")
    if not 0 < fs_hz <= MAX_FS_HZ:
        raise SamplingRateError(
            f"A sampling rate of {fs_hz:g} Hz does not fit an ECG; a number above 0 and up to "
            f"{MAX_FS_HZ:.0f} is needed."
        )
    n_times = cells.n_samples if places is None else int(places[-1]) + 1
    check_size(n_times, len(layout.leads), fs_hz, name)
    factor = _mv_per_number(layout)
    channels = []
    for index, lead in layout.leads.items():
        values = cells.column(index)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            if places is None:
                row = (values * factor).astype(np.float32)
            else:
                row = np.full(n_times, np.nan, dtype=np.float32)
                row[places] = values * factor
        del values
        if np.isinf(row).any():
            raise UnitsError(
                f"Column {shown(cells.names[index])} of {name} holds values without end; export it "
                "again."
            )
        n_empty = cells.n_samples - int(np.count_nonzero(~np.isnan(row)))
        if n_empty:
            notes.add("Empty cells are treated as not measured, in {}.", lead)
        channels.append(Channel(cells.names[index], lead, fs_hz, row, _words(layout)))
    if places is not None and n_times > cells.n_samples:
        missing_s = (n_times - cells.n_samples) / fs_hz
        notes.add(f"The time column jumps; {missing_s:.1f} s in all are treated as not measured.")
    stem = file.name.rsplit(".", 1)[0]
    said = Gathered("classification in the table")
    said.add_statement(cells.stated_finding or "")
    return recording_from(channels, stem, cells.kind, notes, annotations=said)


def layout_as_told(preview: TablePreview, told: Told) -> TableLayout:
    """What a table says of itself, with what a person says in its place.

    Parameters
    ----------
    preview : TablePreview
    told : Told

    Raises
    ------
    UnreadableRecordError
        Both together do not say all that is needed.
    """
    named = channel_leads([c.name for c in preview.columns], told)
    leads: dict[int, str] = {}
    for column, lead in zip(preview.columns, named, strict=True):
        if lead is None or column.is_time:
            continue
        # A lead that its own preamble names is not in the column's name.
        own = lead.lead if told.lead_of(column.name) else column.lead
        if own is not None and (own not in told.taken or told.lead_of(column.name)):
            leads[column.index] = own
    units, per_mv = preview.units or "", None
    if told.mv_per_number is not None:
        units, per_mv = COUNTS, 1.0 / told.mv_per_number
    by_time = preview.time_column is not None and told.fs_hz is None
    if not leads or not units or not (by_time or told.fs_hz or preview.fs_hz):
        raise UnreadableRecordError(
            _what_is_not_stated(
                replace(
                    preview,
                    units=units or None,
                    fs_hz=told.fs_hz or preview.fs_hz,
                    columns=tuple(replace(c, lead=leads.get(c.index)) for c in preview.columns),
                )
            )
        )
    return TableLayout(
        leads=leads,
        units=units,
        fs_hz=None if by_time else told.fs_hz or preview.fs_hz,
        time_column=preview.time_column if by_time else None,
        time_unit=preview.time_unit,
        samples_in=preview.samples_in,
        counts_per_mv=per_mv,
    )


def told_by_layout(
    preview: TablePreview, layout: TableLayout, upside_down: Collection[int] = ()
) -> Told:
    """What a person says of a recording in a form that was filled in for its channels.

    Parameters
    ----------
    preview : TablePreview
    layout : TableLayout
        As the form gives it.
    upside_down : collection of int
        Columns whose lead was recorded the other way round.

    Returns
    -------
    Told
        Of a table only what a `TableLayout` cannot say; of other formats all that differs from
        what the file says itself.

    Raises
    ------
    RecordError
        A lead is none, two channels are called alike, or the unit is none.
    """
    turned = {preview.columns[i].name: f"-{layout.leads[i]}" for i in upside_down}
    if preview.is_table:
        return Told(turned)
    if not layout.leads or len(set(layout.leads.values())) < len(layout.leads):
        raise MissingLeadError(
            f"Say of at least one channel of {shown(preview.file_name)} which lead it is, and of "
            "each lead only one."
        )
    leads: dict[str, str] = {}
    for column in preview.columns:
        said = layout.leads.get(column.index)
        if said != column.lead:
            leads[column.name] = said or LEFT_OUT
    _mv_per_number(layout)
    unit = "" if layout.units == preview.units else layout.units
    return Told(
        leads | turned,
        fs_hz=None if layout.fs_hz == preview.fs_hz else layout.fs_hz,
        unit=f"{layout.counts_per_mv!r}/mV" if unit == COUNTS else unit,
    )


def read_table_as_stated(file: SourceFile) -> Recording:
    """Read a table whose header, or the person who gave it, says leads, units and sampling rate.

    Parameters
    ----------
    file : SourceFile

    Raises
    ------
    RecordError
        One of its children; among others, the table does not say so, and a `TableLayout` has to.
    """
    told = file.told or NOTHING
    preview = preview_table(file, told.samples_in)
    stated = preview.stated if told == NOTHING else layout_as_told(preview, told)
    if stated is None:
        raise UnreadableRecordError(_what_is_not_stated(preview))
    return read_table(file, stated)


def _what_is_not_stated(preview: TablePreview) -> str:
    """One sentence on what a table does not say of itself."""
    missing = []
    if preview.fs_hz is None:
        missing.append("its sampling rate")
    if preview.units is None:
        missing.append("its units")
    if not any(c.lead for c in preview.columns):
        missing.append("which leads its columns are")
    listed = " and ".join([", ".join(missing[:-1]), missing[-1]] if len(missing) > 1 else missing)
    return (
        f"{shown(preview.file_name)} is a table that does not say "
        f"{listed or 'all that is needed'}; say it when opening the file, or name the columns "
        "like time_s and II (mV)."
    )


def _check_layout(layout: TableLayout, cells: Cells, name: str) -> None:
    if not layout.leads:
        raise MissingLeadError(f"No column of {name} was called a lead; choose at least one.")
    if len(set(layout.leads.values())) < len(layout.leads):
        raise MissingLeadError(f"Two columns of {name} were called the same lead; choose one.")
    for index, lead in layout.leads.items():
        if canonical_lead_name(lead) != lead:
            raise MissingLeadError(
                f"{shown(lead)} is not a lead; the leads are I to aVF, V1 to V6, and X, Y and Z."
            )
        if not 0 <= index < len(cells.names) or index == layout.time_column:
            raise UnreadableRecordError(
                f"{name} has no column {index + 1} for lead {lead}; choose the columns again."
            )
    if layout.time_column is not None and not 0 <= layout.time_column < len(cells.names):
        raise UnreadableRecordError(f"{name} has no column {layout.time_column + 1} for the time.")
    if (layout.fs_hz is None) == (layout.time_column is None):
        raise SamplingRateError(
            f"The sampling rate of {name} is needed: say it in Hz, or choose the time column."
        )
    if layout.time_unit not in TIME_UNITS:
        raise SamplingRateError("Times can be in seconds (s), milliseconds (ms) or microseconds.")
    _mv_per_number(layout)


def _mv_per_number(layout: TableLayout) -> float:
    if layout.units == COUNTS:
        if layout.counts_per_mv is None or not 0 < abs(layout.counts_per_mv) < math.inf:
            raise UnitsError("Raw numbers need to be told how many of them are 1 mV.")
        return 1.0 / layout.counts_per_mv
    factor = mv_per_unit(layout.units) if layout.units else None
    if factor is None:
        raise UnitsError(
            f"{shown(layout.units) or 'An empty unit'} is not a voltage; choose mV, uV or V."
        )
    return factor


def _words(layout: TableLayout) -> str:
    if layout.units == COUNTS:
        return f"{layout.counts_per_mv or 0:g} per mV, as said when it was opened"
    return f"in {shown(layout.units)}"


def _first_rate(cells: Cells, column: int, unit: str | None) -> tuple[float, str] | None:
    """Rate and unit of time from the first rows; None where they do not tell."""
    times = cells.times(column, HEAD_ROWS)
    steps = np.diff(times)
    if steps.size < 2 or not np.isfinite(steps).all() or (steps <= 0).any():
        return None
    if cells.has_clock(column):
        time_unit = "s"
    elif unit is not None:
        time_unit = {"sec": "s", "seconds": "s", "second": "s", "µs": "us", "μs": "us"}.get(
            unit.lower(), unit.lower()
        )
        if time_unit not in TIME_UNITS:
            return None
    else:
        middle = float(np.median(steps))
        # 20-1000 Hz in seconds, or in milliseconds. A step of exactly 1 may count samples.
        if middle <= 0.05:
            time_unit = "s"
        elif 1 < middle <= 50:
            time_unit = "ms"
        else:
            return None
    try:
        fs_hz, _ = _grid(times * TIME_UNITS[time_unit], "the table")
    except (SamplingRateError, UnreadableRecordError):
        return None
    return fs_hz, time_unit


def _grid(time_s: npt.NDArray[np.float64], name: str) -> tuple[float, npt.NDArray[np.int64]]:
    """Sampling rate, and the place of each sample on its grid.

    The rate is the mean one of the longest run without a jump, so that stamps rounded to
    milliseconds do not spoil it, and a whole number where it is one within 0.05 %.
    """
    if time_s.size < 3 or not np.isfinite(time_s).all():
        raise SamplingRateError(
            f"The time column of {name} has empty cells or fewer than three; say the sampling rate "
            "instead."
        )
    steps = np.diff(time_s)
    if (steps < 0).any() or not np.count_nonzero(steps > 0) > 0.5 * steps.size:
        raise SamplingRateError(
            f"The time column of {name} goes backwards or stands still; say the sampling rate "
            "instead."
        )
    typical = float(np.median(steps[steps > 0]))
    # A few lost samples are a jump, jitter of one or two steps is not.
    jumps = np.flatnonzero(steps > 3.5 * typical) + 1
    edges = np.concatenate([[0], jumps, [time_s.size]])
    longest = int(np.argmax(np.diff(edges)))
    first, last = int(edges[longest]), int(edges[longest + 1]) - 1
    if last <= first:
        raise SamplingRateError(f"The time column of {name} is irregular; say the rate instead.")
    fs_hz = (last - first) / float(time_s[last] - time_s[first])
    if round(fs_hz) >= 1 and abs(fs_hz - round(fs_hz)) < 5e-4 * fs_hz:
        # Clocks of recorders are off by 50 ppm or so; 500.02 Hz means 500 Hz.
        fs_hz = float(round(fs_hz))
    check_span(float(time_s[-1] - time_s[0]), name)
    # Within a run samples follow one another; only its start is taken from the clock.
    places = np.arange(time_s.size, dtype=np.int64)
    shift = 0
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        # Never back over samples that are placed already: stamps may overlap by rounding.
        at = max(round((time_s[start] - time_s[0]) * fs_hz), start + shift)
        shift = at - start
        places[start:stop] += shift
        expected_s = time_s[start] + np.arange(stop - start) / fs_hz
        # Farther off than rounding explains means uneven sampling, which no resampling here
        # undoes.
        off_s = float(np.abs(time_s[start:stop] - expected_s).max())
        if (
            off_s
            > max(_IRREGULAR / fs_hz, 2.5 * _resolution_s(steps)) + 5e-4 * (stop - start) / fs_hz
        ):
            raise SamplingRateError(
                f"The samples of {name} are not evenly spaced in time; resample them, or say the "
                "sampling rate instead."
            )
    return fs_hz, places


def _resolution_s(steps: npt.NDArray[np.float64]) -> float:
    """How finely the time stamps are written: half the span of ordinary steps."""
    part = steps[: 1 << 16]
    low, high = np.quantile(part, [0.05, 0.95])
    return float(high - low)
