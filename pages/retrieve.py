"""Similar ECGs and reports: from words, or from the open recording."""

from __future__ import annotations

import streamlit as st

from echoing_core import services
from ui import frame, gallery, questions, record, resources, take_away

frame.title("Find similar ECGs and reports")
model, index = resources.model(), resources.index()
mode = gallery.mode()
current = record.opened()
left, right = st.columns([4, 8], gap="large")
query: str | services.Explanation | None = None
start_s: float | None = None
with left, frame.guarded():
    if mode == gallery.FROM_WORDS:
        query = gallery.words(model)
    elif current is None:
        record.none_open("search from")
    else:
        record.summary(current)
        query, start_s = current.explanation, questions.window_choice(current, "find_window")
    options = gallery.options(index)
with right, frame.guarded():
    if query is not None:
        hits = services.search(
            index,
            model,
            query,
            options.k,
            order=options.order,
            target=gallery.target(mode),
            where=options.where,
            start_s=start_s,
        )
        words = take_away.query_words(query, gallery.target(mode), current, start_s)
        take_away.add_hits(current, index, hits, words)
        gallery.show_hits(index, hits, mode)
