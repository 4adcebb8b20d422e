"""Where P, QRS and T begin and end in one lead, and in all leads together.

The QRS ends where the slope of the lead stays below a share of its steepest one. P and T end where
their flank runs out: the corner of Vazquez-Seisdedos et al., the point that makes the trapezium
between the steepest part of the flank and the flat stretch behind it largest, which needs no
threshold. A wave that does not stand out of the noise is not there.

Of the whole heart a wave begins where it begins in the first leads and ends where it ends in the
last ones. One lead alone is not believed: marks count from the first (last) one that `AGREE`
leads are near to, and of a late end of the QRS two that are still steep are enough.

References
----------
Vazquez-Seisdedos et al., BioMed Eng OnLine 2011;10:43 (T-wave end by trapezium's area). CSE working
party, Eur Heart J 1985;6:815 (earliest onset and latest offset over leads).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from echoing_core.measure.beat import BEAT_FS_HZ, FIDUCIAL, N_SAMPLES

F64 = npt.NDArray[np.float64]

MARKS = (
    "p_onset", "p_peak", "p_offset", "qrs_onset", "qrs_offset", "t_onset", "t_peak", "t_offset",
)  # fmt: skip
"""Columns of marks, in the order of time."""
MARK: Mapping[str, int] = MappingProxyType({name: i for i, name in enumerate(MARKS)})
ONSETS = ("p_onset", "qrs_onset", "t_onset")

AGREE = 2
AGREE_MS: Mapping[str, float] = MappingProxyType({"p": 12.0, "qrs": 8.0, "t": 24.0})
"""How near two leads' marks must be to agree."""

LATE_SHARE = 0.15
"""Of its QRS a lead must still move by so much for its late end to count with one other alone."""

P_SEARCH_MS = (290.0, 30.0)
"""From how long before the QRS to how long before it a P wave may peak."""

_MS = BEAT_FS_HZ / 1000.0

_QRS_SIGMA_MS, _P_SIGMA_MS, _T_SIGMA_MS = 5.0, 8.0, 12.0
_QRS_REACH_MS = 110.0
_ON_SHARE, _OFF_SHARE = 0.03, 0.06
_NOISE_SLOPES = 5.0
_QUIET_MS = 12.0
_P_NEAR_MS = 40.0
_T_SEARCH_MS, _T_NEAR_MS = 60.0, 80.0
_T_USUAL_MS, _LONGEST_QTC_MS = (290.0, 140.0), 620.0
_P_FLANK_MS, _T_FLANK_MS = (90.0, 60.0), 125.0
_STANDS_OUT = 4.0
_P_LEAST_SHARE, _T_LEAST_SHARE = 0.02, 0.03


def smooth(signal_mv: F64, sigma_ms: float, order: int = 0) -> F64:
    """The signal, or its slope in mV a sample, under a Gaussian.

    Parameters
    ----------
    signal_mv : ndarray, shape (..., n)
    sigma_ms : float
    order : {0, 1}

    Returns
    -------
    ndarray, shape (..., n)
    """
    return np.asarray(
        scipy.ndimage.gaussian_filter1d(signal_mv, sigma_ms * _MS, axis=-1, order=order)
    )


def qrs_bounds(slope: F64, noise_mv: float) -> tuple[float, float] | None:
    """Onset and offset of the QRS of one lead.

    Parameters
    ----------
    slope : ndarray, shape (N_SAMPLES,)
        Of the lead, without its sign, from `smooth`.
    noise_mv : float
        Of the lead, SD.

    Returns
    -------
    (float, float) or None
        Samples; None where no QRS stands out.
    """
    reach = round(_QRS_REACH_MS * _MS)
    near = slice(FIDUCIAL - reach, FIDUCIAL + reach)
    top = float(slope[near].max())
    # White noise of SD s under the derivative of a Gaussian has SD s / sqrt(4 sqrt(pi) sigma^3).
    sigma = _QRS_SIGMA_MS * _MS
    noise = noise_mv / np.sqrt(4.0 * np.sqrt(np.pi) * sigma**3)
    if top < _STANDS_OUT * noise or top <= 0:
        return None
    steep = FIDUCIAL - reach + np.flatnonzero(slope[near] > 0.4 * top)
    quiet = round(_QUIET_MS * _MS)
    first, last = int(steep[0]), int(steep[-1])
    on = _runs_out(slope[: first + 1][::-1], max(_ON_SHARE * top, _NOISE_SLOPES * noise), quiet)
    off = _runs_out(slope[last:], max(_OFF_SHARE * top, _NOISE_SLOPES * noise), quiet)
    if on is None or off is None:
        return None
    return first - on, last + off


def _runs_out(slope: F64, level: float, quiet: int) -> float | None:
    """Samples until the slope stays under a level for a while."""
    over = np.concatenate([[0], np.cumsum(slope >= level)])
    found = np.flatnonzero(over[quiet:] == over[:-quiet])
    return float(found[0]) if found.size else None


def flank_end(lead_mv: F64, peak: int, stop: int) -> float:
    """Where the flank of a wave that falls from its peak runs out.

    Parameters
    ----------
    lead_mv : ndarray, shape (n,)
        Smoothed.
    peak : int
    stop : int
        A sample behind the end of the wave; may lie before the peak, for an onset.

    Returns
    -------
    float
        Sample.
    """
    step = 1 if stop > peak else -1
    values = lead_mv[peak : stop + step : step] if stop + step >= 0 else lead_mv[peak::-1]
    n = values.size
    if n < 5:
        return float(stop)
    side = 1.0 if values[0] >= values[n // 2 :].mean() else -1.0
    fall = -np.diff(side * values)
    # The steepest part of the flank itself, not that of a wave behind it.
    steep = int(np.argmax(fall[: max(3, round(0.7 * n))]))
    at = np.arange(steep, n)
    area = 0.5 * side * (values[steep] - values[at]) * (2 * (n - 1) - at - steep)
    return float(peak + step * (steep + int(np.argmax(area))))


def t_marks(
    lead_mv: F64,
    y: F64,
    noise_mv: float,
    qrs: tuple[float, float],
    last: int,
    near: float | None = None,
) -> tuple[float, float, float] | None:
    """Onset, peak and offset of the T wave of one lead.

    Parameters
    ----------
    lead_mv, y : ndarray, shape (N_SAMPLES,)
        The lead, and smoothed for T waves.
    noise_mv : float
    qrs : (float, float)
    last : int
        Sample that the T wave ends before.
    near : float, optional
        Where it peaks in all leads together.

    Returns
    -------
    (float, float, float) or None
        Samples.
    """
    first = round(qrs[1] + _T_SEARCH_MS * _MS)
    begin, end = first, last - round(20 * _MS)
    if near is not None:
        begin = max(begin, round(near - _T_NEAR_MS * _MS))
        end = min(end, round(near + _T_NEAR_MS * _MS))
    if end - begin < round(30 * _MS):
        return None
    level = _level(lead_mv, qrs[0])
    # Against the line from the end of the QRS to the end of all, so that a slope is no peak.
    ends = np.array([y[first], y[last - round(20 * _MS) : last + 1].mean()])
    line = np.interp(np.arange(y.size), [first, last], ends)
    apart = y - 0.5 * (line + level)
    peak = begin + int(np.argmax(np.abs(apart[begin:end])))
    size = abs(float(apart[peak]))
    noise = noise_mv / np.sqrt(2.0 * np.sqrt(np.pi) * _T_SIGMA_MS * _MS)
    tall = float(np.ptp(lead_mv[round(qrs[0]) : round(qrs[1]) + 1]))
    if size < max(_STANDS_OUT * noise, _T_LEAST_SHARE * tall):
        return None
    onset = flank_end(y, peak, min(first, peak - 5))
    stop = min(last, peak + round(_T_FLANK_MS * _MS))
    return onset, float(peak), flank_end(y, peak, stop)


def p_marks(
    lead_mv: F64,
    y: F64,
    noise_mv: float,
    qrs: tuple[float, float],
    first: int,
    near: float | None = None,
) -> tuple[float, float, float] | None:
    """Onset, peak and offset of the P wave of one lead.

    Parameters
    ----------
    lead_mv, y : ndarray, shape (N_SAMPLES,)
        The lead, and smoothed for P waves.
    noise_mv : float
    qrs : (float, float)
    first : int
        Sample that the P wave begins behind.
    near : float, optional
        Where it peaks in all leads together.

    Returns
    -------
    (float, float, float) or None
        Samples.
    """
    last = round(qrs[0])
    begin, end = first + round(20 * _MS), last - round(P_SEARCH_MS[1] * _MS)
    if near is not None:
        begin = max(begin, round(near - _P_NEAR_MS * _MS))
        end = min(end, round(near + _P_NEAR_MS * _MS))
    if end - begin < round(20 * _MS):
        return None
    apart = against_line(y, first, last)
    peak = begin + int(np.argmax(np.abs(apart[begin:end])))
    size = abs(float(apart[peak]))
    noise = noise_mv / np.sqrt(2.0 * np.sqrt(np.pi) * _P_SIGMA_MS * _MS)
    tall = float(np.ptp(lead_mv[round(qrs[0]) : round(qrs[1]) + 1]))
    if size < max(_STANDS_OUT * noise, _P_LEAST_SHARE * tall):
        return None
    onset = flank_end(y, peak, max(first, peak - round(_P_FLANK_MS[0] * _MS)))
    offset = flank_end(y, peak, min(last, peak + round(_P_FLANK_MS[1] * _MS)))
    return onset, float(peak), offset


def against_line(lead_mv: F64, first: int, last: int) -> F64:
    """A signal less the line through its quiet ends.

    Parameters
    ----------
    lead_mv : ndarray, shape (..., n)
    first, last : int
        Samples between which it is looked at.

    Returns
    -------
    ndarray, shape (..., n)
    """
    width = round(14 * _MS)
    left = lead_mv[..., first : first + width].mean(axis=-1, keepdims=True)
    right = lead_mv[..., last - width : last].mean(axis=-1, keepdims=True)
    share = (np.arange(lead_mv.shape[-1]) - first) / max(1, last - first)
    return np.asarray(lead_mv - (left + (right - left) * np.clip(share, 0.0, 1.0)))


def _level(lead_mv: F64, qrs_onset: float) -> float:
    stop = round(qrs_onset)
    return float(lead_mv[max(0, stop - round(16 * _MS)) : stop + 1].mean())


def agreed(marks: F64, name: str) -> float:
    """One mark of all leads: the first (of an onset) or last that others are near to.

    Parameters
    ----------
    marks : ndarray, shape (n_leads,)
        Samples; NaN where a lead shows no such wave.
    name : str
        One of `MARKS`.

    Returns
    -------
    float
        NaN where no lead shows it. A lead that is alone is believed.
    """
    found = np.sort(marks[np.isfinite(marks)])
    if not found.size:
        return float("nan")
    if name.endswith("peak"):
        return float(np.median(found))
    if found.size < 3:
        return float(found[0] if name in ONSETS else found[-1])
    if name not in ONSETS:
        found = -found[::-1]
    near = AGREE_MS[name.partition("_")[0]] * _MS
    for at in found:
        if np.sum((found >= at) & (found <= at + near)) > AGREE:
            return float(at if name in ONSETS else -at)
    middle = float(np.median(found))
    return middle if name in ONSETS else -middle


def qrs_end(signal_mv: F64, marks: F64) -> float:
    """Where the QRS of all leads ends.

    In bundle branch block few leads show the last of it. Two that end near each other are enough
    where both move clearly up to there; one alone never is.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n)
    marks : ndarray, shape (n_leads, 8)
        Samples in the order of `MARKS`.

    Returns
    -------
    float
        Sample; NaN where no lead shows a QRS.
    """
    own = marks[:, MARK["qrs_offset"]]
    on, end = agreed(marks[:, MARK["qrs_onset"]], "qrs_onset"), agreed(own, "qrs_offset")
    if not (np.isfinite(on) and np.isfinite(end)):
        return end
    late = []
    for lead_mv, last in zip(signal_mv, own, strict=True):
        if not last > end:
            continue
        stop = round(last) + 1
        if np.ptp(lead_mv[round(end) : stop]) >= LATE_SHARE * np.ptp(lead_mv[round(on) : stop]):
            late.append(float(last))
    found = np.sort(late)
    near = np.flatnonzero(np.diff(found) <= AGREE_MS["qrs"] * _MS)
    return float(found[near[-1] + 1]) if near.size else end


def delineate(signal_mv: F64, noise_mv: F64, rr_ms: float) -> F64:
    """Marks of each lead of a median beat.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, N_SAMPLES)
    noise_mv : ndarray, shape (n_leads,)
        Of these signals, SD.
    rr_ms : float
        Usual interval to the next beat, which the T wave ends before.

    Returns
    -------
    ndarray, shape (n_leads, 8)
        Samples in the order of `MARKS`; NaN where there is no such wave.
    """
    marks = np.full((len(signal_mv), len(MARKS)), np.nan)
    slope = np.abs(smooth(signal_mv, _QRS_SIGMA_MS, order=1))
    for_t, for_p = smooth(signal_mv, _T_SIGMA_MS), smooth(signal_mv, _P_SIGMA_MS)
    for k in range(len(signal_mv)):
        bounds = qrs_bounds(slope[k], float(noise_mv[k]))
        if bounds is not None:
            marks[k, MARK["qrs_onset"]], marks[k, MARK["qrs_offset"]] = bounds
    on, off = agreed(marks[:, MARK["qrs_onset"]], "qrs_onset"), qrs_end(signal_mv, marks)
    if not (np.isfinite(on) and np.isfinite(off) and off > on):
        return marks
    last = min(N_SAMPLES - 1, round(FIDUCIAL + (rr_ms - 150.0) * _MS))
    last = max(last, min(N_SAMPLES - 1, round(off + 0.55 * rr_ms * _MS)))
    # Behind a flat T wave stand the atria, of flutter above all, and may be larger.
    root = np.sqrt(rr_ms / 1000.0)
    last = min(last, round(on + _LONGEST_QTC_MS * root * _MS))
    scale = np.maximum(np.ptp(signal_mv, axis=1, keepdims=True), 1e-9)
    # All leads together, each on its own scale.
    t_near = _peak_of_all(for_t / scale, round(off + _T_SEARCH_MS * _MS), last)
    for k, lead_mv in enumerate(signal_mv):
        qrs = _own_or(marks[k], on, off)
        found = t_marks(lead_mv, for_t[k], float(noise_mv[k]), qrs, last, t_near)
        if found is not None:
            marks[k, MARK["t_onset"] :] = found
    t_end = agreed(marks[:, MARK["t_offset"]], "t_offset")
    # The T wave of the beat before ends one interval earlier.
    before = t_end - rr_ms * _MS if np.isfinite(t_end) else 0.0
    first = max(round(on - P_SEARCH_MS[0] * _MS), round(before), 0)
    p_near = _peak_of_all(
        against_line(for_p / scale, first, round(on)),
        first + round(20 * _MS),
        round(on - P_SEARCH_MS[1] * _MS),
        level=False,
    )
    for k, lead_mv in enumerate(signal_mv):
        own_on, own_off = _own_or(marks[k], on, off)
        # A lead whose QRS begins later than the others' shows no P wave in what is QRS there.
        qrs = (min(own_on, on), own_off)
        found = p_marks(lead_mv, for_p[k], float(noise_mv[k]), qrs, first, p_near)
        if found is not None:
            marks[k, : MARK["p_offset"] + 1] = found
    return marks


def _own_or(marks: F64, on: float, off: float) -> tuple[float, float]:
    own_on, own_off = float(marks[MARK["qrs_onset"]]), float(marks[MARK["qrs_offset"]])
    return (own_on if np.isfinite(own_on) else on, own_off if np.isfinite(own_off) else off)


def _peak_of_all(
    signal: F64, first: int, last: int, *, level: bool = True, usual: float | None = None
) -> float | None:
    if last - first < round(20 * _MS):
        return None
    part = signal[:, first:last]
    if level:
        part = part - part[:, -round(20 * _MS) :].mean(axis=1, keepdims=True)
    together = np.sqrt((part**2).mean(axis=0))
    if usual is not None:
        apart = (np.arange(first, last) - usual) / (_T_USUAL_MS[1] * _MS)
        together = together * np.exp(-0.5 * apart**2)
    return float(first + int(np.argmax(together)))


def repeats(beats_mv: F64, first: int, last: int) -> F64:
    """How far beats agree on what lies before their QRS: of a P wave, each shows the same.

    Parameters
    ----------
    beats_mv : ndarray, shape (n_beats, n_leads, N_SAMPLES)
    first, last : int
        Samples of the stretch.

    Returns
    -------
    ndarray, shape (n_beats,)
        Correlation of each with the mean of the others, all leads together; of fibrillation or
        noise about 0.
    """
    part = against_line(smooth(np.nan_to_num(beats_mv), _P_SIGMA_MS), first, last)[..., first:last]
    # Fibrillation is coarse in V1: no lead may outvote the others.
    size = np.median(np.sqrt((part**2).mean(axis=2)), axis=0)
    flat = (part / np.maximum(size, 1e-9)[:, np.newaxis]).reshape(len(part), -1)
    total, n = flat.sum(axis=0), len(flat)
    others = (total - flat) / (n - 1)
    product = (flat * others).sum(axis=1)
    norm = np.sqrt((flat**2).sum(axis=1) * (others**2).sum(axis=1))
    return np.asarray(product / np.maximum(norm, 1e-12))
