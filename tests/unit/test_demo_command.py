"""The demo commands from nothing to a folder that opens, with and without real ECGs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("with_real", [False, True])
def test_train_index_and_search(
    tmp_path: Path, with_real: bool, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "model"
    size = ["--steps", "3", "--variance-steps", "2", "--patients", "150", "--batch-size", "16"]
    real = ["--ptbxl", str(request.getfixturevalue("shared_data") / "ptbxl")] if with_real else []
    log = tmp_path / "log.jsonl"
    trained = CliRunner().invoke(
        app, ["train", "demo", "--out", str(folder), "--log", str(log), *size, *real]
    )
    assert trained.exit_code == 0, trained.output
    assert len(log.read_text(encoding="utf-8").splitlines()) == 5
    model = services.load_model(folder)
    assert model.simulated_training is not with_real
    assert ("PTB-XL fold 9" in model.card_markdown) is with_real
    assert "random weights" in model.card_markdown

    index = tmp_path / "index"
    built = CliRunner().invoke(
        app, ["index", "build", str(index), "--items", "20", "--model", str(folder)]
    )
    assert built.exit_code == 0, built.output
    hits = services.search(services.load_index(index, model), model, "normal ecg", 3)
    assert len(hits) == 3
