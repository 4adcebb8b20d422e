"""The median beat with what was measured on it: where P, QRS and T begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from echoing_core.figures.style import FONT, INK, MUTED

if TYPE_CHECKING:
    from echoing_core.measure import Measured

_WAVES = (
    ("P", "p_onset", "p_offset", "#0072b2"),
    ("QRS", "qrs_onset", "qrs_offset", "#b34700"),
    ("T", "t_onset", "t_offset", "#7e03a8"),
)
_GRID = "#e8ebef"
_BOLD = ("II", "V5", "I")
_REACH_MS = (-360.0, 620.0)


def median_beat_figure(measured: Measured) -> go.Figure:
    """All leads of the median beat over each other, and bands from the onset to the end of waves.

    Parameters
    ----------
    measured : Measured
        With a beat.

    Returns
    -------
    plotly.graph_objects.Figure
        Milliseconds from the onset of the QRS. Derived leads are left out.
    """
    beat = measured.beat
    if beat is None:
        raise ValueError("there is no median beat to draw")
    onset = measured.mark_ms("qrs_onset")
    zero = onset if np.isfinite(onset) else 0.0
    x = beat.time_ms - zero
    inside = (x >= _REACH_MS[0]) & (x <= _REACH_MS[1])
    level = beat.signal_mv[:, (x >= -16.0) & (x <= 0.0)].mean(axis=1, keepdims=True)
    figure = go.Figure()
    bold = next((lead for lead in _BOLD if lead in beat.leads), beat.leads[0])
    for k in beat.measured:
        lead = beat.leads[k]
        figure.add_scatter(
            x=np.round(x[inside], 1),
            y=np.round((beat.signal_mv[k] - level[k])[inside], 4),
            mode="lines",
            line={"color": INK if lead == bold else MUTED, "width": 1.8 if lead == bold else 0.8},
            name=lead,
            hovertemplate=f"{lead}, %{{x:.0f}} ms: %{{y:.2f}} mV<extra></extra>",
        )
    shapes: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    for name, begin, end, colour in _WAVES:
        at = (measured.mark_ms(begin) - zero, measured.mark_ms(end) - zero)
        if not np.isfinite(at).all():
            continue
        shapes.append(
            {
                "type": "rect", "xref": "x", "yref": "paper", "x0": at[0], "x1": at[1], "y0": 0,
                "y1": 1, "fillcolor": colour, "opacity": 0.12,
                "line": {"width": 1, "color": colour}, "layer": "below", "name": name,
            }
        )  # fmt: skip
        words.append(
            {
                "x": sum(at) / 2, "y": 1.0, "xref": "x", "yref": "paper", "yanchor": "bottom",
                "text": name, "showarrow": False, "font": {"color": colour},
            }
        )  # fmt: skip
    figure.update_layout(
        template="none",
        font={"family": FONT, "color": INK},
        margin={"l": 10, "r": 16, "t": 24, "b": 40},
        paper_bgcolor="white",
        plot_bgcolor="white",
        dragmode=False,
        height=320,
        showlegend=False,
        shapes=shapes,
        annotations=words,
        xaxis={
            "title": {"text": "ms from the onset of the QRS"}, "fixedrange": True,
            "gridcolor": _GRID, "dtick": 100, "zeroline": False,
        },
        yaxis={
            "title": {"text": "mV"}, "fixedrange": True, "gridcolor": _GRID, "zeroline": False,
            "automargin": True,
        },
    )  # fmt: skip
    return figure
