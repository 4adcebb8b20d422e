"""Sentences, numbers and grades in the text of an echo report, with their places in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

GRADES: tuple[str, ...] = (
    "none",
    "trace",
    "mild",
    "mild to moderate",
    "moderate",
    "moderate to severe",
    "severe",
)
"""From nothing to worst."""

PRESENT = "present"
"""Of a finding that is stated without a grade."""

# Grades with the misspellings of dictated reports. Effusions are graded by size, regurgitations by
# crosses ("2+"). Compound grades come first, so that "mild to moderate" is not read as "mild".
_MILD = r"(?:mild(?:ly)?|slight(?:ly)?|small|min(?:or|im)\b|mld|midly|midl)"
_MODERATE = r"(?:moderat\w*|modertat?e(?:ly)?|mod\b\.?|medium)"
_SEVERE = (
    r"(?:sever\w*|sevr\w+|marked(?:ly)?|massive(?:ly)?|critical(?:ly)?|torrential|wide[- ]open"
    r"|large|profound(?:ly)?|gross(?:ly)?)"
)
_TO = r"[\s-]*(?:-|/|\bto\b)[\s-]*"
_GRADE_PATTERNS: tuple[tuple[str, str], ...] = (
    (
        "moderate to severe",
        rf"{_MODERATE}{_TO}{_SEVERE}|moderately severe(?:ly)?|3\s?\+|grade (?:3|iii)\b",
    ),
    ("mild to moderate", rf"{_MILD}{_TO}{_MODERATE}|1\s?\+?{_TO}2\s?\+"),
    ("mild", rf"(?:trace|trivial|minimal|none|no){_TO}{_MILD}"),
    ("severe", rf"{_SEVERE}|4\s?\+|grade (?:4|iv)\b"),
    ("moderate", rf"{_MODERATE}|2\s?\+|grade (?:2|ii)\b"),
    ("mild", rf"{_MILD}|1\s?\+|grade (?:1|i)\b"),
    ("trace", r"trace|trivial|minimal(?:ly)?|tiny|physiologic(?:al)?|trac\b|insignificant"),
)
GRADE = re.compile(
    "|".join(rf"(?P<g{i}>(?<![\w+])(?:{p})(?!\w))" for i, (_, p) in enumerate(_GRADE_PATTERNS))
)

GRADE_PATTERN = "|".join(rf"(?:(?<![\w+])(?:{p})(?!\w))" for _, p in _GRADE_PATTERNS)
"""The same without names, for use inside other patterns."""


def grade_in(text: str) -> str | None:
    """First grade of a text.

    Parameters
    ----------
    text : str
        In lower case.

    Returns
    -------
    str or None
        One of `GRADES`; None where there is none.
    """
    match = GRADE.search(text)
    return None if match is None else grade_of(match)


def grade_of(match: re.Match[str]) -> str:
    """Grade of a match of `GRADE`.

    Parameters
    ----------
    match : re.Match
        Its group that matched is ``g`` and the number of its pattern.

    Returns
    -------
    str
        One of `GRADES`.
    """
    return _GRADE_PATTERNS[int(str(match.lastgroup).removeprefix("g"))][0]


def worse(one: str, other: str) -> bool:
    """Whether a grade is worse than another; `PRESENT` lies between "none" and "trace".

    Parameters
    ----------
    one, other : str
        Of `GRADES`, or `PRESENT`.
    """
    return _rank(one) > _rank(other)


def _rank(grade: str) -> float:
    return 0.5 if grade == PRESENT else float(GRADES.index(grade))


@dataclass(frozen=True)
class Sentence:
    """A sentence in two forms of equal length, so that a place in one is a place in the other.

    Attributes
    ----------
    text : str
        Lower case, one kind of dash and of space: what patterns are matched with.
    start : int
        Place of its first character in the report.
    original : str
        As written.
    """

    text: str
    start: int
    original: str


_EVEN = str.maketrans(
    {
        "–": "-",
        "—": "-",
        "−": "-",
        "‐": "-",
        "‑": "-",
        "\u00a0": " ",
        "\t": " ",
        "’": "'",
        "％": "%",
    }
)
# A full stop ends a sentence unless it stands in a number or after one of these.
_ABBREVIATION = re.compile(
    r"(?:\b(?:approx|est|dr|mr|mrs|ms|vs|incl|resp|ca|prev|calc|avg|mod|st|no|e\.?g|i\.?e|l\.?v|e\.?f"
    r"|pt|s/p|max|min|sev|dil)|\b[a-z])$"
)
# A line that ends like this was wrapped in the middle of a sentence.
_UNFINISHED = re.compile(
    r"(?:\b(?:ejection|ventricular|left|right|is|are|was|of|the|an?|and|or|with|to|be|at|by|no|mild(?:ly)?"
    r"|moderate(?:ly)?|severe(?:ly)?|trace|systolic|estimated|between|from|in|fraction|approximately"
    r"|aortic|mitral|tricuspid|pericardial|pulmonary)|[,=<>-])\s*$"
)
_BREAK = re.compile(r"[.!?](?=\s|$|[A-Za-z])|\n\s*\n|\n")


def sentences(report: str) -> Iterator[Sentence]:
    """Cut a report into sentences; a line wrapped in the middle of one is no end.

    Parameters
    ----------
    report : str
        In any capitals.

    Yields
    ------
    Sentence
        In order; none is blank.
    """
    # "İ" has two characters in lower case, and would shift all places after it.
    even = "".join(c.lower() if len(c.lower()) == 1 else c for c in report.translate(_EVEN))
    # An arrow is no dash, and not "greater than".
    even = re.sub(r"-+>", lambda m: "→".ljust(len(m.group())), even)
    start = 0
    for mark in _BREAK.finditer(even):
        if not _ends(even, start, mark, report):
            continue
        yield from _sentence(report, even, start, mark.start())
        start = mark.end()
    yield from _sentence(report, even, start, len(even))


def _sentence(report: str, even: str, start: int, end: int) -> Iterator[Sentence]:
    if even[start:end].strip():
        yield Sentence(even[start:end].replace("\n", " "), start, report[start:end])


def _ends(even: str, start: int, match: re.Match[str], report: str) -> bool:
    """Whether a full stop or line end ends the sentence that begins at ``start``."""
    mark, before, after = match.group(), even[start : match.start()], even[match.end() :]
    if mark == ".":
        # "MR." ends a sentence on mitral regurgitation, "Mr." does not.
        last = report[: match.start()].rsplit(maxsplit=1)[-1:]
        if _ABBREVIATION.search(before) and last not in (["MR"], ["mr"], ["MS"]):
            return False
        # Not in "3.5".
        return not (before[-1:].isdigit() and after[:1].isdigit())
    if mark == "\n":
        # Lines are wrapped at 80 letters or so; short ones are items of a list.
        line = before.rsplit("\n", 1)[-1]
        if _UNFINISHED.search(line):
            return False
        return len(line.strip()) < 45 or not re.match(r"\s*[a-z0-9(%<>=]", after)
    return True


# Spelt from ten to ninety-nine: no report spells a smaller percentage.
_UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SPELT = {word: 10 + i for i, word in enumerate(_TEENS)} | {
    word: 20 + 10 * i for i, word in enumerate(_TENS)
}
_SPELT_PATTERN = rf"(?:{'|'.join(_TEENS)}|(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_UNITS)}))?)"
# Three digits, with a decimal point or comma; a share such as ".35"; or spelt.
NUMBER = rf"(?:\d{{1,3}}(?:[.,]\d{{1,2}})?|0?\.\d{{1,2}}|{_SPELT_PATTERN}\b)"


def number_of(text: str) -> float:
    """Value of a match of `NUMBER`: ``"55"``, ``"52,5"``, ``".35"``, ``"fifty five"``.

    Parameters
    ----------
    text : str
        All of the match; lower case.
    """
    if text[0].isalpha():
        first, _, last = text.replace("-", " ").partition(" ")
        return float(_SPELT[first] + (_UNITS.index(last) + 1 if last else 0))
    return float(text.replace(",", "."))
