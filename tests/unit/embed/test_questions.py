"""Margins of a question: those of the closed form on the embedded prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echoing_core.embed.encode import encode_texts
from echoing_core.embed.questions import encode_sides, question_margins
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import load_prompt_sets
from tests.tiny_model import write_tiny_model


def test_margins_are_given_for_every_question(tmp_path: Path, repo_root: Path) -> None:
    write_tiny_model(tmp_path / "tiny")
    checkpoint = load_checkpoint(tmp_path / "tiny")
    dim = checkpoint.encoder.config.dim
    rng = np.random.default_rng(0)
    ecg = GaussianEmbedding(
        rng.normal(size=(6, dim)).astype(np.float32), np.full((6, dim), -3.0, dtype=np.float32)
    )
    prompts = load_prompt_sets(repo_root / "assets" / "prompts")
    asked = [item for item in prompts if item.label in ("af", "slvh")]
    assert len(asked) == 2
    for question in asked:
        yes, no = encode_sides(checkpoint, question)
        assert (len(yes), len(no)) == (len(question.positive), len(question.negative))
        np.testing.assert_array_equal(yes.mu, encode_texts(checkpoint, question.positive).mu)
        margin, std = question_margins(checkpoint, ecg, question)
        expected = closed_form.margins(ecg, yes, no)
        assert margin.shape == std.shape == (6,)
        np.testing.assert_array_equal(margin, expected[0])
        np.testing.assert_array_equal(std, expected[1])
