"""When the model is unsure: intervals along a recording, and the span within one window.

Nothing here looks at a signal or a model: a `WindowTrack`, or the terms of one window's sigma^2,
are enough, so a day takes milliseconds. Windows may lie unevenly, because an interval that a
person zooms into is embedded at a finer stride than the rest; all shares are therefore of time,
not of windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, WINDOW_S, BoolArray, WindowTrack
from echoing_core.signals.short import moving_mean

Floats = npt.NDArray[np.float64]

UNSURE_PERCENTILE = 90.0
"""From here on a window belongs to an uncertain interval."""

SMOOTH_CHUNKS = 5
"""Logarithms are averaged over a second, about a beat: the QRS's own term comes and goes."""

FLOOR_SHARE = 0.1
"""Terms far below the usual one are all as good as nothing: the logarithm starts at this share of
the median."""

LEAST = 1e-9
"""Terms of sigma^2 as small as this are as good as none."""

QUIET_SHARE = 0.25
"""A lead's own quiet level is what this share of its chunks stay below."""

SPAN_SHARE, SPAN_CONTRAST, SPAN_REST_S = 0.5, 2.0, 1.0
"""A span is worth naming if it holds this share of the terms, at this many times the level of the
rest, and leaves at least these seconds out."""


@dataclass(frozen=True)
class UncertainInterval:
    """Windows in a row that are all at or above a percentile.

    Attributes
    ----------
    start_s, end_s : float
        In seconds from the start of the recording.
    first, stop : int
        The windows, ``first`` to ``stop - 1``.
    worst : int
        The least sure of them.
    percentile : float
        Of that one.
    """

    start_s: float
    end_s: float
    first: int
    stop: int
    worst: int
    percentile: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class SpanSummary:
    """What a span of a recording holds.

    Attributes
    ----------
    start_s, end_s : float
    n_windows : int
        Windows whose middle lies in the span.
    median, highest : float
        Percentile over time, and of the least sure window; NaN where nothing was recorded.
    unsure_share : float
        Share of the recorded time at or above `UNSURE_PERCENTILE`, 0..1.
    recorded_share : float
        Share of the span that holds any signal, 0..1.
    surest, worst : int or None
        Windows; None where nothing was recorded.
    share_by_lead : tuple of (str, float)
        Leads with their share of what all leads give to sigma^2, greatest first; empty where
        sigma^2 has no terms by lead.
    """

    start_s: float
    end_s: float
    n_windows: int
    median: float
    highest: float
    unsure_share: float
    recorded_share: float
    surest: int | None
    worst: int | None
    share_by_lead: tuple[tuple[str, float], ...]


def shown_percentile(track: WindowTrack) -> Floats:
    """Percentile of each window as screens show it.

    Parameters
    ----------
    track : WindowTrack

    Returns
    -------
    ndarray, shape (n_windows,)
        0..100; NaN where no lead holds any signal.
    """
    return np.where(track.valid_fraction.max(axis=1) > 0, track.percentile, np.nan)


def cell_edges(track: WindowTrack, duration_s: float) -> Floats:
    """Borders of the cells of time that the windows stand for.

    A window colours what lies nearest to its middle; the first and the last reach to the
    ends of the recording.

    Parameters
    ----------
    track : WindowTrack
    duration_s : float
        Length of the recording in seconds.

    Returns
    -------
    ndarray, shape (n_windows + 1,)
        Seconds, ascending, from 0 to ``duration_s``.
    """
    # Half way between the middles of two neighbours.
    centre = track.start_s + track.window_s / 2
    inner = (centre[1:] + centre[:-1]) / 2
    return np.concatenate([[0.0], inner, [duration_s]])


def visible_windows(track: WindowTrack, hide_above: float) -> BoolArray:
    """Windows that hold signal and are not above a percentile.

    Parameters
    ----------
    track : WindowTrack
    hide_above : float
        Percentile, 0..100; at 100 every window with signal is visible.

    Returns
    -------
    ndarray of bool, shape (n_windows,)
    """
    percentile = shown_percentile(track)
    return np.asarray(np.isfinite(percentile) & (np.nan_to_num(percentile) <= hide_above))


def uncertain_intervals(
    track: WindowTrack, duration_s: float, above: float = UNSURE_PERCENTILE
) -> tuple[UncertainInterval, ...]:
    """Where the model is unsure, in the order of time.

    Parameters
    ----------
    track : WindowTrack
    duration_s : float
        Length of the recording in seconds.
    above : float
        Percentile from which on a window belongs to an interval.

    Returns
    -------
    tuple of UncertainInterval
        They do not touch each other.
    """
    # Windows without signal have no percentile and end an interval.
    percentile = np.nan_to_num(shown_percentile(track), nan=-1.0)
    edges = cell_edges(track, duration_s)
    # Edges of the runs of unsure windows: first, stop, first, stop, ...
    changes = np.diff(np.concatenate([[False], percentile >= above, [False]]).astype(np.int8))
    runs = np.flatnonzero(changes).reshape(-1, 2).tolist()
    intervals = []
    for first, stop in runs:
        # Ties at percentile 100 are common, so sigma^2 itself decides which one is worst.
        worst = first + int(np.argmax(track.uncertainty[first:stop]))
        intervals.append(
            UncertainInterval(
                start_s=float(edges[first]),
                end_s=float(edges[stop]),
                first=first,
                stop=stop,
                worst=worst,
                percentile=float(percentile[worst]),
            )
        )
    return tuple(intervals)


def summarise_span(
    track: WindowTrack, duration_s: float, start_s: float, end_s: float
) -> SpanSummary:
    """What the windows between two times say together.

    A span shorter than the distance of two windows holds the window nearest to its middle.

    Parameters
    ----------
    track : WindowTrack
    duration_s : float
        Length of the recording in seconds.
    start_s, end_s : float
        The span, in seconds from the start of the recording.

    Returns
    -------
    SpanSummary

    Raises
    ------
    ValueError
        The span is empty or lies outside the recording.
    """
    if not 0 <= start_s < end_s <= duration_s + 1e-6:
        raise ValueError(f"no span from {start_s} to {end_s} s in {duration_s} s")
    edges = cell_edges(track, duration_s)
    # Seconds of each window's cell that lie in the span: the weight of that window.
    length = np.minimum(edges[1:], end_s) - np.maximum(edges[:-1], start_s)
    centre = track.start_s + track.window_s / 2
    rows = np.flatnonzero((centre >= start_s) & (centre <= end_s))
    if not rows.size:
        rows = np.array([int(np.abs(centre - (start_s + end_s) / 2).argmin())])
    percentile = shown_percentile(track)[rows]
    # Windows without any signal count for the recorded share only.
    known = np.isfinite(percentile)
    weight = np.maximum(length[rows], 0.0)
    total = float(weight.sum())
    rows, percentile, weight = rows[known], percentile[known], weight[known]
    recorded = float(weight.sum())
    if not rows.size:
        nan = float("nan")
        return SpanSummary(start_s, end_s, 0, nan, nan, 0.0, 0.0, None, None, ())
    shares: tuple[tuple[str, float], ...] = ()
    if track.by_lead is not None:
        by_lead = (track.by_lead[rows].astype(np.float64) * weight[:, np.newaxis]).sum(axis=0)
        if by_lead.sum() > 0:
            share = by_lead / by_lead.sum()
            order = np.argsort(-share, kind="stable").tolist()
            shares = tuple((LEADS[i], float(share[i])) for i in order)
    return SpanSummary(
        start_s=start_s,
        end_s=end_s,
        n_windows=int(rows.size),
        median=_weighted_median(percentile, weight),
        highest=float(percentile.max()),
        unsure_share=float(weight[percentile >= UNSURE_PERCENTILE].sum() / recorded)
        if recorded > 0
        else float((percentile >= UNSURE_PERCENTILE).mean()),
        recorded_share=recorded / total if total > 0 else 1.0,
        surest=int(rows[np.argmin(track.uncertainty[rows])]),
        worst=int(rows[np.argmax(track.uncertainty[rows])]),
        share_by_lead=shares,
    )


def time_profile(cells: npt.ArrayLike) -> Floats:
    """How far the leads together stand above their own quiet level, chunk by chunk.

    A lead that is uncertain from end to end says nothing about when.

    Parameters
    ----------
    cells : array-like, shape (n_leads, n_chunks), >= 0
        Terms of a window's sigma^2 (`Attribution.cells`).

    Returns
    -------
    ndarray, shape (n_chunks,), >= 0
        For `noisy_span`.
    """
    terms = np.asarray(cells, dtype=np.float64)
    # A low quantile, not the minimum: single chunks are quiet by chance.
    quiet = np.quantile(terms, QUIET_SHARE, axis=1, keepdims=True)
    return np.asarray(np.maximum(terms - quiet, 0.0).sum(axis=0))


def noisy_span(by_time: npt.ArrayLike) -> tuple[int, int]:
    """First chunk, and one past the last, of the span in which sigma^2 is high.

    Of all spans the one for which two levels, one inside and one outside, fit the smoothed
    logarithm of the terms best (least squares), the inner level being the higher one. Noise comes
    in bursts: a threshold would cut it into pieces, and a few great bursts would rule the levels
    of terms that are not logarithms.

    Parameters
    ----------
    by_time : array-like, shape (n_chunks,), >= 0
        From `time_profile`, or any other course of a window's uncertainty.

    Returns
    -------
    first, stop : int
        Equal (0, 0) if nothing stands out, that is, if all terms are the same.
    """
    terms = np.asarray(by_time, dtype=np.float64)
    level = np.log(terms + FLOOR_SHARE * np.median(terms) + LEAST)
    # The logarithm is smoothed, not the terms: so a strong span does not grow at its ends.
    level = moving_mean(level, SMOOTH_CHUNKS, "edge")
    total = np.concatenate([[0.0], np.cumsum(level - level.mean())])
    first, stop = np.triu_indices(terms.size + 1, 1)
    length = stop - first
    inside = length < terms.size
    first, stop, length = first[inside], stop[inside], length[inside]
    # With the mean taken off, this is what two levels explain of the sum of squares.
    excess = total[stop] - total[first]
    explained = np.where(excess > 1e-9, excess**2 / (length * (terms.size - length)), 0.0)
    best = int(np.argmax(explained))
    if explained[best] == 0.0:
        return 0, 0
    return int(first[best]), int(stop[best])


def span_to_name(cells: npt.ArrayLike) -> tuple[float, float] | None:
    """Start and end, in seconds from the window's start, of the span that stands out.

    Parameters
    ----------
    cells : array-like, shape (n_leads, n_chunks), >= 0
        Terms of a window's sigma^2 by lead and chunk of 0.2 s.

    Returns
    -------
    (float, float) or None
        None if no span holds enough of the sum to be worth a word.
    """
    by_lead_and_time = np.asarray(cells, dtype=np.float64)
    terms = by_lead_and_time.sum(axis=0)
    first, stop = noisy_span(time_profile(by_lead_and_time))
    chunk_s = WINDOW_S / terms.size
    inside, n_outside = float(terms[first:stop].sum()), terms.size - (stop - first)
    outside = float(terms.sum()) - inside
    if stop == first or n_outside * chunk_s < SPAN_REST_S or inside < SPAN_SHARE * terms.sum():
        return None
    if inside / (stop - first) < SPAN_CONTRAST * outside / n_outside:
        return None
    return first * chunk_s, stop * chunk_s


def _weighted_median(values: Floats, weight: Floats) -> float:
    if weight.sum() <= 0:
        return float(np.median(values))
    # The value at which half of the weight has been passed.
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(passed, 0.5 * passed[-1])])
