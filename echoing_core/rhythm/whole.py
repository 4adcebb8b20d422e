"""The rhythm of a recording over time, with and without stretches that are not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echoing_core.progress import SILENT, Progress
from echoing_core.records import Recording
from echoing_core.rhythm.beats import Beats, Span, find_beats_of, intervals_ms, without_spans
from echoing_core.rhythm.fibrillation import AfEpisode, af_episodes, beat_probabilities
from echoing_core.rhythm.measures import (
    HourRow,
    Measure,
    Pause,
    pauses,
    rate_by_hour,
    rate_measures,
    variability_measures,
)

F64 = npt.NDArray[np.float64]

NOTHING = "nothing was recorded"
NOTHING_LEFT = "nothing is left without the unsure windows"


@dataclass(frozen=True, eq=False)
class RhythmView:
    """What beats say of a recording, or of what is left of it.

    Attributes
    ----------
    beats : Beats
    af_probability : ndarray, shape (n_beats,)
        What windows of beats say of atrial fibrillation; NaN where none could be judged.
    episodes : tuple of AfEpisode
    pauses : tuple of Pause
    hours : tuple of HourRow
    measures : tuple of Measure
    """

    beats: Beats
    af_probability: F64
    episodes: tuple[AfEpisode, ...]
    pauses: tuple[Pause, ...]
    hours: tuple[HourRow, ...]
    measures: tuple[Measure, ...]

    def measure(self, name: str) -> Measure:
        """One measure by its name.

        Parameters
        ----------
        name : str
            As in `Measure`.

        Raises
        ------
        KeyError
            There is none.
        """
        for one in self.measures:
            if one.name == name:
                return one
        raise KeyError(name)


@dataclass(frozen=True, eq=False)
class Rhythm:
    """The rhythm of a recording.

    Attributes
    ----------
    record_id : str
    simulated : bool
    all : RhythmView
        Of all that was recorded.
    rejected : tuple of (float, float)
        Spans in seconds that were left out for ``kept``.
    kept : RhythmView or None
        Of the rest; None where no spans were told.
    """

    record_id: str
    simulated: bool
    all: RhythmView
    rejected: tuple[Span, ...] = ()
    kept: RhythmView | None = None

    @property
    def best(self) -> RhythmView:
        """``kept`` where there is one, else ``all``."""
        return self.all if self.kept is None else self.kept


def rhythm_of(
    recording: Recording,
    rejected: Sequence[Span] | None = None,
    *,
    progress: Progress = SILENT,
) -> Rhythm:
    """Beats, heart rate, pauses, atrial fibrillation and variability along a recording.

    Parameters
    ----------
    recording : Recording
        Of any length; of little of it little is measurable, and each figure says so.
    rejected : sequence of (float, float), optional
        Stretches in seconds that are not to be trusted. Everything is told with and without them.
    progress : Progress, optional
        Counts pieces of five minutes.

    Returns
    -------
    Rhythm

    Raises
    ------
    MissingLeadError
        It holds no ECG lead.
    SamplingRateError
        Its sampling rate is too low.

    Examples
    --------
    >>> rhythm = rhythm_of(recording)
    >>> rhythm.all.measure("af_burden_pct").value
    """
    beats = find_beats_of(recording, progress=progress)
    told = None if rejected is None else tuple(rejected)
    return rhythm_of_beats(beats, recording.record_id, recording.simulated, told)


def rhythm_of_beats(
    beats: Beats, record_id: str, simulated: bool, rejected: tuple[Span, ...] | None = None
) -> Rhythm:
    """The same of beats that are known, which takes a fraction of the time.

    Parameters
    ----------
    beats : Beats
    record_id : str
    simulated : bool
    rejected : tuple of (float, float), optional

    Returns
    -------
    Rhythm
    """
    whole = view_of(beats)
    if rejected is None:
        return Rhythm(record_id, simulated, whole)
    kept = view_of(beats_outside(beats, rejected), NOTHING_LEFT if beats.recorded else NOTHING)
    return Rhythm(record_id, simulated, whole, rejected, kept)


def beats_outside(beats: Beats, spans: tuple[Span, ...]) -> Beats:
    """The beats outside of spans, which become gaps.

    Parameters
    ----------
    beats : Beats
    spans : tuple of (float, float)

    Returns
    -------
    Beats
    """
    recorded = without_spans(beats.recorded, spans)
    inside = np.zeros(len(beats), dtype=np.bool_)
    for start_s, stop_s in spans:
        first, stop = np.searchsorted(beats.time_s, [start_s, stop_s]).tolist()
        inside[first:stop] = True
    time_s = beats.time_s[~inside]
    return replace(
        beats,
        time_s=time_s,
        kind=beats.kind[~inside],
        rr_ms=intervals_ms(time_s, recorded),
        qrs_ms=beats.qrs_ms[~inside],
        likeness=beats.likeness[~inside],
        recorded=recorded,
    )


def view_of(beats: Beats, empty: str = NOTHING) -> RhythmView:
    """All figures of some beats.

    Parameters
    ----------
    beats : Beats
    empty : str, optional
        Why there is nothing, where nothing is.

    Returns
    -------
    RhythmView
    """
    probability = beat_probabilities(beats)
    episodes = af_episodes(beats, probability)
    found = pauses(beats)
    judged = np.isfinite(probability) & np.isfinite(beats.rr_ms)
    judged_s = float(beats.rr_ms[judged].sum()) / 1000.0
    return RhythmView(
        beats,
        probability,
        episodes,
        found,
        rate_by_hour(beats),
        (
            *rate_measures(beats, found, episodes, judged_s, empty),
            *variability_measures(beats, episodes),
        ),
    )
