"""What a document is made of: drawings in millimetres, and blocks of text in reading order.

A drawing is a list of lines, boxes, dots and words with the origin at its upper left corner. HTML
writes it as SVG and paper through matplotlib, so both show the same geometry.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, eq=False)
class Line:
    """A polyline; NaN lifts the pen.

    Attributes
    ----------
    points : ndarray, shape (n, 2)
        Millimetres from the left and from the top.
    """

    points: Points
    colour: str
    width_mm: float = 0.25
    kind: str = ""


@dataclass(frozen=True)
class Box:
    """A filled rectangle, with an outline where ``stroke`` is given.

    Attributes
    ----------
    left, top, width, height : float
        Millimetres.
    fill, stroke : str or None
        Colours as in CSS.
    stroke_mm : float
    opacity : float
        Of the fill, 0 to 1.
    """

    left: float
    top: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    stroke_mm: float = 0.3
    opacity: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A round mark, hollow or filled.

    Attributes
    ----------
    x, y, radius : float
        Millimetres.
    colour : str
    hollow : bool
    """

    x: float
    y: float
    radius: float
    colour: str
    hollow: bool = False


@dataclass(frozen=True)
class Words:
    """One line of text.

    Attributes
    ----------
    x, y : float
        Millimetres; ``y`` is the baseline.
    text : str
    size_mm : float
        Height of the font.
    colour : str
    anchor : {"start", "middle", "end"}
        Which point of the line is at ``x``.
    bold : bool
    """

    x: float
    y: float
    text: str
    size_mm: float = 2.9
    colour: str = "#1b2430"
    anchor: Anchor = "start"
    bold: bool = False


Item = Line | Box | Dot | Words


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture of a fixed size on paper.

    Attributes
    ----------
    items : tuple
        In the order in which they are painted. Lines do not leave the drawing.
    alt : str
        What it shows, for those who do not see it.
    """

    width_mm: float
    height_mm: float
    items: tuple[Item, ...]
    alt: str


@dataclass(frozen=True)
class Heading:
    """The title or the head of a section.

    Attributes
    ----------
    text : str
    level : {1, 2}
        1 is the title.
    """

    text: str
    level: Literal[1, 2] = 2


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes
    ----------
    text : str
    kind : {"plain", "caution", "note"}
        A caution must be seen, a note is set small.
    """

    text: str
    kind: Literal["plain", "caution", "note"] = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and values.

    Attributes
    ----------
    rows : tuple of (str, str)
    """

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Rows under a head.

    Attributes
    ----------
    head : tuple of str
    rows : tuple of tuple of str
    weights : tuple of float
        The columns' shares of the width; any sum.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawing at its true size.

    Attributes
    ----------
    drawing : Drawing
    caption : str
        What its marks mean.
    """

    drawing: Drawing
    caption: str = ""


@dataclass(frozen=True)
class NewPage:
    """What follows begins on a new sheet."""


Block = Heading | Text | Facts | Table | Picture | NewPage


def svg_text(drawing: Drawing) -> str:
    """The drawing as one ``<svg>`` element that needs nothing from anywhere else.

    Parameters
    ----------
    drawing : Drawing

    Returns
    -------
    str
        Sized in millimetres; all text is escaped.
    """
    width, height = _n(drawing.width_mm), _n(drawing.height_mm)
    body = "".join(_element(item) for item in drawing.items)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(drawing.alt)}">'
        f"{body}</svg>"
    )


def _element(item: Item) -> str:
    match item:
        case Line():
            kind = f' class="{html.escape(item.kind)}"' if item.kind else ""
            return (
                f'<path{kind} d="{_path(item.points)}" fill="none" stroke="{item.colour}" '
                f'stroke-width="{_n(item.width_mm)}" stroke-linejoin="round"/>'
            )
        case Box():
            looks = f'fill="{item.fill or "none"}"'
            if item.opacity < 1:
                looks += f' fill-opacity="{_n(item.opacity)}"'
            if item.stroke:
                looks += f' stroke="{item.stroke}" stroke-width="{_n(item.stroke_mm)}"'
            return (
                f'<rect x="{_n(item.left)}" y="{_n(item.top)}" width="{_n(item.width)}" '
                f'height="{_n(item.height)}" {looks}/>'
            )
        case Dot():
            fill = "#fff" if item.hollow else item.colour
            return (
                f'<circle cx="{_n(item.x)}" cy="{_n(item.y)}" r="{_n(item.radius)}" '
                f'fill="{fill}" stroke="{item.colour}" stroke-width="0.5"/>'
            )
        case Words():
            weight = ' font-weight="600"' if item.bold else ""
            return (
                f'<text x="{_n(item.x)}" y="{_n(item.y)}" font-size="{_n(item.size_mm)}" '
                f'text-anchor="{item.anchor}" fill="{item.colour}"{weight}>'
                f"{html.escape(item.text)}</text>"
            )


def _path(points: Points) -> str:
    """``d`` of a path, broken where a point is NaN."""
    # A hundredth of a millimetre is finer than any printer, and a day's trace stays small.
    rounded = np.round(points, 2)
    parts: list[str] = []
    pen_down = False
    for x, y in rounded.tolist():
        # NaN: where nothing was recorded the pen is lifted, not led across.
        if x != x or y != y:
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{x:g} {y:g}")
        pen_down = True
    return "".join(parts)


def _n(value: float) -> str:
    return f"{round(value, 2):g}"
