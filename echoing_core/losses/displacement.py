"""How far may mu be from where it should be: the likelihood that teaches sigma^2.

A recording's mean should not depend on how badly it was recorded. So the distance between
the mean of a corrupted view and the mean of the clean view is the error that sigma^2 is to
predict, per dimension, by the Gaussian likelihood (Nix & Weigend 1994; Kendall & Gal 2017,
eq. 5). Both means enter without gradient: the space itself is not bent by this loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-6
"""Squared displacement per dimension that counts as none: 256 of them are a summed variance
of 2.6e-4, below anything seen on a clean recording."""


def displacement_nll(mu_seen: Tensor, mu_clean: Tensor, log_var: Tensor) -> Tensor:
    """Mean over batch and dimensions of 1/2 [(mu_seen - mu_clean)^2 / sigma^2 + log sigma^2].

    Parameters
    ----------
    mu_seen, mu_clean : Tensor, shape (n, dim)
        Means of the view at hand and of its clean original; detached here.
    log_var : Tensor, shape (n, dim)
        Predicted for the view at hand.
    """
    squared = (mu_seen.detach() - mu_clean.detach()).square() + FLOOR
    return 0.5 * (squared * torch.exp(-log_var) + log_var).mean()
