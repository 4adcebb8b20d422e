"""The form in which a person says what a file does not: leads, sampling rate, unit, direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.records import FRANK_LEADS, LEADS
from echoing_core.services import TableLayout, TablePreview, Told
from ui import frame, state

SamplesIn = Literal["rows", "columns"]
Said = tuple[TableLayout, set[int]]
"""What was said of a file, and which of its columns are upside down."""

NOT_USED, TIME = "not used", "time"
UNITS = {"mV": "mV", "µV": "uV", "V": "V", "raw numbers": "counts"}
TIME_UNITS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us"}
EIGHT = ("I", "II", *LEADS[6:])
"""The leads that are stored where the other four are left to be worked out."""

_PAGES = {
    "": "at the same time",
    "3x4": "one after the other: 3 rows, 4 columns",
    "6x2": "one after the other: 6 rows, 2 columns",
}
_LONGEST_COLUMN_S = 6.0
_ROWS = {"rows": "one row is one moment", "columns": "one row is one lead"}
_SERIES = {"rows": "columns", "columns": "rows"}
# So many boxes to choose from are what a page can hold; a recorder has fewer channels.
_MOST = 32


def form(
    look: Callable[[SamplesIn | None], TablePreview | None],
    identity: str,
    read: Callable[[TablePreview, TableLayout, Told], None],
    why: str = "",
) -> None:
    """Ask what the channels of a recording are, show its first seconds, and read it.

    What the file says is filled in, what it does not say is guessed where there is a sensible
    guess, and what was said of a file with the same channels before comes first. Nothing of that
    is taken before the person agrees.

    Parameters
    ----------
    look : callable
        Gives the preview; of a table with samples in ``"rows"``, in ``"columns"``, or (None) as
        it seems.
    identity : str
        Of the upload; the form of another one begins anew.
    read : callable
        Called with the preview, the layout and what else was said, when the person is done.
    why : str, optional
        What could not be read without being told.
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
        what = "numbers" if preview.is_table else "channels"
        st.markdown(f"**What are the {what} in {frame.literal(preview.file_name)}?**")
        series = _SERIES[preview.samples_in] if preview.is_table else "channels"
        st.caption(
            f"{preview.kind}, {len(preview.columns):,} {series} of "
            f"{preview.n_samples:,} numbers. "
            "What the file says itself is filled in."
        )
        if why:
            st.info(frame.literal(why), icon=":material/help:")
        channels = tuple(c.name for c in preview.columns)
        before = state.Opened.said.value.get(channels)
        if before is not None:
            st.caption("The rest is filled in as you said it of the last file with these channels.")
        elif guessed := [c for c in preview.columns if c.guess and not c.lead]:
            words = ", ".join(f"{frame.literal(c.name)} as {c.guess}" for c in guessed)
            st.caption(f"Guessed by what is usual, so check it: {words}.")
        # The other direction has other columns, so the form has widgets of its own for it.
        key = f"{identity}_{preview.samples_in}"
        numbers, picture = st.container(), st.container()
        leads, turned = _columns(preview, key, before)
        # The first that is called so; a second one is no lead either.
        time_column = next((i for i, lead in leads.items() if lead == TIME), None)
        with numbers:
            fs_hz, units, counts = _numbers(preview, key, before, by_time=time_column is not None)
        time_unit = preview.time_unit
        if time_column is not None and time_column != preview.time_column:
            words = st.selectbox("Times are in", list(TIME_UNITS), key=f"time_unit_{key}")
            time_unit = TIME_UNITS[words]
        with picture:
            # In seconds as soon as the rate is known.
            frame.chart(
                figures.table_head(preview.first, [c.name for c in preview.columns], fs_hz),
                key=f"table_head_{key}",
                alt="The first numbers of each column.",
                config={"displayModeBar": False, "staticPlot": True},
            )
            unit = "in mV" if preview.units == "mV" and not preview.is_table else "not yet in mV"
            st.caption(f"The first numbers of each as they stand in the file, {unit}.")
        page = _page(preview, fs_hz, key)
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
                told = services.told_by_layout(preview, layout, turned & set(layout.leads))
                if page:
                    told = dataclasses.replace(told, printed=page)
                state.Opened.said.value[channels] = (layout, turned)
                read(preview, layout, told)
            except EchoingError as error:
                st.error(frame.literal(str(error)), icon=":material/error:")


def _page(preview: TablePreview, fs_hz: float | None, key: str) -> str:
    """Whether the leads follow one another as on a printed page; asked of short leads alone."""
    is_short = fs_hz is not None and 0 < preview.n_samples <= _LONGEST_COLUMN_S * fs_hz
    if not (preview.needs_page or is_short):
        return ""
    pages = [page for page in _PAGES if page or not preview.needs_page]
    return st.selectbox(
        "The leads were recorded",
        pages,
        format_func=_PAGES.__getitem__,
        key=f"page_{key}",
        width=420,
        help="A printed page shows 2.5 or 5 s of each lead, one column after the other; a rhythm "
        "strip below it lasts as long as the page.",
    )


def _numbers(
    preview: TablePreview, key: str, before: Said | None, *, by_time: bool
) -> tuple[float | None, str, float | None]:
    """Sampling rate, unit of the numbers, and how many of them are 1 mV."""
    rate, unit, way = st.columns(3)
    with rate:
        fs_hz = st.number_input(
            "Samples per second (Hz)",
            min_value=0.0,
            max_value=10_000.0,
            value=preview.fs_hz or (before[0].fs_hz if before else None),
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
        stated = preview.units or (before[0].units if before else "")
        stated = stated.lower().replace("μ", "µ")
        index = next(
            (i for i, w in enumerate(words) if stated in (w.lower(), UNITS[w].lower())), None
        )
        chosen = st.selectbox(
            "Unit of the numbers", words, index=index, placeholder="choose", key=f"units_{key}"
        )
        if chosen == "raw numbers":
            counts = st.number_input(
                "Numbers for 1 mV",
                value=before[0].counts_per_mv if before else None,
                placeholder="such as 200",
                key=f"counts_{key}",
            )
    with way:
        # Columns of Parquet are named, so there is no doubt about the direction.
        if preview.is_table and preview.kind != "Parquet":
            identity = key.rsplit("_", 1)[0]
            st.radio(
                "Direction",
                list(_ROWS),
                index=list(_ROWS).index(preview.samples_in),
                format_func=_ROWS.__getitem__,
                key=f"rows_{identity}",
            )
    return fs_hz, UNITS.get(chosen or "", ""), counts


def _columns(
    preview: TablePreview, key: str, before: Said | None
) -> tuple[dict[int, str], set[int]]:
    """What each column is: a lead, the time, or not used; and which are upside down."""
    columns = preview.columns[:_MOST]
    unnamed = [c for c in columns if not c.is_time]
    if not any(c.lead or c.guess for c in columns):
        _in_order(unnamed_keys=[f"lead_{key}_{c.index}" for c in unnamed])
    options = [NOT_USED, *([TIME] if preview.is_table else []), *LEADS, *FRANK_LEADS]
    taken = {c.lead for c in columns if c.lead}
    chosen: dict[int, str] = {}
    # As many beside one another as there is room for, on a phone two.
    with st.container(horizontal=True, gap="small"):
        for column in columns:
            guess = TIME if column.is_time else column.lead or NOT_USED
            if before is not None and not column.lead and not column.is_time:
                guess = before[0].leads.get(column.index, NOT_USED)
            elif guess == NOT_USED and column.guess:
                # A guess never takes a lead away from a channel that says it.
                guessed = column.guess.removeprefix("-")
                guess = NOT_USED if guessed in taken else guessed
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
    named = [c for c in columns if chosen[c.index] not in (NOT_USED, TIME)]
    if not named:
        return chosen, set()
    turned = st.pills(
        "Recorded upside down",
        [c.index for c in named],
        selection_mode="multi",
        default=[
            c.index
            for c in named
            if (before is not None and c.index in before[1])
            or (before is None and not c.lead and (c.guess or "").startswith("-"))
        ],
        format_func=lambda i: f"{preview.columns[i].name} ({chosen[i]})",
        key=f"turned_{key}",
    )
    return chosen, set(turned or [])


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
