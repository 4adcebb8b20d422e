"""A guided example of two minutes: a simulated recording, from its noisy stretch to a report.

It stands above the pages and goes through them; every step can be left out, and all of it left at
any moment.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from echoing_core import services
from ui import frame, record, resources, state


@dataclass(frozen=True)
class Step:
    """One step: where it is, what is said, and what "Show me" does there.

    Attributes
    ----------
    page, page_title : str
        File and title of the page that it belongs to.
    heading, words : str
    action : str
        On the button; empty where there is none.
    act : callable, optional
        A callback, so it may set widgets.
    """

    page: str
    page_title: str
    heading: str
    words: str
    action: str = ""
    act: Callable[[], None] | None = None


def _choose(*, surest: bool) -> None:
    current = record.opened()
    if current is not None:
        track = current.explanation.track
        state.Opened.window.value = services.extreme_windows(track, 1, surest=surest)[0]


def _noisy() -> None:
    _choose(surest=False)


def _ask_there() -> None:
    current = record.opened()
    if current is not None:
        track = current.explanation.track
        # Only if nobody has chosen another window: the step before may have been left out.
        if state.Opened.window.value == services.most_sure_window(track):
            _noisy()
    state.Ask.window.value = "chosen"


def _search() -> None:
    state.Find.mode.value = "words"
    state.Find.text.value = "atrial fibrillation"


_EXPLORE = ("pages/explore.py", "Explore")
STEPS: tuple[Step, ...] = (
    Step(
        *_EXPLORE,
        "Where can the model be believed?",
        "Below is a simulated recording of 20 minutes. Its trace is coloured by how unsure the "
        "model is, ten seconds at a time: dark is sure, orange is unsure. Under it, each lead has "
        "a row of its own.",
    ),
    Step(
        *_EXPLORE,
        "Find the noisy stretch",
        "The orange part is noise. Choose a window there: click it, use the arrow keys on the "
        "picture, or press “Show me”. On the paper below you see the noise itself, and beside it "
        "the leads that the doubt comes from.",
        "Show me",
        _noisy,
    ),
    Step(
        "pages/ask.py",
        "Ask",
        "Ask what it shows",
        "Each answer comes with an interval, and may be “not sure enough”. Ask of the surest "
        "window first; then press “Ask the noisy window” and see how the intervals grow.",
        "Ask the noisy window",
        _ask_there,
    ),
    Step(
        "pages/retrieve.py",
        "Retrieve",
        "Find ECGs like it",
        "Search the collection in words, or from this recording. The list tells how near each ECG "
        "is and how sure the model is of it, so a noisy one does not come first by chance.",
        "Search “atrial fibrillation”",
        _search,
    ),
    Step(
        *_EXPLORE,
        "Take it away",
        "“Take it away”, at the foot of this page, makes a report, a table of all windows, or a "
        "file that brings you back to this place. None holds the name of the recording unless you "
        "say so. That is all: open a recording of your own next.",
    ),
)


def begin() -> None:
    """Start the guide at its first step; a callback."""
    _to(0)
    # What the steps say of noise is true of this model's sigma^2.
    state.App.model.value = services.DEFAULT_MODEL
    state.Guide.open_sample.value = True


def under_way() -> bool:
    """Whether the guide is shown."""
    return state.Guide.step.value is not None


def offer() -> None:
    """The button that starts it, where nothing is open yet."""
    if under_way() or record.opened() is not None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Show me around (2 minutes)", key="guide_begin", icon=":material/tour:",
            type="primary", on_click=begin,
        )  # fmt: skip
        st.caption("With a simulated recording. You can leave at any moment.")


def panel(page_title: str) -> None:
    """The step, on top of the page; goes to the page of the step when the step has changed.

    Parameters
    ----------
    page_title : str
        Of the page that is drawn.
    """
    number = state.Guide.step.value
    if number is None:
        return
    step = STEPS[number]
    # Once for each step: afterwards a person may go to any page.
    if state.Guide.go.take() and page_title != step.page_title:
        st.switch_page(step.page)
    with st.container(border=True, key="guide"):
        # A screen reader reads the new step out when it appears.
        st.html(
            '<div role="status" class="guide">'
            f"<p><strong>Step {number + 1} of {len(STEPS)}: {html.escape(step.heading)}</strong>"
            f"</p><p>{html.escape(step.words)}</p></div>"
        )
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            # Opening the sample may have been cancelled, or begun on a page that opens nothing.
            if record.opened() is None:
                if not state.Guide.open_sample.value:
                    st.button("Open the simulated recording", key="guide_open_it", on_click=begin)
            elif page_title != step.page_title:
                st.button(
                    f"Go to {step.page_title}", key="guide_there", on_click=_to, args=(number,)
                )
            elif step.act is not None:
                st.button(step.action, key=f"guide_act_{number}", on_click=step.act)
            if number:
                st.button("Back", key="guide_back", on_click=_to, args=(number - 1,))
            if number + 1 < len(STEPS):
                st.button(
                    "Next", key="guide_next", type="primary", on_click=_to, args=(number + 1,)
                )
                st.button("Leave the guide", key="guide_leave", on_click=_leave)
            else:
                st.button("Done", key="guide_done", type="primary", on_click=_leave)


def open_sample() -> None:
    """Open the guide's recording once; on Explore, above what it draws."""
    # Taken before it is opened, so that a cancel is not followed by another beginning.
    if state.Guide.open_sample.take():
        with frame.guarded():
            sample = next(s for s in resources.samples() if s.simulated)
            record.read_and_show(lambda: services.read_recording(sample.paths))


def _to(number: int) -> None:
    state.Guide.step.value = number
    state.Guide.go.value = True


def _leave() -> None:
    state.Guide.step.clear()
