"""What a search found: the list, the map beside it, and the way from hit to hit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import EchoingError
from echoing_core.figures.gallery_map import (
    MOST_POINTS,
    Colouring,
    colour_by_flag,
    colour_by_kind,
    colour_by_percentile,
    gallery_map_data,
)
from echoing_core.records import Hit
from echoing_core.services import Dots, Found, ItemFilter, Searched
from ui import frame, state
from ui.retrieve import search, selection

_MOST_THUMBNAILS = 100

_map = frame.component("gallery_map", "map.css", "map.js")


def trail(root: tuple[Any, ...]) -> list[str]:
    """The items searched from, after the query itself; empty at its beginning.

    Parameters
    ----------
    root : tuple
        What the search began at; equal as long as it is the same.

    Returns
    -------
    list of str
        Item ids.
    """
    if state.Find.root.value != root:
        state.Find.root.value = root
        state.Find.trail.value = []
        state.Find.marked.value = None
    return state.Find.trail.value


def crumbs(collection: Searched, beginning: str) -> None:
    """The searches that led here, each a button back to it.

    Parameters
    ----------
    collection : Searched
    beginning : str
        What the first search was from.
    """
    steps = state.Find.trail.value
    if not steps:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="find_crumbs"):
        st.markdown("Searched from", width="content")
        names = [beginning, *(_short(collection, item) for item in steps)]
        for number, name in enumerate(names):
            if number == len(names) - 1:
                st.markdown(f"› **{frame.literal(name)}**", width="content")
            else:
                st.button(
                    frame.literal(name), key=f"find_crumb_{number}", on_click=_back, args=(number,),
                    help="Back to this search", icon=":material/arrow_back:",
                )  # fmt: skip


def query_words(collection: Searched, beginning: str) -> str:
    """What the present search is from, as it follows "nearest to".

    Parameters
    ----------
    collection : Searched
    beginning : str
        What the first search was from.

    Returns
    -------
    str
    """
    steps = state.Find.trail.value
    return _short(collection, steps[-1]) if steps else beginning


def _short(collection: Searched, item_id: str) -> str:
    return f"ECG {collection.items([item_id])[item_id].record_id}"[:40]


def _back(number: int) -> None:
    steps = state.Find.trail.value
    # Where one came from stays marked.
    state.Find.marked.value = steps[number] if number < len(steps) else None
    state.Find.trail.value = steps[:number]


def _search_from(item_id: str) -> None:
    state.Find.trail.value = [*state.Find.trail.value, item_id]
    state.Find.marked.value = None


def _mark(item_id: str) -> None:
    state.Find.marked.value = None if state.Find.marked.value == item_id else item_id


def show_map(collection: Searched, result: Found, where: ItemFilter, query_words: str) -> None:
    """The collection from above, with the hits, the query and the marked item.

    Parameters
    ----------
    collection : Searched
    result : Found
    where : ItemFilter
    query_words : str
        From what was searched.
    """
    options = {
        "uncertainty": "uncertainty",
        **{n: search.label_words(n) for n in search.flags_of(collection)},
    }
    if len(collection.sources) > 1:
        options["source"] = "source"
    if state.Find.colour.value not in options:
        state.Find.colour.value = "uncertainty"
    picked = st.selectbox(
        "Colour of the map",
        list(options),
        format_func=options.__getitem__,
        key=state.Find.colour.key,
        persist_state="session",
    )
    marked = state.Find.marked.value
    shown = [hit.item_id for hit in result.hits] + ([] if marked is None else [marked])
    row_of = {item_id: item.row for item_id, item in collection.items(shown).items()}
    dots = collection.dots(shown)
    data = gallery_map_data(
        dots.xy,
        dots.items["percentile"].to_numpy(),
        _colouring(collection, dots, picked or "uncertainty", options),
        explained=dots.plane.explained,
        # Those that do not pass are drawn, too.
        passing=dots.passing(where),
        hits=[row_of[hit.item_id] for hit in result.hits],
        query=dots.plane.place(result.query.mu)[0],
        chosen=None if marked is None else row_of[marked],
        area=selection.area(collection),
        numbers=dots.rows if len(dots.rows) < len(collection) else None,
    )
    # Dots are named by row, so a late click on the map of another collection must not count.
    identity = selection.map_identity(collection)
    _map(
        key="find_map",
        data={**data, "identity": identity},
        on_chosen_change=partial(_take, collection, identity),
        on_area_change=partial(selection.take_area, collection),
    )
    share = 100 * sum(dots.plane.explained)
    n_drawn = min(len(dots.rows), MOST_POINTS)
    some = (
        f" Drawn are {n_drawn:,} of {len(collection):,} ECGs, spread evenly over the collection, "
        "and what was found; searched and counted are all."
        if n_drawn < len(collection)
        else ""
    )
    st.caption(
        f"The diamond is {frame.literal(query_words)}; ringed dots are what was found. The map "
        f"keeps {share:.0f} % of the variance of the {collection.dim} dimensions: neighbours are "
        f"those of all of them, and may lie apart here.{some}"
    )


def _colouring(collection: Searched, dots: Dots, picked: str, options: dict[str, str]) -> Colouring:
    items = dots.items
    if picked == "uncertainty":
        return colour_by_percentile(items["percentile"].to_numpy())
    if picked == "source":
        return colour_by_kind([str(s) for s in items["source"]], "source")
    found = colour_by_flag(items[f"label_{picked}"].to_numpy(), options[picked])
    count = collection.everything.labels[picked]
    # Of all, whichever are drawn.
    counts = (count.n_known - count.n, count.n, len(collection) - count.n_known)
    return replace(found, counts=counts)


def _take(collection: Searched, identity: str) -> None:
    chosen = state.sent_by("find_map").get("chosen")
    if not isinstance(chosen, dict) or chosen.get("identity") != identity:
        return
    row = chosen.get("row")
    # Sent by the browser, so it may be anything.
    if isinstance(row, int) and 0 <= row < len(collection):
        state.Find.marked.value = collection.item_id(row)


def show_list(collection: Searched, result: Found) -> None:
    """The marked item if it is elsewhere, then what was found, by rank.

    Parameters
    ----------
    collection : Searched
    result : Found
    """
    hits = result.hits
    # The item searched from is neither found nor filtered away.
    others = result.n_compared - bool(state.Find.trail.value)
    first = "best match first" if result.by_fit else "nearest first"
    words = f"**{len(hits)} of {others:,} items, {first}**"
    if result.n_passing < others:
        words += f" ({result.n_passing:,} pass the filters)"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(words, width="content")
        if collection.simulated:
            frame.simulated_badge("all items are simulated")
    if not hits:
        st.info("No item passes the filters. Allow more.", icon=":material/filter_alt_off:")
    marked = state.Find.marked.value
    if marked is not None and marked not in {hit.item_id for hit in hits}:
        st.markdown("**Chosen on the map**, not among those listed")
        with frame.guarded():
            _hit(collection, result, collection.as_hit(result, marked), True)
    elif marked is not None:
        place = next(hit.rank for hit in hits if hit.item_id == marked)
        st.markdown(f"Marked: number **{place}** of the list")
    if result.close is False:
        st.warning(frame.literal(result.far), icon=":material/search_off:")
    # What is far is no answer; it can be looked at all the same.
    with st.expander("What is found all the same") if result.close is False else st.container():
        for hit in hits:
            with frame.guarded():
                _hit(collection, result, hit, hit.item_id == marked)
    if hits:
        st.caption(scale_words(result))


def scale_words(result: Found) -> str:
    """By what nearness is told, or that it cannot be.

    Parameters
    ----------
    result : Found

    Returns
    -------
    str
    """
    if result.scale is None:
        return (
            "This model's folder has no reference distances, so nothing is said of how near an "
            "item is. Measure them with: echoing evaluate distances --write"
        )
    return f"How near is near is told by {frame.literal(result.scale.source)}."


def _hit(collection: Searched, result: Found, hit: Hit, marked: bool) -> None:
    key = f"hit_marked_{hit.item_id}" if marked else f"card_{hit.item_id}"
    with st.container(border=True, key=key, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="top", gap="small"):
            st.html(_thumbnail(collection, hit), width=156)
            # A width of its own: what is left beside the picture, or a line below it on a phone.
            with st.container(width="stretch", gap="xsmall", key=f"hit_words_{hit.item_id}"):
                _first_line(collection, result, hit)
                _own_report(collection, hit)
                _second_line(result, hit)
                drawn = _actions(hit, marked)
        if drawn:
            _trace(collection, hit)


def _actions(hit: Hit, marked: bool) -> bool:
    """What can be done with an item; returns whether its ECG is to be drawn."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        drawn = st.toggle(f"Show ECG {hit.rank}", key=f"draw_{hit.item_id}")
        st.button(
            "Unmark" if marked else "Mark on the map",
            key=f"mark_{hit.item_id}", icon=":material/location_on:", type="tertiary",
            on_click=_mark, args=(hit.item_id,), help=f"Item {hit.rank} of the list",
        )  # fmt: skip
        st.button(
            "Search from this one",
            key=f"from_{hit.item_id}", icon=":material/search:", type="tertiary",
            on_click=_search_from, args=(hit.item_id,),
            help=f"Search with the ECG of item {hit.rank}",
        )  # fmt: skip
    return bool(drawn)


def _first_line(collection: Searched, result: Found, hit: Hit) -> None:
    """Rank, how near, and the report with the words that matched."""
    reasons = dict(zip((h.item_id for h in result.hits), result.reasons, strict=False))
    why = reasons.get(hit.item_id, "")
    # In one text, so that a long report goes on below its number.
    parts = [f"**{hit.rank or '–'}**"]
    if near := _near(result, hit):
        colour = {"near": "green", "middling": "blue", "far": "gray"}[near]
        parts.append(f":{colour}-badge[{near}]")
    if hit.simulated and not collection.simulated:
        parts.append(":violet-badge[simulated]")
    if len(collection.sources) > 1:
        source = frame.literal(collection.items([hit.item_id])[hit.item_id].source)
        parts.append(f":gray-badge[{source}]")
    st.markdown(" ".join([*parts, report_words(hit.report, why)]))


def _own_report(collection: Searched, hit: Hit) -> None:
    """The report as it was written, where the English above is another text."""
    item = collection.items([hit.item_id])[hit.item_id]
    parts = []
    if item.original and item.original != hit.report:
        parts.append(f"As written: _{frame.literal(item.original)}_")
    if item.translated and item.translated != hit.report:
        parts.append(f"Translated: _{frame.literal(item.translated)}_")
    if parts:
        said = (
            "The first line is in English and what is searched in; of PTB-XL it is worded from the "
            "ECG's SCP statements."
        )
        st.caption(" · ".join(parts), help=said)


def _near(result: Found, hit: Hit) -> str:
    return "" if result.by_fit or not np.isfinite(hit.distance) else result.nearness(hit.distance)


def report_words(report: str, why: str) -> str:
    """A report for Markdown, what matched in it in bold; else why it was found after it.

    Parameters
    ----------
    report : str
        Of the item.
    why : str
        As `Found.reasons` says it: may quote the report between “ and ”.

    Returns
    -------
    str
    """
    _, _, rest = why.partition("“")
    quoted, closed, _ = rest.partition("”")
    at = report.lower().find(quoted.lower()) if closed and quoted else -1
    if at < 0:
        told = f" :blue[Why:] {frame.literal(why)}" if why else ""
        return (frame.literal(report) or "_no report_") + told
    before, after = report[:at], report[at + len(quoted) :]
    # Spaces are put back where `literal` takes those at the ends of a part away.
    left = f"{frame.literal(before)}{' ' if before[-1:].isspace() else ''}"
    right = f"{' ' if after[:1].isspace() else ''}{frame.literal(after)}"
    return f"{left}**{frame.literal(report[at : at + len(quoted)])}**{right}"


def _second_line(result: Found, hit: Hit) -> None:
    parts = [frame.literal(", ".join(search.labels_of(hit)))]
    parts.append(f"uncertainty percentile {hit.percentile:.0f}")
    if not result.by_fit:
        kind = "CSD" if hit.order == "csd" else "1 − cosine"
        parts.append(f"distance {hit.distance:.3f} ({kind})")
    said = f"This ECG is {result.distance_words(hit.distance)}." if _near(result, hit) else None
    st.caption(" · ".join(part for part in parts if part), help=said)


def _thumbnail(collection: Searched, hit: Hit) -> str:
    """Ten seconds of one lead as a small picture; drawn once for each item of a session."""
    kept = state.Find.thumbnails.value
    name = f"{state.Find.collection.value}:{len(collection)}:{hit.item_id}"
    if name not in kept:
        while len(kept) >= _MOST_THUMBNAILS:
            del kept[next(iter(kept))]
        try:
            kept[name] = figures.thumbnail_svg(collection.draw(hit.item_id))
        except EchoingError:
            # Of a real recording an index may hold no trace.
            kept[name] = ""
    if not kept[name]:
        return '<span class="thumb none">no trace kept</span>'
    return frame.picture(kept[name], f"Item {hit.rank}: ten seconds of one lead", "thumb")


def _trace(collection: Searched, hit: Hit) -> None:
    st.caption(frame.literal(hit.record_id))
    ecg = collection.draw(hit.item_id)
    with st.container(key=f"paper_hit_{hit.item_id}"):
        alt = f"Leads of item {hit.rank} on ECG paper, 10 seconds."
        st.html(frame.picture(services.ecg_paper_svg(ecg), alt, "hit_paper"))
    if ecg.leads_with("derived"):
        st.caption("Leads in blue are derived, not measured.")
    if ecg.leads_with("missing"):
        st.caption(f"Not recorded: {', '.join(ecg.leads_with('missing'))}.")
