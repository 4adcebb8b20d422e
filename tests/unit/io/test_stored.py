"""Long WFDB records read in pieces, against the same record in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoing_core.errors import UnreadableRecordError
from echoing_core.io import read_recording
from echoing_core.io.channels import start_pattern_length
from echoing_core.io.stored import StoredSignal
from echoing_core.io.wfdb import data
from echoing_core.records import Recording
from echoing_core.signals import standardise

FS_HZ, N_TIMES = 250, 10_000


def _packed(numbers: np.ndarray) -> bytes:
    """Format 212: two numbers of 12 bits in three bytes, as signal(5) draws them."""
    low, high = (numbers.ravel().astype(np.int64) & 0xFFF).reshape(-1, 2).T
    three = [low & 0xFF, low >> 8 | (high >> 8) << 4, high & 0xFF]
    return np.stack(three, axis=1).astype(np.uint8).tobytes()


@pytest.fixture(params=["16", "212"])
def record(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Three leads of 40 s: a flat start of 4 s, and values that mean "not measured" in II."""
    rng = np.random.default_rng(3)
    numbers = (40 * rng.normal(size=(N_TIMES, 3)).cumsum(axis=0) * 0.1).astype("<i2")
    numbers[: 4 * FS_HZ] = 7
    numbers[5000:5100, 1] = -32768 if request.param == "16" else -2048
    sums = [int(column.sum(dtype=np.int64)) & 0xFFFF for column in numbers.T]
    sums[2] += 1
    lines = [f"long 3 {FS_HZ} {N_TIMES}"]
    for name, total in zip(("I", "II", "V1"), sums, strict=True):
        lines.append(f"long.dat {request.param} 200(3)/mV 16 0 0 {total} 0 {name}")
    (tmp_path / "long.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "long.dat").write_bytes(
        numbers.tobytes() if request.param == "16" else _packed(numbers)
    )
    np.save(tmp_path.parent / f"{tmp_path.name}.npy", numbers)
    return tmp_path / "long.hea"


@pytest.fixture
def stored(record: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    monkeypatch.setattr(data, "STORED_FROM", 1)
    return read_recording(record, stay_stored=True)


def test_it_is_the_same_recording(record: Path, stored: Recording) -> None:
    signal = stored.signal_mv
    assert isinstance(signal, StoredSignal)
    read_in_pieces = read_recording(record)
    assert isinstance(read_in_pieces.signal_mv, np.ndarray)
    numbers = np.load(record.parent.parent / f"{record.parent.name}.npy")
    expected = ((numbers.T.astype(np.float64) - 3) / 200).astype(np.float32)
    expected[1, 5000:5100] = np.nan
    expected[:, : start_pattern_length(list(expected), FS_HZ)] = np.nan
    assert np.isnan(expected[0, :1000]).all()
    for mv in (read_in_pieces.signal_mv, np.asarray(signal)):
        np.testing.assert_array_equal(mv, expected)
    np.testing.assert_array_equal(signal[[2, 1], 900:1200], expected[[2, 1], 900:1200])
    np.testing.assert_array_equal(signal[1][4990:5010], expected[1, 4990:5010])
    np.testing.assert_array_equal(signal[:, 1001:1002], expected[:, 1001:1002])
    np.testing.assert_array_equal(signal[0][9_999:], expected[0, 9_999:])
    np.testing.assert_array_equal(signal[1][::7], expected[1, ::7])
    assert stored.notes == read_in_pieces.notes
    assert sum("checksum" in note and "V1" in note for note in stored.notes) == 1


def test_a_record_in_memory_gives_the_same(record: Path, stored: Recording) -> None:
    """Not stored at all: below the limit, or from the bytes of an upload."""
    files = {path.name: path.read_bytes() for path in record.parent.iterdir()}
    upload = read_recording(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "STORED_FROM", 10**9)
        short = read_recording(record)
    for other in (upload, short):
        np.testing.assert_array_equal(other.signal_mv, np.asarray(stored.signal_mv))
        assert other.notes == short.notes
    ecg, expected = standardise(stored), standardise(short)
    np.testing.assert_array_equal(ecg.signal_mv, expected.signal_mv)
    np.testing.assert_array_equal(ecg.valid, expected.valid)


def test_a_file_that_shrinks_meanwhile_is_told(record: Path, stored: Recording) -> None:
    with record.with_suffix(".dat").open("r+b") as file:
        file.truncate(9000 * 3)
    with pytest.raises(UnreadableRecordError, match="changed or went away"):
        np.asarray(stored.signal_mv)
