"""The uncertainty along a recording, answers and figures with their intervals, for paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.export.document.elements import Box, Dot, Drawing, Item, Line, Words
from echoing_core.figures import (
    SCALE,
    clock,
    colour_of,
    decimate_min_max,
    first_shown_lead,
    lead_percentile,
    shown_percentile,
)
from echoing_core.figures.style import GAP, INK, MUTED
from echoing_core.metrics.results import Result
from echoing_core.records import LEADS, Answer, StandardEcg, WindowTrack
from echoing_core.uncertainty.intervals import cell_edges
from echoing_core.uncertainty.reference import Reference

Floats = npt.NDArray[np.float64]

WIDTH_MM = 267.0
_LEFT, _RIGHT = 17.0, 4.0
_TRACE_MM, _STRIP_MM, _LEAD_MM = 22.0, 14.0, 2.3
# Some four to the millimetre, which is what a printer resolves of a thin line.
_N_BINS = 900
# Cells under half a millimetre wide would run into each other.
_N_COLUMNS = 480


def overview_drawing(
    ecg: StandardEcg,
    track: WindowTrack,
    reference: Reference,
    marks: Sequence[tuple[str, int]],
) -> Drawing:
    """One lead in the colours of its uncertainty, the percentile, and each lead's part of it.

    Never more points than can be told apart on paper, whatever the length of the recording.

    Parameters
    ----------
    ecg : StandardEcg
    track : WindowTrack
        Of ``ecg``.
    reference : Reference
        Turns each lead's term of sigma^2 into a percentile.
    marks : sequence of (letter, window number)
        The windows whose sheets follow.

    Returns
    -------
    Drawing
        As wide as `WIDTH_MM`.
    """
    lead = first_shown_lead(ecg)
    span = WIDTH_MM - _LEFT - _RIGHT
    scale = span / ecg.duration_s
    edges = cell_edges(track, ecg.duration_s)
    level = shown_percentile(track)
    items: list[Item] = []
    top = 6.0
    items += _lead_trace(ecg, lead, edges, level, scale, top)
    top += _TRACE_MM + 3.0
    items += _strip(level, edges, scale, top)
    bottom = top + _STRIP_MM
    if track.by_lead is not None:
        items += _lead_rows(track, reference, edges, scale, bottom + 3.0)
        bottom += 3.0 + _LEAD_MM * len(LEADS)
    for letter, index in marks:
        start = float(track.start_s[index])
        # In a day ten seconds are 0.03 mm wide, which nobody would find.
        x, width = _LEFT + start * scale, max(track.window_s * scale, 0.6)
        items.append(Box(x, 5.0, width, bottom - 5.0, None, INK, 0.35))
        items.append(Words(x + width / 2, 3.8, letter, 3.4, INK, "middle", bold=True))
    for x, words in time_ticks(ecg.duration_s):
        at = _LEFT + x * scale
        items.append(Line(np.array([(at, bottom), (at, bottom + 1.2)]), MUTED, 0.25))
        items.append(Words(at, bottom + 4.6, words, 2.6, MUTED, "middle"))
    items += _legend(bottom + 7.0)
    return Drawing(
        WIDTH_MM,
        bottom + 12.0,
        tuple(items),
        f"Lead {lead} along the recording, under it the uncertainty percentile of each window"
        + (" and of each lead in it." if track.by_lead is not None else "."),
    )


def strip_drawing(ecg: StandardEcg, track: WindowTrack, index: int) -> Drawing:
    """How sure the model is along a recording, as one strip with one window marked.

    Parameters
    ----------
    ecg : StandardEcg
    track : WindowTrack
        Of ``ecg``.
    index : int
        The window to mark.

    Returns
    -------
    Drawing
        As wide as `WIDTH_MM`, 12 mm high.
    """
    scale = (WIDTH_MM - _LEFT - _RIGHT) / ecg.duration_s
    edges = cell_edges(track, ecg.duration_s)
    first = _columns(edges)
    # Of several windows in a column the least sure is shown: it must not get lost.
    worst = np.fmax.reduceat(shown_percentile(track), first)
    items = _cells(worst, np.append(edges[first], edges[-1]), scale, 2.0, 5.0)
    items.append(Words(_LEFT - 2, 5.6, "unsure?", 2.5, MUTED, "end"))
    start = float(track.start_s[index])
    width = max(track.window_s * scale, 0.6)
    items.append(Box(_LEFT + start * scale, 1.0, width, 7.0, None, INK, 0.4))
    for x, words in time_ticks(ecg.duration_s):
        items.append(Words(_LEFT + x * scale, 11.0, words, 2.4, MUTED, "middle"))
    return Drawing(
        WIDTH_MM,
        12.0,
        tuple(items),
        "Uncertainty along the recording; the printed window is framed.",
    )


def _lead_trace(
    ecg: StandardEcg, lead: str, edges: Floats, level: Floats, scale: float, top: float
) -> list[Item]:
    row = LEADS.index(lead)
    # NaN only where nothing was recorded; one array of a day in 64 bits, not twelve.
    signal = np.where(ecg.valid[row], ecg.signal_mv[row], np.float32(np.nan))
    time_s, shown = decimate_min_max(np.arange(ecg.n_times) / ecg.fs_hz, signal, _N_BINS)
    finite = shown[np.isfinite(shown)]
    # The highest of the usual beat decides, so that one loose electrode does not flatten them all:
    # of stretches of a second or more, each of which holds a beat.
    stretches = np.array_split(np.abs(finite), max(1, min(len(finite) // 20, round(time_s[-1]))))
    usual = float(np.median([part.max() for part in stretches])) if finite.size else 1.0
    reach = max(1.25 * usual, 0.1)
    middle = top + _TRACE_MM / 2
    y = middle - np.clip(shown, -reach, reach) / reach * _TRACE_MM / 2
    points = np.stack([_LEFT + time_s * scale, y], axis=1)
    # Which window colours each point of the trace.
    window = np.searchsorted(edges[1:-1], time_s, side="right")
    colours = np.array([colour_of(p) for p in level])[window]
    items: list[Item] = [
        Words(_LEFT - 2, middle, lead, 3.2, INK, "end", bold=True),
        Words(_LEFT - 2, middle + 3.4, f"±{reach:.1f} mV", 2.1, MUTED, "end"),
    ]
    # One line a colour: a line a stretch would be thousands of objects in a day.
    for colour in dict.fromkeys([GAP, *SCALE]):
        member = colours == colour
        if member.any():
            # Each stretch with the point after it, so that the line does not break there.
            keep = member | np.concatenate([[False], member[:-1]])
            items.append(Line(np.where(keep[:, np.newaxis], points, np.nan), colour, 0.22))
    return items


def _columns(edges: Floats) -> npt.NDArray[np.intp]:
    """First window of each column of those that paper can show."""
    n_windows = len(edges) - 1
    return np.arange(0, n_windows, max(1, -(-n_windows // _N_COLUMNS)))


def _cells(values: Floats, borders: Floats, scale: float, top: float, height: float) -> list[Item]:
    """One box for each run of the same colour."""
    colours = [colour_of(v) for v in values]
    items: list[Item] = []
    start = 0
    for i in range(1, len(colours) + 1):
        if i == len(colours) or colours[i] != colours[start]:
            left, right = _LEFT + borders[start] * scale, _LEFT + borders[i] * scale
            items.append(Box(left, top, right - left, height, colours[start]))
            start = i
    return items


def _strip(level: Floats, edges: Floats, scale: float, top: float) -> list[Item]:
    first = _columns(edges)
    # Of several windows in a column the least sure is shown: it must not get lost.
    worst = np.fmax.reduceat(level, first)
    borders = np.append(edges[first], edges[-1])
    items = _cells(worst, borders, scale, top, _STRIP_MM)
    centre = (borders[1:] + borders[:-1]) / 2
    # Level to both ends, where there is no further window to lead to.
    x = _LEFT + np.concatenate([borders[:1], centre, borders[-1:]]) * scale
    value = np.concatenate([worst[:1], worst, worst[-1:]])
    points = np.stack([x, top + _STRIP_MM * (1 - value / 100)], axis=1)
    # White under the line, so that it shows on dark and on bright cells.
    items += [Line(points, "#ffffff", 0.9), Line(points, INK, 0.35)]
    for tick in (0, 50, 100):
        y = top + _STRIP_MM * (1 - tick / 100)
        items.append(Words(_LEFT - 2, y + 0.9, str(tick), 2.4, MUTED, "end"))
    return items


def _lead_rows(
    track: WindowTrack, reference: Reference, edges: Floats, scale: float, top: float
) -> list[Item]:
    first = _columns(edges)
    # fmax: a column that is partly without signal shows what there is of it.
    levels = np.fmax.reduceat(lead_percentile(track, reference), first, axis=0)
    borders = np.append(edges[first], edges[-1])
    items: list[Item] = []
    for row, name in enumerate(LEADS):
        y = top + row * _LEAD_MM
        items += _cells(levels[:, row], borders, scale, y, _LEAD_MM - 0.25)
        items.append(Words(_LEFT - 2, y + _LEAD_MM - 0.5, name, 2.1, MUTED, "end"))
    return items


def time_ticks(duration_s: float) -> list[tuple[float, str]]:
    """Seconds and their words below a picture of a recording.

    Parameters
    ----------
    duration_s : float

    Returns
    -------
    list of (float, str)
    """
    steps = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400)
    # Up to a dozen marks, so that their words do not touch.
    step = next((s for s in steps if duration_s / s <= 12), steps[-1])
    return [(float(s), clock(float(s))) for s in range(0, int(duration_s) + 1, step)]


def _legend(top: float) -> list[Item]:
    items: list[Item] = [Words(_LEFT, top + 3, "percentile 0, sure", 2.6, MUTED)]
    left = _LEFT + 25.0
    for i, colour in enumerate(SCALE):
        items.append(Box(left + 4.0 * i, top + 0.8, 4.0, 2.6, colour))
    right = left + 4.0 * len(SCALE)
    items.append(Words(right + 2, top + 3, "100, unsure", 2.6, MUTED))
    items.append(Box(right + 24, top + 0.8, 4.0, 2.6, GAP))
    items.append(Words(right + 30, top + 3, "nothing recorded", 2.6, MUTED))
    return items


def answers_drawing(answers: Sequence[Answer]) -> Drawing:
    """Each answer as a dot with its 90 % interval, on one scale from no to yes.

    Parameters
    ----------
    answers : sequence of Answer

    Returns
    -------
    Drawing
        7 mm a question.
    """
    row_mm, left, right = 7.0, 66.0, 12.0
    scale = (WIDTH_MM - left - right) / 100
    bottom = 4.0 + row_mm * len(answers)
    items: list[Item] = []
    for value in (0, 25, 50, 75, 100):
        x = left + value * scale
        colour = INK if value == 50 else GAP
        items.append(Line(np.array([(x, 2.0), (x, bottom)]), colour, 0.25))
        words = {0: "0 no", 100: "100 yes"}.get(value, str(value))
        items.append(Words(x, bottom + 3.6, words, 2.6, MUTED, "middle"))
    for row, answer in enumerate(answers):
        y = 4.0 + row_mm * (row + 0.5)
        # Only a calibrated yes or no stands on something; leanings are as grey as "not sure".
        colour = "#0b4f9e" if answer.verdict in ("yes", "no") else MUTED
        # Sorted: an interval that was turned round would give a box of negative width.
        low, high = (left + 100 * v * scale for v in sorted(answer.interval))
        items.append(Line(np.array([(low, y), (high, y)]), colour, 0.9))
        # Shape as well as colour, for paper in black and white.
        hollow = answer.verdict != "yes"
        items.append(Dot(left + 100 * answer.probability * scale, y, 1.5, colour, hollow))
        # What fits left of the scale; the table holds the whole question.
        name = answer.question if len(answer.question) <= 36 else answer.question[:35] + "…"
        items.append(Words(left - 4, y + 1.0, name, 3.0, INK, "end"))
    return Drawing(
        WIDTH_MM,
        bottom + 6.0,
        tuple(items),
        "For each question the probability of yes with its 90 % interval, or a score where it is "
        "not calibrated; the table holds the same numbers and says which.",
    )


def intervals_drawing(results: Sequence[Result], title: str) -> Drawing:
    """Each figure as a dot with its interval, models below each other, on one scale of percent.

    Parameters
    ----------
    results : sequence of Result
        Of one metric; grouped by ``protocol``, in their order.
    title : str
        What is on the scale.

    Returns
    -------
    Drawing
        5 mm a figure.
    """
    row_mm, left, right = 5.0, 92.0, 12.0
    shown = [r for r in results if math.isfinite(r.estimate.value)]
    by_protocol: dict[str, list[Result]] = {}
    for result in shown:
        by_protocol.setdefault(result.protocol, []).append(result)
    lowest = min(
        (min(r.estimate.value, r.estimate.low) for r in shown if math.isfinite(r.estimate.low)),
        default=0.0,
    )
    # From a round number, so that models which lie close to each other are told apart.
    begin = min(80, 20 * max(0, math.floor(5 * lowest)))
    scale = (WIDTH_MM - left - right) / (100 - begin)
    n_rows = len(shown) + len(by_protocol)
    bottom = 4.0 + row_mm * n_rows
    items: list[Item] = []
    for value in range(begin, 101, 10):
        x = left + (value - begin) * scale
        items.append(Line(np.array([(x, 2.0), (x, bottom)]), INK if value == 50 else GAP, 0.25))
        items.append(Words(x, bottom + 3.6, str(value), 2.6, MUTED, "middle"))
    row = 0
    for protocol, of_protocol in by_protocol.items():
        items.append(Words(0.0, 4.0 + row_mm * (row + 0.5) + 1.0, protocol, 3.0, INK, bold=True))
        row += 1
        for result in of_protocol:
            y = 4.0 + row_mm * (row + 0.5)
            low, middle, high = (
                left + (100 * v - begin) * scale
                for v in (result.estimate.low, result.estimate.value, result.estimate.high)
            )
            if math.isfinite(low) and math.isfinite(high):
                items.append(Line(np.array([(low, y), (high, y)]), "#0b4f9e", 0.9))
            items.append(Dot(middle, y, 1.3, "#0b4f9e"))
            name = result.model if len(result.model) <= 44 else result.model[:43] + "…"
            items.append(Words(left - 4, y + 1.0, name, 3.0, INK, "end"))
            row += 1
    return Drawing(
        WIDTH_MM,
        bottom + 6.0,
        tuple(items),
        f"{title}, percent, with intervals; the table holds the same numbers.",
    )
