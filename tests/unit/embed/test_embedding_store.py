"""Embeddings on disk: what is written comes back, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echoing_core.artifacts import sha256_of_file
from echoing_core.embed.store import open_embeddings, save_embeddings
from echoing_core.errors import ConfigError, IndexMismatchError
from echoing_core.records import GaussianEmbedding

HASH = "ab" * 32
RNG = np.random.default_rng(0)
EMBEDDING = GaussianEmbedding(
    RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(-7, 1, size=(6, 4)).astype(np.float32)
)
ITEMS = pd.DataFrame({"record_id": list("abcdef"), "start_s": np.arange(6.0)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    save_embeddings(path, EMBEDDING, ITEMS, checkpoint_hash=HASH, card={"cohort": "test"})
    return path


def test_round_trip_is_exact(folder: Path):
    store = open_embeddings(folder, checkpoint_hash=HASH)
    np.testing.assert_array_equal(store.embedding().mu, EMBEDDING.mu)
    np.testing.assert_array_equal(store.embedding().log_var, EMBEDDING.log_var)
    np.testing.assert_array_equal(store.embedding(np.array([4, 1])).mu, EMBEDDING.mu[[4, 1]])
    pd.testing.assert_frame_equal(store.items, ITEMS)
    assert len(store) == 6
    assert store.card["cohort"] == "test"


def test_arrays_are_mapped_and_cannot_be_written(folder: Path):
    store = open_embeddings(folder)
    assert isinstance(store.mu, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.mu[0, 0] = 1.0


def test_float16_keeps_three_digits(tmp_path: Path):
    save_embeddings(tmp_path / "s", EMBEDDING, ITEMS, checkpoint_hash=HASH, dtype="float16")
    store = open_embeddings(tmp_path / "s")
    assert store.mu.dtype == np.float16
    assert store.embedding().mu.dtype == np.float32
    np.testing.assert_allclose(store.embedding().mu, EMBEDDING.mu, rtol=1e-3)


def test_another_checkpoint_is_refused(folder: Path):
    with pytest.raises(IndexMismatchError, match="in use is cdcd"):
        open_embeddings(folder, checkpoint_hash="cd" * 32)


@pytest.mark.parametrize("name", ["mu.npy", "log_var.npy", "items.parquet"])
def test_a_truncated_file_names_itself(folder: Path, name: str):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(IndexMismatchError, match=name):
        open_embeddings(folder)


def test_arrays_of_python_objects_are_refused_even_with_a_fitting_hash(folder: Path):
    objects = np.empty((6, 4), dtype=object)
    np.save(folder / "mu.npy", objects)
    reseal(folder)
    with pytest.raises(IndexMismatchError, match=r"mu\.npy .* is not a NumPy array file"):
        open_embeddings(folder)


@pytest.mark.parametrize("array", [np.zeros((5, 4), np.float32), np.zeros((6, 4), np.int32)])
def test_arrays_of_another_shape_or_type_are_refused(folder: Path, array: np.ndarray):
    np.save(folder / "log_var.npy", array)
    reseal(folder)
    with pytest.raises(IndexMismatchError, match=r"log_var\.npy .* is needed"):
        open_embeddings(folder)


def test_a_table_of_another_length_is_refused(folder: Path):
    ITEMS.iloc[:5].to_parquet(folder / "items.parquet")
    reseal(folder)
    with pytest.raises(IndexMismatchError, match="5 rows where 6"):
        open_embeddings(folder)


def test_a_failed_write_leaves_the_old_store_and_no_rubbish(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="no space"):
        save_embeddings(folder, EMBEDDING, ITEMS, checkpoint_hash="new")
    assert [path.name for path in folder.parent.iterdir()] == ["store"]
    assert len(open_embeddings(folder, checkpoint_hash=HASH)) == 6


def test_inputs_that_cannot_be_stored(tmp_path: Path):
    with pytest.raises(ValueError, match="do not fit"):
        save_embeddings(tmp_path / "s", EMBEDDING, ITEMS.iloc[:2], checkpoint_hash=HASH)
    broken = GaussianEmbedding(np.full_like(EMBEDDING.mu, np.nan), EMBEDDING.log_var)
    with pytest.raises(ValueError, match="finite"):
        save_embeddings(tmp_path / "s", broken, ITEMS, checkpoint_hash=HASH)
    with pytest.raises(ValueError, match="written by seal itself"):
        save_embeddings(tmp_path / "s", EMBEDDING, ITEMS, checkpoint_hash=HASH, card={"n": 3})
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="not an embedding store"):
        save_embeddings(tmp_path / "file", EMBEDDING, ITEMS, checkpoint_hash=HASH)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def reseal(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["files"] = {name: sha256_of_file(folder / name) for name in card["files"]}
    (folder / "card.json").write_text(json.dumps(card))
