"""Similar ECGs and reports: from words, from the open recording, or from an ECG that was found."""

from __future__ import annotations

import streamlit as st

from echoing_core.services import query_embedding, reference_distances, search_in_words
from ui import document_parts, frame, opening, record, resources, state, summary
from ui.retrieve import collection, neighbours, search, selection

frame.title("Find similar ECGs and reports")
model = resources.model()
searched = collection.chosen(model)
mode = search.mode()
current = record.opened()
begun: search.Beginning | None = None
with frame.guarded():
    if mode == search.FROM_WORDS:
        if not frame.tells_lack(model, "text"):
            begun = search.from_words(search.words())
    elif current is None:
        record.none_open(
            "search from",
            "The window of your recording that you choose is compared with every ECG and report "
            "of the collection; the nearest come first. A search in words needs no recording.",
            opening.chooser,
        )
    else:
        summary.show(current)
        begun = search.from_window(current, search.window_choice(current))
reading = st.container()
with frame.guarded():
    options = search.options(searched)
    if begun is None:
        st.stop()
    trail = neighbours.trail((state.Find.collection.value, mode, begun.identity))
    neighbours.crumbs(searched, begun.words)
    # The item that was searched from would find itself first.
    among = selection.within(searched, options.where)
    where = search.leaving_out(among, trail[-1:])
    if mode == search.FROM_WORDS and not trail:
        text = str(begun.query[0])
        with search.patience(searched):
            result = search_in_words(
                searched, model, text, options.k, order=options.order, where=where
            )
        with reading:
            search.reading_note(model, result, text)
    else:
        query = searched.gaussian(trail[-1]) if trail else query_embedding(model, *begun.query)
        with search.patience(searched):
            result = searched.search(
                query,
                options.k,
                order=options.order,
                target=search.target(mode),
                where=where,
                scale=reference_distances(model),
            )
    words = neighbours.query_words(searched, begun.words)
    left, right = st.columns([5, 7], gap="large")
    with left, st.container(key="map_side"), frame.guarded():
        neighbours.show_map(searched, result, where, words)
        selection.show(searched, among)
    with right, frame.guarded():
        neighbours.show_list(searched, result)
        document_parts.add_hits(current, searched, result, words, searched_from=trail[-1:])
