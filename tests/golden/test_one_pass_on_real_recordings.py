"""On real recordings, one pass and window by window give the same Gaussians."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoing_core.embed.encode import encode_batch, encode_dense
from echoing_core.io import read_recording
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.signals import cut_windows, standardise, stride_to_samples, window_starts


@pytest.fixture(scope="module")
def shipped(repo_root: Path) -> Checkpoint:
    return load_checkpoint(repo_root / "assets" / "models" / "demo")


@pytest.mark.parametrize(
    "record",
    [
        "ptbdb_frank_xyz/s0010_re.hea",
        pytest.param("long_recordings/mitdb/208.hea", marks=pytest.mark.slow),
        "ptbxl/records100/00000/00001_lr.hea",
    ],
)
@pytest.mark.parametrize("stride_s", [0.2, 1.0, 10.0])
def test_agreement(shipped: Checkpoint, shared_data: Path, record: str, stride_s: float) -> None:
    ecg = standardise(read_recording(shared_data / record))
    # Eight minutes: more than is read in one piece, and a quarter of the work of all thirty.
    n = min(ecg.n_times, 48_000)
    ecg = replace(ecg, signal_mv=ecg.signal_mv[:, :n], valid=ecg.valid[:, :n])
    starts = window_starts(ecg.n_times, 1000, stride_to_samples(stride_s))
    dense = encode_dense(shipped.encoder.ecg, shipped.scaler, ecg, starts)
    # First, last, and a sample between: 208 has 2,400 windows at 0.2 s.
    rows = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), 40)).round().astype(int))
    single = encode_batch(shipped.encoder.ecg, shipped.scaler, *cut_windows(ecg, starts[rows]))
    assert np.abs(dense.mu[rows] - single.mu).max() < 1e-5
    assert np.abs(dense.log_var[rows] - single.log_var).max() < 1e-5
