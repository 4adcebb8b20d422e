"""Band-pass and resampling of long recordings, in one matrix product and stretch by stretch.

A zero-phase filter answers an impulse on both sides of it, by a sum of decaying oscillations, one
for each pole. So what samples farther away than a block of outputs do to it is summed up in one
number for each pole: that of all samples before, and that of all samples behind. What the nearer
ones do, the low-pass of the resampling included, is a matrix of fixed size. A day of 12 leads
takes seconds, in memory that does not grow with its length.

A stretch is filtered with `SETTLED_S` of signal on either side, behind which nothing is left of how
it began: 1e-15 of the signal. So the numbers are those of the recording filtered whole. At both
ends of a recording, where it is continued by its mirror image, `signals.short` does the work.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from echoing_core.signals import short

F64 = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

SETTLED_S = 32.0
"""Seconds after which a band-pass from 0.5 Hz, order 4, has forgotten: its slowest pole decays by
exp(-1.15 t)."""

MOST_PHASES = short.MOST_PHASES

_NOTHING = 1e-20
"""Of a block's sum, beside those of nearer blocks."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Filter and resampling over blocks of samples, as matrices.

    Attributes
    ----------
    step : int
        Samples of a block.
    n_per : int
        Outputs of a block: ``step`` times the ratio.
    lead_in : int
        The first output of a block lies so many samples after the block's beginning.
    near : ndarray, shape (step, 2 * n_per + 4 * n_poles)
        Of a block's samples: what they add to its own outputs, to those of the block before, and
        to the sums for each pole of all samples before and behind (real and imaginary parts).
    far : ndarray, shape (4 * n_poles, n_per)
        From those sums to outputs.
    decay : ndarray of complex, shape (n_poles,)
        Of a pole's sum over one block.
    """

    step: int
    n_per: int
    lead_in: int
    near: F64
    far: F64
    decay: Complex


@functools.lru_cache(maxsize=16)
def kernel(
    order: int, fs_hz: float, low_hz: float, high_hz: float, ratio: Fraction, beta: float
) -> Kernel:
    """Matrices of a Butterworth band-pass, run forwards and backwards, and of the resampling.

    Parameters
    ----------
    order : int
        Even; of one pass.
    fs_hz, low_hz, high_hz : float
    ratio : Fraction
        New rate over old rate; neither number above `MOST_PHASES`.
    beta : float
        Of the Kaiser window.

    Returns
    -------
    Kernel
    """
    up, down = ratio.numerator, ratio.denominator
    upper, gain = short.butterworth_poles(order, fs_hz, low_hz, high_hz)
    poles = np.concatenate([upper, upper.conj()])
    n_zeros = len(upper)
    # h = sum of c p^t; the two passes together are its autocorrelation, sum of c H(1/p) p^|t|.
    others = 1.0 - poles[np.newaxis] / poles[:, np.newaxis]
    np.fill_diagonal(others, 1.0)
    residues = gain * (1.0 - poles**-2.0) ** n_zeros / others.prod(1)
    mirrored = gain * (1 - poles**2) ** n_zeros
    mirrored = mirrored / (1 - poles[:, np.newaxis] * poles[np.newaxis]).prod(1)
    weights = residues * mirrored
    at_0 = float(np.real(gain**2 + (residues * (mirrored - gain)).sum()))

    low_pass = short.low_pass(up, down, beta)
    half = low_pass.size // 2
    lead_in = -(-half // up)
    n_per = up * -(-(2 * lead_in + 2) // down)
    step = n_per * down // up

    # Distance of each output of a block from samples of this block and the next, times `up`.
    apart = (np.arange(n_per) * down + lead_in * up) - np.arange(2 * step)[:, np.newaxis] * up
    direct = np.zeros(apart.shape)
    for j in range(-2 * step - lead_in, 2 * step + lead_in + 1):
        at = apart - j * up + half
        inside = (at >= 0) & (at < low_pass.size)
        if inside.any():
            response = at_0 if j == 0 else 2 * np.real(weights[:n_zeros] @ upper ** abs(j))
            direct[inside] += response * low_pass[at[inside]]
    before = _through(low_pass, apart[0], up, upper, weights[:n_zeros], -1)
    behind = _through(low_pass, apart[-1] - up, up, upper, weights[:n_zeros], 1)
    at = np.arange(step)[:, np.newaxis]
    old, new = upper ** (step - at), upper**at
    return Kernel(
        step,
        n_per,
        lead_in,
        np.concatenate(
            [direct[:step], direct[step:], old.real, old.imag, new.real, new.imag], axis=1
        ),
        2 * np.concatenate([before.real, -before.imag, behind.real, -behind.imag]),
        upper**step,
    )


def _through(
    low_pass: F64, apart: npt.NDArray[np.intp], up: int, poles: Complex, weights: Complex, way: int
) -> Complex:
    """What the sum for each pole adds to outputs, through the low-pass, (n_poles, n_per)."""
    half = low_pass.size // 2
    out = np.zeros((len(poles), len(apart)), dtype=np.complex128)
    # Sample 0 counts as the first of the sum behind, but as one after the last before.
    for j in range(int(way > 0), int(np.abs(apart).max() + half) // up + 2):
        at = apart + way * j * up + half
        inside = (at >= 0) & (at < low_pass.size)
        out[:, inside] += (weights * poles**j)[:, np.newaxis] * low_pass[at[inside]]
    return out


def _summed(driven: Complex, decay: Complex) -> Complex:
    """Sums of what all blocks up to each have left, shape (n_poles, n_rows, n_blocks)."""
    sums = driven.copy()
    for of_pole, left in zip(sums, decay, strict=True):
        # Sums over one block, two, four and so on, until nothing is left of what lies so far back.
        reach = 1
        while reach < of_pole.shape[-1] and abs(left) > _NOTHING:
            of_pole[:, reach:] += left * of_pole[:, :-reach]
            reach, left = 2 * reach, left * left
    return sums


def filtered_blocks(signal: F64, of: Kernel) -> F64:
    """Outputs of all blocks of a stretch but the last.

    Parameters
    ----------
    signal : ndarray, shape (n_rows, n_blocks * step)
        Finite values. It is taken to be 0 before and behind.
    of : Kernel

    Returns
    -------
    ndarray, shape (n_rows, (n_blocks - 1) * n_per)
        The first output lies ``lead_in`` samples after the first sample.
    """
    n_rows, n_blocks = len(signal), signal.shape[1] // of.step
    n, p = of.n_per, len(of.decay)
    made = (signal.reshape(-1, of.step) @ of.near).reshape(n_rows, n_blocks, 2 * n + 4 * p)
    parts = made[..., 2 * n :].transpose(2, 0, 1).reshape(2, 2, p, n_rows, n_blocks)
    driven = parts[:, 0] + 1j * parts[:, 1]
    before = _summed(driven[0], of.decay)
    behind = _summed(driven[1, ..., ::-1], of.decay)[..., ::-1]
    sums = np.zeros((2, 2, p, n_rows, n_blocks - 1))
    # Of all blocks before a block, and of all that come after the next.
    sums[0, 0, ..., 1:], sums[0, 1, ..., 1:] = before[..., :-2].real, before[..., :-2].imag
    sums[1, 0, ..., :-1], sums[1, 1, ..., :-1] = behind[..., 2:].real, behind[..., 2:].imag
    out = (sums.reshape(4 * p, -1).T @ of.far).reshape(n_rows, n_blocks - 1, n)
    out += made[:, :-1, :n]
    out += made[:, 1:, n : 2 * n]
    return out.reshape(n_rows, -1)
