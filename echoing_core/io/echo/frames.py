"""What the readers of echocardiography files share: limits, and frames of another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile, shown

U8 = npt.NDArray[np.uint8]

MAX_FRAMES = 3000
"""Of one clip: a hundred seconds at 30 frames a second."""

MAX_SIDE = 4096
"""Height and width of a frame in pixels."""

MAX_PIXELS = 400_000_000
"""Pixels of all frames of one clip together: 1.2 GB as RGB, 830 frames of 800 x 600."""


def clip_file(file: Path | SourceFile) -> SourceFile:
    """A clip as a source, be it a file of this machine or the bytes of an upload.

    Parameters
    ----------
    file : path or SourceFile

    Raises
    ------
    UnreadableRecordError
        There is no such file.
    """
    if isinstance(file, SourceFile):
        return file
    if not file.is_file():
        raise UnreadableRecordError(
            f"There is no file {shown(file.name)}; check its folder and name."
        )
    return SourceFile(file.name, file.stat().st_size, path=file)


def check_size(name: str, n_frames: int, height: int, width: int) -> None:
    """Refuse a clip that is too large before anything of it is decoded.

    Raises
    ------
    UnreadableRecordError
    """
    if height < 1 or width < 1 or height > MAX_SIDE or width > MAX_SIDE:
        raise UnreadableRecordError(
            f"{name} has frames of {width} x {height} pixels; at most {MAX_SIDE} a side are read."
        )
    if n_frames > MAX_FRAMES:
        raise UnreadableRecordError(
            f"{name} has {n_frames} frames; at most {MAX_FRAMES} are read. Cut it into clips of a "
            "few beats."
        )
    if n_frames * height * width > MAX_PIXELS:
        raise UnreadableRecordError(
            f"{name} holds {n_frames} frames of {width} x {height} pixels, more than the "
            f"{MAX_PIXELS:,} pixels that are read. Cut it into clips of a few beats."
        )


def resized(frame: npt.NDArray[Any], size: int | None) -> U8:
    """Mean over the area of each new pixel, as OpenCV's INTER_AREA does when it shrinks.

    Parameters
    ----------
    frame : ndarray, shape (height, width, 3), uint8
    size : int or None
        New height and width, whatever the shape was; None leaves the frame as it is. A frame
        that would have to grow is taken as it is where it must.
    """
    height, width = frame.shape[:2]
    if size is None or (height, width) == (size, size):
        return np.asarray(frame, dtype=np.uint8)
    # Separable: rows first, then columns, each a small matrix product.
    rows, columns = _shares(height, size), _shares(width, size)
    out = np.einsum("ih,hwc->iwc", rows, frame.astype(np.float32), optimize=True)
    out = np.einsum("jw,iwc->ijc", columns, out, optimize=True)
    return np.asarray(np.clip(np.rint(out), 0, 255), dtype=np.uint8)


def _shares(old: int, new: int) -> npt.NDArray[np.float32]:
    """How much of each old pixel lies in each new one; rows add up to 1, shape (new, old)."""
    edges = np.linspace(0.0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(old)[None]
    overlap = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0.0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), dtype=np.float32)
