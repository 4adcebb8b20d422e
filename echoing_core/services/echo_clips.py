"""Clips of an echocardiogram as a person gives them: files, a folder, or an upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, UnreadableRecordError
from echoing_core.io.echo.frames import clip_file
from echoing_core.io.sources import SourceFile, base_name, shown
from echoing_core.records import EchoClip, EchoStudy
from echoing_core.services.uploads import Through, at_once

if TYPE_CHECKING:
    from echoing_core.echo.reading import EchoReader

U8 = npt.NDArray[np.uint8]
EchoFiles = str | Path | Sequence[str | Path] | Sequence[tuple[str, bytes]]

MAX_ECHO_BYTES = 1024**3
"""Of all files of an uploaded echocardiogram together."""

_N_PICTURES = 12
# The first bytes of an AVI, and the mark of DICOM after its preamble.
_RIFF, _AVI, _DICOM = b"RIFF", b"AVI ", b"DICM"
_HEAD_BYTES = 132


@dataclass(frozen=True, eq=False)
class OpenedEcho:
    """An echocardiogram that was read.

    Attributes
    ----------
    study : EchoStudy
        Frames at the teacher's size; only those that it reads.
    pictures : tuple of ndarray, shape (height, width, 3), uint8
        The first frame of each clip as the file has it; of the first clips of a long study.
    """

    study: EchoStudy
    pictures: tuple[U8, ...]


def read_echo(files: EchoFiles, reader: EchoReader, *, through: Through = at_once) -> OpenedEcho:
    """Read one echocardiogram: clips, or a folder of clips.

    Parameters
    ----------
    files : path, sequence of paths, or sequence of (name, bytes)
        AVI and ultrasound DICOM; files without an ending are told by their first bytes. Bytes
        are read in memory, and nothing of them is written to disk.
    reader : EchoReader
        Frames are brought to its size as they are read: a study in full size takes gigabytes.
    through : callable
        As in `batch`; each clip by itself.

    Raises
    ------
    UnreadableRecordError
        No clip can be read, or they are too many or too large.
    """
    from echoing_core.echo.store import ECHO_CLIP_FRAMES
    from echoing_core.io.echo.clips import ENDINGS, MAX_CLIPS

    height, width = reader.teacher.image_size
    size = height if height == width else None
    clips: list[EchoClip] = []
    notes: list[str] = []
    pictures: list[U8] = []
    failures: list[str] = []
    for source in _listed(files, ENDINGS, MAX_CLIPS):
        try:
            # One clip at a time, so that a study of many is one at a time in a worker, too.
            study, picture = through(
                read_clip_of_study,
                source,
                size=size,
                max_frames=ECHO_CLIP_FRAMES.reach,
                picture=len(pictures) < _N_PICTURES,
            )
        except UnreadableRecordError as error:
            failures.append(str(error))
            continue
        clips.extend(study.clips)
        notes.extend(study.notes)
        if picture is not None:
            pictures.append(picture)
    if not clips:
        if len(failures) == 1:
            raise UnreadableRecordError(failures[0])
        raise UnreadableRecordError(
            f"None of the {len(failures)} files is an echo clip that can be read. The first: "
            f"{failures[0]}"
        )
    notes.extend(f"left out: {why}" for why in failures)
    # A study has the name of its only clip; several have none that one could trust.
    study_id = clips[0].clip_id if len(clips) == 1 else f"{len(clips)} clips"
    return OpenedEcho(EchoStudy(study_id, tuple(clips), tuple(notes)), tuple(pictures))


def read_clip_of_study(
    file: SourceFile, *, size: int | None, max_frames: int | None, picture: bool
) -> tuple[EchoStudy, U8 | None]:
    """One clip as the teacher reads it, and its first frame as the file has it.

    Parameters
    ----------
    file : SourceFile
    size : int or None
        Height and width of the frames.
    max_frames : int or None
    picture : bool
        Whether the first frame is wanted, too.

    Raises
    ------
    UnreadableRecordError
        The clip cannot be read.
    """
    from echoing_core.io.echo.clips import read_echo_clip, read_echo_study

    study = read_echo_study(file, size=size, max_frames=max_frames)
    return study, read_echo_clip(file, max_frames=1).frames[0] if picture else None


def _listed(files: EchoFiles, endings: Sequence[str], most: int) -> list[SourceFile]:
    """Each clip, those of a folder one by one, under a name with the ending that its kind has."""
    given: list[tuple[str, Path | bytes]] = []
    for one in [files] if isinstance(files, str | Path) else files:
        if isinstance(one, tuple):
            given.append((one[0], one[1]))
            continue
        path = Path(one)
        if path.is_dir():
            inside = sorted(
                p
                for p in path.iterdir()
                if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in endings
            )
            if not inside:
                raise UnreadableRecordError(
                    f"The folder {shown(path.name)} holds no echo clip; it needs .avi or .dcm "
                    "files."
                )
            given += [(p.name, p) for p in inside]
        else:
            given.append((path.name, path))
    if not given:
        raise ConfigError("No echo clip was given. Name AVI or DICOM files.")
    if len(given) > most:
        raise UnreadableRecordError(
            f"{len(given)} clips are more than the {most} of one study. Leave some out."
        )
    n_bytes = sum(len(content) for _, content in given if isinstance(content, bytes))
    if n_bytes > MAX_ECHO_BYTES:
        raise UnreadableRecordError(
            f"The clips hold {n_bytes / 1024**3:.1f} GiB together; at most "
            f"{MAX_ECHO_BYTES // 1024**3} are read. Cut them to a few beats, or leave some out."
        )
    return [_source(name, content, endings) for name, content in given]


def _source(name: str, content: Path | bytes, endings: Sequence[str]) -> SourceFile:
    if isinstance(content, Path):
        source = clip_file(content)
    else:
        # A path of the other system, or nothing but points, as browsers may send them.
        source = SourceFile(base_name(name) or "clip", len(content), data=content)
    if PurePath(source.name).suffix.lower() in endings:
        return source
    # Archives and recorders often leave the ending of DICOM files out.
    return replace(source, name=source.name + _ending(source.head(_HEAD_BYTES)))


def _ending(head: bytes) -> str:
    """The ending that belongs to a file's first bytes; empty where they are of no clip."""
    if head[128:132] == _DICOM:
        return ".dcm"
    return ".avi" if head[:4] == _RIFF and head[8:12] == _AVI else ""
