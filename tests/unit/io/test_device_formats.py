"""The same ECG in the formats of single devices, what is peculiar to each, and damage to them."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from echoing_core.errors import (
    EchoingError,
    RecordError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.export.document.deidentify import plain_notes
from echoing_core.io import read_recording, table_in
from echoing_core.io.ishne import header_checksum
from echoing_core.io.many import group_files
from echoing_core.io.told import Told
from echoing_core.records import LEADS, Recording
from tests import device_files as made
from tests import ecg_files
from tests.ecg_files import EIGHT, UV, ecg, zipped

SIGNAL = ecg(3.0)
"""1500 samples, with QRS complexes at 150, 550, 950 and 1350."""
MV = SIGNAL * (UV / 1000)
UPLOADS = made.every_device(SIGNAL)
SHORT = made.every_device(ecg(1.5, 100), 100)


def rows_in_mv(recording: Recording) -> np.ndarray:
    return MV[[LEADS.index(lead) for lead in recording.lead_names]]


@pytest.mark.parametrize("name", UPLOADS)
def test_the_right_values_and_leads(name: str) -> None:
    recording = read_recording(UPLOADS[name])
    assert recording.fs_hz == 500.0 and recording.n_times == SIGNAL.shape[1]
    assert len(recording.lead_names) >= 3
    # Half a unit of the file.
    np.testing.assert_allclose(recording.signal_mv, rows_in_mv(recording), atol=UV / 2000)
    assert recording.record_id == "rec" and len(recording.stated) == len(recording.lead_names)
    assert "Doe" not in repr(recording)


@pytest.mark.parametrize("name", SHORT)
def test_damage_ends_in_a_sentence(name: str) -> None:
    [(file_name, sound)] = SHORT[name].items()
    rng = np.random.default_rng(17)
    for _ in range(25):
        changed = made.mutated(sound, rng)
        try:
            recording = read_recording({file_name: changed})
        except EchoingError as error:
            assert str(error).isprintable() and 10 < len(str(error)) < 500
        else:
            assert recording.signal_mv.size < 10_000_000
            assert np.isfinite(recording.signal_mv[~np.isnan(recording.signal_mv)]).all()


def test_what_readers_note_can_be_written_out_in_full() -> None:
    """Of notes a document prints only words that it knows (`export.document.deidentify`)."""
    ishne, scp, atc = (next(iter(UPLOADS[n].values())) for n in ("ISHNE", "SCP", "ATC"))
    noted = [
        swapped(ishne, b"digital", b"dIgital") + bytes(600),
        *(made.ishne(SIGNAL, quality=quality) for quality in (2, 3, 4, 5)),
        ishne[:14] + bytes(4) + ishne[18:],
        b"\1\2" + scp[2:],
        made.scp(SIGNAL, thinning=4, leads=("I", "V1")),
        swapped(atc, b"2010-12-08", b"2011-12-08"),
        made.fhir(SIGNAL, parts=3),
        UPLOADS["CardioSoft exercise"]["rec.xml"],
    ]
    for data in noted:
        recording = read_recording({"a.bin": data})
        assert recording.notes
        assert "…" not in " ".join(plain_notes(recording)), plain_notes(recording)


def refused(data: bytes, ending: str, error: type[RecordError], words: str) -> None:
    with pytest.raises(error, match=words):
        read_recording({f"rec.{ending}": data})


def swapped(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


# --- CardioSoft --------------------------------------------------------------------------------


def test_cardiosoft_says_what_is_missing() -> None:
    sound = UPLOADS["CardioSoft"]["rec.xml"]
    exercise = UPLOADS["CardioSoft exercise"]["rec.xml"]
    unreadable = UnreadableRecordError
    refused(swapped(sound, b"StripData>", b"Strips>"), "xml", unreadable, "only median beats")
    refused(swapped(sound, b"uVperLsb", b"inch"), "xml", UnitsError, "microvolts one unit")
    refused(swapped(sound, b">1500<", b">1501<"), "xml", unreadable, "1500 samples where 1501")
    refused(swapped(exercise, b"Data></F", b",1</F", 1), "xml", unreadable, "not well-formed")
    cut = swapped(exercise, b"</FullDisclosureData>", b",1</FullDisclosureData>")
    refused(cut, "xml", unreadable, "no whole number of samples")
    assert "strips too" in " ".join(read_recording({"a.xml": exercise}).notes)


def test_xml_that_people_take_for_an_ecg_is_told_apart() -> None:
    refused(b"<HealthData/>", "xml", UnreadableRecordError, "electrocardiograms")
    refused(b"<gpx/>", "gpx", UnreadableRecordError, "electrocardiograms")


# --- ISHNE -------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_specification() -> None:
    # The check value that is published for this polynomial and start.
    assert made.crc_ccitt(b"123456789") == header_checksum(b"123456789") == 0x29B1
    sound = UPLOADS["ISHNE"]["rec.ecg"]
    assert not read_recording({"a.ecg": sound}).notes
    damaged = swapped(sound, b"digital", b"dIgital")
    assert "checksum of the header" in " ".join(read_recording({"a.ecg": damaged}).notes)


def test_ishne_of_recorders_that_differ() -> None:
    wanted = read_recording(UPLOADS["ISHNE"]).signal_mv
    for data in (made.ishne(SIGNAL, counts_all=True), made.ishne(SIGNAL, variable=b"")):
        np.testing.assert_array_equal(read_recording({"a.ecg": data}).signal_mv, wanted)
    longer = read_recording({"a.ecg": made.ishne(SIGNAL) + bytes(600)})
    np.testing.assert_array_equal(longer.signal_mv, wanted)
    assert "longer than its header" in " ".join(longer.notes)
    noisy = read_recording({"a.ecg": made.ishne(SIGNAL, leads=("I", "II"), quality=3)})
    assert "quality of I, II frequent noise" in " ".join(noisy.notes)
    off = SIGNAL.copy()
    off[:, 700:900] = -32768
    gap = np.isnan(read_recording({"a.ecg": made.ishne(off)}).signal_mv)
    assert gap[:, 700:900].all() and gap.sum() == 600


BEATS = ((120, "N"), (300, "V"), (310, "X"), (480, "S"), (700, "C"), (1100, "P"), (1400, "U"))


def test_beats_beside_an_ishne_recording(tmp_path: Path) -> None:
    sound = made.ishne(SIGNAL)
    said = made.ishne_annotations(sound, BEATS, first=120, own=b"x")
    (tmp_path / "night.ecg").write_bytes(sound)
    (tmp_path / "night.ANN").write_bytes(said)
    for source in (
        {"a.ecg": sound, "a.ann": said},
        {"a.ann": said, "a.ecg": sound},
        tmp_path / "night.ecg",
        [tmp_path / "night.ecg", tmp_path / "night.ANN"],
        tmp_path,
    ):
        recording = read_recording(source)
        # An artefact and a calibration pulse are no beats.
        np.testing.assert_allclose(
            recording.annotations.beat_s, np.array([120, 300, 480, 1100, 1400]) / 500
        )
        assert "".join(recording.annotations.beat_symbols) == "NVS/Q"
    assert [item.name for item in group_files({"a.ecg": sound, "a.ann": said}.items())] == ["a.ecg"]
    # Those of another recording stay apart, and say so.
    apart = group_files({"a.ecg": sound, "b.ann": said}.items())
    assert [item.name for item in apart] == ["a.ecg", "b.ann"]


def test_ishne_beats_hours_apart_and_damaged_ones() -> None:
    long = np.tile(SIGNAL, (1, 500 * 300 // SIGNAL.shape[1]))
    sound = made.ishne(long)
    said = made.ishne_annotations(sound, [(10, "N"), (140_000, "V"), (149_000, "N")])
    read = read_recording({"a.ecg": sound, "a.ann": said}).annotations
    np.testing.assert_allclose(read.beat_s, np.array([10, 140_000, 149_000]) / 500)
    for cut in (said[:300], said[:-3], b"ANN  1.0", said[:10] + b"\xff\xff\xff\x7f" + said[14:]):
        recording = read_recording({"a.ecg": sound, "a.ann": cut})
        assert len(recording.annotations.beat_s) <= 3 and recording.n_times == long.shape[1]


def test_ishne_that_cannot_be_read() -> None:
    sound = UPLOADS["ISHNE"]["rec.ecg"]
    unreadable = UnreadableRecordError
    refused(sound[:-900], "ecg", unreadable, "2.7 s of the 3.0 s")
    refused(sound[:400], "ecg", unreadable, "cut short")
    refused(b"ANN  1.0" + sound[8:], "ann", unreadable, "annotations of an ISHNE")
    refused(sound[:156] + b"\x0d\0" + sound[158:], "ecg", RecordError, "declares 13 leads")
    refused(sound[:206] + b"\xf7\xff" + sound[208:], "ecg", UnitsError, "nanovolts")


# --- SCP-ECG -----------------------------------------------------------------------------------


@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("tables", [None, (made.SCP_DEFAULT,), made.SCP_CUSTOM])
@pytest.mark.parametrize("subtract", [False, True])
def test_every_way_to_store_scp_gives_the_same(
    differences: int, tables: tuple[made.Table, ...] | None, subtract: bool
) -> None:
    part = SIGNAL[:, :800]
    data = made.scp(
        part, tables=tables, differences=differences, subtract=subtract, leads=("aVF", "V1")
    )
    recording = read_recording({"a.scp": data})
    assert recording.lead_names == ("aVF", "V1") and recording.fs_hz == 500 and not recording.notes
    np.testing.assert_allclose(recording.signal_mv, MV[5:7, :800], atol=1e-6)
    assert recording.stated[0] == "5000 nV per unit, high pass 0.05 Hz"


@pytest.mark.parametrize("subtract", [False, True])
def test_bimodal_scp_is_whole_at_the_qrs_and_interpolated_elsewhere(subtract: bool) -> None:
    leads = ("II", "V5")
    data = made.scp(SIGNAL, subtract=subtract, thinning=4, differences=1, leads=leads)
    recording = read_recording({"a.scp": data})
    mv = MV[[LEADS.index(lead) for lead in leads]]
    assert recording.fs_hz == 500 and recording.n_times == 1500
    for peak in (150, 550, 950):
        near = slice(peak - 25, peak + 25)
        np.testing.assert_allclose(recording.signal_mv[:, near], mv[:, near], atol=1e-6)
    away = np.ones(1500, dtype=bool)
    # The last QRS is too near the end for a whole reference beat, and is thinned out.
    away[1350 - 60 :] = False
    np.testing.assert_allclose(recording.signal_mv[:, away], mv[:, away], atol=0.02)
    assert "every 4 samples" in " ".join(recording.notes)


def test_scp_leads_one_after_the_other_keep_their_times() -> None:
    data = made.scp(SIGNAL, leads=("I", "V1"), starts=(1, 1501))
    recording = read_recording({"a.scp": data})
    assert recording.n_times == 3000
    np.testing.assert_allclose(recording.signal_mv[0, :1500], MV[0], atol=1e-6)
    np.testing.assert_allclose(recording.signal_mv[1, 1500:], MV[6], atol=1e-6)
    assert np.isnan(recording.signal_mv[0, 1500:]).all()
    assert np.isnan(recording.signal_mv[1, :1500]).all()


def test_scp_without_its_mark_and_with_a_wrong_checksum() -> None:
    old = made.scp(SIGNAL, mark=b"")
    np.testing.assert_allclose(read_recording({"a": old}).signal_mv, MV, atol=1e-6)
    wrong = read_recording({"a.scp": b"\1\2" + old[2:]})
    assert "checksum of the file" in " ".join(wrong.notes)


def test_scp_that_cannot_be_read() -> None:
    sound = UPLOADS["SCP"]["rec.scp"]
    beats = UPLOADS["SCP beats"]["rec.scp"]
    unreadable = UnreadableRecordError

    def without(data: bytes, number: int) -> bytes:
        at = 22 + 10 * number
        return data[: at + 2] + bytes(4) + data[at + 6 :]

    refused(sound[:-900], "scp", unreadable, "cut short")
    refused(without(sound, 6), "scp", unreadable, "a report without waveforms")
    refused(without(beats, 6), "scp", unreadable, "only a reference beat")
    refused(without(beats, 5), "scp", unreadable, "does not hold")
    refused(without(sound, 3), "scp", RecordError, "declares 0 leads")
    # Plain numbers are longer than Huffman codes of them.
    refused(without(sound, 2), "scp", unreadable, "more than its")
    # A lead of a billion samples.
    at = sound.index(struct.pack("<IIB", 1, 1500, 1))
    endless = sound[: at + 4] + struct.pack("<I", 1_000_000_000) + sound[at + 8 :]
    refused(endless, "scp", unreadable, "declares 1,000,000,000 samples")


# --- Mortara ELI -------------------------------------------------------------------------------


def test_eli_says_what_is_wrong() -> None:
    sound = UPLOADS["ELI"]["rec.xml"]
    unreadable = UnreadableRecordError
    refused(swapped(sound, b"CHANNEL", b"TUNNEL"), "xml", unreadable, "only an averaged beat")
    refused(swapped(sound, b'SIGNED"', b'FLOAT"'), "xml", unreadable, "FORMAT FLOAT")
    refused(swapped(sound, b'OFFSET="0"', b'OFFSET="9"'), "xml", unreadable, "offset")
    refused(swapped(sound, b'MV="200"', b'MV="0"'), "xml", UnitsError, "UNITS_PER_MV")
    refused(swapped(sound, b"FREQ", b"TIME"), "xml", SamplingRateError, "SAMPLE_FREQ")
    refused(b"<ECG/>", "xml", unreadable, "without channels")


# --- AliveCor ATC ------------------------------------------------------------------------------


def test_atc_of_one_to_twelve_leads_and_its_checksums() -> None:
    for n, plain in ((1, False), (12, True)):
        recording = read_recording({"a.atc": made.atc(SIGNAL, n_leads=n, plain_sum=plain)})
        assert recording.lead_names == LEADS[:n] and not recording.notes
        np.testing.assert_allclose(recording.signal_mv, MV[:n], atol=1e-6)
    sound = UPLOADS["ATC"]["rec.atc"]
    damaged = swapped(sound, b"2010-12-08", b"2011-12-08")
    assert "checksum of a part" in " ".join(read_recording({"a.atc": damaged}).notes)
    refused(sound[:-200], "atc", UnreadableRecordError, "cut short")
    refused(swapped(sound, b"fmt ", b"FMT "), "atc", UnitsError, "no block fmt")
    refused(swapped(sound, b"ecg", b"ECG"), "atc", RecordError, "holds no lead")


# --- FHIR --------------------------------------------------------------------------------------


def test_fhir_in_parts_in_a_bundle_and_of_r5() -> None:
    for options in ({"parts": 3}, {"bundle": True}, {"r5": True}):
        recording = read_recording({"a.json": made.fhir(SIGNAL, **options)})  # type: ignore[arg-type]
        assert recording.lead_names == LEADS and recording.fs_hz == 500
        np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)
        assert bool(recording.notes) == ("parts" in options)


def test_fhir_values_that_were_not_measured_and_what_is_missing() -> None:
    sound = UPLOADS["FHIR"]["rec.json"]
    first = str(SIGNAL[0, 0] + 10).encode()
    marked = swapped(sound, b'"data": "' + first + b" ", b'"data": "E ', 1)
    assert np.argwhere(np.isnan(read_recording({"a.json": marked}).signal_mv)).tolist() == [[0, 0]]
    unreadable = UnreadableRecordError
    refused(swapped(sound, b'"uV"', b'"mm[Hg]"'), "json", UnitsError, "size in mV")
    refused(swapped(sound, b'"period": 2.0', b'"period": 0'), "json", SamplingRateError, "time")
    refused(
        swapped(sound, b"valueSampledData", b"valueQuantity"), "json", RecordError, "no sampled"
    )
    refused(sound[:-20], "json", unreadable, "not well-formed JSON")
    refused(b'{"resourceType": "Patient"}', "json", unreadable, "of another kind")
    deep = b'{"resourceType": "Bundle", "entry": ' + b"[" * 200_000
    refused(deep, "json", unreadable, "not well-formed JSON")


# --- XLSX --------------------------------------------------------------------------------------


def test_a_spreadsheet_is_a_table_like_others() -> None:
    preview = table_in(UPLOADS["XLSX"])
    assert preview is not None and preview.units == "mV" and preview.fs_hz == 500
    assert preview.kind == "XLSX"
    part, leads = SIGNAL[:, :50], ("I", "V1")
    second = made.xlsx(part, leads=leads)
    sheet = zipfile.ZipFile(io.BytesIO(second)).read("xl/worksheets/sheet1.xml")
    two = made.xlsx(part, leads=leads, more={"xl/worksheets/sheet2.xml": sheet})
    refused(two, "xlsx", UnreadableRecordError, "2 sheets with numbers")
    bomb = b"<!DOCTYPE a [<!ENTITY b 'c'>]><worksheet>&b;</worksheet>"
    entities = made.xlsx(part, leads=leads, more={"xl/worksheets/sheet2.xml": bomb})
    refused(entities, "xlsx", UnreadableRecordError, "entities of its own")
    # An entry that lost its name in the directory at the end is passed over.
    at = second.index(b"PK\1\2") + 46
    nameless = second[:at] + b"\0" + second[at + 1 :]
    assert read_recording({"a.xlsx": nameless}).lead_names == leads
    document = zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<a/>"})
    refused(document, "docx", UnreadableRecordError, "without a table")


# --- What is named and not read ----------------------------------------------------------------


def test_formats_that_are_not_read_are_named() -> None:
    refused(b"MFR  " + bytes(600), "mwf", UnreadableRecordError, "an MFER file")
    refused(b"GDF 2.10" + bytes(600), "gdf", UnreadableRecordError, "a GDF file")


# --- MFER -------------------------------------------------------------------------------------


def test_mfer_channels_of_their_own_kind() -> None:
    """Own resolution, value for nothing, other quantities, and a group without a stated length."""
    field = made.mfer_field
    leads = ("I", "II", "V1", "V6")
    own = (
        # Lead II in units of 2.5 uV; V1 in no voltage (unit 1, mmHg) between two zeros.
        field(0x3F, field(0x0C, b"\0\xf9\x19\0"), 1)
        + b"\x3f\x02\x80" + field(0x0C, b"\1\0\1\0") + b"\0\0"
        # In a group, lead V6 has a value for nothing.
        + field(0x67, field(0x3F, field(0x12, (77).to_bytes(2, "little")), 3))
    )  # fmt: skip
    signal = SIGNAL.copy()
    signal[11, 40:43] = 77
    signal[0, 40:43] = 77
    recording = read_recording({"a.mwf": made.mfer(signal, leads=leads, more=own)})
    assert recording.lead_names == ("I", "II", "V6")
    np.testing.assert_allclose(recording.signal_mv[0], signal[0] * 5e-3, atol=1e-6)
    np.testing.assert_allclose(recording.signal_mv[1], signal[1] * 2.5e-3, atol=1e-6)
    nothing = np.flatnonzero(np.isnan(recording.signal_mv[2]))
    assert nothing.tolist() == np.flatnonzero(signal[11] == 77).tolist()
    assert {40, 41, 42} <= set(nothing.tolist())
    assert "not voltages" in " ".join(recording.notes)


def test_mfer_frames_follow_each_other_and_beats_are_no_rhythm() -> None:
    field = made.mfer_field
    sound = made.mfer(SIGNAL, leads=("I", "II"))
    beat = field(0x08, b"\x09\0") + field(0x1E, (3 * SIGNAL[:2, :1500]).astype("<i2").tobytes())
    again = field(0x08, b"\1\0") + field(0x1E, SIGNAL[:2].astype("<i2").tobytes())
    recording = read_recording({"a.mwf": sound[:-2] + beat + again + b"\x80\0"})
    np.testing.assert_allclose(recording.signal_mv, np.tile(SIGNAL[:2] * 5e-3, (1, 2)), atol=1e-6)
    alone = swapped(sound, b"\x08\x02\1\0", b"\x08\x02\x09\0")
    refused(alone, "mwf", UnreadableRecordError, "representative beats")


def test_mfer_that_cannot_be_read_says_why() -> None:
    sound = UPLOADS["MFER"]["rec.mwf"]
    unreadable = UnreadableRecordError
    refused(sound[:9000], "mwf", unreadable, "longer than the file")
    refused(swapped(sound, b"\x06\x04\1", b"\x06\x04\2"), "mwf", unreadable, "1 of 2 blocks")
    refused(swapped(sound, b"\x0a\1\0", b"\x0a\1\x09"), "mwf", unreadable, "type 9")
    refused(swapped(sound, b"\x05\1\x0c", b"\x05\1\xff"), "mwf", unreadable, "255 channels")
    compressed = made.mfer(SIGNAL, more=made.mfer_field(0x0E, b"\1\0"))
    refused(compressed, "mwf", unreadable, "compressed")
    deep = b"\x67\x80" * 12
    refused(made.mfer(SIGNAL, more=deep), "mwf", unreadable, "nested too deeply")
    size = b"\x0c\x04\0\xfa\5\0"
    refused(swapped(sound, size, b""), "mwf", UnitsError, "sampling resolution")
    said = read_recording({"a.mwf": swapped(sound, size, b"")}, told=Told(unit="5uV"))
    np.testing.assert_allclose(said.signal_mv, MV, atol=1e-6)
    rate = b"\x0b\x04\0\0\xf4\1"
    refused(swapped(sound, rate, b""), "mwf", SamplingRateError, "say the rate")
    assert read_recording({"a.mwf": swapped(sound, rate, b"")}, told=Told(fs_hz=500)).fs_hz == 500
    # The interval in seconds: 2 of 10^-3.
    seconds = swapped(sound, rate, b"\x0b\x04\1\xfd\2\0")
    assert read_recording({"a.mwf": seconds}).fs_hz == pytest.approx(500.0)
    moved = read_recording({"a.mwf": made.mfer(SIGNAL, more=made.mfer_field(0x0D, b"\2\0"))})
    assert "an offset" in " ".join(moved.notes) and "…" not in " ".join(plain_notes(moved))


# --- What a person has to say ------------------------------------------------------------------


def test_contec_is_read_as_told() -> None:
    raw = (SIGNAL[[0, 1, *range(6, 12)]] + 2048).astype("<u2")
    raw[3, 5] = 0x6800
    head = b"0000011\0\0\0" + b"2020-11-12 18:09:05\0\0\0" + b"Doe".ljust(11, b"\0")
    data = head + raw.T.tobytes() + bytes(37)
    refused(data, "ECG", UnitsError, "Contec ECG90A, which says neither")
    leads = {f"channel {i}": lead for i, lead in enumerate(EIGHT, 1)}
    recording = read_recording({"a.ECG": data}, told=Told(leads, unit="5uV"))
    assert recording.lead_names == EIGHT and recording.fs_hz == 800 and "Doe" not in repr(recording)
    assert np.argwhere(np.isnan(recording.signal_mv)).tolist() == [[3, 5]]
    recording.signal_mv[3, 5] = rows_in_mv(recording)[3, 5]
    np.testing.assert_allclose(recording.signal_mv, rows_in_mv(recording), atol=1e-6)


def test_units_and_rates_that_are_missing_can_be_said() -> None:
    sound = UPLOADS["ISHNE"]["rec.ecg"]
    unknown = sound[:206] + b"\xf7\xff" * 3 + sound[212:272] + bytes(2) + sound[274:]
    recording = read_recording({"a.ecg": unknown}, told=Told(unit="5uV", fs_hz=500.0))
    np.testing.assert_allclose(recording.signal_mv, rows_in_mv(recording), atol=1e-6)
    scp = made.scp(SIGNAL, subtract=True, leads=("I", "V1"))
    scale = struct.pack("<HH", 1000 * UV, 2000)
    recording = read_recording(
        {"a.scp": swapped(scp, scale, bytes(2) + scale[2:])}, told=Told(unit="5uV")
    )
    np.testing.assert_allclose(recording.signal_mv, rows_in_mv(recording), atol=1e-6)
    unsaid = swapped(UPLOADS["FHIR"]["rec.json"], b'"uV"', b'""').replace(b"microvolt", b"")
    refused(unsaid, "json", UnitsError, "without a unit")
    recording = read_recording({"a.json": unsaid}, told=Told(unit="uV"))
    np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "unit", "rate"),
    [
        (made.cardiosoft(SIGNAL, leads=("I", "V1")), b"uVperLsb", b"SampleRate"),
        (made.eli(SIGNAL, leads=("I", "V1")), b"UNITS_PER_MV", b"SAMPLE_FREQ"),
        (ecg_files.muse(SIGNAL), b"MICROVOLTS", b"SampleBase"),
        (ecg_files.philips(SIGNAL, encoding="utf-8"), b"resolution", b"samplingrate"),
        (ecg_files.aecg(SIGNAL, beat=False), b"uV", b"increment"),
    ],
    ids=["cardiosoft", "eli", "muse", "philips", "aecg"],
)
def test_xml_that_lost_its_unit_or_rate_is_read_as_told(
    data: bytes, unit: bytes, rate: bytes
) -> None:
    lost = swapped(swapped(data, unit, b"x" * 10), rate, b"y" * 10)
    with pytest.raises((UnitsError, SamplingRateError)):
        read_recording({"a.xml": lost})
    recording = read_recording({"a.xml": lost}, told=Told(unit="5uV", fs_hz=500.0))
    assert recording.fs_hz == 500
    np.testing.assert_allclose(recording.signal_mv, rows_in_mv(recording), atol=1e-6)
