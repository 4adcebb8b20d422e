"""Search with many right answers: what lies near in a measured quantity is relevant, not one pair.

With much of a gallery relevant, recall at k is small by construction (k over the number of relevant
items), and a search by chance finds relevant items as often as they are: so precision stands beside
the prevalence of what is relevant. Average precision by chance lies above it, the more so the fewer
are relevant: in n items of which r are, it is (H + (r - 1) (n - H) / (n - 1)) / n on average, with
H = 1 + 1/2 + ... + 1/n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TOLERANCE = 0.5
"""Standard deviations, as Echo2ECG's evaluation has it."""

PREVALENCE, AVERAGE_PRECISION, FIRST = "prevalence", "mAP", "rank of the first"
BY_CHANCE = "mAP by chance"


def within(
    query: npt.ArrayLike, gallery: npt.ArrayLike, *, tolerance: float = TOLERANCE
) -> npt.NDArray[np.bool_]:
    """Which items of a gallery lie near a query in one quantity.

    Parameters
    ----------
    query : array-like, shape (n,)
    gallery : array-like, shape (m,)
        One value an item; their standard deviation (ddof 1) is the unit.
    tolerance : float

    Returns
    -------
    ndarray of bool, shape (n, m)
        True where the difference is at most ``tolerance`` standard deviations.
    """
    q, g = np.asarray(query, dtype=np.float64), np.asarray(gallery, dtype=np.float64)
    unit = g.std(ddof=1) if len(g) > 1 else 0.0
    return np.asarray(np.abs(q[:, None] - g[None, :]) <= tolerance * unit)


def of_queries(
    similarity: npt.ArrayLike, relevant: npt.ArrayLike, ks: Sequence[int]
) -> dict[str, Floats]:
    """What a search gives each query.

    Parameters
    ----------
    similarity : array-like, shape (n, m)
        Of query and item; the gallery is ranked by it, of equal ones the first first.
    relevant : array-like of bool, shape (n, m)
    ks : sequence of int
        A larger k than the gallery counts as all of it.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        ``"P@k"`` and ``"R@k"``, `AVERAGE_PRECISION`, `FIRST` (from 1), `PREVALENCE`, the share of
        the gallery that is relevant, and `BY_CHANCE`; NaN for a query with nothing relevant.
    """
    score, hit = np.asarray(similarity, dtype=np.float64), np.asarray(relevant, dtype=bool)
    if score.ndim != 2 or score.shape != hit.shape:
        raise ValueError(f"similarity {score.shape} and relevant {hit.shape} must be (n, m)")
    n_items = score.shape[1]
    order = np.argsort(-score, axis=1, kind="stable")
    ranked = np.take_along_axis(hit, order, axis=1)
    found = ranked.cumsum(axis=1)
    count = hit.sum(axis=1).astype(np.float64)
    count[count == 0] = np.nan
    precision = found / np.arange(1, n_items + 1)
    figures: dict[str, Floats] = {}
    for k in ks:
        at = min(k, n_items) - 1
        figures[f"P@{k}"] = np.where(np.isnan(count), np.nan, precision[:, at])
        figures[f"R@{k}"] = found[:, at] / count
    figures[AVERAGE_PRECISION] = (precision * ranked).sum(axis=1) / count
    figures[FIRST] = np.where(np.isnan(count), np.nan, ranked.argmax(axis=1) + 1.0)
    figures[PREVALENCE] = count / n_items
    harmonic = float((1.0 / np.arange(1, n_items + 1)).sum())
    others = (count - 1) * (n_items - harmonic) / max(1, n_items - 1)
    figures[BY_CHANCE] = (harmonic + others) / n_items
    return figures
