"""EDF and DICOM against edfio and pydicom: files that they wrote, values that they read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from echoing_core.io import read_recording
from tests import ecg_files as made

edfio = pytest.importorskip("edfio")


RNG = np.random.default_rng(7)
LABELS = ("ECG I", "ECG II", "ECG V1")
MV_OF = {"uV": 1e-3, "mV": 1.0, "V": 1e3}


@pytest.mark.parametrize("units", sorted(MV_OF))
@pytest.mark.parametrize("kind", ["Edf", "Bdf"])
def test_what_edfio_writes_is_read_as_edfio_reads_it(kind: str, units: str, tmp_path: Path) -> None:
    signal = getattr(edfio, f"{kind}Signal")
    mv = np.cumsum(RNG.normal(size=(3, 5000)), axis=1) / 20
    signals = [
        signal(
            row / MV_OF[units],
            500,
            label=label,
            physical_dimension=units,
            physical_range=(-4.0 / MV_OF[units], 5.0 / MV_OF[units]) if i == 1 else None,
            prefiltering="HP:0.05Hz",
        )
        for i, (label, row) in enumerate(zip(LABELS, np.clip(mv, -4, 5), strict=True))
    ]
    notes = [edfio.EdfAnnotation(1.5, None, "Mrs Doe feels faint")]
    written = getattr(edfio, kind)(signals, annotations=notes)
    buffer = io.BytesIO()
    written.write(buffer)
    recording = read_recording({"a.bin": buffer.getvalue()})
    assert recording.file_format == f"{kind.upper()}+"
    assert recording.lead_names == ("I", "II", "V1") and recording.fs_hz == 500
    for row, one in zip(recording.signal_mv, written.signals, strict=True):
        np.testing.assert_allclose(row, one.data * MV_OF[units], rtol=1e-6, atol=1e-6)
    assert "Doe" not in repr(recording.notes)
    assert all("HP:0.05Hz" in words for words in recording.stated)


def test_our_interrupted_file_is_what_edfio_calls_interrupted() -> None:
    onsets = [0, 1, 2, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    data = made.edf(made.ecg(), onsets_s=onsets)
    theirs = edfio.read_edf(data)
    assert not theirs.is_continuous
    ours = read_recording({"a.edf": data})
    np.testing.assert_allclose(
        ours.signal_mv[:, 3500:],
        np.array([s.data for s in theirs.signals])[:, 1500:] / 1000,
        atol=1e-6,
    )


def test_an_object_of_pydicom_is_read_as_pydicom_reads_it() -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    path = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    theirs = pydicom.dcmread(path).waveform_array(0).T / 1000
    for source in (path, {"ecg": path.read_bytes()}):
        ours = read_recording(source)
        np.testing.assert_allclose(ours.signal_mv, theirs, atol=1e-6)
        assert ours.lead_names == made.LEADS and ours.fs_hz == 1000


def test_our_objects_and_theirs_agree_on_every_group() -> None:
    import pydicom

    signal = made.ecg()
    data = made.dicom(signal, groups=[(0, 3000), (3000, 6000)])
    theirs = pydicom.dcmread(io.BytesIO(data))
    joined = np.concatenate([theirs.waveform_array(i) for i in (1, 2)]).T / 1000
    np.testing.assert_allclose(read_recording({"a": data}).signal_mv, joined, atol=1e-6)
