"""sigma^2 as one number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def total_variance(log_var: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Sum of sigma^2 over the dimensions of the space.

    The same order as the mean of sigma^2; the geometric mean (exp of the mean of log_var)
    can order differently and is not used.

    Parameters
    ----------
    log_var : ndarray, shape (..., dim)
        Natural logarithm of sigma^2.

    Returns
    -------
    ndarray, shape (...)

    References
    ----------
    Chun, PCME++ (ICLR 2024), section 3.5: the uncertainty of an item is ||sigma^2||_1.
    """
    # float64: a sum of hundreds of small float32 terms would lose what separates neighbours.
    return np.asarray(np.exp(np.asarray(log_var, dtype=np.float64)).sum(axis=-1))
