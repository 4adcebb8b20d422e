"""Searching the collection: from what, in which order, among which items, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import Hit
from echoing_core.retrieve.search import ItemFilter
from ui import frame, resources

if TYPE_CHECKING:
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.services import Model

FROM_WORDS, TO_REPORTS, TO_ECGS = "words", "reports", "ecgs"
_MODES = {
    FROM_WORDS: "Words → ECGs",
    TO_REPORTS: "This ECG → reports",
    TO_ECGS: "This ECG → ECGs",
}
_ORDERS = {
    "csd": "distance that counts uncertainty (CSD)",
    "cosine": "direction only (cosine of the means)",
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
        help="Write it as a report would.",
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


def options(index: GalleryIndex) -> Options:
    """Order, number and filters; the filters act before the nearest are taken."""
    with st.expander("Order and filters", icon=":material/tune:"):
        order = st.radio(
            "Order by",
            list(_ORDERS),
            format_func=_ORDERS.__getitem__,
            key="find_order",
            persist_state="session",
            help="The first prefers items that the model is sure about among equally similar "
            "ones. The second looks at the direction alone.",
        )
        k = st.slider("How many", 1, 50, 10, key="find_k", persist_state="session")
        flags = [n for n in index.label_names if index.items[f"label_{n}"].dtype == bool]
        wanted = st.multiselect(
            "Only ECGs with",
            flags,
            format_func=label_words,
            key="find_labels",
            persist_state="session",
            placeholder="any finding",
        )
        most = st.slider(
            "Highest uncertainty percentile",
            0,
            100,
            100,
            key="find_percentile",
            persist_state="session",
        )
    where = ItemFilter(labels=dict.fromkeys(wanted, True), max_percentile=float(most))
    return Options(int(k), order, where)


def show_hits(index: GalleryIndex, hits: Sequence[Hit], chosen: str) -> None:
    """The neighbours, nearest first."""
    simulated = bool(index.items["simulated"].all())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(hits)} of {len(index):,} items, nearest first**", width="content")
        if simulated:
            frame.simulated_badge("all items are simulated")
    if not hits:
        st.info("No item passes the filters. Allow more.", icon=":material/filter_alt_off:")
    for hit in hits:
        with st.container(border=True), frame.guarded():
            _hit(index, hit, chosen)


def _hit(index: GalleryIndex, hit: Hit, chosen: str) -> None:
    kind = "CSD" if hit.order == "csd" else "1 − cosine"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{hit.rank}**", width="content")
        st.badge(f"distance {hit.distance:.3f} ({kind})", color="gray")
        st.badge(f"its uncertainty percentile {hit.percentile:.0f}", color="gray")
        if hit.simulated:
            frame.simulated_badge()
        drawn = st.toggle(f"Show ECG {hit.rank}", key=f"draw_{chosen}_{hit.item_id}")
    st.markdown(frame.literal(hit.report))
    findings = [label_words(name) for name, value in hit.labels.items() if value is True]
    lvef = hit.labels.get("lvef_pct")
    if isinstance(lvef, float):
        findings.append(f"LVEF {lvef:.0f} %")
    if findings:
        st.caption("Labels: " + frame.literal(", ".join(findings)))
    if drawn:
        with st.spinner("Drawing the trace again"):
            ecg = services.draw_item(index, hit.item_id)
        with st.container(key=f"paper_hit_{hit.rank}"):
            st.plotly_chart(
                figures.paper_figure(ecg, 0.0, width_px=840),
                key=f"hit_{chosen}_{hit.item_id}",
                theme=None,
                config={"displayModeBar": False},
                alt=f"Leads of item {hit.rank} on ECG paper, 10 seconds.",
            )
