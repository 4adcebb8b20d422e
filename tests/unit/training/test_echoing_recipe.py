"""The article's model at our size: joint sigma^2, an echo teacher, displacement beside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from echoing_core.datasets.simulated import CohortConfig
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError
from echoing_core.models.config import TextEncoderConfig
from echoing_core.services import load_model
from echoing_core.training import demo
from echoing_core.training.settings import RunConfig, demo_recipe
from tests.fake_teacher import FakeTeacher
from tests.tiny_model import tiny_config

DIM = 12


def _recipe(variance_steps: int) -> RunConfig:
    full = demo_recipe("echoing", steps=3, batch_size=8, where_steps=1, text_variance_steps=1)
    sizes = dataclasses.replace(tiny_config(1600), sigma2=full.model.sigma2)
    return dataclasses.replace(
        full,
        model=dataclasses.replace(sizes, text=TextEncoderConfig(16, 1, 2, 16, 400, 24)),
        objective=dataclasses.replace(full.objective, echo_batch_size=4),
        variance=dataclasses.replace(full.variance, steps=variance_steps, batch_size=8),
    )


def test_the_recipe_is_the_article_s() -> None:
    recipe = demo_recipe("echoing")
    assert recipe.loss.name == "pcmepp"
    assert recipe.model.sigma2 == "both"
    assert not recipe.means_only
    assert recipe.objective.question_weight == 0.0
    with pytest.raises(ConfigError, match="Set means_only to false"):
        dataclasses.replace(recipe, means_only=True)


@pytest.mark.slow
def test_joint_sigma2_and_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_CALIBRATION_PATIENTS", 6)
    monkeypatch.setattr("echoing_core.training.variance_stage._BATCHES_FOR_NOVELTY", 8)
    monkeypatch.setattr("echoing_core.training.variance_stage._BATCHES_FOR_AXES", 2)
    cohort, teacher = CohortConfig(n_patients=60), FakeTeacher(DIM)
    data = demo.load_demo_data(cohort, None, teacher=teacher, echo_share=0.3, n_workers=1)  # type: ignore[arg-type]
    assert data.echo is not None
    models = []
    for steps in (1, 3):
        out, log = tmp_path / f"model{steps}", tmp_path / f"log{steps}.jsonl"
        demo.train_demo(out, data, _recipe(steps), cohort=cohort, log_path=log)
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert sum("echo" in row and "text" in row for row in rows) == 3
        models.append(load_model(out))
    model, longer = models
    assert (model.sigma2, model.sigma2_taught_by) == ("matching", "matching")
    assert model.trained_on["echo_teacher"] == teacher.hash
    assert model.trained_on["echo_pairs"] == len(data.echo)
    other = load_model(f"{tmp_path / 'model1'}@displacement")
    assert other.sigma2_taught_by == "displacement"

    windows = data.simulated.signal_mv[:4], data.simulated.valid[:4]
    joint, again, displaced = (
        encode_batch(one.checkpoint.encoder.ecg, one.checkpoint.scaler, *windows)
        for one in (model, longer, other)
    )
    # The second stage, however long, turns no axis of the teacher's and leaves the joint sigma^2.
    assert np.array_equal(joint.mu, again.mu)
    assert np.array_equal(joint.log_var, again.log_var)
    assert np.array_equal(joint.mu, displaced.mu)
    assert not np.allclose(joint.log_var, displaced.log_var)
