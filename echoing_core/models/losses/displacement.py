"""How far may mu be from where it should be, and how much of a lead is lost: what sigma^2 learns.

A recording's mean should not depend on how badly it was recorded. So the distance between
the mean of a corrupted view and the mean of the clean view is the error that sigma^2 is to
predict, per dimension, by the Gaussian likelihood (Nix & Weigend 1994; Kendall & Gal 2017,
eq. 5). Both means enter without gradient: the space itself is not bent by this loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from echoing_core.models.variance_head import FLOOR

NOISE_SHARE = 0.1
"""Noise of this share of the lead's own power counts as half lost (10 dB)."""

POWER_FLOOR = 0.05
"""Least power of a lead (in units of its usual power) that noise is set against."""

_SMOOTH_CHUNKS = 5


def displacement_nll(squared: Tensor, log_var: Tensor) -> Tensor:
    """Mean over batch and dimensions of 1/2 [squared / sigma^2 + log sigma^2].

    Parameters
    ----------
    squared : Tensor, shape (n, dim)
        (mu_seen - mu_clean)^2 of the view at hand and its clean original; detached here.
    log_var : Tensor, shape (n, dim)
        Predicted for the view at hand.
    """
    target = squared.detach() + FLOOR
    return 0.5 * (target * torch.exp(-log_var) + log_var).mean()


def sum_nll(squared: Tensor, log_var: Tensor) -> Tensor:
    """Mean over the batch of m / S + log S, with m and S the sums of squares and of sigma^2.

    The likelihood of an exponential variable of mean S. Dimension by dimension the many narrow
    directions outvote the few wide ones that make up nearly all of the sum, and the sum is what
    is shown.
    """
    moved = squared.detach().sum(1) + squared.shape[1] * FLOOR
    total = torch.exp(log_var).sum(1)
    return (moved / total + torch.log(total)).mean()


def lost_share(clean: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor], chunk_n: int) -> Tensor:
    """How much of what the heart wrote in each lead and chunk is lost in the view.

    Noise power over (noise power + `NOISE_SHARE` of the lead's own power), the noise being the
    difference between view and original, averaged over about a second so that a flat lead is
    lost between its beats, too. Where the view is masked and the original is not, all is lost.

    Parameters
    ----------
    clean, seen : (scaled, valid), each of shape (n, 12, n_times)
    chunk_n : int
        Samples of a chunk.

    Returns
    -------
    Tensor, shape (n, 12, n_times // chunk_n), 0..1
    """
    (signal, measured), (view, visible) = clean, seen
    n, n_leads, n_times = signal.shape
    chunks = (n, n_leads, n_times // chunk_n, chunk_n)
    noise = ((view - signal) * visible * measured).square().reshape(chunks).mean(-1)
    reach = _SMOOTH_CHUNKS // 2
    noise = functional.avg_pool1d(
        functional.pad(noise, (reach, reach), mode="replicate"), _SMOOTH_CHUNKS, 1
    )
    power = signal.square().sum(-1) / measured.sum(-1).clamp_min(1.0)
    noisy = noise / (noise + NOISE_SHARE * power.clamp_min(POWER_FLOOR)[..., None])
    hidden = (measured * (1.0 - visible)).reshape(chunks).mean(-1)
    return torch.maximum(noisy, hidden)
