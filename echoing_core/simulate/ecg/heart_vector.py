"""From beats to signals: the moving heart vector, and what the body makes of it.

`Torso` maps the heart vector to I, II and V1-V6: Dower's matrix, changed a little from person to
person, and with the share of each wave that only the nearest chest electrodes see. So
``DOWER @ xyz`` gives the 12 leads of the same heart exactly when the torso is the standard one
(``torso_spread=0``), and approximately in everybody else, as with real people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.signals.leads import DOWER
from echoing_core.simulate.ecg.beats import (
    conducted_beat,
    premature_atrial_beat,
    premature_ventricular_beat,
)
from echoing_core.simulate.ecg.waves import ST_T, Build, Waves
from echoing_core.simulate.heart.rhythm import CONDUCTED, PAC, PVC, BeatTrain, flutter_ratio
from echoing_core.simulate.heart.state import HeartState

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

# How the leads of real people differ from Dower's, in the mean and in SD: least squares of I, II,
# V1...V6 on the VCG of the same lead set (inverse Dower), median beats of 800 normal PTB-XL
# records (Wagner et al. 2020, CC BY 4.0), each with its own
# matrix; the spread of lead I is reduced, because noise in its small waves inflates it.
_MEAN_SHIFT = np.array(
    [
        [0.09, 0.03, -0.05],
        [0.03, -0.02, -0.01],
        [0.00, 0.10, 0.18],
        [-0.01, 0.07, -0.30],
        [0.02, -0.10, 0.12],
        [-0.02, -0.04, 0.12],
        [-0.05, 0.04, 0.01],
        [-0.01, 0.16, -0.14],
    ]
)
_SPREAD = np.array(
    [
        [0.20, 0.16, 0.18],
        [0.08, 0.08, 0.07],
        [0.19, 0.20, 0.21],
        [0.25, 0.20, 0.29],
        [0.23, 0.15, 0.26],
        [0.19, 0.17, 0.18],
        [0.15, 0.13, 0.15],
        [0.16, 0.14, 0.14],
    ]
)

# Beats are rendered this many at a time, to bound memory on long recordings.
_BEATS_AT_ONCE = 64


# I, II, III, aVR, aVL, aVF from I and II (Einthoven, Goldberger).
_LIMB_FROM_I_II = np.array(
    [[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]], dtype=np.float32
)


@dataclass(frozen=True, eq=False)
class Torso:
    """One person's volume conductor.

    Attributes
    ----------
    matrix : ndarray, shape (8, 3)
        X, Y, Z to I, II, V1...V6.
    near : float
        Factor on what chest electrodes see beyond the dipole; 0 for the standard torso.
    """

    matrix: F64
    near: float


def sample_torso(rng: np.random.Generator, spread: float = 1.0) -> Torso:
    """Draw one person's torso.

    Parameters
    ----------
    rng : Generator
    spread : float
        How much bodies differ; 0 gives exactly Dower's matrix.
    """
    # Three quarters of the measured spread.
    own = _MEAN_SHIFT + 0.75 * _SPREAD * rng.normal(size=(8, 3))
    return Torso(DOWER + spread * own, spread)


def render(
    state: HeartState,
    build: Build,
    torso: Torso | None,
    train: BeatTrain,
    *,
    start_s: float,
    n_times: int,
    fs_hz: float,
    rng: np.random.Generator,
) -> tuple[F32, F32]:
    """Draw the signals of one stretch.

    Parameters
    ----------
    state : HeartState
    build : Build
    torso : Torso or None
        None leaves the eight leads out.
    train : BeatTrain
        May reach beyond the stretch; beats at its edges are drawn as far as they lie inside.
    start_s : float
        Time of the first sample on the clock of ``train``.
    n_times : int
    fs_hz : float
        Sampling rate in Hz.
    rng : Generator
        For atrial waves and pacing spikes. Atrial waves are functions of the clock, so pieces
        drawn with equal generators fit together.

    Returns
    -------
    xyz : ndarray, shape (3, n_times)
        Frank leads in mV.
    eight : ndarray, shape (8, n_times)
        I, II, V1...V6 in mV; no rows without a torso.
    """
    conducted = conducted_beat(state, build)
    kinds: dict[int, Waves] = {CONDUCTED: conducted}
    if (train.kind == PVC).any():
        kinds[PVC] = premature_ventricular_beat(state, build)
    if (train.kind == PAC).any():
        kinds[PAC] = premature_atrial_beat(conducted, build)
    # Channels are X, Y, Z and, with a torso, I, II, V1...V6: all drawn by one matrix product.
    to_channels = np.eye(3) if torso is None else np.vstack([np.eye(3), torso.matrix])
    near = 0.0 if torso is None else torso.near
    out = np.zeros((to_channels.shape[0], n_times), dtype=np.float32)

    for kind, waves in kinds.items():
        chosen = np.flatnonzero(train.kind == kind)
        amplitude = _channel_amplitudes(waves.vector_mv, waves.chest_mv * near, to_channels)
        # A small frontal turn of (x, y) adds its angle times (-y, x).
        swung = waves.vector_mv[:, [1, 0, 2]] * np.array([-1.0, 1.0, 0.0])
        swung_amplitude = _channel_amplitudes(swung, waves.chest_mv * 0.0, to_channels)
        late_ms = _repolarisation_shift_ms(state, train.rr_s)
        for k in range(0, chosen.size, _BEATS_AT_ONCE):
            rows = chosen[k : k + _BEATS_AT_ONCE]
            _place(
                out,
                waves,
                train.gain[rows, None, None]
                * (amplitude + train.turn[rows, None, None] * swung_amplitude),
                train.onset_s[rows] - start_s,
                late_ms[rows],
                fs_hz,
            )
    atrial = _atrial_waves(state, build, start_s, n_times, fs_hz, rng)
    if atrial is not None:
        out += (to_channels @ atrial).astype(np.float32)
    if state.rhythm == "paced":
        _add_spikes(out, to_channels, train, start_s, fs_hz, build, rng)
    return out[:3], out[3:]


def twelve_leads(eight: npt.NDArray[np.floating]) -> F32:
    """All 12 leads from I, II and V1...V6.

    Parameters
    ----------
    eight : ndarray, shape (8, n_times)

    Returns
    -------
    ndarray, shape (12, n_times), float32
        In the order of `LEADS`.
    """
    leads = np.concatenate([_LIMB_FROM_I_II @ eight[:2], eight[2:]])
    return leads.astype(np.float32, copy=False)


def _channel_amplitudes(vector: F64, chest: F64, to_channels: F64) -> F64:
    """Amplitude of every wave in every channel, shape (n_waves, n_channels)."""
    amplitude = vector @ to_channels.T
    # Beyond X, Y, Z, I and II come the six chest leads.
    if to_channels.shape[0] > 3:
        amplitude[:, 5:] += chest
    return np.asarray(amplitude)


def _repolarisation_shift_ms(state: HeartState, rr_s: F64) -> F64:
    """How much later than usual each beat's T wave comes after a longer interval.

    QT adapts slowly; a single interval moves it by far less than Fridericia's cube root.
    """
    ratio = rr_s * state.heart_rate_bpm / 60.0
    return np.asarray(state.qt_ms * (np.clip(ratio, 0.5, 2.0) ** 0.12 - 1.0))


def _place(
    out: F32, waves: Waves, amplitude: F64, onset_s: F64, late_ms: F64, fs_hz: float
) -> None:
    """Add beats to ``out``; ``amplitude`` has shape (n_beats, n_waves, n_channels)."""
    centre = waves.centre_ms / 1000.0 + (waves.group == ST_T) * late_ms[:, None] / 1000.0
    rise, fall = waves.rise_ms / 1000.0, waves.fall_ms / 1000.0
    # At 3.6 SDs a Gaussian has fallen to 0.15 % of its peak, a few microvolts at most.
    early = float((centre - 3.6 * rise).min())
    late = float((centre + 3.6 * fall).max())
    length = int(np.ceil((late - early) * fs_hz)) + 1
    first = np.floor((onset_s + early) * fs_hz).astype(np.intp)
    # Single precision: the exponential is most of the work of a simulation.
    tau = ((first[:, None] + np.arange(length)) / fs_hz - onset_s[:, None]).astype(np.float32)
    z = tau[:, None, :] - centre.astype(np.float32)[:, :, None]
    z *= np.where(z < 0, (1 / rise)[:, None], (1 / fall)[:, None]).astype(np.float32)
    np.square(z, out=z)
    z *= np.float32(-0.5)
    np.exp(z, out=z)
    beats = np.matmul(amplitude.transpose(0, 2, 1).astype(np.float32), z)
    n_times = out.shape[1]
    for row, begin in enumerate(first):
        lo, hi = max(int(begin), 0), min(int(begin) + length, n_times)
        if lo < hi:
            out[:, lo:hi] += beats[row, :, lo - begin : hi - begin]


def _atrial_waves(
    state: HeartState,
    build: Build,
    start_s: float,
    n_times: int,
    fs_hz: float,
    rng: np.random.Generator,
) -> F64 | None:
    """f waves or flutter waves as a heart vector, shape (3, n_times).

    Harmonics of one frequency that wanders, after the model of Stridh & Sörnmo (IEEE Trans
    Biomed Eng 2001;48:105); V1, nearest to the right atrium, sees most of them.
    """
    fibrillating = state.rhythm == "af" or state.paced_atrium == "af"
    if not fibrillating and state.rhythm != "flutter":
        return None
    t = start_s + np.arange(n_times) / fs_hz
    if fibrillating:
        f0 = 4.5 + 4.0 * build.uniform[2]
        size = 0.022 + 0.07 * build.uniform[3] ** 2
        direction = np.array([-0.35, 0.55, -0.80])
        harmonics: tuple[tuple[float, float], ...] = ((1.0, 1.0), (2.0, 0.45), (3.0, 0.20))
        wander = 0.6
    else:
        f0 = state.heart_rate_bpm * flutter_ratio(state) / 60.0
        size = 0.09 + 0.10 * build.uniform[3]
        # Typical flutter runs up the septum: negative saw teeth in II, III and aVF.
        direction = np.array([-0.1, -1.0, -0.35])
        harmonics = ((1.0, 1.0), (2.0, 0.5), (3.0, 0.28), (4.0, 0.12))
        wander = 0.0
    # Drifting frequency and amplitude: each harmonic has its own slow modulation.
    phase = 2 * np.pi * f0 * t + rng.uniform(0, 2 * np.pi)
    if wander:
        for slow_hz in (0.11, 0.37, 0.9):
            slow = slow_hz * rng.uniform(0.8, 1.2)
            phase += (
                wander
                * rng.normal()
                / 2
                / slow
                * np.sin(2 * np.pi * slow * t + rng.uniform(0, 2 * np.pi))
            )
    wave = np.zeros((3, n_times))
    for order, share in harmonics:
        # f waves of several circuits: each harmonic has a direction of its own.
        own = direction + 0.3 * rng.normal(size=3) * (wander > 0)
        loud = np.ones(n_times)
        if wander:
            loud += 0.45 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * t + rng.uniform(0, 2 * np.pi))
        wave += share * own[:, None] * (loud * np.sin(order * phase))
    return np.asarray(size * wave)


def _add_spikes(
    out: F32,
    to_channels: F64,
    train: BeatTrain,
    start_s: float,
    fs_hz: float,
    build: Build,
    rng: np.random.Generator,
) -> None:
    """Add pacing spikes just before the paced beats, in place.

    A pulse lasts about 0.5 ms; below 1000 Hz the recorder's filter spreads it over a sample or
    two and takes some of its height.
    """
    # The two electrodes of a bipolar lead lie close together: their spike is small.
    bipolar = build.uniform[1] < 0.7
    size = (0.15 + 0.35 * build.uniform[4]) if bipolar else (1.0 + 1.8 * build.uniform[4])
    direction = np.array([-0.5, -0.75, 0.25]) + 0.15 * build.ectopic[:3]
    spike = to_channels @ (size * direction * min(1.0, (fs_hz / 500.0) ** 0.5))
    onsets = train.onset_s[train.kind == CONDUCTED] - start_s - 0.004
    first = np.floor(onsets * fs_hz).astype(np.intp)
    share = onsets * fs_hz - first
    for at, part in zip(first, share, strict=True):
        jitter = 1.0 + 0.05 * rng.normal()
        for offset, weight in ((0, 1.0 - 0.6 * part), (1, 0.6 * part), (2, -0.06), (3, -0.03)):
            if 0 <= at + offset < out.shape[1]:
                out[:, at + offset] += (jitter * weight * spike).astype(np.float32)
