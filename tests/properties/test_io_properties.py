"""Laws of reading and writing, and headers made of anything."""

from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from echoing_core.errors import EchoingError
from echoing_core.io import canonical_lead_name, read_recording, write_wfdb
from echoing_core.records import FRANK_LEADS, LEADS, Recording
from tests.broken_uploads import sound_upload

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
GAINS = {
    "16": 1000.0, "24": 1e5, "32": 1e6, "80": 40.0, "212": 500.0,
    "508": 40.0, "516": 1000.0, "524": 1e5,
}  # fmt: skip


@st.composite
def leads(draw: st.DrawFn) -> npt.NDArray[np.float64]:
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 60)))
    values = st.floats(-3, 3) | st.just(np.nan)
    return draw(hnp.arrays(np.float64, shape, elements=values))


@QUICK
@given(
    signal=leads(),
    fmt=st.sampled_from(sorted(GAINS)),
    fs_hz=st.sampled_from([1.0, 62.5, 100, 128, 257.003, 500, 1000, 9999.5]),
    data=st.data(),
)
def test_what_is_written_is_read(
    signal: npt.NDArray[np.float64], fmt: str, fs_hz: float, data: st.DataObject
) -> None:
    names = data.draw(st.permutations(LEADS + FRANK_LEADS))[: len(signal)]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_wfdb(folder, "r", signal, fs_hz, names, fmt=fmt, gain=GAINS[fmt])
        upload = {p.name: p.read_bytes() for p in paths}
        try:
            recording = read_recording(Path(folder) / "r")
        except EchoingError as error:
            # The only records that writing allows and reading refuses.
            assert "no measured sample" in str(error) or "flat" in str(error)
            return
        again = read_recording(upload)
    assert recording.lead_names == tuple(names)
    assert recording.fs_hz == fs_hz
    assert recording.signal_mv.shape == signal.shape
    if not any("test pattern" in note for note in recording.notes):
        np.testing.assert_array_equal(np.isnan(recording.signal_mv), np.isnan(signal))
    measured = ~np.isnan(recording.signal_mv)
    np.testing.assert_allclose(
        recording.signal_mv[measured], signal[measured], atol=0.5 / GAINS[fmt] + 1e-6
    )
    np.testing.assert_array_equal(again.signal_mv, recording.signal_mv)


@QUICK
@given(name=st.text(max_size=12))
def test_lead_names_are_canonical_or_none(name: str) -> None:
    lead = canonical_lead_name(name)
    assert lead is None or canonical_lead_name(lead) == lead
    assert canonical_lead_name(f" {name} ") == lead


TOKENS = st.sampled_from(
    ["rec", "rec/2", "12", "0", "-1", "100", "1200", "1e9", "nan", "rec.dat", "~", "16", "212",
     "16x2:3+24", "516", "1000(0)/mV", "/mV", "(0)", "0(0)", "1e-300/mV", "I", "II", "#", "\n",
     "\n", "\n", " ", "/", "\u0661", "99999999999999999999", "..", "\\", "é", "\x1a"]
)  # fmt: skip
HEADERS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(str.encode),
    st.lists(TOKENS, max_size=40).map(lambda tokens: " ".join(tokens).encode()),
)


def refused_or_sound(files: dict[str, bytes]) -> None:
    try:
        recording = read_recording(files)
    except EchoingError as error:
        assert str(error).isprintable()
        assert 10 < len(str(error)) < 500
    else:
        assert isinstance(recording, Recording)
        assert recording.signal_mv.dtype == np.float32
        assert np.isfinite(recording.signal_mv[~np.isnan(recording.signal_mv)]).all()


@settings(QUICK, max_examples=200)
@given(text=HEADERS)
@example(b"rec 1 1\nrec.dat 16\n")
def test_a_header_of_anything_is_refused_in_words_or_read(text: bytes) -> None:
    refused_or_sound({**sound_upload(), "rec.hea": text})


@QUICK
@given(data=st.data())
def test_a_header_with_a_few_words_changed(data: st.DataObject) -> None:
    files = sound_upload()
    words = files["rec.hea"].decode().replace("\n", " \n ").split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(TOKENS | st.integers(-70000, 10**7).map(str))
    refused_or_sound({**files, "rec.hea": " ".join(words).encode()})


@QUICK
@given(cut=st.integers(0, 28_800) | st.just(28_800), extra=st.binary(max_size=50))
@example(cut=28_798, extra=b"\x00\x80")
@example(cut=28_799, extra=b"\x01")
@example(cut=28_800, extra=b"\x01")
@example(cut=28_800 - 24 * 12, extra=b"")
@example(cut=28_799 - 24 * 12, extra=b"")
def test_data_of_another_length_are_refused_or_read_to_the_declared_end(
    cut: int, extra: bytes
) -> None:
    files = sound_upload()
    data = files["rec.dat"][:cut] + extra
    files["rec.dat"] = data
    n_frames = len(data) // 24
    # A hundredth of the 1,200 frames may be missing at the end, and is noted.
    if n_frames < 1188:
        with pytest.raises(EchoingError, match=r"cut short|empty"):
            read_recording(files)
        return
    recording = read_recording(files)
    n_frames = min(n_frames, 1200)
    digital = np.frombuffer(data[: 24 * n_frames], dtype="<i2").reshape(n_frames, 12)
    expected = np.where(digital == -32768, np.nan, digital / 1000)
    np.testing.assert_allclose(recording.signal_mv, expected.T, atol=1e-5)
    assert bool(recording.notes) == (len(data) > 28_800 or n_frames < 1200)
