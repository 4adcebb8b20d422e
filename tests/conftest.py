"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tests may run beside each other on few cores; threads that wait for each other cost minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a program keeps for its user stays out of the home of whoever runs the tests, but not out of
# the next test of the same machine: references of leads take seconds to measure.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir()) / f"echoing-tests-{os.getuid()}")

# The same examples in every run, so that a change is judged by what it changes. ECHOING_FUZZ=1
# searches among new ones.
settings.register_profile("steady", derandomize=True)
if not os.environ.get("ECHOING_FUZZ"):
    settings.load_profile("steady")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds app.py, assets and indexes."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that lie beside the project on development machines, not in it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings is not beside this checkout")
    return folder
