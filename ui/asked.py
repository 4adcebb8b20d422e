"""Which questions are asked of recordings in a batch or beside each other."""

from __future__ import annotations

import streamlit as st

from echoing_core.services import PromptSet
from ui import kept, resources

_AT_FIRST = 4


def choose(key: str, words: str) -> tuple[PromptSet, ...]:
    """Some of the shipped questions and of the person's own; at first those chosen on Ask."""
    available = {p.name: p for p in (*resources.prompt_sets(), *kept.own_questions())}
    if key not in st.session_state:
        on_ask = [name for name in st.session_state.get("questions", []) if name in available]
        st.session_state[key] = on_ask or list(available)[:_AT_FIRST]
    st.session_state[key] = [name for name in st.session_state[key] if name in available]
    names = st.multiselect(
        words,
        list(available),
        format_func=lambda name: available[name].question,
        key=key,
        persist_state="session",
        placeholder="none",
        help="Questions of your own are added on Ask.",
    )
    return tuple(available[name] for name in names)
