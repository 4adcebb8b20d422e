"""Echo2ECG's evaluation: classes by neighbours and probe, search from ECG to echo study and back.

The classes are those of the ejection fraction and structural heart disease. In search an echo study
is relevant for an ECG where a measured quantity of its heart lies within half a standard deviation
of that of the ECG's own study; so beside precision stands the prevalence of what is relevant, and
beside mean average precision what a search by chance gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.study_views import StudyViews
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    embed_ecgs,
    open_data,
    patients_of,
    truth_of,
)
from echoing_core.evaluate.shipped.held_out import RANDOM_SEED, RANDOM_WEIGHTS, encoders_of
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.nearest import K, nearest_share
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.relevance import (
    AVERAGE_PRECISION,
    BY_CHANCE,
    PREVALENCE,
    of_queries,
    within,
)
from echoing_core.metrics.results import Experiment, Result, side_by_side
from echoing_core.metrics.scores import auroc, average_precision, balanced_accuracy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import Encoder, build_encoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.training.echo2ecg import embed_ecgs_and_studies
from echoing_core.training.study_batches import StudyPairs, pair_with_views

Floats = npt.NDArray[np.float64]

LVEF_LIMITS = (40.0, 50.0)
"""Percent: below the first, from it to the second, and from the second on. Echo2ECG's own limits
are in none of its texts that could be read."""
LVEF_TASK, SHD_TASK = "LVEF, 3 classes", "structural heart disease"
PHENOTYPES = ("lvef_pct", "lvedv_ml", "lvesv_ml", "lvsv_ml", "lvedd_mm", "wall_mm")
"""Labels of numbers by which studies are relevant; those that a set has."""
SHD_LABELS = ("shd_moderate_or_greater", "shd")
"""Names of a label of structural disease; else it is any of `SHD_PARTS`."""
SHD_PARTS = ("lvef_lt40", "slvh", "dlv")
TO_STUDY, TO_ECG = "ECG to echo study", "echo study to ECG"
GAIN, CHANCE = "difference to random weights", "by chance"
KS = (1, 3, 5, 10)
_SHOWN = (*(f"P@{k}" for k in KS), AVERAGE_PRECISION)


def run_echo_studies(
    checkpoint: Checkpoint,
    folder: Path,
    views: StudyViews | None,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Measure a model on a prepared set, beside the same architecture with random weights.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : Path
        A prepared set with train and test patients, and ``label_lvef_pct`` or a label of
        structural disease.
    views : StudyViews or None
        Clips of the test patients' studies; None for a model that reads none, which is then not
        searched with.
    n_resamples : int
        Bootstrap resamples of the patients.
    progress : Progress, optional

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        The set has no such label, or no test ECG has its study among ``views``.
    """
    data = open_data(checkpoint, folder, ("train", "test"), progress=progress.stage("open"))
    train, test = data.split("train"), data.split("test")
    scored: dict[str, dict[str, _Scores]] = {}
    tasks = _tasks(train, test)
    for name, encoder in encoders_of(checkpoint).items():
        stage = progress.stage(f"embed, {name}")
        known = embed_ecgs(encoder, checkpoint.scaler, train, progress=stage)
        asked = embed_ecgs(encoder, checkpoint.scaler, test)
        for task, (there, truth) in tasks.items():
            scored.setdefault(task, {})[name] = _scores(known, there, asked, truth)
    classes: list[Result] = []
    for task, by_model in scored.items():
        classes += _class_results(data, task, tasks[task][1], by_model, n_resamples)
    tables, counts = [side_by_side(classes, missing="-")], {"test ECGs": len(test)}
    found: list[Result] = []
    if views is not None:
        pairs, used = pair_with_views(test, views)
        counts |= {"ECGs searched with": len(pairs), "studies": len(pairs.rows)}
        both = {
            checkpoint.name: embed_ecgs_and_studies(checkpoint.encoder, pairs),
            RANDOM_WEIGHTS: embed_ecgs_and_studies(_random(checkpoint), pairs),
        }
        found = _retrieval(data, test.where(used), pairs, both, n_resamples)
        tables.append(side_by_side(found, missing="-"))
    searched = (
        f"Search: a study is relevant for an ECG where the quantity differs from that of the ECG's "
        f"own study by at most half a standard deviation over studies, and the reverse; "
        f"*{CHANCE}*: of precision the share of the gallery that is relevant (the prevalence), of "
        f"mAP its mean over all orders of the gallery. "
        if found
        else "The model reads no echo studies, so none is searched for. "
    )
    return Experiment(
        "echo_studies",
        f"Echo studies on {data.name}",
        f"LVEF classes: below {LVEF_LIMITS[0]:g} %, up to {LVEF_LIMITS[1]:g} %, and from there on; "
        f"macro figures are means over classes, each against the rest. {_shd_words(test)} "
        f"*kNN*: the {K} training ECGs whose mu is nearest, each counting alike. *probe*: logistic "
        f"regression on frozen mu. {searched}*{RANDOM_WEIGHTS}*: the same architecture untrained. "
        "Intervals: 95 %, bootstrap over patients; differences are paired.",
        tuple(classes + found),
        tuple(tables),
        counts,
    )


def _random(checkpoint: Checkpoint) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(RANDOM_SEED)
        encoder = build_encoder(checkpoint.encoder.config)
    encoder.eval()
    return encoder


# --- classes ----------------------------------------------------------------------------------


def lvef_class(lvef_pct: Floats) -> Floats:
    """0, 1 and 2 by `LVEF_LIMITS`, NaN where unknown; shape as given."""
    return np.where(np.isfinite(lvef_pct), np.digitize(lvef_pct, LVEF_LIMITS), np.nan)


def structural(studies: StudySet) -> Floats | None:
    """Structural heart disease of each ECG: 1, 0, or NaN; None where the set does not say it.

    Parameters
    ----------
    studies : StudySet, n rows

    Returns
    -------
    ndarray, shape (n,), or None
    """
    names = [name for name in SHD_LABELS if f"label_{name}" in studies.table.columns][:1]
    names = names or [name for name in SHD_PARTS if f"label_{name}" in studies.table.columns]
    if not names:
        return None
    parts = np.column_stack([truth_of(studies, name) for name in names])
    unknown = np.isnan(parts).any(axis=1)
    # Any part that is there decides; that none is there needs all of them known.
    any_yes = np.nan_to_num(parts).max(axis=1)
    return np.where((any_yes == 0) & unknown, np.nan, any_yes)


def _shd_words(test: StudySet) -> str:
    columns = test.table.columns
    if any(f"label_{name}" in columns for name in SHD_LABELS):
        return "Structural heart disease as the set labels it."
    parts = [name for name in SHD_PARTS if f"label_{name}" in columns]
    return f"Structural heart disease: any of {', '.join(parts)}." if parts else ""


def _tasks(train: StudySet, test: StudySet) -> dict[str, tuple[Floats, Floats]]:
    """Classes of training and test ECGs by task, as numbers from 0, NaN where unknown."""
    tasks: dict[str, tuple[Floats, Floats]] = {}
    if "label_lvef_pct" in train.table.columns:
        tasks[LVEF_TASK] = (
            lvef_class(truth_of(train, "lvef_pct")),
            lvef_class(truth_of(test, "lvef_pct")),
        )
    of_train, of_test = structural(train), structural(test)
    if of_train is not None and of_test is not None:
        tasks[SHD_TASK] = (of_train, of_test)
    # Neither a probe nor a figure is defined for one class.
    usable = {
        task: both
        for task, both in tasks.items()
        if all(np.unique(side[np.isfinite(side)]).size > 1 for side in both)
    }
    if not usable:
        raise DataSetError(
            "This set knows neither ejection fractions (label_lvef_pct) nor structural heart "
            "disease of both kinds. Prepare one that does, such as echonext or music."
        )
    return usable


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of each test ECG for each class, shape (n, n_classes), by method."""

    nearest: Floats
    probe: Floats


def _scores(
    known: GaussianEmbedding, there: Floats, asked: GaussianEmbedding, truth: Floats
) -> _Scores:
    n_classes = int(np.nanmax(np.concatenate([there, truth]))) + 1
    rows = np.isfinite(there)
    one_hot = there[rows, None] == np.arange(n_classes)
    mu = known.mu[rows]
    columns = []
    for yes in one_hot.T:
        # A class that no training ECG has is never answered.
        if yes.any() and not yes.all():
            columns.append(LinearProbe.fit(mu, yes).logits(asked)[0])
        else:
            columns.append(np.full(len(asked), np.inf if yes.all() else -1e9))
    return _Scores(nearest_share(mu, one_hot, asked.mu), np.column_stack(columns))


def class_figures(truth: Floats, scores: Floats) -> dict[str, float]:
    """Figures of a task of classes, each class against the rest, averaged over classes.

    Parameters
    ----------
    truth : ndarray, shape (n,)
        Class numbers from 0.
    scores : ndarray, shape (n, n_classes)
        The largest is the answer; of equal ones the first class.

    Returns
    -------
    dict of str to float
        For two classes those of class 1. NaN where a class does not occur.
    """
    classes = range(scores.shape[1])
    answer = scores.argmax(axis=1)
    # One against the rest; of two classes the second alone says all.
    asked = [1] if len(classes) == 2 else list(classes)
    yes = {c: truth == c for c in asked}
    margin = {c: scores[:, c] - np.delete(scores, c, axis=1).max(axis=1) for c in asked}
    ranked = margin if len(classes) == 2 else {c: scores[:, c] for c in asked}
    prefix = "" if len(classes) == 2 else "macro "
    return {
        f"{prefix}AUROC": float(np.mean([auroc(yes[c], ranked[c]) for c in asked])),
        f"{prefix}AUPRC": float(np.mean([average_precision(yes[c], ranked[c]) for c in asked])),
        "balanced accuracy": balanced_accuracy(truth, answer),
        f"{prefix}F1": float(np.mean([_f1(yes[c], answer == c) for c in asked])),
    }


def _f1(truth: BoolArray, answer: BoolArray) -> float:
    either = truth.sum() + answer.sum()
    return float(2 * (truth & answer).sum() / either) if truth.any() else float("nan")


def _class_results(
    data: EvaluationData,
    task: str,
    truth: Floats,
    by_model: Mapping[str, _Scores],
    n_resamples: int,
) -> list[Result]:
    rows = np.isfinite(truth)
    patients = patients_of(data.split("test"))[rows]
    results = []
    for method, pick in (("kNN", _nearest), ("probe", _probe)):
        arrays = tuple(pick(scores)[rows] for scores in by_model.values())

        def figures(y: Floats, *each: Floats) -> dict[str, float]:
            named = {
                f"{model}|{metric}": value
                for model, scores in zip(by_model, each, strict=True)
                for metric, value in class_figures(y, scores).items()
            }
            return named | _gains(named, list(by_model)) | _by_chance(y, named)

        results += [
            Result(data.name, f"{task}, {method}", metric, model, estimate, data.simulated)
            for (model, metric), estimate in _split_names(
                patient_bootstrap_all(
                    figures, (truth[rows], *arrays), patients, n_resamples=n_resamples
                )
            )
        ]
    return results


def _by_chance(truth: Floats, named: Mapping[str, float]) -> dict[str, float]:
    """What scores that know nothing get in average precision: the share of the class."""
    if any(key.endswith("|AUPRC") for key in named):
        return {f"{CHANCE}|AUPRC": float(np.mean(truth == 1))}
    # The mean over all classes of their shares.
    n_classes = len(np.unique(truth))
    return {f"{CHANCE}|macro AUPRC": 1.0 / n_classes}


def _nearest(scores: _Scores) -> Floats:
    return scores.nearest


def _probe(scores: _Scores) -> Floats:
    return scores.probe


def _gains(named: Mapping[str, float], models: list[str]) -> dict[str, float]:
    """What the first model has more than the second, by metric."""
    first, second = models
    return {
        f"{GAIN}|{key.split('|')[1]}": value - named[key.replace(first, second, 1)]
        for key, value in named.items()
        if key.startswith(f"{first}|")
    }


def _split_names(estimates: Mapping[str, Estimate]) -> list[tuple[tuple[str, str], Estimate]]:
    return [((key.split("|")[0], key.split("|")[1]), value) for key, value in estimates.items()]


# --- search -----------------------------------------------------------------------------------


def relevance_by(test: StudySet, pairs: StudyPairs, phenotype: str | None) -> BoolArray | None:
    """Which studies are relevant for which ECGs; None where the quantity is not known.

    Parameters
    ----------
    test : StudySet, n rows
        The ECGs of ``pairs``.
    pairs : StudyPairs
        n ECGs of m studies.
    phenotype : str or None
        Without ``label_``; None: an ECG's own study alone.

    Returns
    -------
    ndarray of bool, shape (n, m), or None
    """
    n_studies = len(pairs.rows)
    if phenotype is None:
        return np.asarray(pairs.study[:, None] == np.arange(n_studies))
    if f"label_{phenotype}" not in test.table.columns:
        return None
    values = truth_of(test, phenotype)
    if not np.isfinite(values).all():
        return None
    # ECGs of one study may be labelled apart; the study has their mean.
    of_study = np.bincount(pairs.study, weights=values) / np.bincount(pairs.study)
    return within(of_study[pairs.study], of_study)


def _retrieval(
    data: EvaluationData,
    test: StudySet,
    pairs: StudyPairs,
    both: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    n_resamples: int,
) -> list[Result]:
    patients = patients_of(test)
    # Of a study the patient of its first ECG.
    first = np.array([int(np.argmax(pairs.study == k)) for k in range(len(pairs.rows))])
    turned: dict[str, tuple[Callable[[Any], npt.NDArray[Any]], npt.NDArray[np.str_]]] = {
        TO_STUDY: (lambda x: x, patients),
        TO_ECG: (np.transpose, patients[first]),
    }
    cosines = {name: ecg.astype(np.float64) @ study.T for name, (ecg, study) in both.items()}
    results: list[Result] = []
    for phenotype in (*PHENOTYPES, None):
        relevant = relevance_by(test, pairs, phenotype)
        if relevant is None:
            continue
        for direction, (turn, people) in turned.items():
            by_query = {
                name: of_queries(turn(cosine), turn(relevant), KS)
                for name, cosine in cosines.items()
            }
            one = next(iter(by_query.values()))
            chance = (one[BY_CHANCE], one[PREVALENCE])
            keys = [(name, metric) for name in by_query for metric in _SHOWN]
            columns = [by_query[name][metric] for name, metric in keys]

            def figures(*each: Floats, keys: list[tuple[str, str]] = keys) -> dict[str, float]:
                named = {
                    f"{name}|{metric}": float(np.nanmean(values))
                    for (name, metric), values in zip(keys, each, strict=False)
                }
                mean, prevalence = (float(np.nanmean(values)) for values in each[-2:])
                return (
                    named
                    | _gains(named, list(both))
                    | {
                        f"{CHANCE}|{metric}": mean if metric == AVERAGE_PRECISION else prevalence
                        for metric in _SHOWN
                    }
                )

            estimates = patient_bootstrap_all(
                figures, (*columns, *chance), people, n_resamples=n_resamples
            )
            what = "own pair" if phenotype is None else f"near in {phenotype}"
            results += [
                Result(
                    data.name,
                    f"{direction}, {what}",
                    metric,
                    model,
                    estimate,
                    data.simulated,
                    gallery_size=turn(relevant).shape[1],
                )
                for (model, metric), estimate in _split_names(estimates)
            ]
    return results
