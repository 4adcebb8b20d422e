"""Electrodes in each other's places, as far as the median beat of a window shows it.

Three mistakes leave a mark that has a plain reason and is rare otherwise:

- *Arm electrodes swapped*: lead I is upside down, while V6, which looks at the heart from nearly
  the same side, is not; aVR points up. Dextrocardia looks the same in these leads.
- *An arm's electrode and the ground's swapped*: both legs have nearly the same potential, so
  lead II or III is flat. A channel that is off is flat, too, but then I + III is not II.
- *Chest electrodes in reverse*: the R wave's share shrinks from V1 to V6.

Other swaps (V1 with V3, an arm with the left leg) look like other hearts, and nothing is said.
The limits are plain shares, set on PTB-XL's training folds; `benchmarks/misplaced_electrodes.py`
tells how many swaps are found and how many ECGs are suspected for nothing.

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
from echoing_core.signals.quality import MIN_BEATS, cut_beats, find_beats

Floats = npt.NDArray[np.float64]

OPPOSED = -0.5
"""Correlation of the QRS in I and V6 below which they point against each other."""

FLAT_SHARE, FLAT_MV = 0.10, 0.12
"""A limb lead's span below this share of the largest limb lead's, and below this, is flat."""

LAW_SHARE = 0.1
"""I + III may differ from II by this share of the largest limb lead's span."""

FALLING, FALL = -0.7, 0.5
"""The R wave's share of the QRS shrinks where its correlation with the place, V1 to V6, is below
the one, and it is smaller in V6 than in V1 by the other."""

_BEFORE, _AFTER, _LEVEL = (round(s * STANDARD_FS_HZ) for s in (0.30, 0.45, 0.08))
_P_WAVE = slice(round(0.08 * STANDARD_FS_HZ), round(0.24 * STANDARD_FS_HZ))
_QRS = slice(round(0.20 * STANDARD_FS_HZ), round(0.40 * STANDARD_FS_HZ))


@dataclass(frozen=True)
class Suspicion:
    """What looks like a mistake in attaching the electrodes.

    Attributes
    ----------
    leads : tuple of str
        Those that it reaches, in the order of `LEADS`.
    sentence : str
        What is seen, and what it may mean, for a person.
    """

    leads: tuple[str, ...]
    sentence: str


ARMS = Suspicion(
    LEADS[:5],
    "Lead I is upside down against V6 and aVR points up: as if the arm electrodes were swapped, "
    "or in dextrocardia.",
)
GROUND = Suspicion(
    LEADS[:6],
    "One limb lead is flat while the others agree with each other: as if an arm electrode and "
    "the one on the right leg were swapped.",
)
CHEST = Suspicion(
    LEADS[6:],
    "R waves shrink from V1 to V6: as if the chest electrodes were attached in reverse, or in "
    "dextrocardia.",
)


def suspected(
    signal_mv: FloatArray, valid: BoolArray, lead_origin: Sequence[str]
) -> tuple[Suspicion, ...]:
    """What a window looks as if electrodes had been in each other's places.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (12, n_times)
        A window, 0.5-40 Hz at 100 Hz.
    lead_origin : sequence of 12 str
        As in `StandardEcg`. V1-V6 must have been measured; limb leads may be derived from two
        others. Nothing is said of leads made from X, Y and Z: they show no electrode's place.

    Returns
    -------
    tuple of Suspicion
        Empty where nothing is suspected, a lead is missing or fewer than three whole beats are
        found.
    """
    chest_measured = all(origin == "measured" for origin in lead_origin[6:])
    if "missing" in lead_origin or not chest_measured or not valid.any(axis=1).all():
        return ()
    beat = _median_beat(np.asarray(signal_mv, dtype=np.float64))
    if beat is None:
        return ()
    found = ((_arms_swapped(beat), ARMS), (_ground_swapped(beat), GROUND), (_falling(beat), CHEST))
    return tuple(suspicion for holds, suspicion in found if holds)


def _median_beat(signal_mv: Floats) -> Floats | None:
    """Shape (12, 75), each lead less its level before the P wave."""
    cut = cut_beats(signal_mv, find_beats(signal_mv), _BEFORE, _AFTER)
    if cut.shape[1] < MIN_BEATS:
        return None
    beat = np.median(cut, axis=1)
    return np.asarray(beat - np.median(beat[:, :_LEVEL], axis=1, keepdims=True))


def _arms_swapped(beat: Floats) -> bool:
    one, right, lateral = (beat[LEADS.index(lead)] for lead in ("I", "aVR", "V6"))
    return bool(
        _correlation(one[_QRS], lateral[_QRS]) < OPPOSED
        and right[_QRS].sum() > 0
        and one[_P_WAVE].mean() < 0
    )


def _ground_swapped(beat: Floats) -> bool:
    limb = beat[:3]
    span_mv = np.ptp(limb, axis=1)
    largest = float(span_mv.max())
    lawful = np.abs(limb[0] + limb[2] - limb[1]).max() < LAW_SHARE * largest
    least = float(span_mv[1:].min())
    return bool(lawful and least < FLAT_MV and least < FLAT_SHARE * largest)


def _falling(beat: Floats) -> bool:
    qrs = beat[6:, _QRS]
    up, down = np.maximum(qrs.max(axis=1), 0.0), np.maximum(-qrs.min(axis=1), 0.0)
    if not (up + down > 0).all():
        return False
    share = up / (up + down)
    return bool(
        _correlation(np.arange(6.0) - 2.5, share - share.mean()) < FALLING
        and share[0] - share[5] > FALL
    )


def _correlation(a: Floats, b: Floats) -> float:
    """Of two rows about 0; 0 where one of them is 0 everywhere."""
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
