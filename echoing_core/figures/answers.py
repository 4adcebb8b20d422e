"""Answers to questions, and the cohort that an uncertainty is measured against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from echoing_core.figures.style import FONT, INK, MUTED, colour_of, safe, wrap
from echoing_core.records import Answer
from echoing_core.uncertainty.reference import Reference


def answers_figure(answers: Sequence[Answer]) -> go.Figure:
    """Each answer as a dot with its 90 % interval, on one scale from no to yes."""
    figure = go.Figure()
    looks = {
        "yes": ("circle", "#0b4f9e"),
        "no": ("circle-open", "#0b4f9e"),
        "not sure enough": ("diamond-open", MUTED),
    }
    rows = list(range(len(answers)))
    for verdict, (symbol, colour) in looks.items():
        mine = [i for i in rows if answers[i].verdict == verdict]
        low = [100 * (answers[i].probability - min(answers[i].interval)) for i in mine]
        high = [100 * (max(answers[i].interval) - answers[i].probability) for i in mine]
        figure.add_scatter(
            x=[100 * answers[i].probability for i in mine], y=mine, mode="markers", name=verdict,
            error_x={
                "type": "data", "symmetric": False, "array": np.maximum(high, 0.0),
                "arrayminus": np.maximum(low, 0.0), "thickness": 3, "width": 0, "color": colour,
            },
            marker={"symbol": symbol, "size": 13, "color": colour, "line": {"width": 2.5}},
            text=[safe(answers[i].question) for i in mine],
            hovertemplate="%{text}: %{x:.0f} %<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=50, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_layout(
        template="none", height=70 + 44 * len(answers), font={"family": FONT, "color": INK},
        margin={"l": 10, "r": 16, "t": 34, "b": 30}, paper_bgcolor="white", plot_bgcolor="white",
        dragmode=False, legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
        xaxis={
            "range": [-2, 102], "tickvals": [0, 25, 50, 75, 100], "fixedrange": True,
            "ticktext": ["0 % no", "25", "50", "75", "100 % yes"], "gridcolor": "#e8ebef",
            "zeroline": False,
        },
        yaxis={
            "tickvals": rows, "ticktext": [wrap(a.question) for a in answers],
            "range": [len(answers) - 0.4, -0.6], "automargin": True, "fixedrange": True,
            "gridcolor": "#eef0f3", "zeroline": False,
        },
    )  # fmt: skip
    return figure


def reference_figure(
    reference: Reference, marks: Sequence[tuple[str, float]] = (), n_bins: int = 50
) -> go.Figure:
    """How sigma^2 is spread in the reference cohort, coloured by percentile.

    Parameters
    ----------
    marks : sequence of (words, sigma^2)
        Values to point out, such as the chosen window.
    """
    # The 1001 quantiles are equally likely values, so their histogram is the cohort's; a log
    # axis because sigma^2 spans factors. The outermost 0.2 % would only stretch the axis.
    values = reference.quantiles[2:-2]
    edges = np.geomspace(max(values[0], 1e-12), max(values[-1], 2e-12), n_bins + 1)
    share = 100.0 * np.histogram(values, bins=edges)[0] / len(values)
    middle = np.sqrt(edges[1:] * edges[:-1])
    figure = go.Figure(
        go.Bar(
            x=middle, y=share, width=0.97 * np.diff(edges), customdata=reference.percentile(middle),
            marker={"color": [colour_of(p) for p in reference.percentile(middle)]},
            hovertemplate="sigma² %{x:.4g}: percentile %{customdata:.0f}<extra></extra>",
        )
    )  # fmt: skip
    for words, value in marks:
        figure.add_vline(
            x=value, line={"color": INK, "width": 1.5, "dash": "dot"},
            annotation={"text": safe(words), "font": {"size": 12}, "yanchor": "bottom", "y": 1},
        )  # fmt: skip
    figure.update_layout(
        template="none", height=280, font={"family": FONT, "color": INK}, dragmode=False,
        margin={"l": 52, "r": 14, "t": 24, "b": 46}, paper_bgcolor="white", plot_bgcolor="white",
        xaxis={
            "type": "log", "fixedrange": True, "nticks": 6,
            "title": {"text": "uncertainty (sum of sigma²), log scale"},
        },
        yaxis={
            "title": {"text": "% of windows"}, "gridcolor": "#e8ebef", "fixedrange": True,
            "zeroline": False, "nticks": 5,
        },
    )  # fmt: skip
    return figure
