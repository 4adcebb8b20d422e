"""What another package adds by entry points, with the example package as it would be installed."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from echoing_core import plugins, services
from echoing_core.cli import app
from echoing_core.datasets.prepared import load_prepared
from echoing_core.datasets.registry import adapter_class
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.io.kinds import KINDS, kinds
from echoing_core.models.config import LossConfig, ModelConfig
from echoing_core.models.encoders import build_encoder
from echoing_core.models.losses import MatchingLoss, logit_scale
from echoing_core.training.settings import load_preset
from tests.ecg_files import UV, ecg
from tests.tiny_model import write_tiny_model

HALVES = [
    "model.architecture=plugged", "model.ecg_plugin=strided", "model.text_plugin=bag",
    "model.ecg_options.width=8", "loss.name=sigmoid", "model.dim=8", "steps=3", "batch_size=4",
    "validate_every=0", "objective.question_weight=0", "seed=2", "filter_padding=long",
]  # fmt: skip


def install(site: Path, project: Path, broken: bool = False) -> None:
    """What pip leaves behind: modules, and a dist-info with the entry points of the project."""
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = described["name"].replace("-", "_") + ("_broken" if broken else "")
    info = site / f"{name}-{described['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {described['version']}\n", encoding="utf-8"
    )
    lines = []
    for group, entries in described["entry-points"].items():
        lines.append(f"[{group}]")
        for key, value in entries.items():
            lines.append(f"broken_{key} = no_such_module:X" if broken else f"{key} = {value}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not broken:
        for module in project.glob("*.py"):
            shutil.copy(module, site)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that Python looks into, empty at first."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    plugins.forget()
    yield folder
    sys.modules.pop("echoing_example", None)
    monkeypatch.undo()
    plugins.forget()


@pytest.fixture
def example(site: Path, repo_root: Path) -> Path:
    install(site, repo_root / "examples" / "plugin")
    plugins.forget()
    return site


def clinic(root: Path) -> None:
    """Six ECGs in the example's format, and its table."""
    root.mkdir()
    rows = ["file\tperson\ttext"]
    for number in range(6):
        signal = ecg(10.0).astype(np.int64) * UV + number
        head = b"HEXLEAD 500\n"
        (root / f"e{number}.hxl").write_bytes(head + signal.astype(">i2").tobytes())
        rows.append(f"e{number}.hxl\tp{number}\tsinus rhythm number {number}")
    (root / "diagnoses.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_the_example_is_small(repo_root: Path) -> None:
    files = [f for f in (repo_root / "examples" / "plugin").glob("*") if f.is_file()]
    assert sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files) < 100


def test_a_reader_of_a_plugin_reads_and_is_found_in_folders(example: Path, tmp_path: Path) -> None:
    clinic(tmp_path / "clinic")
    recording = services.read_recording(tmp_path / "clinic" / "e3.hxl")
    assert recording.record_id == "e3" and recording.fs_hz == 500
    np.testing.assert_allclose(recording.signal_mv, (ecg(10.0) * UV + 3) / 1000, atol=1e-6)
    (tmp_path / "clinic" / "notes.txt").write_text("no ECG", encoding="utf-8")
    items, others = services.folder_items(tmp_path / "clinic")
    # The table may be one of samples, for all that its name says.
    assert {i.name for i in items} - {"diagnoses.tsv"} == {f"e{k}.hxl" for k in range(6)}
    assert others == ("notes.txt",)
    # Ours are asked first where they have a mark of their own.
    marked = [k for k in KINDS if not k.is_text]
    assert kinds()[: len(marked)] == tuple(marked) and kinds()[len(marked)].name == "hexlead"


def test_everything_of_a_plugin_trains_a_model_that_needs_it(
    example: Path, tmp_path: Path, site: Path
) -> None:
    clinic(tmp_path / "clinic")
    assert services.data_sets()["clinic"][0] == "a plugin of echoing_example 0.1"
    services.prepare_data_set("clinic", tmp_path / "clinic", tmp_path / "data", n_workers=1)
    assert len(load_prepared(tmp_path / "data")) == 6
    model = services.train_preset(
        load_preset("demo", HALVES), tmp_path / "data", tmp_path / "model"
    )
    assert model is not None and not model.masks_leads and not model.has_attribution
    assert type(model.checkpoint.encoder.ecg).__name__ == "PluggedEcgEncoder"
    # By hand: what the folder's weights give is the plugin's own network, on the unit sphere.
    scaled = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 12, 1000, dtype=torch.bool)
    inner = model.checkpoint.encoder.ecg.inner
    mu, log_var = inner(scaled, valid)
    given = model.checkpoint.encoder.ecg(scaled, valid)
    assert torch.allclose(given[0], mu / mu.norm(dim=1, keepdim=True), atol=1e-6)
    assert torch.equal(given[1], log_var) and inner.trunk[0].out_channels == 8
    # The loss's own worth of a cosine, and not that of ours.
    learnt = model.trained_on["learnt_scale"]
    assert model.checkpoint.logit_scale == pytest.approx(learnt) and learnt != 5.0
    recording = services.read_recording(tmp_path / "clinic" / "e0.hxl")
    (answer,) = services.ask(model, recording, '"sinus rhythm"')
    assert 0 < answer.score < 1
    # A folder brings no code along: without the package it says what is missing.
    shutil.rmtree(site)
    site.mkdir()
    sys.modules.pop("echoing_example", None)
    plugins.forget()
    with pytest.raises((CheckpointError, ConfigError), match=r"no ECG encoder 'strided'.*Install"):
        services.load_model(tmp_path / "model")


def test_a_text_encoder_of_a_plugin_goes_with_our_ecg_encoder(example: Path) -> None:
    config = ModelConfig(dim=8, architecture="plugged", text_plugin="bag")
    encoder = build_encoder(config)
    ids, mask = torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 0]])
    mu, _ = encoder.text(ids, mask)
    table = encoder.text.inner.table.weight
    mean = (table[1] + table[2]) / 2
    assert torch.allclose(mu[0], mean / mean.norm(), atol=1e-6)
    assert type(encoder.ecg).__name__ == "CompactEcgEncoder"
    assert set(config.settings()) >= {"ecg", "text", "text_plugin"} and "ecg_plugin" not in (
        config.settings()
    )


def test_the_plugged_loss_is_what_it_computes(example: Path) -> None:
    loss = MatchingLoss(LossConfig("sigmoid", scale_init=3.0, shift_init=1.0))
    mu = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    match = torch.eye(3, dtype=torch.bool)
    total = loss(mu, mu * 0, mu, mu * 0, match).total
    logits = (3.0 * mu.double() @ mu.double().T - 1.0).detach().numpy()
    by_hand = np.where(match.numpy(), np.logaddexp(0, -logits), np.logaddexp(0, logits)).mean()
    assert total.item() == pytest.approx(by_hand, rel=1e-5)
    assert logit_scale("sigmoid", 3.0) == 3.0


def test_unknown_names_list_the_known_ones(example: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown loss 'mine'.*pcmepp.*sigmoid"):
        MatchingLoss(LossConfig("mine"))
    with pytest.raises(ConfigError, match=r"no data set mine.*clinic.*ptbxl"):
        adapter_class("mine")
    with pytest.raises(ConfigError, match=r"no ECG encoder 'mine' .*\(strided\)"):
        build_encoder(ModelConfig(architecture="plugged", ecg_plugin="mine"))
    with pytest.raises(ConfigError, match="cannot be built with the options depth"):
        build_encoder(
            ModelConfig(architecture="plugged", ecg_plugin="strided", ecg_options={"depth": 3})
        )
    with pytest.raises(ConfigError, match="needs one of them"):
        ModelConfig(architecture="plugged")


def test_a_plugin_that_fails_is_named_and_breaks_nothing_else(
    example: Path, repo_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(example, repo_root / "examples" / "plugin", broken=True)
    plugins.forget()
    clinic(tmp_path / "clinic")
    assert services.read_recording(tmp_path / "clinic" / "e1.hxl").record_id == "e1"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and "reader broken_hexlead of echoing_example_broken 0.1" in said[0]
    assert "ModuleNotFoundError" in said[0]
    sets = services.data_sets()
    assert "cannot be loaded" in sets["broken_clinic"][0] and sets["clinic"][1] == ()
    result = CliRunner().invoke(app, ["plugins"])
    assert result.exit_code == 0 and "cannot be loaded" in result.output
    works = [line for line in result.output.splitlines() if line.endswith("works")]
    assert len(works) == 5


def test_without_plugins_there_is_nothing(site: Path, tmp_path: Path) -> None:
    for group in plugins.GROUPS:
        assert plugins.plugins(group) == {}
    assert set(kinds()) == set(KINDS)
    assert "No package adds anything" in CliRunner().invoke(app, ["plugins"]).output
    # Folders of before there were plugins keep their hash: no setting of theirs is written.
    write_tiny_model(tmp_path / "tiny")
    text = (tmp_path / "tiny" / "config.json").read_text(encoding="utf-8")
    assert "plugin" not in text and "options" not in text
