"""Questions in words about the open recording: at one place, as a whole, and all along it."""

from __future__ import annotations

import streamlit as st

from ui import document_parts, frame, opening, record, resources, summary
from ui import questions as common
from ui.ask import answers, questions

frame.title("Ask about the recording")
current = record.required(
    "ask about",
    "Ask in words, as you would ask a colleague: “is there a left bundle branch block?” Each "
    "answer says how likely it is, how often such answers were right, and “not sure enough” where "
    "no yes or no would stand.",
    opening.chooser,
)
model = resources.model()
summary.show(current)
if frame.tells_lack(model, "text"):
    st.stop()
left, right = st.columns([4, 8], gap="large")
asked, place = [], None
with left, frame.guarded():
    place = answers.place_choice(current)
    asked = questions.encoded(model, questions.picked())
    questions.prevalences(asked)
with right, frame.guarded():
    if asked and place is not None:
        embedding, window = answers.places(current, place.rule)[place.kind]
        answered = [q.answer(embedding, window, common.prevalence_of(q.prompts)) for q in asked]
        spreads = [q.wording_spread(embedding) for q in asked]
        beside = answers.with_heads(model, current, place, asked, answered)
        notes = answers.show_answers(model, asked, answered, spreads, beside)
        frame.training_note(model)
        document_parts.add_answers(current, beside, place.about, notes)
    else:
        st.info("Choose at least one question, or add your own.", icon=":material/help:")
if asked and place is not None and len(current.explanation.track) > 1:
    with frame.guarded():
        answers.show_along(model, current, asked, place.rule)
