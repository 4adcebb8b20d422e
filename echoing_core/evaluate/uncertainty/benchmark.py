"""The whole benchmark of uncertainty: every section for which there are data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.evaluate.shipped.held_out import PTBXL, HeldOut, held_out_sets
from echoing_core.evaluate.uncertainty.added_noise import dose_study
from echoing_core.evaluate.uncertainty.information import missing_study, text_study
from echoing_core.evaluate.uncertainty.quality import notes_study, quality_of_recordings
from echoing_core.evaluate.uncertainty.schedule import schedule_study
from echoing_core.evaluate.uncertainty.selective import selective_study
from echoing_core.evaluate.uncertainty.where import LEAD_TABLE, where_study
from echoing_core.metrics.results import Experiment
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.training.demo import PTBXL_TEST_FOLDS, PTBXL_TRAIN_FOLDS
from echoing_core.zeroshot.prompts import PromptSet

GRADE_TABLE = "quality_labels.csv"


@dataclass(frozen=True)
class Folders:
    """Where real recordings lie; what is None is not measured.

    Attributes
    ----------
    cinc : path or None
        PhysioNet/CinC Challenge 2011: recordings, ``quality_labels.csv`` (columns ``record``
        and ``quality``) and perhaps ``leadwise_quality.csv`` (``record``, ``bad_I``...).
    ptbxl : path or None
        As published, at 100 Hz.
    nstdb : path or None
        MIT-BIH Noise Stress Test: the three noises and perhaps 118e24.
    long_recordings : sequence of path
        Recordings with leads II and V1, such as those of the MIT-BIH Arrhythmia Database.
    """

    cinc: Path | None = None
    ptbxl: Path | None = None
    nstdb: Path | None = None
    long_recordings: Sequence[Path] = ()


def uncertainty_benchmark(
    checkpoint: Checkpoint,
    prompts: Sequence[PromptSet],
    folders: Folders,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Measure every section for which there are data; the simulated ones always.

    Parameters
    ----------
    checkpoint : Checkpoint
    prompts : sequence of PromptSet
        Questions for the section on wrong answers.
    folders : Folders
    n_resamples : int
        Of every bootstrap.
    progress : Progress
        Told of each section by its name.

    Returns
    -------
    Experiment
        Of sections; the last one lists what was not measured, and why, where there is such.

    Raises
    ------
    DataSetError
        A folder that was named is not as it should be.
    """
    sections = tuple(_sections(checkpoint, prompts, folders, n_resamples, progress))
    left_out = _left_out(checkpoint, folders)
    content = {
        "model": checkpoint.name,
        "model_hash": checkpoint.hash,
        "parts": {section.name: section.to_dict() for section in sections},
        "left_out": left_out,
    }
    if left_out:
        lines = "\n".join(f"- {what}: {why}." for what, why in left_out.items())
        # Only in the Markdown: JSON has an entry of its own for it.
        sections += (Experiment("left_out", "Left out", lines),)
    return Experiment(
        "uncertainty",
        "May sigma^2 be trusted?",
        f"Model {checkpoint.name}, hash `{checkpoint.hash[:16]}`. In every score higher means "
        "worse. The encoder with random weights has the model's architecture; the plain index "
        "knows flat, railed, noisy and irregular leads, and no model.",
        sections=sections,
        content=content,
    )


def _sections(
    checkpoint: Checkpoint,
    prompts: Sequence[PromptSet],
    folders: Folders,
    n_resamples: int,
    progress: Progress,
) -> Iterator[Experiment]:
    if folders.cinc is not None:
        yield quality_of_recordings(
            checkpoint,
            folders.cinc,
            folders.cinc / GRADE_TABLE,
            n_resamples=n_resamples,
            progress=progress.stage("graded recordings"),
        )
    # The real noises are read before anything that takes minutes: they may not be there.
    yield schedule_study(
        checkpoint,
        nstdb=folders.nstdb,
        recordings=folders.long_recordings if folders.nstdb is not None else (),
        n_resamples=n_resamples,
        progress=progress.stage("noise that comes and goes"),
    )
    held_out = held_out_sets(checkpoint, None, progress=progress.stage("simulate"))
    simulated = held_out[0].studies
    if folders.ptbxl is not None:
        real = load_ptbxl(
            folders.ptbxl,
            folds=(*PTBXL_TRAIN_FOLDS, *PTBXL_TEST_FOLDS),
            progress=progress.stage("read PTB-XL"),
        )
        # Leads are taken away from ECGs that no training saw; noise and notes may use all folds.
        fold_9 = real.where(real.table["fold"].isin(PTBXL_TEST_FOLDS))
        if len(fold_9):
            held_out.append(HeldOut(PTBXL, fold_9, simulated=False))
        yield notes_study(
            checkpoint,
            real,
            n_resamples=n_resamples,
            progress=progress.stage("PTB-XL's notes"),
        )
        if folders.nstdb is not None:
            yield dose_study(
                checkpoint,
                real,
                folders.nstdb,
                n_resamples=n_resamples,
                progress=progress.stage("added noise"),
            )
    # The published network has no mask for missing leads, and its sigma^2 no terms.
    if checkpoint.has_attribution:
        yield where_study(
            checkpoint,
            cinc=folders.cinc if _has_lead_table(folders) else None,
            n_resamples=n_resamples,
            progress=progress.stage("which leads, and when"),
        )
    if checkpoint.masks_leads:
        yield missing_study(
            checkpoint,
            held_out,
            n_resamples=n_resamples,
            progress=progress.stage("leads taken away"),
        )
    yield text_study(
        checkpoint, simulated, n_resamples=n_resamples, progress=progress.stage("texts")
    )
    yield selective_study(
        checkpoint,
        folders.ptbxl,
        prompts,
        nstdb=folders.nstdb,
        n_resamples=n_resamples,
        progress=progress.stage("wrong answers"),
    )


def _left_out(checkpoint: Checkpoint, folders: Folders) -> dict[str, str]:
    # What each row needs, and what is said if it is not there.
    reasons = {
        "graded recordings": (folders.cinc, "no folder of the CinC Challenge 2011 was given"),
        "bad leads of real ECGs": (
            folders.cinc if _has_lead_table(folders) else None,
            f"no folder with a {LEAD_TABLE} was given",
        ),
        "PTB-XL's notes, and real ECGs in any other part": (
            folders.ptbxl,
            "no folder of PTB-XL was given",
        ),
        "noise added to clean ECGs": (
            folders.ptbxl if folders.nstdb is not None else None,
            "it needs a folder of PTB-XL and one of the MIT-BIH Noise Stress Test",
        ),
        "noise that comes and goes in real recordings": (
            folders.nstdb,
            "no folder of the MIT-BIH Noise Stress Test was given",
        ),
        "answers in real noise until all is lost": (
            folders.nstdb,
            "no folder of the MIT-BIH Noise Stress Test was given",
        ),
        "long recordings with noise put into them": (
            True if folders.long_recordings and folders.nstdb is not None else None,
            "it needs a folder of long recordings and one of the MIT-BIH Noise Stress Test",
        ),
    }
    left_out = {what: why for what, (given, why) in reasons.items() if given is None}
    if not checkpoint.has_attribution:
        left_out["which leads, and when"] = "this model does not tell leads and moments apart"
    if not checkpoint.masks_leads:
        left_out["leads taken away"] = "this model cannot be told that a lead is missing"
    return left_out


def _has_lead_table(folders: Folders) -> bool:
    return folders.cinc is not None and (folders.cinc / LEAD_TABLE).is_file()
