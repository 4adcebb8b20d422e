"""Views of an ECG in training: what a device can do to it, and the operations of Raghu et al.

Everything works on windows at 100 Hz in mV with their mask; a lead that is taken away is
masked, so the model is told and never guesses from zeros.

References
----------
Raghu et al., "Data Augmentation for Electrocardiograms", CHIL 2022: time mask, Gaussian noise,
baseline wander, random temporal warp and displacement, magnitude scaling. The article learns
strengths task by task (TaskAug); here the strengths are drawn from fixed ranges, and each
operation is used with one probability.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, STANDARD_FS_HZ, BoolArray
from echoing_core.signals.filters import bandpass
from echoing_core.simulate.noise.electrodes import LEADS_FROM_ELECTRODES
from echoing_core.simulate.noise.spans import corrupt
from echoing_core.training.settings import ViewConfig

FloatArray = npt.NDArray[np.float32]

_COMMON_SUBSETS: tuple[tuple[str, ...], ...] = (
    ("I",),
    ("II",),
    ("II", "V1"),
    ("II", "V5"),
    ("I", "II", "III"),
    ("I", "II", "III", "aVR", "aVL", "aVF"),
    ("I", "II", "III", "aVR", "aVL", "aVF", "V1"),
    ("V1", "V2", "V3", "V4", "V5", "V6"),
)
"""Leads of event recorders, Holters and monitors."""

_ROW = {lead: i for i, lead in enumerate(LEADS)}


def drop_leads(valid: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Mask all but a subset of the leads of one window, shape (12, n_times).

    Half of the draws keep one of the sets that real devices record, half any random subset.

    Parameters
    ----------
    valid : ndarray of bool, shape (12, n_times)
    rng : Generator

    Returns
    -------
    ndarray of bool, shape (12, n_times)
        With at least one lead, and at most eleven.
    """
    keep = np.zeros(len(LEADS), dtype=bool)
    if rng.random() < 0.5:
        keep[[_ROW[lead] for lead in _COMMON_SUBSETS[rng.integers(len(_COMMON_SUBSETS))]]] = True
    else:
        n_kept = int(rng.integers(1, len(LEADS)))
        keep[rng.permutation(len(LEADS))[:n_kept]] = True
    return valid & keep[:, None]


def cut_gap(valid: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Mask one stretch of 0.5 to 8 s in all leads of one window.

    Parameters
    ----------
    valid : ndarray of bool, shape (12, n_times)
    rng : Generator

    Returns
    -------
    ndarray of bool, shape (12, n_times)
    """
    n_times = valid.shape[1]
    # Samples at 100 Hz; the gap may begin before the window or end after it.
    length = int(rng.integers(50, 800))
    start = int(rng.integers(-length // 2, n_times - length // 2))
    masked = valid.copy()
    masked[:, max(start, 0) : max(start + length, 0)] = False
    return masked


def rescale(signal_mv: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One gain for the whole body (0.75-1.33) and a small one per lead.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    rng : Generator

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    # Uniform in the logarithm, so that a gain and its inverse are equally likely.
    body = np.exp(rng.uniform(-0.29, 0.29))
    per_lead = np.exp(rng.normal(0.0, 0.05, size=(signal_mv.shape[0], 1)))
    return np.asarray(signal_mv * (body * per_lead), dtype=np.float32)


def disturb(signal_mv: FloatArray, rng: np.random.Generator, severity: float) -> FloatArray:
    """Noise and device faults in a filtered window, filtered as the reader would have done.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    rng : Generator
    severity : float
        0..1, as `simulate.noise.spans.corrupt` takes it.

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    faulty, _ = corrupt(signal_mv, STANDARD_FS_HZ, rng, severity)
    return as_read(signal_mv, faulty)


def as_read(signal_mv: FloatArray, faulty_mv: FloatArray) -> FloatArray:
    """A disturbed window as the reader's filter would have left it.

    Only the leads that a fault reached pass the filter again: a second pass narrows the band a
    little, and must not become the mark of a disturbed lead.

    Parameters
    ----------
    signal_mv, faulty_mv : ndarray, shape (12, n_times)
        The filtered window, and the same with faults that no filter has seen.

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    hit = np.flatnonzero((faulty_mv != signal_mv).any(axis=1))
    disturbed = signal_mv.copy()
    difference = faulty_mv[hit] - signal_mv[hit]
    # Added noise is filtered alone; where a fault took the heart out, what it left is filtered.
    replaced = faulty_mv[hit].std(axis=1) < 0.5 * signal_mv[hit].std(axis=1)
    disturbed[hit] += bandpass(difference, STANDARD_FS_HZ).astype(np.float32)
    if replaced.any():
        disturbed[hit[replaced]] = bandpass(faulty_mv[hit[replaced]], STANDARD_FS_HZ)
    return disturbed


CONTACT_FAULTS = ("flat", "weak", "intermittent", "swing", "hum")
"""What a bad contact does: no signal, little signal, signal on and off with jumps, drift of
volts, and mains or pump noise inside the band."""

_CONTACT_SHARES = (0.32, 0.10, 0.22, 0.22, 0.14)


def lose_contact(signal_mv: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One contact fault in a filtered window, filtered as the reader would have done.

    Mostly of one to three electrodes, so that it reaches the leads as the hardware combines
    them; at times of single leads, as a broken cable or channel makes it.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    rng : Generator

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    n_times = signal_mv.shape[1]
    kind = str(rng.choice(CONTACT_FAULTS, p=_CONTACT_SHARES))
    # A cable or a channel breaks lead by lead; an electrode reaches every lead it is part of.
    if rng.random() < 0.3:
        leads = rng.permutation(len(LEADS))[: int(rng.integers(1, 7))]
    else:
        n_off = 1 + int(rng.random() < 0.4) + int(rng.random() < 0.2)
        reach = np.abs(LEADS_FROM_ELECTRODES[:, rng.permutation(9)[:n_off]]).max(axis=1)
        # Wilson's terminal passes a third of a limb electrode to the chest leads: not counted.
        leads = np.flatnonzero(reach > 0.4)
    start, stop = 0, n_times
    if rng.random() < 0.4:
        length = int(n_times * rng.uniform(0.12, 0.8))
        start = int(rng.integers(0, n_times - length))
        stop = start + length
    faulty = signal_mv.copy()
    for lead in leads:
        faulty[lead, start:stop] = _badly_connected(faulty[lead, start:stop], kind, rng)
    return as_read(signal_mv, faulty)


def _badly_connected(lead_mv: FloatArray, kind: str, rng: np.random.Generator) -> FloatArray:
    n_times = lead_mv.size
    if kind == "flat":
        return np.full(n_times, 0.0 if rng.random() < 0.7 else rng.normal(), dtype=np.float32)
    if kind == "weak":
        hiss = float(rng.uniform(0.0, 0.05)) * rng.standard_normal(n_times)
        return np.asarray(lead_mv * rng.uniform(0.02, 0.2) + hiss, dtype=np.float32)
    if kind == "hum":
        # Inside the band of 0.5 to 40 Hz: mains at 50 or 60 Hz is filtered out before.
        angle = 2 * np.pi * rng.uniform(8.0, 40.0) * np.arange(n_times) / STANDARD_FS_HZ
        wave = rng.uniform(0.1, 2.0) * np.sin(angle + rng.uniform(0.0, 6.0))
        return np.asarray(lead_mv + wave, dtype=np.float32)
    if kind == "swing":
        # A random walk is the drift of a half-cell potential; the clip is a railed amplifier.
        walk = np.cumsum(rng.standard_normal(n_times)) * rng.uniform(0.02, 0.6)
        swung = lead_mv + walk
        return np.asarray(np.clip(swung, -6.0, 6.0) if rng.random() < 0.5 else swung, np.float32)
    # Contact is lost and found again a few times a second at most.
    per_s = rng.uniform(0.3, 3.0)
    n_cuts = max(2, int(n_times / STANDARD_FS_HZ * per_s))
    cuts = [0, *np.sort(rng.integers(0, n_times, n_cuts)).tolist(), n_times]
    broken = lead_mv.copy()
    off = rng.random() < 0.5
    for first, after in itertools.pairwise(cuts):
        if off:
            broken[first:after] = rng.normal() * rng.choice((0.0, 0.5, 3.0))
        else:
            broken[first:after] += np.float32(0.5 * rng.normal())
        off = not off
    return broken


def spoil(
    signal_mv: FloatArray, valid: BoolArray, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """A view for the variance stage: as recorded in a fifth, else with what may go wrong.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    valid : ndarray of bool, same shape
    rng : Generator

    Returns
    -------
    signal_mv, valid : ndarray, shape (12, n_times)
    """
    if rng.random() < 0.2:
        return signal_mv, valid
    fault = rng.random()
    # The other 15 % get the mild disturbance below, lost leads, a gap, or nothing.
    if fault < 0.6:
        signal_mv = disturb(signal_mv, rng, float(rng.random()))
    elif fault < 0.85:
        signal_mv = lose_contact(signal_mv, rng)
    if rng.random() < 0.2:
        signal_mv = disturb(signal_mv, rng, 0.4 * float(rng.random()))
    if rng.random() < 0.25:
        valid = drop_leads(valid, rng)
    if rng.random() < 0.06:
        valid = cut_gap(valid, rng)
    return signal_mv, valid


def degrade(
    signal_mv: FloatArray,
    valid: BoolArray,
    rng: np.random.Generator,
    *,
    corrupt_share: float,
    lead_subset_share: float,
) -> tuple[FloatArray, BoolArray]:
    """One window as a worse device might have recorded it.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        Millivolts at 100 Hz.
    corrupt_share, lead_subset_share : float
        Probabilities of device faults (severity drawn evenly from 0 to 1) and of lost leads.
    valid : ndarray of bool, same shape as ``signal_mv``
    rng : Generator

    Returns
    -------
    signal_mv, valid : ndarray, shape (12, n_times)
    """
    if rng.random() < corrupt_share:
        signal_mv = disturb(signal_mv, rng, float(rng.random()))
    if rng.random() < lead_subset_share:
        valid = drop_leads(valid, rng)
    if rng.random() < 0.2 * lead_subset_share:
        valid = cut_gap(valid, rng)
    return signal_mv, valid


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
    rng : Generator

    Returns
    -------
    signal_mv, valid
        New arrays; 0 wherever not valid. A time mask is a gap, told by ``valid``.
    """
    signal, measured = signal_mv.astype(np.float32), valid.copy()
    # Drawn at once, so each operation is independent of what the others draw.
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
    """Stretch and squeeze time smoothly, by up to about 0.15 s, the same in all leads.

    Parameters
    ----------
    signal : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    valid : ndarray of bool, same shape
    rng : Generator

    Returns
    -------
    signal, valid : ndarray, shape (12, n_times)
    """
    n_times = signal.shape[1]
    knots = rng.normal(0.0, 0.06 * STANDARD_FS_HZ, size=5)
    shift = _smooth(knots, n_times)
    # The ends stay where they are, so nothing is read from outside the window.
    source = np.arange(n_times) + shift * np.sin(np.pi * np.arange(n_times) / (n_times - 1))
    return _resample_at(signal, valid, np.maximum.accumulate(np.clip(source, 0, n_times - 1)))


def displace(
    signal: FloatArray, valid: BoolArray, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """Shift by up to 0.5 s; what comes in from outside is a gap.

    Parameters
    ----------
    signal : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    valid : ndarray of bool, same shape
    rng : Generator

    Returns
    -------
    signal, valid : ndarray, shape (12, n_times)
    """
    n = int(rng.integers(-round(0.5 * STANDARD_FS_HZ), round(0.5 * STANDARD_FS_HZ) + 1))
    shifted, measured = np.zeros_like(signal), np.zeros_like(valid)
    width = signal.shape[1] - abs(n)
    to, start = max(n, 0), max(-n, 0)
    shifted[:, to : to + width] = signal[:, start : start + width]
    measured[:, to : to + width] = valid[:, start : start + width]
    return shifted, measured


def scale_magnitude(signal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One gain between 0.8 and 1.25 for all leads: a gain a lead would turn the axis.

    Parameters
    ----------
    signal : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    rng : Generator

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    return np.asarray(signal * np.exp(rng.uniform(-0.223, 0.223)), dtype=np.float32)


def add_baseline_wander(signal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A slow wave of 0.05 to 0.5 Hz in every lead, up to a quarter of the signal's spread.

    Parameters
    ----------
    signal : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    rng : Generator

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    n_leads, n_times = signal.shape
    time_s = np.arange(n_times) / STANDARD_FS_HZ
    frequency = rng.uniform(0.05, 0.5)
    phase = rng.uniform(0.0, 2.0 * np.pi, size=(n_leads, 1))
    # Shape (n_leads, 1): a lead's own spread, in mV.
    size = rng.uniform(0.0, 0.25, size=(n_leads, 1)) * signal.std(axis=1, keepdims=True)
    return np.asarray(
        signal + size * np.sin(2.0 * np.pi * frequency * time_s + phase), dtype=np.float32
    )


def add_noise(signal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """White noise of up to a quarter of each lead's spread.

    Parameters
    ----------
    signal : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    rng : Generator

    Returns
    -------
    ndarray, shape (12, n_times)
        In mV.
    """
    size = rng.uniform(0.0, 0.25) * signal.std(axis=1, keepdims=True)
    return np.asarray(signal + size * rng.standard_normal(signal.shape), dtype=np.float32)


def mask_time(valid: BoolArray, rng: np.random.Generator) -> BoolArray:
    """A gap of up to a fifth of the window in all leads.

    Parameters
    ----------
    valid : ndarray of bool, shape (12, n_times)
    rng : Generator

    Returns
    -------
    ndarray of bool, shape (12, n_times)
    """
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
    # Linear interpolation; a sample counts as measured if both neighbours are.
    low = np.minimum(source.astype(np.int64), signal.shape[1] - 2)
    part = (source - low).astype(np.float32)
    warped = signal[:, low] * (1 - part) + signal[:, low + 1] * part
    return warped.astype(np.float32), valid[:, low] & valid[:, low + 1]


def view_of(
    signal_mv: FloatArray,
    valid: BoolArray,
    views: ViewConfig,
    rng: np.random.Generator,
) -> tuple[FloatArray, BoolArray]:
    """What the model sees of a window in training.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        In mV at 100 Hz.
    valid : ndarray of bool, same shape
    views : ViewConfig
        Which operations, and how often.
    rng : Generator

    Returns
    -------
    signal_mv, valid : ndarray, shape (12, n_times)
    """
    if views.kind == "device":
        return degrade(
            rescale(signal_mv, rng),
            valid,
            rng,
            corrupt_share=views.corrupt_share,
            lead_subset_share=views.lead_subset_share,
        )
    if views.kind == "raghu":
        return raghu_view(signal_mv, valid, rng, views.probability)
    if views.kind == "leads":
        kept = (rng.random(len(valid)) >= views.probability)[:, np.newaxis]
        return signal_mv * kept, valid & kept
    return signal_mv, valid


_PHASE_NOISE = 0.075
"""Of a full turn. Its authors' number is in none of their texts that could be read."""


def echo2ecg_view(x: FloatArray, segment: int, rng: np.random.Generator) -> FloatArray:
    """Echo2ECG's training view of an ECG that its preprocessing has scaled.

    In this order: a cut of one segment anywhere; with probability 0.5 noise on the phases of all
    frequencies, the same in all leads; each sample times 1 + 0.6 N(0, 0.2^2); all times one number
    of N(1, 0.5^2); with probability 0.33 each, time and sign turned round.

    Parameters
    ----------
    x : ndarray, shape (12, n_times)
        Without unit.
    segment : int
        Samples; a shorter ECG is padded with zeros at its end.
    rng : Generator

    Returns
    -------
    ndarray, shape (12, segment)
    """
    if x.shape[1] < segment:
        x = np.pad(x, ((0, 0), (0, segment - x.shape[1])))
    start = int(rng.integers(0, x.shape[1] - segment + 1))
    view: npt.NDArray[np.floating] = x[:, start : start + segment]
    if rng.random() < 0.5:
        view = phase_noise(x[:, start : start + segment], _PHASE_NOISE, rng)
    view = view * (1.0 + 0.6 * rng.normal(0.0, 0.2, view.shape))
    view = view * rng.normal(1.0, 0.5)
    if rng.random() < 0.33:
        view = view[:, ::-1]
    if rng.random() < 0.33:
        view = -view
    return np.ascontiguousarray(view, dtype=np.float32)


def phase_noise(x: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Turn every frequency by a random phase, the same in all leads; power stays as it is.

    Parameters
    ----------
    x : ndarray, shape (n_leads, n_times)
    share : float
        Largest turn, of a full one.
    rng : Generator

    Returns
    -------
    ndarray, shape (n_leads, n_times)

    References
    ----------
    Schwabedal et al., "Addressing class imbalance in classification problems of noisy signals by
    using Fourier transform surrogates", 2018.
    """
    n = x.shape[1]
    spectrum = np.fft.rfft(x)
    turn = np.exp(2j * np.pi * share * rng.random(spectrum.shape[1]))
    # Mean and highest frequency are real, and no phase can be given to them.
    turn[0] = 1.0
    if n % 2 == 0:
        turn[-1] = 1.0
    return np.asarray(np.fft.irfft(spectrum * turn, n), dtype=np.float32)
