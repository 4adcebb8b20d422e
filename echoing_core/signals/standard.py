"""From a recording as measured to the 12 leads at 100 Hz that the model reads."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from echoing_core.errors import MissingLeadError, SignalQualityError
from echoing_core.records import (
    FRANK_LEADS,
    LEADS,
    LONG_PADDING,
    STANDARD_FS_HZ,
    WINDOW_S,
    BoolArray,
    Recording,
    StandardEcg,
)
from echoing_core.signals import long, short
from echoing_core.signals.filters import (
    FILTER_ORDER,
    KAISER_BETA,
    Bridges,
    band_hz,
    bandpass,
    bridges_of,
    check_fs,
    check_padding,
    fill_gaps,
    gap_runs,
    put_bridges,
    resample,
    resampled_length,
    resampling_ratio,
    valid_after_resampling,
    valid_beside,
)
from echoing_core.signals.leads import (
    DEFAULT_VCG_METHOD,
    LIMB_LEADS,
    VCG_METHOD_NAMES,
    limb_lead_sources,
    limb_weights,
    vcg_matrix,
)
from echoing_core.signals.windows import WINDOW_N

logger = logging.getLogger(__name__)


_STRETCH_N = 150_000
"""Samples of a stretch of a long recording: with 12 leads in float64, 14 MB."""

_ROWS_AT_ONCE = 4

SHORTEST_S = 2.5
"""One row of a printed ECG; anything shorter says too little to be read as a window of 10 s."""


def filled_to_window(recording: Recording) -> Recording:
    """A recording of less than one window, with the rest of the window as not measured.

    What was not recorded stays that: NaN becomes not valid, the model is given the mask, and
    sigma^2 grows with what is missing.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    Recording
        The same one where it fills a window; else one of 10 s that says what was added.

    Raises
    ------
    SignalQualityError
        It is shorter than `SHORTEST_S`.
    """
    check_fs(recording.fs_hz)
    ratio = resampling_ratio(recording.fs_hz, STANDARD_FS_HZ, n_times=recording.n_times)
    if resampled_length(recording.n_times, ratio) >= WINDOW_N:
        return recording
    # A sample less than 2.5 s is 2.5 s for anybody who exported it.
    if recording.n_times + 1 < SHORTEST_S * recording.fs_hz:
        raise SignalQualityError(
            f"Recording {recording.record_id} is {recording.duration_s:.2f} s long; at least "
            f"{SHORTEST_S:g} s are needed. Choose a longer recording."
        )
    lacking = int(np.ceil(WINDOW_S * recording.fs_hz)) - recording.n_times
    filled = np.pad(recording.signal_mv, ((0, 0), (0, lacking)), constant_values=np.nan)
    note = (
        f"The recording lasts {recording.duration_s:.3g} s; the last "
        f"{lacking / recording.fs_hz:.2g} s of the window of {WINDOW_S:g} s were not recorded, and "
        "the model is told so."
    )
    return replace(recording, signal_mv=filled, notes=(*recording.notes, note))


def standardise(
    recording: Recording,
    *,
    vcg_method: str = DEFAULT_VCG_METHOD,
    filter_padding: str = LONG_PADDING,
) -> StandardEcg:
    """Filter, resample and complete a recording: 12 leads, 0.5-40 Hz, 100 Hz.

    The whole recording is band-passed (Butterworth of order 4, zero phase), then resampled
    by a rational ratio, lead by lead. Measured leads are kept as they are; missing limb
    leads follow from two measured ones (Einthoven, Goldberger); what is then still missing
    is synthesised from X, Y, Z if all three were measured. Everything else is "missing".

    Gaps (NaN) stay gaps: ``valid`` is False and the signal 0 there and in a small guard
    around them (`filters.valid_after_resampling`). A lead that holds nothing but gaps counts
    as not measured.

    Parameters
    ----------
    recording : Recording
    vcg_method : str
        ``"dower"``, ``"kors_pinv"`` or ``"kors_gls"``, see `signals.leads`.
    filter_padding : {"long", "scipy"}
        See `records.PADDINGS`; for a model, that of its folder.

    Returns
    -------
    StandardEcg
        ``n_times`` is ceil(recording.n_times * 100 / fs).

    Raises
    ------
    MissingLeadError
        If the recording holds neither one of the 12 leads nor all of X, Y and Z.
    SignalQualityError
        If it is shorter than one window of 10 s, or holds nothing but gaps.
    SamplingRateError
        If the sampling rate is too low for 0.5-40 Hz.
    ConfigError
        If ``vcg_method`` or ``filter_padding`` does not exist.
    """
    # Everything that can be refused is refused before anything is filtered.
    from_xyz = vcg_matrix(vcg_method)
    check_fs(recording.fs_hz)
    check_padding(filter_padding)
    ratio = resampling_ratio(recording.fs_hz, STANDARD_FS_HZ, n_times=recording.n_times)
    n_out = resampled_length(recording.n_times, ratio)
    _check_leads(recording)
    if n_out < WINDOW_N:
        raise SignalQualityError(
            f"Recording {recording.record_id} is {recording.duration_s:.2f} s long; at least "
            f"{WINDOW_S:g} s are needed. Choose a longer recording."
        )
    measured, empty = _measured_rows(recording)
    notes = list(recording.notes)
    if empty:
        plural = "s" if len(empty) > 1 else ""
        notes.append(f"Lead{plural} {', '.join(empty)} held no measured value and was left out.")

    signal_mv = np.zeros((len(LEADS), n_out), dtype=np.float32)
    valid = np.zeros((len(LEADS), n_out), dtype=np.bool_)
    origin = ["missing"] * len(LEADS)

    there = [lead for lead in LEADS if lead in measured]
    rows = [LEADS.index(lead) for lead in there]
    for row in rows:
        origin[row] = "measured"
    filtered = _Filtered(recording, ratio, n_out, filter_padding)
    filtered.put([measured[lead] for lead in there], signal_mv, valid, rows)

    # Limb leads first: two measured leads give the others exactly, a VCG only by a model.
    derivations = []
    sources = limb_lead_sources(measured)
    if sources is not None and not all(lead in measured for lead in LIMB_LEADS):
        a, b = LEADS.index(sources[0]), LEADS.index(sources[1])
        for lead, weights in limb_weights(sources).items():
            row = LEADS.index(lead)
            if origin[row] == "missing":
                signal_mv[row] = weights[0] * signal_mv[a] + weights[1] * signal_mv[b]
                valid[row] = valid[a] & valid[b]
                origin[row] = "derived"
        derivations.append(f"Einthoven and Goldberger from {sources[0]}, {sources[1]}")

    if all(axis in measured for axis in FRANK_LEADS):
        if "missing" in origin:
            # Every derived lead has a share of X, Y and Z, and is valid where all three are.
            wanted = [row for row in range(len(LEADS)) if origin[row] == "missing"]
            axes_mv = np.zeros((len(FRANK_LEADS), n_out), dtype=np.float32)
            axes_valid = np.zeros((len(FRANK_LEADS), n_out), dtype=np.bool_)
            filtered.put([measured[n] for n in FRANK_LEADS], axes_mv, axes_valid, range(3))
            all_valid = axes_valid.all(axis=0)
            for axis in range(len(FRANK_LEADS)):
                for row in wanted:
                    signal_mv[row] += np.float32(from_xyz[row, axis]) * axes_mv[axis]
            for row in wanted:
                valid[row] = all_valid
                origin[row] = "derived"
            derivations.append(f"{VCG_METHOD_NAMES[vcg_method]} from X, Y, Z")
        else:
            notes.append("X, Y and Z are in the recording too; the 12 leads are used.")

    for row in range(len(LEADS)):
        # What the filter made of bridged gaps is no signal.
        signal_mv[row, ~valid[row]] = 0.0
    if n_out > _STRETCH_N and valid.all():
        # One value for all samples: 0.1 GB of a day.
        valid = np.broadcast_to(np.True_, valid.shape)
    logger.debug("%s: %s", recording.record_id, dict(zip(LEADS, origin, strict=True)))
    return StandardEcg(
        signal_mv=signal_mv,
        valid=valid,
        lead_origin=tuple(origin),
        record_id=recording.record_id,
        derivation="; ".join(derivations) or None,
        notes=tuple(notes),
        simulated=recording.simulated,
        annotations=recording.annotations,
    )


class _Filtered:
    """Channels of a recording, filtered and resampled."""

    def __init__(self, recording: Recording, ratio: Fraction, n_out: int, padding: str) -> None:
        self.signal_mv, self.fs_hz = recording.signal_mv, recording.fs_hz
        self.n_times = recording.n_times
        self.ratio, self.n_out, self.padding = ratio, n_out, padding

    def put(
        self,
        channels: Sequence[int],
        out_mv: npt.NDArray[np.float32],
        out_valid: BoolArray,
        rows: Sequence[int],
    ) -> None:
        """Write channels into rows of arrays of shape (n, n_out), and where they are valid."""
        if not channels:
            return
        phases = max(self.ratio.numerator, self.ratio.denominator)
        # Both ends take `SETTLED_S` each, and as much again beside them.
        least = max(short.MAX_SAMPLES, 5 * long.SETTLED_S * self.fs_hz)
        if self.n_times > least and phases <= long.MOST_PHASES:
            self._put_long(channels, out_mv, out_valid, rows)
            return
        # One lead at a time: several long ones in float64 would be gigabytes.
        for channel, row in zip(channels, rows, strict=True):
            lead_mv = self.signal_mv[channel]
            out_valid[row] = valid_after_resampling(lead_mv, self.fs_hz, self.n_out)
            filled = fill_gaps(lead_mv, self.fs_hz)
            filtered = bandpass(filled, self.fs_hz, padding=self.padding)
            out_mv[row] = resample(filtered, self.ratio)

    def _put_long(
        self,
        channels: Sequence[int],
        out_mv: npt.NDArray[np.float32],
        out_valid: BoolArray,
        rows: Sequence[int],
    ) -> None:
        """The same stretch by stretch, all channels together."""
        for row in rows:
            out_valid[row] = True
        bridged = _Bridged(self, channels)
        up, down = self.ratio.numerator, self.ratio.denominator
        of = long.kernel(FILTER_ORDER, float(self.fs_hz), *band_hz(), self.ratio, KAISER_BETA)
        settled = -(-round(long.SETTLED_S * self.fs_hz) // of.step)
        end_n = (settled + 1) * of.n_per
        last = (self.n_out - end_n) // of.n_per * of.n_per
        stretch = max(1, _STRETCH_N // of.step)

        def filter_from(begin: int) -> None:
            n_blocks = min(stretch, last // of.n_per - begin)
            first = (begin - settled) * of.step - of.lead_in
            stop = first + (n_blocks + 2 * settled) * of.step
            here = slice(begin * of.n_per, (begin + n_blocks) * of.n_per)
            part = slice(settled * of.n_per, (settled + n_blocks) * of.n_per)
            filled = bridged.stretch(first, stop)
            # A few rows at a time, so that they stay in the processor's cache.
            for k in range(0, len(rows), _ROWS_AT_ONCE):
                some = long.filtered_blocks(filled[k : k + _ROWS_AT_ONCE], of)[:, part]
                for row, row_mv in zip(rows[k : k + _ROWS_AT_ONCE], some, strict=True):
                    out_mv[row, here] = row_mv

        # Of long recordings alone: it looks through all libraries that are loaded.
        from threadpoolctl import threadpool_limits

        begins = range(end_n // of.n_per, last // of.n_per, stretch)
        # A thread for each core, and not each product on all cores: most of the work is no product.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores()) as pool:
            # Asked for, so that a mistake is not lost.
            list(pool.map(filter_from, begins))

        # Both ends by the filter of short recordings, which mirrors them. Beyond them stands the
        # median of the whole lead, which is known at the new rate once all of it is there.
        pieces = []
        for begin, end, first, stop in (
            (0, end_n, 0, (end_n // of.n_per + settled) * of.step),
            (last, self.n_out, (last // of.n_per - settled) * of.step, self.n_times),
        ):
            skip = begin - first * up // down
            piece = slice(begin, end), slice(skip, skip + end - begin)
            pieces.append((*piece, bridged.stretch(first, stop)))

        def filter_ends(k: int) -> None:
            row, ends = rows[k], []
            for here, part, filled in pieces:
                filtered = bandpass(filled[k], self.fs_hz, padding=self.padding)
                out_mv[row, here] = resample(filtered, self.ratio)[part]
                ends.append((here, part, filtered))
            level = float(np.median(out_mv[row]))
            for here, part, filtered in ends:
                out_mv[row, here] = short.resample(filtered, self.ratio, KAISER_BETA, level)[part]

        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(filter_ends, range(len(rows))))
        for bridge, row in zip(bridged.bridges, rows, strict=False):
            out_valid[row] = valid_beside(bridge.starts, bridge.stops, self.fs_hz, self.n_out)


class _Bridged:
    """Stretches of channels with their gaps bridged.

    Where a gap ends is looked for only once a stretch holds one: most recordings have none.
    """

    def __init__(self, of: _Filtered, channels: Sequence[int]) -> None:
        self.signal_mv, self.fs_hz, self.n_times = of.signal_mv, of.fs_hz, of.n_times
        self.channels = list(channels)
        self.bridges: list[Bridges] = []
        self._lock = threading.Lock()

    def stretch(self, first: int, stop: int) -> npt.NDArray[np.float64]:
        """Samples from one up to another, shape (n_channels, stop - first)."""
        filled: npt.NDArray[np.float64] = self.signal_mv[self.channels, first:stop].astype(
            np.float64
        )
        # The sum is finite only if every value is.
        if np.isfinite(filled.sum()):
            return filled
        with self._lock:
            if not self.bridges:
                for channel, (starts, stops) in zip(self.channels, self._gaps(), strict=True):
                    read = functools.partial(self._read, channel)
                    self.bridges.append(bridges_of(read, starts, stops, self.n_times, self.fs_hz))
        for row, bridge in zip(filled, self.bridges, strict=True):
            put_bridges(row, first, bridge)
        return filled

    def _read(self, channel: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        lead_mv: npt.NDArray[np.float32] = self.signal_mv[[channel], start:stop][0]
        return lead_mv

    def _gaps(self) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """`gap_runs` of each channel, found stretch by stretch."""
        channels = self.channels
        starts: list[list[npt.NDArray[np.intp]]] = [[] for _ in channels]
        stops: list[list[npt.NDArray[np.intp]]] = [[] for _ in channels]
        for first in range(0, self.n_times, _STRETCH_N):
            block = self.signal_mv[channels, first : first + _STRETCH_N]
            if np.isfinite(np.sum(block, dtype=np.float64)):
                continue
            for k, row in enumerate(block):
                begin, end = gap_runs(row)
                starts[k].append(begin + first)
                stops[k].append(end + first)
        found = []
        for k in range(len(channels)):
            begin = np.concatenate([np.empty(0, dtype=np.intp), *starts[k]])
            end = np.concatenate([np.empty(0, dtype=np.intp), *stops[k]])
            # A gap across the seam of two stretches is one.
            seam = np.flatnonzero(begin[1:] == end[:-1])
            found.append((np.delete(begin, seam + 1), np.delete(end, seam)))
        return found


def cores() -> int:
    """Threads that work on one recording: the cores of this process, or ``OMP_NUM_THREADS``.

    Returns
    -------
    int
        1 in processes that work beside others.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_leads(recording: Recording) -> None:
    """Refuse a recording from which no ECG lead can be had, naming what it holds."""
    names = recording.lead_names
    if any(lead in names for lead in LEADS):
        return
    axes = [axis for axis in FRANK_LEADS if axis in names]
    if len(axes) == len(FRANK_LEADS):
        return
    if axes:
        missing = [axis for axis in FRANK_LEADS if axis not in names]
        raise MissingLeadError(
            f"Recording {recording.record_id} holds {' and '.join(axes)} but not "
            f"{' and '.join(missing)}; 12 leads need all of X, Y and Z. "
            f"Choose a recording with three orthogonal leads, or with ECG leads."
        )
    channels = ", ".join(names) if names else "no channel at all"
    raise MissingLeadError(
        f"Recording {recording.record_id} has no ECG lead; it holds: {channels}. At least one of "
        f"{', '.join(LEADS)}, or X, Y and Z together, is needed; say which "
        "lead a channel is when opening it"
        + (f' (on the command line --lead "{names[0]}=II").' if names else ".")
    )


def _measured_rows(recording: Recording) -> tuple[dict[str, int], list[str]]:
    """Rows of the ECG leads that hold values, and the names of those that hold none."""
    measured: dict[str, int] = {}
    empty: list[str] = []
    for row, name in enumerate(recording.lead_names):
        if name not in LEADS and name not in FRANK_LEADS:
            continue
        if _holds_values(recording, row):
            measured[name] = row
        else:
            empty.append(name)
    usable = any(lead in measured for lead in LEADS) or all(a in measured for a in FRANK_LEADS)
    if not usable:
        raise SignalQualityError(
            f"Recording {recording.record_id} holds no measured value in "
            f"{', '.join(empty)}. Choose a recording with a signal in at least one ECG lead, "
            f"or in X, Y and Z together."
        )
    return measured, empty


def _holds_values(recording: Recording, row: int) -> bool:
    # Mostly known from the first stretch; a long lead is not looked at as a whole.
    return any(
        bool(np.isfinite(recording.signal_mv[row : row + 1, first : first + _STRETCH_N]).any())
        for first in range(0, recording.n_times, _STRETCH_N)
    )
