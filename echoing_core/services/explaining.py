"""sigma^2 along a recording: at once, or in small steps that leave a page free to answer.

A day takes most of a minute on one core. So that nobody waits in front of an empty page, a job
looks at it in two rounds: first some hundred windows all over it, which already give a picture,
then the rest. Each step takes a fraction of a second; between two of them a page may show how far
it is, answer a click, or stop.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.export.track import Explanation
from echoing_core.io.sources import listed
from echoing_core.progress import SILENT, Progress
from echoing_core.records import (
    FRANK_LEADS,
    LEADS,
    STANDARD_FS_HZ,
    WINDOW_S,
    GaussianEmbedding,
    Recording,
    StandardEcg,
    WindowTrack,
)
from echoing_core.services.lead_references import LeadReferenceJob
from echoing_core.services.models import Model
from echoing_core.signals import filled_to_window, standardise
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.signals.windows import WINDOW_N, stride_to_samples, window_starts
from echoing_core.uncertainty.reference import Reference

if TYPE_CHECKING:
    from echoing_core.embed.encode import EncodedWindows

Ints = npt.NDArray[np.int64]

FIRST_LOOK_S = 30.0
"""Least distance of the windows of the first round."""

FIRST_LOOK_WINDOWS = 600
"""Most windows of the first round: a few seconds, and more than a picture of a day has room for."""

LONG_S = 7200.0
"""Recordings longer than this are looked at in two rounds."""

CLOSE_STRIDE_S = 1.0
"""Distance of windows where somebody zooms in."""

CLOSE_VIEW_S = 600.0
"""A view of at most this length is worth a window every second."""

# Of windows that overlap, a step takes those that share one pass of the encoder; of others as many
# as it embeds together.
_DENSE_CHUNK_S = 300.0
_SPARSE_CHUNK = 48


def explain(
    model: Model,
    recording: Recording | StandardEcg,
    stride_s: float = 1.0,
    *,
    vcg_method: str = DEFAULT_VCG_METHOD,
    progress: Progress = SILENT,
) -> Explanation:
    """sigma^2 of 10-second windows along a recording (EchoingECG, Fig. 2).

    Parameters
    ----------
    model : Model
    recording : Recording or StandardEcg
    stride_s : float
        Seconds between window starts, from 0.01 s on. Multiples of 0.2 s share one pass.
    vcg_method : {"dower", "kors_pinv", "kors_gls"}
        How 12 leads are made of X, Y, Z where a recording has only those.
    progress : Progress, optional
        Counts windows: ``Progress(lambda stage, done, total: ...)``.

    Returns
    -------
    Explanation

    Raises
    ------
    RecordError
        The recording is too short or lacks leads.
    ConfigError
        ``stride_s`` or ``vcg_method`` is not possible.
    """
    return ExplainJob(model, recording, stride_s, vcg_method=vcg_method).run(progress)


def fitting_stride_s(duration_s: float) -> float:
    """Seconds between windows: one up to an hour, and ten beyond, where nothing is left out.

    Parameters
    ----------
    duration_s : float

    Returns
    -------
    float
    """
    return 1.0 if duration_s <= 3600.0 else WINDOW_S


class ExplainJob:
    """`explain` in steps.

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
        # Whole samples of 100 Hz; the stride that is stored is the one that was used.
        stride_n = stride_to_samples(stride_s)
        self.model = model
        self.ecg = as_standard_ecg(recording, vcg_method, model)
        self.stride_s = stride_n / STANDARD_FS_HZ
        # Written into every export, so that a figure can be made again.
        self._settings = {
            "window_s": WINDOW_S,
            "stride_s": self.stride_s,
            "vcg_method": vcg_method,
            "source_fs_hz": recording.fs_hz,
            "fs_hz": STANDARD_FS_HZ,
            "band_hz": [0.5, 40.0],
        }
        self._starts = window_starts(self.ecg.n_times, WINDOW_N, stride_n)
        self._reference = LeadReferenceJob(model, self.ecg)
        self._is_done = np.zeros(len(self._starts), dtype=np.bool_)
        self._chunks, self._n_first = _chunks(self._starts, self.ecg.duration_s)
        self._next = 0
        self._tracks: list[WindowTrack] = []
        self._busy_s = 0.0

    @property
    def total(self) -> int:
        """Windows in all."""
        return len(self._starts)

    @property
    def done(self) -> int:
        """Windows that are embedded."""
        return int(self._is_done.sum())

    @property
    def finished(self) -> bool:
        return self._next == len(self._chunks)

    @property
    def has_overview(self) -> bool:
        """Whether the first round is over, so that the whole recording can be shown."""
        return self._next >= self._n_first

    @property
    def left_s(self) -> float:
        """Seconds of work left in this round, by the pace so far; NaN before the first step."""
        if self._next == 0:
            return float("nan")
        # The first round has an end of its own, which is what a page waits for.
        stop = len(self._chunks) if self.has_overview else self._n_first
        left = sum(len(rows) for rows in self._chunks[self._next : stop])
        return self._busy_s * left / max(sum(len(rows) for rows in self._chunks[: self._next]), 1)

    @property
    def measuring_leads(self) -> bool:
        """Whether what is usual with these leads is still to be measured, before any window."""
        return not self._reference.finished

    @property
    def measured_share(self) -> float:
        """How much of that is done, 0..1."""
        return self._reference.share_done

    def step(self) -> None:
        """Embed the next few windows, for a fraction of a second.

        Of a recording with leads that are new to the model, what is usual with such leads first.
        """
        if not self._reference.finished:
            self._reference.step()
        elif not self.finished:
            self._encode(self._chunks[self._next], self._next + 1, SILENT)

    def run(self, progress: Progress = SILENT) -> Explanation:
        """Embed all windows that are left, and give the whole.

        They are one chunk here: whoever waits gains nothing from steps, and the last bits do not
        depend on how a recording is cut into them.

        Parameters
        ----------
        progress : Progress, optional
            Counts windows.

        Returns
        -------
        Explanation
        """
        while not self._reference.finished:
            self._reference.step()
        if not self.finished:
            self._encode(np.flatnonzero(~self._is_done), len(self._chunks), progress)
        return self.explanation()

    def _encode(self, rows: Ints, following: int, progress: Progress) -> None:
        from echoing_core.embed.encode import encode_dense_terms

        begun = time.perf_counter()
        checkpoint = self.model.checkpoint
        encoded = encode_dense_terms(
            checkpoint.encoder.ecg,
            checkpoint.scaler,
            self.ecg,
            self._starts[rows],
            progress=progress,
        )
        reference = self._reference.reference
        track = _track(reference, self.ecg, self._starts[rows], encoded, self.stride_s)
        # All state changes after the work, so that whoever interrupts loses a step at most.
        self._tracks.append(track)
        self._is_done[rows] = True
        self._next = following
        self._busy_s += time.perf_counter() - begun

    def explanation(self) -> Explanation:
        """What is known so far. Windows that are not embedded yet are left out.

        Returns
        -------
        Explanation

        Raises
        ------
        ValueError
            No window is embedded yet.
        """
        if not self._tracks:
            raise ValueError("no window was looked at yet")
        settings = dict(self._settings)
        if not self.finished:
            # Only while windows are missing, so that an export says that it is not complete.
            settings["windows_looked_at"] = self.done
            settings["windows_in_all"] = self.total
        return Explanation(
            recording_id=self.ecg.record_id,
            ecg=self.ecg,
            track=_joined(self._tracks),
            model_name=self.model.name,
            model_hash=self.model.hash,
            settings=settings,
            lead_set=self._reference.lead_set,
            lead_reference=self._reference.reference,
            all_reference=self.model.reference,
            sigma2=self.model.sigma2,
            sigma2_means=self.model.sigma2_means,
            has_sigma2=self.model.has_sigma2,
            other_reference=self.model.other_reference,
            cautions=cautions(self.model, self.ecg),
        )


def refine(model: Model, explanation: Explanation, begin_s: float, end_s: float) -> Explanation:
    """The same recording with a window every second between two times.

    Parameters
    ----------
    model : Model
        That made the explanation.
    explanation : Explanation
    begin_s, end_s : float
        Seconds from the start of the recording.

    Returns
    -------
    Explanation
        Windows that are there already are kept as they are. Where none is missing it is
        ``explanation`` itself.
    """
    from echoing_core.embed.encode import encode_dense_terms

    ecg, track = explanation.ecg, explanation.track
    here = np.round(track.start_s * STANDARD_FS_HZ).astype(np.int64)
    step = round(CLOSE_STRIDE_S * STANDARD_FS_HZ)
    last = ecg.n_times - WINDOW_N
    # From the first window that reaches into the view.
    first = max(int(np.ceil(begin_s * STANDARD_FS_HZ / step)) * step - WINDOW_N, 0)
    wanted = np.arange(first, min(int(end_s * STANDARD_FS_HZ), last) + 1, step, dtype=np.int64)
    # As many windows as wanted, even at other starts, are dense enough.
    between = (here >= first) & (here <= end_s * STANDARD_FS_HZ)
    if between.sum() >= len(wanted):
        return explanation
    # In samples, since seconds as floats would miss equal starts.
    new = np.setdiff1d(wanted, here)
    if not new.size:
        return explanation
    encoded = encode_dense_terms(model.checkpoint.encoder.ecg, model.checkpoint.scaler, ecg, new)
    finer = _track(explanation.reference, ecg, new, encoded, CLOSE_STRIDE_S)
    return replace(explanation, track=_joined([track, finer]))


def cautions(
    model: Model, recording: Recording | StandardEcg, *, vcg_method: str = DEFAULT_VCG_METHOD
) -> tuple[str, ...]:
    """What makes a recording one that this model cannot read as it should.

    The published network has no mask: what was not recorded it takes for a flat line. Refusing
    such recordings would keep them from a comparison on purpose, so a sentence says it instead.

    Parameters
    ----------
    model : Model
    recording : Recording or StandardEcg
    vcg_method : str
        As in `explain`.

    Returns
    -------
    tuple of str
        Sentences; empty for a model that can be told what is missing.
    """
    if model.masks_leads:
        return ()
    ecg = as_standard_ecg(recording, vcg_method, model)
    if ecg.valid.all():
        return ()
    missing = ecg.leads_with("missing")
    recorded = np.array([origin != "missing" for origin in ecg.lead_origin])
    absent = [f"the leads {', '.join(missing)}"] if missing else []
    if not ecg.valid[recorded].all():
        absent.append("gaps in the recording")
    return (
        f"This model cannot be told what was not recorded: {' and '.join(absent)} were given to it "
        "as flat lines. Do not rely on its answers or its sigma^2 here.",
    )


def as_standard_ecg(
    recording: Recording | StandardEcg, vcg_method: str, model: Model
) -> StandardEcg:
    """A recording as the model reads it; a `StandardEcg` is that already.

    One of less than 10 s is filled up with what was not recorded (`signals.filled_to_window`).

    Parameters
    ----------
    recording : Recording or StandardEcg
    vcg_method : str
        As in `explain`.
    model : Model
        Which says how recordings are filtered at their ends.

    Returns
    -------
    StandardEcg
        12 leads at 100 Hz, 0.5 to 40 Hz.

    Raises
    ------
    RecordError
        The recording is too short or lacks leads.
    """
    if isinstance(recording, StandardEcg):
        return recording
    filled = filled_to_window(recording)
    ecg = standardise(filled, vcg_method=vcg_method, filter_padding=model.checkpoint.filter_padding)
    return replace(
        ecg,
        notes=(*ecg.notes, *_not_used(recording)),
        unrecorded_s=filled.duration_s - recording.duration_s,
    )


def _not_used(recording: Recording) -> list[str]:
    """One sentence on what else the file holds, where it does."""
    names = recording.lead_names
    # All of X, Y and Z are used, or `standardise` says why not.
    used = {*LEADS, *(FRANK_LEADS if set(FRANK_LEADS) <= set(names) else ())}
    # Not strict: a reader that knows no spelling gives none.
    spelled = dict(zip(names, recording.source_names, strict=False))
    others = [spelled.get(name, name) for name in names if name not in used]
    return [f"In the file but not used: {listed(others)}."] if others else []


def _chunks(starts: Ints, duration_s: float) -> tuple[list[Ints], int]:
    """Window numbers of each step, and how many steps the first round has."""
    rows = np.arange(len(starts), dtype=np.int64)
    stride_n = int(starts[1] - starts[0]) if len(starts) > 1 else WINDOW_N
    every = max(round(FIRST_LOOK_S * STANDARD_FS_HZ / stride_n), 1)
    every = max(every, -(-len(starts) // FIRST_LOOK_WINDOWS))
    if duration_s <= LONG_S or every == 1:
        rounds = [rows]
    else:
        # Offset, so that the first round stands in the middle of what it speaks for.
        first = rows % every == every // 2
        rounds = [rows[first], rows[~first]]
    chunks: list[Ints] = []
    n_first = 0
    for number, wanted in enumerate(rounds):
        # Windows apart share no samples, so nothing is gained by taking neighbours together.
        gaps = np.diff(starts[wanted])
        if not gaps.size or gaps.min() >= WINDOW_N:
            borders = np.arange(_SPARSE_CHUNK, len(wanted), _SPARSE_CHUNK)
        else:
            chunk = starts[wanted] // round(_DENSE_CHUNK_S * STANDARD_FS_HZ)
            borders = np.flatnonzero(np.diff(chunk)) + 1
        chunks += np.split(wanted, borders)
        if number == 0:
            n_first = len(chunks)
    return chunks, n_first


def _track(
    reference: Reference, ecg: StandardEcg, starts: Ints, encoded: EncodedWindows, stride_s: float
) -> WindowTrack:
    uncertainty = encoded.embedding.uncertainty
    return WindowTrack(
        start_s=starts / ecg.fs_hz,
        embedding=encoded.embedding,
        uncertainty=uncertainty,
        percentile=reference.percentile(uncertainty),
        valid_fraction=_valid_fraction(ecg, starts),
        by_lead=encoded.by_lead,
        novelty=encoded.novelty,
        other_sigma2=encoded.other_sigma2,
        window_s=WINDOW_S,
        stride_s=stride_s,
    )


def _valid_fraction(ecg: StandardEcg, starts: Ints) -> npt.NDArray[np.float64]:
    """Measured or derived share of each lead in each window, shape (n_windows, 12)."""
    share = np.empty((len(starts), len(LEADS)))
    begin, stop = int(starts.min()), int(starts.max()) + WINDOW_N
    # Lead by lead and in 32 bits: a running count of all leads of a day is 0.8 GB.
    for row, valid in enumerate(ecg.valid[:, begin:stop]):
        count = np.concatenate([[0], np.cumsum(valid, dtype=np.int32)])
        share[:, row] = (count[starts - begin + WINDOW_N] - count[starts - begin]) / WINDOW_N
    return share


def _joined(tracks: list[WindowTrack]) -> WindowTrack:
    """The windows of several tracks of one recording in the order of time."""
    if len(tracks) == 1:
        return tracks[0]
    order = np.argsort(np.concatenate([t.start_s for t in tracks]), kind="stable")
    return replace(
        tracks[0],
        start_s=np.concatenate([t.start_s for t in tracks])[order],
        embedding=GaussianEmbedding(
            np.concatenate([t.embedding.mu for t in tracks])[order],
            np.concatenate([t.embedding.log_var for t in tracks])[order],
        ),
        uncertainty=np.concatenate([t.uncertainty for t in tracks])[order],
        percentile=np.concatenate([t.percentile for t in tracks])[order],
        valid_fraction=np.concatenate([t.valid_fraction for t in tracks])[order],
        by_lead=_in_order([t.by_lead for t in tracks], order),
        novelty=_in_order([t.novelty for t in tracks], order),
        other_sigma2=_in_order([t.other_sigma2 for t in tracks], order),
    )


def _in_order(
    columns: list[npt.NDArray[np.float32] | None], order: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32] | None:
    """One column of all tracks; None where the model does not give it."""
    present = [column for column in columns if column is not None]
    return np.concatenate(present)[order] if len(present) == len(columns) else None
