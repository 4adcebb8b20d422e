"""Questions in words about one window of the open recording."""

from __future__ import annotations

import streamlit as st

from echoing_core import services
from ui import frame, questions, record, resources, take_away

frame.title("Ask about the recording")
current = record.required("ask about")
model = resources.model()
record.summary(current)
left, right = st.columns([5, 7], gap="large")
with left, frame.guarded():
    start_s = questions.window_choice(current, key="ask_window")
    chosen = questions.picked()
with right, frame.guarded():
    if chosen:
        answers = services.ask(model, current.explanation, chosen, start_s=start_s)
        questions.show_answers(model, answers)
        frame.training_note(model)
        take_away.add_answers(current, answers, take_away.window_words(current, start_s))
    else:
        st.info("Choose at least one question, or add your own.", icon=":material/help:")
