"""What every page has: its title, the disclaimer, and errors as sentences."""

from __future__ import annotations

import logging
import string
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from echoing_core.errors import EchoingError

if TYPE_CHECKING:
    from streamlit.navigation.page import Page as StreamlitPage

    from echoing_core.services import Model

logger = logging.getLogger(__name__)

DISCLAIMER = "Research use only, not a medical device"

# Only fixed text goes in here. ECG paper keeps its size on a narrow screen and scrolls inside its
# own box, so that the page itself never does. Paper and plots are light in both themes, as the
# colours on them mean the same in both; all else takes its colours from the two after light-dark.
_STYLE = """<style>
.stApp {
  --quiet: light-dark(#5b6675, #aeb6c2);
  --groove: light-dark(#eef0f3, #323845);
  --bar: light-dark(#7e03a8, #c77be6);
  --absent: light-dark(#9aa3af, #7b8494);
}
.stMainBlockContainer { padding-top: 4.6rem; padding-bottom: 3rem; }
.stMainBlockContainer h1 { font-size: 1.7rem; padding: 0; }
[data-testid="stPlotlyChart"] { border-radius: 0.4rem; overflow: hidden; background: #ffffff; }
.guide p { margin: 0 0 0.35rem; max-width: 60rem; }
:is(a, button, summary, [role="tab"]):focus-visible {
  outline: 3px solid light-dark(#7e03a8, #d79bf0);
  outline-offset: 2px;
}
[class*="st-key-paper_hit_"] { overflow-x: auto; }
[class*="st-key-paper_hit_"] [data-testid="stElementContainer"],
[class*="st-key-paper_hit_"] [data-testid="stFullScreenFrame"] { min-width: 820px; }
[data-testid="stCaptionContainer"] { color: var(--quiet); opacity: 1; }
[data-testid^="stBaseButton-primary"], [data-testid^="stBaseButton-primary"] p,
[data-testid="stMultiSelect"] span[title] {
  color: light-dark(#ffffff, #14171d);
}
.stMarkdown { overflow-wrap: anywhere; }
.stMarkdown table { display: block; overflow-x: auto; overflow-wrap: normal; }
.stMarkdown td { min-width: 5rem; }
.table { overflow-x: auto; font-size: 0.875rem; }
.table table { border-collapse: collapse; }
.table :is(td, th) {
  padding: 0.25rem 0.9rem 0.25rem 0;
  text-align: left;
  vertical-align: top;
  border-bottom: 1px solid var(--groove);
}
.stMainBlockContainer :is(pre, pre code, pre div) {
  white-space: pre-wrap !important;
  overflow-wrap: anywhere;
}
ul.shares { list-style: none; margin: 0; padding: 0; max-width: 34rem; font-size: 0.9rem; }
ul.shares li { display: flex; align-items: center; gap: 0.6rem; margin: 0.1rem 0; padding: 0; }
.shares li > span:first-child { flex: 0 0 3.6rem; }
.shares li > span:last-child { flex: 0 0 8.2rem; color: var(--quiet); }
.shares .track { flex: 1 1 auto; height: 0.6rem; border-radius: 2px; background: var(--groove); }
.shares .bar { display: block; height: 100%; border-radius: 2px; background: var(--bar); }
.shares .absent { background: var(--absent); }
[data-testid="stBadge"], .stBadge { max-width: 100%; }
[data-testid="stLayoutWrapper"]:has(> .st-key-phone_menu) { display: none; }
@media (max-width: 767.98px) {
  .stMainBlockContainer { padding-left: 0.9rem; padding-right: 0.9rem; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-phone_menu) {
    display: flex;
    margin-bottom: 0.4rem;
  }
  [data-testid="stExpandSidebarButton"] { display: none; }
}
</style>"""


def style() -> None:
    """The style that all pages share; `app.py` alone calls this."""
    st.session_state["routed"] = True
    st.html(_STYLE)


def phone_menu(pages: Sequence[StreamlitPage]) -> None:
    """Links to the pages on narrow screens.

    There, Streamlit folds its own menu into a sidebar that stays open over the page after
    a choice.
    """
    with st.container(key="phone_menu", horizontal=True, gap="small"):
        for page in pages:
            st.page_link(page, label=page.title, width="content")


def title(words: str) -> None:
    """The heading of a page, and the disclaimer beside it."""
    _through_the_router()
    with st.container(
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
        gap="small",
    ):
        st.title(words, anchor=False, width="content")
        st.badge(DISCLAIMER, icon=":material/experiment:", color="orange")


def _through_the_router() -> None:
    """Run `app.py` where Streamlit runs a page by itself.

    It takes a folder called ``pages`` for its older kind of app until somebody has opened
    `app.py`; a link to a page, opened first after a start, would come without style and menu.
    """
    if PagesManager.uses_pages_directory and not st.session_state.get("routed"):
        PagesManager.uses_pages_directory = False
        st.rerun()


def welcome() -> None:
    """What the app is for, while nothing is open."""
    steps = (
        (
            ":material/ecg_heart:",
            "Where can the model be believed?",
            "The recording is shown coloured by how unsure the model is, ten seconds at a time. "
            "A few leads are enough: what is missing is named, and the model is less sure.",
        ),
        (
            ":material/help:",
            "What does it say there?",
            "Ask in words, from LVEF to rhythm. Each answer comes with an interval, and may be "
            "“not sure enough”.",
        ),
        (
            ":material/search:",
            "What is it like?",
            "Find the reports and ECGs nearest to a recording, or to a few words.",
        ),
    )
    for column, (icon, heading, text) in zip(st.columns(3), steps, strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"{icon} **{heading}**")
            st.caption(text)


def literal(text: str) -> str:
    """Text of a person or a file, escaped so that Markdown shows it as it is."""
    marked = "".join(f"\\{c}" if c in string.punctuation else c for c in text)
    return " ".join(marked.split())


def simulated_badge(words: str = "simulated") -> None:
    """The mark of anything that was not measured on a person."""
    st.badge(words, icon=":material/science:", color="violet")


def training_note(model: Model) -> None:
    """Where the model's knowledge comes from, wherever its answers are shown."""
    if model.imported:
        st.badge("imported weights, see the licence in the model card", color="blue")
        return
    if model.simulated_training:
        simulated_badge("model trained on simulated ECGs only")
        return
    simulated_badge("echo findings learnt from simulation")


class _Guard:
    """See `guarded`. A class, so that type checkers know that it may end a block early."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, EchoingError):
            st.error(literal(str(error)), icon=":material/error:")
        elif isinstance(error, Exception):
            logger.error("unexpected error in a page", exc_info=error)
            st.error(
                "Something failed that should not have; the details are in the log of the "
                "server. Try again, or open another recording.",
                icon=":material/error:",
            )
        # Streamlit's own signals (stop, rerun) are no `Exception` and pass through.
        return isinstance(error, Exception)


def guarded() -> _Guard:
    """Turn what goes wrong inside into one sentence on the page, and go on after it."""
    return _Guard()
