"""What `selective` measures: questions, the model's answers, and how unsure it says it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from echoing_core.config import from_mapping
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.simulated import CohortConfig, build_simulated
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.shipped.held_out import PTBXL, SIMULATED, HeldOut, held_out_sets
from echoing_core.evaluate.uncertainty.conditions import in_conditions
from echoing_core.evaluate.uncertainty.part import Floats
from echoing_core.evaluate.uncertainty.scores import PLAIN, RANDOM, SIGMA2, Scorer
from echoing_core.evaluate.uncertainty.stress_noise import read_stress_noise
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import binary_entropy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.training.demo import PTBXL_TRAIN_FOLDS
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet, with_either

logger = logging.getLogger(__name__)

LABELS: Mapping[str, tuple[str, ...]] = {
    SIMULATED: ("lvef_lt40", "slvh", "dlv", "slvh_or_dlv"),
    PTBXL: ("NORM", "MI", "STTC", "CD", "HYP"),
}

ENTROPY, P_WRONG = "entropy", "P(wrong)"
REJECTERS = (SIGMA2, ENTROPY, PLAIN, RANDOM, P_WRONG)
"""By what ECGs are left out; for each of them higher means less sure."""

ZERO_SHOT, PROBE = "zero-shot", "linear probe"

N_PROBE_PATIENTS = 2500
"""Of the simulated cohort's first patients, those of the training split train the probes."""


@dataclass(frozen=True, eq=False)
class Task:
    """One question about n ECGs, answered in one way in one condition.

    Attributes
    ----------
    data, question : str
    method : str
        `ZERO_SHOT` or `PROBE`.
    condition : str
        One of `conditions.CONDITIONS`.
    simulated : bool
    patients : ndarray, shape (n,)
    truth : ndarray of bool, shape (n,)
    score : ndarray, shape (n,)
        Margin, or logit of the probe; the answer is yes where it is positive.
    plain, closed : ndarray, shape (n,)
        Probability of yes from the score alone, and averaged over the ECG's Gaussian.
    unsure : mapping of str to ndarray, shape (n,)
        One for each of `REJECTERS`.
    """

    data: str
    question: str
    method: str
    condition: str
    simulated: bool
    patients: npt.NDArray[np.str_]
    truth: BoolArray
    score: Floats
    plain: Floats
    closed: Floats
    unsure: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class _Seen:
    """One test set in one condition, embedded."""

    held_out: HeldOut
    condition: str
    embedding: GaussianEmbedding
    plain_index: Floats
    random_sigma2: Floats


def build_tasks(
    checkpoint: Checkpoint,
    ptbxl: Path | None,
    prompts: Sequence[PromptSet],
    *,
    nstdb: Path | None = None,
) -> list[Task]:
    """All tasks of a model: each test set, condition, label and way of answering.

    A label that the test set has only one class of is left out and named in the log. Without the
    folder of real noise, the condition that adds it is left out.
    """
    noises = None if nstdb is None else read_stress_noise(nstdb)
    sets = held_out_sets(checkpoint, ptbxl)
    questions = {str(item.label): item for item in with_either(prompts)}
    tasks: list[Task] = []
    for held_out in sets:
        probes = _probes(checkpoint, held_out.name, ptbxl)
        for condition, changed in in_conditions(held_out, noises):
            seen = _seen(checkpoint, changed, condition)
            for label, probe in probes.items():
                truth = seen.held_out.labels(label)
                if truth is None or np.unique(truth[np.isfinite(truth)]).size < 2:
                    logger.warning("%s does not have both classes of %s", held_out.name, label)
                    continue
                tasks += _of_label(checkpoint, seen, questions[label], probe, truth)
    return tasks


def _seen(checkpoint: Checkpoint, held_out: HeldOut, condition: str) -> _Seen:
    signal_mv, valid = held_out.studies.signal_mv, held_out.studies.valid
    baselines = Scorer.of(checkpoint).baselines(signal_mv, valid)
    return _Seen(
        held_out,
        condition,
        encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid),
        baselines[PLAIN],
        baselines[RANDOM],
    )


def _probes(checkpoint: Checkpoint, data: str, ptbxl: Path | None) -> dict[str, LinearProbe]:
    """One probe for each label of a test set, from training ECGs as they were recorded."""
    if data == PTBXL and ptbxl is not None:
        train = load_ptbxl(ptbxl, folds=PTBXL_TRAIN_FOLDS)
    else:
        cohort = from_mapping(CohortConfig, checkpoint.training["cohort"])
        n_patients = min(N_PROBE_PATIENTS, cohort.n_patients)
        train = build_simulated(n_patients, cohort.seed, n_workers=2, splits=("train",))
    mu = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, train.signal_mv, train.valid).mu
    labels = {label: train.table[f"label_{label}"].astype(float) for label in LABELS[data]}
    probes = {}
    for label, column in labels.items():
        truth = column.to_numpy()
        known = np.isfinite(truth)
        probes[label] = LinearProbe.fit(mu[known], truth[known] > 0.5)
    return probes


def _of_label(
    checkpoint: Checkpoint,
    seen: _Seen,
    question: PromptSet,
    probe: LinearProbe,
    truth: Floats,
) -> list[Task]:
    known = np.flatnonzero(np.isfinite(truth))
    embedding = seen.embedding[known]
    answers = {
        ZERO_SHOT: question_margins(checkpoint, embedding, question),
        PROBE: probe.logits(embedding),
    }
    scale = {ZERO_SHOT: checkpoint.logit_scale, PROBE: 1.0}
    tasks = []
    for method, (score, score_std) in answers.items():
        plain = expit(scale[method] * score)
        closed = closed_form.probabilities(score, score_std, logit_scale=scale[method])
        tasks.append(
            Task(
                data=seen.held_out.name,
                question=question.question,
                method=method,
                condition=seen.condition,
                simulated=seen.held_out.simulated,
                patients=seen.held_out.patients[known],
                truth=truth[known] > 0.5,
                score=score,
                plain=plain,
                closed=closed,
                unsure={
                    SIGMA2: embedding.uncertainty,
                    # Of the answer without sigma^2: a function of |score|, and larger near 0.
                    ENTROPY: binary_entropy(scale[method] * score),
                    PLAIN: seen.plain_index[known],
                    RANDOM: seen.random_sigma2[known],
                    P_WRONG: np.minimum(closed, 1.0 - closed),
                },
            )
        )
    return tasks
