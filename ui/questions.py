"""Questions to the model: which, in what wording, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import ConfigError
from echoing_core.records import Answer
from echoing_core.services import Model, PromptSet
from ui import frame, record, resources, windows


def window_choice(current: record.OpenRecord, key: str) -> float | None:
    """Which window to use; None stands for the surest one."""
    track = current.explanation.track
    surest, chosen = services.most_sure_window(track), windows.chosen(track)
    options = {
        "surest": f"the surest window, {windows.span_words(track, surest)}",
        "chosen": f"the window chosen on Explore, {windows.span_words(track, chosen)}",
    }
    if len(track) < 2 or surest == chosen:
        options.pop("chosen")
    choice = st.radio(
        "About which ten seconds",
        list(options),
        format_func=options.__getitem__,
        key=key,
        persist_state="session",
    )
    index = chosen if choice == "chosen" else surest
    percentile = float(figures.shown_percentile(track)[index])
    if not np.isfinite(percentile):
        st.warning("Nothing was recorded in this window. Choose another one.")
        st.stop()
    st.caption(f"Uncertainty percentile {percentile:.0f}: {windows.percentile_words(percentile)}.")
    return float(track.start_s[index]) if choice == "chosen" else None


def picked() -> tuple[PromptSet, ...]:
    """The questions to ask, each with the wording that the person gave it."""
    if "questions" not in st.session_state:
        st.session_state["questions"] = [p.name for p in resources.prompt_sets()]
    _add_submitted()
    available = {p.name: p for p in (*resources.prompt_sets(), *_own())}
    names = st.pills(
        "Questions to ask",
        list(available),
        selection_mode="multi",
        format_func=lambda name: frame.literal(available[name].question),
        key="questions",
        persist_state="session",
        wrap=True,
    )
    _own_question()
    chosen = [available[name] for name in available if name in (names or [])]
    with st.expander("Wording of the questions", icon=":material/edit:"):
        _editor(chosen)
    return tuple(p for p in (_worded(p) for p in chosen) if p is not None)


def _own() -> list[PromptSet]:
    own: list[PromptSet] = st.session_state.setdefault("own_questions", [])
    return own


def _own_question() -> None:
    with st.form("own_question", clear_on_submit=True, border=False):
        st.text_input(
            "A question of your own",
            placeholder="a finding in words, for example: left anterior fascicular block",
            key="own_text",
        )
        st.form_submit_button("Add question", icon=":material/add:", on_click=_take_own)


def _take_own() -> None:
    st.session_state["own_submitted"] = st.session_state["own_text"]


def _add_submitted() -> None:
    """Add what was typed before the list is drawn, so that it shows up in it."""
    text = st.session_state.pop("own_submitted", None)
    if text is None:
        return
    with frame.guarded():
        new = services.as_prompt_sets(text)[0]
        if new.question.lower() in {p.question.lower() for p in _own()}:
            raise ConfigError(f"The question {new.question!r} is already in the list.")
        # A name of our own: two texts without Latin letters would otherwise share one.
        named = replace(new, name=f"own_{len(_own()) + 1}")
        _own().append(named)
        st.session_state["questions"] = [*st.session_state["questions"], named.name]


def _editor(chosen: Sequence[PromptSet]) -> None:
    if not chosen:
        st.caption("Choose a question above to see its wording.")
        return
    by_name = {p.name: p for p in chosen}
    name = st.selectbox(
        "Question to reword",
        list(by_name),
        format_func=lambda n: by_name[n].question,
    )
    st.caption(
        "The model compares the ECG with texts that say yes and texts that say no, one a line. "
        "Write them as a report would."
    )
    shipped, sides = by_name[name], st.columns(2)
    for column, side, words in zip(sides, ("positive", "negative"), ("yes", "no"), strict=True):
        key = f"wording_{side}_{name}"
        if key not in st.session_state:
            st.session_state[key] = "\n".join(getattr(shipped, side))
        column.text_area(f"Texts that say {words}", key=key, height=190, persist_state="session")
    st.button("Back to the original wording", on_click=_reset, args=(shipped,))


def _reset(shipped: PromptSet) -> None:
    for side in ("positive", "negative"):
        st.session_state[f"wording_{side}_{shipped.name}"] = "\n".join(getattr(shipped, side))


def _worded(shipped: PromptSet) -> PromptSet | None:
    """The question as reworded; None, and a sentence on the page, if that cannot be asked."""
    sides = {"positive": shipped.positive, "negative": shipped.negative}
    for side in sides:
        text = st.session_state.get(f"wording_{side}_{shipped.name}")
        if text is not None:
            lines = (" ".join(line.split()) for line in text.splitlines())
            sides[side] = tuple(line for line in lines if line)
    with frame.guarded():
        return replace(shipped, positive=sides["positive"], negative=sides["negative"])
    return None


def percent_words(share: float) -> str:
    """A probability; never 0 % or 100 %, which no model may claim."""
    if share < 0.01:
        return "< 1 %"
    return "> 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def interval_words(low: float, high: float) -> str:
    """An interval, with a decimal where its ends would otherwise look the same."""
    if high < 0.01 or low > 0.99:
        return percent_words(low)
    digits = 0 if high - low >= 0.02 else 1
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f} %"


def show_answers(model: Model, answers: Sequence[Answer]) -> None:
    """The answers as dots with intervals, and as a table."""
    st.plotly_chart(
        figures.answers_figure(answers),
        key="answers",
        theme=None,
        config=windows.CHART_CONFIG,
        alt="Probability of yes with its 90 % interval for each question; the table below "
        "holds the same numbers.",
    )
    st.table(
        [
            {
                "Question": frame.literal(a.question),
                "Probability": percent_words(a.probability),
                "90 % interval": interval_words(*a.interval),
                "Answer": a.verdict,
            }
            for a in answers
        ],
        border="horizontal",
        hide_index=True,
        alt="Answers of the model",
    )
    for answer in answers:
        if answer.unknown_words:
            words = ", ".join(frame.literal(word) for word in answer.unknown_words)
            if not model.saw_words:
                meaning = frame.literal(services.unknown_words_mean(model))
                st.caption(f"{frame.literal(answer.question)}. {meaning}: {words}.")
                continue
            st.warning(
                f"{frame.literal(answer.question)}: the model never saw these words in training "
                f"and can make little of them: {words}.",
                icon=":material/spellcheck:",
            )
    st.caption(
        "The interval says how far the answer might move with a cleaner or fuller recording of "
        "the same ECG; where it holds 50 %, the answer is “not sure enough”. It does not say "
        "how often the model is right, and the probabilities are no risks of a patient."
    )
