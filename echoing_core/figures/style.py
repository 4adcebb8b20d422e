"""Colours, words and fonts that all figures share."""

from __future__ import annotations

import base64
import html

import numpy as np
import numpy.typing as npt

# Plasma, cut at 0.82: monotone in lightness and safe for the colour-blind like viridis and
# cividis, but its bright end is an orange that can still be read as a line on white paper,
# where their yellow cannot.
SCALE: tuple[str, ...] = (
    "#0d0887", "#3a049a", "#5c01a6", "#7e03a8", "#9c179e",
    "#b52f8c", "#cc4778", "#de5f65", "#ed7953", "#f89540",
)  # fmt: skip
"""Colours of the uncertainty percentile, 0 to 100, the same for every recording."""

INK, MUTED, GAP = "#1b2430", "#5b6675", "#d5d9df"
FONT = "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif"


def colour_of(percentile: float) -> str:
    """The colour of an uncertainty percentile.

    Parameters
    ----------
    percentile : float
        From 0 to 100, or NaN where nothing was recorded.

    Returns
    -------
    str
        One of `SCALE`; grey for NaN.
    """
    if not np.isfinite(percentile):
        return GAP
    step = 100.0 / len(SCALE)
    return SCALE[min(int(percentile // step), len(SCALE) - 1)]


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
