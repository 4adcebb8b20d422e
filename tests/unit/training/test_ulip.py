"""ULIP with the ECG in the place of its point cloud: two contrasts with a frozen teacher."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from echoing_core.echo.simulated import simulated_text_embeddings
from echoing_core.echo.study_views import StudyViews, views_of
from echoing_core.errors import ConfigError
from echoing_core.models.otis import TeacherSide
from echoing_core.training.echo2ecg import StudyTrainer, build_study_inputs
from echoing_core.training.settings import load_preset
from echoing_core.training.study_batches import StudyBatches, pair_with_views
from tests.tiny_studies import SMALL, WIDTH, clips, studies

SET = studies()
CLIPS = clips(SET)
TEXTS = StudyViews(
    tuple(CLIPS.study_ids),
    np.random.default_rng(3).normal(size=CLIPS.vectors.shape).astype(np.float32),
    "made up",
    "0" * 64,
    True,
)
# What Echo2ECG's pooling needs is not ULIP's.
CONFIG = load_preset("ulip", [c for c in SMALL if not c.startswith("model.study.")])


def trainer() -> StudyTrainer:
    inputs = build_study_inputs(CONFIG, SET, CLIPS, TEXTS)
    inputs.encoder.double()
    return StudyTrainer(inputs.encoder, StudyBatches(inputs.train, inputs.config), inputs.config)


def contrast(a: torch.Tensor, b: torch.Tensor, scale: float) -> float:
    logits = scale * functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).T
    total = 0.0
    for i in range(len(a)):
        total -= 0.5 * math.log(float(logits[i, i].exp() / logits[i].exp().sum())) / len(a)
        total -= 0.5 * math.log(float(logits[i, i].exp() / logits[:, i].exp().sum())) / len(a)
    return total


def test_the_loss_is_the_mean_of_two_contrasts() -> None:
    run = trainer()
    run.encoder.eval()
    batch = run.batches.at(0)
    with torch.no_grad():
        side, tower = run.encoder.study, run.encoder.ecg.tower
        ecg = side.of_ecg(tower(batch.segments.double()))
        own = [
            functional.normalize(v[~m].double(), dim=-1).mean(0)
            for v, m in zip(batch.views, batch.missing, strict=True)
        ]
        # 14.3 as float32 has it.
        scale = run.text_loss.scale.item()
        assert scale == pytest.approx(CONFIG.loss.scale_init)
        by_hand = 0.5 * contrast(ecg, torch.stack(own), scale)
        by_hand += 0.5 * contrast(ecg, batch.texts.double(), scale)
        assert abs(float(run.loss(batch)) - by_hand) <= 1e-9
    # Nothing of the teacher learns; the scale does.
    learnt = {name for name, p in run.modules.named_parameters() if p.requires_grad}
    assert "encoder.study.ecg_projection.weight" in learnt and "text_loss.scale" in learnt
    assert [name for name in learnt if ".study." in name] == ["encoder.study.ecg_projection.weight"]
    assert {"study", "text"} <= set(run.step([batch]))


def test_a_study_is_the_mean_of_its_clips_in_any_order() -> None:
    torch.manual_seed(0)
    side = TeacherSide(8, WIDTH)
    views = torch.randn(2, 4, WIDTH)
    missing = torch.tensor([[False] * 4, [False, True, False, True]])
    wanted = functional.normalize(views[1, [0, 2]], dim=-1).mean(0)
    views[missing] = float("nan")
    found = side.study(views, missing)
    torch.testing.assert_close(found[1], wanted)
    order = torch.tensor([2, 0, 3, 1])
    assert (side.study(views[:, order], missing[:, order]) - found).abs().max() <= 1e-6
    # ULIP's start of the projection, 1 / sqrt(dim).
    big = TeacherSide(256, 512).ecg_projection.weight.detach()
    assert float(big.std()) == pytest.approx(512**-0.5, rel=0.01)


def test_texts_of_a_study_are_averaged_and_studies_without_one_left_out() -> None:
    few = replace(TEXTS, study_ids=("s000", "s002", "s002"), vectors=TEXTS.vectors[:3])
    pairs, used = pair_with_views(SET, CLIPS, few)
    assert used.nonzero()[0].tolist() == [0, 2] and pairs.texts is not None
    unit = few.vectors / np.linalg.norm(few.vectors, axis=1, keepdims=True)
    mean = unit[1:].mean(0)
    np.testing.assert_allclose(pairs.texts[1], mean / np.linalg.norm(mean), rtol=1e-5)


def test_clips_and_texts_must_be_one_teachers() -> None:
    for texts in (None, replace(TEXTS, vectors=TEXTS.vectors[:, :3])):
        with pytest.raises(ConfigError, match="one teacher"):
            build_study_inputs(CONFIG, SET, CLIPS, texts)
    with pytest.raises(ConfigError, match="one teacher"):
        build_study_inputs(load_preset("echo2ecg", SMALL), SET, CLIPS, TEXTS)


def test_reports_of_simulated_studies_are_worded_anew_and_say_the_heart() -> None:
    seen: list[str] = []

    def embed_text(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return np.eye(len(texts), 4, dtype=np.float32) + 0.1

    teacher = SimpleNamespace(embed_text=embed_text, name="fake", hash="0" * 64)
    found = simulated_text_embeddings(teacher, ["sim-7-000001-s0", (7, 2, 0)], n_texts=2)
    assert views_of(found).rows_of_studies().keys() == {"sim-7-000001-s0", "sim-7-000002-s0"}
    assert found.simulated and len(set(seen)) == 4
    again = list(seen)
    simulated_text_embeddings(teacher, ["sim-7-000001-s0", (7, 2, 0)], n_texts=2)
    assert seen[4:] == again
