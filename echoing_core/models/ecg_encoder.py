"""The compact ECG encoder: exactly shareable between overlapping windows.

Everything before pooling is local: valid convolutions, channel-wise affine normalisation
(BatchNorm in evaluation), no padding. The strides multiply to `HOP` = 20 samples, so a window
that starts on a multiple of 0.2 s sees the same feature frames whether it is embedded alone
or cut out of one pass over a whole recording. Pooling is a weighted sum over the window's
own frames.

The mean reads deep features. The variance reads early and deep features and per-lead
statistics of the signal, because deep features have thrown away much of what tells noise
from heart; it reads them with the gradient stopped, so that learning to be unsure never bends
the space: a head that could would shrink its own target by moving mu.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.config import EcgEncoderConfig
from echoing_core.models.gaussian_head import MeanHead, VarianceHead

N_LEADS = 12
HOP = 20
"""Samples (at 100 Hz) between two feature frames."""

WINDOW_N = 1000
"""Samples of one window."""

STATISTICS_PER_LEAD = 5


@dataclass(frozen=True)
class FrameMaps:
    """Local features of a stretch of signal, all on the same 20-sample raster.

    Attributes
    ----------
    early : Tensor, shape (batch, mid_width, n_early)
    deep : Tensor, shape (batch, width, n_deep)
    statistics : Tensor, shape (batch, 12 * STATISTICS_PER_LEAD, n_chunks)
        Per lead and chunk: power, mean absolute slope, peak, valid share, flatness.
    """

    early: Tensor
    deep: Tensor
    statistics: Tensor

    def unfold(self, firsts: Tensor, frames: tuple[int, int, int]) -> FrameMaps:
        """Windows that start at ``firsts`` hops of a single stretch, as one batch.

        Parameters
        ----------
        firsts : Tensor of int64, shape (n_windows,)
        frames : (n_early, n_deep, n_chunks)
            Frames of one window on each map.
        """

        def gather(frame_map: Tensor, n_frames: int) -> Tensor:
            columns = firsts[:, None] + torch.arange(n_frames)[None, :]
            return frame_map[0][:, columns].transpose(0, 1)

        return FrameMaps(
            gather(self.early, frames[0]),
            gather(self.deep, frames[1]),
            gather(self.statistics, frames[2]),
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
    log_var_bias : float
        Start of the log-variance output. With 0 the summed variance would start at ``dim``
        and drown the distance between means.
    """

    def __init__(self, config: EcgEncoderConfig, dim: int, log_var_bias: float) -> None:
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
        self.variance_head = VarianceHead(
            n_features=2 * config.mid_width + 2 * config.width + 2 * N_LEADS * STATISTICS_PER_LEAD,
            hidden=config.variance_hidden,
            dim=dim,
            log_var_bias=log_var_bias,
        )
        early_samples = 9 + 2 * 4 + 2 * 4 + 4 * 4
        self.receptive_field = (
            early_samples + 4 * 4 + 4 * HOP * (n_plain + 2 * config.dilated_blocks)
        )
        # The early map is averaged over five steps of 4 samples to reach the common raster.
        self._early_field = early_samples + 4 * 4
        self.window_frames = self.frames_of(WINDOW_N)

    def frames_of(self, n_times: int) -> tuple[int, int, int]:
        """Frames that ``n_times`` samples give on the early, deep and statistics maps."""
        return (
            (n_times - self._early_field) // HOP + 1,
            (n_times - self.receptive_field) // HOP + 1,
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
        limit = self.config.clip_scaled
        # A smooth clip: a rail at 50 mV must be visible as extreme without ruling the trunk.
        clipped = limit * torch.tanh(scaled / limit)
        x = self.stem(torch.cat([clipped, valid], dim=1))
        early = self.stage2(self.down1(self.stage1(x)))
        deep = self.stage3(self.down2(early))
        return FrameMaps(
            early=functional.avg_pool1d(early, 5, stride=5),
            deep=deep,
            statistics=lead_statistics(scaled, valid),
        )

    def mean_from(self, maps: FrameMaps) -> Tensor:
        """Unit-norm mu of windows given by their frames, shape (batch, dim)."""
        mu: Tensor = self.mean_head(maps.deep)
        return mu

    def log_var_from(self, maps: FrameMaps) -> Tensor:
        """log sigma^2 of windows given by their frames, shape (batch, dim)."""
        early, deep = maps.early.detach(), maps.deep.detach()
        statistics = torch.log(maps.statistics + 1e-4)
        features = torch.cat(
            [
                early.mean(-1),
                early.std(-1, correction=0),
                deep.mean(-1),
                deep.std(-1, correction=0),
                statistics.mean(-1),
                statistics.amax(-1),
            ],
            dim=1,
        )
        log_var: Tensor = self.variance_head(features)
        return log_var

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """One window each: (mu, log_var), both of shape (batch, dim)."""
        maps = self.frame_maps(scaled, valid)
        return self.mean_from(maps), self.log_var_from(maps)


def lead_statistics(scaled: Tensor, valid: Tensor) -> Tensor:
    """Power, slope, peak, valid share and flatness per lead in chunks of `HOP` samples.

    Slopes are taken inside a chunk only, so that a chunk never depends on its neighbours.

    Returns
    -------
    Tensor, shape (batch, 12 * STATISTICS_PER_LEAD, n_times // HOP), all >= 0
    """
    n_chunks = scaled.shape[-1] // HOP
    shape = (*scaled.shape[:2], n_chunks, HOP)
    x = scaled[..., : n_chunks * HOP].reshape(shape)
    weight = valid[..., : n_chunks * HOP].reshape(shape)
    slope = (x[..., 1:] - x[..., :-1]).abs()
    statistics = torch.stack(
        [
            x.square().mean(-1),
            slope.mean(-1),
            x.abs().amax(-1),
            weight.mean(-1),
            (slope < 1e-3).to(x.dtype).mean(-1),
        ],
        dim=2,
    )
    return statistics.flatten(1, 2)
