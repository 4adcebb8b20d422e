"""What leaves the app: a report, the track as a table, a session file, a link."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import numpy as np
import streamlit as st

from echoing_core import services
from echoing_core.errors import EchoingError
from echoing_core.records import Answer, Hit, Recording
from echoing_core.services import Asked, Explanation, Found, Report, Session
from ui import ecg_paper, frame, kept, record, windows

if TYPE_CHECKING:
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.services import Model

_PAGES = {"": "Explore", "ask": "Ask", "retrieve": "Retrieve"}
_MOST_PARTS = 6
_ITEM, _SHOWN = "ECG ", 40
_JSON, _CSV, _HTML, _PDF, _PNG = (
    "application/json", "text/csv", "text/html", "application/pdf", "image/png",
)  # fmt: skip
_PARQUET = "application/vnd.apache.parquet"


def section(model: Model, current: record.OpenRecord, explanation: Explanation) -> None:
    """Everything that can be taken away from the open recording."""
    _restore_waiting(current, explanation)
    with st.expander("Take it away", icon=":material/download:", key="take_away"):
        report, track, session = st.tabs(["Report", "Table of windows", "Session and link"])
        with report, frame.guarded():
            _report(model, current, explanation)
        with track, frame.guarded():
            _track(model, current, explanation)
        with session, frame.guarded():
            _session(current, explanation)


# The report


def _report(model: Model, current: record.OpenRecord, explanation: Explanation) -> None:
    st.caption(
        "One file that opens anywhere without the internet and prints on A4, with the ECG at "
        "25 mm/s and 10 mm/mV. Names and dates of your files are never in it."
    )
    left, right = st.columns(2, gap="large")
    with left:
        name = services.clean_name(
            st.text_input(
                "Name in the report",
                value="recording",
                max_chars=60,
                key="report_name",
                persist_state="session",
                help="The name of the file is not used, since it is often a person's.",
            )
        )
        chosen = _windows_to_print(explanation)
    parts = _parts(current.recording)
    with right:
        _listed_parts(parts)
        real_texts = False
        if any(not hit.simulated for found in parts["found"] for hit in found.hits):
            real_texts = st.checkbox(
                "Print the reports of real people that were found",
                key="report_real_texts",
                help="Such texts may hold names and dates. Read them before you hand them on.",
            )
    made = partial(
        services.make_report,
        model,
        explanation,
        chosen,
        name=name,
        recording=current.recording,
        layout="3x4" if ecg_paper.settings().get("layout") == "3x4" else "12x1",
        asked=tuple(parts["asked"]),
        found=tuple(parts["found"]),
        real_texts=real_texts,
        settings=_settings_words(),
    )
    stem = _stem(name)
    with st.container(horizontal=True, gap="small"):
        _download("Report as HTML", partial(_as_html, made), f"{stem}.html", _HTML)
        _download("Report as PDF", partial(_as_pdf, made), f"{stem}.pdf", _PDF)
        _download("Report as PNG", partial(_as_png, made), f"{stem}.png", _PNG)


def _as_html(made: partial[Report]) -> bytes:
    return services.report_html(made()).encode()


def _as_pdf(made: partial[Report]) -> bytes:
    return services.report_pdf(made())


def _as_png(made: partial[Report]) -> bytes:
    return services.report_png(made())


def _windows_to_print(explanation: Explanation) -> list[int]:
    """The windows that get a sheet of ECG paper."""
    track = explanation.track
    least = services.extreme_windows(track, 1, surest=False)
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
            f"{words[kind]}, {windows.span_words(track, candidates[kind])}"
            if kind in candidates
            else words[kind]
        ),
        key="report_windows",
        persist_state="session",
        wrap=True,
    )
    return list(dict.fromkeys(candidates[kind] for kind in picked or [] if kind in candidates))


def _settings_words() -> dict[str, str]:
    hidden = windows.hide_above()
    return {} if hidden >= 100 else {"Hidden on screen": f"windows above percentile {hidden:.0f}"}


def _parts(recording: Recording) -> dict[str, Any]:
    """What was added to the report of this recording; another one starts without."""
    parts: dict[str, Any] | None = st.session_state.get("report_parts")
    if parts is None or parts["recording"] is not recording:
        parts = {"recording": recording, "asked": [], "found": []}
        st.session_state["report_parts"] = parts
    return parts


def _listed_parts(parts: dict[str, Any]) -> None:
    st.markdown("**Added to the report**")
    listed = [
        *((f"{len(a.answers)} answers about {a.about}", "asked", i)
          for i, a in enumerate(parts["asked"])),
        *((f"{len(f.hits)} nearest to {f.query}", "found", i)
          for i, f in enumerate(parts["found"])),
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
                on_click=parts[kind].pop,
                args=(number,),
            )


def window_words(current: record.OpenRecord, start_s: float | None) -> str:
    """``"the window 00:10 to 00:20"``; without a start, the surest one."""
    track = current.explanation.track
    if start_s is None:
        surest = services.most_sure_window(track)
        return f"the surest window, {windows.span_words(track, surest)}"
    near = int(np.abs(track.start_s - start_s).argmin())
    return f"the window {windows.span_words(track, near)}"


def add_answers(
    current: record.OpenRecord,
    answers: Sequence[Answer],
    about: str,
    notes: Sequence[str] = (),
) -> None:
    """A button that puts answers into the report of the open recording.

    Parameters
    ----------
    about : str
        What was asked, as it follows "Questions about": ``"the window 00:10 to 00:20"``.
    """
    _add_button(current, "asked", Asked(about, tuple(answers), tuple(notes)))


def add_hits(
    current: record.OpenRecord | None, index: GalleryIndex, hits: Sequence[Hit], query: str
) -> None:
    """A button that puts the hits of a search into the report of the open recording.

    Parameters
    ----------
    query : str
        From what was searched, as it follows "nearest to".
    """
    # An ECG of a collection of one's own bears the name of its file.
    real = index.items.loc[~index.items["simulated"].astype(bool), "record_id"].astype(str)
    if query.removeprefix(_ITEM) in set(real.str[: _SHOWN - len(_ITEM)]):
        query = "an ECG of the collection"
    made_with = str(index.card["checkpoint_hash"])[:12]
    collection = f"{len(index):,} items, embedded by model {made_with}…"
    _add_button(current, "found", Found(query, tuple(hits), collection))


def _add_button(current: record.OpenRecord | None, kind: str, part: Asked | Found) -> None:
    there = current is not None and part in _parts(current.recording)[kind]
    words = "In the report" if there else "Add to the report"
    st.button(
        words,
        key=f"report_add_{kind}",
        icon=":material/check:" if there else ":material/note_add:",
        disabled=there or current is None,
        help="Open a recording first: a report is about one."
        if current is None
        else "The report is made on Explore, under “Take it away”.",
        on_click=_add,
        args=(current, kind, part),
    )


def _add(current: record.OpenRecord, kind: str, part: Asked | Found) -> None:
    mine = _parts(current.recording)[kind]
    # The same question asked again, with other wording, takes the place of the old one.
    name = "about" if kind == "asked" else "query"
    mine[:] = [p for p in mine if getattr(p, name) != getattr(part, name)][-(_MOST_PARTS - 1) :]
    mine.append(part)


# The table of windows


def _track(model: Model, current: record.OpenRecord, explanation: Explanation) -> None:
    name = services.clean_name(st.session_state.get("report_name", ""))
    stem = f"{_stem(name)}_uncertainty"
    shown = windows.kept_explanation(explanation)
    n_hidden = len(explanation.track) - len(shown.track)
    st.caption(
        "One row for each window: when, how unsure, each lead's measured share and its part of "
        "sigma². JSON also holds the reasons of the surest and least sure windows."
        + (f" {n_hidden:,} windows above your threshold are left out." if n_hidden else "")
    )
    if not len(shown.track):
        st.info("The threshold hides every window. Raise it.", icon=":material/visibility_off:")
        return
    plain = services.deidentified(
        shown, name, (*current.recording.source_names, *current.recording.lead_names)
    )
    here = float(explanation.track.start_s[windows.chosen(explanation.track)])
    near = int(np.abs(plain.track.start_s - here).argmin())
    with st.container(horizontal=True, gap="small"):
        _download("Download CSV", plain.csv_text, f"{stem}.csv", _CSV)
        _download("Download Parquet", plain.parquet_bytes, f"{stem}.parquet", _PARQUET)
        _download(
            "Download JSON",
            partial(services.track_json, model, plain, [near]),
            f"{stem}.json",
            _JSON,
        )


def _download(words: str, made: Any, name: str, mime: str) -> None:
    # What is downloaded is made when the button is pressed, not on every rerun.
    st.download_button(
        words, made, name, mime, on_click="ignore", icon=":material/download:",
        key=f"download_{words.replace(' ', '_').lower()}",
    )  # fmt: skip


def _stem(name: str) -> str:
    return "".join(c for c in name.replace(" ", "_") if c.isalnum() or c in "-_") or "recording"


# Sessions and links


def _session(current: record.OpenRecord, explanation: Explanation) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Session file**")
        st.caption(
            "Keeps the window, the stride, your questions with their wording, filters, layout and "
            "search words as you typed them. Of the recording it keeps no sample and no name, "
            "only a code by which the same samples are known again."
        )
        track = explanation.track
        asked = Session(
            settings=kept.collect(),
            own_questions=kept.own_questions(),
            window_start_s=float(track.start_s[windows.chosen(track)]),
            stride_s=current.stride_s,
            vcg_method=current.vcg_method,
        )
        saved = partial(_session_bytes, asked, current.recording)
        _download("Save session", saved, "session.json", _JSON)
        opener()
    with right:
        st.markdown("**Link**")
        st.caption(
            "Leads to this page, window and layout. It holds no recording and no text: whoever "
            "follows it opens the recording there."
        )
        page = st.selectbox("Page", list(_PAGES), format_func=_PAGES.__getitem__, key="link_page")
        st.code(address(page, current, explanation), language=None, wrap_lines=True)


def _session_bytes(asked: Session, recording: Recording) -> bytes:
    key = secrets.token_bytes(16)
    bound = Session(
        settings=asked.settings,
        own_questions=asked.own_questions,
        window_start_s=asked.window_start_s,
        stride_s=asked.stride_s,
        vcg_method=asked.vcg_method,
        key=key.hex(),
        fingerprint=services.fingerprint(recording, key),
    )
    return services.session_text(bound, kept.TABLE).encode()


def address(page: str, current: record.OpenRecord, explanation: Explanation) -> str:
    """A link to a page as it is now, with listed choices and numbers alone."""
    place = {
        "window_s": float(explanation.track.start_s[windows.chosen(explanation.track)]),
        "stride_s": current.stride_s,
    }
    query = services.link_query(place, kept.PLACE)
    query |= services.link_query(kept.collect(), kept.TABLE)
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
        key=_upload_key(),
        on_change=_take_file,
        help="It sets questions, filters and layout, and the window once its recording is open.",
    )
    for key, show, icon in (
        ("session_error", st.error, ":material/error:"),
        ("session_note", st.info, ":material/history:"),
    ):
        words: str | None = st.session_state.get(key)
        if words is not None:
            show(frame.literal(words), icon=icon)
    if "session_of_another" in st.session_state:
        st.button("Use its questions, filters and layout here", on_click=_use_anyway)


def resume() -> None:
    """Where a session file is opened while no recording is."""
    words = "Go on with a saved session"
    with st.expander(words, icon=":material/history:", expanded="session_note" in st.session_state):
        opener()


def _upload_key() -> str:
    return f"session_file_{st.session_state.get('session_round', 0)}"


def _take_file() -> None:
    upload = st.session_state.get(_upload_key())
    for key in ("session_error", "session_note", "session_of_another", "session_waiting"):
        st.session_state.pop(key, None)
    if upload is None:
        return
    try:
        _take(services.read_session(upload.getvalue(), kept.TABLE))
    except EchoingError as error:
        st.session_state["session_error"] = str(error)
    # An empty uploader, so that the same file can be opened once more.
    st.session_state["session_round"] = st.session_state.get("session_round", 0) + 1


def _take(session: Session) -> None:
    current = record.opened()
    if current is not None and session.bound and not session.belongs_to(current.recording):
        st.session_state["session_of_another"] = session
        st.session_state["session_note"] = (
            "This session was made with another recording than the open one, so nothing was "
            "changed. Open its recording, then the session again."
        )
        return
    kept.restore(session.settings, session.own_questions)
    st.session_state["session_waiting"] = session
    if current is None:
        st.session_state["session_note"] = (
            "Questions, filters and layout are back. Open the recording of this session, and its "
            "window will be, too."
            if session.bound
            else "Questions, filters and layout are back."
        )


def _use_anyway() -> None:
    session: Session = st.session_state.pop("session_of_another")
    kept.restore(session.settings, session.own_questions)
    st.session_state["session_note"] = "Questions, filters and layout are back."


def _restore_waiting(current: record.OpenRecord, explanation: Explanation) -> None:
    """Go to the window of a session file or a link, once its recording is open."""
    session: Session | None = st.session_state.pop("session_waiting", None)
    if session is None:
        return
    if session.bound and not session.belongs_to(current.recording):
        st.session_state["session_note"] = (
            "The session that you opened was made with another recording than this one: its "
            "questions, filters and layout are back, its window is not."
        )
        return
    if session.bound:
        st.session_state["session_note"] = "The session is back as it was saved."
    stride_s = session.stride_s
    if stride_s not in record.strides(current):
        stride_s = current.stride_s
    method = session.vcg_method or current.vcg_method
    start_s = session.window_start_s
    if start_s is None or start_s > current.recording.duration_s:
        start_s = float(explanation.track.start_s[windows.chosen(explanation.track)])
    if (stride_s, method) != (current.stride_s, current.vcg_method):
        with frame.guarded():
            record.look_again(current, stride_s, method, start_s)
    else:
        near = int(np.abs(explanation.track.start_s - start_s).argmin())
        st.session_state["window"] = near
    st.rerun()
