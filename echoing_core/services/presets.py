"""Published evaluations by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.progress import SILENT, Progress
from echoing_core.services.models import Model, prompt_sets

if TYPE_CHECKING:
    from echoing_core.evaluate.protocols.preset_files import EvaluationPreset
    from echoing_core.evaluate.protocols.results import Study


def evaluation_presets() -> dict[str, EvaluationPreset]:
    """The presets that come with the package, by name."""
    from echoing_core.evaluate.protocols.preset_files import load_evaluation_preset, preset_names

    return {name: load_evaluation_preset(name) for name in preset_names()}


def evaluate_preset(
    model: Model,
    name: str,
    data: str | os.PathLike[str],
    *,
    by_entropy: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """Run a preset, or a YAML file of its form, on a prepared set.

    Raises
    ------
    ConfigError
        There is no such preset.
    DataSetError
        The set cannot be used, or lacks a label that the preset needs.
    """
    from echoing_core.evaluate.protocols.preset_files import load_evaluation_preset
    from echoing_core.evaluate.protocols.preset_runs import run_preset

    return run_preset(
        model.checkpoint,
        Path(data),
        load_evaluation_preset(name),
        prompt_sets(),
        deterministic=by_entropy,
        n_resamples=n_resamples,
        progress=progress,
    )
