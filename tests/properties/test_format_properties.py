"""Files of every format with bytes changed, cut or made up: read, or refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from echoing_core.errors import EchoingError
from echoing_core.io import TableLayout, read_recording, table_in
from echoing_core.io.xml.philips import lzw_decode, undo_differences
from echoing_core.records import LEADS, Recording
from tests import ecg_files as made

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SIGNAL = made.ecg(2.0, 100)
FILES = {
    name: files
    for name, files in made.every_format(SIGNAL, 100).items()
    if name not in ("WFDB", "CSV of Germany")
}


def refused_or_sound(files: dict[str, bytes], layout: TableLayout | None = None) -> None:
    try:
        table_in(files)
        recording = read_recording(files, layout=layout)
    except EchoingError as error:
        assert str(error).isprintable()
        assert 10 < len(str(error)) < 500
    else:
        assert isinstance(recording, Recording)
        assert recording.signal_mv.dtype == np.float32
        assert recording.signal_mv.size < 10_000_000
        assert np.isfinite(recording.signal_mv[~np.isnan(recording.signal_mv)]).all()


# TSV goes through the reader of CSV, and text files are the slowest.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "TSV" else n for n in FILES]
)
@QUICK
@given(data=st.data())
def test_bytes_changed_anywhere(name: str, data: st.DataObject) -> None:
    [(file_name, sound)] = FILES[name].items()
    changed = bytearray(sound)
    # Headers are where the mischief is.
    within = min(len(changed) - 1, data.draw(st.sampled_from([300, 4000, len(changed)])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, within))
        piece = data.draw(
            st.binary(min_size=1, max_size=6)
            | st.sampled_from([b"-1", b"0", b"9999999", b"1e9", b"nan", b"\xff" * 4, b"<", b"&"])
        )
        changed[place : place + len(piece)] = piece
    cut = data.draw(st.just(len(changed)) | st.integers(0, len(changed)))
    refused_or_sound({file_name: bytes(changed[:cut])})


@QUICK
@given(data=st.binary(max_size=400), mark=st.sampled_from(
    [b"", b"0       ", b"\xffBIOSEMI", bytes(128) + b"DICM", b"PK\x03\x04", b"PAR1", b"\x93NUMPY",
     b"<?xml version='1.0'?><RestingECG>", b"<AnnotatedECG>", b"<restingecgdata>", b"time,I\n0,"]
))  # fmt: skip
def test_anything_behind_a_mark(data: bytes, mark: bytes) -> None:
    refused_or_sound({"upload": mark + data})


@QUICK
@given(
    text=st.lists(
        st.sampled_from(["time", "I", "(mV)", "II", ",", ";", "\t", "\n", "\n", "0.1", "1", "2,5",
                         "nan", "-", "1e400", "12:00", "2024-01-01", '"', "'", " ", "#",
                         "fs: 500"]),
        max_size=120,
    ).map("".join)
)  # fmt: skip
@example("time,I (mV)\n" + "1,2\n" * 9)
def test_tables_of_anything(text: str) -> None:
    layout = TableLayout(leads={0: "I"}, units="mV", fs_hz=100.0)
    refused_or_sound({"a.csv": text.encode()})
    refused_or_sound({"a.csv": text.encode()}, layout)


@QUICK
@given(
    fields=st.lists(
        st.tuples(st.integers(160, 4000), st.from_regex(r"[-+0-9.e ]{1,8}", fullmatch=True)),
        min_size=1,
        max_size=4,
    )
)
@pytest.mark.slow
def test_numbers_in_an_edf_header(fields: list[tuple[int, str]]) -> None:
    data = bytearray(FILES["EDF"]["rec.edf"])
    for place, text in fields:
        place -= place % 8
        data[place : place + 8] = text.ljust(8).encode()
    refused_or_sound({"a.edf": bytes(data)})


@QUICK
@given(data=st.binary(max_size=3000))
def test_lzw_gives_back_what_was_packed(data: bytes) -> None:
    assert not data or lzw_decode(made.lzw(data), len(data)) == data


@QUICK
@given(row=st.lists(st.integers(-4000, 4000), min_size=3, max_size=400))
def test_differences_are_undone(row: list[int]) -> None:
    packed = made.xli_row(np.array(row))
    first = int.from_bytes(packed[6:8], "little", signed=True)
    unpacked = lzw_decode(packed[8:], 2 * len(row))
    np.testing.assert_array_equal(undo_differences(unpacked, first), row)


@QUICK
@given(
    leads=st.lists(st.sampled_from(LEADS), min_size=1, max_size=12, unique=True),
    fs_hz=st.sampled_from([100, 125, 256, 1000]),
    bdf=st.booleans(),
    gaps=st.lists(st.integers(0, 5), min_size=2, max_size=2),
)
def test_edf_of_any_leads_and_gaps(
    leads: list[str], fs_hz: int, bdf: bool, gaps: list[int]
) -> None:
    signal = made.rows_of(made.ecg(3.0, fs_hz), leads)
    onsets = np.cumsum([0, 1 + gaps[0], 1 + gaps[1]]).tolist()
    recording = read_recording(
        {"a": made.edf(signal, fs_hz, leads=leads, bdf=bdf, onsets_s=onsets)}
    )
    assert recording.lead_names == tuple(leads) and recording.fs_hz == fs_hz
    assert recording.n_times == (onsets[-1] + 1) * fs_hz
    measured = ~np.isnan(recording.signal_mv[0])
    np.testing.assert_allclose(
        recording.signal_mv[:, measured], signal * (made.UV / 1000), atol=1e-5
    )
