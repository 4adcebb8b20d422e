"""Reading records: formats, layouts, units, the traps of real data, and uploads."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import wfdb

from echoing_core.errors import EchoingError, UnitsError, UnreadableRecordError
from echoing_core.io import Told, read_recording, write_wfdb
from echoing_core.io.looking import look
from echoing_core.io.wfdb.data import Layout
from echoing_core.records import LEADS
from tests.broken_uploads import TWELVE, beats, header, sound_upload


@pytest.fixture
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own, so that what stays behind can be seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212", "508", "516", "524"])
def test_every_format_that_wfdb_writes(tmp_path: Path, fmt: str) -> None:
    names = list(LEADS[:3])
    digital = np.clip(beats(3, 12.0) // 10, -120, 120).astype(np.int64)
    digital[300:400, 1] = {"80": -128, "508": -128, "212": -2048, "24": -(2**23)}.get(
        fmt, {"524": -(2**23), "32": -(2**31)}.get(fmt, -32768)
    )
    wfdb.wrsamp(
        "rec", fs=100, units=["mV"] * 3, sig_name=names, d_signal=digital, fmt=[fmt] * 3,
        adc_gain=[100.0] * 3, baseline=[5] * 3, write_dir=str(tmp_path),
    )  # fmt: skip
    recording = read_recording(tmp_path / "rec")
    expected = ((digital - 5) / 100.0).T
    expected[1, 300:400] = np.nan
    np.testing.assert_allclose(recording.signal_mv, expected, atol=1e-6)
    assert recording.signal_mv.dtype == np.float32
    assert (recording.fs_hz, recording.lead_names) == (100.0, tuple(names))
    assert recording.notes == ()


def test_format_160_which_wfdb_only_reads() -> None:
    samples = beats(2, 12.0)
    files = {
        "rec.hea": header("rec", ["I", "II"], 1200, fmt="160"),
        "rec.dat": (samples.astype(np.int64) + 32768).astype("<u2").tobytes(),
    }
    np.testing.assert_allclose(read_recording(files).signal_mv, samples.T / 1000.0, atol=1e-6)


def test_an_upload_leaves_nothing_behind_and_no_name_in_the_log(
    private_temp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    files = sound_upload("JaneDoe")
    files["JaneDoe.hea"] += b"# <patient>: Jane Doe\n"
    recording = read_recording(files)
    assert list(private_temp.iterdir()) == []
    assert "Jane Doe" not in repr(recording)
    damaged = {**files, "JaneDoe.dat": b"\0\1" * 10}
    with pytest.raises(EchoingError):
        read_recording(damaged)
    flac = {**files, "JaneDoe.hea": files["JaneDoe.hea"].replace(b"dat 16 ", b"dat 516 ")}
    with pytest.raises(EchoingError):
        read_recording(flac)
    assert list(private_temp.iterdir()) == []
    assert "Jane" not in caplog.text


def test_whatever_decoding_raises_becomes_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError("999"), IndexError(), TypeError(), ValueError("x"), MemoryError()):

        def fail(*args: object, error: BaseException = error, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(Layout, "read_digital", fail)
        with pytest.raises(UnreadableRecordError, match=r"do not fit|more memory"):
            read_recording(sound_upload())


def test_all_the_ways_to_name_a_record(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    for name, data in sound_upload().items():
        (folder / name).write_bytes(data)
    expected = read_recording(sound_upload()).signal_mv
    given = [
        folder / "rec",
        str(folder / "rec.hea"),
        folder / "rec.dat",
        folder,
        [folder / "rec"],
        [folder / "rec.dat", folder / "rec.hea"],
        [(f"some\\folder/{n}", b) for n, b in sound_upload().items()],
        {name.upper(): data for name, data in sound_upload().items()},
    ]
    for source in given:
        recording = read_recording(source)
        assert recording.record_id.lower() == "rec"
        np.testing.assert_array_equal(recording.signal_mv, expected)


def test_record_name_chooses_among_several() -> None:
    files = {**sound_upload("a"), **sound_upload("b", names=("X", "Y", "Z"))}
    with pytest.raises(UnreadableRecordError, match=r"2 recordings \(a, b\)"):
        read_recording(files)
    assert read_recording(files, record_name="b").lead_names == ("X", "Y", "Z")
    with pytest.raises(UnreadableRecordError, match="no record c among the files; they hold a, b"):
        read_recording(files, record_name="c")


@pytest.mark.parametrize("name", ["nowhere", "nowhere.hea", "no/such/folder", "x" * 5000, "a\0b"])
def test_a_path_to_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableRecordError) as caught:
        read_recording(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)


def test_an_empty_folder_and_a_lonely_data_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecordError, match=r"holds no header"):
        read_recording(tmp_path)
    (tmp_path / "rec.dat").write_bytes(b"\0\0")
    with pytest.raises(UnreadableRecordError, match=r"add rec\.hea"):
        read_recording(tmp_path / "rec.dat")


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.dat"
    files = sound_upload()
    outside.write_bytes(files["rec.dat"])
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "rec.hea").write_bytes(files["rec.hea"])
    (folder / "rec.dat").symlink_to(outside)
    with pytest.raises(UnreadableRecordError, match="is a link to another file"):
        read_recording(folder / "rec")
    (folder / "rec.dat").unlink()
    os.mkfifo(folder / "rec.dat")
    with pytest.raises(UnreadableRecordError, match="not an ordinary file"):
        read_recording(folder / "rec")


@pytest.mark.parametrize(
    ("units", "per_mv"),
    [("mV", 1), ("mv", 1), ("uV", 1e3), ("µV", 1e3), ("μV", 1e3), ("V", 1e-3), ("nV", 1e6)],
)
def test_units_become_millivolts(units: str, per_mv: float) -> None:
    files = sound_upload()
    files["rec.hea"] = header("rec", TWELVE, 1200, gain=f"{1000 / per_mv:.17g}(0)/{units}")
    expected = beats(12, 12.0).T / 1000.0
    np.testing.assert_allclose(read_recording(files).signal_mv, expected, atol=1e-6)


def test_missing_units_and_missing_gain_are_said() -> None:
    files = sound_upload()
    files["rec.hea"] = header("rec", TWELVE, 1200, gain="1000")
    assert read_recording(files).notes == (
        "The header gives no units for all leads; mV, the WFDB default, is assumed.",
    )
    files["rec.hea"] = header("rec", TWELVE, 1200, gain="0(0)/mV")
    recording = read_recording(files)
    assert "no gain for all leads; WFDB's default of 200 units per mV" in recording.notes[0]
    np.testing.assert_allclose(recording.signal_mv, beats(12, 12.0).T / 200.0, atol=1e-5)


def test_other_channels_keep_their_name_and_foreign_units_stay_out() -> None:
    names = ["II", "RESP", "ABP", "CH", "CH", "MLII"]
    files = sound_upload(names=names)
    lines = files["rec.hea"].decode().replace("mV 16 0 0 0 0 ABP", "mmHg 16 0 0 0 0 ABP")
    recording = read_recording({**files, "rec.hea": lines.encode()})
    assert recording.lead_names == ("II", "RESP", "CH", "CH (2)")
    assert recording.source_names == ("II", "RESP", "CH", "CH")
    assert "Channels that are not voltages are left out: ABP." in recording.notes
    assert "Two channels hold lead II; II is used and MLII is left out." in recording.notes


def test_mlii_is_lead_ii_with_a_note() -> None:
    recording = read_recording(sound_upload(names=("MLII", "V5")))
    assert recording.lead_names == ("II", "V5")
    assert recording.source_names == ("MLII", "V5")
    assert "modified limb lead" in recording.notes[0]


def test_amplitudes_no_ecg_has() -> None:
    files = sound_upload()
    with pytest.raises(UnitsError, match=r"would reach [\d,]+ mV"):
        read_recording({**files, "rec.hea": header("rec", TWELVE, 1200, gain="0.5/mV")})
    # R of 1000: microvolts that are called millivolts.
    with pytest.raises(UnitsError, match=r"mV, which no ECG does.*--unit uV"):
        read_recording({**files, "rec.hea": header("rec", TWELVE, 1200, gain="1/mV")})
    # The app asks for the unit.
    assert look({**files, "rec.hea": header("rec", TWELVE, 1200, gain="1/mV")}).can_be_told
    with pytest.raises(UnitsError, match="which no ECG does"):
        read_recording(files, told=Told(scale=1000.0))
    said = read_recording(
        {**files, "rec.hea": header("rec", TWELVE, 1200, gain="1/mV")}, told=Told(unit="uV")
    )
    assert np.nanmax(np.abs(said.signal_mv)) < 10.0
    doubtful = read_recording({**files, "rec.hea": header("rec", TWELVE, 1200, gain="10/mV")})
    assert any(n.startswith("Amplitudes above 50 mV") for n in doubtful.notes)


def test_a_data_file_of_another_recording_is_noticed() -> None:
    files = sound_upload()
    samples = beats(12, 12.0)
    checksums = [int(c) for c in samples.sum(axis=0, dtype=np.int64).astype(np.uint16)]
    lines = files["rec.hea"].decode().splitlines()
    for i, checksum in enumerate(checksums):
        lines[i + 1] = lines[i + 1].replace(" 0 0 0 0 ", f" 0 0 {checksum} 0 ")
    files["rec.hea"] = "\n".join(lines).encode()
    assert read_recording(files).notes == ()
    other = (samples[::-1] + 3).astype("<i2").tobytes()
    (note,) = read_recording({**files, "rec.dat": other}).notes
    assert "do not add up to the header's checksum" in note


def test_several_data_files_formats_and_offsets_in_one_record() -> None:
    a, b = beats(2, 12.0), beats(1, 12.0) // 8
    lines = [
        "rec 3 100 1200",
        "one.dat 16+24 1000/mV 16 0 0 0 0 V1",
        "two.dat 80 125/mV 8 0 0 0 0 V2",
        "one.dat 16+24 1000/mV 16 0 0 0 0 V3",  # not beside the other channel of its file
    ]
    files = {
        "rec.hea": "\n".join(lines).encode(),
        "one.dat": bytes(24) + a.astype("<i2").tobytes(),
        "two.dat": (b + 128).astype(np.uint8).tobytes(),
    }
    recording = read_recording(files)
    assert recording.lead_names == ("V1", "V2", "V3")
    np.testing.assert_allclose(recording.signal_mv[[0, 2]], a.T / 1000, atol=1e-6)
    np.testing.assert_allclose(recording.signal_mv[1], b[:, 0] / 125, atol=1e-6)


def test_a_length_that_the_header_leaves_out_comes_from_the_data() -> None:
    files = sound_upload()
    for n_times in (None, 0):
        files["rec.hea"] = header("rec", TWELVE, n_times)
        assert read_recording(files).n_times == 1200


def test_channels_with_more_samples_per_frame_set_the_rate() -> None:
    """ECG at 4 x 62.5 = 250 Hz, one lead at 125 Hz, breathing at 62.5 Hz, as on monitors."""
    n_frames = 750
    ecg = beats(1, 12.0, fs_hz=250)[:, 0]
    slow = ecg[::2]
    frames = np.concatenate(
        [ecg.reshape(n_frames, 4), slow.reshape(n_frames, 2), ecg[::4].reshape(n_frames, 1)],
        axis=1,
    )
    lines = [
        f"rec 3 62.5 {n_frames}",
        "rec.dat 16x4 1000/mV 16 0 0 0 0 II",
        "rec.dat 16x2 1000/mV 16 0 0 0 0 V1",
        "rec.dat 16 1000/mV 16 0 0 0 0 RESP",
    ]
    files = {"rec.hea": "\n".join(lines).encode(), "rec.dat": frames.astype("<i2").tobytes()}
    recording = read_recording(files)
    assert recording.fs_hz == 250.0
    assert recording.lead_names == ("II", "V1")
    np.testing.assert_allclose(recording.signal_mv[0], ecg / 1000, atol=1e-6)
    np.testing.assert_allclose(recording.signal_mv[1, ::2], slow / 1000, atol=1e-6)
    between = (slow[:-1] + slow[1:]) / 2000.0
    np.testing.assert_allclose(recording.signal_mv[1, 1:-1:2], between, atol=1e-6)
    assert "Recorded more slowly and interpolated to 250 Hz: V1." in recording.notes
    assert "Channels with another sampling rate are left out: RESP." in recording.notes


def test_shifted_channels_are_aligned_and_their_end_is_a_gap() -> None:
    samples = beats(2, 12.0)
    files = sound_upload(names=("I", "II"))
    text = files["rec.hea"].replace(
        b"16 1000(0)/mV 16 0 0 0 0 II", b"16:5 1000(0)/mV 16 0 0 0 0 II"
    )
    recording = read_recording({**files, "rec.hea": text})
    np.testing.assert_allclose(recording.signal_mv[1, :-5], samples[5:, 1] / 1000.0, atol=1e-6)
    assert np.isnan(recording.signal_mv[1, -5:]).all()
    too_far = text.replace(b"16:5", b"16:5000")
    with pytest.raises(UnreadableRecordError, match="by more than the length"):
        read_recording({**files, "rec.hea": too_far})


def test_twelve_leads_and_frank_leads_are_all_kept() -> None:
    recording = read_recording(sound_upload(names=(*TWELVE, "vx", "vy", "vz")))
    assert recording.lead_names == (*LEADS, "X", "Y", "Z")


def test_gaps_stay_gaps() -> None:
    files = sound_upload()
    samples = beats(12, 12.0)
    samples[200:500, 6] = -32768
    recording = read_recording({**files, "rec.dat": samples.astype("<i2").tobytes()})
    assert np.flatnonzero(np.isnan(recording.signal_mv[6])).tolist() == list(range(200, 500))
    assert np.isnan(recording.signal_mv).sum() == 300


def test_trailing_bytes_are_noted() -> None:
    files = sound_upload()
    recording = read_recording({**files, "rec.dat": files["rec.dat"] + bytes(10)})
    assert recording.n_times == 1200
    assert recording.notes == (
        "rec.dat holds 10 bytes more than the header declares; they are left unread.",
    )


def test_a_record_that_says_it_was_simulated(tmp_path: Path) -> None:
    signal = beats(3, 12.0).T / 1000.0
    write_wfdb(tmp_path, "s", signal, 100, "XYZ", comments=["Simulated by EchoingECG"])
    assert read_recording(tmp_path / "s").simulated
    write_wfdb(tmp_path, "t", signal, 100, "XYZ", comments=["recorded"])
    assert not read_recording(tmp_path / "t").simulated


def test_a_damaged_flac_file(tmp_path: Path) -> None:
    write_wfdb(tmp_path, "f", beats(12, 12.0).T / 1000.0, 100, LEADS, fmt="516")
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert read_recording(files).lead_names == LEADS
    cut = {**files, "f_2.flac": files["f_2.flac"][:-300]}
    with pytest.raises(UnreadableRecordError, match="do not fit the header, or are damaged"):
        read_recording(cut)
    swapped = {**files, "f_2.flac": files["f_1.flac"]}
    with pytest.raises(UnreadableRecordError, match="holds 8 channels, but the header puts 4"):
        read_recording(swapped)
    plain = {**files, "f_2.flac": b"RIFF" + bytes(100)}
    with pytest.raises(UnreadableRecordError, match="not a FLAC file"):
        read_recording(plain)
