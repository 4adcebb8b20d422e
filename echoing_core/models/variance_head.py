"""sigma^2 as a sum over leads and fifths of a second.

One small network, the same for every lead, looks at short stretches of one lead and says how
much of what the heart wrote there is lost. A second look sets each stretch against its
neighbours, its whole lead and the other leads. What a lost stretch is worth depends on the lead
and on the whole window. So

    S = sum_{lead, chunk} lost[lead, chunk] * worth[lead] / n_chunks
    sigma_d^2 = FLOOR + S * spread_d,    sum_d spread_d = 1

and the part of sigma^2 that a lead or a moment is to blame for is read off, not estimated
afterwards. How S spreads over the dimensions of the space is a softmax of the window's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

N_LEADS = 12

HOP = 20
"""Samples (at 100 Hz) of a chunk, and between two feature frames."""

STATISTICS_PER_LEAD = 5

FLOOR = 1e-6
"""Least sigma^2 of a dimension: 256 of them are a sum of 2.6e-4, below anything that was seen on
a clean recording."""

_TRUNK_WIDTH = 64
_N_LOOKS = 2


@dataclass(frozen=True)
class VarianceTerms:
    """The variance of windows and where it comes from.

    Attributes
    ----------
    log_var : Tensor, shape (batch, dim)
        Natural logarithm of sigma^2.
    cells : Tensor, shape (batch, 12, n_chunks), >= 0
        Term of the sum of sigma^2 that comes from a lead and chunk.
    rest : Tensor, shape (batch,)
        Term that comes from none: ``cells.sum((1, 2)) + rest`` is the sum of sigma^2.
    lost_logit : Tensor, shape (batch, 12, n_chunks)
        Log-odds of the share of the signal that is lost there.
    """

    log_var: Tensor
    cells: Tensor
    rest: Tensor
    lost_logit: Tensor


class LeadFrames(nn.Module):
    """Local features of single leads: valid convolutions, the same for every lead.

    Parameters
    ----------
    width : int
        Features a lead and frame.
    """

    receptive_field = 40

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 16, 8, stride=4)
        self.norm1 = nn.BatchNorm1d(16)
        self.conv2 = nn.Conv1d(16, width, 9, stride=5)
        self.norm2 = nn.BatchNorm1d(width)

    def forward(self, scaled: Tensor, valid: Tensor) -> Tensor:
        """(batch, 12, n_times) twice -> (batch, 12 * width, n_frames).

        Parameters
        ----------
        scaled, valid : Tensor, shape (batch, 12, n_times)

        Returns
        -------
        Tensor, shape (batch, 12 * width, n_frames)
        """
        # Both the heart's own range and rails a hundred times beyond it have to be seen.
        channels = torch.stack([8.0 * torch.tanh(scaled / 8.0), torch.asinh(scaled), valid], dim=2)
        x = channels.flatten(0, 1)
        x = functional.relu(self.norm1(self.conv1(x)))
        x = functional.relu(self.norm2(self.conv2(x)))
        return x.reshape(scaled.shape[0], -1, x.shape[-1])


class Look(nn.Module):
    """Each chunk set against its own lead, the other leads, and its neighbours in time.

    Parameters
    ----------
    width : int
        Features a lead and chunk.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.own = nn.Linear(width, width)
        self.across_leads = nn.Linear(width, width, bias=False)
        self.lead_mean = nn.Linear(width, width, bias=False)
        self.lead_max = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.in_time = nn.Conv1d(width, width, 5, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix what is known of a chunk with its lead, the other leads, and its neighbours in time.

        Parameters
        ----------
        x : Tensor, shape (batch, 12, n_chunks, width)

        Returns
        -------
        Tensor, same shape
        """
        a = self.norm1(x)
        mixed = self.own(a) + self.across_leads(a.mean(1, keepdim=True))
        mixed = mixed + self.lead_mean(a.mean(2, keepdim=True))
        mixed = mixed + self.lead_max(a.amax(2, keepdim=True))
        x = x + functional.gelu(mixed)
        batch, n_leads, n_chunks, width = x.shape
        # Time last and leads apart, as a convolution wants it.
        a = self.norm2(x).transpose(2, 3).reshape(batch * n_leads, width, n_chunks)
        a = functional.gelu(self.in_time(functional.pad(a, (2, 2), mode="replicate")))
        return x + a.reshape(batch, n_leads, width, n_chunks).transpose(2, 3)


class LeadwiseVariance(nn.Module):
    """Frames of a window -> `VarianceTerms`.

    Parameters
    ----------
    n_features : int
        Pooled trunk features beside the leads' own.
    width : int
        Features per lead and chunk.
    hidden : int
        Of the network that spreads the sum over the dimensions.
    dim : int
    """

    scale: Tensor

    def __init__(self, n_features: int, width: int, hidden: int, dim: int) -> None:
        super().__init__()
        # Set once, after training, on ECGs as they are recorded; the faults of training are worse.
        self.register_buffer("scale", torch.ones(()))
        self.dim = dim
        self.width = width
        self.frames = LeadFrames(width)
        self.statistics = nn.Linear(STATISTICS_PER_LEAD, width)
        self.lead = nn.Parameter(0.1 * torch.randn(N_LEADS, width))
        self.looks = nn.ModuleList(Look(width) for _ in range(_N_LOOKS))
        self.lost = nn.Linear(width, 1)
        # Nearly nothing is lost at the start: sigmoid(-3) is 0.05.
        nn.init.constant_(self.lost.bias, -3.0)
        self.trunk_norm = nn.BatchNorm1d(n_features)
        self.trunk = nn.Linear(n_features, _TRUNK_WIDTH)
        n_summary = 2 * N_LEADS + width + _TRUNK_WIDTH
        self.worth = nn.Sequential(
            nn.Linear(n_summary, _TRUNK_WIDTH), nn.GELU(), nn.Linear(_TRUNK_WIDTH, N_LEADS)
        )
        last = nn.Linear(hidden, dim)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.spread = nn.Sequential(nn.Linear(n_summary, hidden), nn.GELU(), last)

    def forward(self, lead_frames: Tensor, statistics: Tensor, trunk: Tensor) -> VarianceTerms:
        """Variance of windows, lead by lead and chunk by chunk.

        Parameters
        ----------
        lead_frames : Tensor, shape (batch, 12 * width, n_frames)
        statistics : Tensor, shape (batch, 12 * STATISTICS_PER_LEAD, n_chunks)
        trunk : Tensor, shape (batch, n_features)

        Returns
        -------
        VarianceTerms
        """
        x, lost_logit = self.look(lead_frames, statistics)
        batch, _, n_chunks = lost_logit.shape
        lost = torch.sigmoid(lost_logit)
        # A frozen BatchNorm may meet values far outside training; limit what it passes on.
        context = functional.gelu(self.trunk(self.trunk_norm(trunk).clamp(-6.0, 6.0)))
        summary = torch.cat(
            [lost.mean(2), lost.square().mean(2).sqrt(), x.mean((1, 2)), context], dim=1
        )
        # softplus(-2) is 0.13: small sums at the start.
        worth = functional.softplus(self.worth(summary) - 2.0)
        # (batch, 12, n_chunks); their sum is the sum of sigma^2 up to the floor.
        cells = self.scale * lost * worth[:, :, None] / n_chunks
        spread = torch.softmax(self.spread(summary), dim=1)
        log_var = torch.log(FLOOR + cells.sum((1, 2))[:, None] * spread)
        rest = torch.full((batch,), self.dim * FLOOR, dtype=log_var.dtype)
        return VarianceTerms(log_var, cells, rest, lost_logit)

    def look(self, lead_frames: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, 12, n_chunks, width) and the log-odds of being lost, without trunk.

        Parameters
        ----------
        lead_frames : Tensor, shape (batch, 12 * width, n_frames)
        statistics : Tensor, shape (batch, 12 * STATISTICS_PER_LEAD, n_chunks)

        Returns
        -------
        features : Tensor, shape (batch, 12, n_chunks, width)
        lost_logit : Tensor, shape (batch, 12, n_chunks)
        """
        batch, _, n_chunks = statistics.shape
        local = lead_frames.reshape(batch, N_LEADS, self.width, -1)
        # The last frame ends before the last chunk does; it stands for what is left.
        tail = local[..., -1:].expand(-1, -1, -1, n_chunks - local.shape[-1])
        x = torch.cat([local, tail], dim=-1).transpose(2, 3)
        plain = statistics.reshape(batch, N_LEADS, STATISTICS_PER_LEAD, n_chunks).transpose(2, 3)
        x = x + self.statistics(plain) + self.lead[None, :, None, :]
        for look in self.looks:
            x = look(x)
        lost_logit = self.lost(x).squeeze(-1)
        return x, lost_logit

    def look_from(self, other: LeadwiseVariance) -> None:
        """Take over what another head knows of where a lead is lost (`look`), in place.

        Those parts read the leads alone and nothing of a space.

        Parameters
        ----------
        other : LeadwiseVariance
            Of the same width.
        """
        self.lead.data.copy_(other.lead)
        for mine, theirs in (
            (self.frames, other.frames),
            (self.statistics, other.statistics),
            (self.looks, other.looks),
            (self.lost, other.lost),
        ):
            mine.load_state_dict(theirs.state_dict())

    def start_from(self, variances: Tensor) -> None:
        """Let S spread as these variances do, shape (dim,), before anything is learnt.

        Parameters
        ----------
        variances : Tensor, shape (dim,)
        """
        last = self.spread[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(torch.log(variances.clamp_min(1e-6 * variances.max())))


def lead_statistics(scaled: Tensor, valid: Tensor) -> Tensor:
    """Power, slope, peak (logarithms), valid share and flatness per lead and chunk of `HOP`.

    Slopes are taken inside a chunk only, so that a chunk never depends on its neighbours.

    Parameters
    ----------
    scaled, valid : Tensor, shape (batch, 12, n_times)
        As in `CompactEcgEncoder.frame_maps`.

    Returns
    -------
    Tensor, shape (batch, 12 * STATISTICS_PER_LEAD, n_times // HOP)
    """
    n_chunks = scaled.shape[-1] // HOP
    shape = (*scaled.shape[:2], n_chunks, HOP)
    x = scaled[..., : n_chunks * HOP].reshape(shape)
    weight = valid[..., : n_chunks * HOP].reshape(shape)
    slope = (x[..., 1:] - x[..., :-1]).abs()
    statistics = torch.stack(
        [
            # The constants keep the logarithm finite in a flat lead.
            torch.log(x.square().mean(-1) + 1e-4),
            torch.log(slope.mean(-1) + 1e-3),
            torch.log(x.abs().amax(-1) + 1e-2),
            weight.mean(-1),
            (slope < 1e-3).to(x.dtype).mean(-1),
        ],
        dim=2,
    )
    return statistics.flatten(1, 2)
