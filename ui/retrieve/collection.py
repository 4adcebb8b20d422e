"""Which collection is searched: the shipped one, a folder of this machine, or one's own.

What a person builds or uploads lives in their session alone: in memory, in no shared cache.
"""

from __future__ import annotations

import time

import streamlit as st

from echoing_core import services
from echoing_core.errors import ConfigError, EchoingError
from echoing_core.services import Model, Searched
from echoing_core.services.own_index import (
    MOST_ITEMS,
    grouped_places,
    items_of_recording,
    own_collection,
    own_files,
    zip_collection,
    zipped,
)
from ui import frame, resources, state
from ui.openings import gated, through

# Keys beside those of `resources.collections`; one of each a session, the next one replaces it.
BUILT, UPLOADED = "built", "uploaded"
_ORIGINS = {
    "shipped": "ships with this program",
    "folder": "a folder of this machine",
    "upload": "opened from a zip, in this session only",
    "built": "built from your files, in this session only",
}


def chosen(model: Model) -> Searched:
    """The collection to search; where there is none, the page ends with a sentence.

    Parameters
    ----------
    model : Model

    Returns
    -------
    Searched
    """
    known: dict[str, Searched] = {**resources.collections(), **state.Own.collections.value}
    kept, n_others, first = resources.offered_collections()
    if not known and not kept:
        st.info(
            "No collection was built with this model. Build one from your files below, or with: "
            f"echoing index build OUT --folder FILES --model {frame.literal(model.name)}",
            icon=":material/database_off:",
        )
        _of_other_models(n_others)
        with frame.guarded():
            _build(model)
        st.stop()
    named = {key: _name(one) for key, one in known.items()}
    named |= {key: _words(one.title or one.name, one.n) for key, one in kept.items()}
    key = state.Find.collection.value
    if key is None or key not in named:
        # The one chosen before may be gone: emptied, or of a folder that cannot be read any more.
        key = state.Find.collection.value = first or next(iter(named))
    if len(named) > 1:
        st.radio(
            "Which collection to search",
            list(named),
            format_func=named.__getitem__,
            key=state.Find.collection.key,
            persist_state="session",
            horizontal=True,
        )
    _of_other_models(n_others)
    if key in kept:
        with frame.guarded():
            known[key] = resources.open_collection(kept[key])
        if key not in known:
            st.stop()
    picked = known[key]
    with st.expander(_title(picked), icon=":material/database:", key="collection_box"):
        build, take, from_zip = st.tabs(["Build from your files", "Save it", "Open a saved one"])
        with build, frame.guarded():
            _build(model)
        with take, frame.guarded():
            _save()
        with from_zip, frame.guarded():
            _open(model)
    return picked


def _of_other_models(n: int) -> None:
    if n:
        st.caption(
            f"{n} more {'was' if n == 1 else 'were'} made with another model; choose that model on "
            "the page Model, or start the app with it and `--collection`."
        )


def _name(collection: Searched) -> str:
    return _words(collection.name, len(collection))


def _words(name: str, n: int) -> str:
    return f"{frame.literal(name)}, {n:,} ECGs"


def _title(collection: Searched) -> str:
    words = f"Searching in: {_name(collection)} ({_ORIGINS[collection.origin]})"
    return f"{words}, all simulated" if collection.simulated else words


def _gathered() -> state.Gathered:
    own = state.Own.gathered.value
    if own is None:
        own = state.Own.gathered.value = state.Gathered()
    return own


def _build(model: Model) -> None:
    own = _gathered()
    st.caption(
        "Add ECG files, as many at once as you like. Each recording gives its surest ten seconds. "
        "A CSV file with the columns record and report (and label_... with 1 or 0) adds reports "
        "and labels. Everything stays in the memory of this session."
    )
    uploads = st.file_uploader(
        "ECG files, and a table of reports if there is one",
        accept_multiple_files=True,
        key=state.Own.round.key_of("own_uploads"),
    )
    windows = st.slider(
        "Stretches of ten seconds from each recording, at most",
        1, 5, 1, key="own_windows", persist_state="session",
    )  # fmt: skip
    with st.container(horizontal=True, gap="small"):
        start = st.button(
            "Add to my collection", key="own_add", icon=":material/add:", disabled=not uploads
        )
        st.button(
            "Empty my collection", key="own_clear", on_click=_clear,
            disabled=not (own.items or own.failed),
        )  # fmt: skip
    if start and uploads:
        pairs = [(file.name, file.getvalue()) for file in uploads]
        _gather(model, own, pairs, int(windows))
        st.rerun()
    note = state.Own.note.value
    if note:
        st.success(note, icon=":material/check:")
    if own.failed:
        st.warning(
            f"{len(own.failed)} could not be used:\n\n"
            + "\n".join(
                f"- {frame.literal(name)}: {frame.literal(why)}" for name, why in own.failed.items()
            )
        )


def _gather(
    model: Model, own: state.Gathered, files: list[tuple[str, bytes]], windows: int
) -> None:
    groups, metadata = gated(grouped_places, files)
    own.failed.clear()
    own.metadata |= metadata
    # The clock of the wall may be set while files are read.
    began, added = time.monotonic(), 0
    with st.container(horizontal=True, vertical_alignment="center", key="own_progress"):
        bar = st.progress(0.0, text="Reading", width="stretch")
        st.button("Cancel", key="own_cancel")
    for number, group in enumerate(groups):
        left = (time.monotonic() - began) / max(number, 1) * (len(groups) - number)
        words = f"Recording {number + 1} of {len(groups)}"
        bar.progress(
            number / len(groups), text=words if number < 2 else f"{words}, about {left:.0f} s left"
        )
        try:
            if len(own.items) >= MOST_ITEMS:
                raise ConfigError(f"A collection built here has at most {MOST_ITEMS:,} items.")
            recording = gated(services.read_recording, [files[place] for place in group])
            # One recording at a time, so that others are served between two.
            with resources.turn():
                new = items_of_recording(model, recording, windows=windows)
        except EchoingError as error:
            own.failed[files[group[0]][0]] = str(error)
            continue
        # A new list: a cancel between two recordings leaves a whole one behind.
        own.items = [*own.items, *new][:MOST_ITEMS]
        added += len(new)
    # What was read before a cancel is kept, and joins the collection with the next addition.
    if own.items:
        own.files = own_files(model, own.items, own.metadata, "My collection")
        state.Own.collections.value[BUILT] = own_collection(model, own.files)
        state.Find.collection.value = BUILT
    state.Own.note.value = (
        f"{added} added. Your collection has {len(own.items)} ECGs." if added else None
    )
    state.Own.round.begin_anew()


def _clear() -> None:
    state.forget(state.Own.gathered, state.Own.note)
    state.Own.collections.value.pop(BUILT, None)


def _save() -> None:
    own = _gathered()
    if not own.files:
        st.caption(
            "Once you have built a collection, it can be saved here as a zip and opened again."
        )
        return
    st.caption(
        "The zip holds the names of your recordings, ten seconds of each, the reports that you "
        "gave, and their place in the space of this model. Treat it like the recordings themselves."
    )
    files = own.files
    frame.download(
        "Save my collection as a zip",
        lambda: zipped(files, "my_collection"),
        "my_collection.zip",
        "application/zip",
        key="own_download",
    )


def _open(model: Model) -> None:
    st.caption(
        "The zip of an index folder, made here or by the command line with the model in use. A "
        "folder of this machine is opened by whoever starts the app: `echoing app --index FOLDER`."
    )
    upload = st.file_uploader("Zip of an index folder", type=["zip"], key="own_zip")
    if upload is None:
        state.Own.zip_seen.clear()
    elif upload.file_id != state.Own.zip_seen.value:
        refused: state.Entry[tuple[str, str, str] | None] = state.Entry("own_zip_refused", None)
        known = refused.value
        # Checked once, and what was wrong with it is told with every run.
        if known is not None and known[:2] == (upload.file_id, model.hash):
            frame.error(known[2])
            return
        try:
            with st.spinner("Checking the collection"):
                opened = zip_collection(upload.getvalue(), "the zip", model, through=through())
        except EchoingError as error:
            refused.value = (upload.file_id, model.hash, str(error))
            frame.error(str(error))
            return
        state.Own.zip_seen.value = upload.file_id
        state.Own.collections.value[UPLOADED] = opened
        state.Find.collection.value = UPLOADED
        st.rerun()
