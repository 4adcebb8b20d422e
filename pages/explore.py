"""Where along a recording can the model be believed?"""

from __future__ import annotations

import streamlit as st

from ui import frame, record, resources, windows

frame.title("Explore a recording")
record.chooser()
current = record.opened()
if current is None:
    frame.welcome()
    st.stop()

model = resources.model()
record.summary(current)
with frame.guarded():
    windows.overview(model, current.explanation)
    windows.shortcuts(current.explanation.track)
with frame.guarded():
    windows.detail(model, current.explanation)

with st.expander("Settings and export", icon=":material/tune:"):
    record.settings(current)
    windows.export(model, current.explanation)
