"""Choosing an echocardiogram: clips of one's own, or the one that belongs to a sample."""

from __future__ import annotations

import logging
from collections.abc import Callable

import streamlit as st

from echoing_core import services
from echoing_core.errors import EchoingError
from echoing_core.services import OpenedEcho, Sample
from ui import frame, record, resources, state
from ui.openings import through

logger = logging.getLogger(__name__)


def opened() -> state.ReadEcho | None:
    """The echocardiogram of this session."""
    return state.Echo.read.value


def chooser(current: record.OpenRecord | None) -> None:
    """Upload and samples: in the open while nothing is read, folded away afterwards.

    Parameters
    ----------
    current : OpenRecord or None
    """
    if opened() is None:
        _choices(current)
    else:
        with st.expander("Choose another echocardiogram", icon=":material/folder_open:"):
            _choices(current)


def teaching(current: record.OpenRecord | None) -> None:
    """What will stand here, while nothing is read.

    Parameters
    ----------
    current : OpenRecord or None
    """
    with st.container(border=True):
        st.markdown(
            "The echo teacher reads the frames of a clip or of a whole study: an ejection "
            "fraction, three findings, and how much the frames differ. Beside an open ECG it is "
            "then said whether the ECG’s own answers agree with the echocardiogram, and how far "
            "the two lie apart where the model shares the teacher’s space."
        )
        if current is None:
            st.info(
                "Open a recording on Explore to hold it against an echocardiogram; without one, "
                "the echocardiogram is read by itself.",
                icon=":material/folder_open:",
            )


def _choices(current: record.OpenRecord | None) -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.markdown("**Your own echocardiogram**")
        uploads = st.file_uploader(
            "Clips of one study: AVI, or ultrasound DICOM",
            accept_multiple_files=True,
            key=state.Echo.round.key_of("echo_files"),
            help="Clips are read once and kept in memory; nothing of them stays on disk.",
        )
        st.caption(
            "Up to 20 frames of each clip are read, every second from the first, as ECHO-CLIP does."
        )
    with right:
        st.markdown("**A sample to try**")
        for sample in resources.samples():
            if sample.echo_paths:
                _sample(sample, current)
    identity = tuple(file.file_id for file in uploads or [])
    if not identity:
        # The person took the files away: what was wrong with them no longer matters.
        if state.Echo.uploads_seen.take():
            state.Echo.error.clear()
    elif identity != state.Echo.uploads_seen.value:
        state.Echo.uploads_seen.value = identity
        files = [(file.name, file.getvalue()) for file in uploads or []]
        _read(lambda: services.read_echo(files, resources.echo_reader(), through=through()))
    frame.error(state.Echo.error.value)


def _sample(sample: Sample, current: record.OpenRecord | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        pressed = st.button(
            f"Echocardiogram of: {sample.title}", key=f"echo_sample_{sample.sample_id}"
        )
        frame.simulated_badge()
    st.caption(
        f"{len(sample.echo_paths)} views of the simulated heart whose ECG is the sample "
        f"“{frame.literal(sample.title)}”."
    )
    if current is None:
        # Both of one heart at once: the comparison is what there is to see.
        both = st.button("Open its ECG", key=f"echo_ecg_{sample.sample_id}")
        if both:
            record.read_and_show(lambda: services.read_recording(sample.paths))
        frame.error(state.Opened.error.value)
    if pressed:
        _read(lambda: services.read_echo(sample.echo_paths, resources.echo_reader()))


def _read(read: Callable[[], OpenedEcho]) -> None:
    """Read an echocardiogram and keep it, or keep the sentence that says why not."""
    state.Echo.error.clear()
    try:
        with st.spinner("Reading the echocardiogram"):
            found = read()
            # The teacher computes on the same cores as the model.
            with resources.turn():
                reading = resources.echo_reader().read(found.study)
    except EchoingError as error:
        state.Echo.error.value = str(error)
        return
    except Exception:
        logger.exception("unexpected error while an echocardiogram was read")
        state.Echo.error.value = (
            "These clips could not be read, for a reason that this program did not expect. Export "
            "them again, or choose others."
        )
        return
    state.Echo.read.value = state.ReadEcho(found, reading)
    state.Echo.round.begin_anew()
    state.Echo.uploads_seen.clear()
    st.rerun()
