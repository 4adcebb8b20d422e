"""Intervals by resampling patients.

Several ECGs of one patient are not independent, so whole patients are drawn: n patients with
replacement, each with all of its rows, as often as it was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Estimate:
    """A figure and its percentile bootstrap interval.

    Attributes
    ----------
    value : float
        The metric on all rows; NaN where it is not defined.
    low, high : float
        Ends of the interval; NaN where fewer than half of the resamples define the metric.
    n_items, n_patients : int
    n_resamples, n_undefined : int
        How many resamples were drawn, and in how many the metric was not defined.
    seed : int
    level : float
        For example 0.95.
    """

    value: float
    low: float
    high: float
    n_items: int
    n_patients: int
    n_resamples: int
    n_undefined: int
    seed: int
    level: float = 0.95


def patient_bootstrap(
    metric: Callable[..., float],
    arrays: tuple[npt.NDArray[np.generic], ...],
    patient_ids: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Percentile interval of ``metric(*arrays)`` under resampling of patients.

    Parameters
    ----------
    metric : callable
        Takes ``arrays``, each cut to the same rows, and returns a number or NaN. For retrieval
        give the ranks (one row a query): the gallery stays as it is.
    arrays : tuple of ndarray
        Equal first dimension n.
    patient_ids : array-like, shape (n,)
        Patient of each row, of any type.
    n_resamples : int
    level : float
    seed : int
        Of the generator; the same seed gives the same interval, and different metrics of one
        test set the same resamples.

    Returns
    -------
    Estimate

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; the cluster
    bootstrap of Field and Welsh, J. R. Statist. Soc. B 69 (2007).
    """
    return patient_bootstrap_all(
        lambda *rows: {"": metric(*rows)},
        arrays,
        patient_ids,
        n_resamples=n_resamples,
        level=level,
        seed=seed,
    )[""]


def patient_bootstrap_all(
    metrics: Callable[..., Mapping[str, float]],
    arrays: tuple[npt.NDArray[np.generic], ...],
    patient_ids: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """`patient_bootstrap` of several figures on the same resamples, each drawn once.

    A difference between two scores of the same rows belongs in here as a figure of its own:
    its interval is then that of the paired difference.

    Parameters
    ----------
    metrics : callable
        Takes ``arrays``, each cut to the same rows, and returns figures by name, always the
        same names.
    arrays, patient_ids, n_resamples, level, seed
        As in `patient_bootstrap`.

    Returns
    -------
    dict of str to Estimate
        Each with the interval that `patient_bootstrap` would give it.
    """
    return patient_bootstrap_over_seeds(
        metrics, [arrays], patient_ids, n_resamples=n_resamples, level=level, seed=seed
    )


def patient_bootstrap_over_seeds(
    metrics: Callable[..., Mapping[str, float]],
    per_seed: Sequence[tuple[npt.NDArray[np.generic], ...]],
    patient_ids: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Mean of a figure over training seeds, and its interval over patients and seeds together.

    Each resample draws the patients, and as many seeds as there are, both with replacement; its
    figure is the mean, over the seeds drawn, of the metric on the rows of the patients drawn. All
    seeds of a resample see the same patients, since it is one test set. With few seeds the part
    of the spread that is theirs is told too small, by (s - 1) / s of its variance for s seeds,
    and not at all for one.

    Parameters
    ----------
    metrics : callable
        As in `patient_bootstrap_all`; called with the arrays of one seed. What compares two models
        trained from the same seeds takes the arrays of both: the seeds are then paired.
    per_seed : sequence of tuple of ndarray
        For each seed the arrays, all with first dimension n, rows of the same ECGs throughout.
    patient_ids : array-like, shape (n,)
    n_resamples, level, seed
        As in `patient_bootstrap`.

    Returns
    -------
    dict of str to Estimate
        A figure that is not defined for one of the seeds is not defined.
    """
    if not per_seed or not per_seed[0] or n_resamples < 1 or not 0.0 < level < 1.0:
        raise ValueError("a bootstrap needs arrays, resamples and a level between 0 and 1")
    patients = np.asarray(patient_ids)
    lengths = [len(array) for arrays in per_seed for array in arrays]
    n = lengths[0]
    if n == 0 or patients.shape != (n,) or any(length != n for length in lengths):
        raise ValueError(f"{lengths} rows do not fit {patients.shape} patients")
    # Patients as 0..n_patients-1: counting draws is then a bincount.
    _, code = np.unique(patients, return_inverse=True)
    n_patients, n_seeds = int(code.max()) + 1, len(per_seed)
    # One seed gives all metrics of a test set the same resamples.
    rng = np.random.default_rng(seed)
    # A stream of their own: the patients drawn do not depend on the number of seeds.
    seeds_rng = np.random.default_rng([seed, n_seeds])
    # The figure itself is of all rows and all seeds, not the mean of the resamples.
    measured = _mean_figures(metrics, per_seed, np.ones(n_seeds, dtype=np.int64), None)
    values = {name: np.empty(n_resamples) for name in measured}
    for i in range(n_resamples):
        rows = _draw(code, n_patients, rng)
        times = np.bincount(seeds_rng.integers(n_seeds, size=n_seeds), minlength=n_seeds)
        for name, value in _mean_figures(metrics, per_seed, times, rows).items():
            values[name][i] = value
    return {
        name: _estimate(float(value), values[name], n, n_patients, level, seed)
        for name, value in measured.items()
    }


def _mean_figures(
    metrics: Callable[..., Mapping[str, float]],
    per_seed: Sequence[tuple[npt.NDArray[np.generic], ...]],
    times: npt.NDArray[np.integer],
    rows: npt.NDArray[np.int64] | None,
) -> dict[str, float]:
    """Figures by name, averaged over seeds that count ``times`` each."""
    total: dict[str, float] = {}
    for arrays, count in zip(per_seed, times, strict=True):
        if count == 0:
            continue
        cut = arrays if rows is None else tuple(array[rows] for array in arrays)
        for name, value in metrics(*cut).items():
            # NaN of one seed stays in the sum: a figure that one seed lacks is not defined.
            total[name] = total.get(name, 0.0) + int(count) * float(value)
    return {name: value / int(times.sum()) for name, value in total.items()}


def _estimate(
    value: float,
    resampled: npt.NDArray[np.float64],
    n_items: int,
    n_patients: int,
    level: float,
    seed: int,
) -> Estimate:
    defined = resampled[~np.isnan(resampled)]
    low = high = float("nan")
    # Fewer, and the quantiles would be those of the lucky resamples.
    if 2 * defined.size >= resampled.size:
        # Percentile interval without bias correction (Efron and Tibshirani 1993, ch. 13).
        tail = (1.0 - level) / 2.0
        low, high = (float(q) for q in np.quantile(defined, (tail, 1.0 - tail)))
    return Estimate(
        value=value,
        low=low,
        high=high,
        n_items=n_items,
        n_patients=n_patients,
        n_resamples=resampled.size,
        n_undefined=resampled.size - int(defined.size),
        seed=seed,
        level=level,
    )


def _draw(
    code: npt.NDArray[np.integer], n_patients: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Rows of one resample: row r as often as its patient was drawn."""
    times = np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)
    # Shape (n_rows,); its length varies, since patients have different numbers of rows.
    return np.repeat(np.arange(code.size), times[code])
