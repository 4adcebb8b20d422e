"""The whole benchmark: which parts run on which data, what is left out, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.shipped.held_out import HeldOut
from echoing_core.evaluate.uncertainty import benchmark
from echoing_core.evaluate.uncertainty.benchmark import Folders, uncertainty_benchmark
from echoing_core.metrics.results import Experiment
from echoing_core.progress import SILENT, Progress
from tests.tiny_model import write_tiny_model

SECTIONS = {
    "quality_of_recordings": "quality",
    "schedule_study": "schedule",
    "notes_study": "ptbxl_notes",
    "dose_study": "dose",
    "where_study": "where",
    "missing_study": "missing",
    "text_study": "text_side",
    "selective_study": "selective",
}
CHECKPOINT: Any = SimpleNamespace(
    has_attribution=True, masks_leads=True, name="tiny", hash="f" * 64
)


def studies(n: int = 4) -> StudySet:
    names = [f"s{i}" for i in range(n)]
    columns = dict.fromkeys(("source", "report", "quality"), "") | {"simulated": False}
    table = pd.DataFrame(
        {"patient_id": names, "study_id": names, "record_id": names, "split": "train"} | columns
    )
    table["fold"] = [9] + [1] * (n - 1)
    signal = np.zeros((n, 12, 1000), dtype=np.float32)
    return StudySet(table, signal, np.ones(signal.shape, dtype=np.bool_))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, Any]]:
    """Every section measured by a stand-in that notes what it was given."""
    seen: dict[str, tuple[Any, Any]] = {}

    def stand_in(function: str) -> Callable[..., Experiment]:
        def measure(*given: Any, **settings: Any) -> Experiment:
            seen[SECTIONS[function]] = (given, settings)
            settings.get("progress", SILENT)(1, 1)
            return Experiment(SECTIONS[function], f"Title of {SECTIONS[function]}", "How.", ())

        return measure

    for function in SECTIONS:
        monkeypatch.setattr(benchmark, function, stand_in(function))
    simulated = HeldOut("simulated test patients", studies(), simulated=True)
    monkeypatch.setattr(benchmark, "held_out_sets", lambda *_, **__: [simulated])
    monkeypatch.setattr(benchmark, "load_ptbxl", lambda *_, **__: studies())
    return seen


def test_without_data_the_simulated_parts_remain(calls: dict[str, tuple[Any, Any]]) -> None:
    experiment = uncertainty_benchmark(CHECKPOINT, (), Folders(), n_resamples=10)
    assert set(experiment.to_dict()["parts"]) == {
        "schedule",
        "where",
        "missing",
        "text_side",
        "selective",
    }
    assert len(experiment.to_dict()["left_out"]) == 7
    assert calls["selective"][1]["nstdb"] is None
    assert calls["schedule"][1]["nstdb"] is None
    assert calls["where"][1]["cinc"] is None
    assert "- graded recordings: no folder of the CinC Challenge 2011 was given." in (
        experiment.to_markdown().splitlines()
    )


def test_with_all_data_nothing_is_left_out(
    calls: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    (tmp_path / "leadwise_quality.csv").touch()
    folders = Folders(tmp_path, tmp_path, tmp_path, (tmp_path,))
    stages: list[str] = []
    experiment = uncertainty_benchmark(
        CHECKPOINT,
        (),
        folders,
        n_resamples=10,
        progress=Progress(lambda stage, *_: stages.append(stage)),
    )
    told = experiment.to_dict()
    assert set(told["parts"]) == set(SECTIONS.values())
    assert told["left_out"] == {}
    assert (told["model"], told["model_hash"]) == ("tiny", "f" * 64)
    assert calls["where"][1]["cinc"] == tmp_path
    assert calls["schedule"][1]["recordings"] == (tmp_path,)
    assert calls["selective"][1]["nstdb"] == tmp_path
    assert all(settings["n_resamples"] == 10 for _, settings in calls.values())
    # Leads are taken from held-out ECGs only, noise is added to all folds.
    assert [len(held_out.studies) for held_out in calls["missing"][0][1]] == [4, 1]
    assert len(calls["dose"][0][1]) == 4
    assert len(set(stages)) == len(SECTIONS)
    assert "Left out" not in experiment.to_markdown()


def test_long_recordings_need_a_noise_to_put_into_them(
    calls: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    experiment = uncertainty_benchmark(CHECKPOINT, (), Folders(long_recordings=(tmp_path,)))
    assert calls["schedule"][1]["recordings"] == ()
    assert "long recordings with noise put into them" in experiment.to_dict()["left_out"]


def test_the_command_passes_the_folders_on(
    calls: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    write_tiny_model(tmp_path / "model")
    ptbxl, noise, one, other = (tmp_path / name for name in ("ptb", "noise", "a", "b"))
    for folder in (ptbxl, noise, one, other):
        folder.mkdir()
    # As far as the folders are looked at before the benchmark is called.
    (ptbxl / "ptbxl_database.csv").touch()
    (noise / "em.hea").touch()
    given = ["--ptbxl", str(ptbxl), "--nstdb", str(noise), "--mitdb", str(one)]
    given += ["--mitdb", str(other)]
    out = ["--json", "-", "--resamples", "12", "--model", str(tmp_path / "model")]
    done = CliRunner().invoke(app, ["evaluate", "uncertainty", *given, *out])
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"disclaimer", "model", "model_hash", "parts", "left_out"} <= set(told)
    assert set(told["left_out"]) == {"graded recordings", "bad leads of real ECGs"}
    assert calls["schedule"][1]["recordings"] == (one, other)
    assert calls["schedule"][1]["n_resamples"] == 12


def test_a_folder_of_graded_recordings_stands_alone() -> None:
    given = ["--recordings", "a", "--labels", "b.csv", "--ptbxl", "c"]
    done = CliRunner().invoke(app, ["evaluate", "uncertainty", *given])
    assert done.exit_code == 2
    assert "not both" in done.stderr
