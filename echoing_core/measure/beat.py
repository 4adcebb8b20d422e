"""The median beat of a stretch of a recording: what every measurement is taken from.

Beats and their kinds are those of `rhythm`; here the normal ones are cut out at the recording's
own sampling rate, laid over each other by their QRS complexes, and the median is taken of each lead
at `BEAT_FS_HZ`. Ectopic beats and beats unlike the others are left out. Noise that differs from
beat to beat falls with the square root of their number, and how far the beats differ from their
median says how much of it is left.

References
----------
Pipberger et al. and the CSE working party (Willems et al., Eur Heart J 1985;6:815): measure on an
averaged or median beat, in all leads at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from echoing_core.errors import RecordError, SignalQualityError
from echoing_core.records import FRANK_LEADS, LEADS, BoolArray, Recording
from echoing_core.rhythm.beats import SHORTEST_S, Beats, find_beats_of
from echoing_core.rhythm.shapes import NORMAL, UNSURE
from echoing_core.signals.filters import check_fs, fill_gaps, zero_phase
from echoing_core.signals.leads import limb_lead_sources, limb_weights
from echoing_core.signals.quality import is_off

F64 = npt.NDArray[np.float64]

BEAT_FS_HZ = 500.0
BEFORE_S, AFTER_S = 0.48, 0.72
LONGEST_S = 60.0
"""More than a minute is a mean over rates that have nothing to do with each other."""
LEAST_BEATS = 3
LEAST_SHARE = 0.45
"""Of recordings of CinC 2017 that people called too noisy, most have fewer beats alike; of those
they called normal, hardly any."""
LOW_HZ, HIGH_HZ = 0.5, 100.0
"""A zero-phase filter may begin at 0.67 Hz without bending the ST segment (AHA 2007)."""
FLAT_HIGH_HZ = 40.0
"""As where quality is judged: noise above it makes no lead live."""

FIDUCIAL = round(BEFORE_S * BEAT_FS_HZ)
N_SAMPLES = FIDUCIAL + round(AFTER_S * BEAT_FS_HZ)

_ALIGN_MS, _QRS_MS = 16.0, 90.0
_LIKE = 0.85
_STRANGE = 3.0
_ADD_UP = 0.15


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """Beats of one kind laid over each other.

    Attributes
    ----------
    leads : tuple of str
        In the order of `LEADS`; X, Y, Z behind them.
    signal_mv : ndarray, shape (n_leads, N_SAMPLES)
        Median beat in mV at `BEAT_FS_HZ`; its fiducial, near the R peak, is sample `FIDUCIAL`.
    beats_mv : ndarray, shape (n_beats, n_leads, N_SAMPLES)
        The beats it is the median of; NaN where a gap lies.
    noise_mv : ndarray, shape (n_leads,)
        Usual distance of a single beat from the median (as of a normal distribution, SD).
    time_s : ndarray, shape (n_beats,)
        Fiducials of the beats in seconds from the start of the recording.
    rr_ms : ndarray
        Intervals between sure beats of the stretch, ectopic ones too; NaN where not known.
    n_found : int
        Beats found in the stretch, of whatever kind.
    kinds : str
        WFDB's letter of each beat found.
    derived : tuple of str
        Those of ``leads`` that were not recorded but follow from two limb leads.
    add_up : bool or None
        Whether I + III is II, as it must be where the leads share one scale; None where these
        were not all recorded.
    flat : tuple of str
        Those of ``leads`` that were recorded as a flat line: nothing of them is a measurement.
    """

    leads: tuple[str, ...]
    signal_mv: F64
    beats_mv: F64
    noise_mv: F64
    time_s: F64
    rr_ms: F64
    n_found: int
    kinds: str
    derived: tuple[str, ...]
    add_up: bool | None
    flat: tuple[str, ...] = ()

    @property
    def n_beats(self) -> int:
        return int(self.beats_mv.shape[0])

    @property
    def time_ms(self) -> F64:
        """Milliseconds of each sample from the fiducial, shape (N_SAMPLES,)."""
        return np.asarray((np.arange(N_SAMPLES) - FIDUCIAL) * (1000.0 / BEAT_FS_HZ), np.float64)

    @property
    def measured(self) -> list[int]:
        """Rows of the leads that were recorded and are not flat."""
        left_out = (*self.derived, *self.flat)
        return [i for i, lead in enumerate(self.leads) if lead not in left_out]

    def row(self, lead: str) -> F64 | None:
        """The median beat of a lead; None where there is none."""
        return self.signal_mv[self.leads.index(lead)] if lead in self.leads else None


class NoBeatError(RecordError):
    """There is no beat to measure; its words are the reason."""


def stretch_of(recording: Recording, start_s: float, length_s: float) -> Recording:
    """A part of a recording, as a recording of its own.

    Parameters
    ----------
    recording : Recording
    start_s, length_s : float

    Returns
    -------
    Recording
        Of at most `LONGEST_S`.

    Raises
    ------
    SignalQualityError
        There is no such stretch.
    """
    # Written so that NaN is refused, too.
    if not 0 <= start_s < recording.duration_s or not length_s > 0:
        raise SignalQualityError(
            f"There is no stretch of {length_s:g} s from second {start_s:g}: the recording lasts "
            f"{recording.duration_s:.1f} s. Choose a start within it."
        )
    first = round(start_s * recording.fs_hz)
    last = min(recording.n_times, first + round(min(length_s, LONGEST_S) * recording.fs_hz))
    if first == 0 and last == recording.n_times:
        return recording
    return replace(recording, signal_mv=np.asarray(recording.signal_mv[:, first:last]))


def median_beat(recording: Recording) -> MedianBeat:
    """The median beat of a recording of at most `LONGEST_S`.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    MedianBeat

    Raises
    ------
    NoBeatError
        Fewer than `LEAST_BEATS` normal beats were found, or none alike.
    RecordError
        It holds no ECG lead, or its sampling rate is too low.
    """
    check_fs(recording.fs_hz)
    beats = find_beats_of(recording)
    names = [n for n in (*LEADS, *FRANK_LEADS) if n in recording.lead_names]
    rows = [recording.lead_names.index(name) for name in names]
    raw = [np.asarray(recording.signal_mv[row]) for row in rows]
    held = [k for k, lead_mv in enumerate(raw) if np.isfinite(lead_mv).mean() > 0.3]
    leads = tuple(names[k] for k in held)
    if not leads:
        raise NoBeatError("too little was recorded")
    if not len(beats) and recording.duration_s < SHORTEST_S:
        lasts = f"{recording.duration_s:.1f} s were recorded from there"
        raise NoBeatError(f"too short: {lasts}, at least {SHORTEST_S:g} s are needed")
    finite = np.stack([np.isfinite(raw[k]) for k in held])
    quiet = np.stack([_filtered(raw[k], recording.fs_hz, FLAT_HIGH_HZ) for k in held])
    off = is_off(quiet, finite, recording.fs_hz)
    if off.all():
        raise NoBeatError("every lead is flat for half of the time or more")
    if not len(beats):
        raise NoBeatError("no heart beat was found")
    normal = np.flatnonzero(beats.kind == NORMAL)
    if normal.size < LEAST_BEATS:
        raise NoBeatError(_too_few(beats, int(normal.size)))
    filtered = np.stack([_filtered(raw[k], recording.fs_hz, HIGH_HZ) for k in held])
    time_s, cut = _aligned(filtered, finite, recording.fs_hz, beats.time_s[normal])
    keep = _alike(cut)
    n_like, n_all = int(keep.sum()), int(np.isin(beats.kind, (NORMAL, UNSURE)).sum())
    if n_like < LEAST_BEATS:
        raise NoBeatError("too noisy: no three beats look alike")
    if n_like < LEAST_SHARE * n_all:
        raise NoBeatError(f"too noisy: only {n_like} of {n_all} beats look alike")
    flat = tuple(lead for lead, is_flat in zip(leads, off, strict=True) if is_flat)
    return _of(leads, cut[keep], time_s[keep], beats, flat)


def _too_few(beats: Beats, n: int) -> str:
    others = int((beats.kind != NORMAL).sum())
    if others > n:
        # A beat that resembles no other is one of noise; ectopic ones resemble each other.
        noisy = "too noisy: " if 2 * int((beats.kind == UNSURE).sum()) > others else ""
        return f"{noisy}only {n} of {len(beats)} beats could be told to be normal ones"
    return f"only {n} beats were found; {LEAST_BEATS} are needed"


def _filtered(lead_mv: npt.NDArray[np.float32], fs_hz: float, high_hz: float) -> F64:
    filled = fill_gaps(lead_mv, fs_hz)
    filled -= np.median(filled)
    edges = (LOW_HZ, min(high_hz, 0.4 * fs_hz))
    return zero_phase(filled, 2, fs_hz, edges, min(round(3.0 * fs_hz), filled.size - 1))


def _cut(filtered: F64, finite: BoolArray, fs_hz: float, time_s: F64) -> F64:
    """Beats at `BEAT_FS_HZ`, (n_beats, n_leads, N_SAMPLES); NaN outside and in gaps."""
    at = time_s[:, np.newaxis] + (np.arange(N_SAMPLES) - FIDUCIAL) / BEAT_FS_HZ
    n = filtered.shape[1]
    inside = (at >= 0) & (at <= (n - 1) / fs_hz)
    # A cubic spline: between samples of 4 to 10 ms a straight line would cut the R peak.
    values = scipy.interpolate.CubicSpline(np.arange(n) / fs_hz, filtered, axis=1)(
        np.clip(at, 0, (n - 1) / fs_hz)
    )
    there = inside & finite[:, np.clip(np.round(at * fs_hz).astype(np.intp), 0, n - 1)]
    return np.asarray(np.where(there, values, np.nan).transpose(1, 0, 2))


def _aligned(filtered: F64, finite: BoolArray, fs_hz: float, time_s: F64) -> tuple[F64, F64]:
    """Beats moved by some milliseconds until each lies on the median best."""
    width = round(_QRS_MS * BEAT_FS_HZ / 1000.0)
    reach = round(_ALIGN_MS * BEAT_FS_HZ / 1000.0)
    middle = slice(FIDUCIAL - width, FIDUCIAL + width)
    for _ in range(2):
        cut = _cut(filtered, finite, fs_hz, time_s)
        wide = np.nan_to_num(cut[:, :, FIDUCIAL - width - reach : FIDUCIAL + width + reach])
        model = np.nan_to_num(_median(cut)[:, middle])
        model = model - model.mean(axis=1, keepdims=True)
        scores = np.stack(
            [
                (wide[:, :, reach + lag : reach + lag + 2 * width] * model).sum(axis=(1, 2))
                for lag in range(-reach, reach + 1)
            ],
            axis=1,
        )
        best = scores.argmax(axis=1) - reach
        moved = best / BEAT_FS_HZ
        time_s = time_s + moved - np.median(moved)
    return time_s, _cut(filtered, finite, fs_hz, time_s)


def _median(cut: F64) -> F64:
    """Median over beats; NaN where no beat was recorded."""
    empty = np.isnan(cut).all(axis=0)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty, 0.0, cut), axis=0))


def _alike(cut: F64) -> BoolArray:
    """Beats that look like the median, and are no farther from it than the others are."""
    middle = _median(cut)
    inner = slice(FIDUCIAL - round(0.1 * BEAT_FS_HZ), FIDUCIAL + round(0.35 * BEAT_FS_HZ))
    whole: BoolArray = np.asarray(np.isfinite(cut[:, :, inner]).all(axis=2))
    like, far = np.zeros(len(cut)), np.full(len(cut), np.inf)
    for i, beat in enumerate(cut):
        there = whole[i] & ~np.isnan(middle[:, inner]).any(axis=1)
        if not there.any():
            continue
        a, b = beat[there, inner], middle[there, inner]
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        like[i] = (a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-12)
        far[i] = np.sqrt(((a - b) ** 2).mean())
    usual = np.median(far[np.isfinite(far)]) if np.isfinite(far).any() else 0.0
    return np.asarray((like >= _LIKE) & (far <= _STRANGE * usual + 1e-9))


def _of(
    leads: tuple[str, ...], cut: F64, time_s: F64, beats: Beats, flat: tuple[str, ...]
) -> MedianBeat:
    middle = _median(cut)
    there = [k for k in range(len(leads)) if not np.isnan(middle[k]).any()]
    if not there:
        raise NoBeatError("too little was recorded around the beats")
    leads = tuple(leads[k] for k in there)
    cut, middle = cut[:, there], middle[there]
    flat = tuple(lead for lead in flat if lead in leads)
    # A lead that is off adds up with nothing, and nothing follows from it.
    add_up = None if {"I", "II", "III"} & set(flat) else _add_up(leads, middle)
    leads, cut, derived = _with_derived(leads, cut, flat)
    middle = _median(cut)
    # Each beat on its own level: what the baseline does between beats is not noise of a wave.
    apart = cut - middle
    apart = apart - np.nanmedian(apart, axis=2, keepdims=True)
    noise = 1.4826 * np.nanmedian(np.abs(apart), axis=(0, 2))
    return MedianBeat(
        leads=leads,
        signal_mv=middle,
        beats_mv=cut,
        noise_mv=noise,
        time_s=time_s,
        rr_ms=beats.rr_ms,
        n_found=len(beats),
        kinds="".join(beats.kind.tolist()),
        derived=derived,
        add_up=add_up,
        flat=flat,
    )


def _add_up(leads: tuple[str, ...], middle: F64) -> bool | None:
    if not {"I", "II", "III"} <= set(leads):
        return None
    inner = slice(FIDUCIAL - round(0.1 * BEAT_FS_HZ), FIDUCIAL + round(0.35 * BEAT_FS_HZ))
    one, two, three = (middle[leads.index(name), inner] for name in ("I", "II", "III"))
    off = one + three - two
    size = max(float(np.ptp(lead)) for lead in (one, two, three))
    return bool(np.ptp(off) <= _ADD_UP * size)


def _with_derived(
    leads: tuple[str, ...], cut: F64, flat: tuple[str, ...]
) -> tuple[tuple[str, ...], F64, tuple[str, ...]]:
    """The limb leads that two of them give, in the order of `LEADS`."""
    sources = limb_lead_sources([lead for lead in leads if lead not in flat])
    missing = [name for name in LEADS[:6] if name not in leads]
    if sources is None or not missing:
        return leads, cut, ()
    weights = limb_weights(sources)
    one, two = (cut[:, leads.index(name)] for name in sources)
    rows = {name: cut[:, k] for k, name in enumerate(leads)}
    for name in missing:
        a, b = weights[name]
        rows[name] = a * one + b * two
    order = [name for name in (*LEADS, *FRANK_LEADS) if name in rows]
    return tuple(order), np.stack([rows[name] for name in order], axis=1), tuple(missing)
