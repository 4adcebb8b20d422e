"""Signals against published matrices, SciPy and real recordings.

The figures come from the papers named in `signals.leads` and from SciPy's own filters run
as stated in each test.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import signal as scipy_signal

from echoing_core.records import FRANK_LEADS, LEADS, Recording
from echoing_core.signals import standardise
from echoing_core.signals.filters import bandpass, resample, resampled_length, resampling_ratio
from echoing_core.signals.leads import (
    DOWER,
    KORS,
    KORS_PINV,
    LIMB_LEADS,
    vcg_matrix,
)
from echoing_core.signals.quality import lead_quality, quality_index

# Edenbrandt & Pahlm 1988, over I, II, V1...V6.
INVERSE_DOWER = np.array(
    [
        [0.156, -0.010, -0.172, -0.074, 0.122, 0.231, 0.239, 0.194],
        [-0.227, 0.887, 0.057, -0.019, -0.106, -0.022, 0.041, 0.048],
        [0.022, 0.102, -0.229, -0.310, -0.246, -0.063, 0.055, 0.108],
    ]
)


def test_pseudo_inverse_of_dower_is_the_published_inverse() -> None:
    np.testing.assert_allclose(np.linalg.pinv(DOWER), INVERSE_DOWER, atol=5e-4)


def test_kors_and_dower_agree_on_the_axes() -> None:
    # Two matrices fitted by different groups: their product is near the identity.
    np.testing.assert_allclose(np.diag(KORS @ DOWER), 1.0, atol=0.11)


def test_pseudo_inverse_of_kors() -> None:
    np.testing.assert_allclose(KORS_PINV, np.linalg.pinv(KORS), atol=1e-12)
    np.testing.assert_allclose(KORS_PINV[2], [0.3991, -0.2007, -1.3443], atol=5e-5)


def test_limb_leads_of_dower() -> None:
    rows = dict(zip(LEADS, vcg_matrix("dower"), strict=True))
    np.testing.assert_allclose(rows["III"], [-0.397, 1.301, -0.191], atol=1e-9)
    np.testing.assert_allclose(rows["aVR"], [-0.4335, -0.4155, 0.0365], atol=1e-9)
    np.testing.assert_allclose(rows["aVL"], [0.5145, -0.768, 0.125], atol=1e-9)
    np.testing.assert_allclose(rows["aVF"], [-0.081, 1.1835, -0.1615], atol=1e-9)


@pytest.mark.parametrize(
    ("tone_hz", "gain", "tolerance"),
    [
        (0.5, 0.5, 0.01),
        (40.0, 0.5, 0.005),
        (35.0, 0.76, 0.01),
        (50.0, 0.13, 0.01),
        (10.0, 1.0, 0.002),
    ],
)
def test_two_pass_gain(tone_hz: float, gain: float, tolerance: float) -> None:
    fs_hz = 500.0
    t = np.arange(0, 120, 1 / fs_hz)
    inner = slice(int(40 * fs_hz), int(80 * fs_hz))
    passed = bandpass(np.sin(2 * np.pi * tone_hz * t), fs_hz)[inner]
    assert np.sqrt(2 * np.mean(passed**2)) == pytest.approx(gain, abs=tolerance)


def test_filter_is_scipys() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3000))
    sections = scipy_signal.butter(4, [0.5, 40.0], btype="bandpass", fs=360.0, output="sos")
    expected = scipy_signal.sosfiltfilt(sections, x, padlen=3 * 360)
    np.testing.assert_allclose(bandpass(x, 360.0), expected)


@pytest.mark.parametrize(
    ("fs_hz", "ratio"),
    [
        (500, Fraction(1, 5)),
        (1000, Fraction(1, 10)),
        (250, Fraction(2, 5)),
        (400, Fraction(1, 4)),
        (512, Fraction(25, 128)),
        (360, Fraction(5, 18)),
        (200, Fraction(1, 2)),
        (257, Fraction(100, 257)),
        (100, Fraction(1)),
        (360.01, Fraction(10000, 36001)),
        (127.5, Fraction(40, 51)),
    ],
)
def test_resampling_ratios(fs_hz: float, ratio: Fraction) -> None:
    assert resampling_ratio(fs_hz) == ratio


@pytest.mark.parametrize(
    ("n_times", "fs_hz", "expected"),
    [(5000, 500, 1000), (1_196_000, 1000, 119_600), (38_400, 1000, 3840), (650_000, 360, 180_556)],
)
def test_resampling_lengths(n_times: int, fs_hz: float, expected: int) -> None:
    assert resampled_length(n_times, resampling_ratio(fs_hz)) == expected


@pytest.mark.parametrize("fs_hz", [100.0, 257.0, 360.01, 1000.0])
def test_a_tone_keeps_its_frequency_and_phase(fs_hz: float) -> None:
    n_times = round(30 * fs_hz)
    tone = np.sin(2 * np.pi * 7.3 * np.arange(n_times) / fs_hz)
    made = resample(tone, resampling_ratio(fs_hz, n_times=n_times))
    expected = np.sin(2 * np.pi * 7.3 * np.arange(made.size) / 100.0)
    np.testing.assert_allclose(made[50:-50], expected[50:-50], atol=2e-3)


def _ptb(shared_data: Path) -> Recording:
    import wfdb

    names = {lead.lower(): lead for lead in LEADS} | {"vx": "X", "vy": "Y", "vz": "Z"}
    record = wfdb.rdrecord(str(shared_data / "ptbdb_frank_xyz" / "s0010_re"))
    leads = tuple(names[name] for name in record.sig_name)
    return Recording(record.p_signal.T.astype(np.float32), float(record.fs), leads, "s0010_re")


def test_vcg_methods_on_simultaneous_leads(shared_data: Path) -> None:
    both = _ptb(shared_data)
    measured = standardise(both)
    assert measured.leads_with("measured") == LEADS
    # Measured limb leads obey Einthoven up to the filter's edges and the converter's steps.
    limb = dict(zip(LEADS, measured.signal_mv, strict=True))
    assert np.abs(limb["III"] - (limb["II"] - limb["I"]))[50:-50].max() < 0.01
    assert set(LIMB_LEADS) < set(limb)

    rows = [both.lead_names.index(axis) for axis in FRANK_LEADS]
    vcg = Recording(both.signal_mv[rows], both.fs_hz, FRANK_LEADS, "s0010_re")
    rms_mv = {}
    for method in ("dower", "kors_pinv", "kors_gls"):
        made = standardise(vcg, vcg_method=method).signal_mv
        rms_mv[method] = float(np.sqrt(np.mean((made - measured.signal_mv) ** 2)))
    # benchmarks/vcg_to_12_lead.py prints these per lead.
    assert rms_mv["dower"] == pytest.approx(0.128, abs=0.001)
    assert rms_mv["kors_pinv"] == pytest.approx(0.142, abs=0.001)
    assert rms_mv["kors_gls"] == pytest.approx(0.105, abs=0.001)


def test_quality_follows_recorded_muscle_noise(shared_data: Path) -> None:
    import wfdb
    from scipy.io import loadmat

    # The first five minutes of 118e24 are clean. MA.mat is muscle noise recorded with the same
    # electrodes: columns sample, channel 1, channel 2, in steps of 1/200 mV, at 360 Hz.
    folder = shared_data / "nstdb"
    record = wfdb.rdrecord(str(folder / "118e24"), sampto=360 * 30)
    clean = record.p_signal.T
    muscle = loadmat(folder / "MA.mat")["MA"][: clean.shape[1], 1:].T / 200.0
    index = []
    for factor in (0.0, 1.0, 3.0):
        noisy = (clean + factor * muscle).astype(np.float32)
        ecg = standardise(Recording(noisy, 360.0, ("II", "V1"), "118e24"))
        index.append(quality_index(lead_quality(ecg.signal_mv, ecg.valid)))
    assert index == sorted(index)
    assert index[0] < 0.35
    assert index[2] > 0.6
