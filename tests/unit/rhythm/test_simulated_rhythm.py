"""Rhythm of simulated hearts, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.rhythm import rhythm_of
from echoing_core.simulate.ecg.long import RhythmEpisode, simulate_long


# Ten minutes of three leads take a second to simulate.
@pytest.mark.slow
def test_fibrillation_that_comes_and_goes_is_found_where_it_was() -> None:
    sinus = (("rhythm", "sinus"), ("heart_rate_bpm", 70.0), ("hrv", 0.03))
    af = (("rhythm", "af"), ("heart_rate_bpm", 105.0), ("hrv", 0.2))
    schedule = [RhythmEpisode(0.0, sinus), RhythmEpisode(200.0, af), RhythmEpisode(400.0, sinus)]
    made = simulate_long(
        5, 1, duration_s=600.0, fs_hz=200.0, leads="xyz", schedule=schedule, noise=()
    )
    rhythm = rhythm_of(made.recording)
    (episode,) = rhythm.all.episodes
    assert (episode.start_s, episode.stop_s) == pytest.approx((200.0, 400.0), abs=12.0)
    assert rhythm.all.measure("af_burden_pct").value == pytest.approx(100 / 3, abs=3.0)
    found = rhythm.all.beats.time_s
    nearest = np.abs(found[:, np.newaxis] - made.onset_s).min(axis=0)
    assert (nearest < 0.15).mean() > 0.995
    # The variability is that of the sinus beats: the state's, not the fibrillation's.
    sdnn = rhythm.all.measure("sdnn_ms").value
    assert sdnn is not None and sdnn < 0.08 * 60_000 / 70
