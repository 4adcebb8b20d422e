"""Distances between Gaussians with diagonal covariance, once for NumPy and torch.

Every function takes two sets of Gaussians as ``(n_a, dim)`` and ``(n_b, dim)`` arrays of one
library and returns the ``(n_a, n_b)`` matrix of all pairs in the same library. The squared
distance between means goes through the Gram matrix, so memory is O(n_a n_b + n dim) and not
O(n_a n_b dim). torch is never imported here: the namespace is the one that the arrays bring.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, TypeVar

ArrayT = TypeVar("ArrayT")


def _namespace(array: Any) -> Any:
    """Return the module (``numpy`` or ``torch``) that ``array`` belongs to."""
    for kind in type(array).__mro__:
        root = kind.__module__.partition(".")[0]
        # sys.modules and no import: whoever brings a tensor has imported torch already.
        if root in ("numpy", "torch"):
            return sys.modules[root]
    raise TypeError(f"expected a NumPy array or a torch tensor, not {type(array).__name__}")


def _full_precision(xp: Any, array: Any) -> Any:
    """At least float32: the cancellation in the Gram form eats half of a float16's digits."""
    if array.dtype in (xp.float32, xp.float64):
        return array
    # Not torch.asarray, which would cut the gradient.
    return array.float() if xp.__name__ == "torch" else array.astype(xp.float32)


def _matmul_context(xp: Any, array: Any) -> contextlib.AbstractContextManager[Any]:
    """Switch torch's autocast off, which would do the Gram product in bfloat16."""
    if xp.__name__ == "torch":
        context: contextlib.AbstractContextManager[Any] = xp.autocast(
            device_type=array.device.type, enabled=False
        )
        return context
    return contextlib.nullcontext()


def _squared_euclidean(xp: Any, a: Any, b: Any) -> Any:
    """||a_i - b_j||^2 for all pairs, never below 0."""
    a, b = _full_precision(xp, a), _full_precision(xp, b)
    with _matmul_context(xp, a):
        gram = a @ b.T
    # ||a||^2 + ||b||^2 - 2 a.b, shape (n_a, n_b).
    squared = (a * a).sum(-1)[:, None] + (b * b).sum(-1)[None, :] - 2.0 * gram
    # Rounding can leave -1e-7 where two means coincide.
    return squared.clip(min=0.0)


def _check(a: Any, b: Any) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected two arrays of shape (n, dim) with one dim, "
            f"not {tuple(a.shape)} and {tuple(b.shape)}"
        )


def _check_gaussians(mu_a: Any, log_var_a: Any, mu_b: Any, log_var_b: Any) -> None:
    _check(mu_a, mu_b)
    for mu, log_var in ((mu_a, log_var_a), (mu_b, log_var_b)):
        if mu.shape != log_var.shape:
            raise ValueError(f"mu {tuple(mu.shape)} and log_var {tuple(log_var.shape)} differ")


def csd(mu_a: ArrayT, log_var_a: ArrayT, mu_b: ArrayT, log_var_b: ArrayT) -> ArrayT:
    """Closed-form sampled distance of all pairs.

    d(i, j) = ||mu_i - mu_j||^2 + sum_d (sigma_i,d^2 + sigma_j,d^2), the expected squared
    distance between a sample of one Gaussian and an independent sample of the other. It is
    not a metric: d(z, z) = 2 sum_d sigma_d^2.

    Parameters
    ----------
    mu_a, log_var_a : array, shape (n_a, dim)
        Means (any norm) and natural logarithms of the variances.
    mu_b, log_var_b : array, shape (n_b, dim)

    Returns
    -------
    array, shape (n_a, n_b)
        float32, or float64 if the inputs are. Differentiable where the inputs are torch
        tensors that need a gradient.

    References
    ----------
    Chun, "Improved Probabilistic Image-Text Representations" (PCME++), ICLR 2024, eq. 1.
    """
    a, b, va, vb = _any(mu_a), _any(mu_b), _any(log_var_a), _any(log_var_b)
    _check_gaussians(a, va, b, vb)
    xp = _namespace(a)
    va, vb = _full_precision(xp, va), _full_precision(xp, vb)
    spread: Any = xp.exp(va).sum(-1)[:, None] + xp.exp(vb).sum(-1)[None, :]
    result: ArrayT = _squared_euclidean(xp, a, b) + spread
    return result


def wasserstein(mu_a: ArrayT, log_var_a: ArrayT, mu_b: ArrayT, log_var_b: ArrayT) -> ArrayT:
    """Squared 2-Wasserstein distance of all pairs.

    d(i, j) = ||mu_i - mu_j||^2 + sum_d (sigma_i,d - sigma_j,d)^2: unlike `csd` it is 0 for
    two equal Gaussians, however wide they are.

    Parameters
    ----------
    mu_a, log_var_a : array, shape (n_a, dim)
    mu_b, log_var_b : array, shape (n_b, dim)

    Returns
    -------
    array, shape (n_a, n_b)
    """
    a, b, va, vb = _any(mu_a), _any(mu_b), _any(log_var_a), _any(log_var_b)
    _check_gaussians(a, va, b, vb)
    xp = _namespace(a)
    # log_var is the logarithm of sigma^2, so half of it is that of sigma.
    std_a = xp.exp(0.5 * _full_precision(xp, va))
    std_b = xp.exp(0.5 * _full_precision(xp, vb))
    result: ArrayT = _squared_euclidean(xp, a, b) + _squared_euclidean(xp, std_a, std_b)
    return result


def cosine(mu_a: ArrayT, mu_b: ArrayT) -> ArrayT:
    """Cosine similarity of all pairs of means: larger is nearer, variances are ignored.

    Parameters
    ----------
    mu_a : array, shape (n_a, dim)
    mu_b : array, shape (n_b, dim)

    Returns
    -------
    array, shape (n_a, n_b)
        Between -1 and 1. A zero vector has similarity 0 to everything.
    """
    a, b = _any(mu_a), _any(mu_b)
    _check(a, b)
    xp = _namespace(a)
    a, b = _full_precision(xp, a), _full_precision(xp, b)
    with _matmul_context(xp, a):
        gram: Any = a @ b.T
    # Kept from 0, or a zero vector would give NaN.
    norm_a = ((a * a).sum(-1) ** 0.5).clip(min=1e-12)
    norm_b = ((b * b).sum(-1) ** 0.5).clip(min=1e-12)
    result: ArrayT = (gram / (norm_a[:, None] * norm_b[None, :])).clip(min=-1.0, max=1.0)
    return result


def _any(array: object) -> Any:
    """Drop the static type: NumPy and torch share these methods but no stub says so."""
    return array
