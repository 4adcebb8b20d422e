"""The shapes of noise: wander, muscle, mains, motion, steps, spikes; lost and clipped signals.

Each drawing function takes how many sources (electrodes or leads) are disturbed, and draws each
of them its own. Rates are in Hz, amplitudes in mV or without unit where `spans` sets the strength.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS
from echoing_core.simulate.noise.electrodes import LEADS_FROM_ELECTRODES

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


def source_sizes(kind: str, n: int, severity: float, rng: np.random.Generator) -> F32:
    """How strongly each electrode (or lead) makes the noise.

    Parameters
    ----------
    kind : str
        A key of `DRAW`.
    n : int
        Number of sources.
    severity : float
        0 to 1.
    rng : Generator

    Returns
    -------
    ndarray, shape (n,), float32
        0 for those that make none. In mV for mains, steps and spikes; for the other kinds only
        the ratio counts.
    """
    size = np.exp(0.4 * rng.normal(size=n)).astype(np.float32)
    if kind == "baseline_wander":
        return size
    if kind == "mains":
        level = 0.015 * np.exp(2.6 * severity)
        return np.asarray(size * level, dtype=np.float32)
    if kind == "muscle":
        # A person who tenses up disturbs all electrodes; one who moves an arm, some.
        if rng.random() < 0.55:
            return size
        few = max(1, int(rng.integers(1, max(n // 2, 2))))
    else:
        few = 1 + int(rng.random() < 0.3) + int(rng.random() < 0.5 * severity)
    chosen = rng.permutation(n)[: min(few, n)]
    mask = np.full(n, 0.0, dtype=np.float32)
    mask[chosen] = size[chosen]
    if kind == "step":
        mask *= np.float32(0.25 + 2.0 * severity)
    elif kind == "spike":
        mask *= np.float32(0.5 + 4.0 * severity)
    return mask


def wander(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Slow drift below about 0.6 Hz with unit RMS: respiration and three slower or faster waves.

    Parameters
    ----------
    n, n_times : int
        Sources and samples.
    fs_hz : float
        Sampling rate in Hz.
    rng : Generator

    Returns
    -------
    ndarray, shape (n, n_times), float32
    """
    t = np.arange(n_times, dtype=np.float32) * np.float32(2 * np.pi / fs_hz)
    out = np.zeros((n, n_times), dtype=np.float32)
    breath = float(rng.uniform(0.15, 0.4))
    for k in range(4):
        hz = breath if k == 0 else float(rng.uniform(0.03, 0.6))
        # In phase and out of phase parts differ between electrodes.
        a = rng.normal(size=(2, n, 1)).astype(np.float32)
        angle = np.float32(hz) * t
        out += a[0] * np.sin(angle) + a[1] * np.cos(angle)
    return out / np.float32(2.0)


def muscle(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Wide-band noise whose strength comes and goes within a second.

    Parameters
    ----------
    n, n_times, fs_hz, rng
        As in `wander`.

    Returns
    -------
    ndarray, shape (n, n_times), float32
    """
    white = rng.standard_normal((n, n_times), dtype=np.float32)
    # A first difference shifts the power to above 20 Hz, where surface EMG has it.
    white[:, 1:] -= np.float32(0.5 * min(1.0, 250.0 / fs_hz)) * white[:, :-1]
    # A log-normal envelope with 2.5 knots a second.
    knots = max(3, int(n_times / fs_hz * 2.5))
    envelope = np.exp(0.7 * rng.normal(size=knots))
    return white * np.interp(np.linspace(0, knots - 1, n_times), np.arange(knots), envelope).astype(
        np.float32
    )


def mains(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """50 or 60 Hz, and its third harmonic where the rate leaves room, unit amplitude.

    Parameters
    ----------
    n, n_times, fs_hz, rng
        As in `wander`; each source has a phase of its own.

    Returns
    -------
    ndarray, shape (n, n_times), float32
    """
    # The grid keeps its frequency within a permille or so.
    hz = float(rng.choice((50.0, 50.0, 60.0))) * (1 + 0.001 * float(rng.normal()))
    t = np.arange(n_times) * (2 * np.pi / fs_hz)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1))
    if hz >= 0.5 * fs_hz * 0.98:
        # A recorder at 100 Hz has a filter; what is left folds to a slow beat.
        return (0.15 * np.sin(abs(fs_hz - hz) * t + phase)).astype(np.float32)
    wave = np.sin(hz * t + phase)
    if 3 * hz < 0.5 * fs_hz:
        wave += 0.2 * np.sin(3 * hz * t + 2.0 * phase)
    return wave.astype(np.float32)


def motion(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Electrode motion: bumps as long as a T wave or a beat, some of them sharp.

    Parameters
    ----------
    n, n_times, fs_hz, rng
        As in `wander`.

    Returns
    -------
    ndarray, shape (n, n_times), float32
    """
    per_s = float(rng.uniform(0.8, 3.0))
    count = max(2, int(n_times / fs_hz * per_s))
    t = np.arange(n_times, dtype=np.float32) / np.float32(fs_hz)
    out = np.zeros((n, n_times), dtype=np.float32)
    for row in range(n):
        at = rng.uniform(0, n_times / fs_hz, size=count)
        width = np.exp(rng.uniform(np.log(0.03), np.log(0.5), size=count))
        size = rng.normal(size=count) * np.exp(0.4 * rng.normal(size=count))
        for centre, sd, height in zip(at, width, size, strict=True):
            # A Gaussian is nothing beyond 3.5 SDs.
            lo = max(int((centre - 3.5 * sd) * fs_hz), 0)
            hi = min(int((centre + 3.5 * sd) * fs_hz) + 1, n_times)
            z = (t[lo:hi] - np.float32(centre)) / np.float32(sd)
            out[row, lo:hi] += np.float32(height) * np.exp(np.float32(-0.5) * z * z)
    return out


def steps(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """A jump that stays, or falls off with the recorder's high-pass.

    Parameters
    ----------
    n, n_times, fs_hz, rng
        As in `wander`; all sources jump at once.

    Returns
    -------
    ndarray, shape (n, n_times), float32
    """
    t = np.arange(n_times, dtype=np.float32) / np.float32(fs_hz)
    out = np.zeros((n, n_times), dtype=np.float32)
    # Time constants from 0.3 s (monitor) to 30 s (hardly a fall in 10 s).
    decay = float(np.exp(rng.uniform(np.log(0.3), np.log(30.0))))
    at = float(rng.uniform(0.0, 0.6)) * n_times / fs_hz
    late = t >= np.float32(at)
    size = rng.choice((-1.0, 1.0), size=n) * np.exp(0.4 * rng.normal(size=n))
    out[:, late] = (size[:, None] * np.exp(-(t[late] - at) / decay)).astype(np.float32)
    return out


def spikes(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Single samples far off, on all the disturbed leads at once.

    Parameters
    ----------
    n, n_times, fs_hz, rng
        As in `wander`.

    Returns
    -------
    ndarray, shape (n, n_times), float32
    """
    out = np.zeros((n, n_times), dtype=np.float32)
    count = 1 + int(rng.poisson(0.8 * n_times / fs_hz))
    at = rng.integers(0, n_times, size=count)
    out[:, at] = rng.normal(size=(n, count)) * 1.5
    return out


DRAW = {
    "baseline_wander": wander,
    "muscle": muscle,
    "mains": mains,
    "electrode_motion": motion,
    "step": steps,
    "spike": spikes,
}
"""What is added to a signal, by kind; lost and clipped signals take its place instead."""


def lose_signal(
    part: F32,
    severity: float,
    fs_hz: float,
    lead_names: tuple[str, ...],
    rng: np.random.Generator,
) -> None:
    """Replace the signal of the leads of one or more electrodes, in place.

    Parameters
    ----------
    part : ndarray, shape (n_leads, n_times)
        Millivolts; changed.
    severity : float
        0 to 1; more electrodes fall off with it.
    fs_hz : float
    lead_names : tuple of str
        Twelve leads in the order of `LEADS` lose what an electrode takes with it; any others one
        by one.
    rng : Generator
    """
    n_leads, n_times = part.shape
    form = str(rng.choice(("flat", "drift", "rail", "hum"), p=(0.4, 0.25, 0.15, 0.2)))
    n_off = 1 + int(rng.random() < 0.35) + int(rng.random() < 0.6 * severity)
    if n_leads == 12 and lead_names == LEADS:
        off = rng.permutation(9)[:n_off]
        weight = LEADS_FROM_ELECTRODES[:, off]
        # Without a limb electrode, I, II, III and the augmented leads that need it are lost;
        # the chest leads only lose a third of their reference.
        lost = np.flatnonzero(np.abs(weight).max(axis=1) > 0.4)
        # The cable is pulled out.
        if rng.random() < 0.04 + 0.06 * severity:
            lost = np.arange(12)
    else:
        lost = rng.permutation(n_leads)[: min(n_off, n_leads)]
    t = np.arange(n_times, dtype=np.float32) / np.float32(fs_hz)
    for row in lost:
        # Each lead by itself: an open input floats, and floats nowhere in particular.
        level = float(rng.normal()) * 0.1
        if form == "flat":
            new = np.full(n_times, level if rng.random() < 0.4 else 0.0, dtype=np.float32)
        elif form == "rail":
            new = np.full(n_times, rng.choice((-1.0, 1.0)) * rng.uniform(4.8, 10.0))
        elif form == "drift":
            walk = np.cumsum(rng.standard_normal(n_times)) * (2.0 / np.sqrt(fs_hz))
            new = np.clip(level + 0.5 * walk, -6.0, 6.0)
        else:
            hum = mains(1, n_times, fs_hz, rng)[0] * float(rng.uniform(0.3, 2.5))
            new = hum + 0.2 * np.sin(2 * np.pi * 0.3 * t)
        part[row] = np.asarray(new, dtype=np.float32)


def clip(part: F32, severity: float, rng: np.random.Generator) -> None:
    """Saturate: the input range is too small, or an offset drives it to its rail, in place.

    Parameters
    ----------
    part : ndarray, shape (n_leads, n_times)
        Millivolts; changed.
    severity : float
        0 to 1; less of the signal is left with it.
    rng : Generator
    """
    n_leads = part.shape[0]
    some = rng.permutation(n_leads)[: int(rng.integers(1, n_leads + 1))]
    rows = np.arange(n_leads) if rng.random() < 0.4 else some
    if rng.random() < 0.5:
        peak = float(np.abs(part).max())
        limit = np.float32(peak * (0.75 - 0.5 * severity))
        part[rows] = np.clip(part[rows], -limit, limit)
    else:
        # Usual input ranges of recorders, in mV.
        rail = np.float32(rng.choice((2.5, 3.2, 5.0)))
        offset = (rng.choice((-1.0, 1.0), size=(rows.size, 1)) * rail).astype(np.float32)
        offset *= np.float32(0.8 + 0.35 * severity)
        part[rows] = np.clip(part[rows] + offset, -rail, rail)
