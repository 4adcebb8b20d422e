"""The same ECG in every format, and what is peculiar to each."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from echoing_core.errors import (
    MissingLeadError,
    RecordError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io import TableLayout, read_recording, table_in
from echoing_core.records import LEADS, Recording
from echoing_core.signals import standardise
from tests import ecg_files as made

SIGNAL = made.ecg()
MV = SIGNAL * (made.UV / 1000)
UPLOADS = made.every_format(SIGNAL)


def true_rows(recording: Recording) -> npt.NDArray[np.float64]:
    return MV[[LEADS.index(lead) for lead in recording.lead_names]]


@pytest.mark.parametrize("name", UPLOADS)
def test_one_ecg_in_every_format(name: str, tmp_path: Path) -> None:
    recording = read_recording(UPLOADS[name])
    assert recording.fs_hz == 500.0 and recording.n_times == SIGNAL.shape[1]
    assert len(recording.lead_names) in (8, 12)
    np.testing.assert_allclose(recording.signal_mv, true_rows(recording), atol=1e-6)
    assert recording.record_id in ("rec", "holter")
    assert len(recording.stated) == len(recording.source_names) == len(recording.lead_names)
    # The same from disk.
    for file_name, data in UPLOADS[name].items():
        (tmp_path / file_name).write_bytes(data)
    for source in (tmp_path, sorted(tmp_path.iterdir())[-1]):
        again = read_recording(source)
        np.testing.assert_array_equal(again.signal_mv, recording.signal_mv)
    # And the same for the model: derived limb leads are the measured ones, and say that they are.
    wanted = standardise(read_recording(UPLOADS["WFDB"]))
    got = standardise(recording)
    # The filter starts at the first sample of each lead, which is rounded.
    np.testing.assert_allclose(got.signal_mv[:, 1:], wanted.signal_mv[:, 1:], atol=0.0026)
    assert got.valid.all()
    derived = set(got.leads_with("derived"))
    assert derived == set(LEADS) - set(recording.lead_names)


def test_content_counts_and_not_the_name() -> None:
    for name in ("EDF", "DICOM", "MUSE", "CSV", "Parquet", "WFDB zip"):
        data = next(iter(UPLOADS[name].values()))
        ending = "txt" if name != "EDF" else "hea"
        recording = read_recording({f"ecg.{ending}": data})
        np.testing.assert_allclose(recording.signal_mv, true_rows(recording), atol=1e-6)


def test_nobody_is_named_in_what_is_read() -> None:
    for name in ("DICOM", "MUSE", "EDF"):
        recording = read_recording(UPLOADS[name])
        assert "Doe" not in repr(recording) and "X X" not in repr(recording)


# --- EDF ---------------------------------------------------------------------------------------


def test_an_interrupted_edf_has_gaps_where_it_was_interrupted() -> None:
    onsets = [0, 1, 2, 10, 11, 12, 13, 30.5, 31.5, 32.5, 33.5, 34.5]
    recording = read_recording({"a.edf": made.edf(SIGNAL, onsets_s=onsets)})
    assert recording.n_times == 35.5 * 500
    kept = np.zeros(recording.n_times, dtype=bool)
    for i, onset in enumerate(onsets):
        place = round(onset * 500)
        kept[place : place + 500] = True
        np.testing.assert_allclose(
            recording.signal_mv[:, place : place + 500], MV[:, i * 500 : (i + 1) * 500], atol=1e-6
        )
    np.testing.assert_array_equal(np.isnan(recording.signal_mv), np.tile(~kept, (12, 1)))
    assert any("interrupted for 7.0 s, from 00:00:03 to 00:00:10" in n for n in recording.notes)


def test_clocks_with_few_digits_make_no_gap() -> None:
    onsets = np.round(np.arange(12) * 1.0004, 3)
    recording = read_recording({"a.edf": made.edf(SIGNAL, onsets_s=onsets.tolist())})
    assert recording.n_times == 6000 and not np.isnan(recording.signal_mv).any()


def test_only_leads_of_a_sleep_study_are_read() -> None:
    data = made.edf(SIGNAL).replace(b"ECG V6".ljust(16), b"EEG Fpz-Cz".ljust(16), 1)
    recording = read_recording({"a.edf": data})
    assert recording.lead_names == LEADS[:-1]
    assert any("EEG Fpz-Cz" in note for note in recording.notes)


def test_a_recorder_that_was_not_stopped() -> None:
    data = bytearray(made.edf(SIGNAL))
    data[236:244] = b"-1      "
    assert read_recording({"a.edf": bytes(data)}).n_times == 6000


# --- DICOM -------------------------------------------------------------------------------------


def test_stretches_of_a_holter_object_lie_at_their_times() -> None:
    holter = made.dicom(
        SIGNAL,
        kind="1.2.840.10008.5.1.4.1.1.9.1.3",
        groups=[(0, 2000), (3000, 6000)],
        leads=LEADS,
        median=False,
    )
    recording = read_recording({"a": holter})
    assert recording.file_format == "DICOM ambulatory ECG"
    assert np.isnan(recording.signal_mv[:, 2000:3000]).all()
    np.testing.assert_allclose(recording.signal_mv[:, 3000:], MV[:, 3000:], atol=1e-6)


def test_padding_is_a_gap_and_a_median_beat_no_rhythm() -> None:
    padded = SIGNAL.copy()
    padded[:, 5000:] = -32000
    recording = read_recording({"a": made.dicom(padded, padding=-32000)})
    assert np.isnan(recording.signal_mv[:, 5000:]).all()
    assert not np.isnan(recording.signal_mv[:, :5000]).any()


# --- XML ---------------------------------------------------------------------------------------


def test_a_three_by_four_aecg_keeps_each_lead_where_it_was_recorded() -> None:
    parts = [(i * 1250, (i + 1) * 1250, LEADS[3 * i : 3 * i + 3]) for i in range(4)]
    recording = read_recording({"a.xml": made.aecg(SIGNAL, stretches=parts)})
    assert recording.lead_names == LEADS and recording.n_times == 5000
    for i, (start, stop, leads) in enumerate(parts):
        for lead in leads:
            row = recording.signal_mv[LEADS.index(lead)]
            np.testing.assert_allclose(
                row[start:stop], MV[LEADS.index(lead), start:stop], atol=1e-6
            )
            assert np.isnan(np.delete(row, range(start, stop))).all(), i


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE RestingECG [<!ENTITY a "aaaaaaaaaa">'
    b'<!ENTITY b "&a;&a;&a;&a;&a;&a;">]><RestingECG>&b;</RestingECG>'
)
OUTSIDE = (
    b'<?xml version="1.0"?><!DOCTYPE RestingECG [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b"<RestingECG>&x;</RestingECG>"
)
UNKNOWN = b'<!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG>&who;</RestingECG>'


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, UNKNOWN])
def test_xml_declares_and_fetches_nothing(data: bytes) -> None:
    with pytest.raises(UnreadableRecordError, match="no use for"):
        read_recording({"a.xml": data})


def test_xml_that_is_deep_or_long_is_refused() -> None:
    with pytest.raises(UnreadableRecordError, match="nested too deeply"):
        read_recording({"a.xml": b"<a>" * 5000})


# --- Zip ---------------------------------------------------------------------------------------


def archive(files: dict[str, bytes], **kwargs: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data, **kwargs)
    return buffer.getvalue()


def test_a_zip_is_read_within_limits() -> None:
    record = made.wfdb(SIGNAL)
    with pytest.raises(UnreadableRecordError, match="65 files; at most 64"):
        read_recording({"a.zip": archive({f"{i}.txt": b"x" for i in range(65)})})
    with pytest.raises(UnreadableRecordError, match="100 times its size"):
        read_recording({"a.zip": archive({"a.dat": bytes(20_000_000)})})
    with pytest.raises(UnreadableRecordError, match="another archive"):
        read_recording({"a.zip": archive({"b.zip": archive(record)})})
    with pytest.raises(UnreadableRecordError, match=r"called rec\.dat"):
        read_recording({"a.zip": archive({f"{f}/rec.dat": b"x" for f in "ab"})})
    with pytest.raises(UnreadableRecordError, match="damaged zip"):
        read_recording({"a.zip": archive(record)[:-30]})
    # Names that point elsewhere count by their last part, and nothing is written.
    away = {f"../../../{name}": data for name, data in record.items()}
    assert read_recording({"a.zip": archive({**away, "__MACOSX/._rec.hea": b"x"})}).n_times == 6000


def test_links_and_passwords_in_a_zip() -> None:
    link = zipfile.ZipInfo("rec.hea")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(UnreadableRecordError, match="link"):
        read_recording({"a.zip": buffer.getvalue()})
    locked = bytearray(archive({"rec.hea": b"x"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    with pytest.raises(UnreadableRecordError, match="password"):
        read_recording({"a.zip": bytes(locked)})


# --- Tables ------------------------------------------------------------------------------------


def test_an_array_says_nothing_and_is_read_as_told() -> None:
    for array in (SIGNAL, np.ascontiguousarray(SIGNAL.T), np.asfortranarray(SIGNAL)):
        upload = {"a.npy": made.npy(array)}
        preview = table_in(upload)
        assert preview is not None and preview.stated is None
        assert preview.samples_in == ("rows" if array.shape[0] > 12 else "columns")
        assert preview.first.shape == (12, 4000)
        with pytest.raises(UnreadableRecordError, match="sampling rate, its units and which leads"):
            read_recording(upload)
        layout = TableLayout(
            leads=dict(enumerate(LEADS)),
            units="counts",
            counts_per_mv=200,
            fs_hz=500,
            samples_in=preview.samples_in,
        )
        recording = read_recording(upload, layout=layout)
        np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)


def test_what_is_said_has_to_fit() -> None:
    upload = {"a.npy": made.npy(SIGNAL)}
    along = {"samples_in": "columns"}
    wrong: list[tuple[dict[str, object], type[RecordError]]] = [
        ({"leads": {}, "units": "mV", "fs_hz": 500.0}, MissingLeadError),
        ({"leads": {0: "I", 1: "I"}, "units": "mV", "fs_hz": 500.0}, MissingLeadError),
        ({"leads": {0: "left arm"}, "units": "mV", "fs_hz": 500.0}, MissingLeadError),
        ({"leads": {12: "I"}, "units": "mV", "fs_hz": 500.0}, UnreadableRecordError),
        ({"leads": {0: "I"}, "units": "mV"}, SamplingRateError),
        ({"leads": {0: "I"}, "units": "mV", "fs_hz": -1.0}, SamplingRateError),
        ({"leads": {0: "I"}, "units": "mmHg", "fs_hz": 500.0}, UnitsError),
        ({"leads": {0: "I"}, "units": "counts", "fs_hz": 500.0}, UnitsError),
        ({"leads": {0: "I"}, "units": "V", "fs_hz": 500.0}, UnitsError),
    ]
    for settings, error in wrong:
        with pytest.raises(error):
            read_recording(upload, layout=TableLayout(**settings, **along))  # type: ignore[arg-type]


def test_a_time_column_that_jumps_leaves_a_gap() -> None:
    rows = [(i / 250 + (2.0 if i >= 1500 else 0.0), np.sin(i / 20)) for i in range(3000)]
    text = "time_ms;II (mV)\n" + "".join(f"{1000 * t:.0f};{v:.4f}\n" for t, v in rows)
    recording = read_recording({"a.csv": text.encode()})
    assert recording.fs_hz == 250 and recording.n_times == 3500
    assert np.isnan(recording.signal_mv[0, 1500:2000]).all()
    assert not np.isnan(recording.signal_mv[0, 2000:]).any()


@pytest.mark.parametrize(
    ("stamps", "fs_hz"),
    [
        ([f"{1000 * i / 512:.0f}" for i in range(6000)], 512),
        ([f"0:{i // 15360:02d}:{i / 256 % 60:06.3f}" for i in range(6000)], 256),
        ([f"2024-05-01T23:59:{50 + i / 200:09.6f}" for i in range(1999)], 200),
    ],
)
def test_times_in_several_spellings(stamps: list[str], fs_hz: int) -> None:
    text = "Time,II\n,mV\n" + "".join(f"{s},{np.sin(i / 9):.3f}\n" for i, s in enumerate(stamps))
    recording = read_recording({"a.csv": text.encode()})
    assert recording.fs_hz == fs_hz and recording.n_times == len(stamps)


def test_counters_irregular_and_backward_times_are_no_clock() -> None:
    for times in (
        range(3000),
        np.cumsum(np.random.default_rng(0).uniform(0.001, 0.02, 3000)),
        np.arange(3000)[::-1] / 500,
    ):
        text = "time,II (mV)\n" + "".join(
            f"{t:.5f},{np.sin(i / 9):.3f}\n" for i, t in enumerate(times)
        )
        with pytest.raises(UnreadableRecordError, match="does not say its sampling rate"):
            read_recording({"a.csv": text.encode()})


def test_the_export_of_a_watch() -> None:
    values = "\n".join(f"{v:.3f}" for v in 1000 * MV[0])
    text = f"Name,Somebody\nSample Rate,512 hertz\nLead,Lead I\nUnit,µV\n\n\n{values}\n"
    preview = table_in({"ecg.csv": text.encode()})
    assert preview is not None and preview.fs_hz == 512 and preview.units == "µV"
    layout = TableLayout(leads={0: "I"}, units="uV", fs_hz=512)
    recording = read_recording({"ecg.csv": text.encode()}, layout=layout)
    np.testing.assert_allclose(recording.signal_mv[0], MV[0], atol=1e-6)


def test_one_row_a_lead() -> None:
    text = "".join(
        f"{lead}," + ",".join(f"{v:.3f}" for v in row) + "\n"
        for lead, row in zip(LEADS, MV, strict=True)
    )
    preview = table_in({"a.csv": text.encode()})
    assert preview is not None and preview.samples_in == "columns"
    assert [c.lead for c in preview.columns] == list(LEADS)
    layout = TableLayout(dict(enumerate(LEADS)), "mV", fs_hz=500, samples_in="columns")
    np.testing.assert_allclose(
        read_recording({"a.csv": text.encode()}, layout=layout).signal_mv, MV, atol=1e-6
    )


def test_empty_cells_are_not_measured_and_words_are_refused() -> None:
    rows = [
        f"{i / 100:.2f},{'' if 300 <= i < 500 else f'{np.sin(i / 7):.3f}'}" for i in range(1500)
    ]
    text = "t (s),V5 (mV)\n" + "\n".join(rows) + "\n"
    recording = read_recording({"a.csv": text.encode()})
    assert np.isnan(recording.signal_mv[0, 300:500]).all()
    assert np.isnan(recording.signal_mv).sum() == 200
    rows[1400] = "14.00,loose"
    with pytest.raises(UnreadableRecordError, match="no numbers"):
        read_recording({"a.csv": ("t (s),V5 (mV)\n" + "\n".join(rows)).encode()})
