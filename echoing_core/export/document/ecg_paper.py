"""Ten seconds on ECG paper at its true size: 25 mm to the second, 10 mm to the millivolt."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from echoing_core.export.document.elements import Box, Drawing, Item, Line, Words
from echoing_core.figures.style import GAP, INK, MUTED
from echoing_core.records import LEADS, WINDOW_S, StandardEcg

Layout = Literal["3x4", "12x1"]
LAYOUTS: tuple[Layout, ...] = ("12x1", "3x4")

GRID_3X4: tuple[tuple[str, ...], ...] = (
    ("I", "aVR", "V1", "V4"),
    ("II", "aVL", "V2", "V5"),
    ("III", "aVF", "V3", "V6"),
)
"""Rows of the printed page; each column is a quarter of the ten seconds."""

SPEED_MM_S, GAIN_MM_MV = 25.0, 10.0
# Below it a lead is about as sure as usual, and shading would cover the whole paper.
SHADE_FROM = 75.0
_LEFT_MM, _RIGHT_MM, _FOOT_MM = 16.0, 1.0, 4.0
# What is left of a sheet of A4 across under the window's heading and sentences.
_MOST_MM = 142.0
_FEW_LEADS = 6
_FINE, _BOLD, _PAPER, _TRACE, _DERIVED = "#f9dcdc", "#eeb0b0", "#fffafa", "#16181d", "#3b3f9b"
_SHADE = "#f89540"


def ecg_paper_drawing(
    ecg: StandardEcg,
    start_s: float,
    layout: Layout,
    cell_percentile: npt.NDArray[np.float64] | None = None,
    *,
    most_mm: float = _MOST_MM,
) -> Drawing:
    """All leads of one window, each once and lead II (or the first there is) again under 3x4.

    Rows stand as far apart as their complexes need while the sheet is high enough for that;
    on a fuller one they come nearer, as on printed paper. The gain never changes.

    Parameters
    ----------
    ecg : StandardEcg
    start_s : float
        Of the window, in seconds from the start of the recording.
    layout : {"12x1", "3x4"}
    cell_percentile : ndarray, shape (12, n_chunks), optional
        From a `WindowReasons`: shades the paper behind a lead from percentile 75 on.
    most_mm : float
        Height that there is room for.

    Returns
    -------
    Drawing
        267 mm wide; its height depends on the complexes.
    """
    # Rounded to samples; a stride may be any multiple of 10 ms.
    begin = round(start_s * ecg.fs_hz)
    end = min(begin + round(WINDOW_S * ecg.fs_hz), ecg.n_times)
    rows = _rows(ecg, layout)
    alone = all(len(row) == 1 for row in rows)
    tops = _base_lines(ecg, rows, begin, end, most_mm)
    width = _LEFT_MM + WINDOW_S * SPEED_MM_S + _RIGHT_MM
    height = tops[-1]
    items: list[Item] = [*_grid(width, height)]
    for row, base in zip(rows, tops[:-1], strict=True):
        share_s = WINDOW_S / len(row)
        # Of a row without a trace the calibration pulse would stand alone.
        if len(row) > 1 or _origin(ecg, row[0]) != "missing":
            items.append(_pulse(base))
        for column, lead in enumerate(row):
            left_s = column * share_s
            x = _LEFT_MM + left_s * SPEED_MM_S
            if _origin(ecg, lead) != "missing":
                if cell_percentile is not None:
                    cells = cell_percentile[LEADS.index(lead)]
                    items += _shading(cells, left_s, share_s, base, 5.0)
                items += _trace(ecg, lead, begin, end, left_s, share_s, base)
            # Two short strokes where one lead ends and the next begins, as carts print them.
            if column:
                items.append(Line(_points([(x, base - 7), (x, base - 4)]), MUTED, 0.3))
                items.append(Line(_points([(x, base + 4), (x, base + 7)]), MUTED, 0.3))
            items += _name(ecg, lead, x, base, beside=alone)
    for second in range(int(WINDOW_S) + 1):
        # The last word would otherwise leave the drawing.
        x = _LEFT_MM + second * SPEED_MM_S - (3.0 if second == WINDOW_S else 0.0)
        items.append(Words(x, height - 1.2, f"{second} s", 2.5, MUTED, "middle"))
    shown = ", ".join(lead for lead in LEADS if _origin(ecg, lead) != "missing")
    return Drawing(
        width, height, tuple(items), f"ECG paper, 10 seconds, 25 mm/s and 10 mm/mV: leads {shown}."
    )


def _rows(ecg: StandardEcg, layout: Layout) -> list[tuple[str, ...]]:
    """Which leads stand in which row, from top to bottom."""
    present = [lead for lead in LEADS if _origin(ecg, lead) != "missing"]
    # Columns of half a dozen leads or fewer would be empty for the most part.
    if not present:
        return [(_rhythm_lead(ecg),)]
    if layout == "12x1" or len(present) <= _FEW_LEADS:
        return [(lead,) for lead in present]
    grid = [row for row in GRID_3X4 if any(lead in present for lead in row)]
    return [*grid, (_rhythm_lead(ecg),)]


def _points(pairs: list[tuple[float, float]]) -> npt.NDArray[np.float64]:
    return np.array(pairs, dtype=np.float64)


def _base_lines(
    ecg: StandardEcg, rows: list[tuple[str, ...]], begin: int, end: int, most_mm: float
) -> list[float]:
    """Zero line of each row, and the height of the sheet, in millimetres from its top."""
    # The highest complex of a row decides, whichever lead it is in.
    up = np.array([max(_reach(ecg, lead, begin, end)[0] for lead in row) for row in rows])
    down = np.array([max(_reach(ecg, lead, begin, end)[1] for lead in row) for row in rows])
    # Twelve rows leave 10 mm each; four have room for what clinics are used to.
    least, most = (10.0, 25.0) if len(rows) > len(GRID_3X4) + 1 else (22.0, 40.0)
    # The names of the first row stand 11 mm above its zero line, and are 3 mm high.
    above = float(np.clip(up[0] + 2, 15.0, most))
    below = float(np.clip(down[-1] + 2, 6.0, most)) + _FOOT_MM
    gaps = np.clip(down[:-1] + up[1:] + 1.0, least, most)
    # On a low sheet the outermost complexes leave room for the rows between them.
    above, below = min(above, most_mm / 4), min(below, most_mm / 4)
    room = most_mm - above - below
    if gaps.sum() > room:
        # What each row asks beyond the least shrinks by one factor.
        extra = gaps - np.minimum(least, room / len(gaps))
        gaps = gaps - extra * (gaps.sum() - room) / extra.sum()
    base = above + np.concatenate([[0.0], np.cumsum(gaps)])
    return [*base.tolist(), float(base[-1] + below)]


def _reach(ecg: StandardEcg, lead: str, begin: int, end: int) -> tuple[float, float]:
    """Millimetres above and below the zero line."""
    index = LEADS.index(lead)
    shown = ecg.signal_mv[index, begin:end][ecg.valid[index, begin:end]]
    if not shown.size:
        return 0.0, 0.0
    high, low = float(shown.max()), float(shown.min())
    return GAIN_MM_MV * max(high, 0.0), GAIN_MM_MV * max(-low, 0.0)


def _grid(width: float, height: float) -> list[Item]:
    """Millimetre paper as two paths: small boxes of 1 mm, large ones of 5 mm from second 0 on."""
    items: list[Item] = [Box(0, 0, width, height, _PAPER)]
    nan = (np.nan, np.nan)
    for step, colour, line in ((1.0, _FINE, 0.12), (5.0, _BOLD, 0.18)):
        pairs: list[tuple[float, float]] = []
        # From second 0 on, so that large boxes are fifths of a second from there.
        for x in np.arange(_LEFT_MM % step, width + 1e-9, step):
            pairs += [(x, 0.0), (x, height), nan]
        for y in np.arange(0.0, height + 1e-9, step):
            pairs += [(0.0, y), (width, y), nan]
        items.append(Line(_points(pairs), colour, line, f"grid-{step:g}mm"))
    return items


def _pulse(base: float) -> Line:
    """1 mV for 0.2 s: 10 mm high and 5 mm wide."""
    left, rise, fall, end = (_LEFT_MM - x for x in (7.0, 6.3, 1.3, 0.6))
    up = base - GAIN_MM_MV
    path = [(left, base), (rise, base), (rise, up), (fall, up), (fall, base), (end, base)]
    return Line(_points(path), _TRACE, 0.3, "calibration")


def _trace(
    ecg: StandardEcg, lead: str, begin: int, end: int, left_s: float, share_s: float, base: float
) -> list[Item]:
    row = LEADS.index(lead)
    a = begin + round(left_s * ecg.fs_hz)
    # The recording may end within the window.
    b = min(a + round(share_s * ecg.fs_hz), end)
    valid = ecg.valid[row, a:b]
    x = _LEFT_MM + (np.arange(a, b) - begin) / ecg.fs_hz * SPEED_MM_S
    y = np.where(valid, base - GAIN_MM_MV * ecg.signal_mv[row, a:b].astype(np.float64), np.nan)
    items: list[Item] = []
    # Beginnings and ends of runs without signal, by turns.
    edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        items.append(Box(x[start], base - 6, x[stop - 1] - x[start], 12, GAP, opacity=0.6))
    colour = _DERIVED if _origin(ecg, lead) == "derived" else _TRACE
    items.append(Line(np.stack([x, y], axis=1), colour, 0.3, f"lead-{lead}"))
    return items


def _shading(
    cells: npt.NDArray[np.float64], left_s: float, share_s: float, base: float, half_mm: float
) -> list[Item]:
    """Orange behind the trace where this lead's part of sigma^2 is high."""
    chunk_s = WINDOW_S / len(cells)
    items: list[Item] = []
    for i, level in enumerate(cells):
        start, stop = max(i * chunk_s, left_s), min((i + 1) * chunk_s, left_s + share_s)
        # A cell that lies across the border of two columns is cut there.
        if stop - start > 1e-9 and np.isfinite(level) and level >= SHADE_FROM:
            opacity = 0.1 + 0.5 * (float(level) - SHADE_FROM) / (100 - SHADE_FROM)
            x, width = _LEFT_MM + start * SPEED_MM_S, (stop - start) * SPEED_MM_S
            items.append(Box(x, base - half_mm, width, 2 * half_mm, _SHADE, opacity=opacity))
    return items


def _name(ecg: StandardEcg, lead: str, x: float, base: float, *, beside: bool) -> list[Item]:
    origin = _origin(ecg, lead)
    colour = {"measured": INK, "derived": _DERIVED, "missing": MUTED}[origin]
    at, top = (0.8, base + 1.0) if beside else (x + 1.0, base - 11.0)
    items: list[Item] = [Words(at, top, lead, 3.1, colour, bold=True)]
    if origin == "derived":
        place = (0.8, base + 3.6) if beside else (x + 10.0, top)
        items.append(Words(*place, "derived", 2.0, colour))
    elif origin == "missing":
        items.append(Words(x + 20.0, base + 1.0, "not recorded", 3.0, MUTED))
    return items


def _origin(ecg: StandardEcg, lead: str) -> str:
    return ecg.lead_origin[LEADS.index(lead)]


def _rhythm_lead(ecg: StandardEcg) -> str:
    # Lead II shows P waves best; without it the first lead that there is.
    present = [lead for lead in LEADS if _origin(ecg, lead) != "missing"]
    return "II" if "II" in present or not present else present[0]
