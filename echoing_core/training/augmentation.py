"""What a recording can lose or suffer: lead subsets, gaps, gain, device faults.

Everything works on windows at 100 Hz in mV with their mask; a lead that is taken away is
masked, so the model is told and never guesses from zeros.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, STANDARD_FS_HZ, BoolArray
from echoing_core.signals.filters import bandpass
from echoing_core.simulate.noise import corrupt

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
    """
    keep = np.zeros(len(LEADS), dtype=bool)
    if rng.random() < 0.5:
        keep[[_ROW[lead] for lead in _COMMON_SUBSETS[rng.integers(len(_COMMON_SUBSETS))]]] = True
    else:
        n_kept = int(rng.integers(1, len(LEADS)))
        keep[rng.permutation(len(LEADS))[:n_kept]] = True
    return valid & keep[:, None]


def cut_gap(valid: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Mask one stretch of 0.5 to 8 s in all leads of one window."""
    n_times = valid.shape[1]
    length = int(rng.integers(50, 800))
    start = int(rng.integers(-length // 2, n_times - length // 2))
    masked = valid.copy()
    masked[:, max(start, 0) : max(start + length, 0)] = False
    return masked


def rescale(signal_mv: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One gain for the whole body (0.75-1.33) and a small one per lead."""
    body = np.exp(rng.uniform(-0.29, 0.29))
    per_lead = np.exp(rng.normal(0.0, 0.05, size=(signal_mv.shape[0], 1)))
    return np.asarray(signal_mv * (body * per_lead), dtype=np.float32)


def disturb(signal_mv: FloatArray, rng: np.random.Generator, severity: float) -> FloatArray:
    """Device faults in a filtered window, filtered as the reader would have filtered them.

    Only the leads that a fault reached pass the filter again: a second pass narrows the band a
    little, and must not become the mark of a disturbed lead.
    """
    faulty, _ = corrupt(signal_mv, STANDARD_FS_HZ, rng, severity)
    hit = np.flatnonzero((faulty != signal_mv).any(axis=1))
    disturbed = signal_mv.copy()
    difference = faulty[hit] - signal_mv[hit]
    # Added noise is filtered alone; where a fault took the heart out, what it left is filtered.
    replaced = (difference + signal_mv[hit]).std(axis=1) < 0.5 * signal_mv[hit].std(axis=1)
    disturbed[hit] += bandpass(difference, STANDARD_FS_HZ).astype(np.float32)
    if replaced.any():
        disturbed[hit[replaced]] = bandpass(faulty[hit[replaced]], STANDARD_FS_HZ)
    return disturbed


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
    """
    if rng.random() < corrupt_share:
        signal_mv = disturb(signal_mv, rng, float(rng.random()))
    if rng.random() < lead_subset_share:
        valid = drop_leads(valid, rng)
    if rng.random() < 0.2 * lead_subset_share:
        valid = cut_gap(valid, rng)
    return signal_mv, valid
