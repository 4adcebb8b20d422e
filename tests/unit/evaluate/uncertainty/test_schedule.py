"""Noise that comes and goes along a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty.schedule import (
    _joined,
    judged_windows,
    noise_schedule,
    schedule_study,
)
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.models.checkpoint import Checkpoint
from tests.unit.evaluate.uncertainty.made_up_ecgs import FS_HZ, beats


def test_noise_is_switched_as_in_the_stress_test() -> None:
    assert noise_schedule(1805.0)[:2] == [(300.0, 420.0), (540.0, 660.0)]
    assert noise_schedule(1805.0)[-1] == (1740.0, 1805.0)
    assert noise_schedule(300.0) == [(100.0, 200.0)]


def test_only_windows_wholly_in_or_out_are_judged() -> None:
    spans = [(100.0, 200.0), (230.0, 236.0)]
    starts, noisy, block = judged_windows(30_000, spans)
    truth = np.zeros(30_000, dtype=bool)
    truth[10_000:20_000] = truth[23_000:23_600] = True
    for start, label in zip(starts.tolist(), noisy.tolist(), strict=True):
        assert (truth[start : start + 1000] == label).all()
    assert starts[noisy].tolist() == list(range(10_000, 19_001, 500))
    assert 9_500 not in starts.tolist()
    # A stretch never holds both kinds, nor more than 30 s of starts.
    for number in np.unique(block):
        own = block == number
        assert len(set(noisy[own].tolist())) == 1
        assert np.ptp(starts[own]) < 3000


def test_spans_that_touch_become_one() -> None:
    assert _joined([(0.0, 2.0), (1.0, 3.0), (3.0, 4.0), (5.0, 6.0)]) == [(0.0, 4.0), (5.0, 6.0)]


def test_scores_follow_a_schedule(nstdb: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    leads = ("V1", "MLII")
    for name, seconds in (("long", 60), ("short", 20)):
        clean = beats(seconds, 2, FS_HZ)
        write_wfdb(tmp_path, name, clean + rng.normal(0, 0.002, clean.shape), FS_HZ, leads)
    write_wfdb(tmp_path, "other", beats(60, 2, FS_HZ), FS_HZ, ("I", "V2"))
    study = schedule_study(
        checkpoint, nstdb=nstdb, recordings=[tmp_path], n_simulated=0, n_resamples=20
    )
    assert study.counts["real recordings"] == 1
    left_out = "real recordings left out (too short, without II and V1, or unreadable)"
    assert study.counts[left_out] == 2
    (muscle,) = (
        result.estimate.value
        for result in study.results
        if (result.task, result.metric) == ("muscle artefact (MA) at 0 dB", "AUROC")
        and result.model == "plain index"
    )
    assert muscle == 1.0
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataSetError, match="None of the 0 recordings in empty"):
        schedule_study(checkpoint, nstdb=nstdb, recordings=[tmp_path / "empty"], n_simulated=0)
