"""What ails a lead, by the plain facts of its signal, without any model.

The first that holds, in the stretch that is asked about:

- *gap*: nothing was measured for half a second;
- *lead off*: flat, within 0.02 mV, for at least half of it;
- *saturated*: beyond 5 mV for 0.1 s;
- *noise*: fast noise of 0.025 mV RMS, which spans a small P wave of 0.1 mV, and is at least a
  quarter of what the median beat leaves over;
- *baseline or motion*: what the median beat leaves over, steep parts aside, is 0.05 mV RMS,
  with peaks of 1 mm;
- *none*: none of these.

The limits are sizes on ECG paper. They and the order were settled on simulated noise of known
kind, on no human grade. The facts are few: ectopic beats differ from the median beat as motion
does, and an electrode that is off but picks up hum is noise here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, STANDARD_FS_HZ, BoolArray, FloatArray
from echoing_core.signals.quality import MIN_BEATS, cut_beats, find_beats, lead_quality

GAP_S = 0.5
FLAT_SHARE = 0.5
SATURATED_S = 0.1
NOISE_MV, NOISE_SHARE = 0.025, 0.25
UNEXPLAINED_MV = 0.05

GAP, LEAD_OFF, SATURATED, NOISE, MOTION, NONE = (
    "gap", "lead off", "saturated", "noise", "baseline or motion", "none",
)  # fmt: skip

CAUSE_WORDS = {
    GAP: "gaps in the recording",
    LEAD_OFF: "flat, as if an electrode were off",
    SATURATED: "beyond 5 mV",
    NOISE: "noise",
    MOTION: "drift, motion or ectopic beats",
    NONE: "no plain cause in the signal",
}
"""Each cause for a person."""

_BEFORE, _AFTER, _STEEP = (round(s * STANDARD_FS_HZ) for s in (0.25, 0.40, 0.10))


def causes(
    signal_mv: FloatArray,
    valid: BoolArray,
    recorded: BoolArray,
    asked: BoolArray,
    span_s: tuple[float, float] | None = None,
) -> dict[str, str]:
    """Cause of each lead that is asked about, in the order of `LEADS`.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (12, n_times)
        A window, 0.5-40 Hz at 100 Hz.
    recorded : ndarray of bool, shape (12,)
        Leads that were measured or derived; beats are found in these.
    asked : ndarray of bool, shape (12,)
    span_s : (float, float), optional
        Stretch to look at, in seconds from the start of the window; by default the whole.
    """
    begin_s, end_s = span_s or (0.0, valid.shape[1] / STANDARD_FS_HZ)
    part = slice(round(begin_s * STANDARD_FS_HZ), round(end_s * STANDARD_FS_HZ))
    length_s = end_s - begin_s
    facts = lead_quality(signal_mv[:, part], valid[:, part], present=recorded)
    residual = beat_residual(signal_mv, recorded)[:, part]
    unexplained_mv = np.zeros(len(LEADS))
    if not np.isnan(residual).all():
        unexplained_mv = np.sqrt(np.nanmean(np.square(residual), axis=1))
    found = {}
    for row in np.flatnonzero(asked):
        noise_mv = facts.noise_mv[row]
        if facts.invalid_fraction[row] * length_s >= min(GAP_S, length_s):
            kind = GAP
        elif facts.flat_fraction[row] >= FLAT_SHARE:
            kind = LEAD_OFF
        elif facts.saturated_fraction[row] * length_s >= SATURATED_S:
            kind = SATURATED
        elif noise_mv >= NOISE_MV and noise_mv >= NOISE_SHARE * unexplained_mv[row]:
            kind = NOISE
        elif unexplained_mv[row] >= UNEXPLAINED_MV:
            kind = MOTION
        else:
            kind = NONE
        found[LEADS[row]] = kind
    return found


def beat_residual(signal_mv: FloatArray, recorded: BoolArray) -> npt.NDArray[np.float64]:
    """Each lead less its median beat at every beat, and less its median level elsewhere.

    Parameters
    ----------
    signal_mv : ndarray, shape (12, n_times)
    recorded : ndarray of bool, shape (12,)

    Returns
    -------
    ndarray, shape (12, n_times)
        NaN within 0.1 s of each beat's steepest point, where a beat that is found 10 ms late would
        leave much over. With fewer than three whole beats only the level is taken off.
    """
    x = np.asarray(signal_mv, dtype=np.float64)
    n_times = x.shape[1]
    expected = np.repeat(np.median(x, axis=1, keepdims=True), n_times, axis=1)
    beats = find_beats(x[recorded])
    cut = cut_beats(x, beats, _BEFORE, _AFTER)
    if cut.shape[1] >= MIN_BEATS:
        template = np.median(cut, axis=1)
        for beat in beats.tolist():
            begin, end = max(beat - _BEFORE, 0), min(beat + _AFTER, n_times)
            expected[:, begin:end] = template[:, begin - beat + _BEFORE : end - beat + _BEFORE]
        near = np.abs(np.arange(n_times)[:, np.newaxis] - beats).min(axis=1) <= _STEEP
        expected[:, near] = np.nan
    return x - expected
