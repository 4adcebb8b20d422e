"""What all sessions share: the model, the index, the questions. Nothing of any upload."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import services
from echoing_core.services import (
    Collection,
    collections_at_hand,
    first_collection,
    index_folders,
)
from ui import frame, state
from ui.turns import Turns

if TYPE_CHECKING:
    from pathlib import Path

    from echoing_core.services import (
        EchoReader,
        GalleryIndex,
        IndexAtHand,
        Model,
        PromptSet,
        Sample,
        Searched,
    )


# One for all sessions, and never changed: nothing of a person may get into it.
@st.cache_resource(show_spinner="Loading the model")
def _model(name: str) -> Model:
    return services.load_model(name)


@st.cache_resource(show_spinner="Opening the collection of ECGs")
def _index(name: str) -> GalleryIndex:
    return services.load_index(model=_model(name))


@st.cache_resource(show_spinner="Opening the collection of ECGs")
def _shipped(name: str) -> Collection:
    # As `services.shipped_collection`, with the index that is open already.
    return Collection("Demo collection", _index(name), "shipped")


@st.cache_resource(show_spinner="Opening a collection of this machine")
def _folder(path: str, name: str, made_ns: int = 0) -> Searched:
    # The time of its card tells one that was made anew from the one that is open.
    return services.held_collection(path, _model(name))


def shipped_collection() -> Collection | None:
    """The collection that ships, where it was built with the model in use.

    Returns
    -------
    Collection or None
    """
    name = state.App.model.value
    with frame.guarded():
        # A model of one's own has indexes of its own, or none.
        if services.shipped_index_fits(_model(name)):
            return _shipped(name)
    return None


def collections() -> dict[str, Searched]:
    """The collections that every session may search, by a key that does not change.

    A folder that cannot be used is told in a sentence and left out.

    Returns
    -------
    dict of str to Searched
        The shipped one first, where it was built with this model.
    """
    searchable: dict[str, Searched] = {}
    name, shipped = state.App.model.value, shipped_collection()
    if shipped is not None:
        searchable["demo"] = shipped
    # By number: a path of this machine would end up in session files.
    for number, path in enumerate(index_folders()):
        with frame.guarded():
            searchable[f"folder_{number}"] = _folder(str(path), name)
    return searchable


# Cards alone; whoever starts the server may add an index while it runs.
@st.cache_data(ttl=5, show_spinner=False)
def _at_hand(named: str) -> tuple[IndexAtHand, ...]:
    return collections_at_hand()


def offered_collections() -> tuple[dict[str, IndexAtHand], int, str | None]:
    """What lies in the folders of collections; nothing is opened before it is chosen.

    Returns
    -------
    fitting : dict of str to IndexAtHand
        By a key without a path; those that were built with the model in use.
    n_others : int
        Those of other models.
    first : str or None
        Key of the one that the app was started for.
    """
    model_hash = _model(state.App.model.value).hash
    found = [
        one
        for one in _at_hand(os.environ.get(services.COLLECTIONS_VARIABLE, ""))
        if not one.problem
    ]
    fitting = {_key(one.folder): one for one in found if one.model_hash == model_hash}
    first = first_collection()
    begin = None if first is None else _key(first)
    return fitting, len(found) - len(fitting), begin if begin in fitting else None


def _key(folder: Path) -> str:
    # A number would change where one is added, and a path names a machine.
    return f"kept_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def open_collection(one: IndexAtHand) -> Searched:
    """Open what `offered_collections` has.

    Parameters
    ----------
    one : IndexAtHand

    Returns
    -------
    Searched

    Raises
    ------
    IndexMismatchError
        It is damaged.
    ConfigError, LostProcessError
        It lies in shards, and there is no memory for them, or the cluster does not answer.
    """
    card = one.folder / "card.json"
    made_ns = card.stat().st_mtime_ns if card.is_file() else 0
    return _folder(str(one.folder), state.App.model.value, made_ns)


@st.cache_resource(show_spinner="Opening the echo teacher (some seconds, once)")
def echo_reader() -> EchoReader:
    """The echo teacher that the app uses; nothing before it is asked for pays for it."""
    return services.load_echo_reader()


@st.cache_resource(show_spinner=False)
def turn() -> Turns:
    """Held while a recording is embedded; all sessions of this server stand in one line."""
    return Turns()


def model() -> Model:
    """The model; a page whose model cannot be loaded says why and ends here."""
    # `guarded` swallows the error after it is shown, so the page has to be ended here.
    loaded = None
    with frame.guarded():
        loaded = _model(state.App.model.value)
    if loaded is None:
        st.stop()
    return loaded


# Cached itself, though `_model` is: a thread without a page has no place for its spinner.
@st.cache_resource(show_spinner=False)
def first_model() -> Model:
    """The model that every session begins with, for whoever has no session."""
    return _model(state.App.model.first)


def index() -> GalleryIndex:
    """The collection that is searched; see `model`."""
    loaded = None
    with frame.guarded():
        loaded = _index(state.App.model.value)
    if loaded is None:
        st.stop()
    return loaded


@st.cache_resource(show_spinner=False)
def model_names() -> tuple[str, ...]:
    """The models that are offered, by the names that `state.App.model` takes."""
    return services.offered_models()


@st.cache_resource(show_spinner=False)
def prompt_sets() -> tuple[PromptSet, ...]:
    """The shipped questions."""
    return services.prompt_sets()


@st.cache_resource(show_spinner=False)
def samples() -> tuple[Sample, ...]:
    """The shipped recordings."""
    return tuple(services.samples())
