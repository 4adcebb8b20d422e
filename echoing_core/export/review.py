"""What a person says of windows, and the list by which a lab grades its own recordings."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from echoing_core.records import TextMark, WindowTrack

if TYPE_CHECKING:
    from echoing_core.uncertainty.reasons import WindowReasons

Grade = Literal["", "accepted", "rejected"]
GRADES: tuple[Grade, ...] = ("", "accepted", "rejected")
"""What may be said of a window; empty where only a note was written."""

COLUMNS = ("record", "start_s", "end_s", "percentile", "reason", "grade", "note")
MAX_NOTE = 300
MAX_MARKS = 500
# A cell that begins so is a formula for a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class WindowMark:
    """What a person says of one window.

    Attributes
    ----------
    start_s, end_s : float
        Seconds from the start of the recording: a number of a window would change with the stride.
    grade : str
        One of `GRADES`.
    note : str
        At most `MAX_NOTE` characters.
    """

    start_s: float
    end_s: float
    grade: Grade = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.grade not in GRADES:
            raise ValueError(f"a window is accepted or rejected, not {self.grade!r}")
        if not 0 <= self.start_s < self.end_s or len(self.note) > MAX_NOTE:
            raise ValueError("a mark needs a window and a note of a bounded length")

    @property
    def words(self) -> str:
        """Grade and note in a line, for people and for annotations."""
        return ": ".join(part for part in (self.grade, self.note) if part)


@dataclass(frozen=True)
class ReviewRow:
    """One line of a review list.

    Attributes
    ----------
    record : str
    start_s, end_s : float
    percentile : float
        Of sigma^2 among ECGs with the same leads, 0..100.
    reason : str
        Why it is high, where that was looked for.
    grade : str
    note : str
    """

    record: str
    start_s: float
    end_s: float
    percentile: float
    reason: str = ""
    grade: Grade = ""
    note: str = ""


def review_rows(
    record: str,
    track: WindowTrack,
    worst: Sequence[int],
    marks: Sequence[WindowMark] = (),
    reasons: Mapping[int, WindowReasons] | None = None,
) -> list[ReviewRow]:
    """The least sure windows, and every other that somebody marked.

    Parameters
    ----------
    record : str
        As it is to stand in the list.
    track : WindowTrack
    worst : sequence of int
        Windows, the least sure one first.
    marks : sequence of WindowMark
    reasons : mapping of int to WindowReasons, optional
        By window.

    Returns
    -------
    list of ReviewRow
        ``worst`` in its order, then marked windows in the order of time.
    """
    reasons = reasons or {}
    said = {round(mark.start_s, 3): mark for mark in marks}
    rows = []
    for window in worst:
        start_s = float(track.start_s[window])
        mark = said.pop(round(start_s, 3), WindowMark(start_s, start_s + track.window_s))
        why = reasons.get(window)
        rows.append(_row(record, track, window, mark, "" if why is None else why.sentence))
    for _, mark in sorted(said.items()):
        window = int(abs(track.start_s - mark.start_s).argmin())
        why = reasons.get(window)
        rows.append(_row(record, track, window, mark, "" if why is None else why.sentence))
    return rows


def _row(record: str, track: WindowTrack, window: int, mark: WindowMark, reason: str) -> ReviewRow:
    return ReviewRow(
        record,
        mark.start_s,
        mark.end_s,
        float(track.percentile[window]),
        reason,
        mark.grade,
        mark.note,
    )


def review_csv(rows: Sequence[ReviewRow]) -> str:
    """A review list as CSV.

    Parameters
    ----------
    rows : sequence of ReviewRow

    Returns
    -------
    str
        With the columns `COLUMNS`. What a person wrote is never a formula.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            [
                _text(row.record),
                f"{row.start_s:.3f}",
                f"{row.end_s:.3f}",
                f"{row.percentile:.2f}",
                _text(row.reason),
                row.grade,
                _text(row.note),
            ]
        )
    return out.getvalue()


def _text(words: str) -> str:
    return f"'{words}" if words.startswith(_FORMULA) else words


def marks_as_text(marks: Sequence[WindowMark]) -> tuple[TextMark, ...]:
    """Marks as annotations of a file.

    Parameters
    ----------
    marks : sequence of WindowMark

    Returns
    -------
    tuple of TextMark
        At the starts of their windows, in the order of time.
    """
    ordered = sorted(marks, key=lambda mark: mark.start_s)
    return tuple(TextMark(mark.start_s, mark.words) for mark in ordered if mark.words)
