"""Plain signal-quality indices."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.records import LEADS, Recording, StandardEcg
from echoing_core.signals import standardise, window_starts
from echoing_core.signals.quality import (
    beat_agreement,
    cut_beats,
    find_beats,
    lead_quality,
    quality_index,
    rail_samples,
    window_quality_index,
)

FS_HZ = 100.0


def clean(seconds: float = 10.0, n_leads: int = 12, rate_hz: float = 1.2) -> np.ndarray:
    """A narrow QRS and a broad T wave, 1.2 times a second, differently large in each lead."""
    t = np.arange(0, seconds, 1 / FS_HZ)
    phase = (t * rate_hz) % 1.0 / rate_hz
    beat = np.exp(-(((phase - 0.3) / 0.015) ** 2)) + 0.25 * np.exp(-(((phase - 0.55) / 0.05) ** 2))
    beat -= beat.mean()
    return np.linspace(0.4, 1.5, n_leads)[:, None] * beat


def everywhere(signal: np.ndarray) -> np.ndarray:
    return np.ones(signal.shape, dtype=np.bool_)


def index_of(signal: np.ndarray) -> float:
    return quality_index(lead_quality(signal, everywhere(signal)))


def test_a_clean_ecg_is_good_in_every_part() -> None:
    quality = lead_quality(clean(), everywhere(clean()))
    assert quality.n_beats == 12
    assert quality.flat_fraction.max() == 0.0
    assert quality.saturated_fraction.max() == 0.0
    assert quality.noise_mv.max() < 0.02
    assert quality.beat_agreement.min() > 0.98
    assert quality_index(quality) < 0.05


def test_noise_is_measured_in_millivolts_and_passes_over_the_qrs() -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=(12, 1000))
    quality = lead_quality(clean() + noise, everywhere(noise))
    np.testing.assert_allclose(quality.noise_mv, 0.1, rtol=0.15)


def test_the_index_grows_with_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(12, 1000))
    values = [index_of(clean() + level * noise) for level in (0.0, 0.03, 0.1, 0.5)]
    assert values == sorted(values)
    assert values[-1] > 0.9


def test_flat_and_huge_leads_are_found() -> None:
    signal = clean()
    signal[2, :500] = 0.001
    signal[7, 300:400] = 6.0
    quality = lead_quality(signal, everywhere(signal))
    assert quality.flat_fraction[2] == pytest.approx(0.5, abs=0.01)
    # The inside of a huge plateau one second long is flat too, as it should be.
    assert quality.saturated_fraction[7] == pytest.approx(0.1)
    assert index_of(signal) > index_of(clean())


def test_missing_leads_do_not_count_but_gaps_do() -> None:
    signal = clean()
    valid = everywhere(signal)
    valid[2:] = False
    two = signal * valid
    assert quality_index(lead_quality(two, valid)) == pytest.approx(index_of(signal[:2]), abs=1e-9)
    valid[0, 200:] = False
    gappy = lead_quality(signal * valid, valid)
    assert gappy.invalid_fraction[0] == pytest.approx(0.8)
    assert quality_index(gappy) > 0.5
    nothing = np.zeros_like(valid)
    assert quality_index(lead_quality(signal * 0, nothing)) == 1.0


def test_beats_are_found_where_they_are() -> None:
    beats = find_beats(clean())
    expected = (0.3 + np.arange(12) / 1.2) * FS_HZ
    np.testing.assert_allclose(beats, expected, atol=4)
    assert find_beats(np.zeros((12, 1000))).size == 0
    assert find_beats(np.zeros((0, 1000))).size == 0


def test_beats_that_differ_do_not_agree() -> None:
    signal = clean()
    beats = find_beats(signal)
    signal[0] = np.random.default_rng(1).normal(size=1000)
    agreement = beat_agreement(signal, beats)
    assert agreement[0] < 0.5
    assert agreement[1:].min() > 0.98
    np.testing.assert_array_equal(beat_agreement(signal, beats[:2]), 0.0)
    assert beat_agreement(signal, beats[:3])[1:].min() > 0.98


def test_only_whole_beats_are_cut() -> None:
    signal = np.arange(100.0)[None]
    cut = cut_beats(signal, np.array([9, 10, 80, 81]), 10, 20)
    assert cut.shape == (1, 2, 30)
    np.testing.assert_array_equal(cut[0], [np.arange(30.0), np.arange(70.0, 100.0)])


def _raw(signal_mv: np.ndarray, names: tuple[str, ...], fs_hz: float = 500.0) -> Recording:
    return Recording(signal_mv.astype(np.float32), fs_hz, names, "r")


def test_rails_are_found_in_the_raw_recording_and_followed_into_derived_leads() -> None:
    rng = np.random.default_rng(2)
    signal = rng.normal(scale=0.3, size=(3, 6000))
    signal[1, 2000:3000] = 4.0  # lead II at its rail in seconds 4 to 6
    recording = _raw(signal, ("I", "II", "V1"))
    rails = rail_samples(recording, standardise(recording))
    for lead in ("II", "III", "aVR", "aVL", "aVF"):
        np.testing.assert_array_equal(np.flatnonzero(rails[LEADS.index(lead)]), np.arange(400, 600))
    assert not rails[[LEADS.index("I"), LEADS.index("V1")]].any()
    vcg = _raw(signal, ("X", "Y", "Z"))
    assert rail_samples(vcg, standardise(vcg))[:, 400:600].all()


def test_a_rail_lasts_a_twentieth_of_a_second() -> None:
    signal = np.random.default_rng(3).normal(scale=0.3, size=(2, 6000))
    signal[0, 2000:2025] = 4.0  # 25 samples at 500 Hz
    signal[1, 2000:2024] = 4.0
    recording = _raw(signal, ("V1", "V2"))
    rails = rail_samples(recording, standardise(recording))
    np.testing.assert_array_equal(np.flatnonzero(rails[LEADS.index("V1")]), np.arange(400, 405))
    assert not rails[LEADS.index("V2")].any()


def test_windows_point_at_the_noisy_stretch_and_at_a_gap() -> None:
    signal = clean(seconds=60.0)
    signal[:, 3000:4000] += np.random.default_rng(4).normal(scale=0.3, size=(12, 1000))
    valid = everywhere(signal)
    valid[:, 5000:6000] = False
    valid[3, 1000:2000] = False  # one lead lost for a window is bad there, not absent
    ecg = StandardEcg((signal * valid).astype(np.float32), valid, ("measured",) * 12, "r")
    index = window_quality_index(ecg, window_starts(ecg.n_times, stride_n=1000))
    assert index.shape == (6,)
    assert index[5] == 1.0
    assert index[3] > 0.7
    assert index[1] == pytest.approx(np.sqrt(1 / 12), abs=0.03)
    assert index[[0, 2, 4]].max() < 0.1
