"""The compact ECG encoder: exactly shareable between overlapping windows.

Everything before pooling is local: valid convolutions, channel-wise affine normalisation
(BatchNorm in evaluation), no padding. The strides multiply to `HOP` = 20 samples, so a window
that starts on a multiple of 0.2 s sees the same feature frames whether it is embedded alone
or cut out of one pass over a whole recording. Pooling is a weighted sum over the window's
own frames.

The mean reads deep features. A sigma^2 that is learnt from displacement has a network of its own
that looks at every lead by itself, because deep features have thrown away much of what tells noise
from heart (`variance_head`). What it reads of the trunk it reads with the gradient stopped, so that
learning to be unsure never bends the space: a head that could would shrink its own target by
moving mu. A sigma^2 that is learnt by matching is a second head on the trunk that mu is read from,
and bends the trunk as the loss wants it (`MatchingVariance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.models.config import BOTH, DISPLACEMENT, MATCHING, EcgEncoderConfig
from echoing_core.models.variance_head import (
    HOP,
    N_LEADS,
    LeadFrames,
    LeadwiseVariance,
    VarianceTerms,
    lead_statistics,
)

N_NOVELTY_AXES = 48
"""Main directions of the training windows in the trunk's features (`Novelty`)."""

_NOVELTY_QUANTILE = 0.99

WINDOW_N = 1000
"""Samples of one window."""

N_CHUNKS = WINDOW_N // HOP
"""Chunks of 0.2 s in a window, on which sigma^2 is told apart in time."""

LOG_VAR_RANGE = (-14.0, 0.0)
"""Limits of log sigma^2: below, exp() carries no information; above, one dimension alone
would be wider than the unit sphere."""


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

        Returns
        -------
        FrameMaps
            With the windows as batch.
        """

        def gather(frame_map: Tensor, n_frames: int) -> Tensor:
            # (n_windows, n_frames): the frames of each window in the stretch's own raster.
            columns = firsts[:, None] + torch.arange(n_frames, device=firsts.device)[None, :]
            return frame_map[0][:, columns].transpose(0, 1)

        return FrameMaps(
            gather(self.early, frames[0]),
            gather(self.deep, frames[1]),
            gather(self.leads, frames[2]),
            gather(self.statistics, frames[3]),
        )


class ResidualBlock(nn.Module):
    """Two valid convolutions and a shortcut cropped to their output.

    Parameters
    ----------
    width : int
        Channels in and out.
    kernel, dilation : int
    """

    def __init__(self, width: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, kernel, dilation=dilation, bias=False)
        self.norm1 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, kernel, dilation=dilation, bias=False)
        self.norm2 = nn.BatchNorm1d(width)
        self.crop = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        """Residual block without padding.

        Parameters
        ----------
        x : Tensor, shape (batch, width, n_times)

        Returns
        -------
        Tensor, shape (batch, width, n_times - 2 * crop)
        """
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + x[..., self.crop : x.shape[-1] - self.crop])


class ConvNorm(nn.Module):
    """Strided valid convolution, normalisation, ReLU.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernel, stride : int
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride=stride, bias=False)
        self.norm = nn.BatchNorm1d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve at the lower rate.

        Parameters
        ----------
        x : Tensor, shape (batch, n_in, n_times)

        Returns
        -------
        Tensor, shape (batch, n_out, fewer)
            Valid convolution: no padding at either end.
        """
        return functional.relu(self.norm(self.conv(x)))


class MeanHead(nn.Module):
    """Attention-weighted sums over frames, then a small network onto the unit sphere.

    Every pooling head weighs the frames for its own slice of the channels; the plain mean and
    the spread over frames stand beside it (the spread carries rhythm irregularity).

    Parameters
    ----------
    width : int
        Channels of the frames; a multiple of ``n_heads``.
    dim : int
        Of the shared space.
    n_heads : int
    dropout : float
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
        """Means of windows from their frames.

        Parameters
        ----------
        frames : Tensor, shape (batch, width, n_frames)

        Returns
        -------
        Tensor, shape (batch, dim)
            Of unit norm.
        """
        batch, width, n_frames = frames.shape
        weights = torch.softmax(self.score(frames), dim=-1)
        # (batch, n_heads, width / n_heads, n_frames): each head has its own channels.
        sliced = frames.reshape(batch, self.n_heads, width // self.n_heads, n_frames)
        attended = (sliced * weights[:, :, None, :]).sum(-1).reshape(batch, width)
        mean = frames.mean(-1)
        # The small number keeps the root's gradient finite where frames do not vary.
        spread = (frames - mean[..., None]).square().mean(-1).add(1e-6).sqrt()
        pooled = self.drop(self.norm(torch.cat([attended, mean, spread], dim=1)))
        return functional.normalize(self.out(functional.gelu(self.hidden(pooled))), dim=-1)


class MatchingVariance(nn.Module):
    """log sigma^2 from the trunk's pooled features, learnt by the matching loss together with mu.

    Parameters
    ----------
    n_features, hidden, dim : int
    log_var_bias : float
        Where log sigma^2 starts, the same for every window.

    References
    ----------
    Chun, ICLR 2024 (PCME++), sec. 3.2: a head for sigma^2 beside that for mu on shared features.
    """

    def __init__(self, n_features: int, hidden: int, dim: int, log_var_bias: float) -> None:
        super().__init__()
        last = nn.Linear(hidden, dim)
        # Small weights: every window starts with nearly the same sigma^2.
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(last.bias, log_var_bias)
        self.layers = nn.Sequential(
            nn.LayerNorm(n_features), nn.Linear(n_features, hidden), nn.GELU(), last
        )

    def forward(self, features: Tensor) -> Tensor:
        """log sigma^2, shape (batch, dim).

        Parameters
        ----------
        features : Tensor, shape (batch, n_features)

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        log_var: Tensor = self.layers(features).clamp(*LOG_VAR_RANGE)
        return log_var


class Novelty(nn.Module):
    """How far a window lies from the windows of training, in the features of the trunk.

    sigma^2 was learnt from what can go wrong with the ECGs of the training set. What is unlike
    all of them (a test signal, a rhythm or a species that was never seen) may get any sigma^2;
    this distance says when. It is a Mahalanobis distance within the main axes, and the remainder
    outside them.

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
        n_axes = min(N_NOVELTY_AXES, n_features - 1)
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("axes", torch.eye(n_features)[:, :n_axes].clone())
        self.register_buffer("spread", torch.ones(n_axes))
        self.register_buffer("remainder", torch.ones(()))
        self.register_buffer("limit", torch.ones(()))

    def fit(self, features: Tensor) -> None:
        """Learn centre, axes and limit from training windows, shape (n, n_features), n > 1.

        Parameters
        ----------
        features : Tensor, shape (n, n_features)
        """
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
        self.limit.copy_(torch.quantile(self(features), _NOVELTY_QUANTILE))

    def forward(self, features: Tensor) -> Tensor:
        """Distance over the one that 99 % of the training windows stay within, shape (n,).

        Parameters
        ----------
        features : Tensor, shape (n, n_features)

        Returns
        -------
        Tensor, shape (n,)
            Above 1 for one training window in a hundred.
        """
        difference = features - self.centre
        inside = difference @ self.axes
        outside = difference - inside @ self.axes.T
        squared = (inside / self.spread).square().sum(1)
        # The remainder counts as much as all main axes together.
        squared = squared + (outside / self.remainder).square().sum(1) * self.axes.shape[1]
        return squared.sqrt() / self.limit


class CompactEcgEncoder(nn.Module):
    """12 leads at 100 Hz -> Gaussian in the shared space.

    Parameters
    ----------
    config : EcgEncoderConfig
    dim : int
        Dimension of the shared space.
    sigma2_kinds : tuple of str
        As `ModelConfig.sigma2_kinds`. The first is what `forward` gives until another is chosen
        by setting ``sigma2``.
    log_var_bias : float
        Start of a sigma^2 that is learnt by matching.
    """

    variance_head: LeadwiseVariance | None
    matching_head: MatchingVariance | None

    def __init__(
        self,
        config: EcgEncoderConfig,
        dim: int,
        sigma2_kinds: tuple[str, ...] = (DISPLACEMENT,),
        log_var_bias: float = -7.0,
    ) -> None:
        super().__init__()
        self.config, self.dim = config, dim
        self.sigma2_kinds, self.sigma2 = sigma2_kinds, sigma2_kinds[0]
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
        self.variance_head = self.matching_head = None
        if DISPLACEMENT in sigma2_kinds:
            self.variance_head = LeadwiseVariance(
                n_features=n_trunk,
                width=config.variance_width,
                hidden=config.variance_hidden,
                dim=dim,
            )
        if MATCHING in sigma2_kinds:
            self.matching_head = MatchingVariance(
                n_trunk, config.variance_hidden, dim, log_var_bias
            )
        # Samples that one frame of the second stage sees: kernels times the strides before them.
        early_samples = 9 + 2 * 4 + 2 * 4 + 4 * 4
        self.receptive_field = (
            early_samples + 4 * 4 + 4 * HOP * (n_plain + 2 * config.dilated_blocks)
        )
        # The early map is averaged over five steps of 4 samples to reach the common raster.
        self._early_field = early_samples + 4 * 4
        self.window_frames = self.frames_of(WINDOW_N)

    def frames_of(self, n_times: int) -> tuple[int, int, int, int]:
        """Frames that ``n_times`` samples give on the early, deep, lead and statistics maps.

        Parameters
        ----------
        n_times : int
            Samples at 100 Hz.

        Returns
        -------
        n_early, n_deep, n_lead_frames, n_chunks : int
        """
        return (
            (n_times - self._early_field) // HOP + 1,
            (n_times - self.receptive_field) // HOP + 1,
            (n_times - LeadFrames.receptive_field) // HOP + 1,
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

        Returns
        -------
        FrameMaps
        """
        early, deep = self._trunk(scaled, valid)
        if self.variance_head is None:
            # Nothing reads them: maps without channels.
            leads = statistics = scaled.new_zeros(len(scaled), 0, scaled.shape[-1] // HOP)
        else:
            leads = self.variance_head.frames(scaled, valid)
            statistics = lead_statistics(scaled, valid)
        return FrameMaps(
            early=functional.avg_pool1d(early, 5, stride=5),
            deep=deep,
            leads=leads,
            statistics=statistics,
        )

    def mean(self, scaled: Tensor, valid: Tensor) -> Tensor:
        """mu alone, shape (batch, dim), of one window each, without the work for sigma^2.

        Parameters
        ----------
        scaled, valid : Tensor, shape (batch, 12, n_times)
            As in `frame_maps`.

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        _, deep = self._trunk(scaled, valid)
        mu: Tensor = self.mean_head(deep)
        return mu

    def _trunk(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        limit = self.config.clip_scaled
        # A smooth clip: a rail at 50 mV must be visible as extreme without ruling the trunk.
        clipped = limit * torch.tanh(scaled / limit)
        # 24 channels: 12 leads, and for each where it is real.
        x = self.stem(torch.cat([clipped, valid], dim=1))
        early = self.stage2(self.down1(self.stage1(x)))
        return early, self.stage3(self.down2(early))

    def mean_from(self, maps: FrameMaps) -> Tensor:
        """Unit-norm mu of windows given by their frames, shape (batch, dim).

        Parameters
        ----------
        maps : FrameMaps
            Of windows of `WINDOW_N` samples.

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        mu: Tensor = self.mean_head(maps.deep)
        return mu

    def variance_from(self, maps: FrameMaps) -> VarianceTerms:
        """The sigma^2 learnt from displacement, and the leads and chunks it comes from.

        Parameters
        ----------
        maps : FrameMaps
            Of windows of `WINDOW_N` samples.

        Returns
        -------
        VarianceTerms

        Raises
        ------
        ConfigError
            The model has no such sigma^2.
        """
        head = self.displacement_head
        # Without gradient: the space must not move to please its own error.
        terms: VarianceTerms = head(maps.leads, maps.statistics, self.trunk_of(maps).detach())
        return terms

    @property
    def displacement_head(self) -> LeadwiseVariance:
        """The head of the sigma^2 learnt from displacement.

        Raises
        ------
        ConfigError
            The model has no such sigma^2.
        """
        if self.variance_head is None:
            raise ConfigError(
                "This model has no sigma^2 that is learnt from displacement. Train one with "
                f"model.sigma2 = {DISPLACEMENT} or {BOTH}."
            )
        return self.variance_head

    def log_var_from(self, maps: FrameMaps) -> Tensor:
        """log sigma^2 of the kind that is read (``sigma2``), shape (batch, dim).

        Parameters
        ----------
        maps : FrameMaps

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        if self.sigma2 == DISPLACEMENT:
            return self.variance_from(maps).log_var
        assert self.matching_head is not None
        log_var: Tensor = self.matching_head(self.trunk_of(maps))
        return log_var

    def trunk_of(self, maps: FrameMaps) -> Tensor:
        """Means and spreads of the trunk's features over a window.

        Parameters
        ----------
        maps : FrameMaps

        Returns
        -------
        Tensor, shape (batch, 2 * mid_width + 2 * width)
        """
        features = []
        for frames in (maps.early, maps.deep):
            mean = frames.mean(-1)
            # `std` has no gradient where frames do not vary, so the root is kept from 0 for one.
            spread = (
                (frames - mean[..., None]).square().mean(-1).add(1e-12).sqrt()
                if frames.requires_grad
                else frames.std(-1, correction=0)
            )
            features += [mean, spread]
        return torch.cat(features, dim=1)

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """One window each: (mu, log_var), both of shape (batch, dim).

        Parameters
        ----------
        scaled, valid : Tensor, shape (batch, 12, 1000)
            As in `frame_maps`.

        Returns
        -------
        mu, log_var : Tensor, shape (batch, dim)
        """
        maps = self.frame_maps(scaled, valid)
        return self.mean_from(maps), self.log_var_from(maps)
