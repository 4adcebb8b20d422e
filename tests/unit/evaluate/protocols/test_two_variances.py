"""Two kinds of sigma^2 beside each other: thresholds, figures with known answers, a real run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.evaluate.protocols.ablation import METHODS
from echoing_core.evaluate.protocols.two_variances import (
    DISPLACED,
    JOINT,
    READINGS,
    TOGETHER,
    Bench,
    RunReadings,
    Shown,
    best_threshold,
    load_readings,
    readings_of,
    save_readings,
)
from echoing_core.evaluate.protocols.two_variances_tables import measure_variances
from echoing_core.evaluate.shipped.held_out import SIMULATED, HeldOut
from echoing_core.evaluate.uncertainty.selective_tasks import AS_RECORDED
from echoing_core.metrics.scores import balanced_accuracy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.tokenizer import train_tokenizer
from echoing_core.services import prompt_sets
from echoing_core.signals.scaling import LeadScaler
from tests.tiny_model import TEXTS, tiny_config

LABEL = "lvef_lt40"


def _studies(truth: np.ndarray, split: str = "test") -> StudySet:
    n = len(truth)
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "source": "simulated",
            "patient_id": [f"{split}-{i}" for i in range(n)],
            "study_id": [f"{split}-s{i}" for i in range(n)],
            "record_id": [f"{split}-r{i}" for i in range(n)],
            "split": split,
            "report": [TEXTS[i % 4] for i in range(n)],
            "simulated": True,
            "quality": "clean",
            f"label_{LABEL}": truth.astype(float),
        }
    )
    signal = rng.standard_normal((n, 12, 1000)).astype(np.float32)
    return StudySet(table, signal, np.ones(signal.shape, dtype=bool))


def _bench(truth: np.ndarray, plain_index: np.ndarray) -> Bench:
    test = HeldOut(SIMULATED, _studies(truth), simulated=True)
    valid = HeldOut(SIMULATED, _studies(truth, "valid"), simulated=True)
    return Bench(
        shown=[Shown(SIMULATED, AS_RECORDED, test, plain_index)],
        calibration={SIMULATED: valid},
        training={SIMULATED: _studies(truth, "train")},
        gallery=test.studies,
        graded=None,
        bad=np.zeros(0, dtype=bool),
        ladders={},
    )


def test_a_threshold_is_the_best_there_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        truth = rng.random(25) < 0.4
        truth[:2] = True, False
        margin = np.round(rng.standard_normal(25) + truth, 1)
        best = max(balanced_accuracy(truth, margin > cut) for cut in np.arange(-4.05, 5.0, 0.1))
        assert balanced_accuracy(truth, margin > best_threshold(truth, margin)) == pytest.approx(
            best
        )


def test_a_sigma2_that_knows_the_errors_has_the_whole_gap() -> None:
    """Half of the answers are wrong: joint is high there, displacement is high elsewhere."""
    truth = np.tile([1.0, 0.0], 20)
    wrong = np.arange(40) >= 20
    above = np.where(truth > 0.5, 1.0, -1.0) * np.where(wrong, -1.0, 1.0)
    place = f"{SIMULATED}|{AS_RECORDED}"
    readings = RunReadings(
        # The threshold lies at 3: what counts is what stands above it.
        margins={f"{place}|{LABEL}": above + 3.0},
        thresholds={f"{SIMULATED}|{LABEL}": 3.0},
        sigma2={
            f"{place}|{JOINT}": np.where(wrong, 2.0, 1.0) + np.linspace(0, 0.1, 40),
            f"{place}|{DISPLACED}": np.where(wrong, 1.0, 2.0) + np.linspace(0, 0.1, 40),
            f"{place}|{TOGETHER}": np.tile([1.0, 1.0, 2.0, 2.0], 10) + np.linspace(0, 0.1, 40),
        },
        ranks={f"{order}|pair": np.arange(1, 41) for order in (*READINGS, "cosine")},
        graded={},
        doses={},
        probes={},
    )
    bench = _bench(truth, np.where(wrong, 2.0, 1.0) + np.linspace(0, 0.1, 40))
    experiment = measure_variances({"pcmepp": [readings, readings]}, bench, METHODS, n_resamples=20)
    found = {
        (r.metric, r.model): r.estimate.value
        for r in experiment.results
        if r.task == f"{LABEL}, {AS_RECORDED}"
    }
    assert found["balanced accuracy", "PCME++"] == 0.5
    assert found["gap", f"PCME++, {JOINT}"] == 1.0
    assert found["gap", f"PCME++, {DISPLACED}"] == -1.0
    assert abs(found["gap", f"PCME++, {TOGETHER}"]) < 0.2
    areas = [found["AURC", f"PCME++, {order}"] for order in (JOINT, TOGETHER, DISPLACED)]
    assert areas == sorted(areas)
    # Nothing wrong is kept until half is; then the error rises from 0 to a half.
    assert 0.0 < areas[0] < 0.25 < areas[2]
    recall = {r.metric: r.estimate.value for r in experiment.results if r.task == "text to ECG"}
    assert recall == {"R@1 (pair)": pytest.approx(1 / 40), "R@10 (pair)": pytest.approx(10 / 40)}
    assert "+100.0" in experiment.to_markdown()


def test_readings_are_those_of_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = DualEncoder(dataclasses.replace(tiny_config(120), sigma2="both")).eval()
    model = Checkpoint(
        name="two",
        encoder=encoder,
        tokenizer=train_tokenizer(TEXTS, vocab_size=120, max_tokens=24),
        scaler=LeadScaler(np.zeros(12), np.full(12, 0.3)),
        logit_scale=10.0,
        reference={},
        training={},
        card="",
        hash="",
        sigma2="matching",
        filter_padding="long",
    )
    bench = _bench(np.tile([1.0, 0.0], 6), np.zeros(12))
    readings = readings_of(model, bench, prompt_sets())
    studies = bench.shown[0].held_out.studies
    place = f"{SIMULATED}|{AS_RECORDED}"
    for reading, kind in ((JOINT, "matching"), (DISPLACED, "displacement")):
        with encoder.reading(kind):
            alone = encode_batch(encoder.ecg, model.scaler, studies.signal_mv, studies.valid)
        np.testing.assert_allclose(
            readings.sigma2[f"{place}|{reading}"], alone.uncertainty, rtol=1e-5
        )
    assert readings.margins[f"{place}|{LABEL}"].shape == (12,)
    assert set(readings.probes) == {f"{SIMULATED}|{LABEL}"}
    save_readings(tmp_path / "run.npz", readings)
    again = load_readings(tmp_path / "run.npz")
    for field in dataclasses.fields(readings):
        one, other = getattr(readings, field.name), getattr(again, field.name)
        assert set(one) == set(other)
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key])
