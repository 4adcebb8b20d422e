"""Answers and search results that a person adds to the report of the open recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from echoing_core.records import Answer, Recording
from echoing_core.services import AnswerSection, SearchSection
from ui import record, state

if TYPE_CHECKING:
    from echoing_core.services import Found, Searched

_MOST_PARTS = 6


@dataclass
class DocumentParts:
    """What was added to the report of one recording, oldest first.

    Attributes
    ----------
    recording : Recording
    asked : list of AnswerSection
    found : list of SearchSection
    """

    recording: Recording
    asked: list[AnswerSection] = field(default_factory=list)
    found: list[SearchSection] = field(default_factory=list)

    def listed(self, kind: Literal["asked", "found"]) -> list[Any]:
        """One of the two lists.

        Parameters
        ----------
        kind : {"asked", "found"}

        Returns
        -------
        list
            The list itself, to be changed in place.
        """
        return self.asked if kind == "asked" else self.found


def of(recording: Recording) -> DocumentParts:
    """What was added to the document of a recording; another one starts without.

    Parameters
    ----------
    recording : Recording
        The open one.

    Returns
    -------
    DocumentParts
        Kept in the session, and changed in place.
    """
    parts = state.Document.parts.value
    if parts is None or parts.recording is not recording:
        parts = state.Document.parts.value = DocumentParts(recording)
    return parts


def add_answers(
    current: record.OpenRecord,
    answers: Sequence[Answer],
    about: str,
    notes: Sequence[str] = (),
) -> None:
    """A button that puts answers into the report of the open recording.

    Parameters
    ----------
    current : OpenRecord
    answers : sequence of Answer
    about : str
        What was asked, as it follows "Questions about": ``"the window 00:10 to 00:20"``.
    notes : sequence of str
        Sentences on single answers.
    """
    _add_button(current, "asked", AnswerSection(about, tuple(answers), tuple(notes)))


def add_hits(
    current: record.OpenRecord | None,
    searched: Searched,
    result: Found,
    query: str,
    searched_from: Sequence[str] = (),
) -> None:
    """A button that puts the hits of a search into the report of the open recording.

    Parameters
    ----------
    current : OpenRecord or None
        Without one there is no document, and the button cannot be pressed.
    searched : Searched
    result : Found
    query : str
        From what was searched, as it follows "nearest to".
    searched_from : sequence of str
        The item, where it was one.
    """
    # An ECG of a collection of one's own bears the name of its file.
    if any(not item.simulated for item in searched.items(searched_from).values()):
        query = "an ECG of the collection"
    # Twelve digits tell models apart and fit into a line.
    made_with = searched.model_hash[:12]
    collection = f"{len(searched):,} items, embedded by model {made_with}…"
    # Not the whole of it: what follows may quote the report of a person.
    far = [f"{result.far.split('. ')[0].rstrip('.')}."] if result.far else []
    notes = tuple(note for note in (result.note, *far) if note)
    _add_button(
        current, "found", SearchSection(query, result.hits, collection, notes, result.by_fit)
    )


def _add_button(
    current: record.OpenRecord | None,
    kind: Literal["asked", "found"],
    part: AnswerSection | SearchSection,
) -> None:
    there = current is not None and part in of(current.recording).listed(kind)
    st.button(
        "In the report" if there else "Add to the report",
        key=f"report_add_{kind}",
        icon=":material/check:" if there else ":material/note_add:",
        disabled=there or current is None,
        help="Open a recording first: a report is about one."
        if current is None
        else "The report is made on Explore, under “Take it away”.",
        on_click=_add,
        args=(current, kind, part),
    )


def _add(
    current: record.OpenRecord, kind: Literal["asked", "found"], part: AnswerSection | SearchSection
) -> None:
    listed = of(current.recording).listed(kind)
    # The same question asked again, with other wording, takes the place of the old one.
    name = "about" if kind == "asked" else "query"
    others = [p for p in listed if getattr(p, name) != getattr(part, name)]
    # The oldest makes room; in place, since the session holds this list.
    listed[:] = [*others[-(_MOST_PARTS - 1) :], part]
