"""Searching a collection: from what, in which order, among which items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import ConfigError
from echoing_core.records import Hit
from echoing_core.services import ItemFilter, percentile_words, span_words
from ui import frame, questions, record, resources, state, windows

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from echoing_core.services import Explanation, Found, Model, Searched

FROM_WORDS, TO_REPORTS, TO_ECGS = "words", "reports", "ecgs"
_MODES = {
    FROM_WORDS: "Words → ECGs",
    TO_REPORTS: "This ECG → reports",
    TO_ECGS: "This ECG → ECGs",
}
_ORDERS = {
    "csd": (
        "similarity and sureness (CSD)",
        "How far apart the two lie, plus how unsure the model is of each. Of two equally similar "
        "ECGs the cleaner one comes first.",
    ),
    "cosine": (
        "similarity alone (cosine)",
        "Only the direction in which they lie counts. An ECG of which the model is unsure may "
        "come first.",
    ),
}
# For labels about which there is no question; the words of a question come first.
_LABEL_WORDS = {
    "slvh_or_dlv": "Severe LV hypertrophy or dilated left ventricle",
    "flutter": "Atrial flutter",
    "paced": "Paced rhythm",
    "rbbb": "Right bundle branch block",
    "lafb": "Left anterior fascicular block",
    "av_block_1": "First-degree AV block",
    "mi": "Old infarction",
    "pvc": "Ventricular extrasystoles",
    "pac": "Atrial extrasystoles",
    "lvh": "LV hypertrophy",
}


@dataclass(frozen=True)
class Options:
    """How to search.

    Attributes
    ----------
    k : int
    order : {"csd", "cosine"}
    where : ItemFilter
    """

    k: int
    order: str
    where: ItemFilter


@dataclass(frozen=True)
class Beginning:
    """What a search starts from.

    Attributes
    ----------
    query : tuple
        What `query_embedding` takes after the model.
    words : str
        As it follows "nearest to".
    identity : tuple
        Equal as long as it is the same beginning.
    """

    query: tuple[str | Explanation, float | None]
    words: str
    identity: tuple[object, ...]


def from_words(text: str | None) -> Beginning | None:
    """A text to search with, if there is one.

    Parameters
    ----------
    text : str or None

    Returns
    -------
    Beginning or None
    """
    if text is None:
        return None
    # In one line, and short enough for a heading.
    plain = " ".join(text.split())
    return Beginning((text, None), f"“{plain[:60]}{'…' if len(plain) > 60 else ''}”", (text,))


def from_window(current: record.OpenRecord, start_s: float | None) -> Beginning:
    """A window of the open recording.

    Parameters
    ----------
    current : OpenRecord
    start_s : float or None
        Of the window chosen on Explore; None for the surest one.

    Returns
    -------
    Beginning
    """
    track = current.explanation.track
    # None stands for the surest window, whichever that is at the time.
    index = windows.chosen(track) if start_s is not None else services.most_sure_window(track)
    words = f"the open recording, {span_words(track, index)}"
    # The round, since two recordings have windows at the same second.
    identity = (state.Opened.round.value, float(track.start_s[index]))
    return Beginning((current.explanation, float(track.start_s[index])), words, identity)


def leaving_out(where: ItemFilter, item_ids: Sequence[str]) -> ItemFilter:
    """The same filter without these items.

    Parameters
    ----------
    where : ItemFilter
    item_ids : sequence of str

    Returns
    -------
    ItemFilter
    """
    return replace(where, exclude_item_ids=tuple(item_ids))


def mode() -> str:
    """From what to what."""
    chosen = st.segmented_control(
        "Search from",
        list(_MODES),
        format_func=_MODES.__getitem__,
        default=FROM_WORDS,
        required=True,
        key=state.Find.mode.key,
        persist_state="session",
    )
    return chosen or FROM_WORDS


def target(chosen: str) -> str:
    """Which side of the items the query is compared with.

    Parameters
    ----------
    chosen : str
        One of the modes.

    Returns
    -------
    {"ecg", "report"}
    """
    return "report" if chosen == TO_REPORTS else "ecg"


def words() -> str | None:
    """The text to search with; None while there is none.

    Returns
    -------
    str or None
    """
    text = st.text_input(
        "What should the ECG show?",
        value="atrial fibrillation with left bundle branch block",
        key=state.Find.text.key,
        persist_state="session",
        help="One or more findings, each there or absent (“lbbb without af”), in English, German, "
        "French or Spanish. Words in quotation marks are searched as they stand.",
    )
    if not text.strip():
        st.info("Type what to look for, as a report would say it.", icon=":material/search:")
        return None
    return str(text)


def patience(collection: Searched) -> AbstractContextManager[None]:
    """What is shown while a search lasts: of a large collection the first reads all reports.

    Parameters
    ----------
    collection : Searched
    """
    return st.spinner(f"Searching {len(collection):,} ECGs", show_time=True)


def reading_note(model: Model, result: Found, text: str) -> None:
    """How a text was read; of one that stands, which words the model does not know.

    Parameters
    ----------
    model : Model
    result : Found
        For this text.
    text : str
    """
    if result.note:
        st.caption(frame.literal(result.note))
    if result.as_it_stands:
        questions.unknown_words_note(model, services.unknown_words(model, text))


def label_words(name: str) -> str:
    """A label as a clinician would say it: the question about it where there is one.

    Parameters
    ----------
    name : str
        Without ``label_``.

    Returns
    -------
    str
    """
    for prompts in resources.prompt_sets():
        if prompts.label == name:
            return prompts.question
    return _LABEL_WORDS.get(name) or services.scp_label_words(name) or name.replace("_", " ")


def flags_of(collection: Searched) -> list[str]:
    """The labels of a collection to choose among.

    Parameters
    ----------
    collection : Searched

    Returns
    -------
    list of str
        Without those of which no item has it, and with one of several that say the same: PTB-XL's
        rhythm statements are labels of their own, too.
    """
    by_words: dict[str, str] = {}
    plain: set[str] = set()
    for name, count in collection.everything.labels.items():
        of_group = name.startswith(("sub_", "form_", "rhythm_"))
        if not count.n or (of_group and count.digest in plain):
            continue
        if not of_group:
            plain.add(count.digest)
        by_words.setdefault(label_words(name).lower(), name)
    return list(by_words.values())


def labels_of(hit: Hit) -> list[str]:
    """What is known of an item, as a clinician would say it.

    Parameters
    ----------
    hit : Hit

    Returns
    -------
    list of str
        Only findings that are there; those that are not would fill the list.
    """
    words = [label_words(name) for name, value in hit.labels.items() if value is True or value == 1]
    known = list({one.lower(): one for one in reversed(words)}.values())[::-1]
    lvef = hit.labels.get("lvef_pct")
    # As a number it says more than the question about it.
    if isinstance(lvef, float):
        known = [*(k for k in known if k != "LVEF (%)"), f"LVEF {lvef:.0f} %"]
    return known


def options(collection: Searched) -> Options:
    """Order, number and filters; the filters act before the nearest are taken.

    Parameters
    ----------
    collection : Searched
        Gives the labels and sources to choose among.

    Returns
    -------
    Options
    """
    with st.expander("Order and filters", icon=":material/tune:"):
        left, middle, right = st.columns(3, gap="large")
        with left:
            order = st.radio(
                "Order by",
                list(_ORDERS),
                format_func=lambda o: _ORDERS[o][0],
                captions=[words for _, words in _ORDERS.values()],
                key=state.Find.order.key,
                persist_state="session",
            )
        with middle:
            flags, known = flags_of(collection), list(collection.sources)
            wanted = _chosen_of(state.Find.labels, flags, "Only ECGs with", "any finding")
            without = _chosen_of(state.Find.without, flags, "Only ECGs without", "nothing left out")
            sources = _chosen_of(
                state.Find.sources,
                known,
                "Only from these sources",
                "all" if len(known) > 1 else f"all are {known[0]}",
            )
        with right:
            most = st.slider(
                "Highest uncertainty percentile",
                0,
                100,
                100,
                key=state.Find.percentile.key,
                persist_state="session",
                help="Items about whose own ECG the model is less sure are left out.",
            )
            k = st.slider("How many", 1, 50, 10, key=state.Find.k.key, persist_state="session")
        st.caption("Filters act first: of what passes them, the nearest are shown.")
    # The filter would find nothing, and the person would not see why.
    both = sorted(set(wanted) & set(without))
    if both:
        raise ConfigError(
            f"No ECG is both with and without “{label_words(both[0])}”. Take it out on one side."
        )
    where = ItemFilter(
        labels={**dict.fromkeys(wanted, True), **dict.fromkeys(without, False)},
        max_percentile=float(most),
        # None of them chosen means all, as the placeholder says.
        sources=tuple(sources) if sources else None,
    )
    return Options(int(k), order, where)


def _chosen_of(
    entry: state.Entry[list[str]], known: Sequence[str], words: str, placeholder: str
) -> list[str]:
    """A choice among the labels or sources of this collection."""
    # Another collection may not have what was chosen in the last one.
    if entry.is_set:
        entry.follow([name for name in entry.value if name in known])
    return st.multiselect(
        words,
        list(known),
        format_func=label_words if entry is not state.Find.sources else str,
        key=entry.key,
        persist_state="session",
        placeholder=placeholder,
    )


def window_choice(current: record.OpenRecord) -> float | None:
    """Which window to use; None stands for the surest one.

    Parameters
    ----------
    current : OpenRecord

    Returns
    -------
    float or None
        Start in seconds.
    """
    track = current.explanation.track
    surest, chosen = services.most_sure_window(track), windows.chosen(track)
    options = {
        "surest": f"the surest window, {span_words(track, surest)}",
        "chosen": f"the window chosen on Explore, {span_words(track, chosen)}",
    }
    # One choice is no choice; the radio stays, so that it says which window is used.
    if len(track) < 2 or surest == chosen:
        options.pop("chosen")
    choice = st.radio(
        "About which ten seconds",
        list(options),
        format_func=options.__getitem__,
        key=state.Find.window.key,
        persist_state="session",
    )
    index = chosen if choice == "chosen" else surest
    percentile = float(figures.shown_percentile(track)[index])
    if not np.isfinite(percentile):
        st.warning("Nothing was recorded in this window. Choose another one.")
        st.stop()
    st.caption(f"Uncertainty percentile {percentile:.0f}: {percentile_words(percentile)}.")
    return float(track.start_s[index]) if choice == "chosen" else None
