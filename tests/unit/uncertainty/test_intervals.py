"""Along a recording and within a window: intervals, spans, and which windows are shown."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.uncertainty.intervals import (
    FLOOR_SHARE,
    SMOOTH_CHUNKS,
    noisy_span,
    span_to_name,
    summarise_span,
    time_profile,
    uncertain_intervals,
    visible_windows,
)
from tests.made_tracks import track_of

N_CHUNKS = 50


def test_intervals_reach_from_border_to_border_and_name_their_worst() -> None:
    intervals = uncertain_intervals(track_of([10, 95, 99, 20, 91]), 50.0)
    assert [(s.start_s, s.end_s, s.worst, s.percentile) for s in intervals] == [
        (10.0, 30.0, 2, 99.0),
        (40.0, 50.0, 4, 91.0),
    ]
    assert uncertain_intervals(track_of([10, 20]), 20.0) == ()


def test_a_span_is_summarised_by_time_and_not_by_windows() -> None:
    # Ten windows a second apart at 95, beside four that are ten seconds apart at 10.
    starts = [0.0, 10.0, 20.0, *(30.0 + i for i in range(10)), 50.0]
    track = track_of([10.0] * 3 + [95.0] * 10 + [10.0], starts)
    summary = summarise_span(track, 60.0, 0.0, 60.0)
    assert summary.n_windows == 14 and summary.median == 10.0 and summary.highest == 95.0
    # Cells of the close windows: from 30 s (between 25 and 35) to 49.5 s.
    assert summary.unsure_share == pytest.approx((49.5 - 30.0) / 60.0)
    assert summary.share_by_lead[0] == ("V1", 1.0)
    assert summary.worst in range(3, 13)
    with pytest.raises(ValueError, match="no span"):
        summarise_span(track, 60.0, 30.0, 20.0)


def test_a_span_between_two_windows_is_summarised_by_the_nearest() -> None:
    summary = summarise_span(track_of([10, 50, 90]), 30.0, 11.0, 12.0)
    assert (summary.n_windows, summary.median) == (1, 50.0)


def test_hidden_are_those_above_and_those_without_signal() -> None:
    track = track_of([10, 50, 90])
    track.valid_fraction[0] = 0.0
    assert visible_windows(track, 50.0).tolist() == [False, True, False]
    assert visible_windows(track, 100.0).tolist() == [False, True, True]


def test_a_lead_that_is_bad_throughout_says_nothing_about_when() -> None:
    cells = np.zeros((12, N_CHUNKS))
    cells[3] = 100.0
    cells[7, 10:20] = 30.0
    assert noisy_span(time_profile(cells)) == (10, 20)


def test_the_span_that_stands_out() -> None:
    by_time = np.full(N_CHUNKS, 1.0)
    by_time[15:30] = 5.0
    by_time[20:22] = 1.0
    by_time[40] = 6.0
    # A pause within it does not end it, and one chunk is not as long.
    assert noisy_span(by_time) == (15, 30)
    assert noisy_span(np.ones(N_CHUNKS)) == noisy_span(np.zeros(N_CHUNKS)) == (0, 0)
    assert noisy_span(np.r_[np.ones(40), np.full(10, 3.0)]) == (40, 50)


def test_the_span_is_the_best_of_all_fits_of_two_levels() -> None:
    rng = np.random.default_rng(0)
    by_time = rng.gamma(2.0, size=12)
    by_time[4:9] *= 6
    level = np.log(by_time + FLOOR_SHARE * np.median(by_time))
    padded = np.pad(level, SMOOTH_CHUNKS // 2, mode="edge")
    level = np.convolve(padded, np.full(SMOOTH_CHUNKS, 1 / SMOOTH_CHUNKS), mode="valid")
    errors = {}
    for first in range(12):
        for stop in range(first + 1, 13):
            inside = np.zeros(12, dtype=bool)
            inside[first:stop] = True
            if inside.all() or level[inside].mean() < level[~inside].mean():
                continue
            errors[first, stop] = sum(
                np.square(level[rows] - level[rows].mean()).sum() for rows in (inside, ~inside)
            )
    assert noisy_span(by_time) == min(errors, key=errors.__getitem__)


def test_a_span_is_named_only_if_it_stands_out() -> None:
    by_time = np.ones(50)
    assert span_to_name(by_time[None]) is None
    by_time[20:30] = 10
    assert span_to_name(by_time[None]) == pytest.approx((4.0, 6.0), abs=0.25)
    by_time[23:26] = 1  # a short pause does not cut it in two
    assert span_to_name(by_time[None]) == pytest.approx((4.0, 6.0), abs=0.21)
    # Half a second of little weight, and a span that leaves nothing out, are none.
    brief, whole = np.ones(50), np.full(50, 10.0)
    brief[4:6], whole[0] = 8, 1
    assert span_to_name(brief[None]) is None
    assert span_to_name(whole[None]) is None
    assert span_to_name(np.zeros((1, 50))) is None
