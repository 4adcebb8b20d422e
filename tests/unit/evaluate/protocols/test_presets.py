"""Presets of published evaluations: the files, and each protocol on small prepared sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.registry import data_set_names
from echoing_core.datasets.snomed import CPSC2018_CODES, CSN_CODES
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols.article import TABLES
from echoing_core.evaluate.protocols.classes import with_classes
from echoing_core.evaluate.protocols.data import EvaluationData
from echoing_core.evaluate.protocols.runs import run_preset
from echoing_core.evaluate.protocols.settings import (
    EvaluationOptions,
    FineTuneSettings,
    load_evaluation_preset,
    preset_names,
)
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.services import prompt_sets
from tests.tiny_model import write_tiny_model

CLASSES_OF = {
    "melp-ptbxl-super": 5,
    "melp-ptbxl-sub": 23,
    "melp-ptbxl-form": 19,
    "melp-ptbxl-rhythm": 12,
    "melp-cpsc2018": 9,
    "melp-csn": 38,
}
LABELS = ("lvef_lt40", "slvh", "dlv", "slvh_or_dlv")


def _set(n: int, split: str, source: str, labels: dict[str, np.ndarray]) -> StudySet:
    rng = np.random.default_rng(len(split))
    first = next(iter(labels.values()))
    signal_mv = rng.normal(0, 0.2, size=(n, 12, 1000)).astype(np.float32)
    wave = np.sin(2 * np.pi * 6.0 * np.arange(1000) / 100.0).astype(np.float32)
    signal_mv[first > 0.5] += 0.8 * wave
    table = pd.DataFrame(
        {
            "source": source,
            "patient_id": [f"{split}{i // 2}" for i in range(n)],
            "study_id": [f"{split}{i}" for i in range(n)],
            "record_id": [f"{split}{i}" for i in range(n)],
            "split": split,
            "report": [f"sinus rhythm. normal ecg. {i}" for i in range(n)],
            "simulated": source == "simulated",
            "quality": "clean",
        }
        | {f"label_{name}": values for name, values in labels.items()}
    )
    return StudySet(table, signal_mv, np.ones(signal_mv.shape, dtype=bool))


def _folder(path: Path, source: str, labels: tuple[str, ...]) -> Path:
    parts = []
    for split, n in (("train", 48), ("valid", 16), ("test", 24)):
        person = np.arange(n) // 2
        known = {label: (person % (i + 2) == 0) for i, label in enumerate(labels)}
        parts.append(_set(n, split, source, known))
    save_prepared(path, parts[0].concat(*parts[1:]))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def structure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory.mktemp("data") / "heart", "music", LABELS)


def test_every_preset_can_be_read_and_its_questions_are_there() -> None:
    names = {item.name for item in prompt_sets()}
    assert set(CLASSES_OF) < set(preset_names())
    for name in preset_names():
        preset = load_evaluation_preset(name)
        set_name = preset.prepare.split()[2]
        assert preset.source == {"mimic": "mimic-iv"}.get(set_name, set_name)
        assert set_name in data_set_names()
        assert not preset.paper_table or preset.source in TABLES[preset.paper_table].sources
        assert set(preset.questions) <= names
        assert len(preset.classes) == CLASSES_OF.get(name, 0)


def test_classes_are_those_of_the_data_sets() -> None:
    assert set(load_evaluation_preset("melp-csn").classes) == {f"csn_{k}" for k in CSN_CODES}
    assert set(load_evaluation_preset("melp-cpsc2018").classes) == {
        f"cpsc_{k}" for k in CPSC2018_CODES
    }


@pytest.mark.slow
def test_music_stands_beside_the_paper(checkpoint: Checkpoint, structure: Path) -> None:
    study = run_preset(
        checkpoint,
        structure,
        replace(load_evaluation_preset("music-table3"), n_seeds=1),
        prompt_sets(),
        EvaluationOptions(n_resamples=5, fine_tune=FineTuneSettings(epochs=1, n_valid=8)),
    )
    assert "paper: EchoingECG (low)" in study.to_markdown()
    assert {result.label for result in study.results} == set(LABELS)
    assert "512/125" not in study.method
    assert "not those of its table" not in study.method


def test_several_windows_of_a_recording_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    person = np.arange(8) // 2
    studies = _set(8, "test", "music", dict.fromkeys(LABELS, person % 2 == 0))
    table = studies.table.assign(study_id=studies.table["patient_id"])
    save_prepared(tmp_path / "m", StudySet(table, studies.signal_mv, studies.valid))
    with pytest.raises(DataSetError, match="windows=first"):
        run_preset(
            checkpoint, tmp_path / "m", load_evaluation_preset("music-table3"), prompt_sets()
        )


def test_other_data_are_named_and_the_paper_is_left_away(
    checkpoint: Checkpoint, structure: Path
) -> None:
    study = run_preset(
        checkpoint,
        structure,
        load_evaluation_preset("mimic-table2"),
        prompt_sets(),
        EvaluationOptions(n_resamples=5),
    )
    assert "these are of music" in study.method
    assert "paper: EchoingECG" not in study.to_markdown()


def test_classes_are_measured_on_ecgs_that_have_one(checkpoint: Checkpoint, tmp_path: Path) -> None:
    preset = load_evaluation_preset("melp-ptbxl-super")
    folder = _folder(tmp_path / "ptbxl", "ptbxl", tuple(preset.classes))
    study = run_preset(checkpoint, folder, preset, prompt_sets(), EvaluationOptions(n_resamples=5))
    protocols = {result.protocol for result in study.results}
    assert protocols == {"zero-shot", "1 % probe", "10 % probe", "100 % probe"}
    by_key = {(f.model, f.protocol, f.label): f.estimate.value for f in study.results}
    # The first class is a wave in the signal; a probe on all patients finds it.
    assert by_key[checkpoint.name, "100 % probe", "NORM"] > 0.9
    one = [f for f in study.results if f.model == checkpoint.name and f.protocol == "zero-shot"]
    values = [f.estimate.value for f in one if f.label]
    (mean,) = [f.estimate.value for f in one if not f.label]
    assert mean == pytest.approx(np.mean(values))
    # Patients 0, 2, 3, 4, 5... have a class; patient 1, 7, 11 have none.
    assert study.counts["test ECGs"] == 18
    json.dumps(study.to_dict(), allow_nan=False)


def test_unknown_answers_do_not_count_and_one_sided_classes_are_named() -> None:
    unknown = np.array([1.0, 0.0, np.nan, 1.0])
    none = np.zeros(4)
    test = _set(4, "test", "cinc", {"a": unknown, "b": none, "d": np.array([0.0, 1.0, 0.0, 1.0])})
    data = EvaluationData("x", "cinc", False, {"test": test})
    known = with_classes(data, {"a": "a", "b": "b"}, only_labelled=False)
    assert (tuple(known.classes), known.left_out) == (("a",), ("b",))
    labelled = with_classes(data, {"a": "a", "d": "d"}, only_labelled=True)
    assert len(labelled.data.split("test")) == 3
    with pytest.raises(DataSetError, match="both answers"):
        with_classes(data, {"b": "b"}, only_labelled=False)
    with pytest.raises(DataSetError, match="no label c"):
        with_classes(data, {"c": "c"}, only_labelled=False)


@pytest.mark.slow
def test_command(checkpoint: Checkpoint, structure: Path, tmp_path: Path) -> None:
    run = CliRunner()
    listed = run.invoke(app, ["evaluate", "--preset", "list"])
    assert listed.exit_code == 0
    assert all(name in listed.stdout for name in preset_names())
    write_tiny_model(tmp_path / "tiny")
    told = ["--preset", "mimic-table4", "--data", str(structure), "--resamples", "10"]
    out = tmp_path / "out.json"
    done = run.invoke(
        app, ["evaluate", *told, "--model", str(tmp_path / "tiny"), "--json", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["preset"] == "mimic-table4"
    for wrong in (
        ["--preset", "mimic-table4"],
        ["--preset", "nothing", "--data", str(structure)],
        ["--preset", "music-table3", "zero-shot"],
    ):
        assert run.invoke(app, ["evaluate", *wrong]).exit_code == 2
    assert "zero-shot" in run.invoke(app, ["evaluate"]).output


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("- a", "no settings"),
        ("title: a", "lacks source"),
        ("title: a\nsource: b\nprepare: c\nprotocol: guess", "guess"),
        ("title: a\nsource: b\nprepare: c\nprotocol: classes", "classes"),
        ("title: a\nsource: b\nprepare: c\nprotocol: few-shot", "labels"),
        ("title: a\nsource: b\nprepare: c\nprotocol: retrieval\nn_sedes: 3", "n_sedes"),
        ("title: [", "YAML"),
    ],
)
def test_files_that_are_no_preset_are_refused(tmp_path: Path, text: str, seen: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=seen):
        load_evaluation_preset(str(path))
