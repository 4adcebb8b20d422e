"""An experiment as one HTML file: what was measured, its tables, and a drawing of one metric."""

from __future__ import annotations

from collections.abc import Sequence

from echoing_core.export.document.charts import intervals_drawing
from echoing_core.export.document.elements import Block, Heading, Picture, Table, Text
from echoing_core.export.document.page import page_html
from echoing_core.metrics.results import Experiment, Result
from echoing_core.version import DISCLAIMER


def experiment_html(experiment: Experiment, drawn: Sequence[Result] = (), title: str = "") -> str:
    """Write an experiment as one page without scripts, links and anything to load.

    Parameters
    ----------
    experiment : Experiment
    drawn : sequence of Result
        Shown as dots with their intervals, see `intervals_drawing`.
    title : str
        What they are.

    Returns
    -------
    str
    """
    simulated = any(result.simulated for result in experiment.results)
    stamp = DISCLAIMER + (" Simulated ECGs." if simulated else "")
    blocks: list[Block] = [
        Heading(experiment.title, 1),
        Text(stamp, "caution"),
        # Written for Markdown, where a name is set off by asterisks.
        Text(experiment.method.replace("*", ""), "note"),
    ]
    if drawn:
        blocks += [Heading(title), Picture(intervals_drawing(drawn, title))]
    for table in experiment.tables:
        blocks += [
            Heading(table.title),
            Table(
                tuple(table.header),
                tuple(tuple(row) for row in table.rows),
                # Names need more room than figures.
                (1.6, *(1.0 for _ in table.header[1:])),
            ),
            *([Text(table.note, "note")] if table.note else []),
        ]
    return page_html(experiment.title, blocks, stamp)
