"""Figures of rhythm over time: rate and events on one clock, intervals as histogram and as plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from echoing_core.figures.rate_columns import merged_spans, rate_columns
from echoing_core.figures.style import FONT, GAP, INK, MUTED, clock

if TYPE_CHECKING:
    from echoing_core.rhythm import RhythmView

Floats = npt.NDArray[np.float64]

MOST_POINTS = 1500

_AF, _V, _PAUSE, _S = "#b34700", "#0b4f9e", "#7e03a8", "#0072b2"
_STEPS_S = (5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800)
_GRID = "#e8ebef"
_EVENTS = ("like atrial fibrillation", "pause", "ventricular", "supraventricular")


def rate_figure(
    view: RhythmView,
    rejected: tuple[tuple[float, float], ...] = (),
    selected_s: float | None = None,
) -> go.Figure:
    """Heart rate along a recording, and below it where something happened.

    Parameters
    ----------
    view : RhythmView
    rejected : tuple of (float, float)
        Spans in seconds, drawn grey behind everything.
    selected_s : float, optional
        Middle of the chosen window.

    Returns
    -------
    plotly.graph_objects.Figure
        Of at most `MOST_POINTS` columns, whatever the length. Each event carries its second in
        ``customdata``, for whoever takes a click.
    """
    beats = view.beats
    figure = go.Figure()
    x, low, middle, high = rate_columns(beats.time_s, beats.rr_ms, beats.duration_s, MOST_POINTS)
    if (high > low).any():
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]),
            fill="toself", mode="lines", line={"width": 0}, fillcolor=GAP, hoverinfo="skip",
            name="slowest to fastest", showlegend=False,
        )  # fmt: skip
    figure.add_scatter(
        x=x, y=middle, mode="lines", line={"color": INK, "width": 1.2}, connectgaps=False,
        customdata=[clock(float(t)) for t in x], name="heart rate", showlegend=False,
        hovertemplate="%{customdata}: %{y:.0f} bpm<extra></extra>",
    )  # fmt: skip
    for words, row, colour, spans in _lanes(view):
        _add_lane(figure, words, row, colour, spans)
    # All at once: Plotly copies its shapes whenever one is added.
    shapes: list[dict[str, Any]] = [
        {
            "type": "rect", "xref": "x", "yref": "paper", "x0": start_s, "x1": stop_s, "y0": 0,
            "y1": 1, "fillcolor": GAP, "opacity": 0.45, "line": {"width": 0}, "layer": "below",
        }
        for start_s, stop_s in merged_spans(rejected, beats.duration_s / MOST_POINTS)
    ]  # fmt: skip
    if selected_s is not None:
        line = {"color": INK, "width": 1.5, "dash": "dot"}
        at = {"x0": selected_s, "x1": selected_s, "y0": 0, "y1": 1}
        shapes.append({"type": "line", "xref": "x", "yref": "paper", "line": line, **at})
    step_s = next((s for s in _STEPS_S if beats.duration_s / s <= 8), _STEPS_S[-1])
    ticks = np.arange(0, beats.duration_s + 1e-6, step_s)
    figure.update_layout(
        **_LAYOUT, height=300, shapes=shapes,
        xaxis={
            "range": [0, beats.duration_s], "tickvals": ticks,
            "ticktext": [clock(float(t)) for t in ticks], "fixedrange": True, "showgrid": False,
            "zeroline": False, "anchor": "y2",
        },
        yaxis={
            "title": {"text": "bpm"}, "domain": [0.40, 1.0], "gridcolor": _GRID,
            "fixedrange": True, "zeroline": False, "rangemode": "normal",
        },
        yaxis2={
            "tickvals": list(range(len(_EVENTS))), "ticktext": list(_EVENTS), "domain": [0.0, 0.34],
            "range": [len(_EVENTS) - 0.4, -0.6], "fixedrange": True, "showgrid": False,
            "zeroline": False, "automargin": True,
        },
    )  # fmt: skip
    return figure


_LAYOUT: dict[str, Any] = {
    "template": "none",
    "font": {"family": FONT, "color": INK},
    "margin": {"l": 10, "r": 16, "t": 12, "b": 36},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "dragmode": False,
    "hoverlabel": {"bgcolor": "white", "font": {"color": INK}},
    "showlegend": False,
}


def _lanes(view: RhythmView) -> list[tuple[str, int, str, list[tuple[float, float]]]]:
    beats = view.beats
    at = {kind: beats.time_s[beats.kind == kind].tolist() for kind in ("V", "S")}
    return [
        (_EVENTS[0], 0, _AF, [(e.start_s, e.stop_s) for e in view.episodes]),
        (_EVENTS[1], 1, _PAUSE, [(p.start_s, p.stop_s) for p in view.pauses]),
        (_EVENTS[2], 2, _V, [(t, t) for t in at["V"]]),
        (_EVENTS[3], 3, _S, [(t, t) for t in at["S"]]),
    ]


def _add_lane(
    figure: go.Figure, words: str, row: int, colour: str, spans: list[tuple[float, float]]
) -> None:
    """One row of events: lines for what lasts, and a mark to click on for each."""
    if not spans:
        return
    # No more marks than pixels: of a day with ten thousand ventricular beats as many are seen.
    kept = spans[:: -(-len(spans) // MOST_POINTS)]
    if any(b > a for a, b in kept):
        figure.add_scatter(
            x=[t for a, b in kept for t in (a, b, None)],
            y=[row] * (3 * len(kept)), yaxis="y2", mode="lines", hoverinfo="skip",
            line={"color": colour, "width": 9},
        )  # fmt: skip
    lasting = [f"{words}, {clock(a)}" + (f", {b - a:.1f} s" if b > a else "") for a, b in kept]
    figure.add_scatter(
        x=[(a + b) / 2 for a, b in kept], y=[row] * len(kept), yaxis="y2", mode="markers",
        name=words, text=lasting, hovertemplate="%{text}<extra></extra>",
        customdata=[(a + b) / 2 for a, b in kept],
        marker={
            "color": colour, "size": 11, "symbol": "line-ns-open" if row > 1 else "diamond",
            "line": {"color": colour, "width": 1.5},
        },
    )  # fmt: skip


def interval_figure(view: RhythmView) -> go.Figure:
    """Histogram of all intervals, and each against the next (Poincare or Lorenz plot).

    Parameters
    ----------
    view : RhythmView

    Returns
    -------
    plotly.graph_objects.Figure
        Of at most `MOST_POINTS` points and 80 bars.

    References
    ----------
    Brennan et al., IEEE Trans Biomed Eng 2001;48:1342.
    """
    from echoing_core.rhythm.measures import rr_histogram

    edges_ms, count = rr_histogram(view.beats)
    rr_ms = view.beats.rr_ms
    pair = np.isfinite(rr_ms[:-1]) & np.isfinite(rr_ms[1:])
    first, following = rr_ms[:-1][pair], rr_ms[1:][pair]
    step = max(1, -(-first.size // MOST_POINTS))
    figure = go.Figure()
    used = np.flatnonzero(count)
    low, high = (used[0], used[-1] + 1) if used.size else (0, 1)
    figure.add_bar(
        x=(edges_ms[:-1] + edges_ms[1:])[low:high] / 2, y=count[low:high],
        width=np.diff(edges_ms)[low:high] * 0.9, marker={"color": _V},
        hovertemplate="%{x:.0f} ms: %{y}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=first[::step], y=following[::step], xaxis="x2", yaxis="y2", mode="markers",
        marker={"color": _V, "size": 3, "opacity": 0.5},
        hovertemplate="%{x:.0f} ms, then %{y:.0f} ms<extra></extra>",
    )  # fmt: skip
    ends = [edges_ms[low] - 25, edges_ms[high] + 25] if used.size else [400, 1400]
    figure.add_scatter(
        x=ends, y=ends, xaxis="x2", yaxis="y2", mode="lines", hoverinfo="skip",
        line={"color": MUTED, "width": 1, "dash": "dot"},
    )  # fmt: skip
    axis = {"fixedrange": True, "gridcolor": _GRID, "zeroline": False}
    figure.update_layout(
        **{**_LAYOUT, "margin": {"l": 56, "r": 16, "t": 12, "b": 44}}, height=260,
        xaxis={**axis, "domain": [0.0, 0.44], "title": {"text": "interval, ms"}},
        yaxis={**axis, "title": {"text": "beats"}},
        xaxis2={
            **axis, "domain": [0.56, 1.0], "title": {"text": "interval, ms"}, "anchor": "y2",
            "range": ends,
        },
        yaxis2={**axis, "title": {"text": "next, ms"}, "anchor": "x2", "range": ends},
    )  # fmt: skip
    return figure
