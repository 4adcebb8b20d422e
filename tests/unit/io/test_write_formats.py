"""What is written, as readers that are not ours see it, and as ours does."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import numpy.typing as npt
import pandas as pd
import pydicom
import pytest
import wfdb

from echoing_core.errors import ConfigError, UnreadableRecordError
from echoing_core.export.recording import recording_files, remarks_of
from echoing_core.io import read_recording, records_in
from echoing_core.io.many import folder_items
from echoing_core.io.write import WRITERS, outgoing
from echoing_core.records import LEADS, Recording
from tests.ecg_files import UV, ecg

NAME = "Mustermann_Erika_19570304"
FS_HZ = 500
N_TIMES = 2300


def recording(gaps: bool = True, fs_hz: float = FS_HZ, n_times: int = N_TIMES) -> Recording:
    """Twelve leads with a gap of all, gaps of one each, and one that runs to the end."""
    signal_mv = (ecg(n_times / FS_HZ)[:, :n_times] * (UV / 1000)).astype(np.float32)
    # Between two of the finest units.
    signal_mv += 0.00003
    if gaps:
        signal_mv[:, 700:901] = np.nan
        signal_mv[6, 10:11] = np.nan
        signal_mv[1, 1800:] = np.nan
    return Recording(
        signal_mv, fs_hz, LEADS, NAME, tuple(f"{NAME} {lead}" for lead in LEADS),
        notes=(f"Lead V1 is {NAME}, a modified limb lead.",), file_format="EDF",
        stated=("5 uV per unit, filters 0.05 to 150 Hz",) * 12,
    )  # fmt: skip


RECORDING = recording()
FILES = {name: recording_files(RECORDING, name, "out") for name in WRITERS}


def by_wfdb(files: dict[str, bytes], folder: Path) -> tuple[npt.NDArray[np.float64], float]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    record = wfdb.rdrecord(str(folder / "out"))
    assert tuple(record.sig_name) == LEADS and set(record.units) == {"mV"}
    assert any("Converted by EchoingECG" in comment for comment in record.comments)
    return record.p_signal.T, record.fs


def by_edfio(files: dict[str, bytes], folder: Path) -> tuple[npt.NDArray[np.float64], float]:
    edf = edfio.read_edf(io.BytesIO(files["out.edf"]))
    assert [s.label for s in edf.signals] == [f"ECG {lead}" for lead in LEADS]
    assert {s.physical_dimension for s in edf.signals} == {"uV"}
    rows = np.array([s.data for s in edf.signals]) / 1000
    said = [a for a in edf.annotations if a.text.startswith("Not recorded")]
    for one in said:
        start = round(one.onset * FS_HZ)
        stop = start + round((one.duration or 0.0) * FS_HZ)
        lead = one.text.partition("@@ECG ")[2]
        rows[LEADS.index(lead) if lead else slice(None), start:stop] = np.nan
    assert any("Converted by EchoingECG" in a.text for a in edf.annotations)
    return rows, edf.signals[0].sampling_frequency


def by_pydicom(files: dict[str, bytes], folder: Path) -> tuple[npt.NDArray[np.float64], float]:
    ds = pydicom.dcmread(io.BytesIO(files["out.dcm"]))
    assert ds.SOPClassUID.name == "12-lead ECG Waveform Storage"
    group = ds.WaveformSequence[0]
    names = [c.ChannelSourceSequence[0].CodeMeaning for c in group.ChannelDefinitionSequence]
    assert names == [f"Lead {lead}" for lead in LEADS]
    raw = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).T
    assert group.WaveformPaddingValue == b"\0\x80"
    # In the unit of the object, microvolts.
    rows = np.where(raw == -32768, np.nan, ds.waveform_array(0).T / 1000)
    notes = [a.UnformattedTextValue for a in ds.WaveformAnnotationSequence]
    assert any("Converted by EchoingECG" in note for note in notes)
    return rows, float(group.SamplingFrequency)


def by_elements(files: dict[str, bytes], folder: Path) -> tuple[npt.NDArray[np.float64], float]:
    root = ET.fromstring(files["out.xml"])
    v3 = {"v": "urn:hl7-org:v3"}
    rows, fs_hz = np.full((12, N_TIMES), np.nan), 0.0
    for one in root.iterfind(".//v:sequenceSet", v3):
        start = 0
        for sequence in one.iterfind("v:component/v:sequence", v3):
            code, value = sequence.find("v:code", v3), sequence.find("v:value", v3)
            assert code is not None and value is not None
            if code.get("code") == "TIME_RELATIVE":
                fs_hz = 1 / float(value.find("v:increment", v3).get("value"))  # type: ignore
                start = round(float(value.find("v:head", v3).get("value")) * fs_hz)  # type: ignore
                continue
            lead = str(code.get("code")).removeprefix("MDC_ECG_LEAD_")
            row = [name.upper() for name in LEADS].index(lead)
            scale = value.find("v:scale", v3)
            assert scale is not None and scale.get("unit") == "uV"
            digits = np.array((value.findtext("v:digits", "", v3)).split(), dtype=float)
            stop = start + digits.size
            rows[row, start:stop] = digits * float(str(scale.get("value"))) / 1000
    assert "Converted by EchoingECG" in root.findtext("v:text", "", v3)
    return rows, fs_hz


def by_pandas(files: dict[str, bytes], folder: Path) -> tuple[npt.NDArray[np.float64], float]:
    [(name, content)] = files.items()
    if name.endswith(".csv"):
        frame = pd.read_csv(io.BytesIO(content), comment="#")
        assert b"Converted by EchoingECG" in content
    else:
        frame = pd.read_parquet(io.BytesIO(content))
        assert b"Converted by EchoingECG" in content
    time_s = frame.iloc[:, 0].to_numpy()
    return frame.iloc[:, 1:].to_numpy().T, float(1 / np.median(np.diff(time_s)))


OUTSIDE = {
    "wfdb": by_wfdb, "edf": by_edfio, "dicom": by_pydicom, "aecg": by_elements,
    "csv": by_pandas, "parquet": by_pandas,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_others_read_the_same_to_half_a_unit_and_the_same_gaps(name: str, tmp_path: Path) -> None:
    rows, fs_hz = OUTSIDE[name](FILES[name], tmp_path)
    assert fs_hz == pytest.approx(FS_HZ, rel=1e-6)
    np.testing.assert_array_equal(np.isnan(rows), np.isnan(RECORDING.signal_mv))
    # Half of 0.1 uV, and the rounding of float32.
    np.testing.assert_allclose(rows, RECORDING.signal_mv, atol=0.00005 + 3e-7)


@pytest.mark.parametrize("name", WRITERS)
def test_ours_reads_it_back(name: str) -> None:
    back = read_recording(FILES[name])
    assert back.fs_hz == FS_HZ and back.lead_names == LEADS and not back.simulated
    np.testing.assert_array_equal(np.isnan(back.signal_mv), np.isnan(RECORDING.signal_mv))
    np.testing.assert_allclose(back.signal_mv, RECORDING.signal_mv, atol=0.00005 + 3e-7)


def test_files_of_one_stem_in_a_folder_are_each_read_as_themselves(tmp_path: Path) -> None:
    """An export beside its WFDB record was read as that record, by the batch and by `embed`."""
    whole, sizes = recording(gaps=False), {}
    for k, name in enumerate(WRITERS, 1):
        other = replace(whole, signal_mv=whole.signal_mv * (0.5 + 0.1 * k))
        for file, content in recording_files(other, name, "out").items():
            (tmp_path / file).write_bytes(content)
            sizes[file] = 0.5 + 0.1 * k
    (tmp_path / "out.mat").write_bytes(b"")
    items, _ = folder_items(tmp_path)
    assert {item.name for item in items} >= {"out", "out.edf", "out.csv", "out.xml", "out.mat"}
    for item in items:
        if item.name == "out.mat":
            with pytest.raises(UnreadableRecordError, match="empty"):
                item.read()
            continue
        expected = sizes[item.files[0].name]
        path = item.files[0].path
        assert path is not None
        for read in (item.read(), read_recording(path), read_recording([path])):
            assert np.allclose(read.signal_mv, expected * whole.signal_mv, atol=0.001)
        assert records_in([path]) == records_in(path)


@pytest.mark.parametrize("name", WRITERS)
def test_nobody_is_named_and_what_is_simulated_says_so(name: str) -> None:
    for content in FILES[name].values():
        for encoding in ("ascii", "utf-16-le"):
            assert "Mustermann".encode(encoding) not in content
    simulated = recording_files(replace(RECORDING, simulated=True), name, "out")
    assert read_recording(simulated).simulated


def test_a_long_table_still_says_that_it_is_simulated() -> None:
    noise = np.random.default_rng(0).normal(size=(12, 20_000)).astype(np.float32)
    one = replace(RECORDING, signal_mv=noise, simulated=True)
    files = recording_files(one, "parquet", "out")
    assert len(files["out.parquet"]) > 3 * 65_536
    assert read_recording(files).simulated


@pytest.mark.parametrize(("fs_hz", "n_times"), [(512.0, 1511), (1e6 / 1953, 1500), (360.5, 1009)])
@pytest.mark.parametrize("name", ["edf", "aecg", "wfdb"])
def test_odd_rates_and_lengths(name: str, fs_hz: float, n_times: int) -> None:
    one = recording(False, fs_hz, n_times)
    back = read_recording(recording_files(one, name, "out"))
    assert back.fs_hz == pytest.approx(fs_hz, rel=1e-8) and back.n_times == n_times
    np.testing.assert_allclose(back.signal_mv, one.signal_mv, atol=0.00005 + 3e-7)


def test_the_unit_grows_with_the_signal_and_channels_that_are_no_leads_are_numbered() -> None:
    loud = replace(RECORDING, signal_mv=RECORDING.signal_mv * 30)
    out = outgoing(loud)
    assert out.unit_uv == 2.0
    half = out.unit_uv / 2000
    np.testing.assert_allclose(out.signal_mv(), loud.signal_mv, atol=half + 1e-5)
    other = replace(RECORDING, lead_names=(*LEADS[:9], "ECG2", "Erika ECG", NAME))
    assert outgoing(other).lead_names[-3:] == ("ECG2", "channel 11", "channel 12")
    with pytest.raises(ConfigError, match="no ECG has it"):
        outgoing(replace(RECORDING, signal_mv=RECORDING.signal_mv * 1e5))


def test_what_a_format_cannot_hold_is_said() -> None:
    slow = recording(fs_hz=20.0)
    with pytest.raises(ConfigError, match="No DICOM object holds 12 leads at 20 Hz"):
        recording_files(slow, "dicom", "out")
    with pytest.raises(ConfigError, match="choose wfdb, edf"):
        recording_files(RECORDING, "pdf", "out")


def test_long_recordings_become_other_objects() -> None:
    long = recording(False, n_times=20_000)
    files = recording_files(long, "dicom", "out")
    kind = pydicom.dcmread(io.BytesIO(files["out.dcm"])).SOPClassUID.name
    assert kind == "General ECG Waveform Storage"
    longer = replace(long, fs_hz=100.0)
    files = recording_files(longer, "dicom", "out")
    kind = pydicom.dcmread(io.BytesIO(files["out.dcm"])).SOPClassUID.name
    assert kind == "Ambulatory ECG Waveform Storage"


def test_remarks_say_where_it_comes_from() -> None:
    lines = remarks_of(RECORDING)
    assert "from EDF; names, dates" in lines[0]
    assert lines[1].startswith("I, II, III") and "filters 0.05 to 150 Hz" in lines[1]
    assert lines[2] == "Lead V1 is …, a modified limb lead."
