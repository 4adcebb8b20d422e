"""What the uncertainty map is drawn from: never more numbers than the screen has pixels.

The map itself is drawn in the browser (``ui/components/uncertainty_map``). It gets the whole
recording as cells, a detail as columns and one decimated trace, and the uncertain stretches with
their causes. A day and ten seconds need about the same: some ten thousand numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.figures.style import SCALE, SCALE_DARK, clock, packed
from echoing_core.records import LEADS, StandardEcg, WindowTrack
from echoing_core.uncertainty.intervals import (
    UNSURE_PERCENTILE,
    UncertainInterval,
    cell_edges,
    shown_percentile,
    uncertain_intervals,
)
from echoing_core.uncertainty.reasons import as_if_everywhere
from echoing_core.uncertainty.reference import Reference

Floats = npt.NDArray[np.float64]

# About the pixels of a wide screen; a row of an hour in the overview gets fewer.
COLUMNS = 1200
ROW_COLUMNS = 360
HOURS_FROM_S = 7200.0
"""From this length on the overview has one row for each hour."""

MAX_MARKS = 1000
# A percentile as a byte: steps of 0.4, 0 to 250, and 255 where nothing was recorded.
_NOTHING = 255
_STEPS = 2.5
_TRACE_UNIT_MV = 0.001


@dataclass(frozen=True)
class Mark:
    """A stretch with a cause, for the row of marks.

    Attributes
    ----------
    start_s, end_s : float
    kind : str
        As in `Reason`, or ``"not recorded"``.
    """

    start_s: float
    end_s: float
    kind: str


def unrecorded_spans(ecg: StandardEcg, shortest_s: float = 1.0) -> list[tuple[float, float]]:
    """Where no lead holds any signal.

    Parameters
    ----------
    ecg : StandardEcg
    shortest_s : float
        Shorter gaps are left out.

    Returns
    -------
    list of (float, float)
        Begin and end in seconds.
    """
    # A border is where the mask changes; False on both sides gives every span two of them.
    nothing = ~ecg.valid.any(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], nothing, [False]]).astype(np.int8)))
    spans = edges.reshape(-1, 2) / ecg.fs_hz
    return [(float(a), float(b)) for a, b in spans if b - a >= shortest_s]


def overview_rows(duration_s: float) -> tuple[int, float]:
    """How the overview is broken into rows.

    Parameters
    ----------
    duration_s : float
        Of the recording.

    Returns
    -------
    n_rows : int
    row_s : float
        Length of each in seconds.
    """
    if duration_s < HOURS_FROM_S:
        return 1, duration_s
    return int(np.ceil(duration_s / 3600.0)), 3600.0


def map_data(
    ecg: StandardEcg,
    track: WindowTrack,
    reference: Reference,
    *,
    view_s: tuple[float, float] | None = None,
    selected: int = 0,
    span_s: tuple[float, float] | None = None,
    hide_above: float = 100.0,
    marks: Sequence[Mark] = (),
    trace: tuple[Floats, Floats] | None = None,
) -> dict[str, Any]:
    """Everything that the map shows, as JSON values.

    Parameters
    ----------
    ecg : StandardEcg
    track : WindowTrack
    reference : Reference
        Of the model that made the track.
    view_s : (float, float), optional
        The detail; by default the whole recording.
    selected : int
        The chosen window.
    span_s : (float, float), optional
        The chosen span.
    hide_above : float
        Windows above this percentile are shown as hidden.
    marks : sequence of Mark
        The longest `MAX_MARKS` are shown.
    trace : (ndarray, ndarray), optional
        From `trace_points`, where they were kept.

    Returns
    -------
    dict
        Percentiles are bytes in steps of 0.4, 255 for nothing recorded; arrays are Base64.
    """
    duration_s = ecg.duration_s
    begin, end = (0.0, duration_s) if view_s is None else view_s
    edges = cell_edges(track, duration_s)
    percentile = shown_percentile(track)
    n_rows, row_s = overview_rows(duration_s)
    # No more columns than windows: they would only repeat each other.
    n_columns = min(COLUMNS, len(track)) if n_rows == 1 else ROW_COLUMNS
    overview = _binned(
        percentile[:, np.newaxis], edges, np.linspace(0.0, n_rows * row_s, n_rows * n_columns + 1)
    )
    columns = _detail_edges(edges, begin, end)
    values = percentile[:, np.newaxis]
    if track.by_lead is not None:
        values = np.concatenate([values, lead_percentile(track, reference)], axis=1)
    detail = _binned(values, edges, columns)
    lead = first_shown_lead(ecg)
    time_s, shown_mv = trace_points(ecg, begin, end) if trace is None else trace
    # A torn recording has thousands of marks, and short ones could not be seen.
    longest = sorted(marks, key=lambda m: m.start_s - m.end_s)[:MAX_MARKS]
    start = float(track.start_s[selected])
    unsure = uncertain_intervals(track, duration_s)
    return {
        "duration": duration_s,
        "window": track.window_s,
        "runs": _runs_of(track.start_s),
        "rows": n_rows,
        "rowSeconds": row_s,
        "overview": _bytes(overview[:, 0]),
        "begin": begin,
        "end": end,
        # From the begin of the view: float32 holds a day only to some milliseconds.
        "edges": packed((columns - begin), "<f4"),
        "percentile": _bytes(detail[:, 0]),
        "leads": None if track.by_lead is None else _bytes(detail[:, 1:].T),
        "leadNames": list(LEADS),
        "missing": [origin == "missing" for origin in ecg.lead_origin],
        "lead": lead,
        "traceTime": packed((time_s - begin), "<f4"),
        "trace": packed(_microvolts(shown_mv), "<i2"),
        "range": _height_mv(time_s, shown_mv),
        "marks": [
            [round(m.start_s, 2), round(m.end_s, 2), m.kind]
            for m in sorted(longest, key=lambda m: m.start_s)
        ],
        "unsure": [[round(s.start_s, 2), round(s.end_s, 2), s.worst] for s in unsure][:MAX_MARKS],
        "unsureStart": [float(track.start_s[s.worst]) for s in unsure][:MAX_MARKS],
        "selected": start,
        "selectedPercentile": _or_none(percentile[selected]),
        "span": None if span_s is None else list(span_s),
        "hideAbove": hide_above,
        "scale": list(SCALE),
        "scaleDark": list(SCALE_DARK),
        "words": map_words(ecg, track, selected, unsure),
    }


def lead_percentile(track: WindowTrack, reference: Reference) -> Floats:
    """Each lead of each window on the scale of whole windows.

    Parameters
    ----------
    track : WindowTrack
        Of a model that tells leads apart.
    reference : Reference
        Of that model, and of the leads of the recording.

    Returns
    -------
    ndarray, shape (n_windows, 12)
        `as_if_everywhere`: the percentile of a window whose leads were all like this one. NaN where
        the lead holds no signal: what a missing lead costs is known beforehand and no news.
    """
    assert track.by_lead is not None, "the model of this track does not tell leads apart"
    # Part of the sum that belongs to no lead, shape (n_windows,); in double against cancellation.
    rest = track.uncertainty - track.by_lead.sum(axis=1, dtype=np.float64)
    levels = as_if_everywhere(track.by_lead, rest[:, np.newaxis], reference.n_leads, reference)
    return np.where(track.valid_fraction > 0, levels, np.nan)


def decimate_min_max(
    time_s: Floats, values: npt.NDArray[np.floating], n_bins: int
) -> tuple[Floats, Floats]:
    """Lowest and highest value of each of ``n_bins`` stretches, in the order they occur.

    Extremes survive, so that a single spike in 24 hours still shows. NaN are left out of a
    stretch that has other values; a stretch of nothing but NaN gives NaN.

    Parameters
    ----------
    time_s, values : ndarray, shape (n,)
    n_bins : int

    Returns
    -------
    time_s, values : ndarray, shape (n,) unchanged if n <= 2 n_bins, else about (2 n_bins,)
    """
    n = len(values)
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, not {n_bins}")
    if n <= 2 * n_bins:
        return np.asarray(time_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    size = -(-n // n_bins)
    padded = np.full(-(-n // size) * size, np.nan)
    padded[:n] = values
    # (n_bins, size): a bin that is short of samples is filled up with NaN, which never wins.
    blocks = padded.reshape(-1, size)
    empty = np.isnan(blocks).all(axis=1)
    low = np.where(np.isnan(blocks), np.inf, blocks).argmin(axis=1)
    high = np.where(np.isnan(blocks), -np.inf, blocks).argmax(axis=1)
    first = np.arange(len(blocks)) * size
    where = np.sort(np.stack([first + low, first + high], axis=1), axis=1)
    # argmin of nothing but NaN is the first of them, twice: NaN stays NaN.
    where[empty] = first[empty, None]
    rows = np.minimum(where.ravel(), n - 1)
    return np.asarray(time_s[rows], dtype=np.float64), padded[rows]


def first_shown_lead(ecg: StandardEcg) -> str:
    """The lead that stands for the recording where one is enough.

    Parameters
    ----------
    ecg : StandardEcg

    Returns
    -------
    str
        Lead I, or the first of `LEADS` that was measured or derived.
    """
    present = [lead for lead, o in zip(LEADS, ecg.lead_origin, strict=True) if o != "missing"]
    return present[0] if present else LEADS[0]


def trace_points(ecg: StandardEcg, begin_s: float, end_s: float) -> tuple[Floats, Floats]:
    """The first lead there is between two times: lowest and highest value of each pixel.

    Parameters
    ----------
    ecg : StandardEcg
    begin_s, end_s : float
        Seconds from the start of the recording.

    Returns
    -------
    time_s, signal_mv : ndarray, at most about 2 `COLUMNS` each
        NaN where nothing was recorded.
    """
    row = LEADS.index(first_shown_lead(ecg))
    a, b = max(int(begin_s * ecg.fs_hz), 0), min(round(end_s * ecg.fs_hz), ecg.n_times)
    size = -(-(b - a) // COLUMNS)
    if size > 64:
        # A day in whole blocks: no copy of it in 64 bits, no list of its times.
        return _coarse(ecg, row, a, b, size)
    signal = np.where(ecg.valid[row, a:b], ecg.signal_mv[row, a:b], np.nan)
    return decimate_min_max(np.arange(a, b) / ecg.fs_hz, signal, COLUMNS)


def map_words(
    ecg: StandardEcg, track: WindowTrack, selected: int, unsure: Sequence[UncertainInterval]
) -> str:
    """What the picture shows, for those who cannot see it.

    Parameters
    ----------
    ecg : StandardEcg
    track : WindowTrack
    selected : int
        The chosen window.
    unsure : sequence
        The uncertain stretches of the recording.

    Returns
    -------
    str
        One or two sentences with numbers.
    """
    percentile = shown_percentile(track)
    length = np.diff(cell_edges(track, ecg.duration_s))
    known = np.isfinite(percentile)
    if not known.any():
        return "Nothing was recorded."
    high = length[known & (np.nan_to_num(percentile) >= UNSURE_PERCENTILE)].sum()
    share = 100.0 * float(high / length[known].sum())
    words = [
        f"Uncertainty of a recording of {clock(ecg.duration_s)}: in the middle percentile "
        f"{np.median(percentile[known]):.0f}, {share:.0f} % of the time at "
        f"{UNSURE_PERCENTILE:.0f} or above"
    ]
    if unsure:
        longest = max(unsure, key=lambda s: s.duration_s)
        plural = "es" if len(unsure) > 1 else ""
        words.append(
            f", in {len(unsure)} stretch{plural}, the longest from {clock(longest.start_s)} to "
            f"{clock(longest.end_s)}"
        )
    missing = ecg.leads_with("missing")
    if missing:
        words.append(f"; not recorded: {', '.join(missing)}")
    start = float(track.start_s[selected])
    value = percentile[selected]
    here = f"percentile {value:.0f}" if np.isfinite(value) else "nothing recorded"
    words.append(f". Chosen: {clock(start)} to {clock(start + track.window_s)}, {here}.")
    return "".join(words)


def _detail_edges(edges: Floats, begin: float, end: float) -> Floats:
    """The windows' own borders where there are few enough, else a border each pixel."""
    inside = edges[(edges > begin) & (edges < end)]
    if len(inside) < COLUMNS:
        return np.concatenate([[begin], inside, [end]])
    return np.linspace(begin, end, COLUMNS + 1)


def _binned(values: Floats, edges: Floats, borders: Floats) -> Floats:
    """Highest of the windows that reach into each bin, shape (n_bins, n_values).

    The least sure of several must not get lost; NaN where there is none.
    """
    low = np.where(np.isfinite(values), values, -1.0)
    # Half-open on both sides by a microsecond, or a window that ends on a border were in two bins.
    first = np.searchsorted(edges[1:], borders[:-1] + 1e-6, side="right")
    stop = np.searchsorted(edges[:-1], borders[1:] - 1e-6, side="left")
    n = len(values)
    first, stop = np.minimum(first, n - 1), np.clip(stop, 1, n)
    # One row more, since reduceat refuses an index at the very end.
    padded = np.concatenate([low, np.full((1, low.shape[1]), -1.0)])
    pairs = np.stack([first, np.maximum(stop, first + 1)], axis=1).ravel()
    highest = np.maximum.reduceat(padded, pairs, axis=0)[::2]
    beyond = borders[:-1] >= edges[-1] - 1e-6
    return np.where((highest < 0) | beyond[:, np.newaxis], np.nan, highest)


def _coarse(ecg: StandardEcg, row: int, a: int, b: int, size: int) -> tuple[Floats, Floats]:
    n = (b - a) // size * size
    blocks = ecg.signal_mv[row, a : a + n].reshape(-1, size)
    valid = ecg.valid[row, a : a + n].reshape(-1, size)
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    # Only blocks with a gap are looked at one by one; of most recordings there are few.
    part = ~valid.all(axis=1)
    for i in np.flatnonzero(part).tolist():
        kept = blocks[i][valid[i]]
        low[i], high[i] = (kept.min(), kept.max()) if kept.size else (np.nan, np.nan)
    start = (a + np.arange(len(blocks)) * size) / ecg.fs_hz
    # Low and high half a block apart: drawn as a line, they fill the block from top to bottom.
    time_s = np.stack([start, start + 0.5 * size / ecg.fs_hz], axis=1).ravel()
    return time_s, np.stack([low, high], axis=1).ravel().astype(np.float64)


def _runs_of(start_s: Floats) -> list[list[float]]:
    """Starts of windows as runs of equal distance: [first, distance, how many]."""
    # In whole hundredths, so that equal distances compare as equal.
    hundredths = np.round(start_s * 100).astype(np.int64)
    steps = np.diff(hundredths)
    borders = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    runs = [
        [hundredths[a] / 100, steps[a] / 100, b - a]
        for a, b in itertools.pairwise(borders)
        if b > a
    ]
    # The last window follows no distance, so it is a run of its own.
    return [*runs, [hundredths[-1] / 100, 1.0, 1]]


def _height_mv(time_s: Floats, signal_mv: Floats) -> list[float]:
    """Millivolts to show: the beats decide, so that a loose electrode does not flatten them."""
    known = signal_mv[np.isfinite(signal_mv)]
    if not known.size:
        return [-1.0, 1.0]
    # Two seconds hold a beat; a day's points lie further apart, and four are two lows and highs.
    spacing_s = (time_s[-1] - time_s[0]) / max(len(time_s) - 1, 1)
    size = max(4, round(2.0 / max(spacing_s, 1e-6)))
    peaks = np.maximum.reduceat(
        np.nan_to_num(np.abs(signal_mv)), np.arange(0, max(len(signal_mv) - size // 2, 1), size)
    )
    # Half of the peaks may be artefacts before the median follows; 0.1 mV keeps a flat line flat.
    limit = max(2.0 * float(np.median(peaks[peaks > 0])) if (peaks > 0).any() else 0.0, 0.1)
    low, high = max(float(known.min()), -limit), min(float(known.max()), limit)
    pad = 0.06 * (high - low) + 0.02
    return [round(low - pad, 4), round(high + pad, 4)]


def _microvolts(signal_mv: Floats) -> npt.NDArray[np.int16]:
    """Whole microvolts; -32768 where nothing was recorded."""
    steps = np.clip(np.round(signal_mv / _TRACE_UNIT_MV), -32767, 32767)
    return np.where(np.isfinite(signal_mv), np.nan_to_num(steps), -32768).astype("<i2")


def _bytes(percentile: Floats) -> str:
    steps = np.clip(np.nan_to_num(percentile) * _STEPS, 0, 250).round()
    return packed(np.where(np.isfinite(percentile), steps, _NOTHING), "u1")


def _or_none(value: float) -> float | None:
    return round(float(value), 2) if np.isfinite(value) else None
