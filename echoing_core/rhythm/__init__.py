"""Rhythm over time: beats and their kinds, pauses, atrial fibrillation, heart-rate variability."""

from echoing_core.rhythm.beats import Beats, find_beats_of
from echoing_core.rhythm.fibrillation import AfEpisode, af_probability, recording_af_probability
from echoing_core.rhythm.measures import HourRow, Measure, Pause
from echoing_core.rhythm.shapes import KINDS
from echoing_core.rhythm.whole import Rhythm, RhythmView, rhythm_of, rhythm_of_beats

__all__ = [
    "KINDS",
    "AfEpisode",
    "Beats",
    "HourRow",
    "Measure",
    "Pause",
    "Rhythm",
    "RhythmView",
    "af_probability",
    "find_beats_of",
    "recording_af_probability",
    "rhythm_of",
    "rhythm_of_beats",
]
