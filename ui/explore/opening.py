"""Opening a recording: files, samples, what a table does not say of itself, and how to look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, LEADS
from echoing_core.services import TableLayout, TablePreview
from ui import frame, record, resources, state, windows

SamplesIn = Literal["rows", "columns"]
NOT_USED, TIME = "not used", "time"
UNITS = {"mV": "mV", "µV": "uV", "V": "V", "raw numbers": "counts"}
TIME_UNITS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us"}
EIGHT = ("I", "II", *LEADS[6:])
"""The leads that are stored where the other four are left to be worked out."""

_ROWS = {"rows": "one row is one moment", "columns": "one row is one lead"}
_SERIES = {"rows": "columns", "columns": "rows"}
# So many boxes to choose from are what a page can hold; a recorder has fewer channels.
_MOST = 32
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
            "An ECG or Holter: the file, or all files of one recording together",
            accept_multiple_files=True,
            key=state.Opened.upload_round.key_of("uploads"),
            help="Files are read once, in memory; nothing of them stays on disk.",
        )
        st.caption(services.formats())
        _read_uploads([(file.file_id, file.name, file.getvalue) for file in uploads or []])
        # Below the uploader, but filled last: reading the upload is what may go wrong.
        problem = st.empty()
    if uploads and state.Opened.table_waits.value:
        # What a table needs to be told is asked right below it, on narrow screens too.
        _ask_about_table([(file.file_id, file.name, file.getvalue) for file in uploads])
    else:
        with right:
            st.markdown("**A sample to try**")
            with frame.guarded():
                for sample in resources.samples():
                    record.sample_row(sample)
    with problem:
        frame.error(state.Opened.error.value)


def _read_uploads(uploads: list[tuple[str, str, Callable[[], bytes]]]) -> None:
    """Read new uploads once: a rerun with the same files must neither parse nor embed."""
    identity = tuple(file_id for file_id, _, _ in uploads)
    if not identity:
        state.forget(state.Opened.error, state.Opened.uploads_seen, state.Opened.table_waits)
    elif identity != state.Opened.uploads_seen.value:
        state.Opened.uploads_seen.value = identity
        state.Opened.error.clear()
        files = [(name, content()) for _, name, content in uploads]
        state.Opened.table_waits.value = _is_table(files)
        if not state.Opened.table_waits.value:
            record.read_and_show(lambda: services.read_recording(files))


def _ask_about_table(uploads: list[tuple[str, str, Callable[[], bytes]]]) -> None:
    """The form about the columns of an uploaded table, until it is read."""

    def files() -> list[tuple[str, bytes]]:
        return [(name, content()) for _, name, content in uploads]

    table_form(
        lambda way: services.table_preview(files(), way),
        "-".join(file_id for file_id, _, _ in uploads),
        lambda layout: record.read_and_show(
            lambda: services.read_recording(files(), layout=layout)
        ),
    )


def _is_table(files: list[tuple[str, bytes]]) -> bool:
    """Whether a person has to say what the columns are; what cannot be read at all is no table."""
    try:
        return services.table_preview(files) is not None
    except EchoingError:
        return False


def settings(current: record.OpenRecord) -> None:
    """Stride and VCG method; a change looks at the recording again.

    Parameters
    ----------
    current : OpenRecord
    """
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


def table_form(
    look: Callable[[SamplesIn | None], TablePreview | None],
    identity: str,
    read: Callable[[TableLayout], None],
) -> None:
    """Ask what the columns of a table are, show its first seconds, and read it.

    Parameters
    ----------
    look : callable
        Gives the preview with samples in ``"rows"``, in ``"columns"``, or (None) as it seems.
    identity : str
        Of the upload; the form of another one begins anew.
    read : callable
        Called with the layout when the person is done.
    """
    samples_in: state.Entry[SamplesIn | None] = state.Entry(f"rows_{identity}", None)
    preview: TablePreview | None = None
    with frame.guarded():
        preview = state.remembered(
            state.Opened.table_preview.key,
            (identity, samples_in.value),
            lambda: look(samples_in.value),
        )
    if preview is None:
        return
    with st.container(border=True, key="table_form"):
        st.markdown(f"**What are the numbers in {frame.literal(preview.file_name)}?**")
        st.caption(
            f"{preview.kind}, {len(preview.columns):,} {_SERIES[preview.samples_in]} of "
            f"{preview.n_samples:,} numbers. "
            "What the file says itself is filled in."
        )
        # The other direction has other columns, so the form has widgets of its own for it.
        key = f"{identity}_{preview.samples_in}"
        numbers, picture = st.container(), st.container()
        leads = _columns(preview, key)
        # The first that is called so; a second one is no lead either.
        time_column = next((i for i, lead in leads.items() if lead == TIME), None)
        with numbers:
            fs_hz, units, counts = _numbers(preview, key, by_time=time_column is not None)
        time_unit = preview.time_unit
        if time_column is not None and time_column != preview.time_column:
            words = st.selectbox("Times are in", list(TIME_UNITS), key=f"time_unit_{key}")
            time_unit = TIME_UNITS[words]
        with picture:
            # In seconds as soon as the rate is known.
            st.plotly_chart(
                figures.table_head(preview.first, [c.name for c in preview.columns], fs_hz),
                config={"displayModeBar": False, "staticPlot": True},
                theme=None,
                key=f"table_head_{key}",
            )
            st.caption("The first numbers of each as they stand in the file, not yet in mV.")
        if st.button("Open this recording", type="primary", key="read_table"):
            try:
                layout = TableLayout(
                    leads={i: lead for i, lead in leads.items() if lead not in (NOT_USED, TIME)},
                    units=units,
                    # Times say the rate themselves, and may not agree with what was typed.
                    fs_hz=fs_hz if time_column is None else None,
                    time_column=time_column,
                    time_unit=time_unit,
                    samples_in=preview.samples_in,
                    counts_per_mv=counts,
                )
                read(layout)
            except EchoingError as error:
                st.error(frame.literal(str(error)), icon=":material/error:")


def _numbers(
    preview: TablePreview, key: str, *, by_time: bool
) -> tuple[float | None, str, float | None]:
    """Sampling rate, unit of the numbers, and how many of them are 1 mV."""
    rate, unit, way = st.columns(3)
    with rate:
        fs_hz = st.number_input(
            "Samples per second (Hz)",
            min_value=0.0,
            max_value=10_000.0,
            value=preview.fs_hz,
            format="%g",
            placeholder="such as 500",
            disabled=by_time,
            key=f"fs_{key}",
            help=f"Taken from {frame.literal(preview.fs_from)}." if preview.fs_from else None,
        )
    counts: float | None = None
    with unit:
        words = list(UNITS)
        # Two characters look like a micro sign; files use either.
        stated = (preview.units or "").lower().replace("μ", "µ")
        index = next(
            (i for i, w in enumerate(words) if stated in (w.lower(), UNITS[w].lower())), None
        )
        chosen = st.selectbox(
            "Unit of the numbers", words, index=index, placeholder="choose", key=f"units_{key}"
        )
        if chosen == "raw numbers":
            counts = st.number_input(
                "Numbers for 1 mV", value=None, placeholder="such as 200", key=f"counts_{key}"
            )
    with way:
        # Columns of Parquet are named, so there is no doubt about the direction.
        if preview.kind != "Parquet":
            identity = key.rsplit("_", 1)[0]
            st.radio(
                "Direction",
                list(_ROWS),
                index=list(_ROWS).index(preview.samples_in),
                format_func=_ROWS.__getitem__,
                key=f"rows_{identity}",
            )
    return fs_hz, UNITS.get(chosen or "", ""), counts


def _columns(preview: TablePreview, key: str) -> dict[int, str]:
    """What each column is: a lead, the time, or not used."""
    columns = preview.columns[:_MOST]
    unnamed = [c for c in columns if not c.is_time]
    if not any(c.lead for c in columns):
        _in_order(unnamed_keys=[f"lead_{key}_{c.index}" for c in unnamed])
    options = [NOT_USED, TIME, *LEADS, *FRANK_LEADS]
    chosen: dict[int, str] = {}
    # As many beside one another as there is room for, on a phone two.
    with st.container(horizontal=True, gap="small"):
        for column in columns:
            guess = TIME if column.is_time else column.lead or NOT_USED
            widget = f"lead_{key}_{column.index}"
            entry = state.Entry(widget, guess)
            # Set here and not by `index`: the buttons of `_in_order` set it, too.
            if not entry.is_set:
                entry.value = guess
            name = column.name if len(column.name) <= 16 else f"{column.name[:15]}…"
            chosen[column.index] = st.selectbox(
                frame.literal(name) or "no name", options, key=widget, width=140
            )
    if len(preview.columns) > _MOST:
        st.caption(f"Only the first {_MOST} of {len(preview.columns)} columns can be chosen.")
    return chosen


def _in_order(unnamed_keys: Sequence[str]) -> None:
    """Buttons for the two orders in which leads are usually stored; a person says so, not we."""

    def fill(leads: Sequence[str]) -> None:
        for widget, lead in zip(unnamed_keys, leads, strict=False):
            state.Entry(widget, lead).value = lead

    st.caption(
        "The file does not name its leads. Choose them, or say that they come in this order:"
    )
    with st.container(horizontal=True, gap="small"):
        if len(unnamed_keys) >= len(LEADS):
            st.button(", ".join(LEADS), on_click=fill, args=(LEADS,), key="order_12")
        if len(unnamed_keys) >= len(EIGHT):
            st.button(", ".join(EIGHT), on_click=fill, args=(EIGHT,), key="order_8")
