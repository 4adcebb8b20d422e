"""What a report is made of, in reading order; HTML and paper set the same blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echoing_core.export.document.drawing import Drawing


@dataclass(frozen=True)
class Heading:
    """Level 1 is the title, level 2 a section."""

    text: str
    level: Literal[1, 2] = 2


@dataclass(frozen=True)
class Text:
    """A paragraph: plain, a caution that must be seen, or a small note."""

    text: str
    kind: Literal["plain", "caution", "note"] = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Rows under a head; ``weights`` are the columns' shares of the width."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawing at its true size, and what its marks mean."""

    drawing: Drawing
    caption: str = ""


@dataclass(frozen=True)
class NewPage:
    """What follows begins on a new sheet."""


Block = Heading | Text | Facts | Table | Picture | NewPage
