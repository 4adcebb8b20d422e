"""The compact ECG encoder: exactly shareable between overlapping windows.

Everything before pooling is local: valid convolutions, channel-wise affine normalisation
(BatchNorm in evaluation), no padding. The strides multiply to `HOP` = 20 samples, so a window
that starts on a multiple of 0.2 s sees the same feature frames whether it is embedded alone
or cut out of one pass over a whole recording. Pooling is a weighted sum over the window's
own frames.

The mean reads deep features. The variance has a network of its own that looks at every lead by
itself, because deep features have thrown away much of what tells noise from heart
(`variance_head`). What it reads of the trunk it reads with the gradient stopped, so that
learning to be unsure never bends the space: a head that could would shrink its own target by
moving mu.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.models.config import EcgEncoderConfig
from echoing_core.models.gaussian_head import MeanHead
from echoing_core.models.novelty import Novelty
from echoing_core.models.variance_head import (
    HOP,
    N_LEADS,
    LeadwiseVariance,
    VarianceParts,
    lead_statistics,
)

WINDOW_N = 1000
"""Samples of one window."""

N_CHUNKS = WINDOW_N // HOP
"""Chunks of 0.2 s in a window, on which sigma^2 is told apart in time."""


@dataclass(frozen=True)
class FrameMaps:
    """Local features of a stretch of signal, all on the same 20-sample raster.

    Attributes
    ----------
    early : Tensor, shape (batch, mid_width, n_early)
    deep : Tensor, shape (batch, width, n_deep)
    leads : Tensor, shape (batch, 12 * variance_width, n_lead_frames)
        Features of each lead by itself.
    statistics : Tensor, shape (batch, 12 * STATISTICS_PER_LEAD, n_chunks)
        Per lead and chunk, see `lead_statistics`.
    """

    early: Tensor
    deep: Tensor
    leads: Tensor
    statistics: Tensor

    def unfold(self, firsts: Tensor, frames: tuple[int, int, int, int]) -> FrameMaps:
        """Windows that start at ``firsts`` hops of a single stretch, as one batch.

        Parameters
        ----------
        firsts : Tensor of int64, shape (n_windows,)
        frames : (n_early, n_deep, n_lead_frames, n_chunks)
            Frames of one window on each map.
        """

        def gather(frame_map: Tensor, n_frames: int) -> Tensor:
            columns = firsts[:, None] + torch.arange(n_frames)[None, :]
            return frame_map[0][:, columns].transpose(0, 1)

        return FrameMaps(
            gather(self.early, frames[0]),
            gather(self.deep, frames[1]),
            gather(self.leads, frames[2]),
            gather(self.statistics, frames[3]),
        )


class ResidualBlock(nn.Module):
    """Two valid convolutions and a shortcut cropped to their output."""

    def __init__(self, width: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, kernel, dilation=dilation, bias=False)
        self.norm1 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, kernel, dilation=dilation, bias=False)
        self.norm2 = nn.BatchNorm1d(width)
        self.crop = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + x[..., self.crop : x.shape[-1] - self.crop])


class ConvNorm(nn.Module):
    """Strided valid convolution, normalisation, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride=stride, bias=False)
        self.norm = nn.BatchNorm1d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


class CompactEcgEncoder(nn.Module):
    """12 leads at 100 Hz -> Gaussian in the shared space.

    Parameters
    ----------
    config : EcgEncoderConfig
    dim : int
        Dimension of the shared space.
    """

    def __init__(self, config: EcgEncoderConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(2 * N_LEADS, config.stem_width, kernel=9, stride=2)
        self.stage1 = ResidualBlock(config.stem_width, kernel=3)
        self.down1 = ConvNorm(config.stem_width, config.mid_width, kernel=5, stride=2)
        self.stage2 = ResidualBlock(config.mid_width, kernel=3)
        self.down2 = ConvNorm(config.mid_width, config.width, kernel=5, stride=5)
        n_plain = config.n_blocks - config.dilated_blocks
        self.stage3 = nn.Sequential(
            *(ResidualBlock(config.width, kernel=3) for _ in range(n_plain)),
            *(
                ResidualBlock(config.width, kernel=3, dilation=2)
                for _ in range(n_plain, config.n_blocks)
            ),
        )
        self.mean_head = MeanHead(config.width, dim, config.n_pool_heads, config.dropout)
        n_trunk = 2 * config.mid_width + 2 * config.width
        self.novelty = Novelty(n_trunk)
        self.variance_head = LeadwiseVariance(
            n_features=n_trunk,
            width=config.variance_width,
            hidden=config.variance_hidden,
            dim=dim,
        )
        early_samples = 9 + 2 * 4 + 2 * 4 + 4 * 4
        self.receptive_field = (
            early_samples + 4 * 4 + 4 * HOP * (n_plain + 2 * config.dilated_blocks)
        )
        # The early map is averaged over five steps of 4 samples to reach the common raster.
        self._early_field = early_samples + 4 * 4
        self.window_frames = self.frames_of(WINDOW_N)

    def frames_of(self, n_times: int) -> tuple[int, int, int, int]:
        """Frames that ``n_times`` samples give on the early, deep, lead and statistics maps."""
        return (
            (n_times - self._early_field) // HOP + 1,
            (n_times - self.receptive_field) // HOP + 1,
            (n_times - self.variance_head.frames.receptive_field) // HOP + 1,
            n_times // HOP,
        )

    def frame_maps(self, scaled: Tensor, valid: Tensor) -> FrameMaps:
        """Local features of signals of any length.

        Parameters
        ----------
        scaled : Tensor, shape (batch, 12, n_times)
            Signal at 100 Hz divided by the checkpoint's per-lead scale, 0 where not valid.
        valid : Tensor of the same shape
            1 where measured or derived, 0 in gaps and missing leads.
        """
        early, deep = self._trunk(scaled, valid)
        return FrameMaps(
            early=functional.avg_pool1d(early, 5, stride=5),
            deep=deep,
            leads=self.variance_head.frames(scaled, valid),
            statistics=lead_statistics(scaled, valid),
        )

    def mean(self, scaled: Tensor, valid: Tensor) -> Tensor:
        """mu alone, shape (batch, dim), of one window each, without the work for sigma^2."""
        _, deep = self._trunk(scaled, valid)
        mu: Tensor = self.mean_head(deep)
        return mu

    def _trunk(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        limit = self.config.clip_scaled
        # A smooth clip: a rail at 50 mV must be visible as extreme without ruling the trunk.
        clipped = limit * torch.tanh(scaled / limit)
        x = self.stem(torch.cat([clipped, valid], dim=1))
        early = self.stage2(self.down1(self.stage1(x)))
        return early, self.stage3(self.down2(early))

    def mean_from(self, maps: FrameMaps) -> Tensor:
        """Unit-norm mu of windows given by their frames, shape (batch, dim)."""
        mu: Tensor = self.mean_head(maps.deep)
        return mu

    def variance_from(self, maps: FrameMaps) -> VarianceParts:
        """sigma^2 of windows given by their frames, and the leads and chunks it comes from."""
        parts: VarianceParts = self.variance_head(maps.leads, maps.statistics, self.trunk_of(maps))
        return parts

    def trunk_of(self, maps: FrameMaps) -> Tensor:
        """Means and spreads of the trunk's features over a window, without gradient."""
        early, deep = maps.early.detach(), maps.deep.detach()
        pooled = [early.mean(-1), early.std(-1, correction=0)]
        return torch.cat([*pooled, deep.mean(-1), deep.std(-1, correction=0)], dim=1)

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """One window each: (mu, log_var), both of shape (batch, dim)."""
        maps = self.frame_maps(scaled, valid)
        return self.mean_from(maps), self.variance_from(maps).log_var
