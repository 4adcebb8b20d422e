"""An echocardiogram beside the open recording: what the teacher reads, and whether both agree."""

from __future__ import annotations

import streamlit as st

from ui import frame, record, resources, summary
from ui.echo import agreement, opening, reading

frame.title("Hold an echocardiogram beside the ECG")
current = record.opened()
if current is not None:
    summary.show(current)
with frame.guarded():
    opening.chooser(current)
read = opening.opened()
if read is None:
    opening.teaching(current)
    st.stop()
with frame.guarded():
    reading.show(read)
with frame.guarded():
    reading.findings(read)
with frame.guarded():
    agreement.show(resources.model(), current, read)
with frame.guarded():
    reading.frames(read)
