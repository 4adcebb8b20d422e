"""The beats of a recording, found piece by piece, with what is needed to class them.

A recording is looked at in pieces of `PIECE_S` with `CONTEXT_S` of signal on each side, so that
the memory does not grow with its length: of each piece only a few numbers a beat are kept. Gaps are
bridged before filtering and masked afterwards, as everywhere (`signals.filters`); the R peaks are
those of `signals.heart_beats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import MissingLeadError
from echoing_core.progress import SILENT, Progress
from echoing_core.records import FRANK_LEADS, LEADS, STANDARD_FS_HZ, BoolArray, Recording
from echoing_core.rhythm.shapes import AFTER_N, BEFORE_N, BeatShapes, NormalBeat, classed, shapes_of
from echoing_core.signals.filters import (
    bandpass,
    check_fs,
    fill_gaps,
    resample,
    resampled_length,
    resampling_ratio,
    valid_after_resampling,
)
from echoing_core.signals.heart_beats import find_heart_beats

F64 = npt.NDArray[np.float64]
Span = tuple[float, float]

PIECE_S, CONTEXT_S = 300.0, 10.0
SHORTEST_S = 2.5
SEAM_S = 0.15
GAP_S = 0.1
"""Of a longer gap between two beats nobody knows whether it hides a third."""

# The other limb leads say nothing that these do not.
_ENOUGH = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
# A day of twelve leads: more leads make beats no surer, and take as much longer.
_MOST_LEADS = 4
_MANY_S = 3600.0


@dataclass(frozen=True, eq=False)
class Beats:
    """The beats of a recording.

    Attributes
    ----------
    time_s : ndarray, shape (n_beats,)
        R peaks (S where that is larger) in seconds from the start, ascending, between samples.
    kind : ndarray of str, shape (n_beats,)
        A key of `KINDS`.
    rr_ms : ndarray, shape (n_beats,)
        Interval that ends at the beat; NaN at the first one and across a gap.
    qrs_ms : ndarray, shape (n_beats,)
        About how wide the QRS is: for telling beats apart, no measurement of a report.
    likeness : ndarray, shape (n_beats,)
        Correlation with the running normal beat, -1..1.
    recorded : tuple of (float, float)
        Stretches in seconds in which at least one of ``leads`` was recorded.
    duration_s : float
    leads : tuple of str
        That were looked at.
    """

    time_s: F64
    kind: npt.NDArray[np.str_]
    rr_ms: F64
    qrs_ms: F64
    likeness: F64
    recorded: tuple[Span, ...]
    duration_s: float
    leads: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.time_s.size)

    @property
    def recorded_s(self) -> float:
        """Seconds that were recorded."""
        return float(sum(stop - start for start, stop in self.recorded))

    def n(self, kind: str) -> int:
        """How many beats are of a kind.

        Parameters
        ----------
        kind : str
            A key of `KINDS`.
        """
        return int((self.kind == kind).sum())


def find_beats_of(recording: Recording, *, progress: Progress = SILENT) -> Beats:
    """Find and class the beats of a recording of any length.

    Parameters
    ----------
    recording : Recording
    progress : Progress, optional
        Counts pieces.

    Returns
    -------
    Beats
        Without any beat where it lasts less than `SHORTEST_S` or nothing was recorded.

    Raises
    ------
    MissingLeadError
        It holds no ECG lead.
    SamplingRateError
        Its sampling rate is too low for 0.5-40 Hz.

    References
    ----------
    Classing by shape, prematurity and width: de Chazal et al., IEEE Trans Biomed Eng 2004;51:1196.
    """
    check_fs(recording.fs_hz)
    rows = _rows(recording)
    leads = tuple(recording.lead_names[row] for row in rows)
    recorded: list[Span] = []
    kept: list[tuple[F64, npt.NDArray[np.str_], F64, F64]] = []
    normal: NormalBeat | None = None
    pieces = list(_pieces(recording.duration_s))
    progress(0, len(pieces))
    for i, (start_s, stop_s) in enumerate(pieces):
        found, around, spans = _piece(recording, rows, start_s, stop_s)
        recorded += spans
        if found is not None:
            # The running normal beat is carried from piece to piece.
            kind, qrs_ms, likeness, normal = classed(
                found, intervals_ms(found.time_s, around), normal
            )
            mine = (found.time_s >= start_s) & (found.time_s < stop_s)
            kept.append((found.time_s[mine], kind[mine], qrs_ms[mine], likeness[mine]))
        progress(i + 1, len(pieces))
    if not kept:
        kept = [(np.empty(0), np.empty(0, dtype="<U1"), np.empty(0), np.empty(0))]
    time_s, kinds, widths, alike = (np.concatenate(part) for part in zip(*kept, strict=True))
    # A beat on a seam may be found by both pieces, a few milliseconds apart.
    once = np.diff(time_s, prepend=-1.0) > SEAM_S
    time_s = time_s[once]
    stretches = _joined(recorded)
    return Beats(
        time_s=time_s,
        kind=kinds[once],
        rr_ms=intervals_ms(time_s, stretches),
        qrs_ms=widths[once],
        likeness=alike[once],
        recorded=stretches,
        duration_s=recording.duration_s,
        leads=leads,
    )


def intervals_ms(time_s: F64, recorded: tuple[Span, ...]) -> F64:
    """Interval that ends at each beat, where nothing between the two was missed.

    Parameters
    ----------
    time_s : ndarray, shape (n_beats,)
    recorded : tuple of (float, float)
        Ascending stretches in seconds; what lies between two of them is a gap.

    Returns
    -------
    ndarray, shape (n_beats,)
        Milliseconds; NaN at the first beat and across a gap of more than `GAP_S`.
    """
    if not time_s.size:
        return np.empty(0)
    rr_ms = np.concatenate([[np.nan], 1000.0 * np.diff(time_s)])
    gap = unrecorded_s(np.concatenate([time_s[:1], time_s[:-1]]), time_s, recorded)
    rr_ms[gap > GAP_S] = np.nan
    return rr_ms


def unrecorded_s(start_s: F64, stop_s: F64, recorded: tuple[Span, ...]) -> F64:
    """Seconds between each two times that were not recorded.

    Parameters
    ----------
    start_s, stop_s : ndarray, shape (n,)
    recorded : tuple of (float, float)

    Returns
    -------
    ndarray, shape (n,)
    """
    if not recorded:
        return np.asarray(stop_s - start_s)
    # Seconds recorded up to each border, by which any time is interpolated.
    borders = np.array(recorded, dtype=np.float64).reshape(-1)
    lengths = np.diff(borders)
    lengths[1::2] = 0.0
    passed = np.concatenate([[0.0], np.cumsum(lengths)])
    held = np.interp(stop_s, borders, passed) - np.interp(start_s, borders, passed)
    return np.asarray((stop_s - start_s) - held)


def without_spans(recorded: tuple[Span, ...], spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """What is left of stretches when spans are taken away.

    Parameters
    ----------
    recorded, spans : tuple of (float, float)
        ``spans`` may overlap and lie in any order.

    Returns
    -------
    tuple of (float, float)
        Ascending.
    """
    left: list[Span] = []
    away = _joined(sorted(spans))
    k = 0
    for start, stop in recorded:
        at = start
        # Spans that ended before this stretch end before all later ones, too.
        while k < len(away) and away[k][1] <= at:
            k += 1
        j = k
        while j < len(away) and away[j][0] < stop:
            if away[j][0] > at:
                left.append((at, away[j][0]))
            at = max(at, away[j][1])
            j += 1
        if at < stop:
            left.append((at, stop))
    return tuple(left)


def _rows(recording: Recording) -> list[int]:
    """The leads to look at: those that say something of their own, few of a long recording."""
    held = {
        name: row
        for row, name in enumerate(recording.lead_names)
        if (name in LEADS or name in FRANK_LEADS) and _holds(recording.signal_mv[row])
    }
    if not any(name in LEADS or name in FRANK_LEADS for name in recording.lead_names):
        raise MissingLeadError(
            f"Recording {recording.record_id} has no ECG lead; it holds: "
            f"{', '.join(recording.lead_names) or 'no channel at all'}. Say which lead a channel "
            "is when opening it."
        )
    own = [name for name in _ENOUGH if name in held]
    names = own or [name for name in LEADS if name in held] or list(held)
    if recording.duration_s > _MANY_S and len(names) > _MOST_LEADS:
        # One from each side of the heart.
        names = [name for name in ("I", "II", "V1", "V5") if name in names] or names[:_MOST_LEADS]
    return [held[name] for name in names]


def _holds(lead_mv: npt.NDArray[np.float32]) -> bool:
    # Blocks, so that of a day no array of its length is made.
    return any(
        bool(np.isfinite(lead_mv[i : i + 1_000_000]).any())
        for i in range(0, lead_mv.size, 1_000_000)
    )


def _pieces(duration_s: float) -> Iterator[Span]:
    n = max(1, int(np.ceil(duration_s / PIECE_S)))
    for i in range(n):
        # The last piece reaches past the end, where a peak may lie half a sample.
        yield i * PIECE_S, duration_s + 1.0 if i == n - 1 else (i + 1) * PIECE_S


def _piece(
    recording: Recording, rows: list[int], start_s: float, stop_s: float
) -> tuple[BeatShapes | None, tuple[Span, ...], list[Span]]:
    """Beats of one piece with its context, what of both was recorded, and what of the piece."""
    fs_hz = recording.fs_hz
    first = round(max(start_s - CONTEXT_S, 0.0) * fs_hz)
    last = min(round((stop_s + CONTEXT_S) * fs_hz), recording.n_times)
    begin_s = first / fs_hz
    raw = recording.signal_mv[rows, first:last]
    if raw.shape[1] < SHORTEST_S * fs_hz - 1 or not rows:
        return None, (), []
    ratio = resampling_ratio(fs_hz, STANDARD_FS_HZ, n_times=raw.shape[1])
    n_out = resampled_length(raw.shape[1], ratio)
    signal_mv = np.zeros((len(rows), n_out))
    valid: BoolArray = np.zeros((len(rows), n_out), dtype=np.bool_)
    for k, lead_mv in enumerate(raw):
        valid[k] = valid_after_resampling(lead_mv, fs_hz, n_out)
        if valid[k].any():
            signal_mv[k] = resample(bandpass(fill_gaps(lead_mv, fs_hz), fs_hz), ratio)
    signal_mv[~valid] = 0.0
    there: BoolArray = np.asarray(valid.any(axis=0))
    around = tuple(_spans(there, begin_s, 0.0, recording.duration_s))
    spans = _spans(there, begin_s, start_s, min(stop_s, recording.duration_s))
    time_s = find_heart_beats(signal_mv, valid)
    near = np.round(time_s * STANDARD_FS_HZ).astype(np.intp)
    inside = (near >= BEFORE_N) & (near + AFTER_N <= n_out)
    # The threshold of the detector has no level to begin with in a gap.
    inside &= there[np.clip(near, 0, n_out - 1)]
    if not inside.any():
        return None, around, spans
    return shapes_of(signal_mv, valid, time_s[inside], begin_s), around, spans


def _spans(valid: BoolArray, begin_s: float, start_s: float, stop_s: float) -> list[Span]:
    """Runs of True on the clock of the recording, cut to a piece."""
    edges = np.flatnonzero(np.diff(valid.astype(np.int8), prepend=0, append=0)) / STANDARD_FS_HZ
    runs = zip(edges[::2] + begin_s, edges[1::2] + begin_s, strict=True)
    cut = [(max(float(a), start_s), min(float(b), stop_s)) for a, b in runs]
    return [(a, b) for a, b in cut if b > a]


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """Stretches that touch or overlap as one; given in ascending order of their starts."""
    joined: list[Span] = []
    for start, stop in spans:
        if joined and start <= joined[-1][1] + 1e-6:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return tuple(joined)
