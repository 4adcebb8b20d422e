"""AUROC of sigma^2 and of the plain signal-quality index on the CinC Challenge 2011 recordings.

    python benchmarks/quality_cinc2011.py FOLDER

The folder holds WFDB records and ``quality_labels.csv`` with the columns ``record`` and
``quality`` (acceptable or unacceptable). Beside sigma^2 of the shipped model (first window) stand
that of random weights, the plain index, its parts (mean over leads) and the plain count of leads
that are flat, huge or noisy.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from echoing_core import load_model
from echoing_core.demo.evaluate import random_encoder
from echoing_core.embed.encode import encode_dense
from echoing_core.errors import SignalQualityError
from echoing_core.io import read_recording
from echoing_core.signals import standardise
from echoing_core.signals.quality import (
    NOISE_HALF_MV,
    LeadQuality,
    lead_quality,
    quality_index,
    rail_samples,
)

N_BOOTSTRAP = 1000
SEED = 43

REFUSED = {
    "sigma^2": np.inf,
    "sigma^2, random weights": np.inf,
    "quality index": 1.0,
    "count of bad leads": 12.0,
    "flat": 1.0,
    "saturated": 1.0,
    "noise": 0.0,
    "disagreement of beats": 1.0,
}
"""Scores of a recording that the reader refuses because nothing in it moves."""


def auroc(bad: np.ndarray, score: np.ndarray) -> float:
    """Probability that a bad recording scores higher than a good one; ties count half."""
    n_bad, n_good = int(bad.sum()), int((~bad).sum())
    return float((rankdata(score)[bad].sum() - n_bad * (n_bad + 1) / 2) / (n_bad * n_good))


def scores_of(quality: LeadQuality) -> dict[str, float]:
    noisy = quality.noise_mv > NOISE_HALF_MV
    bad_leads = (quality.flat_fraction > 0.1) | (quality.saturated_fraction > 0.01) | noisy
    return {
        "quality index": quality_index(quality),
        "count of bad leads": float(bad_leads.sum()),
        "flat": float(quality.flat_fraction.mean()),
        "saturated": float(quality.saturated_fraction.mean()),
        "noise": float(quality.noise_mv.mean()),
        "disagreement of beats": float((1 - quality.beat_agreement).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    checkpoint = load_model().checkpoint
    encoders = {
        "sigma^2": checkpoint.encoder.ecg,
        "sigma^2, random weights": random_encoder(checkpoint),
    }
    bad, rows = [], []
    with (folder / "quality_labels.csv").open(encoding="utf-8", newline="") as table:
        labels = [(r["record"], r["quality"] == "unacceptable") for r in csv.DictReader(table)]
    for record, is_bad in labels:
        header = next(folder.rglob(f"{record}.hea"))
        bad.append(is_bad)
        try:
            recording = read_recording(header)
            ecg = standardise(recording)
        except SignalQualityError:
            # Refused before it could be measured (flat in every lead): as bad as can be.
            rows.append(REFUSED)
            continue
        rails = rail_samples(recording, ecg)
        plain = scores_of(lead_quality(ecg.signal_mv, ecg.valid, saturated=rails))
        sigma2 = {
            name: float(encode_dense(encoder, checkpoint.scaler, ecg, np.array([0])).uncertainty[0])
            for name, encoder in encoders.items()
        }
        rows.append(sigma2 | plain)
    is_bad_all = np.array(bad)
    refused = np.array([row is REFUSED for row in rows])
    print(
        f"{is_bad_all.size} recordings, {is_bad_all.sum()} unacceptable; refused when read: "
        f"{refused.sum()}, of which {(refused & is_bad_all).sum()} unacceptable\n"
    )
    print("| score | AUROC | 95 % interval |\n|---|---|---|")
    for name in rows[0]:
        score = np.array([row[name] for row in rows])
        rng = np.random.default_rng(SEED)
        draws = []
        for _ in range(N_BOOTSTRAP):
            pick = rng.integers(0, score.size, score.size)
            draws.append(auroc(is_bad_all[pick], score[pick]))
        low, high = np.quantile(draws, [0.025, 0.975])
        print(f"| {name} | {auroc(is_bad_all, score):.3f} | {low:.3f}-{high:.3f} |")


if __name__ == "__main__":
    main()
