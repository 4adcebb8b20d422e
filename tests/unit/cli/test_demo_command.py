"""The demo commands from nothing to a folder that opens, with and without real ECGs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.embed.encode import encode_texts
from echoing_core.evaluate.shipped import control, held_out
from echoing_core.services import making
from echoing_core.training import demo, variance_stage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("with_real", [False, True])
def test_train_index_and_search(
    tmp_path: Path,
    with_real: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However short its training, a demo model is scaled and measured in earnest: minutes.
    monkeypatch.setattr(demo, "_CALIBRATION_PATIENTS", 20)
    monkeypatch.setattr(variance_stage, "_BATCHES_FOR_NOVELTY", 10)
    monkeypatch.setattr(variance_stage, "_BATCHES_FOR_AXES", 5)
    monkeypatch.setattr(held_out, "GALLERY_N", 60)
    monkeypatch.setattr(control, "probe_results", partial(control.probe_results, n_seeds=1))
    roughly = partial(making.evaluate_held_out, n_resamples=20)
    monkeypatch.setattr(making, "evaluate_held_out", roughly)
    folder = tmp_path / "model"
    stages = ["--where-steps", "2", "--variance-steps", "2", "--text-variance-steps", "2"]
    size = ["--steps", "3", "--patients", "150", "--batch-size", "16", *stages]
    real = ["--ptbxl", str(request.getfixturevalue("shared_data") / "ptbxl")] if with_real else []
    log = tmp_path / "log.jsonl"
    trained = CliRunner().invoke(
        app, ["train", "demo", "--out", str(folder), "--log", str(log), *size, *real]
    )
    assert trained.exit_code == 0, trained.output
    assert len(log.read_text(encoding="utf-8").splitlines()) == 9
    model = services.load_model(folder)
    assert model.simulated_training is not with_real
    assert ("PTB-XL fold 9" in model.card_markdown) is with_real
    assert "random weights" in model.card_markdown

    if with_real:
        _check_training_on_the_same_space(tmp_path, folder, [*size, *real])

    index = tmp_path / "index"
    built = CliRunner().invoke(
        app, ["index", "build", str(index), "--items", "20", "--model", str(folder)]
    )
    assert built.exit_code == 0, built.output
    hits = services.search(services.load_index(index, model), model, "normal ecg", 3)
    assert len(hits) == 3


def _check_training_on_the_same_space(tmp_path: Path, folder: Path, size: list[str]) -> None:
    """Sigma^2 learnt anew leaves the means of a model where they are."""
    model = services.load_model(folder)
    again = tmp_path / "again"
    options = ["--out", str(again), "--space", str(folder), "--no-figures", *size]
    retrained = CliRunner().invoke(app, ["train", "demo", *options])
    assert retrained.exit_code == 0, retrained.output
    mine, theirs = services.load_model(again).checkpoint, model.checkpoint
    assert "evaluation that follows" in mine.card
    assert mine.training["space_from"] == theirs.hash
    texts = ["normal ecg", "atrial fibrillation"]
    cosines = [(mu := encode_texts(each, texts).mu) @ mu.T for each in (mine, theirs)]
    assert np.allclose(*cosines, atol=1e-5)
    other = CliRunner().invoke(app, ["train", "demo", *options, "--patients", "151"])
    assert other.exit_code != 0
    assert "trained on other data" in other.output
