"""What the commands that train have in common: settings in view, seed, completion, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.cli.training_options import complete_setting, logger_names
from echoing_core.config import from_mapping, setting_names
from echoing_core.errors import ConfigError
from echoing_core.training.settings import PRESETS, RunConfig, demo_recipe, load_preset


def _run(*arguments: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), env=environment, prog_name="echoing")
    return done.exit_code, done.output


@pytest.mark.parametrize("name", PRESETS)
def test_printed_settings_are_a_file_that_trains_the_same(name: str, tmp_path: Path) -> None:
    changes = ("--set", "optimiser.lr=3e-4", "--seed", "9", "--print-config")
    code, printed = _run("train", "from", name, *changes)
    assert code == 0, printed
    file = tmp_path / "mine.yaml"
    file.write_text(printed)
    assert load_preset(str(file)) == load_preset(name, ["optimiser.lr=3e-4", "seed=9"])
    assert _run("train", "from", str(file), "--print-config") == (0, printed)


def test_every_training_command_prints_what_it_would_use(tmp_path: Path) -> None:
    for preset in ("paper", "release", "melp-stage1", "melp-stage2"):
        code, printed = _run("train", preset, "--print-config")
        assert code == 0 and f"preset: {preset}" in printed
    file = tmp_path / "demo.yaml"
    file.write_text(_run("train", "demo", "--steps", "70", "--seed", "3", "--print-config")[1])
    assert load_preset(str(file)) == demo_recipe("demo", steps=70, seed=3)
    code, printed = _run("teacher", "train", str(tmp_path / "t"), "--steps", "5", "--print-config")
    assert code == 0 and "steps: 5\n" in printed and not (tmp_path / "t").exists()


def test_data_and_out_are_wanted_where_something_is_trained() -> None:
    for arguments in (("paper",), ("release", "--data", "d"), ("from", "demo", "--out", "m")):
        code, told = _run("train", *arguments)
        assert code == 2
        assert "--data" in told and "--out" in told
    code, told = _run("train", "demo")
    assert (code, told) == (2, "Name the model folder to write: --out MODEL\n")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optimizer.lr=1", "optimiser"),
        ("optimiser.weight_deca=1", "optimiser.weight_decay"),
        ("average_decay=0.9", "optimiser.average_decay"),
        ("batchsize=4", "batch_size"),
    ],
)
def test_an_unknown_setting_names_the_near_ones(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"Did you mean {meant}\b.*Known settings here"):
        load_preset("demo", [typed])
    with pytest.raises(ConfigError, match=r"xyzzy\. Known settings here"):
        load_preset("demo", ["xyzzy=1"])


def test_names_of_settings_are_those_that_a_change_may_name() -> None:
    names = setting_names(RunConfig)
    assert names["optimiser.lr"] == 1e-3 and names["model.ecg.width"] == 256
    # Each with its own default changes nothing, and is known.
    assert load_preset("demo", ["model.ecg.width=256"]) == load_preset("demo")
    assert from_mapping(RunConfig, {}) == RunConfig()


def test_the_shell_completes_settings() -> None:
    assert dict(complete_setting("optimiser.lr")) == {"optimiser.lr=": "default 0.001"}
    assert "optimiser.weight_decay=" in dict(complete_setting("weight"))
    assert not list(complete_setting("optimiser.lr=1"))
    # As bash asks, with the names of options before it.
    line = "echoing train from demo --set optimiser.lr"
    _, offered = _run(_ECHOING_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="5")
    assert offered.split() == ["optimiser.lr="]


def test_loggers_are_named_with_commas() -> None:
    assert logger_names("json, tensorboard,") == ["json", "tensorboard"]
