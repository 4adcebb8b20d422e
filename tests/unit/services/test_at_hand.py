"""Models and indexes by their names, and what is listed of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.errors import CheckpointError, ConfigError, IndexMismatchError
from tests.tiny_model import write_tiny_model


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model in ``runs``, and one elsewhere that a variable names."""
    write_tiny_model(tmp_path / "runs" / "mine")
    write_tiny_model(tmp_path / "elsewhere" / "given", seed=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECHOING_MODEL", str(tmp_path / "elsewhere" / "given"))
    return tmp_path


def test_a_name_means_a_folder_in_runs_or_a_given_one(runs: Path) -> None:
    known = services.model_folders()
    assert next(iter(known)) == "demo" and {"mine", "given"} <= set(known)
    by_name, by_path = services.load_model("mine"), services.load_model(runs / "runs" / "mine")
    assert by_name.hash == by_path.hash != services.load_model("given").hash
    # The app offers what it was given, first; runs are no part of it.
    offered = services.offered_models()
    assert offered[0] == "given" and "demo" in offered and "mine" not in offered


def test_an_unknown_name_lists_the_known(runs: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model 'yours'.*demo.*given.*mine"):
        services.load_model("yours")
    with pytest.raises(IndexMismatchError, match=r"no index 'yours'.*demo.*echoing indexes"):
        services.load_index("yours")
    result = CliRunner().invoke(app, ["search", "af", "--index", "yours"])
    assert result.exit_code == 2 and "no index 'yours'" in result.output


def test_what_is_at_hand_is_told_with_hash_and_origin(runs: Path) -> None:
    (runs / "runs" / "broken").mkdir()
    (runs / "runs" / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    (runs / "runs" / "prepared").mkdir()
    (runs / "runs" / "prepared" / "card.json").write_text(
        '{"kind": "prepared study set"}', encoding="utf-8"
    )
    found = {one.name: one for one in services.models_at_hand()}
    demo = services.load_model()
    assert found["demo"].hash == demo.hash and "real ECGs of PTB-XL" in found["demo"].trained_on
    assert found["demo"].sigma2 == demo.checkpoint.sigma2_kinds
    assert found["mine"].trained_on == "nothing (random weights)"
    assert found["broken"].problem.startswith("damaged")
    indexes = {one.name: one for one in services.indexes_at_hand()}
    index = services.load_index()
    assert "prepared" not in indexes and indexes["demo"].n == len(index)
    assert indexes["demo"].model_hash == demo.hash and "demo" in indexes["demo"].fits
    assert [one.name for one in services.models_at_hand(runs / "elsewhere")] == ["given"]
    with pytest.raises(ConfigError, match="There is no folder"):
        services.models_at_hand(runs / "nowhere")


@pytest.mark.slow
def test_the_lists_are_json_too_and_import_no_torch(runs: Path) -> None:
    result = CliRunner().invoke(app, ["models", "--json", "-"])
    names = [one["name"] for one in json.loads(result.output)["models"]]
    assert result.exit_code == 0 and {"demo", "mine", "given"} <= set(names)
    assert (
        "fits"
        in json.loads(CliRunner().invoke(app, ["indexes", "--json", "-"]).output)["indexes"][0]
    )
    code = (
        "import sys; from echoing_core import services; services.models_at_hand(); "
        "services.indexes_at_hand(); print([m for m in ('torch', 'faiss') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert out.stdout.strip() == "[]"
