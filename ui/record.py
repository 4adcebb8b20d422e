"""The open recording: chosen once, kept for the whole session, never shared with another."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, Recording
from echoing_core.services import ExplainJob, Explanation, Model, Sample
from ui import frame, resources, state, windows

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

logger = logging.getLogger(__name__)

_STRIDES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# A day with a window every second has 86,400.
_MOST_WINDOWS = 100_000


@dataclass(frozen=True, eq=False)
class OpenRecord:
    """A parsed recording, what the model says along it, and how it was looked at.

    Attributes
    ----------
    recording : Recording
        As the file gave it.
    explanation : Explanation
        Of its 12 leads.
    stride_s : float
        Seconds between window starts.
    vcg_method : str
        How 12 leads were made of X, Y, Z, where there are these.
    """

    recording: Recording
    explanation: Explanation
    stride_s: float
    vcg_method: str

    @property
    def has_frank_leads(self) -> bool:
        return set(FRANK_LEADS) <= set(self.recording.lead_names)


def opened() -> OpenRecord | None:
    """The open recording of this session, on whichever page."""
    return state.Opened.record.value


def required(purpose: str, teaching: str, choices: Callable[[], None] | None = None) -> OpenRecord:
    """The open recording; without one, the page says what it does and ends.

    Parameters
    ----------
    purpose : str
        As it follows "Open a recording to".
    teaching : str
        What the page is for, in two sentences.
    choices : callable, optional
        Draws what opens a recording, so that files can be dropped on this page, too.

    Returns
    -------
    OpenRecord
    """
    record = opened()
    if record is None:
        none_open(purpose, teaching, choices)
        st.stop()
    return record


def none_open(purpose: str, teaching: str, choices: Callable[[], None] | None = None) -> None:
    """Say what would be here, that a recording is needed, and offer to open one at once.

    Parameters
    ----------
    purpose, teaching, choices
        As in `required`.
    """
    with st.container(border=True, key="none_open"):
        st.markdown(teaching)
        if choices is not None:
            st.info(
                f"Open a recording to {purpose} first: drop its files here, or take a sample.",
                icon=":material/folder_open:",
            )
            choices()
            return
        st.info(f"Open a recording to {purpose} first.", icon=":material/folder_open:")
        st.page_link("pages/explore.py", label="Open a recording", icon=":material/ecg_heart:")
        with frame.guarded():
            sample_row(resources.samples()[0])
    frame.error(state.Opened.error.value)


def sample_row(sample: Sample) -> None:
    """The button that opens a shipped recording, and what it is.

    Parameters
    ----------
    sample : Sample
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        pressed = st.button(sample.title, key=f"sample_{sample.sample_id}")
        if sample.simulated:
            frame.simulated_badge()
    st.caption(frame.literal(sample.description))
    if pressed:
        forget_uploads()
        read_and_show(lambda: services.read_recording(sample.paths))


def forget_uploads() -> None:
    """Empty the uploader, and forget what was wrong with its files."""
    state.Opened.upload_round.begin_anew()
    state.forget(
        state.Opened.error,
        state.Opened.uploads_seen,
        state.Opened.table_waits,
        state.Opened.table_preview,
        state.Opened.records,
        state.Opened.record_name,
        state.Opened.asks_why,
    )


def read_and_show(
    read: Callable[[], Recording],
    asks: Callable[[Recording | EchoingError], bool] | None = None,
) -> None:
    """Read a recording, embed it and keep both, or keep the sentence that says why not.

    Parameters
    ----------
    read : callable
        Gives the recording. What it raises ends up in `state.Opened.error`.
    asks : callable, optional
        Given the recording, or why it could not be read; True where a person is asked about it
        first, and nothing is opened yet.
    """
    model = resources.model()
    state.Opened.error.clear()
    recording: Recording | None = None
    try:
        with st.spinner("Reading the recording"):
            recording = read()
        if asks is not None and asks(recording):
            return
        record = looked_at(recording)
    except EchoingError as error:
        if recording is None and asks is not None and asks(error):
            return
        state.Opened.error.value = str(error)
        return
    except Exception:
        logger.exception("unexpected error while a recording was read")
        state.Opened.error.value = (
            "These files could not be read, for a reason that this program did not expect. "
            "Export the recording again, or choose another one."
        )
        return
    # No name of the recording: it may be a person's, and logs are kept.
    logger.info("opened a recording of %.0f s with model %s", recording.duration_s, model.name)
    keep(record)
    forget_uploads()
    st.rerun()


def first_look(model: Model, recording: Recording, stride_s: float, vcg_method: str) -> Explanation:
    """Look at a recording until there is a picture of all of it; the rest stays in `Opened.job`.

    Parameters
    ----------
    model : Model
    recording : Recording
    stride_s : float
        Seconds between window starts.
    vcg_method : str

    Returns
    -------
    Explanation
        Of the windows embedded so far, spread over all of the recording.
    """
    state.Opened.job.clear()
    # In one placeholder, which takes what is left of the page before with it.
    place = st.empty()
    bar: DeltaGenerator | None = None

    def tell(share: float, words: str) -> None:
        nonlocal bar
        if bar is None:
            with place.container(horizontal=True, vertical_alignment="center", key="first_look"):
                bar = st.progress(share, text=words, width="stretch")
                st.button("Cancel", key="cancel_look", on_click=_cancelled)
            return
        bar.progress(share, text=words)

    # Ten seconds are done before a bar would be there.
    takes_time = recording.duration_s > services.SHOWN_FROM_S
    try:
        if takes_time:
            tell(0.0, "Filtering the recording")
        with resources.turn():
            looking = services.ExplainJob(model, recording, stride_s, vcg_method=vcg_method)
        while not looking.has_overview:
            with resources.turn():
                looking.step()
            if looking.measuring_leads:
                words = "Measuring what is usual with these leads (once)"
                tell(looking.measured_share, words)
            elif takes_time:
                tell(looking.done / looking.total, progress_words(looking))
    finally:
        place.empty()
    # The page shows what there is, and goes on with the rest below it.
    if not looking.finished:
        state.Opened.job.value = looking
    return looking.explanation()


def _cancelled() -> None:
    state.Opened.error.value = (
        "Stopped before the recording was looked at; it was not opened. Choose it again to start "
        "anew."
    )


def progress_words(looking: ExplainJob, start: str = "Looking at every window") -> str:
    """How many windows are done, who else is served meanwhile, and the time left.

    Parameters
    ----------
    looking : ExplainJob
    start : str
        What is being done, at the beginning of the line.

    Returns
    -------
    str
    """
    words = f"{start}: {looking.done:,} of {looking.total:,}"
    # Asked between two turns, so whoever stands in line is somebody else.
    others = resources.turn().waiting
    if others:
        words += f", in turns with {others} other{'s' if others > 1 else ''}"
    left_s = looking.left_s
    if not math.isfinite(left_s) or left_s < 1.5:
        return words
    if left_s >= 90:
        return f"{words}, about {left_s / 60:.0f} min left"
    return f"{words}, about {math.ceil(left_s / 5) * 5 if left_s > 10 else left_s:.0f} s left"


def keep(record: OpenRecord, near_s: float | None = None) -> None:
    """Make this the open recording.

    Parameters
    ----------
    record : OpenRecord
    near_s : float, optional
        The window nearest to this second is chosen; by default the surest one.
    """
    # With a new round, what was set for the recording before is not taken for this one.
    track = record.explanation.track
    surest = services.most_sure_window(track)
    state.Opened.record.value = record
    state.Opened.window.value = surest if near_s is None else windows.nearest(track, near_s)
    state.Opened.round.begin_anew()


def looked_at(
    recording: Recording, stride_s: float | None = None, vcg_method: str = "dower"
) -> OpenRecord:
    """A recording with what the model says along it.

    Parameters
    ----------
    recording : Recording
    stride_s : float, optional
        Seconds between window starts; by default what fits the length.
    vcg_method : str
        How 12 leads are made of X, Y, Z.

    Returns
    -------
    OpenRecord
    """
    if stride_s is None:
        stride_s = services.fitting_stride_s(recording.duration_s)
    explanation = first_look(resources.model(), recording, stride_s, vcg_method)
    return OpenRecord(recording, explanation, stride_s, vcg_method)


def strides(record: OpenRecord) -> list[float]:
    """Seconds between window starts that this recording can be looked at with.

    Parameters
    ----------
    record : OpenRecord

    Returns
    -------
    list of float
        Ascending; always with the present one.
    """
    duration_s = record.recording.duration_s
    possible = {s for s in _STRIDES_S if duration_s / s <= _MOST_WINDOWS}
    return sorted({*possible, record.stride_s})


def look_again(record: OpenRecord, stride_s: float, vcg_method: str, near_s: float) -> None:
    """Look at the open recording once more, and keep the place.

    Parameters
    ----------
    record : OpenRecord
    stride_s : float
        Seconds between window starts.
    vcg_method : str
        How 12 leads are made of X, Y, Z.
    near_s : float
        Second to stay at.
    """
    keep(looked_at(record.recording, stride_s, vcg_method), near_s=near_s)
