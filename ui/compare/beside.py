"""Two windows beside each other as the model sees them: distance, answers, leads."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import services
from echoing_core.services import CALIBRATION_NOTE, answer_line
from ui import frame, questions, resources, state
from ui.compare.sides import Side

if TYPE_CHECKING:
    from echoing_core.records import Answer
    from echoing_core.services import (
        AnswerPair,
        Apart,
        EncodedQuestion,
        LeadPair,
        Model,
        PromptSet,
        Serial,
    )


# Nothing of an upload: distances within the collection that every session searches.
@st.cache_resource(show_spinner="Measuring the collection")
def _between_people(name: str) -> npt.NDArray[np.float64]:
    # By the model's name, since its collection is its own; none for a model without one.
    if not services.shipped_index_fits(resources.model()):
        return np.empty(0)
    return services.distances_between_people(resources.index())


def noisy(one: Side, other: Side, changed: Serial | None) -> bool:
    """Say which of the two is too noisy to compare, and by what that is seen.

    Parameters
    ----------
    one, other : Side
    changed : Serial or None
        What was measured of both; None where it could not be.

    Returns
    -------
    bool
        Whether one is.
    """
    if _same_window(one, other):
        return False
    apart = services.windows_apart(one.track, one.window, other.track, other.window)
    people = services.share_nearer(apart.csd, _between_people(state.App.model.value))
    too_unsure = services.too_unsure(one.percentile, other.percentile, people)
    no_beat = services.too_noisy(changed) if changed is not None else {}
    lines = []
    for number, side in enumerate((one, other)):
        reasons = []
        if too_unsure[number]:
            reasons.append(
                f"with uncertainty at percentile {side.percentile:.0f} it would lie far from the "
                "very same heart, too"
            )
        if number in no_beat:
            why = no_beat[number].removeprefix("too noisy: ")
            reasons.append(f"no beat of it could be measured ({why})")
        if reasons:
            said = "; ".join(reasons)
            lines.append(f"**{side.letter} is too noisy to compare**: {frame.literal(said)}.")
    if not lines:
        return False
    if len(one.track) > 1 or len(other.track) > 1:
        lines.append("Choose a surer window above, or another recording.")
    st.warning("\n\n".join(lines), icon=":material/blur_on:")
    return True


def _same_window(one: Side, other: Side) -> bool:
    return one.explanation is other.explanation and one.window == other.window


def distance(one: Side, other: Side) -> None:
    """How far two windows that are not too noisy are apart, on scales that mean something.

    Parameters
    ----------
    one, other : Side
    """
    apart = services.windows_apart(one.track, one.window, other.track, other.window)
    st.header("How alike are they to the model?", anchor=False)
    if _same_window(one, other):
        st.info("Both are the same window. Choose another time for one of them.")
        return
    # Distances between people of the collection are the scale: CSD alone says nothing to a reader.
    people = services.share_nearer(apart.csd, _between_people(state.App.model.value))
    lines = []
    if math.isfinite(people):
        st.markdown(f"**{alike_words(people)}**")
        # Never "0 of 100", which would claim more than the sample can show.
        farther = f"{100 - people:.0f} of 100" if people <= 99 else "fewer than 1 of 100"
        lines.append(
            "Ten seconds of two different people of the demo collection (simulated) lie farther "
            f"apart than these two in **{farther}** cases."
        )
    # Two times of one recording have one scale of their own, not two.
    sides = (one,) if one.explanation is other.explanation else (one, other)
    short = []
    for at in sides:
        scale = state.remembered(
            f"compare_within_{at.letter}",
            (at.track,),
            partial(services.distances_within, at.explanation),
        )
        share = services.share_nearer(apart.csd, scale)
        which = "this recording" if len(sides) == 1 else f"recording {at.letter}"
        if math.isfinite(share):
            lines.append(
                f"Two windows within {which} lie nearer together than these two in "
                f"**{share:.0f} of 100** cases."
            )
        else:
            short.append(at.letter)
    if short:
        lines.append(
            f"{' and '.join(short)} {'is' if len(short) == 1 else 'are'} too short to say how far "
            "windows of one recording lie from each other."
        )
    st.markdown("\n".join(f"- {line}" for line in lines))
    st.caption(f"{_parts(apart)} Where a window is unsure, it lies far from everything.")


def _parts(apart: Apart) -> str:
    return (
        f"Distance (CSD) {apart.csd:.3f}: {apart.means:.3f} between the means and "
        f"{apart.spread:.3f} from the uncertainty of both."
    )


def alike_words(people: float) -> str:
    """What a percentile among distances of different people means.

    Parameters
    ----------
    people : float
        0..100, from `share_nearer`.

    Returns
    -------
    str
    """
    if people < 5:
        return "Much alike: nearer than nearly all ECGs of two people."
    if people < services.ALIKE_SHARE:
        return "Alike: nearer than most ECGs of two people."
    if people < 75:
        return "As different as the ECGs of two people usually are."
    return "More different than the ECGs of two people usually are."


def answers(model: Model, one: Side, other: Side) -> None:
    """The same questions to both.

    Parameters
    ----------
    model : Model
    one, other : Side
    """
    st.header("Answers to the same questions", anchor=False)
    chosen = questions.choose(state.Compare.questions, "Questions to ask of both")
    if not chosen:
        st.caption("Choose at least one question.")
        return
    # Texts are embedded once for a choice of questions, not on every run.
    encoded = state.remembered("compare_encoded", (model, chosen), partial(_encode, model, chosen))
    pairs = services.answers_beside(
        encoded,
        one.explanation,
        one.window,
        other.explanation,
        other.window,
        [questions.prevalence_of(prompts) for prompts in chosen],
    )
    for side, answer in (("A", pairs[0].one), ("B", pairs[0].other)):
        if words := answer_line(answer).uncertainty:
            st.markdown(f"Uncertainty of {side}: {words}.")
    st.html(
        frame.html_table(
            ("Question", "A", "B", "B less A", "Intervals"),
            [_answer_row(pair) for pair in pairs],
            label="Answers of the model to the same questions in both windows",
            css_class="beside",
        )
    )
    with st.expander("What these answers are worth"):
        for pair in pairs:
            for side, answer in (("A", pair.one), ("B", pair.other)):
                st.markdown(f"- **{side}** {frame.literal(answer_line(answer).text)}")
    st.caption(
        f"{CALIBRATION_NOTE} “Apart”: the intervals have nothing in common; not known where one "
        "is a score. B less A: in points of probability, or of the score where nothing is "
        "calibrated."
    )
    frame.training_note(model)


def _encode(model: Model, chosen: tuple[PromptSet, ...]) -> list[EncodedQuestion]:
    # Embedding texts takes the cores as well as embedding ECGs does.
    with resources.turn():
        return [services.encode_question(model, prompts) for prompts in chosen]


def _answer_row(pair: AnswerPair) -> tuple[str, ...]:
    # In whole points, like the shares beside it: a smaller difference reads as "same".
    points = round(100 * pair.difference)
    return (
        pair.one.question,
        _answer_words(pair.one),
        _answer_words(pair.other),
        "same" if points == 0 else f"{points:+d} points".replace("-", "\u2212"),
        {True: "apart", False: "overlap", None: "not known"}[pair.apart],
    )


def _answer_words(answer: Answer) -> str:
    return f"{answer.verdict}; {answer_line(answer).probability}"


def leads(one: Side, other: Side) -> None:
    """Which leads the model is unsure of in one of the two alone.

    Parameters
    ----------
    one, other : Side
    """
    st.header("Where do they differ in uncertainty?", anchor=False)
    pairs = services.leads_beside(one.explanation, one.window, other.explanation, other.window)
    if not pairs:
        st.caption("This model does not tell which leads its uncertainty comes from.")
        return
    differing = [pair for pair in pairs if pair.differs]
    if not differing:
        st.markdown("No lead is much less sure in one of the two than in the other.")
    else:
        st.markdown("\n".join(f"- {words}" for words in lead_words(differing)))
    with st.expander("All leads"):
        st.html(
            frame.html_table(
                ("Lead", "A", "B", "B less A"),
                [
                    (
                        pair.lead,
                        _level(pair.one),
                        _level(pair.other),
                        ""
                        if math.isnan(pair.difference)
                        else f"{pair.difference:+.0f}".replace("-", "\u2212"),
                    )
                    for pair in pairs
                ],
                label="Uncertainty percentile of each lead in both windows",
                css_class="beside",
            )
        )
        st.caption("Percentile of a window whose leads were all like this one.")


def lead_words(differing: list[LeadPair]) -> list[str]:
    """Leads in sentences: recorded in one alone, surer in A, surer in B.

    Parameters
    ----------
    differing : list of LeadPair

    Returns
    -------
    list of str
        One sentence a group; groups without a lead are left out.
    """
    groups: tuple[tuple[str, Callable[[LeadPair], bool]], ...] = (
        ("Recorded in A alone", lambda p: math.isnan(p.other)),
        ("Recorded in B alone", lambda p: math.isnan(p.one)),
        ("Less sure in A", lambda p: p.difference < 0),
        ("Less sure in B", lambda p: p.difference > 0),
    )
    lines = []
    for words, belongs in groups:
        mine = [p for p in differing if belongs(p)]
        if not mine:
            continue
        if words.startswith("Recorded"):
            named = [p.lead for p in mine]
        else:
            # The lead that differs most first.
            mine.sort(key=lambda p: -abs(p.difference))
            named = [f"{p.lead} (A {p.one:.0f}, B {p.other:.0f})" for p in mine]
        lines.append(f"{words}: {', '.join(named)}.")
    return lines


def _level(percentile: float) -> str:
    return "not recorded" if math.isnan(percentile) else f"{percentile:.0f}"
