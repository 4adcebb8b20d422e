"""Plain signal quality, without any model: flat, saturated, noisy, beats that do not agree.

`quality_index` is the baseline that every claim about sigma^2 has to beat. Its thresholds
are amplitudes that an electrocardiographer would name, written down beforehand and fitted to
no label. That leads are combined by root mean square, not by their mean, and that noise
counts by its power, was settled on the Challenge 2011 recordings, so the AUROC there (0.95;
0.92 with the mean) flatters a little. ``echoing evaluate uncertainty`` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from echoing_core.records import (
    FRANK_LEADS,
    LEADS,
    STANDARD_FS_HZ,
    BoolArray,
    FloatArray,
    Recording,
    StandardEcg,
)
from echoing_core.signals.leads import LIMB_LEADS, limb_lead_sources
from echoing_core.signals.short import find_peaks, moving_max, moving_mean
from echoing_core.signals.windows import WINDOW_N

FloatT = TypeVar("FloatT", np.float32, np.float64)

FLAT_MV = 0.02
"""A lead that stays within this range for `FLAT_S` holds no heartbeat."""

FLAT_S = 1.0

FLAT_SHARE = 0.5
"""A lead of which so much is flat is off."""

HUGE_MV = 5.0
"""No surface ECG between 0.5 and 40 Hz reaches this; paced spikes and artefacts do."""

RAIL_S = 0.05
"""A lead that stays exactly at its own largest or smallest value this long hit a rail."""

NOISE_HALF_MV = 0.05
"""High-frequency noise at which the penalty is one half: a small P wave drowns in it."""

MIN_BEATS = 3

_BEAT_BEFORE_S, _BEAT_AFTER_S = 0.25, 0.40
_REFRACTORY_S = 0.25


@dataclass(frozen=True, eq=False)
class LeadQuality:
    """Signal quality of the 12 leads in one stretch of a `StandardEcg`.

    Attributes
    ----------
    present : ndarray, shape (12,), bool
        Leads that were measured or derived; the others take no part in the index.
    invalid_fraction : ndarray, shape (12,)
        Share of samples in gaps.
    flat_fraction : ndarray, shape (12,)
        Share of samples in a stretch of 1 s that spans less than 0.02 mV.
    saturated_fraction : ndarray, shape (12,)
        Share of samples beyond 5 mV, or at a rail of the raw recording where that is known.
    noise_mv : ndarray, shape (12,)
        Robust standard deviation of the fast part (second difference), mean over seconds.
    beat_agreement : ndarray, shape (12,)
        Mean correlation of the beats with the median beat; 0 with fewer than three beats.
    n_beats : int
        Beats found in all leads together.
    """

    present: BoolArray
    invalid_fraction: npt.NDArray[np.float64]
    flat_fraction: npt.NDArray[np.float64]
    saturated_fraction: npt.NDArray[np.float64]
    noise_mv: npt.NDArray[np.float64]
    beat_agreement: npt.NDArray[np.float64]
    n_beats: int


def lead_quality(
    signal_mv: FloatArray,
    valid: BoolArray,
    *,
    present: BoolArray | None = None,
    saturated: BoolArray | None = None,
    fs_hz: float = STANDARD_FS_HZ,
) -> LeadQuality:
    """Quality of each lead in one stretch of signal, usually a window.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
        0.5-40 Hz, in mV.
    valid : ndarray, shape (12, n_times), bool
    present : ndarray, shape (12,), bool, optional
        Leads the recording holds; by default those with a valid sample in this stretch.
    saturated : ndarray, shape (12, n_times), bool, optional
        Samples known to be at a rail (`rail_samples`).
    fs_hz : float
        Sampling rate in Hz.

    Returns
    -------
    LeadQuality
    """
    x = np.asarray(signal_mv, dtype=np.float64)
    if present is None:
        present = np.asarray(valid.any(axis=1))
    # Filtering turns a rail into a clean line, so rails of the raw recording are handed in.
    huge = np.abs(x) > HUGE_MV
    if saturated is not None:
        huge |= saturated
    beats = find_beats(x[present], fs_hz)
    # Beats are those of all present leads; each lead is then compared with itself.
    agreement = np.zeros(x.shape[0])
    agreement[present] = beat_agreement(x[present], beats, fs_hz)
    return LeadQuality(
        present=present,
        invalid_fraction=1.0 - valid.mean(axis=1),
        flat_fraction=np.asarray((_flat(x, fs_hz) & valid).mean(axis=1)),
        saturated_fraction=np.asarray((huge & valid).mean(axis=1)),
        noise_mv=_noise_mv(x, fs_hz),
        beat_agreement=agreement,
        n_beats=int(beats.size),
    )


def quality_index(quality: LeadQuality) -> float:
    """How bad a stretch of signal is, from 0 (clean) to 1 (useless).

    Root mean square of `lead_penalty` over the present leads, so that one useless lead weighs
    more than twelve slightly imperfect ones. Missing leads do not count: not having a lead is
    not noise.

    Parameters
    ----------
    quality : LeadQuality

    Returns
    -------
    float
        1 if no lead is present.
    """
    if not quality.present.any():
        return 1.0
    return float(np.sqrt((lead_penalty(quality)[quality.present] ** 2).mean()))


def lead_penalty(quality: LeadQuality) -> npt.NDArray[np.float64]:
    """How bad each lead is, from 0 (clean) to 1 (useless).

    The worst of: share of samples in gaps or flat, share saturated, noise power / (noise power +
    (0.05 mV)^2), and 1 minus the agreement of its beats.

    Parameters
    ----------
    quality : LeadQuality

    Returns
    -------
    ndarray, shape (12,)
        Also of leads that are not present, where it means nothing.
    """
    noise_power = quality.noise_mv**2
    penalties = np.stack(
        [
            quality.invalid_fraction + quality.flat_fraction,
            quality.saturated_fraction,
            noise_power / (noise_power + NOISE_HALF_MV**2),
            1.0 - quality.beat_agreement,
        ]
    )
    return np.asarray(np.clip(penalties, 0.0, 1.0).max(axis=0))


def window_quality_index(
    ecg: StandardEcg,
    starts: npt.ArrayLike,
    window_n: int = WINDOW_N,
    *,
    saturated: BoolArray | None = None,
) -> npt.NDArray[np.float64]:
    """`quality_index` of each window.

    Parameters
    ----------
    ecg : StandardEcg
    starts : array-like of int, shape (n_windows,)
    window_n : int
        Samples in a window.
    saturated : ndarray, shape (12, n_times), bool, optional
        From `rail_samples`.

    Returns
    -------
    ndarray, shape (n_windows,)
        Higher is worse.
    """
    values = []
    # A lead that lies wholly in a gap during one window is bad there, not absent.
    present = np.array([origin != "missing" for origin in ecg.lead_origin])
    for start in np.asarray(starts, dtype=np.int64).tolist():
        cut = slice(start, start + window_n)
        rails = None if saturated is None else saturated[:, cut]
        quality = lead_quality(
            ecg.signal_mv[:, cut],
            ecg.valid[:, cut],
            present=present,
            saturated=rails,
            fs_hz=ecg.fs_hz,
        )
        values.append(quality_index(quality))
    return np.array(values, dtype=np.float64)


def rail_samples(recording: Recording, ecg: StandardEcg) -> BoolArray:
    """Where a raw recording hit the ends of its range, on the clock of its `StandardEcg`.

    Filtering hides rails: a lead stuck at one becomes a clean zero line.

    Parameters
    ----------
    recording : Recording
    ecg : StandardEcg
        What `standardise` made of that recording.

    Returns
    -------
    ndarray, shape (12, ecg.n_times), bool
        A derived lead is at a rail where one of the leads it came from is.
    """
    rails = {
        name: _at_rail(recording.signal_mv[row], recording.fs_hz, ecg.n_times, ecg.fs_hz)
        for row, name in enumerate(recording.lead_names)
        if name in LEADS or name in FRANK_LEADS
    }
    # A derived lead is as bad as what it was derived from.
    measured = ecg.leads_with("measured")
    limb_sources = limb_lead_sources(measured)
    result = np.zeros((len(LEADS), ecg.n_times), dtype=np.bool_)
    for row, (lead, origin) in enumerate(zip(LEADS, ecg.lead_origin, strict=True)):
        sources: tuple[str, ...] = ()
        if origin == "measured":
            sources = (lead,)
        elif origin == "derived" and lead in LIMB_LEADS and limb_sources is not None:
            sources = limb_sources
        elif origin == "derived":
            sources = FRANK_LEADS
        for source in sources:
            result[row] |= rails[source]
    return result


def find_beats(signal_mv: FloatArray, fs_hz: float = STANDARD_FS_HZ) -> npt.NDArray[np.intp]:
    """Beats, as peaks of the steepness of all leads together.

    Each lead's slope is divided by its own 98th percentile and capped, so that neither a
    large lead nor one spike outvotes the others.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
        0.5-40 Hz, in mV.
    fs_hz : float
        Sampling rate in Hz.

    Returns
    -------
    ndarray of int
        Samples of the steepest point of each beat.
    """
    if signal_mv.shape[0] == 0 or signal_mv.shape[1] < 3:
        return np.empty(0, dtype=np.intp)
    # The steepest points of a beat lie close together in all leads.
    slope = np.abs(np.gradient(np.asarray(signal_mv, dtype=np.float64), axis=1))
    top = np.quantile(slope, 0.98, axis=1, keepdims=True)
    alive = top[:, 0] > 1e-6  # a flat lead has no slope to scale by
    if not alive.any():
        return np.empty(0, dtype=np.intp)
    energy = np.minimum(slope[alive] / top[alive], 1.5).mean(axis=0)
    energy = moving_mean(energy, max(1, round(0.08 * fs_hz)))
    # Half of a usual peak: premature beats are often lower.
    height = 0.5 * float(np.quantile(energy, 0.98))
    return find_peaks(energy, height, max(1, round(_REFRACTORY_S * fs_hz)))


def cut_beats(
    signal_mv: npt.NDArray[FloatT], beats: npt.NDArray[np.intp], before: int, after: int
) -> npt.NDArray[FloatT]:
    """Every whole beat of each lead.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
    beats : ndarray of int
        From `find_beats`; beats cut off by an end of the signal are left out.
    before, after : int
        Samples of a beat.

    Returns
    -------
    ndarray, shape (n_leads, n_whole, before + after)
    """
    whole = beats[(beats >= before) & (beats + after <= signal_mv.shape[1])]
    return signal_mv[:, whole[:, np.newaxis] + np.arange(-before, after)]


def beat_agreement(
    signal_mv: FloatArray, beats: npt.NDArray[np.intp], fs_hz: float = STANDARD_FS_HZ
) -> npt.NDArray[np.float64]:
    """Mean correlation of each lead's beats with that lead's median beat.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
    beats : ndarray of int
        From `find_beats`; beats cut off by an end of the signal are left out.
    fs_hz : float
        Sampling rate in Hz.

    Returns
    -------
    ndarray, shape (n_leads,)
        0 with fewer than three whole beats, and where nothing varies.
    """
    before, after = round(_BEAT_BEFORE_S * fs_hz), round(_BEAT_AFTER_S * fs_hz)
    cut = cut_beats(signal_mv, beats, before, after)
    if cut.shape[1] < MIN_BEATS:
        return np.zeros(signal_mv.shape[0])
    # The median beat is hardly changed by one ectopic beat or one artefact.
    template = np.median(cut, axis=1, keepdims=True)
    cut = cut - cut.mean(axis=2, keepdims=True)
    template = template - template.mean(axis=2, keepdims=True)
    power = np.sqrt((cut**2).sum(axis=2) * (template**2).sum(axis=2))
    product = (cut * template).sum(axis=2)
    # A lead that does not vary agrees with nothing.
    correlation = np.divide(product, power, out=np.zeros_like(product), where=power > 1e-9)
    return np.asarray(correlation.mean(axis=1))


def is_off(
    signal_mv: FloatArray, valid: BoolArray, fs_hz: float = STANDARD_FS_HZ
) -> npt.NDArray[np.bool_]:
    """Leads that are flat for `FLAT_SHARE` of what was recorded of them, and hold no heartbeat.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
        0.5-40 Hz, in mV, without NaN.
    valid : ndarray, shape (n_leads, n_times), bool
    fs_hz : float
        Sampling rate in Hz.

    Returns
    -------
    ndarray of bool, shape (n_leads,)
        A lead of which nothing was recorded is not.
    """
    recorded = valid.sum(axis=1)
    flat = (_flat(signal_mv, fs_hz) & valid).sum(axis=1)
    return np.asarray((recorded > 0) & (flat >= FLAT_SHARE * recorded))


def _flat(signal_mv: FloatArray, fs_hz: float) -> BoolArray:
    """Samples that lie in some stretch of `FLAT_S` spanning less than `FLAT_MV`."""
    n = min(round(FLAT_S * fs_hz), signal_mv.shape[1])
    signal_mv = np.asarray(signal_mv)
    # The smallest value is the negative of the largest negative.
    span = moving_max(signal_mv, n) + moving_max(-signal_mv, n)
    # A flat stretch is found at its centre; growing it back marks all of its samples.
    return moving_max(span < FLAT_MV, n)


def _noise_mv(signal_mv: FloatArray, fs_hz: float) -> npt.NDArray[np.float64]:
    """Robust standard deviation of the second difference, averaged over seconds.

    The median within a second passes over the QRS, which takes about a tenth of it; the mean
    over seconds keeps a burst that lasts only a few of them. White noise of standard
    deviation s has second differences of standard deviation sqrt(6) s.
    """
    second = np.abs(np.diff(signal_mv, n=2, axis=1))
    n = min(round(fs_hz), second.shape[1])
    if n < 1:
        return np.zeros(signal_mv.shape[0])
    seconds = second[:, : second.shape[1] // n * n].reshape(signal_mv.shape[0], -1, n)
    return np.asarray(1.4826 / np.sqrt(6.0) * np.median(seconds, axis=2).mean(axis=1))


def _at_rail(lead_mv: FloatArray, fs_hz: float, n_out: int, out_hz: float) -> BoolArray:
    """Samples at the new rate during which a raw lead stays at its largest or smallest value."""
    result = np.zeros(n_out, dtype=np.bool_)
    if not np.isfinite(lead_mv).any():
        return result
    # Three samples at least: two equal samples at an extreme are common at low rates.
    n_rail = max(3, round(RAIL_S * fs_hz))
    for rail in (np.nanmin(lead_mv), np.nanmax(lead_mv)):
        edges = np.flatnonzero(np.diff((lead_mv == rail).astype(np.int8), prepend=0, append=0))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if stop - start >= n_rail:
                result[int(start / fs_hz * out_hz) : int(np.ceil(stop / fs_hz * out_hz))] = True
    return result
