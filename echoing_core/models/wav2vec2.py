"""wav2vec 2.0 for 12 leads, as ECG-FM and MELP have it.

==========  ==========================================================  ===========================
part        layers                                                      shape, of n samples
==========  ==========================================================  ===========================
stem        4 convolutions of 2 by stride 2, without bias or padding,   (256, n / 16): 2500 -> 156,
            GELU; after the first, each channel normalised over time    5000 -> 312
to width    LayerNorm, linear                                           (n / 16, 768)
positions   one convolution of 128 over 16 groups, added; LayerNorm     the same
layers      attention and MLP, each followed by its LayerNorm           the same
==========  ==========================================================  ===========================

ECG-FM has 12 layers, MELP's tower 8. Since the first convolution has no bias and what it gives is
normalised over time, the network is blind to one gain for all leads and to a constant on any lead.

Names and shapes of the weights are those of the published files.

References
----------
Baevski et al., "wav2vec 2.0", NeurIPS 2020; Oh et al., "Lead-agnostic self-supervised learning for
local and global representations of electrocardiogram", CHIL 2022 (CMSC and lead masking on it).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from echoing_core.errors import ConfigError
from echoing_core.records import LEADS

N_CONVOLUTIONS, STRIDE = 4, 16
_POSITION_KERNEL, _POSITION_GROUPS = 128, 16
_GROUPS, _CODES, _CODE_WIDTH = 2, 320, 128
"""Of the quantiser: each frame becomes one of 320 codes, twice, of 128 numbers each."""

_POOL_HEADS = 8

N_CAPTIONS = 128
"""Queries of MELP's that a caption decoder looks at."""


def n_frames(n_times: int) -> int:
    """Frames that the stem makes of so many samples.

    Parameters
    ----------
    n_times : int

    Returns
    -------
    int
        0 where there are fewer than 16 samples.
    """
    return n_times // STRIDE


class _Stem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        blocks = []
        for place in range(N_CONVOLUTIONS):
            convolution = nn.Conv1d(width if place else len(LEADS), width, 2, stride=2, bias=False)
            # The names of the published weights count a dropout that is never used.
            between: list[nn.Module] = [nn.Identity()]
            if place == 0:
                between.append(nn.GroupNorm(width, width))
            blocks.append(nn.Sequential(convolution, *between, nn.GELU()))
        self.conv_layers = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.conv_layers:
            x = block(x)
        return x


class _Positions(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(
            width, width, _POSITION_KERNEL, padding=_POSITION_KERNEL // 2, groups=_POSITION_GROUPS
        )
        # One length for each place of the kernel, as published.
        self.pos_conv = nn.Sequential(weight_norm(convolution, dim=2))

    def forward(self, x: Tensor) -> Tensor:
        # An even kernel gives one frame too many.
        moved = self.pos_conv(x.transpose(1, 2))[..., :-1]
        return functional.gelu(moved).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        # (batch, frames, width) -> (batch, heads, frames, width / heads)
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.self_attn = _Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.self_attn_layer_norm(x + self._dropped(self.self_attn(x)))
        inner = self.fc2(self._dropped(functional.gelu(self.fc1(x))))
        out: Tensor = self.final_layer_norm(x + self._dropped(inner))
        return out

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


class _Layers(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads, ffn, dropout) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


class GumbelQuantiser(nn.Module):
    """Frames of the stem -> pairs of codes, as targets of masked prediction.

    Parameters
    ----------
    width : int
        Of a frame, and of what comes out: half of it from each of two groups of codes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vars = nn.Parameter(torch.rand(1, _GROUPS * _CODES, _CODE_WIDTH))
        self.weight_proj = nn.Linear(width, _GROUPS * _CODES)

    def forward(self, frames: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Codes, drawn in training and the likeliest otherwise, and how many are in use.

        Parameters
        ----------
        frames : Tensor, shape (batch, n_frames, width)
        temperature : float
            Of the draw.

        Returns
        -------
        quantised : Tensor, shape (batch, n_frames, 256)
        perplexity : Tensor, shape ()
            Of the mean choice, summed over groups: 2 where always the same codes are chosen, 640
            where all are chosen alike.
        """
        logits = self.weight_proj(frames).unflatten(-1, (_GROUPS, _CODES))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.training:
            chosen = functional.gumbel_softmax(logits, tau=temperature, hard=True)
        else:
            chosen = functional.one_hot(logits.argmax(-1), _CODES)
        average = logits.softmax(-1).flatten(0, 1).mean(0)
        perplexity = (-(average * (average + 1e-7).log()).sum(-1)).exp().sum()
        codes = self.vars.view(_GROUPS, _CODES, _CODE_WIDTH)
        picked = torch.einsum("btgc,gcd->btgd", chosen.to(codes), codes)
        return picked.flatten(2), perplexity


class Wav2Vec2(nn.Module):
    """Samples of 12 leads -> frames.

    Parameters
    ----------
    layers, width, heads, ffn : int
        ``width`` is divided by ``heads`` and by 16.
    stem_width : int
        Channels of the convolutions.
    pretraining : bool
        With what masked prediction needs: the mask's vector, the quantiser and two projections.
    dropout : float

    Raises
    ------
    ConfigError
        The widths cannot be divided so.
    """

    def __init__(
        self,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        ffn: int = 3072,
        stem_width: int = 256,
        *,
        pretraining: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads or width % _POSITION_GROUPS:
            raise ConfigError(
                f"A wav2vec 2.0 of width {width} cannot have {heads} heads: its width is divided "
                f"by the number of heads and by {_POSITION_GROUPS}."
            )
        self.dropout = dropout
        self.feature_extractor = _Stem(stem_width)
        self.layer_norm = nn.LayerNorm(stem_width)
        self.post_extract_proj = nn.Linear(stem_width, width)
        self.conv_pos = _Positions(width)
        self.encoder = _Layers(layers, width, heads, ffn, dropout)
        if pretraining:
            self.mask_emb = nn.Parameter(torch.rand(width))
            self.quantizer = GumbelQuantiser(stem_width)
            self.project_q = nn.Linear(_GROUPS * _CODE_WIDTH, stem_width)
            self.final_proj = nn.Linear(width, stem_width)

    def features(self, x: Tensor) -> Tensor:
        """Frames of the stem, normalised, which the quantiser is given too.

        Parameters
        ----------
        x : Tensor, shape (batch, 12, n_times)
            At least 16 samples.

        Returns
        -------
        Tensor, shape (batch, n_times // 16, stem_width)

        Raises
        ------
        ConfigError
            There are fewer samples, or not 12 leads.
        """
        if x.shape[1] != len(LEADS) or x.shape[-1] < STRIDE:
            raise ConfigError(
                f"This network reads 12 leads and at least {STRIDE} samples, and was "
                f"given {x.shape[1]} leads of {x.shape[-1]} samples."
            )
        normal: Tensor = self.layer_norm(self.feature_extractor(x).transpose(1, 2))
        return normal

    def states(self, features: Tensor, masked: Tensor | None = None) -> Tensor:
        """Frames of the last layer.

        Parameters
        ----------
        features : Tensor, shape (batch, n_frames, stem_width)
            Of `features`.
        masked : Tensor of bool, shape (batch, n_frames), optional
            Frames in whose place the mask's vector stands.

        Returns
        -------
        Tensor, shape (batch, n_frames, width)
        """
        x = self.post_extract_proj(features)
        if masked is not None:
            x = torch.where(masked[..., None], self.mask_emb.to(x), x)
        x = x + self.conv_pos(x)
        out: Tensor = self.encoder(functional.dropout(x, self.dropout, self.training))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 12, n_times) -> (batch, n_times // 16, width); see `features` and `states`."""
        return self.states(self.features(x))


def pool_heads(width: int) -> int:
    """Heads of MELP's own attention: 8, and one in the small networks of tests."""
    return _POOL_HEADS if width % _POOL_HEADS == 0 else 1


class AttentionalPooler(nn.Module):
    """Frames -> as many vectors as there are learnt queries.

    Parameters
    ----------
    n_queries, width : int
        Of the queries.
    frame_width : int
    """

    def __init__(self, n_queries: int, width: int, frame_width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(n_queries, width))
        self.attn = nn.MultiheadAttention(
            width, pool_heads(width), kdim=frame_width, vdim=frame_width, batch_first=True
        )
        self.ln_q = nn.LayerNorm(width)
        self.ln_k = nn.LayerNorm(frame_width)

    def forward(self, frames: Tensor) -> Tensor:
        """Pool.

        Parameters
        ----------
        frames : Tensor, shape (batch, n_frames, frame_width)

        Returns
        -------
        Tensor, shape (batch, n_queries, width)
        """
        normal = self.ln_k(frames)
        query = self.ln_q(self.query).expand(len(frames), -1, -1)
        pooled: Tensor = self.attn(query, normal, normal, need_weights=False)[0]
        return pooled


class MelpTower(nn.Module):
    """MELP's ECG side: a `Wav2Vec2` of 8 layers, pooled to beats and to what captions are read of.

    Parameters
    ----------
    backbone : Wav2Vec2
    width : int
        Of the backbone's frames.
    beats, beat_width : int
    full : bool
        With what training alone needs: the queries that captions are read of, and a scale.

    References
    ----------
    Wang et al., "From token to rhythm: a multi-scale approach for ECG-language pretraining", ICML
    2025.
    """

    def __init__(
        self,
        backbone: Wav2Vec2,
        width: int = 768,
        beats: int = 12,
        beat_width: int = 256,
        *,
        full: bool = False,
    ) -> None:
        super().__init__()
        self.ecg_encoder = backbone
        self.proj_contrast = nn.Parameter(torch.randn(beat_width, beat_width) * beat_width**-0.5)
        self.attn_pool_contrast = AttentionalPooler(beats, beat_width, width)
        self.ln_contrast = nn.LayerNorm(beat_width)
        if full:
            self.attn_pool_caption = AttentionalPooler(N_CAPTIONS, width, width)
            self.ln_caption = nn.LayerNorm(width)
            self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
            # Statistics of its first stage stay in the published files; nothing reads them.
            self.bn = nn.BatchNorm1d(width, affine=False)

    def beats(self, frames: Tensor) -> Tensor:
        """Beats, whose mean on the unit sphere is MELP's rhythm.

        Parameters
        ----------
        frames : Tensor, shape (batch, n_frames, width)

        Returns
        -------
        Tensor, shape (batch, beats, beat_width)
        """
        pooled: Tensor = self.ln_contrast(self.attn_pool_contrast(frames))
        return pooled @ self.proj_contrast

    def caption_memory(self, frames: Tensor) -> Tensor:
        """What a caption decoder looks at.

        Parameters
        ----------
        frames : Tensor, shape (batch, n_frames, width)

        Returns
        -------
        Tensor, shape (batch, 128, width)
        """
        memory: Tensor = self.ln_caption(self.attn_pool_caption(frames))
        return memory

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 12, n_times) -> rhythm, (batch, beat_width), not of unit length.

        Parameters
        ----------
        x : Tensor, shape (batch, 12, n_times)

        Returns
        -------
        Tensor, shape (batch, beat_width)
        """
        return self.beats(self.ecg_encoder(x)).mean(1)
