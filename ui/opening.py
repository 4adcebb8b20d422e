"""Opening a recording: files, samples, what a table does not say of itself, and how to look."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from echoing_core import services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, Recording
from echoing_core.services import TableLayout, TablePreview, Told
from echoing_core.services.reading import preview
from echoing_core.services.uploads import Looked, look
from ui import frame, record, resources, state, teaching, telling, windows
from ui.openings import gated
from ui.telling import SamplesIn

Upload = tuple[str, str, Callable[[], bytes]]
"""Identifier, name, and what gives the bytes of one file."""

VCG_METHODS = {
    "dower": "Dower synthesis",
    "kors_pinv": "Kors matrix, pseudo-inverse",
    "kors_gls": "Kors matrix, generalised least squares",
}


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


def chooser() -> None:
    """Upload and samples: in the open while nothing is open, folded away afterwards."""
    if record.opened() is None:
        _choices()
    else:
        with st.expander("Open another recording", icon=":material/folder_open:"):
            _choices()


def _choices() -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.markdown("**Your own recording**")
        uploads = st.file_uploader(
            "An ECG or Holter: drop its file here, or all files of one recording together",
            accept_multiple_files=True,
            key=state.Opened.upload_round.key_of("uploads"),
            help="Files are read once, in memory; nothing of them stays on disk.",
        )
        st.caption(services.formats())
        given = [(file.file_id, file.name, file.getvalue) for file in uploads or []]
        _read_uploads(given)
        # Below the uploader, but filled last: reading the upload is what may go wrong.
        problem = st.empty()
    if given and len(state.Opened.records.value) > 1 and not state.Opened.record_name.value:
        _choose_record(given)
    elif given and state.Opened.table_waits.value:
        # What a file needs to be told is asked right below it, on narrow screens too.
        _ask(given)
    else:
        with right:
            st.markdown("**A sample to try**")
            with frame.guarded():
                for sample in resources.samples():
                    record.sample_row(sample)
            with frame.guarded():
                teaching.offer()
    with problem:
        frame.error(state.Opened.error.value)


def _read_uploads(uploads: list[Upload]) -> None:
    """Read new uploads once: a rerun with the same files must neither parse nor embed."""
    identity = tuple(file_id for file_id, _, _ in uploads)
    if not identity:
        state.forget(
            state.Opened.error,
            state.Opened.uploads_seen,
            state.Opened.table_waits,
            state.Opened.records,
            state.Opened.record_name,
            state.Opened.asks_why,
        )
    elif identity != state.Opened.uploads_seen.value:
        state.Opened.uploads_seen.value = identity
        state.forget(state.Opened.error, state.Opened.record_name)
        state.Opened.records.clear()
        state.Opened.table_waits.value = False
        looked = _looked(uploads, None)
        if looked is not None:
            state.Opened.records.value = looked.names
            if len(looked.names) < 2:
                _open_or_ask(looked)


def _looked(uploads: list[Upload], name: str | None) -> Looked | None:
    """What an upload is; None, and a sentence kept for the page, where looking was stopped."""
    try:
        with st.spinner("Reading the recording"):
            return gated(look, _files(uploads), name)
    except EchoingError as error:
        state.Opened.error.value = str(error)
        return None


def _open_or_ask(looked: Looked) -> None:
    """Open a recording, or have a person asked for what its file does not say."""
    state.Opened.asks_why.clear()
    state.Opened.table_waits.value = looked.is_table
    if looked.is_table:
        return

    def found() -> Recording:
        if looked.recording is None:
            raise looked.error or EchoingError("These files hold no recording.")
        return looked.recording

    def asks(found: Recording | EchoingError) -> bool:
        if isinstance(found, EchoingError):
            # Perhaps only something is not said: then there are numbers to look at.
            waits = looked.can_be_told
            if waits:
                state.Opened.asks_why.value = str(found)
        else:
            # Of X and Y without Z nothing has to be said: its refusal names what is missing.
            waits = not (services.has_leads(found) or set(FRANK_LEADS) & set(found.lead_names))
        state.Opened.table_waits.value = waits
        return waits

    record.read_and_show(found, asks)


def _choose_record(uploads: list[Upload]) -> None:
    """Which of several recordings among the files is to be opened."""
    names = state.Opened.records.value
    with st.container(border=True, key="record_chooser"):
        st.markdown(f"**These files hold {len(names)} recordings. Which one?**")
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            name = st.selectbox("Recording", names, key="which_record", width=320)
            pressed = st.button("Open this one", type="primary", key="open_record")
        st.caption("To look at many at once, use the batch page; to set two side by side, compare.")
    if pressed:
        state.Opened.record_name.value = name
        state.Opened.error.clear()
        looked = _looked(uploads, name)
        if looked is not None:
            _open_or_ask(looked)
        st.rerun()


def _ask(uploads: list[Upload]) -> None:
    """The form about the channels of an upload, until it is read."""
    name = state.Opened.record_name.value

    def look(way: SamplesIn | None) -> TablePreview:
        return gated(preview, _files(uploads), way, name)

    def read(seen: TablePreview, layout: TableLayout, told: Told) -> None:
        record.read_and_show(
            lambda: gated(
                services.read_recording,
                _files(uploads),
                record_name=name,
                layout=layout if seen.is_table else None,
                told=told,
            )
        )

    identity = "-".join([*(file_id for file_id, _, _ in uploads), name or ""])
    telling.form(look, identity, read, state.Opened.asks_why.value)


def _files(uploads: list[Upload]) -> list[tuple[str, bytes]]:
    return [(name, content()) for _, name, content in uploads]


def settings(current: record.OpenRecord) -> None:
    """A closed panel with stride and VCG method; a change looks at the recording again.

    Parameters
    ----------
    current : OpenRecord
    """
    box = frame.panel("Settings", ":material/tune:", "settings_panel")
    if box is not None:
        with box:
            _settings(current)


def _settings(current: record.OpenRecord) -> None:
    stride_s = st.selectbox(
        "Seconds between window starts",
        record.strides(current),
        index=record.strides(current).index(current.stride_s),
        format_func=lambda s: f"{s:g} s",
        key=state.Opened.round.key_of("stride"),
    )
    method = current.vcg_method
    if current.has_frank_leads and current.explanation.ecg.leads_with("derived"):
        method = st.selectbox(
            "12 leads from X, Y, Z by",
            list(VCG_METHODS),
            index=list(VCG_METHODS).index(method),
            format_func=VCG_METHODS.__getitem__,
            key=state.Opened.round.key_of("method"),
        )
    # Compared with how the recording was looked at: the boxes are drawn on every run.
    if (stride_s, method) != (current.stride_s, current.vcg_method):
        with frame.guarded():
            track = current.explanation.track
            record.look_again(
                current, stride_s, method, float(track.start_s[windows.chosen(track)])
            )
            st.rerun()
