"""Where windows start, and cutting them out. A recording is filtered first, then cut."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.records import STANDARD_FS_HZ, WINDOW_S, BoolArray, StandardEcg

WINDOW_N = round(WINDOW_S * STANDARD_FS_HZ)
"""Samples in one window (1000)."""

MIN_STRIDE_S = 1.0 / STANDARD_FS_HZ


def stride_to_samples(stride_s: float) -> int:
    """Stride in samples at 100 Hz, rounded to the nearest sample (halves upwards).

    Parameters
    ----------
    stride_s : float
        Seconds between the starts of two windows, at least 0.01.

    Raises
    ------
    ConfigError
        If the stride is not a number, or below one sample.
    """
    # A hair below 0.01 is 0.01 written as a float; anything less is refused.
    if not math.isfinite(stride_s) or stride_s < MIN_STRIDE_S * (1 - 1e-9):
        raise ConfigError(
            f"The stride is {stride_s:g} s, but windows can only move by whole samples of "
            f"{MIN_STRIDE_S:g} s. Choose a stride of {MIN_STRIDE_S:g} s or more."
        )
    return math.floor(stride_s * STANDARD_FS_HZ + 0.5 + 1e-9)


def window_starts(
    n_times: int, window_n: int = WINDOW_N, stride_n: int = 100
) -> npt.NDArray[np.int64]:
    """First samples of all windows that end inside the recording.

    Parameters
    ----------
    n_times, window_n, stride_n : int
        Lengths of recording, window and stride in samples. 119,600 samples hold 1187 windows
        of 1000 at a stride of 100, and 119 at a stride of 1000.

    Returns
    -------
    ndarray, shape (n_windows,), int64
        0, stride_n, 2 stride_n, ...

    Raises
    ------
    SignalQualityError
        If not even one window fits.
    """
    if window_n < 1 or stride_n < 1:
        raise ValueError(f"window_n {window_n} and stride_n {stride_n} must be at least 1")
    if n_times < window_n:
        raise SignalQualityError(
            f"The recording holds {n_times / STANDARD_FS_HZ:.2f} s, which is shorter than one "
            f"window of {window_n / STANDARD_FS_HZ:g} s. Choose a longer recording."
        )
    return np.arange(0, n_times - window_n + 1, stride_n, dtype=np.int64)


def cut_windows(
    ecg: StandardEcg, starts: npt.ArrayLike, window_n: int = WINDOW_N
) -> tuple[npt.NDArray[np.float32], BoolArray]:
    """Copy windows out of a recording.

    48 kB a window: for a long recording at a short stride, pass the starts in portions.

    Parameters
    ----------
    ecg : StandardEcg
    starts : array-like of int, shape (n_windows,)
        First samples, as `window_starts` gives them.
    window_n : int
        Samples in a window.

    Returns
    -------
    signal_mv : ndarray, shape (n_windows, 12, window_n), float32
    valid : ndarray, shape (n_windows, 12, window_n), bool

    Raises
    ------
    IndexError
        If a window would begin before the recording or end after it.
    """
    first = np.asarray(starts, dtype=np.int64)
    if first.size and (first.min() < 0 or first.max() + window_n > ecg.n_times):
        raise IndexError(
            f"windows of {window_n} samples starting at {first.min()} to {first.max()} do not "
            f"fit into {ecg.n_times} samples"
        )
    n_leads = ecg.signal_mv.shape[0]
    signal_mv = np.empty((first.size, n_leads, window_n), dtype=np.float32)
    valid = np.empty((first.size, n_leads, window_n), dtype=np.bool_)
    # Copies, not views: a view would keep a whole day in memory.
    for i, start in enumerate(first.tolist()):
        signal_mv[i] = ecg.signal_mv[:, start : start + window_n]
        valid[i] = ecg.valid[:, start : start + window_n]
    return signal_mv, valid
