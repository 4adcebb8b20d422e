"""The one typed state of a session: entries, rounds, what is remembered, what a file keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from echoing_core.records import LEADS
from echoing_core.services import Setting
from ui import state


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """A session that is a plain mapping."""
    values: dict[str, object] = {}
    monkeypatch.setattr("streamlit.session_state", values)
    yield values


def test_an_entry_has_its_first_value_until_it_is_set(session: dict[str, object]) -> None:
    entry = state.Entry("made_up", 3)
    assert entry.value == 3 and not entry.is_set and session == {}
    entry.value = 4
    assert entry.value == 4 and entry.is_set and session == {"made_up": 4}
    assert entry.take() == 4 and not entry.is_set and entry.take() == 3


def test_what_is_changed_in_place_is_made_for_each_session(session: dict[str, object]) -> None:
    entry: state.Made[list[int]] = state.Made("made_up", list)
    entry.value.append(1)
    assert session == {"made_up": [1]}
    session.clear()
    assert entry.value == []


def test_a_round_gives_widgets_other_keys(session: dict[str, object]) -> None:
    number = state.Round("made_up_round")
    assert number.key_of("files") == "files_0"
    number.begin_anew()
    assert number.key_of("files") == "files_1" and session == {"made_up_round": 1}


def test_what_is_remembered_is_made_anew_for_something_else(session: dict[str, object]) -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    assert state.remembered("known", (1, None), lambda: make("a")) == "a"
    assert state.remembered("known", (1, None), lambda: make("b")) == "a"
    assert state.remembered("known", (2, None), lambda: make("c")) == "c"
    assert state.remembered("other", (2, None), lambda: make("d")) == "d"
    assert made == ["a", "c", "d"]


def test_settings_of_the_paper_are_those_that_it_has() -> None:
    table = {setting.key: setting for setting in state.SETTINGS}
    assert len(table) == len(state.SETTINGS)
    assert table["paper_layout"] == Setting(
        "paper_layout", "choice", ("3x4", "12x1", "6x2", "single"), in_link=True
    )
    assert table["paper_speed"] == Setting("paper_speed", "number", low=12.5, high=50, in_link=True)
    assert table["paper_gain"] == Setting("paper_gain", "number", low=5, high=20, in_link=True)
    assert table["paper_lead"] == Setting("paper_lead", "choice", LEADS, in_link=True)
    assert table["paper_fit"] == Setting("paper_fit", "flag", in_link=True)
    assert table["paper_zoom"] == Setting("paper_zoom", "number", low=0.5, high=4, in_link=True)


def test_no_two_entries_share_a_key() -> None:
    keys = [
        entry.key
        for group in vars(state).values()
        if isinstance(group, type) and group.__module__ == state.__name__
        for entry in vars(group).values()
        if isinstance(entry, state.Entry)
    ]
    assert len(keys) > 40 and len(set(keys)) == len(keys)


def test_an_entry_in_a_real_session() -> None:
    app = AppTest.from_string("""
import streamlit as st
from ui import state
st.slider("Hide", 0, 100, key=state.Explore.hide_above.key)
st.write(f"{state.Explore.hide_above.value}")
""").run()
    app.slider(key="hide_above").set_value(70).run()
    assert not app.exception and app.markdown[0].value == "70"
