"""Exact search, filters, and folders that are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest

from echoing_core.artifacts import sha256_of_file
from echoing_core.errors import ConfigError, IndexMismatchError
from echoing_core.metrics.distances import cosine, csd
from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.index import GalleryIndex, build_index, open_index
from echoing_core.retrieve.search import ItemFilter, search_gallery

N, DIM, HASH = 200, 24, "c0ffee" * 10


def gaussians(n: int, seed: int) -> GaussianEmbedding:
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=(n, DIM))
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    # Sums of sigma^2 from about 0.05 to 2: wide enough for the two orders to differ.
    log_var = np.log(rng.uniform(0.002, 0.08, size=(n, 1))) + rng.normal(0, 0.3, size=(n, DIM))
    return GaussianEmbedding(mu.astype(np.float32), log_var.astype(np.float32))


ECG, TEXT, QUERY = gaussians(N, 1), gaussians(N, 2), gaussians(1, 3)


def make_items() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    lvef = rng.uniform(15, 70, N)
    lvef[::10] = np.nan
    return pd.DataFrame(
        {
            "item_id": [f"item{i}" for i in range(N)],
            "patient_id": [f"patient{i // 2}" for i in range(N)],
            "record_id": [f"record{i}" for i in range(N)],
            "report": [f"report {i % 17}" for i in range(N)],
            "source": np.where(np.arange(N) < 150, "cohort", "clinic"),
            "uncertainty": ECG.uncertainty,
            "percentile": 100.0 * np.argsort(np.argsort(ECG.uncertainty)) / (N - 1),
            "text_uncertainty": TEXT.uncertainty,
            "simulated": np.arange(N) < 150,
            "label_af": np.arange(N) % 3 == 0,
            "label_lvef_pct": lvef,
            "label_axis": np.where(np.arange(N) % 2 == 0, "left", "normal"),
        }
    )


ITEMS = make_items()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("indexes") / "gallery"
    card = {"seed": 4}
    build_index(path, ecg=ECG, text=TEXT, items=ITEMS, checkpoint_hash=HASH, card=card)
    return path


@pytest.fixture(scope="module")
def index(folder: Path) -> GalleryIndex:
    return open_index(folder, checkpoint_hash=HASH)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def ids(hits: list) -> list[str]:
    return [hit.item_id for hit in hits]


def named(rows: np.ndarray) -> list[str]:
    return [f"item{i}" for i in rows]


@pytest.mark.parametrize("target", ["ecg", "report"])
def test_csd_order_is_brute_force(index: GalleryIndex, target: str):
    side = ECG if target == "ecg" else TEXT
    distance = csd(QUERY.mu, QUERY.log_var, side.mu, side.log_var)[0]
    hits = search_gallery(index, QUERY, k=N, target=target)
    assert ids(hits) == named(np.argsort(distance))
    np.testing.assert_allclose([h.distance for h in hits], np.sort(distance), atol=2e-6)
    assert [h.rank for h in hits] == list(range(1, N + 1))
    assert {h.order for h in hits} == {"csd"}


@pytest.mark.parametrize("target", ["ecg", "report"])
def test_cosine_order_is_brute_force(index: GalleryIndex, target: str):
    side = ECG if target == "ecg" else TEXT
    distance = 1.0 - cosine(QUERY.mu, side.mu)[0]
    hits = search_gallery(index, QUERY, k=N, order="cosine", target=target)
    assert ids(hits) == named(np.argsort(distance))
    np.testing.assert_allclose([h.distance for h in hits], np.sort(distance), atol=2e-6)


def test_means_of_any_length_keep_both_orders(tmp_path: Path):
    # Means stored in half precision are off unit norm; these are far off it.
    length = np.linspace(0.5, 2.0, N, dtype=np.float32)[:, None]
    ecg = GaussianEmbedding(ECG.mu * length, ECG.log_var)
    query = GaussianEmbedding(3.0 * QUERY.mu, QUERY.log_var)
    build_index(tmp_path / "new", ecg=ecg, text=TEXT, items=ITEMS, checkpoint_hash=HASH)
    stretched = open_index(tmp_path / "new", checkpoint_hash=HASH)
    expected = {
        "cosine": 1.0 - cosine(query.mu, ecg.mu)[0],
        "csd": csd(query.mu, query.log_var, ecg.mu, ecg.log_var)[0],
    }
    for order, distance in expected.items():
        hits = search_gallery(stretched, query, k=N, order=order)
        assert ids(hits) == named(np.argsort(distance))
        np.testing.assert_allclose([h.distance for h in hits], np.sort(distance), atol=1e-5)


def test_the_two_orders_differ_here(index: GalleryIndex):
    # Otherwise the tests above could not tell one from the other.
    by_csd = ids(search_gallery(index, QUERY, k=10))
    assert by_csd != ids(search_gallery(index, QUERY, k=10, order="cosine"))


def test_a_hit_carries_its_row(index: GalleryIndex):
    hit = search_gallery(index, QUERY, k=1)[0]
    row = ITEMS.set_index("item_id").loc[hit.item_id]
    assert (hit.patient_id, hit.record_id, hit.report) == (
        row["patient_id"],
        row["record_id"],
        row["report"],
    )
    assert hit.uncertainty == row["uncertainty"]
    assert hit.percentile == row["percentile"]
    assert hit.simulated is bool(row["simulated"])
    assert hit.labels["af"] is bool(row["label_af"])
    assert hit.labels["axis"] == row["label_axis"]


def test_a_missing_label_is_absent_and_not_nan(index: GalleryIndex):
    hits = search_gallery(index, QUERY, k=N)
    without = {h.item_id for h in hits if "lvef_pct" not in h.labels}
    assert without == {f"item{i}" for i in range(0, N, 10)}


FILTERS = {
    "label": (ItemFilter(labels={"af": True}), ITEMS.label_af),
    "not label": (ItemFilter(labels={"af": False}), ~ITEMS.label_af),
    "words": (ItemFilter(labels={"axis": "left"}), ITEMS.label_axis == "left"),
    "range": (ItemFilter(labels={"lvef_pct": (20.0, 40.0)}), ITEMS.label_lvef_pct.between(20, 40)),
    "open range": (
        ItemFilter(labels={"lvef_pct": (-np.inf, 40.0)}),
        ITEMS.label_lvef_pct <= 40,
    ),
    "percentile": (
        ItemFilter(min_percentile=30, max_percentile=50),
        ITEMS.percentile.between(30, 50),
    ),
    "source": (ItemFilter(sources=("clinic",)), ITEMS.source == "clinic"),
    "measured": (ItemFilter(simulated=False), ~ITEMS.simulated),
    "patients": (
        ItemFilter(exclude_patient_ids=("patient0", "patient7")),
        ~ITEMS.patient_id.isin(["patient0", "patient7"]),
    ),
    "items": (ItemFilter(exclude_item_ids=("item3",)), ITEMS.item_id != "item3"),
    "all at once": (
        ItemFilter(labels={"af": True, "axis": "normal"}, max_percentile=60, simulated=True),
        ITEMS.label_af
        & (ITEMS.label_axis == "normal")
        & (ITEMS.percentile <= 60)
        & ITEMS.simulated,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("order", ["csd", "cosine"])
def test_filters_act_before_the_top_k(index: GalleryIndex, name: str, order: str):
    where, passes = FILTERS[name]
    passes = passes.to_numpy(dtype=bool)
    assert 0 < passes.sum() < N
    k = min(7, int(passes.sum()))
    if order == "csd":
        distance = csd(QUERY.mu, QUERY.log_var, ECG.mu, ECG.log_var)[0]
    else:
        distance = -cosine(QUERY.mu, ECG.mu)[0]
    expected = np.argsort(np.where(passes, distance, np.inf))[:k]
    hits = search_gallery(index, QUERY, k=k, order=order, where=where)
    assert ids(hits) == named(expected)


@pytest.mark.parametrize("order", ["csd", "cosine"])
@pytest.mark.parametrize("target", ["ecg", "report"])
def test_a_patients_own_items_are_left_out(index: GalleryIndex, order: str, target: str):
    """The nearest items themselves, which no filter by chance leaves out."""
    everything = search_gallery(index, QUERY, k=N, order=order, target=target)
    own = (everything[0].patient_id, everything[2].patient_id)
    hits = search_gallery(
        index, QUERY, k=N, order=order, target=target, where=ItemFilter(exclude_patient_ids=own)
    )
    assert ids(hits) == [hit.item_id for hit in everything if hit.patient_id not in own]
    # Two items of each patient, so that the other one has to go with the one found.
    assert len(hits) == N - 2 * len(set(own))


def test_both_ends_of_a_percentile_range_belong_to_it(index: GalleryIndex):
    nearest = search_gallery(index, QUERY, k=1)[0]
    percentiles = np.sort(ITEMS.percentile)
    place = int(np.flatnonzero(percentiles == nearest.percentile)[0])
    assert 0 < place < N - 1, "an item at either end could not tell open from closed"
    for low, high in (
        (nearest.percentile, nearest.percentile),
        (0.0, nearest.percentile),
        (nearest.percentile, 100.0),
    ):
        where = ItemFilter(min_percentile=low, max_percentile=high)
        hits = search_gallery(index, QUERY, k=N, where=where)
        assert hits[0].item_id == nearest.item_id
        assert len(hits) == int(((percentiles >= low) & (percentiles <= high)).sum())
    below = ItemFilter(max_percentile=float(percentiles[place - 1]))
    above = ItemFilter(min_percentile=float(percentiles[place + 1]))
    for where in (below, above):
        assert nearest.item_id not in ids(search_gallery(index, QUERY, k=N, where=where))


def test_fewer_items_than_asked_for(index: GalleryIndex):
    assert len(search_gallery(index, QUERY, k=10 * N)) == N
    few = ItemFilter(labels={"lvef_pct": (20.0, 24.0)})
    n_few = int(ITEMS.label_lvef_pct.between(20, 24).sum())
    assert len(search_gallery(index, QUERY, k=N, where=few)) == n_few
    nothing = ItemFilter(labels={"lvef_pct": (99.0, 100.0)})
    assert search_gallery(index, QUERY, k=5, where=nothing) == []


@pytest.mark.parametrize("k", [1, 5, 17, 50])
def test_unique_reports_keep_the_nearest_of_each_text(index: GalleryIndex, k: int):
    hits = search_gallery(index, QUERY, k=k, target="report", unique_reports=True)
    everything = search_gallery(index, QUERY, k=N, target="report")
    nearest: dict[str, str] = {}
    for hit in everything:
        nearest.setdefault(hit.report, hit.item_id)
    assert ids(hits) == list(nearest.values())[:k]
    assert [h.rank for h in hits] == list(range(1, len(hits) + 1))


def test_impossible_searches_are_refused_in_a_sentence(index: GalleryIndex):
    with pytest.raises(ConfigError, match=r"no label 'lvef'. It has: af, axis, lvef_pct"):
        search_gallery(index, QUERY, k=5, where=ItemFilter(labels={"lvef": 3.0}))
    with pytest.raises(ConfigError, match=r"no source 'moon'. It has: clinic, cohort"):
        search_gallery(index, QUERY, k=5, where=ItemFilter(sources=("moon",)))
    with pytest.raises(ConfigError, match="holds words"):
        search_gallery(index, QUERY, k=5, where=ItemFilter(labels={"axis": 3.0}))
    with pytest.raises(ConfigError, match="between 0 and 100"):
        ItemFilter(min_percentile=60, max_percentile=40)
    with pytest.raises(ConfigError, match="1 or more"):
        search_gallery(index, QUERY, k=0)
    with pytest.raises(ConfigError, match="csd, cosine"):
        search_gallery(index, QUERY, k=1, order="euclid")
    with pytest.raises(ConfigError, match="ecg, report"):
        search_gallery(index, QUERY, k=1, target="echo")
    narrow = GaussianEmbedding(QUERY.mu[:, :8], QUERY.log_var[:, :8])
    with pytest.raises(IndexMismatchError, match="8 dimensions"):
        search_gallery(index, narrow, k=1)


def test_the_card_says_what_the_index_is(index: GalleryIndex, folder: Path):
    assert index.card["checkpoint_hash"] == HASH
    assert (index.card["n"], index.card["dim"], index.dim, len(index)) == (N, DIM, DIM, N)
    assert index.card["faiss_version"] == faiss.__version__
    assert (index.card["simulated"], index.card["n_simulated"]) == (False, 150)
    assert index.card["seed"] == 4
    assert index.label_names == ("af", "lvef_pct", "axis")
    assert index.card["files"]["vectors.faiss"] == sha256_of_file(folder / "vectors.faiss")


def test_another_checkpoint_is_refused_but_the_card_can_be_looked_at(folder: Path):
    with pytest.raises(IndexMismatchError, match=r"made with the model c0ffee.*in use is beef"):
        open_index(folder, checkpoint_hash="beef" * 16)
    assert len(open_index(folder, checkpoint_hash=None)) == N


HOSTILE = {
    "empty": b"",
    "html": b"<!doctype html><html><body>Not found</body></html>",
    "garbage": np.random.default_rng(9).bytes(5000),
    "magic then garbage": b"IxF2" + np.random.default_rng(9).bytes(5000),
}


@pytest.mark.parametrize("name", ["vectors.faiss", "reports.faiss", "items.parquet"])
@pytest.mark.parametrize("content", [*HOSTILE, "truncated", "one bit", "missing"])
def test_a_damaged_file_is_refused_before_it_is_parsed(
    copy: Path, name: str, content: str, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("parsed bytes whose hash is wrong")

    monkeypatch.setattr(faiss, "deserialize_index", never)
    path = copy / name
    good = path.read_bytes()
    if content == "missing":
        path.unlink()
    elif content == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif content == "one bit":
        path.write_bytes(good[:99] + bytes([good[99] ^ 1]) + good[100:])
    else:
        path.write_bytes(HOSTILE[content])
    with pytest.raises(IndexMismatchError, match=name) as caught:
        open_index(copy, checkpoint_hash=HASH)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", HOSTILE)
def test_a_hostile_file_with_a_fitting_card_is_still_refused(copy: Path, content: str):
    (copy / "vectors.faiss").write_bytes(HOSTILE[content])
    reseal(copy)
    limit = faiss.get_deserialization_vector_byte_limit()
    with pytest.raises(IndexMismatchError, match=r"vectors\.faiss .* is not a faiss index"):
        open_index(copy, checkpoint_hash=HASH)
    assert faiss.get_deserialization_vector_byte_limit() == limit


def foreign_index(kind: str) -> faiss.Index:
    vectors = np.random.default_rng(0).normal(size=(N, DIM + 1)).astype(np.float32)
    made = {
        "inner product": lambda: faiss.IndexFlatIP(DIM + 1),
        "other dimension": lambda: faiss.IndexFlatL2(DIM),
        "graph": lambda: faiss.IndexHNSWFlat(DIM + 1, 8),
        "fewer": lambda: faiss.IndexFlatL2(DIM + 1),
    }[kind]()
    n = N - 1 if kind == "fewer" else N
    made.add(np.ascontiguousarray(vectors[:n, : made.d]))
    return made


@pytest.mark.parametrize("kind", ["inner product", "other dimension", "graph", "fewer"])
def test_an_index_of_another_kind_or_size_is_refused(copy: Path, kind: str):
    content = faiss.serialize_index(foreign_index(kind)).tobytes()
    (copy / "reports.faiss").write_bytes(content)
    reseal(copy)
    with pytest.raises(IndexMismatchError, match=r"reports\.faiss .* is not a flat index of 200"):
        open_index(copy, checkpoint_hash=HASH)


def test_a_table_in_another_order_than_the_vectors_is_refused(copy: Path):
    ITEMS.iloc[::-1].reset_index(drop=True).to_parquet(copy / "items.parquet")
    reseal(copy)
    with pytest.raises(IndexMismatchError, match="does not belong to the rows"):
        open_index(copy, checkpoint_hash=HASH)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="report"), "report.* missing"),
        (lambda t: t.assign(extra=1), "extra.* neither standard nor labels"),
        (lambda t: t.assign(percentile="x"), "percentile.* has type"),
        (lambda t: t.assign(percentile=np.nan), "percentile.* has gaps"),
        (lambda t: t.assign(item_id="same"), "item_id repeats"),
        (lambda t: t.iloc[:-1], "199 rows where 200"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(copy: Path, change, sentence: str, tmp_path: Path):
    table = change(ITEMS)
    table.to_parquet(copy / "items.parquet")
    reseal(copy)
    with pytest.raises(IndexMismatchError, match=sentence):
        open_index(copy, checkpoint_hash=HASH)
    with pytest.raises(ValueError, match=r".+"):
        build_index(tmp_path / "new", ecg=ECG, text=TEXT, items=table, checkpoint_hash=HASH)
    assert not (tmp_path / "new").exists()


def reseal(folder: Path) -> None:
    """Write the hashes of what is there now, as someone who means harm would."""
    card = json.loads((folder / "card.json").read_text())
    card["files"] = {name: sha256_of_file(folder / name) for name in card["files"]}
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "embedding store"}, "is an embedding store, not an index"),
        ({"format_version": 99}, "format version 99"),
        ({"n": -3}, "n = -3"),
        ({"n": "200"}, "no proper entry 'n'"),
        ({"checkpoint_hash": None}, "no proper entry 'checkpoint_hash'"),
        ({"files": {"../../etc/passwd": "00"}}, "does not list exactly the files"),
        ({"files": {"vectors.faiss": 1, "reports.faiss": 2, "items.parquet": 3}}, "exactly"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(copy: Path, change: dict, sentence: str):
    card = json.loads((copy / "card.json").read_text()) | change
    (copy / "card.json").write_text(json.dumps(card))
    with pytest.raises(IndexMismatchError, match=sentence):
        open_index(copy, checkpoint_hash=HASH)


@pytest.mark.parametrize(
    "content", [b"", b"<html></html>", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b" " * 4_000_001]
)
def test_a_card_that_is_no_card_is_refused(copy: Path, content: bytes):
    (copy / "card.json").write_bytes(content)
    with pytest.raises(IndexMismatchError, match=r"card\.json"):
        open_index(copy, checkpoint_hash=HASH)


def test_no_folder_and_an_empty_folder(tmp_path: Path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(IndexMismatchError, match=r"holds no card\.json, so it is not an index"):
            open_index(path, checkpoint_hash=None)


def test_building_again_replaces_the_old_index(copy: Path):
    few = ITEMS.iloc[:5]
    build_index(copy, ecg=ECG[:5], text=TEXT[:5], items=few, checkpoint_hash="new")
    assert len(open_index(copy, checkpoint_hash="new")) == 5
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(ConfigError, match="already holds something that is not an index"):
        build_index(tmp_path, ecg=ECG, text=TEXT, items=ITEMS, checkpoint_hash=HASH)
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_embeddings_of_other_items_are_refused(tmp_path: Path):
    target = tmp_path / "new"
    with pytest.raises(ValueError, match="'uncertainty' is not"):
        build_index(target, ecg=TEXT, text=TEXT, items=ITEMS, checkpoint_hash=HASH)
    with pytest.raises(ValueError, match="differ"):
        build_index(target, ecg=ECG[:9], text=TEXT, items=ITEMS, checkpoint_hash=HASH)
    with pytest.raises(ValueError, match="finite"):
        mu = ECG.mu.copy()
        mu[3, 3] = np.nan
        broken = replace(ECG, mu=mu)
        build_index(target, ecg=broken, text=TEXT, items=ITEMS, checkpoint_hash=HASH)
    assert not target.exists()
