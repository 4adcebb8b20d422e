"""What fine-tuning and probes leave in a model folder: heads that answer beside the prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import CheckpointError, ConfigError, DataSetError
from echoing_core.evaluate.protocols.settings import EvaluationOptions, FineTuneSettings
from echoing_core.export.batch_table import batch_columns
from echoing_core.io.many import group_files
from echoing_core.metrics.scores import auroc
from echoing_core.models.heads import Head
from echoing_core.records import LEADS, Recording
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.protocols.test_runs import study_set

OPTIONS = EvaluationOptions(
    labels=("af",), n_resamples=10, n_seeds=1, fine_tune=FineTuneSettings(epochs=2)
)


@pytest.fixture(scope="module")
def recording() -> Recording:
    rng = np.random.default_rng(4)
    return Recording(rng.normal(0, 0.2, (12, 2500)).astype(np.float32), 100.0, LEADS, "one")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, one data set that counts as real and one that was simulated."""
    folder = tmp_path_factory.mktemp("heads")
    write_tiny_model(folder / "tiny")
    whole = study_set(48, "train").concat(study_set(32, "valid"), study_set(24, "test"))
    save_prepared(folder / "made", whole)
    save_prepared(folder / "clinic", replace(whole, table=whole.table.assign(simulated=False)))
    return folder


@pytest.fixture(scope="module")
def tuned(home: Path) -> Path:
    model = services.load_model(home / "tiny")
    out = home / "tuned"
    experiment = services.evaluate_protocol(
        model, "fine-tune", data=home / "clinic", options=OPTIONS, out=out
    )
    (figure,) = [
        r
        for r in experiment.results
        if (r.model, r.protocol, r.metric, r.group) == ("tiny", "fine-tuned", "AUROC", "all")
    ]
    (head,) = services.load_model(out).heads
    # The figure of the table is that of the very weights in the folder.
    assert head.measured is not None
    assert head.measured["auroc"] == pytest.approx(figure.estimate.value)
    return out


@pytest.mark.slow
def test_the_model_itself_stays_what_it_was(home: Path, tuned: Path) -> None:
    before, after = services.load_model(home / "tiny"), services.load_model(tuned)
    assert after.hash == before.hash and not before.heads
    test = study_set(8, "test")
    one, two = (
        encode_batch(m.checkpoint.encoder.ecg, m.checkpoint.scaler, test.signal_mv, test.valid)
        for m in (before, after)
    )
    np.testing.assert_array_equal(one.mu, two.mu)
    (head,) = after.heads
    assert head.title == "Atrial fibrillation (fine-tuned head, trained on 48 ECGs of clinic)"
    assert head.n_positive == 16 and head.n_valid == 32
    assert head.title.partition(" (")[0] in after.card_markdown
    assert "fine-tuned head | 48 ECGs of clinic | 16 |" in after.card_markdown


def test_a_head_answers_right_after_its_question_with_a_probability(
    tuned: Path, recording: Recording
) -> None:
    model = services.load_model(tuned)
    seen = services.explain(model, recording, 5.0)
    answers = services.ask(model, seen, start_s=10.0)
    place = [a.by for a in answers].index("fine-tuned head")
    said = answers[place]
    assert answers[place - 1].question == "Atrial fibrillation" and len(answers) == 11
    # By hand: the window cut from the filtered recording, through the head's own encoder.
    (head,) = model.heads
    assert head.encoder is not None and head.calibration is not None
    window = (seen.ecg.signal_mv[None, :, 1000:2000], seen.ecg.valid[None, :, 1000:2000])
    mu = encode_batch(head.encoder, model.checkpoint.scaler, *window).mu[0].astype(float)
    logit = float(mu @ head.probe.weights + head.probe.bias)
    assert said.margin == pytest.approx(logit, abs=1e-4) and said.margin_std == 0
    platt, rate = head.calibration.lead_sets[0].map, 16.5 / 49
    fitted = head.calibration.lead_sets[0].n_positive / head.calibration.lead_sets[0].n
    odds = platt.intercept + platt.slope * (logit - platt.centre) / platt.scale
    odds += np.log(rate / (1 - rate)) - np.log(fitted / (1 - fitted))
    assert said.basis == "calibrated"
    assert said.probability == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)
    assert said.trained_on == "48 ECGs of clinic"
    # Questions of other labels are asked without it.
    assert {a.by for a in services.ask(model, seen, "left bundle branch block")} == {"prompts"}
    whole = services.ask(model, seen, "atrial fibrillation", rule="precision")
    assert [a.by for a in whole] == ["prompts", "fine-tuned head"]


@pytest.mark.slow
def test_what_a_head_learnt_from_simulation_is_never_a_bare_yes(
    home: Path, tuned: Path, recording: Recording
) -> None:
    """The probe is added to the folder that has a head already, twice: it stands there once."""
    for _ in range(2):
        services.evaluate_protocol(
            services.load_model(tuned), "few-shot", data=home / "made", options=OPTIONS, out=tuned
        )
    model = services.load_model(tuned)
    assert [head.kind for head in model.heads] == ["fine-tuned head", "few-shot head"]
    assert model.card_markdown.count("## Heads") == 1
    probe = model.heads[1]
    assert probe.encoder is None and probe.calibration is None and probe.simulated
    test = study_set(24, "test")
    ecg = encode_batch(
        model.checkpoint.encoder.ecg, model.checkpoint.scaler, test.signal_mv, test.valid
    )
    yes = test.table["label_af"].to_numpy()
    assert probe.measured is not None
    assert probe.measured["auroc"] == pytest.approx(auroc(yes, probe.logits(ecg)[0]))
    *_, said = services.ask(model, recording, "atrial fibrillation")
    assert said.by == "few-shot head" and said.basis == "simulated"
    assert said.verdict in ("not sure enough", "leans yes (unvalidated)", "leans no (unvalidated)")
    words = services.answer_line(said).text
    assert "trained on 48 simulated ECGs of made" in words and "no probability" in words


def test_heads_answer_in_json_and_in_the_table_of_a_batch(tuned: Path, tmp_path: Path) -> None:
    sample = next(s for s in services.samples() if s.sample_id == "SIM_AF")
    file = next(path for path in sample.paths if path.suffix == ".hea")
    out = tmp_path / "answers.json"
    result = CliRunner().invoke(
        app,
        [
            "ask",
            str(file),
            "--prompt",
            "af",
            "--at",
            "0",
            "--model",
            str(tuned),
            "--json",
            str(out),
        ],
    )
    assert result.exit_code == 0, result.output
    answers = json.loads(out.read_text(encoding="utf-8"))["answers"]
    assert [a["by"] for a in answers][:2] == ["prompts", "fine-tuned head"]
    assert "fine-tuned head, trained on 48 ECGs of clinic" in result.output
    model = services.load_model(tuned)
    items = group_files([(path.name, path.read_bytes()) for path in sample.paths])
    (row,) = services.batch(model, items, "af")
    columns = batch_columns(model, [row])
    assert columns["atrial_fibrillation_fine_tuned_head_basis"] == ["calibrated"]
    assert (
        columns["atrial_fibrillation_probability"]
        != columns["atrial_fibrillation_fine_tuned_head_probability"]
    )


def test_changed_or_missing_heads_are_refused(tuned: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "changed"
    shutil.copytree(tuned, folder)
    text = (folder / "heads.json").read_text(encoding="utf-8")
    (folder / "heads.json").write_text(text.replace('"af"', '"AF"'), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"heads\.json of model changed is not the file"):
        services.load_model(folder)
    manifest = json.loads((tuned / "manifest.json").read_text(encoding="utf-8"))
    del manifest["sha256"]["heads.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not list its files"):
        services.load_model(folder)


def test_nothing_but_a_model_is_replaced_and_zero_shot_trains_nothing(
    home: Path, tmp_path: Path
) -> None:
    model = services.load_model(home / "tiny")
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="would be replaced"):
        services.evaluate_protocol(
            model, "few-shot", data=home / "clinic", options=OPTIONS, out=tmp_path
        )
    with pytest.raises(ConfigError, match="trains nothing"):
        services.evaluate_protocol(model, "zero-shot", data=home / "clinic", out=tmp_path / "new")
    missing = replace(OPTIONS, labels=("tamponade",))
    with pytest.raises(DataSetError, match=r"no label tamponade.*it has: af, lbbb"):
        services.evaluate_protocol(
            model, "few-shot", data=home / "clinic", options=missing, out=tmp_path / "new"
        )


@pytest.mark.slow
def test_a_label_of_ones_own_is_asked_by_its_own_words(home: Path, tmp_path: Path) -> None:
    whole = study_set(48, "train").concat(study_set(32, "valid"), study_set(24, "test"))
    table = whole.table.assign(simulated=False, label_steep_wave=whole.table["label_af"])
    save_prepared(tmp_path / "own", replace(whole, table=table))
    services.evaluate_protocol(
        services.load_model(home / "tiny"),
        "few-shot",
        data=tmp_path / "own",
        options=replace(OPTIONS, labels=("steep_wave",)),
        out=tmp_path / "model",
    )
    heads: Sequence[Head] = services.load_model(tmp_path / "model").heads
    assert [(h.label, h.question) for h in heads] == [("steep_wave", "steep wave")]
