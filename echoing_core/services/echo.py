"""The echo teacher: trained as a stand-in, measured, and used on a folder of echocardiograms."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.errors import ConfigError, DataSetError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.given import check_echo_store_out, check_given, check_teacher_out

if TYPE_CHECKING:
    from echoing_core.datasets.echonet import EchoNetVideos
    from echoing_core.echo.store import EchoRun, EchoSource, FrameChoice
    from echoing_core.metrics.results import Experiment


def train_echo_teacher(
    out: str | os.PathLike[str],
    *,
    steps: int | None = None,
    n_studies: int | None = None,
    seed: int | None = None,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> Experiment:
    """Train the stand-in on simulated echo into the folder ``out`` and measure it.

    Parameters
    ----------
    out : path
        Teacher folder to write.
    steps, n_studies, seed : int, optional
        As `echo.stand_in.StandInConfig.sized` takes them.
    n_workers : int
        Processes that simulate.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment

    Raises
    ------
    CheckpointError
        If ``out`` holds something that is not a teacher of ours.
    """
    check_teacher_out(out)
    from echoing_core.echo.stand_in import StandInConfig, train_teacher

    config = StandInConfig.sized(steps=steps, n_studies=n_studies, seed=seed)
    return train_teacher(Path(out), config, n_workers=n_workers, progress=progress)


def measure_echo_teacher(
    teacher: str | os.PathLike[str],
    *,
    n_studies: int = 400,
    seed: int = 5011,
    n_workers: int = 2,
    write: bool = False,
    progress: Progress = SILENT,
) -> Experiment:
    """ECHO-CLIP's zero-shot readings by a teacher, on simulated patients of their own.

    Parameters
    ----------
    teacher : path or str
        As `echo.teacher.load_teacher` takes it. A model of real echo is out of its depth
        on simulated frames; that is a check that it loads and answers, not of what it is worth.
    seed : int
        Of the simulated cohort; no stand-in of default settings was trained on it.
    n_studies, n_workers : int
        Simulated studies, one a patient; processes that simulate.
    write : bool
        Keep the readings in the teacher's folder, as the scale of what it reads of others.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment

    Raises
    ------
    CheckpointError
        If the teacher cannot be opened.
    ConfigError
        ``write`` is asked of a teacher that is no folder here, or with too few studies.
    """
    check_given(teacher=teacher)
    from echoing_core.echo.measuring import figures_of, read_bank
    from echoing_core.echo.reading_scale import N_ALIKE, ReadingScale, save_scale
    from echoing_core.echo.simulated import draw_frames
    from echoing_core.echo.teacher import load_teacher

    if write and not Path(teacher).is_dir():
        raise ConfigError("Readings are kept in a teacher's folder. Name a folder on this machine.")
    if write and n_studies < N_ALIKE:
        raise ConfigError(f"{n_studies} studies are no scale. Measure on {N_ALIKE} or more.")
    loaded = load_teacher(teacher)
    bank = draw_frames(
        [(seed, patient, 0) for patient in range(n_studies)],
        loaded.image_size,
        n_workers=n_workers,
        progress=progress.stage("simulate echo"),
    )
    readings = read_bank(loaded, bank, progress=progress.stage("measure"))
    if write:
        source = f"{n_studies:,} simulated studies of three views that the teacher never saw"
        scale = ReadingScale.of(readings, source=source, teacher_hash=loaded.hash)
        save_scale(Path(teacher), scale)
    return figures_of(readings)


def measure_echo_teacher_on_echonet(
    root: str | os.PathLike[str],
    *,
    teacher: str | os.PathLike[str],
    split: str = "test",
    progress: Progress = SILENT,
) -> Experiment:
    """Zero-shot ejection fractions of EchoNet-Dynamic's videos by a teacher, against the truth.

    Parameters
    ----------
    root : path
        The folder with ``FileList.csv``.
    teacher : path or str
        As `echo.teacher.load_teacher` takes it.
    split : str
        ``"train"``, ``"valid"`` or ``"test"``.
    progress : Progress, optional
        Counts videos.

    Returns
    -------
    Experiment
        Videos of the list that cannot be used are in its content, as ``left_out``.

    Raises
    ------
    DataSetError
        The folder is not EchoNet-Dynamic, or no video can be used.
    CheckpointError
        If the teacher cannot be opened.
    """
    check_given(teacher=teacher, echonet=root)
    from echoing_core.datasets.echonet import read_echonet
    from echoing_core.echo.measuring import KnownStudy, measure_on_videos
    from echoing_core.echo.store import FrameChoice
    from echoing_core.echo.teacher import load_teacher

    choice = FrameChoice()
    listed = read_echonet(Path(root), split=split)
    loaded = load_teacher(teacher)
    studies = [
        KnownStudy(
            study_id=video.study_id,
            patient_id=video.study_id,
            lvef_pct=video.lvef_pct,
            read=_source(video.path, video.study_id, loaded.image_size, choice).read,
        )
        for video in listed.videos
    ]
    return measure_on_videos(
        loaded,
        studies,
        f"EchoNet-Dynamic, {split}",
        choice=choice,
        left_out=_reasons(listed),
        progress=progress,
    )


def embed_echo_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    teacher: str | os.PathLike[str],
    by_clip: bool = False,
    frames: str = "echo-clip",
    paired_with: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> EchoRun:
    """Embed every echocardiogram below a folder and write them as a store.

    What is computed is kept beside ``out``, in a folder of its name with ``.cache`` after it, so
    that a run that was stopped goes on, and new studies are added at their own cost.

    Parameters
    ----------
    folder : path
        Each folder below it with AVI or DICOM clips is a study, named as that folder; a clip
        that lies directly in ``folder`` is a study of its own. Of MIMIC-IV-ECHO it is the folder
        with ``echo-study-list.csv``; the studies are those of that list. Of EchoNet-Dynamic it is
        the folder with ``FileList.csv``; each video of that list is a study.
    out : path
        Store to write.
    teacher : path or str
        As `echo.teacher.load_teacher` takes it.
    by_clip : bool
        One row a clip instead of one a study.
    frames : {"echo-clip", "first-40", "every"}
        Which frames of a clip, see `echo.store.FRAMES`.
    paired_with : path, optional
        A prepared data set: only studies that its column ``echo_study_id`` names. All of
        MIMIC-IV-ECHO takes days, the part that has an ECG in the same stay much less.
    progress : Progress, optional
        Counts studies.

    Returns
    -------
    EchoRun
        With the studies that were left out, and why.

    Raises
    ------
    DataSetError
        If there is no study, two have one name, or none can be used.
    CheckpointError
        If the teacher cannot be opened.
    """
    # What is wrong with a folder is told before torch is imported and a model opened.
    paths, left_out = _study_paths(Path(folder))
    check_given(teacher=teacher, data=paired_with)
    check_echo_store_out(out)
    if paired_with is not None:
        paths = _only_paired(paths, Path(paired_with))
    from echoing_core.echo.store import embed_studies, named_frames, save_echo_embeddings
    from echoing_core.echo.teacher import load_teacher

    choice = named_frames(frames)
    loaded = load_teacher(teacher)
    sources = [_source(path, name, loaded.image_size, choice) for name, path in paths.items()]
    out = Path(out)
    run = embed_studies(
        loaded,
        sources,
        out.with_name(f"{out.name}.cache"),
        choice=choice,
        pool="clip" if by_clip else "study",
        progress=progress,
    )
    save_echo_embeddings(out, replace(run.embeddings, frames=frames))
    return replace(run, failures=left_out | run.failures)


def _study_paths(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Folders with clips and clips that lie alone, by name; and why others are left out."""
    from echoing_core.datasets.echonet import is_echonet, read_echonet
    from echoing_core.datasets.mimic_echo import echo_studies
    from echoing_core.datasets.mimic_tables import find_table
    from echoing_core.io.echo.clips import ENDINGS

    if not folder.is_dir():
        raise DataSetError(f"{folder} is not a folder. Give the one that holds the echo studies.")
    # Of MIMIC-IV-ECHO its own list says which folder is which study.
    if find_table(folder, "echo-study-list") is not None:
        return {study.study_id: study.folder for study in echo_studies(folder)}, {}
    if is_echonet(folder):
        # All its videos lie in one folder and are not one study.
        listed = read_echonet(folder)
        return {video.study_id: video.path for video in listed.videos}, _reasons(listed)
    # Sorted, so that a store has the same order on every file system.
    clips = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    # A clip that lies alone is a study by itself, since nothing says what it belongs to.
    places = list(dict.fromkeys(p if p.parent == folder else p.parent for p in clips))
    if not places:
        raise DataSetError(
            f"{folder} holds no echo clip. Needed are {' or '.join(ENDINGS)} files, each study in "
            "a folder of its own."
        )
    named: dict[str, Path] = {}
    for place in places:
        name = place.name if place.is_dir() else place.stem
        if name in named:
            raise DataSetError(
                f"Two studies in {folder} are called {name!r}. Give each study a name of its own."
            )
        named[name] = place
    return named, {}


def _reasons(listed: EchoNetVideos) -> dict[str, str]:
    """Why videos of EchoNet-Dynamic's list cannot be used, by their names."""
    return {one.record_id: f"{one.reason} {one.detail}".strip() for one in listed.left_out}


def _only_paired(paths: dict[str, Path], prepared: Path) -> dict[str, Path]:
    """Studies that some ECG of a prepared set is paired with."""
    from echoing_core.datasets.prepared import load_prepared

    table = load_prepared(prepared).table
    if "echo_study_id" not in table.columns:
        raise DataSetError(
            f"{prepared.name} pairs no ECG with an echocardiogram. Prepare it with the folder of "
            "its echocardiograms."
        )
    # As text: MIMIC's ids are numbers, those of other archives are not.
    wanted = set(table["echo_study_id"].astype(str))
    chosen = {name: path for name, path in paths.items() if name in wanted}
    if not chosen:
        raise DataSetError(
            f"None of the {len(paths)} studies belongs to an ECG of {prepared.name}. Name the "
            "folder of the echocardiograms that it was prepared with."
        )
    return chosen


def _source(path: Path, name: str, size: tuple[int, int], choice: FrameChoice) -> EchoSource:
    from echoing_core.echo.store import EchoSource
    from echoing_core.io.echo.clips import read_echo_study

    # Frames are brought to the model's size as they are read: a study in full size takes gigabytes.
    read = partial(
        read_echo_study,
        path,
        name,
        size=size[0] if size[0] == size[1] else None,
        max_frames=choice.reach,
    )
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    # Sizes and dates: hashing hundreds of gigabytes would take longer than embedding.
    marks = [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]
    return EchoSource(name, read, hashlib.sha256("\n".join(marks).encode()).hexdigest())
