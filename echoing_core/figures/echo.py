"""Frames of an echocardiogram around their mean, and a distance among reference pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from echoing_core.figures.style import FONT, INK, MUTED, safe

Floats = npt.NDArray[np.float64]

_LINE, _OWN, _OTHER = "#7e03a8", "#0b4f9e", "#c77a1e"
_N_BINS = 60


def echo_frames_figure(
    names: Sequence[str], times: Sequence[Floats], away: Sequence[Floats], *, in_seconds: bool
) -> go.Figure:
    """How far each frame lies from the mean of its clip, clip by clip on one scale.

    Parameters
    ----------
    names : sequence of str
        Of the clips.
    times, away : sequence of ndarray, shape (n_frames,)
        When each frame was, and its squared distance from the mean.
    in_seconds : bool
        Of ``times``; else they are numbers of frames.

    Returns
    -------
    plotly.graph_objects.Figure
        Higher by 100 px for each clip.
    """
    n = len(names)
    # Names above the lines: beside an axis of 60 px a name runs into its neighbours.
    figure = make_subplots(
        rows=n, cols=1, shared_xaxes=True, vertical_spacing=0.3 / max(n, 2),
        subplot_titles=[safe(name) for name in names],
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", font={"size": 12, "color": MUTED})
    top = max(float(np.max(values)) for values in away) * 1.12 or 1.0
    for row, (at, values) in enumerate(zip(times, away, strict=True), start=1):
        mean = float(np.mean(values))
        figure.add_scatter(
            x=at, y=values, mode="lines+markers", line={"color": _LINE, "width": 2},
            marker={"size": 5}, hovertemplate="%{x:.2f}: %{y:.4f}<extra></extra>",
            row=row, col=1,
        )  # fmt: skip
        # The variance of a clip is the mean of these squared distances.
        figure.add_hline(y=mean, line={"color": MUTED, "width": 1, "dash": "dot"}, row=row, col=1)
        figure.update_yaxes(
            range=[0, top], nticks=3, fixedrange=True, gridcolor="#e8ebef", zeroline=False,
            row=row, col=1,
        )  # fmt: skip
        figure.update_xaxes(fixedrange=True, gridcolor="#eef0f3", zeroline=False, row=row, col=1)
    figure.update_xaxes(title="Seconds" if in_seconds else "Frame", row=n, col=1)
    figure.update_layout(
        template="none", height=80 + 100 * n, font={"family": FONT, "color": INK},
        margin={"l": 48, "r": 16, "t": 28, "b": 44}, paper_bgcolor="white", plot_bgcolor="white",
        dragmode=False, showlegend=False,
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
    )  # fmt: skip
    return figure


def echo_distance_figure(own: Floats, other: Floats, value: float) -> go.Figure:
    """Distances of reference pairs of one heart and of two people, and the one at hand.

    Parameters
    ----------
    own, other : ndarray, shape (n,) and (m,)
    value : float
        Marked by a line.

    Returns
    -------
    plotly.graph_objects.Figure
        Shares of each kind of pairs, in percent.
    """
    low = min(float(own.min()), float(other.min()), value)
    high = max(float(own.max()), float(other.max()), value)
    edges = np.linspace(low, high if high > low else low + 1.0, _N_BINS + 1)
    figure = go.Figure()
    for values, name, colour in (
        (other, "ECG and echo of two people", _OTHER),
        (own, "ECG and echo of one heart", _OWN),
    ):
        counts = np.histogram(values, edges)[0]
        figure.add_scatter(
            x=(edges[:-1] + edges[1:]) / 2, y=100.0 * counts / len(values), mode="lines",
            line={"color": colour, "width": 2, "shape": "hvh"}, fill="tozeroy", name=name,
            hovertemplate="%{x:.3f}: %{y:.1f} %<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=value, line={"color": INK, "width": 3})
    figure.add_annotation(
        x=value, y=1.0, yref="paper", text="this pair", showarrow=False, yanchor="bottom",
        xanchor="left" if value < (low + high) / 2 else "right",
    )  # fmt: skip
    figure.update_layout(
        template="none", height=270, font={"family": FONT, "color": INK},
        margin={"l": 48, "r": 16, "t": 48, "b": 44}, paper_bgcolor="white", plot_bgcolor="white",
        dragmode=False, legend={"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom"},
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
        xaxis={"title": "Distance (CSD)", "fixedrange": True, "gridcolor": "#eef0f3"},
        yaxis={"title": "% of pairs", "fixedrange": True, "gridcolor": "#e8ebef"},
    )  # fmt: skip
    return figure
