"""Collections: what distances mean, the map, and collections of one's own in memory."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from echoing_core import services
from echoing_core.errors import ConfigError, IndexMismatchError
from echoing_core.figures.gallery_map import (
    MOST_POINTS,
    colour_by_flag,
    colour_by_kind,
    colour_by_percentile,
    gallery_map_data,
)
from echoing_core.io import write_wfdb
from echoing_core.records import LEADS, GaussianEmbedding
from echoing_core.retrieve.projection import project
from echoing_core.retrieve.search import ItemFilter
from echoing_core.services import own_index, searching


@pytest.fixture(scope="module")
def model() -> services.Model:
    return services.load_model()


@pytest.fixture(scope="module")
def demo(model: services.Model) -> services.Collection:
    return services.shipped_collection(model)


def recorded(name: str, seed: int, folder: Path, leads: tuple[str, ...] = LEADS) -> list[Path]:
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(5000) / 60.0)[None] * rng.uniform(0.2, 1.0, (len(leads), 1))
    signal = (wave + rng.normal(0, 0.02, wave.shape)).astype(np.float32)
    write_wfdb(folder, name, signal, 500.0, leads)
    return sorted(folder.glob(f"{name}.*"))


@pytest.fixture
def mine(model: services.Model, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """The files of a small collection of one's own."""

    def build(table: bytes = b"record,report,label_af\na,atrial fibrillation,1\nb,,0\n"):
        paths = [*recorded("a", 1, tmp_path), *recorded("b", 2, tmp_path, ("II", "V1"))]
        groups, metadata = own_index.grouped(
            [*((p.name, p.read_bytes()) for p in paths), ("reports.csv", table)]
        )
        items = [item for group in groups for item in own_index.own_items(model, group)]
        return own_index.own_files(model, items, metadata, "mine")

    return build


def test_the_projection_is_that_of_a_singular_value_decomposition() -> None:
    mu = np.random.default_rng(0).normal(size=(50, 6)) * np.array([5, 3, 1, 1, 0.5, 0.1])
    made, again = project(mu), project(mu.copy())
    assert np.array_equal(made.xy, again.xy)
    _, s, vt = np.linalg.svd(mu - mu.mean(axis=0), full_matrices=False)
    assert made.explained == pytest.approx(tuple(s[:2] ** 2 / (s**2).sum()))
    assert np.abs((made.axes * vt[:2]).sum(axis=1)) == pytest.approx([1.0, 1.0])
    assert np.allclose(made.place(mu), made.xy)


def test_one_item_and_equal_items_have_a_map_too() -> None:
    for mu in (np.ones((1, 4)), np.ones((3, 4))):
        made = project(mu)
        assert np.allclose(made.xy, 0) and made.explained == (0.0, 0.0)


@pytest.mark.parametrize("order", ["csd", "cosine"])
@pytest.mark.parametrize("target", ["ecg", "report"])
def test_distances_are_those_of_the_search(
    demo: services.Collection, model: services.Model, order: str, target: str
) -> None:
    query = services.query_embedding(model, "atrial fibrillation")
    found = demo.search(query, 20, order=order, target=target, from_text=True)
    rows = [demo.row(hit.item_id) for hit in found.hits]
    assert found.distances[rows] == pytest.approx([h.distance for h in found.hits], abs=1e-5)
    # Reports that are the same text share a place.
    ranks = [found.rank(row) for row in rows]
    assert ranks[0] == 1 and ranks == sorted(ranks)
    # Without reference pairs of the model nothing is said of a distance.
    assert found.close is None and found.distance_words(found.hits[0].distance) == ""


def test_a_search_from_an_item_leaves_it_out_and_filters_act_first(
    demo: services.Collection,
) -> None:
    item = str(demo.index.items["item_id"].iloc[7])
    where = ItemFilter(labels={"af": True}, exclude_item_ids=(item,), sources=("simulated",))
    found = demo.search(demo.gaussian(item), 5, where=where)
    assert len(found.hits) == 5 and found.n_passing == int(demo.index.items["label_af"].sum())
    assert all(h.labels["af"] is True and h.item_id != item for h in found.hits)
    shown = demo.as_hit(found, item)
    assert shown.rank == 1 and shown.report == demo.index.items["report"].iloc[7]


def test_an_unknown_item_is_a_sentence(demo: services.Collection) -> None:
    with pytest.raises(ConfigError, match="no item nobody"):
        demo.gaussian("nobody")


def test_the_map_holds_hits_and_no_more_points_than_can_be_seen() -> None:
    n = 3 * MOST_POINTS
    xy = np.random.default_rng(0).normal(size=(n, 2))
    data = gallery_map_data(
        xy, np.full(n, 50.0), colour_by_percentile(np.full(n, 100.0)), explained=(0.4, 0.2),
        passing=np.ones(n, dtype=bool), hits=[7, 29_998], chosen=11,
    )  # fmt: skip
    import base64

    rows = np.frombuffer(base64.b64decode(data["rows"]), "<i4")
    assert MOST_POINTS <= len(rows) <= MOST_POINTS + 3
    assert {7, 29_998, 11} <= set(rows.tolist())
    drawn = np.frombuffer(base64.b64decode(data["xy"]), "<f4").reshape(-1, 2)
    assert np.allclose(drawn, xy[rows], atol=1e-6)
    assert "40 % of the variance" in data["axes"][0]


def test_colours_tell_yes_no_and_unknown_and_rare_sources_share_one() -> None:
    flags = colour_by_flag([0.0, 1.0, np.nan], "AF")
    assert [flags.legend[i][0] for i in flags.number] == ["no", "yes", "not known"]
    kinds = colour_by_kind([*"aabbccddeeffgh"], "source")
    assert kinds.legend[kinds.number[-1]][0] == "other" and len(kinds.legend) == 7


def test_a_collection_of_ones_own_is_built_zipped_and_opened(
    model: services.Model, mine: Callable[..., dict[str, bytes]]
) -> None:
    files = mine()
    archive = own_index.zipped(files, "folder")
    opened = own_index.zip_collection(archive, "mine.zip", model)
    assert len(opened) == 2 and opened.flags == ("af",) and opened.origin == "upload"
    assert opened.index.items["report"].tolist() == ["atrial fibrillation", ""]
    # The one without a report is no answer to a search for reports.
    query = services.query_embedding(model, "normal ecg")
    found = opened.search(query, target="report", from_text=True)
    assert [h.item_id for h in found.hits] == ["own-0001"] and found.n_compared == 1
    assert np.isnan(found.distances[1])
    drawn = services.draw_item(opened.index, "own-0002")
    assert set(drawn.leads_with("measured")) == {"II", "V1"}
    assert np.abs(drawn.signal_mv).max() > 0.05


def test_recordings_of_several_files_are_put_together() -> None:
    master = b"# a comment\nlong/2 1 100 2000\nlong_1 1000\nlong_2 1000\n"
    part = "long_{} 1 100 1000\nlong_{}.dat 16 200 16 0 0 0 0 I\n"
    files = [
        ("long.hea", master),
        *((f"long_{i}.hea", part.format(i, i).encode()) for i in (1, 2)),
        *((f"long_{i}.dat", b"") for i in (1, 2)),
        ("folder/PTB.hea", b"PTB 1 100 10\nPTB.dat 16 200 16 0 0 0 0 I\n"),
        ("folder/PTB.dat", b""),
        ("other.edf", b""),
        ("samples.csv", b"I,II\n1,2\n"),
    ]
    groups, metadata = own_index.grouped(files)
    assert [sorted(n for n, _ in group) for group in groups] == [
        ["long.hea", "long_1.dat", "long_1.hea", "long_2.dat", "long_2.hea"],
        ["PTB.dat", "PTB.hea"],
        ["other.edf"],
        ["samples.csv"],
    ]
    assert metadata == {}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"record,label_af\na,perhaps\n", "Line 2 .* 'perhaps'"),
        (b"record,report\na,\xff\n", "UTF-8"),
        (b"record,report\na," + b"x" * 5000 + b"\n", "5,000 characters"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_sentence(table: bytes, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        own_index.grouped([("t.csv", table)])


def test_what_is_no_index_of_this_model_is_refused(
    model: services.Model, mine: Callable[..., dict[str, bytes]]
) -> None:
    files = mine()
    card = json.loads(files["card.json"])

    def sealed(changed: dict[str, bytes], **entries: object) -> bytes:
        import hashlib

        hashes = {n: hashlib.sha256(changed[n]).hexdigest() for n in card["files"]}
        told = {**card, "files": hashes, **entries}
        return own_index.zipped({**changed, "card.json": json.dumps(told).encode()}, "x")

    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    cases = [
        (b"no zip at all", "zip"),
        (other.getvalue(), "holds no card.json"),
        (sealed(files, checkpoint_hash="0" * 64), "was made with the model 000000"),
        (own_index.zipped({**files, "traces.npy": b"x"}, "x"), "is not the file that its card"),
        (sealed({**files, "traces.npy": b"x"}), "does not hold the 2 ECGs"),
        (sealed({**files, "items.parquet": b"x"}), "no table that an index has"),
        (sealed(files, n=10**9), "is not a flat index of 1000000000"),
    ]
    for content, sentence in cases:
        with pytest.raises(IndexMismatchError, match=sentence):
            own_index.zip_collection(content, "mine.zip", model)
    missing = {n: c for n, c in files.items() if n != "reports.faiss"}
    with pytest.raises(IndexMismatchError, match=r"reports\.faiss .* is missing"):
        own_index.zip_collection(own_index.zipped(missing, "x"), "mine.zip", model)


def test_a_table_that_would_fill_the_memory_is_refused(
    model: services.Model,
    mine: Callable[..., dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from echoing_core.retrieve import index

    files = mine()
    monkeypatch.setattr(index, "MAX_TABLE_BYTES", 100)
    with pytest.raises(IndexMismatchError, match="too large"):
        own_index.zip_collection(own_index.zipped(files, "x"), "mine.zip", model)


def test_an_empty_collection_is_a_sentence(model: services.Model) -> None:
    with pytest.raises(ConfigError, match="no recording in this collection yet"):
        own_index.own_files(model, [], {}, "mine")
    with pytest.raises(ConfigError, match="windows of a recording"):
        own_index.own_items(model, [], windows=9)


def test_folders_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(searching.INDEX_VARIABLE, "/one:/two")
    monkeypatch.setattr("os.pathsep", ":")
    assert [str(p) for p in services.index_folders()] == ["/one", "/two"]
    monkeypatch.delenv(searching.INDEX_VARIABLE)
    assert services.index_folders() == []


def test_an_items_gaussian_keeps_mean_and_sum(demo: services.Collection) -> None:
    item = demo.index.items.iloc[3]
    kept: GaussianEmbedding = demo.gaussian(str(item["item_id"]))
    assert kept.uncertainty[0] == pytest.approx(item["uncertainty"], rel=1e-4)
    assert np.linalg.norm(kept.mu) == pytest.approx(1.0, abs=1e-4)
