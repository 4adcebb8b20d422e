"""Tables in the layout of the EchoingECG article, as Markdown and as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from echoing_core.evaluate.protocols.answers import (
    AUROC,
    BALANCED_ACCURACY,
    FEW_SHOT_10,
    FEW_SHOT_100,
    FINE_TUNED,
    GAP,
    HIGH,
    LOW,
    PromptSpread,
)
from echoing_core.evaluate.protocols.article import PROVENANCE, beside
from echoing_core.evaluate.protocols.settings import ZERO_SHOT
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.results import ALL, Result, Table, estimate_record, with_interval
from echoing_core.metrics.scores import CSD

Row = TypeVar("Row")
Column = TypeVar("Column")

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


def table_2(results: Sequence[Result], *, source: str, label: str = LVEF) -> Table:
    """Table 2: one label, zero-shot and probes, for all ECGs and for the surer and less sure.

    Parameters
    ----------
    results : sequence of Result
        Of `zero_shot` and `few_shot`, of one or more models.
    source : str
        Source of the data; the article's rows are added where it is the article's.
    label : str

    Returns
    -------
    Table
    """
    protocols = {ZERO_SHOT: "ZS", FEW_SHOT_10: "10 %", FEW_SHOT_100: "100 %"}
    # In the article's order: first by group, then by protocol.
    columns = {
        (protocol, group): f"{group.capitalize()} {short}"
        for group in _GROUPS
        for protocol, short in protocols.items()
    }
    chosen = [r for r in results if r.label == label and r.metric == BALANCED_ACCURACY]
    rows: dict[str, dict[str, Estimate]] = {}
    for result in chosen:
        # The gap of the halves has no column in the article.
        column = columns.get((result.protocol, result.group))
        if column:
            rows.setdefault(result.model, {})[column] = result.estimate
    # Without a single figure of the label, its own name is the title.
    task = chosen[0].task if chosen else label
    title = f"Table 2 layout: {task}, balanced accuracy"
    return _layout(title, 2, list(columns.values()), rows, source, _any_simulated(chosen))


def table_3(rows: Mapping[str, Sequence[Result]], *, source: str) -> Table:
    """Table 3: four labels, zero-shot and fine-tuned, one row a model and window.

    Parameters
    ----------
    rows : mapping of row name to sequence of Result
        The name tells the window too: ``"demo (start)"``. Of the figures, those of all ECGs count.
    source : str
        As in `table_2`.

    Returns
    -------
    Table
    """
    protocols = {ZERO_SHOT: "ZS", FINE_TUNED: "FT"}
    columns = [f"{short} {p}" for short in MUSIC_LABELS.values() for p in protocols.values()]
    estimates = {
        name: {
            f"{MUSIC_LABELS[r.label]} {protocols[r.protocol]}": r.estimate
            for r in results
            if r.label in MUSIC_LABELS
            and r.protocol in protocols
            and (r.group, r.metric) == (ALL, BALANCED_ACCURACY)
        }
        for name, results in rows.items()
    }
    simulated = any(_any_simulated(results) for results in rows.values())
    title = "Table 3 layout: zero-shot and fine-tuned, balanced accuracy"
    return _layout(title, 3, columns, estimates, source, simulated)


def rank_table(results: Sequence[Result], *, metrics: Sequence[str]) -> Table:
    """Overall rank of each row of Table 3, by its mean rank over the labels; equal ones share one.

    Parameters
    ----------
    results : sequence of Result
        Means over the labels, by model and protocol.
    metrics : sequence of str
        Of the columns; rows are ranked by the last one, whose least is the best.

    Returns
    -------
    Table
    """
    rows, records = [], []
    placed = grid(results, lambda r: (r.protocol, r.model), lambda r: r.metric)
    for (protocol, model), row in placed.items():
        mean = row[metrics[-1]].estimate.value
        better = sum(
            other[metrics[-1]].estimate.value < mean
            for (of, _), other in placed.items()
            if of == protocol
        )
        # Ranks are no shares.
        cells = [with_interval(row[m].estimate, percent=m != metrics[-1]) for m in metrics]
        rows.append([protocol, model, *cells, str(better + 1)])
        records.append(
            {"protocol": protocol, "row": model, "overall_rank": better + 1}
            | {metric: estimate_record(row[metric].estimate) for metric in metrics}
        )
    return Table(
        "Over all labels: means in percent, mean rank by balanced accuracy, and overall rank",
        ["Protocol", "", *metrics, "overall rank"],
        rows,
        records,
    )


def table_4(results: Sequence[Result], *, source: str, order: str = CSD) -> Table:
    """Table 4: recall at 1 and 10 for all reports and for halves by the ECG's sigma^2.

    One row for each model, kind of hit and gallery; the rows' galleries stand in the note.

    Parameters
    ----------
    results : sequence of Result
        Of `retrieval`.
    source : str
        As in `table_2`.
    order : {"csd", "cosine"}

    Returns
    -------
    Table
    """
    columns = [f"{group.capitalize()} {metric}" for group in _GROUPS for metric in ("R@1", "R@10")]
    rows: dict[str, dict[str, Estimate]] = {}
    sizes: dict[str, set[int]] = {}
    for result in results:
        # As `retrieval` names it.
        by, hit, place = result.protocol.split(", ")
        if by != f"by {order}" or result.metric not in ("R@1", "R@10"):
            continue
        cells = rows.setdefault(f"{result.model}, {hit}, {place}", {})
        cells[f"{result.group.capitalize()} {result.metric}"] = result.estimate
        if result.gallery_size is not None:
            sizes.setdefault(place, set()).add(result.gallery_size)
    galleries = "; ".join(
        f"{place}: {' and '.join(f'{n:,}' for n in sorted(of_place))} ECGs"
        for place, of_place in sizes.items()
    )
    title = f"Table 4 layout: text to ECG by {order}"
    note = f"Galleries: {galleries}."
    return _layout(title, 4, columns, rows, source, _any_simulated(results), note)


def answers_table(results: Sequence[Result]) -> Table:
    """Every question: balanced accuracy and AUROC of all, low, high and the gap, one row each.

    Parameters
    ----------
    results : sequence of Result
        Of questions and of classes; figures without halves are left out.

    Returns
    -------
    Table
    """
    groups = (ALL, LOW, HIGH, GAP)
    # Without macro AUROC and recalls, which have no halves.
    answers = [r for r in results if r.metric in (BALANCED_ACCURACY, AUROC)]
    rows, records = [], []
    for place, row in grid(
        answers, lambda r: (r.task, r.model, r.protocol, r.metric), lambda r: r.group
    ).items():
        # Sizes of the halves stand beside the figures: ties and unknown answers make them unequal.
        size = f"{row[ALL].n_group} ({row[LOW].n_group} + {row[HIGH].n_group})"
        cells = [with_interval(row[g].estimate, percent=True, signed=g == GAP) for g in groups]
        rows.append([*place, *cells, size, str(row[ALL].n_seeds)])
        records.append(
            dict(zip(("question", "model", "protocol", "metric"), place, strict=True))
            | {group: estimate_record(row[group].estimate) for group in groups}
        )
    # One or two: models with and without sigma^2 may stand in one table.
    splits = sorted({r.split for r in results})
    header = ["Question", "Model", "Protocol", "Metric", *groups, "ECGs (low + high)", "Seeds"]
    title = f"All figures in percent; low and high by the {' or '.join(splits)}"
    return Table(title, header, rows, records)


def differences_table(results: Sequence[Result]) -> Table:
    """Paired differences, one row a question and comparison.

    Parameters
    ----------
    results : sequence of Result
        Of `differences`.

    Returns
    -------
    Table
    """
    metrics = (BALANCED_ACCURACY, AUROC)
    rows, records = [], []
    for (task, name), row in grid(
        results, lambda r: (r.task, r.protocol), lambda r: r.metric
    ).items():
        # With a sign, also where it is plus: these are differences.
        cells = [with_interval(row[m].estimate, percent=True, signed=True) for m in metrics]
        rows.append([task, name, *cells, str(row[AUROC].n_seeds)])
        records.append(
            {"question": task, "difference": name}
            | {metric: estimate_record(r.estimate) for metric, r in row.items()}
        )
    return Table(
        "Differences in points, paired by patient (and by seed where there are several)",
        ["Question", "Difference", *metrics, "Seeds"],
        rows,
        records,
    )


def recall_table(results: Sequence[Result]) -> Table:
    """Recall at 1, 5 and 10 by both orders and both kinds of hit.

    Parameters
    ----------
    results : sequence of Result
        Of `retrieval`.

    Returns
    -------
    Table
    """
    metrics = ("R@1", "R@5", "R@10")
    rows, records = [], []
    for place, row in grid(
        results, lambda r: (r.model, r.protocol, r.group), lambda r: r.metric
    ).items():
        # Queries and gallery are alike for all k of a row.
        first = next(iter(row.values()))
        cells = [with_interval(row[metric].estimate, percent=True) for metric in metrics]
        rows.append([*place, *cells, str(first.n_group), str(first.gallery_size)])
        records.append(
            dict(zip(("model", "protocol", "group"), place, strict=True))
            | {metric: estimate_record(r.estimate) for metric, r in row.items()}
            | {"queries": first.n_group, "gallery": first.gallery_size}
        )
    header = ["Model", "Order, hit, gallery", "Group", *metrics, "Queries", "Gallery"]
    return Table("All recalls in percent", header, rows, records)


def spread_table(spreads: Sequence[PromptSpread]) -> Table:
    """How far single wordings move a figure; not an interval.

    Parameters
    ----------
    spreads : sequence of PromptSpread
        0..1; the table prints percent.

    Returns
    -------
    Table
    """
    rows = [
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
    return Table(
        "The same with one prompt for yes and one for no, over all such pairs",
        ["Question", "Model", "Metric", "Least", "Median", "Greatest", "Pairs of prompts"],
        rows,
        records,
    )


def grid(
    results: Sequence[Result],
    row_of: Callable[[Result], Row],
    column_of: Callable[[Result], Column],
) -> dict[Row, dict[Column, Result]]:
    """Arrange results in rows and columns, both in the order in which they first come.

    Parameters
    ----------
    results : sequence of Result
    row_of, column_of : callable
        Where a result stands; the later of two in one place stays.

    Returns
    -------
    dict of row to dict of column to Result
    """
    rows: dict[Row, dict[Column, Result]] = {}
    for result in results:
        # Dictionaries keep the order of insertion, which is the order of the tables.
        rows.setdefault(row_of(result), {})[column_of(result)] = result
    return rows


def _layout(
    title: str,
    number: int,
    columns: Sequence[str],
    rows: Mapping[str, Mapping[str, Estimate]],
    source: str,
    simulated: bool,
    note: str = "",
) -> Table:
    """Our rows, then the article's where they may stand there, then what must be known of both."""
    # Columns that a model was not measured in are a dash, as in the article.
    lines = [
        [name, *(with_interval(cells[c], percent=True) if c in cells else "-" for c in columns)]
        for name, cells in rows.items()
    ]
    records: list[dict[str, Any]] = [
        {"row": name, "paper": False}
        | {c: estimate_record(cells[c]) for c in columns if c in cells}
        for name, cells in rows.items()
    ]
    # Figures of other data beside the article's would invite a comparison that means nothing.
    printed = None if simulated else beside(number, source)
    notes = [note] if note else []
    if printed is None:
        notes.append(_SIMULATED if simulated else _NOT_BESIDE)
    else:
        for name, row in printed.rows.items():
            lines.append([f"paper: {name}", *(str(row[column]) for column in columns)])
            records.append(
                # In percent as printed; ours are shares from 0 to 1, so the key says so.
                {"row": name, "paper": True}
                | {c: {"value_percent": row[c].percent, "status": row[c].status} for c in columns}
            )
        notes.append(
            f"Percent. Ours with 95 % intervals; the paper's: {PROVENANCE}. {printed.note}"
        )
    return Table(title, ["", *columns], lines, records, note=" ".join(notes))


def _any_simulated(results: Sequence[Result]) -> bool:
    return any(result.simulated for result in results)
