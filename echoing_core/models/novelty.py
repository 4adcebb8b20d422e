"""How far a window lies from the windows of training, in the features of the trunk.

sigma^2 was learnt from what can go wrong with the ECGs of the training set. What is unlike all
of them (a test signal, a rhythm or a species that was never seen) may get any sigma^2; this
distance says when.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_AXES = 48

_QUANTILE = 0.99


class Novelty(nn.Module):
    """Mahalanobis distance within the main axes, and the remainder outside them.

    Parameters
    ----------
    n_features : int

    References
    ----------
    Lee et al., "A simple unified framework for detecting out-of-distribution samples and
    adversarial attacks", NeurIPS 2018 (one Gaussian for all classes here); the remainder as in
    Moghaddam and Pentland, IEEE TPAMI 19:696, 1997.
    """

    centre: Tensor
    axes: Tensor
    spread: Tensor
    remainder: Tensor
    limit: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        n_axes = min(N_AXES, n_features - 1)
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("axes", torch.eye(n_features)[:, :n_axes].clone())
        self.register_buffer("spread", torch.ones(n_axes))
        self.register_buffer("remainder", torch.ones(()))
        self.register_buffer("limit", torch.ones(()))

    def fit(self, features: Tensor) -> None:
        """Learn centre, axes and limit from training windows, shape (n, n_features), n > 1."""
        x = features.double()
        centre = x.mean(0)
        _, singular, rows = torch.linalg.svd(x - centre, full_matrices=False)
        n_axes = self.axes.shape[1]
        variance = singular.square() / (len(x) - 1)
        # A direction that training never left must not count as infinitely far.
        least = 1e-6 * variance.sum().clamp_min(1e-12)
        self.centre.copy_(centre)
        self.axes.copy_(rows[:n_axes].T)
        self.spread.copy_(variance[:n_axes].clamp_min(least).sqrt())
        self.remainder.copy_(variance[n_axes:].sum().clamp_min(least).sqrt())
        self.limit.fill_(1.0)
        self.limit.copy_(torch.quantile(self(features), _QUANTILE))

    def forward(self, features: Tensor) -> Tensor:
        """Distance over the one that 99 % of the training windows stay within, shape (n,)."""
        difference = features - self.centre
        inside = difference @ self.axes
        outside = difference - inside @ self.axes.T
        squared = (inside / self.spread).square().sum(1)
        squared = squared + (outside / self.remainder).square().sum(1) * self.axes.shape[1]
        return squared.sqrt() / self.limit
