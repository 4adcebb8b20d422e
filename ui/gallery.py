"""Searching a collection: from what, in which order, among which items.

Keys of `st.session_state`, all kept from page to page: ``find_mode`` (words, reports, ecgs),
``find_text``, ``find_window`` (surest, chosen), ``find_order`` (csd, cosine), ``find_k``,
``find_labels``, ``find_without``, ``find_sources``, ``find_percentile``, ``find_colour`` (of the
map), ``find_collection`` (demo, folder_0, built, uploaded). Those of the hits are in `neighbours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import services
from echoing_core.errors import ConfigError
from echoing_core.records import Hit
from echoing_core.retrieve.search import ItemFilter
from ui import frame, record, resources, windows

if TYPE_CHECKING:
    from echoing_core.services import Explanation, Model
    from echoing_core.services.collection import Collection

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
    """How to search."""

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
    """A text to search with, if there is one."""
    if text is None:
        return None
    plain = " ".join(text.split())
    return Beginning((text, None), f"“{plain[:60]}{'…' if len(plain) > 60 else ''}”", (text,))


def from_window(current: record.OpenRecord, start_s: float | None) -> Beginning:
    """A window of the open recording."""
    track = current.explanation.track
    index = windows.chosen(track) if start_s is not None else services.most_sure_window(track)
    words = f"the open recording, {windows.span_words(track, index)}"
    identity = (st.session_state.get("record_round", 0), float(track.start_s[index]))
    return Beginning((current.explanation, float(track.start_s[index])), words, identity)


def leaving_out(where: ItemFilter, item_ids: Sequence[str]) -> ItemFilter:
    """The same filter without these items."""
    return replace(where, exclude_item_ids=tuple(item_ids))


def mode() -> str:
    """From what to what."""
    chosen = st.segmented_control(
        "Search from",
        list(_MODES),
        format_func=_MODES.__getitem__,
        default=FROM_WORDS,
        required=True,
        key="find_mode",
        persist_state="session",
    )
    return chosen or FROM_WORDS


def target(chosen: str) -> str:
    """Which side of the items the query is compared with."""
    return "report" if chosen == TO_REPORTS else "ecg"


def words(model: Model) -> str | None:
    """The text to search with; None while there is none."""
    text = st.text_input(
        "What should the ECG show?",
        value="atrial fibrillation with left bundle branch block",
        key="find_text",
        persist_state="session",
        help="Write it as a report would. A long text that is a whole report works too.",
    )
    if not text.strip():
        st.info("Type what to look for, as a report would say it.", icon=":material/search:")
        return None
    unknown = services.unknown_words(model, text)
    if unknown:
        listed = ", ".join(frame.literal(word) for word in unknown)
        if model.saw_words:
            st.warning(
                "The model never saw these words in training and can make little of them: "
                f"{listed}.",
                icon=":material/spellcheck:",
            )
        else:
            st.caption(f"{frame.literal(services.unknown_words_mean(model))}: {listed}.")
    return str(text)


def label_words(name: str) -> str:
    """A label as a clinician would say it: the question about it where there is one."""
    for prompts in resources.prompt_sets():
        if prompts.label == name:
            return prompts.question
    return _LABEL_WORDS.get(name, name.replace("_", " "))


def labels_of(hit: Hit) -> list[str]:
    """What is known of an item, as a clinician would say it."""
    known = [label_words(name) for name, value in hit.labels.items() if value is True or value == 1]
    lvef = hit.labels.get("lvef_pct")
    if isinstance(lvef, float):
        known = [*(k for k in known if k != "LVEF (%)"), f"LVEF {lvef:.0f} %"]
    return known


def options(collection: Collection) -> Options:
    """Order, number and filters; the filters act before the nearest are taken."""
    with st.expander("Order and filters", icon=":material/tune:"):
        left, middle, right = st.columns(3, gap="large")
        with left:
            order = st.radio(
                "Order by",
                list(_ORDERS),
                format_func=lambda o: _ORDERS[o][0],
                captions=[words for _, words in _ORDERS.values()],
                key="find_order",
                persist_state="session",
            )
        with middle:
            wanted = _labels("Only ECGs with", "find_labels", collection)
            without = _labels("Only ECGs without", "find_without", collection)
            sources = _sources(collection)
        with right:
            most = st.slider(
                "Highest uncertainty percentile",
                0,
                100,
                100,
                key="find_percentile",
                persist_state="session",
                help="Items about whose own ECG the model is less sure are left out.",
            )
            k = st.slider("How many", 1, 50, 10, key="find_k", persist_state="session")
        st.caption("Filters act first: of what passes them, the nearest are shown.")
    both = sorted(set(wanted) & set(without))
    if both:
        raise ConfigError(
            f"No ECG is both with and without “{label_words(both[0])}”. Take it out on one side."
        )
    where = ItemFilter(
        labels={**dict.fromkeys(wanted, True), **dict.fromkeys(without, False)},
        max_percentile=float(most),
        sources=tuple(sources) if sources else None,
    )
    return Options(int(k), order, where)


def _labels(words: str, key: str, collection: Collection) -> list[str]:
    # Another collection may not have the label that was chosen in the last one.
    kept = [n for n in st.session_state.get(key, []) if n in collection.flags]
    if key in st.session_state and kept != st.session_state[key]:
        st.session_state[key] = kept
    return st.multiselect(
        words,
        list(collection.flags),
        format_func=label_words,
        key=key,
        persist_state="session",
        placeholder="any finding" if key == "find_labels" else "nothing left out",
    )


def _sources(collection: Collection) -> list[str]:
    kept = [n for n in st.session_state.get("find_sources", []) if n in collection.sources]
    if "find_sources" in st.session_state and kept != st.session_state["find_sources"]:
        st.session_state["find_sources"] = kept
    return st.multiselect(
        "Only from these sources",
        list(collection.sources),
        key="find_sources",
        persist_state="session",
        placeholder="all" if len(collection.sources) > 1 else f"all are {collection.sources[0]}",
    )
