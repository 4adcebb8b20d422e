"""Prepared study sets, and the published protocols on them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.models import Model, prompt_sets

if TYPE_CHECKING:
    from echoing_core.evaluate.protocols.results import Study


def prepare_simulated(
    out: str | os.PathLike[str],
    n_patients: int,
    seed: int,
    *,
    echo_in_report: float | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Simulate a cohort and write it as a prepared study set.

    Parameters
    ----------
    echo_in_report : float, 0..1, optional
        Share of reports that also tell the echocardiogram; without it, the simulation's default.

    Returns
    -------
    dict
        The set's card.

    Raises
    ------
    ConfigError
        The share is out of range, or ``out`` holds something else.
    """
    from echoing_core.datasets.prepared import save_prepared
    from echoing_core.datasets.simulated import build_simulated
    from echoing_core.simulate import SimulationConfig

    config = SimulationConfig()
    if echo_in_report is not None:
        if not 0.0 <= echo_in_report <= 1.0:
            raise ConfigError(
                f"A share of {echo_in_report:g} of the reports is not between 0 and 1."
            )
        config = replace(config, echo_in_report=echo_in_report)
    studies = build_simulated(n_patients, seed, config=config, n_workers=2, progress=progress)
    card = {"seed": seed, "echo_in_report": config.echo_in_report}
    return save_prepared(Path(out), studies, card=card)


def evaluate_zero_shot(
    model: Model,
    *,
    data: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    by_entropy: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """Questions answered by prompts alone, with random weights and other wordings beside them.

    Parameters
    ----------
    data : path, optional
        A prepared set; without it, the simulated cohort that the model was trained on.
    labels : sequence of str, optional
        Without ``label_``; without, all that the protocol has questions for.
    by_entropy : bool, optional
        Split by the entropy of the answer and not by sigma^2; without, so for models whose
        sigma^2 nothing taught.

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, or a label is not known.
    """
    from echoing_core.evaluate.protocols.runs import run_zero_shot

    return run_zero_shot(
        model.checkpoint,
        _folder(data),
        prompt_sets(),
        labels=labels,
        deterministic=by_entropy,
        n_resamples=n_resamples,
        progress=progress,
    )


def evaluate_few_shot(
    model: Model,
    *,
    data: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    n_seeds: int = 3,
    by_entropy: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """Probes from 10 % and 100 % of the training patients; arguments as `evaluate_zero_shot`."""
    from echoing_core.evaluate.protocols.runs import run_few_shot

    return run_few_shot(
        model.checkpoint,
        _folder(data),
        prompt_sets(),
        labels=labels,
        n_seeds=n_seeds,
        deterministic=by_entropy,
        n_resamples=n_resamples,
        progress=progress,
    )


def evaluate_fine_tune(
    model: Model,
    *,
    data: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    n_seeds: int | None = None,
    n_train: int | None = None,
    epochs: int | None = None,
    by_entropy: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """All weights of the ECG encoder trained for each label; the model itself stays as it is.

    Parameters
    ----------
    n_seeds, n_train, epochs : int, optional
        As in `FineTuneSettings`.
    """
    from echoing_core.evaluate.protocols.fine_tune import FineTuneSettings
    from echoing_core.evaluate.protocols.runs import run_fine_tune

    given = {"n_seeds": n_seeds, "n_train": n_train, "epochs": epochs}
    chosen = {key: value for key, value in given.items() if value is not None}
    return run_fine_tune(
        model.checkpoint,
        _folder(data),
        prompt_sets(),
        labels=labels,
        settings=replace(FineTuneSettings(), **chosen),
        deterministic=by_entropy,
        n_resamples=n_resamples,
        progress=progress,
    )


def evaluate_retrieval(
    model: Model,
    *,
    data: str | os.PathLike[str] | None = None,
    by_entropy: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """From each report to its ECG; without ``data``, in a simulated gallery of new patients."""
    from echoing_core.evaluate.protocols.runs import run_retrieval

    return run_retrieval(
        model.checkpoint,
        _folder(data),
        deterministic=by_entropy,
        n_resamples=n_resamples,
        progress=progress,
    )


def _folder(data: str | os.PathLike[str] | None) -> Path | None:
    return None if data is None else Path(data)
