"""The rhythm of a recording, with and without the windows in which the model is unsure."""

from __future__ import annotations

from echoing_core.export.track import Explanation
from echoing_core.progress import SILENT, Progress
from echoing_core.records import Recording, WindowTrack
from echoing_core.rhythm import Beats, Rhythm, find_beats_of, rhythm_of_beats
from echoing_core.uncertainty.intervals import UNSURE_PERCENTILE, uncertain_intervals

Span = tuple[float, float]

SHOWN_FROM_S = 30.0
"""Of a shorter recording the paper shows every beat."""


def rhythm_over_time(
    recording: Recording,
    explanation: Explanation | None = None,
    *,
    above: float = UNSURE_PERCENTILE,
    beats: Beats | None = None,
    progress: Progress = SILENT,
) -> Rhythm:
    """Beats, pauses, atrial fibrillation and variability along a recording.

    Parameters
    ----------
    recording : Recording
    explanation : Explanation, optional
        sigma^2 along the same recording. With it everything is told twice: of the whole, and
        without the windows above a percentile.
    above : float
        That percentile, 0..100.
    beats : Beats, optional
        Of this recording, from an earlier call.
    progress : Progress, optional
        Counts pieces of five minutes.

    Returns
    -------
    Rhythm

    Raises
    ------
    RecordError
        It holds no ECG lead, or its sampling rate is too low.
    """
    if beats is None:
        beats = find_beats_of(recording, progress=progress)
    rejected = None
    if explanation is not None and explanation.has_sigma2:
        rejected = rejected_spans(explanation.track, recording.duration_s, above)
    return rhythm_of_beats(beats, recording.record_id, recording.simulated, rejected)


def rejected_spans(
    track: WindowTrack, duration_s: float, above: float = UNSURE_PERCENTILE
) -> tuple[Span, ...]:
    """Stretches whose windows lie at or above a percentile of sigma^2.

    Parameters
    ----------
    track : WindowTrack
    duration_s : float
    above : float

    Returns
    -------
    tuple of (float, float)
        Seconds from the start, ascending.
    """
    return tuple((i.start_s, i.end_s) for i in uncertain_intervals(track, duration_s, above))
