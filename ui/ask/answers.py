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
    CALIBRATION_NOTE,
    AnswerCheck,
    AskedWindow,
    EncodedQuestion,
    Model,
    answer_line,
    check_answer,
    span_words,
)
from ui import frame, questions, record, resources, state, windows
from ui.ask import table

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


def places(
    current: record.OpenRecord, rule: str
) -> dict[str, tuple[GaussianEmbedding, AskedWindow]]:
    """What each place that can be asked about is for the model, by its kind."""
    explanation = current.explanation
    track = explanation.track
    # An array of one index keeps the first axis: (1, dim).
    found = {
        kind: (track.embedding[np.array([i])], services.asked_window(explanation, i))
        for kind, i in _windows(current).items()
    }
    if len(track) > 1:
        fused = services.fuse_recording(track, rule)
        found["fused"] = (fused.embedding, services.fused_window(explanation, fused.used))
    return found


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


def with_heads(
    model: Model,
    current: record.OpenRecord,
    place: Place,
    asked: Sequence[EncodedQuestion],
    answers: Sequence[Answer],
) -> list[Answer]:
    """The answers, and after each what heads of the model answer to the same question."""
    prompts = [question.prompts for question in asked]
    # A head that no question leads to could not be chosen, so it always answers.
    known = services.heads_of(model, list(questions.available().values()))
    asked_of = services.heads_of(model, prompts)
    heads = tuple(h for h in model.heads if h in asked_of or h not in known)
    if not heads:
        return list(answers)
    explanation = current.explanation
    embedding, window = places(current, place.rule)[place.kind]
    # A head with an encoder of its own embeds what is asked once more.
    with resources.turn():
        of_heads = services.head_answers(
            model,
            explanation,
            heads,
            embedding,
            window,
            start_s=None
            if place.kind == "fused"
            else float(explanation.track.start_s[_windows(current)[place.kind]]),
            rule=place.rule if place.kind == "fused" else None,
            prevalences=services.head_prevalences(
                heads, prompts, [questions.prevalence_of(p) for p in prompts]
            ),
        )
    return services.beside(prompts, answers, heads, of_heads)


def show_answers(
    model: Model,
    asked: Sequence[EncodedQuestion],
    answers: Sequence[Answer],
    spreads: Sequence[npt.NDArray[np.float64]],
    beside: Sequence[Answer],
) -> tuple[str, ...]:
    """The answers in a table with a dot for each; returns what was noted on them.

    ``beside`` are the answers with those of heads among them, see `with_heads`.
    """
    if model.calibration is None:
        st.warning(
            "This model was never measured on ECGs with known findings: what follows are scores "
            "and no probabilities.",
            icon=":material/rule:",
        )
    lines = [answer_line(answer) for answer in beside]
    note = CALIBRATION_NOTE
    if model.calibration is not None:
        note += f"\n\nCalibrated on {frame.literal(model.calibration.fitted_on)}"
        if model.calibration.measured_on:
            note += f"; worth measured on {frame.literal(model.calibration.measured_on)}, which "
            note += "the model never saw"
        note += "."
    # One window is asked: its uncertainty is that of every answer below.
    told = lines[0].uncertainty if lines else ""
    st.markdown(
        f"Uncertainty of what is asked: **{told}**." if told else "**Answers**",
        help=note,
    )
    with st.container(key="answers_table"):
        st.html(table.answers_table(model, beside, state.Ask.readings.value))
    # A phone shows the numbers without the dots.
    with st.container(key="answers_dots"):
        st.caption(
            "A dot is the probability, the bar its 90 % interval; filled: yes, hollow: no, grey: "
            "not sure enough or a score alone."
        )
    st.caption("“?” says what such answers were worth. Nothing here is a diagnosis.")
    return _details(asked, answers, spreads)


def _details(
    asked: Sequence[EncodedQuestion],
    answers: Sequence[Answer],
    spreads: Sequence[npt.NDArray[np.float64]],
) -> tuple[str, ...]:
    """What the answers are made of, and the check on simulated ECGs."""
    # Scores are checked on the shipped collection alone, whose labels are known to be right.
    demo = resources.shipped_collection()
    checks = [
        None if demo is None else check_answer(demo, question, answer)
        for question, answer in zip(asked, answers, strict=True)
    ]
    with st.expander("Scores behind the answers", icon=":material/functions:"):
        st.table(
            [
                {
                    "Question": frame.literal(answer.question),
                    "Score": f"{100 * answer.score:.0f} of 100",
                    "By wording": f"{100 * spread.min():.0f} to {100 * spread.max():.0f}",
                    "Margin": f"{answer.margin:+.3f} ± {answer.margin_std:.3f}",
                    "Had it among 100 alike": check_words(check),
                }
                for answer, spread, check in zip(answers, spreads, checks, strict=True)
            ],
            border="horizontal",
            hide_index=True,
            alt="Scores behind the answers",
        )
        st.caption(
            "The score is what the model makes of the texts before any calibration. By wording: "
            "the scores that every single pair of one text for yes and one for no would give."
        )
        if any(check is not None for check in checks):
            st.caption(
                "Had it among 100 alike: of the 100 simulated ECGs of the demo collection with "
                "the most similar scores, how many had the finding, and in brackets how many of "
                "100 had it in the whole collection."
            )
    return tuple(
        f"{a.question}: {check_words(c)} of the 100 simulated ECGs with the most similar scores "
        "had it (in brackets: of 100 in the whole collection)"
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
    explanation = current.explanation
    # Always like with like, whatever reading of the percentile is on the screen.
    track = explanation.read_among(all_leads=False).track
    along = [
        question.answers_along(
            track, explanation.lead_set.key, questions.prevalence_of(question.prompts)
        )
        for question in asked
    ]
    names = [question.prompts.question for question in asked]
    st.header("Along the recording", anchor=False)
    marks = [
        (kind, float(track.start_s[i] + track.window_s / 2))
        for kind, i in _windows(current).items()
    ]
    frame.chart(
        figures.answers_along_figure(
            names,
            np.stack([a.probability for a in along]),
            np.stack([a.unsure for a in along]),
            track.start_s,
            track.window_s,
            marks,
            calibrated=[q.is_calibrated(explanation.lead_set.key) for q in asked],
        ),
        key="answers_along",
        alt="A strip for each question from the beginning to the end of the recording, from blue "
        "for no to orange for yes, grey where the answer is not sure enough; the table below says "
        "how much of the recording is of each kind.",
    )
    there = places(current, rule)
    rows = []
    for question, name, everywhere in zip(asked, names, along, strict=True):
        row = {"Question": frame.literal(name)}
        for kind, (embedding, window) in there.items():
            answer = question.answer(embedding, window, questions.prevalence_of(question.prompts))
            row[_PLACES[kind]] = frame.literal(
                f"{answer.verdict}; {answer_line(answer).probability}"
            )
        yes, unsure, no = (f"{share:.0f} %" for share in everywhere.shares_pct)
        rows.append(row | {"Windows: yes": yes, "not sure": unsure, "no": no})
    with st.container(key="answers_places"):
        st.table(rows, border="horizontal", hide_index=True, alt="Answers at each place")
    st.caption(
        "Grey: not sure enough, or nothing recorded if blank. In brackets the 90 % interval. "
        "Windows that lean to yes or no without calibration are counted as such. The windows "
        "overlap, so their number is no number of independent answers."
    )
