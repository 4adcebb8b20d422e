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

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

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

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

_CENTRAL = [1 / 3, 1 / 3, 1 / 3]


def _electrodes_to_leads() -> F64:
    limb = np.array(
        [[-1, 1, 0], [-1, 0, 1], [0, -1, 1], [1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]]
    )
    matrix = np.zeros((12, 9))
    matrix[:6, :3] = limb
    matrix[6:, :3] = [[-share for share in _CENTRAL]] * 6
    matrix[6:, 3:] = np.eye(6)
    return matrix


LEADS_FROM_ELECTRODES = _electrodes_to_leads()
"""Shape (12, 9): potentials of `ELECTRODES` to the leads in the order of `LEADS`."""


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
        these leads and this stretch; ``-inf`` is never given, a lost signal has 0 dB or less.
    """

    kind: str
    lead_names: tuple[str, ...]
    start_s: float
    end_s: float
    snr_db: float


@dataclass(frozen=True)
class NoiseEpisode:
    """A disturbance that is to be drawn."""

    kind: str
    severity: float
    start_s: float
    end_s: float


def noise_floor(
    n_leads: int, n_times: int, fs_hz: float, rng: np.random.Generator, size_mv: float = 0.006
) -> F32:
    """What every recording has: a little wide-band noise and slow wander.

    Twelve leads get it at the electrodes, so that the limb leads stay consistent.
    """
    channels = 9 if n_leads == 12 else n_leads
    # The same noise density at every rate: a wider band holds more of it.
    sd = size_mv * np.sqrt(fs_hz / 500.0) * np.exp(0.3 * rng.standard_normal((channels, 1)))
    noise = rng.standard_normal((channels, n_times), dtype=np.float32) * sd.astype(np.float32)
    noise += _wander(channels, n_times, fs_hz, rng) * np.float32(3.0 * size_mv)
    if n_leads == 12:
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
    """Choose disturbances for a recording of some seconds."""
    # Faults that hide the signal become likely with severity only.
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
        whole = rng.random() < (0.55 if KINDS[kind] in ("baseline_wander", "mains") else 0.3)
        if whole:
            start, end = 0.0, duration_s
        else:
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
    """
    noisy = np.array(signal_mv, dtype=np.float32)
    spans: list[NoiseSpan] = []
    for episode in sorted(episodes, key=lambda e: _ORDER[e.kind]):
        lo = round(episode.start_s * fs_hz)
        hi = min(round(episode.end_s * fs_hz), noisy.shape[1])
        if hi - lo < 3:
            continue
        clean = np.asarray(signal_mv[:, lo:hi], dtype=np.float32)
        part = noisy[:, lo:hi]
        before = part.copy()
        if episode.kind in _ADDITIVE:
            part += _additive(episode, clean, fs_hz, lead_names, rng)
        elif episode.kind == "lead_off":
            _lead_off(part, episode, fs_hz, lead_names, rng)
        else:
            _clip(part, episode, rng)
        span = _span(episode, clean, part - before, lo, fs_hz, lead_names)
        if span is not None:
            spans.append(span)
    return noisy, tuple(spans)


_ADDITIVE = ("baseline_wander", "muscle", "mains", "electrode_motion", "step", "spike")
_ORDER = {kind: i for i, kind in enumerate((*_ADDITIVE, "lead_off", "saturation"))}

# A lead counts as disturbed when its RMS change is beyond this, in mV.
_SEEN_MV = 0.012


def _span(
    episode: NoiseEpisode,
    clean: F32,
    change: F32,
    lo: int,
    fs_hz: float,
    lead_names: tuple[str, ...],
) -> NoiseSpan | None:
    power = np.square(change).mean(axis=1)
    touched = np.flatnonzero(power > _SEEN_MV**2)
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
    sources = _sources(episode.kind, n_sources, severity, rng)
    shape = np.zeros((n_sources, n_times), dtype=np.float32)
    used = np.flatnonzero(sources)
    shape[used] = _DRAW[episode.kind](used.size, n_times, fs_hz, rng)
    shape *= sources[:, None]
    noise = LEADS_FROM_ELECTRODES.astype(np.float32) @ shape if electrodes else shape
    if episode.kind in ("baseline_wander", "muscle", "electrode_motion"):
        # Set the strength by SNR in the worst lead's terms: 14 dB (mild) to -12 dB.
        rms = float(np.sqrt(np.square(noise).mean(axis=1).max()))
        body = float(np.clip(clean.std(axis=1).mean(), 0.08, 0.35))
        snr_db = 14.0 - 24.0 * severity + 3.0 * float(rng.normal())
        if episode.kind == "muscle":
            snr_db += 3.0
        noise *= np.float32(body * 10 ** (-snr_db / 20) / max(rms, 1e-6))
    return np.asarray(noise, dtype=np.float32)


def _sources(kind: str, n: int, severity: float, rng: np.random.Generator) -> F32:
    """How strongly each electrode (or lead) makes the noise, shape (n,)."""
    size = np.exp(0.4 * rng.normal(size=n)).astype(np.float32)
    if kind == "baseline_wander":
        return size
    if kind == "mains":
        level = 0.015 * np.exp(2.6 * severity)
        return np.asarray(size * level, dtype=np.float32)
    if kind == "muscle":
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


def _wander(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Slow drift below about 0.5 Hz with unit RMS: respiration and a random walk."""
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


def _muscle(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Wide-band noise whose strength comes and goes within a second."""
    white = rng.standard_normal((n, n_times), dtype=np.float32)
    # A first difference shifts the power to above 20 Hz, where surface EMG has it.
    white[:, 1:] -= np.float32(0.5 * min(1.0, 250.0 / fs_hz)) * white[:, :-1]
    knots = max(3, int(n_times / fs_hz * 2.5))
    envelope = np.exp(0.7 * rng.normal(size=knots))
    return white * np.interp(np.linspace(0, knots - 1, n_times), np.arange(knots), envelope).astype(
        np.float32
    )


def _mains(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """50 or 60 Hz, and its third harmonic where the rate leaves room, unit amplitude."""
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


def _motion(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Electrode motion: bumps as long as a T wave or a beat, some of them sharp."""
    per_s = float(rng.uniform(0.8, 3.0))
    count = max(2, int(n_times / fs_hz * per_s))
    t = np.arange(n_times, dtype=np.float32) / np.float32(fs_hz)
    out = np.zeros((n, n_times), dtype=np.float32)
    for row in range(n):
        at = rng.uniform(0, n_times / fs_hz, size=count)
        width = np.exp(rng.uniform(np.log(0.03), np.log(0.5), size=count))
        size = rng.normal(size=count) * np.exp(0.4 * rng.normal(size=count))
        for centre, sd, height in zip(at, width, size, strict=True):
            lo = max(int((centre - 3.5 * sd) * fs_hz), 0)
            hi = min(int((centre + 3.5 * sd) * fs_hz) + 1, n_times)
            z = (t[lo:hi] - np.float32(centre)) / np.float32(sd)
            out[row, lo:hi] += np.float32(height) * np.exp(np.float32(-0.5) * z * z)
    return out


def _steps(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """A jump that stays, or falls off with the recorder's high-pass."""
    t = np.arange(n_times, dtype=np.float32) / np.float32(fs_hz)
    out = np.zeros((n, n_times), dtype=np.float32)
    decay = float(np.exp(rng.uniform(np.log(0.3), np.log(30.0))))
    at = float(rng.uniform(0.0, 0.6)) * n_times / fs_hz
    late = t >= np.float32(at)
    size = rng.choice((-1.0, 1.0), size=n) * np.exp(0.4 * rng.normal(size=n))
    out[:, late] = (size[:, None] * np.exp(-(t[late] - at) / decay)).astype(np.float32)
    return out


def _spikes(n: int, n_times: int, fs_hz: float, rng: np.random.Generator) -> F32:
    """Single samples far off, on all the disturbed leads at once."""
    out = np.zeros((n, n_times), dtype=np.float32)
    count = 1 + int(rng.poisson(0.8 * n_times / fs_hz))
    at = rng.integers(0, n_times, size=count)
    out[:, at] = rng.normal(size=(n, count)) * 1.5
    return out


_DRAW = {
    "baseline_wander": _wander,
    "muscle": _muscle,
    "mains": _mains,
    "electrode_motion": _motion,
    "step": _steps,
    "spike": _spikes,
}


def _lead_off(
    part: F32,
    episode: NoiseEpisode,
    fs_hz: float,
    lead_names: tuple[str, ...],
    rng: np.random.Generator,
) -> None:
    """Replace the signal of the leads of one or more electrodes, in place."""
    n_leads, n_times = part.shape
    form = str(rng.choice(("flat", "drift", "rail", "hum"), p=(0.4, 0.25, 0.15, 0.2)))
    n_off = 1 + int(rng.random() < 0.35) + int(rng.random() < 0.6 * episode.severity)
    if n_leads == 12 and lead_names == LEADS:
        off = rng.permutation(9)[:n_off]
        weight = LEADS_FROM_ELECTRODES[:, off]
        # Without a limb electrode, I, II, III and the augmented leads that need it are lost;
        # the chest leads only lose a third of their reference.
        lost = np.flatnonzero(np.abs(weight).max(axis=1) > 0.4)
        if rng.random() < 0.04 + 0.06 * episode.severity:
            lost = np.arange(12)
    else:
        lost = rng.permutation(n_leads)[: min(n_off, n_leads)]
    t = np.arange(n_times, dtype=np.float32) / np.float32(fs_hz)
    for row in lost:
        level = float(rng.normal()) * 0.1
        if form == "flat":
            new = np.full(n_times, level if rng.random() < 0.4 else 0.0, dtype=np.float32)
        elif form == "rail":
            new = np.full(n_times, rng.choice((-1.0, 1.0)) * rng.uniform(4.8, 10.0))
        elif form == "drift":
            walk = np.cumsum(rng.standard_normal(n_times)) * (2.0 / np.sqrt(fs_hz))
            new = np.clip(level + 0.5 * walk, -6.0, 6.0)
        else:
            hum = _mains(1, n_times, fs_hz, rng)[0] * float(rng.uniform(0.3, 2.5))
            new = hum + 0.2 * np.sin(2 * np.pi * 0.3 * t)
        part[row] = np.asarray(new, dtype=np.float32)


def _clip(part: F32, episode: NoiseEpisode, rng: np.random.Generator) -> None:
    """Saturate: the input range is too small, or an offset drives it to its rail, in place."""
    n_leads = part.shape[0]
    some = rng.permutation(n_leads)[: int(rng.integers(1, n_leads + 1))]
    rows = np.arange(n_leads) if rng.random() < 0.4 else some
    if rng.random() < 0.5:
        peak = float(np.abs(part).max())
        limit = np.float32(peak * (0.75 - 0.5 * episode.severity))
        part[rows] = np.clip(part[rows], -limit, limit)
    else:
        rail = np.float32(rng.choice((2.5, 3.2, 5.0)))
        offset = (rng.choice((-1.0, 1.0), size=(rows.size, 1)) * rail).astype(np.float32)
        offset *= np.float32(0.8 + 0.35 * episode.severity)
        part[rows] = np.clip(part[rows] + offset, -rail, rail)
