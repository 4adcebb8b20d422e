"""Two recordings, or two times of one, beside each other."""

from __future__ import annotations

import streamlit as st

from ui import compare, frame, record, resources

frame.title("Compare two ECGs")
current = record.required(
    "compare",
    "Two recordings, or two times of one, stand beside each other here: how alike they are to the "
    "model, lead by lead, and what it answers to the same questions.",
)
model = resources.model()
other = None
with frame.guarded():
    other = compare.second(model, current)
if other is None:
    st.stop()
same = other is current.explanation
a = b = None
left, right = st.columns(2, gap="large", border=True)
with left, frame.guarded():
    a = compare.side(model, "A", current.explanation, same=same)
with right, frame.guarded():
    b = compare.side(model, "B", other, same=same)
if a is None or b is None:
    st.stop()
left, right = st.columns(2, gap="large")
with left, frame.guarded():
    compare.distance(a, b)
with right, frame.guarded():
    compare.leads(model, a, b)
with frame.guarded():
    compare.answers(model, a, b)
with frame.guarded():
    compare.papers(a, b)
