"""The open recording: chosen once, kept for the whole session, never shared with another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, LEADS, Recording
from echoing_core.services import Explanation, Sample
from ui import frame, looking, opening, resources, seen, windows

logger = logging.getLogger(__name__)

VCG_METHODS = {
    "dower": "Dower synthesis",
    "kors_pinv": "Kors matrix, pseudo-inverse",
    "kors_gls": "Kors matrix, generalised least squares",
}
_STRIDES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_MOST_WINDOWS = 100_000


@dataclass(frozen=True, eq=False)
class OpenRecord:
    """A parsed recording, what the model says along it, and how it was asked."""

    recording: Recording
    explanation: Explanation
    stride_s: float
    vcg_method: str

    @property
    def has_frank_leads(self) -> bool:
        return set(FRANK_LEADS) <= set(self.recording.lead_names)


def opened() -> OpenRecord | None:
    """The open recording of this session, on whichever page."""
    record: OpenRecord | None = st.session_state.get("record")
    return record


def required(purpose: str, teaching: str) -> OpenRecord:
    """The open recording; without one, say what the page does and end it."""
    record = opened()
    if record is None:
        none_open(purpose, teaching)
        st.stop()
    return record


def none_open(purpose: str, teaching: str) -> None:
    """Say what would be here, that a recording is needed, and offer a sample at once."""
    with st.container(border=True, key="none_open"):
        st.markdown(teaching)
        st.info(f"Open a recording to {purpose} first.", icon=":material/folder_open:")
        st.page_link("pages/explore.py", label="Open a recording", icon=":material/ecg_heart:")
        with frame.guarded():
            _sample_row(resources.samples()[0])
    error: str | None = st.session_state.get("upload_error")
    if error is not None:
        st.error(frame.literal(error), icon=":material/error:")


def chooser() -> None:
    """Upload and samples: in the open while nothing is open, folded away afterwards."""
    if opened() is None:
        _choices()
    else:
        with st.expander("Open another recording", icon=":material/folder_open:"):
            _choices()


def _choices() -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.markdown("**Your own recording**")
        uploads = st.file_uploader(
            "An ECG or Holter: the file, or all files of one recording together",
            accept_multiple_files=True,
            key=f"uploads_{st.session_state.get('upload_round', 0)}",
            help="Files are read once, in memory; nothing of them stays on disk.",
        )
        opening.formats_caption()
        _read_uploads([(file.file_id, file.name, file.getvalue) for file in uploads or []])
        problem = st.empty()
    if uploads and st.session_state.get("table_waits"):
        # What a table needs to be told is asked right below it, on narrow screens too.
        _ask_about_table([(file.file_id, file.name, file.getvalue) for file in uploads])
    else:
        with right:
            st.markdown("**A sample to try**")
            with frame.guarded():
                for sample in resources.samples():
                    _sample_row(sample)
    error: str | None = st.session_state.get("upload_error")
    if error is not None:
        problem.error(frame.literal(error), icon=":material/error:")


def _sample_row(sample: Sample) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        pressed = st.button(sample.title, key=f"sample_{sample.sample_id}")
        if sample.simulated:
            frame.simulated_badge()
    st.caption(frame.literal(sample.description))
    if pressed:
        _forget_uploads()
        read_and_show(lambda: services.read_recording(sample.paths))


def _read_uploads(uploads: list[tuple[str, str, Callable[[], bytes]]]) -> None:
    """Read new uploads once: a rerun with the same files must neither parse nor embed."""
    identity = tuple(file_id for file_id, _, _ in uploads)
    if not identity:
        st.session_state.pop("upload_error", None)
        st.session_state.pop("uploads_seen", None)
        st.session_state.pop("table_waits", None)
    elif identity != st.session_state.get("uploads_seen"):
        st.session_state["uploads_seen"] = identity
        st.session_state.pop("upload_error", None)
        files = [(name, content()) for _, name, content in uploads]
        st.session_state["table_waits"] = _is_table(files)
        if not st.session_state["table_waits"]:
            read_and_show(lambda: services.read_upload(files))


def _ask_about_table(uploads: list[tuple[str, str, Callable[[], bytes]]]) -> None:
    """The form about the columns of an uploaded table, until it is read."""

    def files() -> list[tuple[str, bytes]]:
        return [(name, content()) for _, name, content in uploads]

    opening.table_form(
        lambda way: services.table_preview(files(), way),
        "-".join(file_id for file_id, _, _ in uploads),
        lambda layout: read_and_show(lambda: services.read_upload(files(), layout)),
    )


def _is_table(files: list[tuple[str, bytes]]) -> bool:
    """Whether a person has to say what the columns are; what cannot be read at all is no table."""
    try:
        return services.table_preview(files) is not None
    except EchoingError:
        return False


def _forget_uploads() -> None:
    # A widget cannot be emptied; one with another key starts empty.
    st.session_state["upload_round"] = st.session_state.get("upload_round", 0) + 1
    st.session_state.pop("upload_error", None)
    st.session_state.pop("uploads_seen", None)
    for name in ("table_waits", "table_preview"):
        st.session_state.pop(name, None)


def read_and_show(read: Callable[[], Recording]) -> None:
    """Read a recording, embed it and keep both, or keep the sentence that says why not."""
    model = resources.model()
    st.session_state.pop("upload_error", None)
    try:
        with st.spinner("Reading the recording"):
            recording = read()
        record = _embed(recording, services.fitting_stride_s(recording.duration_s), "dower")
    except EchoingError as error:
        st.session_state["upload_error"] = str(error)
        return
    except Exception:
        logger.exception("unexpected error while a recording was read")
        st.session_state["upload_error"] = (
            "These files could not be read, for a reason that this program did not expect. "
            "Export the recording again, or choose another one."
        )
        return
    logger.info("opened a recording of %.0f s with model %s", recording.duration_s, model.name)
    keep(record)
    _forget_uploads()
    st.rerun()


def keep(record: OpenRecord, near_s: float | None = None) -> None:
    """Make this the open recording, at its surest window or at the one nearest to a time."""
    track = record.explanation.track
    surest = services.most_sure_window(track)
    window = surest if near_s is None else int(np.abs(track.start_s - near_s).argmin())
    st.session_state["record"] = record
    st.session_state["window"] = window
    st.session_state["record_round"] = st.session_state.get("record_round", 0) + 1


def _embed(recording: Recording, stride_s: float, vcg_method: str) -> OpenRecord:
    explanation = looking.first_look(resources.model(), recording, stride_s, vcg_method)
    return OpenRecord(recording, explanation, stride_s, vcg_method)


def strides(record: OpenRecord) -> list[float]:
    """Seconds between window starts that this recording can be looked at with."""
    duration_s = record.recording.duration_s
    possible = {s for s in _STRIDES_S if duration_s / s <= _MOST_WINDOWS}
    return sorted({*possible, record.stride_s})


def look_again(record: OpenRecord, stride_s: float, vcg_method: str, near_s: float) -> None:
    """Look at the open recording with another stride or method, and keep the place."""
    keep(_embed(record.recording, stride_s, vcg_method), near_s=near_s)


def settings(record: OpenRecord) -> None:
    """Stride and VCG method; a change looks at the recording again."""
    stride_s = st.selectbox(
        "Seconds between window starts",
        strides(record),
        index=strides(record).index(record.stride_s),
        format_func=lambda s: f"{s:g} s",
        key=f"stride_{st.session_state.get('record_round', 0)}",
    )
    method = record.vcg_method
    if record.has_frank_leads and record.explanation.ecg.leads_with("derived"):
        method = st.selectbox(
            "12 leads from X, Y, Z by",
            list(VCG_METHODS),
            index=list(VCG_METHODS).index(method),
            format_func=VCG_METHODS.__getitem__,
            key=f"method_{st.session_state.get('record_round', 0)}",
        )
    if (stride_s, method) != (record.stride_s, record.vcg_method):
        with frame.guarded():
            start_s = record.explanation.track.start_s[windows.chosen(record.explanation.track)]
            look_again(record, stride_s, method, float(start_s))
            st.rerun()


def summary(record: OpenRecord) -> None:
    """One line that says what the recording is, and what the reader noted about it."""
    recording, ecg = record.recording, record.explanation.ecg
    parts = [f"**{frame.literal(recording.record_id)}**", frame.literal(recording.file_format)]
    parts.append(f"{recording.fs_hz:g} → {ecg.fs_hz:g} Hz")
    short = recording.duration_s < 60
    parts.append(f"{recording.duration_s:.1f} s" if short else figures.clock(recording.duration_s))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(" · ".join(parts), width="content")
        if recording.simulated:
            frame.simulated_badge()
        for words, colour in lead_badges(record):
            st.badge(words, color=colour)
    for caution in record.explanation.cautions:
        st.warning(frame.literal(caution), icon=":material/warning:")
    seen.section(recording, ecg)


def lead_badges(record: OpenRecord) -> list[tuple[str, Literal["green", "blue", "gray"]]]:
    """What is measured, derived and missing, in words short enough for one line each."""
    ecg = record.explanation.ecg
    badges: list[tuple[str, Literal["green", "blue", "gray"]]] = []
    measured, derived = ecg.leads_with("measured"), ecg.leads_with("derived")
    missing = ecg.leads_with("missing")
    if measured:
        words = "all 12 leads" if len(measured) == len(LEADS) else ", ".join(measured)
        badges.append((f"measured: {words}", "green"))
    if derived:
        words = "all 12 leads" if len(derived) == len(LEADS) else ", ".join(derived)
        how = f" ({frame.literal(ecg.derivation)})" if ecg.derivation else ""
        badges.append((f"derived: {words}{how}", "blue"))
    if missing:
        badges.append((f"not recorded: {', '.join(missing)}", "gray"))
    return badges
