"""From pooled features to a unit-norm mean; the limits of a log-variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LOG_VAR_RANGE = (-14.0, 0.0)
"""Limits of log sigma^2: below, exp() carries no information; above, one dimension alone
would be wider than the unit sphere."""


class MeanHead(nn.Module):
    """Attention-weighted sums over frames, then a small network onto the unit sphere.

    Every pooling head weighs the frames for its own slice of the channels; the plain mean and
    the spread over frames stand beside it (the spread carries rhythm irregularity).
    """

    def __init__(self, width: int, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.score = nn.Conv1d(width, n_heads, 1)
        self.norm = nn.LayerNorm(3 * width)
        self.drop = nn.Dropout(dropout)
        self.hidden = nn.Linear(3 * width, 2 * dim)
        self.out = nn.Linear(2 * dim, dim)

    def forward(self, frames: Tensor) -> Tensor:
        batch, width, n_frames = frames.shape
        weights = torch.softmax(self.score(frames), dim=-1)
        sliced = frames.reshape(batch, self.n_heads, width // self.n_heads, n_frames)
        attended = (sliced * weights[:, :, None, :]).sum(-1).reshape(batch, width)
        mean = frames.mean(-1)
        spread = (frames - mean[..., None]).square().mean(-1).add(1e-6).sqrt()
        pooled = self.drop(self.norm(torch.cat([attended, mean, spread], dim=1)))
        return functional.normalize(self.out(functional.gelu(self.hidden(pooled))), dim=-1)
