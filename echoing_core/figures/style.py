"""Colours, words and fonts that all figures share."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Plasma, cut at 0.82: monotone in lightness and safe for the colour-blind like viridis and
# cividis, but its bright end is an orange that can still be read as a line on white paper,
# where their yellow cannot.
SCALE: tuple[str, ...] = (
    "#0d0887", "#3a049a", "#5c01a6", "#7e03a8", "#9c179e",
    "#b52f8c", "#cc4778", "#de5f65", "#ed7953", "#f89540",
)  # fmt: skip
"""Colours of the uncertainty percentile, 0 to 100, the same for every recording."""

# The same hues in the same order on a dark page, where the dark end of the other would not be seen:
# lightness rises from 0.50 to 0.80, and each keeps 3 to 1 against the page.
SCALE_DARK: tuple[str, ...] = (
    "#6a70f2", "#7f6bf0", "#9668ea", "#ad66e0", "#c466cf",
    "#d56cb6", "#e3789b", "#ee8780", "#f59c6c", "#fbb864",
)  # fmt: skip
"""Colours of the uncertainty percentile where the page is dark."""

INK, MUTED, GAP = "#1b2430", "#5b6675", "#d5d9df"
FONT = "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif"


_DARK_INK, _DARK_GRID = "#e8ebf0", "#323845"
_ON_DARK: dict[str, str] = {
    **dict(zip(SCALE, SCALE_DARK, strict=True)),
    INK: _DARK_INK, MUTED: "#aeb6c2", GAP: "#4a515e",
    # A figure without a ground of its own lies on the page, whatever shade that has.
    "white": "rgba(0,0,0,0)",
    "#e8ebef": _DARK_GRID, "#eef0f3": _DARK_GRID, "#f5f5f5": "#3b414d",
    # Of answers, of the echo figures and of the map of a collection.
    "#0b4f9e": "#7fb4ff", "#b34700": "#ff9a4d", "#c77a1e": "#f0b060", "#7e03a8": "#ad66e0",
    "#8fb3cf": "#5f86a6", "#c4cad2": "#6b7685", "#0072b2": "#4fb0e8", "#6b7685": "#98a2b0",
}  # fmt: skip


def on_dark(colour: str) -> str:
    """The colour that stands on a dark page for one of a light page.

    Parameters
    ----------
    colour : str
        As our figures have it.

    Returns
    -------
    str
        The same where it is seen on both.
    """
    return _ON_DARK.get(colour, colour)


def in_dark(figure: go.Figure) -> go.Figure:
    """A figure for a dark page: what it shows, in colours that are seen there.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        Of this package, in its colours for a light page.

    Returns
    -------
    plotly.graph_objects.Figure
        Another one; without a ground of its own.
    """
    import plotly.graph_objects as go

    def redrawn(value: object) -> object:
        if isinstance(value, str):
            return on_dark(value)
        if isinstance(value, dict):
            return {name: redrawn(part) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [redrawn(part) for part in value]
        return value

    shown = figure.to_plotly_json()
    dark = go.Figure(redrawn(shown))
    # A label must not be seen through.
    return dark.update_layout(hoverlabel={"bgcolor": "#20242d", "font": {"color": _DARK_INK}})


def colour_of(percentile: float, *, dark: bool = False) -> str:
    """The colour of an uncertainty percentile.

    Parameters
    ----------
    percentile : float
        From 0 to 100, or NaN where nothing was recorded.
    dark : bool
        Whether it is for a dark page.

    Returns
    -------
    str
        One of `SCALE` or `SCALE_DARK`; grey for NaN.
    """
    scale = SCALE_DARK if dark else SCALE
    if not np.isfinite(percentile):
        return GAP
    step = 100.0 / len(scale)
    return scale[min(int(percentile // step), len(scale) - 1)]


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Seconds from the start as a person reads them, ``"07:31"`` or ``"2:07:31"``.

    Parameters
    ----------
    seconds : float
    tenths : bool
        Whether tenths of a second are shown.

    Returns
    -------
    str
        Hours only where there are any.
    """
    # Rounded before it is divided, so that 59.96 s is 01:00 and never 00:60.
    whole, rest = divmod(round(seconds * 10), 10)
    hours, whole = divmod(whole, 3600)
    minutes, whole = divmod(whole, 60)
    text = f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes:02d}:{whole:02d}"
    return f"{text}.{rest}" if tenths else text


def safe(text: str) -> str:
    """Text of a person for a label of Plotly, which reads labels as a small HTML.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        The same, escaped.
    """
    return html.escape(text, quote=False)


def wrap(text: str, width: int = 20) -> str:
    """A label in few lines.

    Parameters
    ----------
    text : str
        Of a person; it is escaped.
    width : int
        Characters of a line, about.

    Returns
    -------
    str
        At most three lines, the last of them cut.
    """
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2][: width - 1]}…"]
    # One word may be longer than a line; two lines of it are enough to know it by.
    return "<br>".join(safe(line[: 2 * width]) for line in lines)


def packed(values: npt.ArrayLike, kind: str) -> str:
    """Numbers for a drawing in the browser: their bytes as Base64.

    Parameters
    ----------
    values : array-like
        Read row by row.
    kind : str
        The data type of NumPy that the browser expects, such as ``"<f4"``.

    Returns
    -------
    str
    """
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
