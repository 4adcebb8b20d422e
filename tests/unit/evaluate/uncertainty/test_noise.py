"""Real noise at a chosen strength, the dose study, and noise that comes and goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty import dose
from echoing_core.evaluate.uncertainty.dose import SNR_DB, clean_rows, dose_study, with_noise
from echoing_core.evaluate.uncertainty.part import Part
from echoing_core.evaluate.uncertainty.ptbxl_notes import notes_study
from echoing_core.evaluate.uncertainty.schedule import (
    _joined,
    judged_windows,
    noise_schedule,
    schedule_study,
)
from echoing_core.evaluate.uncertainty.stress_noise import (
    QUIET_LEAD_MV,
    StressNoise,
    lead_noise,
    read_stress_noise,
)
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.metrics.results import Result
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.records import LEADS, Recording
from echoing_core.signals import standardise
from tests.tiny_model import write_tiny_model

FS_HZ = 360.0


def raw_noise(seed: int = 0) -> np.ndarray:
    """Two channels of 30 s in whole units: white noise on a slow drift."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(30 * FS_HZ)) / FS_HZ
    drift = 500 * np.sin(2 * np.pi * 0.1 * t)
    return np.round(rng.normal(0, 100, (2, t.size)) + drift).astype(np.int16)


def beats(seconds: float, n_leads: int, fs_hz: float) -> np.ndarray:
    t = np.arange(0, seconds, 1 / fs_hz)
    beat = np.exp(-((((t * 1.2) % 1.0 - 0.3) / 0.02) ** 2))
    return np.linspace(0.4, 1.5, n_leads)[:, None] * beat


@pytest.fixture(scope="module")
def nstdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nstdb")
    for seed, name in enumerate(("BW", "EM", "MA")):
        noise = raw_noise(seed)
        columns = np.column_stack([np.arange(noise.shape[1]), noise.T]).astype(np.int16)
        savemat(folder / f"{name}.mat", {name: columns})
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_tiny_model(folder)
    return load_checkpoint(folder)


def ptbxl_like(n: int) -> StudySet:
    rng = np.random.default_rng(5)
    signal = beats(10, 12, 100) + rng.normal(0, 0.002, (n, 12, 1000))
    table = pd.DataFrame(
        {
            "source": "ptbxl",
            "patient_id": [f"p{i}" for i in range(n)],
            "study_id": [f"s{i}" for i in range(n)],
            "record_id": [f"s{i}" for i in range(n)],
            "split": "train",
            "report": "",
            "simulated": False,
            "quality": ["clean", "unknown", "clean", "noisy"] * (n // 4),
            "fold": ([9] * 2 + [1] * 6) * (n // 8),
        }
    )
    for note in ("baseline_drift", "burst_noise", "electrodes_problems"):
        table[note] = np.nan
    table["static_noise"] = np.where(table["quality"] == "noisy", "V1,V2", " , ")
    return StudySet(table, signal.astype(np.float32), np.ones(signal.shape, dtype=np.bool_))


def figure(part: Part, task: str, metric: str, score: str) -> Result:
    (found,) = (r for r in part.results if (r.task, r.metric, r.model) == (task, metric, score))
    return found


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


def test_scores_climb_with_the_noise(nstdb: Path, checkpoint: Checkpoint) -> None:
    part = dose_study(checkpoint, ptbxl_like(16), nstdb, n_ecgs=5, n_resamples=20)
    assert part.counts == {"ECGs": 5, "held-out": 2, "from training folds": 3}
    muscle = [r for r in part.results if "(MA," in r.data and r.model == "plain index"]
    found = {(r.task, r.metric): r.estimate.value for r in muscle}
    assert found["rank correlation with the noise", "median"] > 0.95
    assert found["noisy at -6 dB against clean", "AUROC"] == 1.0
    assert len(muscle) == 3 + len(SNR_DB)
    assert {r.model for r in part.results} == {"sigma^2", "plain index", "random weights"}


def test_a_constant_score_follows_no_noise() -> None:
    ladder = {"sigma^2": np.zeros((4, 1 + len(SNR_DB)))}
    results = dose._figures("data", ladder, np.arange(4).astype(str), 10)
    assert np.isnan(results[0].estimate.value)
    assert results[-1].estimate.value == 0.5


def test_notes_count_only_where_they_are_known(checkpoint: Checkpoint) -> None:
    part = notes_study(checkpoint, ptbxl_like(16), n_resamples=20)
    assert part.counts == {"ECGs": 12, "left out, notes unknown": 4}
    # " , " is no note, and a kind of note that nobody made gives no figure.
    assert {r.task for r in part.results} == {"any note (4)", "static noise (4)"}
    assert part.results[0].estimate.n_items == 12


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
    part = schedule_study(
        checkpoint, nstdb=nstdb, recordings=[tmp_path], n_simulated=0, n_resamples=20
    )
    assert part.counts["real recordings"] == 1
    left_out = "real recordings left out (too short, without II and V1, or unreadable)"
    assert part.counts[left_out] == 2
    assert (
        figure(part, "muscle artefact (MA) at 0 dB", "AUROC", "plain index").estimate.value == 1.0
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataSetError, match="None of the 0 recordings in empty"):
        schedule_study(checkpoint, nstdb=nstdb, recordings=[tmp_path / "empty"], n_simulated=0)
