"""Metrics of classification, retrieval and uncertainty: arrays in, numbers out.

No model and no file is known here. A metric that is not defined for its input (an AUROC with
one class) is NaN and never a made-up number; inputs that do not fit are ValueErrors. Ties are
treated so that the order of the rows never matters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.metrics.distances import cosine, csd
from echoing_core.records import GaussianEmbedding

Floats = npt.NDArray[np.float64]

CSD, COSINE = "csd", "cosine"
"""Orders of a search: by sampled distance, or by the cosine of the means alone."""

EXACT_PAIR, SAME_TEXT = "exact pair", "same text"
"""What is a hit for a report: its own ECG alone, or any ECG whose report has the same text."""

_QUERIES_AT_ONCE = 256


def auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties half.

    Parameters
    ----------
    labels : array-like of bool, shape (n,)
    scores : array-like, shape (n,)

    Returns
    -------
    float
        NaN if there are only positives or only negatives.

    References
    ----------
    Hanley and McNeil, Radiology 143 (1982): the Mann-Whitney form.
    """
    positive, score = _binary(labels, scores)
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    ranks = midranks(score)
    # Mann-Whitney: pairs won by a positive, ties counted half by the mid-ranks.
    u = ranks[positive].sum() - n_positive * (n_positive + 1) / 2.0
    return float(u / (n_positive * n_negative))


class ResampledAuroc:
    """AUROC of columns of scores, again and again on resampled rows: sorted once, then counted.

    Parameters
    ----------
    labels : array-like, shape (n, n_columns)
        1 or 0; a row whose label is NaN does not count in that column.
    scores : array-like, shape (n, n_columns)
    """

    def __init__(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> None:
        truth, score = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
        if truth.ndim != 2 or truth.shape != score.shape or not np.isfinite(score).all():
            raise ValueError(f"labels {truth.shape} and finite scores {score.shape} must be equal")
        n = len(score)
        self._order = np.argsort(score, axis=0, kind="stable")
        in_order = np.take_along_axis(score, self._order, axis=0)
        label = np.take_along_axis(truth, self._order, axis=0)
        self._yes, self._no = label > 0.5, label <= 0.5
        # Where each score's run of equal ones begins, and where the next run does.
        begins = np.ones(score.shape, dtype=np.bool_)
        begins[1:] = in_order[1:] != in_order[:-1]
        place = np.arange(n)[:, np.newaxis]
        self._first = np.maximum.accumulate(np.where(begins, place, 0), axis=0)
        self._end = np.full(score.shape, n)
        later = np.minimum.accumulate(np.where(begins, place, n)[::-1], axis=0)[::-1]
        self._end[:-1] = later[1:]

    def __call__(self, rows: npt.ArrayLike) -> Floats:
        """AUROC of each column, as `auroc` would give it of these rows.

        Parameters
        ----------
        rows : array-like of int
            Row numbers, each as often as it was drawn.

        Returns
        -------
        ndarray, shape (n_columns,)
            NaN where there are only positives or only negatives.
        """
        times = np.bincount(np.asarray(rows), minlength=len(self._order)).astype(np.float64)
        drawn = times[self._order]
        yes, no = drawn * self._yes, drawn * self._no
        # Negatives before each place, of which there is one more than rows.
        before = np.concatenate([np.zeros((1, no.shape[1])), np.cumsum(no, axis=0)])
        lower = np.take_along_axis(before, self._first, axis=0)
        up_to = np.take_along_axis(before, self._end, axis=0)
        pairs = yes.sum(axis=0) * no.sum(axis=0)
        # Those of equal scores count half, so the mean of the two counts is what was won.
        won = (yes * (lower + up_to) / 2.0).sum(axis=0)
        found: Floats = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        return found


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean precision over the positives, sum_k (R_k - R_{k-1}) P_k over distinct thresholds.

    Parameters
    ----------
    labels : array-like of bool, shape (n,)
    scores : array-like, shape (n,)

    Returns
    -------
    float
        NaN without a positive.
    """
    positive, score = _binary(labels, scores)
    n_positive = int(positive.sum())
    if n_positive == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(positive[order])
    # Only the last row of a run of equal scores is a threshold that can be set.
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    precision = hits[last] / (last + 1.0)
    recall_step = np.diff(hits[last] / n_positive, prepend=0.0)
    return float((precision * recall_step).sum())


def macro_auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Unweighted mean of `auroc` over the columns of a multi-label task.

    Parameters
    ----------
    labels : array-like of bool, shape (n, n_classes)
    scores : array-like, shape (n, n_classes)

    Returns
    -------
    float
        NaN if it is NaN for any class: a mean over fewer classes is another figure.
    """
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 2 or label.shape != score.shape or label.shape[1] == 0:
        raise ValueError(f"labels {label.shape} and scores {score.shape} must be (n, n_classes)")
    return float(np.mean([auroc(label[:, c], score[:, c]) for c in range(label.shape[1])]))


def balanced_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean, over the classes that occur in ``truth``, of the share recognised.

    Parameters
    ----------
    truth, predicted : array-like, shape (n,)
        Class of each item, of any type that can be compared.

    Returns
    -------
    float
        0.5 for a constant answer to a two-class task; NaN for fewer than two classes.
    """
    y, y_hat = np.asarray(truth), np.asarray(predicted)
    if y.ndim != 1 or y.shape != y_hat.shape:
        raise ValueError(f"truth {y.shape} and predicted {y_hat.shape} must be one equal vector")
    classes, code = np.unique(y, return_inverse=True)
    if classes.size < 2:
        return float("nan")
    # Recall of each class; the mean gives a rare class as much weight as a common one.
    right = np.bincount(code, weights=(y == y_hat).astype(np.float64))
    return float(np.mean(right / np.bincount(code)))


def relevant_ranks(distances: npt.ArrayLike, relevant: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Rank of the nearest relevant item of each query.

    Parameters
    ----------
    distances : array-like, shape (n_queries, n_gallery)
    relevant : array-like of bool, shape (n_queries, n_gallery)

    Returns
    -------
    ndarray of int, shape (n_queries,)
        1 is best. Irrelevant items at the same distance count as nearer. A query with
        nothing relevant gets ``n_gallery + 1``, which is a miss at every k.
    """
    d, hit = _distances(distances), np.asarray(relevant, dtype=bool)
    if hit.shape != d.shape:
        raise ValueError(f"relevant {hit.shape} must have the shape of distances {d.shape}")
    # Shape (n_queries,); infinite where nothing is relevant.
    nearest = np.where(hit, d, np.inf).min(axis=1)
    before = ((d <= nearest[:, None]) & ~hit).sum(axis=1)
    ranks = np.where(hit.any(axis=1), before + 1, d.shape[1] + 1)
    return np.asarray(ranks, dtype=np.int64)


def text_to_ecg_ranks(
    text: GaussianEmbedding,
    ecg: GaussianEmbedding,
    reports: Sequence[str],
    *,
    order: str = CSD,
    hit: str = EXACT_PAIR,
) -> npt.NDArray[np.int64]:
    """Rank of each report's ECG among all ECGs.

    Parameters
    ----------
    text, ecg : GaussianEmbedding, n rows
        Row i of both belongs to one study; every report is a query in a gallery of all ECGs.
    reports : sequence of str, length n
        The texts, for `SAME_TEXT`.
    order : {"csd", "cosine"}
    hit : {"exact pair", "same text"}

    Returns
    -------
    ndarray of int, shape (n,)
        1 is best; a tie counts against.
    """
    if order not in (CSD, COSINE) or hit not in (EXACT_PAIR, SAME_TEXT):
        raise ValueError(f"no ranking by {order!r} with hits by {hit!r}")
    if hit == SAME_TEXT:
        codes: dict[str, int] = {}
        match = np.asarray([codes.setdefault(report, len(codes)) for report in reports])
    else:
        match = np.arange(len(ecg))
    ranks = []
    # Some queries at a time: the distances within a gallery of 25,000 would need 5 GB.
    for first in range(0, len(text), _QUERIES_AT_ONCE):
        rows = slice(first, first + _QUERIES_AT_ONCE)
        if order == CSD:
            distance = csd(text.mu[rows], text.log_var[rows], ecg.mu, ecg.log_var)
        else:
            distance = 1.0 - cosine(text.mu[rows], ecg.mu)
        ranks.append(relevant_ranks(distance, match[rows, None] == match[None, :]))
    return np.concatenate(ranks)


def recall_at_k(ranks: npt.ArrayLike, k: int) -> float:
    """Share of queries whose rank is at most k.

    Parameters
    ----------
    ranks : array-like of int, shape (n_queries,)
        Of the functions above; 1 is best.
    k : int
        At least 1.

    Returns
    -------
    float
    """
    rank = np.asarray(ranks)
    if rank.ndim != 1 or rank.size == 0:
        raise ValueError(f"recall needs the ranks of at least one query, not {rank.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return float(np.mean(rank <= k))


def expected_calibration_error(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, n_bins: int = 15
) -> float:
    """Mean gap between the probability of yes and the share of yes, over equal-width bins.

    Parameters
    ----------
    labels : array-like of bool, shape (n,)
    probabilities : array-like, shape (n,), 0..1
        Of the positive class (not of the predicted one).
    n_bins : int

    Returns
    -------
    float
        Bins are weighted by their number of items.

    References
    ----------
    Naeini et al., AAAI 2015; Guo et al., ICML 2017, eq. 3.
    """
    predicted, observed, count = reliability(labels, probabilities, n_bins=n_bins)
    filled = count > 0
    gap = np.abs(predicted - observed)[filled]
    return float(gap @ count[filled] / count.sum())


def reliability(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, n_bins: int = 15
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Points of a reliability diagram, the bins of `expected_calibration_error`.

    Parameters
    ----------
    labels, probabilities, n_bins
        As there.

    Returns
    -------
    mean_probability, share_positive : ndarray, shape (n_bins,)
        NaN in a bin without items.
    count : ndarray of int, shape (n_bins,)

    References
    ----------
    DeGroot and Fienberg, The Statistician 32 (1983); Niculescu-Mizil and Caruana, ICML 2005.
    """
    positive, p = _binary(labels, probabilities)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("probabilities must lie between 0 and 1")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, not {n_bins}")
    # The last bin is closed above: a probability of 1 belongs to it.
    bins = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    # An empty bin has no mean; 0 would draw a point.
    n = np.where(count > 0, count, np.nan)
    return (
        np.bincount(bins, weights=p, minlength=n_bins) / n,
        np.bincount(bins, weights=positive, minlength=n_bins) / n,
        count,
    )


def binary_entropy(logit: npt.ArrayLike) -> Floats:
    """Entropy in bits of a yes/no answer with probability sigmoid(logit).

    From the logit, not the probability: 1 - p of a sure answer would round to 0 and tie it with
    every other.

    Parameters
    ----------
    logit : array-like

    Returns
    -------
    ndarray, shape of ``logit``
        0..1.
    """
    from scipy.special import expit

    size = np.abs(np.asarray(logit))
    # -log p of the likelier answer is log(1 + e^-size); the other one's is larger by size.
    sure = np.log1p(np.exp(-size))
    return np.asarray((sure + size * expit(-size)) / np.log(2.0))


def balanced_weights(labels: npt.ArrayLike) -> Floats:
    """Weight of each item with which both classes weigh as much: n / (2 n of its class).

    With them a mean 0/1 error is one minus the balanced accuracy. A class without items has no
    weight to give; the other one then carries all of it.

    Parameters
    ----------
    labels : array-like of bool, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
        Their sum is n where both classes occur.
    """
    label = np.asarray(labels)
    if label.ndim != 1 or label.size == 0 or not np.isin(label, (0, 1)).all():
        raise ValueError("balanced weights need a vector of labels 0 and 1")
    count = np.bincount(label.astype(np.int64), minlength=2)
    return np.asarray(label.size / (2.0 * count[label.astype(np.int64)]))


def risk_coverage(
    uncertainty: npt.ArrayLike, errors: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Risk among the least uncertain items, for every number of items kept.

    Parameters
    ----------
    uncertainty : array-like, shape (n,)
    errors : array-like, shape (n,)
        Loss of each item, for example 1 where the answer was wrong.
    weights : array-like, shape (n,), optional
        How much each item counts, positive: with `balanced_weights` the risk is that in a
        population with as many positives as negatives. Equal without.

    Returns
    -------
    coverage : ndarray, shape (n,)
        Share of the weight that is kept; without weights 1/n, 2/n, ..., 1.
    risk : ndarray, shape (n,)
        Weighted mean error of the items kept; items of one uncertainty enter with their mean
        error and weight, as if their order were drawn at random.
    """
    u, error = _pair(uncertainty, errors)
    weight = np.ones(u.size) if weights is None else _pair(u, weights)[1]
    if (weight <= 0).any():
        raise ValueError("weights must be positive")
    _, code, count = np.unique(u, return_inverse=True, return_counts=True)
    # np.unique sorts ascending, so its codes are the order of acceptance.
    accepted = np.repeat(np.bincount(code, weights=weight) / count, count)
    loss = np.repeat(np.bincount(code, weights=weight * error) / count, count)
    kept = np.cumsum(accepted)
    return kept / kept[-1], np.cumsum(loss) / kept


def aurc(
    uncertainty: npt.ArrayLike, errors: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Area under the risk-coverage curve: the mean risk over all coverages; lower is better.

    Parameters
    ----------
    uncertainty, errors, weights
        As in `risk_coverage`.

    Returns
    -------
    float
        In the unit of ``errors``.

    References
    ----------
    Geifman, Uziel and El-Yaniv, ICLR 2019, "Bias-reduced uncertainty estimation", eq. 3.
    """
    coverage, risk = risk_coverage(uncertainty, errors, weights)
    return float(np.diff(coverage, prepend=0.0) @ risk)


def median_split(uncertainty: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """True for the less uncertain half: values up to and including the median.

    Parameters
    ----------
    uncertainty : array-like, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
        With ties at the median more than half.
    """
    u = np.asarray(uncertainty, dtype=np.float64)
    if u.ndim != 1 or u.size == 0 or not np.isfinite(u).all():
        raise ValueError("a median split needs a vector of finite uncertainties")
    return np.asarray(u <= np.median(u))


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rank correlation, ties at their mean rank.

    Parameters
    ----------
    a, b : array-like, shape (n,)

    Returns
    -------
    float
        NaN if one side is constant.
    """
    x, y = _pair(a, b)
    # Centred by the known mean rank (n + 1) / 2, which ties do not change.
    rx, ry = midranks(x) - (x.size + 1) / 2.0, midranks(y) - (y.size + 1) / 2.0
    scale = float(np.sqrt((rx * rx).sum() * (ry * ry).sum()))
    return float((rx * ry).sum() / scale) if scale > 0 else float("nan")


def midranks(values: npt.ArrayLike) -> Floats:
    """Ranks 1..n, equal values sharing the mean of their ranks.

    Parameters
    ----------
    values : array-like, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
    """
    _, code, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2.0)[code], dtype=np.float64)


def _pair(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise ValueError(f"expected two equal vectors, not {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("metrics need finite values")
    return x, y


def _binary(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], Floats]:
    label, score = _pair(labels, scores)
    if not np.isin(label, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    return label == 1.0, score


def _distances(distances: npt.ArrayLike) -> Floats:
    d = np.asarray(distances, dtype=np.float64)
    if d.ndim != 2 or 0 in d.shape or not np.isfinite(d).all():
        raise ValueError(f"distances must be a finite (n_queries, n_gallery) matrix, not {d.shape}")
    return d
