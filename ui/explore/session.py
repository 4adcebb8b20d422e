"""Session files and links: saved, opened, and the place restored once its recording is open."""

from __future__ import annotations

import dataclasses
import secrets
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from echoing_core import services
from echoing_core.errors import EchoingError
from echoing_core.records import Recording
from echoing_core.services import Explanation, Session
from ui import by_hand, frame, record, settings, state, windows
from ui.explore import review
from ui.openings import gated

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

# By their names in the address. A link to Compare or Batch would need recordings that it cannot
# hold.
_PAGES = {"": "Explore", "ask": "Ask", "retrieve": "Retrieve"}


def section(current: record.OpenRecord, explanation: Explanation) -> None:
    """A session file to keep, one to open, and a link.

    Parameters
    ----------
    current : OpenRecord
    explanation : Explanation
    """
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Session file**")
        st.caption(
            "Keeps the window, the stride, your questions with their wording, filters, layout, "
            "search words, grades, notes, calipers and marks that you moved. Of the recording it "
            "keeps no sample and no name, only a code by which the same samples are known again."
        )
        track = explanation.track
        session = Session(
            # Only what is in `state.SETTINGS`: nothing of the recording.
            settings=settings.collect(),
            own_questions=state.Ask.own.value,
            window_start_s=float(track.start_s[windows.chosen(track)]),
            stride_s=current.stride_s,
            vcg_method=current.vcg_method,
            marks=review.marks(),
        )
        kept = by_hand.kept_of(current.recording)
        saved = partial(_session_bytes, session, current.recording, kept)
        frame.download("Save session", saved, "session.json", frame.JSON)
        opener()
    with right:
        st.markdown("**Link**")
        st.caption(
            "Leads to this page, window and layout. It holds no recording and no text: whoever "
            "follows it opens the recording there."
        )
        page = st.selectbox("Page", list(_PAGES), format_func=_PAGES.__getitem__, key="link_page")
        st.code(address(page, current, explanation), language=None, wrap_lines=True)


def _session_bytes(session: Session, recording: Recording, kept: state.ByHand) -> bytes:
    # A fresh key each time: two files of one recording cannot be matched by their hashes.
    key = secrets.token_bytes(16)
    bound = dataclasses.replace(
        session,
        key=key.hex(),
        fingerprint=services.fingerprint(recording, key),
        calipers=kept.calipers,
        wave_marks=kept.wave_marks,
    )
    return services.session_text(bound, state.SETTINGS).encode()


def address(page: str, current: record.OpenRecord, explanation: Explanation) -> str:
    """A link to a page as it is now, with listed choices and numbers alone.

    Parameters
    ----------
    page : str
        Its name in the address; empty for Explore.
    current : OpenRecord
    explanation : Explanation

    Returns
    -------
    str
    """
    place = {
        "window_s": float(explanation.track.start_s[windows.chosen(explanation.track)]),
        "stride_s": current.stride_s,
    }
    query = services.link_query(place, state.PLACE)
    query |= services.link_query(settings.collect(), state.SETTINGS)
    here = urlsplit(st.context.url or "http://localhost:8501/")
    # Whatever page this is, and below whatever folder the app is served.
    folder = here.path.rstrip("/")
    for name in ("explore", "ask", "retrieve", "model"):
        folder = folder.removesuffix(f"/{name}")
    return urlunsplit((here.scheme, here.netloc, f"{folder}/{page}", urlencode(query), ""))


def opener() -> None:
    """Where a session file is opened, and what became of it."""
    st.file_uploader(
        "Open a session file",
        type=["json"],
        max_upload_size=1,
        key=state.SavedSession.round.key_of("session_file"),
        on_change=_take_file,
        help="It sets questions, filters and layout, and the window once its recording is open.",
    )
    frame.error(state.SavedSession.error.value)
    note = state.SavedSession.note.value
    if note is not None:
        st.info(frame.literal(note), icon=":material/history:")
    if state.SavedSession.of_another.is_set:
        st.button("Use its questions, filters and layout here", on_click=_use_anyway)


def resume() -> None:
    """Where a session file is opened while no recording is."""
    words = "Go on with a saved session"
    with st.expander(words, icon=":material/history:", expanded=state.SavedSession.note.is_set):
        opener()


def _take_file() -> None:
    # The entry of the widget itself: this is its callback, and it gives no value.
    upload: state.Entry[UploadedFile | None]
    upload = state.Entry(state.SavedSession.round.key_of("session_file"), None)
    state.forget(
        state.SavedSession.error,
        state.SavedSession.note,
        state.SavedSession.of_another,
        state.SavedSession.waiting,
    )
    if upload.value is None:
        return
    try:
        _take(gated(services.read_session, upload.value.getvalue(), state.SETTINGS))
    except EchoingError as error:
        state.SavedSession.error.value = str(error)
    # An empty uploader, so that the same file can be opened once more.
    state.SavedSession.round.begin_anew()


def _take(session: Session) -> None:
    current = record.opened()
    if current is not None and session.bound and not session.belongs_to(current.recording):
        state.SavedSession.of_another.value = session
        state.SavedSession.note.value = (
            "This session was made with another recording than the open one, so nothing was "
            "changed. Open its recording, then the session again."
        )
        return
    settings.restore(session.settings, session.own_questions)
    state.SavedSession.waiting.value = session
    if current is None:
        state.SavedSession.note.value = (
            "Questions, filters and layout are back. Open the recording of this session, and its "
            "window will be, too."
            if session.bound
            else "Questions, filters and layout are back."
        )


def _use_anyway() -> None:
    session = state.SavedSession.of_another.take()
    if session is None:
        return
    settings.restore(session.settings, session.own_questions)
    state.SavedSession.note.value = "Questions, filters and layout are back."


def restore_waiting(current: record.OpenRecord, explanation: Explanation) -> None:
    """Go to the window of a session file or a link, once its recording is open.

    Parameters
    ----------
    current : OpenRecord
    explanation : Explanation
    """
    session = state.SavedSession.waiting.take()
    if session is None:
        return
    if session.bound and not session.belongs_to(current.recording):
        state.SavedSession.note.value = (
            "The session that you opened was made with another recording than this one: its "
            "questions, filters and layout are back, its window is not."
        )
        return
    if session.bound:
        state.SavedSession.note.value = "The session is back as it was saved."
        review.take_marks(session.marks)
        by_hand.from_session(current.recording, session.calipers, session.wave_marks)
    stride_s = session.stride_s
    # From a file or a link, so it may ask for more windows than this recording allows.
    if stride_s not in record.strides(current):
        stride_s = current.stride_s
    method = session.vcg_method or current.vcg_method
    start_s = session.window_start_s
    # A link holds no recording, and may be followed with a shorter one.
    if start_s is None or start_s > current.recording.duration_s:
        start_s = float(explanation.track.start_s[windows.chosen(explanation.track)])
    if (stride_s, method) != (current.stride_s, current.vcg_method):
        with frame.guarded():
            record.look_again(current, stride_s, method, start_s)
    else:
        state.Opened.window.value = windows.nearest(explanation.track, start_s)
    st.rerun()
