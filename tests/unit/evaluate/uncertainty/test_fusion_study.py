"""The comparison of the rules on simulated recordings, with a tiny model."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from echoing_core.config import to_mapping
from echoing_core.datasets.simulated import CohortConfig
from echoing_core.errors import ConfigError
from echoing_core.evaluate.uncertainty import fusion_study
from echoing_core.evaluate.uncertainty.fusion_study import QUALITIES, draw_schedule
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import Progress
from echoing_core.simulate.noise.spans import KINDS
from echoing_core.zeroshot.prompts import PromptSet

BAD_S = 4000.0


@pytest.fixture(scope="module")
def of_a_cohort(checkpoint: Checkpoint) -> Checkpoint:
    cohort = to_mapping(CohortConfig(n_patients=40, seed=3))
    return dataclasses.replace(checkpoint, training={"cohort": cohort})


def noisy_share(name: str, at_s: float, n: int = 1000) -> float:
    quality = next(quality for quality in QUALITIES if quality.name == name)
    rng = np.random.default_rng(0)
    schedules = (draw_schedule(quality, 600.0, rng) for _ in range(n))
    return float(np.mean([any(e.start_s <= at_s < e.end_s for e in s) for s in schedules]))


@pytest.mark.parametrize(("name", "share"), [("clean", 0.0), ("mixed", 0.5), ("bad", 0.85)])
def test_the_start_is_noisy_as_often_as_any_moment(name: str, share: float) -> None:
    # Standard error of a share of 1000: below 0.016.
    assert noisy_share(name, 0.0) == pytest.approx(share, abs=0.05)
    assert noisy_share(name, 300.0) == pytest.approx(share, abs=0.05)


def test_schedules_are_made_of_noise_the_simulator_knows() -> None:
    episodes = draw_schedule(QUALITIES[-1], BAD_S, np.random.default_rng(1))
    assert {episode.kind for episode in episodes} == set(KINDS)
    for episode in episodes:
        assert 0.0 <= episode.start_s < episode.end_s <= BAD_S
        assert 0.5 <= episode.severity <= 1.0


def test_study_compares_all_rules_at_all_qualities(
    of_a_cohort: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_study, "DURATION_S", 60.0)
    prompts = [
        PromptSet("af", "AF?", ("atrial fibrillation",), ("sinus rhythm",), "af"),
        PromptSet("paced", "Paced?", ("paced",), ("sinus rhythm",), "paced"),
    ]
    counted: list[tuple[int, int]] = []
    study = fusion_study.fusion_study(
        of_a_cohort,
        prompts,
        n_patients=2,
        n_resamples=10,
        progress=Progress(lambda _, done, total: counted.append((done, total))),
    )
    assert counted == [(1, 2), (2, 2)]
    rows = json.loads(json.dumps(study.to_dict(), allow_nan=False))["results"]
    assert all(row["simulated"] for row in rows)
    distance = {
        (row["data"].split(": ")[1], row["model"]): row["value"]
        for row in rows
        if row["metric"] == "mean, times 1000"
    }
    assert {quality for quality, _ in distance} == {"clean", "mixed", "bad"}
    gap = distance["bad", "precision"] - distance["bad", "start"]
    assert distance["bad", "precision - start"] == pytest.approx(gap)
    assert distance["clean", "precision"] < distance["clean", "start"]
    assert {row["task"] for row in rows} >= {"AF?", "mean of the 1 questions"}
    assert "Paced?" not in study.to_markdown()


def test_more_patients_than_there_are_is_refused(of_a_cohort: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"41 patients .* has \d test patients"):
        fusion_study.fusion_study(of_a_cohort, [], n_patients=41)
