"""A tiny model and noises like those of the stress test, made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.uncertainty.made_up_ecgs import raw_noise


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_tiny_model(folder)
    return load_checkpoint(folder)


@pytest.fixture(scope="session")
def nstdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nstdb")
    for seed, name in enumerate(("BW", "EM", "MA")):
        noise = raw_noise(seed)
        columns = np.column_stack([np.arange(noise.shape[1]), noise.T]).astype(np.int16)
        savemat(folder / f"{name}.mat", {name: columns})
    return folder
