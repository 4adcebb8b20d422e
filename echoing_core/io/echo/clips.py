"""One entrance for echocardiography clips: AVI videos and DICOM ultrasound."""

from __future__ import annotations

from pathlib import Path, PurePath

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.decoders import damage_as
from echoing_core.io.echo.avi import read_avi
from echoing_core.io.echo.dicom import read_dicom_with_notes
from echoing_core.io.sources import SourceFile, shown
from echoing_core.records import EchoClip, EchoStudy

ENDINGS = (".avi", ".dcm")

MAX_CLIPS = 500
"""Of one study."""

MAX_STUDY_PIXELS = 1_500_000_000
"""Of all clips of a study together: 4.5 GB of memory."""


def read_echo_clip(
    file: str | Path | SourceFile, *, size: int | None = None, max_frames: int | None = None
) -> EchoClip:
    """Read one clip, by its ending: .avi or .dcm.

    Parameters
    ----------
    file : path or SourceFile
    size : int, optional
        Height and width to bring each frame to as it is read; the shape is not kept.
    max_frames : int, optional
        Read no more than so many, from the first.

    Raises
    ------
    UnreadableRecordError
        The file is of another kind, damaged, not a moving clip, or too large.
    """
    return _read(file, size, max_frames)[0]


def read_echo_study(
    path: str | Path | SourceFile,
    study_id: str | None = None,
    *,
    size: int | None = None,
    max_frames: int | None = None,
) -> EchoStudy:
    """Read all clips of an echocardiogram.

    Parameters
    ----------
    path : path or SourceFile
        A clip, or a folder with clips (not in folders of their own).
    study_id : str, optional
        Without it, the name of the file without its ending, or of the folder.
    size, max_frames : int, optional
        As for `read_echo_clip`; a study of full-size clips can need gigabytes.

    Returns
    -------
    EchoStudy
        Clips in the order of their file names. What cannot be used, such as single pictures,
        reports and damaged files, is left out, and ``notes`` says what and why.

    Raises
    ------
    UnreadableRecordError
        No clip can be read, or they are too many or too large together.
    """
    path = Path(path) if isinstance(path, str) else path
    if isinstance(path, SourceFile) or not path.is_dir():
        clip, notes = _read(path, size, max_frames)
        return EchoStudy(study_id if study_id is not None else path.stem, (clip,), notes)
    files = sorted(
        (p for p in path.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".")),
        key=lambda p: p.name,
    )
    folder = shown(path.name)
    if not files:
        raise UnreadableRecordError(
            f"The folder {folder} holds no echocardiography clip; it needs .avi or .dcm files."
        )
    if len(files) > MAX_CLIPS:
        raise UnreadableRecordError(
            f"The folder {folder} holds {len(files)} clips, more than the {MAX_CLIPS} of one "
            "study; give each study a folder of its own."
        )
    clips: list[EchoClip] = []
    notes_all: list[str] = []
    n_pixels = 0
    for file in files:
        try:
            clip, notes = _read(file, size, max_frames)
        # A study has single pictures and reports among its clips; they are no reason to give it
        # up.
        except UnreadableRecordError as exc:
            notes_all.append(f"left out: {exc}")
            continue
        # Counted as they are read, after shrinking: that is what memory holds.
        n_pixels += clip.frames.size // 3
        if n_pixels > MAX_STUDY_PIXELS:
            raise UnreadableRecordError(
                f"The clips in {folder} hold more than {MAX_STUDY_PIXELS:,} pixels together; read "
                "them smaller (size=224), or one by one."
            )
        clips.append(clip)
        notes_all.extend(notes)
    if not clips:
        raise UnreadableRecordError(
            f"None of the {len(files)} files in {folder} is a clip that can be read. The first: "
            f"{notes_all[0].removeprefix('left out: ')}"
        )
    return EchoStudy(
        study_id if study_id is not None else path.name, tuple(clips), tuple(notes_all)
    )


def _read(
    given: str | Path | SourceFile, size: int | None, max_frames: int | None
) -> tuple[EchoClip, tuple[str, ...]]:
    path = Path(given) if isinstance(given, str) else given
    ending = PurePath(path.name).suffix.lower()
    # Around all of it: what a header says is used long before its pixels are decoded.
    with damage_as(f"{shown(path.name)} is damaged; export the clip again."):
        if ending == ".avi":
            return read_avi(path, size=size, max_frames=max_frames), ()
        if ending == ".dcm":
            return read_dicom_with_notes(path, size=size, max_frames=max_frames)
    raise UnreadableRecordError(
        f"{shown(path.name)} is not an echocardiography clip by its ending; .avi and .dcm are read."
    )
