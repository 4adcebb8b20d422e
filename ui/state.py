"""Everything that one session remembers, each entry with its key, its type and its first value.

Streamlit gives a session one mapping from text to anything, where the values of widgets lie beside
what the app puts there itself. This module alone touches it: an `Entry` names one value, and the
classes below gather the entries of one concern. A widget takes the ``key`` of its entry.

A widget whose value is read only where it is drawn needs no entry. A widget's value is gone on
another page unless the widget has ``persist_state="session"``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import ref

import streamlit as st

from echoing_core.records import LEADS
from echoing_core.services import DEFAULT_MODEL, Setting, WaveMarks, offered_models

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from echoing_core.records import Recording, StandardEcg, WindowTrack
    from echoing_core.services import (
        BatchItem,
        BatchJob,
        Caliper,
        Collection,
        EchoReading,
        EncodedQuestion,
        ExplainJob,
        FlaggedInterval,
        OpenedEcho,
        PromptSet,
        Session,
        TableLayout,
        WindowMark,
    )
    from echoing_core.services.own_index import Metadata, OwnItem
    from ui.document_parts import DocumentParts
    from ui.record import OpenRecord

T = TypeVar("T")


class Entry(Generic[T]):
    """One value of the session.

    Parameters
    ----------
    key : str
        Where Streamlit holds it; the key of its widget, if there is one.
    first : T
        What it is until somebody sets it. Never changed in place: see `Made` for that.
    """

    def __init__(self, key: str, first: T) -> None:
        self.key = key
        self._first = first

    @property
    def first(self) -> T:
        """What it is until somebody sets it; also where there is no session."""
        return self._first

    @property
    def value(self) -> T:
        """What it is now."""
        return cast("T", st.session_state.get(self.key, self._first))

    @value.setter
    def value(self, value: T) -> None:
        st.session_state[self.key] = value

    def follow(self, value: T) -> None:
        """Set a widget's value where it differs.

        Parameters
        ----------
        value : T
            Something that can be compared.
        """
        # A widget that is set tells the browser to show that, which would take back what the
        # person pressed since the last run.
        if not self.is_set or self.value != value:
            self.value = value

    @property
    def is_set(self) -> bool:
        """Whether somebody set it; a widget that has one does so."""
        return self.key in st.session_state

    def clear(self) -> None:
        """Forget it, so that it is as at first."""
        # Removed, not set to the first value: `is_set` is False again.
        st.session_state.pop(self.key, None)

    def take(self) -> T:
        """Give what it is and forget it, for what is to be done once."""
        value = self.value
        self.clear()
        return value


class Made(Entry[T]):
    """An entry that is made when it is first asked for, and may be changed in place.

    Parameters
    ----------
    key : str
    make : callable
        Gives the first value.
    """

    def __init__(self, key: str, make: Callable[[], T]) -> None:
        # Never given out: `value` makes the first value itself.
        super().__init__(key, cast("T", None))
        self._make = make

    @property
    def value(self) -> T:
        """What it is now."""
        # Stored at once, or what is changed in place would be lost with this run.
        if self.key not in st.session_state:
            st.session_state[self.key] = self._make()
        return cast("T", st.session_state[self.key])

    @value.setter
    def value(self, value: T) -> None:
        st.session_state[self.key] = value


class Round(Entry[int]):
    """A number in the keys of widgets that are to begin anew.

    A widget cannot be emptied; one with another key starts empty, and its files are let go.

    Parameters
    ----------
    key : str
        Of the number itself.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key, 0)

    def key_of(self, widget: str) -> str:
        """The key of a widget in this round.

        Parameters
        ----------
        widget : str
            The same in all rounds.

        Returns
        -------
        str
        """
        return f"{widget}_{self.value}"

    def begin_anew(self) -> None:
        """Give all widgets of this round other keys."""
        self.value += 1


def forget(*entries: Entry[Any]) -> None:
    """Make entries as they are at first.

    Parameters
    ----------
    *entries : Entry
    """
    for entry in entries:
        entry.clear()


def remembered(name: str, of: tuple[object, ...], make: Callable[[], T]) -> T:
    """What was worked out before, kept in this session alone; made anew for something else.

    Parameters
    ----------
    name : str
        One result is kept under each name.
    of : tuple
        What it was made of. Recordings, tracks and models are equal to themselves alone.
    make : callable
        Gives the result.

    Returns
    -------
    T
    """
    entry: Entry[tuple[tuple[object, ...], Any] | None] = Entry(name, None)
    known = entry.value
    # Replaced in place, so that one recording at a time is held in memory.
    if known is None or known[0] != of:
        known = entry.value = (of, make())
    return cast("T", known[1])


def selected_row(table_key: str) -> int | None:
    """The row that was chosen in a table with ``selection_mode="single-row"``.

    Parameters
    ----------
    table_key : str

    Returns
    -------
    int or None
        Counted in the order in which the table was given, however it is sorted on the screen.
    """
    # As Streamlit stores what was chosen in a table.
    rows = st.session_state[table_key]["selection"]["rows"]
    return int(rows[0]) if rows else None


def clicked_value(chart_key: str) -> float | None:
    """The number that the point of a chart that was clicked on carries in ``customdata``.

    Parameters
    ----------
    chart_key : str
        Of a Plotly chart with ``selection_mode="points"``.

    Returns
    -------
    float or None
        None where nothing, or a point without a number, was clicked on.
    """
    # As Streamlit stores it; the browser is outside, so nothing is taken for granted.
    points = st.session_state[chart_key]["selection"]["points"]
    value = points[0].get("customdata") if points else None
    # Plotly gives a list, or an object by index, where a trace has columns of custom data.
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return float(value) if isinstance(value, int | float) else None


def sent_by(component_key: str) -> dict[str, Any]:
    """What a component in the browser sent.

    Parameters
    ----------
    component_key : str

    Returns
    -------
    dict
        By the names of its values. The browser is outside: nothing of it has been checked.
    """
    return dict(st.session_state[component_key])


def everything() -> Mapping[str, Any]:
    """All values of the session by their keys.

    Returns
    -------
    mapping of str to object
    """
    return {str(key): value for key, value in st.session_state.items()}


def put_back(values: Mapping[str, Any]) -> None:
    """Give widgets their values; only before these are drawn.

    Parameters
    ----------
    values : mapping
        By key, as in `SETTINGS`.
    """
    for key, value in values.items():
        st.session_state[key] = value


@dataclass
class MapView:
    """What the uncertainty map shows of the open recording.

    Attributes
    ----------
    round : int
        `Opened.round` of the recording that it belongs to.
    view_s, span_s : (float, float) or None
        Seconds of the detail (None: all of it) and of the chosen span.
    ack : int
        Number of the last message of the browser that was taken.
    """

    round: int
    view_s: tuple[float, float] | None = None
    span_s: tuple[float, float] | None = None
    ack: int = 0


@dataclass
class ByHand:
    """What was done by hand on the paper of one recording.

    Attributes
    ----------
    recording : weak reference to Recording
        Weak, so that no recording stays in memory for it.
    marks : dict
        Start of a stretch in seconds -> onsets and ends of waves in ms from its fiducial.
    calipers : tuple of Caliper
    before : list of (float, dict)
        Marks of a stretch as they were before each change, the last one last.
    """

    recording: ref[Recording]
    marks: dict[float, dict[str, float]] = field(default_factory=dict)
    calipers: tuple[Caliper, ...] = ()
    before: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    @property
    def wave_marks(self) -> tuple[WaveMarks, ...]:
        """Marks by stretch, in the order of time."""
        return tuple(WaveMarks(at, said) for at, said in sorted(self.marks.items()) if said)


@dataclass(frozen=True, eq=False)
class ReadEcho:
    """An echocardiogram of this session, and what the teacher reads off it.

    Attributes
    ----------
    opened : OpenedEcho
    reading : EchoReading
    """

    opened: OpenedEcho
    reading: EchoReading


@dataclass
class Gathered:
    """What a session has gathered for a collection of its own.

    Attributes
    ----------
    items : list of OwnItem
    metadata : dict of str to Metadata
        By the name of the record.
    failed : dict of str to str
        Files that could not be used, with the reason.
    files : dict of str to bytes
        Of the index once it is built.
    """

    items: list[OwnItem] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class App:
    """What belongs to no page."""

    routed = Entry("routed", False)
    """True once `app.py` has drawn style and menu."""
    link_taken = Entry("link_taken", False)
    turn_place: Entry[DeltaGenerator | None] = Entry("turn_place", None)
    """Where a wait for the model is told."""
    model = Entry("model_name", (*offered_models(), DEFAULT_MODEL)[0])
    """Which model this session uses, by its name among `services.offered_models`."""
    audit_id = Made("audit_id", lambda: secrets.token_hex(8))
    """A random number under which the audit knows this session, and nobody else does."""


class Opened:
    """The open recording, and how it is opened."""

    record: Entry[OpenRecord | None] = Entry("record", None)
    round = Round("record_round")
    window = Entry("window", 0)
    """Number of the chosen window; `windows.chosen` keeps it within the recording."""
    # Keys are seen by no one, but those of `SETTINGS` stand in session files and links: they must
    # not change.
    job: Entry[ExplainJob | None] = Entry("looking", None)
    """The windows that are still to be looked at."""
    error: Entry[str | None] = Entry("upload_error", None)
    upload_round = Round("upload_round")
    uploads_seen: Entry[tuple[str, ...]] = Entry("uploads_seen", ())
    """Identifiers of the files that were read; a rerun with the same must not read them again."""
    table_waits = Entry("table_waits", False)
    """The upload does not say what its columns or channels are."""
    table_preview: Entry[object] = Entry("table_preview", None)
    records: Entry[tuple[str, ...]] = Entry("upload_records", ())
    """Names of the recordings among the uploaded files."""
    record_name: Entry[str | None] = Entry("upload_record", None)
    """The one of several that was chosen."""
    asks_why = Entry("upload_asks_why", "")
    """Why a person is asked about the upload, where its reader says more than the form does."""
    said: Made[dict[tuple[str, ...], tuple[TableLayout, set[int]]]] = Made("said_of_files", dict)
    """What was said of files in this session, by the names of their channels."""


class Explore:
    """The map, the tables under it, and the ECG paper."""

    map_view: Entry[MapView | None] = Entry("map_state", None)
    flagged: Entry[tuple[WindowTrack, StandardEcg, tuple[FlaggedInterval, ...]] | None]
    flagged = Entry("map_told", None)
    hide_above = Entry("hide_above", 100)
    listed_kind = Entry("listed_kind", "least")
    percentile_among = Entry("percentile_among", "alike")
    """What percentiles compare with: ``"alike"``, ECGs with the same leads, or ``"all"``."""
    paper_settings: Entry[dict[str, Any]] = Entry("paper_settings", {})
    paper_round = Round("paper_round")
    by_hand: Entry[ByHand | None] = Entry("by_hand", None)
    marks_seen: Entry[int] = Entry("wave_marks_seen", 0)
    """Number of the last change of marks that was taken from the browser."""
    marks_moved = Entry("wave_marks_moved", False)
    """Marks were moved on the paper, and the rest of the page does not know it yet."""


class Review:
    """What a person says of windows of the open recording."""

    marks: Entry[tuple[ref[Recording], dict[float, WindowMark]] | None]
    marks = Entry("review_marks", None)
    """The recording, whatever its stride is, and its marks by the starts of their windows. Weak, so
    that no recording stays in memory for them."""
    n_listed = Entry("review_n", 10)
    """How many of the least sure windows are in the list."""


class Rhythm:
    """Rhythm over time."""

    kept = Entry("rhythm_kept", "all")
    """``"all"`` of the recording, or ``"kept"``: without the windows that sigma^2 rejects."""


class Document:
    """The document that is made of the open recording; "report" on the screen."""

    name = Entry("report_name", "")
    parts: Entry[DocumentParts | None] = Entry("report_parts", None)


class SavedSession:
    """A session file or a link that was opened."""

    round = Round("session_round")
    waiting: Entry[Session | None] = Entry("session_waiting", None)
    """Goes to its window once its recording is open."""
    of_another: Entry[Session | None] = Entry("session_of_another", None)
    """Was made with another recording than the open one."""
    error: Entry[str | None] = Entry("session_error", None)
    note: Entry[str | None] = Entry("session_note", None)


class Ask:
    """Questions and what they are about."""

    names: Entry[list[str]] = Entry("questions", [])
    own: Entry[tuple[PromptSet, ...]] = Entry("own_questions", ())
    typed = Entry("own_text", "")
    submitted: Entry[str | None] = Entry("own_submitted", None)
    readings: Entry[dict[str, str]] = Entry("own_readings", {})
    """Of questions that were typed, by title: how the words were read."""
    encoded: Made[dict[tuple[str, PromptSet], EncodedQuestion]] = Made("questions_encoded", dict)
    file: Entry[UploadedFile | None] = Entry("questions_file", None)
    file_note = Entry("questions_note", ("", ""))
    """What became of the file: a note, a problem."""
    window: Entry[str | None] = Entry("ask_window", None)
    rule = Entry("ask_rule", "trimmed")

    @staticmethod
    def wording(side: str, name: str) -> Entry[str | None]:
        """The texts, one a line, that say yes ("positive") or no ("negative") to a question.

        Parameters
        ----------
        side : {"positive", "negative"}
        name : str
            Of the question.

        Returns
        -------
        Entry of str or None
        """
        return Entry(f"wording_{side}_{name}", None)

    @staticmethod
    def prevalence(name: str) -> Entry[float | None]:
        """How many of 100 patients have what a question asks for; None where nobody said so.

        Parameters
        ----------
        name : str
            Of the question.

        Returns
        -------
        Entry of float or None
        """
        return Entry(f"prevalence_{name}", None)


class Find:
    """A search: in what, from what, among which items, and the way from hit to hit."""

    collection: Entry[str | None] = Entry("find_collection", None)
    mode = Entry("find_mode", "words")
    text = Entry("find_text", "")
    window = Entry("find_window", "surest")
    order = Entry("find_order", "csd")
    k = Entry("find_k", 10)
    labels: Entry[list[str]] = Entry("find_labels", [])
    without: Entry[list[str]] = Entry("find_without", [])
    sources: Entry[list[str]] = Entry("find_sources", [])
    percentile = Entry("find_percentile", 100)
    colour: Entry[str | None] = Entry("find_colour", None)
    root: Entry[tuple[object, ...] | None] = Entry("find_root", None)
    """What the trail began at; another beginning empties it."""
    trail: Entry[list[str]] = Entry("find_trail", [])
    """Items that were searched from, in order."""
    marked: Entry[str | None] = Entry("find_marked", None)
    """The item that was chosen in the list or on the map."""
    area: Entry[tuple[str, tuple[tuple[float, float], ...]] | None] = Entry("find_area", None)
    """The map, and the corners of the area on it among whose items is searched."""
    thumbnails: Made[dict[str, str]] = Made("find_thumbnails", dict)
    """Small pictures of items as SVG, by collection and item."""


class Own:
    """Collections that a person builds or uploads; in this session's memory alone."""

    collections: Made[dict[str, Collection]] = Made("own_collections", dict)
    gathered: Entry[Gathered | None] = Entry("own_gathered", None)
    round = Round("own_round")
    note: Entry[str | None] = Entry("own_note", None)
    zip_seen: Entry[str | None] = Entry("own_zip_seen", None)


class Compare:
    """The second recording, and the two windows."""

    kind = Entry("compare_kind", "recordings")
    second: Entry[OpenRecord | None] = Entry("compare_second", None)
    papers = Entry("compare_papers", "beside")
    """How the two papers stand: ``"beside"`` each other, or ``"over"`` each other."""
    round = Round("compare_round")
    uploads_seen: Entry[tuple[str, ...]] = Entry("compare_seen", ())
    waits = Entry("compare_waits", False)
    """Whether a person has to say first what the channels of the second recording are."""
    asks_why = Entry("compare_asks_why", "")
    error: Entry[str | None] = Entry("compare_error", None)
    questions: Entry[list[str]] = Entry("compare_questions", [])

    @staticmethod
    def window(letter: str) -> Entry[tuple[WindowTrack, int] | None]:
        """The chosen window of side A or B, and the track that it is one of.

        Parameters
        ----------
        letter : {"A", "B"}

        Returns
        -------
        Entry of (WindowTrack, int) or None
        """
        return Entry(f"compare_{letter}", None)


class Echo:
    """The echocardiogram beside the open recording."""

    read: Entry[ReadEcho | None] = Entry("echo_read", None)
    round = Round("echo_round")
    uploads_seen: Entry[tuple[str, ...]] = Entry("echo_seen", ())
    error: Entry[str | None] = Entry("echo_error", None)


class Batch:
    """Many recordings at once."""

    job: Entry[BatchJob | None] = Entry("batch_job", None)
    round = Round("batch_round")
    row = Entry("batch_row", 0)
    to_open: Entry[tuple[BatchItem, float] | None] = Entry("batch_open", None)
    """The recording that shall be opened on Explore, and the second to go to."""
    questions: Entry[list[str]] = Entry("batch_questions", [])
    measured = Entry("batch_measured", False)
    """Whether intervals and axes are measured, too."""


class Guide:
    """The guided example."""

    step: Entry[int | None] = Entry("guide_step", None)
    go = Entry("guide_go", False)
    """The page of the step is still to be gone to."""
    open_sample = Entry("guide_open", False)
    """The recording is still to be opened."""


class Teaching:
    """The teaching cases."""

    place: Entry[int | None] = Entry("teach_place", None)
    """Number of the case among those of the story."""
    story = Entry("teach_story", "all")
    to_open: Entry[int | None] = Entry("teach_to_open", None)
    """Which recording of the case is still to be opened."""
    given: Entry[dict[str, bool]] = Entry("teach_given", {})
    """Cases that were answered, and whether the first answer was right."""


# One table for what the browser sends, the session file and the link, so that all three take the
# same values.
PAPER_CHOICES: dict[str, tuple[Any, ...]] = {
    "layout": ("3x4", "12x1", "6x2", "single"),
    "speed": (12.5, 25, 50),
    "gain": (5, 10, 20),
    "lead": LEADS,
    "fit": (False, True),
    "beats": (False, True),
    "cells": (False, True),
    "waves": (False, True),
    "zoom": (0.5, 0.75, 1, 1.5, 2, 3, 4),
}
"""What can be set on ECG paper: mm/s, mm/mV, and so on. They are no entries of their own."""

PAPER = "paper_"
"""Before the name of a paper setting, in a session file and a link."""


def _paper_setting(name: str, choices: tuple[Any, ...]) -> Setting:
    match choices[0]:
        # Before the number below, which a bool would match, too.
        case bool():
            return Setting(PAPER + name, "flag", in_link=True)
        case str():
            return Setting(PAPER + name, "choice", choices, in_link=True)
    return Setting(PAPER + name, "number", low=choices[0], high=choices[-1], in_link=True)


SETTINGS: tuple[Setting, ...] = (
    Setting(Explore.hide_above.key, "number", low=0, high=100, whole=True, in_link=True),
    Setting(Explore.listed_kind.key, "choice", ("least", "most", "stretches"), in_link=True),
    Setting(Rhythm.kept.key, "choice", ("all", "kept"), in_link=True),
    Setting(Explore.percentile_among.key, "choice", ("alike", "all"), in_link=True),
    *(_paper_setting(name, choices) for name, choices in PAPER_CHOICES.items()),
    Setting(Ask.window.key, "choice", ("surest", "chosen", "fused"), in_link=True),
    Setting(Ask.rule.key, "choice", ("trimmed", "precision"), in_link=True),
    Setting(Ask.names.key, "choices", max_chars=80),
    Setting("wording_*", "text"),
    Setting(Find.mode.key, "choice", ("words", "reports", "ecgs"), in_link=True),
    Setting(Find.window.key, "choice", ("surest", "chosen"), in_link=True),
    Setting(Find.text.key, "text"),
    Setting(Find.order.key, "choice", ("csd", "cosine"), in_link=True),
    Setting(Find.k.key, "number", low=1, high=50, whole=True, in_link=True),
    Setting(Find.labels.key, "choices", max_chars=80),
    Setting(Find.without.key, "choices", max_chars=80),
    Setting(Find.sources.key, "choices", max_chars=80),
    Setting(Find.colour.key, "choice", max_chars=80),
    Setting(Find.percentile.key, "number", low=0, high=100, whole=True, in_link=True),
    Setting(Compare.kind.key, "choice", max_chars=80),
    Setting(Compare.papers.key, "choice", ("beside", "over")),
    Setting(Compare.questions.key, "choices", max_chars=80),
    Setting(Batch.questions.key, "choices", max_chars=80),
    Setting(Batch.measured.key, "flag"),
)
"""What a session file keeps, and a link where ``in_link`` says so: never the name, the samples or
any other text of a recording. A choice whose options are not listed here depends on the questions
or on the collection: whoever draws it leaves out what there is not."""

PLACE: tuple[Setting, ...] = (
    Setting("window_s", "number", low=0, high=1e7, in_link=True),
    # 0.2 s is the finest stride that shares one pass of the encoder.
    Setting("stride_s", "number", low=0.2, high=60, in_link=True),
)
"""Where in a recording a link leads to; it waits until one is open."""
