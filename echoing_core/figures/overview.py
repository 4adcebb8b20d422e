"""A whole recording: one lead, the uncertainty percentile, and where in the leads it comes from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from echoing_core.figures.attribution import Columns, add_lead_rows
from echoing_core.figures.style import FONT, GAP, INK, MUTED, SCALE, clock, stepped_scale
from echoing_core.records import LEADS, BoolArray, StandardEcg, WindowTrack
from echoing_core.uncertainty.intervals import cell_edges as cell_edges
from echoing_core.uncertainty.intervals import shown_percentile as shown_percentile
from echoing_core.uncertainty.reference import Reference

Floats = npt.NDArray[np.float64]

TRACE_PIXELS = 1300
STRIP_COLUMNS = 1500
MAX_GAP_SHAPES = 150
DAY_ONE_MS = 946_684_800_000.0


def decimate_min_max(
    time_s: Floats, values: npt.NDArray[np.floating], n_bins: int
) -> tuple[Floats, Floats]:
    """Lowest and highest value of each of ``n_bins`` stretches, in the order they occur.

    Extremes survive, so that a single spike in 24 hours still shows. NaN are left out of a
    stretch that has other values; a stretch of nothing but NaN gives NaN.

    Parameters
    ----------
    time_s, values : ndarray, shape (n,)
    n_bins : int

    Returns
    -------
    time_s, values : ndarray, shape (n,) unchanged if n <= 2 n_bins, else about (2 n_bins,)
    """
    n = len(values)
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, not {n_bins}")
    if n <= 2 * n_bins:
        return np.asarray(time_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    size = -(-n // n_bins)
    padded = np.full(-(-n // size) * size, np.nan)
    padded[:n] = values
    blocks = padded.reshape(-1, size)
    empty = np.isnan(blocks).all(axis=1)
    low = np.where(np.isnan(blocks), np.inf, blocks).argmin(axis=1)
    high = np.where(np.isnan(blocks), -np.inf, blocks).argmax(axis=1)
    first = np.arange(len(blocks)) * size
    where = np.sort(np.stack([first + low, first + high], axis=1), axis=1)
    where[empty] = first[empty, None]
    rows = np.minimum(where.ravel(), n - 1)
    return np.asarray(time_s[rows], dtype=np.float64), padded[rows]


def first_shown_lead(ecg: StandardEcg) -> str:
    """Lead I, or the first lead of `LEADS` that was measured or derived."""
    present = [lead for lead, o in zip(LEADS, ecg.lead_origin, strict=True) if o != "missing"]
    return present[0] if present else LEADS[0]


def overview_figure(
    ecg: StandardEcg,
    track: WindowTrack,
    reference: Reference,
    *,
    lead: str | None = None,
    selected: int | None = None,
    view_s: tuple[float, float] | None = None,
) -> go.Figure:
    """One lead coloured by the uncertainty percentile, that percentile, and each lead's part.

    The upper two rows are after EchoingECG, Fig. 2; `add_lead_rows` says what the third shows,
    which is left out where the model does not tell leads apart. All share one clock. The markers
    that carry the window numbers (``customdata``) are transparent: a heatmap alone sends no
    selection to the page.

    Parameters
    ----------
    reference : Reference
        Of the model that made the track.
    lead : str, optional
        By default `first_shown_lead`.
    selected : int, optional
        Window to frame.
    view_s : (float, float), optional
        Stretch to show, in seconds; by default the whole recording.
    """
    lead = first_shown_lead(ecg) if lead is None else lead
    begin, end = (0.0, ecg.duration_s) if view_s is None else view_s
    figure = go.Figure()
    _add_trace(figure, ecg, track, lead, begin, end)
    columns = _columns(ecg, track, begin, end)
    _add_strip(figure, track, columns)
    has_leads = track.by_lead is not None
    if has_leads:
        add_lead_rows(figure, track, reference, columns, _ms(columns.borders))
    if selected is not None:
        start = float(track.start_s[selected])
        # Filled behind the trace alone: over the colours it would change what they say.
        for yref, layer, width, fill in (
            ("y domain", "below", 0.0, "rgba(27,36,48,0.07)"),
            ("paper", "above", 1.5, "rgba(0,0,0,0)"),
        ):
            figure.add_shape(
                type="rect", xref="x", yref=yref, y0=0.0, y1=1.0, layer=layer,
                x0=_ms(start), x1=_ms(start + track.window_s),
                line={"color": INK, "width": width}, fillcolor=fill,
            )  # fmt: skip
    ticks = {"size": 12, "color": MUTED}
    figure.update_layout(
        template="none", height=490 if has_leads else 330,
        margin={"l": 50, "r": 14, "t": 6, "b": 30},
        font={"family": FONT, "color": INK}, showlegend=False, hovermode="x", dragmode=False,
        paper_bgcolor="white", plot_bgcolor="white", clickmode="event+select",
        hoverlabel={"bgcolor": "white", "font": {"color": INK, "size": 13}},
        xaxis={
            "type": "date", "range": [_ms(begin), _ms(end)], "anchor": "y3" if has_leads else "y2",
            "tickfont": ticks, "tickformat": _tick_format(ecg.duration_s),
            "showgrid": False, "ticks": "outside", "tickcolor": GAP, "nticks": 8,
            "fixedrange": True,
        },
        yaxis={
            "domain": [0.6, 1.0] if has_leads else [0.4, 1.0],
            "title": {"text": f"{lead} (mV)", "font": ticks, "standoff": 4},
            "tickfont": ticks, "zeroline": False, "gridcolor": "#eef0f3", "nticks": 5,
            "fixedrange": True, "range": _lead_range(ecg, lead, begin, end),
        },
        yaxis2={
            "domain": [0.42, 0.57] if has_leads else [0.0, 0.33],
            "range": [0, 100], "tickvals": [0, 50, 100], "tickfont": ticks,
            "title": {"text": "percentile", "font": ticks, "standoff": 4}, "zeroline": False,
            "showgrid": False, "fixedrange": True,
        },
    )  # fmt: skip
    return figure


def _ms(seconds: Floats | float) -> Floats:
    """Seconds from the start as milliseconds of a date axis, which ticks like a clock.

    The recording starts on 2000-01-01: plotly reads numbers of up to four digits as years.
    """
    return DAY_ONE_MS + 1000.0 * np.asarray(seconds, dtype=np.float64)


def _lead_range(ecg: StandardEcg, lead: str, begin: float, end: float) -> list[float] | None:
    """Millivolts to show: the beats decide, so that a loose electrode does not flatten them.

    Artefacts of more than 2.5 times the height of most beats run off the edge.
    """
    row, size = LEADS.index(lead), round(ecg.fs_hz)
    a, b = max(int(begin * ecg.fs_hz), 0), min(round(end * ecg.fs_hz), ecg.n_times)
    signal = ecg.signal_mv[row, a:b][ecg.valid[row, a:b]]
    if signal.size == 0:
        return None
    whole = signal[: max(len(signal) // size, 1) * size]
    per_second = np.abs(whole).reshape(-1, min(size, len(whole))).max(axis=1)
    limit = max(2.5 * float(np.percentile(per_second, 80)), 0.1)
    low, high = max(float(signal.min()), -limit), min(float(signal.max()), limit)
    pad = 0.06 * (high - low) + 0.02
    return [low - pad, high + pad]


def _tick_format(duration_s: float) -> str:
    if duration_s > 86_400:
        return "day %-j<br>%H:%M"
    return "%H:%M:%S" if duration_s >= 3600 else "%M:%S"


def _add_trace(
    figure: go.Figure, ecg: StandardEcg, track: WindowTrack, lead: str, begin: float, end: float
) -> None:
    row = LEADS.index(lead)
    a, b = max(int(begin * ecg.fs_hz), 0), min(round(end * ecg.fs_hz), ecg.n_times)
    valid = ecg.valid[row, a:b]
    signal = np.where(valid, ecg.signal_mv[row, a:b], np.nan)
    time_s, shown = decimate_min_max(np.arange(a, b) / ecg.fs_hz, signal, TRACE_PIXELS)
    window = np.searchsorted(cell_edges(track, ecg.duration_s)[1:-1], time_s, side="right")
    percentile = shown_percentile(track)[window]
    step = 100.0 / len(SCALE)
    bands = np.where(
        np.isfinite(percentile), np.minimum(np.nan_to_num(percentile) // step, len(SCALE) - 1), -1
    ).astype(int)
    # One line per colour, broken by NaN, is what keeps 20 minutes and 24 hours equally quick.
    for band in range(-1, len(SCALE)):
        x, y = _runs(time_s, shown, bands == band)
        if len(x):
            figure.add_scatter(
                x=_ms(x), y=y, mode="lines", hoverinfo="skip", connectgaps=False,
                line={"color": GAP if band < 0 else SCALE[band], "width": 1.3},
            )  # fmt: skip
    _add_gaps(figure, valid, a / ecg.fs_hz, ecg.fs_hz)


def _runs(time_s: Floats, values: Floats, member: BoolArray) -> tuple[Floats, Floats]:
    """The stretches where ``member``, each with the sample after it, with NaN between."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], member, [False]]).astype(np.int8)))
    x: list[Floats] = []
    y: list[Floats] = []
    for start, stop in changes.reshape(-1, 2):
        x += [time_s[start : stop + 1], time_s[stop - 1 : stop]]
        y += [values[start : stop + 1], np.array([np.nan])]
    if not x:
        return np.empty(0), np.empty(0)
    return np.concatenate(x), np.concatenate(y)


def _add_gaps(figure: go.Figure, valid: BoolArray, begin_s: float, fs_hz: float) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(np.int8)))
    spans = edges.reshape(-1, 2)
    longest = np.sort(np.argsort(spans[:, 0] - spans[:, 1], kind="stable")[:MAX_GAP_SHAPES])
    for start, stop in spans[longest]:
        figure.add_shape(
            type="rect", xref="x", yref="y domain", y0=0, y1=1, layer="below",
            x0=_ms(begin_s + start / fs_hz), x1=_ms(begin_s + stop / fs_hz),
            line={"width": 0}, fillcolor=GAP, opacity=0.6,
        )  # fmt: skip


def _columns(ecg: StandardEcg, track: WindowTrack, begin: float, end: float) -> Columns:
    edges = cell_edges(track, ecg.duration_s)
    seen = np.flatnonzero((edges[1:] > begin) & (edges[:-1] < end))
    first = np.arange(0, len(seen), max(1, -(-len(seen) // STRIP_COLUMNS)))
    return Columns(seen, first, np.append(edges[seen[first]], edges[seen[-1] + 1]))


def _add_strip(figure: go.Figure, track: WindowTrack, columns: Columns) -> None:
    percentile = shown_percentile(track)
    # Of several windows in one pixel the least sure is shown: it must not get lost.
    cells = np.array(
        [
            group[np.argmax(np.nan_to_num(percentile[group], nan=-1.0))]
            for group in np.split(columns.seen, columns.first[1:])
        ]
    )
    values, borders = percentile[cells], columns.borders
    centre = (borders[1:] + borders[:-1]) / 2
    figure.add_shape(
        type="rect", xref="x domain", yref="y2 domain", x0=0, x1=1, y0=0, y1=1,
        layer="below", fillcolor=GAP, line={"width": 0},
    )  # fmt: skip
    figure.add_heatmap(
        x=_ms(borders), y=[0, 100], z=[values], yaxis="y2", zmin=0, zmax=100, hoverinfo="skip",
        colorscale=stepped_scale(), showscale=False, hoverongaps=False,
    )  # fmt: skip
    for colour, width in (("white", 4.0), (INK, 1.6)):
        figure.add_scatter(
            x=_ms(np.concatenate([borders[:1], centre, borders[-1:]])),
            y=np.concatenate([values[:1], values, values[-1:]]),
            yaxis="y2", mode="lines", line={"color": colour, "width": width}, hoverinfo="skip",
        )  # fmt: skip
    words = [_window_words(track, int(i), p) for i, p in zip(cells, values, strict=True)]
    # In all rows, so that a click on any of them chooses a window.
    rows = [("y", 0.0), ("y2", 50.0), ("y3", (len(LEADS) - 1) / 2)]
    for axis, height in rows if track.by_lead is not None else rows[:2]:
        figure.add_scatter(
            x=_ms(centre), y=np.full(len(centre), height), yaxis=axis, mode="markers",
            customdata=cells, text=words, hovertemplate="%{text}<extra></extra>",
            marker={"symbol": "square", "size": 24, "color": "rgba(0,0,0,0)"},
            selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
        )  # fmt: skip


def _window_words(track: WindowTrack, index: int, percentile: float) -> str:
    start = float(track.start_s[index])
    span = f"{clock(start)} to {clock(start + track.window_s)}"
    if not np.isfinite(percentile):
        return f"{span}: nothing recorded"
    most = "" if track.by_lead is None else _most_words(track.by_lead[index])
    return f"{span}: percentile {percentile:.0f}{most}"


def _most_words(by_lead: npt.NDArray[np.floating], n_named: int = 3) -> str:
    """The leads that give most, with their shares of what all leads give."""
    total = float(by_lead.sum())
    if total <= 0:
        return ""
    most = np.argsort(-by_lead, kind="stable")[:n_named]
    shares = [f"{LEADS[i]} {100 * by_lead[i] / total:.0f} %" for i in most]
    return f"<br>most from {', '.join(shares)}"
