"""Figures of a stretch of rhythm: heart rate, ectopic beats, pauses, and how intervals vary.

Heart-rate variability is that of normal beats: an interval counts where the beats at both of its
ends are normal, and not in atrial fibrillation, in which it would say nothing of the sinus node.
What too little was recorded for is not measurable, and says why.

References
----------
Task Force of the ESC and NASPE, Circulation 1996;93:1043, for SDNN, SDANN, SDNN index, RMSSD,
pNN50, LF (0.04-0.15 Hz) and HF (0.15-0.4 Hz). Poincare plot: Brennan et al., IEEE Trans Biomed Eng
2001;48:1342, SD1^2 = var(differences) / 2 and SD2^2 = 2 SDNN^2 - SD1^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import BoolArray
from echoing_core.rhythm.beats import Beats
from echoing_core.rhythm.fibrillation import AfEpisode, sure_intervals_ms
from echoing_core.rhythm.shapes import NORMAL, SUPRAVENTRICULAR, UNSURE, VENTRICULAR

F64 = npt.NDArray[np.float64]

PAUSE_S = 2.0
RATE_BEATS = 9
"""Slowest and fastest rate are means over so many intervals in a row or more."""
LEAST_NN = 20
SEGMENT_S = 300.0
LEAST_SEGMENT_SHARE = 0.8
LEAST_DAY_S = 18 * 3600.0
LF_HZ, HF_HZ = (0.04, 0.15), (0.15, 0.40)
_RIDGE = 0.2
# The shortest interval between normal beats, and the longest, that are believed.
_NN_MS = (300.0, 2000.0)
_LEAST_BEATS = 5


@dataclass(frozen=True)
class Measure:
    """One figure, or why there is none.

    Attributes
    ----------
    name : str
        Key in JSON, which ends in the unit where there is one.
    words : str
        For people.
    value : float or None
    unit : str
    why : str
        Where there is no value, why it is not measurable; else what was counted.
    """

    name: str
    words: str
    value: float | None
    unit: str
    why: str = ""


@dataclass(frozen=True)
class Pause:
    """A stretch of more than `PAUSE_S` between two beats, all of it recorded.

    Attributes
    ----------
    start_s, stop_s : float
        The beat before, and the beat after.
    doubtful : bool
        A beat beside it is unsure, so that one may have been missed.
    """

    start_s: float
    stop_s: float
    doubtful: bool

    @property
    def duration_s(self) -> float:
        return self.stop_s - self.start_s


@dataclass(frozen=True)
class HourRow:
    """One hour of a recording; a recording of less is one row.

    Attributes
    ----------
    start_s, recorded_s : float
    n_beats, n_ventricular, n_supraventricular : int
    rate_bpm, slowest_bpm, fastest_bpm : float or None
        Mean and extremes of intervals between sure beats; None of fewer than `RATE_BEATS`.
    """

    start_s: float
    recorded_s: float
    n_beats: int
    n_ventricular: int
    n_supraventricular: int
    rate_bpm: float | None
    slowest_bpm: float | None
    fastest_bpm: float | None


def pauses(beats: Beats) -> tuple[Pause, ...]:
    """Where no beat was found for more than `PAUSE_S`, though something was recorded.

    Parameters
    ----------
    beats : Beats

    Returns
    -------
    tuple of Pause
        In the order of time. Before the first beat and after the last one nothing is told.
    """
    long = np.flatnonzero(np.nan_to_num(beats.rr_ms) > 1000.0 * PAUSE_S)
    unsure = beats.kind == UNSURE
    return tuple(
        Pause(float(beats.time_s[i - 1]), float(beats.time_s[i]), bool(unsure[i - 1] or unsure[i]))
        for i in long.tolist()
    )


def normal_intervals(beats: Beats, episodes: tuple[AfEpisode, ...] = ()) -> BoolArray:
    """Which intervals are those of sinus rhythm, between two normal beats.

    Parameters
    ----------
    beats : Beats
    episodes : tuple of AfEpisode
        In which no interval is.

    Returns
    -------
    ndarray of bool, shape (n_beats,)
        Of the interval that ends at each beat.
    """
    normal = beats.kind == NORMAL
    rr_ms = np.nan_to_num(beats.rr_ms)
    good = normal & np.insert(normal[:-1], 0, False)[: len(beats)]
    good &= (rr_ms >= _NN_MS[0]) & (rr_ms <= _NN_MS[1])
    for episode in episodes:
        inside = slice(
            int(np.searchsorted(beats.time_s, episode.start_s)),
            int(np.searchsorted(beats.time_s, episode.stop_s, side="right")),
        )
        good[inside] = False
    return np.asarray(good)


def rate_measures(
    beats: Beats,
    found: tuple[Pause, ...],
    episodes: tuple[AfEpisode, ...],
    judged_s: float,
    empty: str,
) -> tuple[Measure, ...]:
    """Beats, rate, ectopic beats, pauses and atrial fibrillation.

    Parameters
    ----------
    beats : Beats
    found : tuple of Pause
    episodes : tuple of AfEpisode
    judged_s : float
        Seconds in which beats were sure enough to tell atrial fibrillation from another rhythm.
    empty : str
        Why there is nothing, where there is nothing.

    Returns
    -------
    tuple of Measure
    """
    n, recorded_s = len(beats), beats.recorded_s
    hours = recorded_s / 3600.0
    rr_ms = beats.rr_ms[np.isfinite(beats.rr_ms)]
    sure_ms = sure_intervals_ms(beats)
    sure_ms = sure_ms[np.isfinite(sure_ms)]
    why = _why_no_beats(n, recorded_s, empty)
    n_v, n_s, n_q = (beats.n(kind) for kind in (VENTRICULAR, SUPRAVENTRICULAR, UNSURE))
    least = _LEAST_BEATS - 1
    unknown = why or (
        ""
        if sure_ms.size >= least
        else f"{sure_ms.size} intervals between sure beats are known; at least {least} are needed"
    )
    known = f"{sure_ms.size:,} intervals between sure beats"
    found_measures = [
        Measure("recorded_s", "Recorded", recorded_s, "s"),
        Measure("beats", "Beats", float(n), ""),
        _or_why("rate_bpm", "Mean heart rate", _rate(sure_ms), "bpm", unknown, known),
    ]
    lowest, highest = _extremes(sure_ms)
    few = why or (
        ""
        if lowest is not None
        else f"fewer than {RATE_BEATS} intervals between sure beats are known"
    )
    over = f"over {RATE_BEATS} intervals or more"
    for name, words, rate in (("slowest", "Slowest", lowest), ("fastest", "Fastest", highest)):
        words = f"{words} heart rate, {over}"
        found_measures.append(_or_why(f"{name}_bpm", words, rate or 0, "bpm", few, known))
    for name, words, count in (
        ("ventricular", "Ventricular beats", n_v),
        ("supraventricular", "Supraventricular premature beats", n_s),
        ("unsure", "Unsure beats", n_q),
    ):
        of = f"{100 * count / n:.1f} % of {n:,} beats" if n else ""
        found_measures.append(_or_why(f"{name}_beats", words, float(count), "", why, of))
    short = why or ("" if recorded_s >= 60 else "less than a minute was recorded")
    per_hour = n_v / max(hours, 1e-9)
    longest_s = float(rr_ms.max()) / 1000 if rr_ms.size else 0.0
    unsure = beats.kind == UNSURE
    spared = "" if not unsure.any() else "a beat may have been missed where beats are unsure"
    found_measures += [
        _or_why("ventricular_per_hour", "Ventricular beats per hour", per_hour, "/h", short),
        _or_why("ventricular_pct", "Ventricular beats of all", 100 * n_v / max(n, 1), "%", why),
        _or_why("pauses", f"Pauses over {PAUSE_S:g} s", float(len(found)), "", why, spared),
        _or_why("longest_rr_s", "Longest interval between beats", longest_s, "s", why, spared),
    ]
    af_s = sum(episode.stop_s - episode.start_s for episode in episodes)
    burden = 100 * min(af_s / max(judged_s, 1e-9), 1.0)
    unjudged = why or ("" if judged_s > 0 else "too few beats in a row are sure")
    of = f"of {judged_s:.0f} s that could be judged"
    words = "Episodes like atrial fibrillation"
    found_measures += [
        _or_why("af_episodes", words, float(len(episodes)), "", unjudged),
        _or_why("af_burden_pct", "Time in them", burden, "%", unjudged, of),
    ]
    return tuple(found_measures)


def variability_measures(beats: Beats, episodes: tuple[AfEpisode, ...]) -> tuple[Measure, ...]:
    """Heart-rate variability of sinus rhythm, in time, in frequency and in the Poincare plot.

    Parameters
    ----------
    beats : Beats
    episodes : tuple of AfEpisode
        Left out.

    Returns
    -------
    tuple of Measure
    """
    good = normal_intervals(beats, episodes)
    nn_ms = beats.rr_ms[good]
    # Differences of intervals that share a beat.
    pair = good & np.insert(good[:-1], 0, False)[: len(beats)]
    step_ms = (beats.rr_ms - np.insert(beats.rr_ms[:-1], 0, np.nan)[: len(beats)])[pair]
    few = (
        ""
        if nn_ms.size >= LEAST_NN and step_ms.size >= LEAST_NN
        else f"{nn_ms.size} intervals between normal beats outside atrial fibrillation; at least "
        f"{LEAST_NN} in a row are needed"
    )
    counted = f"{nn_ms.size:,} intervals between normal beats"
    sdnn = float(nn_ms.std(ddof=1)) if not few else 0.0
    rmssd = float(np.sqrt(np.mean(step_ms**2))) if not few else 0.0
    sd1 = float(step_ms.std(ddof=1)) / np.sqrt(2) if not few else 0.0
    # Of a short or drifting recording the two variances may not fit together.
    sd2 = float(np.sqrt(max(2 * sdnn**2 - sd1**2, 0.0)))
    found = [
        _or_why("sdnn_ms", "SDNN", sdnn, "ms", few, counted),
        _or_why("rmssd_ms", "RMSSD", rmssd, "ms", few, counted),
        _or_why(
            "pnn50_pct", "pNN50",
            100 * float((np.abs(step_ms) > 50).mean()) if not few else 0.0, "%", few, counted,
        ),
        _or_why("sd1_ms", "Poincare SD1", sd1, "ms", few, counted),
        _or_why("sd2_ms", "Poincare SD2", sd2, "ms", few, counted),
    ]  # fmt: skip
    segments = _segments(beats, good)
    none = few or (
        ""
        if segments
        else f"no {SEGMENT_S / 60:g} minutes of which {100 * LEAST_SEGMENT_SHARE:.0f} % are normal "
        "intervals"
    )
    of = f"{len(segments):,} segments of {SEGMENT_S / 60:g} min"
    powers = [_powers(*segment) for segment in segments]
    lf, hf = np.mean(powers, axis=0).tolist() if powers else (0.0, 0.0)
    index = float(np.mean([nn.std(ddof=1) for _, nn in segments])) if segments else 0.0
    no_hf = none or ("" if hf > 0 else "there is no HF power")
    found += [
        _or_why("sdnn_index_ms", "SDNN index (mean of 5 min)", index, "ms", none, of),
        _or_why("lf_ms2", "LF power, 5 min", lf, "ms²", none, of),
        _or_why("hf_ms2", "HF power, 5 min", hf, "ms²", none, of),
        _or_why("lf_hf", "LF/HF", lf / hf if hf > 0 else 0.0, "", no_hf, of),
    ]
    day = (
        few
        or (
            ""
            if beats.recorded_s >= LEAST_DAY_S
            else f"{_length_words(beats.recorded_s)} were recorded; at least "
            f"{LEAST_DAY_S / 3600:.0f} h are needed"
        )
        or none
    )
    means = [float(nn.mean()) for _, nn in segments]
    sdann = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
    found.append(_or_why("sdann_ms", "SDANN, 24 h", sdann, "ms", day, of))
    return tuple(found)


def rate_by_hour(beats: Beats) -> tuple[HourRow, ...]:
    """Rates and ectopic beats of each hour from the start of the recording.

    Parameters
    ----------
    beats : Beats

    Returns
    -------
    tuple of HourRow
    """
    rows = []
    sure_ms = sure_intervals_ms(beats)
    for hour in range(max(1, int(np.ceil(beats.duration_s / 3600.0 - 1e-9)))):
        start_s, stop_s = hour * 3600.0, (hour + 1) * 3600.0
        first, stop = np.searchsorted(beats.time_s, [start_s, stop_s]).tolist()
        rr_ms = sure_ms[first:stop]
        rr_ms = rr_ms[np.isfinite(rr_ms)]
        kind = beats.kind[first:stop]
        lowest, highest = _extremes(rr_ms)
        rows.append(
            HourRow(
                start_s,
                sum(max(0.0, min(b, stop_s) - max(a, start_s)) for a, b in beats.recorded),
                stop - first,
                int((kind == VENTRICULAR).sum()),
                int((kind == SUPRAVENTRICULAR).sum()),
                _rate(rr_ms) if rr_ms.size >= RATE_BEATS else None,
                lowest,
                highest,
            )
        )
    return tuple(rows)


def rr_histogram(beats: Beats, width_ms: float = 25.0) -> tuple[F64, npt.NDArray[np.int64]]:
    """How often intervals of each length occur.

    Parameters
    ----------
    beats : Beats
    width_ms : float
        Of a bin.

    Returns
    -------
    edges_ms : ndarray, shape (n_bins + 1,)
        From 200 to 2200 ms; what is longer or shorter is counted in the last or first bin.
    count : ndarray, shape (n_bins,)
    """
    edges_ms = np.arange(200.0, 2200.0 + width_ms / 2, width_ms)
    rr_ms = beats.rr_ms[np.isfinite(beats.rr_ms)]
    inside = np.clip(rr_ms, edges_ms[0], edges_ms[-1] - 1e-6)
    count, _ = np.histogram(inside, bins=edges_ms)
    return edges_ms, count.astype(np.int64)


def _length_words(seconds: float) -> str:
    """In the unit that leaves digits to read."""
    for unit, size_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{seconds:.0f} s"


def _rate(rr_ms: F64) -> float:
    return 60_000.0 / float(rr_ms.mean()) if rr_ms.size else 0.0


def _or_why(name: str, words: str, value: float, unit: str, why: str, counted: str = "") -> Measure:
    if why:
        return Measure(name, words, None, unit, why)
    return Measure(name, words, float(value), unit, counted)


def _why_no_beats(n: int, recorded_s: float, empty: str) -> str:
    if recorded_s <= 0:
        return empty
    return "" if n >= _LEAST_BEATS else f"{n} beats were found; at least {_LEAST_BEATS} are needed"


def _extremes(rr_ms: F64) -> tuple[float | None, float | None]:
    """Slowest and fastest rate in beats per minute, over `RATE_BEATS` intervals or more.

    Any number of intervals can be cut into pieces of `RATE_BEATS` to twice as many less one, so
    their mean lies between the extremes of such pieces. Of pieces of one length it need not.
    """
    if rr_ms.size < RATE_BEATS:
        return None, None
    total = np.concatenate([[0.0], np.cumsum(rr_ms)])
    longest = shortest = float(rr_ms.mean())
    for n in range(RATE_BEATS, min(2 * RATE_BEATS, rr_ms.size + 1)):
        means = (total[n:] - total[:-n]) / n
        longest, shortest = max(longest, float(means.max())), min(shortest, float(means.min()))
    return 60_000.0 / longest, 60_000.0 / shortest


def _segments(beats: Beats, good: BoolArray) -> list[tuple[F64, F64]]:
    """Times (s) and lengths (ms) of normal intervals, of each 5 minutes that are full of them."""
    found = []
    for k in range(int(beats.duration_s // SEGMENT_S)):
        first, stop = np.searchsorted(beats.time_s, [k * SEGMENT_S, (k + 1) * SEGMENT_S]).tolist()
        rows = np.arange(first, stop)[good[first:stop]]
        nn_ms = beats.rr_ms[rows]
        if nn_ms.size > LEAST_NN and nn_ms.sum() >= 1000 * LEAST_SEGMENT_SHARE * SEGMENT_S:
            found.append((beats.time_s[rows], nn_ms))
    return found


def _powers(time_s: F64, nn_ms: F64) -> tuple[float, float]:
    """LF and HF power in ms^2 of one segment, of what was measured alone.

    A periodogram under a Hann window, each interval weighted by its length and none filled in: a
    curve through beats that were left out swings wide. What gaps spread from one band into the
    other is taken off by a fit of the other band, with a ridge because gaps leave it loose.
    """
    length_s = nn_ms / 1000.0
    begin_s = float(time_s[0] - length_s[0])
    middle_s = time_s - length_s / 2.0 - begin_s
    # A straight line is taken off: a slow drift leaks into LF.
    line = np.polyfit(middle_s, nn_ms, 1, w=np.sqrt(length_s))
    apart = nn_ms - np.polyval(line, middle_s)
    window = np.sin(np.pi * middle_s / (float(time_s[-1]) - begin_s)) ** 2
    # Above half a beat's frequency all comes back from below.
    at = np.arange(1.0 / SEGMENT_S, min(HF_HZ[1], 0.5 / float(length_s.mean())), 1.0 / SEGMENT_S)
    turns = np.exp(2j * np.pi * np.outer(middle_s, at))

    def without(band: BoolArray) -> F64:
        waves = np.hstack([turns[:, band].real, turns[:, band].imag])
        weighted = waves.T * length_s
        product = weighted @ waves
        ridge = _RIDGE * np.trace(product) / len(product) * np.eye(len(product))
        return np.asarray(apart - waves @ np.linalg.solve(product + ridge, weighted @ apart))

    def power(values: F64, band: BoolArray) -> float:
        density = 2.0 * np.abs(turns[:, band].T @ (window * values * length_s)) ** 2
        return float(density.sum() / np.sum(window**2 * length_s) / SEGMENT_S)

    slow = np.asarray(at < LF_HZ[1])
    return power(without(~slow), slow & (at >= LF_HZ[0])), power(without(slow), ~slow)
