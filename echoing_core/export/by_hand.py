"""What a person measured on the paper by hand: calipers, and marks of waves that were moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echoing_core.figures.style import clock
from echoing_core.measure import HAND_MARKS, Measured
from echoing_core.records import LEADS, TextMark

MAX_CALIPERS = 200
MAX_STRETCHES = 200
_MOST_MV = 100.0
_MINUS = "\N{MINUS SIGN}"
_LONGEST_BEAT_MS = 2000.0
# Shorter than this is no interval between beats.
_LEAST_RATE_MS = 100.0


@dataclass(frozen=True)
class Caliper:
    """Two points on one lead.

    Attributes
    ----------
    lead : str
        One of `LEADS`.
    start_s, end_s : float
        Seconds from the start of the recording, of the first and the second end, which may lie
        before the first.
    start_mv, end_mv : float
    march : bool
        Whether the distance is drawn again and again along the lead.
    """

    lead: str
    start_s: float
    end_s: float
    start_mv: float
    end_mv: float
    march: bool = False

    def __post_init__(self) -> None:
        if self.lead not in LEADS:
            raise ValueError(f"there is no lead {self.lead!r}")
        if not (0.0 <= self.start_s < 1e7 and 0.0 <= self.end_s < 1e7):
            raise ValueError("a caliper stands within a recording")
        if not (abs(self.start_mv) <= _MOST_MV and abs(self.end_mv) <= _MOST_MV):
            raise ValueError("a caliper stands on the paper")

    @property
    def ms(self) -> float:
        """Between its ends."""
        return 1000.0 * abs(self.end_s - self.start_s)

    @property
    def mv(self) -> float:
        """The second end above the first."""
        return self.end_mv - self.start_mv

    @property
    def words(self) -> str:
        """``"lead II, 812 ms (74 bpm), +0.34 mV"``."""
        rate = f" ({60_000.0 / self.ms:.0f} bpm)" if self.ms >= _LEAST_RATE_MS else ""
        return f"lead {self.lead}, {self.ms:.0f} ms{rate}, {self.mv:+.2f} mV".replace("-", _MINUS)


@dataclass(frozen=True)
class WaveMarks:
    """Onsets and ends of waves that a person set, of one stretch that was measured.

    Attributes
    ----------
    start_s : float
        Where the stretch begins.
    marks_ms : mapping of str to float
        By `measure.HAND_MARKS`, in ms from the fiducial of its median beat.
    """

    start_s: float
    marks_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s < 1e7:
            raise ValueError("a stretch lies within a recording")
        for name, at_ms in self.marks_ms.items():
            if name not in HAND_MARKS or not abs(at_ms) <= _LONGEST_BEAT_MS:
                raise ValueError(f"{name} cannot be set to {at_ms} ms")


def caliper_values(calipers: Sequence[Caliper]) -> list[dict[str, Any]]:
    """Plain values for JSON.

    Parameters
    ----------
    calipers : sequence of Caliper

    Returns
    -------
    list of dict
        In the order given.
    """
    return [
        {
            "lead": one.lead,
            "start_s": round(one.start_s, 4),
            "end_s": round(one.end_s, 4),
            "start_mv": round(one.start_mv, 4),
            "end_mv": round(one.end_mv, 4),
            "ms": round(one.ms, 1),
            "mv": round(one.mv, 4),
            "march": one.march,
        }
        for one in calipers
    ]


def caliper_lines(calipers: Sequence[Caliper]) -> dict[str, str]:
    """Calipers in words, for the report.

    Parameters
    ----------
    calipers : sequence of Caliper

    Returns
    -------
    dict of str to str
        Which and where -> what it reads.
    """
    return {
        f"Caliper {number}, {clock(min(one.start_s, one.end_s), tenths=True)}": one.words
        for number, one in enumerate(calipers, start=1)
    }


def calipers_as_text(calipers: Sequence[Caliper]) -> tuple[TextMark, ...]:
    """Calipers as annotations of a file, at the earlier of their ends.

    Parameters
    ----------
    calipers : sequence of Caliper

    Returns
    -------
    tuple of TextMark
        In the order of time.
    """
    marks = [
        # Readers of annotations may know ASCII alone.
        TextMark(min(one.start_s, one.end_s), f"caliper: {one.words.replace(_MINUS, '-')}")
        for one in calipers
    ]
    return tuple(sorted(marks, key=lambda mark: mark.at_s))


def wave_marks_as_text(measured: Measured) -> tuple[TextMark, ...]:
    """Marks that a person set as annotations of a file, at the first beat that was measured.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    tuple of TextMark
        In the order of time; none where no mark was set.
    """
    beat = measured.beat
    if beat is None or not beat.n_beats:
        return ()
    first_s = measured.start_s + float(np.min(beat.time_s))
    marks = [
        TextMark(max(first_s + at_ms / 1000.0, 0.0), f"{HAND_MARKS[name]}, set by hand")
        for name, at_ms in measured.by_hand.items()
    ]
    return tuple(sorted(marks, key=lambda mark: mark.at_s))
