"""A linear probe: logistic regression on mu, with the spread that sigma^2 gives its logit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import GaussianEmbedding

Floats = npt.NDArray[np.float64]

C = 0.01
"""Inverse strength of the L2 penalty on standardised mu; fixed beforehand, never tuned."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """logit = mu . weights + bias.

    Attributes
    ----------
    weights : ndarray, shape (dim,)
    bias : float
    """

    weights: Floats
    bias: float

    @classmethod
    def fit(cls, mu: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_]) -> LinearProbe:
        """Train on embeddings; both classes weigh as much, so that 0 divides them.

        Parameters
        ----------
        mu : ndarray, shape (n, dim)
        labels : ndarray of bool, shape (n,)
            Both classes must occur.

        Returns
        -------
        LinearProbe
        """
        from sklearn.linear_model import LogisticRegression

        x = mu.astype(np.float64)
        mean, scale = x.mean(axis=0), x.std(axis=0)
        # A dimension that never varies says nothing, and must not divide by 0.
        scale[scale == 0] = 1.0
        model = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
        model.fit((x - mean) / scale, labels)
        # Standardisation is folded into the weights, so that the probe takes mu as it is.
        weights = model.coef_[0] / scale
        return cls(weights, float(model.intercept_[0] - mean @ weights))

    def logits(self, ecg: GaussianEmbedding) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the logit of each ECG's Gaussian.

        Parameters
        ----------
        ecg : GaussianEmbedding, n rows

        Returns
        -------
        mean, std : ndarray, shape (n,)
        """
        mean = ecg.mu.astype(np.float64) @ self.weights + self.bias
        # A linear function of a Gaussian is Gaussian: variances add with squared weights.
        variance = np.exp(ecg.log_var.astype(np.float64)) @ self.weights**2
        return np.asarray(mean), np.asarray(np.sqrt(variance))
