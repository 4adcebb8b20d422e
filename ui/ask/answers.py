"""What is asked about, and what the model answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures, services
from echoing_core.records import Answer, GaussianEmbedding
from echoing_core.services import (
    AnswerCheck,
    EncodedQuestion,
    Model,
    check_answer,
    interval_words,
    percent_words,
    span_words,
)
from ui import frame, questions, record, resources, state, windows

_RULES = {
    "trimmed": "without the worst windows, surer ones counting more",
    "precision": "all windows, surer ones counting more",
}
_PLACES = {"surest": "Surest window", "chosen": "Chosen window", "fused": "Whole recording"}


@dataclass(frozen=True)
class Place:
    """What is asked.

    Attributes
    ----------
    kind : {"surest", "chosen", "fused"}
    rule : {"trimmed", "precision"}
        How windows are fused.
    about : str
        As it follows "questions about".
    """

    kind: str
    rule: str
    about: str


def place_choice(current: record.OpenRecord) -> Place:
    """The surest window, the chosen one, or all windows as one."""
    track = current.explanation.track
    words = {
        kind: f"the {kind} window, {span_words(track, index)}"
        for kind, index in _windows(current).items()
    }
    options = dict(words)
    if len(track) > 1:
        options["fused"] = "the whole recording, its windows put together"
    # A fused or chosen place of another recording may not be there.
    if state.Ask.window.value not in (None, *options):
        state.Ask.window.value = "surest"
    kind = st.radio(
        "What to ask about",
        list(options),
        format_func=lambda k: options[k].capitalize(),
        key=state.Ask.window.key,
        persist_state="session",
    )
    rule = "trimmed"
    if len(track) > 1:
        rule = st.selectbox(
            "How the windows are put together",
            list(_RULES),
            format_func=_RULES.__getitem__,
            key=state.Ask.rule.key,
            persist_state="session",
        )
    return Place(str(kind), str(rule), options[str(kind)])


def embeddings(current: record.OpenRecord, rule: str) -> dict[str, GaussianEmbedding]:
    """What each place that can be asked about is for the model, by its kind."""
    track = current.explanation.track
    # An array of one index keeps the first axis: (1, dim).
    places = {k: track.embedding[np.array([i])] for k, i in _windows(current).items()}
    if len(track) > 1:
        places["fused"] = services.fuse_recording(track, rule).embedding
    return places


def _windows(current: record.OpenRecord) -> dict[str, int]:
    track = current.explanation.track
    numbers = {"surest": services.most_sure_window(track)}
    if windows.chosen(track) != numbers["surest"]:
        numbers["chosen"] = windows.chosen(track)
    # A window without signal has no embedding to ask.
    recorded = {k: i for k, i in numbers.items() if track.valid_fraction[i].max() > 0}
    if not recorded:
        st.warning("Nothing was recorded here that could be asked about.")
        st.stop()
    return recorded


def show_answers(
    model: Model,
    asked: Sequence[EncodedQuestion],
    answers: Sequence[Answer],
    spreads: Sequence[npt.NDArray[np.float64]],
) -> tuple[str, ...]:
    """The answers as dots with intervals and as a table; returns what was noted on them."""
    st.plotly_chart(
        figures.answers_figure(answers, spreads),
        key="answers",
        theme=None,
        config=frame.CHART_CONFIG,
        alt="Probability of yes with its 90 % interval for each question; the table below "
        "holds the same numbers.",
    )
    # Probabilities are checked on the shipped collection alone, whose labels are known to be right.
    demo = resources.collections().get("demo")
    checks = [
        None if demo is None else check_answer(demo, question, answer)
        for question, answer in zip(asked, answers, strict=True)
    ]
    rows = []
    for answer, spread, check in zip(answers, spreads, checks, strict=True):
        row = {
            "Question": frame.literal(answer.question),
            "Probability": percent_words(answer.probability),
            "90 % interval": interval_words(*answer.interval),
            "Answer": answer.verdict,
            "By wording": f"{percent_words(spread.min())} to {percent_words(spread.max())}",
            "Had it among 100 alike": check_words(check),
        }
        rows.append(row)
    with st.container(key="answers_table"):
        st.table(rows, border="horizontal", hide_index=True, alt="Answers of the model")
    for answer in answers:
        questions.unknown_words_note(model, answer.unknown_words, answer.question)
    note = (
        "The interval says how far the answer might move with a cleaner or fuller recording of "
        "the same ECG; where it holds 50 %, the answer is “not sure enough”. It does not say "
        "how often the model is right, and the probabilities are no risks of a patient."
    )
    wording = (
        "By wording (small dots): the answers that every single pair of one text for yes and one "
        "for no would give. Where they lie far apart, the answer hangs on how one asks."
    )
    checked = (
        "Had it among 100 alike: of the 100 simulated ECGs of the demo collection with the most "
        "similar answers, how many had the finding, and in brackets how many of 100 had it in the "
        "whole collection. This is the check of the probabilities; on ECGs of other origin it may "
        "come out differently."
    )
    st.caption(note)
    st.caption(wording)
    if any(check is not None for check in checks):
        st.caption(checked)
    return tuple(
        f"{a.question}: {check_words(c)} of the 100 simulated ECGs with the most similar answers "
        "had it"
        for a, c in zip(answers, checks, strict=True)
        if c is not None
    )


def check_words(check: AnswerCheck | None) -> str:
    """``"64 (9)"``: of 100 with similar answers, and of 100 in all."""
    if check is None:
        return "not known"
    alike = 100 * check.n_with / check.n_similar
    return f"{alike:.0f} ({100 * check.n_all_with / check.n_all:.0f})"


def show_along(
    model: Model, current: record.OpenRecord, asked: Sequence[EncodedQuestion], rule: str
) -> None:
    """The answers at every window, and at each place that can be asked about."""
    track = current.explanation.track
    along = [question.answers_along(track) for question in asked]
    names = [question.prompts.question for question in asked]
    st.subheader("Along the recording", anchor=False)
    marks = [
        (kind, float(track.start_s[i] + track.window_s / 2))
        for kind, i in _windows(current).items()
    ]
    st.plotly_chart(
        figures.answers_along_figure(
            names,
            np.stack([a.probability for a in along]),
            np.stack([(a.low <= 0.5) & (a.high >= 0.5) for a in along]),
            track.start_s,
            track.window_s,
            marks,
        ),
        key="answers_along",
        theme=None,
        config=frame.CHART_CONFIG,
        alt="A strip for each question from the beginning to the end of the recording, from blue "
        "for no to orange for yes, grey where the answer is not sure enough; the table below says "
        "how much of the recording is of each kind.",
    )
    places = embeddings(current, rule)
    rows = []
    for question, name, everywhere in zip(asked, names, along, strict=True):
        row = {"Question": frame.literal(name)}
        for kind, embedding in places.items():
            answer = question.answer(embedding)
            row[_PLACES[kind]] = (
                f"{percent_words(answer.probability)} ({interval_words(*answer.interval)})"
            )
        yes, unsure, no = (f"{share:.0f} %" for share in everywhere.shares_pct)
        rows.append(row | {"Windows: yes": yes, "not sure": unsure, "no": no})
    with st.container(key="answers_places"):
        st.table(rows, border="horizontal", hide_index=True, alt="Answers at each place")
    st.caption(
        "Grey: not sure enough, or nothing recorded if blank. In brackets the 90 % interval. The "
        "windows overlap, so their number is no number of independent answers."
    )
