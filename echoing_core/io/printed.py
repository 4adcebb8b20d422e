"""Leads that follow one another in time, as on a printed page of three or six rows.

Carts print 12 leads in columns of 2.5 or 5 s, and programs that export or digitise such a page keep
each lead's own seconds. Where the file says when a lead begins, its reader places it; where it does
not, a person may say that the page was printed so. Nothing is placed in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.records import LEADS

PRINTED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "3x4": (LEADS[0:3], LEADS[3:6], LEADS[6:9], LEADS[9:12]),
    "6x2": (LEADS[0:6], LEADS[6:12]),
}
"""Name of a page -> the leads of each of its columns, from left to right."""

LONGEST_COLUMN_S = 6.0
"""Longer leads lie beside nothing on a page."""


def in_columns(
    signal_mv: npt.NDArray[np.float32], lead_names: Sequence[str], fs_hz: float, page: str
) -> npt.NDArray[np.float32]:
    """Leads moved to where they stand on a printed page.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
        Each from its own first sample on; NaN where a lead is shorter than others.
    lead_names : sequence of str
    fs_hz : float
    page : str
        A key of `PRINTED`.

    Returns
    -------
    ndarray, shape (n_leads, n)
        NaN outside each lead's column. A rhythm strip, which is longer than a column, and a channel
        that is none of the 12 leads begin at the start.

    Raises
    ------
    ConfigError
        The leads are as long as a page.
    """
    columns = PRINTED[page]
    place = {lead: i for i, leads in enumerate(columns) for lead in leads}
    lengths = [_length(row) for row in signal_mv]
    own = [n for n, name in zip(lengths, lead_names, strict=True) if name in place and n]
    # Strips are few, so the middle one of all lengths is that of a column.
    column = int(np.median(own)) if own else 0
    if not 0 < column <= LONGEST_COLUMN_S * fs_hz:
        raise ConfigError(
            f"Leads of {column / fs_hz:.3g} s do not lie in the {len(columns)} columns of a page. "
            "Leave out that they were printed so."
        )
    starts = [
        place[name] * column if name in place and n <= 1.5 * column else 0
        for name, n in zip(lead_names, lengths, strict=True)
    ]
    total = max(
        len(columns) * column, *(start + n for start, n in zip(starts, lengths, strict=True))
    )
    placed = np.full((len(lead_names), total), np.nan, dtype=np.float32)
    for into, row, start, n in zip(placed, signal_mv, starts, lengths, strict=True):
        into[start : start + n] = row[:n]
    return placed


def _length(row: npt.NDArray[np.float32]) -> int:
    measured = np.flatnonzero(~np.isnan(row))
    return int(measured[-1]) + 1 if measured.size else 0
