"""The results of a batch as a table: a row for each recording, or the reason why there is none."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from echoing_core.export.wording import answer_line
from echoing_core.io.many import BatchItem
from echoing_core.measure import Measurement
from echoing_core.records import Answer
from echoing_core.version import DISCLAIMER

BATCH_MEASURED = (
    ("pr_ms", "PR"), ("qrs_ms", "QRS"), ("qt_ms", "QT"), ("qtc_fridericia_ms", "QTcF"),
    ("p_axis_deg", "P axis"), ("qrs_axis_deg", "QRS axis"), ("t_axis_deg", "T axis"),
)  # fmt: skip
"""Measurements that have a column, by name, with their words there."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_KINDS = {
    "UnreadableRecordError": "not a recording, or a damaged one",
    "MissingLeadError": "leads that are needed are not there",
    "SamplingRateError": "sampling rate absent or out of range",
    "UnitsError": "amplitudes that cannot be turned into mV",
    "SignalQualityError": "too short, or nothing but gaps",
}


@dataclass(frozen=True, eq=False)
class BatchRow:
    """What the model says of one recording.

    Attributes
    ----------
    name : str
        As in `BatchItem`.
    item : BatchItem
        To read it again.
    file_format : str
    simulated : bool
    duration_s, fs_hz : float
    measured, derived, missing : tuple of str
        Leads.
    n_windows : int
    best_start_s : float
        Start of the window with the lowest sigma^2; rate and answers are of this one.
    best_percentile, median_percentile : float
        Of sigma^2 in the reference cohort.
    unsure_share : float
        Share of the windows that hold signal at `UNSURE_PERCENTILE` or above, 0..1.
    reason : str
        What the least sure window is unsure of.
    heart_rate_bpm : float or None
        None where no beats can be told.
    answers : tuple of Answer
    cautions : tuple of str
        Why the model should not be believed on this recording as a whole.
    seconds : float
        That it took.
    measurements : tuple of Measurement
        Of the heart as a whole: of a recording of a minute at most, or of the surest window. Empty
        where nobody asked for them.
    """

    name: str
    item: BatchItem
    file_format: str
    simulated: bool
    duration_s: float
    fs_hz: float
    measured: tuple[str, ...]
    derived: tuple[str, ...]
    missing: tuple[str, ...]
    n_windows: int
    best_start_s: float
    best_percentile: float
    median_percentile: float
    unsure_share: float
    reason: str
    heart_rate_bpm: float | None
    answers: tuple[Answer, ...]
    cautions: tuple[str, ...]
    seconds: float
    measurements: tuple[Measurement, ...] = ()

    def measured_value(self, name: str) -> float | None:
        """One of `BATCH_MEASURED`; None where it is not measurable, or nobody asked."""
        return next((m.value for m in self.measurements if m.name == name), None)

    @property
    def not_measurable(self) -> str:
        """Which of `BATCH_MEASURED` have no value, and why."""
        found = {m.name: m for m in self.measurements}
        reasons: dict[str, list[str]] = {}
        for name, words in BATCH_MEASURED:
            if name in found and found[name].value is None:
                reasons.setdefault(found[name].why, []).append(words)
        return "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())


@dataclass(frozen=True, eq=False)
class BatchFailure:
    """A recording of which there is no row, and why.

    Attributes
    ----------
    name : str
    item : BatchItem
    kind : str
        Name of the error's class, which holds no text of the file.
    reason : str
        A sentence or two; may name files.
    """

    name: str
    item: BatchItem
    kind: str
    reason: str


BatchResult = BatchRow | BatchFailure
Cell = Any
"""Text, a number, yes or no, or None."""


class NamedModel(Protocol):
    """What a table says of the model."""

    @property
    def name(self) -> str: ...

    @property
    def hash(self) -> str: ...


def failure_kind(failure: BatchFailure) -> str:
    """Why, in words that hold nothing of the file."""
    return _KINDS.get(failure.kind, "could not be read")


def batch_columns(
    model: NamedModel,
    results: Sequence[BatchResult],
    *,
    names: bool = True,
    refused: Mapping[str, str] | None = None,
) -> dict[str, list[Cell]]:
    """One value for each recording, failures included; None where there is none.

    Parameters
    ----------
    model : Model
        That the results are of.
    results : sequence of BatchRow or BatchFailure
    names : bool
        Without, recordings are numbered as they came and reasons hold no name of a file.
    refused : mapping of str to str, optional
        Questions that were not asked, with why: a column of its own where there are any.
    """
    columns: dict[str, list[Cell]] = {
        "recording": [r.name if names else f"recording {i}" for i, r in enumerate(results, 1)],
        "status": ["failed" if isinstance(r, BatchFailure) else "read" for r in results],
        "failure": [_failure(r, names) for r in results],
    }
    rows = [r if isinstance(r, BatchRow) else None for r in results]

    def add(name: str, values: Iterable[Cell]) -> None:
        columns[name] = list(values)

    add("simulated", (r and r.simulated for r in rows))
    add("format", (r and r.file_format for r in rows))
    add("duration_s", (r and round(r.duration_s, 3) for r in rows))
    add("fs_hz", (r and r.fs_hz for r in rows))
    add("leads_measured", (r and " ".join(r.measured) for r in rows))
    add("leads_derived", (r and " ".join(r.derived) for r in rows))
    add("leads_missing", (r and " ".join(r.missing) for r in rows))
    add("windows", (r and r.n_windows for r in rows))
    add("best_start_s", (r and round(r.best_start_s, 3) for r in rows))
    add("percentile_best", (r and round(r.best_percentile, 2) for r in rows))
    add("percentile_median", (r and round(r.median_percentile, 2) for r in rows))
    add("share_unsure", (r and round(r.unsure_share, 4) for r in rows))
    add("reason", (r and r.reason for r in rows))
    rates = [None if r is None else r.heart_rate_bpm for r in rows]
    add("heart_rate_bpm", (None if rate is None else round(rate, 1) for rate in rates))
    if any(r is not None and r.measurements for r in rows):
        for name, _ in BATCH_MEASURED:
            values = [None if r is None else r.measured_value(name) for r in rows]
            add(name, (None if v is None else round(v, 1) for v in values))
        add("not_measurable", (r and r.not_measurable for r in rows))
    questions = next((r.answers for r in rows if r is not None), ())
    stems: set[str] = set()
    for i, first in enumerate(questions):
        # A head's question says at length whose it is; the column after it has all of that.
        name, of_head, _ = first.question.partition(f" ({first.by}")
        stem = _stem(f"{name} {first.by}" if of_head else name)
        stem = stem if stem not in stems else f"{stem}_{i + 1}"
        stems.add(stem)
        answers = [None if r is None else r.answers[i] for r in rows]
        add(f"{stem}_question", (a and a.question for a in answers))
        add(f"{stem}_probability", (a and round(a.probability, 4) for a in answers))
        add(f"{stem}_low", (a and round(a.interval[0], 4) for a in answers))
        add(f"{stem}_high", (a and round(a.interval[1], 4) for a in answers))
        add(f"{stem}_verdict", (a and a.verdict for a in answers))
        add(f"{stem}_basis", (a and a.basis for a in answers))
        wrong = [None if a is None else a.p_wrong for a in answers]
        add(f"{stem}_p_wrong", (None if w is None else round(w, 4) for w in wrong))
        add(f"{stem}_words", (a and answer_line(a).text for a in answers))
    if refused:
        words = " ".join(f"{text}: {why}" for text, why in refused.items())
        add("questions_refused", [words] * len(results))
    add("cautions", (r and " ".join(r.cautions) for r in rows))
    add("model", [f"{model.name} {model.hash[:16]}"] * len(results))
    return columns


def batch_csv(
    model: NamedModel,
    results: Sequence[BatchResult],
    *,
    names: bool = True,
    refused: Mapping[str, str] | None = None,
) -> str:
    """`batch_columns` as CSV. What a spreadsheet would take for a formula begins with ``'``."""
    columns = batch_columns(model, results, names=names, refused=refused)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def batch_parquet(
    model: NamedModel, results: Sequence[BatchResult], *, names: bool = True
) -> bytes:
    """`batch_columns` as a Parquet file whose metadata say what made it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {"disclaimer": DISCLAIMER, "model": model.name, "model_hash": model.hash}
    table = pa.table(batch_columns(model, results, names=names))
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), out)
    return out.getvalue()


def _failure(result: BatchResult, names: bool) -> str | None:
    if isinstance(result, BatchRow):
        return None
    return result.reason if names else failure_kind(result)


def _stem(question: str) -> str:
    words = question.lower().replace("<", " under ").replace(">", " over ")
    return re.sub(r"[^a-z0-9]+", "_", words).strip("_") or "question"


def _cell(value: Cell) -> Cell:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
