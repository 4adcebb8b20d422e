"""Echocardiography clips from AVI and DICOM files that the tests write."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from echoing_core.errors import ConfigError, UnreadableRecordError
from echoing_core.io.echo import avi as echo_avi
from echoing_core.io.echo import clips as echo
from echoing_core.io.echo import frames as echo_frames
from echoing_core.io.echo.avi import read_avi, write_avi
from echoing_core.io.echo.clips import read_echo_clip, read_echo_study
from echoing_core.io.echo.dicom import frames_per_second, read_dicom_clip, read_dicom_with_notes
from echoing_core.io.echo.frames import resized
from echoing_core.records import EchoClip
from echoing_core.simulate import write_cohort
from echoing_core.simulate.echo.clips import study_clips
from echoing_core.simulate.heart.patients import parse_record_id

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("av")

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
SECRET = "Mustermann^Erika"
N, HEIGHT, WIDTH = 4, 24, 32


def smooth_rgb(n: int = N) -> npt.NDArray[np.uint8]:
    """Colours that change slowly, so that halving them across loses next to nothing."""
    t, y, x = np.mgrid[0:n, 0:HEIGHT, 0:WIDTH]
    return np.stack([4 * y + 20 * t, 4 * x + 60, 120 + 2 * y - x], axis=-1).astype(np.uint8)


def ybr_of(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The equations of PS3.3 C.7.6.3.1.2 for YBR_FULL, in floating point."""
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    y = 0.2990 * r + 0.5870 * g + 0.1140 * b
    cb = -0.1687 * r - 0.3313 * g + 0.5000 * b + 128
    cr = 0.5000 * r - 0.4187 * g - 0.0813 * b + 128
    return np.clip(np.rint(np.stack([y, cb, cr], axis=-1)), 0, 255).astype(np.uint8)


def interleaved_422(ybr: npt.NDArray[np.uint8]) -> bytes:
    """Y1 Y2 Cb Cr for each pair of pixels in a row: two bytes a pixel."""
    pairs = np.empty((*ybr.shape[:2], ybr.shape[2] // 2, 4), dtype=np.uint8)
    pairs[..., 0], pairs[..., 1] = ybr[:, :, 0::2, 0], ybr[:, :, 1::2, 0]
    pairs[..., 2:] = ybr[:, :, 0::2, 1:]
    return pairs.tobytes()


def region(x0: int, y0: int, x1: int, y1: int, spatial: int = 1, data: int = 1) -> Any:
    item = pydicom.Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial, data
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    return item


def write_dicom(
    path: Path,
    pixels: bytes | Sequence[bytes],
    *,
    colours: str = "RGB",
    n_frames: int = N,
    kind: str = ULTRASOUND,
    regions: Sequence[Any] = (),
    syntax: str = "1.2.840.10008.1.2.1",
    **more: Any,
) -> Path:
    """An ultrasound object; a list of ``pixels`` is encapsulated, one fragment a frame."""
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = kind, "1.2.3.4"
    ds.PatientName, ds.PatientID, ds.Modality = SECRET, "4711-secret", "US"
    ds.Rows, ds.Columns, ds.NumberOfFrames = HEIGHT, WIDTH, n_frames
    ds.SamplesPerPixel = 1 if colours in ("MONOCHROME2", "MONOCHROME1", "PALETTE COLOR") else 3
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PhotometricInterpretation = colours
    if regions:
        ds.SequenceOfUltrasoundRegions = list(regions)
    for name, value in more.items():
        setattr(ds, name, value)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = kind, "1.2.3.4"
    if isinstance(pixels, bytes):
        ds.PixelData = pixels
    else:
        from pydicom.encaps import encapsulate

        ds.PixelData = encapsulate(list(pixels))
        ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


# AVI


@pytest.mark.parametrize("view", ["a4c", "psax"])
def test_a_simulated_clip_comes_back_as_it_was(tmp_path: Path, view: str) -> None:
    (clip,) = study_clips(7, 3, views=(view,), n_frames=6)
    write_avi(tmp_path / "one.avi", clip)
    back = read_avi(tmp_path / "one.avi")
    assert np.array_equal(back.frames, clip.frames)
    assert back.fps == pytest.approx(clip.fps, rel=1e-4)
    assert (back.clip_id, back.view, back.simulated) == ("one", view, True)
    assert b"Simulated by EchoingECG" in (tmp_path / "one.avi").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["one.avi"]


def test_colours_and_an_unknown_rate_come_back(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 31, 45, 3), dtype=np.uint8)
    write_avi(tmp_path / "c.avi", EchoClip(frames, math.nan, "c"))
    back = read_avi(tmp_path / "c.avi")
    assert np.array_equal(back.frames, frames)
    assert math.isnan(back.fps)
    assert not back.simulated
    assert back.view == ""
    assert len(read_avi(tmp_path / "c.avi", max_frames=2).frames) == 2
    assert read_avi(tmp_path / "c.avi", size=16).frames.shape == (5, 16, 16, 3)


def test_motion_jpeg_of_others_is_read(tmp_path: Path) -> None:
    import av

    frames = smooth_rgb(7)
    with av.open(str(tmp_path / "0X1A.avi"), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=50)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    clip = read_echo_clip(tmp_path / "0X1A.avi")
    assert clip.fps == 50.0
    assert clip.frames.shape == frames.shape
    assert np.abs(clip.frames.astype(int) - frames).mean() < 8
    assert not clip.simulated


def test_damaged_videos_are_told_in_one_sentence(tmp_path: Path) -> None:
    (clip,) = study_clips(7, 3, views=("a4c",), n_frames=12)
    write_avi(tmp_path / "whole.avi", clip)
    whole = (tmp_path / "whole.avi").read_bytes()
    cases = {
        "cut": whole[: len(whole) // 2],
        "header": whole[:300],
        "empty": b"",
        "junk": b"hello" * 999,
        "list": b"#EXTM3U\n#EXTINF:1,\nwhole.avi\n",
    }
    for name, data in cases.items():
        (tmp_path / f"{name}.avi").write_bytes(data)
        with pytest.raises(UnreadableRecordError, match=rf"{name}\.avi"):
            read_avi(tmp_path / f"{name}.avi")
    with pytest.raises(UnreadableRecordError, match="no file absent"):
        read_avi(tmp_path / "absent.avi")


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "s.avi"), "w", format="avi") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = np.zeros((1, 8000), dtype=np.int16)
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableRecordError, match="no video"):
        read_avi(tmp_path / "s.avi")


def test_limits_hold_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clip,) = study_clips(7, 3, views=("a4c",), n_frames=6)
    write_avi(tmp_path / "big.avi", clip)
    with monkeypatch.context() as patch:
        patch.setattr(echo_frames, "MAX_FRAMES", 5)
        with pytest.raises(UnreadableRecordError, match="at most 5"):
            read_avi(tmp_path / "big.avi")
    with monkeypatch.context() as patch:
        patch.setattr(echo_frames, "MAX_PIXELS", 1000)
        with pytest.raises(UnreadableRecordError, match="1,000 pixels"):
            read_avi(tmp_path / "big.avi")
    with monkeypatch.context() as patch:
        patch.setattr(echo_frames, "MAX_SIDE", 100)
        with pytest.raises(UnreadableRecordError, match="112 x 112"):
            read_avi(tmp_path / "big.avi")
    with monkeypatch.context() as patch:
        patch.setattr(echo_avi, "MAX_DURATION_S", 0.1)
        with pytest.raises(UnreadableRecordError, match="lasts"):
            read_avi(tmp_path / "big.avi")


def test_a_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    (clip,) = study_clips(7, 3, views=("a4c",), n_frames=2)
    write_avi(tmp_path / "a.avi", clip)
    before = (tmp_path / "a.avi").read_bytes()
    empty = EchoClip(clip.frames[:0], 25.0, "none")
    with pytest.raises(ValueError, match="without frames"):
        write_avi(tmp_path / "a.avi", empty)
    assert (tmp_path / "a.avi").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.avi"]


# DICOM


def test_rgb_with_its_region(tmp_path: Path) -> None:
    frames = smooth_rgb()
    path = write_dicom(
        tmp_path / "a.dcm", frames.tobytes(), regions=[region(3, 2, 20, 17)], CineRate=30
    )
    clip = read_dicom_clip(path)
    # Both corners belong to the region.
    assert np.array_equal(clip.frames, frames[:, 2:18, 3:21])
    assert (clip.fps, clip.clip_id, clip.view, clip.simulated) == (30.0, "a", "", False)
    assert read_dicom_clip(path, size=8, max_frames=2).frames.shape == (2, 8, 8, 3)


def test_without_a_region_frames_stay_whole(tmp_path: Path) -> None:
    frames = smooth_rgb()
    clip, notes = read_dicom_with_notes(write_dicom(tmp_path / "a.dcm", frames.tobytes()))
    assert np.array_equal(clip.frames, frames)
    assert notes == ()
    assert math.isnan(clip.fps)


def test_the_tissue_region_is_chosen_among_several(tmp_path: Path) -> None:
    frames = smooth_rgb()
    doppler, flow = region(0, 0, 31, 5, spatial=3, data=3), region(0, 0, 9, 9, data=2)
    tissue = region(2, 6, 31, 23)
    path = write_dicom(tmp_path / "a.dcm", frames.tobytes(), regions=[doppler, flow, tissue])
    clip, notes = read_dicom_with_notes(path)
    assert np.array_equal(clip.frames, frames[:, 6:, 2:])
    assert notes == ("a.dcm: region 3 of 3 (2-D tissue)",)
    path = write_dicom(tmp_path / "b.dcm", frames.tobytes(), regions=[doppler, flow])
    clip, notes = read_dicom_with_notes(path)
    assert clip.frames.shape == (N, 10, 10, 3)
    assert notes == ("b.dcm: region 2 of 2 (2-D)",)


@pytest.mark.parametrize("corners", [(40, 40, 60, 60), (9, 9, 9, 20), (20, 5, 10, 20)])
def test_a_region_outside_is_noted(tmp_path: Path, corners: tuple[int, int, int, int]) -> None:
    path = write_dicom(tmp_path / "a.dcm", smooth_rgb().tobytes(), regions=[region(*corners)])
    clip, notes = read_dicom_with_notes(path)
    assert clip.frames.shape == (N, HEIGHT, WIDTH, 3)
    assert "whole frames" in notes[0]


def test_ybr_full_422_two_bytes_a_pixel(tmp_path: Path) -> None:
    frames = smooth_rgb()
    pixels = interleaved_422(ybr_of(frames))
    assert len(pixels) == N * HEIGHT * WIDTH * 2
    clip = read_dicom_clip(write_dicom(tmp_path / "a.dcm", pixels, colours="YBR_FULL_422"))
    # Colour is shared by two pixels: their blue differs by one and red by nothing along a row.
    assert np.abs(clip.frames.astype(int) - frames).max() <= 9
    assert np.abs(clip.frames.astype(int) - frames).mean() < 2.5


def test_ybr_that_only_says_422(tmp_path: Path) -> None:
    frames = smooth_rgb()
    pixels = ybr_of(frames).tobytes()
    clip = read_dicom_clip(write_dicom(tmp_path / "a.dcm", pixels, colours="YBR_FULL_422"))
    assert np.abs(clip.frames.astype(int) - frames).max() <= 3


def test_ybr_full(tmp_path: Path) -> None:
    frames = smooth_rgb()
    pixels = ybr_of(frames).tobytes()
    clip = read_dicom_clip(write_dicom(tmp_path / "a.dcm", pixels, colours="YBR_FULL"))
    assert np.abs(clip.frames.astype(int) - frames).max() <= 3


def test_grey_and_planes(tmp_path: Path) -> None:
    frames = smooth_rgb()
    grey = np.ascontiguousarray(frames[..., 0])
    clip = read_dicom_clip(write_dicom(tmp_path / "g.dcm", grey.tobytes(), colours="MONOCHROME2"))
    assert np.array_equal(clip.frames, np.repeat(grey[..., None], 3, axis=-1))
    clip = read_dicom_clip(write_dicom(tmp_path / "n.dcm", grey.tobytes(), colours="MONOCHROME1"))
    assert np.array_equal(clip.frames[..., 1], 255 - grey)
    planes = np.ascontiguousarray(np.moveaxis(frames, -1, 1)).tobytes()
    clip = read_dicom_clip(write_dicom(tmp_path / "p.dcm", planes, PlanarConfiguration=1))
    assert np.array_equal(clip.frames, frames)
    twelve = (grey.astype(np.uint16) << 4).tobytes()
    path = write_dicom(
        tmp_path / "t.dcm",
        twelve,
        colours="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
    )
    assert np.array_equal(read_dicom_clip(path).frames[..., 0], grey)


def test_palette(tmp_path: Path) -> None:
    index = np.random.default_rng(1).integers(0, 256, (N, HEIGHT, WIDTH), dtype=np.uint8)
    table = np.random.default_rng(2).integers(0, 256, (256, 3), dtype=np.uint8)
    more: dict[str, Any] = {}
    for i, name in enumerate(("Red", "Green", "Blue")):
        more[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        values = table[:, i].astype("<u2") * 257
        more[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    path = write_dicom(tmp_path / "a.dcm", index.tobytes(), colours="PALETTE COLOR", **more)
    assert np.array_equal(read_dicom_clip(path).frames, table[index])


@pytest.mark.parametrize("colours", ["YBR_FULL_422", "RGB"])
def test_baseline_jpeg(tmp_path: Path, colours: str) -> None:
    image = pytest.importorskip("PIL.Image")
    frames = smooth_rgb()
    pieces = []
    for frame in frames:
        stream = io.BytesIO()
        kept = {"keep_rgb": True} if colours == "RGB" else {"subsampling": 1}
        image.fromarray(frame).save(stream, "JPEG", quality=95, **kept)
        pieces.append(stream.getvalue())
    path = write_dicom(
        tmp_path / "a.dcm",
        pieces,
        colours=colours,
        syntax="1.2.840.10008.1.2.4.50",
        regions=[region(2, 2, 29, 21)],
    )
    clip = read_dicom_clip(path)
    assert np.abs(clip.frames.astype(int) - frames[:, 2:22, 2:30]).mean() < 4


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", [b"\xff\xd8" * 50] * N, syntax="1.2.840.10008.1.2.4.70")
    with pytest.raises(UnreadableRecordError, match=r"JPEG Lossless.*uncompressed"):
        read_dicom_clip(path)
    path = write_dicom(tmp_path / "j.dcm", [b"\xff\xd8" * 50] * N, syntax="1.2.840.10008.1.2.4.50")
    with pytest.raises(UnreadableRecordError, match="damaged"):
        read_dicom_clip(path)


def test_other_objects_and_damage(tmp_path: Path) -> None:
    good = smooth_rgb().tobytes()
    whole = write_dicom(tmp_path / "w.dcm", good).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) - 500])
    (tmp_path / "head.dcm").write_bytes(whole[:200])
    (tmp_path / "junk.dcm").write_bytes(b"hello" * 999)
    (tmp_path / "empty.dcm").write_bytes(b"")
    write_dicom(tmp_path / "ct.dcm", good, kind="1.2.840.10008.5.1.4.1.1.2")
    write_dicom(tmp_path / "still.dcm", good[: HEIGHT * WIDTH * 3], n_frames=1)
    write_dicom(tmp_path / "many.dcm", good, n_frames=100_000)
    write_dicom(tmp_path / "wide.dcm", good, Columns=60_000)
    write_dicom(tmp_path / "short.dcm", good[:-100])
    write_dicom(tmp_path / "odd.dcm", good, colours="CIELAB")
    write_dicom(tmp_path / "signed.dcm", good, PixelRepresentation=1)
    told = {
        "cut": "damaged",
        "head": "damaged|not a DICOM|another kind",
        "junk": "not a DICOM",
        "empty": "not a DICOM|damaged",
        "ct": "another kind than ultrasound",
        "still": "single picture",
        "many": "100000 frames",
        "wide": "60000 x 24",
        "short": "damaged",
        "odd": "colours",
        "signed": "sign",
        "absent": "no file",
    }
    for name, words in told.items():
        with pytest.raises(UnreadableRecordError, match=words) as caught:
            read_dicom_clip(tmp_path / f"{name}.dcm")
        assert f"{name}.dcm" in str(caught.value)
        assert SECRET not in str(caught.value)
        assert "4711" not in str(caught.value)


def test_values_of_the_wrong_kind_are_damage_and_stay_unsaid(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "w.dcm", smooth_rgb().tobytes()).read_bytes()
    (tmp_path / "x.dcm").write_bytes(
        whole.replace(b"(\x00\x08\x00IS\x02\x004 ", b"(\x00\x08\x00IS\x02\x00Qx")
    )
    with pytest.raises(UnreadableRecordError, match=r"x\.dcm") as caught:
        read_dicom_clip(tmp_path / "x.dcm")
    assert "Qx" not in str(caught.value)


def test_deflated_objects_are_not_inflated(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "z.dcm", smooth_rgb().tobytes(), syntax="1.2.840.10008.1.2.1.99")
    with pytest.raises(UnreadableRecordError, match="deflated"):
        read_dicom_clip(path)


@pytest.mark.parametrize(
    ("values", "fps"),
    [
        ({"CineRate": 30, "FrameTime": "20"}, 30.0),
        ({"FrameTime": "20"}, 50.0),
        ({"FrameTimeVector": ["0", "20", "30"]}, 40.0),
        ({"RecommendedDisplayFrameRate": 25}, 25.0),
        ({"CineRate": 0, "RecommendedDisplayFrameRate": 25}, 25.0),
        ({"FrameTime": "0"}, math.nan),
        ({}, math.nan),
    ],
)
def test_frame_rates(values: dict[str, Any], fps: float) -> None:
    header = pydicom.Dataset()
    for name, value in values.items():
        setattr(header, name, value)
    assert frames_per_second(header) == pytest.approx(fps, nan_ok=True)


# Studies


def test_a_study_keeps_the_order_and_notes_what_it_leaves_out(tmp_path: Path) -> None:
    folder = tmp_path / "s94"
    folder.mkdir()
    frames = smooth_rgb()
    write_dicom(folder / "94_0002.dcm", frames.tobytes(), CineRate=30)
    write_dicom(folder / "94_0001.DCM", frames[::-1].tobytes())
    write_dicom(folder / "94_0003.dcm", frames[:1].tobytes(), n_frames=1)
    (folder / "94_0004.dcm").write_bytes(b"no")
    (folder / "notes.txt").write_text("not a clip")
    (clip,) = study_clips(7, 3, views=("a4c",), n_frames=2)
    write_avi(folder / "a.avi", clip)
    study = read_echo_study(folder)
    assert study.study_id == "s94"
    assert [c.clip_id for c in study.clips] == ["94_0001", "94_0002", "a"]
    assert len(study.notes) == 2
    assert "94_0003.dcm is a single picture" in study.notes[0]
    assert "94_0004.dcm" in study.notes[1]
    assert read_echo_study(folder, "94", size=8).study_id == "94"
    single = read_echo_study(folder / "a.avi")
    assert (single.study_id, single.clips[0].simulated) == ("a", True)


def test_studies_without_clips_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableRecordError, match="holds no echo"):
        read_echo_study(tmp_path)
    (tmp_path / "a.dcm").write_bytes(b"no")
    with pytest.raises(UnreadableRecordError, match=r"None of the 1 files.*a\.dcm"):
        read_echo_study(tmp_path)
    with pytest.raises(UnreadableRecordError, match="by its ending"):
        read_echo_clip(tmp_path / "a.mp4")
    write_dicom(tmp_path / "b.dcm", smooth_rgb().tobytes())
    with monkeypatch.context() as patch:
        patch.setattr(echo, "MAX_STUDY_PIXELS", 100)
        with pytest.raises(UnreadableRecordError, match="size=224"):
            read_echo_study(tmp_path)
    monkeypatch.setattr(echo, "MAX_CLIPS", 1)
    with pytest.raises(UnreadableRecordError, match="2 clips"):
        read_echo_study(tmp_path)


def test_a_written_cohort_has_its_echocardiograms(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    n_ecgs = write_cohort(folder, 2, 7, echo=True)
    with (folder / "studies.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n_ecgs
    for row in rows:
        study = read_echo_study(folder / row["echo_path"])
        assert study.study_id == row["study_id"]
        seed, patient, ecg = parse_record_id(row["record_id"])
        for clip, drawn in zip(study.clips, study_clips(seed, patient, ecg), strict=True):
            assert (clip.view, clip.simulated) == (drawn.view, True)
            assert np.array_equal(clip.frames, drawn.frames)
    assert "SIMULATED echo" in (folder / "README.txt").read_text(encoding="utf-8")


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"PyAV.*requirements\.txt"):
        write_cohort(tmp_path / "c", 1, 7, echo=True)
    assert not (tmp_path / "c").exists()
    (tmp_path / "a.avi").write_bytes(b"")
    with pytest.raises(ConfigError, match="PyAV"):
        read_avi(tmp_path / "a.avi")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "a.dcm").write_bytes(b"")
    with pytest.raises(ConfigError, match="pydicom"):
        read_dicom_clip(tmp_path / "a.dcm")


def test_resizing_keeps_the_mean_of_each_area() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    halved = frame.reshape(6, 2, 10, 2, 3).mean(axis=(1, 3))
    grid = resized(np.ascontiguousarray(frame[:, :12]), 6)
    assert np.abs(grid - halved[:, :6]).max() <= 0.5
    assert resized(frame, None) is frame
    assert resized(frame, 30).shape == (30, 30, 3)
