"""Echocardiography clips as AVI files, the way EchoNet-Dynamic gives them.

Only FFmpeg's AVI reader is let loose on a file, whatever its ending says, so that a playlist or
another format that opens further files or addresses is never followed.
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.artifacts import replacing_file
from echoing_core.errors import UnreadableRecordError
from echoing_core.io.decoders import import_decoder
from echoing_core.io.echo.frames import MAX_FRAMES, U8, check_size, clip_file, resized
from echoing_core.io.sources import SourceFile, shown
from echoing_core.records import EchoClip

SIMULATED_COMMENT = "Simulated by EchoingECG; no person stands behind it."
"""Comment in the files of simulated clips; it is what makes a clip simulated when read."""

MAX_DURATION_S = 600.0
"""Of one clip, as far as the file says."""

# As `write_avi` puts it into the comment.
_VIEW = re.compile(r"view ([a-z0-9]{1,12})\b")
_NO_RATE = "frame rate not known"
# Written where a clip's frame rate is not known: a video file cannot be without.
_STAND_IN_FPS = 25.0


def write_avi(path: Path, clip: EchoClip) -> None:
    """Write a clip without loss (FFV1); the file appears whole or not at all.

    View, and that a clip is simulated, stand in the file's comment.

    Parameters
    ----------
    path : path
        An older file of that name is replaced.
    clip : EchoClip

    Raises
    ------
    ValueError
        If the clip has no frame.
    ConfigError
        PyAV is not installed.
    """
    av = import_decoder("av", "PyAV")

    frames = clip.frames
    if len(frames) == 0:
        raise ValueError("A clip without frames cannot be written.")
    known = bool(np.isfinite(clip.fps) and clip.fps > 0)
    comment = [SIMULATED_COMMENT] if clip.simulated else []
    comment += [f"view {clip.view}"] if clip.view else []
    comment += [] if known else [_NO_RATE]
    # One channel is a third of the bytes, and FFV1 keeps it exactly.
    grey = bool((frames[..., :1] == frames).all())
    with replacing_file(path) as draft, av.open(str(draft), "w", format="avi") as container:
        container.metadata["comment"] = "; ".join(comment)
        if clip.simulated:
            container.metadata["title"] = "Simulated by EchoingECG"
        rate = Fraction(clip.fps if known else _STAND_IN_FPS).limit_denominator(1000)
        stream: Any = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "gray" if grey else "bgr0"
        for frame in frames:
            if grey:
                picture = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(frame[..., 0]), format="gray"
                )
            else:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def read_avi(
    file: Path | SourceFile, *, size: int | None = None, max_frames: int | None = None
) -> EchoClip:
    """Read one AVI file.

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
        RGB. ``view`` and ``simulated`` are known for files of `write_avi` only.

    Raises
    ------
    UnreadableRecordError
        Not an AVI video, a damaged or empty one, or too large.
    """
    av = import_decoder("av", "PyAV")

    clip = clip_file(file)
    name = shown(clip.name)
    # What FFmpeg has to say about a damaged file is told in our own words.
    av.logging.set_level(av.logging.PANIC)
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    try:
        with (
            clip.open() as stream_of_bytes,
            # Bytes and not a name: FFmpeg takes some names for addresses.
            av.open(stream_of_bytes, "r", format="avi", metadata_errors="replace") as container,
        ):
            if not container.streams.video:
                raise UnreadableRecordError(f"{name} holds no video stream; choose a video file.")
            stream = container.streams.video[0]
            _check(name, container, stream)
            frames = _decode(name, container, stream, size, max_frames)
            comment = container.metadata.get("comment", "")
            rate = stream.average_rate
            stated = stream.frames
    except av.error.FFmpegError as exc:
        raise UnreadableRecordError(
            f"{name} is not an AVI video that can be decoded, or it is damaged; export it again."
        ) from exc
    except OSError as exc:
        raise UnreadableRecordError(
            f"{name} cannot be opened; check that you may read it."
        ) from exc
    expected = stated if max_frames is None else min(stated, max_frames)
    # Some writers count a last frame that is not there; two missing ones are a cut file.
    if len(frames) + 1 < expected:
        raise UnreadableRecordError(
            f"{name} ends early: {len(frames)} of {stated} frames can be read. Copy it again."
        )
    view = _VIEW.search(comment)
    known = rate is not None and rate > 0 and _NO_RATE not in comment
    return EchoClip(
        frames=np.stack(frames),
        fps=float(rate) if rate is not None and known else float("nan"),
        clip_id=clip.stem,
        view=view[1] if view else "",
        simulated=SIMULATED_COMMENT in comment,
    )


def _check(name: str, container: Any, stream: Any) -> None:
    """Limits by what the header says; `_decode` counts again, as headers can be wrong."""
    check_size(name, stream.frames, stream.codec_context.height, stream.codec_context.width)
    duration_s = (container.duration or 0) / 1e6
    if duration_s > MAX_DURATION_S:
        raise UnreadableRecordError(
            f"{name} lasts {duration_s:.0f} s; at most {MAX_DURATION_S:.0f} s are read. Cut it "
            "into clips of a few beats."
        )


def _decode(
    name: str, container: Any, stream: Any, size: int | None, max_frames: int | None
) -> list[U8]:
    # Threads would decode frames ahead that a limit then forbids.
    stream.codec_context.thread_count = 1
    frames: list[U8] = []
    shape: tuple[int, int] | None = None
    for frame in container.decode(stream):
        if max_frames is not None and len(frames) >= max_frames:
            break
        if len(frames) >= MAX_FRAMES:
            check_size(name, len(frames) + 1, frame.height, frame.width)
        if shape is None:
            shape = (frame.height, frame.width)
        if (frame.height, frame.width) != shape:
            raise UnreadableRecordError(
                f"{name} changes the size of its frames in the middle; export it again."
            )
        check_size(name, len(frames) + 1, *shape)
        if frame.format.name == "gray":
            # Straight from the bytes: FFmpeg's way through RGB may round.
            picture = np.repeat(frame.to_ndarray()[..., None], 3, axis=-1)
        else:
            picture = frame.to_ndarray(format="rgb24")
        frames.append(resized(picture, size))
    if not frames:
        raise UnreadableRecordError(f"{name} holds no frame that can be decoded; export it again.")
    return frames
