"""What a batch found: progress, table, failures, one recording opened, downloads.

The page asks how far the batch is once a second: a thread may not draw.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from echoing_core import services
from echoing_core.records import LEADS, Answer
from echoing_core.services import (
    CALIBRATION_NOTE,
    BatchFailure,
    BatchItem,
    BatchJob,
    BatchRow,
)
from ui import frame, record, state
from ui.batch.files import forget, megabytes
from ui.openings import gated

if TYPE_CHECKING:
    from echoing_core.services import Model

# Seconds between two looks at the job; more often would draw the table while it is read.
_EVERY_S = 1.0
# A page of thousands of sentences would freeze the browser; the download has them all.
_MOST_REASONS = 100
_FEW = 10


def results(model: Model) -> None:
    """How far the batch is, and what there is of it.

    Parameters
    ----------
    model : Model
    """
    current = state.Batch.job.value
    if current is None:
        return
    _open_wanted()
    if current.finished:
        _shown(current)
        _downloads(model, current)
    else:
        # The fragment alone is drawn again: choices above keep their place meanwhile.
        st.fragment(_watched, run_every=_EVERY_S)(current)


def _watched(current: BatchJob) -> None:
    # Only a run of the whole page can change to the finished view or to another page.
    if current.finished or state.Batch.to_open.is_set:
        st.rerun(scope="app")
    with frame.guarded():
        _shown(current)


def _shown(current: BatchJob) -> None:
    rows, failures = current.rows, current.failures
    if current.finished:
        # While files are read rows keep their places; then what must be looked at comes first.
        rows = unsure_first(rows)
    with st.container(key="batch_state"):
        if current.finished:
            _summary(current, len(rows), len(failures))
        else:
            # The toolbar of the table beneath lies over what stands at the right end.
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button("Cancel", key="batch_cancel", on_click=current.cancel)
                st.progress(min(current.share, 1.0), text=_progress_words(current), width="stretch")
    if rows:
        _table(current, rows)
    if failures:
        _failures(failures)
    if rows:
        _opener(rows)


def _summary(current: BatchJob, n_rows: int, n_failures: int) -> None:
    words = f"{n_rows} read, {n_failures} could not be read"
    if current.stopped:
        st.warning(
            f"Stopped after {current.done} of {current.total} files: {words}. What was found is "
            "kept.",
            icon=":material/stop_circle:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{words}**, in {_time_words(current.seconds)}", width="content")
        if n_rows and all(r.simulated for r in current.rows):
            frame.simulated_badge("all recordings are simulated")


def _progress_words(current: BatchJob) -> str:
    words = f"{current.done} of {current.total} files"
    n_failed = len(current.failures)
    if n_failed:
        words += f", {n_failed} could not be read"
    left_s = current.left_s
    return words if not math.isfinite(left_s) else f"{words}, about {_time_words(left_s)} left"


def _time_words(seconds: float) -> str:
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{max(round(seconds), 1)} s"


def _table(current: BatchJob, rows: tuple[BatchRow, ...]) -> None:
    key = state.Batch.round.key_of("batch_table")
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    percentile = st.column_config.ProgressColumn
    st.dataframe(
        table(rows),
        hide_index=True,
        key=key,
        on_select=lambda: _take_row(key, rows),
        selection_mode="single-row",
        placeholder="",
        column_config={
            "Recording": text(pinned=True),
            "Seconds": number(format="%.0f"),
            "Surest": percentile(
                format="%.0f", min_value=0, max_value=100,
                help="Uncertainty percentile of the surest ten seconds: 96 means less sure than "
                "on 96 of 100 reference ECGs.",
            ),
            "Median": percentile(
                format="%.0f", min_value=0, max_value=100,
                help="Uncertainty percentile in the middle of the recording.",
            ),
            "Unsure %": number(
                format="%.0f", help="Share of the ten-second windows at percentile 90 or above."
            ),
            "Reason": text(width="large", help="Of the least sure ten seconds."),
            "bpm": number(format="%.0f", help="Heart rate in the surest ten seconds."),
            **{
                words: number(
                    format="%.0f°" if name.endswith("_deg") else "%.0f",
                    help=("In degrees" if name.endswith("_deg") else "In ms")
                    + ", of the median beat; empty where it is not measurable, with the reason at "
                    "the right.",
                )
                for name, words in services.BATCH_MEASURED
            },
            "Not measurable": text(width="large"),
            **{
                q.question: text(
                    help="Of the surest ten seconds: the calibrated probability of yes, or a score "
                    "where nothing is calibrated, and the answer."
                )
                for q in current.questions
            },
        },
    )  # fmt: skip
    st.caption(
        ("The least sure recordings come first. " if current.finished else "")
        + "Choose a row at its left end to open that recording "
        "on Explore; click on a heading to sort. Percentiles: high is unsure. Answers and heart "
        "rate are of the surest ten seconds."
    )


def unsure_first(rows: tuple[BatchRow, ...]) -> tuple[BatchRow, ...]:
    """Recordings in the order in which they need a person.

    Parameters
    ----------
    rows : tuple of BatchRow

    Returns
    -------
    tuple of BatchRow
        By the median percentile, highest first; those of which nothing can be told before all.
    """

    def need(row: BatchRow) -> float:
        return -row.median_percentile if math.isfinite(row.median_percentile) else -math.inf

    return tuple(sorted(rows, key=need))


def answer_cell(answer: Answer) -> str:
    """``"11 %, no"``: an answer in one cell of a table.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    str
        ``"score 83, leans yes"`` where nothing is calibrated: a score is no probability.
    """
    verdict = answer.verdict.partition(" (")[0]
    if not math.isfinite(answer.probability):
        return verdict
    if answer.basis == "calibrated":
        return f"{services.percent_words(answer.probability)}, {verdict}"
    return f"score {100 * answer.probability:.0f}, {verdict}"


def table(rows: tuple[BatchRow, ...]) -> pd.DataFrame:
    """What is shown of the rows: plain texts and numbers.

    Parameters
    ----------
    rows : tuple of BatchRow

    Returns
    -------
    DataFrame
        One row a recording.
    """
    columns: dict[str, list[object]] = {"Recording": [r.name for r in rows]}
    if any(r.simulated for r in rows):
        columns["Origin"] = ["simulated" if r.simulated else "" for r in rows]
    columns |= {
        "Seconds": [r.duration_s for r in rows],
        "Surest": [r.best_percentile for r in rows],
        "Median": [r.median_percentile for r in rows],
        "Unsure %": [100 * r.unsure_share for r in rows],
        "bpm": [r.heart_rate_bpm for r in rows],
    }
    if any(r.measurements for r in rows):
        for name, words in services.BATCH_MEASURED:
            columns[words] = [r.measured_value(name) for r in rows]
    for i, answer in enumerate(rows[0].answers if rows else ()):
        columns[answer.question] = [answer_cell(r.answers[i]) for r in rows]
    columns["Measured"] = [_lead_words(r.measured) for r in rows]
    columns["Derived"] = [_lead_words(r.derived) for r in rows]
    columns["Not recorded"] = [_lead_words(r.missing) for r in rows]
    columns["Reason"] = [" ".join((*r.cautions, r.reason)) for r in rows]
    if any(r.measurements for r in rows):
        columns["Not measurable"] = [r.not_measurable for r in rows]
    columns["Format"] = [r.file_format for r in rows]
    # A column of nothing but None would be text, and could not be sorted as numbers.
    numbers = [name for name in ("bpm", *_measured_words()) if name in columns]
    return pd.DataFrame(columns).astype(dict.fromkeys(numbers, "float64"))


def _measured_words() -> list[str]:
    return [words for _, words in services.BATCH_MEASURED]


def _lead_words(leads: tuple[str, ...]) -> str:
    return "all 12" if len(leads) == len(LEADS) else ", ".join(leads)


def _failures(failures: tuple[BatchFailure, ...]) -> None:
    n = len(failures)
    with st.expander(
        f"{n} could not be read", icon=":material/error:", expanded=n <= _FEW, key="batch_failures"
    ):
        for failure in failures[:_MOST_REASONS]:
            st.markdown(f"- **{frame.literal(failure.name)}**: {frame.literal(failure.reason)}")
        if n > _MOST_REASONS:
            st.caption(f"And {n - _MOST_REASONS} more; the table to download lists all.")


def _take_row(key: str, rows: tuple[BatchRow, ...]) -> None:
    row = state.selected_row(key)
    # The selection may be of a longer table that has been drawn since.
    if row is not None and row < len(rows):
        state.Batch.row.value = row
        _want(rows[row].item, rows[row].best_start_s)


def _opener(rows: tuple[BatchRow, ...]) -> None:
    """A recording chosen by its name, which needs no table; opened on Explore."""
    # A selectbox refuses a value that its options do not hold.
    if state.Batch.row.value >= len(rows):
        state.Batch.row.value = 0
    with st.container(
        horizontal=True, vertical_alignment="bottom", gap="small", key="batch_opener"
    ):
        st.selectbox(
            "Recording",
            range(len(rows)),
            format_func=lambda i: rows[i].name,
            key=state.Batch.row.key,
            width=360,
        )
        # By the row number, which stays while further rows come in below.
        row = rows[state.Batch.row.value]
        st.button(
            "Open in Explore",
            key="batch_open_row",
            icon=":material/ecg_heart:",
            on_click=_want,
            args=(row.item, row.best_start_s),
        )


def _want(item: BatchItem, start_s: float) -> None:
    state.Batch.to_open.value = (item, start_s)


def _open_wanted() -> None:
    """Open what was chosen, at its surest window, and go to Explore."""
    wanted = state.Batch.to_open.take()
    if wanted is None:
        return
    item, start_s = wanted
    with frame.guarded():
        with st.spinner("Reading the recording"):
            recording = gated(BatchItem.read, item)
        record.keep(record.looked_at(recording), near_s=start_s)
        # Not in the callback: reading and embedding show their progress on the page.
        st.switch_page("pages/explore.py")


def _downloads(model: Model, current: BatchJob) -> None:
    rows = current.results
    if rows:
        names = not st.checkbox(
            "Leave out names of files, and number the recordings",
            key="batch_no_names",
            persist_state="session",
            help="Names of files are often names of patients.",
        )
        with st.container(horizontal=True, gap="small"):
            frame.download(
                "Download CSV",
                lambda: services.batch_csv(model, rows, names=names),
                "batch.csv",
                frame.CSV,
                key="batch_csv",
            )
            frame.download(
                "Download Parquet",
                lambda: services.batch_parquet(model, rows, names=names),
                "batch.parquet",
                frame.PARQUET,
                key="batch_parquet",
            )
    st.button("Drop these results and files", key="batch_forget", on_click=forget)
    st.caption(
        f"{megabytes(current.held_bytes)} of files are kept in memory, so that a recording can be "
        "opened."
    )
    frame.training_note(model)
    st.caption(
        f"{CALIBRATION_NOTE} The download holds intervals, P(wrong) and what such answers were "
        "worth."
    )
