"""The files of a batch, and the job that looks at them.

The job lives in the session alone, and its thread ends with it.
"""

from __future__ import annotations

import streamlit as st

from echoing_core import services
from echoing_core.services import BatchJob, Model
from echoing_core.services.uploads import plan, planned
from ui import frame, questions, resources, state
from ui.openings import through

_FILES, _FOLDER = "Files", "A folder"
MOST_BYTES = 1024**3


def chooser(model: Model) -> None:
    """Files and questions; folded away once there are results, absent while a batch runs.

    Parameters
    ----------
    model : Model
    """
    current = state.Batch.job.value
    if current is None:
        _choices(model)
    elif current.finished:
        with st.expander("Look at other files", icon=":material/folder_open:"):
            _choices(model)


def _choices(model: Model) -> None:
    way = st.segmented_control(
        "Choose", (_FILES, _FOLDER), default=_FILES, required=True, key="batch_way",
        persist_state="session",
    )  # fmt: skip
    uploads = st.file_uploader(
        "All files of all recordings together"
        if way == _FILES
        else "A folder with recordings, and the folders in it",
        accept_multiple_files="directory" if way == _FOLDER else True,
        # An uploader of folders and one of files are two widgets; a key cannot serve both.
        key=state.Batch.round.key_of(f"batch_files_{way == _FOLDER}"),
        help="Headers and their data files are put together by themselves; a zip may hold several "
        "recordings. Files are kept in memory until you drop them or leave; nothing of them "
        "stays on disk.",
    )
    st.caption(services.formats())
    words = "Questions to ask of the surest window of each"
    lacking = frame.tells_lack(model, "text")
    chosen = () if lacking else questions.choose(state.Batch.questions, words)
    if not uploads:
        if state.Batch.job.value is None:
            st.info(
                "Each recording gets a row: which leads it has, how sure the model is, why not, "
                "the heart rate, and the answers. Files that cannot be read are listed with the "
                "reason and stop nothing.",
                icon=":material/table_rows:",
            )
        return
    # Streamlit limits each file; all of them together stay in memory while the batch is open.
    size = sum(file.size for file in uploads)
    if size > MOST_BYTES:
        st.error(
            f"These files have {megabytes(size)}; at most {megabytes(MOST_BYTES)} are taken at "
            "once. Choose fewer, or use the command echoing batch.",
            icon=":material/error:",
        )
        return
    grouped = None
    with frame.guarded():
        # By names alone: the files themselves are kept by the uploader until they are dropped.
        grouped = state.remembered(
            "batch_plan",
            tuple(file.file_id for file in uploads),
            lambda: plan((file.name, file.getvalue()) for file in uploads),
        )
    if grouped is None:
        return
    n = len(grouped)
    st.caption(f"{n} recordings in {len(uploads)} files, {megabytes(size)}.")
    measured = st.checkbox(
        "Measure PR, QRS, QT and axes, too",
        key=state.Batch.measured.key,
        persist_state="session",
        help="Of the median beat. It adds a tenth of a second or two for each recording.",
    )
    if st.button(f"Look at {n} recordings", type="primary", key="batch_start", disabled=not n):
        # Taken here: the thread of the job runs without a session.
        lock = resources.turn()
        given = {prompts.name: questions.prevalence_of(prompts) for prompts in chosen}
        shares = {name: share for name, share in given.items() if share is not None}
        items = planned(grouped, ((file.name, file.getvalue()) for file in uploads))
        job = BatchJob(
            model,
            items,
            chosen,
            prevalence=shares or None,
            measured=measured,
            turn=lambda: lock,
            through=through(),
        )
        begin(job)
        st.rerun()


def begin(new: BatchJob) -> None:
    """Make this the batch of the session; one before it is stopped and forgotten.

    Parameters
    ----------
    new : BatchJob
        Running already.
    """
    forget()
    state.Batch.job.value = new


def forget() -> None:
    """Drop the results and the files."""
    # Its thread would go on, and hold its files, until all were done.
    old = state.Batch.job.take()
    if old is not None:
        old.cancel()
    state.forget(state.Batch.to_open, state.Batch.row)
    state.Batch.round.begin_anew()


def megabytes(n_bytes: int) -> str:
    """A size in words.

    Parameters
    ----------
    n_bytes : int

    Returns
    -------
    str
    """
    return f"{n_bytes / 1024**2:,.1f} MB"
