"""What leaves the app: a report, and the track as a table."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import streamlit as st

from echoing_core import services
from echoing_core.services import Document, Explanation, span_words
from ui import by_hand, document_parts, ecg_paper, frame, record, state, windows
from ui.explore import measurements, review, session

if TYPE_CHECKING:
    from echoing_core.records import Recording, TextMark
    from echoing_core.services import Model
    from ui.document_parts import DocumentParts


def section(model: Model, current: record.OpenRecord, explanation: Explanation) -> None:
    """Everything that can be taken away from the open recording.

    Parameters
    ----------
    model : Model
    current : OpenRecord
    explanation : Explanation
    """
    session.restore_waiting(current, explanation)
    box = frame.panel("Take it away", ":material/download:", "take_away")
    if box is None:
        return
    with box:
        report, track, signal, saved = st.tabs(
            ["Report", "Table of windows", "Recording", "Session and link"]
        )
        with report, frame.guarded():
            _report(model, current, explanation)
        with track, frame.guarded():
            _track(model, current, explanation)
        with signal, frame.guarded():
            _recording(current, explanation)
        with saved, frame.guarded():
            session.section(current, explanation)


def _report(model: Model, current: record.OpenRecord, explanation: Explanation) -> None:
    st.caption(
        "The first page is to be read and signed: the ECG, what was measured, how sure the model "
        "is, and its answers; all else is an appendix. One file that opens anywhere without the "
        "internet and prints on A4 or Letter, with the ECG at 25 mm/s and 10 mm/mV. Names and "
        "dates of your files are never in it."
    )
    left, right = st.columns(2, gap="large")
    with left:
        name = services.clean_name(
            st.text_input(
                "Name in the report",
                value="recording",
                max_chars=60,
                key=state.Document.name.key,
                persist_state="session",
                help="The name of the file is not used, since it is often a person's.",
            )
        )
        chosen = _windows_to_print(explanation)
        sheet = st.segmented_control(
            "Sheet of the PDF", ("A4", "Letter"), default="A4", required=True, key="report_sheet",
            persist_state="session",
        )  # fmt: skip
    parts = document_parts.of(current.recording)
    with right:
        _listed_parts(parts)
        with_rhythm = True
        if current.recording.duration_s >= services.RHYTHM_FROM_S:
            with_rhythm = st.checkbox(
                "Rhythm: rate, kinds of beats, pauses, episodes",
                value=True,
                key="report_rhythm",
                persist_state="session",
                help="As under “Rhythm over time”. The beats of a day take half a minute to find.",
            )
        real_texts = False
        if any(not hit.simulated for found in parts.found for hit in found.hits):
            real_texts = st.checkbox(
                "Print the reports of real people that were found",
                key="report_real_texts",
                help="Such texts may hold names and dates. Read them before you hand them on.",
            )
    # Called only when a button is pressed, not on every run of the page.
    made = partial(
        services.make_document,
        model,
        explanation,
        chosen,
        name=name,
        recording=current.recording,
        # The document has two layouts of its own; any other on screen is printed lead under lead.
        layout="3x4" if ecg_paper.settings().get("layout", "3x4") == "3x4" else "12x1",
        answers=tuple(parts.asked),
        searches=tuple(parts.found),
        real_texts=real_texts,
        with_rhythm=with_rhythm,
    )
    made = partial(_document, made, _settings_words(), by_hand.kept_of(current.recording))
    stem = _stem(name)
    with st.container(horizontal=True, gap="small"):
        frame.download("Report as HTML", partial(_as_html, made), f"{stem}.html", "text/html")
        frame.download(
            "Report as PDF", partial(_as_pdf, made, sheet), f"{stem}.pdf", "application/pdf"
        )
        frame.download("Report as PNG", partial(_as_png, made), f"{stem}.png", "image/png")


def _document(made: partial[Document], settings: dict[str, str], kept: state.ByHand) -> Document:
    lines = services.caliper_lines(kept.calipers)
    return made(settings=settings | lines, by_hand=kept.wave_marks)


def _as_html(made: partial[Document]) -> bytes:
    return services.document_html(made()).encode()


def _as_pdf(made: partial[Document], sheet: str) -> bytes:
    return services.document_pdf(made(), "Letter" if sheet == "Letter" else "A4")


def _as_png(made: partial[Document]) -> bytes:
    return services.document_png(made())


def _windows_to_print(explanation: Explanation) -> list[int]:
    """The windows that get a sheet of ECG paper."""
    track = explanation.track
    least = services.extreme_windows(track, 1, surest=False)
    # Keys stay the same from recording to recording, so that a choice of kinds can be kept.
    candidates = {
        "chosen": windows.chosen(track),
        "surest": services.most_sure_window(track),
        **({"least": least[0]} if least else {}),
    }
    words = {"chosen": "the chosen one", "surest": "the surest", "least": "the least sure"}
    picked = st.pills(
        "Windows on ECG paper",
        list(candidates),
        selection_mode="multi",
        default=list(candidates),
        format_func=lambda kind: (
            f"{words[kind]}, {span_words(track, candidates[kind])}"
            if kind in candidates
            else words[kind]
        ),
        key="report_windows",
        persist_state="session",
        wrap=True,
    )
    # The chosen window may be the surest: one sheet is enough.
    return list(dict.fromkeys(candidates[kind] for kind in picked or [] if kind in candidates))


def _settings_words() -> dict[str, str]:
    hidden = windows.hide_above()
    told = {} if hidden >= 100 else {"Hidden on screen": f"windows above percentile {hidden:.0f}"}
    return told | review.mark_words()


def _listed_parts(parts: DocumentParts) -> None:
    st.markdown("**Added to the report**")
    listed: list[tuple[str, Literal["asked", "found"], int]] = [
        *((f"{len(a.answers)} answers about {a.about}", "asked", i)
          for i, a in enumerate(parts.asked)),
        *((f"{len(f.hits)} nearest to {f.query}", "found", i)
          for i, f in enumerate(parts.found)),
    ]  # fmt: skip
    if not listed:
        st.caption("Nothing yet. Ask and Retrieve have a button that adds their results.")
    for words, kind, number in listed:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(frame.literal(words), width="stretch")
            st.button(
                "Remove",
                key=f"report_remove_{kind}_{number}",
                help=f"Take out: {frame.literal(words)}",
                on_click=parts.listed(kind).pop,
                args=(number,),
            )


def _track(model: Model, current: record.OpenRecord, explanation: Explanation) -> None:
    name = services.clean_name(state.Document.name.value)
    stem = f"{_stem(name)}_uncertainty"
    shown = kept_explanation(explanation)
    n_hidden = len(explanation.track) - len(shown.track)
    st.caption(
        "One row for each window: when, how unsure, each lead's measured share and its part of "
        "sigma². JSON also holds the reasons of the surest and least sure windows."
        + (f" {n_hidden:,} windows above your threshold are left out." if n_hidden else "")
    )
    if not len(shown.track):
        st.info("The threshold hides every window. Raise it.", icon=":material/visibility_off:")
        return
    # File and channel names may be a person's; the name typed above takes their place.
    plain = services.deidentified(
        shown, name, (*current.recording.source_names, *current.recording.lead_names)
    )
    # Windows above the threshold are left out, so numbers are not the same in both tracks.
    here = float(explanation.track.start_s[windows.chosen(explanation.track)])
    near = windows.nearest(plain.track, here)
    with st.container(horizontal=True, gap="small"):
        frame.download("Download CSV", plain.csv_text, f"{stem}.csv", frame.CSV)
        frame.download("Download Parquet", plain.parquet_bytes, f"{stem}.parquet", frame.PARQUET)
        frame.download(
            "Download JSON",
            partial(services.track_json, model, plain, [near]),
            f"{stem}.json",
            frame.JSON,
        )


def _converted(
    recording: Recording, name: str, stem: str, marks: tuple[TextMark, ...], kept: state.ByHand
) -> bytes:
    told = sorted((*marks, *services.calipers_as_text(kept.calipers)), key=lambda mark: mark.at_s)
    return services.converted_download(recording, name, stem, told)


def _recording(current: record.OpenRecord, explanation: Explanation) -> None:
    st.caption(
        "The recording as it was measured, in another format. Gaps stay gaps, a remark says what "
        "the file was made of, and names and dates of your files are never in it."
    )
    stem = _stem(services.clean_name(state.Document.name.value))
    marks = services.marks_as_text(review.marks())
    moved = measurements.moved(current.recording, explanation)
    if moved is not None:
        marks += services.wave_marks_as_text(moved)
    kept = by_hand.kept_of(current.recording)
    with st.container(horizontal=True, gap="small"):
        for name, words in services.written_formats().items():
            frame.download(
                f"Recording as {words}",
                partial(_converted, current.recording, name, stem, marks, kept),
                services.download_name(name, stem),
                "application/octet-stream",
            )


def _stem(name: str) -> str:
    # Only letters, digits, - and _: it becomes the name of a file on any system.
    return "".join(c for c in name.replace(" ", "_") if c.isalnum() or c in "-_") or "recording"


def kept_explanation(explanation: Explanation) -> Explanation:
    """The explanation without the windows that the threshold hides, for exports.

    Its settings say what was hidden.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    Explanation
        ``explanation`` itself where nothing is hidden.
    """
    if windows.hide_above() >= 100:
        return explanation
    track = explanation.track
    rows = np.flatnonzero(windows.visible(track))
    by_lead, novelty = track.by_lead, track.novelty
    return dataclasses.replace(
        explanation,
        track=dataclasses.replace(
            track,
            start_s=track.start_s[rows],
            embedding=track.embedding[rows],
            uncertainty=track.uncertainty[rows],
            percentile=track.percentile[rows],
            valid_fraction=track.valid_fraction[rows],
            by_lead=None if by_lead is None else by_lead[rows],
            novelty=None if novelty is None else novelty[rows],
        ),
        settings={**explanation.settings, "hidden_above_percentile": windows.hide_above()},
    )
