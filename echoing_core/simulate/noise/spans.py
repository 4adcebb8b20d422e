"""Noise with its true place: which kind, which leads, from when to when, how strong.

Most noise arises at an electrode, so it is drawn there and reaches the leads as the hardware
combines them (Wilson's central terminal, Goldberger's leads): a bad right-arm electrode disturbs
I and II much, the chest leads a third of it, and never only one limb lead. Faults after that
point (a flat channel, clipping, steps) hit single leads.

Kinds follow the MIT-BIH noise stress test (baseline wander, muscle, electrode motion; Moody et
al., Comput Cardiol 1984;11:381) and common faults of recorders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS
from echoing_core.simulate.noise.electrodes import LEADS_FROM_ELECTRODES
from echoing_core.simulate.noise.shapes import DRAW, clip, lose_signal, source_sizes, wander

F32 = npt.NDArray[np.float32]

KINDS = (
    "baseline_wander",
    "muscle",
    "mains",
    "electrode_motion",
    "lead_off",
    "saturation",
    "step",
    "spike",
)


@dataclass(frozen=True)
class NoiseSpan:
    """One stretch of noise.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    lead_names : tuple of str
        Leads that are changed by more than the noise floor.
    start_s, end_s : float
    snr_db : float
        Power of the clean signal (its mean taken off) over the power of the disturbance, in
        these leads and this stretch; a lost signal has about 0 dB or less.
    """

    kind: str
    lead_names: tuple[str, ...]
    start_s: float
    end_s: float
    snr_db: float


@dataclass(frozen=True)
class NoiseEpisode:
    """A disturbance that is to be drawn.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    severity : float
        0 (mild) to 1 (strong).
    start_s, end_s : float
        Place in the recording, in s.
    """

    kind: str
    severity: float
    start_s: float
    end_s: float


def noise_floor(
    n_leads: int, n_times: int, fs_hz: float, rng: np.random.Generator, size_mv: float = 0.006
) -> F32:
    """What every recording has: a little wide-band noise and slow wander.

    Twelve leads get it at the electrodes, so that the limb leads stay consistent.

    Parameters
    ----------
    n_leads, n_times : int
    fs_hz : float
        Sampling rate in Hz.
    rng : Generator
    size_mv : float
        SD in mV of the wide-band noise at 500 Hz; the wander has three times as much.

    Returns
    -------
    ndarray, shape (n_leads, n_times), float32
    """
    channels = 9 if n_leads == 12 else n_leads
    # The same noise density at every rate: a wider band holds more of it.
    sd = size_mv * np.sqrt(fs_hz / 500.0) * np.exp(0.3 * rng.standard_normal((channels, 1)))
    noise = rng.standard_normal((channels, n_times), dtype=np.float32) * sd.astype(np.float32)
    noise += wander(channels, n_times, fs_hz, rng) * np.float32(3.0 * size_mv)
    if n_leads == 12:
        # A lead is a difference of two electrodes or so: 0.7 keeps its SD near ``size_mv``.
        return np.asarray(LEADS_FROM_ELECTRODES.astype(np.float32) @ (noise * 0.7))
    return np.asarray(noise)


def corrupt(
    signal_mv: npt.NDArray[np.floating],
    fs_hz: float,
    rng: np.random.Generator,
    severity: float,
) -> tuple[F32, tuple[NoiseSpan, ...]]:
    """Disturb a 12-lead ECG, simulated or real, as worse devices and skins do.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        Millivolts, in the order of `LEADS`, finite. Not changed.
    fs_hz : float
        Sampling rate in Hz.
    severity : float
        0 (one mild disturbance) to 1 (several strong ones, faults likely).

    Returns
    -------
    signal_mv : ndarray, shape (12, n_times), float32
    spans : tuple of NoiseSpan
        What was added, where and how strong.

    Raises
    ------
    ValueError
        If the signal does not have 12 rows, or severity is outside 0-1.
    """
    if signal_mv.ndim != 2 or signal_mv.shape[0] != len(LEADS):
        raise ValueError(f"corrupt needs shape (12, n_times), not {signal_mv.shape}")
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity must lie between 0 and 1, not {severity}")
    duration_s = signal_mv.shape[1] / fs_hz
    episodes = draw_episodes(duration_s, rng, severity)
    return add_noise(signal_mv, fs_hz, LEADS, episodes, rng)


def draw_episodes(
    duration_s: float, rng: np.random.Generator, severity: float
) -> list[NoiseEpisode]:
    """Choose disturbances for a recording of some seconds.

    Parameters
    ----------
    duration_s : float
        In s.
    rng : Generator
    severity : float
        0 to 1; decides how many there are, of which kinds and how strong.

    Returns
    -------
    list of NoiseEpisode
        At least one.
    """
    # In the order of `KINDS`. Faults that hide the signal become likely with severity only.
    weights = np.array(
        [
            1.0,
            1.0,
            0.5,
            0.25 + 1.0 * severity,
            0.9 * severity**1.5,
            0.5 * severity**1.5,
            0.15 + 0.3 * severity,
            0.15 + 0.3 * severity,
        ]
    )
    n = 1 + int(rng.poisson(0.3 + 1.6 * severity))
    episodes = []
    for kind in rng.choice(len(KINDS), size=n, p=weights / weights.sum()):
        own = float(np.clip(severity + 0.15 * rng.normal(), 0.0, 1.0))
        throughout = rng.random() < (0.55 if KINDS[kind] in ("baseline_wander", "mains") else 0.3)
        if throughout:
            start, end = 0.0, duration_s
        else:
            # An episode may have begun before the recording, or end after it.
            length = duration_s * float(rng.uniform(0.12, 0.7))
            start = float(rng.uniform(-0.3 * length, duration_s - 0.7 * length))
            start, end = max(start, 0.0), min(start + length, duration_s)
        episodes.append(NoiseEpisode(KINDS[kind], own, start, end))
    return episodes


def add_noise(
    signal_mv: npt.NDArray[np.floating],
    fs_hz: float,
    lead_names: tuple[str, ...],
    episodes: list[NoiseEpisode],
    rng: np.random.Generator,
) -> tuple[F32, tuple[NoiseSpan, ...]]:
    """Draw ``episodes`` into a copy of ``signal_mv``.

    Additive noise comes first, then steps and spikes, then lost signals, then clipping, as in a
    recorder. Twelve leads in the order of `LEADS` are disturbed through their electrodes; any
    other set lead by lead.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
        Millivolts. Not changed.
    fs_hz : float
        Sampling rate in Hz.
    lead_names : tuple of str
    episodes : list of NoiseEpisode
        In any order; those under three samples are left out.
    rng : Generator

    Returns
    -------
    signal_mv : ndarray, shape (n_leads, n_times), float32
    spans : tuple of NoiseSpan
        Of the episodes that changed a lead by more than the floor.
    """
    noisy = np.array(signal_mv, dtype=np.float32)
    spans: list[NoiseSpan] = []
    for episode in sorted(episodes, key=lambda e: _ORDER[e.kind]):
        lo = round(episode.start_s * fs_hz)
        hi = min(round(episode.end_s * fs_hz), noisy.shape[1])
        if hi - lo < 3:
            continue
        clean = np.asarray(signal_mv[:, lo:hi], dtype=np.float32)
        # A view: what is drawn into it is in ``noisy``.
        part = noisy[:, lo:hi]
        before = part.copy()
        if episode.kind in _ADDITIVE:
            part += _additive(episode, clean, fs_hz, lead_names, rng)
        elif episode.kind == "lead_off":
            lose_signal(part, episode.severity, fs_hz, lead_names, rng)
        else:
            clip(part, episode.severity, rng)
        span = _span(episode, clean, part - before, lo, fs_hz, lead_names)
        if span is not None:
            spans.append(span)
    return noisy, tuple(spans)


_ADDITIVE = ("baseline_wander", "muscle", "mains", "electrode_motion", "step", "spike")
_ORDER = {kind: i for i, kind in enumerate((*_ADDITIVE, "lead_off", "saturation"))}

# A lead counts as disturbed when its RMS change is beyond this, in mV.
_FLOOR_MV = 0.012


def _span(
    episode: NoiseEpisode,
    clean: F32,
    change: F32,
    lo: int,
    fs_hz: float,
    lead_names: tuple[str, ...],
) -> NoiseSpan | None:
    """Where an episode is and how strong; None where no lead shows it."""
    power = np.square(change).mean(axis=1)
    touched = np.flatnonzero(power > _FLOOR_MV**2)
    if touched.size == 0:
        return None
    signal = (clean[touched] - clean[touched].mean(axis=1, keepdims=True)).var(axis=1).mean()
    snr_db = 10.0 * np.log10(max(float(signal), 1e-8) / float(power[touched].mean()))
    return NoiseSpan(
        kind=episode.kind,
        lead_names=tuple(lead_names[i] for i in touched),
        start_s=lo / fs_hz,
        end_s=(lo + clean.shape[1]) / fs_hz,
        snr_db=round(float(snr_db), 2),
    )


def _additive(
    episode: NoiseEpisode,
    clean: F32,
    fs_hz: float,
    lead_names: tuple[str, ...],
    rng: np.random.Generator,
) -> F32:
    """Noise in the leads, shape (n_leads, n_times of the episode)."""
    n_leads, n_times = clean.shape
    electrodes = n_leads == 12 and lead_names == LEADS
    n_sources = 9 if electrodes else n_leads
    severity = episode.severity
    if episode.kind == "step" and rng.random() < 0.5:
        # The amplifier settles anew: every lead jumps by itself.
        electrodes, n_sources = False, n_leads
    sources = source_sizes(episode.kind, n_sources, severity, rng)
    # Only the sources that make noise are drawn: motion costs most of the time.
    shape = np.zeros((n_sources, n_times), dtype=np.float32)
    used = np.flatnonzero(sources)
    shape[used] = DRAW[episode.kind](used.size, n_times, fs_hz, rng)
    shape *= sources[:, None]
    noise = LEADS_FROM_ELECTRODES.astype(np.float32) @ shape if electrodes else shape
    if episode.kind in ("baseline_wander", "muscle", "electrode_motion"):
        # Set the strength by SNR in the worst lead's terms: 14 dB (mild) to -12 dB.
        rms = float(np.sqrt(np.square(noise).mean(axis=1).max()))
        # Against an ECG of usual size where the lead is flat or huge.
        body = float(np.clip(clean.std(axis=1).mean(), 0.08, 0.35))
        snr_db = 14.0 - 24.0 * severity + 3.0 * float(rng.normal())
        # Wide-band noise at half the power.
        if episode.kind == "muscle":
            snr_db += 3.0
        noise *= np.float32(body * 10 ** (-snr_db / 20) / max(rms, 1e-6))
    return np.asarray(noise, dtype=np.float32)
