"""Traps of the MUSIC recordings: the pattern at the start, and headers that stop too early."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from echoing_core.errors import UnreadableRecordError
from echoing_core.io import read_recording
from echoing_core.io.channels import start_pattern_length
from tests.broken_uploads import beats, header

XYZ = ("X", "Y", "Z")


def music(samples: npt.NDArray[np.integer], n_declared: int | None = None) -> dict[str, bytes]:
    """A record at 1000 Hz in three channels."""
    text = header("P0001_H", XYZ, n_declared or len(samples), fs_hz="1000")
    return {"P0001_H.hea": text, "P0001_H.dat": samples.astype("<i2").tobytes()}


def heart(seconds: float) -> npt.NDArray[np.int16]:
    noise = np.random.default_rng(1).normal(0, 8, (round(seconds * 1000), 3))
    return (beats(3, seconds, fs_hz=1000) + noise).astype(np.int16)


@pytest.mark.parametrize("alternating", [True, False])
def test_the_pattern_at_the_start_becomes_a_gap_and_the_clock_stays(alternating: bool) -> None:
    samples = heart(20.0)
    pattern = np.arange(8000) // 50 % 2 if alternating else np.zeros(8000, dtype=int)
    samples[:8000] = pattern[:, None]
    recording = read_recording(music(samples))
    assert recording.n_times == 20_000
    measured = ~np.isnan(recording.signal_mv)
    # A few samples of the ECG may happen to have one of the pattern's two values.
    first = np.argmax(measured, axis=1)
    assert (first >= 8000).all()
    assert (first < 8010).all()
    np.testing.assert_allclose(recording.signal_mv[:, 8010:], samples[8010:].T / 1000, atol=1e-6)
    assert recording.notes == (
        "The first 8.0 s are flat or a test pattern in every lead and are treated as not measured.",
    )


def test_one_flat_lead_or_a_short_pattern_is_no_test_pattern() -> None:
    samples = heart(12.0)
    samples[:, 2] = 7
    assert not np.isnan(read_recording(music(samples)).signal_mv).any()
    samples = heart(12.0)
    samples[:1900] = 0
    assert not np.isnan(read_recording(music(samples)).signal_mv).any()


def test_pattern_length_by_hand() -> None:
    real = np.array([5, 6, 7, 8], dtype=np.float32)
    two = np.array([0, 1, 0, 1], dtype=np.float32)
    gap = np.full(4, np.nan, dtype=np.float32)
    assert start_pattern_length([np.r_[two, two, real], np.r_[gap, two, real]], 1.0) == 8
    assert start_pattern_length([np.r_[two, real], np.r_[gap, gap]], 2.0) == 4
    assert start_pattern_length([np.r_[two, real]], 2.1) == 0
    assert start_pattern_length([np.r_[two, two], np.r_[real, real]], 1.0) == 2


def test_a_header_that_stops_at_two_thirds_is_read_to_the_end_of_the_data() -> None:
    samples = heart(60.0)
    recording = read_recording(music(samples, n_declared=40_000))
    assert recording.n_times == 60_000
    np.testing.assert_allclose(recording.signal_mv, samples.T / 1000, atol=1e-6)
    assert recording.notes[0].startswith(
        "The header declares 40,000 samples, two thirds of the 60,000 in the data file"
    )


def test_it_is_refused_when_the_data_are_interleaved_otherwise() -> None:
    two_leads = beats(3, 90.0, fs_hz=1000)[:, :2]  # 2 x 90,000 = 3 x 60,000 values
    with pytest.raises(UnreadableRecordError, match="do not look like the leads it names"):
        read_recording(music(two_leads.reshape(60_000, 3), n_declared=40_000))


def test_it_is_refused_when_the_rest_is_not_the_same_leads() -> None:
    samples = heart(60.0)
    samples[40_000:] = np.random.default_rng(2).integers(-3000, 3000, (20_000, 3))
    with pytest.raises(UnreadableRecordError, match="do not look like the leads it names"):
        read_recording(music(samples, n_declared=40_000))


def test_any_other_surplus_is_left_unread() -> None:
    samples = heart(60.0)
    recording = read_recording(music(samples, n_declared=39_000))
    assert recording.n_times == 39_000
    assert "126,000 bytes more than the header declares" in recording.notes[0]


def test_two_lead_vcg_is_read_here() -> None:
    text = header("P0070", ("X", "Y"), 12_000, fs_hz="1000")
    data = beats(2, 12.0, fs_hz=1000).astype("<i2").tobytes()
    assert read_recording({"P0070.hea": text, "P0070.dat": data}).lead_names == ("X", "Y")
