"""Generalised pooling: how much the largest, the second largest... value of a sequence counts.

Every channel is sorted by itself, and the k-th largest value of all channels gets the same weight.
The weights come from a small recurrent network that is given nothing but positions, so they depend
on the length alone: for ECG windows, which are all equally long, they are constants.

References
----------
Chen et al., "Learning the best pooling strategy for visual semantic embedding", CVPR 2021, sec. 4
(GPO).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

_MASKED = -10000.0
_TEMPERATURE = 0.1


class GeneralisedPooling(nn.Module):
    """Features (batch, n, channels) -> (batch, channels).

    Parameters
    ----------
    width : int
        Of the position encoding and of the recurrent network's state.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(width, 1, bias=False)

    def weights(self, lengths: Tensor) -> Tensor:
        """Weights of the sorted positions, shape (batch, longest); 0 beyond a row's length.

        Parameters
        ----------
        lengths : Tensor of int64, shape (batch,), >= 1
        """
        different, row = torch.unique(lengths, return_inverse=True)
        longest = int(different[-1])
        positions = position_encoding(longest, self.width).to(self.linear.weight)
        packed = pack_padded_sequence(
            positions.expand(len(different), -1, -1),
            different.cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        both, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        scores = self.linear((both[..., : self.width] + both[..., self.width :]) / 2)[..., 0]
        beyond = torch.arange(longest, device=lengths.device) >= different[:, None]
        scores = scores.float().masked_fill(beyond, _MASKED)
        return torch.softmax(scores / _TEMPERATURE, dim=1)[row]

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """
        Parameters
        ----------
        features : Tensor, shape (batch, n, channels)
        mask : Tensor, shape (batch, n), optional
            1 where there is a real item; every row needs at least one. Without it all are real.
        """
        n = features.shape[1]
        if mask is None:
            weights = self.weights(torch.full((1,), n, device=features.device))
            ranked = features.sort(dim=1, descending=True).values
            return (ranked * weights.to(features.dtype)[..., None]).sum(1)
        real = mask.bool()
        lengths = real.sum(1)
        weights = self.weights(lengths)
        ranked = features.masked_fill(~real[..., None], _MASKED).sort(dim=1, descending=True).values
        # Masked items were sorted to the end; their weight is 0, and 0 times -10000 must be 0 too.
        ranked = ranked[:, : weights.shape[1]]
        beyond = torch.arange(ranked.shape[1], device=mask.device) >= lengths[:, None]
        ranked = ranked.masked_fill(beyond[..., None], 0.0)
        return (ranked * weights.to(features.dtype)[..., None]).sum(1)


def position_encoding(length: int, width: int) -> Tensor:
    """Sines (even columns) and cosines (odd) of positions, base 10000, shape (length, width)."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1e4) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


def to_unit(x: Tensor) -> Tensor:
    """Rows on the unit sphere; 1e-8 is added to the norm, as in the published model."""
    unit: Tensor = x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + 1e-8)
    return unit
