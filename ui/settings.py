"""The settings of this session, as a session file and a link keep them: `state.SETTINGS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from echoing_core import services
from echoing_core.services import PromptSet
from ui import ecg_paper, questions, state


def collect() -> dict[str, Any]:
    """The settings of this session, as far as somebody has seen them."""
    paper = {state.PAPER + name: value for name, value in ecg_paper.settings().items()}
    return {
        # JSON has lists only.
        key: list(value) if isinstance(value, tuple) else value
        for key, value in {**state.everything(), **paper}.items()
        if value is not None and any(s.matches(key) and s.accepts(value) for s in state.SETTINGS)
    }


def restore(settings: Mapping[str, Any], own: tuple[PromptSet, ...] | None = None) -> None:
    """Give widgets their values; only before these are drawn, so in a callback or on top of a page.

    Parameters
    ----------
    settings : mapping
        By the keys of `state.SETTINGS`.
    own : tuple of PromptSet, optional
        Questions of the person's own, in place of those that this session has.
    """
    if own is not None:
        state.Ask.own.value = own
    wanted = dict(settings)
    paper = {
        key.removeprefix(state.PAPER): wanted.pop(key)
        for key in settings
        if key.startswith(state.PAPER)
    }
    if paper:
        ecg_paper.restore({**ecg_paper.settings(), **paper})
    # A session file may name questions of its author that were never sent along.
    chosen = wanted.get(state.Ask.names.key)
    if chosen is not None:
        known = questions.available()
        wanted[state.Ask.names.key] = [name for name in chosen if name in known]
    # Checked against `state.SETTINGS` by whoever read the file or the link.
    state.put_back(wanted)


def from_link() -> None:
    """Once a session: take the settings that the address asks for, and the window for later."""
    if state.App.link_taken.value:
        return
    state.App.link_taken.value = True
    query = {key: st.query_params[key] for key in st.query_params}
    if not query:
        return
    restore(services.settings_from_link(query, state.SETTINGS))
    place = services.settings_from_link(query, state.PLACE)
    if place:
        state.SavedSession.waiting.value = services.Session(
            window_start_s=place.get("window_s"),  # type: ignore[arg-type]
            stride_s=place.get("stride_s"),  # type: ignore[arg-type]
        )
