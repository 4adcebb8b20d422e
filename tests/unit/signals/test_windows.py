"""Where windows start, and cutting them out."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.records import StandardEcg
from echoing_core.signals import cut_windows, stride_to_samples, window_starts


@pytest.mark.parametrize(
    ("stride_n", "n_windows", "last"), [(100, 1187, 118_600), (1000, 119, 118_000)]
)
def test_windows_of_a_music_recording(stride_n: int, n_windows: int, last: int) -> None:
    starts = window_starts(119_600, 1000, stride_n)
    assert starts.size == n_windows
    assert starts[-1] == last
    assert starts[-1] + 1000 <= 119_600


def test_exactly_one_window_fits_ten_seconds() -> None:
    assert window_starts(1000).tolist() == [0]
    assert window_starts(1099).tolist() == [0]
    assert window_starts(1100).tolist() == [0, 100]


def test_too_short_for_a_window() -> None:
    with pytest.raises(SignalQualityError, match=r"9\.99 s"):
        window_starts(999)


@pytest.mark.parametrize(
    ("stride_s", "samples"),
    [(0.01, 1), (0.2, 20), (0.29, 29), (0.025, 3), (0.014, 1), (1.0, 100), (10.0, 1000)],
)
def test_stride_is_rounded_to_whole_samples(stride_s: float, samples: int) -> None:
    assert stride_to_samples(stride_s) == samples


@pytest.mark.parametrize("stride_s", [0.0, -1.0, 0.009, float("nan"), float("inf")])
def test_impossible_strides_are_refused(stride_s: float) -> None:
    with pytest.raises(ConfigError, match="stride"):
        stride_to_samples(stride_s)


def _ecg(n_times: int) -> StandardEcg:
    signal = np.arange(12 * n_times, dtype=np.float32).reshape(12, n_times)
    valid = np.ones_like(signal, dtype=np.bool_)
    valid[3, 1500:] = False
    return StandardEcg(signal, valid, ("measured",) * 12, "r")


def test_cut_windows_are_copies_of_the_right_samples() -> None:
    ecg = _ecg(2500)
    signal, valid = cut_windows(ecg, window_starts(2500, 1000, 700))
    assert signal.shape == valid.shape == (3, 12, 1000)
    np.testing.assert_array_equal(signal[2], ecg.signal_mv[:, 1400:2400])
    assert valid[2, 3].sum() == 100
    signal[:] = -1
    assert ecg.signal_mv.min() == 0


@pytest.mark.parametrize("start", [-1, 1501])
def test_cut_windows_refuses_to_leave_the_recording(start: int) -> None:
    with pytest.raises(IndexError, match="do not fit"):
        cut_windows(_ecg(2500), [start])
