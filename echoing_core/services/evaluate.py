"""Measuring a model: held-out figures, the protocols, presets, and the benchmark of sigma^2."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.datasets.prepared import CARD, read_card
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols.settings import (
    DEFAULTS,
    EvaluationOptions,
    EvaluationPreset,
    load_evaluation_preset,
    preset_names,
)
from echoing_core.progress import SILENT, Progress
from echoing_core.services.given import (
    check_calibration_data,
    check_model_out,
    check_preset_data,
)
from echoing_core.services.models import Model, prompt_sets
from echoing_core.services.weights import imported_card

if TYPE_CHECKING:
    from echoing_core.evaluate.echo_text import EchoTextReport
    from echoing_core.metrics.results import Experiment
    from echoing_core.models.heads import Head
    from echoing_core.reports.echo_text.reading import EchoFindings


def evaluate_held_out(
    model: Model,
    *,
    ptbxl: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Measure a model on simulated test patients, and on PTB-XL fold 9.

    Parameters
    ----------
    model : Model
    ptbxl : path, optional
        Folder of PTB-XL; without it, simulated patients alone.
    folder : path, optional
        Model folder into whose card the figures go.
    n_resamples : int
        Of the patients.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    Experiment
    """
    # Torch and pandas come with these, so every function imports what it needs itself.
    model.checkpoint.require_text()
    from echoing_core.evaluate.shipped import card, control, held_out
    from echoing_core.models.checkpoint import update_documents

    sets = held_out.held_out_sets(
        model.checkpoint, None if ptbxl is None else Path(ptbxl), progress=progress
    )
    experiment = held_out.evaluate_held_out(
        model.checkpoint,
        sets,
        prompt_sets(),
        further=()
        if ptbxl is None
        else control.on_ptbxl(
            model.checkpoint, Path(ptbxl), sets, prompt_sets(), n_resamples=n_resamples
        ),
        n_resamples=n_resamples,
    )
    if folder is not None:
        results = experiment.results
        figures = card.encoders_side_by_side(results, model.name)
        # The card is no part of what the model's hash covers, so it may change.
        update_documents(
            Path(folder),
            figures=results,
            # Weights of others keep their own licence and notes, and get only the figures.
            card=imported_card(model.name, model.hash, model.trained_on, figures)
            if model.imported
            else card.write_card(
                model.name,
                model.hash,
                model.trained_on,
                model.reference.name,
                results,
                model.checkpoint.measured.get("calibration"),
                taught_by=model.sigma2_taught_by,
            ),
        )
    return experiment


def evaluate_calibration(
    model: Model,
    *,
    ptbxl: str | os.PathLike[str] | None = None,
    zscored: str | os.PathLike[str] | None = None,
    measure_zscored: bool = False,
    data: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Fit what a model's answers are worth on ECGs with known findings, and measure it on others.

    Parameters
    ----------
    model : Model
    ptbxl : path, optional
        Folder of PTB-XL: fitted on fold 8, measured on fold 9.
    zscored : path, optional
        Folder of further ECGs of PTB-XL whose millivolts are lost, to be fitted on, too.
    measure_zscored : bool
        Measure on those, too, for a figure alone: what a model folder says is of ECGs in
        millivolts.
    data : path, optional
        A prepared set instead: fitted on its split ``valid``, measured on ``test``. None of its
        patients may have been trained on.
    folder : path, optional
        Model folder into which the calibration is written.
    n_resamples : int
        Of the patients.
    progress : Progress, optional
        Counts lead sets.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError
        Neither or both of PTB-XL and a prepared set are named, or a folder is to be written into
        with ``measure_zscored``.
    DataSetError
        The data cannot be used.
    """
    check_calibration_data(
        ptbxl=ptbxl,
        zscored=zscored,
        data=data,
        measure_zscored=measure_zscored,
        writes=folder is not None,
    )
    model.checkpoint.require_text()
    from echoing_core.evaluate.shipped import calibration as shipped
    from echoing_core.models.checkpoint import update_documents

    fitted, experiment = (
        shipped.calibrate_on_ptbxl(
            model.checkpoint,
            Path(ptbxl),
            prompt_sets(),
            zscored=None if zscored is None else Path(zscored),
            measure_zscored=measure_zscored,
            n_resamples=n_resamples,
            progress=progress,
        )
        if ptbxl is not None
        else shipped.calibrate_on_prepared(
            model.checkpoint,
            Path(str(data)),
            prompt_sets(),
            n_resamples=n_resamples,
            progress=progress,
        )
    )
    if folder is not None:
        update_documents(
            Path(folder), measured={"calibration": fitted.to_dict()}, sigma2=model.sigma2
        )
    return experiment


def evaluate_protocol(
    model: Model,
    protocol: str,
    *,
    data: str | os.PathLike[str] | None = None,
    options: EvaluationOptions = DEFAULTS,
    out: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Experiment:
    """Run one of the article's protocols, with random weights beside the model.

    Parameters
    ----------
    model : Model
        It stays as it is, in fine-tuning too.
    protocol : {"zero-shot", "few-shot", "knn", "fine-tune", "retrieval"}
        Questions answered by prompts alone; by probes from 10 % and 100 % of the training
        patients; by the nearest training ECGs; by all weights trained for each label; from each
        report to its ECG.
    data : path, optional
        A prepared set; without it, the simulated cohort that the model was trained on, and for
        retrieval a simulated gallery of new patients.
    options : EvaluationOptions
    out : path, optional
        Of fine-tune and few-shot: a model folder to write, which is the model with what was trained
        here as its heads (`models.heads`). It may be the model's own folder.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError, ConfigError
        The set cannot be used, a label is not known, or ``out`` holds something else than a model.
    """
    from echoing_core.evaluate.protocols.runs import RUNS

    folder = None if data is None else Path(data)
    if out is None:
        return RUNS[protocol](model.checkpoint, folder, prompt_sets(), options, progress=progress)
    from echoing_core.evaluate.protocols.runs import TRAINS
    from echoing_core.models.checkpoint import save_with_heads

    if protocol not in TRAINS or model.folder is None:
        raise ConfigError(f"{protocol} trains nothing that a model folder could keep.")
    # Before minutes of training, not after.
    check_model_out(out)
    heads: list[Head] = []
    experiment = TRAINS[protocol](
        model.checkpoint, folder, prompt_sets(), options, heads=heads, progress=progress
    )
    if not heads:
        raise DataSetError(
            "Of no label were there training ECGs with and without it, so there is no head to "
            f"write into {out}."
        )
    save_with_heads(Path(out), model.folder, model.checkpoint, heads)
    return experiment


def evaluation_card(
    experiment: Experiment,
    models: Mapping[str, str],
    data: str | os.PathLike[str] | None = None,
) -> str:
    """The card of an evaluation: a ``model-index`` as metadata, its data and licence, its tables.

    Parameters
    ----------
    experiment : Experiment
    models : mapping of str to str
        Name of each model in the figures, to its hash.
    data : path, optional
        What it was measured on: a prepared set, or a data set as it was downloaded, of which no
        card says anything.

    Returns
    -------
    str
    """
    from echoing_core.export.evaluation_card import evaluation_card as written

    if data is None or not (Path(data) / CARD).is_file():
        name = "" if data is None else f"{Path(data).name}, as it was downloaded"
        return written(experiment, models, data_name=name)
    return written(experiment, models, data=read_card(Path(data)), data_name=Path(data).name)


def evaluation_presets() -> dict[str, EvaluationPreset]:
    """Return the presets that come with the package, by name."""
    return {name: load_evaluation_preset(name) for name in preset_names()}


def evaluate_preset(
    model: Model,
    name: str,
    data: str | os.PathLike[str] | None = None,
    *,
    options: EvaluationOptions = DEFAULTS,
    progress: Progress = SILENT,
) -> Experiment:
    """Run a preset, or a YAML file of its form, on a prepared set.

    Parameters
    ----------
    model : Model
    name : str
        One of `evaluation_presets`, or the path of a file.
    data : path, optional
        A prepared set; for ``music-table3`` also MUSIC itself, and without it simulated 20-minute
        recordings.
    options : EvaluationOptions
        Labels and the numbers of seeds and training ECGs are the preset's.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError
        There is no such preset.
    DataSetError
        The set cannot be used, or lacks a label that the preset needs.
    """
    preset = load_evaluation_preset(name)
    check_preset_data(preset, name, data)
    from echoing_core.evaluate.protocols.runs import run_preset

    return run_preset(
        model.checkpoint,
        None if data is None else Path(data),
        preset,
        prompt_sets(),
        options,
        progress=progress,
    )


def evaluate_fusion(
    model: Model,
    *,
    n_patients: int | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Compare fused recordings with single windows, on simulated 20-minute recordings with noise.

    Parameters
    ----------
    model : Model
    n_patients : int, optional
        Simulated test patients; each costs about a second and a half.
    n_resamples : int
        Of the patients.
    progress : Progress, optional
        Counts patients.

    Returns
    -------
    Experiment
    """
    from echoing_core.evaluate.uncertainty.fusion_study import N_PATIENTS, fusion_study

    return fusion_study(
        model.checkpoint,
        prompt_sets(),
        # The default stands with the study, whose module is not imported for a signature.
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
    """Measure how well sigma^2 tells bad recordings from good ones, as people graded them.

    Parameters
    ----------
    model : Model
    recordings : path
        Folder with the recordings, at any depth.
    labels : path
        CSV with the columns ``record`` and ``quality`` (acceptable or unacceptable, good or bad,
        clean or noisy, 0 or 1).
    n_resamples : int
        Of the recordings.
    progress : Progress, optional
        Counts recordings.

    Returns
    -------
    Experiment

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
    """Measure what sigma^2 follows: every section of the benchmark for which there are data.

    Parameters
    ----------
    model : Model
    cinc, ptbxl, nstdb : path, optional
        Folders of the CinC Challenge 2011, of PTB-XL and of the MIT-BIH Noise Stress Test.
    long_recordings : sequence of path
        Folders of long recordings with leads II and V1.
    n_resamples : int
        Of patients or recordings.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        A folder that was named is not as it should be.
    """
    model.checkpoint.require_sigma2()
    from echoing_core.evaluate.uncertainty.benchmark import Folders, uncertainty_benchmark

    # A section whose folder is not given is left out of the benchmark.
    cinc, ptbxl, nstdb = (None if name is None else Path(name) for name in (cinc, ptbxl, nstdb))
    return uncertainty_benchmark(
        model.checkpoint,
        prompt_sets(),
        Folders(cinc, ptbxl, nstdb, tuple(Path(name) for name in long_recordings)),
        n_resamples=n_resamples,
        progress=progress,
    )


def evaluate_echo_text(
    sentences: str | os.PathLike[str],
    halves: Sequence[str] | None = None,
    *,
    language_model: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> tuple[EchoTextReport, ...]:
    """Measure the reader of echo reports on sentences with known truth.

    Parameters
    ----------
    sentences : path
        A CSV as `evaluate.echo_text.read_sentences` takes it.
    halves : sequence of str, optional
        Values of its column ``half``; without, each in the order in which it appears.
    language_model : path, optional
        A local folder of a causal language model, which then reads in place of the rules.
    progress : Progress, optional
        Told of each half by its name.

    Returns
    -------
    tuple of EchoTextReport
        One for each half.

    Raises
    ------
    DataSetError
        The file cannot be used, or has no sentence of such a half.
    CheckpointError
        The language model cannot be loaded.
    """
    from echoing_core.evaluate.echo_text import read_sentences, score_echo_text
    from echoing_core.reports.echo_text.reading import echo_findings

    known = read_sentences(Path(sentences))
    # In the order of the file: a dictionary keeps it, a set would not.
    there = list(dict.fromkeys(sentence.half for sentence in known))
    for half in halves or ():
        if half not in there:
            raise DataSetError(
                f"{Path(sentences).name} has no sentence of {half!r}; it has {', '.join(there)}."
            )
    # Both readers take a sentence and give findings, so they are scored in one way.
    read = echo_findings if language_model is None else _reader(language_model)
    return tuple(
        score_echo_text(known, half, read=read, progress=progress.stage(half))
        for half in (halves or there)
    )


def _reader(folder: str | os.PathLike[str]) -> Callable[[str], EchoFindings]:
    from echoing_core.models.hugging_face import load_text_generator
    from echoing_core.reports.echo_text.language_model import read_with

    # Loaded once for all sentences.
    generate = load_text_generator(Path(folder))
    return lambda text: read_with(generate, text).findings
