"""What changed between two recordings of one person: intervals, axes, and the shape of beats.

A difference comes with a 95 % interval: of how the beats of each recording vary about their median,
and of what two measurements of the same heart differ by besides (`REPEAT`). What cannot be measured
in one of the two is not compared, and says in which, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from echoing_core.measure.beat import BEAT_FS_HZ
from echoing_core.measure.values import QTC, Measurement
from echoing_core.measure.whole import Measured

F64 = npt.NDArray[np.float64]

REPEAT: Mapping[str, float] = MappingProxyType(
    {
        "heart_rate_bpm": 2.0, "p_ms": 10.0, "pr_ms": 9.0, "qrs_ms": 6.0, "qt_ms": 10.0,
        **{f"qtc_{name}_ms": 15.0 for name in QTC},
        "p_axis_deg": 5.0, "qrs_axis_deg": 3.0, "t_axis_deg": 5.0,
        "sokolow_lyon_mv": 0.05, "cornell_mv": 0.05,
        "r_mv": 0.01, "s_mv": 0.0075, "st_j_mv": 0.0075, "st_j60_mv": 0.005, "t_mv": 0.0075,
    }
)  # fmt: skip
"""SD of one measurement repeated on the same heart, beside the spread over beats: the larger of
what the two halves (5 s each) of the LUDB records of even number at 500 Hz and of 150 PTB-XL
records of even number at 100 Hz ask for. On those of odd number 89 to 100 % of the differences
between halves lie within the interval (``benchmarks/serial.py``); axes and voltages of LUDB on a
few alone, for it scales leads one by one."""

VISIT_SD: Mapping[str, float] = MappingProxyType(
    {
        "heart_rate_bpm": 10.0, "p_ms": 12.0, "pr_ms": 18.0, "qrs_ms": 9.0, "qt_ms": 17.0,
        "qtc_bazett_ms": 26.0, "qtc_fridericia_ms": 18.0, "qtc_framingham_ms": 18.0,
        "qtc_hodges_ms": 16.0, "p_axis_deg": 15.0, "qrs_axis_deg": 8.5, "t_axis_deg": 9.5,
        "sokolow_lyon_mv": 0.4, "cornell_mv": 0.4,
        "r_mv": 0.19, "s_mv": 0.235, "st_j_mv": 0.027, "st_j60_mv": 0.031, "t_mv": 0.10,
    }
)  # fmt: skip
"""SD of the difference between two visits of a healthy person, with other rates and electrodes put
anew: 27 people of PTB-XL whose two ECGs were called normal, 68 days apart in the median
(``benchmarks/serial.py``)."""

COMPARED = (
    "heart_rate_bpm", "p_ms", "pr_ms", "qrs_ms", "qt_ms", "qtc_bazett_ms", "qtc_fridericia_ms",
    "qtc_framingham_ms", "qtc_hodges_ms", "p_axis_deg", "qrs_axis_deg", "t_axis_deg",
    "sokolow_lyon_mv", "cornell_mv",
)  # fmt: skip

COMPARED_BY_LEAD = ("r_mv", "s_mv", "st_j_mv", "st_j60_mv", "t_mv")

_Z = 1.96


@dataclass(frozen=True)
class Difference:
    """One measurement of two recordings.

    Attributes
    ----------
    one, other : Measurement
    value : float or None
        The other less the one; of axes the shorter way round, -180..180. None where one of the two
        is not measurable.
    interval : (float, float) or None
        95 %, in the same unit.
    why : str
        Where there is no value, the reason.
    """

    one: Measurement
    other: Measurement
    value: float | None
    interval: tuple[float, float] | None
    why: str = ""

    @property
    def changed(self) -> bool:
        """Whether the interval leaves no room for no change."""
        return self.interval is not None and not self.interval[0] <= 0.0 <= self.interval[1]

    @property
    def beyond_visits(self) -> bool:
        """Whether it changed by more than in 95 of 100 healthy people from visit to visit."""
        if self.value is None or not self.changed:
            return False
        return abs(self.value) > _Z * VISIT_SD[self.one.name]


@dataclass(frozen=True, eq=False)
class BeatsBeside:
    """The median beats of two recordings on one clock.

    Attributes
    ----------
    leads : tuple of str
        That both have.
    time_ms : ndarray, shape (n,)
        From the onset of the QRS.
    one_mv, other_mv : ndarray, shape (n_leads, n)
        Each over its level before the QRS; NaN where a beat does not reach.
    likeness : ndarray, shape (n_leads,)
        Correlation of the two, -1..1.
    """

    leads: tuple[str, ...]
    time_ms: F64
    one_mv: F64
    other_mv: F64
    likeness: F64


@dataclass(frozen=True, eq=False)
class Serial:
    """Two recordings beside each other.

    Attributes
    ----------
    one, other : Measured
    differences : tuple of Difference
        In the order of `COMPARED`.
    beats : BeatsBeside or None
        None where one of the two has no median beat or no lead is common to both.
    why : str
        Where there are no beats, the reason.
    by_lead : tuple of Difference
        Of the leads that both have, each in the order of `COMPARED_BY_LEAD`.
    """

    one: Measured
    other: Measured
    differences: tuple[Difference, ...]
    beats: BeatsBeside | None
    why: str = ""
    by_lead: tuple[Difference, ...] = ()


def compare_measured(one: Measured, other: Measured) -> Serial:
    """Differences of two measured recordings, and their median beats on one clock.

    Parameters
    ----------
    one, other : Measured
        The other is compared with the one.

    Returns
    -------
    Serial
    """
    differences = tuple(difference(one.get(name), other.get(name)) for name in COMPARED)
    beats, why = _beats(one, other)
    return Serial(one, other, differences, beats, why, _by_lead(one, other))


def _by_lead(one: Measured, other: Measured) -> tuple[Difference, ...]:
    first, second = (
        {(m.lead, m.name): m for m in each.by_lead if m.name in COMPARED_BY_LEAD}
        for each in (one, other)
    )
    return tuple(difference(first[at], second[at]) for at in first if at in second)


def difference(one: Measurement, other: Measurement) -> Difference:
    """The other less the one, with its interval.

    Parameters
    ----------
    one, other : Measurement
        Of one name.

    Returns
    -------
    Difference
    """
    reasons = [
        f"not measurable in the {which}: {each.why}"
        for which, each in (("first", one), ("second", other))
        if each.value is None
    ]
    if one.value is None or other.value is None:
        return Difference(one, other, None, None, "; ".join(reasons))
    value = other.value - one.value
    if one.unit == "°":
        value = (value + 180.0) % 360.0 - 180.0
    errors = [each.standard_error for each in (one, other)]
    known = [error for error in errors if error is not None]
    if len(known) < 2:
        if one.by_hand or other.by_hand:
            why = "set by hand on a wave that the single beats do not show"
            return Difference(one, other, None, None, f"no interval can be told: {why}")
        why = "the beats are too few or too noisy to tell how far the values can be relied on"
        return Difference(one, other, None, None, f"too noisy to compare: {why}")
    reach = _Z * float(np.sqrt(sum(e**2 for e in known) + 2.0 * REPEAT[one.name] ** 2))
    return Difference(one, other, value, (value - reach, value + reach))


def _has_beat(measured: Measured) -> bool:
    return measured.beat is not None and bool(np.isfinite(measured.mark_ms("qrs_onset")))


def _beats(one: Measured, other: Measured) -> tuple[BeatsBeside | None, str]:
    a, b = one.beat, other.beat
    if a is None or b is None or not (_has_beat(one) and _has_beat(other)):
        which, each = ("second", other) if _has_beat(one) else ("first", one)
        why = each.get("qrs_ms").why
        noisy = "too noisy to compare" if why.startswith("too noisy") else "not to be compared"
        reason = why.removeprefix("too noisy: ")
        return None, f"{noisy}: the {which} has no beat that could be measured ({reason})"
    flat = (*a.flat, *b.flat)
    leads = tuple(lead for lead in a.leads if lead in b.leads and lead not in flat)
    if not leads:
        return None, "the two have no lead in common that is not flat"
    step = 1000.0 / BEAT_FS_HZ
    time_ms = np.arange(-300.0, 600.0 + step, step)
    drawn = []
    for each, beat in ((one, a), (other, b)):
        onset = each.mark_ms("qrs_onset")
        rows = np.stack([beat.signal_mv[beat.leads.index(lead)] for lead in leads])
        clock = beat.time_ms - onset
        level = rows[:, (clock >= -16.0) & (clock <= 0.0)].mean(axis=1, keepdims=True)
        drawn.append(
            np.stack(
                [np.interp(time_ms, clock, row, left=np.nan, right=np.nan) for row in rows - level]
            )
        )
    whole = np.isfinite(drawn[0]).all(axis=0) & np.isfinite(drawn[1]).all(axis=0)
    x, y = (part[:, whole] - part[:, whole].mean(axis=1, keepdims=True) for part in drawn)
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return BeatsBeside(
        leads, time_ms, drawn[0], drawn[1], (x * y).sum(axis=1) / np.maximum(size, 1e-12)
    ), ""
