"""Where along a recording can the model be believed?"""

from __future__ import annotations

import streamlit as st

from ui import frame, record, windows

frame.title("Explore a recording")
record.chooser()
current = record.opened()
if current is None:
    frame.welcome()
    st.stop()

record.summary(current)
with frame.guarded():
    windows.overview(current.explanation)
    windows.shortcuts(current.explanation.track)
with frame.guarded():
    windows.detail(current.explanation)

with st.expander("Settings and export", icon=":material/tune:"):
    record.settings(current)
    windows.export(current.explanation)
