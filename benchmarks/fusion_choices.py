"""Why windows are fused as they are: other weights and other variances, on validation patients.

    python benchmarks/fusion_choices.py [--patients 200] [--model FOLDER]

Simulated 20-minute recordings as in `echoing evaluate fusion`, of patients of the validation
split. First table: mean squared distance of mu, times 1000, from the mean mu without noise.
Second: that squared distance over the sum of sigma^2 that a formula gives, ratio of means.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from echoing_core import load_model
from echoing_core.config import from_mapping
from echoing_core.datasets.simulated import CohortConfig
from echoing_core.evaluate.uncertainty.fusion_study import QUALITIES, windows_of_patient
from echoing_core.records import WINDOW_S, GaussianEmbedding
from echoing_core.simulate import patient_id, split_of
from echoing_core.uncertainty.fusion import RULES, fuse, overlap_weights


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def other_means(windows: GaussianEmbedding, own: np.ndarray) -> dict[str, np.ndarray]:
    """Fused mu by weights that were not taken."""
    mu, var = windows.mu.astype(float), np.exp(windows.log_var.astype(float))
    scalar = var.mean(axis=1)
    weights = own / scalar
    centre = weights @ mu / weights.sum()
    q = (weights[:, None] * (mu - centre) ** 2).sum() / mu.shape[1]
    # Between-window variance by the method of moments (DerSimonian and Laird 1986).
    between = (q - (own.sum() - 1)) / (weights.sum() - (weights**2 / own).sum() / weights.sum())
    per_dimension = own[:, None] / var
    return {
        "mean of all windows": unit(own @ mu),
        "precision per dimension": unit((per_dimension * mu).sum(0) / per_dimension.sum(0)),
        "random effects (DerSimonian-Laird)": unit((own / (scalar + max(0.0, between))) @ mu),
        "precision squared": unit((own / scalar**2) @ mu),
    }


def other_variances(windows: GaussianEmbedding, own: np.ndarray) -> dict[str, float]:
    """Sum of sigma^2 of the precision-weighted mean by formulas that were not taken."""
    mu, unsure = windows.mu.astype(float), windows.uncertainty
    weights = own / unsure
    spread = ((mu - weights @ mu / weights.sum()) ** 2).sum(axis=1)
    independent = 1.0 / weights.sum()
    birge = (weights @ spread) / (own.sum() - 1)
    return {
        "product of Gaussians (independent errors)": independent,
        "product, enlarged by Birge's ratio": independent * max(1.0, birge),
        "shared errors only": float((weights @ np.sqrt(unsure) / weights.sum()) ** 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    checkpoint = load_model(given.model).checkpoint
    cohort = from_mapping(CohortConfig, checkpoint.training["cohort"])
    everyone = range(cohort.n_patients)
    patients = [p for p in everyone if split_of(patient_id(cohort.seed, p)) == "valid"]
    distance: dict[str, dict[str, list[float]]] = {}
    variance: dict[str, dict[str, list[float]]] = {}
    for patient in patients[: given.patients]:
        _, recordings = windows_of_patient(checkpoint, cohort.seed, patient)
        truth = recordings["clean"][0].mu.mean(axis=0, dtype=float)
        for quality, (windows, start_s) in recordings.items():
            own = overlap_weights(start_s, WINDOW_S)
            fused = {rule: fuse(windows, start_s, WINDOW_S, rule).embedding for rule in RULES}
            means = {rule: one.mu[0] for rule, one in fused.items()} | other_means(windows, own)
            for name, mu in means.items():
                row = distance.setdefault(name, {})
                row.setdefault(quality, []).append(float(((mu - truth) ** 2).sum()))
            sums = other_variances(windows, own)
            sums["shared errors and scatter (taken)"] = float(fused["precision"].uncertainty[0])
            for name, value in sums.items():
                variance.setdefault(name, {}).setdefault(quality, []).append(value)
    names = [quality.name for quality in QUALITIES]
    header = "| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|"
    print(f"{min(given.patients, len(patients))} validation patients\n\n{header}")
    for name, row in distance.items():
        print(f"| {name} | " + " | ".join(f"{1000 * np.mean(row[q]):.2f}" for q in names) + " |")
    print(f"\n{header}")
    for name, row in variance.items():
        ratios = [np.mean(distance["precision"][q]) / np.mean(row[q]) for q in names]
        print(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


if __name__ == "__main__":
    main()
