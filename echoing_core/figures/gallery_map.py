"""The map of a collection, as the browser draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.figures.style import SCALE, on_dark, packed

MOST_POINTS = 10_000
"""More dots than this cannot be told apart on a screen; hits are always among them."""

# Told apart by lightness too, so also without colour.
_NO, _YES, _UNKNOWN = "#8fb3cf", "#b34700", "#c4cad2"
_KINDS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#6b7685")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Colouring:
    """What the colours of the map say.

    Attributes
    ----------
    number : ndarray of uint8, shape (n,)
        Of each item, which entry of the legend.
    legend : tuple of (words, colour)
    words : str
        What is shown; empty for the uncertainty, which is told of every item anyway.
    ramp : bool
        The legend is one scale from low to high.
    counts : tuple of int
        Of each entry of the legend, how many there are; empty to count the items at hand.
    """

    number: npt.NDArray[np.uint8]
    legend: tuple[tuple[str, str], ...]
    words: str = ""
    ramp: bool = False
    counts: tuple[int, ...] = ()


def colour_by_percentile(percentile: npt.ArrayLike) -> Colouring:
    """By uncertainty percentile, in the colours of the uncertainty strip.

    Parameters
    ----------
    percentile : array-like, shape (n,)
        From 0 to 100.

    Returns
    -------
    Colouring
        Its legend is a ramp.
    """
    step = 100.0 / len(SCALE)
    number = np.clip(np.asarray(percentile, dtype=np.float64) // step, 0, len(SCALE) - 1)
    legend = tuple((f"{i * step:.0f} to {(i + 1) * step:.0f}", c) for i, c in enumerate(SCALE))
    return Colouring(number.astype(np.uint8), legend, ramp=True)


def colour_by_flag(values: npt.ArrayLike, words: str) -> Colouring:
    """By a label.

    Parameters
    ----------
    values : array-like, shape (n,)
        1 for yes, 0 for no, NaN for not known.
    words : str
        What the label says, for the legend.

    Returns
    -------
    Colouring
    """
    # 0 and 1 are entries of the legend already; not known is the third.
    number = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=2.0)
    return Colouring(
        number.astype(np.uint8), (("no", _NO), ("yes", _YES), ("not known", _UNKNOWN)), words
    )


def colour_by_kind(values: Sequence[str], words: str) -> Colouring:
    """By a word, such as the source.

    Parameters
    ----------
    values : sequence of str, length n
    words : str
        What the words say, for the legend.

    Returns
    -------
    Colouring
        The six most frequent words have a colour each; all others share the last one.
    """
    names, counts = np.unique(np.asarray(values, dtype=str), return_counts=True)
    common = [str(n) for n in names[np.argsort(-counts, kind="stable")][: len(_KINDS) - 1]]
    rest = len(common)
    number = np.array([common.index(v) if v in common else rest for v in values], dtype=np.uint8)
    legend = [*zip(common, _KINDS, strict=False), ("other", _KINDS[-1])]
    return Colouring(number, tuple(legend), words)


def gallery_map_data(
    xy: Floats,
    percentile: npt.ArrayLike,
    colouring: Colouring,
    *,
    explained: tuple[float, float],
    passing: npt.NDArray[np.bool_],
    hits: Sequence[int] = (),
    query: Floats | None = None,
    chosen: int | None = None,
    area: Sequence[tuple[float, float]] = (),
    numbers: npt.NDArray[np.integer] | None = None,
) -> dict[str, Any]:
    """What the browser needs to draw the map, small enough to be sent with each search.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    percentile : array-like, shape (n,)
        Uncertainty percentile of each item.
    explained : tuple of float
        Share of the variance along each axis, 0..1.
    passing : ndarray of bool, shape (n,)
        Items that pass the filter; the others are drawn faint.
    hits : sequence of int
        Row numbers, nearest first.
    query : ndarray, shape (2,), optional
    chosen : int, optional
        Row number.
    numbers : ndarray of int, shape (n,), optional
        Row numbers of the items, where they are a sample of a collection; then all are drawn.
    area : sequence of (float, float)
        Corners of the area that was chosen on the map.
    colouring : Colouring
        What the dots are coloured by.

    Returns
    -------
    dict
        JSON values; arrays are Base64 of little-endian numbers, one for each dot that is drawn.
    """
    rows = np.arange(len(xy))
    if numbers is None and rows.size > MOST_POINTS:
        some = np.linspace(0, rows.size - 1, MOST_POINTS).astype(int)
        # Spread evenly over the collection, with the hits and the marked item added.
        rows = np.union1d(some, [*hits, *([] if chosen is None else [chosen])]).astype(int)
    counts = colouring.counts or np.bincount(colouring.number, minlength=len(colouring.legend))
    number = colouring.number[rows]
    # In this order: where dots overlap, no colour hides another altogether.
    order = np.random.default_rng(0).permutation(rows.size)
    rows, number = rows[order], number[order]
    # A percentile takes one byte: the browser shows it without decimals.
    share = np.clip(np.asarray(percentile, dtype=np.float64), 0, 100)
    return {
        "xy": packed(xy[rows], "<f4"),
        "rows": packed(rows if numbers is None else numbers[rows], "<i4"),
        "colour": packed(number, "u1"),
        "percentile": packed(np.round(share[rows]), "u1"),
        "passing": packed(passing[rows], "u1"),
        "legend": [
            {
                "words": words,
                "colour": colour,
                "dark": on_dark(colour),
                "count": int(count),
            }
            for (words, colour), count in zip(colouring.legend, counts, strict=True)
        ],
        "ramp": colouring.ramp,
        "colourWords": colouring.words,
        "axes": [
            f"{which} direction, {100 * part:.0f} % of the variance"
            for which, part in zip(("first", "second"), explained, strict=True)
        ],
        "hits": [int(row) for row in hits],
        "query": None if query is None else [float(v) for v in query],
        "chosen": -1 if chosen is None else int(chosen),
        "area": [[float(x), float(y)] for x, y in area],
    }
