"""Augmentations of Raghu et al., "Data Augmentation for Electrocardiograms" (CHIL 2022).

Their set: time mask, Gaussian noise, baseline wander, random temporal warp and displacement,
magnitude scaling. The paper learns strengths task by task (TaskAug); here the strengths are
drawn from fixed ranges, and each operation is used with one probability.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.records import STANDARD_FS_HZ, BoolArray

FloatArray = npt.NDArray[np.float32]


def raghu_view(
    signal_mv: FloatArray, valid: BoolArray, rng: np.random.Generator, probability: float
) -> tuple[FloatArray, BoolArray]:
    """One augmented view of a window.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    valid : ndarray of bool, same shape
    probability : float
        Of each operation, independently.

    Returns
    -------
    signal_mv, valid
        New arrays; 0 wherever not valid. A time mask is a gap, told by ``valid``.
    """
    signal, measured = signal_mv.astype(np.float32), valid.copy()
    use = rng.random(6) < probability
    if use[0]:
        signal, measured = warp_time(signal, measured, rng)
    if use[1]:
        signal, measured = displace(signal, measured, rng)
    if use[2]:
        signal = scale_magnitude(signal, rng)
    if use[3]:
        signal = add_baseline_wander(signal, rng)
    if use[4]:
        signal = add_noise(signal, rng)
    if use[5]:
        measured = mask_time(measured, rng)
    return np.where(measured, signal, np.float32(0.0)), measured


def warp_time(
    signal: FloatArray, valid: BoolArray, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """Stretch and squeeze time smoothly, by up to about 0.15 s, the same in all leads."""
    n_times = signal.shape[1]
    knots = rng.normal(0.0, 0.06 * STANDARD_FS_HZ, size=5)
    shift = _smooth(knots, n_times)
    # The ends stay where they are, so nothing is read from outside the window.
    source = np.arange(n_times) + shift * np.sin(np.pi * np.arange(n_times) / (n_times - 1))
    return _resample_at(signal, valid, np.maximum.accumulate(np.clip(source, 0, n_times - 1)))


def displace(
    signal: FloatArray, valid: BoolArray, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """Shift by up to 0.5 s; what comes in from outside is a gap."""
    n = int(rng.integers(-round(0.5 * STANDARD_FS_HZ), round(0.5 * STANDARD_FS_HZ) + 1))
    shifted, measured = np.zeros_like(signal), np.zeros_like(valid)
    width = signal.shape[1] - abs(n)
    to, start = max(n, 0), max(-n, 0)
    shifted[:, to : to + width] = signal[:, start : start + width]
    measured[:, to : to + width] = valid[:, start : start + width]
    return shifted, measured


def scale_magnitude(signal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One gain between 0.8 and 1.25 for all leads: a gain a lead would turn the axis."""
    return np.asarray(signal * np.exp(rng.uniform(-0.223, 0.223)), dtype=np.float32)


def add_baseline_wander(signal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A slow wave of 0.05 to 0.5 Hz in every lead, up to a quarter of the signal's spread."""
    n_leads, n_times = signal.shape
    time_s = np.arange(n_times) / STANDARD_FS_HZ
    frequency = rng.uniform(0.05, 0.5)
    phase = rng.uniform(0.0, 2.0 * np.pi, size=(n_leads, 1))
    size = rng.uniform(0.0, 0.25, size=(n_leads, 1)) * signal.std(axis=1, keepdims=True)
    return np.asarray(
        signal + size * np.sin(2.0 * np.pi * frequency * time_s + phase), dtype=np.float32
    )


def add_noise(signal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """White noise of up to a quarter of each lead's spread."""
    size = rng.uniform(0.0, 0.25) * signal.std(axis=1, keepdims=True)
    return np.asarray(signal + size * rng.standard_normal(signal.shape), dtype=np.float32)


def mask_time(valid: BoolArray, rng: np.random.Generator) -> BoolArray:
    """A gap of up to a fifth of the window in all leads."""
    n_times = valid.shape[1]
    width = int(rng.integers(1, n_times // 5 + 1))
    first = int(rng.integers(0, n_times - width + 1))
    measured = valid.copy()
    measured[:, first : first + width] = False
    return measured


def _smooth(knots: npt.NDArray[np.float64], n_times: int) -> npt.NDArray[np.float64]:
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(np.linspace(0, n_times - 1, len(knots)), knots)(range(n_times)))


def _resample_at(
    signal: FloatArray, valid: BoolArray, source: npt.NDArray[np.float64]
) -> tuple[FloatArray, BoolArray]:
    low = np.minimum(source.astype(np.int64), signal.shape[1] - 2)
    part = (source - low).astype(np.float32)
    warped = signal[:, low] * (1 - part) + signal[:, low + 1] * part
    return warped.astype(np.float32), valid[:, low] & valid[:, low + 1]
