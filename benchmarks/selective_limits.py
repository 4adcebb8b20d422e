"""How well could any one number per ECG tell wrong answers from right ones?

    python benchmarks/selective_limits.py PTBXL [--model FOLDER]

Zero-shot tasks of `echoing evaluate uncertainty` at mixed quality. AURC (balanced error) by the
entropy of each answer, by sigma^2, by the true squared distance that mu was moved (what a perfect
sigma^2 of this kind would know), and by a number that was trained for this, with labels, on
training ECGs of mixed quality: boosting on mu towards the mean error over the questions of the
data set. Beside them the share of answers that the loss of quality turns round.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from echoing_core import load_model
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.simulated import build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import encode_sides
from echoing_core.evaluate.shipped.held_out import PTBXL, SIMULATED, held_out_sets
from echoing_core.evaluate.uncertainty.selective_tasks import LABELS, N_DRAWS, mixed_quality
from echoing_core.metrics.scores import aurc, balanced_weights
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import GaussianEmbedding
from echoing_core.services import prompt_sets
from echoing_core.training.demo import PTBXL_TRAIN_FOLDS
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import with_either

N_TRAIN_PATIENTS = 4000


def embedded(checkpoint: Checkpoint, studies: StudySet) -> GaussianEmbedding:
    encoder = checkpoint.encoder.ecg
    return encode_batch(encoder, checkpoint.scaler, studies.signal_mv, studies.valid)


def truth_of(studies: StudySet, label: str) -> np.ndarray:
    return np.asarray(studies.table[f"label_{label}"].astype(float)) > 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    checkpoint = load_model(given.model).checkpoint
    questions = {str(item.label): item for item in with_either(prompt_sets())}
    seed = checkpoint.training["cohort"]["seed"]
    train = {
        SIMULATED: build_simulated(N_TRAIN_PATIENTS, seed, n_workers=2, splits=("train",)),
        PTBXL: load_ptbxl(given.ptbxl, folds=PTBXL_TRAIN_FOLDS),
    }
    print("| Data | Question | turned | error | entropy | sigma^2 | moved | trained |")
    print("|---|---|---|---|---|---|---|---|")
    for held_out in held_out_sets(checkpoint, given.ptbxl):
        directions = {
            label: closed_form.question_direction(*encode_sides(checkpoint, questions[label]))
            for label in LABELS[held_out.name]
        }
        lesson = mixed_quality(replace(held_out, studies=train[held_out.name])).studies
        judge = trained_judge(embedded(checkpoint, lesson).mu, lesson, directions)
        as_recorded = embedded(checkpoint, held_out.studies)
        mixed = mixed_quality(held_out).studies
        after = embedded(checkpoint, mixed)
        before = np.repeat(as_recorded.mu, N_DRAWS[held_out.name], axis=0)
        scores = {
            "sigma^2": after.uncertainty,
            "moved": ((after.mu - before) ** 2).sum(axis=1),
            "trained": judge.predict(after.mu),
        }
        for label, direction in directions.items():
            margin, truth = after.mu @ direction, truth_of(mixed, label)
            wrong, weights = (margin > 0) != truth, balanced_weights(truth)
            turned = np.mean((margin > 0) != (before @ direction > 0))
            areas = [aurc(score, wrong, weights) for score in (-np.abs(margin), *scores.values())]
            figures = [turned, np.average(wrong, weights=weights), *areas]
            print(
                f"| {held_out.name} | {questions[label].question} | "
                + " | ".join(f"{value:.3f}" for value in figures)
                + " |"
            )


def trained_judge(
    mu: np.ndarray, studies: StudySet, directions: dict[str, np.ndarray]
) -> HistGradientBoostingRegressor:
    """A number per ECG that knows as well as it can how often the model errs about it."""
    errors = []
    for label, direction in directions.items():
        truth = truth_of(studies, label)
        errors.append(((mu @ direction > 0) != truth) * balanced_weights(truth))
    model = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=15, l2_regularization=5.0, random_state=0
    )
    return model.fit(mu, np.mean(errors, axis=0))


if __name__ == "__main__":
    main()
