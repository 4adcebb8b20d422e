"""Files made to hold a program up or to get out of the family of errors: one of each kind."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from broken_uploads import sound_upload

from echoing_core.errors import EchoingError, UnreadableRecordError
from echoing_core.io import read_recording
from echoing_core.io.echo.clips import read_echo_clip, read_echo_study
from echoing_core.io.numbers import NUMBER
from echoing_core.io.table.cells import _npy_header, _stated_rate, name_and_unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("II (mV)", ("II", "mV")),
        ("II [ uV ]", ("II", "uV")),
        ("time_ms", ("time", "ms")),
        ("t  s", ("t", "s")),
        ("V1", ("V1", None)),
        ("(mV)", ("(mV)", None)),
        ("a (b) (mV)", ("a (b)", "mV")),
        ("rate (kHz)", ("rate (kHz)", None)),
        ("a)", ("a)", None)),
    ],
)
def test_names_of_columns_and_their_units(text: str, expected: tuple[str, str | None]) -> None:
    assert name_and_unit(text) == expected


@pytest.mark.parametrize(
    ("preamble", "rate"),
    [
        ("Sampling rate: 500 Hz", 500.0),
        ("# sample frequency (kHz) = 1 k", 1000.0),
        ("fs_hz,250", 250.0),
        ("samplerate=360", 360.0),
        ("Abtastrate,512 Hertz", 512.0),
        ("nothing", None),
    ],
)
def test_rates_in_words(preamble: str, rate: float | None) -> None:
    assert _stated_rate(preamble) == rate


def test_lines_made_for_a_pattern_cost_no_more_than_others() -> None:
    """Ten times the length may cost ten times the time; with nested patterns it costs a hundred."""
    spaces, words = "a" + " " * 100_000 + "b", "sampl" * 20_000 + "_" * 100_000
    for text in (spaces, words, "\t" * 200_000, "1" * 100_000 + "x"):
        began = time.process_time()
        name_and_unit(text)
        _stated_rate(text)
        assert not NUMBER.fullmatch(text)
        # Was minutes; half a second is a thousand times what it takes.
        assert time.process_time() - began < 0.5


def test_headers_of_arrays_are_numpys_own() -> None:
    for array in (np.zeros((3, 4), "<f4"), np.zeros(5, ">i2"), np.asfortranarray(np.ones((2, 3)))):
        stream = io.BytesIO()
        np.save(stream, array)
        shape, fortran, dtype, start = _npy_header(stream.getvalue()[:4096])
        order = array.flags.f_contiguous and not array.flags.c_contiguous
        assert (shape, fortran, dtype) == (array.shape, order, array.dtype)
        assert len(stream.getvalue()) - start == array.nbytes


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4000)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (10, (",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",), }",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (10,), }",
        b"{'descr': '|O8', 'fortran_order': False, 'shape': (10,), }",
        b"{'descr': '<f4', 'fortran_order': 0, 'shape': (10,), }",
        b"(" * 3000,
        b"\xff\xfe",
    ],
)
def test_headers_that_are_none(header: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        read_recording({"a.npy": npy(header)})


def test_archives_whose_list_of_files_lies(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in sound_upload("a").items():
            archive.writestr(name, data)
    sound = stream.getvalue()
    end = sound.rindex(b"PK\x05\x06")
    many = sound[: end + 12] + struct.pack("<I", 46_000_000) + sound[end + 16 :]
    with pytest.raises(UnreadableRecordError, match="far more than 64 files"):
        read_recording({"a.zip": many})
    # A central directory whose entry points beyond all files.
    first = sound.index(b"PK\x01\x02")
    far = sound[: first + 42] + b"\xff\xff\xff\x7f" + sound[first + 46 :]
    with pytest.raises(EchoingError):
        read_recording({"a.zip": far})


def test_one_damaged_clip_does_not_lose_the_study(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"RIFF" + bytes(400))
    (tmp_path / "b.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x01\x00\x01" * 9)
    for name in ("a.avi", "b.dcm"):
        with pytest.raises(UnreadableRecordError, match=name):
            read_echo_clip(tmp_path / name)
    with pytest.raises(UnreadableRecordError, match="None of the 2 files"):
        read_echo_study(tmp_path)


def test_the_files_that_once_broke_something(shared_data: Path) -> None:
    folder = shared_data.parent / "hostile"
    tried = 0
    for path in sorted(folder.glob("*")):
        if path.suffix not in (".csv", ".npy", ".parquet", ".zip", ".hea", ".avi", ".dcm"):
            continue
        tried += 1
        began = time.process_time()
        with pytest.raises(EchoingError):
            (read_echo_clip if path.suffix in (".avi", ".dcm") else read_recording)(path)
        assert time.process_time() - began < 5.0, path.name
    assert tried >= 10
