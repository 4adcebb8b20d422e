"""One Gaussian for a long recording, out of those of its windows.

Four rules. ``start`` takes the first window and ``lowest`` the one with the lowest sum of sigma^2
(EchoingECG, section 2.5). ``precision`` is the mean of the product of the windows' Gaussians,
and ``trimmed`` the same after the worst windows were left out.

Two things keep the product from claiming too much. Windows that overlap share signal, so each
counts only for the signal that it has to itself (`overlap_weights`). And windows of one recording
share errors, which do not average out: the variance of the result is not that of the product but
the mean sigma^2 of a window and what the windows' disagreement adds (`fuse`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.records import BoolArray, GaussianEmbedding

Floats = npt.NDArray[np.float64]

RULES: tuple[str, ...] = ("start", "lowest", "precision", "trimmed")

TOO_UNSURE = 5.0
"""``trimmed`` leaves out windows whose sum of sigma^2 is more than this many times the lower
quartile of the recording: up to three quarters of it may be noisy before noise sets the limit."""

TOO_FAR = 10.0
"""``trimmed`` leaves out windows whose mu lies more than this many times the median squared
distance from the centre of the others."""


@dataclass(frozen=True, eq=False)
class Fused:
    """One Gaussian for n windows, and what each of them gave to it.

    Attributes
    ----------
    embedding : GaussianEmbedding, one row
    weights : ndarray, shape (n,)
        Share of each window in mu, not negative; their sum is 1.
    used : ndarray, shape (n,), bool
        Windows that the rule did not leave out.
    rule : str
        One of `RULES`.
    """

    embedding: GaussianEmbedding
    weights: Floats
    used: BoolArray
    rule: str


def fuse(embedding: GaussianEmbedding, start_s: npt.ArrayLike, window_s: float, rule: str) -> Fused:
    """Fuse the windows of one recording.

    With c_i the share of a window that is its own (`overlap_weights`), s_i its sum of sigma^2 and
    weights w_i = c_i / s_i:

        m = sum_i w_i mu_i / sum_i w_i,   mu = m / |m|

        sigma^2 = ((mean of sigma_i)^2 + scatter / max(n_eff - 1, 1)) / |m|^2

    where mean and scatter, of (mu_i - m)^2, are per dimension and weighted by w, and
    n_eff = (sum w)^2 / sum (w^2 / c) is Kish's effective number of independent windows.

    The first term is the variance of m if all windows err together: sigma_i^2 says how far noise
    moves mu, and noise of one kind moves it in one direction however long it lasts. The product's
    own variance, which takes errors as independent, was about 200 times too small on simulated
    recordings. The second term is the squared error of a weighted mean as the scatter of the
    values tells it, the "external" error of Birge. On simulated recordings of 20 minutes of test
    patients the squared error of mu was 1.6 to 2.2 times the fused sum of sigma^2
    (docs/experiments.md).

    Parameters
    ----------
    embedding : GaussianEmbedding, n rows
    start_s : array-like, shape (n,)
        Start of each window in seconds, in any order.
    window_s : float
        Length of every window in seconds.
    rule : {"start", "lowest", "precision", "trimmed"}

    Returns
    -------
    Fused
        Of one window, the window itself.

    Raises
    ------
    ConfigError
        There is no such rule.
    SignalQualityError
        There is no window, or the windows point in opposite directions.

    References
    ----------
    Birge, Phys. Rev. 40 (1932) 207, internal and external errors; Kish, Survey Sampling (1965),
    section 11.7. One weight per window, not one per dimension: on simulated recordings they were
    equally near the truth.
    """
    starts = np.asarray(start_s, dtype=np.float64)
    _check(embedding, starts, window_s, rule)
    unsure = embedding.uncertainty
    if rule in ("start", "lowest"):
        # Ties: the surer of two windows that start together, the earlier of two equally sure.
        keys = (unsure, starts) if rule == "start" else (starts, unsure)
        weights = np.zeros(len(embedding))
        weights[np.lexsort(keys)[0]] = 1.0
        return Fused(embedding[weights > 0], weights, weights > 0, rule)
    # Windows that overlap share signal and so errors; see `overlap_weights`.
    own = overlap_weights(starts, window_s)
    used = np.ones(len(embedding), dtype=bool) if rule == "precision" else _trusted(embedding, own)
    # Left-out windows are gone: what they shared with others now belongs to the others.
    own = np.zeros(len(embedding))
    own[used] = overlap_weights(starts[used], window_s)
    weights = own / unsure
    weights /= weights.sum()
    return Fused(_weighted(embedding[used], weights[used], own[used]), weights, used, rule)


def overlap_weights(start_s: npt.ArrayLike, window_s: float) -> Floats:
    """How much of each window counts as its own when windows overlap.

    Each moment of the recording counts once, shared evenly by the windows that cover it:
    c_i = mean over the window's time of 1 / (number of windows that cover it). Windows of length
    w at a regular stride s get s / w where s < w (those at the ends more), and 1 where they do
    not overlap; k copies of one window get 1 / k each.

    Parameters
    ----------
    start_s : array-like, shape (n,)
        In seconds, in any order.
    window_s : float
        Length of every window in seconds.

    Returns
    -------
    ndarray, shape (n,), 0 < c <= 1
        Their sum is the time that the windows cover together, in windows.
    """
    start = np.asarray(start_s, dtype=np.float64)
    end = start + window_s
    # Between two neighbouring edges the number of covering windows does not change.
    edge = np.unique(np.concatenate([start, end]))
    covering = np.searchsorted(np.sort(start), edge[:-1], side="right") - np.searchsorted(
        np.sort(end), edge[:-1], side="right"
    )
    share_s = np.diff(edge) / np.maximum(covering, 1)
    # Share of time up to each edge: a window has the difference of its two ends.
    until = np.concatenate([[0.0], np.cumsum(share_s)])
    return np.asarray(
        (until[np.searchsorted(edge, end)] - until[np.searchsorted(edge, start)]) / window_s
    )


def _trusted(embedding: GaussianEmbedding, own: Floats) -> BoolArray:
    """The windows that ``trimmed`` uses; the nearest of the surest are always among them."""
    unsure = embedding.uncertainty
    # The lower quartile, not the median: most of a recording may be noisy.
    sure = unsure <= TOO_UNSURE * _weighted_quantile(unsure, own, 0.25)
    # Distances from the precision-weighted centre of the sure windows.
    mu = embedding.mu.astype(np.float64)
    weights = np.where(sure, own / unsure, 0.0)
    distance = ((mu - weights @ mu / weights.sum()) ** 2).sum(axis=1)
    limit = TOO_FAR * _weighted_quantile(distance[sure], own[sure], 0.5)
    return np.asarray(sure & (distance <= limit))


def _weighted(embedding: GaussianEmbedding, weights: Floats, own: Floats) -> GaussianEmbedding:
    mu = embedding.mu.astype(np.float64)
    mean = weights @ mu
    norm = float(np.linalg.norm(mean))
    if norm < 1e-6:
        raise SignalQualityError(
            f"The {len(embedding)} windows point in opposite directions and cancel out. "
            "Ask about a single window instead."
        )
    # Kish's effective number of windows; ``weights`` sum to 1.
    n_eff = 1.0 / float((weights**2 / own).sum())
    scatter = weights @ (mu - mean) ** 2
    # Shared errors: standard deviations, not variances, are averaged.
    variance = (weights @ np.exp(0.5 * embedding.log_var.astype(np.float64))) ** 2
    variance += scatter / max(n_eff - 1.0, 1.0)
    # mu returns to the unit sphere, and the variance with it.
    return GaussianEmbedding(
        (mean / norm)[None].astype(np.float32),
        np.log(variance / norm**2)[None].astype(np.float32),
    )


def _weighted_quantile(values: Floats, weights: Floats, q: float) -> float:
    """The smallest value with at least a share q of the weight at or below it."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    # Sums of equal weights in another order differ in their last digits.
    return float(values[order][np.searchsorted(below, q * below[-1] * (1 - 1e-9))])


def _check(embedding: GaussianEmbedding, starts: Floats, window_s: float, rule: str) -> None:
    if rule not in RULES:
        raise ConfigError(
            f"There is no rule {rule!r} to fuse windows by. Choose {', '.join(RULES)}."
        )
    if len(embedding) == 0:
        raise SignalQualityError(
            "There is no window to fuse. Choose a recording of at least one window."
        )
    if starts.shape != (len(embedding),) or not np.isfinite(starts).all():
        raise ValueError(f"{len(embedding)} windows need as many finite starts, not {starts.shape}")
    if not window_s > 0:
        raise ValueError(f"window_s must be positive, not {window_s}")
