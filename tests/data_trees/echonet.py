"""A small tree laid out as EchoNet-Dynamic is published, of simulated hearts, with its traps.

Names without an ending in the list and with one in the tracings, a video that is not there, one
that is damaged, one without EF, one without tracing, one that the list does not know.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoing_core.io import write_avi
from echoing_core.simulate.echo.clips import study_clips
from echoing_core.simulate.heart.patients import patient_state

SEED = 41
COLUMNS = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
TRACING_COLUMNS = "FileName,X1,Y1,X2,Y2,Frame"

SPLITS = ("TRAIN", "TEST", "VAL", "TEST", "TEST", "TEST", "TEST", "TEST")
"""Of videos 0 to 7. 4 is not there, 5 is damaged, 6 has no EF, 7 no tracing."""

NOT_THERE, DAMAGED, NO_EF, NO_TRACING = 4, 5, 6, 7


def name_of(number: int) -> str:
    """File name of a video, as the list spells it."""
    return f"0X10009310A3BD7{number:02X}"


def lvef_pct(number: int) -> float:
    """True ejection fraction of a video's simulated heart."""
    return patient_state(SEED, number).lvef_pct


def write_echonet(
    root: Path, *, columns: str = COLUMNS, size: int = 112, n_frames: int = 12
) -> Path:
    """Write the tree and return its root."""
    (root / "Videos").mkdir(parents=True)
    lines, tracings = [columns], [TRACING_COLUMNS]
    for number, split in enumerate(SPLITS):
        name = name_of(number)
        cells = {
            "FileName": name,
            "EF": "" if number == NO_EF else f"{lvef_pct(number):.12f}",
            "ESV": "40.383875917",
            "EDV": "109.0",
            "FrameHeight": f"{size}",
            "FrameWidth": f"{size}",
            "FPS": "50",
            "NumberOfFrames": f"{n_frames}",
            "Split": split,
        }
        lines.append(",".join(cells[column] for column in columns.split(",")))
        if number != NO_TRACING:
            for frame in (3, 9):
                tracings.append(f"{name}.avi,51.26,15.35,64.94,69.13,{frame}")
        if number != NOT_THERE:
            _write_video(root / "Videos" / f"{name}.avi", number, size, n_frames)
    damaged = root / "Videos" / f"{name_of(DAMAGED)}.avi"
    damaged.write_bytes(damaged.read_bytes()[:300])
    _write_video(root / "Videos" / "0X1UNLISTED.avi", 1, size, n_frames)
    (root / "Videos" / ".DS_Store").write_bytes(b"\0")
    (root / "FileList.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "VolumeTracings.csv").write_text("\n".join(tracings) + "\n", encoding="utf-8")
    return root


def _write_video(path: Path, number: int, size: int, n_frames: int) -> None:
    (clip,) = study_clips(SEED, number, views=("a4c",), n_frames=n_frames, size=size)
    # The published files tell no view.
    write_avi(path, replace(clip, view=""))
