"""The calibration of a model: fitted, measured, written into its folder, and used."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny_model import write_tiny_model

from echoing_core import services
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.study_set import StudySet
from echoing_core.datasets.zscored import ZSCORED_SOURCE
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import encode_sides
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.shipped import calibration
from echoing_core.evaluate.shipped.calibration import (
    AskedTruth,
    calibrate,
    questions_with_truth,
)
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import load_checkpoint, update_documents
from echoing_core.records import LEADS
from echoing_core.reports.scp_text import FINDING_CODES
from echoing_core.reports.understanding import understand
from echoing_core.signals.lead_sets import LeadSet
from echoing_core.zeroshot.closed_form import margins
from echoing_core.zeroshot.prompts import PromptSet

PROMPTS = PromptSet(
    "myocardial_infarction", "Myocardial infarction", ("left bundle branch block", "abnormal"),
    ("sinus rhythm", "normal ecg"), "MI",
)  # fmt: skip
SETS = (LeadSet.from_key("12"), LeadSet.from_key("II+V5"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    write_tiny_model(place)
    return place


@pytest.fixture(scope="module")
def sets(folder: Path) -> tuple[StudySet, StudySet]:
    """Random signals; the truth follows the model's own margins, with noise."""
    checkpoint = load_checkpoint(folder)
    rng = np.random.default_rng(0)
    n = 80
    signal = rng.normal(size=(n, 12, 1000)).astype(np.float32) * rng.lognormal(
        size=(n, 12, 1)
    ).astype(np.float32)
    ecg = encode_batch(
        checkpoint.encoder.ecg, checkpoint.scaler, signal, np.ones(signal.shape, dtype=bool)
    )
    margin, _ = margins(ecg, *encode_sides(checkpoint, PROMPTS))
    x = (margin - margin.mean()) / margin.std()
    truth = rng.random(n) < 1 / (1 + np.exp(-2.5 * x))
    table = pd.DataFrame(
        {
            "source": "ptbxl",
            "patient_id": [f"p{i}" for i in range(n)],
            "study_id": [f"s{i}" for i in range(n)],
            "record_id": [f"s{i}" for i in range(n)],
            "split": ["valid"] * (n // 2) + ["test"] * (n // 2),
            "report": "",
            "simulated": False,
            "quality": "unknown",
            "label_MI": truth,
        }
    )
    both = StudySet(table, signal, np.ones(signal.shape, dtype=bool))
    return both.where(table["split"] == "valid"), both.where(table["split"] == "test")


def test_a_calibration_is_fitted_measured_written_and_used(
    folder: Path, sets: tuple[StudySet, StudySet]
) -> None:
    checkpoint = load_checkpoint(folder)
    fit, measure = sets
    made, experiment = calibrate(
        checkpoint, fit, measure, [PROMPTS], fitted_on="40 ECGs", measured_on="40 others",
        lead_sets=SETS, n_resamples=20,
    )  # fmt: skip
    (question,) = made.questions
    # Half an ECG is added on both sides, so that no share is 0 or 1.
    n_positive = int(fit.table["label_MI"].sum())
    assert question.base_rate == pytest.approx((n_positive + 0.5) / 41)
    whole = next(one for one in question.lead_sets if one.leads == "12")
    assert (whole.n, whole.n_positive) == (40, n_positive) and whole.beats_base_rate
    assert whole.worth is not None and whole.worth.n == 40
    # A map is monotone and the noise of random weights alike: the order is that of the margins.
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, measure.signal_mv, measure.valid)
    margin, _ = margins(ecg, *encode_sides(checkpoint, PROMPTS))
    expected = auroc(measure.table["label_MI"].to_numpy(dtype=bool), margin)
    assert whole.worth.auroc == pytest.approx(expected, abs=0.02)
    (record,) = [r for r in experiment.to_dict()["measured"] if r["leads"] == "12"]
    assert record["covered"] <= record["groups"] == 5
    assert "all 12 leads" in experiment.to_markdown()

    assert services.load_model(folder).calibration is None
    update_documents(folder, measured={"calibration": made.to_dict()})
    model = services.load_model(folder)
    question_now = services.encode_question(model, PROMPTS)
    assert question_now.calibration is not None and not question_now.calibration.negated
    assert question_now.answer(ecg[np.array([0])]).basis == "calibrated"
    # Other words were never measured.
    other = replace(PROMPTS, positive=("lbbb",))
    assert services.encode_question(model, other).answer(ecg[np.array([0])]).basis != "calibrated"


def test_what_is_fitted_on_is_not_measured_on(
    folder: Path, sets: tuple[StudySet, StudySet]
) -> None:
    checkpoint = load_checkpoint(folder)
    with pytest.raises(DataSetError, match="40 patients are among"):
        calibrate(checkpoint, sets[0], sets[0], [PROMPTS], fitted_on="", lead_sets=SETS)
    unlabelled = replace(PROMPTS, label="XYZ")
    with pytest.raises(DataSetError, match="No shipped question has its label"):
        calibrate(checkpoint, sets[0], None, [unlabelled], fitted_on="", lead_sets=SETS)


def test_leads_that_are_taken_away_change_the_map_and_not_the_truth(
    folder: Path, sets: tuple[StudySet, StudySet]
) -> None:
    made, _ = calibrate(
        load_checkpoint(folder), sets[0], None, [PROMPTS], fitted_on="", lead_sets=SETS
    )
    one, two = made.questions[0].lead_sets
    assert (one.leads, two.leads) == ("12", "II+V5") and one.n_positive == two.n_positive
    assert one.map != two.map and one.worth is None
    assert made.centres["12"].shape == (12,) and len(LEADS) == 12


def test_every_question_is_asked_once_and_shipped_wording_comes_first() -> None:
    asked = questions_with_truth(services.prompt_sets())
    names = [one.prompts.name for one in asked]
    assert len(names) == len(set(names)) and len(asked) > 15
    by_name = {one.prompts.name: one for one in asked}
    # The shipped question is answered by its label, others by the statements.
    assert by_name["lbbb"].codes is None and by_name["lafb"].codes == {"LAFB"}
    table = pd.DataFrame(
        {"scp_codes": [{"LAFB": 100.0}, {"NORM": 0.0}], "label_lbbb": [np.nan, 1.0]}
    )
    assert by_name["lafb"].truth(table).tolist() == [1.0, 0.0]
    assert np.isnan(by_name["lbbb"].truth(table)[0]) and by_name["lbbb"].is_known(table)
    assert not by_name["lvef_below_40"].is_known(table)


def test_the_codes_are_those_of_the_frozen_phrases() -> None:
    path = Path(__file__).resolve().parents[3] / "questions" / "phrases.yaml"
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))
    for group in groups.values():
        (asked,) = understand(group["canonical"][0]).findings
        assert set(FINDING_CODES[asked.finding]) == set(group["codes"]), asked.finding


def test_a_lab_calibrates_on_its_own_prepared_data(
    folder: Path,
    sets: tuple[StudySet, StudySet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Fifteen lead sets would take a minute and say no more.
    few = partial(calibration.calibrate_on_prepared, lead_sets=SETS)
    monkeypatch.setattr(calibration, "calibrate_on_prepared", few)
    model = services.load_model(folder)
    with pytest.raises(ConfigError, match="either PTB-XL"):
        services.evaluate_calibration(model)
    save_prepared(tmp_path / "lab", sets[0].concat(sets[1]))
    # In the shipped wording of MI, which these truths do not follow: what is written is tested.
    mine = shutil.copytree(folder, tmp_path / "model")
    experiment = services.evaluate_calibration(
        model, data=tmp_path / "lab", folder=mine, n_resamples=10
    )
    written = services.load_model(mine).calibration
    assert written is not None and written.model_hash == model.hash
    assert written.fitted_on == "40 real ECGs of lab, split valid"
    assert [one.name for one in written.questions] == ["myocardial_infarction"]
    assert {r["leads"] for r in experiment.to_dict()["measured"]} == {"12", "II+V5"}


def test_what_rests_on_voltage_is_unknown_where_millivolts_were_borrowed() -> None:
    table = pd.DataFrame(
        {
            "source": ["ptbxl", ZSCORED_SOURCE, ZSCORED_SOURCE],
            "scp_codes": [{"LVH": 100.0}, {"IMI": 80.0}, {"SR": 0.0}],
        }
    )
    prompts = PromptSet("any", "Any", ("yes",), ("no",))
    lvh = AskedTruth(prompts, frozenset({"LVH", "VCLVH"})).truth(table)
    assert lvh[0] == 1.0 and np.isnan(lvh[1:]).all()
    infarct = AskedTruth(prompts, frozenset({"IMI"})).truth(table)
    assert infarct.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("n_people", [1, 2, 3])
def test_a_cohort_of_fewer_people_than_folds_is_no_error(n_people: int) -> None:
    rng = np.random.default_rng(0)
    patients = np.array([f"p{i % n_people}" for i in range(12)])
    margin, truth = rng.normal(size=12), np.tile([0.0, 1.0], 6)
    beats = calibration._beats_base_rate(margin, np.ones(12), truth, patients)
    assert beats is False or n_people > 1
