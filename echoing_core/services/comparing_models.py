"""Several models beside each other on one prepared set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.datasets.prepared import check_filter_padding, read_card
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols.field import field_document, field_presets
from echoing_core.evaluate.protocols.settings import (
    DEFAULTS,
    FEW_SHOT,
    FINE_TUNE,
    EvaluationOptions,
    EvaluationPreset,
    load_evaluation_preset,
)
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LONG_PADDING
from echoing_core.services.evaluate import evaluation_card
from echoing_core.services.given import check_given, check_protocol_data
from echoing_core.services.models import load_model, model_folder, prompt_sets

if TYPE_CHECKING:
    from echoing_core.metrics.results import Experiment

Given = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """What came out.

    Attributes
    ----------
    experiment : Experiment
    html : str
        The same as one page.
    field : str
        The field's tables as Markdown with a column for each model; empty if not asked for.
    card : str
        Of the evaluation, see `services.evaluation_card`.
    """

    experiment: Experiment
    html: str
    field: str
    card: str


def check_comparison(
    models: Sequence[Given],
    data: Given,
    *,
    labels: Sequence[str] | None = None,
    fine_tuned: bool = False,
    field: bool = False,
) -> None:
    """Refuse models or data that cannot be compared, before anything heavy is imported.

    Parameters
    ----------
    models : sequence of path or str
        As `services.load_model` takes them.
    data : path
        A prepared set.
    labels : sequence of str, optional
        That the set must have.
    fine_tuned, field
        As in `compare_models`.

    Raises
    ------
    CheckpointError, DataSetError, ConfigError
        The first that cannot be, with what mends it.
    """
    names_of(models)
    folders = [model_folder(model)[0] for model in models]
    for folder in folders:
        check_given(model=folder)
    check_protocol_data(data, FINE_TUNE if fine_tuned else FEW_SHOT)
    card = read_card(Path(data))
    for label in labels or ():
        if label not in card["labels"]:
            known = ", ".join(card["labels"]) or "none"
            raise DataSetError(
                f"{data} has no label {label}. Choose another with --labels; it has: {known}."
            )
    if field and not _classes_in(card["labels"]):
        raise DataSetError(
            f"{data} has the labels of none of the field's tables. Prepare PTB-XL, CPSC2018 or "
            "CSN (`echoing prepare --list`), or leave out --field."
        )
    for folder in folders:
        check_filter_padding(Path(data), _padding_of(folder))


def names_of(models: Sequence[Given]) -> dict[str, Given]:
    """How tables call the models: by their folders, and by more of the path where those are alike.

    Parameters
    ----------
    models : sequence of path or str

    Returns
    -------
    dict of name to path or str

    Raises
    ------
    ConfigError
        There is none, or one stands there twice.
    """
    if not models:
        raise ConfigError("Name at least one model; `echoing models` lists what is at hand.")
    texts = [os.fspath(model) for model in models]
    for text in texts:
        if texts.count(text) > 1:
            raise ConfigError(f"{text} stands there twice. Name each model once.")
    for n_parts in range(1, max(len(Path(text).parts) for text in texts) + 1):
        names = [str(Path(*Path(text).parts[-n_parts:])) for text in texts]
        if len(set(names)) == len(names):
            return dict(zip(names, models, strict=True))
    return dict(zip(texts, models, strict=True))


def compare_models(
    models: Sequence[Given],
    data: Given,
    *,
    options: EvaluationOptions = DEFAULTS,
    fine_tuned: bool = False,
    field: bool = False,
    progress: Progress = SILENT,
) -> ModelComparison:
    """Measure models on one prepared set, and random weights of their architectures beside them.

    Each is embedded with once. What a model lacks is said in its cell.

    Parameters
    ----------
    models : sequence of path or str
        As `load_model` takes them; differences are to the first.
    data : path
        A prepared set with training and test ECGs.
    options : EvaluationOptions
        Labels, seeds, resamples and how to fine-tune.
    fine_tuned : bool
        Train all weights for each question, too, which takes long.
    field : bool
        Measure the classes of the field's tables, too, as far as the set has them.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    ModelComparison

    Raises
    ------
    CheckpointError, DataSetError, ConfigError
        As in `check_comparison`.
    """
    check_comparison(models, data, labels=options.labels, fine_tuned=fine_tuned, field=field)
    # Torch and pandas come with these.
    from echoing_core.evaluate.protocols import model_comparison
    from echoing_core.evaluate.protocols.classes import MACRO
    from echoing_core.export.document import experiment_html

    folder = Path(data)
    loaded = {name: load_model(model).checkpoint for name, model in names_of(models).items()}
    classes = _classes_in(read_card(folder)["labels"]) if field else {}
    experiment, figures = model_comparison.compare_models(
        loaded,
        folder,
        prompt_sets(),
        options,
        fine_tuned=fine_tuned,
        classes=classes,
        progress=progress,
    )
    # Differences have a scale of their own.
    names = {about["name"] for about in experiment.to_dict()["models"]}
    drawn = [
        r for r in experiment.results if r.metric == MACRO and not r.label and r.model in names
    ]
    page = experiment_html(experiment, drawn, f"{MACRO}, percent")
    hashes = {name: one.hash for name, one in loaded.items()}
    card = evaluation_card(experiment, hashes, folder)
    if not field:
        return ModelComparison(experiment, page, "", card)
    cautions = dict.fromkeys(one.caution for one in loaded.values() if one.caution)
    text = field_document(figures, measured_on=folder.name, remarks=tuple(cautions))
    return ModelComparison(experiment, page, text, card)


def _classes_in(labels: Mapping[str, object]) -> dict[str, EvaluationPreset]:
    """Presets of the field's tables whose classes a set has."""
    presets = {name: load_evaluation_preset(name) for name in field_presets()}
    return {name: one for name, one in presets.items() if set(one.classes) <= set(labels)}


def _padding_of(folder: Path) -> str:
    # Without `models.checkpoint`, which brings torch along; whoever loads the model checks it.
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return LONG_PADDING
    return str(settings.get("filter_padding", LONG_PADDING))
