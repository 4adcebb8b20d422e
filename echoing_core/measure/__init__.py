"""Measurements of an ECG: its median beat, waves, intervals, axes, voltages, and what changed."""

from echoing_core.measure.beat import LONGEST_S, MedianBeat, median_beat, stretch_of
from echoing_core.measure.serial import (
    VISIT_SD,
    BeatsBeside,
    Difference,
    Serial,
    compare_measured,
)
from echoing_core.measure.values import (
    SEXES,
    Measurement,
    cornell_met,
    qtc_bazett_ms,
    qtc_framingham_ms,
    qtc_fridericia_ms,
    qtc_hodges_ms,
    sokolow_lyon_met,
)
from echoing_core.measure.waves import MARKS
from echoing_core.measure.whole import HAND_MARKS, Measured, measure

__all__ = [
    "HAND_MARKS",
    "LONGEST_S",
    "MARKS",
    "SEXES",
    "VISIT_SD",
    "BeatsBeside",
    "Difference",
    "Measured",
    "Measurement",
    "MedianBeat",
    "Serial",
    "compare_measured",
    "cornell_met",
    "measure",
    "median_beat",
    "qtc_bazett_ms",
    "qtc_framingham_ms",
    "qtc_fridericia_ms",
    "qtc_hodges_ms",
    "sokolow_lyon_met",
    "stretch_of",
]
