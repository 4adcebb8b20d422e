"""The one stretch of a window that stands out in time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used, after the first page

SMOOTH_CHUNKS = 5
"""Logarithms are averaged over a second, about a beat: the QRS's own part comes and goes."""

FLOOR_SHARE = 0.1
"""Parts far below the usual one are all as good as nothing: the logarithm starts at this share of
the median."""


LEAST = 1e-9
"""Parts of sigma^2 as small as this are as good as none."""

QUIET_SHARE = 0.25
"""A lead's own quiet level is what this share of its chunks stay below."""


def time_profile(cells: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How far the leads together stand above their own quiet level, chunk by chunk.

    A lead that is uncertain from end to end says nothing about when.

    Parameters
    ----------
    cells : array-like, shape (n_leads, n_chunks), >= 0
        Parts of a window's sigma^2 (`Attribution.cells`).

    Returns
    -------
    ndarray, shape (n_chunks,), >= 0
        For `noisy_span`.
    """
    parts = np.asarray(cells, dtype=np.float64)
    quiet = np.quantile(parts, QUIET_SHARE, axis=1, keepdims=True)
    return np.asarray(np.maximum(parts - quiet, 0.0).sum(axis=0))


def noisy_span(by_time: npt.ArrayLike) -> tuple[int, int]:
    """First chunk, and one past the last, of the stretch in which sigma^2 is high.

    Of all stretches the one for which two levels, one inside and one outside, fit the smoothed
    logarithm of the parts best (least squares), the inner level being the higher one. Noise comes
    in bursts: a threshold would cut it into pieces, and a few great bursts would rule the levels
    of parts that are not logarithms.

    Parameters
    ----------
    by_time : array-like, shape (n_chunks,), >= 0
        From `time_profile`, or any other course of a window's uncertainty.

    Returns
    -------
    first, stop : int
        Equal (0, 0) if nothing stands out, that is, if all parts are the same.
    """
    parts = np.asarray(by_time, dtype=np.float64)
    level = np.log(parts + FLOOR_SHARE * np.median(parts) + LEAST)
    # The logarithm is smoothed, not the parts: so a strong stretch does not grow at its ends.
    level = scipy.ndimage.uniform_filter1d(level, SMOOTH_CHUNKS, mode="nearest")
    total = np.concatenate([[0.0], np.cumsum(level - level.mean())])
    first, stop = np.triu_indices(parts.size + 1, 1)
    length = stop - first
    inside = length < parts.size
    first, stop, length = first[inside], stop[inside], length[inside]
    # With the mean taken off, this is what two levels explain of the sum of squares.
    excess = total[stop] - total[first]
    explained = np.where(excess > 1e-9, excess**2 / (length * (parts.size - length)), 0.0)
    best = int(np.argmax(explained))
    if explained[best] == 0.0:
        return 0, 0
    return int(first[best]), int(stop[best])
