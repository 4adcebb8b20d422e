"""Which settings a session file and a link keep: one table, which every part of the app extends.

A setting is a key of `st.session_state`; its widget needs ``persist_state="session"``, or its value
is gone on another page. What holds its state elsewhere has a line in `collect` and `restore`.
Never the name, the samples or any other text of a recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from echoing_core import services
from echoing_core.records import LEADS
from echoing_core.services import PromptSet, Setting
from ui import ecg_paper, resources

_PAPER = "paper_"

TABLE: tuple[Setting, ...] = (
    # Explore
    Setting("hide_above", "number", low=0, high=100, whole=True, in_link=True),
    Setting("listed_kind", "choice", ("least", "most", "stretches"), in_link=True),
    Setting("paper_layout", "choice", ("3x4", "12x1", "6x2", "single"), in_link=True),
    Setting("paper_speed", "number", low=12.5, high=50, in_link=True),
    Setting("paper_gain", "number", low=5, high=20, in_link=True),
    Setting("paper_lead", "choice", LEADS, in_link=True),
    Setting("paper_fit", "flag", in_link=True),
    Setting("paper_beats", "flag", in_link=True),
    Setting("paper_cells", "flag", in_link=True),
    Setting("paper_zoom", "number", low=0.5, high=4, in_link=True),
    # Ask
    Setting("ask_window", "choice", ("surest", "chosen", "fused"), in_link=True),
    Setting("ask_rule", "choice", ("trimmed", "precision"), in_link=True),
    Setting("questions", "choices", max_chars=80),
    Setting("wording_*", "text"),
    # Retrieve
    Setting("find_mode", "choice", ("words", "reports", "ecgs"), in_link=True),
    Setting("find_window", "choice", ("surest", "chosen"), in_link=True),
    Setting("find_text", "text"),
    Setting("find_order", "choice", ("csd", "cosine"), in_link=True),
    Setting("find_k", "number", low=1, high=50, whole=True, in_link=True),
    Setting("find_labels", "choices", max_chars=80),
    Setting("find_without", "choices", max_chars=80),
    Setting("find_sources", "choices", max_chars=80),
    Setting("find_colour", "choice", max_chars=80),
    Setting("find_percentile", "number", low=0, high=100, whole=True, in_link=True),
    # Compare and Batch
    Setting("compare_kind", "choice", max_chars=80),
    Setting("compare_questions", "choices", max_chars=80),
    Setting("batch_questions", "choices", max_chars=80),
)
"""What is kept. A choice whose options are not listed here depends on the questions or on the
collection: whoever draws it leaves out what there is not."""


def collect() -> dict[str, Any]:
    """The settings of this session, as far as somebody has seen them."""
    paper = {_PAPER + name: value for name, value in ecg_paper.settings().items()}
    state = {str(key): value for key, value in st.session_state.items()}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in {**state, **paper}.items()
        if value is not None and any(s.matches(key) and s.accepts(value) for s in TABLE)
    }


def restore(settings: Mapping[str, Any], own: tuple[PromptSet, ...] | None = None) -> None:
    """Give widgets their values; only before these are drawn, so in a callback or on top of a page.

    Parameters
    ----------
    own : tuple of PromptSet, optional
        Questions of the person's own, in place of those that this session has.
    """
    if own is not None:
        st.session_state["own_questions"] = list(own)
    wanted = dict(settings)
    paper = {k.removeprefix(_PAPER): wanted.pop(k) for k in settings if k.startswith(_PAPER)}
    if paper:
        ecg_paper.restore({**ecg_paper.settings(), **paper})
    if "questions" in wanted:
        known = [*resources.prompt_sets(), *st.session_state.get("own_questions", [])]
        names = {p.name for p in known}
        wanted["questions"] = [name for name in wanted["questions"] if name in names]
    for key, value in wanted.items():
        st.session_state[key] = value


def own_questions() -> tuple[PromptSet, ...]:
    """The questions that the person added."""
    return tuple(st.session_state.get("own_questions", []))


def from_link() -> None:
    """Once a session: take the settings that the address asks for, and the window for later."""
    if st.session_state.get("link_taken"):
        return
    st.session_state["link_taken"] = True
    query = {key: st.query_params[key] for key in st.query_params}
    if not query:
        return
    restore(services.settings_from_link(query, TABLE))
    place = services.settings_from_link(query, PLACE)
    if place:
        st.session_state["session_waiting"] = services.Session(
            window_start_s=place.get("window_s"),  # type: ignore[arg-type]
            stride_s=place.get("stride_s"),  # type: ignore[arg-type]
        )


PLACE: tuple[Setting, ...] = (
    Setting("window_s", "number", low=0, high=1e7, in_link=True),
    Setting("stride_s", "number", low=0.2, high=60, in_link=True),
)
"""Where in a recording a link leads to; it waits until one is open."""
