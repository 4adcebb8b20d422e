"""Questions in words about the open recording: at one place, as a whole, and all along it."""

from __future__ import annotations

import streamlit as st

from ui import document_parts, frame, record, resources, summary
from ui.ask import answers, questions

frame.title("Ask about the recording")
current = record.required(
    "ask about",
    "Ask in words, as you would ask a colleague: “is the ejection fraction below 40 %?” Each "
    "answer is a probability with an interval, and “not sure enough” where the recording does not "
    "allow one.",
)
model = resources.model()
summary.show(current)
left, right = st.columns([5, 7], gap="large")
asked, place = [], None
with left, frame.guarded():
    place = answers.place_choice(current)
    asked = questions.encoded(model, questions.picked())
with right, frame.guarded():
    if asked and place is not None:
        embedding = answers.embeddings(current, place.rule)[place.kind]
        answered = [q.answer(embedding) for q in asked]
        spreads = [q.wording_spread(embedding) for q in asked]
        notes = answers.show_answers(model, asked, answered, spreads)
        frame.training_note(model)
        document_parts.add_answers(current, answered, place.about, notes)
    else:
        st.info("Choose at least one question, or add your own.", icon=":material/help:")
if asked and place is not None and len(current.explanation.track) > 1:
    with frame.guarded():
        answers.show_along(model, current, asked, place.rule)
