"""The model page: identity, training data, reference cohort."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from echoing_core.services import span_words
from ui import frame, record, resources, state, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echoing_core.services import Model, PromptSet

# Of the card's sections, those that are longer are folded.
_FOLDED_LINES = 22


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


def abilities(model: Model) -> None:
    """What the model can and cannot do, before anything else is said of it.

    Parameters
    ----------
    model : Model
    """
    can, cannot = ability_lines(model, resources.prompt_sets())
    left, right = st.columns(2, gap="medium")
    for column, heading, icon, lines in (
        (left, "What it can do", ":material/check_circle:", can),
        (right, "What it cannot do", ":material/do_not_disturb_on:", cannot),
    ):
        with column.container(border=True, height="stretch"):
            st.header(f"{icon} {heading}", anchor=False)
            st.markdown("\n".join(f"- {frame.literal(line)}" for line in lines))


def ability_lines(model: Model, known: Sequence[PromptSet]) -> tuple[list[str], list[str]]:
    """What the model can and cannot do, as its folder says.

    Parameters
    ----------
    model : Model
    known : sequence of PromptSet
        The questions that ship.

    Returns
    -------
    can, cannot : list of str
    """
    can, cannot = [], []
    if model.has_sigma2:
        where = ", and which leads and moments that comes from" if model.has_attribution else ""
        can.append(f"Say of each ten seconds how sure it is{where}. {model.sigma2_means}")
    if model.masks_leads:
        can.append("Read recordings of few leads: what is missing is declared, never guessed.")
    calibration = model.calibration
    if model.has_text:
        measured = [p.question for p in known if calibration is not None and calibration.of(p)]
        others = [p.question for p in known if p.question not in measured]
        if measured and calibration is not None:
            can.append(
                f"Answer with a probability that held on {calibration.measured_on or 'real ECGs'}: "
                f"{', '.join(measured)}."
            )
        can.append("Find ECGs and reports that are like a few words, or like a recording.")
        if others:
            cannot.append(
                f"Give a probability, only a score that nobody validated: {', '.join(others)}."
            )
    cannot += model.lacks.values()
    # The card says them once, and they belong to the beginning.
    cannot += re.findall(r"^- (.*)$", _section(model.card_markdown, "Limits"), re.MULTILINE)
    cannot.append("Make a diagnosis: research use only, not a medical device.")
    return can, cannot


def _section(card: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


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
    st.caption("Fingerprint (sha256) of the files that it computes with")
    st.code(model.hash, language=None, wrap_lines=True)


def reference(model: Model, current: record.OpenRecord | None) -> None:
    """The reference cohort's sigma^2, and where the chosen window of the recording lies.

    Nothing where the model has no sigma^2: `abilities` says so.

    Parameters
    ----------
    model : Model
    current : OpenRecord or None
        Its chosen window is marked.
    """
    if not model.has_sigma2:
        return
    cohort = model.reference
    st.header("What uncertainty is measured against", anchor=False)
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
    # What runs to pages of numbers is folded away, each under its heading.
    for part in re.split(r"(?=^#### )", text, flags=re.MULTILINE):
        heading = (re.findall(r"^####+ (.*)$", part, flags=re.MULTILINE) or ["Model card"])[0]
        body = part.partition("\n")[2] if part.startswith("#### ") else part
        if part.count("\n") > _FOLDED_LINES:
            with st.expander(heading, icon=":material/table:"):
                _part(body, heading)
        else:
            _part(part, heading)


def _part(text: str, heading: str) -> None:
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
