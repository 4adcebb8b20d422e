"""What all sessions share: the model, the index, the questions. Nothing of any upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import services
from echoing_core.services import Collection, folder_collection, index_folders
from ui import frame
from ui.turns import Turns

if TYPE_CHECKING:
    from echoing_core.services import GalleryIndex, Model, PromptSet, Sample


# One for all sessions, and never changed: nothing of a person may get into it.
@st.cache_resource(show_spinner="Loading the model")
def _model() -> Model:
    return services.load_model()


@st.cache_resource(show_spinner="Opening the collection of ECGs")
def _index() -> GalleryIndex:
    return services.load_index(model=_model())


@st.cache_resource(show_spinner="Opening the collection of ECGs")
def _shipped() -> Collection:
    # As `services.shipped_collection`, with the index that is open already.
    return Collection("Demo collection", _index(), "shipped")


@st.cache_resource(show_spinner="Opening a collection of this machine")
def _folder(path: str) -> Collection:
    return folder_collection(path, _model())


def collections() -> dict[str, Collection]:
    """The collections that every session may search, by a key that does not change.

    A folder that cannot be used is told in a sentence and left out.

    Returns
    -------
    dict of str to Collection
        The shipped one first.
    """
    searchable: dict[str, Collection] = {}
    with frame.guarded():
        searchable["demo"] = _shipped()
    # By number: a path of this machine would end up in session files.
    for number, path in enumerate(index_folders()):
        with frame.guarded():
            searchable[f"folder_{number}"] = _folder(str(path))
    return searchable


@st.cache_resource(show_spinner=False)
def turn() -> Turns:
    """Held while a recording is embedded; all sessions of this server stand in one line."""
    return Turns()


def model() -> Model:
    """The model; a page whose model cannot be loaded says why and ends here."""
    # `guarded` swallows the error after it is shown, so the page has to be ended here.
    loaded = None
    with frame.guarded():
        loaded = _model()
    if loaded is None:
        st.stop()
    return loaded


def index() -> GalleryIndex:
    """The collection that is searched; see `model`."""
    loaded = None
    with frame.guarded():
        loaded = _index()
    if loaded is None:
        st.stop()
    return loaded


@st.cache_resource(show_spinner=False)
def prompt_sets() -> tuple[PromptSet, ...]:
    """The shipped questions."""
    return services.prompt_sets()


@st.cache_resource(show_spinner=False)
def samples() -> tuple[Sample, ...]:
    """The shipped recordings."""
    return tuple(services.samples())
