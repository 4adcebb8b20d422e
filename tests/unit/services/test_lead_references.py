"""A recording of few leads is compared with ECGs of these leads, and says so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from echoing_core import services
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import CheckpointError
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.records import LEADS, Recording
from echoing_core.services import Model, lead_references
from echoing_core.services.lead_references import LeadReferenceJob
from echoing_core.signals.lead_sets import LEAD_SETS, LeadSet
from echoing_core.simulate import simulate_study
from echoing_core.uncertainty.lead_references import fit_lead_references
from echoing_core.uncertainty.reference import (
    LeadReference,
    Reference,
    read_references,
    stored_references,
)
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_model(path)
    return path


@pytest.fixture
def model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return services.load_model(folder)


def with_leads(*names: str, seconds: float = 10.0) -> Recording:
    recording = simulate_study(11, 3).recording_12
    rows = [recording.lead_names.index(name) for name in names]
    n = round(seconds * recording.fs_hz)
    return Recording(recording.signal_mv[rows, :n], recording.fs_hz, names, "few")


def test_the_reference_is_the_same_ecgs_with_fewer_leads(model: Model) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (6, 12, 1000)).astype(np.float32)
    valid = np.ones(signal.shape, dtype=bool)
    lead_set = LeadSet(("II", "V3"))
    checkpoint = model.checkpoint
    found = fit_lead_references(
        checkpoint.encoder.ecg, checkpoint.scaler, signal, valid, [lead_set], name="x",
        simulated=True,
    )["II+V3"]  # fmt: skip
    # By hand: each ECG by itself, with the mask of these leads.
    by_hand = []
    for row in signal:
        kept = np.isin(LEADS, ["II", "V3"])[np.newaxis, :, np.newaxis] & valid[:1]
        one = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, row[np.newaxis] * kept, kept)
        by_hand.append(float(one.uncertainty[0]))
    assert found.n == 6
    np.testing.assert_allclose(found.quantiles[[0, -1]], [min(by_hand), max(by_hand)], rtol=1e-4)
    np.testing.assert_allclose(found.value_at(50), np.median(by_hand), rtol=1e-4)


def test_a_reference_is_kept_small_and_read_back() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(-3, 1, 500)
    by_lead = rng.lognormal(-5, 1, (500, 12))
    lead_set = LeadSet(("I",))
    made = LeadReference.of_leads(lead_set, values, by_lead, name="made", simulated=True)
    text = json.dumps(stored_references({"I": made}))
    back = read_references(json.loads(text))["I"]
    assert len(text) < 6_000
    assert (back.name, back.n, back.simulated, back.lead_set) == ("made", 500, True, lead_set)
    asked = np.quantile(values, [0.02, 0.3, 0.8, 0.97])
    np.testing.assert_allclose(back.percentile(asked), made.percentile(asked), atol=0.5)
    # Only lead I counts among its terms.
    middle = float(np.median(by_lead[:, 0]))
    assert back.percentile_of_leads(middle) == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"leads": {"II": {"name": "x"}}},
        {"leads": {"V9": LeadReference.of_leads(
            LeadSet(("I",)), np.arange(3.0), None, name="x", simulated=True
        ).to_stored()}},
        {"leads": {"I": {"name": "x", "n": 3, "simulated": True, "whole": [1, 0],
                         "measured": None}}},
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="leads"):
        read_references(broken)


def test_all_leads_are_compared_with_the_models_own_reference(model: Model) -> None:
    explanation = services.explain(model, with_leads(*LEADS))
    assert explanation.reference is model.reference
    assert explanation.read_among(all_leads=True) is explanation
    assert explanation.measured.startswith("All 12 leads measured. Percentiles compare with 200")


def test_few_leads_are_compared_with_few_leads_and_with_all(model: Model) -> None:
    values = np.linspace(0.0, 1.0, 11)
    alike = LeadReference.of_leads(LeadSet(("II", "V5")), values, None, name="y", simulated=True)
    everyone = Reference.from_values(values / 100, name="z")
    model = dataclasses.replace(model, reference=everyone, lead_references={"II+V5": alike})
    explanation = services.explain(model, with_leads("V5", "II"))
    (sigma2,) = explanation.track.uncertainty
    # The quantiles rise evenly from 0 to 1, and to a hundredth of that.
    assert explanation.track.percentile == pytest.approx([min(100 * sigma2, 100)], abs=0.2)
    other = explanation.read_among(all_leads=True)
    assert other.track.percentile == pytest.approx([min(10_000 * sigma2, 100)], abs=0.2)
    assert other.track.uncertainty is explanation.track.uncertainty
    assert other.read_among(all_leads=False).track.percentile == pytest.approx(
        explanation.track.percentile
    )
    assert explanation.measured == (
        "2 of 12 leads measured: II and V5. Percentiles compare with 11 ECGs reduced to these "
        "leads (all simulated): y."
    )
    # A file says the same whatever was on the screen.
    assert other.to_dict() == explanation.to_dict()
    window = other.to_dict()["windows"][0]
    assert window["percentile"] == pytest.approx(explanation.track.percentile[0], abs=1e-3)
    assert window["percentile_12_leads"] == pytest.approx(other.track.percentile[0], abs=1e-3)
    assert other.to_dict()["percentile_compares_with"]["leads"] == "II+V5"
    assert other.csv_text() == explanation.csv_text()


def test_other_leads_are_measured_once_and_kept(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead_references, "_PATIENTS_A_STEP", 2)
    few = LeadSet(("aVL", "V4"))
    assert few.key not in model.lead_references
    job = LeadReferenceJob(model, few, n_ecgs=4)
    with pytest.raises(ValueError, match="not measured"):
        _ = job.reference
    job.step()
    assert not job.finished and job.share_done == pytest.approx(0.5)
    job.step()
    found = job.reference
    assert job.finished and found.simulated and found.n == 4
    assert found.name == "simulated ECGs with everyday noise"
    assert services.reference_of(model, few) is found
    # Another session of the same machine finds it, up to the digits that are kept.
    again = services.load_model(folder)
    np.testing.assert_allclose(
        services.reference_of(again, few).value_at([0, 50, 100]),
        found.value_at([0, 50, 100]),
        rtol=1e-3,
    )


def test_a_spoilt_cache_is_measured_anew(model: Model, tmp_path: Path) -> None:
    few = LeadSet(("aVL",))
    model.lead_references.clear()
    kept = tmp_path / "cache" / "echoing" / "lead_references" / model.hash[:32] / "aVL.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{", encoding="utf-8")
    assert not LeadReferenceJob(model, few, n_ecgs=2).finished


def test_the_references_of_a_folder_do_not_change_its_hash(folder: Path, model: Model) -> None:
    before = model.hash
    found = services.measure_lead_references(model, folder=folder, n_ecgs=3)
    assert set(found) == {lead_set.key for lead_set in LEAD_SETS if not lead_set.is_all}
    read = services.load_model(folder)
    assert read.hash == before
    assert read.lead_references["II+V1"].n == 3
    assert "simulated ECGs of held-out patients" in read.lead_references["I"].name
    assert load_checkpoint(folder).measured.keys() == {"lead_references"}


def test_beside_all_leads_what_is_missing_is_the_cause(model: Model) -> None:
    few = services.explain(model, with_leads("II"))
    sigma2 = float(few.track.uncertainty[0])
    low, high = np.array([0.0, sigma2 / 10]), np.array([sigma2 / 2, sigma2 * 10])

    def told(alike: np.ndarray) -> services.FlaggedInterval:
        reference = LeadReference.of_leads(
            LeadSet(("II",)), alike, np.ones((2, 12)), name="y", simulated=True
        )
        everyone = Reference.from_values(low, name="z")
        explanation = dataclasses.replace(few, lead_reference=reference, all_reference=everyone)
        (flagged,) = services.flagged_intervals(model, explanation.read_among(all_leads=True))
        return flagged

    # In the middle of its like, and beyond every 12-lead ECG.
    usual = told(high)
    assert usual.kind == "missing leads" and len(usual.leads) == 11
    assert usual.sentence.startswith("Not recorded: I, III, aVR, aVL, aVF and chest leads. ")
    # Beyond its like, too: then the signal is why.
    assert told(low).leads == ("II",)
