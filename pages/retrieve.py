"""Similar ECGs and reports: from words, from the open recording, or from an ECG that was found."""

from __future__ import annotations

import streamlit as st

from echoing_core.services.collection import find, query_embedding
from ui import collection, frame, gallery, neighbours, questions, record, resources, take_away

frame.title("Find similar ECGs and reports")
model = resources.model()
searched = collection.chosen(model)
mode = gallery.mode()
current = record.opened()
begun: gallery.Beginning | None = None
with frame.guarded():
    if mode == gallery.FROM_WORDS:
        begun = gallery.from_words(gallery.words(model))
    elif current is None:
        record.none_open(
            "search from",
            "The window of your recording that you choose is compared with every ECG and report "
            "of the collection; the nearest come first. A search in words needs no recording.",
        )
    else:
        record.summary(current)
        begun = gallery.from_window(current, questions.window_choice(current, "find_window"))
with frame.guarded():
    options = gallery.options(searched)
    if begun is None:
        st.stop()
    trail = neighbours.trail((st.session_state["find_collection"], mode, begun.identity))
    neighbours.crumbs(searched, begun.words)
    # The item that was searched from would find itself first.
    where = gallery.leaving_out(options.where, trail[-1:])
    query = searched.gaussian(trail[-1]) if trail else query_embedding(model, *begun.query)
    found = find(
        searched,
        query,
        options.k,
        order=options.order,
        target=gallery.target(mode),
        where=where,
        from_text=mode == gallery.FROM_WORDS and not trail,
    )
    words = neighbours.query_words(searched, begun.words)
    left, right = st.columns([5, 7], gap="large")
    with left, st.container(key="map_side"), frame.guarded():
        neighbours.show_map(searched, found, where, words)
    with right, frame.guarded():
        neighbours.show_list(searched, found)
        take_away.add_hits(current, searched.index, found.hits, words)
