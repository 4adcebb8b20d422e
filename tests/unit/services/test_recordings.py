"""What the public functions promise, on a tiny model with random weights."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from echoing_core import services
from echoing_core.errors import (
    CheckpointError,
    ConfigError,
    MissingLeadError,
    SignalQualityError,
)
from echoing_core.records import LEADS, Recording
from echoing_core.zeroshot.prompts import PromptSet
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> services.Model:
    folder = tmp_path_factory.mktemp("services") / "tiny"
    write_tiny_model(folder)
    return services.load_model(folder)


def _recording(names: tuple[str, ...] = LEADS, seconds: float = 23.0) -> Recording:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (len(names), round(seconds * 250))).astype(np.float32)
    return Recording(signal, 250.0, names, "made-up", names)


def test_explain_covers_the_recording_and_says_what_it_saw(model: services.Model) -> None:
    seen = services.explain(model, _recording(("II", "V1")), stride_s=0.5)
    assert seen.track.start_s.tolist() == [i * 0.5 for i in range(27)]
    written = json.loads(seen.json_text())
    assert written["model_hash"] == model.hash
    assert written["leads"]["found"] == ["II", "V1"]
    assert len(written["leads"]["missing"]) == 10
    assert {"start_s", "uncertainty", "percentile"} <= set(written["windows"][0])
    assert written["windows"][3]["uncertainty"] == pytest.approx(seen.track.uncertainty[3])
    rows = list(csv.DictReader(io.StringIO(seen.csv_text())))
    assert len(rows) == 27
    # Each lead's part and what belongs to none are the whole.
    parts = sum(float(rows[3][f"sigma2_{lead}"]) for lead in LEADS)
    assert 0 < parts <= seen.track.uncertainty[3] * (1 + 1e-4)
    assert float(rows[3]["strangeness"]) == pytest.approx(seen.track.novelty[3], rel=1e-3)
    assert len(written["windows"][3]["uncertainty_by_lead"]) == len(written["lead_order"]) == 12
    assert "sentence" not in written["windows"][3]
    assert rows[0]["valid_V1"] == "1.0000"
    assert rows[0]["valid_V2"] == "0.0000"


def test_a_window_is_explained_by_the_parts_it_was_made_of(model: services.Model) -> None:
    seen = services.explain(model, _recording(("II", "V1")), stride_s=0.5)
    report = services.window_reasons(model, seen, [5])[5]
    # A lead that was never recorded is told of the recording, and blamed for no window.
    measured = np.isin(LEADS, seen.lead_set.leads)
    by_lead = np.where(measured, seen.track.by_lead[5], 0.0)
    assert measured.sum() == 2
    np.testing.assert_allclose(report.share_by_lead, by_lead / by_lead.sum(), atol=1e-4)
    several = services.window_reasons(model, seen, [0, 5])
    assert list(several) == [0, 5] and several[5].sentence == report.sentence
    assert services.window_reasons(model, seen, []) == {}
    written = json.loads(seen.json_text(several))
    assert written["windows"][5]["sentence"] == report.sentence
    assert [i for i, w in enumerate(written["windows"]) if "sentence" in w] == [0, 5]


def test_gaps_are_counted_per_window_and_lead(model: services.Model) -> None:
    recording = _recording()
    signal = recording.signal_mv.copy()
    signal[4, 250 * 12 : 250 * 14] = np.nan
    gap = Recording(signal, 250.0, LEADS, "gap", LEADS)
    share = services.explain(model, gap, stride_s=1.0).track.valid_fraction
    # Two seconds and at most 0.1 s of guard on either side, out of ten.
    assert share[5, 4] == pytest.approx(0.79, abs=0.02)
    assert share[5, 3] == 1.0
    assert share[0, 4] == 1.0


def test_ask_takes_words_sets_and_nothing(model: services.Model) -> None:
    recording = _recording()
    own = PromptSet("own", "Own question", ("lbbb",), ("normal ecg",))
    by_word, by_set = services.ask(model, recording, ['"zebra stripes"', own])
    assert by_word.unknown_words[:2] == ("zebra", "stripes")
    assert by_set.question == "Own question"
    for answer in (by_word, by_set):
        assert 0.0 <= answer.probability <= 1.0
        assert answer.interval[0] <= answer.interval[1]
    shipped = services.ask(model, recording)
    assert [answer.question for answer in shipped] == [p.question for p in services.prompt_sets()]


def test_ask_without_a_start_takes_the_surest_window(model: services.Model) -> None:
    recording = _recording()
    seen = services.explain(model, recording)
    surest = float(seen.track.start_s[np.argmin(seen.track.uncertainty)])
    assert services.ask(model, seen, "lbbb") == services.ask(model, recording, "lbbb")
    asked = services.ask(model, recording, "lbbb", start_s=surest)[0]
    assert asked.margin == pytest.approx(services.ask(model, seen, "lbbb")[0].margin, abs=1e-6)


def test_the_surest_window_is_never_an_empty_one(model: services.Model) -> None:
    recording = _recording(seconds=60.0)
    signal = recording.signal_mv.copy()
    signal[:, : 250 * 30] = np.nan
    seen = services.explain(model, Recording(signal, 250.0, LEADS, "half", LEADS))
    assert seen.track.start_s[services.most_sure_window(seen.track)] >= 20.0


def test_a_fused_recording_leaves_empty_windows_out(model: services.Model) -> None:
    recording = _recording(seconds=60.0)
    signal = recording.signal_mv.copy()
    signal[:, : 250 * 30] = np.nan
    seen = services.explain(model, Recording(signal, 250.0, LEADS, "half", LEADS))
    fused = services.fuse_recording(seen.track, "precision")
    assert not fused.used[seen.track.start_s < 20].any()
    assert fused.used[seen.track.start_s >= 30].all()
    assert fused.weights.sum() == pytest.approx(1)
    asked = services.ask(model, seen, "lbbb", rule="precision")
    (prompts,) = services.as_prompt_sets("lbbb")
    window = services.fused_window(seen, fused.used)
    assert asked == [services.encode_question(model, prompts).answer(fused.embedding, window)]


def test_a_recording_is_asked_by_a_rule_or_at_a_start(model: services.Model) -> None:
    recording = _recording()
    lowest = services.ask(model, recording, "lbbb", rule="lowest")
    assert lowest == services.ask(model, recording, "lbbb")
    with pytest.raises(ConfigError, match="but not both"):
        services.ask(model, recording, "lbbb", start_s=0.0, rule="lowest")
    with pytest.raises(ConfigError, match="no rule 'best'"):
        services.ask(model, recording, "lbbb", rule="best")


@pytest.mark.parametrize("start_s", [-1.0, 13.5, 400.0])
def test_a_window_outside_is_refused_with_the_range(model: services.Model, start_s: float) -> None:
    with pytest.raises(SignalQualityError, match=r"from 0 to 13\.0 s"):
        services.ask(model, _recording(), "lbbb", start_s=start_s)


def test_refusals_name_the_reason(model: services.Model, tmp_path: Path) -> None:
    with pytest.raises(SignalQualityError, match=r"at least 2\.5 s"):
        services.explain(model, _recording(seconds=2.0))
    with pytest.raises(MissingLeadError):
        services.explain(model, _recording(("X", "Y")))
    with pytest.raises(ConfigError, match="stride"):
        services.explain(model, _recording(), stride_s=0.0)
    with pytest.raises(CheckpointError):
        services.load_model(tmp_path / "none")


def test_shipped_samples_open(model: services.Model) -> None:
    found = services.samples()
    assert {sample.sample_id for sample in found} >= {"SIM_MUSIC", "SIM_HOLTER"}
    for sample in found:
        recording = services.read_recording(list(sample.paths))
        assert sample.simulated
        assert recording.simulated
        assert recording.duration_s >= 10.0
