"""Models beside each other: figures found by other ways, differences that pair, no empty cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols import comparison_tables, field, model_comparison
from echoing_core.evaluate.protocols.classes import class_results, with_classes
from echoing_core.evaluate.protocols.cost import cost_of, flop_of
from echoing_core.evaluate.protocols.data import EvaluationData, embed_ecgs
from echoing_core.evaluate.protocols.settings import (
    EvaluationOptions,
    EvaluationPreset,
    FineTuneSettings,
    load_evaluation_preset,
)
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.models.otis import OtisEncoder
from echoing_core.models.wav2vec2 import Wav2Vec2
from echoing_core.services.comparing_models import names_of
from echoing_core.signals.scaling import LeadScaler
from tests.foreign_files import write_ecg_fm
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.protocols.test_runs import study_set

OPTIONS = EvaluationOptions(labels=("af",), n_resamples=10, n_seeds=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ours, one that knows ECGs alone, and a prepared set."""
    place = tmp_path_factory.mktemp("compared")
    write_tiny_model(place / "one")
    write_ecg_fm(place / "a.pt")
    services.import_encoder(place / "a.pt", place / "theirs")
    save_prepared(place / "toy", study_set(24, "train").concat(study_set(12, "test")))
    return place


@pytest.fixture(scope="module")
def told(place: Path) -> dict[str, Any]:
    """What the command wrote, by file."""
    files = {name: str(place / f"out.{name}") for name in ("json", "markdown", "html")}
    options = [part for name, file in files.items() for part in (f"--{name}", file)]
    done = CliRunner().invoke(
        app,
        [
            "compare-models",
            *(str(place / name) for name in ("one", "theirs")),
            *("--data", str(place / "toy"), "--labels", "af"),
            *("--resamples", "10", "--seeds", "1", *options),
        ],
    )
    assert done.exit_code == 0, done.output
    texts = {name: Path(file).read_text(encoding="utf-8") for name, file in files.items()}
    return texts | {"content": json.loads(texts["json"]), "shown": done.stdout}


@pytest.fixture(scope="module")
def one(place: Path) -> Checkpoint:
    return load_checkpoint(place / "one")


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def figure(content: Mapping[str, Any], model: str, protocol: str, metric: str) -> float:
    (found,) = (
        f["value"]
        for f in content["figures"]
        if (f["model"], f["protocol"], f["metric"], f["label"]) == (model, protocol, metric, "")
    )
    return float(found)


def test_every_model_has_its_column_and_no_cell_is_empty(told: dict[str, Any]) -> None:
    rows = rows_of(told["markdown"])
    columns = ["one", "theirs", "random, as one", "random, as theirs"]
    assert rows[0][1:] == columns
    table = {row[0]: row[1:] for row in rows[1:13]}
    assert table["zero-shot, macro AUROC"][1] == "no text encoder"
    assert table["text to ECG, R@10"][3] == "no text encoder"
    finds = table["sigma^2 finds wrong answers, AUROC"]
    assert finds[1:] == ["no sigma^2", "nothing taught its sigma^2", "no sigma^2"]
    for row in rows:
        assert all(row[1:]), row
    assert told["shown"].rstrip("\n") == told["markdown"].rstrip("\n")
    assert "Band-limited to 40 Hz" in told["markdown"]
    # What a model has seen decides what its figures on the same data are worth.
    assert "theirs was trained by its authors on MIMIC-IV-ECG and PhysioNet" in told["markdown"]
    assert "one learnt from nothing (random weights)." in told["markdown"]


def test_what_a_model_lacks_stands_in_the_json_too(told: dict[str, Any]) -> None:
    content = told["content"]
    theirs = next(m for m in content["models"] if m["name"] == "theirs")
    assert theirs["lacks"]["zero-shot, macro AUROC"] == "no text encoder"
    assert theirs["parameters"] > 0 and theirs["gflop"] > 0 and theirs["ms"] > 0
    assert [m["random_weights"] for m in content["models"]] == [False] * 2 + [True] * 2
    assert "Research use only" in content["disclaimer"]


def test_the_figures_are_those_of_the_parts_alone(
    told: dict[str, Any], one: Checkpoint, place: Path
) -> None:
    train, test = study_set(24, "train"), study_set(12, "test")
    ecg = [
        encode_batch(one.encoder.ecg, one.scaler, part.signal_mv, part.valid)
        for part in (train, test)
    ]
    yes = [np.asarray(part.table["label_af"], dtype=bool) for part in (train, test)]
    score = LinearProbe.fit(ecg[0].mu, yes[0]).logits(ecg[1])[0]
    assert figure(told["content"], "one", "100 % probe", "macro AUROC") == pytest.approx(
        auroc(yes[1], score)
    )
    # Every distance written out, and the five least.
    gaps = np.square(ecg[1].mu[:, None].astype(float) - ecg[0].mu[None].astype(float)).sum(-1)
    share = yes[0][np.argsort(gaps, axis=1)[:, :5]].mean(1)
    assert figure(told["content"], "one", "5 nearest", "macro AUROC") == pytest.approx(
        auroc(yes[1], share)
    )
    wrong = (score > 0) != yes[1]
    expected = auroc(wrong, ecg[1].uncertainty)
    found = [
        f["value"]
        for f in told["content"]["figures"]
        if (f["model"], f["metric"], f["label"]) == ("one", comparison_tables.FINDS_ERRORS, "")
    ]
    # Of a probe that is never wrong there is nothing to find.
    assert found == [None] if np.isnan(expected) else found == [pytest.approx(expected)]


def test_differences_are_those_of_the_figures(told: dict[str, Any]) -> None:
    content = told["content"]
    gaps = {
        (f["model"], f["protocol"], f["metric"]): f["value"]
        for f in content["differences"]
        if f["label"] == "" and f["value"] is not None
    }
    assert {model for model, _, _ in gaps} == {
        f"{name} - one" for name in ("theirs", "random, as one", "random, as theirs")
    }
    for (model, protocol, metric), value in gaps.items():
        other = figure(content, model.removesuffix(" - one"), protocol, metric)
        assert value == pytest.approx(other - figure(content, "one", protocol, metric))


def test_the_page_holds_the_same_and_fetches_nothing(told: dict[str, Any]) -> None:
    for row in rows_of(told["markdown"])[1:13]:
        assert all(cell.replace("<", "&lt;") in told["html"] for cell in row), row
    assert "<svg" in told["html"] and "<script" not in told["html"]
    assert "Simulated ECGs" in told["html"]


def test_a_model_beside_itself_differs_by_nothing_and_is_embedded_once(
    one: Checkpoint, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = embed_ecgs

    def counted(*arguments: Any, **more: Any) -> Any:
        calls.append(len(arguments[2]))
        return real(*arguments, **more)

    monkeypatch.setattr(model_comparison, "embed_ecgs", counted)
    preset = EvaluationPreset("toy", "toy", "", "classes", classes={"af": "atrial fibrillation"})
    experiment, figures = model_comparison.compare_models(
        {"a": one, "b": one}, place / "toy", (), OPTIONS, classes={"toy": preset}
    )
    # Both, and one control for the two: training and test ECGs once each.
    assert calls == [24, 12] * 3
    same = [r.estimate for r in experiment.results if r.model == "b - a"]
    assert same and all(
        (e.value, e.low, e.high) == (0.0, 0.0, 0.0) for e in same if np.isfinite(e.value)
    )
    # The classes are scored as the protocol of their own scores them.
    data = EvaluationData(
        "toy", "toy", True, {"train": study_set(24, "train"), "test": study_set(12, "test")}
    )
    known = with_classes(data, preset.classes, only_labelled=False)
    alone = class_results(
        one,
        "a",
        known,
        real(one.encoder.ecg, one.scaler, known.data.split("test")),
        real(one.encoder.ecg, one.scaler, known.data.split("train")),
        shares=preset.shares,
        n_seeds=1,
        n_resamples=10,
    )
    for result in alone:
        if result.label == "":
            mine, theirs = figures["toy"][result.protocol]["a"], result.estimate
            assert [mine.value, mine.low, mine.high] == pytest.approx(
                [theirs.value, theirs.low, theirs.high]
            )


@pytest.mark.slow
def test_fine_tuning_has_a_row_of_its_own(place: Path) -> None:
    options = EvaluationOptions(
        labels=("af",), n_resamples=10, n_seeds=1, fine_tune=FineTuneSettings(epochs=1)
    )
    made = services.compare_models(
        [place / "theirs"], place / "toy", options=options, fine_tuned=True
    ).experiment
    found = {r.model: r.estimate.value for r in made.results if r.protocol == "fine-tuned"}
    names = {"theirs", "random, as theirs"}
    assert found.keys() == {*names, "random, as theirs - theirs"}
    assert all(0.0 <= found[name] <= 1.0 for name in names)
    assert "fine-tuned, macro AUROC" in made.to_markdown()


def test_a_mean_is_over_the_labels_that_have_both_answers() -> None:
    nan = np.nan
    values = np.array([[0.75, nan, 0.25], [0.25, nan, 1.0], [nan, nan, nan]])
    got = comparison_tables.macro_figures(values, ("a", "b", "c"), ("x", "y", "z"), "a")
    assert got["a|x"] == 0.75 and np.isnan(got["a|y"]) and np.isnan(got["c|"])
    assert got["a|"] == 0.5 and got["b|"] == 0.625
    assert got["b - a|"] == 0.125 and got["b - a|x"] == -0.5 and "a - a|" not in got


def test_cost_is_that_of_a_convolution_counted_by_hand() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(12, 4, 5, bias=False)

        def forward(self, signal: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
            return self.conv(signal).mean(-1), torch.zeros(len(signal), 4)

    scaler = LeadScaler(np.zeros(12), np.ones(12))
    cost = cost_of(Encoder(), scaler, study_set(4, "test"))  # type: ignore[arg-type]
    assert cost.parameters == 12 * 4 * 5
    # 996 places, each 12 x 5 products into 4 channels; a product and a sum are two.
    assert cost.gflop == pytest.approx(2 * 996 * 12 * 5 * 4 / 1e9)
    assert cost.ms > 0 and cost.threads >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "n_times", "gflop"), [(Wav2Vec2, 2500, 29.2), (OtisEncoder, 1008, 9.50)]
)
def test_published_encoders_cost_what_was_measured_of_them(
    network: type[nn.Module], n_times: int, gflop: float
) -> None:
    # At full size and without values: nothing is computed.
    with torch.device("meta"):
        built, ecg = network().eval(), torch.empty(1, 12, n_times)
    assert flop_of(built, ecg) / 1e9 == pytest.approx(gflop, rel=0.005)


def test_names_are_as_short_as_they_tell_models_apart() -> None:
    assert list(names_of(["demo", "runs/theirs"])) == ["demo", "theirs"]
    assert list(names_of(["a/model", "b/model"])) == ["a/model", "b/model"]
    assert list(names_of(["echoing", "echoing@displacement"])) == [
        "echoing",
        "echoing@displacement",
    ]


def test_a_set_without_the_fields_labels_is_refused(place: Path) -> None:
    with pytest.raises(DataSetError, match="labels of none of the field's tables"):
        services.check_comparison([place / "one"], place / "toy", field=True)
    with pytest.raises(DataSetError, match=r"no label nose.*it has: af, lbbb"):
        services.check_comparison([place / "one"], place / "toy", labels=["nose"])


# --- the field's table -------------------------------------------------------------------------


def test_the_page_in_docs_is_the_one_that_the_command_begins_with(repo_root: Path) -> None:
    page = (repo_root / "docs" / "field.md").read_text(encoding="utf-8")
    assert page == field.field_document()


def test_published_figures_agree_with_their_own_means() -> None:
    zero_shot, probes, benchmark = field.published_tables()
    # Printed means, within what rounding to a tenth allows.
    for model in ("MERL (CKEPE prompts)", "D-BETA"):
        *six, mean = (float(cell.lstrip("~")) for cell in zero_shot.cells[model])
        assert np.mean(six) == pytest.approx(mean, abs=0.11)
    tamer = [float(c) for c in zero_shot.cells["TAMER"] if c != "-"]
    assert np.mean(tamer) == pytest.approx(81.2, abs=0.05)
    # More training ECGs are better, for every model and set that gives both.
    for cells in probes.cells.values():
        pairs = [(a, b) for a, b in zip(cells[::2], cells[1::2], strict=True) if "-" not in (a, b)]
        assert pairs or cells[0] == "-"
        assert all(float(a.lstrip("~")) < float(b.lstrip("~")) for a, b in pairs)
    assert {len(c.split("/")) for row in benchmark.cells.values() for c in row} == {1, 3}


def test_the_presets_of_the_field_measure_classes() -> None:
    for name in field.field_presets():
        preset = load_evaluation_preset(name)
        assert preset.protocol == "classes" and {0.01, 1.0} <= set(preset.shares)


def test_own_figures_fill_the_last_columns() -> None:
    def estimate(value: float) -> Estimate:
        return Estimate(value, value - 0.01, value + 0.01, 9, 9, 10, 0, 0)

    measured = {
        "melp-ptbxl-super": {
            "zero-shot": {"mine": estimate(0.5)},
            "100 % probe": {"mine": estimate(0.875), "theirs": estimate(0.75)},
        }
    }
    text = field.field_document(measured, measured_on="toy")
    rows = {row[0]: row for row in rows_of(text)}
    assert rows["PTB-XL super, 100 %"][-2:] == ["87.5 (86.5 to 88.5)", "75.0 (74.0 to 76.0)"]
    assert rows["CSN, 1 %"][-2:] == ["not in these data"] * 2
    assert rows["EchoNext"][-2:] == ["not measured here"] * 2
    first = next(row for row in rows_of(text) if row[0] == "PTB-XL super")
    assert first[-2:] == ["50.0 (49.0 to 51.0)", "no text encoder"]
    assert "Own columns: toy" in text
