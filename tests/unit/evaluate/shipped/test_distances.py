"""Reference pairs of a model, against every pair counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.study_set import COLUMNS, StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.evaluate.shipped.distances import distances_of
from echoing_core.models.checkpoint import load_checkpoint, update_documents
from echoing_core.retrieve.scale import LEVELS_PCT, ReferenceDistances
from tests.tiny_model import write_tiny_model

N = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


def studies() -> StudySet:
    """Twelve patients with two ECGs each; every other ECG has atrial fibrillation."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: [f"{name}-{i}" for i in range(N)] for name in COLUMNS})
    table["patient_id"] = [f"p{i // 2}" for i in range(N)]
    table["report"] = ["atrial fibrillation.", "sinus rhythm. normal ecg."] * (N // 2)
    table["simulated"], table["split"] = True, "test"
    signal = rng.normal(0, 0.3, (N, 12, 1000)).astype(np.float32)
    return StudySet(table, signal, np.ones((N, 12, 1000), dtype=bool))


def test_pairs_and_findings_are_those_of_the_ecgs(folder: Path) -> None:
    checkpoint, given = load_checkpoint(folder), studies()
    measured = distances_of(checkpoint, given, source="made up")
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, given.signal_mv, given.valid)
    text = encode_texts(checkpoint, list(given.table["report"]))
    apart = ((ecg.mu.astype(float)[:, None] - text.mu[None]) ** 2).sum(axis=2)
    apart += ecg.uncertainty[:, None] + text.uncertainty[None]
    own = measured.pairs["csd", "own_report"]
    assert own == pytest.approx(np.percentile(np.diag(apart), LEVELS_PCT), abs=1e-5)
    twins = 1 - (ecg.mu[::2].astype(float) * ecg.mu[1::2]).sum(axis=1)
    same = measured.pairs["cosine", "same_patient"]
    assert same == pytest.approx(np.percentile(twins, LEVELS_PCT), abs=1e-4)
    patients = given.table["patient_id"].to_numpy()
    others = apart[patients[:, None] != patients[None]]
    drawn = measured.pairs["csd", "other_report"]
    assert drawn[-1] <= others.max() + 1e-5 and drawn[0] >= others.min() - 1e-5
    assert drawn[LEVELS_PCT.index(50)] == pytest.approx(np.median(others), rel=0.05)
    af = measured.findings["atrial_fibrillation"]
    assert (af.n_with, af.n_without) == (N // 2, N // 2)
    assert "lbbb" not in measured.findings, "too few have it"
    assert (measured.n_ecgs, measured.simulated) == (N, True)


def test_what_was_measured_goes_into_the_folder_and_comes_back(folder: Path) -> None:
    before = load_checkpoint(folder)
    measured = distances_of(before, studies(), source="made up")
    update_documents(folder, measured={"distances": measured.to_dict()})
    after = load_checkpoint(folder)
    assert ReferenceDistances.from_dict(after.measured["distances"]) == measured
    assert after.hash == before.hash
