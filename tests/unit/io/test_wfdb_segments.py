"""Records made of segments, against wfdb and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from echoing_core.errors import UnreadableRecordError
from echoing_core.io import read_recording
from tests.broken_uploads import beats, header


def segment(name: str, names: tuple[str, ...], seconds: float) -> dict[str, bytes]:
    samples = beats(len(names), seconds)
    text = header(name, names, len(samples))
    return {f"{name}.hea": text, f"{name}.dat": samples.astype("<i2").tobytes()}


def fixed() -> dict[str, bytes]:
    master = b"rec/3 2 100 2000\nrec_1 700\nrec_2 600\nrec_3 700\n# Simulated by EchoingECG\n"
    files = {"rec.hea": master}
    for i, seconds in ((1, 7.0), (2, 6.0), (3, 7.0)):
        files |= segment(f"rec_{i}", ("I", "II"), seconds)
    return files


def variable() -> dict[str, bytes]:
    master = b"rec/5 2 100 2500\nrec_layout 0\nrec_1 700\n~ 500\nrec_2 600\nrec_3 700\n"
    layout = b"rec_layout 2 100 0\n~ 0 1000/mV 16 0 0 0 0 I\n~ 0 1000/mV 16 0 0 0 0 V5\n"
    files = {"rec.hea": master, "rec_layout.hea": layout}
    files |= segment("rec_1", ("I", "V5"), 7.0)
    files |= segment("rec_2", ("V5",), 6.0)
    files |= segment("rec_3", ("V5", "I"), 7.0)
    return files


@pytest.mark.parametrize("files", [fixed(), variable()], ids=["fixed", "variable"])
def test_segments_are_joined_as_wfdb_joins_them(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    expected = wfdb.rdrecord(str(tmp_path / "rec"))
    for source in (tmp_path / "rec", files):
        recording = read_recording(source)
        assert recording.lead_names == tuple(expected.sig_name)
        np.testing.assert_allclose(recording.signal_mv, expected.p_signal.T, atol=1e-6)
    assert recording.record_id == "rec"


def test_gaps_between_segments_are_nan_and_the_clock_runs_on() -> None:
    recording = read_recording(variable())
    missing = np.isnan(recording.signal_mv)
    assert missing[0].sum() == 500 + 600
    assert np.flatnonzero(missing[1]).tolist() == list(range(700, 1200))


def test_the_master_header_says_whether_it_was_simulated() -> None:
    assert read_recording(fixed()).simulated
    assert not read_recording(variable()).simulated


@pytest.mark.parametrize(
    ("name", "old", "new", "phrase"),
    [
        ("rec.hea", b"2000", b"2100", "its segments add up to 2000"),
        ("rec.hea", b"rec_2 600", b"rec_9 600", r"1 of their headers are missing \(rec_9\)"),
        ("rec.hea", b"rec_2 600", b"rec 600", "itself made of segments"),
        ("rec_2.hea", b"100 600", b"100 500", "differs in length or sampling rate"),
        ("rec_2.hea", b"100 600", b"200 600", "differs in length or sampling rate"),
        ("rec_2.hea", b"rec_2.dat", b"gone.dat", r"needs gone\.dat"),
        ("rec_2.hea", b"16 1000(0)", b"16x2 1000(0)", "cut short"),
    ],
)
def test_segments_that_do_not_fit(name: str, old: bytes, new: bytes, phrase: str) -> None:
    files = fixed()
    assert old in files[name]
    files[name] = files[name].replace(old, new)
    with pytest.raises(UnreadableRecordError, match=phrase):
        read_recording(files, record_name="rec")


def test_a_gap_of_years_is_not_allocated() -> None:
    files = {"rec.hea": b"rec/2 2 100\nrec_1 700\n~ 99999999999\n", **segment("rec_1", ("I",), 7)}
    with pytest.raises(UnreadableRecordError, match="more than can be read at once"):
        read_recording(files)
