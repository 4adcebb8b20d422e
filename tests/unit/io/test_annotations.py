"""What files say of beats, rhythm and findings: read, and written back."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np
import pydicom
import pytest
import wfdb

from echoing_core.export.recording import recording_files
from echoing_core.io import read_recording
from echoing_core.io.annotations import BEATS, MEASUREMENTS, Gathered
from echoing_core.io.wfdb.annotations import annotation_bytes, read_annotations
from echoing_core.io.xml.aecg_annotations import BEAT_CODES, MEASUREMENT_CODES
from echoing_core.records import NO_ANNOTATIONS, Annotations, Recording, RhythmSpan, TextMark
from tests import device_files as device
from tests import ecg_files as made

SIGNAL = made.ecg(10.0)
SHORT = made.ecg(2.5, 100)
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def read(name: str, data: bytes) -> Annotations:
    return read_recording({name: data}).annotations


def word(code: int, low: int) -> bytes:
    return struct.pack("<H", code << 10 | low)


# Written down by hand from annot(5): N at 100, V at 350 with a subtype, a rhythm at 350, a skip of
# 70,000 to the last N, and the end.
BY_HAND = (
    word(1, 100)
    + word(5, 250) + word(61, 1) + word(62, 3)
    + word(28, 0) + word(63, 5) + b"(AFIB\0"
    + word(59, 0) + struct.pack("<HH", 1, 70_000 - 65_536) + word(1, 0)
    + b"\0\0"
)  # fmt: skip


def test_an_annotation_file_by_hand() -> None:
    said = read_annotations(BY_HAND, 500.0).done(150.0)
    np.testing.assert_allclose(said.beat_s, [0.2, 0.7, (350 + 70_000) / 500])
    assert "".join(said.beat_symbols) == "NVN"
    assert said.rhythms == (RhythmSpan(0.7, 150.0, "AFIB"),)
    # What is cut off or follows a damaged place is lacking, and nothing else.
    for end in range(len(BY_HAND)):
        assert len(read_annotations(BY_HAND[:end], 500.0).done(150.0).beat_s) <= 3


def test_annotations_stand_beside_the_record_in_a_folder_and_in_an_upload(tmp_path: Path) -> None:
    files = {**made.wfdb(SIGNAL), "rec.ATR": BY_HAND, "rec.qrs": word(1, 9) + b"\0\0"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for source in (files, tmp_path / "rec.hea"):
        said = read_recording(source).annotations
        # Beats are those of .atr, not also of .qrs.
        np.testing.assert_allclose(said.beat_s, [0.2, 0.7])
        assert said.sources == ("rec.ATR, rec.qrs",)
    # A link is not followed, and nobody who has no annotations is told of any.
    (tmp_path / "rec.ATR").unlink()
    (tmp_path / "rec.qrs").unlink()
    (tmp_path / "other").write_bytes(BY_HAND)
    (tmp_path / "rec.atr").symlink_to(tmp_path / "other")
    assert read_recording(tmp_path / "rec.hea").annotations is NO_ANNOTATIONS


def test_what_wfdb_writes_is_read_and_what_is_written_wfdb_reads(tmp_path: Path) -> None:
    symbols = [*BEATS, "N"]
    samples = np.cumsum([5, *range(900, 900 + 60 * (len(symbols) - 1), 60)])
    wfdb.wrann("made", "atr", samples, symbols, write_dir=str(tmp_path), fs=250)
    said = read_annotations((tmp_path / "made.atr").read_bytes(), 999.0).done(1e6)
    # The file says its own resolution, which goes before that of the record.
    np.testing.assert_array_equal(np.rint(said.beat_s * 250), samples)
    assert said.beat_symbols.tolist() == symbols
    written = replace(
        said,
        rhythms=(
            RhythmSpan(1.0, 2.0, "AFIB"),
            RhythmSpan(2.0, 3.0, "N"),
            RhythmSpan(9.0, 9.5, "VT"),
        ),
        measurements={"qt_ms": 396.5, "qrs_axis_deg": -30.0},
        statements=("Sinus rhythm",),
    )
    (tmp_path / "ours.atr").write_bytes(annotation_bytes(written, 250.0))
    theirs = wfdb.rdann(str(tmp_path / "ours"), "atr")
    is_beat = np.isin(theirs.symbol, list(BEATS))
    np.testing.assert_array_equal(theirs.sample[is_beat], samples)
    assert [s for s, beat in zip(theirs.symbol, is_beat, strict=True) if beat] == symbols
    rhythms = [
        (int(sample), aux.rstrip("\0"))
        for sample, symbol, aux in zip(theirs.sample, theirs.symbol, theirs.aux_note, strict=True)
        if symbol == "+"
    ]
    assert rhythms == [(250, "(AFIB"), (500, "(N"), (750, "("), (2250, "(VT"), (2375, "(")]
    back = read_annotations((tmp_path / "ours.atr").read_bytes(), 250.0).done(9.5)
    assert back.rhythms == written.rhythms and back.statements == written.statements
    assert dict(back.measurements) == dict(written.measurements)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "mitdb_more").is_dir(), reason="no shared/data/mitdb_more")
@pytest.mark.parametrize("record", ["mitdb_more/105", "nstdb/118e24"])
def test_records_of_physionet_say_what_wfdb_reads(record: str) -> None:
    theirs = wfdb.rdann(str(DATA / record), "atr")
    fs_hz = wfdb.rdheader(str(DATA / record)).fs
    ours = read_annotations((DATA / f"{record}.atr").read_bytes(), fs_hz).done(1e6)
    is_beat = np.isin(theirs.symbol, list(BEATS))
    np.testing.assert_array_equal(np.rint(ours.beat_s * fs_hz), theirs.sample[is_beat])
    assert ours.beat_symbols.tolist() == np.array(theirs.symbol)[is_beat].tolist()


def test_flutter_between_brackets_is_a_rhythm() -> None:
    data = word(28, 0) + word(63, 2) + b"(N" + word(32, 500) + word(33, 500) + b"\0\0"
    said = read_annotations(data, 100.0).done(20.0)
    assert [(s.start_s, s.stop_s, s.name) for s in said.rhythms] == [
        (0, 5, "N"), (5, 10, "VFL"), (10, 20, "N"),
    ]  # fmt: skip


def test_edf_annotations_as_another_program_writes_them() -> None:
    signal = edfio.EdfSignal(
        SIGNAL[1] * 5e-3, 500, label="ECG II", physical_dimension="mV",
        physical_range=(-3.2768, 3.2767),
    )  # fmt: skip
    edf = edfio.Edf([signal], annotations=[
        edfio.EdfAnnotation(1.25, None, "Beat V"),
        edfio.EdfAnnotation(2.5, None, "Beat n"),
        edfio.EdfAnnotation(3.0, 4.5, "Rhythm AFIB"),
        edfio.EdfAnnotation(5.0, None, "Lichtreiz über 3 s"),
        edfio.EdfAnnotation(99.0, None, "Beat N"),
    ])  # fmt: skip
    recording = read_recording({"a.edf": edf.to_bytes()})
    said = recording.annotations
    assert said.beat_s.tolist() == [1.25, 2.5] and said.beat_symbols.tolist() == ["V", "n"]
    assert said.rhythms == (RhythmSpan(3.0, 7.5, "AFIB"),)
    assert said.texts == (TextMark(5.0, "Lichtreiz über 3 s"),)
    assert any("outside the recording" in note for note in recording.notes)


RECORDING = Recording(
    (SIGNAL * 5e-3).astype(np.float32), 500.0, made.LEADS, "Mustermann_Erika",
    annotations=Annotations(
        beat_s=np.array([0.3, 1.1, 1.902]), beat_symbols=np.array(["N", "V", "/"]),
        rhythms=(RhythmSpan(0.5, 4.0, "AFIB"), RhythmSpan(4.0, 8.0, "Rhythmus nach Mustermann")),
        texts=(TextMark(2.0, "Frau Mustermann hustet"),),
        measurements={"heart_rate_bpm": 75.0, "qtc_ms": 441.0, "qrs_axis_deg": -12.0},
        statements=(
            "Atrial fibrillation with rapid ventricular response",
            "Possible old inferior infarction, seen by Mustermann",
            "Left bundle branch block (Mustermann 04.03.1957)", "Confirmed by Erika Mustermann",
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("name", ["wfdb", "edf", "aecg"])
def test_what_is_written_back_is_the_same_and_names_nobody(name: str) -> None:
    files = recording_files(RECORDING, name, "out")
    assert not any(b"ustermann" in content or b"1957" in content for content in files.values())
    said, wanted = read_recording(files).annotations, RECORDING.annotations
    np.testing.assert_allclose(said.beat_s, wanted.beat_s, atol=1e-6)
    assert said.beat_symbols.tolist() == wanted.beat_symbols.tolist()
    assert said.rhythms == wanted.rhythms[:1]
    assert dict(said.measurements) == dict(wanted.measurements)
    # Of what names somebody only a finding that nothing doubts is left, in our words.
    assert said.statements == (wanted.statements[0], "left bundle branch block")
    assert said.texts == ()


def test_edfio_and_elements_hold_what_is_written() -> None:
    edf = edfio.read_edf(io.BytesIO(recording_files(RECORDING, "edf", "out")["out.edf"]))
    found = {(a.onset, a.duration, a.text) for a in edf.annotations}
    assert {(0.3, None, "Beat N"), (1.902, None, "Beat /"), (0.5, 3.5, "Rhythm AFIB")} <= found
    xml = recording_files(RECORDING, "aecg", "out")["out.xml"].decode()
    assert '<value xsi:type="PQ" value="441" unit="ms"/>' in xml
    assert xml.count("MDC_ECG_BEAT_V_P_C") == 1
    assert set(BEAT_CODES) == set(BEATS) and set(MEASUREMENT_CODES) == set(MEASUREMENTS)


def test_annotations_of_an_aecg_in_both_clocks() -> None:
    # The rhythm of `made.aecg` begins at 23:59:55 of a day.
    def annotation(code: str, value: str, low: str = "") -> str:
        region = (
            "<support><supportingROI><component><boundary><code code='TIME_ABSOLUTE'/><value>"
            f"<low {low}/></value></boundary></component></supportingROI></support>"
        )
        return (
            f"<component><annotation><code code='{code}'/>{value}{region if low else ''}"
            "</annotation></component>"
        )

    stamp = datetime(2020, 1, 31, 23, 59, 58).strftime("%Y%m%d%H%M%S")
    inside = (
        annotation("MDC_ECG_BEAT", "<value code='MDC_ECG_BEAT_V_P_C'/>", f"value='{stamp}.500'")
        + annotation("MDC_ECG_BEAT_NORMAL", "", "value='1250' unit='ms'")
        + annotation("MDC_ECG_RHYTHM", "<value code='MDC_ECG_RHY_ATR_FIB'/>", "value='2' unit='s'")
        + annotation("MDC_ECG_TIME_PD_QT", "<value value='0.38' unit='s'/>")
        + annotation("MDC_ECG_TIME_PD_QTcB", "<value value='412' unit='ms'/>")
        + annotation("MDC_ECG_HEART_RATE", "<value value='70' unit='mV'/>")
        + annotation(
            "MDC_ECG_INTERPRETATION",
            annotation("MDC_ECG_INTERPRETATION_STATEMENT", "<value>Sinus  rhythm</value>"),
        )
    )
    data = made.aecg(SIGNAL).replace(
        b"</series>",
        f"<subjectOf><annotationSet>{inside}</annotationSet></subjectOf></series>".encode(),
    )
    said = read("a.xml", data)
    np.testing.assert_allclose(said.beat_s, [1.25, 3.5])
    assert said.beat_symbols.tolist() == ["N", "V"]
    assert said.rhythms == (RhythmSpan(2.0, 10.0, "ATR FIB"),)
    # A heart rate in millivolts is none.
    assert dict(said.measurements) == {"qt_ms": 380.0, "qtc_ms": 412.0}
    assert said.statements == ("Sinus rhythm",)


MUSE = """<RestingECGMeasurements><VentricularRate>75</VentricularRate><PRInterval>160</PRInterval>
<QRSDuration>88</QRSDuration><QTInterval>380</QTInterval><QTCorrected>425</QTCorrected>
<PAxis>999</PAxis><RAxis>-15</RAxis><ECGSampleBase>500</ECGSampleBase></RestingECGMeasurements>
<OriginalDiagnosis><DiagnosisStatement><StmtText>Wrong</StmtText></DiagnosisStatement>
</OriginalDiagnosis><Diagnosis><DiagnosisStatement><StmtFlag>USERINSERT</StmtFlag>
<StmtText>Sinus rhythm</StmtText></DiagnosisStatement><DiagnosisStatement>
<StmtFlag>ENDSLINE</StmtFlag><StmtText>with premature beats</StmtText></DiagnosisStatement>
<DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>Abnormal ECG</StmtText>
</DiagnosisStatement></Diagnosis>"""


@pytest.mark.parametrize(("times", "seconds"), [
    ((150, 550, 950), (0.3, 1.1, 1.9)),  # samples of 500 Hz
    ((300, 1100, 1900), (0.3, 1.1, 1.9)),  # milliseconds
    ((300, 700, 900), ()),  # neither fits the stated interval
])  # fmt: skip
def test_muse_measurements_statements_and_beats(
    times: tuple[int, ...], seconds: tuple[float, ...]
) -> None:
    beats = "".join(f"<QRS><Time>{t}</Time><Type>0</Type></QRS>" for t in times)
    more = f"{MUSE}<QRSTimesTypes>{beats}<GlobalRR>800</GlobalRR></QRSTimesTypes></RestingECG>"
    said = read("a.xml", made.muse(SIGNAL).replace(b"</RestingECG>", more.encode()))
    assert dict(said.measurements) == {
        "heart_rate_bpm": 75.0, "pr_ms": 160.0, "qrs_ms": 88.0, "qt_ms": 380.0, "qtc_ms": 425.0,
        "qrs_axis_deg": -15.0,
    }  # fmt: skip
    assert said.statements == ("Sinus rhythm with premature beats", "Abnormal ECG")
    np.testing.assert_allclose(said.beat_s, seconds)
    assert set(said.beat_symbols) <= {"Q"}


def test_philips_and_cardiosoft_say_what_they_found() -> None:
    interpretation = (
        "<interpretations><interpretation><globalmeasurements><heartrate>72</heartrate>"
        "<print editedflag='False'>160</print><qtcb>416</qtcb><qrsfrontaxis>Indeterminate"
        "</qrsfrontaxis></globalmeasurements><severity>- ABNORMAL ECG -</severity><statement>"
        "<leftstatement>SINUS BRADYCARDIA</leftstatement><rightstatement>rate&lt; 50"
        "</rightstatement></statement></interpretation></interpretations><waveforms>"
    )
    philips = made.philips(SIGNAL, encoding="utf-8").replace(
        b"<waveforms>", interpretation.encode(), 1
    )
    said = read("a.xml", philips)
    assert dict(said.measurements) == {"heart_rate_bpm": 72.0, "pr_ms": 160.0, "qtc_ms": 416.0}
    assert said.statements == ("SINUS BRADYCARDIA: rate< 50", "ABNORMAL ECG")
    found = "<RestingECGMeasurements><PQInterval units='ms'>148</PQInterval><TAxis>48</TAxis>"
    cardiosoft = device.cardiosoft(SIGNAL).replace(b"<RestingECGMeasurements>", found.encode())
    cardiosoft = cardiosoft.replace(
        b"<StripData>",
        b"<Interpretation><Diagnosis><DiagnosisText>Normal sinus rhythm</DiagnosisText>"
        b"<DiagnosisText>Normal ECG</DiagnosisText></Diagnosis></Interpretation><StripData>",
    )
    said = read("a.xml", cardiosoft)
    assert dict(said.measurements) == {"pr_ms": 148.0, "t_axis_deg": 48.0}
    assert said.statements == ("Normal sinus rhythm", "Normal ECG")


def test_sections_7_and_8_of_scp() -> None:
    # Two blocks: the reference beat, and one that is not looked at; a pacemaker spike of ten bytes.
    measured = struct.pack("<BBHH", 2, 1, 800, 29999)
    measured += struct.pack("<5H3h", 100, 200, 260, 350, 640, 999, -30, 45)
    measured += struct.pack("<5H3h", *[29999] * 5, *[999] * 3) + b"\0" * 10
    measured += struct.pack("<H", 3) + b"\0\0\1" + struct.pack("<HHHB", 75, 29999, 421, 1)
    lines = [b"Sinus rhythm\0", b"Left axis deviation\0"]
    stated = b"\1" + b"\xe8\7\1\2\3\4\5" + bytes([len(lines)])
    stated += b"".join(struct.pack("<BH", i, len(line)) + line for i, line in enumerate(lines, 1))
    said = read("a.scp", device.scp(SHORT, 100, said={7: measured, 8: stated}))
    assert dict(said.measurements) == {
        "rr_ms": 800.0, "p_ms": 100.0, "pr_ms": 160.0, "qrs_ms": 90.0, "qt_ms": 380.0,
        "qrs_axis_deg": -30.0, "t_axis_deg": 45.0, "heart_rate_bpm": 75.0, "qtc_ms": 421.0,
    }  # fmt: skip
    assert said.statements == ("Sinus rhythm", "Left axis deviation")
    # Cut short anywhere, the ECG is read all the same.
    for end in range(0, len(measured), 29):
        read("a.scp", device.scp(SHORT, 100, said={7: measured[:end], 8: stated[:end]}))


def test_dicom_annotations_are_known_by_the_meaning_of_their_codes() -> None:
    from pydicom.dataset import Dataset

    def coded(meaning: str, value: str, unit: str) -> Dataset:
        item, concept, units = Dataset(), Dataset(), Dataset()
        concept.CodeValue, concept.CodingSchemeDesignator = "5.13.5-7", "SCPECG"
        concept.CodeMeaning = meaning
        units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", unit
        item.ConceptNameCodeSequence = [concept]
        item.NumericValue, item.MeasurementUnitsCodeSequence = value, [units]
        return item

    text = Dataset()
    text.UnformattedTextValue = "Sinus rhythm\r\nNormal ECG"
    ds = pydicom.dcmread(io.BytesIO(made.dicom(SIGNAL)))
    ds.WaveformAnnotationSequence = [
        text, coded("QT Interval", "0.38", "s"),
        coded("Ventricular Heart Rate", "75", "{H.B.}/min"),
        coded("QRS-Axis", "-12", "deg"), coded("PR Interval", "160", "mV"),
        coded("Room temperature", "21", "ms"),
    ]  # fmt: skip
    buffer = io.BytesIO()
    ds.save_as(buffer)
    said = read("a.dcm", buffer.getvalue())
    assert dict(said.measurements) == {
        "heart_rate_bpm": 75.0, "qt_ms": 380.0, "qrs_axis_deg": -12.0,
    }  # fmt: skip
    assert said.statements == ("Sinus rhythm", "Normal ECG")


def test_dicom_keeps_measurements_and_statements() -> None:
    files = recording_files(RECORDING, "dicom", "out")
    said = read_recording(files).annotations
    assert dict(said.measurements) == dict(RECORDING.annotations.measurements)
    # And no remark on the conversion is taken for a statement.
    assert said.statements == (RECORDING.annotations.statements[0], "left bundle branch block")


def test_what_is_gathered_is_bounded_and_in_order() -> None:
    gathered = Gathered("x")
    for at_s in (3.0, 1.0, -1.0, 11.0, float("nan")):
        gathered.add_beat(at_s, "N")
    gathered.add_beat(2.0, "~")
    gathered.add_statement("a\nb\x00" + "c" * 5000)
    for value in (0.0, float("inf"), 29999.0):
        gathered.add_measurement("qt_ms", value)
    said = gathered.done(10.0)
    assert said.beat_s.tolist() == [1.0, 3.0] and gathered.n_dropped == 4
    assert len(said.statements[0]) == 200 and said.statements[0].startswith("a b c")
    assert not said.measurements


def test_damaged_annotations_never_spoil_a_recording() -> None:
    rng = np.random.default_rng(5)
    sound = annotation_bytes(RECORDING.annotations, 500.0)
    for _ in range(300):
        data = bytearray(sound)
        for at in rng.integers(0, len(data), size=rng.integers(1, 9)):
            data[at] = rng.integers(256)
        read_annotations(bytes(data), 500.0).done(10.0)


@pytest.mark.parametrize("key", ["Classification", "Klassifizierung", "Clasificación"])
def test_what_a_watch_found_is_a_statement(key: str) -> None:
    lines = ["Name,Jane Doe", f"{key},Atrial Fibrillation", "Sample Rate,250 hertz", ""]
    lines += ["Lead,Lead I", "Unit,µV", "", *(str(5 * v) for v in made.ecg(4.0, 250)[0].tolist())]
    recording = read_recording({"ecg.csv": "\n".join(lines).encode()})
    assert recording.annotations.statements == ("Atrial Fibrillation",)
    assert recording.lead_names == ("I",) and "Doe" not in repr(recording)
