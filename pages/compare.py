"""Two recordings, or two times of one, beside each other."""

from __future__ import annotations

import streamlit as st

from ui import frame, opening, record, resources
from ui.compare import beside, changes, papers, sides

frame.title("Compare two ECGs")
current = record.required(
    "compare",
    "Two recordings, or two times of one, stand beside each other here: both papers, what changed "
    "in the beats and their measurements, how alike they are to the model, and what it answers.",
    opening.chooser,
)
model = resources.model()
other = None
with frame.guarded():
    other = sides.second(model, current)
if other is None:
    st.stop()
same = other is current
a = b = None
left, right = st.columns(2, gap="large", border=True)
with left, frame.guarded():
    a = sides.side(model, "A", current, same=same)
with right, frame.guarded():
    b = sides.side(model, "B", other, same=same)
if a is None or b is None:
    st.stop()
with frame.guarded():
    papers.show(a, b)
changed, noisy = None, False
with frame.guarded():
    changed = changes.measured(a, b)
with frame.guarded():
    noisy = beside.noisy(a, b, changed)
if changed is not None:
    # A difference from noise is no change of the heart, and not the first thing to be told.
    with (
        st.expander("What was measured all the same") if noisy else st.container(),
        frame.guarded(),
    ):
        changes.show(changed)
if noisy:
    with frame.guarded():
        beside.leads(a, b)
else:
    left, right = st.columns(2, gap="large")
    with left, frame.guarded():
        beside.distance(a, b)
    with right, frame.guarded():
        beside.leads(a, b)
with frame.guarded():
    if not frame.tells_lack(model, "text"):
        beside.answers(model, a, b)
