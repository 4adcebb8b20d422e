"""Which questions are asked, and in what wording."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import streamlit as st

from echoing_core import services
from echoing_core.errors import ConfigError, EchoingError
from echoing_core.services import (
    EncodedQuestion,
    Model,
    PromptSet,
    encode_question,
    parse_prompt_sets,
    prompt_sets_text,
)
from ui import frame, questions, resources, state
from ui.openings import gated

_MOST_KNOWN = 200


def picked() -> tuple[PromptSet, ...]:
    """The questions to ask, each with the wording that the person gave it."""
    if not state.Ask.names.is_set:
        state.Ask.names.value = [p.name for p in resources.prompt_sets()]
    _add_submitted()
    available = questions.available()
    names = st.pills(
        "Questions to ask",
        list(available),
        selection_mode="multi",
        format_func=lambda name: frame.literal(available[name].question),
        key=state.Ask.names.key,
        persist_state="session",
        wrap=True,
    )
    _own_question()
    chosen = [available[name] for name in available if name in (names or [])]
    with st.expander("Wording of the questions", icon=":material/edit:"):
        _editor(chosen)
    worded = tuple(p for p in (_worded(p) for p in chosen) if p is not None)
    with st.expander("Save and load questions", icon=":material/save:"):
        _files(worded)
    return worded


def _own_question() -> None:
    with st.form("own_question", clear_on_submit=True, border=False):
        st.text_input(
            "A question of your own",
            placeholder="a finding in words, for example: no left anterior fascicular block",
            key=state.Ask.typed.key,
        )
        st.caption(
            "It is read first: denials, abbreviations, misspellings, German, French and Spanish. "
            "In quotation marks it is asked as it stands."
        )
        st.form_submit_button("Add question", icon=":material/add:", on_click=_take_own)


def _take_own() -> None:
    state.Ask.submitted.value = state.Ask.typed.value


def _add_submitted() -> None:
    """Add what was typed before the list is drawn, so that it shows up in it."""
    text = state.Ask.submitted.take()
    if text is None:
        return
    with frame.guarded():
        reading = services.read_question(text)
        if reading.note:
            st.info(frame.literal(reading.note), icon=":material/translate:")
        # Kept beside the answer too: the note above goes with the next question.
        state.Ask.readings.value = state.Ask.readings.value | {
            question.question: reading.note for question in reading.questions if reading.note
        }
        new = [_listed_name(question) for question in reading.questions]
        chosen = state.Ask.names.value
        if set(new) <= set(chosen):
            names = "; ".join(question.question for question in reading.questions)
            raise ConfigError(f"The question {names!r} is already in the list.")
        state.Ask.names.value = [*chosen, *(name for name in new if name not in chosen)]


def _listed_name(question: PromptSet) -> str:
    """The name under which a question is in the list, after adding it where it is not."""
    for name, listed in questions.available().items():
        if listed.question.casefold() == question.question.casefold():
            return name
    own = state.Ask.own.value
    # A name of our own: two texts without Latin letters would otherwise share one.
    named = replace(question, name=f"own_{len(own) + 1}")
    state.Ask.own.value = (*own, named)
    return named.name


def _files(worded: Sequence[PromptSet]) -> None:
    """The chosen questions, as worded, to a file and back."""
    frame.download(
        f"Save these {len(worded)} questions",
        lambda: prompt_sets_text(worded),
        "questions.yaml",
        "application/yaml",
        key="questions_save",
        disabled=not worded,
    )
    st.file_uploader(
        "Load questions (a .yaml file that was saved here, or written by hand)",
        type=["yaml", "yml"],
        key=state.Ask.file.key,
        on_change=_take_file,
    )
    note, problem = state.Ask.file_note.value
    frame.error(problem or None)
    if note and not problem:
        st.success(note, icon=":material/check:")


def _take_file() -> None:
    upload = state.Ask.file.value
    if upload is None:
        state.Ask.file_note.clear()
        return
    try:
        loaded = gated(parse_prompt_sets, upload.getvalue(), "The file")
    except EchoingError as error:
        state.Ask.file_note.value = ("", str(error))
        return
    names = [_adopted(prompts) for prompts in loaded]
    state.Ask.names.value = names
    state.Ask.file_note.value = (f"{len(names)} questions were loaded and chosen.", "")


def _adopted(loaded: PromptSet) -> str:
    """The name under which a loaded question is in the list; one that is there already stays."""
    there = questions.available()
    for name, known in there.items():
        # A shipped question that was reworded here is not the one that was loaded.
        if replace(loaded, name=name) == known and _worded(known) == known:
            return name
    name, number = loaded.name, 2
    while name in there:
        name, number = f"{loaded.name}_{number}", number + 1
    state.Ask.own.value = (*state.Ask.own.value, replace(loaded, name=name))
    return name


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
        entry = state.Ask.wording(side, name)
        if not entry.is_set:
            entry.value = "\n".join(getattr(shipped, side))
        column.text_area(
            f"Texts that say {words}", key=entry.key, height=190, persist_state="session"
        )
    st.button("Back to the original wording", on_click=_reset, args=(shipped,))


def prevalences(asked: Sequence[EncodedQuestion]) -> None:
    """Let the person say how common each calibrated finding is among their patients."""
    calibrated = [question for question in asked if question.calibration is not None]
    with st.expander("How common is it among your patients?", icon=":material/groups:"):
        if not calibrated:
            st.caption(
                "None of these questions is calibrated, so there is no probability to adapt."
            )
            return
        st.caption(
            "In per cent. A probability depends on how many people have the finding before the "
            "ECG is looked at: empty fields take the share among the ECGs of the calibration."
        )
        for question in calibrated:
            found = question.calibration
            # For the type checker; the list holds no other.
            if found is None:
                continue
            rate = found.calibration.base_rate
            usual = 100 * (1 - rate if found.negated else rate)
            st.number_input(
                question.prompts.question,
                min_value=0.1,
                max_value=99.9,
                value=None,
                step=1.0,
                placeholder=f"{usual:.1f}, as in the calibration",
                key=state.Ask.prevalence(question.prompts.name).key,
                persist_state="session",
            )


def _reset(shipped: PromptSet) -> None:
    for side in ("positive", "negative"):
        state.Ask.wording(side, shipped.name).value = "\n".join(getattr(shipped, side))


def _worded(shipped: PromptSet) -> PromptSet | None:
    """The question as reworded; None, and a sentence on the page, if that cannot be asked."""
    sides = {"positive": shipped.positive, "negative": shipped.negative}
    for side in sides:
        text = state.Ask.wording(side, shipped.name).value
        if text is not None:
            # Blank lines and spaces are no wording; two texts that differ in them are one.
            lines = (" ".join(line.split()) for line in text.splitlines())
            sides[side] = tuple(line for line in lines if line)
    with frame.guarded():
        return replace(shipped, positive=sides["positive"], negative=sides["negative"])
    return None


def encoded(model: Model, chosen: Sequence[PromptSet]) -> list[EncodedQuestion]:
    """The questions with their texts embedded; each wording once a session."""
    known = state.Ask.encoded.value
    new = [p for p in chosen if (model.hash, p) not in known]
    # Forgetting all is simpler than forgetting the oldest, and happens after hours of rewording.
    if len(known) + len(new) > _MOST_KNOWN:
        known.clear()
        new = list(chosen)
    with st.spinner("Reading the wording") if new else nullcontext():
        for prompts in new:
            known[model.hash, prompts] = encode_question(model, prompts)
    return [known[model.hash, prompts] for prompts in chosen]
