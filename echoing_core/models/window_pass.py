"""The compact encoder over many windows that overlap: `CompactEcgEncoder`'s numbers, sooner.

What a frame says by itself is computed once, however many windows see it: the trunk, the features
of each lead, their first normalisation and linear layers. What is left for each window is worked
on in portions that stay in the processor's cache. Frames lie one after the other in memory with all
their channels (time, lead, feature), so that a window is a view and nothing is gathered or turned.
BatchNorm, frozen after training, is folded into the convolution before it.

For inference alone: no gradient, no dropout. Equal to the modules up to rounding (1e-5), which a
test holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.models.config import DISPLACEMENT
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.variance_head import (
    FLOOR,
    N_LEADS,
    LeadwiseVariance,
    Look,
    lead_statistics,
)

_LOOKED_AT_ONCE = {"cpu": 32, "cuda": 1024}
"""Windows whose leads and chunks are worked on together: on a processor 2 MB for each step of it,
which stay in its cache."""

_LOOK_REACH = 2
"""Neighbours on either side that a look sees."""


@dataclass(frozen=True)
class Frames:
    """What frames say by themselves, of one stretch or of windows side by side.

    Attributes
    ----------
    early : Tensor, shape (batch, n_early, mid_width)
    deep : Tensor, shape (batch, n_deep, width)
    scores : Tensor, shape (batch, n_deep, n_pool_heads)
        Weights of the pooling before their softmax.
    leads, normed, mixed : Tensor, shape (batch, n_lead_frames, 12 * variance_width), or None
        Features of each lead; the same normalised for the first look; what that look makes of them
        without regard to the window.
    last_leads, last_normed, last_mixed : Tensor, the same shape, or None
        The same for the chunk behind a frame, where a window ends with it (`look`).
    """

    early: Tensor
    deep: Tensor
    scores: Tensor
    leads: Tensor | None = None
    normed: Tensor | None = None
    mixed: Tensor | None = None
    last_leads: Tensor | None = None
    last_normed: Tensor | None = None
    last_mixed: Tensor | None = None


@dataclass(frozen=True)
class WindowValues:
    """Windows as Gaussians with the terms of sigma^2.

    Attributes
    ----------
    mu, log_var : Tensor, shape (n, dim)
    novelty : Tensor, shape (n,)
    other : Tensor, shape (n,), or None
        Sum of the model's other sigma^2.
    cells, lost : Tensor, shape (n, 12, n_chunks), or None
    """

    mu: Tensor
    log_var: Tensor
    novelty: Tensor
    other: Tensor | None
    cells: Tensor | None
    lost: Tensor | None


@dataclass(frozen=True)
class _Conv:
    """A convolution over time with its normalisation folded in, for channels that lie together."""

    weight: Tensor
    bias: Tensor
    stride: int
    dilation: int

    @classmethod
    def of(cls, conv: nn.Conv1d, norm: nn.BatchNorm1d) -> _Conv:
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = norm.bias - norm.running_mean * scale
        if conv.bias is not None:
            bias = bias + conv.bias * scale
        weight = (conv.weight * scale[:, None, None])[:, :, None]
        together = weight.contiguous(memory_format=torch.channels_last)
        return cls(together, bias, conv.stride[0], conv.dilation[0])

    def __call__(self, x: Tensor) -> Tensor:
        return functional.conv2d(
            x, self.weight, self.bias, stride=(1, self.stride), dilation=(1, self.dilation)
        )


def _together(x: Tensor) -> Tensor:
    """(batch, time, channels) as a picture of one line whose channels lie together."""
    return x.unsqueeze(1).permute(0, 3, 1, 2)


def _in_time(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).squeeze(1)


class WindowPass:
    """A compact encoder, prepared for many windows.

    Parameters
    ----------
    encoder : CompactEcgEncoder
        In evaluation mode. Its weights of this moment are taken.
    """

    def __init__(self, encoder: CompactEcgEncoder) -> None:
        self.encoder = encoder
        self._first = [_Conv.of(encoder.stem.conv, encoder.stem.norm)]
        self._stages = [
            self._block(encoder.stage1),
            [_Conv.of(encoder.down1.conv, encoder.down1.norm)],
            self._block(encoder.stage2),
            [_Conv.of(encoder.down2.conv, encoder.down2.norm)],
            *(self._block(block) for block in encoder.stage3),
        ]
        head = encoder.variance_head
        if head is not None:
            self._frames = [
                _Conv.of(head.frames.conv1, head.frames.norm1),
                _Conv.of(head.frames.conv2, head.frames.norm2),
            ]
            # Depthwise over time, the same for every lead.
            self._look_convs = [
                (
                    look.in_time.weight[:, :, :, None].repeat(N_LEADS, 1, 1, 1),
                    None if look.in_time.bias is None else look.in_time.bias.repeat(N_LEADS),
                )
                for look in _looks(head)
            ]

    @staticmethod
    def _block(block: nn.Module) -> list[_Conv]:
        return [_Conv.of(block.conv1, block.norm1), _Conv.of(block.conv2, block.norm2)]  # type: ignore[arg-type]

    def frames(self, scaled: Tensor, valid: Tensor) -> Frames:
        """What every frame says by itself.

        Parameters
        ----------
        scaled, valid : Tensor, shape (batch, 12, n_times)
            As in `CompactEcgEncoder.frame_maps`.

        Returns
        -------
        Frames
        """
        encoder = self.encoder
        limit = encoder.config.clip_scaled
        clipped = limit * torch.tanh(scaled / limit)
        both = torch.cat([clipped, valid], dim=1)
        x = self._first[0](both.unsqueeze(2).contiguous(memory_format=torch.channels_last)).relu_()
        early = x
        for i, stage in enumerate(self._stages):
            if len(stage) == 1:
                x = stage[0](x).relu_()
                continue
            y = stage[1](stage[0](x).relu_())
            crop = (x.shape[-1] - y.shape[-1]) // 2
            x = y.add_(x[..., crop : x.shape[-1] - crop]).relu_()
            if i == 2:
                early = x
        deep = _in_time(x).contiguous()
        score = encoder.mean_head.score
        scores = functional.linear(deep, score.weight[:, :, 0], score.bias)
        early = _in_time(early)
        n_early = early.shape[1] // 5
        # Five steps of 4 samples are a hop.
        pooled = _split(early[:, : 5 * n_early], 1, n_early).mean(2)
        head = encoder.variance_head
        if head is None:
            return Frames(pooled, deep, scores)
        soft = clipped if limit == 8.0 else 8.0 * torch.tanh(scaled / 8.0)
        leads = self._lead_frames(soft, scaled, valid)
        statistics = self._statistics(head, scaled, valid)
        n = leads.shape[1]
        plain = leads + statistics[:, :n]
        # A window's last chunk has no frame of its own; the one before stands for it. Behind the
        # last chunk of the stretch no window ends.
        last = leads[:, : statistics.shape[1] - 1] + statistics[:, 1 : n + 1]
        first = _looks(head)[0]
        normed, mixed = self._alone(first, plain)
        last_normed, last_mixed = self._alone(first, last)
        return Frames(pooled, deep, scores, plain, normed, mixed, last, last_normed, last_mixed)

    def _lead_frames(self, soft: Tensor, scaled: Tensor, valid: Tensor) -> Tensor:
        """Features of each lead by itself, shape (batch, n_frames, 12 * width)."""
        # asinh by its definition: PyTorch's own is ten times as slow. Both err by 1e-7.
        size = scaled.abs()
        wide = torch.log(size + torch.sqrt(size * size + 1.0)).copysign_(scaled)
        x = torch.stack([soft, wide, valid], dim=-1)
        batch = len(scaled)
        for conv in self._frames:
            x = _in_time(conv(_together(x.flatten(0, 1) if x.dim() == 4 else x)).relu_())
        return _split(x, 0, batch).transpose(1, 2).flatten(2)

    @staticmethod
    def _statistics(head: LeadwiseVariance, scaled: Tensor, valid: Tensor) -> Tensor:
        """What statistics of chunks add to features, shape (batch, n_chunks, 12 * width)."""
        plain = _split(lead_statistics(scaled, valid), 1, N_LEADS)
        # (batch, n_chunks, 12, width), with what belongs to the lead.
        added = head.statistics(plain.permute(0, 3, 1, 2).contiguous()) + head.lead
        flat: Tensor = added.flatten(2)
        return flat

    @staticmethod
    def _alone(look: Look, plain: Tensor) -> tuple[Tensor, Tensor]:
        x = _split(plain, 2, N_LEADS)
        a = look.norm1(x)
        mixed = look.own(a) + look.across_leads(a.mean(2, keepdim=True))
        return a.flatten(2), mixed.flatten(2)

    def windows(
        self, frames: Frames, firsts: Tensor | None, *, keep_cells: bool = False
    ) -> WindowValues:
        """Windows by the frames that they see.

        Parameters
        ----------
        frames : Frames
        firsts : Tensor of int64, shape (n_windows,), or None
            First hops of windows in a single stretch, on the processor wherever the frames are;
            None where each of a batch is a window.
        keep_cells : bool
            Whether ``lost`` is wanted.

        Returns
        -------
        WindowValues
        """
        encoder = self.encoder
        n_early, n_deep, n_lead_frames, _ = encoder.window_frames
        deep = _cut(frames.deep, firsts, n_deep)
        mean, variance = _moments(deep)
        early_mean, early_variance = _moments(_cut(frames.early, firsts, n_early))
        head = encoder.mean_head
        weights = torch.softmax(_cut(frames.scores, firsts, n_deep), dim=1)
        # Each head weighs its own channels: (n, frames, heads, width / heads).
        sliced = _split(deep, 2, head.n_heads)
        attended = (sliced * weights[..., None]).sum(1).flatten(1)
        pooled = head.norm(torch.cat([attended, mean, (variance + 1e-6).sqrt()], dim=1))
        mu = functional.normalize(head.out(functional.gelu(head.hidden(pooled))), dim=-1)
        trunk = torch.cat([early_mean, early_variance.sqrt(), mean, variance.sqrt()], dim=1)
        matching = None if encoder.matching_head is None else encoder.matching_head(trunk)
        cells = lost = log_var = None
        if encoder.variance_head is not None:
            n, at_once = len(trunk), _LOOKED_AT_ONCE[trunk.device.type]
            parts = [
                self._variance(
                    frames,
                    None if firsts is None else firsts[some],
                    some if firsts is None else slice(None),
                    n_lead_frames,
                    trunk[some],
                )
                for some in (slice(i, i + at_once) for i in range(0, n, at_once))
            ]
            log_var, cells, lost = (torch.cat(part) for part in zip(*parts, strict=True))
        other: Tensor | None = None
        if encoder.sigma2 != DISPLACEMENT or log_var is None:
            assert matching is not None
            other = None if log_var is None else log_var.exp().sum(1)
            log_var, cells, lost = matching, None, None
        elif matching is not None:
            other = matching.exp().sum(1)
        return WindowValues(
            mu, log_var, encoder.novelty(trunk), other, cells, lost if keep_cells else None
        )

    def _variance(
        self,
        frames: Frames,
        firsts: Tensor | None,
        batch: slice,
        n_frames: int,
        trunk: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log sigma^2, its cells and what is lost (`LeadwiseVariance`), lead and chunk apart."""
        head = self.encoder.variance_head
        assert head is not None
        end = n_frames - 1

        def cut(x: Tensor | None) -> Tensor:
            assert x is not None
            return _cut(x[batch], firsts, n_frames)

        def behind(x: Tensor | None) -> Tensor:
            assert x is not None
            return x[batch, end] if firsts is None else x[0][firsts + end]

        x0, normed = cut(frames.leads), cut(frames.normed)
        last_normed = behind(frames.last_normed)
        n, n_chunks = len(x0), n_frames + 1
        first, second = _looks(head)
        # Look 1: what it adds for the window, then what frames bring with them.
        total = (normed.sum(1) + last_normed) / n_chunks
        highest = torch.maximum(normed.amax(1), last_normed)
        of_window = self._of_window(first, total, highest)
        inside = slice(_LOOK_REACH, _LOOK_REACH + n_frames)
        x = x0.new_empty(n, n_chunks + 2 * _LOOK_REACH, x0.shape[2])
        torch.add(cut(frames.mixed), of_window[:, None], out=x[:, inside])
        torch.add(behind(frames.last_mixed), of_window, out=x[:, inside.stop])
        torch.ops.aten.gelu_(x[:, _LOOK_REACH:-_LOOK_REACH])
        x[:, inside] += x0
        x[:, inside.stop] += behind(frames.last_leads)
        x2 = self._beside(first, 0, x)
        # Look 2.
        a = second.norm1(_split(x2, 2, N_LEADS))
        mixed = second.own(a)
        mixed += second.across_leads(a.mean(2, keepdim=True))
        a = a.flatten(2)
        mixed = mixed.flatten(2)
        mixed += self._of_window(second, a.mean(1), a.amax(1))[:, None]
        torch.ops.aten.gelu_(mixed)
        torch.add(mixed, x2, out=x[:, _LOOK_REACH:-_LOOK_REACH])
        x4 = _split(self._beside(second, 1, x), 2, N_LEADS)
        lost = torch.sigmoid(head.lost(x4).squeeze(-1).transpose(1, 2))
        context = functional.gelu(head.trunk(head.trunk_norm(trunk).clamp(-6.0, 6.0)))
        summary = torch.cat(
            [lost.mean(2), lost.square().mean(2).sqrt(), x4.mean((1, 2)), context], dim=1
        )
        worth = functional.softplus(head.worth(summary) - 2.0)
        cells = head.scale * lost * worth[:, :, None] / n_chunks
        spread = torch.softmax(head.spread(summary), dim=1)
        log_var = torch.log(FLOOR + cells.sum((1, 2))[:, None] * spread)
        return log_var, cells, lost

    @staticmethod
    def _of_window(look: Look, mean: Tensor, highest: Tensor) -> Tensor:
        """What a look adds to every chunk of a lead for its whole window."""
        by_lead = look.lead_mean(_split(mean, 1, N_LEADS))
        by_lead = by_lead + look.lead_max(_split(highest, 1, N_LEADS))
        flat: Tensor = by_lead.flatten(1)
        return flat

    def _beside(self, look: Look, number: int, x: Tensor) -> Tensor:
        """A look's second half, which sets chunks beside their neighbours in time.

        ``x`` holds two places more at either end, which are filled with the outermost chunk.
        """
        x[:, :_LOOK_REACH] = x[:, _LOOK_REACH : _LOOK_REACH + 1]
        x[:, -_LOOK_REACH:] = x[:, -_LOOK_REACH - 1 : -_LOOK_REACH]
        a = look.norm2(_split(x, 2, N_LEADS)).flatten(2)
        weight, bias = self._look_convs[number]
        # (n, channels, time, 1), channels together.
        y = functional.conv2d(a.unsqueeze(2).permute(0, 3, 1, 2), weight, bias, groups=len(weight))
        y = y.permute(0, 2, 3, 1).squeeze(2)
        torch.ops.aten.gelu_(y)
        y += x[:, _LOOK_REACH:-_LOOK_REACH]
        return y


def _looks(head: LeadwiseVariance) -> list[Look]:
    return [look for look in head.looks if isinstance(look, Look)]


def _split(x: Tensor, dim: int, n: int) -> Tensor:
    """One dimension as two, of which the first has ``n``."""
    return x.reshape(*x.shape[:dim], n, -1, *x.shape[dim + 1 :])


def _moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over frames, (n, n_frames, channels) -> (n, channels) twice."""
    mean = frames.mean(1)
    return mean, (frames - mean[:, None]).square_().mean(1)


def _cut(x: Tensor, firsts: Tensor | None, n_frames: int) -> Tensor:
    """Frames of windows, shape (n, n_frames, channels): a view where windows are evenly apart."""
    if firsts is None:
        return x[:, :n_frames]
    steps = torch.diff(firsts)
    if len(steps) and bool((steps == steps[0]).all()) and int(steps[0]) > 0:
        first, step, width = int(firsts[0]), int(steps[0]), x.shape[2]
        offset = x.storage_offset() + first * width
        return x.as_strided(
            (len(firsts), n_frames, width), (step * width, width, 1), storage_offset=offset
        )
    return x[0][firsts[:, None] + torch.arange(n_frames)]
