"""The app without a browser, on the model and index that ship with it."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import streamlit.components.v2.manifest_scanner as manifest_scanner
from streamlit.testing.v1 import AppTest

import echoing_core.embed.encode as encode
from echoing_core.gate import IN_PROCESS
from echoing_core.records import StandardEcg


@pytest.fixture(scope="session", autouse=True)
def one_scan_of_packages() -> Iterator[None]:
    """AppTest reads the metadata of every installed package for each app; once tells the same."""
    once = functools.cache(manifest_scanner.scan_component_manifests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


# By the identity of encoder and scaler, which stand in the value, so that no other can get it.
_ENCODED: dict[tuple[int, int, bytes], tuple[object, object, encode.EncodedWindows]] = {}


# For a module, not for the session: tests of other folders run in this process, too.
@pytest.fixture(scope="module", autouse=True)
def windows_are_encoded_once() -> Iterator[None]:
    """A recording that several tests open is embedded by the first of them."""
    real = encode.encode_dense_terms

    def remembered(
        encoder: Any, scaler: Any, ecg: StandardEcg, starts: npt.NDArray[np.integer], **more: Any
    ) -> encode.EncodedWindows:
        content = hashlib.sha256()
        for values in (ecg.signal_mv, ecg.valid, starts):
            content.update(np.ascontiguousarray(values).tobytes())
        key = (id(encoder), id(scaler), content.digest())
        if key not in _ENCODED:
            _ENCODED[key] = (encoder, scaler, real(encoder, scaler, ecg, starts, **more))
        return _ENCODED[key][2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "encode_dense_terms", remembered)
        yield


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give ``__main__`` back afterwards: AppTest puts the app there, and processes that later
    tests spawn would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def files_are_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for each test: `tests/unit/gate` and the browser have the real one."""
    monkeypatch.setenv(IN_PROCESS, "1")


@pytest.fixture
def open_app(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AppTest]:
    """Start the app as a new session and run it once."""
    monkeypatch.chdir(repo_root)

    def start() -> AppTest:
        return AppTest.from_file(str(repo_root / "app.py"), default_timeout=120).run()

    return start
