"""The guided example, and the line in which sessions wait for the model."""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable

import pytest
import streamlit as st
from broken_uploads import sound_upload
from streamlit.testing.v1 import AppTest

from ui import guide
from ui.model import about
from ui.turns import Turns

PANEL = """
import streamlit as st
from ui import guide
st.session_state.setdefault("page", "Explore")
guide.panel(st.session_state["page"])
"""


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The guide alone, over pages that are only names, with something open."""
    titles = {step.page: step.page_title for step in guide.STEPS}
    monkeypatch.setattr(
        "streamlit.switch_page", lambda page: st.session_state.__setitem__("page", titles[page])
    )
    app = AppTest.from_string(PANEL, default_timeout=60)
    app.session_state["guide_step"] = 0
    app.session_state["record"] = "open"
    return app.run()


def step_words(app: AppTest) -> str:
    return " ".join(str(h.proto.body) for h in app.get("html"))


def press(app: AppTest, key: str) -> None:
    app.button(key=key).click().run()
    assert not app.exception


@pytest.mark.slow
def test_the_guide_begins_with_the_simulated_recording(open_app: Callable[[], AppTest]) -> None:
    app = open_app()
    press(app, "guide_begin")
    assert app.session_state["record"].recording.simulated
    assert app.session_state["guide_step"] == 0
    # Once it is open there is nothing to begin with, and nothing is opened a second time.
    assert not [b for b in app.button if b.key == "guide_begin"]
    assert "guide_open" not in app.session_state


def test_next_leads_through_the_pages_and_back(panel: AppTest) -> None:
    assert "Step 1 of 5" in step_words(panel) and 'role="status"' in step_words(panel)
    pages = []
    for _ in guide.STEPS[1:]:
        press(panel, "guide_next")
        pages.append(panel.session_state["page"])
    assert pages == ["Explore", "Ask", "Retrieve", "Explore"]
    press(panel, "guide_back")
    assert panel.session_state["page"] == "Retrieve"
    press(panel, "guide_next")
    press(panel, "guide_done")
    assert step_words(panel) == ""


def test_the_guide_can_be_left_and_found_again(panel: AppTest) -> None:
    press(panel, "guide_next")
    panel.session_state["page"] = "Model"
    panel.run()
    assert panel.button(key="guide_there").label == "Go to Explore"
    press(panel, "guide_there")
    assert panel.session_state["page"] == "Explore"
    press(panel, "guide_leave")
    assert step_words(panel) == ""
    assert panel.session_state["record"] == "open"


def test_every_step_names_its_page_and_says_little() -> None:
    for step in guide.STEPS:
        assert step.page.startswith("pages/")
        assert len(step.words.split()) <= 60
    # Read slowly, all of it takes less than two minutes.
    assert sum(len(step.words.split()) for step in guide.STEPS) < 2 * 130


def test_turns_are_taken_in_order_and_one_at_a_time() -> None:
    turns, order, inside = Turns(), [], []
    began = [threading.Event() for _ in range(4)]

    def work(number: int) -> None:
        began[number].set()
        with turns:
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.02)
            order.append(number)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    with turns:
        for n, thread in enumerate(threads):
            thread.start()
            deadline = time.monotonic() + 10
            while turns.waiting < n + 2 and time.monotonic() < deadline:
                time.sleep(0.005)
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3]
    assert turns.waiting == 0


def test_who_fails_in_its_turn_does_not_keep_it() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        _ = 1 / 0
    with turns:
        assert turns.waiting == 1
    assert turns.waiting == 0


def test_a_wait_is_told_with_how_many_are_ahead() -> None:
    script = """
import streamlit as st
from ui import turns
import tests_turns
turns.place()
with tests_turns.TURNS:
    st.write("served")
"""
    module = types.ModuleType("tests_turns")
    module.TURNS = turns = Turns()  # type: ignore[attr-defined]
    sys.modules["tests_turns"] = module
    try:
        let_go = threading.Event()

        def hold() -> None:
            with turns:
                let_go.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        told: list[str] = []
        original = turns._words

        def words(ahead: int) -> str:
            told.append(original(ahead))
            let_go.set()
            return told[-1]

        turns._words = words  # type: ignore[method-assign]
        app = AppTest.from_string(script, default_timeout=30).run()
        thread.join(20)
    finally:
        del sys.modules["tests_turns"]
    assert not app.exception
    assert told and told[0].startswith("Others are using the model: 1 ahead of you.")
    assert app.markdown[-1].value == "served"
    assert not app.info


def test_tables_of_the_model_card_can_have_the_focus_and_hold_no_markup() -> None:
    made = about._table(
        "| A | <b>B</b> |\n|---|---|\n| `x` | <script>alert(1)</script> |\n", 'Results "1"'
    )
    assert 'tabindex="0" role="region" aria-label="Results &quot;1&quot;"' in made
    assert "<script>" not in made and "<b>" not in made
    assert made.count("<tr>") == 2


@pytest.mark.parametrize("page", ["ask", "compare"])
def test_a_page_with_nothing_open_teaches_and_offers_a_sample(
    open_app: Callable[[], AppTest], page: str
) -> None:
    app = open_app().switch_page(f"pages/{page}.py").run()
    assert not app.exception
    assert len(app.markdown[1].value.split()) > 15
    assert "Open a recording to" in app.info[0].value
    offered = [b.key for b in app.button if (b.key or "").startswith("sample_")]
    assert len(offered) == 5
    # Files can be dropped here, too, and the page then does what it is for.
    files = sound_upload(seconds=10.0)
    app.file_uploader[0].set_value([(n, d, "application/octet-stream") for n, d in files.items()])
    app.run()
    assert not app.exception and app.session_state["record"] is not None
    assert app.title[0].value.startswith({"ask": "Ask", "compare": "Compare"}[page])
