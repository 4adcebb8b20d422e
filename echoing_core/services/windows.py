"""Windows of an explained recording: which to show, why they are unsure, and all of them fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echoing_core.errors import SignalQualityError
from echoing_core.export.track import Explanation
from echoing_core.records import (
    WINDOW_S,
    GaussianEmbedding,
    Recording,
    StandardEcg,
    WindowTrack,
)
from echoing_core.services.explaining import as_standard_ecg, explain
from echoing_core.services.models import Model
from echoing_core.signals.lead_sets import lead_words
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.signals.windows import WINDOW_N, cut_windows
from echoing_core.uncertainty.fusion import Fused, fuse
from echoing_core.uncertainty.intervals import (
    UNSURE_PERCENTILE,
    UncertainInterval,
    uncertain_intervals,
)
from echoing_core.uncertainty.reasons import (
    MISSING,
    WindowReasons,
    reasons_from_cells,
    reasons_from_percentile,
)

MOST_REASONS = 200
"""Intervals of which the cause is told; a day of noise has more than a person reads."""

# Windows of 12 leads whose cells are in memory together.
_WINDOWS_PER_PASS = 64


def most_sure_window(track: WindowTrack) -> int:
    """Index of the window with the lowest sigma^2 among those that hold some signal.

    Parameters
    ----------
    track : WindowTrack

    Returns
    -------
    int
    """
    rows = _windows_with_signal(track)
    return int(rows[np.argmin(track.uncertainty[rows])])


def extreme_windows(track: WindowTrack, n: int, *, surest: bool) -> list[int]:
    """The windows of a recording that a person should look at first.

    Parameters
    ----------
    track : WindowTrack
    n : int
        How many at most.
    surest : bool
        The surest ones, or the least sure ones.

    Returns
    -------
    list of int
        Windows that do not overlap and hold signal, the extreme one first.
    """
    # Ties at percentile 0 or 100 are common on noisy recordings, so sigma^2 itself decides.
    order = np.argsort(track.uncertainty if surest else -track.uncertainty, kind="stable")
    # The surest has to hold enough signal, which the order by sigma^2 alone does not ask.
    picked = [most_sure_window(track)] if surest else []
    for index in order.tolist():
        if len(picked) >= n:
            break
        apart = all(abs(track.start_s[index] - track.start_s[i]) >= track.window_s for i in picked)
        if apart and track.valid_fraction[index].max() > 0:
            picked.append(index)
    return picked


def _windows_with_signal(track: WindowTrack) -> npt.NDArray[np.intp]:
    """Windows that hold at least half as much signal as the fullest one."""
    # Relative to the fullest: of a recording with 2 leads no window would pass a fixed share.
    share = track.valid_fraction.mean(axis=1)
    return np.flatnonzero(share >= 0.5 * share.max())


def window_embedding(
    model: Model,
    recording: Recording | StandardEcg | Explanation,
    start_s: float | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
) -> GaussianEmbedding:
    """One window of a recording as a Gaussian, to ask or to search with.

    Parameters
    ----------
    model : Model
    recording : Recording, StandardEcg or Explanation
    start_s : float, optional
        Start of the window in seconds; without, the window with the lowest sigma^2.
    vcg_method : str
        As in `explain`; of an `Explanation` its own was used already.

    Returns
    -------
    GaussianEmbedding, one row

    Raises
    ------
    SignalQualityError
        There is no window at ``start_s``.
    """
    from echoing_core.embed.encode import encode_dense

    if start_s is None:
        if not isinstance(recording, Explanation):
            recording = explain(model, recording, vcg_method=vcg_method)
        track = recording.track
        return track.embedding[np.array([most_sure_window(track)])]
    if isinstance(recording, Explanation):
        ecg = recording.ecg
    else:
        ecg = as_standard_ecg(recording, vcg_method, model)
    start_n = round(start_s * ecg.fs_hz) if math.isfinite(start_s) else -1
    if start_n < 0 or start_n + WINDOW_N > ecg.n_times:
        raise SignalQualityError(
            f"There is no 10-second window at {start_s:.1f} s: the recording lasts "
            f"{ecg.duration_s:.1f} s. Choose a start from 0 to {ecg.duration_s - WINDOW_S:.1f} s."
        )
    checkpoint = model.checkpoint
    return encode_dense(checkpoint.encoder.ecg, checkpoint.scaler, ecg, np.array([start_n]))


def fuse_recording(track: WindowTrack, rule: str) -> Fused:
    """One Gaussian for a whole recording, with each window's share in it.

    Windows that hold little signal are left out by every rule, as `most_sure_window` does.

    Parameters
    ----------
    track : WindowTrack
        From `explain`, at any stride: the overlap of the windows is accounted for.
    rule : {"start", "lowest", "precision", "trimmed"}
        See `uncertainty.fusion`.

    Returns
    -------
    Fused
        ``weights`` and ``used`` in the order of the track's windows.

    Raises
    ------
    ConfigError
        There is no such rule.
    """
    rows = _windows_with_signal(track)
    fused = fuse(track.embedding[rows], track.start_s[rows], track.window_s, rule)
    # Back to all windows of the track: those left out have no share.
    weights, used = np.zeros(len(track)), np.zeros(len(track), dtype=np.bool_)
    weights[rows], used[rows] = fused.weights, fused.used
    return Fused(fused.embedding, weights, used, rule)


def window_reasons(
    model: Model, explanation: Explanation, indices: Sequence[int]
) -> dict[int, WindowReasons]:
    """Which leads and moments the sigma^2 of windows comes from, and why, by window number.

    Reasons are among ECGs with the same leads, whichever reading the explanation is in.
    The windows are embedded once more, for their cells alone: 600 numbers for each window of a day
    would not be worth their memory.

    Parameters
    ----------
    model : Model
        That made the explanation.
    explanation : Explanation
    indices : sequence of int
        Windows of its track.

    Returns
    -------
    dict of int to WindowReasons

    Raises
    ------
    IndexError
        The recording has no such window.
    """
    from echoing_core.uncertainty.attribution import attribute_windows

    ecg, track = explanation.ecg, explanation.track
    if not len(indices):
        return {}
    cuts = [round(float(track.start_s[i]) * ecg.fs_hz) for i in indices]
    signal_mv, valid = cut_windows(ecg, cuts)
    novelty = track.novelty
    # A sigma^2 without terms by lead: all that can be said is how unsure.
    if novelty is None or not model.checkpoint.has_attribution:
        percentile = explanation.lead_reference.percentile(track.uncertainty)
        return {
            index: reasons_from_percentile(
                float(percentile[index]),
                known,
                novelty=None if novelty is None else float(novelty[index]),
            )
            for index, known in zip(indices, valid, strict=True)
        }
    attribution = attribute_windows(
        model.checkpoint.encoder.ecg, model.checkpoint.scaler, signal_mv, valid
    )
    return {
        index: reasons_from_cells(
            attribution.cells[row],
            attribution.lost[row],
            float(attribution.rest[row]),
            signal_mv[row],
            valid[row],
            lead_origin=ecg.lead_origin,
            novelty=float(novelty[index]),
            reference=explanation.lead_reference,
        )
        for row, index in enumerate(indices)
    }


@dataclass(frozen=True, eq=False)
class FlaggedInterval:
    """An uncertain interval with its cause.

    Attributes
    ----------
    interval : UncertainInterval
    worst_start_s : float
        Start of its least sure window.
    kind : str
        The foremost cause at its least sure window (`Reason.kind`); empty where none was looked
        for.
    leads : tuple of str
        To blame there.
    sentence : str
    """

    interval: UncertainInterval
    worst_start_s: float
    kind: str = ""
    leads: tuple[str, ...] = ()
    sentence: str = ""


def flagged_intervals(
    model: Model,
    explanation: Explanation,
    *,
    above: float = UNSURE_PERCENTILE,
    most: int = MOST_REASONS,
    known: Sequence[FlaggedInterval] = (),
) -> tuple[FlaggedInterval, ...]:
    """The uncertain intervals of a recording in the order of time, each with a cause.

    The cause is that of the least sure window of the interval. About 5 ms each.

    Parameters
    ----------
    model : Model
        That made the explanation.
    explanation : Explanation
    above : float
        Percentile, 0..100, from which on a window is uncertain.
    most : int
        A cause is looked for in so many of the longest intervals; the others come with an empty
        one.
    known : sequence of FlaggedInterval
        Of the same recording, from an earlier call: their causes are taken over.

    Returns
    -------
    tuple of FlaggedInterval
    """
    track = explanation.track
    intervals = uncertain_intervals(track, explanation.ecg.duration_s, above)
    # By the time of the worst window, since its number changes when windows are added.
    # In the other reading the same window may end another stretch, with another cause.
    earlier = {
        flagged.worst_start_s: flagged
        for flagged in known
        if flagged.sentence and flagged.kind != MISSING and not explanation.among_all
    }
    # At 5 ms each, causes of a day of noise would take a minute; long intervals matter most.
    longest = sorted(intervals, key=lambda interval: -interval.duration_s)[:most]
    new = [i.worst for i in longest if float(track.start_s[i.worst]) not in earlier]
    reasons: dict[int, WindowReasons] = {}
    for begin in range(0, len(new), _WINDOWS_PER_PASS):
        reasons |= window_reasons(model, explanation, new[begin : begin + _WINDOWS_PER_PASS])
    flagged = []
    for interval in intervals:
        start_s = float(track.start_s[interval.worst])
        why = reasons.get(interval.worst)
        if why is not None:
            flagged.append(_flagged(interval, start_s, why, explanation))
        elif start_s in earlier:
            flagged.append(replace(earlier[start_s], interval=interval))
        else:
            flagged.append(FlaggedInterval(interval, start_s))
    return tuple(flagged)


def _flagged(
    interval: UncertainInterval, start_s: float, why: WindowReasons, explanation: Explanation
) -> FlaggedInterval:
    missing = explanation.ecg.leads_with("missing")
    if explanation.among_all and missing:
        windows = explanation.track.uncertainty[interval.first : interval.stop]
        alike = explanation.lead_reference.percentile(windows)
        # As sure as is usual with its leads, and unsure beside 12-lead ECGs: what it lacks is why.
        if np.median(alike) < UNSURE_PERCENTILE:
            sentence = f"Not recorded: {lead_words(missing)}. Its least sure window: {why.sentence}"
            return FlaggedInterval(interval, start_s, MISSING, missing, sentence)
    kind = why.reasons[0].kind if why.reasons else ""
    return FlaggedInterval(interval, start_s, kind, why.leads, why.sentence)
