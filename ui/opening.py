"""A table that does not say what its columns are, and a person who does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, LEADS
from echoing_core.services import TableLayout, TablePreview
from ui import frame

SamplesIn = Literal["rows", "columns"]
NOT_USED, TIME = "not used", "time"
UNITS = {"mV": "mV", "µV": "uV", "V": "V", "raw numbers": "counts"}
TIME_UNITS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us"}
EIGHT = ("I", "II", *LEADS[6:])
_ROWS = {"rows": "one row is one moment", "columns": "one row is one lead"}
_SERIES = {"rows": "columns", "columns": "rows"}
_MOST = 32


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
    preview = _preview(look, identity)
    if preview is None:
        return
    with st.container(border=True, key="table_form"):
        st.markdown(f"**What are the numbers in {frame.literal(preview.file_name)}?**")
        st.caption(
            f"{preview.kind}, {len(preview.columns):,} {_SERIES[preview.samples_in]} of "
            f"{preview.n_samples:,} numbers. "
            "What the file says itself is filled in."
        )
        key = f"{identity}_{preview.samples_in}"
        numbers, picture = st.container(), st.container()
        leads = _columns(preview, key)
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
                    fs_hz=fs_hz if time_column is None else None,
                    time_column=time_column,
                    time_unit=time_unit,
                    samples_in=preview.samples_in,
                    counts_per_mv=counts,
                )
                read(layout)
            except EchoingError as error:
                st.error(frame.literal(str(error)), icon=":material/error:")


def _preview(
    look: Callable[[SamplesIn | None], TablePreview | None], identity: str
) -> TablePreview | None:
    """The preview, taken once for each upload and direction."""
    asked: SamplesIn | None = st.session_state.get(f"rows_{identity}")
    kept = st.session_state.get("table_preview")
    if kept is None or kept[0] != (identity, asked):
        with frame.guarded():
            kept = ((identity, asked), look(asked))
            st.session_state["table_preview"] = kept
    return kept[1] if kept is not None and kept[0] == (identity, asked) else None


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
            if widget not in st.session_state:
                st.session_state[widget] = guess
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
            st.session_state[widget] = lead

    st.caption(
        "The file does not name its leads. Choose them, or say that they come in this order:"
    )
    with st.container(horizontal=True, gap="small"):
        if len(unnamed_keys) >= len(LEADS):
            st.button(", ".join(LEADS), on_click=fill, args=(LEADS,), key="order_12")
        if len(unnamed_keys) >= len(EIGHT):
            st.button(", ".join(EIGHT), on_click=fill, args=(EIGHT,), key="order_8")


def formats_caption() -> None:
    """What can be opened, in small print."""
    st.caption(services.formats())
