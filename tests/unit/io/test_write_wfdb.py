"""Writing records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from echoing_core.io import write_wfdb
from echoing_core.records import LEADS


@pytest.mark.parametrize(
    ("fmt", "gain", "n_files"),
    [("16", 1000.0, 1), ("24", 1e5, 1), ("32", 1e6, 1), ("80", 50.0, 1), ("212", 400.0, 1),
     ("508", 50.0, 2), ("516", 1000.0, 2), ("524", 1e5, 2)],
)  # fmt: skip
def test_wfdb_reads_what_was_written(tmp_path: Path, fmt: str, gain: float, n_files: int) -> None:
    signal = np.random.default_rng(3).uniform(-2, 2, (12, 501))
    signal[4, 100:200] = np.nan
    comments = ["Simulated by EchoingECG"]
    paths = write_wfdb(tmp_path, "r-1", signal, 360.5, LEADS, fmt=fmt, gain=gain, comments=comments)
    assert paths[0] == tmp_path / "r-1.hea"
    assert len(paths) == 1 + n_files
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    record = wfdb.rdrecord(str(tmp_path / "r-1"))
    np.testing.assert_allclose(record.p_signal.T, signal, atol=0.5 / gain + 1e-12)
    assert (record.fs, record.sig_name, record.comments) == (360.5, list(LEADS), comments)
    digital = wfdb.rdrecord(str(tmp_path / "r-1"), physical=False)
    assert digital.checksum == digital.calc_checksum() or [
        c & 0xFFFF for c in digital.checksum
    ] == [c & 0xFFFF for c in digital.calc_checksum()]
    assert digital.init_value == digital.d_signal[0].tolist()


def test_a_failure_leaves_the_old_record_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = np.zeros((1, 100))
    before = {p: p.read_bytes() for p in write_wfdb(tmp_path, "r", signal, 100, ["I"])}

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_wfdb(tmp_path, "r", signal + 1, 100, ["I"])
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"record_id": "../r"}, "record_id"),
        ({"fmt": "311"}, "fmt"),
        ({"lead_names": ["I", "II"]}, "lead names"),
        ({"lead_names": ["I\nII"]}, "one line"),
        ({"comments": ["a\nb"]}, "one line"),
        ({"fs_hz": 0.0}, "positive"),
        ({"gain": -1.0}, "positive"),
        ({"signal_mv": np.zeros((1, 0))}, "does not fit"),
        ({"signal_mv": np.full((1, 10), 32.768)}, "beyond format 16"),
        ({"signal_mv": np.full((1, 10), np.inf)}, "beyond format 16"),
    ],
)
def test_wrong_arguments(tmp_path: Path, change: dict[str, object], phrase: str) -> None:
    arguments: dict[str, object] = {
        "record_id": "r", "signal_mv": np.zeros((1, 10)), "fs_hz": 100.0, "lead_names": ["I"],
    }  # fmt: skip
    with pytest.raises(ValueError, match=phrase):
        write_wfdb(tmp_path, **{**arguments, **change})
    assert list(tmp_path.iterdir()) == []
