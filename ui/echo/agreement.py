"""Whether ECG and echocardiogram agree, and how far they lie apart."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from echoing_core.services import answer_line, span_words
from ui import frame, state
from ui.echo.reading import VERDICTS

if TYPE_CHECKING:
    from echoing_core.services import EchoBeside, EchoComparison, EchoDistance, Model
    from ui.record import OpenRecord
    from ui.state import ReadEcho

_TOLD = {
    "agree": "they agree",
    "disagree": "they disagree",
    "cannot be told": "cannot be told",
}


def show(model: Model, current: OpenRecord | None, read: ReadEcho) -> None:
    """The ECG's own answers beside the echocardiogram, and the distance of the two.

    Parameters
    ----------
    model : Model
    current : OpenRecord or None
        Without one, the page says what it is needed for.
    read : ReadEcho
    """
    st.header("Do the ECG and the echocardiogram agree?", anchor=False)
    if current is None:
        st.info(
            "Open a recording to hold it against this echocardiogram.",
            icon=":material/folder_open:",
        )
        st.page_link("pages/explore.py", label="Open a recording", icon=":material/ecg_heart:")
        return
    explanation = current.explanation
    track = explanation.track
    index = services.most_sure_window(track)
    if not track.valid_fraction[index].max() > 0:
        st.warning("Nothing was recorded in this ECG that could be asked about.")
        return
    # Texts are embedded and asked once for a recording and an echo, not on every run.
    beside = state.remembered(
        "echo_beside",
        (model, track, read),
        partial(services.beside_ecg, model, explanation, read.reading, window=index),
    )
    st.caption(
        f"{frame.literal(explanation.recording_id)}, its surest window, {span_words(track, index)}."
    )
    for caution in beside.cautions:
        st.warning(frame.literal(caution), icon=":material/warning:")
    st.html(
        frame.html_table(
            ("Question", "The ECG model says", "The echo teacher reads", "Do they agree?"),
            [_row(one) for one in beside.comparisons],
            label="Answers of the ECG beside readings of the echocardiogram",
            css_class="beside sentences",
        )
    )
    st.markdown(_summary(beside))
    frame.training_note(model)
    _distance(beside)


def _row(one: EchoComparison) -> tuple[str, str, str, str]:
    line = answer_line(one.answer)
    return (
        one.name,
        f"{line.answer}; {line.probability}",
        VERDICTS[one.finding.verdict],
        _TOLD[one.agreement],
    )


def _summary(beside: EchoBeside) -> str:
    kinds = [one.agreement for one in beside.comparisons]
    agree, disagree = kinds.count("agree"), kinds.count("disagree")
    told = agree + disagree
    if not told:
        return "Nowhere do both say yes or no, so agreement cannot be told."
    names = {
        kind: ", ".join(one.name for one in beside.comparisons if one.agreement == kind)
        for kind in ("agree", "disagree")
    }
    words = f"Both say yes or no on {told} of {len(kinds)} findings. "
    if agree:
        words += f"They **agree** on {frame.literal(names['agree'])}. "
    if disagree:
        words += (
            f"They **disagree** on {frame.literal(names['disagree'])}: an echocardiogram measures "
            "the heart, an ECG only hints at it, so look at the echocardiogram first, and make "
            "sure that both are of one person and near in time."
        )
    return words.strip()


def _distance(beside: EchoBeside) -> None:
    st.markdown("**How far apart are they?**")
    apart: EchoDistance | None = beside.distance
    if apart is None:
        st.info(frame.literal(beside.no_distance), icon=":material/straighten:")
        return
    own, other = apart.pairs.own_farther_pct(apart.csd), apart.pairs.other_farther_pct(apart.csd)
    st.markdown(
        f"Distance (CSD) **{apart.csd:.3f}**. {apart.words} Of the reference pairs of one heart "
        f"{_farther(own)} lie farther apart, of those of two people {_farther(other)}."
    )
    frame.chart(
        figures.echo_distance_figure(apart.pairs.own, apart.pairs.other, apart.csd),
        key="echo_distance",
        alt="Distances of reference pairs of one heart and of two people, and this pair's.",
    )
    if apart.pairs.simulated:
        frame.simulated_badge("simulated reference pairs")
    st.caption(
        f"Reference pairs: {frame.literal(apart.pairs.source)}. How often a pair of one heart is "
        f"nearer than one of two people: {100 * apart.pairs.auroc:.0f} of 100."
    )


def _farther(percent: float) -> str:
    # Never 0 or 100: a finite sample does not know them.
    if percent < 1.0:
        return "fewer than 1 of 100"
    return "more than 99 of 100" if percent > 99.0 else f"{percent:.0f} of 100"
