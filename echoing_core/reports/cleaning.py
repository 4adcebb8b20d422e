"""Report texts of recorded ECGs: statements joined, what is not about the heart taken out.

The paper trains on the free text of a cardiologist where there is one and on the machine's report
where there is none (Gao et al. 2025, section 3.1); `report_of` keeps to that.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

_QUALITY_ALONE = re.compile(
    r"data quality may affect|poor (data|signal|tracing) quality|poor quality (data|tracing|ecg)"
    r"|uninterpretable|^lead\(?s?\)? .*(off|missing|unsuitable)|missing lead"
    r"|all 12 leads are missing|interpretation (may be|is) (adversely )?affected"
    r"|^(baseline wander|artifacts?)\b",
    re.IGNORECASE,
)
"""Statements about the recording instead of the heart."""

_QUALITY_TOO = re.compile(r"\bartifacts?\b|baseline wander", re.IGNORECASE)
"""Words about the recording beside a finding: ``"Sinus rhythm with artifact"``."""

_NOTHING = re.compile(
    # What the machine was not told.
    r"report made without|without knowing patient'?s|(age|sex|gender) not entered"
    r"|assumed to be \d+ years"
    # Who has or has not looked at it.
    r"|^(un)?confirmed\b|\bunconfirmed (report|diagnosis|analysis|ecg)\b|^confirmed by\b"
    r"|^(reviewed|edited|interpreted|over-?read|signed|electronically signed) by\b"
    r"|^referred by\b|^(ordering|attending|reading) (physician|md)\b"
    # No reading at all.
    r"|machine interpretation not available|(report|interpretation|analysis) not available"
    r"|no interpretation|analysis error|no further analysis|^summary$",
    re.IGNORECASE,
)
# Stars, dashes and stops around a statement.
_FRAME = re.compile(r"^[\s*\-–—=#>.:;,]+|[\s*\-–—=#<.:;,]+$")
# What follows it may be a finding ("Warning: Prolonged QTc interval").
_WARNING = re.compile(r"^(warning|note|caution|attention)\s*:\s*", re.IGNORECASE)
# A date, name or number taken out, with the words that only led to it.
_BLANK = re.compile(
    r"(\b(dated|of|from|on|by|at|dr\.?|md)\s+)*"
    r"(\[\*\*[^\]]*\*\*\]|_{2,})(\s*,?\s*m\.?\s?d\b\.?)?",
    re.IGNORECASE,
)
# Three million statements of MIMIC are some thousand different ones.
_remembered = functools.lru_cache(maxsize=65_536)
_SPACE = re.compile(r"\s+")
# Control characters and the mark of undecodable bytes.
_DOUBTFUL = re.compile("[\ufffd\x00-\x08\x0b-\x1f\x7f]+")


class Report(NamedTuple):
    """Text of an ECG.

    Attributes
    ----------
    text : str
        "" where there is none.
    source : str
        ``"note"``, ``"machine"`` or "".
    """

    text: str
    source: str


@_remembered
def is_about_quality(statement: str) -> bool:
    """Whether a machine statement warns of the recording itself.

    Parameters
    ----------
    statement : str
        With or without its frame.
    """
    text = _unframed(statement)
    return bool(_QUALITY_ALONE.search(text) or _QUALITY_TOO.search(text))


def clean_statement(statement: object) -> str:
    """One machine statement without frames, or "" where it says nothing of the heart.

    ``"*** CONSIDER ACUTE STEMI ***"`` loses its stars and keeps its words;
    ``"*** report made without knowing patient's sex ***"``, ``"--- Warning: Data quality may
    affect interpretation ---"`` and lines of who confirmed it are dropped.

    Parameters
    ----------
    statement : object
        A cell of a table; anything but text (None, NaN) is "".
    """
    return _cleaned(statement) if isinstance(statement, str) else ""


@_remembered
def _cleaned(statement: str) -> str:
    text = _unframed(_without_blanks(statement))
    # Looked at with its blanks: "signed by ___" is nothing, "signed" may be anything.
    if (
        _NOTHING.search(_unframed(statement))
        or _NOTHING.search(text)
        or _QUALITY_ALONE.search(_WARNING.sub("", text))
    ):
        return ""
    text = _unframed(_WARNING.sub("", text))
    return text if any(letter.isalpha() for letter in text) else ""


def machine_report(statements: Iterable[object]) -> str:
    """Statements of a machine's report as one text, in their order, each once.

    Parameters
    ----------
    statements : iterable of object
        Cells of a table; anything but text is left out. Capitals do not make two statements differ.

    Returns
    -------
    str
        ``"Sinus rhythm. Left axis deviation."``, or "" where nothing is left.
    """
    by_folded: dict[str, str] = {}
    for statement in statements:
        text = clean_statement(statement)
        if text:
            by_folded.setdefault(text.casefold(), text)
    return " ".join(f"{text}." for text in by_folded.values())


def clean_note(note: object) -> str:
    """Free text of a report on one line, without what de-identification left behind.

    Parameters
    ----------
    note : object
        A cell of a table; anything but text is "".
    """
    if not isinstance(note, str):
        return ""
    lines = [line for line in note.splitlines() if not _NOTHING.search(_unframed(line))]
    text = _SPACE.sub(" ", " ".join(map(_without_blanks, lines))).strip(" *=_#")
    return text if any(letter.isalpha() for letter in text) else ""


def report_of(note: object, machine: str) -> Report:
    """Free text where there is some, else the machine's report.

    Parameters
    ----------
    note : object
        Free text as it was stored.
    machine : str
        As `machine_report` gives it.
    """
    text = clean_note(note)
    if text:
        return Report(text, "note")
    return Report(machine, "machine" if machine else "")


def _without_blanks(text: str) -> str:
    """Underscores and [** **] of de-identification out, with what only led to them."""
    text = _BLANK.sub(" ", _DOUBTFUL.sub(" ", text))
    text = _SPACE.sub(" ", text)
    return re.sub(r" +([,.;:])", r"\1", text).strip()


def _unframed(text: str) -> str:
    return _FRAME.sub("", text)
