"""Where figures of training go: files of our own, and services that stand in as fake modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import tiny_run

from echoing_core.config import to_mapping
from echoing_core.errors import ConfigError
from echoing_core.training import metric_logs
from echoing_core.training.metric_logs import (
    LOGGERS,
    LogPlace,
    MetricsLog,
    check_loggers,
    open_log,
)
from echoing_core.training.run import train

SETTINGS = {"seed": 5, "optimiser": {"lr": 1e-3, "clip_norm": 1.0}}


class FakeWandb(ModuleType):
    """Keeps what it is told, as `wandb` and the run that `init` gives."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, float], int | None]] = []
        self.axes: list[tuple[str, str]] = []
        self.finished = 0

    def init(self, **given: Any) -> SimpleNamespace:
        self.begun.append(given)
        return SimpleNamespace(
            id=given["id"] or f"made-{len(self.begun)}",
            log=lambda values, step=None: self.logged.append((values, step)),
            define_metric=lambda name, step_metric: self.axes.append((name, step_metric)),
            finish=self._finish,
        )

    def _finish(self) -> None:
        self.finished += 1


class FakeMlflow(ModuleType):
    """Keeps what it is told; refuses names as MLflow does."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.begun: list[dict[str, Any]] = []
        self.place = ""
        self.experiment = ""
        self.params: dict[str, Any] = {}
        self.logged: list[tuple[dict[str, float], int]] = []
        self.ended = 0

    def set_tracking_uri(self, uri: str) -> None:
        self.place = uri

    def set_experiment(self, name: str) -> None:
        self.experiment = name

    def start_run(self, **given: Any) -> SimpleNamespace:
        self.begun.append(given)
        return SimpleNamespace(info=SimpleNamespace(run_id=given["run_id"] or "made"))

    def log_params(self, params: dict[str, Any]) -> None:
        assert len(params) <= 100, "MLflow takes no more at once"
        self.params |= params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        assert not any("@" in name for name in metrics), "MLflow refuses these"
        self.logged.append((metrics, step))

    def end_run(self) -> None:
        self.ended += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    # Put back afterwards: it is set where files are asked for.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return fake


def test_json_lines_drop_what_will_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "a": 1.0}\n{"step": 1, "a": 2.0}\n{"step": 2, "a"')
    log = open_log(["json"], LogPlace(folder=tmp_path, first_step=1))
    log.write(1, {"a": 3.0})
    log.write(0, {"b": 4.0}, stage="variance")
    log.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 0, "a": 1.0},
        {"step": 1, "a": 3.0},
        {"stage": "variance", "step": 0, "b": 4.0},
    ]


def test_weights_and_biases_is_told_each_step_under_its_number(
    wandb: FakeWandb, tmp_path: Path
) -> None:
    log = open_log(["wandb"], LogPlace(folder=tmp_path, name="cohort-run", settings=SETTINGS))
    log.write(7, {"loss": 0.5})
    log.close()
    (begun,) = wandb.begun
    assert (begun["project"], begun["name"], begun["id"]) == ("echoing", "cohort-run", None)
    assert begun["config"] == SETTINGS
    assert begun["dir"] == str(tmp_path)
    assert wandb.logged == [({"loss": 0.5}, 7)]
    assert wandb.finished == 1


def test_stages_have_an_axis_of_their_own_where_steps_may_not_go_back(
    wandb: FakeWandb, tmp_path: Path
) -> None:
    log = open_log(["wandb"], LogPlace(folder=tmp_path))
    for stage, step in (("space", 0), ("space", 1), ("variance", 0)):
        log.write(step, {"loss": 1.0}, stage=stage)
    assert wandb.axes == [("space/*", "space/step"), ("variance/*", "variance/step")]
    assert wandb.logged[-1] == ({"variance/loss": 1.0, "variance/step": 0}, None)


def test_a_resumed_run_goes_on_as_the_same_one(
    wandb: FakeWandb, mlflow: FakeMlflow, tmp_path: Path
) -> None:
    names = ["wandb", "mlflow"]
    open_log(names, LogPlace(folder=tmp_path, settings=SETTINGS)).close()
    open_log(names, LogPlace(folder=tmp_path, settings=SETTINGS, first_step=3)).close()
    assert [one["id"] for one in wandb.begun] == [None, "made-1"]
    assert [one["run_id"] for one in mlflow.begun] == [None, "made"]
    # Begun anew in the same folder, it is another.
    open_log(names, LogPlace(folder=tmp_path, settings=SETTINGS)).close()
    assert wandb.begun[-1]["id"] is None
    assert json.loads((tmp_path / "trackers.json").read_text())["wandb"] == "made-3"


def test_mlflow_is_told_settings_and_figures_by_names_that_it_takes(
    mlflow: FakeMlflow, tmp_path: Path
) -> None:
    many = SETTINGS | {"model": {f"size_{k}": k for k in range(150)}}
    log = open_log(["mlflow"], LogPlace(folder=tmp_path, name="r", settings=many))
    log.write(2, {"valid/R@10 same text csd": 0.25})
    log.close()
    assert mlflow.experiment == "echoing"
    assert mlflow.place == (tmp_path / "mlruns").as_uri()
    assert mlflow.params["optimiser.lr"] == 1e-3
    assert mlflow.params["model.size_149"] == 149
    assert mlflow.logged == [({"valid/R_10 same text csd": 0.25}, 2)]
    assert mlflow.ended == 1


def test_mlflow_goes_where_its_own_variables_say(
    mlflow: FakeMlflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ecg")
    open_log(["mlflow"], LogPlace(folder=tmp_path))
    assert (mlflow.place, mlflow.experiment) == ("", "ecg")


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_told_with_the_command_that_brings_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules is how Python marks a module that must not be found.
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"pip install {name}.* leave out {name}"):
        check_loggers(["json", name])


def test_an_unknown_logger_is_refused_with_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'tensorbord'.*json, tensorboard, wandb, mlflow"):
        check_loggers(["tensorbord"])


def test_one_more_logger_is_one_more_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Counter:
        package = "json"
        install = ""
        told: list[int] = []  # noqa: RUF012

        def __init__(self, place: LogPlace) -> None:
            self.place = place

        def write(self, step: int, values: object, stage: str) -> None:
            self.told.append(step)

        def close(self) -> None:
            self.told.append(-1)

    monkeypatch.setitem(LOGGERS, "counter", Counter)  # type: ignore[arg-type]
    settings = tiny_run.config(steps=2)
    start = tiny_run.trainer(settings)
    train(start.encoder, start.batches, settings, run=tmp_path, log_to=["counter", "json"])
    assert Counter.told == [0, 1, -1]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_run_reaches_weights_and_biases_with_its_settings(
    wandb: FakeWandb, tmp_path: Path
) -> None:
    settings = tiny_run.config(steps=2)
    start = tiny_run.trainer(settings)
    train(start.encoder, start.batches, settings, run=tmp_path, log_to=["wandb"])
    assert wandb.begun[0]["config"] == to_mapping(settings)
    assert [step for _, step in wandb.logged] == [0, 1]
    assert all(values["loss"] > 0 for values, _ in wandb.logged)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_what_nobody_asked_for_is_not_imported(tmp_path: Path) -> None:
    open_log(["json"], LogPlace(folder=tmp_path)).close()
    MetricsLog().write(0, {"a": 1.0})
    assert not {"wandb", "mlflow"} & set(sys.modules)
    assert metric_logs.Wandb.package not in sys.modules
