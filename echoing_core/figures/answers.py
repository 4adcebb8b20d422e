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
    # The 1001 quantiles are equally likely values, so their histogram is the cohort's. The
    # outermost 0.2 % would only stretch the axis. Positions are decimal logarithms, because
    # sigma^2 spans factors; plotly's own log axis places bars and notes inconsistently.
    values = np.log10(np.maximum(reference.quantiles[2:-2], 1e-12))
    span = max(float(np.ptp(values)), 1e-6)
    edges = np.linspace(values[0] - 0.01 * span, values[-1] + 0.01 * span, n_bins + 1)
    share = 100.0 * np.histogram(values, bins=edges)[0] / len(values)
    middle = (edges[1:] + edges[:-1]) / 2
    percentile = reference.percentile(10.0**middle)
    figure = go.Figure(
        go.Bar(
            x=middle, y=share, width=0.94 * np.diff(edges),
            marker={"color": [colour_of(p) for p in percentile]},
            text=[f"{v:.4g}: percentile {reference.percentile(v):.0f}" for v in 10.0**middle],
            textposition="none", hovertemplate="sigma² %{text}<extra></extra>",
        )
    )  # fmt: skip
    for words, value in marks:
        place = float(np.log10(max(value, 1e-12)))
        shown = float(np.clip(place, edges[0], edges[-1]))
        if shown != place:
            words += " (beyond this scale)"
        figure.add_shape(
            type="line", x0=shown, x1=shown, y0=0, y1=1, yref="y domain",
            line={"color": INK, "width": 1.5, "dash": "dot"},
        )  # fmt: skip
        figure.add_annotation(
            x=shown, y=1, yref="y domain", yanchor="bottom", text=safe(words), showarrow=False,
            xanchor="left" if shown < middle.mean() else "right", font={"size": 13},
        )  # fmt: skip
    ticks = np.linspace(edges[0], edges[-1], 6)
    figure.update_layout(
        template="none", height=280, font={"family": FONT, "color": INK}, dragmode=False,
        margin={"l": 52, "r": 24, "t": 28, "b": 46}, paper_bgcolor="white", plot_bgcolor="white",
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
        xaxis={
            "fixedrange": True, "tickvals": ticks, "ticktext": [f"{10.0**t:.3g}" for t in ticks],
            "title": {"text": "uncertainty (sum of sigma²), logarithmic"}, "zeroline": False,
            "showgrid": False,
        },
        yaxis={
            "title": {"text": "% of windows"}, "gridcolor": "#e8ebef", "fixedrange": True,
            "zeroline": False, "nticks": 5,
        },
    )  # fmt: skip
    return figure
