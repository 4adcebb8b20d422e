"""What is nearest, against float64 and brute force, and the fast search of many vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save

from echoing_core.artifacts import sha256_of_file
from echoing_core.errors import IndexMismatchError
from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.cells import RECALL, sort_into_cells
from echoing_core.retrieve.index import CELLS, FAST_SEARCH, build_index, open_index
from echoing_core.retrieve.vectors import Vectors, as_vectors

DIM, HASH = 16, "c0ffee" * 10


def gaussians(mu: np.ndarray, seed: int = 0) -> GaussianEmbedding:
    spread = np.random.default_rng(seed).uniform(0.001, 0.01, size=(len(mu), 1))
    log_var = np.broadcast_to(np.log(spread), mu.shape)
    return GaussianEmbedding(mu.astype(np.float32), log_var.astype(np.float32))


def crowded(n: int, seed: int) -> GaussianEmbedding:
    """Means of thirty crowds."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(30, DIM))
    return gaussians(centres[rng.integers(30, size=n)] + 0.05 * rng.normal(size=(n, DIM)), seed)


def by_hand(query: GaussianEmbedding, items: GaussianEmbedding, order: str) -> np.ndarray:
    own, means = query.mu[0].astype(np.float64), items.mu.astype(np.float64)
    if order == "cosine":
        lengths = np.linalg.norm(means, axis=1) * np.linalg.norm(own)
        # Row by row: BLAS rounds by where a row lies.
        return 1.0 - np.einsum("ij,j->i", means, own) / lengths
    sums = as_vectors(items)[:, -1].astype(np.float64) ** 2
    return ((means - own) ** 2).sum(axis=1) + sums + query.uncertainty[0]


@pytest.mark.parametrize("order", ["csd", "cosine"])
@pytest.mark.parametrize("length", [1e-3, 1.0, 300.0])
def test_rounding_does_not_choose(order: str, length: float):
    # Half of the rows are as near as float32 products can tell, all over the array.
    rng = np.random.default_rng(1)
    mu = np.repeat(rng.normal(size=(1, DIM)), 4000, axis=0)
    mu[::2] += 1e-7 * rng.normal(size=(2000, DIM))
    mu[1::2] += rng.normal(size=(2000, DIM))
    items = gaussians(length * mu)
    items = GaussianEmbedding(items.mu, np.full_like(items.mu, -9.0))
    query = items[np.array([1002])]
    expected = by_hand(query, items, order)
    rows, distances = Vectors(as_vectors(items)).nearest(query, 25, order)
    np.testing.assert_array_equal(rows, np.lexsort((np.arange(4000), expected))[:25])
    np.testing.assert_allclose(distances, np.sort(expected)[:25], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("order", ["csd", "cosine"])
@pytest.mark.parametrize("share", [0.01, 0.6])
def test_rows_that_may_be_found(order: str, share: float):
    items, query = crowded(500, 1), crowded(1, 2)
    allowed = np.flatnonzero(np.random.default_rng(3).random(500) < share)
    expected = by_hand(query, items, order)[allowed]
    rows, distances = Vectors(as_vectors(items)).nearest(query, 4, order, allowed)
    np.testing.assert_array_equal(rows, allowed[np.argsort(expected)[:4]])
    np.testing.assert_allclose(distances, np.sort(expected)[:4], rtol=1e-12)


@pytest.mark.parametrize("order", ["csd", "cosine"])
def test_distances_to_all(order: str):
    items, query = crowded(500, 1), crowded(1, 2)
    found = Vectors(as_vectors(items)).distances(query, order)
    np.testing.assert_allclose(found, by_hand(query, items, order), atol=2e-5)


def test_vectors_too_large_to_be_squared_are_seen():
    assert Vectors(as_vectors(crowded(5, 1))).finite
    assert not Vectors(np.full((5, DIM + 1), 1e30, dtype=np.float32)).finite
    assert not Vectors(np.full((5, DIM + 1), np.nan, dtype=np.float32)).finite


def items_of(ecg: GaussianEmbedding, text: GaussianEmbedding) -> pd.DataFrame:
    n = len(ecg)
    names = {c: [f"{c}{i}" for i in range(n)] for c in ("item_id", "patient_id", "record_id")}
    return pd.DataFrame(
        {
            **names,
            "report": "sinus rhythm",
            "source": "made",
            "uncertainty": ecg.uncertainty,
            "percentile": 50.0,
            "text_uncertainty": text.uncertainty,
            "simulated": True,
        }
    )


ECG, TEXT = crowded(3000, 1), crowded(3000, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("indexes") / "many"
    build_index(
        path, ecg=ECG, text=TEXT, items=items_of(ECG, TEXT), checkpoint_hash=HASH, fast=True
    )
    return path


def test_the_fast_search_finds_what_its_card_says(folder: Path):
    index = open_index(folder, checkpoint_hash=HASH)
    facts = index.card[FAST_SEARCH]["ecg"]
    assert facts["recall_at_10"] >= RECALL
    assert facts["n_queries"] == 400
    new = crowded(100, 3)
    hit = 0
    for i in range(100):
        query = new[np.array([i])]
        rows, distances = index.nearest(query, 10)
        truth = by_hand(query, ECG, "csd")
        # What is found is told exactly.
        np.testing.assert_allclose(distances, truth[rows], rtol=1e-9)
        exact, _ = index.nearest(query, 10, exact=True)
        np.testing.assert_array_equal(exact, np.argsort(truth)[:10])
        hit += len(set(rows) & set(exact))
    assert hit >= 0.97 * 1000


def test_the_fast_search_is_only_for_what_it_was_measured_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    index = open_index(folder, checkpoint_hash=HASH)
    looked: list[int] = []
    monkeypatch.setattr(
        type(index._fast["ecg"]), "nearest", lambda self, query, k: looked.append(k) or ((), ())
    )
    query = crowded(1, 3)
    index.nearest(query, 10)
    assert looked == [10]
    index.nearest(query, 10, order="cosine")
    index.nearest(query, 10, rows=np.arange(2000))
    index.nearest(query, 1000)
    assert looked == [10]


def test_vectors_without_crowds_get_no_fast_search(tmp_path: Path):
    # Isotropic: what is near is spread over most of the cells.
    vectors = Vectors(as_vectors(gaussians(np.random.default_rng(1).normal(size=(3000, DIM)))))
    queries = gaussians(np.random.default_rng(2).normal(size=(50, DIM)))
    others = Vectors(as_vectors(queries))
    assert sort_into_cells(vectors, others, np.arange(50)) is None


def test_a_small_index_is_searched_exactly(tmp_path: Path):
    ecg, text = ECG[:50], TEXT[:50]
    card = build_index(
        tmp_path / "few", ecg=ecg, text=text, items=items_of(ecg, text), checkpoint_hash=HASH
    )
    assert FAST_SEARCH not in card
    assert not (tmp_path / "few" / CELLS).exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a | {"ecg.cell_of": a["ecg.cell_of"] + 1000},
        lambda a: a | {"ecg.cell_of": a["ecg.cell_of"][:-1]},
        lambda a: a | {"ecg.centroids": a["ecg.centroids"] * np.float32("nan")},
        lambda a: a | {"ecg.centroids": a["ecg.centroids"][:, :-1].copy()},
        lambda a: {"report.cell_of": a["report.cell_of"]},
        None,
    ],
)
def test_cells_that_do_not_fit_are_refused(folder: Path, tmp_path: Path, change):
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in folder.iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    content = b"no cells" if change is None else save(change(load((folder / CELLS).read_bytes())))
    (bad / CELLS).write_bytes(content)
    card = json.loads((bad / "card.json").read_text())
    card["files"][CELLS] = sha256_of_file(bad / CELLS)
    (bad / "card.json").write_text(json.dumps(card))
    with pytest.raises(IndexMismatchError, match=r"cells\.safetensors .* Build the index again"):
        open_index(bad, checkpoint_hash=HASH)
