"""Made-up noise, beats and a table like PTB-XL's for the tests of this folder."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echoing_core.datasets.study_set import StudySet

FS_HZ = 360.0
"""Of the noises of the stress test."""


def raw_noise(seed: int = 0) -> np.ndarray:
    """Two channels of 30 s in whole units: white noise on a slow drift."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(30 * FS_HZ)) / FS_HZ
    drift = 500 * np.sin(2 * np.pi * 0.1 * t)
    return np.round(rng.normal(0, 100, (2, t.size)) + drift).astype(np.int16)


def beats(seconds: float, n_leads: int, fs_hz: float) -> np.ndarray:
    t = np.arange(0, seconds, 1 / fs_hz)
    beat = np.exp(-((((t * 1.2) % 1.0 - 0.3) / 0.02) ** 2))
    return np.linspace(0.4, 1.5, n_leads)[:, None] * beat


def ptbxl_like(n: int) -> StudySet:
    rng = np.random.default_rng(5)
    signal = beats(10, 12, 100) + rng.normal(0, 0.002, (n, 12, 1000))
    table = pd.DataFrame(
        {
            "source": "ptbxl",
            "patient_id": [f"p{i}" for i in range(n)],
            "study_id": [f"s{i}" for i in range(n)],
            "record_id": [f"s{i}" for i in range(n)],
            "split": "train",
            "report": "",
            "simulated": False,
            "quality": ["clean", "unknown", "clean", "noisy"] * (n // 4),
            "fold": ([9] * 2 + [1] * 6) * (n // 8),
        }
    )
    for note in ("baseline_drift", "burst_noise", "electrodes_problems"):
        table[note] = np.nan
    table["static_noise"] = np.where(table["quality"] == "noisy", "V1,V2", " , ")
    return StudySet(table, signal.astype(np.float32), np.ones(signal.shape, dtype=np.bool_))
