"""What networks of others do to an ECG before they read it, as part of the network.

Everything here is given windows as this project has them: millivolts at 100 Hz, 0.5-40 Hz, the
order of `LEADS`, and a mask. Out come the segments that the network was made for: its rate, its
order of leads, its gain. So a figure of such a network is one of ECGs band-limited to 40 Hz,
whatever its own rate is.

=========  =======================================================================================
gain       what is done over the whole window, after resampling
=========  =======================================================================================
none       nothing: millivolts
min_max    the smallest sample of all leads becomes 0 and the largest 1
lead_z     each lead has mean 0 and standard deviation 1; one that never moves becomes 0
group_z    clipped at 4 standard deviations about 0, each lead's baseline taken away, then one mean
           and standard deviation for the leads I-III, aVR-aVF and V1-V6 each
=========  =======================================================================================

Statistics are those of what was measured. What was not measured is 0 afterwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import solveh_banded
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.models.config import FrozenEcgConfig
from echoing_core.models.released import LEAD_ORDERS
from echoing_core.records import LEADS, STANDARD_FS_HZ

GROUPS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), LEADS[6:])

# Of the baseline, as published: stiffness, weight of what lies above, rounds.
_STIFFNESS, _ABOVE, _ROUNDS = 1e7, 0.3, 5
_CLIP_STD = 4.0
# Weight of a sample that was not measured: the baseline passes it, and still has one solution.
_UNMEASURED = 1e-3
# A window may be this much shorter than a segment; more zeros would be part of what is read.
_MOST_PADDED = 0.01


class ForeignInput(nn.Module):
    """Windows of ours -> segments of a network's.

    Parameters
    ----------
    config : FrozenEcgConfig
        ``input_hz``, ``segment``, ``segments``, ``lead_order`` and ``gain`` of it.
    """

    lead_rows: Tensor

    def __init__(self, config: FrozenEcgConfig) -> None:
        super().__init__()
        self.config = config
        order = LEAD_ORDERS[config.lead_order]
        self.leads = order
        rows = torch.tensor([LEADS.index(lead) for lead in order], device="cpu")
        # Not among the weights: the configuration says it.
        self.register_buffer("lead_rows", rows, persistent=False)

    def forward(self, signal_mv: Tensor, valid: Tensor) -> Tensor:
        """Segments of each window, all of one length.

        Parameters
        ----------
        signal_mv : Tensor, shape (batch, 12, n_times)
            100 Hz, order of `LEADS`, 0 where not valid.
        valid : Tensor, same shape
            0 or False where nothing was measured.

        Returns
        -------
        Tensor, shape (batch, n_segments, 12, segment)
            No gradient passes: nothing in it is learnt.

        Raises
        ------
        ConfigError
            The window is shorter than one segment.
        """
        config = self.config
        with torch.no_grad():
            whole = self.whole(signal_mv, valid)
            return cut(whole, config.segment, first_only=config.segments == "first")

    def whole(self, signal_mv: Tensor, valid: Tensor) -> Tensor:
        """Each window as `forward` cuts it, shape (batch, 12, n_out); see there."""
        config = self.config
        n_out = signal_mv.shape[-1] * config.input_hz // int(STANDARD_FS_HZ)
        x = resampled(signal_mv[:, self.lead_rows], n_out)
        # Between a sample that was measured and one that was not there is none.
        known = resampled(valid[:, self.lead_rows].to(x.dtype), n_out) > 1 - 1e-4
        x = x * known
        if config.gain == "min_max":
            x = min_max(x, known)
        elif config.gain == "lead_z":
            x = z_scored(x, known, [(lead,) for lead in self.leads], self.leads)
        elif config.gain == "group_z":
            clipped = clipped_about_zero(x, known)
            x = z_scored(clipped - baseline(clipped, known), known, GROUPS, self.leads)
        return x * known


def resampled(x: Tensor, n_out: int) -> Tensor:
    """Straight lines between samples; the first and the last stay where they are.

    So the rate is not exactly the quotient of the rates: the n samples are placed on n' - 1 steps.

    Parameters
    ----------
    x : Tensor, shape (batch, n_leads, n_times)
    n_out : int

    Returns
    -------
    Tensor, shape (batch, n_leads, n_out)
    """
    if n_out == x.shape[-1]:
        return x
    return functional.interpolate(x, size=n_out, mode="linear", align_corners=True)


def min_max(x: Tensor, known: Tensor) -> Tensor:
    """To 0..1 by the smallest and largest measured sample of all leads together.

    Parameters
    ----------
    x : Tensor, shape (batch, n_leads, n_times)
    known : Tensor of bool, same shape

    Returns
    -------
    Tensor, same shape
    """
    low = x.masked_fill(~known, float("inf")).amin((1, 2), keepdim=True)
    high = x.masked_fill(~known, float("-inf")).amax((1, 2), keepdim=True)
    # Of a window without a sample both are infinite.
    span = high - low
    usable = torch.isfinite(span) & (span > 0)
    return torch.where(usable, (x - low) / torch.where(usable, span, 1.0), 0.0)


def z_scored(
    x: Tensor,
    known: Tensor,
    groups: list[tuple[str, ...]] | tuple[tuple[str, ...], ...],
    order: tuple[str, ...],
) -> Tensor:
    """Mean 0 and standard deviation 1 of the measured samples, for each group of leads at once.

    Parameters
    ----------
    x : Tensor, shape (batch, n_leads, n_times)
    known : Tensor of bool, same shape
    groups : sequence of tuple of str
        Leads that share a mean and a standard deviation; together all of ``order``.
    order : tuple of str
        Leads of the rows of ``x``.

    Returns
    -------
    Tensor, same shape
        0 where a group never moves.
    """
    out = torch.zeros_like(x)
    for group in groups:
        rows = [order.index(lead) for lead in group]
        # 64 bits: a small standard deviation beside a large mean is lost in 32.
        part, there = x[:, rows].double(), known[:, rows]
        count = there.sum((1, 2), keepdim=True).clamp_min(1)
        mean = (part * there).sum((1, 2), keepdim=True) / count
        centred = (part - mean) * there
        std = (centred.square().sum((1, 2), keepdim=True) / count).sqrt()
        moves = std > 1e-8
        out[:, rows] = torch.where(moves, centred / torch.where(moves, std, 1.0), 0.0).to(x.dtype)
    return out


def clipped_about_zero(x: Tensor, known: Tensor) -> Tensor:
    """Clipped at four standard deviations of all measured samples, about zero and not the mean.

    Parameters
    ----------
    x : Tensor, shape (batch, n_leads, n_times)
    known : Tensor of bool, same shape

    Returns
    -------
    Tensor, same shape
    """
    count = known.sum((1, 2), keepdim=True).clamp_min(1)
    mean = (x * known).sum((1, 2), keepdim=True) / count
    std = (((x - mean) * known).square().sum((1, 2), keepdim=True) / count).sqrt()
    return x.clamp(-_CLIP_STD * std, _CLIP_STD * std)


def baseline(x: Tensor, known: Tensor) -> Tensor:
    """What lies below each lead, by asymmetric least squares.

    z minimises sum w (x - z)^2 + 1e7 * (second differences of z)^2, with w = 0.3 where x lies
    above z and 0.7 below, five times over.

    Parameters
    ----------
    x : Tensor, shape (batch, n_leads, n_times)
        At least 3 samples.
    known : Tensor of bool, same shape

    Returns
    -------
    Tensor, same shape

    References
    ----------
    Eilers, "Parametric time warping", Anal. Chem. 2004 (asymmetric least squares).
    """
    y = x.detach().cpu().numpy().astype(np.float64).reshape(-1, x.shape[-1])
    there = known.cpu().numpy().reshape(y.shape)
    z = _baselines(y, there).reshape(x.shape)
    return torch.from_numpy(z).to(x)


def _baselines(y: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    n_leads, n = y.shape
    # All leads as one banded system: the bands between two leads are 0.
    penalty = np.zeros((3, n_leads, n))
    differences = np.array([1.0, -2.0, 1.0])
    for first in range(3):
        for second in range(first, 3):
            # Second difference k touches the samples k, k + 1, k + 2.
            band, column = 2 - (second - first), slice(second, n - 2 + second)
            penalty[band, :, column] += differences[first] * differences[second]
    penalty *= _STIFFNESS
    weights = np.where(there, 1.0, _UNMEASURED)
    z = y
    for _ in range(_ROUNDS):
        bands = penalty.copy()
        bands[2] += weights
        z = solveh_banded(bands.reshape(3, -1), (weights * y).ravel()).reshape(y.shape)
        weights = np.where(there, np.where(y > z, _ABOVE, 1 - _ABOVE), _UNMEASURED)
    return z


def cut(x: Tensor, segment: int, *, first_only: bool) -> Tensor:
    """Segments one after another; what is left at the end is dropped.

    Parameters
    ----------
    x : Tensor, shape (batch, n_leads, n_times)
    segment : int
        Samples.
    first_only : bool

    Returns
    -------
    Tensor, shape (batch, n_segments, n_leads, segment)

    Raises
    ------
    ConfigError
        There is not one segment, and more than a hundredth of it is missing.
    """
    missing = segment - x.shape[-1]
    if missing > _MOST_PADDED * segment:
        raise ConfigError(
            f"This network reads {segment:,} samples at once and was given {x.shape[-1]:,}. Give "
            "it windows of 10 s, or change its rate or segment."
        )
    if missing > 0:
        x = functional.pad(x, (0, missing))
    n = 1 if first_only else x.shape[-1] // segment
    whole = x[..., : n * segment].reshape(*x.shape[:2], n, segment)
    return whole.transpose(1, 2)
