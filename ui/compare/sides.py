"""The two windows that are compared: which recordings, which times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, Recording
from echoing_core.services import (
    Explanation,
    TableLayout,
    TablePreview,
    Told,
    heart_beats,
    percentile_words,
)
from echoing_core.services.reading import preview
from echoing_core.services.uploads import look
from ui import ecg_paper, frame, resources, state, telling, windows
from ui.openings import gated
from ui.record import OpenRecord

if TYPE_CHECKING:
    from echoing_core.records import WindowTrack
    from echoing_core.services import Model, WindowReasons

TWO, TIMES = "recordings", "times"
_KINDS = {TWO: "Two recordings", TIMES: "Two times of this recording"}
Letter = Literal["A", "B"]
# The same two on badges throughout the page.
COLOURS: dict[Letter, Literal["blue", "orange"]] = {"A": "blue", "B": "orange"}


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two windows.

    Attributes
    ----------
    letter : {"A", "B"}
    record : OpenRecord
    window : int
        Number of the window in its track.
    report : WindowReasons
        Of that window.
    """

    letter: Letter
    record: OpenRecord
    window: int
    report: WindowReasons

    @property
    def explanation(self) -> Explanation:
        return self.record.explanation

    @property
    def percentile(self) -> float:
        """Uncertainty percentile of the window; NaN where nothing was recorded."""
        return float(figures.shown_percentile(self.track)[self.window])

    @property
    def start_s(self) -> float:
        return float(self.explanation.track.start_s[self.window])

    @property
    def track(self) -> WindowTrack:
        return self.explanation.track


def second(model: Model, current: OpenRecord) -> OpenRecord | None:
    """What the open recording is compared with; None while that is not chosen.

    Parameters
    ----------
    model : Model
    current : OpenRecord
        Side A.

    Returns
    -------
    OpenRecord or None
        ``current`` itself where two of its times are compared.
    """
    kind = st.segmented_control(
        "Compare",
        list(_KINDS),
        format_func=_KINDS.__getitem__,
        default=TWO,
        required=True,
        key=state.Compare.kind.key,
        persist_state="session",
    )
    if kind == TIMES:
        # Two times need two windows.
        if len(current.explanation.track) < 2:
            st.info(
                "This recording is one window long. Compare it with another one.",
                icon=":material/info:",
            )
            return None
        return current
    other = state.Compare.second.value
    if other is None:
        _choices(model, current)
    else:
        with st.expander("Choose another second recording (B)", icon=":material/folder_open:"):
            _choices(model, current)
    frame.error(state.Compare.error.value)
    return other


def _choices(model: Model, current: OpenRecord) -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.markdown("**The second recording (B)**")
        uploads = st.file_uploader(
            "All files of one recording together",
            accept_multiple_files=True,
            key=state.Compare.round.key_of("compare_files"),
            help="Files are read once, in memory; nothing of them stays on disk.",
        )
        st.button(
            "Keep the open recording as B, and open another as A on Explore",
            key="compare_keep",
            on_click=_keep,
            args=(current,),
        )
    with right:
        st.markdown("**Or a sample**")
        with st.container(horizontal=True, gap="small"):
            for sample in resources.samples():
                if st.button(sample.title, key=f"compare_{sample.sample_id}"):
                    _take(model, partial(services.read_recording, sample.paths))
        if any(sample.simulated for sample in resources.samples()):
            frame.simulated_badge("the samples are simulated")
    identity = tuple(file.file_id for file in uploads or [])
    files = [(file.name, file.getvalue()) for file in uploads or []]
    if not identity:
        # The person took the files away: what was wrong with them no longer matters.
        if state.Compare.uploads_seen.take():
            state.forget(state.Compare.error, state.Compare.waits)
    elif identity != state.Compare.uploads_seen.value:
        state.Compare.uploads_seen.value = identity
        _open_or_ask(model, files)
    if identity and state.Compare.waits.value:
        _ask(model, files, "compare-" + "-".join(identity))


def _open_or_ask(model: Model, files: list[tuple[str, bytes]]) -> None:
    """Read the second recording, or have a person asked for what its files do not say."""
    state.forget(state.Compare.error, state.Compare.waits, state.Compare.asks_why)
    try:
        looked = gated(look, files, None)
        found = looked.recording
        if len(looked.names) > 1:
            # Of several recordings, reading says that one has to be chosen.
            found = gated(services.read_recording, files)
    except EchoingError as error:
        state.Compare.error.value = str(error)
        return
    unnamed = found is not None and not (
        services.has_leads(found) or set(FRANK_LEADS) & set(found.lead_names)
    )
    if looked.is_table or looked.can_be_told or unnamed:
        state.Compare.waits.value = True
        state.Compare.asks_why.value = str(looked.error or "")
    elif found is not None:
        _take(model, lambda: found)
    else:
        state.Compare.error.value = str(looked.error)


def _ask(model: Model, files: list[tuple[str, bytes]], identity: str) -> None:
    """The form about the channels of the second recording, until it is read."""

    def read(seen: TablePreview, layout: TableLayout, told: Told) -> None:
        # Refused, the form stays, and says why.
        recording = gated(
            services.read_recording, files, layout=layout if seen.is_table else None, told=told
        )
        state.Compare.waits.value = False
        _take(model, lambda: recording)

    telling.form(
        lambda way: gated(preview, files, way, None), identity, read, state.Compare.asks_why.value
    )


def _keep(other: OpenRecord) -> None:
    state.Compare.second.value = other
    state.Compare.error.clear()


def _take(model: Model, read: Callable[[], Recording]) -> None:
    """Read and look at the second recording, in steps between which a click is served."""
    state.Compare.error.clear()
    place = st.empty()
    try:
        with place.container():
            bar = st.progress(0.0, text="Reading the recording")
        recording = read()
        # Filtering a day takes seconds too, so it waits for its turn like the embedding.
        with resources.turn():
            job = services.ExplainJob(model, recording)
        # The first round is enough for a comparison; a long recording gets no second one here.
        while not job.has_overview:
            with resources.turn():
                job.step()
            bar.progress(job.done / job.total, text="Looking at every window")
    except EchoingError as error:
        state.Compare.error.value = str(error)
        return
    # A cancel ends the script by an exception; the bar must not stay behind.
    finally:
        place.empty()
    stride_s = services.fitting_stride_s(recording.duration_s)
    _keep(OpenRecord(recording, job.explanation(), stride_s, "dower"))
    state.Compare.round.begin_anew()
    state.Compare.uploads_seen.clear()
    st.rerun()


def side(model: Model, letter: Letter, record: OpenRecord, *, same: bool) -> Side:
    """Choose a window of one recording, and say how sure the model is there.

    Parameters
    ----------
    model : Model
    letter : {"A", "B"}
    record : OpenRecord
    same : bool
        Both sides are one recording, so B begins at its least sure window.

    Returns
    -------
    Side
    """
    explanation = record.explanation
    track = explanation.track
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(letter, color=COLOURS[letter])
        st.markdown(f"**{frame.literal(explanation.recording_id)}**", width="content")
        if explanation.ecg.simulated:
            frame.simulated_badge()
    st.caption(_whole_words(explanation))
    for caution in explanation.cautions:
        st.warning(frame.literal(caution), icon=":material/warning:")
    window = _window(letter, track, least_sure=same and letter == "B")
    percentile = float(figures.shown_percentile(track)[window])
    # By track and window: side B keeps its reasons while A is changed.
    report = state.remembered(
        f"compare_report_{letter}",
        (track, window),
        lambda: services.window_reasons(model, explanation, [window])[window],
    )
    if not math.isfinite(percentile):
        st.warning("Nothing was recorded in this window.", icon=":material/signal_disconnected:")
        return Side(letter, record, window, report)
    st.markdown(f"**Uncertainty percentile {percentile:.0f}**: {percentile_words(percentile)}.")
    st.markdown(frame.literal(report.sentence))
    beats = heart_beats(explanation.ecg, float(track.start_s[window]))
    st.caption(ecg_paper.rate_words(beats) or "Heart rate cannot be told here.")
    return Side(letter, record, window, report)


def _whole_words(explanation: Explanation) -> str:
    """Length, leads, and how sure the model is along the whole recording."""
    ecg = explanation.ecg
    short = ecg.duration_s < 60
    words = [f"{ecg.recorded_s:.1f} s" if short else figures.clock(ecg.duration_s)]
    for origin, name in (("measured", "measured"), ("derived", "derived")):
        leads = ecg.leads_with(origin)
        if leads:
            words.append(f"{name}: {'all 12 leads' if len(leads) == 12 else ', '.join(leads)}")
    missing = ecg.leads_with("missing")
    if missing:
        words.append(f"not recorded: {', '.join(missing)}")
    shown = figures.shown_percentile(explanation.track)
    # Windows without signal have no percentile.
    shown = shown[np.isfinite(shown)]
    if shown.size > 1:
        words.append(
            f"percentile along the whole recording: {np.median(shown):.0f} in the middle, "
            f"{shown.min():.0f} to {shown.max():.0f}"
        )
    return " · ".join(words)


def _window(letter: Letter, track: WindowTrack, *, least_sure: bool) -> int:
    """The chosen window: at first that of Explore for A; for B the surest, or the least sure."""
    if len(track) < 2:
        st.caption("One window of ten seconds.")
        return 0
    entry = state.Compare.window(letter)
    known = entry.value
    # Another recording, stride or closer look has windows of its own.
    if known is None or known[0] is not track:
        if letter == "A":
            index = windows.chosen(track)
        else:
            index = services.extreme_windows(track, 1, surest=not least_sure)[0]
        known = entry.value = (track, index)
    window = known[1]

    def choose(index: int) -> None:
        entry.value = (track, index)

    windows.slider(f"{letter}: window starts at", track, window, choose, key=f"{entry.key}_start")
    with st.container(horizontal=True, gap="small"):
        for words, surest in (("Surest", True), ("Least sure", False)):
            st.button(
                f"{words} window of {letter}",
                key=f"{entry.key}_{'best' if surest else 'worst'}",
                on_click=choose,
                args=(services.extreme_windows(track, 1, surest=surest)[0],),
            )
    return window
