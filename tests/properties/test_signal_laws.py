"""Laws that signals must obey whatever the recording."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from echoing_core.records import FRANK_LEADS, LEADS, Recording
from echoing_core.signals import cut_windows, standardise, stride_to_samples, window_starts
from echoing_core.signals.filters import (
    fill_gaps,
    resample,
    resampled_length,
    resampling_ratio,
    valid_after_resampling,
)

rates = st.one_of(
    st.sampled_from([100.0, 128.0, 200.0, 250.0, 257.0, 360.0, 500.0, 512.0, 1000.0]),
    st.floats(90.0, 2000.0, allow_nan=False).map(lambda fs: round(fs, 2)),
)
seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, n_leads: int, n_times: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(scale=0.05, size=(n_leads, n_times)), axis=1).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(fs_hz=rates, seconds=st.floats(10.0, 40.0))
def test_resampling_keeps_duration(fs_hz: float, seconds: float) -> None:
    n_times = round(seconds * fs_hz)
    ratio = resampling_ratio(fs_hz, n_times=n_times)
    n_out = resampled_length(n_times, ratio)
    assert abs(n_out / 100.0 - n_times / fs_hz) <= 0.0105
    assert resample(np.zeros(n_times), ratio).size == n_out


@settings(max_examples=200, deadline=None)
@given(fs_hz=st.floats(90.0, 5000.0), hours=st.floats(0.003, 24.0))
def test_the_clock_never_drifts(fs_hz: float, hours: float) -> None:
    n_times = round(hours * 3600 * fs_hz)
    ratio = resampling_ratio(fs_hz, n_times=n_times)
    drift_samples = n_times * abs(float(ratio) - 100.0 / fs_hz)
    assert drift_samples < 0.5


@settings(max_examples=15, deadline=None)
@given(seed=seeds, order=st.permutations(range(12)), fs_hz=st.sampled_from([100.0, 250.0, 257.0]))
def test_lead_order_does_not_matter(seed: int, order: list[int], fs_hz: float) -> None:
    signal = noise(seed, 12, round(11 * fs_hz))
    names = tuple(LEADS[i] for i in order)
    a = standardise(Recording(signal, fs_hz, LEADS, "r"))
    b = standardise(Recording(signal[order], fs_hz, names, "r"))
    np.testing.assert_array_equal(a.signal_mv, b.signal_mv)
    assert a.lead_origin == b.lead_origin


gaps = st.lists(st.tuples(st.integers(0, 11), st.floats(0, 1), st.floats(0, 0.4)), max_size=6)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    gaps=gaps,
    names=st.sampled_from(
        [LEADS, FRANK_LEADS, ("II", "V1"), ("aVL", "III", "V3"), (*LEADS, *FRANK_LEADS)]
    ),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_nan_never_escapes(
    seed: int, gaps: list[tuple[int, float, float]], names: tuple[str, ...], bad: float
) -> None:
    fs_hz, n_times = 200.0, 2200
    signal = noise(seed, len(names), n_times)
    for lead, start, length in gaps:
        first = int(start * n_times)
        signal[lead % len(names), first : first + int(length * n_times) + 1] = bad
    measured = np.isfinite(signal)
    if not measured.any(axis=1).all():
        return  # an empty lead changes which leads there are; unit tests cover that
    ecg = standardise(Recording(signal, fs_hz, names, "r"))
    assert np.isfinite(ecg.signal_mv).all()
    assert not ecg.signal_mv[~ecg.valid].any()
    for row, lead in enumerate(LEADS):
        if ecg.lead_origin[row] == "measured":
            gap = ~measured[names.index(lead)]
            assert not (ecg.valid[row] & gap[::2]).any()
            if not gap.any():
                assert ecg.valid[row].all()
        if ecg.lead_origin[row] == "missing":
            assert not ecg.valid[row].any()


@settings(max_examples=60, deadline=None)
@given(mask=st.lists(st.booleans(), min_size=1, max_size=300), fs_hz=rates)
def test_filling_changes_only_the_gaps(mask: list[bool], fs_hz: float) -> None:
    lead = np.arange(len(mask), dtype=np.float64)
    lead[mask] = np.nan
    filled = fill_gaps(lead, fs_hz)
    kept = np.isfinite(lead)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[kept], lead[kept])
    if kept.any():
        assert lead[kept].min() <= filled.min() and filled.max() <= lead[kept].max()


@settings(max_examples=60, deadline=None)
@given(
    fs_hz=rates,
    start=st.floats(0.0, 9.0),
    length_n=st.integers(1, 500),
)
def test_the_mask_covers_every_gap(fs_hz: float, start: float, length_n: int) -> None:
    n_times = round(15 * fs_hz)
    lead = np.zeros(n_times)
    first = round(start * fs_hz)
    lead[first : first + length_n] = np.nan
    n_out = resampled_length(n_times, resampling_ratio(fs_hz, n_times=n_times))
    valid = valid_after_resampling(lead, fs_hz, n_out)
    invalid_s = np.flatnonzero(~valid) / 100.0
    assert invalid_s[0] <= max(0.0, first / fs_hz)
    assert invalid_s[-1] >= min((first + length_n - 1) / fs_hz, (n_out - 1) / 100.0) - 1e-9
    assert np.all(np.diff(np.flatnonzero(~valid)) == 1)
    assert (~valid).sum() / 100.0 <= length_n / fs_hz + 2 * 0.1 + 0.04


@settings(max_examples=100, deadline=None)
@given(n_times=st.integers(1000, 200_000), stride_s=st.floats(0.01, 60.0))
def test_every_window_ends_inside_and_none_is_forgotten(n_times: int, stride_s: float) -> None:
    stride_n = stride_to_samples(stride_s)
    starts = window_starts(n_times, 1000, stride_n)
    assert starts[0] == 0
    assert np.all(np.diff(starts) == stride_n)
    assert starts[-1] + 1000 <= n_times < starts[-1] + stride_n + 1000


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_filtering_comes_before_cutting(seed: int) -> None:
    signal = noise(seed, 12, 6000)
    ecg = standardise(Recording(signal, 200.0, LEADS, "r"))
    windows, valid = cut_windows(ecg, [500])
    np.testing.assert_array_equal(windows[0], ecg.signal_mv[:, 500:1500])
    assert valid.all()
