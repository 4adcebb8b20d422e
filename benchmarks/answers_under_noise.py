"""Down to which noise are answers right, and is sigma^2 of the right size there?

    python benchmarks/answers_under_noise.py PTBXL NSTDB [--model FOLDER]

Held-out simulated ECGs and PTB-XL fold 9 with real noise of the MIT-BIH Noise Stress Test, every
lead with its own stretch, decibels within the model's band. First table: zero-shot balanced
accuracy, mean over the questions of `echoing evaluate uncertainty`. Second: mean of sigma^2, and
mean squared distance that mu was moved, of the noisy ECGs of all doses in bins of sigma^2.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from echoing_core import load_model
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import encode_sides
from echoing_core.evaluate.shipped.held_out import HeldOut, held_out_sets
from echoing_core.evaluate.uncertainty.added_noise import (
    StressNoise,
    lead_noise,
    read_stress_noise,
    with_noise,
)
from echoing_core.evaluate.uncertainty.selective_tasks import LABELS
from echoing_core.metrics.scores import balanced_accuracy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import GaussianEmbedding
from echoing_core.services import prompt_sets
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import with_either

DOSES_DB = (6, 0, -6, -12, -18, -24)
EDGES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, np.inf)
SEED = 1


def embedded(checkpoint: Checkpoint, held_out: HeldOut, signal_mv: np.ndarray) -> GaussianEmbedding:
    valid = held_out.studies.valid
    return encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid)


def accuracy(held_out: HeldOut, mu: np.ndarray, directions: dict[str, np.ndarray]) -> float:
    found = []
    for label, direction in directions.items():
        truth = np.asarray(held_out.labels(label))
        known = np.isfinite(truth)
        found.append(balanced_accuracy(truth[known] > 0.5, (mu @ direction)[known] > 0))
    return float(np.mean(found))


def tell(checkpoint: Checkpoint, held_out: HeldOut, noises: dict[str, StressNoise]) -> None:
    questions = {str(item.label): item for item in with_either(prompt_sets())}
    directions = {
        label: closed_form.question_direction(*encode_sides(checkpoint, questions[label]))
        for label in LABELS[held_out.name]
    }
    signal_mv, valid = held_out.studies.signal_mv, held_out.studies.valid
    clean = embedded(checkpoint, held_out, signal_mv).mu
    as_recorded = accuracy(held_out, clean, directions)
    print(f"\n{held_out.name}: {len(valid)} ECGs, {as_recorded:.3f} as recorded\n")
    print("| noise | " + " | ".join(f"{dose} dB" for dose in DOSES_DB) + " |")
    print("|---|" + "---|" * len(DOSES_DB))
    sums, moved = [], []
    for name, noise in noises.items():
        rng = np.random.default_rng(SEED)
        row = []
        for dose_db in DOSES_DB:
            stretches = np.stack([lead_noise(noise, ecg.shape, rng) for ecg in signal_mv])
            seen = embedded(checkpoint, held_out, with_noise(signal_mv, valid, stretches, dose_db))
            row.append(f"{accuracy(held_out, seen.mu, directions):.3f}")
            sums.append(seen.uncertainty)
            moved.append(np.square(seen.mu - clean).sum(axis=1))
        print(f"| {name} | " + " | ".join(row) + " |")
    total, distance = np.concatenate(sums), np.concatenate(moved)
    print("\n| sigma^2 | moved | ECGs |\n|---|---|---|")
    for low, high in itertools.pairwise(EDGES):
        inside = (total >= low) & (total < high)
        if inside.sum() >= 20:
            print(
                f"| {total[inside].mean():.4f} | {distance[inside].mean():.4f} | {inside.sum()} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("nstdb", type=Path)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    checkpoint = load_model(given.model).checkpoint
    noises = read_stress_noise(given.nstdb)
    for held_out in held_out_sets(checkpoint, given.ptbxl):
        tell(checkpoint, held_out, noises)


if __name__ == "__main__":
    main()
