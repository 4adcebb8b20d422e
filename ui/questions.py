"""Questions that several pages ask."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from echoing_core import services
from echoing_core.services import Model, PromptSet
from ui import frame, resources, state

_AT_FIRST = 4


def available() -> dict[str, PromptSet]:
    """The shipped questions and the person's own, by name."""
    return {p.name: p for p in (*resources.prompt_sets(), *state.Ask.own.value)}


def choose(chosen: state.Entry[list[str]], words: str) -> tuple[PromptSet, ...]:
    """Some of the questions there are; at first those chosen on Ask.

    Parameters
    ----------
    chosen : Entry of list of str
        Their names; the widget's own entry.
    words : str
        Above the list.

    Returns
    -------
    tuple of PromptSet
    """
    known = available()
    if not chosen.is_set:
        on_ask = [name for name in state.Ask.names.value if name in known]
        chosen.value = on_ask or list(known)[:_AT_FIRST]
    # A question of one's own may be gone since.
    chosen.follow([name for name in chosen.value if name in known])
    names = st.multiselect(
        words,
        list(known),
        format_func=lambda name: known[name].question,
        key=chosen.key,
        persist_state="session",
        placeholder="none",
        help="Questions of your own are added on Ask.",
    )
    return tuple(known[name] for name in names)


def prevalence_of(prompts: PromptSet) -> float | None:
    """The share of patients, 0 to 1, that the person gave on Ask; None where they did not."""
    percent = state.Ask.prevalence(prompts.name).value
    return None if percent is None else percent / 100.0


def unknown_words_note(model: Model, unknown: Sequence[str]) -> None:
    """Say which words of a text the model cannot know, if there are any.

    Parameters
    ----------
    model : Model
    unknown : sequence of str
    """
    if not unknown:
        return
    words = ", ".join(frame.literal(word) for word in unknown)
    # A general vocabulary knows nearly every word in pieces: that is a remark, not a warning.
    if not model.saw_words:
        st.caption(f"{frame.literal(services.unknown_words_mean(model))}: {words}.")
        return
    st.warning(
        f"The model never saw these words in training and can make little of them: {words}.",
        icon=":material/spellcheck:",
    )
