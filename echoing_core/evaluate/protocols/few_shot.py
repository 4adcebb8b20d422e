"""A linear probe on frozen means, from 10 % and from all of the training patients."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.protocols.data import EvaluationData, patients_of, truth_of
from echoing_core.evaluate.protocols.results import FEW_SHOT_10, FEW_SHOT_100, Place, Scored
from echoing_core.evaluate.protocols.splits import BY_ENTROPY, BY_SIGMA2, patient_subset
from echoing_core.evaluate.protocols.zero_shot import halves_among_known
from echoing_core.metrics.probe import LinearProbe
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot.prompts import PromptSet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

SHARES: Mapping[str, float] = {FEW_SHOT_10: 0.1, FEW_SHOT_100: 1.0}


def few_shot(
    name: str,
    train_ecg: GaussianEmbedding,
    test_ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    *,
    n_seeds: int,
    deterministic: bool,
) -> list[Scored]:
    """Logits of probes on the test split, for each question.

    The 10 % are drawn by patient, stratified by the label, once for every seed. With all patients
    there is nothing to draw, and logistic regression has one solution: one fit. Means are
    standardised by the training ECGs of the probe alone, in `LinearProbe.fit`.

    Parameters
    ----------
    name : str
        How tables call the encoder that made the embeddings.
    train_ecg, test_ecg : GaussianEmbedding
        The splits, by one frozen encoder.
    """
    train, test = data.split("train"), data.split("test")
    found: list[Scored] = []
    for item in questions:
        label = str(item.label)
        truth, learnt = truth_of(test, label), truth_of(train, label)
        usable = np.isfinite(learnt)
        if np.unique(learnt[usable]).size < 2:
            logger.warning("%s: only one class of it among the training ECGs; left out", label)
            continue
        mu, yes, people = train_ecg.mu[usable], learnt[usable] > 0.5, patients_of(train)[usable]
        for protocol, share in SHARES.items():
            scores = [
                probe_scores(mu, yes, people, test_ecg, share=share, seed=seed)
                for seed in range(n_seeds if share < 1.0 else 1)
            ]
            low = [
                halves_among_known(test_ecg, score, truth, deterministic=deterministic)
                for score in scores
            ]
            place = Place(
                data.name,
                name,
                item.question,
                label,
                protocol,
                data.simulated,
                BY_ENTROPY if deterministic else BY_SIGMA2,
            )
            found.append(Scored(place, truth, scores, low, patients_of(test)))
    return found


def probe_scores(
    train_mu: npt.NDArray[np.float32],
    labels: npt.NDArray[np.bool_],
    patients: npt.NDArray[np.str_],
    test_ecg: GaussianEmbedding,
    *,
    share: float,
    seed: int,
) -> Floats:
    """Logit of each test ECG, by a probe from a share of the training patients, shape (n_test,)."""
    rows = patient_subset(patients, labels, share, np.random.default_rng(seed))
    return LinearProbe.fit(train_mu[rows], labels[rows]).logits(test_ecg)[0]
