"""Band-pass and gaps."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.errors import SamplingRateError
from echoing_core.signals.filters import (
    band_hz,
    bandpass,
    check_fs,
    fill_gaps,
    gap_runs,
    valid_after_resampling,
)


def test_band_stays_below_the_new_nyquist_frequency() -> None:
    assert band_hz(100.0) == (0.5, 40.0)
    assert band_hz(60.0) == (0.5, 27.0)


@pytest.mark.parametrize("fs_hz", [0.0, -100.0, 50.0, float("nan"), float("inf")])
def test_unusable_sampling_rates_are_refused(fs_hz: float) -> None:
    with pytest.raises(SamplingRateError, match="sampling rate"):
        check_fs(fs_hz)


def test_bandpass_removes_offset_and_wander_but_keeps_phase() -> None:
    fs_hz = 500.0
    t = np.arange(0, 20, 1 / fs_hz)
    wanted = np.sin(2 * np.pi * 8 * t)
    dirty = wanted + 3.0 + 0.5 * np.sin(2 * np.pi * 0.05 * t) + 0.3 * np.sin(2 * np.pi * 120 * t)
    inner = slice(1500, -1500)
    np.testing.assert_allclose(bandpass(dirty, fs_hz)[inner], wanted[inner], atol=0.02)


def test_bandpass_refuses_nan_rather_than_spreading_it() -> None:
    signal = np.zeros(2000)
    signal[100] = np.nan
    with pytest.raises(ValueError, match="gaps"):
        bandpass(signal, 200.0)


def test_gap_runs_counts_infinity_and_both_ends() -> None:
    lead = np.array([np.nan, np.nan, 1.0, 2.0, np.inf, 3.0, np.nan])
    starts, stops = gap_runs(lead)
    assert starts.tolist() == [0, 4, 6]
    assert stops.tolist() == [2, 5, 7]


def test_short_gap_is_bridged_between_its_neighbours() -> None:
    lead = np.array([0.0, 1.0, np.nan, 3.0, 4.0])
    np.testing.assert_allclose(fill_gaps(lead, 100.0), [0.0, 1.0, 2.0, 3.0, 4.0])


def test_long_gap_is_bridged_between_medians_not_from_an_r_peak() -> None:
    lead = np.zeros(1000)
    lead[395:400] = 2.0  # the last samples before the gap lie on an R peak
    lead[400:600] = np.nan
    filled = fill_gaps(lead, 100.0)
    np.testing.assert_array_equal(filled[400:600], 0.0)
    np.testing.assert_array_equal(filled[:400], lead[:400])


def test_gap_at_an_end_continues_the_baseline_and_no_measurement_gives_zeros() -> None:
    lead = np.full(500, 0.7)
    lead[:200] = np.nan
    np.testing.assert_allclose(fill_gaps(lead, 100.0), 0.7)
    np.testing.assert_array_equal(fill_gaps(np.full(50, np.nan), 100.0), 0.0)


def test_mask_covers_the_gap_and_a_guard_no_longer_than_the_gap() -> None:
    lead = np.zeros(10_000)
    lead[4000:6000] = np.nan  # seconds 4 to 6 at 1000 Hz: guard 0.1 s
    lead[8000:8001] = np.nan  # one sample: guard of one output sample
    valid = valid_after_resampling(lead, 1000.0, 1000)
    np.testing.assert_array_equal(np.flatnonzero(~valid[:700]), np.arange(390, 611))
    np.testing.assert_array_equal(np.flatnonzero(~valid[700:]) + 700, [799, 800, 801])
