"""Two windows beside each other: of two recordings, or of one at two times."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.export.document.content import interval_words, percent_words
from echoing_core.records import WINDOW_S, Recording
from echoing_core.services import Explanation
from echoing_core.services.heart_rate import window_beats
from echoing_core.services.report import percentile_words
from ui import asked, ecg_paper, frame, resources, windows

if TYPE_CHECKING:
    from echoing_core.records import WindowTrack
    from echoing_core.services import AnswerPair, LeadPair, Model, PromptSet, WindowReport
    from ui.record import OpenRecord

TWO, TIMES = "recordings", "times"
_KINDS = {TWO: "Two recordings", TIMES: "Two times of this recording"}
_SECOND = "compare_second"
_DAY_ONE = datetime(2000, 1, 1)
_COLOURS = {"A": "blue", "B": "orange"}


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two windows."""

    letter: str
    explanation: Explanation
    window: int
    report: WindowReport

    @property
    def start_s(self) -> float:
        return float(self.explanation.track.start_s[self.window])

    @property
    def track(self) -> WindowTrack:
        return self.explanation.track


def second(model: Model, current: OpenRecord) -> Explanation | None:
    """What the open recording is compared with; None while that is not chosen."""
    kind = st.segmented_control(
        "Compare",
        list(_KINDS),
        format_func=_KINDS.__getitem__,
        default=TWO,
        required=True,
        key="compare_kind",
        persist_state="session",
    )
    if kind == TIMES:
        if len(current.explanation.track) < 2:
            st.info(
                "This recording is one window long. Compare it with another one.",
                icon=":material/info:",
            )
            return None
        return current.explanation
    kept: Explanation | None = st.session_state.get(_SECOND)
    if kept is None:
        _choices(model, current)
    else:
        with st.expander("Choose another second recording (B)", icon=":material/folder_open:"):
            _choices(model, current)
    error = st.session_state.get("compare_error")
    if error is not None:
        st.error(frame.literal(error), icon=":material/error:")
    return kept


def _choices(model: Model, current: OpenRecord) -> None:
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.markdown("**The second recording (B)**")
        uploads = st.file_uploader(
            "All files of one recording together",
            accept_multiple_files=True,
            key=f"compare_files_{st.session_state.get('compare_round', 0)}",
            help="Files are read once, in memory; nothing of them stays on disk.",
        )
        st.button(
            "Keep the open recording as B, and open another as A on Explore",
            key="compare_keep",
            on_click=_keep,
            args=(current.explanation,),
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
    if not identity:
        if st.session_state.pop("compare_seen", None):
            st.session_state.pop("compare_error", None)
    elif identity != st.session_state.get("compare_seen"):
        st.session_state["compare_seen"] = identity
        files = [(file.name, file.getvalue()) for file in uploads or []]
        _take(model, lambda: services.read_upload(files))


def _keep(explanation: Explanation) -> None:
    st.session_state[_SECOND] = explanation
    st.session_state.pop("compare_error", None)


def _take(model: Model, read: Callable[[], Recording]) -> None:
    """Read and look at the second recording, in steps between which a click is served."""
    st.session_state.pop("compare_error", None)
    place = st.empty()
    try:
        with place.container():
            bar = st.progress(0.0, text="Reading the recording")
        recording = read()
        with resources.turn():
            job = services.Looking(model, recording)
        while not job.has_picture:
            with resources.turn():
                job.step()
            bar.progress(job.done / job.total, text="Looking at every window")
    except EchoingError as error:
        st.session_state["compare_error"] = str(error)
        return
    finally:
        place.empty()
    _keep(job.explanation())
    st.session_state["compare_round"] = st.session_state.get("compare_round", 0) + 1
    st.session_state.pop("compare_seen", None)
    st.rerun()


def side(model: Model, letter: str, explanation: Explanation, *, same: bool) -> Side:
    """Choose a window of one recording, and say how sure the model is there."""
    track = explanation.track
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(letter, color=_COLOURS[letter])  # type: ignore[arg-type]
        st.markdown(f"**{frame.literal(explanation.recording_id)}**", width="content")
        if explanation.ecg.simulated:
            frame.simulated_badge()
    st.caption(_whole_words(explanation))
    for caution in explanation.cautions:
        st.warning(frame.literal(caution), icon=":material/warning:")
    window = _window(letter, track, least_sure=same and letter == "B")
    percentile = float(figures.shown_percentile(track)[window])
    report = _known(
        f"report_{letter}",
        (track, window),
        lambda: services.window_report(model, explanation, window),
    )
    if not math.isfinite(percentile):
        st.warning("Nothing was recorded in this window.", icon=":material/signal_disconnected:")
        return Side(letter, explanation, window, report)
    st.markdown(f"**Uncertainty percentile {percentile:.0f}**: {percentile_words(percentile)}.")
    st.markdown(frame.literal(report.sentence))
    beats = window_beats(explanation.ecg, float(track.start_s[window]))
    st.caption(ecg_paper.rate_words(beats) or "Heart rate cannot be told here.")
    return Side(letter, explanation, window, report)


def _whole_words(explanation: Explanation) -> str:
    """Length, leads, and how sure the model is along the whole recording."""
    ecg = explanation.ecg
    short = ecg.duration_s < 60
    words = [f"{ecg.duration_s:.1f} s" if short else figures.clock(ecg.duration_s)]
    for origin, name in (("measured", "measured"), ("derived", "derived")):
        leads = ecg.leads_with(origin)
        if leads:
            words.append(f"{name}: {'all 12 leads' if len(leads) == 12 else ', '.join(leads)}")
    missing = ecg.leads_with("missing")
    if missing:
        words.append(f"not recorded: {', '.join(missing)}")
    shown = figures.shown_percentile(explanation.track)
    shown = shown[np.isfinite(shown)]
    if shown.size > 1:
        words.append(
            f"percentile along the whole recording: {np.median(shown):.0f} in the middle, "
            f"{shown.min():.0f} to {shown.max():.0f}"
        )
    return " · ".join(words)


def _window(letter: str, track: WindowTrack, *, least_sure: bool) -> int:
    """The chosen window: at first that of Explore for A; for B the surest, or the least sure."""
    if len(track) < 2:
        st.caption("One window of ten seconds.")
        return 0
    key = f"compare_{letter}"
    known = st.session_state.get(key)
    if known is None or known[0] is not track:
        if letter == "A":
            index = windows.chosen(track)
        else:
            index = services.extreme_windows(track, 1, surest=not least_sure)[0]
        known = (track, index)
        st.session_state[key] = known
    window = int(known[1])
    clock = st.session_state[f"{key}_start"] = _DAY_ONE + timedelta(
        seconds=float(track.start_s[window])
    )
    long = track.start_s[-1] >= 3600
    st.slider(
        f"{letter}: window starts at",
        min_value=_DAY_ONE + timedelta(seconds=float(track.start_s[0])),
        max_value=_DAY_ONE + timedelta(seconds=float(track.start_s[-1])),
        step=timedelta(seconds=float(np.diff(track.start_s).min())),
        format=("[day] D " if track.start_s[-1] >= 86400 else "")
        + ("HH:mm:ss" if long else "mm:ss"),
        key=f"{key}_start",
        on_change=_take_slider,
        args=(letter, track, clock),
    )
    with st.container(horizontal=True, gap="small"):
        for words, surest in (("Surest", True), ("Least sure", False)):
            st.button(
                f"{words} window of {letter}",
                key=f"{key}_{'best' if surest else 'worst'}",
                on_click=_jump,
                args=(letter, track, services.extreme_windows(track, 1, surest=surest)[0]),
            )
    return window


def _take_slider(letter: str, track: WindowTrack, before: datetime) -> None:
    now = st.session_state[f"compare_{letter}_start"]
    wanted = (now - _DAY_ONE).total_seconds()
    index = int(np.abs(track.start_s - wanted).argmin())
    if now != before and index == st.session_state[f"compare_{letter}"][1]:
        # Where windows lie farther apart than a step, a step must still lead to the next one.
        index += 1 if now > before else -1
    _jump(letter, track, min(max(index, 0), len(track) - 1))


def _jump(letter: str, track: WindowTrack, index: int) -> None:
    st.session_state[f"compare_{letter}"] = (track, index)


def _known(name: str, of: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What was worked out before, kept in this session alone."""
    kept: tuple[tuple[Any, ...], Any] | None = st.session_state.get(f"compare_known_{name}")
    # Tracks and models are equal to themselves alone.
    if kept is None or kept[0] != of:
        kept = (of, make())
        st.session_state[f"compare_known_{name}"] = kept
    return kept[1]


# Nothing of an upload: distances within the collection that every session searches.
@st.cache_resource(show_spinner="Measuring the collection")
def _between_people() -> npt.NDArray[np.float64]:
    return services.distances_between_people(resources.index())


def distance(one: Side, other: Side) -> None:
    """How far the windows are apart, on scales that mean something."""
    apart = services.windows_apart(one.track, one.window, other.track, other.window)
    st.subheader("How alike are they to the model?", anchor=False)
    if one.explanation is other.explanation and one.window == other.window:
        st.info("Both are the same window. Choose another time for one of them.")
        return
    people = services.share_nearer(apart.csd, _between_people())
    lines = []
    if math.isfinite(people):
        st.markdown(f"**{alike_words(people)}**")
        farther = f"{100 - people:.0f} of 100" if people <= 99 else "fewer than 1 of 100"
        lines.append(
            "Ten seconds of two different people of the demo collection (simulated) lie farther "
            f"apart than these two in **{farther}** cases."
        )
    sides = (one,) if one.explanation is other.explanation else (one, other)
    short = []
    for at in sides:
        scale = _known(
            f"within_{at.letter}",
            (at.track,),
            partial(services.distances_within, at.explanation),
        )
        share = services.share_nearer(apart.csd, scale)
        which = "this recording" if len(sides) == 1 else f"recording {at.letter}"
        if math.isfinite(share):
            lines.append(
                f"Two windows within {which} lie nearer together than these two in "
                f"**{share:.0f} of 100** cases."
            )
        else:
            short.append(at.letter)
    if short:
        lines.append(
            f"{' and '.join(short)} {'is' if len(short) == 1 else 'are'} too short to say how far "
            "windows of one recording lie from each other."
        )
    st.markdown("\n".join(f"- {line}" for line in lines))
    st.caption(
        f"Distance (CSD) {apart.csd:.3f}: {apart.means:.3f} between the means and "
        f"{apart.spread:.3f} from the uncertainty of both. Where a window is unsure, it lies far "
        "from everything."
    )


def alike_words(people: float) -> str:
    """What a percentile among distances of different people means."""
    if people < 5:
        return "Much alike: nearer than nearly all ECGs of two people."
    if people < 25:
        return "Alike: nearer than most ECGs of two people."
    if people < 75:
        return "As different as the ECGs of two people usually are."
    return "More different than the ECGs of two people usually are."


def answers(model: Model, one: Side, other: Side) -> None:
    """The same questions to both."""
    st.subheader("Answers to the same questions", anchor=False)
    chosen = asked.choose("compare_questions", "Questions to ask of both")
    if not chosen:
        st.caption("Choose at least one question.")
        return
    often = _known("asked", (model, chosen), partial(_ask_often, model, chosen))
    pairs = services.answers_beside(often, one.track, one.window, other.track, other.window)
    st.html(
        _scrolling(
            ("Question", "A", "B", "B less A", "Intervals"),
            [_answer_row(pair) for pair in pairs],
            "Answers of the model to the same questions in both windows",
        )
    )
    st.caption(
        "In brackets the 90 % interval: how far an answer might move with a cleaner or fuller "
        "recording. “Apart”: the intervals have nothing in common. The probabilities are no risks "
        "of a patient."
    )
    frame.training_note(model)


def _ask_often(model: Model, chosen: tuple[PromptSet, ...]) -> services.AskedOften:
    with resources.turn():
        return services.AskedOften(model, chosen)


def _answer_row(pair: AnswerPair) -> tuple[str, ...]:
    points = round(100 * pair.difference)
    return (
        pair.one.question,
        _answer_words(pair.one.probability, pair.one.interval, pair.one.verdict),
        _answer_words(pair.other.probability, pair.other.interval, pair.other.verdict),
        "same" if points == 0 else f"{points:+d} points".replace("-", "\u2212"),
        "apart" if pair.apart else "overlap",
    )


def _scrolling(heads: tuple[str, ...], rows: list[tuple[str, ...]], label: str) -> str:
    """A table of plain text that keeps its lines whole and scrolls in its own box."""
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        "<style>.beside{overflow-x:auto}.beside table{border-collapse:collapse;width:100%}"
        ".beside th,.beside td{padding:.35rem 1.2rem .35rem 0;text-align:left;white-space:nowrap;"
        "border-bottom:1px solid rgba(128,128,128,.3)}.beside tbody th{font-weight:400;"
        "white-space:normal;min-width:8rem}.beside thead th{font-weight:600}</style>"
        f'<div class="beside" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _answer_words(probability: float, interval: tuple[float, float], verdict: str) -> str:
    share = percent_words(probability)
    return f"{share} ({interval_words(*interval)}), {verdict}"


def leads(model: Model, one: Side, other: Side) -> None:
    """Which leads the model is unsure of in one of the two alone."""
    st.subheader("Where do they differ in uncertainty?", anchor=False)
    pairs = services.leads_beside(model, one.track, one.window, other.track, other.window)
    if not pairs:
        st.caption("This model does not tell which leads its uncertainty comes from.")
        return
    differing = [pair for pair in pairs if pair.differs]
    if not differing:
        st.markdown("No lead is much less sure in one of the two than in the other.")
    else:
        st.markdown("\n".join(f"- {words}" for words in lead_words(differing)))
    with st.expander("All leads"):
        st.html(
            _scrolling(
                ("Lead", "A", "B", "B less A"),
                [
                    (
                        pair.lead,
                        _level(pair.one),
                        _level(pair.other),
                        ""
                        if math.isnan(pair.difference)
                        else f"{pair.difference:+.0f}".replace("-", "\u2212"),
                    )
                    for pair in pairs
                ],
                "Uncertainty percentile of each lead in both windows",
            )
        )
        st.caption("Percentile of a window whose leads were all like this one.")


def lead_words(differing: list[LeadPair]) -> list[str]:
    """Leads in sentences: recorded in one alone, surer in A, surer in B."""
    groups: tuple[tuple[str, Callable[[LeadPair], bool]], ...] = (
        ("Recorded in A alone", lambda p: math.isnan(p.other)),
        ("Recorded in B alone", lambda p: math.isnan(p.one)),
        ("Less sure in A", lambda p: p.difference < 0),
        ("Less sure in B", lambda p: p.difference > 0),
    )
    lines = []
    for words, belongs in groups:
        mine = [p for p in differing if belongs(p)]
        if not mine:
            continue
        if words.startswith("Recorded"):
            told = [p.lead for p in mine]
        else:
            mine.sort(key=lambda p: -abs(p.difference))
            told = [f"{p.lead} (A {p.one:.0f}, B {p.other:.0f})" for p in mine]
        lines.append(f"{words}: {', '.join(told)}.")
    return lines


def _level(percentile: float) -> str:
    return "not recorded" if math.isnan(percentile) else f"{percentile:.0f}"


def papers(one: Side, other: Side) -> None:
    """Both windows on paper of one scale, one under the other, so that times align."""
    st.subheader("Both on the same paper", anchor=False)
    for at in (one, other):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(at.letter, color=_COLOURS[at.letter])  # type: ignore[arg-type]
            begin = figures.clock(at.start_s, tenths=at.track.stride_s < 1)
            end = figures.clock(at.start_s + WINDOW_S, tenths=at.track.stride_s < 1)
            name = frame.literal(at.explanation.recording_id)
            st.markdown(f"**{name}**, {begin} to {end}", width="content")
            if at.explanation.ecg.simulated:
                frame.simulated_badge()
        _paper(at)
    st.caption("A change of layout, speed, gain or zoom goes for both.")


def _paper(at: Side) -> None:
    beats = window_beats(at.explanation.ecg, at.start_s)
    data = ecg_paper.window_data(at.explanation.ecg, at.start_s, beats, at.report)
    key = f"compare_paper_{at.letter}"
    with st.container(key=f"ecg_{key}"):
        ecg_paper._component(
            key=f"{key}_drawn",
            data={
                **data,
                "window": f"{at.letter}:{id(at.track)}:{at.start_s:.3f}",
                "round": st.session_state.get("paper_round", 0),
                "settings": ecg_paper.settings(),
            },
            on_settings_change=lambda: _take_settings(f"{key}_drawn"),
        )


def _take_settings(key: str) -> None:
    """Keep what was set on one paper, for the other one as well."""
    ecg_paper.restore(st.session_state[key].get("settings"))
