"""Zero-shot questions in closed form.

A question is two sets of prompts: P says it is so, N says it is not. With p and n the unit
directions of the two sets, the margin z.(p - n) of an ECG's Gaussian z ~ N(mu, diag sigma^2)
is itself Gaussian, so a probability and an interval follow without sampling:

    m = mu.(p - n),   s^2 = sum_d sigma_d^2 (p - n)_d^2

``logit_scale`` (k) turns a margin into a logit. A model trained with logits -a csd + b has
k = 2a, since csd(z, p) - csd(z, n) = -2 mu.(p - n) for unit p and n of one variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.records import Answer, GaussianEmbedding

Floats = npt.NDArray[np.float64]

Z_90 = 1.6448536269514722
"""Standard normal quantile of 0.95: the ends of a central 90 % interval."""

_erfc = np.frompyfunc(math.erfc, 1, 1)

PROBIT_ERROR = 0.018
"""Bound of the absolute error of `probabilities`; the worst, 0.0177, is met as k s grows."""


def prototype(prompts: GaussianEmbedding) -> Floats:
    """Unit direction of a set of prompts: their mean mu, scaled to length 1.

    Prompts are not weighted by their variance, as ProLIP's re-weighting would have it: on a text
    model whose variances are not calibrated that only adds noise.

    Parameters
    ----------
    prompts : GaussianEmbedding, n_prompts rows

    Returns
    -------
    ndarray, shape (dim,)

    Raises
    ------
    ConfigError
        If there is no prompt, or the prompts cancel out.
    """
    if len(prompts) == 0:
        raise ConfigError(
            "A question needs at least one prompt for yes and one for no. Add the missing one."
        )
    # In float64: the difference of two nearly equal directions is what answers.
    mean = prompts.mu.astype(np.float64).sum(axis=0) / len(prompts)
    norm = float(np.linalg.norm(mean))
    # Rounding of float32 means leaves about 1e-7 of two opposite prompts.
    if norm < 1e-6:
        raise ConfigError(
            f"The {len(prompts)} prompts of one side point in opposite directions and cancel "
            "out. Put prompts that mean the same on one side."
        )
    return np.asarray(mean / norm)


def question_direction(positive: GaussianEmbedding, negative: GaussianEmbedding) -> Floats:
    """Where an ECG moves along when the answer moves from no to yes.

    Parameters
    ----------
    positive, negative : GaussianEmbedding
        The prompts of each side, at least one row each.

    Returns
    -------
    ndarray, shape (dim,)
        p - n, the difference of two unit vectors.
    """
    return prototype(positive) - prototype(negative)


def margins(
    ecg: GaussianEmbedding, positive: GaussianEmbedding, negative: GaussianEmbedding
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the margin z.(p - n) of each ECG.

    Parameters
    ----------
    ecg : GaussianEmbedding, n rows
    positive, negative : GaussianEmbedding
        The prompts of each side, at least one row each.

    Returns
    -------
    margin, margin_std : ndarray, shape (n,)
    """
    direction = question_direction(positive, negative)
    mean = ecg.mu.astype(np.float64) @ direction
    # The weights of a sum of independent normals enter its variance squared.
    variance = np.exp(ecg.log_var.astype(np.float64)) @ direction**2
    return np.asarray(mean), np.asarray(np.sqrt(variance))


def probabilities(margin: Floats, margin_std: Floats, *, logit_scale: float) -> Floats:
    """E[sigmoid(k z)] for z ~ N(margin, margin_std^2), by MacKay's approximation.

    sigmoid(k m / sqrt(1 + pi k^2 s^2 / 8)). Against quadrature its absolute error stays below
    `PROBIT_ERROR` for every k, m and s, and it is exact at m = 0 and at s = 0.

    Parameters
    ----------
    margin, margin_std : ndarray, shape (...)
    logit_scale : float
        k > 0.

    Returns
    -------
    ndarray, shape (...)

    References
    ----------
    MacKay, "The evidence framework applied to classification networks", Neural Computation
    4 (1992), eq. 2.10.
    """
    _check_scale(logit_scale)
    m, s = np.asarray(margin, dtype=np.float64), np.asarray(margin_std, dtype=np.float64)
    return sigmoid(logit_scale * m / np.sqrt(1.0 + (np.pi / 8.0) * (logit_scale * s) ** 2))


def intervals(margin: Floats, margin_std: Floats, *, logit_scale: float) -> Floats:
    """Central 90 % interval of sigmoid(k z) for z ~ N(margin, margin_std^2).

    Exact, as the sigmoid is monotone: sigmoid(k (m +- 1.645 s)). The mean of a skewed
    distribution may lie outside it; this happens only with probabilities close to 0 or 1.

    Parameters
    ----------
    margin, margin_std : ndarray, shape (...)
    logit_scale : float
        k > 0.

    Returns
    -------
    ndarray, shape (..., 2)
    """
    _check_scale(logit_scale)
    m, s = np.asarray(margin, dtype=np.float64), np.asarray(margin_std, dtype=np.float64)
    return np.stack(
        [sigmoid(logit_scale * (m - Z_90 * s)), sigmoid(logit_scale * (m + Z_90 * s))], axis=-1
    )


def p_margin_positive(margin: Floats, margin_std: Floats) -> Floats:
    """P(z > 0) = Phi(m / s) for z ~ N(margin, margin_std^2).

    Parameters
    ----------
    margin, margin_std : ndarray, shape (...)

    Returns
    -------
    ndarray, shape (...)
        0.5 where both are 0.
    """
    m, s = np.asarray(margin, dtype=np.float64), np.asarray(margin_std, dtype=np.float64)
    # A spread next to nothing makes m / s infinite, and Phi of that is right.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where((m == 0) & (s == 0), 0.0, m / s)
    # SciPy's ndtr, whose import costs a quarter of a second, is the same.
    return np.asarray(0.5 * _erfc(-z / math.sqrt(2.0)), dtype=np.float64)


def verdict(interval: tuple[float, float]) -> str:
    """Put an interval of the probability of yes into words.

    Parameters
    ----------
    interval : (float, float)
        Low and high end, 0..1.

    Returns
    -------
    {"yes", "no", "not sure enough"}
        The last when the interval holds 0.5.
    """
    low, high = interval
    if low > 0.5:
        return "yes"
    return "no" if high < 0.5 else "not sure enough"


def answer(
    embedding: GaussianEmbedding,
    positive: GaussianEmbedding,
    negative: GaussianEmbedding,
    *,
    question: str,
    positive_prompts: Sequence[str],
    negative_prompts: Sequence[str],
    logit_scale: float,
    unknown_words: Sequence[str] = (),
) -> Answer:
    """Answer one question about one window.

    Parameters
    ----------
    embedding : GaussianEmbedding, one row
    positive, negative : GaussianEmbedding
        The embedded prompts, parallel to ``positive_prompts`` and ``negative_prompts``.
    question : str
        Short name of the question.
    logit_scale : float
    unknown_words : sequence of str
        Words of the prompts that the text model never saw.

    Returns
    -------
    Answer

    Raises
    ------
    ConfigError
        If one side has no prompt.
    """
    if len(embedding) != 1:
        raise ValueError(f"answer takes the embedding of one window, not of {len(embedding)}")
    for name, rows, texts in (
        ("positive", positive, positive_prompts),
        ("negative", negative, negative_prompts),
    ):
        if len(rows) != len(texts):
            raise ValueError(f"{len(rows)} embeddings do not fit {len(texts)} {name} prompts")
    margin, margin_std = margins(embedding, positive, negative)
    low, high = intervals(margin, margin_std, logit_scale=logit_scale)[0]
    interval = (float(low), float(high))
    return Answer(
        question=question,
        probability=float(probabilities(margin, margin_std, logit_scale=logit_scale)[0]),
        interval=interval,
        margin=float(margin[0]),
        margin_std=float(margin_std[0]),
        p_margin_positive=float(p_margin_positive(margin, margin_std)[0]),
        verdict=verdict(interval),
        positive_prompts=tuple(positive_prompts),
        negative_prompts=tuple(negative_prompts),
        unknown_words=tuple(unknown_words),
    )


def sigmoid(logits: npt.ArrayLike) -> Floats:
    """1 / (1 + e^-x), without overflow.

    Parameters
    ----------
    logits : array-like

    Returns
    -------
    ndarray, shape of ``logits``
    """
    x = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, 1.0) / (1.0 + small))


def _check_scale(logit_scale: float) -> None:
    if not (np.isfinite(logit_scale) and logit_scale > 0):
        raise ValueError(f"logit_scale must be positive and finite, not {logit_scale}")
