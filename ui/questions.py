"""Questions to the model: which, in what wording, and what it answers.

Keys of `st.session_state`, all kept from page to page: ``questions`` (names of the chosen ones),
``own_questions`` (those that the person added or loaded), ``wording_positive_NAME`` and
``wording_negative_NAME`` (texts, one a line), ``ask_window`` (surest, chosen, fused), ``ask_rule``
(trimmed, precision).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import streamlit as st

from echoing_core import figures, services
from echoing_core.errors import ConfigError, EchoingError
from echoing_core.export.document.content import interval_words, percent_words
from echoing_core.records import Answer, GaussianEmbedding
from echoing_core.services import Model, PromptSet
from echoing_core.services.questioning import (
    Checked,
    EncodedQuestion,
    answer_encoded,
    answers_along,
    check_answer,
    encode_question,
)
from echoing_core.services.report import percentile_words
from echoing_core.zeroshot.prompts import parse_prompt_sets, prompt_sets_text
from ui import frame, record, resources, windows

_RULES = {
    "trimmed": "without the worst windows, surer ones counting more",
    "precision": "all windows, surer ones counting more",
}
_PLACES = {"surest": "Surest window", "chosen": "Chosen window", "fused": "Whole recording"}
_MOST_KNOWN = 200
# Wide tables scroll in their own box, never the page.
_STYLE = """<style>
.st-key-answers_table, .st-key-answers_places { overflow-x: auto; }
.st-key-answers_table table, .st-key-answers_places table { min-width: 36rem; }
</style>"""


def window_choice(current: record.OpenRecord, key: str) -> float | None:
    """Which window to use; None stands for the surest one."""
    track = current.explanation.track
    surest, chosen = services.most_sure_window(track), windows.chosen(track)
    options = {
        "surest": f"the surest window, {windows.span_words(track, surest)}",
        "chosen": f"the window chosen on Explore, {windows.span_words(track, chosen)}",
    }
    if len(track) < 2 or surest == chosen:
        options.pop("chosen")
    choice = st.radio(
        "About which ten seconds",
        list(options),
        format_func=options.__getitem__,
        key=key,
        persist_state="session",
    )
    index = chosen if choice == "chosen" else surest
    percentile = float(figures.shown_percentile(track)[index])
    if not np.isfinite(percentile):
        st.warning("Nothing was recorded in this window. Choose another one.")
        st.stop()
    st.caption(f"Uncertainty percentile {percentile:.0f}: {percentile_words(percentile)}.")
    return float(track.start_s[index]) if choice == "chosen" else None


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
        kind: f"the {kind} window, {windows.span_words(track, index)}"
        for kind, index in _windows(current).items()
    }
    options = dict(words)
    if len(track) > 1:
        options["fused"] = "the whole recording, its windows put together"
    if st.session_state.get("ask_window") not in (None, *options):
        st.session_state["ask_window"] = "surest"
    kind = st.radio(
        "What to ask about",
        list(options),
        format_func=lambda k: options[k].capitalize(),
        key="ask_window",
        persist_state="session",
    )
    rule = "trimmed"
    if len(track) > 1:
        rule = st.selectbox(
            "How the windows are put together",
            list(_RULES),
            format_func=_RULES.__getitem__,
            key="ask_rule",
            persist_state="session",
        )
    return Place(str(kind), str(rule), options[str(kind)])


def embeddings(current: record.OpenRecord, rule: str) -> dict[str, GaussianEmbedding]:
    """What each place that can be asked about is for the model, by its kind."""
    track = current.explanation.track
    places = {k: track.embedding[np.array([i])] for k, i in _windows(current).items()}
    if len(track) > 1:
        places["fused"] = services.fuse_recording(track, rule).embedding
    return places


def _windows(current: record.OpenRecord) -> dict[str, int]:
    track = current.explanation.track
    found = {"surest": services.most_sure_window(track)}
    if windows.chosen(track) != found["surest"]:
        found["chosen"] = windows.chosen(track)
    said = {k: i for k, i in found.items() if track.valid_fraction[i].max() > 0}
    if not said:
        st.warning("Nothing was recorded here that could be asked about.")
        st.stop()
    return said


def picked() -> tuple[PromptSet, ...]:
    """The questions to ask, each with the wording that the person gave it."""
    if "questions" not in st.session_state:
        st.session_state["questions"] = [p.name for p in resources.prompt_sets()]
    _add_submitted()
    available = {p.name: p for p in (*resources.prompt_sets(), *_own())}
    names = st.pills(
        "Questions to ask",
        list(available),
        selection_mode="multi",
        format_func=lambda name: frame.literal(available[name].question),
        key="questions",
        persist_state="session",
        wrap=True,
    )
    _own_question()
    chosen = [available[name] for name in available if name in (names or [])]
    with st.expander("Wording of the questions", icon=":material/edit:"):
        _editor(chosen)
    worded = tuple(p for p in (_worded(p) for p in chosen) if p is not None)
    with st.expander("Save and load questions", icon=":material/save:"):
        _files(worded)
    return worded


def _own() -> list[PromptSet]:
    own: list[PromptSet] = st.session_state.setdefault("own_questions", [])
    return own


def _own_question() -> None:
    with st.form("own_question", clear_on_submit=True, border=False):
        st.text_input(
            "A question of your own",
            placeholder="a finding in words, for example: left anterior fascicular block",
            key="own_text",
        )
        st.form_submit_button("Add question", icon=":material/add:", on_click=_take_own)


def _take_own() -> None:
    st.session_state["own_submitted"] = st.session_state["own_text"]


def _add_submitted() -> None:
    """Add what was typed before the list is drawn, so that it shows up in it."""
    text = st.session_state.pop("own_submitted", None)
    if text is None:
        return
    with frame.guarded():
        new = services.as_prompt_sets(text)[0]
        if new.question.lower() in {p.question.lower() for p in _own()}:
            raise ConfigError(f"The question {new.question!r} is already in the list.")
        # A name of our own: two texts without Latin letters would otherwise share one.
        named = replace(new, name=f"own_{len(_own()) + 1}")
        _own().append(named)
        st.session_state["questions"] = [*st.session_state["questions"], named.name]


def _files(worded: Sequence[PromptSet]) -> None:
    """The chosen questions, as worded, to a file and back."""
    st.download_button(
        f"Save these {len(worded)} questions",
        lambda: prompt_sets_text(worded),
        "questions.yaml",
        "application/yaml",
        on_click="ignore",
        icon=":material/download:",
        key="questions_save",
        disabled=not worded,
    )
    st.file_uploader(
        "Load questions (a .yaml file that was saved here, or written by hand)",
        type=["yaml", "yml"],
        key="questions_file",
        on_change=_take_file,
    )
    note, problem = st.session_state.get("questions_note", ("", ""))
    if problem:
        st.error(frame.literal(problem), icon=":material/error:")
    elif note:
        st.success(note, icon=":material/check:")


def _take_file() -> None:
    upload = st.session_state["questions_file"]
    if upload is None:
        st.session_state.pop("questions_note", None)
        return
    try:
        loaded = parse_prompt_sets(upload.getvalue(), "The file")
    except EchoingError as error:
        st.session_state["questions_note"] = ("", str(error))
        return
    names = [_adopted(prompts) for prompts in loaded]
    st.session_state["questions"] = names
    st.session_state["questions_note"] = (f"{len(names)} questions were loaded and chosen.", "")


def _adopted(loaded: PromptSet) -> str:
    """The name under which a loaded question is in the list; one that is there already stays."""
    there = {p.name: p for p in (*resources.prompt_sets(), *_own())}
    for name, known in there.items():
        if replace(loaded, name=name) == known and _worded(known) == known:
            return name
    name, number = loaded.name, 2
    while name in there:
        name, number = f"{loaded.name}_{number}", number + 1
    _own().append(replace(loaded, name=name))
    return name


def _editor(chosen: Sequence[PromptSet]) -> None:
    if not chosen:
        st.caption("Choose a question above to see its wording.")
        return
    by_name = {p.name: p for p in chosen}
    name = st.selectbox(
        "Question to reword",
        list(by_name),
        format_func=lambda n: by_name[n].question,
    )
    st.caption(
        "The model compares the ECG with texts that say yes and texts that say no, one a line. "
        "Write them as a report would."
    )
    shipped, sides = by_name[name], st.columns(2)
    for column, side, words in zip(sides, ("positive", "negative"), ("yes", "no"), strict=True):
        key = f"wording_{side}_{name}"
        if key not in st.session_state:
            st.session_state[key] = "\n".join(getattr(shipped, side))
        column.text_area(f"Texts that say {words}", key=key, height=190, persist_state="session")
    st.button("Back to the original wording", on_click=_reset, args=(shipped,))


def _reset(shipped: PromptSet) -> None:
    for side in ("positive", "negative"):
        st.session_state[f"wording_{side}_{shipped.name}"] = "\n".join(getattr(shipped, side))


def _worded(shipped: PromptSet) -> PromptSet | None:
    """The question as reworded; None, and a sentence on the page, if that cannot be asked."""
    sides = {"positive": shipped.positive, "negative": shipped.negative}
    for side in sides:
        text = st.session_state.get(f"wording_{side}_{shipped.name}")
        if text is not None:
            lines = (" ".join(line.split()) for line in text.splitlines())
            sides[side] = tuple(line for line in lines if line)
    with frame.guarded():
        return replace(shipped, positive=sides["positive"], negative=sides["negative"])
    return None


def encoded(model: Model, chosen: Sequence[PromptSet]) -> list[EncodedQuestion]:
    """The questions with their texts embedded; each wording once a session."""
    known: dict[tuple[str, PromptSet], EncodedQuestion]
    known = st.session_state.setdefault("questions_encoded", {})
    new = [p for p in chosen if (model.hash, p) not in known]
    if len(known) + len(new) > _MOST_KNOWN:
        known.clear()
        new = list(chosen)
    with st.spinner("Reading the wording") if new else nullcontext():
        for prompts in new:
            known[model.hash, prompts] = encode_question(model, prompts)
    return [known[model.hash, prompts] for prompts in chosen]


def show_answers(
    model: Model,
    asked: Sequence[EncodedQuestion],
    answers: Sequence[Answer],
    spreads: Sequence[npt.NDArray[np.float64]],
) -> tuple[str, ...]:
    """The answers as dots with intervals and as a table; returns what was noted on them."""
    st.html(_STYLE)
    st.plotly_chart(
        figures.answers_figure(answers, spreads),
        key="answers",
        theme=None,
        config=windows.CHART_CONFIG,
        alt="Probability of yes with its 90 % interval for each question; the table below "
        "holds the same numbers.",
    )
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
    _unknown(model, answers)
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


def check_words(check: Checked | None) -> str:
    """``"64 (9)"``: of 100 with similar answers, and of 100 in all."""
    if check is None:
        return "not known"
    alike = 100 * check.n_with / check.n_similar
    return f"{alike:.0f} ({100 * check.n_all_with / check.n_all:.0f})"


def _unknown(model: Model, answers: Sequence[Answer]) -> None:
    for answer in answers:
        if not answer.unknown_words:
            continue
        words = ", ".join(frame.literal(word) for word in answer.unknown_words)
        if not model.saw_words:
            meaning = frame.literal(services.unknown_words_mean(model))
            st.caption(f"{frame.literal(answer.question)}. {meaning}: {words}.")
            continue
        st.warning(
            f"{frame.literal(answer.question)}: the model never saw these words in training "
            f"and can make little of them: {words}.",
            icon=":material/spellcheck:",
        )


def show_along(
    model: Model, current: record.OpenRecord, asked: Sequence[EncodedQuestion], rule: str
) -> None:
    """The answers at every window, and at each place that can be asked about."""
    track = current.explanation.track
    along = [answers_along(model, track, question) for question in asked]
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
        config=windows.CHART_CONFIG,
        alt="A strip for each question from the beginning to the end of the recording, from blue "
        "for no to orange for yes, grey where the answer is not sure enough; the table below says "
        "how much of the recording is of each kind.",
    )
    places = embeddings(current, rule)
    rows = []
    for question, name, told in zip(asked, names, along, strict=True):
        row = {"Question": frame.literal(name)}
        for kind, embedding in places.items():
            answer = answer_encoded(model, embedding, question)
            row[_PLACES[kind]] = (
                f"{percent_words(answer.probability)} ({interval_words(*answer.interval)})"
            )
        yes, unsure, no = (f"{share:.0f} %" for share in told.shares_pct)
        rows.append(row | {"Windows: yes": yes, "not sure": unsure, "no": no})
    with st.container(key="answers_places"):
        st.table(rows, border="horizontal", hide_index=True, alt="Answers at each place")
    st.caption(
        "Grey: not sure enough, or nothing recorded if blank. In brackets the 90 % interval. The "
        "windows overlap, so their number is no number of independent answers."
    )
