"""The first seconds of a table's columns, so that a person can say what they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from echoing_core.figures.style import FONT, INK, safe
from echoing_core.records import FloatArray

MOST_ROWS = 16
_POINTS = 1200


def table_head(first: FloatArray, names: Sequence[str], fs_hz: float | None) -> go.Figure:
    """Columns one above the other, each as high as its own numbers reach.

    Parameters
    ----------
    first : ndarray, shape (n_columns, n_samples)
        As they stand in the table; NaN is left blank.
    names : sequence of str
        Of the columns. At most `MOST_ROWS` are drawn.
    fs_hz : float or None
        Sampling rate, if it is known; without, the axis counts samples.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    rows = list(first[:MOST_ROWS])
    # Every so many samples are enough to know a column by; this is no picture to read.
    step = max(1, first.shape[1] // _POINTS)
    x = np.arange(0, first.shape[1], step) / (fs_hz or 1.0)
    figure = go.Figure()
    ticks: list[str] = []
    for place, (name, row) in enumerate(zip(names, rows, strict=False)):
        part = row[::step].astype(np.float64)
        part[np.isinf(part)] = np.nan
        measured = part[~np.isnan(part)]
        low, high = (measured.min(), measured.max()) if measured.size else (0.0, 1.0)
        # In the middle of its band, four fifths of it high.
        y = 0.8 * (part - (low + high) / 2) / max(high - low, 1e-12) - place
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": INK, "width": 1}, name=safe(name),
            hoverinfo="skip", connectgaps=False,
        )  # fmt: skip
        span = f"{low:.3g} to {high:.3g}" if measured.size else "no numbers"
        ticks.append(f"{safe(name[:16])}<br><span style='font-size:10px'>{span}</span>")
    n = max(len(figure.data), 1)
    figure.update_layout(
        template="none", height=70 + 42 * n, font={"family": FONT, "color": INK},
        margin={"l": 10, "r": 10, "t": 10, "b": 40}, paper_bgcolor="white", plot_bgcolor="white",
        dragmode=False, showlegend=False,
        xaxis={
            "title": {"text": "seconds" if fs_hz else "samples"}, "fixedrange": True,
            "gridcolor": "#eef0f3", "zeroline": False,
        },
        yaxis={
            "tickvals": [-i for i in range(n)], "ticktext": ticks,
            "range": [-n + 0.4, 0.6], "automargin": True, "fixedrange": True, "showgrid": False,
            "zeroline": False,
        },
    )  # fmt: skip
    return figure
