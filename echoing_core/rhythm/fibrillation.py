"""Atrial fibrillation from intervals alone: how irregular they are, in windows of beats.

The waves of the atria are not looked at; in one noisy lead there is nothing of them to be seen.
Atrial fibrillation is irregularly irregular: an early beat now and then, bigeminy, and a sinus
rhythm that follows the breath are each regular in some way, and each of the measures here is blind
to one of them. A logistic regression joins them. Its weights were fitted on one half of CinC 2017
(PhysioNet, ODC-By 1.0), by ``benchmarks/rhythm.py``, which tells what they give on the other half.
Coefficients of sample entropy and turning points added nothing there and were left out.

References
----------
Shannon entropy of intervals: Dash et al., Ann Biomed Eng 2009;37:1701. Lorenz plot of differences:
Sarkar et al., IEEE Trans Biomed Eng 2008;55:1219. Clifford et al., Computing in Cardiology 2017;44
(doi 10.22489/CinC.2017.065-469).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from echoing_core.records import BoolArray
from echoing_core.rhythm.beats import Beats
from echoing_core.rhythm.shapes import UNSURE, VENTRICULAR

F64 = npt.NDArray[np.float64]

WINDOW_BEATS, STEP_BEATS = 40, 10
LEAST_INTERVALS = 8
"""Of fewer intervals in a window nothing is said."""
LONGEST_WINDOW_S = 180.0
"""Beats of a window that takes longer lie on both sides of a gap."""
SHORTEST_EPISODE_S = 30.0
"""Kirchhof et al., ESC guidelines 2016: an episode lasts 30 s."""
THRESHOLD = 0.5

FEATURES = ("lorenz", "entropy", "step", "rate")
WEIGHTS = (2.521, 1.621, 0.581, 1.394)
BIAS = -3.097

_OUTSIDE = 0.08
_BINS = np.arange(0.3, 2.01, 0.05)
_LEAST_STEP = 0.01


@dataclass(frozen=True)
class AfEpisode:
    """A stretch that looks like atrial fibrillation.

    Attributes
    ----------
    start_s, stop_s : float
        Seconds from the start of the recording.
    n_beats : int
    probability : float
        Mean over its beats of what their windows say, 0..1.
    """

    start_s: float
    stop_s: float
    n_beats: int
    probability: float


def irregularity(rr_ms: F64) -> F64 | None:
    """How irregular intervals are.

    Parameters
    ----------
    rr_ms : ndarray, shape (n,)
        Intervals in the order of time; NaN where one is not known.

    Returns
    -------
    ndarray, shape (4,), or None
        In the order of `FEATURES`: the share of points of the Lorenz plot (one difference of
        intervals against the next) that lie more than 8 % of the usual interval off its middle;
        the Shannon entropy of intervals in bins of 5 % of the usual one, over its largest value;
        the logarithm of the usual step from an interval to the next, next but one or third, the
        smallest of the three; beats per second. None of fewer than `LEAST_INTERVALS`.
    """
    known = rr_ms[np.isfinite(rr_ms)]
    if known.size < LEAST_INTERVALS:
        return None
    usual = float(np.median(known))
    relative = rr_ms / usual
    step = np.diff(relative)
    points = np.maximum(np.abs(step[1:]), np.abs(step[:-1]))
    points = points[np.isfinite(points)]
    counts, _ = np.histogram(relative[np.isfinite(relative)], bins=_BINS)
    share = counts[counts > 0] / known.size
    entropy = -float((share * np.log(share)).sum()) / np.log(min(known.size, len(_BINS) - 1))
    steps = [np.abs(relative[lag:] - relative[:-lag]) for lag in (1, 2, 3)]
    # Bigeminy repeats itself after two beats, trigeminy after three.
    smallest = min(
        (float(np.median(s[np.isfinite(s)])) for s in steps if np.isfinite(s).any()), default=0.0
    )
    return np.array(
        [
            float((points > _OUTSIDE).mean()) if points.size else 0.0,
            entropy,
            np.log(smallest + _LEAST_STEP),
            1000.0 / usual,
        ]
    )


def af_probability(rr_ms: F64) -> float | None:
    """How likely intervals are those of atrial fibrillation, as among CinC 2017's recordings.

    Parameters
    ----------
    rr_ms : ndarray, shape (n,)
        As in `irregularity`; made for 8 to 60 of them.

    Returns
    -------
    float or None
        0..1; None of too few intervals.
    """
    features = irregularity(rr_ms)
    if features is None:
        return None
    return float(1.0 / (1.0 + np.exp(-(features @ np.array(WEIGHTS) + BIAS))))


def sure_intervals_ms(beats: Beats) -> F64:
    """Intervals between two beats that are both sure to be beats.

    Parameters
    ----------
    beats : Beats

    Returns
    -------
    ndarray, shape (n_beats,)
        As ``beats.rr_ms``; NaN where one of the two is unsure.
    """
    return _between(beats, beats.kind == UNSURE)


def conducted_intervals_ms(beats: Beats) -> F64:
    """Intervals that the atria decide: of those that are sure, without ventricular beats.

    Parameters
    ----------
    beats : Beats

    Returns
    -------
    ndarray, shape (n_beats,)
        As ``beats.rr_ms``; NaN where one of the two beats is unsure or ventricular. Frequent
        ventricular beats make any rhythm irregular: without this, MIT-BIH 208, in sinus rhythm
        with every third beat ventricular, was called fibrillation for most of its length.
    """
    return _between(beats, (beats.kind == UNSURE) | (beats.kind == VENTRICULAR))


def _between(beats: Beats, left_out: BoolArray) -> F64:
    return np.where(
        left_out | np.insert(left_out[:-1], 0, False)[: len(beats)], np.nan, beats.rr_ms
    )


def beat_probabilities(beats: Beats) -> F64:
    """Of each beat, what the windows that hold it say of atrial fibrillation.

    Parameters
    ----------
    beats : Beats

    Returns
    -------
    ndarray, shape (n_beats,)
        Mean over windows, 0..1; NaN where no window could be judged.
    """
    n = len(beats)
    rr_ms = conducted_intervals_ms(beats)
    total, count = np.zeros(n), np.zeros(n)
    # The last window ends with the last beat.
    starts = list(range(0, max(n - WINDOW_BEATS, 0) + 1, STEP_BEATS))
    if n > WINDOW_BEATS and starts[-1] != n - WINDOW_BEATS:
        starts.append(n - WINDOW_BEATS)
    for start in starts:
        window = slice(start, min(start + WINDOW_BEATS, n))
        if n == 0 or beats.time_s[window.stop - 1] - beats.time_s[start] > LONGEST_WINDOW_S:
            continue
        found = af_probability(rr_ms[window])
        if found is not None:
            total[window] += found
            count[window] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def af_episodes(beats: Beats, probability: F64) -> tuple[AfEpisode, ...]:
    """Stretches of at least `SHORTEST_EPISODE_S` in which beats look like atrial fibrillation.

    Parameters
    ----------
    beats : Beats
    probability : ndarray, shape (n_beats,)
        From `beat_probabilities`.

    Returns
    -------
    tuple of AfEpisode
        In the order of time. In a recording of less than that, one that fills it.
    """
    is_af: BoolArray = np.nan_to_num(probability, nan=0.0) >= THRESHOLD
    # A gap ends an episode.
    new = np.isnan(beats.rr_ms)
    edges = np.flatnonzero(np.diff(is_af.astype(np.int8), prepend=0, append=0))
    episodes = []
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        cuts = [first, *(first + 1 + np.flatnonzero(new[first + 1 : stop])).tolist(), stop]
        for a, b in pairwise(cuts):
            start_s, stop_s = float(beats.time_s[a]), float(beats.time_s[b - 1])
            least = min(SHORTEST_EPISODE_S, 0.8 * beats.duration_s)
            if stop_s - start_s >= least:
                mean = float(probability[a:b].mean())
                episodes.append(AfEpisode(start_s, stop_s, b - a, mean))
    return tuple(episodes)


def recording_af_probability(beats: Beats) -> float | None:
    """One figure for a short recording: the mean over its beats.

    Parameters
    ----------
    beats : Beats

    Returns
    -------
    float or None
        None where no window could be judged.
    """
    told: Sequence[float] = [p for p in beat_probabilities(beats).tolist() if np.isfinite(p)]
    return float(np.mean(told)) if told else None
