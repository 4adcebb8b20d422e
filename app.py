"""The app: ``streamlit run app.py``. Imported, it is the server; run for a session, the router."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import streamlit as st

# Nothing here may ask the internet for anything, whatever a library would do by itself.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Several people at once share the cores; more threads for one of them only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
# It reports every processor extension that this machine does not have.
logging.getLogger("faiss.loader").setLevel(logging.WARNING)

UI = Path(__file__).parent / "ui"


def show() -> None:
    """One run of the page that a session is on."""
    # After the environment is set.
    from ui import frame, guide, settings, sign_in, teaching, turns, warming

    # A ":material/...:" icon here would be fetched from Google; an image of ours is not.
    st.set_page_config(page_title="EchoingECG", page_icon=str(UI / "favicon.svg"), layout="wide")
    st.logo(str(UI / "wordmark.svg"), size="large")
    pages = [
        st.Page("pages/explore.py", title="Explore", icon=":material/ecg_heart:", default=True),
        st.Page("pages/ask.py", title="Ask", icon=":material/help:"),
        st.Page("pages/retrieve.py", title="Retrieve", icon=":material/search:"),
        st.Page("pages/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("pages/echo.py", title="Echo", icon=":material/cardiology:"),
        st.Page("pages/batch.py", title="Batch", icon=":material/table_rows:"),
        st.Page("pages/model.py", title="Model", icon=":material/info:"),
    ]
    may = sign_in.guarded()
    # Called for whoever may not, too: without it Streamlit would run a file of pages/ by itself.
    page = st.navigation(pages, position="top" if may else "hidden")
    frame.style()
    if not may:
        return
    frame.phone_menu(pages)
    sign_in.account()
    turns.place()
    with frame.guarded():
        settings.from_link()
    with frame.guarded():
        guide.panel(page.title)
    with frame.guarded():
        teaching.panel(page.title)
    try:
        with frame.guarded():
            page.run()
    finally:
        warming.page_shown()


if __name__ == "__main__":
    show()
else:
    from ui import serving

    # Streamlit looks for this assignment in the file that it is told to run, and then imports the
    # file and serves `app`. So the guard is there however the app is started.
    app = st.App(__file__, middleware=serving.middleware(), lifespan=serving.running)
