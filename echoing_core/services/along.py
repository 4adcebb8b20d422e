"""A long recording: looked at in small steps, more closely where somebody zooms, told in stretches.

A day takes most of a minute on two cores. So that nobody waits in front of an empty page, it is
looked at in two rounds: first every third window or so, which already gives a picture, then the
rest. Each step takes a fraction of a second; between two of them a page may show how far it is,
answer a click, or stop.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.export.track import Explanation
from echoing_core.records import (
    STANDARD_FS_HZ,
    WINDOW_S,
    GaussianEmbedding,
    Recording,
    StandardEcg,
    WindowTrack,
)
from echoing_core.services.recordings import (
    WINDOW_N,
    Model,
    _standard,
    _valid_fraction,
    cautions,
    window_reasons,
)
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.signals.windows import stride_to_samples, window_starts
from echoing_core.uncertainty.intervals import (
    UNSURE_PERCENTILE,
    UncertainInterval,
    uncertain_intervals,
)
from echoing_core.uncertainty.reasons import WindowReasons

if TYPE_CHECKING:
    from echoing_core.embed.encode import EncodedWindows

Ints = npt.NDArray[np.int64]

FIRST_LOOK_S = 30.0
"""Distance of the windows of the first round."""

LONG_S = 7200.0
"""Recordings longer than this are looked at in two rounds."""

CLOSE_STRIDE_S = 1.0
"""Distance of windows where somebody zooms in."""

CLOSE_VIEW_S = 600.0
"""A view of at most this length is worth a window every second."""

MOST_REASONS = 200
"""Stretches of which the cause is told; a day of noise has more than a person reads."""

_DENSE_CHUNK_S = 300.0
_SPARSE_CHUNK = 48


def fitting_stride_s(duration_s: float) -> float:
    """Seconds between windows: one up to an hour, and ten beyond, where nothing is left out."""
    return 1.0 if duration_s <= 3600.0 else WINDOW_S


class Looking:
    """A recording in the course of being looked at.

    Parameters
    ----------
    model : Model
    recording : Recording or StandardEcg
    stride_s : float, optional
        Seconds between window starts; by default `fitting_stride_s`.
    vcg_method : str
        As in `explain`.

    Raises
    ------
    RecordError
        The recording is too short or lacks leads.
    ConfigError
        ``stride_s`` or ``vcg_method`` is not possible.
    """

    def __init__(
        self,
        model: Model,
        recording: Recording | StandardEcg,
        stride_s: float | None = None,
        *,
        vcg_method: str = DEFAULT_VCG_METHOD,
    ) -> None:
        if stride_s is None:
            stride_s = fitting_stride_s(recording.duration_s)
        stride_n = stride_to_samples(stride_s)
        self.model = model
        self.ecg = _standard(recording, vcg_method)
        self.stride_s = stride_n / STANDARD_FS_HZ
        self._settings = {
            "window_s": WINDOW_S,
            "stride_s": self.stride_s,
            "vcg_method": vcg_method,
            "source_fs_hz": recording.fs_hz,
            "fs_hz": STANDARD_FS_HZ,
            "band_hz": [0.5, 40.0],
        }
        self._starts = window_starts(self.ecg.n_times, WINDOW_N, stride_n)
        self._known = np.zeros(len(self._starts), dtype=np.bool_)
        self._chunks, self._n_first = _chunks(self._starts, self.ecg.duration_s)
        self._next = 0
        self._parts: list[tuple[Ints, EncodedWindows]] = []
        self._busy_s = 0.0

    @property
    def total(self) -> int:
        """Windows in all."""
        return len(self._starts)

    @property
    def done(self) -> int:
        """Windows looked at."""
        return int(self._known.sum())

    @property
    def finished(self) -> bool:
        return self._next == len(self._chunks)

    @property
    def has_picture(self) -> bool:
        """Whether the first round is over, so that the whole recording can be shown."""
        return self._next >= self._n_first

    @property
    def left_s(self) -> float:
        """Seconds of work left in this round, by the pace so far; NaN before the first step."""
        if self._next == 0:
            return float("nan")
        begin, stop = (0, self._n_first) if not self.has_picture else (0, len(self._chunks))
        left = sum(len(rows) for rows in self._chunks[self._next : stop])
        return self._busy_s * left / max(sum(len(r) for r in self._chunks[begin : self._next]), 1)

    def step(self) -> None:
        """Look at the next few windows, for a fraction of a second."""
        from echoing_core.embed.encode import encode_dense_terms

        if self.finished:
            return
        begun = time.perf_counter()
        rows = self._chunks[self._next]
        parts = encode_dense_terms(
            self.model.checkpoint.encoder.ecg,
            self.model.checkpoint.scaler,
            self.ecg,
            self._starts[rows],
        )
        # In one assignment after the work, so that whoever interrupts loses a step at most.
        self._parts.append((rows, parts))
        self._known[rows] = True
        self._next += 1
        self._busy_s += time.perf_counter() - begun

    def explanation(self) -> Explanation:
        """What is known so far. Windows that were not looked at yet are left out.

        Raises
        ------
        ValueError
            Nothing was looked at yet.
        """
        if not self._parts:
            raise ValueError("no window was looked at yet")
        rows = np.concatenate([r for r, _ in self._parts])
        order = np.argsort(rows, kind="stable")
        track = _track(
            self.model,
            self.ecg,
            self._starts[rows][order],
            _joined([p for _, p in self._parts]),
            order,
            self.stride_s,
        )
        settings = dict(self._settings)
        if not self.finished:
            settings["windows_looked_at"] = self.done
            settings["windows_in_all"] = self.total
        return Explanation(
            recording_id=self.ecg.record_id,
            ecg=self.ecg,
            track=track,
            model_name=self.model.name,
            model_hash=self.model.hash,
            settings=settings,
            cautions=cautions(self.model, self.ecg),
        )


def look_closer(
    model: Model, explanation: Explanation, begin_s: float, end_s: float
) -> Explanation:
    """The same recording with a window every second between two times.

    Windows that are there already are kept as they are. Nothing is done where none is missing:
    the same explanation comes back.
    """
    from echoing_core.embed.encode import encode_dense_terms

    ecg, track = explanation.ecg, explanation.track
    here = np.round(track.start_s * STANDARD_FS_HZ).astype(np.int64)
    step = round(CLOSE_STRIDE_S * STANDARD_FS_HZ)
    last = ecg.n_times - WINDOW_N
    first = max(int(np.ceil(begin_s * STANDARD_FS_HZ / step)) * step - WINDOW_N, 0)
    wanted = np.arange(first, min(int(end_s * STANDARD_FS_HZ), last) + 1, step, dtype=np.int64)
    between = (here >= first) & (here <= end_s * STANDARD_FS_HZ)
    if between.sum() >= len(wanted):
        return explanation
    new = np.setdiff1d(wanted, here)
    if not new.size:
        return explanation
    parts = encode_dense_terms(model.checkpoint.encoder.ecg, model.checkpoint.scaler, ecg, new)
    added = _track(model, ecg, new, parts, np.arange(len(new)), CLOSE_STRIDE_S)
    return replace(explanation, track=_merged(track, added))


@dataclass(frozen=True, eq=False)
class ToldStretch:
    """An uncertain stretch with its cause.

    Attributes
    ----------
    stretch : UncertainInterval
    worst_start_s : float
        Start of its least sure window.
    kind : str
        The foremost cause at its least sure window (`Reason.kind`); empty where none was looked
        for.
    leads : tuple of str
        To blame there.
    sentence : str
    """

    stretch: UncertainInterval
    worst_start_s: float
    kind: str
    leads: tuple[str, ...]
    sentence: str


def told_stretches(
    model: Model,
    explanation: Explanation,
    *,
    above: float = UNSURE_PERCENTILE,
    most: int = MOST_REASONS,
    known: Sequence[ToldStretch] = (),
) -> tuple[ToldStretch, ...]:
    """The uncertain stretches of a recording in the order of time, each with a cause.

    The cause is that of the least sure window of the stretch. It is looked for in the ``most``
    longest of them; the others come with an empty one. About 5 ms a stretch.

    Parameters
    ----------
    known : sequence of ToldStretch
        Of the same recording, from an earlier call: what they tell of a window is taken over.
    """
    track = explanation.track
    stretches = uncertain_intervals(track, explanation.ecg.duration_s, above)
    before = {t.worst_start_s: t for t in known if t.sentence}
    longest = sorted(stretches, key=lambda s: -s.duration_s)[:most]
    asked = [s.worst for s in longest if float(track.start_s[s.worst]) not in before]
    reports: dict[int, WindowReasons] = {}
    for begin in range(0, len(asked), 64):
        reports |= window_reasons(model, explanation, asked[begin : begin + 64])
    told = []
    for stretch in stretches:
        start_s = float(track.start_s[stretch.worst])
        report, earlier = reports.get(stretch.worst), before.get(start_s)
        if report is not None:
            kind = report.reasons[0].kind if report.reasons else ""
            told.append(ToldStretch(stretch, start_s, kind, report.leads, report.sentence))
        elif earlier is not None:
            told.append(replace(earlier, stretch=stretch))
        else:
            told.append(ToldStretch(stretch, start_s, "", (), ""))
    return tuple(told)


def _chunks(starts: Ints, duration_s: float) -> tuple[list[Ints], int]:
    """Window numbers of each step, and how many steps the first round has."""
    rows = np.arange(len(starts), dtype=np.int64)
    stride_n = int(starts[1] - starts[0]) if len(starts) > 1 else WINDOW_N
    every = max(round(FIRST_LOOK_S * STANDARD_FS_HZ / stride_n), 1)
    if duration_s <= LONG_S or every == 1:
        rounds = [rows]
    else:
        # Offset, so that the first round stands in the middle of what it speaks for.
        first = rows % every == every // 2
        rounds = [rows[first], rows[~first]]
    chunks: list[Ints] = []
    n_first = 0
    for number, wanted in enumerate(rounds):
        gaps = np.diff(starts[wanted])
        if not gaps.size or gaps.min() >= WINDOW_N:
            borders = np.arange(_SPARSE_CHUNK, len(wanted), _SPARSE_CHUNK)
        else:
            stretch = starts[wanted] // round(_DENSE_CHUNK_S * STANDARD_FS_HZ)
            borders = np.flatnonzero(np.diff(stretch)) + 1
        chunks += np.split(wanted, borders)
        if number == 0:
            n_first = len(chunks)
    return chunks, n_first


def _joined(parts: list[EncodedWindows]) -> EncodedWindows:
    """Windows of several steps behind one another."""
    from echoing_core.embed.encode import EncodedWindows

    def stack(name: str) -> npt.NDArray[np.float32] | None:
        columns = [getattr(p, name) for p in parts]
        return None if columns[0] is None else np.concatenate(columns)

    embedding = GaussianEmbedding(
        np.concatenate([p.embedding.mu for p in parts]),
        np.concatenate([p.embedding.log_var for p in parts]),
    )
    return EncodedWindows(embedding, by_lead=stack("by_lead"), novelty=stack("novelty"))


def _track(
    model: Model,
    ecg: StandardEcg,
    starts: Ints,
    parts: EncodedWindows,
    order: npt.NDArray[np.intp],
    stride_s: float,
) -> WindowTrack:
    embedding = parts.embedding[order]
    uncertainty = embedding.uncertainty
    return WindowTrack(
        start_s=starts / ecg.fs_hz,
        embedding=embedding,
        uncertainty=uncertainty,
        percentile=model.reference.percentile(uncertainty),
        valid_fraction=_valid_fraction(ecg, starts),
        by_lead=None if parts.by_lead is None else parts.by_lead[order],
        novelty=None if parts.novelty is None else parts.novelty[order],
        window_s=WINDOW_S,
        stride_s=stride_s,
    )


def _merged(one: WindowTrack, other: WindowTrack) -> WindowTrack:
    """Both tracks' windows in the order of time."""
    order = np.argsort(np.concatenate([one.start_s, other.start_s]), kind="stable")

    def both(name: str) -> npt.NDArray[np.floating]:
        return np.asarray(np.concatenate([getattr(one, name), getattr(other, name)])[order])

    tells = one.by_lead is not None and other.by_lead is not None
    knows = one.novelty is not None and other.novelty is not None
    return WindowTrack(
        start_s=both("start_s").astype(np.float64),
        embedding=GaussianEmbedding(
            np.concatenate([one.embedding.mu, other.embedding.mu])[order],
            np.concatenate([one.embedding.log_var, other.embedding.log_var])[order],
        ),
        uncertainty=both("uncertainty").astype(np.float64),
        percentile=both("percentile").astype(np.float64),
        valid_fraction=both("valid_fraction").astype(np.float64),
        by_lead=both("by_lead").astype(np.float32) if tells else None,
        novelty=both("novelty").astype(np.float32) if knows else None,
        window_s=one.window_s,
        stride_s=one.stride_s,
    )
