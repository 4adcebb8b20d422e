"""The app on an ECG encoder alone: no texts, no sigma^2; each page says what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from echoing_core import services
from tests.app.test_released_model_in_app import is_sound, open_sample, words
from tests.foreign_files import write_ecg_fm

OpenApp = Callable[[], AppTest]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `ECHOING_HOME` names one: ECG-FM, small, an index of it, the rest shipped."""
    folder = tmp_path_factory.mktemp("home")
    shipped = services.assets_folder()
    (folder / "assets" / "models").mkdir(parents=True)
    for name in ("prompts", "recordings"):
        (folder / "assets" / name).symlink_to(shipped / name)
    write_ecg_fm(folder / "a.pt")
    model = services.import_encoder(folder / "a.pt", folder / "assets" / "models" / "demo").model
    services.build_demo_index(folder / "indexes" / "demo", model, n_items=12)
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
    for page in ("ask", "retrieve", "batch", "compare"):
        app.switch_page(f"pages/{page}.py").run()
        assert is_sound(app), page
        assert page == "compare" or "has no text encoder" in told(app), page
    # Neighbours among ECGs need neither.
    app.switch_page("pages/retrieve.py").run()
    next(c for c in app.get("button_group") if c.key == "find_mode").set_value("ecgs").run()
    assert is_sound(app) and "has no text encoder" not in told(app)
    app.switch_page("pages/model.py").run()
    assert is_sound(app)
    assert "MIT licence" in words(app) and "Band-limited to 40 Hz" in words(app)
    assert any(m.label == "Real ECGs in training" and m.value == "not known" for m in app.metric)
