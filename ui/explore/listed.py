"""Windows and uncertain stretches to jump to, as tables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from echoing_core.services import UNSURE_PERCENTILE, Explanation
from ui import frame, state, windows
from ui.explore import overview

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.services import FlaggedInterval, Model, WindowReasons

_N_ROWS = 10


def tables(model: Model, explanation: Explanation) -> None:
    """Least sure, surest and uncertain stretches as a table; a row chosen is a window chosen.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    """
    if len(explanation.track) < 2:
        return
    intervals = overview.flagged(model, explanation)
    names = {
        "least": "Least sure windows",
        "most": "Surest windows",
        "stretches": f"Uncertain stretches ({len(intervals)})",
    }
    box = frame.panel("Windows and stretches as a table", ":material/table_rows:", "listed_panel")
    if box is None:
        return
    with box:
        kind = st.segmented_control(
            "Table of",
            list(names),
            format_func=names.__getitem__,
            default="least",
            required=True,
            key=state.Explore.listed_kind.key,
            persist_state="session",
        )
        table, windows_of = (
            _stretch_table(intervals)
            if kind == "stretches"
            else _window_table(model, explanation, surest=kind == "most")
        )
        if table.empty:
            st.info(
                f"No window of this recording is at percentile {UNSURE_PERCENTILE:.0f} or above.",
                icon=":material/check_circle:",
            )
            return
        # A selection belongs to the recording and to the kind of table that it was made in.
        key = state.Opened.round.key_of(f"listed_{kind}")
        st.dataframe(
            table,
            hide_index=True,
            on_select=partial(_take_row, key, windows_of),
            selection_mode="single-row",
            key=key,
            column_config={"Reason": st.column_config.TextColumn(width="large")},
        )
        st.caption(
            f"Stretches: windows in a row at percentile {UNSURE_PERCENTILE:.0f} or above; the "
            "reason is that of the least sure window. Choose a row to go there; click on a heading "
            "to sort."
            if kind == "stretches"
            else "Choose a row to go to that window; click on a heading to sort."
        )


def _take_row(key: str, windows_of: list[int]) -> None:
    row = state.selected_row(key)
    if row is not None:
        overview.jump(windows_of[row])


def _with_reasons(
    model: Model, explanation: Explanation, *, surest: bool
) -> tuple[list[int], dict[int, WindowReasons]]:
    numbers = services.extreme_windows(explanation.track, _N_ROWS, surest=surest)
    return numbers, services.window_reasons(model, explanation, numbers)


def _window_table(
    model: Model, explanation: Explanation, *, surest: bool
) -> tuple[pd.DataFrame, list[int]]:
    import pandas as pd

    track = explanation.track
    # Reasons cost some milliseconds each, and the page runs at every click.
    known = state.remembered(
        f"map_listed_{'most' if surest else 'least'}",
        (track,),
        lambda: _with_reasons(model, explanation, surest=surest),
    )
    numbers, reasons = known
    shown = windows.visible(track)
    table = pd.DataFrame(
        {
            "Time": [figures.clock(float(track.start_s[i])) for i in numbers],
            "Percentile": [round(float(track.percentile[i])) for i in numbers],
            "Reason": [reasons[i].sentence for i in numbers],
        }
    )
    # The column appears only where the threshold hides something.
    if not shown.all():
        table.insert(2, "Shown", ["yes" if shown[i] else "hidden" for i in numbers])
    return table, numbers


def _stretch_table(intervals: tuple[FlaggedInterval, ...]) -> tuple[pd.DataFrame, list[int]]:
    import pandas as pd

    return pd.DataFrame(
        {
            "From": [figures.clock(t.interval.start_s) for t in intervals],
            "To": [figures.clock(t.interval.end_s) for t in intervals],
            "Seconds": [round(t.interval.duration_s) for t in intervals],
            "Percentile": [round(t.interval.percentile) for t in intervals],
            "Cause": [overview.CAUSES.get(t.kind, "not looked for") for t in intervals],
            "Reason": [t.sentence for t in intervals],
        }
    ), [t.interval.worst for t in intervals]
