"""Filtering, resampling and peaks without `scipy.signal`, against it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from echoing_core.signals import filters, short


def _wandering(n_times: int, seed: int = 1) -> short.F64:
    """Three rows with an offset and slow drift, as leads have, shape (3, n_times)."""
    steps = np.random.default_rng(seed).normal(size=(3, n_times))
    return 3.0 + 0.05 * np.cumsum(steps, axis=1)


@pytest.mark.parametrize("fs_hz", [100.0, 257.0, 360.01, 2000.0])
@pytest.mark.parametrize(("order", "band_hz"), [(4, (0.5, 40.0)), (2, (5.0, 20.0))])
def test_the_filter_is_that_of_scipy(
    fs_hz: float, order: int, band_hz: tuple[float, float]
) -> None:
    sections = scipy.signal.butter(order, band_hz, btype="bandpass", fs=fs_hz, output="sos")
    # The same transfer function, in whatever order its sections stand.
    at_hz = np.array([0.1, 0.5, 3.0, 20.0, 40.0, 45.0])
    responses = [
        scipy.signal.freqz_sos(each, worN=at_hz, fs=fs_hz)[1]
        for each in (sections, short.butterworth(order, fs_hz, *band_hz))
    ]
    np.testing.assert_allclose(responses[1], responses[0], rtol=1e-7, atol=1e-10)
    x = _wandering(1201)
    for pad_n in (None, 0, 1200):
        expected = scipy.signal.sosfiltfilt(sections, x, axis=-1, padlen=pad_n)
        np.testing.assert_allclose(
            short.bandpass_twice(x, order, fs_hz, band_hz, pad_n), expected, atol=1e-9
        )


def test_what_scipy_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="300 samples"):
        short.bandpass_twice(np.zeros((2, 300)), 4, 100.0, (0.5, 40.0), 300)
    for order, high_hz in ((3, 40.0), (4, 50.0)):
        with pytest.raises(ValueError, match="even order"):
            short.butterworth(order, 100.0, 0.5, high_hz)


@pytest.mark.parametrize(
    "ratio", [Fraction(1, 10), Fraction(100, 257), Fraction(2, 5), Fraction(5, 3), Fraction(10, 9)]
)
@pytest.mark.parametrize("n_times", [7, 1500])
def test_resampling_is_that_of_scipy(ratio: Fraction, n_times: int) -> None:
    x = _wandering(n_times)
    expected = scipy.signal.resample_poly(
        x, ratio.numerator, ratio.denominator, axis=-1, window=("kaiser", 5.0), padtype="median"
    )
    np.testing.assert_allclose(short.resample(x, ratio, 5.0), expected, atol=1e-12)


def test_many_blocks_are_joined_without_a_seam() -> None:
    x = _wandering(3 * short._ROWS + 5)[0]
    expected = scipy.signal.resample_poly(x, 1, 2, window=("kaiser", 5.0), padtype="median")
    np.testing.assert_allclose(short.resample(x, Fraction(1, 2), 5.0), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_peaks_are_those_of_scipy_plateaus_and_ties_included(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Rounded, so that neighbours are often equal and several peaks of one height are close.
    x = np.round(rng.normal(size=int(rng.integers(1, 300))), 1)
    height = 0.3 if seed % 2 else rng.normal(size=x.size)
    distance = int(rng.integers(1, 30))
    expected, _ = scipy.signal.find_peaks(x, height=height, distance=distance)
    np.testing.assert_array_equal(short.find_peaks(x, height, distance), expected)


def test_long_and_short_recordings_are_filtered_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _wandering(2500)
    ratio = Fraction(2, 5)
    here = filters.resample(filters.bandpass(x, 250.0), ratio)
    # As if it were one of hours.
    monkeypatch.setattr(short, "MAX_SAMPLES", 2499)
    np.testing.assert_allclose(filters.resample(filters.bandpass(x, 250.0), ratio), here, atol=1e-9)
    assert filters._sections.cache_info().currsize > 0


@pytest.mark.parametrize("n", [1, 2, 5, 8, 100])
def test_moving_windows_are_those_of_scipy(n: int) -> None:
    x = _wandering(90)
    for ours, theirs in (("symmetric", "reflect"), ("edge", "nearest")):
        expected = scipy.ndimage.uniform_filter1d(x[0], n, mode=theirs)
        np.testing.assert_allclose(short.moving_mean(x[0], n, ours), expected, atol=1e-12)  # type: ignore[arg-type]
    expected = scipy.ndimage.maximum_filter1d(x, n, axis=1)
    np.testing.assert_array_equal(short.moving_max(x, n), expected)


def test_no_signals_at_all_stay_none() -> None:
    """A batch of training in which nothing is disturbed has none to filter."""
    none = np.zeros((0, 12, 1000))
    assert short.bandpass_twice(none, 4, 100.0, (0.5, 40.0)).shape == none.shape
    assert short.resample(none, Fraction(1, 2), 5.0).shape == (0, 12, 500)
