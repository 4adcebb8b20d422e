"""An ECG in the size of a stamp: ten seconds of one lead, to be told from its neighbours."""

from __future__ import annotations

import numpy as np

from echoing_core.figures.uncertainty_map import decimate_min_max
from echoing_core.records import LEADS, WINDOW_S, StandardEcg

WIDTH_PX, HEIGHT_PX = 156, 48
# Lead II shows rhythm best.
_FIRST = "II"
# As high as most complexes; what is higher is cut at the edge.
_SHOWN_MV = (-0.9, 1.5)
_PAPER, _TRACE, _GRID = "#fffafa", "#16181d", "#f3cccc"


def thumbnail_svg(ecg: StandardEcg) -> str:
    """Lead II, or the first there is, on a hint of ECG paper.

    Parameters
    ----------
    ecg : StandardEcg
        Its first ten seconds are shown.

    Returns
    -------
    str
        One ``<svg>`` element, some kilobytes. Every picture has the same scale, so that low voltage
        looks low.
    """
    present = [lead for lead, o in zip(LEADS, ecg.lead_origin, strict=True) if o != "missing"]
    lead = _FIRST if _FIRST in present or not present else present[0]
    n = min(round(WINDOW_S * ecg.fs_hz), ecg.n_times)
    row = LEADS.index(lead)
    signal = np.where(ecg.valid[row, :n], ecg.signal_mv[row, :n], np.nan).astype(np.float64)
    time_s, shown = decimate_min_max(np.arange(n) / ecg.fs_hz, signal, WIDTH_PX)
    low, high = _SHOWN_MV
    x = WIDTH_PX * time_s / WINDOW_S
    y = HEIGHT_PX * (high - np.clip(shown, low, high)) / (high - low)
    parts: list[str] = []
    pen = "M"
    for px, py in zip(x, y, strict=True):
        if not np.isfinite(py):
            pen = "M"
            continue
        parts.append(f"{pen}{px:.1f} {py:.1f}")
        pen = "L"
    # A line a second, and one at 0 mV.
    grid = "".join(f"M{s * WIDTH_PX / 10:.1f} 0V{HEIGHT_PX}" for s in range(1, 10))
    grid += f"M0 {HEIGHT_PX * high / (high - low):.1f}H{WIDTH_PX}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}">'
        f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="{_PAPER}"/>'
        f'<path d="{grid}" fill="none" stroke="{_GRID}" stroke-width="0.6"/>'
        f'<path d="{"".join(parts)}" fill="none" stroke="{_TRACE}" stroke-width="0.9"/></svg>'
    )
