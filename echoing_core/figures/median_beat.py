"""The median beat with what was measured on it, and the median beats of two recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from echoing_core.figures.style import FONT, INK, MUTED

if TYPE_CHECKING:
    from echoing_core.measure import BeatsBeside, Measured

_WAVES = (
    ("P", "p_onset", "p_offset", "#0072b2"),
    ("QRS", "qrs_onset", "qrs_offset", "#b34700"),
    ("T", "t_onset", "t_offset", "#7e03a8"),
)
_GRID = "#e8ebef"
_BOLD = ("II", "V5", "I")
_REACH_MS = (-360.0, 620.0)

FIRST_COLOUR, SECOND_COLOUR = "#0b4f9e", "#b34700"
# Millimetres of ECG paper: 25 mm/s and 10 mm/mV.
_MM_PER_MS, _MM_PER_MV = 0.025, 10.0
# Beyond the larger no heart reaches: what is higher is a fault, and is cut off.
_LEAST_MV, _MOST_MV = (-0.5, 1.0), (-8.0, 8.0)
_SHEET, _FINE, _BOLD_LINE = "#fffafa", "#f9dcdc", "#eeb0b0"


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


def beats_beside_svgs(beats: BeatsBeside) -> dict[str, str]:
    """The median beats of two recordings over each other on ECG paper, lead by lead.

    Parameters
    ----------
    beats : BeatsBeside

    Returns
    -------
    dict of str to str
        Lead -> one ``<svg>`` element whose units are millimetres of paper at 25 mm/s and 10 mm/mV.
        All leads have one scale; the first is blue, the second orange and broken.
    """
    both = np.stack([beats.one_mv, beats.other_mv])
    low = float(np.clip(np.nanmin(both, initial=_LEAST_MV[0]), _MOST_MV[0], _LEAST_MV[0]))
    high = float(np.clip(np.nanmax(both, initial=_LEAST_MV[1]), _LEAST_MV[1], _MOST_MV[1]))
    # Whole large boxes, so that zero lies on a line.
    up, down = (5.0 * np.ceil(_MM_PER_MV * mv / 5.0) for mv in (high, -low))
    x = _MM_PER_MS * (beats.time_ms - beats.time_ms[0])
    width, height = float(np.ceil(x[-1])), up + down
    onset = -_MM_PER_MS * float(beats.time_ms[0])
    grid = "".join(
        f'<path d="{_lines(width, height, onset % step, step)}" fill="none" stroke="{colour}" '
        f'stroke-width="{thick}"/>'
        for step, colour, thick in ((1.0, _FINE, 0.08), (5.0, _BOLD_LINE, 0.12))
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">'
        f'<rect width="{width:g}" height="{height:g}" fill="{_SHEET}"/>{grid}'
    )
    drawn = {}
    for k, lead in enumerate(beats.leads):
        paths = "".join(
            f'<path d="{_pen(x, up - _MM_PER_MV * np.clip(signal[k], -down / 10, up / 10))}" '
            f'fill="none" stroke="{colour}" stroke-width="0.35" stroke-linejoin="round"{dash}/>'
            for signal, colour, dash in (
                (beats.one_mv, FIRST_COLOUR, ""),
                (beats.other_mv, SECOND_COLOUR, ' stroke-dasharray="1.1 0.5"'),
            )
        )
        drawn[lead] = f"{head}{paths}</svg>"
    return drawn


def _lines(width: float, height: float, first: float, step: float) -> str:
    across = "".join(f"M{x:.2f} 0V{height:g}" for x in np.arange(first, width + 1e-6, step))
    return across + "".join(f"M0 {y:g}H{width:g}" for y in np.arange(0.0, height + 1e-6, step))


def _pen(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> str:
    """A path of every second point, 4 ms apart; NaN lifts the pen."""
    parts, move = [], "M"
    for px, py in zip(x[::2], y[::2], strict=True):
        if not np.isfinite(py):
            move = "M"
            continue
        parts.append(f"{move}{px:.2f} {py:.2f}")
        move = "L"
    return "".join(parts)
