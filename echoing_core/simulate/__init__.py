"""A simulated cohort with known truth: heart state, ECG and VCG, noise, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echoing_core.lazy import lazily

if TYPE_CHECKING:
    from echoing_core.simulate.ecg.long import RhythmEpisode, SimulatedLong, simulate_long
    from echoing_core.simulate.ecg.study import (
        SimulatedStudy,
        SimulationConfig,
        redraw,
        simulate_study,
    )
    from echoing_core.simulate.echo.clips import VIEWS, echo_clip, study_clips
    from echoing_core.simulate.heart.patients import ecg_count, patient_id, record_id, split_of
    from echoing_core.simulate.heart.sampling import sample_heart_state
    from echoing_core.simulate.heart.state import HeartState
    from echoing_core.simulate.noise.spans import NoiseEpisode, NoiseSpan, corrupt
    from echoing_core.simulate.write import build_samples, write_cohort
else:
    __getattr__ = lazily(__name__, __file__)

__all__ = [
    "VIEWS",
    "HeartState",
    "NoiseEpisode",
    "NoiseSpan",
    "RhythmEpisode",
    "SimulatedLong",
    "SimulatedStudy",
    "SimulationConfig",
    "build_samples",
    "corrupt",
    "ecg_count",
    "echo_clip",
    "patient_id",
    "record_id",
    "redraw",
    "sample_heart_state",
    "simulate_long",
    "simulate_study",
    "split_of",
    "study_clips",
    "write_cohort",
]
