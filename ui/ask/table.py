"""The answers as one table: each with its dot and interval on a scale from no to yes in its row."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from echoing_core import services
from echoing_core.records import Answer
from echoing_core.services import answer_line
from ui import frame

if TYPE_CHECKING:
    from echoing_core.services import Model

_HEADS = ("Question", "Answer", "no – yes", "Probability (90 % interval)", "P(wrong)", "Worth")


def answers_table(
    model: Model, answers: Sequence[Answer], readings: Mapping[str, str] = MappingProxyType({})
) -> str:
    """HTML of the table, for `st.html`.

    Parameters
    ----------
    model : Model
        Knows what it means that a word is unknown to it.
    answers : sequence of Answer
    readings : mapping of str to str
        Title of a question that was typed -> how its words were read.

    Returns
    -------
    str
        All text of persons and files in it is escaped.
    """
    rows = [_row(model, answer, readings.get(answer.question, "")) for answer in answers]
    return frame.html_table(_HEADS, rows, label="Answers of the model", css_class="beside answers")


def _row(model: Model, answer: Answer, reading: str) -> list[str]:
    line = answer_line(answer)
    verdict = answer.verdict.partition(" (")[0]
    learnt = "" if answer.basis == "calibrated" else _small(line.worth)
    question = html.escape(line.question) + (_small(reading) if reading else "")
    if answer.unknown_words:
        warning = "⚠ " if model.saw_words else ""
        words = ", ".join(answer.unknown_words)
        question += _small(f"{warning}{services.unknown_words_mean(model)}: {words}")
    probability = line.probability.replace(", no probability", "")
    return [
        frame.Html(question),
        frame.Html(html.escape(verdict) + learnt),
        frame.Html(_scale(answer, verdict)),
        probability,
        line.p_wrong,
        frame.Html(_why(line.question, answer, line.worth)),
    ]


def _small(words: str) -> str:
    return f'<span class="small">{html.escape(words)}</span>'


def _scale(answer: Answer, verdict: str) -> str:
    """The interval as a bar and the probability as a dot, filled for yes, hollow for no."""
    low, high = (100 * end for end in sorted(answer.interval))
    kind = {"yes": "yes", "no": "no"}.get(verdict, "unsure")
    # The numbers stand beside it: for a screen reader this would be the same once more.
    return (
        '<span class="dots" aria-hidden="true">'
        f'<i class="{kind}" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<b class="{kind}" style="left:{100 * answer.probability:.1f}%"></b></span>'
    )


def _why(question: str, answer: Answer, worth: str) -> str:
    """What such answers were worth, and why there is no yes or no, behind a question mark."""
    told = []
    if answer.reasons:
        told.append(f"{answer.verdict.partition(' (')[0]}: {' and '.join(answer.reasons)}.")
    told.append(f"{worth[:1].upper()}{worth[1:]}.")
    return (
        f'<details><summary aria-label="What this answer is worth: {html.escape(question)}">?'
        f'</summary><span class="worth">{html.escape(" ".join(told))}</span></details>'
    )
