"""Tables in the layout of the EchoingECG paper, as Markdown and as records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from echoing_core.evaluate.protocols.paper import PROVENANCE, beside
from echoing_core.evaluate.protocols.results import (
    ALL,
    AUROC,
    BALANCED_ACCURACY,
    FEW_SHOT_10,
    FEW_SHOT_100,
    FINE_TUNED,
    GAP,
    HIGH,
    LOW,
    ZERO_SHOT,
    Figure,
    PromptSpread,
)
from echoing_core.evaluate.protocols.retrieval import CSD
from echoing_core.metrics.bootstrap import Estimate

Table = tuple[str, str, list[dict[str, Any]]]
"""Heading, Markdown, records."""

LVEF = "lvef_lt40"
MUSIC_LABELS: Mapping[str, str] = {
    LVEF: "LVEF<40",
    "slvh": "SLVH",
    "dlv": "DLV",
    "slvh_or_dlv": "SLVH+DLV",
}

_GROUPS = (ALL, LOW, HIGH)
_NOT_BESIDE = (
    "Percent, with 95 % intervals. The paper's figures were measured on other data and are not "
    "set beside these."
)
_SIMULATED = "Simulated ECGs. " + _NOT_BESIDE


def table_2(figures: Sequence[Figure], *, source: str, label: str = LVEF) -> Table:
    """Table 2: one label, zero-shot and probes, for all ECGs and for the surer and less sure.

    Parameters
    ----------
    figures : sequence of Figure
        Of `zero_shot` and `few_shot`, of one or more models.
    source : str
        Source of the data; the paper's rows are added where it is the paper's.
    """
    protocols = {ZERO_SHOT: "ZS", FEW_SHOT_10: "10 %", FEW_SHOT_100: "100 %"}
    columns = {
        (protocol, group): f"{group.capitalize()} {short}"
        for group in _GROUPS
        for protocol, short in protocols.items()
    }
    rows: dict[str, dict[str, Estimate]] = {}
    chosen = [f for f in figures if f.label == label and f.metric == BALANCED_ACCURACY]
    for figure in chosen:
        column = columns.get((figure.protocol, figure.group))
        if column:
            rows.setdefault(figure.model, {})[column] = figure.estimate
    task = chosen[0].task if chosen else label
    heading = f"Table 2 layout: {task}, balanced accuracy"
    return _layout(heading, 2, list(columns.values()), rows, source, _any_simulated(chosen))


def table_3(rows: Mapping[str, Sequence[Figure]], *, source: str) -> Table:
    """Table 3: four labels, zero-shot and fine-tuned, one row a model and window.

    Parameters
    ----------
    rows : mapping of row name to sequence of Figure
        The name tells the window too: ``"demo (start)"``. Of the figures, those of all ECGs count.
    """
    protocols = {ZERO_SHOT: "ZS", FINE_TUNED: "FT"}
    columns = [f"{short} {p}" for short in MUSIC_LABELS.values() for p in protocols.values()]
    found: dict[str, dict[str, Estimate]] = {}
    for name, figures in rows.items():
        cells = found.setdefault(name, {})
        for f in figures:
            wanted = f.label in MUSIC_LABELS and f.protocol in protocols
            if wanted and f.group == ALL and f.metric == BALANCED_ACCURACY:
                cells[f"{MUSIC_LABELS[f.label]} {protocols[f.protocol]}"] = f.estimate
    simulated = any(_any_simulated(figures) for figures in rows.values())
    heading = "Table 3 layout: zero-shot and fine-tuned, balanced accuracy"
    return _layout(heading, 3, columns, found, source, simulated)


def table_4(figures: Sequence[Figure], *, source: str, order: str = CSD) -> Table:
    """Table 4: recall at 1 and 10 for all reports and for halves by the ECG's sigma^2.

    One row for each model, kind of hit and gallery; the rows' galleries are told below.
    """
    columns = [f"{group.capitalize()} {metric}" for group in _GROUPS for metric in ("R@1", "R@10")]
    rows: dict[str, dict[str, Estimate]] = {}
    sizes: dict[str, set[int]] = {}
    for f in figures:
        by, hit, place = f.protocol.split(", ")
        if by != f"by {order}" or f.metric not in ("R@1", "R@10"):
            continue
        rows.setdefault(f"{f.model}, {hit}, {place}", {})[f"{f.group.capitalize()} {f.metric}"] = (
            f.estimate
        )
        if f.gallery_size is not None:
            sizes.setdefault(place, set()).add(f.gallery_size)
    told = "; ".join(
        f"{place}: {' and '.join(f'{n:,}' for n in sorted(found))} ECGs"
        for place, found in sizes.items()
    )
    heading = f"Table 4 layout: text to ECG by {order}"
    return _layout(
        heading, 4, columns, rows, source, _any_simulated(figures), f"Galleries: {told}."
    )


def answers_table(figures: Sequence[Figure]) -> Table:
    """Every question: balanced accuracy and AUROC of all, low, high and the gap, one row each."""
    groups = (ALL, LOW, HIGH, GAP)
    header = ["Question", "Model", "Protocol", "Metric", *groups, "ECGs (low + high)", "Seeds"]
    places: dict[tuple[str, str, str, str], dict[str, Figure]] = {}
    for f in figures:
        if f.metric in (BALANCED_ACCURACY, AUROC):
            places.setdefault((f.task, f.model, f.protocol, f.metric), {})[f.group] = f
    lines, records = [], []
    for place, row in places.items():
        size = f"{row[ALL].n_group} ({row[LOW].n_group} + {row[HIGH].n_group})"
        cells = [percent(row[g].estimate, signed=g == GAP) for g in groups]
        lines.append([*place, *cells, size, str(row[ALL].n_seeds)])
        records.append(
            dict(zip(("question", "model", "protocol", "metric"), place, strict=True))
            | {group: estimate_record(row[group].estimate) for group in groups}
        )
    splits = sorted({f.split for f in figures})
    heading = f"All figures in percent; low and high by the {' or '.join(splits)}"
    return heading, markdown_table(header, lines), records


def differences_table(figures: Sequence[Figure]) -> Table:
    """Paired differences, one row a question and comparison."""
    header = ["Question", "Difference", BALANCED_ACCURACY, AUROC, "Seeds"]
    places: dict[tuple[str, str], dict[str, Figure]] = {}
    for f in figures:
        places.setdefault((f.task, f.protocol), {})[f.metric] = f
    lines, records = [], []
    for (task, name), row in places.items():
        cells = [percent(row[m].estimate, signed=True) for m in (BALANCED_ACCURACY, AUROC)]
        lines.append([task, name, *cells, str(row[AUROC].n_seeds)])
        records.append(
            {"question": task, "difference": name}
            | {metric: estimate_record(f.estimate) for metric, f in row.items()}
        )
    heading = "Differences in points, paired by patient (and by seed where there are several)"
    return heading, markdown_table(header, lines), records


def recall_table(figures: Sequence[Figure]) -> Table:
    """Recall at 1, 5 and 10 by both orders and both kinds of hit."""
    header = ["Model", "Order, hit, gallery", "Group", "R@1", "R@5", "R@10", "Queries", "Gallery"]
    places: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for f in figures:
        places.setdefault((f.model, f.protocol, f.group), {})[f.metric] = f
    lines, records = [], []
    for place, row in places.items():
        first = next(iter(row.values()))
        cells = [percent(row[metric].estimate) for metric in ("R@1", "R@5", "R@10")]
        lines.append([*place, *cells, str(first.n_group), str(first.gallery_size)])
        records.append(
            dict(zip(("model", "protocol", "group"), place, strict=True))
            | {metric: estimate_record(f.estimate) for metric, f in row.items()}
            | {"queries": first.n_group, "gallery": first.gallery_size}
        )
    return "All recalls in percent", markdown_table(header, lines), records


def spread_table(spreads: Sequence[PromptSpread]) -> Table:
    """How far single wordings move a figure; not an interval."""
    header = ["Question", "Model", "Metric", "Least", "Median", "Greatest", "Pairs of prompts"]
    lines = [
        [
            s.task,
            s.model,
            s.metric,
            *(f"{100 * value:.1f}" for value in (s.low, s.median, s.high)),
            str(s.n_pairs),
        ]
        for s in spreads
    ]
    records = [
        {"question": s.task, "model": s.model, "metric": s.metric}
        | {"low": s.low, "median": s.median, "high": s.high, "n_pairs": s.n_pairs}
        for s in spreads
    ]
    heading = "The same with one prompt for yes and one for no, over all such pairs"
    return heading, markdown_table(header, lines), records


def percent(estimate: Estimate, *, signed: bool = False) -> str:
    """``63.2 (58.1 to 68.3)``."""
    if not math.isfinite(estimate.value):
        return "not defined"
    sign = "+" if signed else ""
    value, low, high = (
        f"{100 * x:{sign}.1f}" for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})" if math.isfinite(estimate.low) else value


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a cell cannot end its own column."""
    lines = [header, ["---"] * len(header), *rows]
    told = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n".join(told) + "\n"


def _layout(
    heading: str,
    number: int,
    columns: Sequence[str],
    rows: Mapping[str, Mapping[str, Estimate]],
    source: str,
    simulated: bool,
    note: str = "",
) -> Table:
    """Our rows, then the paper's where they may stand there, then what must be known of both."""
    lines = [
        [name, *(percent(cells[c]) if c in cells else "-" for c in columns)]
        for name, cells in rows.items()
    ]
    records: list[dict[str, Any]] = [
        {"row": name, "paper": False}
        | {c: estimate_record(cells[c]) for c in columns if c in cells}
        for name, cells in rows.items()
    ]
    paper = None if simulated else beside(number, source)
    notes = [note] if note else []
    if paper is None:
        notes.append(_SIMULATED if simulated else _NOT_BESIDE)
    else:
        for name, row in paper.rows.items():
            lines.append([f"paper: {name}", *(str(row[column]) for column in columns)])
            records.append(
                {"row": name, "paper": True}
                | {c: {"value_percent": row[c].percent, "status": row[c].status} for c in columns}
            )
        notes.append(f"Percent. Ours with 95 % intervals; the paper's: {PROVENANCE}. {paper.note}")
    return heading, markdown_table(["", *columns], lines) + "\n" + " ".join(notes) + "\n", records


def estimate_record(estimate: Estimate) -> dict[str, Any]:
    """Value and interval as JSON holds them, as shares and not percent."""
    found = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {key: value if math.isfinite(value) else None for key, value in found.items()}


def _any_simulated(figures: Sequence[Figure]) -> bool:
    return any(figure.simulated for figure in figures)
