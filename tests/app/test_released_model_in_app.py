"""The app on a model of the published architecture: small, with random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from echoing_core import services
from tests.released_model import write_released_model

OpenApp = Callable[[], AppTest]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `ECHOING_HOME` names one: a released model, an index of it, the rest shipped."""
    folder = tmp_path_factory.mktemp("home")
    shipped = services.assets_folder()
    (folder / "assets").mkdir()
    for name in ("prompts", "recordings"):
        (folder / "assets" / name).symlink_to(shipped / name)
    write_released_model(folder / "assets" / "models" / "demo")
    model = services.load_model(folder / "assets" / "models" / "demo")
    services.build_demo_index(folder / "indexes" / "demo", model, n_items=12)
    return folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The app takes its model from ``home``, and forgets it afterwards."""
    monkeypatch.setenv("ECHOING_HOME", str(home))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def words(app: AppTest) -> str:
    return "\n".join(str(e.value) for e in [*app.title, *app.header, *app.markdown, *app.caption])


def open_sample(app: AppTest, part: str) -> AppTest:
    title = next(s.title for s in services.samples() if part in s.description)
    return next(b for b in app.button if b.label == title).click().run()


def is_sound(app: AppTest) -> bool:
    return not app.exception and not app.error


@pytest.mark.slow
def test_a_journey_with_the_published_architecture(at_home: None, open_app: OpenApp) -> None:
    app = open_sample(open_app(), "10 s")
    app.session_state["map_panel"] = True
    app.run()
    assert is_sound(app)
    assert "does not tell which leads and moments" in words(app)
    assert "unlike training" not in words(app)
    for page in ("ask", "retrieve", "model"):
        app.switch_page(f"pages/{page}.py").run()
        assert is_sound(app), page
    assert "CC BY-NC-ND 4.0" in words(app)
    assert "imported weights" in words(app)


@pytest.mark.slow
def test_missing_leads_are_warned_of_on_screen(
    at_home: None, open_app: OpenApp, tmp_path: Path
) -> None:
    import numpy as np

    from echoing_core.io.wfdb.write import write_wfdb

    signal = np.random.default_rng(0).normal(0, 0.3, (2, 12 * 250))
    write_wfdb(tmp_path, "two", signal, 250, ("II", "V1"))
    app = open_app()
    files = [
        (path.name, path.read_bytes(), "application/octet-stream")
        for path in sorted(tmp_path.iterdir())
    ]
    app.file_uploader[0].set_value(files).run()
    assert is_sound(app)
    assert any(
        "cannot be told what was not recorded" in w.value.replace("\\", "") for w in app.warning
    )
