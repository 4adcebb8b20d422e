"""What is needed of ``scipy.signal`` and ``scipy.ndimage`` for short recordings, in NumPy alone.

``scipy.signal`` imports statistics, interpolation and optimisation: 1.3 s of processor time, three
times what a model computes on a recording of ten seconds; ``scipy.ndimage`` costs 0.3 s. So
recordings of minutes are filtered and resampled here, and long ones, where that time is nothing, by
SciPy. Both give the same numbers up to rounding (1e-9 of the signal), peaks exactly.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

MAX_SAMPLES = 500_000
"""Longest signal along its last axis that is worth doing here: 20 minutes at 400 Hz."""

_BLOCK = 64
"""Samples filtered by one matrix product. Longer blocks compute more, shorter ones loop more."""

_ROWS = 4096
"""Output samples resampled at once, which bounds the memory."""

MOST_PHASES = 64
"""Ratios of numbers up to this are resampled by one matrix for all phases of some outputs."""


@functools.lru_cache(maxsize=32)
def butterworth(order: int, fs_hz: float, low_hz: float, high_hz: float) -> F64:
    """Butterworth band-pass as second-order sections.

    Parameters
    ----------
    order : int
        Even, so that all poles come in conjugate pairs.
    fs_hz, low_hz, high_hz : float

    Returns
    -------
    ndarray, shape (order, 6)
        b0, b1, b2, 1, a1, a2 of each section.

    Raises
    ------
    ValueError
        ``order`` is odd, or the band does not fit under half the sampling rate.

    References
    ----------
    Oppenheim & Schafer, Discrete-Time Signal Processing: bilinear transform.
    """
    poles, gain = butterworth_poles(order, fs_hz, low_hz, high_hz)
    sections = np.array([[1, 0, -1, 1, -2 * pole.real, abs(pole) ** 2] for pole in poles])
    sections[0, :3] *= gain
    return sections


def butterworth_poles(
    order: int, fs_hz: float, low_hz: float, high_hz: float
) -> tuple[npt.NDArray[np.complex128], float]:
    """Of a Butterworth band-pass, the poles above the real axis and the gain.

    Parameters
    ----------
    order, fs_hz, low_hz, high_hz
        As for `butterworth`.

    Returns
    -------
    poles : ndarray of complex, shape (order,)
        The nearest to the unit circle last.
    gain : float
        Of the numerator (1 - z^-2)^order.

    Raises
    ------
    ValueError
        As for `butterworth`.
    """
    if order % 2 or not 0 < low_hz < high_hz < fs_hz / 2:
        raise ValueError("an even order and a band below half the sampling rate are needed")
    # In units of the sampling rate, edges bent so that the bilinear transform puts them right.
    low, high = (2.0 * np.tan(np.pi * edge / fs_hz) for edge in (low_hz, high_hz))
    around = np.exp(1j * np.pi * (2 * np.arange(order) + order + 1) / (2 * order))
    half = around * (high - low) / 2
    # Each pole of the low-pass becomes two around the middle of the band.
    spread = np.sqrt(half**2 - low * high)
    poles = np.concatenate([half + spread, half - spread])
    gain = (high - low) ** order * float(np.real(2.0**order / np.prod(2.0 - poles)))
    poles = (2.0 + poles) / (2.0 - poles)
    # Poles nearest to the unit circle last: before them nothing is large.
    return np.array(sorted(poles[poles.imag > 0], key=abs)), gain


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A cascade of sections over a block of samples, as matrices.

    Attributes
    ----------
    of_input : ndarray, shape (block, block)
        Input to output, from rest.
    of_state : ndarray, shape (n_states, block)
        State at the start to output.
    keep : ndarray, shape (n_states, n_states)
        State at the start to state at the end.
    drive : ndarray, shape (block, n_states)
        Input to state at the end.
    steady : ndarray, shape (n_states,)
        State in which a constant 1 leaves the output constant.
    """

    of_input: F64
    of_state: F64
    keep: F64
    drive: F64
    steady: F64


@functools.lru_cache(maxsize=32)
def _blocks(order: int, fs_hz: float, low_hz: float, high_hz: float) -> _Blocks:
    sections = butterworth(order, fs_hz, low_hz, high_hz)
    n_states = 2 * len(sections)
    # Column 0 starts at rest and is given an impulse, column 1 + k starts in state k.
    state = np.concatenate([np.zeros((n_states, 1)), np.eye(n_states)], axis=1)
    outputs, states = [], []
    for t in range(_BLOCK):
        signal = np.zeros(1 + n_states)
        signal[0] = float(t == 0)
        for k, (b0, b1, b2, _, a1, a2) in enumerate(sections.tolist()):
            out = b0 * signal + state[2 * k]
            state[2 * k] = b1 * signal - a1 * out + state[2 * k + 1]
            state[2 * k + 1] = b2 * signal - a2 * out
            signal = out
        outputs.append(signal)
        states.append(state.copy())
    response = np.stack(outputs)
    lag = np.arange(_BLOCK)[np.newaxis] - np.arange(_BLOCK)[:, np.newaxis]
    of_input = np.where(lag >= 0, response[np.maximum(lag, 0), 0], 0.0)
    # What an impulse has left at the end of the block, for each place that it may have there.
    drive = np.stack([each[:, 0] for each in states[::-1]])
    steady = np.zeros(n_states)
    level = 1.0
    for k, (b0, b1, b2, _, a1, a2) in enumerate(sections.tolist()):
        after = level * (b0 + b1 + b2) / (1 + a1 + a2)
        steady[2 * k + 1] = b2 * level - a2 * after
        steady[2 * k] = b1 * level - a1 * after + steady[2 * k + 1]
        level = after
    return _Blocks(of_input, response[:, 1:].T, states[-1][:, 1:].T, drive, steady)


def _run(blocks: _Blocks, signal: F64, state: F64) -> F64:
    """One pass over rows (n_rows, n_times), from ``state`` of shape (n_rows, n_states)."""
    n_rows, n_times = signal.shape
    n_blocks = -(-n_times // _BLOCK)
    lacking = n_blocks * _BLOCK - n_times
    # Counts in place of -1, which numpy cannot work out where there are no rows.
    cut = np.pad(signal, ((0, 0), (0, lacking))).reshape(n_rows, n_blocks, _BLOCK)
    driven = cut @ blocks.drive
    at_start = np.empty_like(driven)
    for k in range(driven.shape[1]):
        at_start[:, k] = state
        state = state @ blocks.keep + driven[:, k]
    out = cut @ blocks.of_input + at_start @ blocks.of_state
    return np.asarray(out.reshape(n_rows, n_blocks * _BLOCK)[:, :n_times])


def bandpass_twice(
    signal: npt.NDArray[np.floating],
    order: int,
    fs_hz: float,
    band_hz: tuple[float, float],
    pad_n: int | None = None,
) -> F64:
    """A Butterworth band-pass, forwards and backwards: as ``scipy.signal.sosfiltfilt``.

    Parameters
    ----------
    signal : ndarray, shape (..., n_times)
        Finite values, more than ``pad_n``.
    order : int
        Even; of one pass.
    fs_hz : float
    band_hz : tuple of float
        Lower and upper edge in Hz.
    pad_n : int, optional
        Samples put before and after, mirrored about the ends. Without it, as many as SciPy takes.

    Returns
    -------
    ndarray, shape (..., n_times)

    Raises
    ------
    ValueError
        The signal is too short.
    """
    blocks = _blocks(order, fs_hz, *band_hz)
    rows = np.asarray(signal, dtype=np.float64).reshape(-1, signal.shape[-1])
    # No coefficient of a band-pass is 0 in b2 or a2, so SciPy's own count is 3 (2 n + 1).
    n = 3 * (2 * order + 1) if pad_n is None else pad_n
    if rows.shape[1] <= n:
        raise ValueError(f"more than {n} samples are needed")
    if n:
        before = 2 * rows[:, :1] - rows[:, n:0:-1]
        after = 2 * rows[:, -1:] - rows[:, -2 : -n - 2 : -1]
        rows = np.concatenate([before, rows, after], axis=1)
    for _ in range(2):
        rows = _run(blocks, rows, rows[:, :1] * blocks.steady)[:, ::-1]
    return np.ascontiguousarray(rows[:, n : rows.shape[1] - n]).reshape(signal.shape)


def low_pass(up: int, down: int, beta: float) -> F64:
    """The low-pass of ``scipy.signal.resample_poly``, at ``up`` times the old rate.

    Parameters
    ----------
    up, down : int
        The ratio of the new rate to the old one.
    beta : float
        Of the Kaiser window.

    Returns
    -------
    ndarray, shape (20 * max(up, down) + 1,)
        Symmetric; its sum is ``up``.
    """
    widest = max(up, down)
    half = 10 * widest
    at = np.arange(-half, half + 1) / widest
    taps = np.sinc(at) * np.kaiser(2 * half + 1, beta)
    return np.asarray(taps * (up / taps.sum()))


@functools.lru_cache(maxsize=32)
def _taps(up: int, down: int, beta: float) -> F64:
    """`low_pass` by its ``up`` phases, shape (up, n_taps).

    Reversed in time: a row times consecutive samples is an output.
    """
    taps = low_pass(up, down, beta)
    n_taps = -(-taps.size // up)
    padded = np.pad(taps, (0, n_taps * up - taps.size))
    return np.ascontiguousarray(padded.reshape(n_taps, up).T[:, ::-1])


def resample(
    signal: npt.NDArray[np.floating], ratio: Fraction, beta: float, level: float | None = None
) -> F64:
    """Polyphase resampling as ``scipy.signal.resample_poly``, with the median beyond both ends.

    Parameters
    ----------
    signal : ndarray, shape (..., n_times)
    ratio : Fraction
        New rate over old rate.
    beta : float
        Of the Kaiser window.
    level : float, optional
        What continues the signal beyond both ends, in place of its median.

    Returns
    -------
    ndarray, shape (..., ceil(n_times * ratio))
    """
    up, down = ratio.numerator, ratio.denominator
    taps = _taps(up, down, beta)
    half = 10 * max(up, down)
    n_times, n_taps = signal.shape[-1], taps.shape[1]
    n_out = -(-n_times * up // down)
    rows = np.asarray(signal, dtype=np.float64).reshape(-1, n_times)
    beyond_ends = np.median(rows, axis=1, keepdims=True) if level is None else np.array(level)
    out = np.empty((len(rows), n_out))
    if max(up, down) <= MOST_PHASES:
        of_block, n_per = _phases(up, down, beta)
        n_blocks = -(-n_out // n_per)
        step = n_per * down // up
        # Blocks of samples that follow one another; an output sees those of two of them.
        n_needed = (n_blocks + 1) * step
        before = n_taps - 1 - half // up
        around = np.zeros((len(rows), n_needed))
        n_there = min(n_times, n_needed - before)
        around[:, before : before + n_there] = rows[:, :n_there] - beyond_ends
        cut = around.reshape(len(rows), n_blocks + 1, step)
        made = cut[:, :-1].reshape(-1, step) @ of_block[:step]
        made += cut[:, 1:].reshape(-1, step) @ of_block[step:]
        out[:] = made.reshape(len(rows), n_blocks * n_per)[:, :n_out]
    else:
        # Output m is what the low-pass, centred on it, makes of the samples around it; its newest
        # sample is that at (m down + half) / up.
        newest, phase = np.divmod(np.arange(n_out) * down + half, up)
        beyond = max(0, int(newest[-1]) + 1 - n_times)
        around = np.pad(rows - beyond_ends, ((0, 0), (n_taps - 1, beyond)))
        views = np.lib.stride_tricks.sliding_window_view(around, n_taps, axis=1)
        for start in range(0, n_out, _ROWS):
            here = slice(start, start + _ROWS)
            out[:, here] = np.einsum("rmt,mt->rm", views[:, newest[here]], taps[phase[here]])
    return np.asarray((out + beyond_ends).reshape(*signal.shape[:-1], n_out))


@functools.lru_cache(maxsize=32)
def _phases(up: int, down: int, beta: float) -> tuple[F64, int]:
    """A matrix from two blocks of samples to the outputs whose taps begin in the first.

    Returns
    -------
    of_block : ndarray, shape (2 * n_per * down / up, n_per)
    n_per : int
        Outputs of a block of samples; a multiple of ``up``.
    """
    taps = _taps(up, down, beta)
    half, n_taps = 10 * max(up, down), taps.shape[1]
    # A block at least as long as the taps, so that they end in the next one.
    n_per = up * -(-(n_taps + down) // down)
    step = n_per * down // up
    newest, phase = np.divmod(np.arange(n_per) * down + half, up)
    matrix = np.zeros((2 * step, n_per))
    for m in range(n_per):
        # Sample 0 of the blocks is the oldest that output 0 sees.
        first = int(newest[m]) - half // up
        matrix[first : first + n_taps, m] = taps[phase[m]]
    return matrix, n_per


def find_peaks(signal: F64, height: float | F64, distance: int) -> npt.NDArray[np.intp]:
    """Local maxima of a height, none near a higher one: as ``scipy.signal.find_peaks``.

    Parameters
    ----------
    signal : ndarray, shape (n_times,)
    height : float, or ndarray of shape (n_times,)
        Least height of a peak.
    distance : int
        Peaks are at least so many samples apart; the higher one stays, of equal ones the later.

    Returns
    -------
    ndarray of int
        In order; of a plateau its middle.
    """
    slope = np.diff(signal)
    turns = np.flatnonzero(slope)
    # A rise followed by a fall, with what is level between them.
    top = np.flatnonzero((slope[turns[:-1]] > 0) & (slope[turns[1:]] < 0))
    peaks = (turns[top] + 1 + turns[top + 1]) // 2
    peaks = peaks[signal[peaks] >= np.broadcast_to(height, signal.shape)[peaks]]
    keep = np.ones(len(peaks), dtype=np.bool_)
    # Most stand alone, and need not be looked at one by one.
    close = np.diff(peaks) < distance
    crowded = np.append(close, False) | np.append(False, close)
    for i in np.argsort(signal[peaks])[::-1].tolist():
        if crowded[i] and keep[i]:
            near = np.searchsorted(peaks, [peaks[i] - distance + 1, peaks[i] + distance])
            keep[near[0] : near[1]] = False
            keep[i] = True
    return np.asarray(peaks[keep], dtype=np.intp)


def moving_mean(values: F64, n: int, edges: Literal["symmetric", "edge"] = "symmetric") -> F64:
    """Mean of the ``n`` values around each: as ``scipy.ndimage.uniform_filter1d``.

    Parameters
    ----------
    values : ndarray, shape (n_times,)
    n : int
        Of an even number, one more lies before than after.
    edges : {"symmetric", "edge"}
        What continues the values: their mirror image, or the outermost (SciPy's ``reflect`` and
        ``nearest``).

    Returns
    -------
    ndarray, shape (n_times,)
    """
    padded = np.pad(values, (n // 2, n - 1 - n // 2), mode=edges)
    return np.convolve(padded, np.full(n, 1.0 / n), mode="valid")


def moving_max(values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Largest of the ``n`` values around each: as ``scipy.ndimage.maximum_filter1d``.

    Parameters
    ----------
    values : ndarray, shape (..., n_times)
    n : int
        Of an even number, one more lies before than after.

    Returns
    -------
    ndarray, shape (..., n_times)
    """
    around = (*((0, 0),) * (values.ndim - 1), (n // 2, n - 1 - n // 2))
    out: npt.NDArray[Any] = np.pad(values, around, mode="symmetric")
    width = 1
    # Of two windows of the same width, one is made that spans both.
    while width < n:
        step = min(width, n - width)
        out = np.maximum(out[..., :-step], out[..., step:])
        width += step
    return out
