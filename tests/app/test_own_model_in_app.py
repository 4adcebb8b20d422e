"""The app on a model of one's own with a head, and an index of it: as `echoing app` starts it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from broken_uploads import sound_upload
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.metrics.probe import LinearProbe
from echoing_core.models.checkpoint import load_checkpoint, save_with_heads
from echoing_core.models.heads import FEW_SHOT, Head
from tests.tiny_model import write_tiny_model

OpenApp = Callable[[], AppTest]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tiny model with a probe for LBBB and one for a finding that no question asks."""
    write_tiny_model(tmp_path / "tiny")
    checkpoint = load_checkpoint(tmp_path / "tiny")
    probe = LinearProbe(np.random.default_rng(0).normal(size=12), 0.2)
    heads = [
        Head(label, question, FEW_SHOT, "clinic", False, 40, 9, 0, probe)
        for label, question in (("lbbb", "Left bundle branch block"), ("wide", "wide awake"))
    ]
    save_with_heads(tmp_path / "mine", tmp_path / "tiny", checkpoint, heads)
    monkeypatch.setenv("ECHOING_MODEL", str(tmp_path / "mine"))
    st.cache_resource.clear()
    yield tmp_path
    st.cache_resource.clear()


def words(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.info, *app.error, *app.warning]
    return "\n".join(str(e.value) for e in shown).replace("\\", "")


def open_mine(app: AppTest) -> AppTest:
    # In a process of its own the app begins with it; here the module was imported long before.
    app.session_state["model_name"] = services.offered_models()[0]
    files = sound_upload(seconds=10.0)
    app.file_uploader[0].set_value([(n, d, "application/octet-stream") for n, d in files.items()])
    return app.run()


@pytest.mark.slow
def test_heads_answer_on_ask_and_what_has_no_index_says_how_to_build_one(
    given: Path, open_app: OpenApp
) -> None:
    app = open_mine(open_app())
    app.switch_page("pages/ask.py").run()
    assert not app.exception and not app.error
    body = next(h.proto.body for h in app.get("html") if "Answers of the model" in h.proto.body)
    asked = [unescape(cell) for cell in re.findall(r'<th scope="row">([^<]*)', body)]
    place = next(i for i, q in enumerate(asked) if "few-shot head" in q)
    assert asked[place - 1] == "Left bundle branch block"
    assert "trained on 40 ECGs of clinic" in asked[place] and "wide awake" in asked[-1]
    # Scores behind the answers are those of prompts.
    assert len(app.table[0].value) == len(asked) - 2
    app.switch_page("pages/retrieve.py").run()
    assert not app.exception and not app.error
    assert "index build OUT --folder FILES --model mine" in words(app)


@pytest.mark.slow
def test_an_index_of_ones_own_is_among_the_collections(
    given: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = services.load_model("mine")
    files = given / "files"
    files.mkdir()
    for name, data in sound_upload(seconds=10.0).items():
        (files / name).write_bytes(data)
    services.build_folder_index(given / "ward", model, files, name="The ward")
    monkeypatch.setenv("ECHOING_INDEX", str(given / "ward"))
    app = open_mine(open_app())
    app.switch_page("pages/retrieve.py").run()
    assert not app.exception and not app.error
    assert any("The ward, 1 ECGs" in e.label for e in app.expander)
