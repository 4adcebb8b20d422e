"""Models that vanish or change under a running app, and disks that are full: a sentence each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from broken_uploads import sound_upload
from streamlit.testing.v1 import AppTest

from echoing_core import services
from tests.tiny_model import write_tiny_model

OpenApp = Callable[[], AppTest]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A very small model that the app offers."""
    write_tiny_model(tmp_path / "mine", seed=1)
    monkeypatch.setenv("ECHOING_MODEL", str(tmp_path / "mine"))
    st.cache_resource.clear()
    yield tmp_path / "mine"
    st.cache_resource.clear()


def opened(app: AppTest) -> AppTest:
    app.session_state["model_name"] = services.offered_models()[0]
    files = sound_upload(seconds=10.0)
    app.file_uploader[0].set_value([(n, d, "application/octet-stream") for n, d in files.items()])
    return app.run()


def test_a_full_disk_is_told_on_the_page() -> None:
    def page() -> None:
        import errno

        import streamlit as st

        from ui import frame

        with frame.guarded():
            raise OSError(errno.ENOSPC, "No space left on device")
        with frame.guarded():
            raise KeyError("Anna Muster")
        st.write("and on it goes")

    app = AppTest.from_function(page, default_timeout=120).run()
    assert not app.exception
    assert "There is no room left on the disk" in app.error[0].value.replace("\\", "")
    assert "Muster" not in app.error[1].value
    assert app.markdown[-1].value == "and on it goes"


@pytest.mark.slow
def test_a_model_that_is_replaced_or_taken_away_stays_as_it_was_opened(
    mine: Path, open_app: OpenApp
) -> None:
    app = opened(open_app())
    assert not app.exception and not app.error
    before = app.session_state["record"].explanation.model_hash
    write_tiny_model(mine, seed=2)
    app = opened(open_app())
    assert not app.exception and not app.error
    # What everybody uses was read once; answers of two models never mix in one server.
    assert app.session_state["record"].explanation.model_hash == before
    shutil.rmtree(mine)
    app.switch_page("pages/ask.py").run()
    assert not app.exception and not app.error


@pytest.mark.slow
def test_a_model_that_is_gone_before_it_was_opened_is_told(mine: Path, open_app: OpenApp) -> None:
    name = services.offered_models()[0]
    shutil.rmtree(mine)
    app = open_app()
    app.session_state["model_name"] = name
    app.switch_page("pages/model.py").run()
    assert not app.exception
    told = " ".join(e.value for e in app.error).replace("\\", "")
    assert "mine" in told and told.endswith(".")
    # Another one is a choice away.
    app.session_state["model_name"] = "demo"
    app.run()
    assert not app.exception and not app.error
