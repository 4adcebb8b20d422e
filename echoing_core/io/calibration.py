"""The flat or two-valued run with which some recorders begin.

Recordings of the MUSIC study start with some seconds (about 10) in which every channel
alternates between the digital values 0 and 1. That is no ECG, and a model that reads the
first window would read it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

MIN_PATTERN_S = 2.0


def _two_valued_run(signal: npt.NDArray[np.float32]) -> int | None:
    """Length of the longest start with at most two distinct values; None if all is NaN."""
    step = 4096
    seen: list[float] = []
    measured = False
    for start in range(0, signal.size, step):
        block = signal[start : start + step]
        other = ~np.isnan(block)
        measured = measured or bool(other.any())
        for value in seen:
            other &= block != value
        while other.any():
            first = int(np.argmax(other))
            if len(seen) == 2:
                return start + first
            seen.append(float(block[first]))
            other &= block != block[first]
    return int(signal.size) if measured else None


def start_pattern_length(channels: Iterable[npt.NDArray[np.float32]], fs_hz: float) -> int:
    """Number of samples at the start in which no channel shows more than two values.

    Parameters
    ----------
    channels : iterable of ndarray, shape (n_times,)
        All leads of a recording. A lead without any measured sample says nothing.
    fs_hz : float

    Returns
    -------
    int
        0 if the run is shorter than ``MIN_PATTERN_S``.
    """
    shortest: int | None = None
    for channel in channels:
        # Ordinary ECG leaves the run within a few samples, so most calls end at once.
        run = _two_valued_run(channel if shortest is None else channel[:shortest])
        if run is not None and (shortest is None or run < shortest):
            shortest = run
        if shortest is not None and shortest < MIN_PATTERN_S * fs_hz:
            return 0
    return shortest or 0
