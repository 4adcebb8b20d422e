"""Long recordings filtered stretch by stretch, against the whole by SciPy."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest
import scipy.signal

from echoing_core.records import LEADS, Recording
from echoing_core.signals import filters, long, short, standardise
from echoing_core.signals import standard as module


def _by_scipy(x: short.F64, fs_hz: float, ratio: Fraction) -> short.F64:
    sections = scipy.signal.butter(4, (0.5, 40.0), btype="bandpass", fs=fs_hz, output="sos")
    filtered = scipy.signal.sosfiltfilt(sections, x, axis=-1, padlen=round(3 * fs_hz))
    resampled = scipy.signal.resample_poly(
        filtered,
        ratio.numerator,
        ratio.denominator,
        axis=-1,
        window=("kaiser", 5.0),
        padtype="constant",
    )
    return np.asarray(resampled)


def _drifting(n_rows: int, n_times: int) -> short.F64:
    rng = np.random.default_rng(5)
    return 3.0 + 0.02 * rng.normal(size=(n_rows, n_times)).cumsum(axis=1)


@pytest.mark.parametrize(
    ("fs_hz", "ratio"),
    [
        (250.0, Fraction(2, 5)),
        (128.0, Fraction(25, 32)),
        (100.0, Fraction(1)),
        (1000.0, Fraction(1, 10)),
    ],
)
def test_one_product_filters_and_resamples(fs_hz: float, ratio: Fraction) -> None:
    of = long.kernel(4, fs_hz, 0.5, 40.0, ratio, filters.KAISER_BETA)
    n_blocks = int(3 * long.SETTLED_S * fs_hz) // of.step
    # Output 0 of the stretch is one of the whole, too.
    first = 4 * of.step - of.lead_in
    x = _drifting(2, (n_blocks + 8) * of.step)
    whole = _by_scipy(x, fs_hz, ratio)
    there = long.filtered_blocks(x[:, first : first + n_blocks * of.step], of)
    settled = int(long.SETTLED_S * fs_hz) // of.step * of.n_per
    inside = slice(settled, there.shape[1] - settled)
    shift = 4 * of.n_per
    # The offset of 3 mV that begins from nothing has decayed as well.
    np.testing.assert_allclose(
        there[:, inside], whole[:, shift : shift + there.shape[1]][:, inside], atol=1e-9
    )


def test_a_long_recording_is_filtered_as_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fs_hz, n_times = 250.0, 61_003
    x = _drifting(2, n_times).astype(np.float32)
    gaps = ((0, 40), (9_990, 10_010), (20_000, 29_000), (60_900, n_times))
    for start, stop in gaps:
        x[0, start:stop] = np.nan
    recording = Recording(x, fs_hz, ("II", "V1"), "long")
    whole = standardise(recording)
    # As if it were one of hours, in stretches that cut through gaps.
    monkeypatch.setattr(short, "MAX_SAMPLES", 1000)
    monkeypatch.setattr(module, "_STRETCH_N", 10_000)
    pieces = standardise(recording)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    by_threads = standardise(recording)
    np.testing.assert_array_equal(by_threads.signal_mv, pieces.signal_mv)
    np.testing.assert_array_equal(by_threads.valid, pieces.valid)
    np.testing.assert_array_equal(pieces.valid, whole.valid)
    assert not whole.valid[LEADS.index("II"), 8000:11600].any()
    # What lies beyond both ends is a median at 100 Hz, not at 250: it is felt for 0.1 s.
    np.testing.assert_allclose(pieces.signal_mv, whole.signal_mv, atol=2e-4, rtol=0)
    inside = slice(12, -12)
    np.testing.assert_allclose(
        pieces.signal_mv[:, inside], whole.signal_mv[:, inside], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("told", "n"), [("3", 3), ("0", None), ("many", None), ("", None)])
def test_threads(told: str, n: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert module.cores() == (n or len(os.sched_getaffinity(0)))
