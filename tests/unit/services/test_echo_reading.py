"""An echocardiogram beside an ECG: hostile clips, agreement, and who shares whose space."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_teacher import fake_reader
from tiny_model import write_tiny_model

from echoing_core import services
from echoing_core.echo.reading import EchoReader, EchoReading
from echoing_core.errors import CheckpointError, ConfigError, EchoingError
from echoing_core.io.echo.avi import write_avi
from echoing_core.models.checkpoint import load_checkpoint, update_documents
from echoing_core.records import EchoClip, Recording
from echoing_core.retrieve.echo_pairs import EchoPairDistances
from echoing_core.services import echo_clips
from echoing_core.services.echo_reading import agreement_of, why_no_distance


def moving(n: int = 8, seed: int = 0) -> EchoClip:
    frames = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 1), np.uint8)
    return EchoClip(np.repeat(frames, 3, axis=-1), 20.0, "c", "a4c", simulated=True)


def avi(folder: Path, clip: EchoClip) -> bytes:
    write_avi(folder / "made.avi", clip)
    return (folder / "made.avi").read_bytes()


@pytest.fixture(scope="module")
def reader() -> EchoReader:
    return fake_reader()


@pytest.fixture(scope="module")
def reading(reader: EchoReader, tmp_path_factory: pytest.TempPathFactory) -> EchoReading:
    content = avi(tmp_path_factory.mktemp("clip"), moving())
    return reader.read(services.read_echo([("x.avi", content)], reader).study)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_model(place)
    return place


def ecg(n_leads: int = 12) -> Recording:
    names = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    rng = np.random.default_rng(5)
    signal = rng.normal(0.0, 0.2, (n_leads, 5000)).astype(np.float32)
    return Recording(signal, 500.0, names[:n_leads], "ecg", names[:n_leads], simulated=True)


# Reading clips


def test_an_upload_is_read_and_leaves_nothing_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: EchoReader
) -> None:
    content = avi(tmp_path, moving(60))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    # Names as a browser may send them; two of one name, and one without an ending.
    names = ["../../etc/x.avi", "x.avi", "IM0001", "C:\\\\echo\\\\..avi"]
    echo = services.read_echo([(name, content) for name in names], reader)
    assert len(echo.study.clips) == 4 and not list(scratch.iterdir())
    # Only the frames that are read, at the size of the teacher.
    assert echo.study.clips[0].frames.shape == (40, 16, 16, 3)
    assert echo.pictures[0].shape == (32, 32, 3)
    assert reader.read(echo.study).n_frames == 80


def test_paths_and_folders_are_read_alike(tmp_path: Path, reader: EchoReader) -> None:
    for name in ("a.avi", "b.avi", "c"):
        write_avi(tmp_path / "x.avi", moving())
        (tmp_path / "x.avi").rename(tmp_path / name)
    (tmp_path / "broken.avi").write_bytes(b"RIFF")
    of_folder = services.read_echo(tmp_path, reader).study
    # A file without an ending is read where it is named, not looked for in a folder.
    assert [clip.clip_id for clip in of_folder.clips] == ["a", "b"]
    assert len(of_folder.notes) == 1 and "broken.avi" in of_folder.notes[0]
    one = services.read_echo([tmp_path / "c"], reader).study
    assert (one.clips[0].frames == of_folder.clips[0].frames).all()


def test_each_hostile_file_is_one_clear_sentence(
    tmp_path: Path, reader: EchoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tmp_path / "huge.avi"
    with sparse.open("wb") as stream:
        stream.truncate(2 * 1024**3 + 1)
    whole = avi(tmp_path, moving())
    cases = {
        "not an AVI video": [("broken.avi", whole[:900])],
        "not a DICOM file": [("empty.dcm", b"")],
        "huge.avi is not an AVI video": [sparse],
        "moving picture": [("still.avi", avi(tmp_path, moving(1)))],
        "not an echocardiography clip by its ending": [("x.mp4", b"\0\0\0 ftypisom" * 20)],
        "There is no file": [tmp_path / "absent.avi"],
        "None of the 2 files": [("a.avi", b"RIFF"), ("b.avi", b"")],
        "No echo clip was given": [],
        "501 clips": [("a.avi", b"")] * 501,
    }
    for words, files in cases.items():
        with pytest.raises(EchoingError, match=words) as told:
            reader.read(services.read_echo(files, reader).study)
        assert "\n" not in str(told.value) and str(tmp_path) not in str(told.value)
    monkeypatch.setattr(echo_clips, "MAX_ECHO_BYTES", 1000)
    with pytest.raises(EchoingError, match=r"are read\. Cut them"):
        services.read_echo([("a.avi", whole)], reader)
    (tmp_path / "bare").mkdir()
    with pytest.raises(EchoingError, match="bare holds no echo clip"):
        services.read_echo(tmp_path / "bare", reader)


def test_a_dicom_without_frames_is_one_clear_sentence(tmp_path: Path, reader: EchoReader) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    path = tmp_path / "none.dcm"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    empty = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    empty.SOPClassUID = meta.MediaStorageSOPClassUID
    empty.SOPInstanceUID = "1.2.3"
    empty.NumberOfFrames, empty.Rows, empty.Columns = 12, 32, 32
    empty.BitsAllocated = empty.BitsStored = 8
    empty.HighBit, empty.PixelRepresentation, empty.SamplesPerPixel = 7, 0, 1
    empty.PhotometricInterpretation = "MONOCHROME2"
    empty.save_as(path, enforce_file_format=True)
    # Under a name without an ending, as archives have them.
    with pytest.raises(EchoingError, match=r"IM1\.dcm is damaged or cut short"):
        services.read_echo([("IM1", path.read_bytes())], reader)


# What to know before it is believed


def test_a_stand_in_is_never_believed_of_a_real_heart(reading: EchoReading) -> None:
    assert not any("not to be believed" in said for said in services.echo_cautions(reading))
    real = dataclasses.replace(reading, echo_simulated=False)
    assert any("not to be believed" in said for said in services.echo_cautions(real))
    other = dataclasses.replace(real, teacher_simulated=False)
    assert not any("not to be believed" in said for said in services.echo_cautions(other))
    assert any("1 clip;" in said for said in services.echo_cautions(reading))


@pytest.mark.parametrize(
    ("ecg_says", "echo_reads", "agreement"),
    [
        ("yes", "yes", "agree"),
        ("leans no (unvalidated)", "no", "agree"),
        ("leans yes (not calibrated)", "no", "disagree"),
        ("no", "yes", "disagree"),
        ("not sure enough", "yes", "cannot be told"),
        ("yes", "unclear", "cannot be told"),
        ("no", "", "cannot be told"),
    ],
)
def test_agreement_is_told_only_where_both_say_something(
    ecg_says: str, echo_reads: str, agreement: str
) -> None:
    assert agreement_of(ecg_says, echo_reads) == agreement


# The distance


def test_a_model_without_this_teacher_tells_no_distance(
    folder: Path, reading: EchoReading, reader: EchoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = services.load_model(folder)
    beside = services.beside_ecg(model, services.explain(model, ecg()), reading)
    assert beside.distance is None
    assert "was not trained with this echo teacher" in beside.no_distance
    assert [one.finding.key for one in beside.comparisons] == ["lvef_lt40", "slvh", "dlv"]
    other = dataclasses.replace(model, trained_on={"echo_teacher": "f" * 64})
    assert not services.trained_with(other, reading.teacher_hash)
    # Before anything is simulated.
    monkeypatch.setattr("echoing_core.echo.teacher.load_teacher", lambda _: reader.teacher)
    with pytest.raises(CheckpointError, match="not trained with this echo teacher"):
        services.measure_echo_pairs(other)


def test_the_distance_of_ecg_and_echo_is_the_csd_among_its_pairs(
    folder: Path, reading: EchoReading
) -> None:
    bare = dataclasses.replace(
        services.load_model(folder), trained_on={"echo_teacher": reading.teacher_hash}
    )
    assert "never measured" in why_no_distance(bare, reading)
    pairs = EchoPairDistances.of(
        np.linspace(0, 2, 50), np.linspace(1, 4, 60),
        source="test pairs", simulated=True, teacher_hash=reading.teacher_hash,
    )  # fmt: skip
    update_documents(folder, measured={"echo_pairs": pairs.to_dict()})
    model = dataclasses.replace(bare, checkpoint=load_checkpoint(folder))
    explanation = services.explain(model, ecg())
    beside = services.beside_ecg(model, explanation, reading)
    assert beside.distance is not None and beside.no_distance == ""
    # The definition, term by term.
    one, other = explanation.track.embedding, reading.embedding
    squared = ((one.mu[0].astype(float) - other.mu[0]) ** 2).sum()
    spread = np.exp(one.log_var[0].astype(float)).sum() + np.exp(other.log_var[0]).sum()
    assert beside.distance.csd == pytest.approx(squared + spread, rel=1e-4)
    assert beside.to_dict()["distance"]["reference"] == "test pairs"
    assert not beside.cautions
    few = services.beside_ecg(model, services.explain(model, ecg(2)), reading)
    assert any("all 12 leads" in said for said in few.cautions)
    # Pairs of another teacher count as none.
    strange = dataclasses.replace(reading, teacher_hash="0" * 64)
    assert services.echo_pair_distances(model, "0" * 64) is None
    assert "not trained with" in why_no_distance(model, strange)


def test_which_teacher_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = services.assets_folder() / "teachers" / "stand_in"
    assert services.teacher_source() == shipped
    monkeypatch.setenv("ECHOING_TEACHER", str(tmp_path))
    assert services.teacher_source() == str(tmp_path)
    assert services.teacher_source("named") == "named"
    with pytest.raises((CheckpointError, ConfigError)):
        services.load_echo_reader()
