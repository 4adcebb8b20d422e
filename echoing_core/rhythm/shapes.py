"""The shapes of beats, and the kind of each: normal, ventricular, supraventricular, unsure.

Beats of one piece of a recording are gathered into groups of like shape, and groups are judged
rather than beats: one beat may be bent by noise, the mean of its group is not. The group that goes
on as the normal beat of the piece before is the normal one again; in the first piece it is a large
group of narrow beats that do not come early. Of every other group it is asked how unlike the normal
beat it is, how wide, and how early its beats come.

Thresholds were set by MIT-BIH 103, 105, 108 and 118e12 of the Noise Stress Test alone;
``benchmarks/rhythm.py`` prints what they give there, and on the records that were left for the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from echoing_core.records import STANDARD_FS_HZ, BoolArray

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]

NORMAL, VENTRICULAR, SUPRAVENTRICULAR, UNSURE = "N", "V", "S", "Q"
KINDS = {
    NORMAL: "normal",
    VENTRICULAR: "ventricular",
    SUPRAVENTRICULAR: "supraventricular premature",
    UNSURE: "unsure",
}
"""WFDB's letters of the kinds that are told apart here, and their words. "Normal" is the beat that
the rhythm is made of, with a bundle branch block, too."""

BEFORE_N, AFTER_N = 18, 26
"""Samples of 10 ms cut before and after an R peak: a wide QRS and `_REACH` more on each side."""

_REACH = 4  # the peak of one beat may be R, that of its like S
_SAME = 0.90  # correlation of beats of one group
_MOST_GROUPS = 20
_LOCAL_BEATS = 12
_EARLY, _EARLY_TO_NEXT = 0.86, 0.70
_NOISY = 0.22
_NORMAL, _DIFFERENT, _FOREIGN = 0.85, 0.72, 0.60
_TALLER, _NARROWER_MS = 1.5, -20.0
_STRANGE = 0.45
_MANY = 20
_BOTH, _LEAST_AFTER = 1.35, 0.75
_MOST_DOUBTFUL = 0.2
_REGULAR = 0.10
_SLOPE_SHARE = 0.22
_BRIDGED_N = 3


@dataclass(frozen=True, eq=False)
class BeatShapes:
    """The beats of one piece, cut out.

    Attributes
    ----------
    time_s : ndarray, shape (n_beats,)
        On the clock of the recording.
    cuts : ndarray, shape (n_beats, n_leads, BEFORE_N + AFTER_N)
        Each lead in units of its usual QRS, a lead full of noise made small.
    noise : ndarray, shape (n_beats,)
        Spread of the signal before and after the beat over the height of the beat.
    """

    time_s: F64
    cuts: F32
    noise: F64


@dataclass(frozen=True, eq=False)
class NormalBeat:
    """The running normal beat.

    Attributes
    ----------
    shape : ndarray, shape (n_leads, BEFORE_N + AFTER_N)
    qrs_ms : float
    """

    shape: F32
    qrs_ms: float


def shapes_of(signal_mv: F64, valid: BoolArray, time_s: F64, begin_s: float) -> BeatShapes:
    """Cut beats out of one piece.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_times)
        0.5-40 Hz at 100 Hz, 0 where ``valid`` is False.
    valid : ndarray, shape (n_leads, n_times), bool
    time_s : ndarray, shape (n_beats,)
        Seconds from the first sample; each with `BEFORE_N` and `AFTER_N` samples around it.
    begin_s : float
        The first sample on the clock of the recording.

    Returns
    -------
    BeatShapes
    """
    near = np.round(time_s * STANDARD_FS_HZ).astype(np.intp)
    around = near[:, np.newaxis] + np.arange(-BEFORE_N, AFTER_N)
    cuts = signal_mv[:, around].transpose(1, 0, 2)
    height = np.ptp(cuts[:, :, BEFORE_N - 10 : BEFORE_N + 10], axis=2)  # (n_beats, n_leads)
    spread = _spread_between(signal_mv, near)
    usual = np.median(height, axis=0)
    clear = usual / np.maximum(usual + 3.0 * np.median(spread, axis=0), 1e-6)
    weight = np.where(usual > 0.02, clear**2 / np.maximum(usual, 0.02), 0.0)
    weight = weight * valid.any(axis=1)
    noise = (spread * weight).sum(axis=1) / np.maximum((height * weight).sum(axis=1), 1e-6)
    scaled = cuts * weight[np.newaxis, :, np.newaxis]
    return BeatShapes(time_s + begin_s, scaled.astype(np.float32), noise)


def _spread_between(signal_mv: F64, near: Ints) -> F64:
    """Twice the spread of the signal around each beat where no beat is, (n_beats, n_leads)."""
    # Slow waves apart: only what is as fast as a QRS is taken for noise.
    fast = signal_mv - scipy.ndimage.uniform_filter1d(signal_mv, 25, axis=1)
    free = np.ones(signal_mv.shape[1], dtype=np.bool_)
    for step in range(-16, 26):
        free[np.clip(near + step, 0, free.size - 1)] = False
    ends = np.clip(near[:, np.newaxis] + np.array([-70, 70]), 0, free.size)
    count = np.diff(np.concatenate([[0], np.cumsum(free)])[ends], axis=1)[:, 0]
    power = np.cumsum(np.pad(fast**2 * free, ((0, 0), (1, 0))), axis=1)
    total = np.diff(power[:, ends], axis=2)[:, :, 0]
    spread = 2.0 * np.sqrt(np.maximum(total, 0.0) / np.maximum(count, 1)).T
    # Where beats follow each other too closely, as noisy as is usual here.
    spread[count < 10] = np.median(spread[count >= 10], axis=0) if (count >= 10).any() else 0.0
    return np.asarray(spread)


def classed(
    shapes: BeatShapes, rr_ms: F64, normal: NormalBeat | None
) -> tuple[npt.NDArray[np.str_], F64, F64, NormalBeat | None]:
    """The kinds of the beats of one piece.

    Parameters
    ----------
    shapes : BeatShapes
        Of one beat or more.
    rr_ms : ndarray, shape (n_beats,)
        Interval before each beat; NaN where it is not known.
    normal : NormalBeat or None
        Of the piece before.

    Returns
    -------
    kind : ndarray of str, shape (n_beats,)
    qrs_ms : ndarray, shape (n_beats,)
        Width of the mean beat of its group.
    likeness : ndarray, shape (n_beats,)
        Correlation with the normal beat.
    normal : NormalBeat or None
        Of this piece; that before where none of its beats is one.
    """
    groups = _groups(shapes)
    means = [shapes.cuts[rows].mean(axis=0) for rows in groups]
    widths = np.array([width_ms(mean) for mean in means])
    n = len(shapes.time_s)
    alone, many = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    qrs_ms = np.empty(n)
    for rows, width in zip(groups, widths, strict=True):
        alone[rows], many[rows] = len(rows) == 1, len(rows) >= _MANY
        qrs_ms[rows] = width
    chosen = _normal_group(groups, means, widths, _early(rr_ms), shapes.noise, normal)
    if chosen is None:
        return np.full(n, UNSURE, dtype="<U1"), qrs_ms, np.zeros(n), normal
    here = NormalBeat(means[chosen], float(widths[chosen]))
    likeness = _alike(shapes.cuts, here.shape[np.newaxis])[:, 0].astype(np.float64)
    # Two beats of noise between true ones make the true ones come early: intervals are told anew
    # without whatever is like nothing and stands in noise or between two beats that are in time.
    doubtful = alone & (likeness < _NORMAL) & ((shapes.noise > _NOISY) | _between(rr_ms))
    rr_ms = _skipping(rr_ms, doubtful)
    early = _early(rr_ms)
    surroundings = scipy.ndimage.uniform_filter1d(doubtful.astype(np.float64), 9, mode="nearest")
    kind = np.full(n, UNSURE, dtype="<U1")
    for k, rows in enumerate(groups):
        kind[rows] = _kind_of_group(
            1.0 if k == chosen else float(_alike(means[k][None], here.shape[None])[0, 0]),
            float(np.abs(means[k]).max() / max(np.abs(here.shape).max(), 1e-6)),
            float(widths[k]),
            float(widths[k] - here.qrs_ms),
            float(early[rows].mean()),
            len(rows),
            float(np.median(shapes.noise[rows])),
        )
        # What is seen in noise alone is noise.
        if float(np.median(surroundings[rows])) > _MOST_DOUBTFUL:
            kind[rows[kind[rows] == VENTRICULAR]] = UNSURE
    kind[(kind == VENTRICULAR) & ~_placed_as_ventricular(rr_ms, kind, early)] = UNSURE
    kind[(kind == VENTRICULAR) & ~many & (shapes.noise > 2 * _NOISY)] = UNSURE
    kind[doubtful | ((kind == NORMAL) & (likeness < 0.4))] = UNSURE
    clear = ~doubtful & (kind != UNSURE) & (shapes.noise < _NOISY)
    beside = np.append(clear[1:], True) & np.insert(clear[:-1], 0, True)
    premature = (kind == NORMAL) & early & clear & beside & _regular(rr_ms, kind)
    kind[premature] = SUPRAVENTRICULAR
    return kind, qrs_ms, likeness, here


def _kind_of_group(
    alike: float, taller: float, width: float, wider_ms: float, early: float, n: int, noise: float
) -> str:
    """What all beats of a group are."""
    # Noise does not repeat itself.
    clear = noise <= _NOISY or n >= _MANY
    different = alike < _DIFFERENT or (taller >= _TALLER and alike < _NORMAL)
    if early >= 0.5 and different:
        return VENTRICULAR if clear and wider_ms >= _NARROWER_MS else UNSURE
    if alike >= _NORMAL:
        return NORMAL
    # An escape, or a run of ventricular beats, comes in time.
    if n > 3 and clear and alike < _STRANGE and width >= 120 and wider_ms >= 35:
        return VENTRICULAR
    return NORMAL if alike >= _FOREIGN and early < 0.5 and noise <= _NOISY + 0.1 else UNSURE


def _between(rr_ms: F64) -> BoolArray:
    """Beats whose neighbours are in time without them."""
    usual = _local(rr_ms)
    with np.errstate(invalid="ignore"):
        return np.asarray(rr_ms + np.append(rr_ms[1:], np.nan) < _BOTH * usual)


def _placed_as_ventricular(rr_ms: F64, kind: npt.NDArray[np.str_], early: BoolArray) -> BoolArray:
    """Beats that come early, or after one of their kind, and are followed by no shorter interval.

    In time stands what was taken for an escape: it has been judged by its group.
    """
    usual = _local(rr_ms)
    ventricular = kind == VENTRICULAR
    after = np.insert(ventricular[:-1], 0, False)
    before = np.append(ventricular[1:], False)
    following = np.append(rr_ms[1:], np.nan)
    with np.errstate(invalid="ignore"):
        rested = before | ~(following < _LEAST_AFTER * usual)
        in_time = rr_ms > 0.86 * usual
    return np.asarray((early | after | in_time) & rested)


def _skipping(rr_ms: F64, left_out: BoolArray) -> F64:
    """Intervals between the beats that are kept; those that are left out have none."""
    # A running sum, so that of several beats left out in a row each one's interval is added.
    passed = np.cumsum(np.nan_to_num(rr_ms))
    broken = np.cumsum(np.isnan(rr_ms))
    kept = np.flatnonzero(~left_out)
    told = np.full(rr_ms.size, np.nan)
    told[kept[1:]] = np.where(np.diff(broken[kept]) == 0, np.diff(passed[kept]), np.nan)
    return told


def width_ms(shape: F32) -> float:
    """About how wide a QRS is: how long its slope stays above a share of its steepest point.

    Parameters
    ----------
    shape : ndarray, shape (n_leads, BEFORE_N + AFTER_N)

    Returns
    -------
    float
    """
    slope = np.sqrt((np.diff(shape, axis=1) ** 2).sum(axis=0))
    middle = slice(BEFORE_N - 10, BEFORE_N + 10)
    peak = BEFORE_N - 10 + int(np.argmax(slope[middle]))
    steep = slope >= _SLOPE_SHARE * slope[peak]
    # The top of a wide beat is level for a moment: short breaks are bridged.
    ends = []
    for step in (-1, 1):
        at, last = peak, peak
        while 0 <= at < steep.size and abs(at - last) <= _BRIDGED_N:
            if steep[at]:
                last = at
            at += step
        ends.append(last)
    return float(ends[1] - ends[0] + 1) * 1000.0 / STANDARD_FS_HZ


def _groups(shapes: BeatShapes) -> list[Ints]:
    """Rows of beats of like shape, the largest group first; a beat like no other stands alone."""
    alike = _alike(shapes.cuts, shapes.cuts) >= _SAME
    np.fill_diagonal(alike, True)
    left = np.ones(len(alike), dtype=np.bool_)
    groups: list[Ints] = []
    while left.any() and len(groups) < _MOST_GROUPS:
        count = alike[:, left].sum(axis=1) * left
        leader = int(np.argmax(count))
        if count[leader] < 2:
            break
        rows = np.flatnonzero(alike[leader] & left)
        groups.append(rows)
        left[rows] = False
    return groups + [np.array([row]) for row in np.flatnonzero(left).tolist()]


def _alike(cuts: F32, shapes: F32) -> F32:
    """Greatest correlation of each beat with each shape, moved by up to `_REACH` samples."""
    n, _, length = cuts.shape
    inner = _unit(shapes[:, :, _REACH : length - _REACH]).reshape(len(shapes), -1)
    best = np.full((n, len(shapes)), -1.0, dtype=np.float32)
    for shift in range(2 * _REACH + 1):
        moved = _unit(cuts[:, :, shift : shift + length - 2 * _REACH]).reshape(n, -1)
        np.maximum(best, moved @ inner.T, out=best)
    return best


def _unit(cuts: F32) -> F32:
    centred = cuts - cuts.mean(axis=2, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(centred / np.maximum(norm, 1e-6), dtype=np.float32)


def _local(rr_ms: F64) -> F64:
    """The usual interval around each beat."""
    if rr_ms.size < 3:
        return np.full(rr_ms.size, np.nan)
    known = np.where(
        np.isfinite(rr_ms), rr_ms, np.nanmedian(rr_ms) if np.isfinite(rr_ms).any() else 0.0
    )
    return np.asarray(scipy.ndimage.median_filter(known, 2 * _LOCAL_BEATS + 1, mode="nearest"))


def _early(rr_ms: F64) -> BoolArray:
    """Beats that come before they are due."""
    usual = _local(rr_ms)
    following = np.append(rr_ms[1:], np.nan)
    with np.errstate(invalid="ignore"):
        # The second line: in bigeminy half of all intervals are short.
        early = (rr_ms < _EARLY * usual) | (
            (rr_ms < _EARLY_TO_NEXT * following) & (rr_ms < 1.05 * usual)
        )
    return np.asarray(early)


def _regular(rr_ms: F64, kind: npt.NDArray[np.str_]) -> BoolArray:
    """Where the rhythm around is regular enough that an early beat means something."""
    normal = kind == NORMAL
    before = np.concatenate([[False], normal[:-1]])
    step = np.abs(np.diff(rr_ms, prepend=np.nan)) / np.maximum(_local(rr_ms), 1.0)
    step[~(normal & before)] = np.nan
    known = np.isfinite(step)
    filled = np.where(known, step, np.nanmedian(step) if known.any() else 1.0)
    return np.asarray(
        scipy.ndimage.median_filter(filled, 2 * _LOCAL_BEATS + 1, mode="nearest") < _REGULAR
    )


def _normal_group(
    groups: list[Ints],
    means: list[F32],
    widths: F64,
    early: BoolArray,
    noise: F64,
    before: NormalBeat | None,
) -> int | None:
    """Which group is the normal beat."""
    sizes = np.array([len(rows) for rows in groups])
    large = np.flatnonzero(sizes >= max(2, 0.1 * sizes.sum()))
    if not large.size:
        large = np.flatnonzero(sizes >= 2)
    if not large.size:
        return None
    # Of large groups the narrow, clean ones that are in time.
    worth = np.array(
        [
            sizes[k]
            / sizes.sum()
            * (1.0 - 0.8 * early[groups[k]].mean())
            * np.clip(1.6 - widths[k] / 160.0, 0.2, 1.0)
            * np.clip(1.0 - np.median(noise[groups[k]]), 0.05, 1.0)
            for k in large
        ]
    )
    if before is not None:
        same = _alike(np.stack([means[k] for k in large]), before.shape[None])[:, 0]
        worth = worth * np.where(same >= 0.9, 3.0, np.where(same >= 0.8, 1.5, 1.0))
    return int(large[int(np.argmax(worth))])
