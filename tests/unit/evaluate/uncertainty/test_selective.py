"""Median split, risk-coverage and calibration, on answers made up so that the outcome is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.shipped.held_out import SIMULATED, HeldOut
from echoing_core.evaluate.uncertainty import selective, selective_tasks
from echoing_core.evaluate.uncertainty.added_noise import QUIET_LEAD_MV, StressNoise
from echoing_core.evaluate.uncertainty.scores import PLAIN, RANDOM, SIGMA2
from echoing_core.evaluate.uncertainty.selective_tasks import (
    AS_RECORDED,
    CONDITIONS,
    ENTROPY,
    LOSS_DB,
    LOST,
    MIXED,
    P_WRONG,
    REJECTERS,
    ZERO_SHOT,
    Task,
    every_dose,
    in_conditions,
    misplaced,
    mixed_quality,
    until_lost,
)
from echoing_core.metrics.probe import LinearProbe
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import Progress
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet

LABELS = selective_tasks.LABELS[SIMULATED]


def made_up(condition: str = AS_RECORDED, n: int = 400) -> Task:
    """A task whose sigma^2 knows the noise in the answers, and whose entropy knows nothing."""
    rng = np.random.default_rng(1)
    truth = rng.random(n) < 0.2
    noise = rng.exponential(1.0, n)
    score = np.where(truth, 1.0, -1.0) + noise * rng.normal(size=n)
    plain = 1 / (1 + np.exp(-score))
    unsure = {name: rng.random(n) for name in REJECTERS} | {SIGMA2: noise}
    patients = np.arange(n).astype(str)
    return Task(
        SIMULATED, "Wide?", ZERO_SHOT, condition, True, patients, truth, score, plain, plain, unsure
    )


def studies(n: int = 24) -> StudySet:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "source": "simulated",
            "patient_id": [f"p{i // 2}" for i in range(n)],
            "study_id": [f"s{i}" for i in range(n)],
            "record_id": [f"r{i}" for i in range(n)],
            "split": "test",
            "report": "sinus rhythm.",
            "simulated": True,
            "quality": "clean",
        }
        | {f"label_{label}": rng.permutation(np.arange(n) % 3 == 0) for label in LABELS}
    )
    beat = np.sin(np.arange(1000) / 100 * 2 * np.pi * 1.2) ** 15
    signal = (beat + 0.02 * rng.normal(size=(n, 12, 1000))).astype(np.float32)
    return StudySet(table, signal, np.ones(signal.shape, dtype=bool))


def test_a_score_that_knows_the_errors_wins_and_is_counted() -> None:
    results = selective.measure(made_up(), n_resamples=100)
    found = {(r.metric, r.model): r.estimate for r in results}
    for metric in ("balanced accuracy", "AUROC"):
        low, high = (found[f"{metric}, {half} half", SIGMA2].value for half in ("low", "high"))
        gap = found[f"{metric}, low - high", SIGMA2]
        assert gap.value == pytest.approx(low - high)
        assert gap.low > 0
        chance = found[f"{metric}, low - high", RANDOM]
        assert chance.low < 0 < chance.high
    area, other = (found["AURC, balanced error", name].value for name in (SIGMA2, ENTROPY))
    difference = found["AURC, balanced error", f"{SIGMA2} - {ENTROPY}"]
    assert difference.value == pytest.approx(area - other)
    assert difference.high < 0
    # What is no use leaves the risk as it is, on average over the coverages.
    assert other == pytest.approx(found["balanced error", "all kept"].value, abs=0.06)
    noisy = selective.measure(made_up(MIXED), n_resamples=20)
    row = selective.summarise([*results, *noisy])[0]
    assert (row["condition"], row["tasks"]) == (AS_RECORDED, 1)
    assert row["low half surely better, AUROC"] == 1
    assert row[f"AURC of {SIGMA2} surely below that of {PLAIN}"] == 1
    assert selective.summarise([*results, *noisy])[-1]["tasks"] == 2


def test_always_no_is_no_good_answer() -> None:
    task = dataclasses.replace(made_up(), score=np.full(400, -1.0))
    found = {(r.metric, r.model): r.estimate for r in selective.measure(task, n_resamples=10)}
    assert found["balanced error", "all kept"].value == pytest.approx(0.5)
    assert found["0/1 error", "all kept"].value == pytest.approx(task.truth.mean())


@pytest.mark.slow
def test_mixed_quality_draws_what_its_recipe_says() -> None:
    before = studies(200)
    after = mixed_quality(HeldOut(SIMULATED, before, simulated=True)).studies
    again = mixed_quality(HeldOut(SIMULATED, before, simulated=True)).studies
    assert np.array_equal(after.signal_mv, again.signal_mv)
    assert after.table["record_id"].tolist() == np.repeat(before.table["record_id"], 2).tolist()
    source = np.repeat(before.signal_mv, 2, axis=0)
    lost = ~after.valid.all(axis=(1, 2))
    # 400 draws: standard errors of 0.022 and 0.025. A mild fault may leave everything as it was.
    assert lost.mean() == pytest.approx(0.25, abs=0.08)
    changed = ((after.signal_mv != source) & after.valid).any(axis=(1, 2))
    assert changed.mean() == pytest.approx(0.5, abs=0.1)
    assert (after.signal_mv[~after.valid] == 0).all()


def doses_of(before: StudySet, after: StudySet) -> np.ndarray:
    """Signal-to-noise ratio of the first lead of every draw, in whole decibels."""
    source = np.repeat(before.signal_mv, 2, axis=0)
    change = (after.signal_mv - source).astype(np.float64)
    power = np.square(source.astype(np.float64)).mean(2).clip(QUIET_LEAD_MV**2)
    with np.errstate(divide="ignore"):
        return np.round(10 * np.log10(power / np.square(change).mean(2))[:, 0])


@pytest.mark.slow
def test_every_dose_adds_the_noise_it_says() -> None:
    before = studies(210)
    after = every_dose(HeldOut(SIMULATED, before, simulated=True)).studies
    found, n = np.unique(doses_of(before, after), return_counts=True)
    assert found.tolist() == [-6, 0, 6, 12, 18, 24, np.inf]
    # 420 draws of seven doses: 60 each, standard error 7.
    assert n.min() > 35


@pytest.mark.slow
def test_real_noise_goes_down_to_where_all_is_lost() -> None:
    before = studies(210)
    hum = np.sin(np.arange(6000) / 3.0) + np.zeros((2, 1))
    noises = {name: StressNoise(hum, 1.0) for name in ("BW", "EM", "MA")}
    held_out = HeldOut(SIMULATED, before, simulated=True)
    found, n = np.unique(doses_of(before, until_lost(held_out, noises).studies), return_counts=True)
    assert found.tolist() == [-24, -18, -12, -6, 0, 6, 12, 18, 24, np.inf]
    assert n.min() > 20
    assert len(LOSS_DB) == found.size
    assert [name for name, _ in in_conditions(held_out, noises)] == list(CONDITIONS)


def test_half_of_the_draws_have_misplaced_electrodes() -> None:
    before = studies(200)
    # Of one body: the limb leads are as the electrodes make them.
    before.signal_mv[:, 2] = before.signal_mv[:, 1] - before.signal_mv[:, 0]
    before.signal_mv[:, 3] = -0.5 * (before.signal_mv[:, 0] + before.signal_mv[:, 1])
    before.signal_mv[:, 4] = before.signal_mv[:, 0] - 0.5 * before.signal_mv[:, 1]
    before.signal_mv[:, 5] = before.signal_mv[:, 1] - 0.5 * before.signal_mv[:, 0]
    after = misplaced(HeldOut(SIMULATED, before, simulated=True)).studies
    moved = np.abs(after.signal_mv - np.repeat(before.signal_mv, 2, axis=0)).max(axis=(1, 2)) > 0.01
    assert moved.mean() == pytest.approx(0.5, abs=0.1)
    # Whatever the places, what is measured obeys Einthoven's law.
    law = after.signal_mv[:, 1] - after.signal_mv[:, 0] - after.signal_mv[:, 2]
    assert np.abs(law).max() < 1e-5


def test_probe_finds_a_direction_and_spreads_it() -> None:
    rng = np.random.default_rng(3)
    mu = rng.normal(size=(500, 6))
    labels = mu[:, 2] > 1.0
    probe = LinearProbe.fit(mu, labels)
    embedding = GaussianEmbedding(mu.astype(np.float32), np.full(mu.shape, -2.0, dtype=np.float32))
    logit, std = probe.logits(embedding)
    assert np.argmax(np.abs(probe.weights)) == 2
    assert ((logit > 0) == labels).mean() > 0.85
    # One positive in six: without equal weights of the classes hardly one would be found.
    assert (logit > 0)[labels].mean() > 0.9
    draws = mu[0] + np.exp(-1.0) * rng.normal(size=(20_000, 6))
    assert std[0] == pytest.approx((draws @ probe.weights).std(), rel=0.03)


@pytest.mark.slow
def test_study_covers_labels_methods_and_conditions(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = {"cohort": {"n_patients": 10, "seed": 1}}
    checkpoint = dataclasses.replace(checkpoint, training=cohort)
    held_out = HeldOut(SIMULATED, studies(), simulated=True)
    monkeypatch.setattr(selective_tasks, "held_out_sets", lambda *_: [held_out])
    monkeypatch.setattr(selective_tasks, "build_simulated", lambda *_, **__: studies(40))
    prompts = [PromptSet(name, name, (name,), ("normal ecg",), name) for name in LABELS[:3]]
    tasks = selective_tasks.build_tasks(checkpoint, None, prompts)
    assert {task.condition for task in tasks} == set(CONDITIONS) - {LOST}
    assert len(tasks) == 4 * 2 * 4
    assert {len(task.truth) for task in tasks} == {24, 48}
    assert all(set(task.unsure) == set(REJECTERS) for task in tasks)
    one = tasks[0]
    probability = closed_form.probabilities(one.score, 0 * one.score, logit_scale=10.0)
    np.testing.assert_allclose(one.plain, probability, rtol=1e-6)
    np.testing.assert_allclose(one.unsure[P_WRONG], np.minimum(one.closed, 1 - one.closed))

    monkeypatch.setattr(selective, "build_tasks", lambda *_, **__: tasks)
    seen: list[tuple[int, int]] = []
    study = selective.selective_study(
        checkpoint,
        None,
        prompts,
        n_resamples=5,
        progress=Progress(lambda _, done, total: seen.append((done, total))),
    )
    assert seen[-1] == (32, 32)
    told = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    assert told["summary"][-1]["tasks"] == 32
    assert len(told["risk_coverage"]) == 32 * len(REJECTERS)
    assert len(told["calibration"]) == 16 * 2
    text = study.to_markdown()
    assert "Severe LV hypertrophy or dilated left ventricle, linear probe, mixed quality" in text
