"""A model folder: what is written is what is read, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from echoing_core.embed.encode import encode_texts
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.checkpoint import FILES, load_checkpoint, update_documents
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return folder, write_tiny_model(folder)


@pytest.fixture
def folder(written: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(written[0], tmp_path / "tiny")


def test_loaded_model_computes_what_was_saved(written: tuple[Path, str]) -> None:
    first, second = load_checkpoint(written[0]), load_checkpoint(written[0])
    assert first.hash == written[1]
    x = torch.randn(2, 12, 1000)
    with torch.inference_mode():
        a, b = first.encoder.ecg(x, torch.ones_like(x)), second.encoder.ecg(x, torch.ones_like(x))
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])


def test_same_seed_same_hash_other_seed_other_hash(
    tmp_path: Path, written: tuple[Path, str]
) -> None:
    assert write_tiny_model(tmp_path / "again") == written[1]
    assert write_tiny_model(tmp_path / "other", seed=1) != written[1]


def test_text_rows_keep_their_order_and_equal_texts_are_equal(written: tuple[Path, str]) -> None:
    checkpoint = load_checkpoint(written[0])
    texts = ["normal ecg", "atrial fibrillation", "normal ecg"]
    together = encode_texts(checkpoint, texts)
    alone = encode_texts(checkpoint, texts[1:2])
    assert np.array_equal(together.mu[0], together.mu[2])
    assert np.abs(together.mu[1] - alone.mu[0]).max() < 1e-6


def test_unknown_words_are_flagged_once_and_known_ones_not(written: tuple[Path, str]) -> None:
    tokenizer = load_checkpoint(written[0]).tokenizer
    assert tokenizer.unknown_words("Normal zebra ECG, zebra") == ("zebra",)


def test_long_texts_keep_their_closing_token(written: tuple[Path, str]) -> None:
    tokenizer = load_checkpoint(written[0]).tokenizer
    ids, mask = tokenizer.encode(["normal ecg " * 50, "normal ecg"])
    assert ids.shape[1] == 24
    last = [row[used - 1] for row, used in zip(ids, mask.sum(1), strict=True)]
    assert last[0] == last[1] == tokenizer.tokenizer.token_to_id("[SEP]")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(folder)


def test_a_new_card_keeps_the_hash(folder: Path) -> None:
    before = load_checkpoint(folder).hash
    update_documents(folder, card="# another card\n")
    after = load_checkpoint(folder)
    assert after.card == "# another card\n"
    assert after.hash == before


def test_what_was_measured_with_a_model_is_kept_beside_it_and_guarded(folder: Path) -> None:
    before = load_checkpoint(folder)
    update_documents(folder, measured={"calibration": {"af": 1.5}})
    update_documents(folder, measured={"distances": {"pairs": [0.1]}})
    after = load_checkpoint(folder)
    added = {"calibration": {"af": 1.5}, "distances": {"pairs": [0.1]}}
    assert after.measured == {**before.measured, **added}
    assert not set(before.measured) & set(added) and after.hash == before.hash
    (folder / "calibration.json").write_text('{"af": 9.0}')
    with pytest.raises(CheckpointError, match=r"calibration\.json"):
        load_checkpoint(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no model folder"):
        load_checkpoint(tmp_path / "nowhere")


def test_an_unknown_setting_is_named(folder: Path) -> None:
    """Even with matching hashes: the folder may come from a newer version."""
    import hashlib

    config = json.loads((folder / "config.json").read_text())
    config["model"]["ecg"]["spin"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    manifest["sha256"]["config.json"] = digest
    joined = "\n".join(f"{name} {manifest['sha256'][name]}" for name in FILES[:5])
    manifest["hash"] = hashlib.sha256(joined.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"ecg\.spin"):
        load_checkpoint(folder)


def test_an_older_folder_is_replaced_whole(folder: Path) -> None:
    (folder / "stray.txt").write_text("old")
    write_tiny_model(folder, seed=2)
    assert not (folder / "stray.txt").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
