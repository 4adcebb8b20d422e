"""k nearest neighbours: what the nearest known examples are, by Euclidean distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

K = 5
"""Neighbours, as Echo2ECG's evaluation has it."""

# Rows of which all distances are in memory at once.
_ROWS = 1024


def nearest_share(
    train: npt.NDArray[np.floating],
    labels: npt.NDArray[np.bool_],
    queries: npt.NDArray[np.floating],
    k: int = K,
) -> Floats:
    """Share of each query's k nearest examples that are a yes; every neighbour counts alike.

    Parameters
    ----------
    train : ndarray, shape (n, dim)
    labels : ndarray of bool, shape (n,) or (n, n_labels)
    queries : ndarray, shape (m, dim)
    k : int
        Where there are fewer examples, all of them.

    Returns
    -------
    ndarray, shape (m,) or (m, n_labels), in {0, 1/k, ..., 1}
        Of equally distant examples those that stand first count.

    Raises
    ------
    ValueError
        There is no example.
    """
    if not len(train):
        raise ValueError("there is no example to be near to")
    k = min(k, len(train))
    # 64 bits: differences of squares of near vectors are lost in 32.
    known = train.astype(np.float64)
    lengths = np.square(known).sum(1)
    shares = np.empty((len(queries), *labels.shape[1:]))
    for first in range(0, len(queries), _ROWS):
        some = queries[first : first + _ROWS].astype(np.float64)
        # Squared distance without |q|^2, which is the same for all examples of a query.
        distance = lengths - 2 * some @ known.T
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
        shares[first : first + _ROWS] = labels[nearest].mean(1)
    return shares


def share_logit(share: npt.ArrayLike, k: int = K) -> Floats:
    """Log-odds of a share with half a yes and half a no added, so that all or none is finite.

    Parameters
    ----------
    share : array-like
        Of k neighbours.
    k : int

    Returns
    -------
    ndarray
        Positive where most are a yes.
    """
    yes = np.asarray(share, dtype=np.float64) * k
    return np.asarray(np.log((yes + 0.5) / (k - yes + 0.5)))
