"""The model page: identity, training data, reference cohort."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from echoing_core.services import span_words
from ui import frame, record, resources, state, windows

if TYPE_CHECKING:
    from echoing_core.services import Model


def choice() -> None:
    """Which of the models that ship this session uses; nothing where there is one."""
    names = resources.model_names()
    if len(names) < 2:
        return
    chosen = st.selectbox(
        "Model of this session",
        names,
        # Labelled from settings alone: to name a model is no reason to load it.
        format_func=_label,
        index=names.index(state.App.model.value),
        key="model_choice",
        help="The open recording is looked at again. A comparison, a batch or a collection that "
        "another model made is put away, since figures of two models do not go together.",
    )
    if chosen != state.App.model.value:
        _use(chosen)


def _label(name: str) -> str:
    own, _, kind = name.partition("@")
    if kind:
        return f"{own}, sigma² of {services.SIGMA2_NAMES[kind]}"
    return f"{own} (default)" if own == services.DEFAULT_MODEL else own


def _use(name: str) -> None:
    current = record.opened()
    state.App.model.value = name
    state.forget(
        state.Opened.record,
        state.Opened.job,
        state.Compare.second,
        state.Batch.job,
        state.Own.collections,
        state.Own.gathered,
        state.Find.collection,
        state.Find.trail,
        state.Find.root,
        state.Find.marked,
    )
    if current is not None:
        track = current.explanation.track
        near_s = float(track.start_s[windows.chosen(track)])
        record.look_again(current, current.stride_s, current.vcg_method, near_s)
    st.rerun()


def facts(model: Model) -> None:
    """Name, hash and what it was trained on.

    Parameters
    ----------
    model : Model
    """
    trained = model.trained_on
    with st.container(horizontal=True, gap="large"):
        st.metric("Model", model.name, width="content")
        st.metric(
            "Simulated ECGs in training", f"{trained.get('simulated_ecgs', 0):,}", width="content"
        )
        real = trained.get("real_ecgs", 0)
        # Files of weights do not say; zero would be wrong.
        known = f"{real:,}" if real or not model.imported else "not known"
        st.metric("Real ECGs in training", known, width="content")
    for sentence in dict.fromkeys([*model.lacks.values(), model.sigma2_means]):
        st.markdown(frame.literal(sentence))
    st.caption("Fingerprint (sha256) of the files that it computes with")
    st.code(model.hash, language=None, wrap_lines=True)


def reference(model: Model, current: record.OpenRecord | None) -> None:
    """The reference cohort's sigma^2, and where the chosen window of the recording lies.

    Parameters
    ----------
    model : Model
    current : OpenRecord or None
        Its chosen window is marked.
    """
    cohort = model.reference
    st.subheader("What uncertainty is measured against", anchor=False)
    if cohort.simulated:
        frame.simulated_badge("simulated reference cohort")
    st.markdown(
        f"The percentiles on all pages compare with {cohort.n:,} windows: "
        f"{frame.literal(cohort.name)}."
    )
    marks = []
    if current is not None:
        track = current.explanation.track
        index = windows.chosen(track)
        marks = [(f"window {span_words(track, index)}", float(track.uncertainty[index]))]
    chart, table = st.columns([3, 1], gap="large")
    with chart:
        frame.chart(
            figures.reference_figure(cohort, marks),
            key="reference",
            alt="Histogram of sigma squared in the reference cohort.",
        )
    levels = (5, 25, 50, 75, 95)
    table.table(
        {
            "Percentile": [str(p) for p in levels],
            "Sum of sigma²": [f"{v:.4g}" for v in cohort.value_at(levels)],
        },
        border="horizontal",
        hide_index=True,
    )


def card(model: Model) -> None:
    """The model card, its headings brought under those of the page.

    Parameters
    ----------
    model : Model
    """
    # The page's own subheaders are of the third level; the card starts at the first.
    text = re.sub(r"^(#+) ", r"##\1 ", model.card_markdown, flags=re.MULTILINE)
    heading = "Model card"
    # Tables apart from text: they are drawn as HTML that can have the focus.
    for part in re.split(r"((?:^\|.*\n?)+)", text, flags=re.MULTILINE):
        # The last heading above a table is its name for a screen reader.
        heading = (re.findall(r"^#+ (.*)$", part, flags=re.MULTILINE) or [heading])[-1]
        if part.startswith("|"):
            st.html(_table(part, heading))
        elif part.strip():
            st.markdown(part)


def _table(markdown: str, name: str) -> str:
    """A table of the card that can have the focus, which one in Markdown cannot."""
    heads, *rows = [
        [cell.strip().strip("*`") for cell in line.strip().strip("|").split("|")]
        for line in markdown.strip().splitlines()
        # Without the line of dashes below the header.
        if not re.fullmatch(r"[|:\s-]+", line)
    ]
    return frame.html_table(heads, rows, label=name, css_class="table", row_heads=False)
