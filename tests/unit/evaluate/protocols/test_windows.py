"""Long recordings answered by one window or several: which windows, gaps, ranks, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.evaluate.protocols import long_recordings
from echoing_core.evaluate.protocols.answers import BALANCED_ACCURACY, FINE_TUNED, Place, Scored
from echoing_core.evaluate.protocols.long_recordings import (
    CHOICES,
    FUSED,
    HIGHEST,
    LOWEST,
    START,
    choose_windows,
    open_long,
)
from echoing_core.evaluate.protocols.runs import run_preset, run_windows
from echoing_core.evaluate.protocols.settings import (
    ZERO_SHOT,
    EvaluationOptions,
    FineTuneSettings,
    WindowSettings,
    load_evaluation_preset,
)
from echoing_core.evaluate.protocols.windows import MEAN_RANK, ByWindow, gaps_of, overall
from echoing_core.io import write_wfdb
from echoing_core.metrics.scores import balanced_accuracy
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.records import GaussianEmbedding
from echoing_core.services import prompt_sets
from echoing_core.uncertainty.fusion import fuse
from tests.tiny_model import write_tiny_model

LABELS = ("lvef_lt40", "slvh", "dlv", "slvh_or_dlv")
FEW = FineTuneSettings(epochs=1, n_train=16, n_valid=8, batch_size=16)
N_WINDOWS = 3


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(model_folder: Path) -> Checkpoint:
    return load_checkpoint(model_folder)


def _several(n: int, split: str) -> StudySet:
    """``n`` recordings of three windows 60 s apart, written backwards."""
    rng = np.random.default_rng([n, len(split)])
    person = np.repeat(np.arange(n), N_WINDOWS)
    signal_mv = rng.normal(0, 0.2, size=(person.size, 12, 1000)).astype(np.float32)
    table = pd.DataFrame(
        {
            "source": "music",
            "patient_id": [f"{split}{p}" for p in person],
            "study_id": [f"{split}{p}" for p in person],
            "record_id": [f"{split}{i}" for i in range(person.size)],
            "split": split,
            "report": "",
            "simulated": False,
            "quality": "unknown",
            "start_s": np.tile(60.0 * np.arange(N_WINDOWS)[::-1] + 7.0, n),
        }
        | {f"label_{name}": (person % (i + 2) == 0) for i, name in enumerate(LABELS)}
    )
    return StudySet(table, signal_mv, np.ones(signal_mv.shape, dtype=bool))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "heart"
    save_prepared(folder, _several(16, "train").concat(_several(12, "test")))
    return folder


def test_windows_are_chosen_among_those_that_were_measured() -> None:
    start_s = np.arange(6) * 30.0
    sigma2 = [0.1, 0.5, 0.9, 0.2, 0.2, 0.9]
    measured = [0.79, 1.0, 1.0, 0.8, 1.0, 1.0]
    chosen = choose_windows(sigma2, start_s, measured, every_s=60.0)
    # The least of all is not measured; of equals the earlier one.
    assert (chosen.start, chosen.lowest, chosen.highest) == (1, 3, 2)
    # 30, 90, 150 s.
    assert chosen.fused.tolist() == [1, 3, 5]
    with pytest.raises(SignalQualityError, match="80%"):
        choose_windows(sigma2, start_s, np.full(6, 0.5), every_s=60.0)


def test_a_prepared_set_of_several_windows(checkpoint: Checkpoint, prepared: Path) -> None:
    long = open_long(checkpoint, prepared, WindowSettings(fused_every_s=60.0), FEW)
    whole = _several(12, "test")
    embedded = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, whole.signal_mv, whole.valid)
    # By hand: three rows a recording, the earliest last.
    rows = np.arange(36).reshape(12, N_WINDOWS)
    sums = embedded.uncertainty[rows]
    for name, row in (
        (START, rows[:, -1]),
        (LOWEST, rows[np.arange(12), sums.argmin(axis=1)]),
        (HIGHEST, rows[np.arange(12), sums.argmax(axis=1)]),
    ):
        np.testing.assert_array_equal(long.windows[name].signal_mv, whole.signal_mv[row])
        np.testing.assert_allclose(long.embedding[name].mu, embedded.mu[row], atol=1e-6)
    fused = fuse(embedded[rows[3][::-1]], [7.0, 67.0, 127.0], 10.0, "precision").embedding
    np.testing.assert_allclose(long.embedding[FUSED].mu[3], fused.mu[0], atol=1e-6)
    # Nothing is tuned but on the first windows, one a recording.
    train = long.data.split("train")
    assert len(train) == 16 and set(train.table["start_s"]) == {7.0}
    assert long.counts["windows looked at"] == 36 and not long.data.simulated


@pytest.mark.slow
def test_the_preset_gives_all_rows_of_table_3(checkpoint: Checkpoint, prepared: Path) -> None:
    preset = load_evaluation_preset("music-table3")
    assert preset.labels == list(LABELS)
    # Two of the four, which cost half the time.
    preset = replace(preset, n_seeds=2, n_train=16, labels=["lvef_lt40", "dlv"])
    study = run_preset(
        checkpoint, prepared, preset, prompt_sets(), EvaluationOptions(n_resamples=5, fine_tune=FEW)
    )
    by_table = {table.title: table for table in study.tables}
    table = by_table["Table 3 layout: zero-shot and fine-tuned, balanced accuracy"]
    ours = [row["row"] for row in table.records if not row["paper"]]
    assert ours == [f"tiny ({choice})" for choice in CHOICES]
    assert [row[0] for row in table.rows][-1] == "paper: EchoingECG (low)"
    # Both labels, zero-shot and fine-tuned, none left out.
    assert all(len(row) == 2 + 4 for row in table.records if not row["paper"])
    differences = {result["protocol"] for result in study.to_dict()["differences"]}
    assert {
        f"{p}: low - {other}" for p in (ZERO_SHOT, FINE_TUNED) for other in (START, HIGHEST)
    } <= (differences)
    assert "displacement sigma^2" in study.method
    tuned = [r for r in study.results if r.protocol == FINE_TUNED and r.label]
    assert {r.n_seeds for r in tuned} == {2}
    json.dumps(study.to_dict(), allow_nan=False)


def test_a_gap_is_that_of_two_windows_of_the_same_recordings() -> None:
    answers, truth, scores = _drawn()
    gaps = {
        (g.label, g.protocol): g.estimate.value
        for g in gaps_of(answers, n_resamples=3)
        if g.metric == BALANCED_ACCURACY
    }
    for label, column in truth.items():
        low, start = (
            balanced_accuracy(column > 0.5, scores[choice, label] > 0) for choice in (LOWEST, START)
        )
        assert gaps[label, "zero-shot: low - start"] == pytest.approx(low - start)


def test_ranks_are_averaged_over_labels_and_unknown_answers_do_not_count() -> None:
    answers, truth, scores = _drawn()
    # What is not known of a label leaves the others as they are.
    for choice in CHOICES:
        one = answers.scored[choice, ZERO_SHOT, "b"]
        unknown = one.truth.copy()
        unknown[:5] = np.nan
        answers.scored[choice, ZERO_SHOT, "b"] = replace(one, truth=unknown)
    kept = {"a": slice(None), "b": slice(5, None)}
    values = np.array(
        [
            [
                balanced_accuracy(truth[label][rows] > 0.5, scores[choice, label][rows] > 0)
                for label, rows in kept.items()
            ]
            for choice in CHOICES
        ]
    )
    figures, gaps = overall(answers, n_resamples=20)
    found = {(r.metric, r.model): r.estimate.value for r in figures}
    ranks = np.mean([rankdata(-values[:, label]) for label in range(2)], axis=0)
    for row, choice in enumerate(CHOICES):
        assert found[MEAN_RANK, f"m ({choice})"] == pytest.approx(ranks[row])
        assert found[BALANCED_ACCURACY, f"m ({choice})"] == pytest.approx(values[row].mean())
    (low_high,) = [
        g for g in gaps if (g.protocol, g.metric) == ("zero-shot: low - high", BALANCED_ACCURACY)
    ]
    assert low_high.estimate.value == pytest.approx(values[1].mean() - values[2].mean())
    assert low_high.estimate.low <= low_high.estimate.value <= low_high.estimate.high


def _drawn() -> tuple[ByWindow, dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Scores of 40 recordings for two labels, worse from row to row."""
    rng = np.random.default_rng(3)
    truth = {label: (rng.random(40) < 0.4).astype(float) for label in "ab"}
    scores: dict[tuple[str, str], np.ndarray] = {}
    scored = {}
    for noise, choice in enumerate((FUSED, LOWEST, START, HIGHEST)):
        for label, column in truth.items():
            scores[choice, label] = column - 0.5 + (0.3 + 0.4 * noise) * rng.normal(size=40)
    for choice in CHOICES:
        for label, column in truth.items():
            scored[choice, ZERO_SHOT, label] = Scored(
                Place("x", f"m ({choice})", label, label, ZERO_SHOT, True, "median of sigma^2"),
                column,
                [scores[choice, label]],
                [np.zeros(40, dtype=bool)],
                np.array([f"p{i}" for i in range(40)]),
            )
    return ByWindow(scored, {}), truth, scores


def test_simulated_recordings(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 s of each."""
    monkeypatch.setattr(long_recordings, "DURATION_S", 40.0)
    settings = WindowSettings(stride_s=5.0, fused_every_s=15.0, n_patients=6)
    long = open_long(checkpoint, None, settings, replace(FEW, n_train=3, n_valid=2))
    assert long.data.simulated and long.data.source == "simulated"
    assert {split: len(one) for split, one in long.data.splits.items()} == {
        "train": 3,
        "valid": 2,
        "test": 6,
    }
    # 0, 5, ... 30 s; of them 0, 15 and 30 s are fused.
    assert long.counts["windows looked at"] == 6 * 7
    assert long.fused.start_s.tolist() == [0.0, 15.0, 30.0] * 6
    low, high, start = (long.embedding[name].uncertainty for name in (LOWEST, HIGHEST, START))
    assert (low <= start).all() and (start <= high).all() and (low < high).any()
    with pytest.raises(ConfigError, match="clean, mixed, bad"):
        open_long(checkpoint, None, replace(settings, noise="loud"), FEW)


def test_music_as_it_is_published(checkpoint: Checkpoint, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    root = tmp_path / "music-1.0.1"
    records = root / "High-resolution_ECG"
    records.mkdir(parents=True)
    lines = [
        "Patient ID;Age;Gender (male=1);LVEF (%);Septal thickness (mm);"
        "Left ventricular posterior wall thickness (mm);Left ventricle end-diastolic diameter (mm)"
    ]
    for number in range(1, 25):
        name = f"P{number:04d}"
        xyz = rng.normal(0, 0.2, size=(3, 8000))
        write_wfdb(records, f"{name}_H", xyz, 200.0, ("X", "Y", "Z"))
        lines.append(f"{name};60;1;{30 + number % 2 * 20};10;10;55,5")
    (root / "subject-info.csv").write_text("\n".join(lines), encoding="utf-8")
    long = open_long(checkpoint, root, WindowSettings(fused_every_s=15.0), FEW)
    assert long.data.source == "music" and not long.data.simulated
    n_test = len(long.data.split("test"))
    assert n_test + len(long.data.split("train")) + len(long.data.split("valid")) == 24
    assert long.counts["windows looked at"] == 7 * n_test
    # The test split's first window is the one that `echoing prepare music` takes.
    table = long.data.split("test").table
    assert set(table["split"]) == {"test"} and set(table["start_s"]) == {0.0}
    lvef = table["patient_id"].str[-2:].astype(int) % 2 * 20 + 30
    np.testing.assert_array_equal(table["label_lvef_pct"], lvef)


def test_a_model_whose_sigma2_nothing_taught_is_refused(checkpoint: Checkpoint) -> None:
    blind = replace(checkpoint, training={"config": {"loss": {"name": "infonce"}}})
    with pytest.raises(ConfigError, match="cannot choose windows"):
        run_windows(blind, None, prompt_sets())


def test_command(model_folder: Path, prepared: Path) -> None:
    run = CliRunner()
    told = ["--model", str(model_folder), "--resamples", "10"]
    for wrong, seen in (
        (["--preset", "music-table3", "--patients", "9", "--data", str(prepared)], "--patients"),
        (["--preset", "mimic-table4", "--patients", "9"], "needs a prepared set"),
        (["--patients", "9", "zero-shot"], "do nothing"),
    ):
        done = run.invoke(app, ["evaluate", *told, *wrong])
        assert done.exit_code == 2 and seen in " ".join(done.output.split()), done.output


def test_fused_by_a_tuned_encoder_keeps_the_weights_of_the_untuned(
    checkpoint: Checkpoint, prepared: Path
) -> None:
    long = open_long(checkpoint, prepared, WindowSettings(fused_every_s=60.0), FEW)
    other = np.roll(long.fused.embedding.mu, 1, axis=1)
    found = long.fused.fuse(other)
    rows = long.fused.recording == 2
    one = long.fused.embedding[rows]
    weight = 1 / one.uncertainty
    by_hand = (weight[:, None] * other[rows]).sum(axis=0)
    np.testing.assert_allclose(found.mu[2], by_hand / np.linalg.norm(by_hand), atol=1e-6)
    assert isinstance(found, GaussianEmbedding) and len(found) == 12
