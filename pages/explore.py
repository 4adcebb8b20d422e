"""Where along a recording can the model be believed?"""

from __future__ import annotations

import streamlit as st

from ui import frame, guide, looking, record, resources, take_away, windows

frame.title("Explore a recording")
guide.offer()
guide.open_sample()
record.chooser()
current = record.opened()
if current is None:
    frame.welcome()
    take_away.resume()
    st.stop()

model = resources.model()
record.summary(current)
place = st.empty()
explanation = current.explanation
with frame.guarded():
    explanation = looking.closer(model, explanation, windows.view())
with frame.guarded():
    windows.overview(model, explanation)
    windows.shortcuts(explanation.track)
    windows.listed(model, explanation)
with frame.guarded():
    windows.detail(model, explanation)

with st.expander("Settings", icon=":material/tune:"):
    record.settings(current)
take_away.section(model, current, explanation)
looking.go_on(explanation, place)
