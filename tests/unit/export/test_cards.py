"""Cards in the forms that catalogues read: what they say is what the sources say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from echoing_core import services
from echoing_core.artifacts import sha256_of_file
from echoing_core.config import from_mapping
from echoing_core.datasets.prepared import load_prepared, read_card, save_prepared
from echoing_core.export.evaluation_card import evaluation_card
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.model_index import model_index
from echoing_core.metrics.results import Experiment, Result
from echoing_core.models.checkpoint import load_checkpoint, update_documents
from echoing_core.models.config import ModelConfig
from echoing_core.models.hub_card import hub_readme, licence_of
from tests.foreign_files import write_ecg_fm
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.protocols.test_runs import study_set

ESTIMATE = Estimate(0.812, 0.79, 0.83, 120, 100, 200, 0, 0)
RESULT = Result("toy", "Atrial fibrillation", "AUROC", "tiny", ESTIMATE, True, protocol="zero-shot")
UNDEFINED = replace(ESTIMATE, value=float("nan"))
RESULTS = (
    RESULT,
    replace(RESULT, metric="R@1", task="text to ECG", gallery_size=120, protocol="by csd"),
    replace(RESULT, model="random weights"),
    replace(RESULT, group="low"),
    replace(RESULT, task="LVEF < 40 %", estimate=UNDEFINED),
)


def parsed(text: str) -> tuple[dict[str, Any], str]:
    """Metadata and Markdown of a card, by a parser that is not ours."""
    before, data, body = text.split("---\n", 2)
    assert before == ""
    value = yaml.safe_load(data)
    assert isinstance(value, dict)
    return value, body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_model(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_model_folder_has_its_card_as_the_hub_takes_it(folder: Path) -> None:
    data, body = parsed((folder / "README.md").read_text(encoding="utf-8"))
    checkpoint = load_checkpoint(folder)
    assert body.strip() == checkpoint.card.strip()
    assert data["echoing"]["model_hash"] == checkpoint.hash
    assert data["echoing"]["dim"] == 12 and data["echoing"]["real_ecgs"] == 0
    # Nobody has said what may be done with these weights.
    assert (data["license"], data["license_name"]) == ("other", "not-chosen-yet")
    assert "model-index" not in data and data["language"] == ["en"]
    # It is nobody's business but the reader's: the model opens whatever stands there.
    (folder / "README.md").write_text("mine\n", encoding="utf-8")
    assert load_checkpoint(folder).hash == checkpoint.hash


def test_figures_of_a_model_are_those_of_its_results(folder: Path) -> None:
    update_documents(folder, card="# new\n\n- Weights: Apache-2.0.\n", figures=RESULTS)
    data, body = parsed((folder / "README.md").read_text(encoding="utf-8"))
    assert data["license"] == "apache-2.0" and "license_name" not in data
    assert body.strip().startswith("# new")
    (entry,) = data["model-index"]
    assert entry["name"] == "tiny"
    asked, searched = entry["results"]
    assert asked["task"]["name"] == "Atrial fibrillation"
    assert asked["dataset"] == {"type": "toy_simulated", "name": "toy (simulated)", "split": "test"}
    (metric,) = asked["metrics"]
    assert metric["type"] == "roc_auc" and metric["value"] == 0.812
    assert metric["args"]["interval"] == {"level": 0.95, "low": 0.79, "high": 0.83}
    assert searched["metrics"][0]["args"]["gallery"] == 120
    # A new card alone leaves the figures where they are.
    update_documents(folder, card="# newer\n")
    again, body = parsed((folder / "README.md").read_text(encoding="utf-8"))
    assert again["model-index"] == data["model-index"] and body.strip() == "# newer"


def test_the_hub_reads_our_metadata(folder: Path) -> None:
    hub = pytest.importorskip("huggingface_hub.repocard_data")
    update_documents(folder, card="# new\n", figures=RESULTS)
    data, _ = parsed((folder / "README.md").read_text(encoding="utf-8"))
    (entry,) = data["model-index"]
    name, found = hub.model_index_to_eval_results([entry])
    assert name == "tiny"
    assert [(one.metric_type, one.metric_value) for one in found] == [
        ("roc_auc", 0.812),
        ("r_1", 0.812),
    ]


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"imported": True}, {"license": "cc-by-nc-nd-4.0"}),
        ({"imported": True, "system": "ECG-FM"}, {"license": "mit"}),
        ({"imported": True, "system": "MELP"}, {"license": "apache-2.0"}),
        (
            {"imported": True, "system": "Echo2ECG"},
            {"license": "other", "license_name": "see-the-card"},
        ),
    ],
)
def test_weights_of_others_keep_their_licence(
    training: dict[str, Any], expected: dict[str, str]
) -> None:
    # Even under a card of ours.
    assert licence_of("- Weights: Apache-2.0.", training) == expected


def test_an_imported_encoder_says_what_it_lacks(tmp_path: Path) -> None:
    write_ecg_fm(tmp_path / "a.pt")
    services.import_encoder(tmp_path / "a.pt", tmp_path / "theirs")
    data, body = parsed((tmp_path / "theirs" / "README.md").read_text(encoding="utf-8"))
    assert data["license"] == "mit" and "language" not in data
    assert "uncertainty" not in data["tags"] and "No text encoder" in body


@pytest.mark.parametrize("name", ["demo", "echoing"])
def test_a_shipped_model_has_the_licence_that_its_card_names(repo_root: Path, name: str) -> None:
    folder = repo_root / "assets" / "models" / name
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "Weights: Apache-2.0" in card
    data, _ = parsed(
        hub_readme(name, card, training, from_mapping(ModelConfig, config["model"]), "h")
    )
    assert data["license"] == "apache-2.0" and data["echoing"]["real_ecgs"] == 2500


# --- prepared data ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "toy"
    whole = study_set(8, "train").concat(study_set(4, "test"))
    whole.table.loc[0, "label_lbbb"] = np.nan
    whole = replace(whole, table=whole.table.astype({"label_lbbb": np.float64}))
    save_prepared(folder, whole, card={"data_set": "ptbxl", "licence": "CC BY 4.0"})
    return folder


def test_a_prepared_set_describes_itself_as_croissant(prepared: Path) -> None:
    told = json.loads((prepared / "croissant.json").read_text(encoding="utf-8"))
    card, table = read_card(prepared), pd.read_parquet(prepared / "studies.parquet")
    assert told["@type"] == "sc:Dataset"
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert told["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert "12 ECGs of 6 patients" in told["description"] and "simulated" in told["description"]
    assert "8 train, 0 valid, 4 test" in told["description"]
    files = {one["name"]: one for one in told["distribution"]}
    assert files.keys() == card["files"].keys()
    for name, one in files.items():
        assert one["sha256"] == sha256_of_file(prepared / name)
        assert one["contentSize"] == f"{(prepared / name).stat().st_size} B"
        assert one["@type"] == "cr:FileObject" and one["@id"] == name
    (records,) = told["recordSet"]
    fields = {one["name"]: one for one in records["field"]}
    assert list(fields) == list(table.columns)
    for name, one in fields.items():
        assert one["source"]["extract"]["column"] == name
        assert one["source"]["fileObject"]["@id"] in files
    assert fields["simulated"]["dataType"] == "sc:Boolean"
    assert fields["label_lbbb"]["dataType"] == "sc:Float"
    known = int(table["label_lbbb"].notna().sum())
    assert fields["label_lbbb"]["description"].startswith(f"Known of {known} ECGs, 0 of them yes")
    assert fields["report"]["dataType"] == "sc:Text"
    assert records["key"]["@id"] in {one["@id"] for one in records["field"]}


def test_the_same_data_describe_themselves_alike(prepared: Path, tmp_path: Path) -> None:
    save_prepared(
        tmp_path / "again",
        load_prepared(prepared),
        card={"data_set": "ptbxl", "licence": "CC BY 4.0"},
    )
    again = (tmp_path / "again" / "croissant.json").read_bytes()
    assert again == (prepared / "croissant.json").read_bytes()


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ({"licence": "PhysioNet Restricted Health Data License; not to be passed on"}, None),
        ({}, "not stated; that of the recordings' source holds"),
    ],
)
def test_a_licence_is_never_told_wider_than_it_is(
    tmp_path: Path, card: dict[str, str], licence: str | None
) -> None:
    save_prepared(tmp_path / "set", study_set(4, "train"), card=card)
    told = json.loads((tmp_path / "set" / "croissant.json").read_text(encoding="utf-8"))
    assert told["license"] == (licence or card["licence"])
    save_prepared(tmp_path / "own", study_set(4, "train", source="simulated"))
    own = json.loads((tmp_path / "own" / "croissant.json").read_text(encoding="utf-8"))
    assert own["license"].endswith("LICENSE-2.0")


# --- evaluations --------------------------------------------------------------------------------


def test_an_evaluation_says_on_what_and_with_what(prepared: Path) -> None:
    experiment = Experiment("toy", "A trial", "How it was done.", RESULTS)
    card = read_card(prepared)
    text = evaluation_card(experiment, {"tiny": "ab12"}, data=card, data_name="toy")
    data, body = parsed(text)
    assert data["models"] == [{"name": "tiny", "model_hash": "ab12"}]
    assert data["data"]["licence"] == "CC BY 4.0" and data["data"]["simulated"] is True
    assert data["data"]["sha256"] == card["files"]
    assert data["data"]["splits"]["test"]["studies"] == 4
    assert data["model-index"] == model_index(RESULTS, ["tiny"])
    assert "8 ECGs of 4 patients in train, 4 ECGs of 2 patients in test" in body
    assert "no real patient" in body and "How it was done." in body
    assert "Licence of the data: CC BY 4.0." in body


def test_data_without_a_card_have_no_licence_here(tmp_path: Path) -> None:
    real = Experiment("toy", "", "", (replace(RESULT, simulated=False), RESULT))
    data, body = parsed(services.evaluation_card(real, {"tiny": "ab12"}, tmp_path))
    assert data["data"]["licence"] == "not stated in the data's card"
    assert "as it was downloaded" in body and "Some figures are of simulated ECGs" in body
    data, body = parsed(services.evaluation_card(real, {"tiny": "ab12"}))
    assert data["data"]["licence"] == "simulated here"
