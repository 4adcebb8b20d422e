"""The encoder of Echo2ECG: a vision transformer over patches of single leads, from OTiS.

A patch is 24 samples of one lead. It becomes a token by a linear map, LayerNorm and GELU; to the
upper half of its channels the sines and cosines of its place in time are added, to the lower half a
vector learnt for its lead. The tokens of lead I come first, then those of lead II; before all of
them stands one that belongs to no patch. 12 pre-norm blocks follow, and no norm at the end:
(12, 1008) -> 504 patches and one -> (505, 192).

Its attention has a linear map more on either side than usual: queries, keys and values are made by
one, and then again by those of `nn.MultiheadAttention`.

Names and shapes of the weights are those of the published file.

References
----------
Echo2ECG, MICCAI 2026 (arXiv 2603.08505); Turgut et al., "Towards generalisable time series
understanding across domains" (OTiS).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.records import LEADS

PATCH = 24
"""Samples."""

_BLOCK_EPS = 1e-6


def time_positions(n: int, width: int) -> Tensor:
    """Sines in the first half of the columns, cosines in the second; a row of zeros before them.

    Parameters
    ----------
    n : int
        Places.
    width : int
        Even.

    Returns
    -------
    Tensor, shape (1, n + 1, width)
        Row t + 1 is place t.
    """
    rates = 1e4 ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = torch.arange(n, dtype=torch.float64)[:, None] * rates
    rows = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), rows])[None].float()


class _PatchEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, (1, PATCH), stride=(1, PATCH))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        # (batch, 12, n) -> (batch, 12, n / 24, width)
        patches = self.proj(x[:, None]).permute(0, 2, 3, 1)
        return functional.gelu(self.norm(patches))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(width, heads, batch_first=True)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out: Tensor = self.proj(self.mha(q, k, v, need_weights=False)[0])
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int, ffn: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, ffn: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width, eps=_BLOCK_EPS)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_BLOCK_EPS)
        self.mlp = _Mlp(width, ffn)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._dropped(self.attn(self.norm1(x)))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        """Whole branches of some rows left out, in training."""
        if not self.training or not self.drop_path:
            return x
        # By dropout itself, which is drawn alike however many processes share a batch.
        return x * functional.dropout(x.new_ones(len(x), 1, 1), self.drop_path)


class OtisEncoder(nn.Module):
    """Samples of 12 leads -> tokens.

    Parameters
    ----------
    layers, width, heads, ffn : int
    n_times : int
        Samples that it reads, a multiple of 24; no other number can be read.
    drop_path : float
        How often the last block's branches are left out in training; earlier ones less often.

    Raises
    ------
    ConfigError
        ``width`` is odd or not divided by ``heads``, or ``n_times`` no multiple of 24.
    """

    def __init__(
        self,
        layers: int = 12,
        width: int = 192,
        heads: int = 3,
        ffn: int = 768,
        n_times: int = 1008,
        *,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads or width % 2 or n_times % PATCH or n_times < PATCH:
            raise ConfigError(
                f"An OTiS encoder needs an even width that its {heads} heads divide (given is "
                f"{width}) and a multiple of {PATCH} samples (given are {n_times})."
            )
        self.n_times = n_times
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        # Fixed, and among the weights all the same.
        self.pos_embed_x = nn.Parameter(
            time_positions(n_times // PATCH, width // 2).to(self.cls_token.device),
            requires_grad=False,
        )
        self.pos_embed_y = nn.Embedding(len(LEADS) + 1, width // 2, padding_idx=0)
        self.patch_embed = _PatchEmbedding(width)
        self.blocks = nn.ModuleList(
            _Block(width, heads, ffn, drop_path * k / max(1, layers - 1)) for k in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the last block: the one without a patch, then lead by lead.

        Parameters
        ----------
        x : Tensor, shape (batch, 12, n_times)

        Returns
        -------
        Tensor, shape (batch, 1 + 12 * n_times / 24, width)

        Raises
        ------
        ConfigError
            There are not 12 leads of exactly as many samples as this network reads.
        """
        if tuple(x.shape[1:]) != (len(LEADS), self.n_times):
            raise ConfigError(
                f"This network reads 12 leads of exactly {self.n_times:,} samples, and was given "
                f"{x.shape[1]} of {x.shape[-1]:,}. Cut or pad the ECG to that length."
            )
        patches = self.patch_embed(x)
        leads = torch.arange(1, len(LEADS) + 1, device=x.device)
        # Lower half of the channels: which lead. Upper half: when.
        which = self.pos_embed_y(leads)[:, None].expand(-1, patches.shape[2], -1)
        # Never learnt, even where somebody lets all weights be.
        when = self.pos_embed_x.detach()[:, 1:].expand(len(LEADS), -1, -1)
        tokens: Tensor = (patches + torch.cat([which, when], dim=-1)).flatten(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class GlobalToken(nn.Module):
    """The mean over all tokens of patches, normalised: what Echo2ECG makes of an ECG.

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ecg_layernorm_global = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool.

        Parameters
        ----------
        tokens : Tensor, shape (batch, 1 + n_patches, width)
            The first is left out.

        Returns
        -------
        Tensor, shape (batch, width)
        """
        out: Tensor = self.ecg_layernorm_global(tokens[:, 1:].mean(1))
        return out


class _ViewAggregator(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, views: Tensor, missing: Tensor) -> Tensor:
        there = (~missing).to(views)[..., None]
        # The mean of the views that there are asks what each of them says.
        query = (views * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1.0)
        pooled: Tensor = self.mha(
            query, views, views, key_padding_mask=missing, need_weights=False
        )[0]
        return pooled[:, 0]


class StudyPooling(nn.Module):
    """Views of an echo study -> one vector, whatever their order and however many are missing.

    Parameters
    ----------
    width : int
    heads : int
    """

    def __init__(self, width: int = 1024, heads: int = 4) -> None:
        super().__init__()
        self.aggregator = _ViewAggregator(width, heads)

    def forward(self, views: Tensor, missing: Tensor) -> Tensor:
        """Pool.

        Parameters
        ----------
        views : Tensor, shape (batch, n_views, width)
        missing : Tensor of bool, shape (batch, n_views)
            True where there is no such view; what stands there is not read.

        Returns
        -------
        Tensor, shape (batch, width)

        Raises
        ------
        ConfigError
            A study has no view at all.
        """
        if bool(missing.all(1).any()):
            raise ConfigError("An echo study without a single view cannot be pooled. Leave it out.")
        # A number that is none, where nothing was filled in, would reach the rest through 0 * NaN.
        out: Tensor = self.aggregator(views.masked_fill(missing[..., None], 0.0), missing)
        return out


class StudySide(nn.Module):
    """From echo studies, and from ECGs, into the space that they share.

    Parameters
    ----------
    width : int
        Of an ECG as its encoder gives it.
    view_width : int
        Of a clip's embedding; EchoPrime's are 512 wide, and not on the unit sphere.
    study_width, heads : int
        Of the pooling of views.
    dim : int
        Of the shared space.
    """

    def __init__(
        self,
        width: int = 192,
        view_width: int = 512,
        study_width: int = 1024,
        heads: int = 4,
        dim: int = 512,
    ) -> None:
        super().__init__()
        self.echo_projection_for_agg = nn.Linear(view_width, study_width)
        self.echo_view_aggregator = StudyPooling(study_width, heads)
        self.ecg_alignment_global_token = nn.Linear(width, dim, bias=False)
        self.echo_alignment_global_token = nn.Linear(study_width, dim, bias=False)

    def of_ecg(self, features: Tensor) -> Tensor:
        """ECGs in the shared space, not of unit length.

        Parameters
        ----------
        features : Tensor, shape (batch, width)

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        out: Tensor = self.ecg_alignment_global_token(features)
        return out

    def study(self, views: Tensor, missing: Tensor) -> Tensor:
        """Echo studies in the shared space, not of unit length.

        Parameters
        ----------
        views : Tensor, shape (batch, n_views, view_width)
        missing : Tensor of bool, shape (batch, n_views)

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        # Before the map too, whose gradient would take up what is no number.
        views = views.masked_fill(missing[..., None], 0.0)
        pooled = self.echo_view_aggregator(self.echo_projection_for_agg(views), missing)
        out: Tensor = self.echo_alignment_global_token(pooled)
        return out


class TeacherSide(nn.Module):
    """From ECGs into a frozen teacher's space, where a study is the mean of its clips: ULIP's.

    Parameters
    ----------
    width : int
        Of an ECG as its encoder gives it.
    dim : int
        Of the teacher.

    References
    ----------
    Xue et al., "ULIP: Learning a unified representation of language, images, and point clouds",
    CVPR 2023.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.ecg_projection = nn.Linear(width, dim, bias=False)
        nn.init.normal_(self.ecg_projection.weight, std=dim**-0.5)

    def of_ecg(self, features: Tensor) -> Tensor:
        """ECGs in the teacher's space, not of unit length; see `StudySide.of_ecg`."""
        out: Tensor = self.ecg_projection(features)
        return out

    def study(self, views: Tensor, missing: Tensor) -> Tensor:
        """The mean of a study's clips, each of unit length first; see `StudySide.study`."""
        unit = functional.normalize(views.masked_fill(missing[..., None], 0.0), dim=-1)
        return unit.sum(1) / (~missing).sum(1, keepdim=True).clamp_min(1)


class Echo2Ecg(StudySide):
    """Echo2ECG whole, by the names of its published weights.

    Parameters
    ----------
    encoder : OtisEncoder
    width : int
        Of its tokens.
    view_width, study_width, heads, dim : int
        As in `StudySide`.
    """

    def __init__(
        self,
        encoder: OtisEncoder,
        width: int = 192,
        view_width: int = 512,
        study_width: int = 1024,
        heads: int = 4,
        dim: int = 512,
    ) -> None:
        super().__init__(width, view_width, study_width, heads, dim)
        self.ecg_encoder = encoder
        self.token_aggregator = GlobalToken(width)

    def ecg(self, x: Tensor) -> Tensor:
        """ECGs in the shared space, not of unit length.

        Parameters
        ----------
        x : Tensor, shape (batch, 12, n_times)

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        return self.of_ecg(self.token_aggregator(self.ecg_encoder(x)))
