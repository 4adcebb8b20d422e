"""Which collection is searched: the shipped one, a folder of this machine, or one's own.

What a person builds or uploads lives in their session alone: in memory, in no shared cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from echoing_core.errors import ConfigError, EchoingError
from echoing_core.services import Model
from echoing_core.services.collection import Collection
from echoing_core.services.own_index import (
    MOST_ITEMS,
    OwnItem,
    Told,
    grouped,
    own_collection,
    own_files,
    own_items,
    zip_collection,
    zipped,
)
from ui import frame, resources

BUILT, UPLOADED = "built", "uploaded"
_ORIGINS = {
    "shipped": "ships with this program",
    "folder": "a folder of this machine",
    "upload": "opened from a zip, in this session only",
    "built": "built from your files, in this session only",
}


@dataclass
class _Own:
    """What a session has gathered for a collection of its own."""

    items: list[OwnItem] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def chosen(model: Model) -> Collection:
    """The collection to search; where there is none, the page ends with a sentence."""
    known = {**resources.collections(), **_mine()}
    if not known:
        st.stop()
    if st.session_state.get("find_collection") not in known:
        st.session_state["find_collection"] = next(iter(known))
    picked = known[st.session_state["find_collection"]]
    with st.expander(_title(picked), icon=":material/database:", key="collection_box"):
        if len(known) > 1:
            st.radio(
                "Which collection to search",
                list(known),
                format_func=lambda key: _name(known[key]),
                key="find_collection",
                persist_state="session",
            )
        build, take, from_zip = st.tabs(["Build from your files", "Save it", "Open a saved one"])
        with build, frame.guarded():
            _build(model)
        with take, frame.guarded():
            _save()
        with from_zip, frame.guarded():
            _open(model)
    return picked


def _name(collection: Collection) -> str:
    return f"{frame.literal(collection.name)}, {len(collection):,} ECGs"


def _title(collection: Collection) -> str:
    words = f"Searching in: {_name(collection)} ({_ORIGINS[collection.origin]})"
    return f"{words}, all simulated" if collection.simulated else words


def _mine() -> dict[str, Collection]:
    mine: dict[str, Collection] = st.session_state.setdefault("own_collections", {})
    return mine


def _own() -> _Own:
    own: _Own = st.session_state.setdefault("own_gathered", _Own())
    return own


def _build(model: Model) -> None:
    own = _own()
    st.caption(
        "Add ECG files, as many at once as you like. Each recording gives its surest ten seconds. "
        "A CSV file with the columns record and report (and label_... with 1 or 0) adds reports "
        "and labels. Everything stays in the memory of this session."
    )
    uploads = st.file_uploader(
        "ECG files, and a table of reports if there is one",
        accept_multiple_files=True,
        key=f"own_uploads_{st.session_state.get('own_round', 0)}",
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
    note = st.session_state.get("own_note")
    if note:
        st.success(note, icon=":material/check:")
    if own.failed:
        st.warning(
            f"{len(own.failed)} could not be used:\n\n"
            + "\n".join(
                f"- {frame.literal(name)}: {frame.literal(why)}" for name, why in own.failed.items()
            )
        )


def _gather(model: Model, own: _Own, files: list[tuple[str, bytes]], windows: int) -> None:
    groups, told = grouped(files)
    own.failed.clear()
    own.told |= told
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
            with resources.turn():
                new = own_items(model, group, windows=windows)
        except EchoingError as error:
            own.failed[group[0][0]] = str(error)
            continue
        own.items = [*own.items, *new][:MOST_ITEMS]
        added += len(new)
    # What was read before a cancel is kept, and joins the collection with the next addition.
    if own.items:
        own.files = own_files(model, own.items, own.told, "My collection")
        _mine()[BUILT] = own_collection(model, own.files)
        st.session_state["find_collection"] = BUILT
    st.session_state["own_note"] = (
        f"{added} added. Your collection has {len(own.items)} ECGs." if added else None
    )
    st.session_state["own_round"] = st.session_state.get("own_round", 0) + 1


def _clear() -> None:
    st.session_state.pop("own_gathered", None)
    st.session_state.pop("own_note", None)
    _mine().pop(BUILT, None)


def _save() -> None:
    own = _own()
    if not own.files:
        st.caption(
            "Once you have built a collection, it can be saved here as a zip and opened again."
        )
        return
    st.caption(
        "The zip holds the names of your recordings, ten seconds of each, the reports that you "
        "gave, and their place in the space of this model. Treat it like the recordings themselves."
    )
    _download("Save my collection as a zip", own.files)


def _download(words: str, files: Mapping[str, bytes]) -> None:
    made: Callable[[], Any] = lambda: zipped(files, "my_collection")  # noqa: E731
    st.download_button(
        words, made, "my_collection.zip", "application/zip", on_click="ignore",
        icon=":material/download:", key="own_download",
    )  # fmt: skip


def _open(model: Model) -> None:
    st.caption(
        "The zip of an index folder, made here or by the command line with the model in use. A "
        "folder of this machine is opened by whoever starts the app: `echoing app --index FOLDER`."
    )
    upload = st.file_uploader("Zip of an index folder", type=["zip"], key="own_zip")
    if upload is None:
        st.session_state.pop("own_zip_seen", None)
    elif upload.file_id != st.session_state.get("own_zip_seen"):
        with st.spinner("Checking the collection"):
            # One that is refused is refused again with every run, and so keeps being told.
            opened = zip_collection(upload.getvalue(), "the zip", model)
        st.session_state["own_zip_seen"] = upload.file_id
        _mine()[UPLOADED] = opened
        st.session_state["find_collection"] = UPLOADED
        st.rerun()
