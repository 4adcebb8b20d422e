"""Model folders whose hashes are right and whose content is not: each ends in a sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_tiny_model

from echoing_core.errors import CheckpointError
from echoing_core.models.checkpoint import MODEL_FILES, load_checkpoint


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "model"
    write_tiny_model(folder)
    return folder


def reseal(folder: Path) -> None:
    """Make every hash anew, as whoever changes a folder on purpose would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in manifest["sha256"]
    }
    joined = "\n".join(f"{name} {digests[name]}" for name in MODEL_FILES)
    manifest |= {"sha256": digests, "hash": hashlib.sha256(joined.encode()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def with_setting(content: bytes, group: str, name: str, value: Any) -> bytes:
    config = json.loads(content)
    (config["model"][group] if group else config)[name] = value
    return json.dumps(config).encode()


def with_header(content: bytes, name: str, value: Any) -> bytes:
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    header[next(key for key in header if key != "__metadata__")][name] = value
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + n :]


def test_a_folder_that_was_only_resealed_is_read(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "model")
    (tmp_path / "model" / "card.md").write_text("# other words\n")
    reseal(tmp_path / "model")
    assert load_checkpoint(tmp_path / "model").card == "# other words\n"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", lambda c: with_setting(c, "text", "n_layers", 10**7)),
        ("config.json", lambda c: with_setting(c, "ecg", "n_blocks", 10**7)),
        ("config.json", lambda c: with_setting(c, "ecg", "width", 10**9)),
        ("config.json", lambda c: with_setting(c, "text", "vocab_size", 10**12)),
        ("config.json", lambda c: with_setting(c, "ecg", "width", 24)),
        ("config.json", lambda c: with_setting(c, "ecg", "n_pool_heads", 0)),
        ("config.json", lambda c: with_setting(c, "", "logit_scale", [1])),
        ("config.json", lambda c: c.replace(b"10.0", b"1e999")),
        ("config.json", lambda c: c.replace(b"10.0", b"9" * 5000)),
        ("config.json", lambda _: b"[" * 10_000),
        ("scaler.json", lambda c: c.replace(b"0.3", b"9" * 400, 1)),
        ("scaler.json", lambda _: b"[]"),
        ("training.json", lambda _: b'{"note": "\\ud800"}'),
        ("card.md", lambda _: b"\xff"),
        ("model.safetensors", lambda c: c[:100]),
        ("model.safetensors", lambda c: with_header(c, "shape", [-1])),
        ("model.safetensors", lambda c: with_header(c, "data_offsets", [0, 10**15])),
        ("model.safetensors", lambda c: with_header(c, "dtype", "F1")),
        ("tokenizer/tokenizer.json", lambda c: c.replace(b"WordPiece", b"Wordpieces")),
        ("tokenizer/tokenizer.json", lambda c: c[:-40]),
        ("tokenizer/words.json", lambda _: b'{"words": [[]], "max_tokens": 24}'),
        ("tokenizer/words.json", lambda _: b'{"words": [], "max_tokens": "x"}'),
    ],
)
def test_what_does_not_fit_is_told(sound: Path, tmp_path: Path, name: str, change: Any) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    content = (folder / name).read_bytes()
    changed = change(content)
    assert changed != content
    (folder / name).write_bytes(changed)
    reseal(folder)
    with pytest.raises(CheckpointError, match=r"Fetch the (model )?folder again|does not hold"):
        load_checkpoint(folder)
