"""ECGs with echo studies of one to three clips, made up: both follow one number, the rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.study_views import StudyViews

WIDTH = 6
SMALL = [
    *("steps=4", "batch_size=8", "save_every=2", "model.dim=8", "model.study.dim=4"),
    *("model.frozen.layers=2", "model.frozen.width=8", "model.frozen.heads=2"),
    *("model.frozen.ffn=8", "model.frozen.input_hz=100", "model.frozen.segment=120"),
    *("model.frozen.segments=first", "model.frozen.gain=lead_z", "model.study.study_width=8"),
    *("model.study.heads=2", "drop_path=0.3", "optimiser.lr=5e-3"),
]


def studies(n: int = 48, seed: int = 0) -> StudySet:
    """Waves whose rate is the ejection fraction in disguise; two ECGs a patient, one study each."""
    rng = np.random.default_rng(seed)
    lvef = rng.uniform(20.0, 75.0, n)
    t = np.arange(1000) / 100
    phase = rng.uniform(0.0, 6.0, (n, 12, 1))
    signal = 0.5 * np.sin(2 * np.pi * (lvef[:, None, None] / 10.0) * t + phase)
    names = [f"p{k // 2:03d}" for k in range(n)]
    split = np.array(["train"] * (n // 2) + ["valid"] * (n // 12 * 2))
    split = np.append(split, ["test"] * (n - len(split)))
    table = pd.DataFrame(
        {
            "source": "made up",
            "patient_id": names,
            "study_id": [f"s{k:03d}" for k in range(n)],
            "record_id": [f"r{k:03d}" for k in range(n)],
            "split": split,
            "report": "sinus rhythm.",
            "simulated": True,
            "quality": "clean",
            "label_lvef_pct": lvef,
            "label_lvef_lt40": lvef < 40.0,
            "label_dlv": lvef < 30.0,
        }
    )
    return StudySet(table, signal.astype(np.float32), np.ones(signal.shape, dtype=np.bool_))


def clips(of: StudySet, seed: int = 1) -> StudyViews:
    """One to three clips a study, which hold the ejection fraction beside noise."""
    rng = np.random.default_rng(seed)
    ids, rows = [], []
    for k, (name, lvef) in enumerate(
        zip(of.table["study_id"], of.table["label_lvef_pct"], strict=True)
    ):
        for _ in range(1 + k % 3):
            ids.append(str(name))
            rows.append([lvef / 20.0 - 2.4, 1.0, *rng.normal(0.0, 0.3, WIDTH - 2)])
    return StudyViews(tuple(ids), np.array(rows, dtype=np.float32), "made up", "0" * 64, True)


def write_npz(path: Path, views: StudyViews) -> Path:
    """As a file of EchoPrime's form."""
    np.savez(path, embeddings=views.vectors, study_id=np.array(views.study_ids))
    return path
