"""EchoNet-Dynamic (Ouyang et al., Nature 580 (2020) 252): apical four-chamber videos with EF.

``FileList.csv``, ``VolumeTracings.csv`` and ``Videos/<FileName>.avi``, 112 x 112 pixels. There is
no ECG in it, so it becomes no study set: it is what an echo teacher is measured on.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoing_core.datasets.adapter import NO_FILE, LeftOut, Plan
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.records import StandardEcg

LIST = "FileList.csv"
TRACINGS = "VolumeTracings.csv"
VIDEOS = "Videos"
SPLITS = {"train": "TRAIN", "valid": "VAL", "test": "TEST"}
"""Split here -> as the list spells it."""

_NEEDED = ("FileName", "EF", "Split")
_ENDING = ".avi"
# In percent; a fraction (0.55) or a blank is no EF.
_EF_PCT = (1.0, 100.0)


@dataclass(frozen=True)
class EchoNetVideo:
    """One row of the list; each video is of another patient.

    Attributes
    ----------
    study_id : str
        File name without its ending.
    path : Path
        Of the video.
    split : str
        ``"train"``, ``"valid"`` or ``"test"``.
    lvef_pct, esv_ml, edv_ml : float
        NaN where the list has no number.
    fps : float
    n_frames : int
        0 where the list has no number.
    traced : bool
        Whether the ventricle was traced in it.
    """

    study_id: str
    path: Path
    split: str
    lvef_pct: float
    esv_ml: float
    edv_ml: float
    fps: float
    n_frames: int
    traced: bool


@dataclass(frozen=True)
class EchoNetVideos:
    """What a folder of EchoNet-Dynamic holds, in the order of its list.

    Attributes
    ----------
    videos : tuple of EchoNetVideo
    left_out : tuple of LeftOut
        Videos that cannot be used, and why.
    """

    videos: tuple[EchoNetVideo, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def untraced(self) -> int:
        """Videos without a tracing."""
        return sum(not video.traced for video in self.videos)


@dataclass(frozen=True)
class EchoNetDynamic:
    """Stands in the registry so that a person who asks for it learns what it is for."""

    @property
    def name(self) -> str:
        return "echonet"

    def plan(self, root: Path) -> Plan:
        """Refuse, saying what to do: there is no ECG to prepare.

        Raises
        ------
        DataSetError
            Always.
        """
        data_set = read_echonet(root)
        raise DataSetError(
            f"EchoNet-Dynamic holds {len(data_set.videos)} echo videos here and no ECG, so there "
            "is nothing to prepare. Use it as it is: echoing teacher measure --echonet, or echoing "
            "teacher embed."
        )

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Refuse: there is no ECG.

        Raises
        ------
        DataSetError
            Always.
        """
        raise DataSetError("EchoNet-Dynamic holds no ECG.")


def is_echonet(root: Path) -> bool:
    """Whether a folder looks like EchoNet-Dynamic.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
    """
    return (root / LIST).is_file() and (root / VIDEOS).is_dir()


def read_echonet(root: Path, *, split: str | None = None) -> EchoNetVideos:
    """Read the list; no video is opened.

    Parameters
    ----------
    root : Path
        The folder with ``FileList.csv``.
    split : {"train", "valid", "test"}, optional
        Only this one.

    Returns
    -------
    EchoNetVideos
        Left out are videos that are not there, whose EF is no number from 1 to 100, or whose
        split is another.

    Raises
    ------
    ConfigError
        There is no such split.
    DataSetError
        The folder is not EchoNet-Dynamic, or it has nothing of the split.
    """
    if split is not None and split not in SPLITS:
        raise ConfigError(f"There is no split {split}. The splits are {', '.join(SPLITS)}.")
    rows = _table(root, LIST, _NEEDED)
    if not (root / VIDEOS).is_dir():
        raise DataSetError(
            f"There is no folder {VIDEOS} beside {LIST} in {root.name or root}. Unpack "
            "EchoNet-Dynamic as it is published."
        )
    traced = _traced(root)
    # As published, names end in .avi on disk and in the tracings, and not in the list.
    there = {path.stem: path for path in sorted((root / VIDEOS).iterdir()) if _is_video(path)}
    # The list writes TRAIN, VAL and TEST.
    ours = {theirs: name for name, theirs in SPLITS.items()}
    videos: list[EchoNetVideo] = []
    left_out: list[LeftOut] = []
    listed: set[str] = set()
    for row in rows:
        name = _stem(row["FileName"])
        if name in listed:
            raise DataSetError(f"{LIST} lists {name} twice. Use the published file.")
        listed.add(name)
        own = ours.get(row["Split"].upper())
        # Of another split: neither taken nor counted as left out. An unknown split is counted.
        if split is not None and own is not None and own != split:
            continue
        lvef_pct = _number(row["EF"])
        if own is None:
            left_out.append(LeftOut(name, "unknown split", row["Split"]))
        elif name not in there:
            left_out.append(LeftOut(name, NO_FILE, f"{VIDEOS}/{name}{_ENDING}"))
        elif not _EF_PCT[0] <= lvef_pct <= _EF_PCT[1]:
            left_out.append(LeftOut(name, "no EF", row["EF"]))
        else:
            # Only the EF is needed to measure a teacher; everything else may be blank.
            n_frames = _number(row.get("NumberOfFrames", ""))
            videos.append(
                EchoNetVideo(
                    study_id=name,
                    path=there[name],
                    split=own,
                    lvef_pct=lvef_pct,
                    esv_ml=_number(row.get("ESV", "")),
                    edv_ml=_number(row.get("EDV", "")),
                    fps=_number(row.get("FPS", "")),
                    n_frames=0 if math.isnan(n_frames) else int(n_frames),
                    traced=name in traced,
                )
            )
    # Videos beside the list belong to no split, so they are named only where all splits are read.
    if split is None:
        left_out += [LeftOut(n, f"not in {LIST}") for n in there if n not in listed]
    if not videos:
        of_split = f" of the split {split}" if split else ""
        why = f" The first: {left_out[0].reason} ({left_out[0].detail})." if left_out else ""
        raise DataSetError(
            f"None of the {len(rows)} videos that {LIST} lists can be used{of_split}.{why}"
        )
    return EchoNetVideos(tuple(videos), tuple(left_out))


def _traced(root: Path) -> set[str]:
    """Names of the videos with a tracing; none where the file is not there."""
    if not (root / TRACINGS).is_file():
        return set()
    return {_stem(row["FileName"]) for row in _table(root, TRACINGS, ("FileName", "Frame"))}


def _table(root: Path, name: str, needed: tuple[str, ...]) -> list[dict[str, str]]:
    path = root / name
    if not path.is_file():
        raise DataSetError(
            f"There is no {name} in {root.name or root}. Name the folder of EchoNet-Dynamic as it "
            "is published."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise DataSetError(f"{name} cannot be read as a table; download it again.") from error
    header = [cell.strip() for cell in lines[0]] if lines else []
    missing = [column for column in needed if column not in header]
    if missing:
        raise DataSetError(
            f"{name} lacks the columns {', '.join(missing)}. Use the published file."
        )
    # A row that is too short has blanks at its end.
    return [
        {
            column: line[place].strip() if place < len(line) else ""
            for place, column in enumerate(header)
            if column
        }
        for line in lines[1:]
        if any(cell.strip() for cell in line)
    ]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() == _ENDING and not path.name.startswith(".")


def _stem(name: str) -> str:
    return name[: -len(_ENDING)] if name.lower().endswith(_ENDING) else name


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
