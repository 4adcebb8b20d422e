"""Real recordings read here and by the wfdb package itself: the same millivolts.

The reference is ``wfdb.rdrecord(stem).p_signal`` (wfdb 4.3.1, float64), computed by the test.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import wfdb

from echoing_core.errors import SignalQualityError
from echoing_core.io import read_recording
from echoing_core.records import FRANK_LEADS, LEADS, Recording


def compare(stem: Path) -> Recording:
    recording = read_recording(stem)
    reference = wfdb.rdrecord(str(stem))
    assert recording.fs_hz == reference.fs
    assert recording.source_names == tuple(reference.sig_name)
    # float32 has 24 bits: half a unit in the last place of a few mV is below 1e-6.
    np.testing.assert_allclose(
        recording.signal_mv, reference.p_signal.T, rtol=1e-6, atol=1e-6, equal_nan=True
    )
    return recording


# The default run reads some of the files, `make test-slow` many.
@pytest.mark.parametrize("n_files", [10, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("ptbxl/records100", "*/*1_lr.hea"),
        ("ptbxl/records500", "*/*_hr.hea"),
        ("cinc2021_challenge", "*/*.hea"),
        ("chapman_denoised", "*.hea"),
        ("ludb", "3.hea"),
    ],
)
def test_twelve_lead_records(shared_data: Path, folder: str, pattern: str, n_files: int) -> None:
    headers = sorted((shared_data / folder).glob(pattern))[:n_files]
    assert headers
    for header in headers:
        recording = compare(header.with_suffix(""))
        assert sorted(recording.lead_names) == sorted(LEADS)
        assert recording.notes == ()


@pytest.mark.parametrize("n_files", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_mobile_phone_records(shared_data: Path, n_files: int) -> None:
    """Many of these are flat or far off scale; flat starts are the only difference allowed."""
    headers = sorted((shared_data / "cinc2011_quality/set-a").glob("*.hea"))[:n_files]
    assert headers
    n_flat = 0
    for header in headers:
        stem = header.with_suffix("")
        reference = wfdb.rdrecord(str(stem)).p_signal.T
        try:
            recording = read_recording(stem)
        except SignalQualityError:
            n_flat += 1
            assert all(len(np.unique(row)) <= 2 for row in reference)
            continue
        measured = ~np.isnan(recording.signal_mv)
        np.testing.assert_allclose(
            recording.signal_mv[measured], reference[measured], rtol=1e-6, atol=1e-6
        )
    assert n_flat < 10


def test_mit_bih_208(shared_data: Path) -> None:
    recording = compare(shared_data / "long_recordings/mitdb/208")
    assert recording.lead_names == ("II", "V1")
    assert recording.duration_s == pytest.approx(1805.56, abs=0.01)
    assert "MLII" in recording.notes[0]


def test_twelve_leads_and_frank_leads_in_two_files(shared_data: Path) -> None:
    stem = shared_data / "ptbdb_frank_xyz/s0010_re"
    assert compare(stem).lead_names == (*LEADS, *FRANK_LEADS)
    files = {p.name: p.read_bytes() for p in stem.parent.glob("s0010_re.*")}
    np.testing.assert_array_equal(read_recording(files).signal_mv, read_recording(stem).signal_mv)


def test_every_checksum_of_these_sources_holds(shared_data: Path) -> None:
    """So a checksum that does not hold means something, and is worth a note."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = [
            note
            for header in sorted((shared_data / "ptbxl/records100").rglob("*.hea"))[::20]
            for note in read_recording(header).notes
        ]
    assert notes == []
