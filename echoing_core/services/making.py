"""Making and measuring: cohorts, models, indexes, samples, benchmarks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.progress import SILENT, Progress
from echoing_core.services.models import Model, assets_folder, load_model, prompt_sets
from echoing_core.services.weights import imported_card
from echoing_core.training.settings import RunConfig

if TYPE_CHECKING:
    from echoing_core.datasets.simulated import CohortConfig
    from echoing_core.metrics.results import Experiment, Result


def simulate_cohort(
    folder: str | os.PathLike[str],
    n_patients: int,
    seed: int,
    progress: Progress = SILENT,
    *,
    echo: bool = False,
) -> int:
    """Write a simulated cohort as WFDB and CSV; returns the number of ECGs written.

    Parameters
    ----------
    echo : bool
        Write simulated echocardiography videos too, one folder per study.
    """
    from echoing_core.simulate import write_cohort

    return write_cohort(Path(folder), n_patients, seed, progress=progress, echo=echo)


def train_demo(
    out: str | os.PathLike[str],
    *,
    ptbxl: str | os.PathLike[str] | None = None,
    config: RunConfig | None = None,
    cohort: CohortConfig | None = None,
    space: str | os.PathLike[str] | None = None,
    log_path: str | os.PathLike[str] | None = None,
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Model:
    """Simulate the cohort, read PTB-XL where ``ptbxl`` names it, train, write, evaluate, load.

    The model folder is written before the evaluation, and again with the figures in its card.

    Parameters
    ----------
    out : path
        Model folder to write.
    ptbxl : path, optional
        Folder of PTB-XL; without it no real ECG is used.
    config : RunConfig, optional
        `training.settings.demo_recipe`, which is also what is used without it.
    cohort : CohortConfig, optional
        The simulated cohort.
    space : path, optional
        A model folder whose means are kept: only sigma^2 is learnt anew. It must have been
        trained on the same data, or held-out patients would be among those it has seen.
    log_path : path, optional
        Where the losses of every step go, as JSON lines.
    run : path, optional
        Folder for the states of the first stage; with ``resume`` it goes on from the newest.
    progress : Progress, optional
        Told of each stage by its name.
    """
    from echoing_core.datasets.simulated import CohortConfig
    from echoing_core.models.checkpoint import load_checkpoint
    from echoing_core.training.demo import load_demo_data
    from echoing_core.training.demo import train_demo as train
    from echoing_core.training.settings import demo_recipe

    cohort = cohort or CohortConfig()
    data = load_demo_data(cohort, None if ptbxl is None else Path(ptbxl), progress=progress)
    train(
        Path(out),
        data,
        config or demo_recipe(),
        cohort=cohort,
        space=None if space is None else load_checkpoint(space),
        log_path=None if log_path is None else Path(log_path),
        run=None if run is None else Path(run),
        resume=resume,
        progress=progress,
    )
    del data
    evaluate_model(load_model(out), folder=out, ptbxl=ptbxl)
    return load_model(out)


def evaluate_model(
    model: Model,
    *,
    ptbxl: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> list[Result]:
    """Held-out figures with intervals; with ``folder``, they go into that model's card."""
    from echoing_core.evaluate.shipped.card import side_by_side, write_card
    from echoing_core.evaluate.shipped.held_out import evaluate_demo, held_out_sets
    from echoing_core.models.checkpoint import update_documents

    sets = held_out_sets(
        model.checkpoint, None if ptbxl is None else Path(ptbxl), progress=progress
    )
    results = evaluate_demo(model.checkpoint, sets, prompt_sets(), n_resamples=n_resamples)
    if folder is not None:
        card = (
            imported_card(
                model.name, model.hash, model.trained_on, side_by_side(results, model.name)
            )
            if model.imported
            else write_card(model.name, model.hash, model.trained_on, model.reference.name, results)
        )
        update_documents(Path(folder), card=card)
    return results


def evaluate_fusion(
    model: Model,
    *,
    n_patients: int | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Fused recordings against single windows, on simulated 20-minute recordings with noise.

    Parameters
    ----------
    n_patients : int, optional
        Simulated test patients; each costs about a second and a half.
    """
    from echoing_core.evaluate.uncertainty.fusion_study import N_PATIENTS, fusion_study

    return fusion_study(
        model.checkpoint,
        prompt_sets(),
        n_patients=N_PATIENTS if n_patients is None else n_patients,
        n_resamples=n_resamples,
        progress=progress,
    )


def evaluate_quality(
    model: Model,
    recordings: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """How well sigma^2 tells bad recordings from good ones, as people graded them.

    Parameters
    ----------
    recordings : path
        Folder with the recordings, at any depth.
    labels : path
        CSV with the columns ``record`` and ``quality`` (acceptable or unacceptable, good or bad,
        clean or noisy, 0 or 1).

    Raises
    ------
    DataSetError
        The table, the folder or one of the recordings cannot be used.
    """
    from echoing_core.evaluate.uncertainty.quality import quality_of_recordings

    return quality_of_recordings(
        model.checkpoint,
        Path(recordings),
        Path(labels),
        n_resamples=n_resamples,
        progress=progress,
    )


def evaluate_uncertainty(
    model: Model,
    *,
    cinc: str | os.PathLike[str] | None = None,
    ptbxl: str | os.PathLike[str] | None = None,
    nstdb: str | os.PathLike[str] | None = None,
    long_recordings: Sequence[str | os.PathLike[str]] = (),
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """What sigma^2 follows: every section of the benchmark for which there are data.

    Parameters
    ----------
    cinc, ptbxl, nstdb : path, optional
        Folders of the CinC Challenge 2011, of PTB-XL and of the MIT-BIH Noise Stress Test.
    long_recordings : sequence of path
        Folders of long recordings with leads II and V1.
    progress : Progress, optional
        Told of each stage by its name.

    Raises
    ------
    DataSetError
        A folder that was named is not as it should be.
    """
    from echoing_core.evaluate.uncertainty.benchmark import Folders, uncertainty_benchmark

    cinc, ptbxl, nstdb = (None if name is None else Path(name) for name in (cinc, ptbxl, nstdb))
    return uncertainty_benchmark(
        model.checkpoint,
        prompt_sets(),
        Folders(cinc, ptbxl, nstdb, tuple(Path(name) for name in long_recordings)),
        n_resamples=n_resamples,
        progress=progress,
    )


def build_demo_index(
    out: str | os.PathLike[str],
    model: Model,
    *,
    n_items: int = 1000,
    seed: int | None = None,
    progress: Progress = SILENT,
) -> int:
    """Simulate a gallery that no training saw, embed it and write the index folder ``out``."""
    from echoing_core.evaluate.shipped import gallery

    return gallery.build_demo_index(
        Path(out),
        model.checkpoint,
        n_items=n_items,
        seed=gallery.GALLERY_SEED if seed is None else seed,
        progress=progress,
    )


def build_samples(folder: str | os.PathLike[str] | None = None) -> list[str]:
    """Make the shipped recordings again; returns their ids."""
    from echoing_core.simulate.write import build_samples as build

    return build(Path(folder) if folder is not None else assets_folder() / "recordings")
