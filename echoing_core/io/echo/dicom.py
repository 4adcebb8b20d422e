"""Ultrasound clips as DICOM objects: Ultrasound Multi-frame Image Storage, current and retired.

No value of the object but sizes, rates and codes of its kind ever stands in a message, and the
names of what is left out are those of files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.decoders import (
    DEFLATED,
    check_items,
    damage_as,
    import_decoder,
    transfer_syntax,
)
from echoing_core.io.echo.frames import U8, check_size, clip_file, resized
from echoing_core.io.sources import SourceFile, shown
from echoing_core.records import EchoClip

MAX_FILE_BYTES = 2 * 1024**3

_MULTI_FRAME = ("1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.3")
_SINGLE_FRAME = ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.6")
# What pydicom turns into RGB.
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PALETTE = "PALETTE COLOR"
_GREYS = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True)
class Region:
    """Part of the frames that holds the picture, both corners included.

    Attributes
    ----------
    rows, columns : slice
    note : str
        What was chosen among several, or why there is none; empty where nothing is to be said.
    """

    rows: slice
    columns: slice
    note: str = ""


def read_dicom_clip(
    file: Path | SourceFile, *, size: int | None = None, max_frames: int | None = None
) -> EchoClip:
    """Read one multi-frame ultrasound object.

    Cropped to its first two-dimensional tissue region (Sequence of Ultrasound Regions,
    (0018,6011), spatial format 1 and data type 1), without one to its first 2-D region, without
    any 2-D one to the first region; objects without regions keep their whole frames.

    Parameters
    ----------
    file : path or SourceFile
    size : int, optional
        Height and width to bring each frame to as it is read, which saves memory.
    max_frames : int, optional
        Read no more than so many, from the first.

    Returns
    -------
    EchoClip
        RGB; ``fps`` from Cine Rate, Frame Time, Frame Time Vector or Recommended Display Frame
        Rate, the first of them that is there.

    Raises
    ------
    UnreadableRecordError
        Not DICOM, not moving ultrasound, damaged, compressed in a way that cannot be decoded
        here, or too large.
    """
    return read_dicom_with_notes(file, size=size, max_frames=max_frames)[0]


def read_dicom_with_notes(
    file: Path | SourceFile, *, size: int | None = None, max_frames: int | None = None
) -> tuple[EchoClip, tuple[str, ...]]:
    """As `read_dicom_clip`, with notes on the choice of the region.

    Parameters
    ----------
    file, size, max_frames
        As for `read_dicom_clip`.

    Returns
    -------
    clip : EchoClip
    notes : tuple of str
        Empty where there was nothing to choose.
    """
    source = clip_file(file)
    name = shown(source.name)
    header = _read_header(source, name)
    n_frames, height, width = _check_kind(header, name)
    check_size(name, n_frames, height, width)
    # Elements are parsed when they are asked for, and what pydicom then misses is an OSError.
    with _damage_as_sentence(name, OSError):
        region, fps = choose_region(header, height, width), frames_per_second(header)
    wanted = n_frames if max_frames is None else min(n_frames, max_frames)
    frames = []
    with _damage_as_sentence(name, OSError):
        for frame in _pixels(source, header, wanted, name):
            picture = _rgb(frame, header)
            if picture.shape[:2] != (height, width):
                raise ValueError("a frame of another size")
            frames.append(resized(picture[region.rows, region.columns], size))
    if len(frames) < wanted:
        raise UnreadableRecordError(
            f"{name} ends early: {len(frames)} of {n_frames} frames can be read. Copy it again."
        )
    clip = EchoClip(frames=np.stack(frames), fps=fps, clip_id=source.stem)
    return clip, (f"{name}: {region.note}",) if region.note else ()


def choose_region(header: Any, height: int, width: int) -> Region:
    """Choose the region to crop to; see `read_dicom_clip`.

    Parameters
    ----------
    header : pydicom.Dataset
    height, width : int
        Of the frames.
    """
    uncropped = Region(slice(0, height), slice(0, width))
    regions = list(header.get((0x0018, 0x6011), None) or [])
    if not regions:
        return uncropped
    # Spatial format (1: 2-D) and data type (1: tissue) of each region.
    kinds = [(_number(r, 0x6012), _number(r, 0x6014)) for r in regions]
    chosen = next((i for i, kind in enumerate(kinds) if kind == (1, 1)), None)
    kind_chosen = "2-D tissue"
    if chosen is None:
        chosen, kind_chosen = next((i for i, kind in enumerate(kinds) if kind[0] == 1), None), "2-D"
    if chosen is None:
        chosen, kind_chosen = 0, "no 2-D tissue among them"
    x0, y0, x1, y1 = (_number(regions[chosen], tag) for tag in (0x6018, 0x601A, 0x601C, 0x601E))
    if x0 is None or y0 is None or x1 is None or y1 is None:
        return Region(
            uncropped.rows, uncropped.columns, "its region has no corners; whole frames kept"
        )
    # Both corners are inside the region (PS3.3 C.8.5.5.1).
    rows = slice(max(y0, 0), min(y1 + 1, height))
    columns = slice(max(x0, 0), min(x1 + 1, width))
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        return Region(
            uncropped.rows, uncropped.columns, "its region lies outside; whole frames kept"
        )
    note = f"region {chosen + 1} of {len(regions)} ({kind_chosen})" if len(regions) > 1 else ""
    return Region(rows, columns, note)


def frames_per_second(header: Any) -> float:
    """Frame rate of an object.

    Parameters
    ----------
    header : pydicom.Dataset

    Returns
    -------
    float
        NaN where it says none that can be true (0.5 to 2000 a second).
    """
    vector = header.get("FrameTimeVector")
    times = [vector] if isinstance(vector, (int, float)) else list(vector or [])
    # The first entry of the vector is the time before the first frame, which is none.
    mean_ms = _mean([float(t) for t in times[1:]])
    candidates = (
        _float(header.get("CineRate")),
        _rate(_float(header.get("FrameTime"))),
        _rate(mean_ms),
        _float(header.get("RecommendedDisplayFrameRate")),
    )
    return next((fps for fps in candidates if 0.5 <= fps <= 2000.0), math.nan)


def _read_header(file: SourceFile, name: str) -> Any:
    """Everything but the pixels; refuses what may not be parsed at all."""
    pydicom = import_decoder("pydicom", "pydicom")
    from pydicom.errors import InvalidDicomError

    if file.size > MAX_FILE_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_FILE_BYTES // 1024**3} GiB, the most that is read."
        )
    try:
        with _damage_as_sentence(name), file.open() as stream:
            syntax = transfer_syntax(stream)
            if syntax == DEFLATED:
                raise UnreadableRecordError(
                    f"{name} is deflated as a whole, which is not read here; export it without "
                    "that compression."
                )
            check_items(file.content(), name)
            stream.seek(0)
            # Pixels come later, frame by frame: a clip can be a gigabyte.
            return pydicom.dcmread(stream, stop_before_pixels=True)
    except InvalidDicomError as exc:
        raise UnreadableRecordError(
            f"{name} is not a DICOM file; choose ultrasound clips (.dcm) or AVI videos."
        ) from exc
    except OSError as exc:
        raise UnreadableRecordError(
            f"{name} cannot be opened; check that you may read it."
        ) from exc


def _check_kind(header: Any, name: str) -> tuple[int, int, int]:
    """Frames, height and width of a moving ultrasound object."""
    with _damage_as_sentence(name, OSError):
        kind = str(header.get("SOPClassUID", ""))
        n_frames = int(header.get("NumberOfFrames") or 1)
        height, width = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
        bits, signed = int(header.get("BitsAllocated") or 0), header.get("PixelRepresentation")
        colours = str(header.get("PhotometricInterpretation", ""))
    if kind not in _MULTI_FRAME + _SINGLE_FRAME:
        raise UnreadableRecordError(
            f"{name} is a DICOM object of another kind than ultrasound; choose ultrasound clips."
        )
    if n_frames < 2:
        raise UnreadableRecordError(f"{name} is a single picture; only moving clips are read.")
    # Signed or wider pixels are measurements (Doppler, strain), not a picture.
    if bits not in (8, 16) or signed not in (0, None):
        raise UnreadableRecordError(
            f"{name} stores its pixels with {bits} bits or with a sign; 8 or 16 unsigned bits are "
            "read."
        )
    if colours not in (*_COLOURS, *_GREYS, _PALETTE):
        raise UnreadableRecordError(
            f"{name} stores its colours in a way that is not read here; RGB, YBR, MONOCHROME and "
            "PALETTE COLOR are."
        )
    return n_frames, height, width


def _pixels(file: SourceFile, header: Any, wanted: int, name: str) -> Iterator[npt.NDArray[Any]]:
    """Decoded frames one by one; YBR is RGB after this."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import iter_pixels
    from pydicom.uid import UID

    syntax = UID(str(header.file_meta.TransferSyntaxUID))
    if syntax.is_compressed:
        try:
            can = get_decoder(syntax).is_available
        except NotImplementedError:
            can = False
        if not can:
            # The name of a registered syntax is no patient's; an unknown UID is not repeated.
            kind = syntax.name if syntax.name != str(syntax) else "an unknown way"
            raise UnreadableRecordError(
                f"{name} is compressed as {shown(kind)}, which cannot be decoded here; install "
                "Pillow (and pylibjpeg for lossless JPEG), or export it uncompressed."
            )
    elif str(header.get("PhotometricInterpretation", "")) == "YBR_FULL_422":
        yield from _uncompressed_422(file, wanted)
        return
    with file.open() as stream:
        yield from iter_pixels(stream, indices=range(wanted))


def _uncompressed_422(file: SourceFile, wanted: int) -> Iterator[npt.NDArray[Any]]:
    """Frames of two bytes a pixel, one call each.

    pydicom 3.0.2's own iteration takes every frame after the first for three bytes a pixel. Some
    writers say 4:2:2 and store three bytes, which the length tells.
    """
    import pydicom
    from pydicom.pixels.utils import pixel_array

    with file.open() as stream:
        ds = pydicom.dcmread(stream)
    full = int(ds.NumberOfFrames) * ds.Rows * ds.Columns * 3
    if len(ds.PixelData) >= full:
        ds.PhotometricInterpretation = "YBR_FULL"
    for index in range(wanted):
        yield pixel_array(ds, index=index)


def _rgb(frame: npt.NDArray[Any], header: Any) -> U8:
    """One decoded frame as 8-bit RGB, shape (height, width, 3)."""
    from pydicom.pixels.processing import apply_color_lut

    colours = str(header.get("PhotometricInterpretation", ""))
    if colours == _PALETTE:
        frame = apply_color_lut(frame, header)
        # Palettes of 16 bits carry their 8 bits on top.
        return np.asarray(frame >> 8 if frame.dtype == np.uint16 else frame, dtype=np.uint8)
    stored = int(header.get("BitsStored") or 8)
    if frame.dtype != np.uint8:
        # The upper 8 bits of those stored.
        frame = (frame >> (stored - 8) if stored > 8 else frame).astype(np.uint8)
    if colours in _GREYS and frame.ndim == 2:
        grey = 255 - frame if colours == "MONOCHROME1" else frame
        return np.asarray(np.repeat(grey[..., None], 3, axis=-1), dtype=np.uint8)
    if colours in _COLOURS and frame.ndim == 3 and frame.shape[-1] == 3:
        return np.asarray(frame, dtype=np.uint8)
    # The header names one kind of colours and the pixels are of another.
    raise ValueError("samples do not fit the colours")


def _damage_as_sentence(name: str, *others: type[Exception]) -> AbstractContextManager[None]:
    return damage_as(
        f"{name} is damaged or cut short, or its header contradicts its pixels; export or copy it "
        "again.",
        *others,
    )


def _number(item: Any, element: int) -> int | None:
    """Whole number of group 0018 of a region, or None."""
    value = item.get((0x0018, element))
    try:
        return None if value is None else int(value.value)
    except (TypeError, ValueError):
        return None


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _rate(time_ms: float) -> float:
    return 1000.0 / time_ms if time_ms > 0 else math.nan


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
