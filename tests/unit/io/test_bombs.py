"""Small files that would become large, or slow: refused by what they declare, or read in step."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile

import ecg_files as made
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from broken_uploads import sound_upload

from echoing_core.errors import UnreadableRecordError
from echoing_core.io import TableLayout, channels, read_recording
from echoing_core.io.decoders import MOST_ITEMS, check_items
from echoing_core.io.table import cells

FS_HZ = 500


def flac_record(samples: np.ndarray, declared: int) -> dict[str, bytes]:
    """A record in format 516 whose FLAC file says that it holds ``declared`` samples a channel."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, 96_000, format="FLAC", subtype="PCM_16")
    data = bytearray(stream.getvalue())
    # 36 bits of STREAMINFO.
    said = int.from_bytes(data[21:26], "big") & ~0xF_FFFF_FFFF | declared
    data[21:26] = said.to_bytes(5, "big")
    names = ("I", "II", "V1")[: samples.shape[1]]
    lines = [f"r.flac 516 200(0)/mV 16 0 0 0 0 {name}" for name in names]
    head = f"r {len(names)} {FS_HZ} {declared}"
    return {"r.hea": "\n".join([head, *lines, ""]).encode(), "r.flac": bytes(data)}


def test_flac_that_says_more_than_it_can_hold() -> None:
    samples = np.random.default_rng(1).normal(0, 300, (2000, 2)).astype(np.int16)
    found = read_recording(flac_record(samples, 2000))
    np.testing.assert_allclose(found.signal_mv, samples.T / 200.0, atol=1e-6)
    with pytest.raises(UnreadableRecordError, match="more than 100 times its size"):
        read_recording(flac_record(samples, 100_000_000))
    # A few more than there are: nothing is made up for them.
    with pytest.raises(UnreadableRecordError, match=r"do not fit|cut short"):
        read_recording(flac_record(samples, 20_000))


def test_a_table_of_numbers_that_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 200_000
    stream = io.BytesIO()
    pq.write_table(pa.table({"II (mV)": np.zeros(n)}), stream, compression="zstd")
    files = {"a.parquet": stream.getvalue()}
    layout = TableLayout(leads={0: "II"}, units="mV", fs_hz=FS_HZ)
    assert 8 * n > 100 * len(files["a.parquet"])
    monkeypatch.setattr(channels, "_SMALL_BYTES", 8 * n - 1)
    tracemalloc.start()
    with pytest.raises(UnreadableRecordError, match="more than 100 times its size"):
        read_recording(files, layout=layout)
    assert tracemalloc.get_traced_memory()[1] < 8 * n / 4
    tracemalloc.stop()


def test_a_table_in_one_line_is_never_a_list_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.round(np.random.default_rng(2).normal(0, 1, 20_000), 3)
    line = "II," + ",".join(f"{v:.3f}" for v in values[:-1]) + ","
    longest = 0

    def cut(text: str, separator: str) -> list[str]:
        nonlocal longest
        longest = max(longest, len(text))
        return text.split(separator)

    monkeypatch.setattr(cells, "_cut", cut)
    layout = TableLayout(leads={0: "II"}, units="mV", fs_hz=FS_HZ, samples_in="columns")
    found = read_recording({"a.csv": line.encode()}, layout=layout)
    np.testing.assert_allclose(found.signal_mv[0, : values.size - 1], values[:-1], atol=1e-6)
    # Each cell as a text takes ten times what it takes in the file.
    assert 0 < longest <= 20_000 < len(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("V1;1,5;;-2,25;" + ";".join(["0"] * 130), [1.5, np.nan, -2.25, 0.0]),
        ("1.5\t\tnan\tN/A\t2\t" + "\t".join(["0"] * 130), [1.5, np.nan, np.nan, np.nan, 2.0]),
        ("1 2   3e-1 " + " ".join(["0"] * 130), [1.0, 2.0, 0.3, 0.0]),
        ('"1,5","-2","0,5",' + ",".join(['"0,0"'] * 130), [1.5, -2.0, 0.5, 0.0]),
        ("1.5, 2.5 ,3,4," + ",".join(["0"] * 130), [1.5, 2.5, 3.0, 4.0]),
    ],
)
def test_long_lines_however_they_are_written(line: str, expected: list[float]) -> None:
    layout = TableLayout(leads={0: "II"}, units="mV", fs_hz=FS_HZ, samples_in="columns")
    # Twelve seconds are needed, so the same cells come again and again at the end.
    tail = line[-1:] if line[-1] == "0" else '"0,0"'
    separator = {";": ";", "\t": "\t", " ": " "}.get(next(c for c in line if c in ";\t ,"), ",")
    longer = line + (separator + tail) * 6000
    found = read_recording({"a.csv": f"{longer}\n{longer}\n".encode()}, layout=layout)
    np.testing.assert_allclose(found.signal_mv[0, : len(expected)], expected, atol=1e-6)


def test_lists_of_empty_entries_in_dicom() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    head = struct.pack("<HH2sHI", 0x5400, 0x100, b"SQ", 0, 0xFFFFFFFF)
    sound = made.dicom(made.ecg())
    bomb = sound + head + item * (MOST_ITEMS + 1)
    began = time.process_time()
    with pytest.raises(UnreadableRecordError, match="more than 40,000 entries"):
        read_recording({"a.dcm": bomb})
    # To parse them takes 2 s.
    assert time.process_time() - began < 0.5
    check_items(sound, "a.dcm")
    # In pixels the same bytes are no entries.
    check_items(sound + b"\xe0\x7f\x10\x00OB" + item * (MOST_ITEMS + 1), "a.dcm")


def interrupted(n_records: int, step_s: int) -> tuple[bytes, np.ndarray]:
    """EDF+D of one-second records of two samples, ``step_s`` apart, and its digital samples."""
    digital = np.random.default_rng(3).integers(-999, 999, (n_records, 2)).astype("<i2")
    fields = [
        (b"ECG II", b"EDF Annotations"), (b"", b""), (b"mV", b""), (b"-1", b"-1"), (b"1", b"1"),
        (b"-1000", b"-32768"), (b"1000", b"32767"), (b"", b""), (b"2", b"8"), (b"", b""),
    ]  # fmt: skip
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    head = b"0".ljust(8) + b" " * 160 + b"01.01.0101.01.01" + b"768".ljust(8) + b"EDF+D".ljust(44)
    head += str(n_records).encode().ljust(8) + b"1".ljust(8) + b"2".ljust(4)
    for width, pair in zip(widths, fields, strict=True):
        head += b"".join(value.ljust(width) for value in pair)
    stamps = (b"+%d\x14\x14" % (i * step_s) for i in range(n_records))
    body = (row.tobytes() + s.ljust(16, b"\0") for row, s in zip(digital, stamps, strict=True))
    return head + b"".join(body), digital


def test_a_gap_after_every_record_of_an_edf() -> None:
    data, digital = interrupted(20_000, 3)
    began = time.process_time()
    found = read_recording({"a.edf": data})
    # Was 30 us for each record and signal, one after the other.
    assert time.process_time() - began < 1.5
    expected = np.full((20_000, 6), np.nan)
    expected[:, :2] = digital / 1000.0
    # What looks like a test pattern at the start is left out.
    np.testing.assert_allclose(found.signal_mv[0, 600:], expected.ravel()[600:-4], atol=1e-6)


def test_an_edf_that_is_nearly_all_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_SMALL_BYTES", 100_000)
    data, _ = interrupted(50, 20_000)
    with pytest.raises(UnreadableRecordError, match="nearly all gaps"):
        read_recording({"a.edf": data})


def test_segments_that_are_named_again_and_gaps_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = sound_upload("s", seconds=12.0)
    lines = files["s.hea"].decode().splitlines()
    n_signals, fs_hz, n = lines[0].split()[1:4]
    again = f"r/3 {n_signals} {fs_hz} {3 * int(n)}\n" + f"s {n}\n" * 3
    with pytest.raises(UnreadableRecordError, match="more than once"):
        read_recording({**files, "r.hea": again.encode()}, record_name="r")
    monkeypatch.setattr(channels, "_SMALL_BYTES", 10_000)
    gap = f"r/2 {n_signals} {fs_hz} {int(n) + 1_000_000}\ns {n}\n~ 1000000\n"
    with pytest.raises(UnreadableRecordError, match="nearly all gaps"):
        read_recording({**files, "r.hea": gap.encode()}, record_name="r")


def test_an_archive_whose_long_end_contradicts_its_short_one() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in sound_upload("a").items():
            archive.writestr(name, data)
    sound = stream.getvalue()
    end = sound.rindex(b"PK\x05\x06")
    # As a million entries have it; Python's own reader believes this record, not the short one.
    long = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, 46_000_000, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    with pytest.raises(UnreadableRecordError, match="far more than 64 files"):
        read_recording({"a.zip": sound[:end] + long + locator + sound[end:]})
    # Its mark within the last record, where nobody reads the count of files, is no other end.
    hidden = sound[: end + 8] + b"PK\x05\x06" + sound[end + 12 :]
    assert read_recording({"a.zip": hidden}).n_times == read_recording({"a.zip": sound}).n_times
