"""Amplitudes in files to millivolts, and whether the outcome can be an ECG."""

from __future__ import annotations

import unicodedata

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnitsError
from echoing_core.io.sources import shown

_MV_PER_UNIT = {
    "v": 1e3, "volt": 1e3, "volts": 1e3,
    "mv": 1.0, "millivolt": 1.0, "millivolts": 1.0,
    "uv": 1e-3, "μv": 1e-3, "microvolt": 1e-3, "microvolts": 1e-3,
    "nv": 1e-6, "nanovolt": 1e-6, "nanovolts": 1e-6,
}  # fmt: skip

IMPLAUSIBLE_MV = 1_000.0
"""No electrode on the skin gives a volt; such values are raw counts or another unit."""

SUSPICIOUS_MV = 50.0
"""More than any ECG, but amplifiers show it when an electrode comes off."""

_MAX_CHECKED = 200_000


def mv_per_unit(units: str | None) -> float | None:
    """Millivolts in one ``units``; None where ``units`` is no voltage.

    Parameters
    ----------
    units : str or None
        As the header spells it, upper and lower case alike (real headers hold ``mv``).
        None means that the header gives none, and then WFDB's default, mV, holds.
    """
    if units is None:
        return 1.0
    # NFKC turns the micro sign U+00B5 into the Greek mu U+03BC.
    return _MV_PER_UNIT.get(unicodedata.normalize("NFKC", units).lower())


def is_doubtful_amplitude(signal_mv: npt.NDArray[np.float32], lead_name: str) -> bool:
    """Whether one lead is larger than an ECG should be.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_times,)
    lead_name : str

    Returns
    -------
    bool
        True if 1 % of the values lie more than ``SUSPICIOUS_MV`` from the median.

    Raises
    ------
    UnitsError
        If 1 % of them lie more than ``IMPLAUSIBLE_MV`` from the median.
    """
    part = signal_mv[:: max(1, signal_mv.size // _MAX_CHECKED)]
    part = part[~np.isnan(part)].astype(np.float64)
    if part.size == 0:
        return False
    largest_mv = float(np.quantile(np.abs(part - np.median(part)), 0.99, method="higher"))
    if largest_mv > IMPLAUSIBLE_MV:
        raise UnitsError(
            f"Lead {shown(lead_name)} would reach {largest_mv:,.0f} mV, which no ECG does; "
            "the gain or the units in the header are wrong, so export the recording again."
        )
    return largest_mv > SUSPICIOUS_MV
