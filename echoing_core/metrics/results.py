"""Results as JSON and as Markdown, from one list, so that the two cannot disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from echoing_core.metrics.bootstrap import Estimate


@dataclass(frozen=True)
class Result:
    """One figure of an evaluation.

    Attributes
    ----------
    data : str
        What it was measured on: ``"simulated test patients"``.
    task : str
        ``"LVEF < 40 %"``, ``"text to ECG"``.
    metric : str
        ``"balanced accuracy"``, ``"R@10 (same text)"``.
    model : str
        ``"demo"``, ``"random weights"``.
    estimate : Estimate
    simulated : bool
        True when the data were simulated.
    gallery_size : int or None
        For retrieval.
    """

    data: str
    task: str
    metric: str
    model: str
    estimate: Estimate
    simulated: bool
    gallery_size: int | None = None


def to_records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One flat dictionary a figure, for JSON: NaN becomes None, which JSON can say."""
    rows = []
    for result in results:
        row = {k: v for k, v in asdict(result).items() if k != "estimate"}
        row |= asdict(result.estimate)
        rows.append({k: _json_value(v) for k, v in row.items()})
    return rows


def to_markdown(results: Sequence[Result], *, digits: int = 3) -> str:
    """A Markdown table, one row a figure, with intervals and sizes.

    Simulated data are marked in the first column.
    """
    header = "| Data | Task | Metric | Model | Value | Interval | Items (patients) |"
    lines = [header, "|---|---|---|---|---|---|---|"]
    for result in results:
        e = result.estimate
        size = f"{e.n_items} ({e.n_patients})"
        if result.gallery_size is not None:
            size += f", gallery {result.gallery_size}"
        data = result.data
        if result.simulated and "simulated" not in data.lower():
            data += " (simulated)"
        cells = [
            data,
            result.task,
            result.metric,
            result.model,
            _number(e.value, digits),
            f"{_number(e.low, digits)} to {_number(e.high, digits)} ({100 * e.level:g} %)",
            size,
        ]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float, digits: int) -> str:
    return "not defined" if math.isnan(value) else f"{value:.{digits}f}"


def _cell(text: str) -> str:
    """Text that cannot end its cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
