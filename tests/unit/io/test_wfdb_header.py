"""The strict header reader: what passes, and what it says when it does not."""

from __future__ import annotations

import pytest

from echoing_core.errors import EchoingError, SamplingRateError, UnreadableRecordError
from echoing_core.io.wfdb.header import MAX_HEADER_BYTES, parse_header


def test_every_field_of_a_full_header() -> None:
    text = b"""# made up
    r_1 2 250.5/1000(3) 5000 12:30:00 01/02/1990

    a.dat 212x2:7+24 200(-5)/uV 12 1024 -3 -77 0 Lead II modified
    b.dat 16 -1.5e+2/mV 16 8 0 0 0 RESP
    """
    header = parse_header(text, "r_1.hea")
    assert (header.fs_hz, header.n_frames, header.n_signals) == (250.5, 5000, 2)
    first, second = header.signals
    assert (first.file_name, first.fmt, first.name) == ("a.dat", "212", "Lead II modified")
    assert (first.samples_per_frame, first.skew, first.byte_offset) == (2, 7, 24)
    assert (first.gain, first.baseline, first.units, first.checksum) == (200.0, -5, "uV", -77)
    # Without a baseline in brackets, the ADC's zero is the baseline (header(5)).
    assert (second.gain, second.baseline, second.units) == (-150.0, 8, "mV")
    assert not header.simulated


@pytest.mark.parametrize(
    ("line", "gain", "assumed", "units", "name"),
    [
        ("x.dat 16", 200.0, True, None, "channel 1"),
        ("x.dat 16 0 11 1024 995 0 0 V5", 200.0, True, None, "V5"),
        ("x.dat 16 500/mV V5", 500.0, False, "mV", "V5"),
        ("x.dat 16 aVR", 200.0, True, None, "aVR"),
        ("x.dat 16x1+24 1000.0(0)/mv 16 0 0 0 0", 1000.0, False, "mv", "channel 1"),
    ],
)
def test_fields_left_out_get_the_defaults_of_wfdb(
    line: str, gain: float, assumed: bool, units: str | None, name: str
) -> None:
    (signal,) = parse_header(f"x 1 100 1000\n{line}\n".encode(), "x.hea").signals
    assert (signal.gain, signal.gain_assumed, signal.units, signal.name) == (
        gain, assumed, units, name,
    )  # fmt: skip


def test_a_byte_order_mark_windows_line_ends_and_latin_1_comments_are_no_obstacle() -> None:
    text = b"\xef\xbb\xbfx 1 100 0\r\nx.dat 16 200/mV 16 0 0 0 0 II\r\n# Se\xf1or\r\n"
    header = parse_header(text, "x.hea")
    assert header.n_frames is None
    assert header.signals[0].name == "II"


@pytest.mark.parametrize("comment", ["Simulated by EchoingECG 0.1", "x: SIMULATED BY ECHOINGECG"])
def test_only_the_comment_that_says_so_marks_a_record_as_simulated(comment: str) -> None:
    text = "x 1 100 1000\nx.dat 16\n# {}\n"
    assert parse_header(text.format(comment).encode(), "x.hea").simulated
    assert not parse_header(text.format("a simulated patient").encode(), "x.hea").simulated


def test_folders_in_front_of_a_data_file_are_dropped() -> None:
    header = parse_header(b"x 1 100 1000\nrecords/sub/x.dat 16\n", "x.hea")
    assert header.signals[0].file_name == "x.dat"


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("x", "does not begin like a WFDB header"),
        ("# only\n# comments", "nothing but comments"),
        ("x many 100 1000", "does not begin like a WFDB header"),
        ("x -1 100 1000", "declares -1 signals"),
        ("x 33 100 1000", "at most 32"),
        ("x/0 1 100 1000", "number of segments"),
        ("x/a 1 100 1000", "number of segments"),
        ("x/1 1 100 1000\nseg", "without its length"),
        ("x/2 1 100 1000\nseg 500", "declares 2 segments but lists 1"),
        ("x/1 1 100 1000\n../seg 1000", "outside its own folder"),
        ("x 1 100 -5\nx.dat 16", "as the number of samples"),
        ("x 1 100 1e3\nx.dat 16", "as the number of samples"),
        ("x 1 100 1000\nx.dat", "incomplete"),
        ("x 1 100 1000\nx.dat flac", "storage format flac"),
        ("x 1 100 1000\nx.dat 312", "storage format 312"),
        ("x 1 100 1000\nx.dat 16x0", "0 samples per frame"),
        ("x 1 100 1000\nx.dat 16x5000", "5000 samples per frame"),
        ("x 1 100 1000\nx.dat 16 1e999/mV", "no usable gain"),
        ("x 1 100 1000\nx.dat 16 1e-300/mV", "no usable gain"),
        ("x 1 100 1000\nx.dat 16 20O/mV", "gives the gain 20O/mV"),
        ("x 1 100 1000\nx.dat 16 200/mV 16 0.5 0 0 0 II", "holds 0.5 where a whole number"),
        ("x 1 100 1000\n/etc/passwd 16", "outside its own folder"),
        ("x 1 100 1000\n..\\x.dat 16", "outside its own folder"),
        ("x 1 100 1000\nC:\\x.dat 16", "outside its own folder"),
        ("x 1 100 1000\nhttp://a/x.dat 16", "outside its own folder"),
        ("x 32 10000 99999999999", "more than can be read"),
    ],
)
def test_headers_that_cannot_be_used_say_why(text: str, phrase: str) -> None:
    with pytest.raises(UnreadableRecordError, match=r"^[^\n]*$") as caught:
        parse_header(text.encode(), "x.hea")
    assert phrase in str(caught.value)


@pytest.mark.parametrize("fs", ["0", "-100", "nan", "inf", "1e9", "10000.5", "0.0", "x", "9" * 400])
def test_sampling_rates_that_are_none(fs: str) -> None:
    with pytest.raises(SamplingRateError, match=r"sampling rate of .* Hz"):
        parse_header(f"x 1 {fs} 1000\nx.dat 16\n".encode(), "x.hea")


def test_size_and_encoding_are_checked_before_anything_else() -> None:
    with pytest.raises(UnreadableRecordError, match="larger than 64 KB"):
        parse_header(b"#" * (MAX_HEADER_BYTES + 1), "x.hea")
    with pytest.raises(UnreadableRecordError, match="not a text file"):
        parse_header("x 1 100\n".encode("utf-16"), "x.hea")


def test_messages_stay_short_and_printable_whatever_the_header_holds() -> None:
    with pytest.raises(EchoingError) as caught:
        parse_header(f"x 1 100 1000\nx.dat \x7f\u202e{'9' * 5000}\n".encode(), "x.hea")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
