"""Where along a recording can the model be believed?"""

from __future__ import annotations

import streamlit as st

from ui import frame, guide, record, resources, summary
from ui.explore import detail, device, explain_job, export, listed, opening, overview, session

frame.title("Explore a recording")
guide.offer()
guide.open_sample()
opening.chooser()
current = record.opened()
if current is None:
    opening.welcome()
    session.resume()
    st.stop()

model = resources.model()
summary.show(current)
place = st.empty()
explanation = current.explanation
with frame.guarded():
    explanation = explain_job.closer(model, explanation, overview.view())
explanation = overview.in_reading(explanation)
unsure_told = not frame.tells_lack(model, "sigma2")
with frame.guarded():
    overview.show(model, explanation)
    if unsure_told:
        listed.shortcuts(explanation.track)
        listed.tables(model, explanation)
with frame.guarded():
    detail.show(model, explanation)

device.show(explanation.ecg)
with st.expander("Settings", icon=":material/tune:"):
    opening.settings(current)
export.section(model, current, explanation)
explain_job.go_on(explanation, place)
