"""From a prepared data set to a model folder, through the command line as a user would."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from echoing_core.cli.root import app
from echoing_core.datasets.prepared import load_prepared, save_prepared
from echoing_core.datasets.simulated import build_simulated
from echoing_core.echo.store import EchoEmbeddings, save_echo_embeddings
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.training import variance_stage
from echoing_core.training.paired import pair_with_echo, project_echo
from echoing_core.training.settings import PRESETS, load_preset
from tests.conftest import ROOT

SMALL = [
    *("--set", "steps=6", "--set", "batch_size=8", "--set", "save_every=2"),
    *("--set", "validate_every=0", "--set", "objective.echo_batch_size=4"),
    *("--set", "model.dim=8", "--set", "model.ecg.stem_width=8", "--set", "model.ecg.mid_width=8"),
    *("--set", "model.ecg.width=16", "--set", "model.ecg.n_pool_heads=2"),
    *("--set", "model.ecg.variance_width=4", "--set", "model.ecg.variance_hidden=8"),
    *("--set", "model.text.hidden=16", "--set", "model.text.n_layers=1"),
    *("--set", "model.text.n_heads=2", "--set", "model.text.ffn=16"),
]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    studies = build_simulated(36, 3)
    save_prepared(folder / "data", studies)
    ids = tuple(str(s) for s in studies.table["study_id"])[::2]
    rng = np.random.default_rng(0)
    mu = rng.standard_normal((len(ids), 8)).astype(np.float32)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    log_var = np.full(mu.shape, -6.0, dtype=np.float32)
    save_echo_embeddings(
        folder / "echo",
        EchoEmbeddings(ids, mu, log_var, np.full(len(ids), 8), "made up", "0" * 64, True),
    )
    return folder


def _arguments(cohort: Path, out: Path, *more: str) -> list[str]:
    data = ["--data", str(cohort / "data"), "--echo", str(cohort / "echo")]
    return ["train", "from", "demo", *data, "--out", str(out), *SMALL, *more]


@pytest.mark.slow
def test_a_run_becomes_a_model_folder(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is unlike training is learnt from thousands of views; some hundred do here.
    monkeypatch.setattr(variance_stage, "_BATCHES_FOR_NOVELTY", 6)
    more = ("--set", "validate_every=3", "--tensorboard", str(tmp_path / "tb"))
    done = CliRunner().invoke(app, _arguments(cohort, tmp_path / "m", *more))
    assert done.exit_code == 0, done.output
    model = load_checkpoint(tmp_path / "m")
    assert model.training["echo_pairs"] > 5
    assert model.training["real_ecgs"] == 0
    assert "simulated" in model.card
    rows = [
        json.loads(line) for line in (tmp_path / "m-run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert sum("valid/sigma2 AUROC noise" in row for row in rows) == 2
    assert all("echo" in row for row in rows if "loss" in row)
    again = CliRunner().invoke(app, _arguments(cohort, tmp_path / "m"))
    assert again.exit_code == 2
    assert "--resume" in again.output


def test_presets_load_and_refuse_unknown_settings() -> None:
    for name in PRESETS:
        assert load_preset(name).preset == name
    assert load_preset("paper").model.dim == 256
    assert load_preset("release", ["optimiser.lr=1e-3"]).optimiser.lr == 1e-3
    for change, words in (
        ("optimiser.speed=1", "speed"),
        ("lr", "setting=value"),
        ("seed=a", "seed"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_preset("paper", [change])
    with pytest.raises(ConfigError, match="no preset"):
        load_preset("pepar")


def test_the_published_text_encoder_asks_for_its_bert(cohort: Path, tmp_path: Path) -> None:
    arguments = ["train", "paper", "--data", str(cohort / "data"), "--out", str(tmp_path / "m")]
    # The cohort was filtered as ours are.
    arguments += ["--set", "filter_padding=long"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "--text-model" in done.output


def test_pairs_are_by_study_and_only_of_those_given(cohort: Path) -> None:
    studies = load_prepared(cohort / "data", splits=("train",))
    ids = [str(s) for s in studies.table["study_id"]]
    mu = np.eye(4, dtype=np.float32)
    echo = EchoEmbeddings(
        (ids[3], "somebody else", ids[0], ids[0]),
        mu,
        np.zeros_like(mu),
        np.full(4, 5),
        "t",
        "0" * 64,
        True,
        clip_ids=("a", "b", "c", "d"),
    )
    pairs = pair_with_echo(studies, echo, 4)
    assert len(pairs) == 3
    by_ecg: dict[int, set[int]] = {}
    for window, row in zip(pairs.signal_mv, pairs.echo, strict=True):
        which = next(i for i in (0, 3) if np.array_equal(window, studies.signal_mv[i]))
        by_ecg.setdefault(which, set()).add(int(pairs.mu[row].argmax()))
    assert by_ecg == {0: {2, 3}, 3: {0}}
    with pytest.raises(DataSetError, match="None of the"):
        pair_with_echo(
            studies, EchoEmbeddings(("x",), mu[:1], mu[:1], np.ones(1, int), "t", "0", True), 4
        )


def test_a_projection_keeps_angles_as_well_as_it_can() -> None:
    rng = np.random.default_rng(1)
    inner = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 12))
    mu = (inner / np.linalg.norm(inner, axis=1, keepdims=True)).astype(np.float32)
    log_var = rng.normal(-5, 1, mu.shape).astype(np.float32)
    small, log_small = project_echo(mu, log_var, 4)
    # The means span four dimensions, so nothing of them is lost.
    assert np.allclose(small @ small.T, mu @ mu.T, atol=1e-5)
    assert (np.exp(log_small).sum(1) <= np.exp(log_var).sum(1)).all()
    with pytest.raises(ConfigError, match="12 dimensions"):
        project_echo(mu, log_var, 40)


@pytest.mark.slow
def test_killed_at_any_step_and_resumed_the_weights_are_the_same(
    cohort: Path, tmp_path: Path
) -> None:
    """kill -9 five times, at moments drawn at random."""
    rng = random.Random(4)

    def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "echoing_core.cli"]
        command += _arguments(cohort, out, "--set", "steps=28", *more)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with (tmp_path / "stderr.txt").open("w") as stderr:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=stderr
            )

    assert start(tmp_path / "whole").wait(timeout=200) == 0
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    # One run is killed again and again: each time it goes on from what the last left behind.
    out, metrics = tmp_path / "cut", tmp_path / "cut-run" / "metrics.jsonl"
    for attempt in range(5):
        stop_after = 5 * attempt + rng.randint(1, 3)
        process = start(out, *(("--resume",) if attempt else ()))
        while process.poll() is None:
            if metrics.is_file() and metrics.read_bytes().count(b"\n") >= stop_after:
                time.sleep(rng.random() * 0.05)
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
        assert not out.exists()
    code = start(out, "--resume").wait(timeout=200)
    assert code == 0, (tmp_path / "stderr.txt").read_text()[-3000:]
    resumed = load_file(out / "model.safetensors")
    assert resumed.keys() == whole.keys()
    for name in whole:
        assert resumed[name].tobytes() == whole[name].tobytes(), name
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(set(steps))
