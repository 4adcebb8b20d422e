"""The app without a browser, on the model and index that ship with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give ``__main__`` back afterwards: AppTest puts the app there, and processes that later
    tests spawn would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def open_app(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AppTest]:
    """Start the app as a new session and run it once."""
    monkeypatch.chdir(repo_root)

    def start() -> AppTest:
        return AppTest.from_file(str(repo_root / "app.py"), default_timeout=120).run()

    return start
