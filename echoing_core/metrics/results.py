"""Figures with their place and interval, and the one way in which they become JSON and Markdown.

A `Result` is one figure. A `Table` is written as Markdown and keeps the records that JSON holds of
it. An `Experiment` is one question put to a model: how it was measured, what came out, and tables.
Both forms are made from the same results, so that the two cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from echoing_core.metrics.bootstrap import Estimate

NOT_DEFINED = "not defined"

ALL = "all"
"""The group of a figure that is about every ECG."""

RESULT_KEYS = ("data", "task", "metric", "model", "simulated", "gallery_size")
PROTOCOL_KEYS = (
    "data", "model", "task", "label", "protocol", "group", "metric", "simulated", "n_group",
    "split", "n_seeds", "per_seed", "gallery_size",
)  # fmt: skip
"""What JSON says of a figure, in this order, before its estimate."""


@dataclass(frozen=True)
class Result:
    """One figure, where it belongs, and its interval.

    Attributes
    ----------
    data : str
        What it was measured on: ``"simulated test patients"``.
    task : str
        The question, or ``"text to ECG"``.
    metric : str
        ``"balanced accuracy"``, ``"R@10 (same text)"``.
    model : str
        ``"demo"``, ``"random weights"``; in experiments about sigma^2 the score measured.
    estimate : Estimate
        Of a protocol's answers ``n_items`` and ``n_patients`` are those of the whole test set, of
        which the group is one half; in retrieval those of the group.
    simulated : bool
        True when the data were simulated.
    gallery_size : int or None
        ECGs searched, for retrieval.
    label : str
        The label that holds the truth, without ``label_``; empty where there is none.
    protocol : str
        ``"zero-shot"``, ``"10 % probe"``, ``"by csd, exact pair"``; of a difference, what is
        subtracted from what.
    group : str
        Which ECGs it is about: `ALL`, or a half by uncertainty.
    n_group : int
        ECGs of the group, averaged over seeds and rounded.
    split : str
        What the groups are made by.
    n_seeds : int
    per_seed : tuple of float
        The figure of each seed; its mean is the estimate's value.
    """

    data: str
    task: str
    metric: str
    model: str
    estimate: Estimate
    simulated: bool
    gallery_size: int | None = None
    label: str = ""
    protocol: str = ""
    group: str = ALL
    n_group: int = 0
    split: str = ""
    n_seeds: int = 1
    per_seed: tuple[float, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table as a person reads it, and its rows as JSON holds them.

    Attributes
    ----------
    title : str
        Heading above it; empty for none.
    header : sequence of str
    rows : sequence of sequence of str
    records : sequence of dict
        What JSON says of the rows, where it says it by table.
    note : str
        A paragraph below it.
    rule : str
        Between the bars of the line below the header.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    records: Sequence[dict[str, Any]] = ()
    note: str = ""
    rule: str = " --- "

    def to_markdown(self) -> str:
        """Markdown of header, rows and note, with a line end; the title is left to the reader."""
        lines = [
            _line(self.header),
            "|" + "|".join([self.rule] * len(self.header)) + "|",
            *(_line(row) for row in self.rows),
        ]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])


@dataclass(frozen=True)
class Experiment:
    """One question put to a model: how it was measured, and what came out.

    Attributes
    ----------
    name : str
        Key in the JSON of a larger experiment.
    title, method : str
        Heading, and how it was measured, in sentences. Without a title the Markdown is the tables
        alone.
    results : tuple of Result
    tables : tuple of Table
    counts : mapping of str to number
        What entered and what was left out.
    sections : tuple of Experiment
        Experiments that it is made of.
    content : mapping, optional
        What JSON holds, ready to be written; without it title, method, counts and results.
    """

    name: str
    title: str
    method: str
    results: tuple[Result, ...] = ()
    tables: tuple[Table, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    sections: tuple[Experiment, ...] = ()
    content: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; a figure that is not defined is null."""
        # Ready content is given as it is: some experiments have keys of their own that files rely
        # on.
        if self.content is not None:
            return dict(self.content)
        return {
            "title": self.title,
            "method": self.method,
            "counts": dict(self.counts),
            "results": to_records(self.results),
        }

    def to_markdown(self) -> str:
        """A section with its tables; one made of sections is a document with a title of its own."""
        lines = []
        if self.title:
            lines += [f"{'#' if self.sections else '##'} {self.title}", "", self.method, ""]
        if self.counts:
            counts = ", ".join(
                # `g` would write a whole number above a million as a power of ten.
                f"{name} {count:,}" if isinstance(count, int) else f"{name} {count:,g}"
                for name, count in self.counts.items()
            )
            lines += [f"Counts: {counts}.", ""]
        for table in self.tables:
            # A table that says all of its section needs no heading of its own.
            lines += [f"### {table.title}", ""] if table.title else []
            lines += [table.to_markdown()]
        lines += [section.to_markdown() for section in self.sections]
        return "\n".join(lines)


def to_records(
    results: Sequence[Result], keys: Sequence[str] = RESULT_KEYS
) -> list[dict[str, Any]]:
    """One flat dictionary a figure, for JSON.

    Parameters
    ----------
    results : sequence of Result
    keys : sequence of str
        What is said of a figure before its estimate: `RESULT_KEYS` or `PROTOCOL_KEYS`.

    Returns
    -------
    list of dict
        Numbers that are not finite are None, since JSON has no word for them.
    """
    return [
        {key: _json_value(getattr(result, key)) for key in keys}
        | {key: _json_value(value) for key, value in asdict(result.estimate).items()}
        for result in results
    ]


def estimate_record(estimate: Estimate) -> dict[str, float | None]:
    """Value and both ends of the interval as JSON holds them.

    Parameters
    ----------
    estimate : Estimate

    Returns
    -------
    dict
        ``value``, ``low`` and ``high``, in the unit of the figure; None where one is not defined.
    """
    return {
        "value": json_number(estimate.value),
        "low": json_number(estimate.low),
        "high": json_number(estimate.high),
    }


def json_number(value: float) -> float | None:
    """The number, or None where it is not finite.

    Parameters
    ----------
    value : float

    Returns
    -------
    float or None
    """
    return value if math.isfinite(value) else None


def number(value: float, digits: int = 3) -> str:
    """A figure without its interval, or ``"not defined"``.

    Parameters
    ----------
    value : float
    digits : int
        After the point.

    Returns
    -------
    str
    """
    return f"{value:.{digits}f}" if math.isfinite(value) else NOT_DEFINED


def with_interval(estimate: Estimate, *, percent: bool = False, signed: bool = False) -> str:
    """A figure and its interval: ``0.632 (0.581 to 0.683)``, or ``63.2 (58.1 to 68.3)``.

    Parameters
    ----------
    estimate : Estimate
    percent : bool
        Times 100 and one digit, instead of three digits.
    signed : bool
        With a plus sign; for differences.

    Returns
    -------
    str
        ``"not defined"`` where the figure is not; without an interval where only that is not.
    """
    if not math.isfinite(estimate.value):
        return NOT_DEFINED
    scale, form = (100, ".1f") if percent else (1, ".3f")
    # One form for all three, so that a sign or digit never differs within a cell.
    value, low, high = (
        f"{scale * x:{'+' if signed else ''}{form}}"
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})" if math.isfinite(estimate.low) else value


def results_table(results: Sequence[Result]) -> Table:
    """One row a figure, with interval and sizes; simulated data are marked in the first column.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    Table
        Without a title.
    """
    rows = []
    for result in results:
        e = result.estimate
        size = f"{e.n_items} ({e.n_patients})"
        if result.gallery_size is not None:
            size += f", gallery {result.gallery_size}"
        data = result.data
        # Whatever was simulated says so, once.
        if result.simulated and "simulated" not in data.lower():
            data += " (simulated)"
        interval = f"{number(e.low)} to {number(e.high)} ({100 * e.level:g} %)"
        rows.append(
            [data, result.task, result.metric, result.model, number(e.value), interval, size]
        )
    header = ["Data", "Task", "Metric", "Model", "Value", "Interval", "Items (patients)"]
    return Table("", header, rows, rule="---")


def side_by_side(
    results: Sequence[Result],
    *,
    first: str | None = None,
    sizes: str = "Items (units drawn)",
    missing: str = "",
) -> Table:
    """One row a figure, and the models (or scores) beside each other.

    Parameters
    ----------
    results : sequence of Result
    first : str, optional
        The model of the first column; only its figures have a row. Without it every figure has
        one, and models stand in the order in which they come.
    sizes : str
        Heading of the last column.
    missing : str
        What stands where a model has no such figure.

    Returns
    -------
    Table
    """
    models = list(dict.fromkeys([*([first] if first else []), *(r.model for r in results)]))
    # A row is data, task and metric; the models are its columns.
    places: dict[tuple[str, str, str], dict[str, Estimate]] = {}
    for result in results:
        place = (result.data, result.task, result.metric)
        places.setdefault(place, {})[result.model] = result.estimate
    rows = []
    for place, by_model in places.items():
        if first is not None and first not in by_model:
            continue
        cells = [with_interval(by_model[m]) if m in by_model else missing for m in models]
        # All models of a row were measured on the same items.
        size = next(iter(by_model.values()))
        rows.append([*place, *cells, f"{size.n_items} ({size.n_patients})"])
    return Table("", ["Data", "Task", "Metric", *models, sizes], rows, rule="---")


def _line(cells: Sequence[str]) -> str:
    """One line of a table; no cell can end its own column."""
    # A bar or a line break within a cell would break the table.
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def _json_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    return json_number(value) if isinstance(value, float) else value
