"""When the ventricles beat, and from where.

Sinus rhythm: a mean interval, modulated by respiration (0.2-0.3 Hz), by the 0.1-Hz wave
(McSharry et al., IEEE Trans Biomed Eng 2003;50:289) and by a 1/f part (Kobayashi & Musha, IEEE
Trans Biomed Eng 1982;29:456). Atrial fibrillation: independent gamma-distributed intervals over
a shortest one. Flutter: a whole number of atrial cycles. A PVC comes early and is followed by a
compensatory pause; a PAC resets the sinus node.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.simulate.heart.state import HeartState

F64 = npt.NDArray[np.float64]

CONDUCTED, PVC, PAC = 0, 1, 2
"""Values of `BeatTrain.kind`."""

# Beats this far outside are kept: a T wave of a slow rhythm is over by then.
_MARGIN_S = 1.5


@dataclass(frozen=True, eq=False)
class BeatTrain:
    """Beats of one stretch.

    Attributes
    ----------
    onset_s : ndarray, shape (n_beats,)
        QRS onsets, ascending; some lie just outside the stretch, so that its edges hold the
        waves of beats that begin or end beyond them.
    kind : ndarray, shape (n_beats,)
        `CONDUCTED`, `PVC` or `PAC`.
    rr_s : ndarray, shape (n_beats,)
        Interval before each beat.
    gain : ndarray, shape (n_beats,)
        Factor on each beat's amplitude: respiration changes the chest's resistance.
    turn : ndarray, shape (n_beats,)
        Small frontal turn of each beat in radians: respiration swings the heart.
    """

    onset_s: F64
    kind: npt.NDArray[np.int8]
    rr_s: F64
    gain: F64
    turn: F64

    def within(self, start_s: float, stop_s: float) -> BeatTrain:
        """Return the beats with ``start_s <= onset_s < stop_s``.

        Parameters
        ----------
        start_s, stop_s : float
            On the clock of the train, in s.
        """
        keep = (self.onset_s >= start_s) & (self.onset_s < stop_s)
        return BeatTrain(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))


def beat_train(
    state: HeartState,
    start_s: float,
    stop_s: float,
    rng: np.random.Generator,
    *,
    rate_drift: float = 0.0,
) -> BeatTrain:
    """Draw the beats of one stretch.

    Without ectopy the mean interval over the stretch is exactly that of
    ``state.heart_rate_bpm``.

    Parameters
    ----------
    state : HeartState
    start_s, stop_s : float
        The stretch, in s.
    rng : Generator
    rate_drift : float
        SD of the slow changes of the rate over minutes, as a share of it.

    Returns
    -------
    BeatTrain
        With the beats within 1.5 s of either end.
    """
    mean_s = 60.0 / state.heart_rate_bpm
    lead_in = int(np.ceil(_MARGIN_S / mean_s)) + 1
    n = int(np.ceil((stop_s - start_s) / mean_s)) + 2 * lead_in
    # 11 to 19 breaths a minute.
    breath_hz = float(rng.uniform(0.19, 0.32))
    phase = float(rng.uniform(0.0, 2 * np.pi))
    # A paced ventricle that follows fibrillating atria is irregular, too.
    if state.rhythm == "af" or (state.rhythm == "paced" and state.hrv > 0.05):
        rr = _irregular(state, mean_s, n, rng)
    elif state.rhythm == "flutter":
        rr = _flutter(state, mean_s, n, rng)
    else:
        rr = mean_s * (1.0 + state.hrv * _sinus_wave(n, mean_s, breath_hz, phase, rng))
    if rate_drift > 0.0:
        t = np.arange(n) * mean_s
        # Three slow waves that do not repeat together within a recording.
        for period_s in (150.0, 420.0, 1500.0):
            period_s *= float(rng.uniform(0.7, 1.4))
            slow = np.sin(2 * np.pi * t / period_s + rng.uniform(0, 2 * np.pi))
            rr = rr * (1.0 + 0.8 * rate_drift * slow)
    # The intervals inside the stretch average to the state's rate; none is under 0.24 s (250/min).
    inside = slice(lead_in, max(n - lead_in, lead_in + 1))
    rr = np.maximum(rr * (mean_s / rr[inside].mean()), 0.24)
    first = start_s - float(rr[:lead_in].sum()) + mean_s * rng.random()
    kind = np.zeros(n, dtype=np.int8)
    _add_ectopy(state, rr, kind, rng)
    onset = first + np.cumsum(rr)
    near = (onset > start_s - _MARGIN_S) & (onset < stop_s + _MARGIN_S)
    # The same breath moves intervals, amplitude and axis.
    breath = np.sin(2 * np.pi * breath_hz * onset + phase)
    gain = 1.0 + rng.uniform(0.01, 0.07) * breath + 0.008 * rng.normal(size=n)
    turn = rng.uniform(0.0, 0.06) * breath + 0.008 * rng.normal(size=n)
    return BeatTrain(onset[near], kind[near], rr[near], gain[near], turn[near])


def _sinus_wave(
    n: int, mean_s: float, breath_hz: float, phase: float, rng: np.random.Generator
) -> F64:
    """Modulation of the intervals with an SD near one, shape (n,)."""
    t = np.arange(n) * mean_s
    share_breath = rng.uniform(0.35, 0.85)
    breath = np.sqrt(2.0) * np.sin(2 * np.pi * breath_hz * t + phase)
    slow = np.sqrt(2.0) * np.sin(2 * np.pi * 0.1 * t + rng.uniform(0, 2 * np.pi))
    # White noise whose power falls as 1/f.
    spectrum = np.fft.rfft(rng.normal(size=n))
    spectrum[1:] /= np.sqrt(np.arange(1, spectrum.size))
    spectrum[0] = 0.0
    pink = np.fft.irfft(spectrum, n)
    pink /= max(float(pink.std()), 1e-9)
    # The squares of all three shares add up to one, so the SD does, too.
    rest = np.sqrt(1.0 - share_breath**2)
    return np.asarray(share_breath * breath + rest * (0.6 * slow + 0.8 * pink))


def _irregular(state: HeartState, mean_s: float, n: int, rng: np.random.Generator) -> F64:
    """Independent intervals: a gamma distribution above a shortest one, with the state's SD."""
    # The AV node's refractory time: no interval is shorter.
    shortest = max(0.55 * mean_s, 0.28) if mean_s > 0.4 else 0.7 * mean_s
    excess = mean_s - shortest
    sd = state.hrv * mean_s
    shape = max((excess / sd) ** 2, 0.6)
    return shortest + rng.gamma(shape, excess / shape, size=n)


def _flutter(state: HeartState, mean_s: float, n: int, rng: np.random.Generator) -> F64:
    ratio = flutter_ratio(state)
    if ratio == 3:
        # Three to one on average is most often 2:1 and 4:1 in turn.
        rr = np.where(np.arange(n) % 2 == int(rng.integers(2)), 2.0, 4.0) * mean_s / 3.0
    else:
        rr = np.full(n, mean_s)
    return np.asarray(rr * (1.0 + state.hrv * rng.normal(size=n)))


def flutter_ratio(state: HeartState) -> int:
    """Atrial cycles per ventricular beat, such that the atria beat near 300/min.

    Parameters
    ----------
    state : HeartState
        Its ventricular rate decides.

    Returns
    -------
    int
        1 to 5.
    """
    return int(np.clip(round(292.0 / state.heart_rate_bpm), 1, 5))


def _add_ectopy(
    state: HeartState, rr: F64, kind: npt.NDArray[np.int8], rng: np.random.Generator
) -> None:
    """Turn some beats into premature ones, in place."""
    p_pvc = state.pvc_per_min / state.heart_rate_bpm
    p_pac = state.pac_per_min / state.heart_rate_bpm
    if not state.bigeminy and p_pvc + p_pac == 0.0:
        return
    # PVCs from one focus come at one distance after the beat before them.
    coupling = rng.uniform(0.52, 0.70)
    draws = rng.random(rr.size)
    i = 1
    while i < rr.size - 1:
        is_pvc = draws[i] < p_pvc or (state.bigeminy and i % 2 == 0)
        if is_pvc:
            early = float(np.clip(coupling * (1 + 0.03 * rng.normal()), 0.45, 0.8)) * rr[i]
            # The sinus node goes on unmoved: the pause makes up for the early beat.
            rr[i + 1] += rr[i] - early
            rr[i] = early
            kind[i] = PVC
            i += 2
        elif draws[i] < p_pvc + p_pac:
            # A PAC resets the sinus node: the pause is hardly longer than a usual interval.
            rr[i] *= rng.uniform(0.60, 0.76)
            rr[i + 1] *= 1.06
            kind[i] = PAC
            i += 2
        else:
            i += 1
