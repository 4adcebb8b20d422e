"""Making what ships, and simulated data: cohorts, the demo model, its index, sample recordings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LONG_PADDING
from echoing_core.services.evaluate import evaluate_held_out
from echoing_core.services.given import check_given, check_model_out
from echoing_core.services.models import (
    Model,
    assets_folder,
    load_model,
    model_folder,
    prompt_sets,
)
from echoing_core.training.settings import RunConfig

if TYPE_CHECKING:
    from echoing_core.datasets.simulated import CohortConfig


def simulate_cohort(
    folder: str | os.PathLike[str],
    n_patients: int,
    seed: int,
    progress: Progress = SILENT,
    *,
    echo: bool = False,
) -> int:
    """Write a simulated cohort as WFDB and CSV.

    Parameters
    ----------
    folder : path
        To make.
    n_patients, seed : int
    progress : Progress, optional
        Counts patients.
    echo : bool
        Write simulated echocardiography videos too, one folder per study.

    Returns
    -------
    int
        The number of ECGs written.
    """
    from echoing_core.simulate import write_cohort

    return write_cohort(Path(folder), n_patients, seed, progress=progress, echo=echo)


def prepare_simulated(
    out: str | os.PathLike[str],
    n_patients: int,
    seed: int,
    *,
    echo_in_report: float | None = None,
    filter_padding: str = LONG_PADDING,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Simulate a cohort and write it as a prepared study set.

    Parameters
    ----------
    out : path
        Folder to make.
    n_patients, seed : int
    echo_in_report : float, 0..1, optional
        Share of reports that also tell the echocardiogram; without it, the simulation's default.
    filter_padding : {"long", "scipy"}
        As in `signals.standardise`: that of the model to be trained on it.
    progress : Progress, optional
        Counts patients.

    Returns
    -------
    dict
        The set's card.

    Raises
    ------
    ConfigError
        The share is out of range, or ``out`` holds something else.
    """
    from echoing_core.datasets.prepared import may_become_prepared, save_prepared
    from echoing_core.datasets.simulated import build_simulated
    from echoing_core.simulate import SimulationConfig

    # Before minutes of simulation, not after.
    may_become_prepared(Path(out))
    config = SimulationConfig()
    if echo_in_report is not None:
        # In a sentence here, rather than as an error of the simulator.
        if not 0.0 <= echo_in_report <= 1.0:
            raise ConfigError(
                f"A share of {echo_in_report:g} of the reports is not between 0 and 1."
            )
        config = replace(config, echo_in_report=echo_in_report)
    studies = build_simulated(
        n_patients,
        seed,
        config=config,
        n_workers=2,
        filter_padding=filter_padding,
        progress=progress,
    )
    # What else the cohort is made of is fixed by the version of the simulator.
    card: dict[str, Any] = {"seed": seed, "echo_in_report": config.echo_in_report}
    if filter_padding != LONG_PADDING:
        card["filter_padding"] = filter_padding
    return save_prepared(Path(out), studies, card=card)


def train_demo(
    out: str | os.PathLike[str],
    *,
    ptbxl: str | os.PathLike[str] | None = None,
    zscored: str | os.PathLike[str] | None = None,
    config: RunConfig | None = None,
    cohort: CohortConfig | None = None,
    space: str | os.PathLike[str] | None = None,
    where_from: str | os.PathLike[str] | None = None,
    begin: str | os.PathLike[str] | None = None,
    real_share: float | None = None,
    borrowed_share: float | None = None,
    teacher: str | os.PathLike[str] | None = None,
    echo_share: float = 0.1,
    log_path: str | os.PathLike[str] | None = None,
    log_to: Sequence[str] = ("json",),
    run: str | os.PathLike[str] | None = None,
    resume: bool = False,
    figures: bool = True,
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
    zscored : path, optional
        Folder of further ECGs of PTB-XL whose millivolts are lost (`datasets.zscored`).
    config : RunConfig, optional
        `training.settings.demo_recipe`, which is also what is used without it.
    cohort : CohortConfig, optional
        The simulated cohort.
    space : path, optional
        A model folder whose means are kept: only sigma^2 is learnt anew. It must have been
        trained on the same data, or held-out patients would be among those it has seen.
    where_from : path, optional
        A model folder whose knowledge of where in a window a lead is lost is taken over.
    begin : path, optional
        A model folder of the same data from whose weights the first stage begins.
    real_share, borrowed_share : float, optional
        Of every batch, see `training.demo.Shares`.
    teacher : path, optional
        Folder of an echo teacher: simulated echocardiograms of some training patients are
        embedded by it, and their ECGs learn from it, too.
    echo_share : float
        Of the simulated training patients who have an echocardiogram.
    log_path : path, optional
        Where the losses of every step go, as JSON lines.
    log_to : sequence of str
        Who keeps them beside that, as in `train_preset`; in ``run``, or beside the model.
    run : path, optional
        Folder for the states of the first stage; with ``resume`` it goes on from the newest.
    figures : bool
        Measure the model at the end and put the figures into its card; some ten minutes.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Model
        As it is read back from ``out``.
    """
    check_given(ptbxl=ptbxl, zscored=zscored, teacher=teacher)
    space, where_from, begin = (
        None if one is None else model_folder(one)[0] for one in (space, where_from, begin)
    )
    for one in (space, where_from, begin):
        check_given(model=one)
    check_model_out(out)
    from echoing_core.datasets.simulated import CohortConfig
    from echoing_core.echo.teacher import load_teacher
    from echoing_core.models.checkpoint import load_checkpoint
    from echoing_core.training.demo import Shares, load_demo_data
    from echoing_core.training.demo import train_demo as train
    from echoing_core.training.metric_logs import check_loggers
    from echoing_core.training.settings import demo_recipe

    check_loggers(log_to)
    usual = Shares()
    # Before anything is simulated: shares that leave nothing are refused at once.
    shares = Shares(
        usual.real if real_share is None else real_share,
        usual.borrowed if borrowed_share is None else borrowed_share,
    )
    # The record of the training names it, so it must be known even where nobody chose one.
    cohort = cohort or CohortConfig()
    data = load_demo_data(
        cohort,
        None if ptbxl is None else Path(ptbxl),
        zscored=None if zscored is None else Path(zscored),
        teacher=None if teacher is None else load_teacher(str(teacher)),
        echo_share=echo_share,
        progress=progress,
    )
    train(
        Path(out),
        data,
        config or demo_recipe(),
        cohort=cohort,
        space=None if space is None else load_checkpoint(space),
        where=None if where_from is None else load_checkpoint(where_from),
        begin=None if begin is None else load_checkpoint(begin),
        shares=shares,
        questions=prompt_sets(),
        log_path=None if log_path is None else Path(log_path),
        log_to=log_to,
        run=None if run is None else Path(run),
        resume=resume,
        progress=progress,
    )
    # Cohort and PTB-XL take much memory, and the evaluation simulates its own test patients.
    del data
    # On the folder as written, so that the figures are those of the bytes that ship.
    if figures:
        evaluate_held_out(load_model(out), folder=out, ptbxl=ptbxl)
    return load_model(out)


def build_demo_index(
    out: str | os.PathLike[str],
    model: Model,
    *,
    n_items: int = 1000,
    seed: int | None = None,
    progress: Progress = SILENT,
) -> int:
    """Simulate a gallery that no training saw, embed it and write an index folder.

    Parameters
    ----------
    out : path
        Folder to write.
    model : Model
        Embeds the gallery; the index is bound to it.
    n_items : int
    seed : int, optional
        Of the gallery's cohort; without it, that of the shipped index.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    int
        Number of items.
    """
    from echoing_core.evaluate.shipped import gallery

    return gallery.build_demo_index(
        Path(out),
        model.checkpoint,
        n_items=n_items,
        seed=gallery.GALLERY_SEED if seed is None else seed,
        progress=progress,
    )


def build_samples(folder: str | os.PathLike[str] | None = None) -> list[str]:
    """Make the shipped recordings again.

    Parameters
    ----------
    folder : path, optional
        Without it, that of the shipped ones.

    Returns
    -------
    list of str
        Their ids.
    """
    from echoing_core.simulate.write import build_samples as build

    return build(Path(folder) if folder is not None else assets_folder() / "recordings")
