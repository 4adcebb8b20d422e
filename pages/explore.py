"""Where along a recording can the model be believed?"""

from __future__ import annotations

import streamlit as st

from ui import frame, record, windows

frame.title("Explore a recording")
record.chooser()
current = record.opened()
if current is None:
    st.info(
        "Open a recording, or a sample, to see where along it the model is sure and where it "
        "is not. A few leads are enough: what is missing is named, and the model says how much "
        "less sure it is.",
        icon=":material/ecg_heart:",
    )
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
