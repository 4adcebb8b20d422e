"""Real noise at a chosen strength, and the study of doses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty import added_noise
from echoing_core.evaluate.uncertainty.added_noise import (
    QUIET_LEAD_MV,
    SNR_DB,
    StressNoise,
    clean_rows,
    dose_study,
    lead_noise,
    read_stress_noise,
    with_noise,
)
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import LEADS, Recording
from echoing_core.signals import standardise
from tests.unit.evaluate.uncertainty.made_up_ecgs import FS_HZ, beats, ptbxl_like, raw_noise


def test_in_band_noise_added_is_what_the_reader_makes_of_a_noisy_recording(nstdb: Path) -> None:
    ecg = beats(30, 2, FS_HZ)
    noise_mv = raw_noise(2) / 1000.0
    clean, noisy = (
        standardise(Recording(x.astype(np.float32), FS_HZ, ("II", "V1"), "r"))
        for x in (ecg, ecg + noise_mv)
    )
    in_band = read_stress_noise(nstdb)["MA"].signal / 1000.0
    rows = [LEADS.index(name) for name in ("II", "V1")]
    # Only at the very ends does resampling depend on a lead's median, which does not add up.
    inner = slice(20, -20)
    np.testing.assert_allclose(
        noisy.signal_mv[rows][:, inner],
        (clean.signal_mv[rows] + in_band)[:, inner],
        rtol=0,
        atol=1e-5,
    )


def test_both_forms_of_the_noises_read_the_same(nstdb: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("bw", "em", "ma")):
        names = ("noise1", "noise2")
        write_wfdb(tmp_path, name, raw_noise(seed) / 1000.0, FS_HZ, names, gain=1000.0)
    mat, wfdb = read_stress_noise(nstdb), read_stress_noise(tmp_path)
    for name, noise in mat.items():
        np.testing.assert_allclose(noise.signal, 1000.0 * wfdb[name].signal, atol=0.05)
    # 100 of white noise, of which 39.5 Hz of 180 pass; the drift of 354 does not.
    assert mat["MA"].share_in_band == pytest.approx(
        100**2 * 39.5 / 180 / (100**2 + 354**2), rel=0.1
    )


def test_noises_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"neither BW\.mat nor bw\.hea"):
        read_stress_noise(tmp_path)
    (tmp_path / "BW.mat").write_bytes(b"no matrix")
    with pytest.raises(DataSetError, match="The noise BW cannot be read"):
        read_stress_noise(tmp_path)
    savemat(tmp_path / "BW.mat", {"BW": raw_noise()})
    with pytest.raises(DataSetError, match="not two channels"):
        read_stress_noise(tmp_path)
    savemat(tmp_path / "BW.mat", {"BW": np.zeros((1000, 3))})
    with pytest.raises(DataSetError, match=r"lasts 2\.8 s"):
        read_stress_noise(tmp_path)


def test_the_ratio_in_each_lead_is_the_one_asked_for() -> None:
    rng = np.random.default_rng(1)
    clean = (beats(10, 12, 100) - 0.1)[None].astype(np.float32)
    clean[0, 3] *= 1e-3
    valid = np.ones(clean.shape, dtype=np.bool_)
    valid[0, 5] = False
    noise = StressNoise(rng.normal(size=(2, 3000)), 1.0)
    unit = np.stack([lead_noise(noise, (12, 1000), rng)])
    added = with_noise(clean, valid, unit, 6.0).astype(np.float64) - clean
    power = np.square(clean).mean(axis=2)[0]
    ratio_db = 10 * np.log10(power / np.maximum(np.square(added).mean(axis=2)[0], 1e-12))
    loud = [row for row in range(12) if row not in (3, 5)]
    np.testing.assert_allclose(ratio_db[loud], 6.0, atol=1e-3)
    quiet_rms = np.sqrt(np.square(added[0, 3]).mean())
    assert quiet_rms == pytest.approx(QUIET_LEAD_MV * 10 ** (-6 / 20), rel=1e-4)
    assert not added[0, 5].any()


def test_noise_longer_than_its_source_repeats_without_a_step() -> None:
    ramp = np.linspace(0.0, 1.0, 500)
    noise = StressNoise(np.stack([ramp, ramp]), 1.0)
    rows = lead_noise(noise, (4, 5000), np.random.default_rng(2))
    steps = np.abs(np.diff(rows, axis=1)) * np.sqrt(np.square(ramp).mean())
    assert steps.max() < 1.01 * (ramp[1] - ramp[0])
    assert np.square(rows).mean(axis=1) == pytest.approx(1.0)


def test_clean_rows_are_the_held_out_ones_first() -> None:
    studies = ptbxl_like(16)
    rows = clean_rows(studies, 5)
    assert (studies.table["quality"][rows] == "clean").all()
    assert studies.table["fold"][rows].tolist() == [9, 9, 1, 1, 1]
    assert rows.tolist() == clean_rows(studies, 5).tolist()
    unknown = studies.where(studies.table["quality"] != "clean")
    with pytest.raises(DataSetError, match="known to be clean"):
        clean_rows(unknown, 5)


@pytest.mark.slow
def test_scores_climb_with_the_noise(nstdb: Path, checkpoint: Checkpoint) -> None:
    study = dose_study(checkpoint, ptbxl_like(16), nstdb, n_ecgs=5, n_resamples=20)
    assert study.counts == {"ECGs": 5, "held-out": 2, "from training folds": 3}
    muscle = [r for r in study.results if "(MA," in r.data and r.model == "plain index"]
    found = {(r.task, r.metric): r.estimate.value for r in muscle}
    assert found["rank correlation with the noise", "median"] > 0.95
    assert found["noisy at -6 dB against clean", "AUROC"] == 1.0
    assert len(muscle) == 3 + len(SNR_DB)
    assert {r.model for r in study.results} == {"sigma^2", "plain index", "random weights"}


def test_a_constant_score_follows_no_noise() -> None:
    ladder = {"sigma^2": np.zeros((4, 1 + len(SNR_DB)))}
    results = added_noise._dose_figures("data", ladder, np.arange(4).astype(str), 10)
    assert np.isnan(results[0].estimate.value)
    assert results[-1].estimate.value == 0.5
