"""What a person says of a file: leads, rate, unit, scale, direction, in every format."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from echoing_core.cli import telling
from echoing_core.errors import (
    ConfigError,
    MissingLeadError,
    RecordError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io import Told, channels_in, read_recording, records_in, table_in
from echoing_core.records import LEADS
from tests import ecg_files as made
from tests.broken_uploads import sound_upload

SIGNAL = made.ecg(4.0, 250)
MV = SIGNAL * (made.UV / 1000)
UPLOADS = made.every_format(SIGNAL, 250)


@pytest.mark.parametrize("name", UPLOADS)
def test_leads_rate_and_scale_are_heard_in_every_format(name: str) -> None:
    plain = read_recording(UPLOADS[name])
    first, second, third = plain.source_names[0], plain.source_names[1], plain.source_names[2]
    told = Told({first: "V6", second.upper(): "-I", third: "none"}, fs_hz=240, scale=2.0)
    said = read_recording(UPLOADS[name], told=told)
    assert said.fs_hz == 240 and said.lead_names[:2] == ("V6", "I")
    assert plain.lead_names[2] not in said.lead_names
    np.testing.assert_allclose(said.signal_mv[0], 2 * plain.signal_mv[0], atol=1e-6)
    np.testing.assert_allclose(said.signal_mv[1], -2 * plain.signal_mv[1], atol=1e-6)
    # The channel that says V6 itself gives way.
    assert len(set(said.lead_names)) == len(said.lead_names)
    notes = " ".join(said.notes)
    assert "is lead V6" in notes and "upside down" in notes and "240 Hz was said" in notes


def test_a_channel_without_a_lead_becomes_one() -> None:
    files = sound_upload(names=("ECG1", "ECG2"))
    plain = read_recording(files)
    said = read_recording(files, told=Told({"ecg1": "II"}))
    assert plain.lead_names == ("ECG1", "ECG2") and said.lead_names == ("II", "ECG2")
    with pytest.raises(MissingLeadError, match=r"no channel called ECG3 .* ECG1, ECG2"):
        read_recording(files, told=Told({"ECG3": "II"}))
    with pytest.raises(ConfigError, match="same lead"):
        Told({"ECG1": "II", "ECG2": "-ii"})
    with pytest.raises(MissingLeadError):
        read_recording(files, told=Told({"ECG1": "none", "ECG2": "none"}))


def test_of_many_files_a_channel_holds_for_those_that_have_it() -> None:
    told = Told({"ECG1": "II"}, where_there=True)
    assert read_recording(sound_upload(names=("ECG1", "V5")), told=told).lead_names == ("II", "V5")
    # Its own lead II does not give way to a channel that this file lacks.
    named = read_recording(sound_upload(names=("II", "V5")), told=told)
    assert named.lead_names == ("II", "V5")
    assert not any("ECG1" in note for note in named.notes)


def test_an_electrode_of_an_eeg_may_be_a_lead_after_all() -> None:
    data = made.edf(SIGNAL[:3], 250, leads=("#1", "#2", "#3"))
    for old, new in (("ECG #1", "Fp1"), ("ECG #2", "O2"), ("ECG #3", "V3")):
        data = data.replace(old.ljust(16).encode(), new.ljust(16).encode())
    assert read_recording({"a.edf": data}, told=Told({"V3": "V3"})).lead_names == ("V3",)
    assert [c.name for c in channels_in({"a.edf": data}).columns] == ["Fp1", "O2", "V3"]


@pytest.mark.parametrize(
    ("unit", "factor"), [("uV", 1.0), ("mV", 1000.0), ("200/mV", 5.0), ("4.88uV", 4.88)]
)
def test_a_unit_that_the_file_lacks(unit: str, factor: float) -> None:
    upload = {"a.edf": made.edf(SIGNAL // 40, 250, leads=LEADS, units="")}
    with pytest.raises(UnitsError, match="say the unit of its numbers"):
        read_recording(upload)
    # The numbers of this file are `UV` for each unit of its converter.
    wanted = (SIGNAL // 40) * made.UV * factor / 1000
    np.testing.assert_allclose(
        read_recording(upload, told=Told(unit=unit)).signal_mv, wanted, rtol=1e-5, atol=1e-4
    )
    preview = channels_in(upload)
    assert preview.units is None and preview.fs_hz == 250 and not preview.is_table
    np.testing.assert_allclose(preview.first, (SIGNAL // 40) * made.UV, atol=0.02)


def test_a_rate_that_a_header_lacks() -> None:
    files = sound_upload(names=("II",))
    files["rec.hea"] = files["rec.hea"].replace(b"rec 1 100 1200", b"rec 1")
    with pytest.raises(SamplingRateError, match="say it"):
        read_recording(files)
    assert read_recording(files, told=Told(fs_hz=100)).fs_hz == 100
    assert channels_in(files).fs_hz is None


@pytest.mark.parametrize("level", ["4", "5"])
def test_a_matrix_that_lost_its_header(level: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"val": SIGNAL}, format=level, do_compression=level == "5")
    upload = {"A0001.mat": buffer.getvalue()}
    with pytest.raises(UnreadableRecordError, match="does not say its sampling rate, its units"):
        read_recording(upload)
    preview = table_in(upload)
    assert preview is not None and preview.samples_in == "columns" and len(preview.columns) == 12
    told = Told({f"row {i + 1}": lead for i, lead in enumerate(LEADS)}, fs_hz=250, unit="200/mV")
    recording = read_recording(upload, told=told)
    assert recording.lead_names == LEADS
    np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)
    # Beside its header the same file belongs to that.
    (tmp_path / "r.mat").write_bytes(buffer.getvalue())
    (tmp_path / "r.hea").write_text("r 1 250 10\nr.mat 16+24 1000/mV 16 0 0 0 0 II\n")
    if level == "4":
        assert read_recording(tmp_path / "r.mat").n_times == 10
    rng = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(damaged), 4):
            damaged[place] = rng.integers(256)
        try:
            read_recording({"a.mat": bytes(damaged[: rng.integers(1, len(damaged))])}, told=told)
        except RecordError as error:
            assert str(error).isprintable()


def test_told_is_checked_when_it_is_said() -> None:
    for leads in ({"ECG": "left arm"}, {"ECG": ""}, {"ECG": "--II"}):
        with pytest.raises(ConfigError, match="is no lead for ECG"):
            Told(leads)
    for rate in (0.0, -1.0, 1e6, float("nan")):
        with pytest.raises(SamplingRateError):
            Told(fs_hz=rate)
    for unit in ("mmHg", "0/mV", "-3uV", "uV/mV", "4.88", "1e999/mV"):
        with pytest.raises(UnitsError):
            Told(unit=unit)
    for scale in (0.0, float("inf"), float("nan")):
        with pytest.raises(UnitsError):
            Told(scale=scale)


def test_the_options_of_the_command_line() -> None:
    said = telling.told(["ECG=II", "a=b=V1", "x = none"], 250.0, "uV", 1.0, "columns")
    wanted = {"ECG": "II", "a=b": "V1", "x": "none"}
    assert said == Told(wanted, fs_hz=250, unit="uV", samples_in="columns")
    for wrong in (["II"], ["=II"], ["ECG="]):
        with pytest.raises(ConfigError, match="--lead"):
            telling.told(wrong, None, None)
    with pytest.raises(ConfigError, match="rows or in columns"):
        telling.told(None, None, None, samples_in="across")


def test_the_recordings_among_files_are_named() -> None:
    files = {**sound_upload("b"), "c.edf": UPLOADS["EDF"]["rec.edf"], "readme.txt": b"words"}
    assert records_in(files) == ["b", "c.edf"]
    assert read_recording(files, record_name="c.edf").file_format == "EDF"
    assert read_recording(files, record_name="b").file_format == "WFDB"
    assert records_in({"a.zip": made.zipped(files)}) == ["b", "c.edf"]


# --- Tables of recorders -----------------------------------------------------------------------

POLAR = "Phone timestamp;sensor timestamp [ns];timestamp [ms];ecg [uV]\n" + "".join(
    f"2024-05-01T10:00:{i / 250:09.6f};{599616000000000000 + i * 4000000};{4 * i};{v}\n"
    for i, v in enumerate((1000 * MV[1]).astype(int))
)
OPENBCI = (
    "%OpenBCI Raw EXG Data\n%Number of channels = 2\n%Sample Rate = 250 Hz\n"
    "Sample Index, EXG Channel 0, EXG Channel 1, Other, Timestamp\n"
) + "".join(
    f"{i % 256}.0, {1000 * a:.3f}, {1000 * b:.3f}, 0.0, {1.7e9 + i // 10 * 0.04:.3f}\n"
    for i, (a, b) in enumerate(MV[:2].T)
)
OPENSIGNALS = (
    "# OpenSignals Text File Format. Version 1\n"
    '# {"00:07:80:4B": {"sensor": ["ECG", "RESP"], "column": ["nSeq", "DI", "CH1", "CH2"], '
    '"sampling rate": 250, "resolution": [16, 16]}}\n# EndOfHeader\n'
) + "".join(f"{i % 65536}\t0\t{32768 + int(v)}\t1\n" for i, v in enumerate(SIGNAL[1]))


@pytest.mark.parametrize(
    ("text", "channel", "unit"),
    [(POLAR, "ecg [uV]", ""), (OPENBCI, "EXG Channel 1", ""), (OPENSIGNALS, "CH1 ECG", "200/mV")],
)
def test_the_columns_of_recorders(text: str, channel: str, unit: str) -> None:
    upload = {"a.csv": text.encode()}
    preview = table_in(upload)
    assert preview is not None and preview.stated is None and preview.fs_hz == 250
    assert preview.units == (None if unit else "uV")
    with pytest.raises(UnreadableRecordError, match="which leads its columns are"):
        read_recording(upload)
    recording = read_recording(upload, told=Told({channel: "II"}, unit=unit))
    assert recording.lead_names == ("II",) and recording.fs_hz == 250
    # The converter's zero is no part of an ECG.
    offset = 32768 * made.UV / 1000 if unit else 0.0
    np.testing.assert_allclose(recording.signal_mv[0] - offset, MV[1], atol=0.0011)


def test_one_damaged_lead_of_a_muse_file_is_left_out() -> None:
    text = made.muse(SIGNAL, 250).decode()
    place = text.rindex("<LeadAmplitudeUnitsPerBit>")
    damaged = text[:place] + text[place:].replace(f">{made.UV}<", ">x<", 1)
    assert damaged != text
    recording = read_recording({"a.xml": damaged.encode()})
    assert len(recording.lead_names) == 7
    assert any("is left out" in note for note in recording.notes)
