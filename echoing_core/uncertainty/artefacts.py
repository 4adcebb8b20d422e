"""What is wrong with leads by the plain facts of the signal, without any model.

**Lead artefacts.** The first of these that holds in the span that is asked about:

- *gap*: nothing was measured for half a second, or for a third of a shorter stretch;
- *lead off*: flat, within 0.02 mV, for at least half of it;
- *saturated*: beyond 5 mV for 0.1 s;
- *noise*: fast noise of 0.025 mV RMS, which spans a small P wave of 0.1 mV, and is at least a
  quarter of what the median beat leaves over;
- *baseline or motion*: what the median beat leaves over, steep parts aside, is 0.05 mV RMS,
  with peaks of 1 mm;
- *none*: none of these.

The limits are sizes on ECG paper. They and the order were settled on simulated noise of known
kind, on no human grade. Few facts are used: ectopic beats differ from the median beat as motion
does, and an electrode that is off but picks up hum counts as noise.

**Misplaced electrodes.** Three mistakes leave a mark in the median beat that has a plain reason
and is rare otherwise:

- *Arm electrodes swapped*: lead I is upside down, while V6, which looks at the heart from nearly
  the same side, is not; aVR points up. Dextrocardia looks the same in these leads.
- *An arm's electrode and the ground's swapped*: both legs have nearly the same potential, so
  lead II or III is flat. A channel that is off is flat, too, but then I + III is not II.
- *Chest electrodes in reverse*: the R wave's share shrinks from V1 to V6.

Other swaps (V1 with V3, an arm with the left leg) look like other hearts and are not reported.
These limits are plain shares, set on PTB-XL's training folds; `benchmarks/misplaced_electrodes.py`
measures how many swaps are found and how many ECGs are suspected without reason.

References
----------
What arm and ground swaps look like: Rudiger, Hellermann, Mukherjee, Follath, Turina,
"Electrocardiographic artifacts due to electrode misplacement and their frequency in different
clinical settings", Am J Emerg Med 25 (2007) 174.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, STANDARD_FS_HZ, BoolArray, FloatArray
from echoing_core.signals.quality import (
    FLAT_SHARE,
    MIN_BEATS,
    cut_beats,
    find_beats,
    lead_quality,
)

Floats = npt.NDArray[np.float64]

GAP_S, GAP_SHARE = 0.5, 1 / 3
SATURATED_S = 0.1
NOISE_MV, NOISE_SHARE = 0.025, 0.25
UNEXPLAINED_MV = 0.05

GAP, LEAD_OFF, SATURATED, NOISE, MOTION, NONE = (
    "gap", "lead off", "saturated", "noise", "baseline or motion", "none",
)  # fmt: skip

ARTEFACT_WORDS = {
    GAP: "gaps in the recording",
    LEAD_OFF: "flat, as if an electrode were off",
    SATURATED: "beyond 5 mV",
    NOISE: "noise",
    MOTION: "drift, motion or ectopic beats",
    NONE: "no plain cause in the signal",
}
"""Each artefact for a person."""

# Samples of a beat before and after its steepest point, and around it where a beat that is found
# 10 ms late would leave much over.
_BEFORE, _AFTER, _STEEP = (round(s * STANDARD_FS_HZ) for s in (0.25, 0.40, 0.10))

OPPOSED = -0.5
"""Correlation of the QRS in I and V6 below which they point against each other."""

FLAT_LIMB_SHARE, FLAT_LIMB_MV = 0.10, 0.12
"""A limb lead's span below this share of the largest limb lead's, and below this, is flat."""

LAW_SHARE = 0.1
"""I + III may differ from II by this share of the largest limb lead's span."""

FALLING, FALL = -0.7, 0.5
"""The R wave's share of the QRS shrinks where its correlation with the place, V1 to V6, is below
the one, and it is smaller in V6 than in V1 by the other."""

# Misplacement is read off a longer beat: the P wave and the level before it belong to it.
_P_BEFORE, _P_AFTER, _LEVEL = (round(s * STANDARD_FS_HZ) for s in (0.30, 0.45, 0.08))
_P_WAVE = slice(round(0.08 * STANDARD_FS_HZ), round(0.24 * STANDARD_FS_HZ))
_QRS = slice(round(0.20 * STANDARD_FS_HZ), round(0.40 * STANDARD_FS_HZ))


def lead_artefacts(
    signal_mv: FloatArray,
    valid: BoolArray,
    recorded: BoolArray,
    asked: BoolArray,
    span_s: tuple[float, float] | None = None,
) -> dict[str, str]:
    """Artefact of each lead that is asked about, in the order of `LEADS`.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (12, n_times)
        A window, 0.5-40 Hz at 100 Hz.
    recorded : ndarray of bool, shape (12,)
        Leads that were measured or derived; beats are found in these.
    asked : ndarray of bool, shape (12,)
    span_s : (float, float), optional
        Span to look at, in seconds from the start of the window; by default the whole.

    Returns
    -------
    dict of lead to str
        A key of `ARTEFACT_WORDS` for each lead of ``asked``.
    """
    begin_s, end_s = span_s or (0.0, valid.shape[1] / STANDARD_FS_HZ)
    inside = slice(round(begin_s * STANDARD_FS_HZ), round(end_s * STANDARD_FS_HZ))
    length_s = end_s - begin_s
    facts = lead_quality(signal_mv[:, inside], valid[:, inside], present=recorded)
    # Beats are found in the whole window: a span of two seconds holds too few for a median.
    residual = beat_residual(signal_mv, recorded)[:, inside]
    unexplained_mv = np.zeros(len(LEADS))
    if not np.isnan(residual).all():
        unexplained_mv = np.sqrt(np.nanmean(np.square(residual), axis=1))
    artefacts = {}
    for row in np.flatnonzero(asked):
        noise_mv = facts.noise_mv[row]
        if facts.invalid_fraction[row] * length_s >= min(GAP_S, GAP_SHARE * length_s):
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
        artefacts[LEADS[row]] = kind
    return artefacts


def beat_residual(signal_mv: FloatArray, recorded: BoolArray) -> Floats:
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
        # The median over beats is what the heart repeats; ectopic beats and noise are what is left
        # over.
        template = np.median(cut, axis=1)
        for beat in beats.tolist():
            begin, end = max(beat - _BEFORE, 0), min(beat + _AFTER, n_times)
            expected[:, begin:end] = template[:, begin - beat + _BEFORE : end - beat + _BEFORE]
        near = np.abs(np.arange(n_times)[:, np.newaxis] - beats).min(axis=1) <= _STEEP
        expected[:, near] = np.nan
    return x - expected


@dataclass(frozen=True)
class Misplacement:
    """What looks like a mistake in attaching the electrodes.

    Attributes
    ----------
    leads : tuple of str
        Those that it reaches, in the order of `LEADS`.
    sentence : str
        What is to be seen, and what it may mean, for a person.
    """

    leads: tuple[str, ...]
    sentence: str


ARMS = Misplacement(
    LEADS[:5],
    "Lead I is upside down against V6 and aVR points up: as if the arm electrodes were swapped, "
    "or in dextrocardia.",
)
GROUND = Misplacement(
    LEADS[:6],
    "One limb lead is flat while the others agree with each other: as if an arm electrode and "
    "the one on the right leg were swapped.",
)
CHEST = Misplacement(
    LEADS[6:],
    "R waves shrink from V1 to V6: as if the chest electrodes were attached in reverse, or in "
    "dextrocardia.",
)


def suspected_misplacements(
    signal_mv: FloatArray, valid: BoolArray, lead_origin: Sequence[str]
) -> tuple[Misplacement, ...]:
    """Mistakes in attaching the electrodes that a window looks as if it had.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (12, n_times)
        A window, 0.5-40 Hz at 100 Hz.
    lead_origin : sequence of 12 str
        As in `StandardEcg`. V1-V6 must have been measured; limb leads may be derived from two
        others. Leads made from X, Y and Z show no electrode's place, so nothing is suspected there.

    Returns
    -------
    tuple of Misplacement
        Empty where nothing is suspected, a lead is missing or fewer than three whole beats are
        found.
    """
    chest_measured = all(origin == "measured" for origin in lead_origin[6:])
    if "missing" in lead_origin or not chest_measured or not valid.any(axis=1).all():
        return ()
    beat = _median_beat(np.asarray(signal_mv, dtype=np.float64))
    if beat is None:
        return ()
    checks = ((_arms_swapped, ARMS), (_ground_swapped, GROUND), (_chest_reversed, CHEST))
    return tuple(misplacement for holds, misplacement in checks if holds(beat))


def _median_beat(signal_mv: Floats) -> Floats | None:
    """Shape (12, 75), each lead less its level before the P wave."""
    cut = cut_beats(signal_mv, find_beats(signal_mv), _P_BEFORE, _P_AFTER)
    if cut.shape[1] < MIN_BEATS:
        return None
    beat = np.median(cut, axis=1)
    return np.asarray(beat - np.median(beat[:, :_LEVEL], axis=1, keepdims=True))


def _arms_swapped(beat: Floats) -> bool:
    # Swapped arms turn lead I over; the P wave too, which an infarct would not do.
    one, right, lateral = (beat[LEADS.index(lead)] for lead in ("I", "aVR", "V6"))
    return bool(
        _correlation(one[_QRS], lateral[_QRS]) < OPPOSED
        and right[_QRS].sum() > 0
        and one[_P_WAVE].mean() < 0
    )


def _ground_swapped(beat: Floats) -> bool:
    limb = beat[:3]  # I, II, III
    span_mv = np.ptp(limb, axis=1)
    largest = float(span_mv.max())
    # A channel that is off breaks Einthoven, II = I + III; a swap does not.
    lawful = np.abs(limb[0] + limb[2] - limb[1]).max() < LAW_SHARE * largest
    least = float(span_mv[1:].min())
    return bool(lawful and least < FLAT_LIMB_MV and least < FLAT_LIMB_SHARE * largest)


def _chest_reversed(beat: Floats) -> bool:
    qrs = beat[6:, _QRS]
    up, down = np.maximum(qrs.max(axis=1), 0.0), np.maximum(-qrs.min(axis=1), 0.0)
    if not (up + down > 0).all():
        return False
    # R / (R + S), which is free of how large a lead is.
    share = up / (up + down)
    return bool(
        _correlation(np.arange(6.0) - 2.5, share - share.mean()) < FALLING
        and share[0] - share[5] > FALL
    )


def _correlation(a: Floats, b: Floats) -> float:
    """Of two rows about 0; 0 where one of them is 0 everywhere."""
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
