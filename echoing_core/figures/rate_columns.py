"""Heart rate and spans as a picture of a given width shows them, on a screen and on paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_RATE_BPM = (20.0, 250.0)


def rate_columns(time_s: Floats, rr_ms: Floats, duration_s: float, most: int) -> tuple[Floats, ...]:
    """Rates in columns of time.

    Parameters
    ----------
    time_s, rr_ms : ndarray, shape (n_beats,)
    duration_s : float
    most : int
        Columns at most.

    Returns
    -------
    tuple of ndarray, shape (n_columns,)
        Middle in seconds; slowest, usual and fastest rate, NaN where there is none.
    """
    known = np.isfinite(rr_ms) & (rr_ms > 0)
    rate = np.clip(60_000.0 / rr_ms[known], *_RATE_BPM)
    at = time_s[known]
    n = int(min(max(at.size, 1), most))
    column = np.minimum((at / max(duration_s, 1e-9) * n).astype(np.intp), n - 1)
    x = (np.arange(n) + 0.5) * duration_s / n
    low, middle, high = (np.full(n, np.nan) for _ in range(3))
    firsts = np.flatnonzero(np.diff(column, prepend=-1))
    for first, stop in zip(firsts, np.append(firsts[1:], column.size), strict=True):
        here = rate[first:stop]
        k = column[first]
        low[k], middle[k], high[k] = here.min(), np.median(here), here.max()
    # With about one beat a column some are empty for no reason; a gap of seconds stays one.
    if at.size:
        nearest = np.abs(at[np.clip(np.searchsorted(at, x), 0, at.size - 1)] - x)
        before = np.abs(at[np.clip(np.searchsorted(at, x) - 1, 0, at.size - 1)] - x)
        empty = np.isnan(middle) & (np.minimum(nearest, before) < 2.5)
        filled = np.flatnonzero(~np.isnan(middle))
        for values in (low, middle, high):
            values[empty] = np.interp(x[empty], x[filled], values[filled])
    shown = np.isfinite(middle)
    # The band is a closed shape, which has no holes: it is left out where a rate is not known.
    return x, np.where(shown, low, np.nan), middle, np.where(shown, high, np.nan)


def merged_spans(
    spans: tuple[tuple[float, float], ...], closer_than_s: float
) -> list[tuple[float, float]]:
    """Spans as they are seen: those less than a pixel apart are one.

    Parameters
    ----------
    spans : tuple of (float, float)
    closer_than_s : float

    Returns
    -------
    list of (float, float)
        Ascending.
    """
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if merged and start - merged[-1][1] <= closer_than_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
