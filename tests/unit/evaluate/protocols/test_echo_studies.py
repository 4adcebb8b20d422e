"""Echo2ECG's evaluation on made-up ECGs whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoing_core.datasets.prepared import save_prepared
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols import echo_studies
from echoing_core.evaluate.protocols.echo_studies import (
    CHANCE,
    GAIN,
    LVEF_TASK,
    SHD_TASK,
    class_figures,
    lvef_class,
    relevance_by,
    run_echo_studies,
    structural,
)
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.training.echo2ecg import StudyTrainer, build_study_inputs, write_study_model
from echoing_core.training.run import train
from echoing_core.training.settings import load_preset
from echoing_core.training.study_batches import StudyBatches, pair_with_views
from tests.tiny_studies import SMALL, clips, studies

SET = studies(72)
CLIPS = clips(SET)


def test_classes_of_the_ejection_fraction() -> None:
    given = np.array([10.0, 39.9, 40.0, 49.9, 50.0, np.nan])
    np.testing.assert_array_equal(lvef_class(given), [0, 0, 1, 1, 2, np.nan])


def test_structural_disease_is_any_part_and_unknown_unless_all_are_known() -> None:
    table = SET.table.copy()
    table["label_lvef_lt40"] = np.resize([1.0, 0.0, np.nan, np.nan], len(table))
    table["label_dlv"] = np.resize([np.nan, 0.0, 0.0, 1.0], len(table))
    found = structural(replace(SET, table=table))
    assert found is not None
    np.testing.assert_array_equal(found[:4], [1, 0, np.nan, 1])
    table["label_shd"] = 0.0
    assert structural(replace(SET, table=table)).max() == 0.0  # type: ignore[union-attr]


def test_figures_of_classes_by_hand() -> None:
    truth = np.array([0.0, 0.0, 1.0, 2.0])
    right = np.eye(3)[[0, 0, 1, 2]]
    assert set(class_figures(truth, right).values()) == {1.0}
    constant = np.tile([1.0, 0.0, 0.0], (4, 1))
    figures = class_figures(truth, constant)
    assert figures["balanced accuracy"] == pytest.approx(1 / 3)
    assert figures["macro AUROC"] == 0.5
    # Class 0: 2 of 4 right, all found; the others are never answered.
    assert figures["macro F1"] == pytest.approx((2 * 2 / (2 + 4)) / 3)
    assert figures["macro AUPRC"] == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    two = class_figures(np.array([0.0, 1.0, 1.0]), np.array([[1, 0], [1, 0], [0, 1.0]]))
    assert two["AUROC"] == 0.75 and two["F1"] == pytest.approx(2 / 3)
    assert two["balanced accuracy"] == 0.75


def test_relevant_is_what_lies_within_half_a_standard_deviation() -> None:
    test = SET.where((SET.table["split"] == "test").to_numpy())
    pairs, used = pair_with_views(test, CLIPS)
    assert used.all()
    own = relevance_by(test, pairs, None)
    near = relevance_by(test, pairs, "lvef_pct")
    assert own is not None and own.sum() == len(pairs) and near is not None
    lvef = test.table["label_lvef_pct"].to_numpy()
    for i in range(3):
        for j in range(len(test)):
            assert near[i, j] == (abs(lvef[i] - lvef[j]) <= 0.5 * np.std(lvef, ddof=1))
    assert relevance_by(test, pairs, "lvedv_ml") is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    folder = tmp_path_factory.mktemp("studies")
    save_prepared(folder / "data", SET)
    config = load_preset("echo2ecg", [*SMALL, "steps=40", "save_every=0", "views.kind=none"])
    inputs = build_study_inputs(config, SET, CLIPS)
    batches = StudyBatches(inputs.train, inputs.config)
    done = train(inputs.encoder, batches, inputs.config, kind=StudyTrainer)
    write_study_model(folder / "m", inputs, done, origin={}, minutes=0.1)
    return load_checkpoint(folder / "m"), folder / "data"


@pytest.mark.slow
def test_every_figure_stands_beside_chance_and_random_weights(
    trained: tuple[Checkpoint, Path],
) -> None:
    model, data = trained
    found = run_echo_studies(model, data, CLIPS, n_resamples=20)
    by_place = {(r.task, r.metric, r.model): r.estimate for r in found.results}
    assert {r.model for r in found.results} == {"m", "random weights", GAIN, CHANCE}
    for task, metric in (
        (f"{LVEF_TASK}, kNN", "macro AUROC"),
        (f"{SHD_TASK}, probe", "AUROC"),
        ("ECG to echo study, near in lvef_pct", "mAP"),
        ("echo study to ECG, own pair", "P@10"),
    ):
        model_s, random_s, gain = (
            by_place[task, metric, name].value for name in ("m", "random weights", GAIN)
        )
        assert gain == pytest.approx(model_s - random_s)
    # Of the ECGs one is a query's own.
    n = int(found.counts["studies"])
    own = {m: by_place["ECG to echo study, own pair", m, CHANCE].value for m in ("P@3", "mAP")}
    assert own["P@3"] == pytest.approx(1 / n)
    assert own["mAP"] == pytest.approx(sum(1 / k for k in range(1, n + 1)) / n)
    assert all(r.simulated for r in found.results)
    assert "half a standard deviation" in found.to_markdown()


@pytest.mark.slow
def test_a_model_without_studies_is_measured_on_classes_alone(
    trained: tuple[Checkpoint, Path],
) -> None:
    model, data = trained
    found = run_echo_studies(model, data, None, n_resamples=10)
    assert len(found.tables) == 1 and "reads no echo studies" in found.method


@pytest.mark.slow
def test_a_set_without_the_labels_is_refused(
    trained: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    bare = SET.table.drop(columns=["label_lvef_pct", "label_lvef_lt40", "label_dlv"])
    save_prepared(tmp_path / "bare", replace(SET, table=bare))
    with pytest.raises(DataSetError, match="neither ejection fractions"):
        run_echo_studies(trained[0], tmp_path / "bare", None)
    assert echo_studies.LVEF_LIMITS == (40.0, 50.0)
