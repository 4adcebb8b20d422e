"""LVEF and findings out of report text by a language model of one's own, never taken on trust.

Any function from prompt to answer serves (`models.hugging_face` makes one of a local model). The
model is asked for JSON in which each value comes with the words it stands on. An entry is refused
unless these words stand in the report and the value is possible; a number must stand in the
words. What is left is the same type as the rules give (`echo_text`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from echoing_core.reports.echo_text.findings import FINDINGS, Finding
from echoing_core.reports.echo_text.lvef import (
    AT_LEAST,
    AT_MOST,
    GRADE_LIMITS_PCT,
    NUMBER_KIND,
    RANGE,
    WORDS,
    Lvef,
)
from echoing_core.reports.echo_text.reading import EchoFindings
from echoing_core.reports.echo_text.sentences import GRADES, NUMBER, PRESENT, number_of

T = TypeVar("T")
Generate = Callable[[str], str]
"""From a prompt to what a model answers."""

MAX_WORDS = 1000
"""Of a report; the rest is not read. EchoingECG's release does the same with discharge notes."""

PROMPT = """\
You read reports of echocardiography. Answer with one JSON object and nothing else:
{{"lvef": {{"kind": ..., "low": ..., "high": ..., "grade": ..., "quote": ...}} or null,
 "lvef_past": the same of an earlier examination, or null,
 "findings": [{{"name": ..., "grade": ..., "quote": ...}}, ...]}}
lvef is the LEFT ventricular ejection fraction of this examination in percent, never that of the
right ventricle, an atrium or an earlier examination. kind is one of {kinds}. For words alone, low
and high are null and grade is one of {lvef_grades}; otherwise grade is null.
name is one of {names}.
grade is one of {grades}; "none" only where the report says that the finding is absent.
quote is copied from the report, letter by letter, and holds the number or the words.
Leave out whatever the report does not say.

Report:
{report}

JSON:
"""

# Characters of an answer that are searched for JSON: each brace starts a new attempt.
_MAX_ANSWER = 20_000


@dataclass(frozen=True)
class LmReading:
    """What a model's answer states of one report.

    Attributes
    ----------
    findings : EchoFindings
        Entries that the report bears out.
    refused : tuple of str
        For each other entry why it was refused.
    cut : bool
        The report was longer than `MAX_WORDS`.
    """

    findings: EchoFindings
    refused: tuple[str, ...]
    cut: bool


def prompt_for(report: str) -> tuple[str, bool]:
    """Put a report into `PROMPT`.

    Parameters
    ----------
    report : str

    Returns
    -------
    prompt : str
    cut : bool
        The report was longer than `MAX_WORDS`.
    """
    words = list(re.finditer(r"\S+", report))
    cut = len(words) > MAX_WORDS
    read = report[: words[MAX_WORDS - 1].end()] if cut else report
    return (
        PROMPT.format(
            kinds=_listed((NUMBER_KIND, RANGE, AT_LEAST, AT_MOST, WORDS)),
            lvef_grades=_listed(GRADE_LIMITS_PCT),
            names=_listed(FINDINGS),
            grades=_listed((*GRADES, PRESENT)),
            report=read.strip(),
        ),
        cut,
    )


def read_with(generate: Generate, report: str) -> LmReading:
    """Ask a model to read one report and keep what the report bears out.

    Parameters
    ----------
    generate : callable
        From a prompt to the model's answer.
    report : str

    Returns
    -------
    LmReading
        Without findings where the answer is no JSON.
    """
    prompt, cut = prompt_for(report)
    findings, refused = parse_answer(generate(prompt), report)
    return LmReading(findings, refused, cut)


def parse_answer(answer: str, report: str) -> tuple[EchoFindings, tuple[str, ...]]:
    """Check an answer against the report, entry by entry.

    Parameters
    ----------
    answer : str
        As the model gave it; text around the JSON object is passed over.
    report : str

    Returns
    -------
    findings : EchoFindings
        Entries that the report bears out.
    refused : tuple of str
        Why each other entry was refused.
    """
    refused: list[str] = []
    content = _json_object(answer)
    if content is None:
        return EchoFindings(None), ("the answer holds no JSON object",)
    unknown = sorted(set(content) - {"lvef", "lvef_past", "findings"})
    refused += [f"unknown entry {name!r}" for name in unknown]
    lvef = _checked(_lvef, content.get("lvef"), report, refused, past=False)
    earlier = _checked(_lvef, content.get("lvef_past"), report, refused, past=True)
    findings: dict[str, Finding] = {}
    listed = content.get("findings")
    if listed is not None and not isinstance(listed, list):
        refused.append("findings are no list")
        listed = None
    for entry in listed or ():
        one = _checked(_finding, entry, report, refused, past=False)
        if one is None:
            continue
        # A model that contradicts itself is not asked which of the two it means: the first stays.
        if one.name in findings and findings[one.name].grade != one.grade:
            refused.append(f"{one.name} is told twice, and not alike")
            continue
        findings[one.name] = one
    return EchoFindings(lvef, earlier, MappingProxyType(findings)), tuple(refused)


class _RefusedError(ValueError):
    """An entry that does not hold; the message tells why."""


def _checked(
    read: Callable[[Mapping[str, Any], str, bool], T],
    entry: Any,
    report: str,
    refused: list[str],
    *,
    past: bool,
) -> T | None:
    """What ``read`` makes of an entry; None, with the reason in ``refused``, where it fails."""
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        refused.append(f"{entry!r:.60} is no object")
        return None
    try:
        return read(entry, report, past)
    except _RefusedError as error:
        refused.append(str(error))
        return None


def _lvef(entry: Mapping[str, Any], report: str, past: bool) -> Lvef:
    """An entry of the ejection fraction, with the limits that its kind leaves open."""
    start, end = _place(entry, report)
    quote, kind = report[start:end], entry.get("kind")
    if kind == WORDS:
        grade = entry.get("grade")
        if not isinstance(grade, str) or grade not in GRADE_LIMITS_PCT:
            raise _RefusedError(f"{grade!r:.60} is no grade of the ejection fraction")
        low, high = GRADE_LIMITS_PCT[grade]
        return Lvef(None, low, high, WORDS, grade, None, past, start, end, quote)
    if kind not in (NUMBER_KIND, RANGE, AT_LEAST, AT_MOST):
        raise _RefusedError(f"{kind!r:.60} is no kind of ejection fraction")
    given = [entry.get(key) for key in ("low", "high") if entry.get(key) is not None]
    # bool is an int to Python, but JSON's true is no percentage.
    values = [float(v) for v in given if isinstance(v, int | float) and not isinstance(v, bool)]
    if not values or len(values) != len(given) or not all(4 <= v <= 95 for v in values):
        raise _RefusedError(f"{given!r:.60} is no ejection fraction in percent")
    # The model may have put a number of its own beside a quotation that holds.
    standing = _numbers(quote)
    if any(value not in standing for value in values):
        raise _RefusedError(f"{values} does not stand in {quote!r:.80}")
    low, high = min(values), max(values)
    if (kind == RANGE) != (low < high):
        raise _RefusedError(f"{values} is no {kind}")
    if kind == AT_LEAST:
        return Lvef(low, low, 100.0, kind, None, None, past, start, end, quote)
    if kind == AT_MOST:
        return Lvef(high, 0.0, high, kind, None, None, past, start, end, quote)
    return Lvef((low + high) / 2, low, high, kind, None, None, past, start, end, quote)


def _finding(entry: Mapping[str, Any], report: str, past: bool) -> Finding:
    name, grade = entry.get("name"), entry.get("grade")
    if not isinstance(name, str) or name not in FINDINGS:
        raise _RefusedError(f"{name!r:.60} is no finding")
    if not isinstance(grade, str) or grade not in (*GRADES, PRESENT):
        raise _RefusedError(f"{grade!r:.60} is no grade of {name}")
    start, end = _place(entry, report)
    return Finding(name, grade, True, past, start, end, report[start:end])


def _place(entry: Mapping[str, Any], report: str) -> tuple[int, int]:
    """Where the quoted words stand; line ends and capitals may differ."""
    quote = entry.get("quote")
    if not isinstance(quote, str) or not quote.strip():
        raise _RefusedError("an entry has no quote")
    words = r"\s+".join(re.escape(word) for word in quote.split())
    match = re.search(words, report, re.IGNORECASE)
    if match is None:
        raise _RefusedError(f"{quote!r:.80} does not stand in the report")
    return match.span()


def _numbers(text: str) -> set[float]:
    """Numbers in a quotation; a share such as 0.35 also counts as 35 %."""
    values = {number_of(m.group()) for m in re.finditer(NUMBER, text.lower())}
    return values | {round(100 * value, 1) for value in values if value < 1}


def _json_object(answer: str) -> dict[str, Any] | None:
    """The first JSON object of an answer, whatever stands around it."""
    answer = answer[:_MAX_ANSWER]
    for start in (m.start() for m in re.finditer(r"\{", answer)):
        try:
            content, _ = json.JSONDecoder().raw_decode(answer[start:])
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict) and content.keys() & {"lvef", "lvef_past", "findings"}:
            return content
    return None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)
