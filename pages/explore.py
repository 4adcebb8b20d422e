"""Where along a recording can the model be believed?"""

from __future__ import annotations

import streamlit as st

from ui import frame, guide, opening, record, resources, summary, teaching
from ui.explore import (
    detail,
    device,
    explain_job,
    export,
    listed,
    measurements,
    overview,
    review,
    rhythm,
    session,
    toolbar,
)

frame.title("Explore a recording")
guide.offer()
guide.open_sample()
teaching.open_case()
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
short = len(explanation.track) < 2
if not short:
    with frame.guarded():
        overview.show(model, explanation)
        toolbar.show(model, explanation, with_extremes=unsure_told)
with frame.guarded():
    detail.show(model, explanation)
if short:
    # Ten seconds are one window: their map says no more than the line above the paper and its
    # colours, so it comes after them.
    box = frame.panel("Uncertainty by lead and moment", ":material/gradient:", "map_panel")
    if box is not None:
        with box, frame.guarded():
            overview.show(model, explanation)
elif unsure_told:
    with frame.guarded():
        listed.tables(model, explanation)
measurements.show_measurements(current.recording, explanation)
rhythm.show(current, explanation)
review.show(model, explanation)
summary.what_the_model_saw(current.recording, explanation.ecg)
device.show(explanation.ecg)
opening.settings(current)
export.section(model, current, explanation)
explain_job.go_on(explanation, place)
