"""The app on an ECG encoder alone: no texts, no sigma^2; each page says what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from echoing_core import services
from tests.app.test_released_model_in_app import is_sound, open_sample, words
from tests.foreign_files import (
    write_ecg_fm,
    write_echo2ecg,
    write_melp_safetensors,
    write_melp_whole,
)

OpenApp = Callable[[], AppTest]


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "ECG-FM": ("a.pt", write_ecg_fm),
    "MELP": ("model.safetensors", write_melp_safetensors),
    "Echo2ECG": ("a.ckpt", write_echo2ecg),
    "MELP with text": ("a.ckpt", write_melp_whole),
}


def furnish(folder: Path, system: str, n_items: int) -> None:
    """A folder as `ECHOING_HOME` names one: a small model, an index of it, the rest shipped."""
    shipped = services.assets_folder()
    (folder / "assets" / "models").mkdir(parents=True)
    for name in ("prompts", "recordings"):
        (folder / "assets" / name).symlink_to(shipped / name)
    file, write = WRITERS[system]
    write(folder / file)
    model = services.import_encoder(
        folder / file,
        folder / "assets" / "models" / "demo",
        vocab=folder if "text" in system else None,
    ).model
    services.build_demo_index(folder / "indexes" / "demo", model, n_items=n_items)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ECG-FM, small, and an index of it."""
    folder = tmp_path_factory.mktemp("home")
    furnish(folder, "ECG-FM", 12)
    return folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The app takes its model from ``home``, and forgets it afterwards."""
    monkeypatch.setenv("ECHOING_HOME", str(home))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def told(app: AppTest) -> str:
    return "\n".join(i.value.replace("\\", "") for i in app.info)


@pytest.mark.slow
def test_every_page_opens_and_says_what_the_model_lacks(at_home: None, open_app: OpenApp) -> None:
    app = open_sample(open_app(), "10 s")
    assert is_sound(app)
    assert "has no sigma" in told(app) and "percentile" not in told(app)
    for page in ("ask", "retrieve", "batch", "compare", "echo"):
        app.switch_page(f"pages/{page}.py").run()
        assert is_sound(app), page
        assert page in ("compare", "echo") or "has no text encoder" in told(app), page
    # Neighbours among ECGs need neither.
    app.switch_page("pages/retrieve.py").run()
    next(c for c in app.get("button_group") if c.key == "find_mode").set_value("ecgs").run()
    assert is_sound(app) and "has no text encoder" not in told(app)
    app.switch_page("pages/model.py").run()
    assert is_sound(app)
    assert "MIT licence" in words(app) and "Band-limited to 40 Hz" in words(app)
    assert any(m.label == "Real ECGs in training" and m.value == "not known" for m in app.metric)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "licence"), [("MELP", "Apache-2.0"), ("Echo2ECG", "EchoPrime")])
def test_the_other_systems_open_and_say_the_same(
    system: str,
    licence: str,
    open_app: OpenApp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    furnish(tmp_path, system, 4)
    monkeypatch.setenv("ECHOING_HOME", str(tmp_path))
    st.cache_resource.clear()
    try:
        app = open_sample(open_app(), "10 s")
        assert is_sound(app) and "has no sigma" in told(app)
        app.switch_page("pages/ask.py").run()
        assert is_sound(app) and "has no text encoder" in told(app)
        app.switch_page("pages/model.py").run()
        assert is_sound(app)
        assert licence in words(app) and "Band-limited to 40 Hz" in words(app)
    finally:
        st.cache_resource.clear()


@pytest.mark.slow
def test_one_that_reads_texts_answers_and_says_that_it_has_no_sigma2(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tmp_path, "MELP with text", 4)
    monkeypatch.setenv("ECHOING_HOME", str(tmp_path))
    st.cache_resource.clear()
    try:
        app = open_sample(open_app(), "10 s")
        assert is_sound(app) and "has no sigma" in told(app)
        for page in ("ask", "retrieve", "batch", "compare", "model"):
            app.switch_page(f"pages/{page}.py").run()
            assert is_sound(app), page
            assert "no text encoder" not in told(app), page
        assert "Band-limited to 40 Hz" in words(app)
    finally:
        st.cache_resource.clear()
