"""Files as laboratories have them: what is peculiar to them is read right, or refused in words."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from echoing_core.errors import MissingLeadError, RecordError, UnitsError, UnreadableRecordError
from echoing_core.io import Told, read_recording
from echoing_core.io.channels import calibration_pulses, mv_per_unit
from echoing_core.io.lead_names import guessed_leads, named_leads
from echoing_core.io.wfdb.data import unpacked
from tests import ecg_files as made
from tests.broken_uploads import header, sound_upload

SIGNAL = made.ecg(4.0, 250)
MV = SIGNAL * (made.UV / 1000)
II = MV[1]


def edf(labels: Sequence[str], rows: Sequence[int] = (0, 1, 2), **changed: bytes) -> bytes:
    """An EDF of some of the twelve leads under other labels.

    ``changed`` has old fields as names and new ones as values, "_" for the blank of a number.
    """
    n = len(labels)
    data = made.edf(SIGNAL[list(rows)[:n]], 250, leads=[f"#{i}" for i in range(n)])
    for i, label in enumerate(labels):
        data = data.replace(f"ECG #{i}".ljust(16).encode(), label.encode("latin-1").ljust(16), 1)
    return data


def field(data: bytes, index: int, column: int, text: bytes) -> bytes:
    """An EDF with one field of one signal changed; columns: 1 label, 3 unit, 4-7 ranges."""
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    n = int(data[252:256])
    start = 256 + n * sum(widths[: column - 1]) + index * widths[column - 1]
    return data[:start] + text.ljust(widths[column - 1]) + data[start + widths[column - 1] :]


# --- Units -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "factor"),
    [
        *((u, 1e-3) for u in ("uV", "µV", "μV", "ÂµV", "Î¼V", "æV", "AuV", "UV", "microV", "u V")),
        *((u, 1e-3) for u in ("uVolt", "uVolts", "micro-volts", "[uV]", "mikroV", "µV ", "uv\0")),
        *((u, 1.0) for u in ("mV", "mv", "mVolt", "milliVolt", "(mV)")),
        ("nV", 1e-6), ("V", 1e3), ("Volts", 1e3),
        *((u, None) for u in ("", "?V", "�V", "kV", "mmHg", "m", "bpm", "digV", "mVs", "ADU")),
    ],
)  # fmt: skip
def test_a_volt_in_all_its_spellings(spelling: str, factor: float | None) -> None:
    assert mv_per_unit(spelling) == factor


def test_an_odd_unit_is_read_and_noted() -> None:
    for unit in (b"\xc2\xb5V", b"\xe6V", b"uVolt"):
        recording = read_recording({"a.edf": field(edf(["II"], [1]), 0, 3, unit)})
        np.testing.assert_allclose(recording.signal_mv[0], II, atol=1e-6)
        assert any("is read as uV, in II" in note for note in recording.notes)


# --- EDF ---------------------------------------------------------------------------------------


def test_decimal_commas_and_zero_bytes_in_an_edf() -> None:
    data = edf(["II"], [1])
    data = field(field(data, 0, 4, b"-163840,0"[:8]), 0, 5, b"163835\0\0")
    recording = read_recording({"a.edf": data})
    np.testing.assert_allclose(recording.signal_mv[0], II, atol=1e-6)
    assert any("commas" in note for note in recording.notes)


def test_one_damaged_channel_does_not_spoil_an_edf() -> None:
    data = edf(["I", "II", "V1"])
    for broken in (
        field(field(data, 2, 4, b"0"), 2, 5, b"0"),
        field(data, 2, 6, b"many"),
        field(data, 2, 3, b"degC"),
        field(data, 2, 5, b"9e9"),
    ):
        recording = read_recording({"a.edf": broken})
        assert recording.lead_names == ("I", "II")
        np.testing.assert_allclose(recording.signal_mv, MV[:2], atol=1e-6)
        assert any("V1 is left out" in note for note in recording.notes)
        # Alone it is refused, and where it is the only lead.
        with pytest.raises(RecordError):
            read_recording({"a.edf": field(edf(["V1"], [2]), 0, 3, b"degC")})


def test_a_file_that_ends_a_record_early() -> None:
    signal = np.tile(SIGNAL[1:2], (1, 30))
    data = made.edf(signal, 250, leads=["II"])
    recording = read_recording({"a.edf": data[:-2]})
    assert recording.n_times == 119 * 250
    assert any("ends 1 s before" in note for note in recording.notes)
    with pytest.raises(UnreadableRecordError, match=r"117\.0 s of the 120\.0 s"):
        read_recording({"a.edf": data[: -2 - 2 * 500]})


# --- Names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label", ["ECG", "EKG", "ECG1", "ECG1-ECG2", "ECG EKG2-EKG", "CM5", "ekg", "Holter ECG"]
)
def test_a_channel_that_is_only_called_ecg_is_there_under_its_name(label: str) -> None:
    recording = read_recording({"night.edf": edf([label, "EEG C3-A2", "Resp"], [1, 0, 2])})
    assert recording.lead_names == (label,)
    np.testing.assert_allclose(recording.signal_mv[0], II, atol=1e-6)
    assert guessed_leads(recording.source_names)


@pytest.mark.parametrize(
    ("names", "leads"),
    [
        (["ECG LA-RA"], ["I"]), (["EKG L-R"], ["I"]), (["ECG LL/RA"], ["II"]), (["L-R"], [None]),
        (["ECG RA-LA"], [None]), (["ECGII", "ECGV5"], ["II", "V5"]), (["ECG1"], [None]),
        (["MCL1"], ["V1"]), (["MCL1", "V1"], [None, "V1"]), (["ECG HR"], [None]),
    ],
)  # fmt: skip
def test_names_that_mean_a_lead(names: list[str], leads: list[str | None]) -> None:
    assert [lead.lead for lead in named_leads(names)] == leads


CAP = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "O1", "O2"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([*CAP, "V3", "V4", "I", "II"], {}),
        ([*CAP, "V3", "V4", "I", "ECG"], {}),
        ([*CAP, "V3", "ECG II"], {"ECG II": "II"}),
        (["C3", "C4", "EOG L", "EMG chin"], {}),
        (["EEG Fp1-A2", "EEG C3-A2", "II"], {"II": "II"}),
        (["C1", "C2", "C3", "C4", "C5", "C6"], {f"C{i}": f"V{i}" for i in range(1, 7)}),
        (["Fp1", "Fp2", *made.LEADS], {lead: lead for lead in made.LEADS}),
        (["Fp1", "Fp2", "MLII"], {"MLII": "II"}),
    ],
)
def test_electrodes_of_an_eeg_are_no_leads(names: list[str], found: dict[str, str]) -> None:
    named = zip(names, named_leads(names), strict=True)
    assert {name: lead.lead for name, lead in named if lead.lead} == found


def test_an_eeg_is_refused_as_one() -> None:
    with pytest.raises(MissingLeadError, match="looks like an EEG"):
        read_recording({"a.edf": edf(["Fp1", "O2", "V3"])})
    files = sound_upload(names=("Fp1", "O2", "V3"))
    assert read_recording(files).lead_names == ("Fp1", "O2", "V3 (EEG)")


# --- WFDB --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["8", "61", "310", "311"])
@pytest.mark.parametrize("n_signals", [1, 2])
def test_old_formats_as_the_wfdb_package_reads_them(
    fmt: str, n_signals: int, tmp_path: Path
) -> None:
    import wfdb

    rng = np.random.default_rng(int(fmt))
    words = rng.integers(0, 1 << 32, 300, dtype=np.uint32)
    # The two highest bits of 311 are not used, and the package takes them all the same.
    data = (words & 0x3FFFFFFF if fmt == "311" else words).astype("<u4").tobytes()
    n = {"8": 1200, "61": 600}.get(fmt, 900) // n_signals
    names = ["I", "II"][:n_signals]
    text = header("r", names, n, fmt=fmt).replace(b"0 0 0 0 ", b"0 7 0 0 ")
    (tmp_path / "r.hea").write_bytes(text)
    (tmp_path / "r.dat").write_bytes(data)
    theirs = np.asarray(wfdb.rdrecord(str(tmp_path / "r"), return_res=64).p_signal).T
    ours = read_recording(tmp_path / "r").signal_mv
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_ten_bits_by_hand() -> None:
    # 311: 1, -1 and 2 as ten bits each, from the lowest on.
    word = 1 | 0x3FF << 10 | 2 << 20
    assert unpacked(word.to_bytes(4, "little"), "311", 3).tolist() == [1, -1, 2]
    # 310: bits 1-10 of two words, and the upper five of both for the third.
    words = (1 << 1 | 2 << 11).to_bytes(2, "little") + (0x3FF << 1).to_bytes(2, "little")
    assert unpacked(words, "310", 3).tolist() == [1, -1, 2]


def test_a_data_file_that_is_a_sample_short() -> None:
    files = sound_upload(names=("II",))
    recording = read_recording({**files, "rec.dat": files["rec.dat"][:-2]})
    assert recording.n_times == 1199
    assert any("ends 1 sample (0.01 s) before" in note for note in recording.notes)
    with pytest.raises(UnreadableRecordError, match=r"11\.8 s of the 12\.0 s"):
        read_recording({**files, "rec.dat": files["rec.dat"][:-40]})


def test_one_damaged_channel_does_not_spoil_a_record() -> None:
    files = sound_upload(names=("I", "II", "RESP"))
    whole = read_recording(files)
    lines = files["rec.hea"].decode().splitlines()
    for index, old, new in (
        (3, "1000(0)/mV", "1O0/mV"), (3, "1000(0)/mV", "1e-300/mV"), (3, " 0 0 0 ", " 0.5 0 0 "),
        (2, "/mV", "/mmHg"), (2, "1000(0)", "0.0001(0)"),
    ):  # fmt: skip
        changed = [
            line.replace(old, new, 1) if i == index else line for i, line in enumerate(lines)
        ]
        recording = read_recording({**files, "rec.hea": "\n".join(changed).encode()})
        assert "I" in recording.lead_names and len(recording.lead_names) == 2
        np.testing.assert_array_equal(recording.signal_mv[0], whole.signal_mv[0])
        assert any("left out" in note for note in recording.notes)


def test_text_after_the_signals_and_a_baseline_with_decimals() -> None:
    files = sound_upload(names=("II",))
    remarks = files["rec.hea"] + b"Patient seen 2001\nDx: 426.7 sinus\n"
    recording = read_recording({**files, "rec.hea": remarks})
    assert any("left unread" in note for note in recording.notes)
    # A line that describes a signal is none that may be left.
    with pytest.raises(UnreadableRecordError, match="declares 1 signals but describes 2"):
        read_recording(
            {**files, "rec.hea": files["rec.hea"] + b"rec.dat 16 200/mV 16 0 0 0 0 V1\n"}
        )
    half = files["rec.hea"].replace(b"1000(0)", b"1000.0(10.5)")
    np.testing.assert_allclose(
        read_recording({**files, "rec.hea": half}).signal_mv,
        recording.signal_mv - 0.0105,
        atol=1e-6,
    )


# --- DICOM -------------------------------------------------------------------------------------


def test_a_padding_value_that_is_an_ordinary_sample() -> None:
    signal = SIGNAL.copy()
    assert (signal == 0).any(axis=1).all()
    recording = read_recording({"a": made.dicom(signal, 250, padding=0, median=False)})
    np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)
    # A long run in all leads, or at the end of one, is a gap all the same.
    signal[:, 300:600] = 0
    signal[3, 700:] = 0
    got = np.isnan(read_recording({"a": made.dicom(signal, 250, padding=0)}).signal_mv)
    wanted = np.zeros_like(got)
    wanted[:, 300:600] = True
    wanted[3, 700:] = True
    # Zeros that touch a run belong to it.
    assert got[wanted].all() and got.sum() - wanted.sum() < 30


def bare(data: bytes) -> bytes:
    """A DICOM object without its preamble, its mark and its meta information."""
    import pydicom

    length = pydicom.dcmread(io.BytesIO(data)).file_meta.FileMetaInformationGroupLength
    return data[132 + 12 + length :]


def test_a_dicom_object_of_another_class_or_without_its_mark() -> None:
    import pydicom

    hemodynamic = made.dicom(SIGNAL, 250, kind="1.2.840.10008.5.1.4.1.1.9.2.1")
    plain = made.dicom(SIGNAL, 250)
    implicit = io.BytesIO()
    dataset = pydicom.dcmread(io.BytesIO(plain))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    pydicom.dcmwrite(implicit, dataset, enforce_file_format=True, implicit_vr=True)
    for data in (hemodynamic, bare(plain), plain[132:], plain[128:], bare(implicit.getvalue())):
        recording = read_recording({"a": data})
        assert recording.lead_names == made.LEADS
        np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)


def test_a_pressure_beside_the_leads_of_a_catheter_laboratory() -> None:
    import pydicom

    data = made.dicom(SIGNAL[:3], 250, leads=("I", "II", "Aorta"), median=False)
    dataset = pydicom.dcmread(io.BytesIO(data))
    definition = dataset.WaveformSequence[0].ChannelDefinitionSequence[2]
    definition.ChannelSensitivityUnitsSequence[0].CodeValue = "mm[Hg]"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    recording = read_recording({"a": buffer.getvalue()})
    assert recording.lead_names == ("I", "II")
    assert any("Aorta is left out" in note for note in recording.notes)


# --- Philips -----------------------------------------------------------------------------------


def test_a_resolution_under_its_other_name() -> None:
    text = made.philips(SIGNAL, 250, encoding="utf-8").decode()
    old = re.sub(r"<(/?)resolution>", r"<\1signalresolution>", text).replace(">1.04<", ">1.03<")
    recording = read_recording({"a.xml": old.encode()})
    np.testing.assert_allclose(recording.signal_mv[1], II, atol=1e-6)


def pulse(n_leads: int, fs_hz: int) -> npt.NDArray[np.int16]:
    """0.1 s at 0, 0.2 s at 1 mV, 0.1 s at 0, in units of `UV`."""
    one = np.repeat([0, 1000 // made.UV, 0], [fs_hz // 10, fs_hz // 5, fs_hz // 10])
    return np.tile(one, (n_leads, 1)).astype(np.int16)


@pytest.mark.parametrize("at_end", [True, False])
def test_a_calibration_pulse_is_nobodys_heart(at_end: bool) -> None:
    mark = pulse(12, 250)
    signal = np.hstack([SIGNAL, mark] if at_end else [mark, SIGNAL])
    text = made.philips(signal, 250, encoding="utf-8")
    data = base64.b64encode(signal.astype("<i2").tobytes()).decode()
    text = re.sub(rb">[A-Za-z0-9+/=]{500,}<", f">{data}<".encode(), text)
    text = text.replace(b'compressflag="True"', b'compressflag="False"')
    recording = read_recording({"a.xml": text})
    gap = np.isnan(recording.signal_mv)
    part = slice(-100, None) if at_end else slice(0, 100)
    assert gap[:, part].all() and gap.sum() - 8 * 100 <= 8 * 10
    assert any("calibration pulse" in note for note in recording.notes)


def test_what_is_no_calibration() -> None:
    rows = [row.astype(np.float32) for row in MV]
    assert calibration_pulses(rows, 250) == []
    flat = [np.append(row, np.zeros(200, np.float32)) for row in rows]
    assert calibration_pulses(flat, 250) == []
    one = [np.append(rows[0], pulse(1, 250)[0] * made.UV / 1000).astype(np.float32)]
    assert calibration_pulses(one, 250) == []


# --- Tables ------------------------------------------------------------------------------------

WATCH = (
    'Name,Nobody\nDate of Birth,"Jan 1, 1970"\nSoftware Version,1.90\nDevice,"Watch6,2"\n'
    "{rate}\n\n\n{lead}\n{unit},µV\n\n"
)
LANGUAGES = (
    ("Sample Rate,512 hertz", "Lead,Lead I", "Unit"),
    ("Abtastrate,512 Hertz", "Ableitung,Ableitung I", "Einheit"),
    ("Fréquence d’échantillonnage,512 hertz", "Dérivation,Dérivation I", "Unité"),
    ("サンプルレート,512ヘルツ", "誘導,誘導 I", "単位"),
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("comma", [False, True])
def test_the_export_of_a_watch_in_any_language(language: tuple[str, str, str], comma: bool) -> None:
    rate, lead, unit = language
    numbers = "\n".join(f"{v:.3f}" for v in 1000 * MV[0] + 0.034)
    numbers = numbers.replace(".", ",") if comma else numbers
    text = WATCH.format(rate=rate, lead=lead, unit=unit) + numbers + "\n"
    recording = read_recording({"ecg.csv": text.encode()})
    assert recording.lead_names == ("I",) and recording.fs_hz == 512
    np.testing.assert_allclose(recording.signal_mv[0], MV[0], atol=1e-4)


def test_two_columns_of_whole_numbers_stay_two() -> None:
    rows = "\n".join(f"{i},{995 + i % 7}" for i in range(400))
    with pytest.raises(UnreadableRecordError, match="does not say"):
        read_recording({"a.csv": rows.encode()})
    named = "time (ms),II (uV)\n" + "\n".join(f"{4 * i},{i % 97}" for i in range(400))
    assert read_recording({"a.csv": named.encode()}).fs_hz == 250


def test_quoted_decimals_with_a_comma() -> None:
    cells = ((f"{i / 250:.3f}", f"{v:.4f}") for i, v in enumerate(II))
    rows = (",".join(f'"{c.replace(".", ",")}"' for c in pair) for pair in cells)
    recording = read_recording({"a.csv": ('"time (s)","II (mV)"\n' + "\n".join(rows)).encode()})
    assert recording.fs_hz == 250
    np.testing.assert_allclose(recording.signal_mv[0], II, atol=1e-4)


def test_an_implausible_lead_among_sound_ones_is_left_out() -> None:
    signal = SIGNAL[:4].astype(np.float64) * made.UV / 1000
    signal[3] *= 1e5
    text = "I (mV),II (mV),III (mV),V1 (mV)\n" + "\n".join(
        ",".join(f"{v:.3f}" for v in column) for column in signal.T
    )
    recording = read_recording({"a.csv": ("fs_hz,250\n\n" + text).encode()})
    assert recording.lead_names == ("I", "II", "III")
    assert any("V1 is left out" in note for note in recording.notes)
    with pytest.raises(UnitsError):
        large = text.replace("mV", "V").replace(".", "9.")
        read_recording({"a.csv": ("fs_hz,250\n\n" + large).encode()})


# --- Paths -------------------------------------------------------------------------------------


def test_a_path_that_is_not_there_is_told_as_that(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    with pytest.raises(UnreadableRecordError, match=r"no folder ward .* hold a\.edf; check"):
        read_recording(ward / "a.edf")
    ward.mkdir()
    for name in ("a.edf", "night"):
        with pytest.raises(UnreadableRecordError, match=f"called {name} in ward") as caught:
            read_recording(ward / name)
        assert ".hea" not in str(caught.value)


def test_one_lead_of_an_aecg_without_a_unit_does_not_refuse_the_others() -> None:
    whole = made.aecg(SIGNAL, 250, beat=False)
    scale = f'<scale value="{made.UV}" unit="uV"/>'.encode()
    first, rest = whole.split(scale, 1)
    data = first + f'<scale value="{made.UV}"/>'.encode() + rest
    recording = read_recording({"a.xml": data})
    assert recording.lead_names == made.LEADS[1:]
    np.testing.assert_allclose(recording.signal_mv, MV[1:], atol=1e-6)
    assert any("left out" in note and "Lead I of" in note for note in recording.notes)
    # A person may say the unit, which then holds for all.
    said = read_recording({"a.xml": data}, told=Told(unit=f"{made.UV}uV"))
    np.testing.assert_allclose(said.signal_mv, MV, atol=1e-6)
    # Of a file with that lead alone, nothing is left.
    alone = made.aecg(SIGNAL, 250, stretches=[(0, 1000, ("I",))], beat=False)
    with pytest.raises(UnitsError, match="no usable scale"):
        read_recording({"a.xml": alone.replace(b' unit="uV"/><digits>', b"/><digits>")})
