"""Rational resampling, for any sampling rate a header may state."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used, after the first page

from echoing_core.records import STANDARD_FS_HZ, FloatArray

KAISER_BETA = 5.0

MAX_DRIFT_SAMPLES = 0.05
"""How far the clock of a resampled recording may be off at its end, in output samples."""

_DENOMINATORS = (1_000, 10_000, 100_000, 1_000_000)


def resampling_ratio(
    fs_hz: float, target_hz: float = STANDARD_FS_HZ, *, n_times: int = 17_280_000
) -> Fraction:
    """Ratio up/down that turns ``fs_hz`` into ``target_hz``.

    The simplest ratio that stays within `MAX_DRIFT_SAMPLES` at the end of ``n_times``
    samples: 100/257 for 257 Hz, 10000/36001 for 360.01 Hz. Very fine ratios need very long
    filters, so the denominator is at most a million.

    Parameters
    ----------
    fs_hz, target_hz : float
        Old and new rate in Hz, both positive.
    n_times : int
        Number of samples at ``fs_hz``; the default is 24 hours at 200 Hz.
    """
    # A float such as 360.01 is not 36001/100 exactly; to a millionth of a hertz it is.
    exact = Fraction(target_hz).limit_denominator(10**6) / Fraction(fs_hz).limit_denominator(10**6)
    allowed = MAX_DRIFT_SAMPLES / max(1, n_times)
    for denominator in _DENOMINATORS:
        ratio = exact.limit_denominator(denominator)
        if ratio > 0 and abs(ratio - exact) <= allowed:
            return ratio
    return ratio


def resampled_length(n_times: int, ratio: Fraction) -> int:
    """Number of samples after resampling: ceil(n_times * ratio)."""
    return -(-n_times * ratio.numerator // ratio.denominator)


def resample(signal_mv: FloatArray, ratio: Fraction) -> npt.NDArray[np.float64]:
    """Resample along the last axis by polyphase filtering (Kaiser window, beta 5).

    Parameters
    ----------
    signal_mv : ndarray, shape (..., n_times)
        Finite values in mV, already band-limited below half the new rate.
    ratio : Fraction
        New rate over old rate (`resampling_ratio`). A ratio of 1 leaves the values untouched.

    Returns
    -------
    ndarray, shape (..., ceil(n_times * ratio)), float64
    """
    if ratio == 1:
        return np.asarray(signal_mv, dtype=np.float64)
    resampled = scipy.signal.resample_poly(
        np.asarray(signal_mv, dtype=np.float64),
        ratio.numerator,
        ratio.denominator,
        axis=-1,
        window=("kaiser", KAISER_BETA),
        # The lead's median continues it at both ends, so an offset makes no step there.
        padtype="median",
    )
    return np.asarray(resampled, dtype=np.float64)
