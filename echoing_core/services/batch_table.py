"""The results of a batch as a table to take away."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from echoing_core.export.track import DISCLAIMER
from echoing_core.services.batch import BatchFailure, BatchRow, Result
from echoing_core.services.models import Model

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_KINDS = {
    "UnreadableRecordError": "not a recording, or a damaged one",
    "MissingLeadError": "leads that are needed are not there",
    "SamplingRateError": "sampling rate absent or out of range",
    "UnitsError": "amplitudes that cannot be turned into mV",
    "SignalQualityError": "too short, or nothing but gaps",
}


def failure_kind(failure: BatchFailure) -> str:
    """Why, in words that hold nothing of the file."""
    return _KINDS.get(failure.kind, "could not be read")


def batch_columns(
    model: Model, results: Sequence[Result], *, names: bool = True
) -> dict[str, list[Any]]:
    """One value for each recording, failures included; None where there is none.

    Parameters
    ----------
    names : bool
        Without, recordings are numbered as they came and reasons hold no name of a file.
    """
    columns: dict[str, list[Any]] = {
        "recording": [r.name if names else f"recording {i}" for i, r in enumerate(results, 1)],
        "status": ["failed" if isinstance(r, BatchFailure) else "read" for r in results],
        "failure": [_failure(r, names) for r in results],
    }
    rows = [r if isinstance(r, BatchRow) else None for r in results]

    def add(name: str, values: Iterable[Any]) -> None:
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
    questions = next((r.answers for r in rows if r is not None), ())
    seen: set[str] = set()
    for i, asked in enumerate(questions):
        stem = _stem(asked.question)
        stem = stem if stem not in seen else f"{stem}_{i + 1}"
        seen.add(stem)
        answers = [None if r is None else r.answers[i] for r in rows]
        add(f"{stem}_question", (a and a.question for a in answers))
        add(f"{stem}_probability", (a and round(a.probability, 4) for a in answers))
        add(f"{stem}_low", (a and round(a.interval[0], 4) for a in answers))
        add(f"{stem}_high", (a and round(a.interval[1], 4) for a in answers))
        add(f"{stem}_verdict", (a and a.verdict for a in answers))
    add("cautions", (r and " ".join(r.cautions) for r in rows))
    add("model", [f"{model.name} {model.hash[:16]}"] * len(results))
    return columns


def batch_csv(model: Model, results: Sequence[Result], *, names: bool = True) -> str:
    """`batch_columns` as CSV. What a spreadsheet would take for a formula begins with ``'``."""
    columns = batch_columns(model, results, names=names)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def batch_parquet(model: Model, results: Sequence[Result], *, names: bool = True) -> bytes:
    """`batch_columns` as a Parquet file whose metadata say what made it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {"disclaimer": DISCLAIMER, "model": model.name, "model_hash": model.hash}
    table = pa.table(batch_columns(model, results, names=names))
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), out)
    return out.getvalue()


def _failure(result: Result, names: bool) -> str | None:
    if isinstance(result, BatchRow):
        return None
    return result.reason if names else failure_kind(result)


def _stem(question: str) -> str:
    words = question.lower().replace("<", " under ").replace(">", " over ")
    return re.sub(r"[^a-z0-9]+", "_", words).strip("_") or "question"


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
