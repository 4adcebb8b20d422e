"""The rhythm of a recording on paper: rate and events on one clock, intervals, figures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.export.document.charts import WIDTH_MM, time_ticks
from echoing_core.export.document.elements import (
    Block,
    Box,
    Drawing,
    Heading,
    Item,
    Line,
    NewPage,
    Picture,
    Table,
    Text,
    Words,
)
from echoing_core.export.rhythm import NOT_MEASURABLE, measure_words, rhythm_tables
from echoing_core.figures import clock
from echoing_core.figures.rate_columns import merged_spans, rate_columns
from echoing_core.figures.style import GAP, INK, MUTED
from echoing_core.rhythm import Rhythm, RhythmView
from echoing_core.rhythm.measures import rr_histogram

Floats = npt.NDArray[np.float64]

RHYTHM_FROM_S = 60.0
"""Of a shorter recording the paper shows every beat, and its figures say little."""

_LEFT, _RIGHT = 38.0, 4.0
_RATE_MM, _LANE_MM, _BARS_MM = 34.0, 4.6, 18.0
_AF, _V, _PAUSE, _S = "#b34700", "#0b4f9e", "#7e03a8", "#0072b2"
# Fine enough for print, and few enough for a file of some kilobytes.
_MOST_LINES = 900
# As many as are read; JSON has all of them.
_MOST_ROWS = 12
_MEASURES = (
    "recorded_s", "beats", "rate_bpm", "slowest_bpm", "fastest_bpm", "ventricular_beats",
    "ventricular_per_hour", "supraventricular_beats", "unsure_beats", "pauses", "longest_rr_s",
    "af_episodes", "af_burden_pct", "sdnn_ms", "rmssd_ms", "pnn50_pct",
)  # fmt: skip


def rate_drawing(view: RhythmView, rejected: tuple[tuple[float, float], ...] = ()) -> Drawing:
    """Heart rate along a recording, and under it what happened when.

    Parameters
    ----------
    view : RhythmView
    rejected : tuple of (float, float)
        Spans in seconds, grey behind everything.

    Returns
    -------
    Drawing
        As wide as `charts.WIDTH_MM`.
    """
    beats = view.beats
    scale = (WIDTH_MM - _LEFT - _RIGHT) / beats.duration_s
    x, low, middle, high = rate_columns(beats.time_s, beats.rr_ms, beats.duration_s, _MOST_LINES)
    known = middle[np.isfinite(middle)]
    # Whole tens that hold nearly all of it: one wrong interval must not flatten the rest.
    least, most = (40.0, 120.0)
    if known.size:
        least = 10.0 * np.floor(min(float(np.percentile(known, 1)), 60.0) / 10.0)
        most = 10.0 * np.ceil(max(float(np.percentile(known, 99)), least + 40.0) / 10.0)
    top = 2.0

    def y(bpm: Floats | float) -> Floats:
        share = (np.clip(bpm, least, most) - least) / (most - least)
        return np.asarray(top + _RATE_MM * (1.0 - share), np.float64)

    lanes_top = top + _RATE_MM + 3.0
    lanes = _lanes(view)
    bottom = lanes_top + _LANE_MM * len(lanes)
    items: list[Item] = [
        Box(_LEFT + a * scale, top, max((b - a) * scale, 0.15), bottom - top, GAP, opacity=0.5)
        for a, b in merged_spans(rejected, beats.duration_s / _MOST_LINES)
    ]
    step = 20.0 if most - least <= 120.0 else 40.0
    for bpm in np.arange(step * np.ceil(least / step), most + 1e-6, step).tolist():
        at = float(y(bpm))
        items.append(Line(np.array([(_LEFT, at), (WIDTH_MM - _RIGHT, at)]), GAP, 0.15))
        items.append(Words(_LEFT - 2, at + 0.9, f"{bpm:.0f}", 2.4, MUTED, "end"))
    items.append(Words(_LEFT - 11, top + _RATE_MM / 2 + 0.9, "heart rate, bpm", 2.5, INK, "end"))
    # Slowest to fastest of each column as upright strokes: a closed band has no gaps.
    spread = np.isfinite(low) & (high > low)
    at_x = _LEFT + x[spread] * scale
    strokes = np.stack(
        [
            np.stack([at_x, y(low[spread])], axis=1),
            np.stack([at_x, y(high[spread])], axis=1),
            np.full((at_x.size, 2), np.nan),
        ],
        axis=1,
    ).reshape(-1, 2)
    if strokes.size:
        items.append(Line(strokes, "#9aa3b0", 0.25))
    points = np.stack([_LEFT + x * scale, np.where(np.isfinite(middle), y(middle), np.nan)], axis=1)
    items.append(Line(points, INK, 0.3))
    for row, (words, colour, spans) in enumerate(lanes):
        base = lanes_top + _LANE_MM * (row + 0.5)
        items.append(Words(_LEFT - 2, base + 0.9, words, 2.5, INK if spans else MUTED, "end"))
        # No more marks than paper can tell apart.
        for a, b in spans[:: max(1, -(-len(spans) // _MOST_LINES))]:
            width = max((b - a) * scale, 0.25)
            items.append(Box(_LEFT + a * scale, base - 1.5, width, 3.0, colour))
    for at_s, words in time_ticks(beats.duration_s):
        at = _LEFT + at_s * scale
        items.append(Line(np.array([(at, bottom), (at, bottom + 1.2)]), MUTED, 0.25))
        items.append(Words(at, bottom + 4.4, words, 2.4, MUTED, "middle"))
    return Drawing(
        WIDTH_MM,
        bottom + 6.0,
        tuple(items),
        "Heart rate along the recording, and under it episodes like atrial fibrillation, pauses, "
        "ventricular and supraventricular beats; the tables hold the same.",
    )


def _lanes(view: RhythmView) -> list[tuple[str, str, list[tuple[float, float]]]]:
    beats = view.beats
    at = {kind: beats.time_s[beats.kind == kind].tolist() for kind in ("V", "S")}
    return [
        ("like atrial fibrillation", _AF, [(e.start_s, e.stop_s) for e in view.episodes]),
        ("pause", _PAUSE, [(p.start_s, p.stop_s) for p in view.pauses]),
        ("ventricular", _V, [(t, t) for t in at["V"]]),
        ("supraventricular", _S, [(t, t) for t in at["S"]]),
    ]


def intervals_drawing(view: RhythmView) -> Drawing:
    """How often each interval between beats occurs, as bars of 25 ms.

    Parameters
    ----------
    view : RhythmView

    Returns
    -------
    Drawing
        As wide as `charts.WIDTH_MM`.
    """
    edges_ms, count = rr_histogram(view.beats)
    used = np.flatnonzero(count)
    items: list[Item] = [Words(_LEFT - 2, 4.0, "intervals between beats", 2.5, INK, "end")]
    bottom = 2.0 + _BARS_MM
    if used.size:
        first, last = used[0], used[-1] + 1
        low, high = float(edges_ms[first]), float(edges_ms[last])
        scale = (WIDTH_MM - _LEFT - _RIGHT) / max(high - low, 500.0)
        tallest = float(count.max())
        items.append(Words(_LEFT - 2, 7.6, f"{tallest:,.0f} in one bar", 2.4, MUTED, "end"))
        for k in range(first, last):
            if not count[k]:
                continue
            height = max(_BARS_MM * float(count[k]) / tallest, 0.3)
            left = _LEFT + (float(edges_ms[k]) - low) * scale
            width = 0.9 * float(edges_ms[k + 1] - edges_ms[k]) * scale
            items.append(Box(left, bottom - height, width, height, _V))
        step = 100.0 if high - low <= 1500.0 else 500.0
        for ms in np.arange(step * np.ceil(low / step), high + 1e-6, step).tolist():
            at = _LEFT + (ms - low) * scale
            items.append(Words(at, bottom + 3.6, f"{ms:.0f} ms", 2.4, MUTED, "middle"))
    ends = np.array([(_LEFT, bottom), (WIDTH_MM - _RIGHT, bottom)])
    items.append(Line(ends, MUTED, 0.2))
    return Drawing(
        WIDTH_MM, bottom + 5.0, tuple(items), "Histogram of the intervals between beats."
    )


def _measures(rhythm: Rhythm) -> list[Block]:
    """The figures in two columns, and under them why some are not measurable."""
    views = [rhythm.all] if rhythm.kept is None else [rhythm.all, rhythm.kept]
    rows: list[tuple[str, ...]] = []
    reasons: dict[str, list[str]] = {}
    for name in _MEASURES:
        found = [view.measure(name) for view in views]
        cells = [NOT_MEASURABLE if one.value is None else measure_words(one) for one in found]
        rows.append((found[0].words, *cells))
        for why in dict.fromkeys(one.why for one in found if one.value is None):
            reasons.setdefault(why, []).append(found[0].words)
    half = -(-len(rows) // 2)
    head = ("Measure", "All of it", "Without unsure windows")[: len(views) + 1]
    both = tuple((*a, *b) for a, b in zip(rows[:half], rows[half:], strict=True))
    blocks: list[Block] = [Table((*head, *head), both, (5.0, *(3.0,) * len(views)) * 2)]
    blocks += [Text(f"{', '.join(words)}: {why}.", "note") for why, words in reasons.items()]
    return blocks


def rhythm_blocks(rhythm: Rhythm) -> list[Block]:
    """The section on rhythm: two pictures and what they show, in numbers.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    list of Block
        On a sheet of its own, and on a second one where there are episodes or pauses.
    """
    view = rhythm.best
    blocks: list[Block] = [NewPage(), Heading("Rhythm over time")]
    if not len(rhythm.all.beats):
        return [*blocks, Text("No beat was found in this recording.")]
    caption = "Black: usual heart rate; grey strokes: slowest to fastest of single intervals. "
    if rhythm.kept is not None:
        left_out = sum(b - a for a, b in rhythm.rejected)
        caption += f"Shaded and left out: {clock(left_out)} in which the model is unsure. "
    caption += (
        "Beats are told by shape, width and timing, atrial fibrillation by intervals alone; no P "
        "wave is read. Checked by nobody."
    )
    blocks += [
        Picture(rate_drawing(view, rhythm.rejected), caption),
        Picture(intervals_drawing(view)),
        *_measures(rhythm),
    ]
    _, *others = rhythm_tables(rhythm)
    for table in others:
        short = tuple(tuple(row) for row in table.rows[:_MOST_ROWS])
        weights = (2.0,) * len(table.header)
        blocks += [Heading(table.title), Table(tuple(table.header), short, weights)]
        more = len(table.rows) - _MOST_ROWS
        if more > 0 or table.note:
            words = f"The first {_MOST_ROWS} of {len(table.rows)} listed." if more > 0 else ""
            blocks.append(Text(f"{words} {table.note}".strip(), "note"))
    return blocks
