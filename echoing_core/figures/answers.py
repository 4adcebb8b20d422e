"""Answers to questions, and the cohort that an uncertainty is measured against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from echoing_core.figures.style import FONT, GAP, INK, clock, colour_of, safe, wrap
from echoing_core.uncertainty.reference import Reference

Floats = npt.NDArray[np.float64]


_MOST_COLUMNS = 600
_STEPS_S = (5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 21600)
# From blue over white to orange: told apart with any kind of colour vision.
_NO_TO_YES = ((0.0, "#0b4f9e"), (0.5, "#f5f5f5"), (1.0, "#b34700"))


def answers_along_figure(
    questions: Sequence[str],
    probability: Floats,
    unsure: npt.NDArray[np.bool_],
    start_s: Floats,
    window_s: float,
    marks: Sequence[tuple[str, float]] = (),
    *,
    calibrated: Sequence[bool],
) -> go.Figure:
    """A strip for each question: yes and no along a recording, grey where not sure enough.

    Parameters
    ----------
    questions : sequence of str
        From top to bottom.
    probability : ndarray, shape (n_questions, n_windows)
        NaN where nothing was recorded.
    unsure : ndarray of bool, shape (n_questions, n_windows)
        The interval holds the middle.
    start_s : ndarray, shape (n_windows,)
    window_s : float
    marks : sequence of (words, seconds)
        Middles of windows to point out.
    calibrated : sequence of bool
        Of each question, whether its numbers are probabilities; a score is told without per cent.

    Returns
    -------
    plotly.graph_objects.Figure
        Of at most 600 columns, whatever the length of the recording.
    """
    middle_s = start_s + window_s / 2
    columns = min(len(middle_s), _MOST_COLUMNS)
    borders = np.linspace(0, len(middle_s), columns + 1).astype(int)
    width = np.diff(borders)
    said = np.isfinite(probability)
    sure = said & ~unsure
    n_said = np.add.reduceat(said, borders[:-1], axis=1)
    n_sure = np.add.reduceat(sure, borders[:-1], axis=1)
    total = np.add.reduceat(np.where(sure, probability, 0.0), borders[:-1], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A column says what most of its windows say.
        shown = np.where(2 * n_sure >= n_said, 100.0 * total / n_sure, np.nan)
        grey = np.where((n_said > 0) & ~np.isfinite(shown), 1.0, np.nan)
    x = np.add.reduceat(middle_s, borders[:-1]) / width
    rows = list(range(len(questions)))
    figure = go.Figure()
    figure.add_heatmap(
        x=x, y=rows, z=grey, colorscale=[[0, GAP], [1, GAP]], showscale=False, hoverinfo="skip",
        ygap=3,
    )  # fmt: skip
    figure.add_heatmap(
        x=x, y=rows, z=shown, zmin=0, zmax=100, colorscale=_NO_TO_YES, ygap=3,
        customdata=[
            [(clock(float(t)), *(("", " %") if known else ("score ", " of 100"))) for t in x]
            for known in calibrated
        ],
        text=[[safe(q)] * len(x) for q in questions],
        hovertemplate="%{text}<br>%{customdata[0]}: "
        "%{customdata[1]}%{z:.0f}%{customdata[2]}<extra></extra>",
        colorbar={
            "orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left",
            "len": 150, "lenmode": "pixels", "thickness": 10, "tickvals": [0, 50, 100],
            "ticktext": ["0 no", "50", "100 yes"], "outlinewidth": 0, "ypad": 4,
        },
    )  # fmt: skip
    for words, at_s in marks:
        figure.add_vline(x=at_s, line={"color": INK, "width": 1.5, "dash": "dot"})
        figure.add_annotation(
            x=at_s, y=0, yref="paper", yanchor="top", yshift=-18, text=safe(words),
            showarrow=False, font={"size": 12},
        )  # fmt: skip
    end_s = float(start_s[-1] + window_s)
    step_s = next((s for s in _STEPS_S if end_s / s <= 6), _STEPS_S[-1])
    ticks = np.arange(0, end_s + 1e-6, step_s)
    figure.update_layout(
        template="none", height=120 + 30 * len(questions), font={"family": FONT, "color": INK},
        margin={"l": 10, "r": 24, "t": 52, "b": 44}, paper_bgcolor="white", plot_bgcolor="white",
        dragmode=False, hoverlabel={"bgcolor": "white", "font": {"color": INK}},
        xaxis={
            "range": [0, end_s], "tickvals": ticks, "ticktext": [clock(float(t)) for t in ticks],
            "fixedrange": True, "showgrid": False, "zeroline": False,
        },
        yaxis={
            "tickvals": rows, "ticktext": [wrap(q, 24) for q in questions], "automargin": True,
            "range": [len(questions) - 0.5, -0.5], "fixedrange": True, "showgrid": False,
            "zeroline": False,
        },
    )  # fmt: skip
    return figure


def reference_figure(
    reference: Reference, marks: Sequence[tuple[str, float]] = (), n_bins: int = 50
) -> go.Figure:
    """How sigma^2 is spread in the reference cohort, coloured by percentile.

    Parameters
    ----------
    reference : Reference
    marks : sequence of (words, sigma^2)
        Values to point out, such as the chosen window.
    n_bins : int

    Returns
    -------
    plotly.graph_objects.Figure
        On a logarithmic axis, in percent of the windows of the cohort.
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
