"""An index in shards answers as the whole one does, to the last digit, or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoing_core import services, workers
from echoing_core.artifacts import seal
from echoing_core.errors import ConfigError, IndexMismatchError, LostProcessError
from echoing_core.retrieve import shards as shard_folders
from echoing_core.retrieve.search import ItemFilter
from echoing_core.retrieve.shards import open_shard, read_shards
from echoing_core.services import embedding, index_building, sharded
from echoing_core.services.sharded import ShardHolder
from echoing_core.services.word_search import Options, Request, joined, judge

N, N_A_PART, N_SHARDS = 60, 5, 3
REPORTS = (
    "atrial fibrillation.",
    "",
    "left bundle branch block.",
    "sinus rhythm. no lbbb.",
    "zebra.",
)


@pytest.fixture(scope="module")
def model() -> services.Model:
    return services.load_model()


@pytest.fixture(scope="module")
def embedded(model: services.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings as `echoing embed` leaves them, some twice as near, some equal."""
    folder = tmp_path_factory.mktemp("embedded") / "ward"
    folder.mkdir()
    rng = np.random.default_rng(0)
    dim = model.checkpoint.encoder.config.dim
    mu = rng.normal(size=(N, dim)).astype(np.float32)
    # Equal ECGs lie in different shards, so that only their order in the whole tells them apart.
    mu[N // 2 :] = mu[: N // 2]
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    for number in range(N // N_A_PART):
        rows = [
            {"record": f"r{i:02d}", "start_s": 0.0, "content": f"{i}", "percentile": 100.0 * i / N,
             "simulated": True, "origin": "m" * 12, "mu": mu[i],
             "log_var": np.full(dim, -8.0 + 0.01 * (i % 7), np.float32),
             "microvolts": np.full((12, 1000), i, np.int16).tobytes()}
            for i in range(number * N_A_PART, (number + 1) * N_A_PART)
        ]  # fmt: skip
        embedding._write_part(folder / embedding._name(number), rows, [], dim)
    seal(
        folder, kind=embedding.KIND, checkpoint_hash=model.hash, n=N - 1, dim=dim,
        extra={"again": {"part-000003.parquet": [2]}, "n_failed": 1},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "reports.csv"
    lines = [f"r{i:02d},{REPORTS[i % 5]},{i % 2 if i % 3 else ''}" for i in range(50)]
    path.write_text("recording,report,label_af\n" + "\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(
    model: services.Model, embedded: Path, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> services.Collection:
    out = tmp_path_factory.mktemp("whole") / "index"
    services.build_embedded_index(out, model, embedded, table)
    return services.folder_collection(out, model)


@pytest.fixture(scope="module")
def folder(
    model: services.Model, embedded: Path, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("sharded") / "index"
    built = services.build_embedded_index(out, model, embedded, table, n_shards=N_SHARDS)
    assert (built.n, built.n_reports) == (N - 1, 39) and len(built.notes) == 3
    return out


def requests(whole: services.Collection) -> list[Request]:
    """By ECG, with every kind of filter."""
    filters = [
        None,
        ItemFilter(labels={"af": 1.0}, max_percentile=80.0),
        ItemFilter(among=(3, 25, 41, 58), exclude_item_ids=("own-0026",)),
        ItemFilter(sources=("own files",), simulated=True),
        ItemFilter(labels={"af": (2.0, 3.0)}),
    ]
    query = whole.index.gaussians("ecg", np.array([7]))
    scale = services.reference_distances(services.load_model())
    options = [Options(8, "csd", "ecg", where, False) for where in filters]
    options += [Options(N, order, "ecg", None, False) for order in ("csd", "cosine")]
    options += [Options(3, "cosine", "report", filters[1], True)]
    return [Request(query, one, scale) for one in options]


def same(one: services.Found, other: services.Found) -> None:
    told = {field.name for field in dataclasses.fields(services.Found)} - {"query", "scale"}
    for name in told:
        assert getattr(one, name) == getattr(other, name), name


def test_an_ecg_finds_the_same_to_the_last_digit(
    model: services.Model, whole: services.Collection, folder: Path
) -> None:
    shards = services.open_shards(folder, model)
    assert (len(shards), shards.n_shards) == (N - 1, N_SHARDS)
    for request in requests(whole):
        same(joined(request, shards.judge(request)), joined(request, [judge(whole, request)]))


@pytest.mark.parametrize("text", ["afib", "lbbb without af", "no af", "“zebra”", "hypertrophy"])
@pytest.mark.parametrize(("target", "order"), [("ecg", "csd"), ("report", "cosine")])
def test_words_find_the_same(
    model: services.Model, whole: services.Collection, folder: Path, text, target, order
) -> None:
    one, other = (
        services.search_collection(collection, model, text, 9, target=target, order=order)
        for collection in (whole, services.open_shards(folder, model))
    )
    same(one, other)
    unique = services.search_collection(
        services.open_shards(folder, model), model, text, 9, unique_reports=True
    )
    assert len({hit.report for hit in unique.hits}) == len(unique.hits)


@pytest.fixture(scope="module")
def held(model: services.Model, folder: Path) -> Iterator[services.Shards]:
    """The same, held by this process as the app does."""
    shards = services.held_collection(folder, model)
    assert isinstance(shards, services.Shards)
    with shards:
        yield shards


def test_what_a_page_shows_of_held_shards_is_that_of_the_whole(
    model: services.Model, whole: services.Collection, held: services.Shards
) -> None:
    page_is_that_of_the_whole(whole, held, model)


def page_is_that_of_the_whole(
    whole: services.Collection, held: services.Shards, model: services.Model
) -> None:
    for name in ("simulated", "sources", "flags", "has_reports", "dim", "model_hash", "origin"):
        assert getattr(held, name) == getattr(whole, name), name
    assert held.name == "ward"
    same(*(services.search_in_words(one, model, "af", 5) for one in (held, whole)))
    query, where = whole.gaussian("own-0007"), ItemFilter(exclude_item_ids=("own-0007",))
    scale = services.reference_distances(model)
    for target in ("ecg", "report"):
        by_ecg = [
            one.search(query, 5, target=target, where=where, scale=scale) for one in (held, whole)
        ]
        same(*by_ecg)
        for row in (0, 1, 17, 39, N - 2):
            item = whole.item_id(row)
            assert (held.item_id(row), held.row(item)) == (item, row)
            by_both = zip((held, whole), by_ecg, strict=True)
            mine, theirs = (one.as_hit(found, item) for one, found in by_both)
            assert dataclasses.replace(mine, distance=0) == dataclasses.replace(theirs, distance=0)
            np.testing.assert_array_equal(mine.distance, theirs.distance)
    mine, theirs = (
        one.as_hit(services.search_in_words(one, model, "no af", 2), "own-0031")
        for one in (held, whole)
    )
    assert mine == theirs and mine.rank > 2
    for where in (ItemFilter(labels={"af": True}), ItemFilter(among=(2, 30, 58)), ItemFilter()):
        counts = [one.tally(where, one.flags) for one in (held, whole)]
        assert counts[0].n == counts[1].n and counts[0].labels == counts[1].labels
        assert counts[0].median_percentile == counts[1].median_percentile
    assert held.everything.n == N - 1 and held.everything.labels["af"].n == 16
    some = [whole.item_id(row) for row in (58, 3)]
    assert held.items(some) == whole.items(some)
    np.testing.assert_array_equal(held.draw(some[0]).signal_mv, whole.draw(some[0]).signal_mv)
    with pytest.raises(ConfigError, match="no item nobody"):
        held.gaussian("nobody")
    dots, points = held.dots(), whole.dots()
    np.testing.assert_allclose(dots.xy, points.xy, atol=1e-9)
    where = ItemFilter(labels={"af": True}, max_percentile=70.0, among=tuple(range(5, 59)))
    np.testing.assert_array_equal(dots.passing(where), points.passing(where), strict=True)
    assert held.table(where) == whole.table(where)


def test_a_map_of_some_is_that_of_the_whole(
    model: services.Model, whole: services.Collection, folder: Path, monkeypatch
) -> None:
    monkeypatch.setattr(sharded, "MOST_DOTS", 9)
    held = services.open_shards(folder, model)
    some, all_of_them = held.dots(["own-0031", "own-0001"]), whole.dots()
    # The nine, spread evenly, hold the first item already.
    assert len(some.rows) == 10 and {0, 30, N - 2} <= set(some.rows.tolist())
    assert list(some.items["item_id"]) == [whole.item_id(row) for row in some.rows]
    np.testing.assert_allclose(some.xy, all_of_them.xy[some.rows], atol=1e-9)
    assert some.plane.explained == pytest.approx(all_of_them.plane.explained)
    where = ItemFilter(labels={"af": True}, max_percentile=70.0, among=tuple(range(5, 59)))
    np.testing.assert_array_equal(
        some.passing(where), all_of_them.passing(where)[some.rows], strict=True
    )
    left = ((-9.0, -9.0), (0.0, -9.0), (0.0, 9.0), (-9.0, 9.0))
    assert held.rows_inside(left) == whole.rows_inside(left)
    assert held.table(where).count("\n") > 2


def test_a_label_that_a_shard_lacks_is_no_label_that_is_unknown(
    model: services.Model, embedded: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rare.csv"
    rows.write_text("recording,report,label_rare\nr01,a,1\nr02,b,0\n", encoding="utf-8")
    services.build_embedded_index(tmp_path / "i", model, embedded, rows, n_shards=N_SHARDS)
    index = services.load_index(tmp_path / "i", model)
    assert isinstance(index, services.Shards) and index.flags == ("rare",)
    hits = services.search(index, model, "af", where=ItemFilter(labels={"rare": True}))
    assert [hit.record_id for hit in hits] == ["r01 at 0 s"]
    assert index.everything.labels["rare"].n_known == 2
    with pytest.raises(ConfigError, match=r"no label 'common'. It has: rare"):
        services.search(index, model, "af", where=ItemFilter(labels={"common": True}))


def test_what_does_not_fit_into_memory_is_told(
    model: services.Model, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
    card["shards"][0]["n_bytes"] = 10**15
    (copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"needs 1000000\.0 GB of memory.*index serve"):
        services.held_collection(copy, model)
    # One after the other they do.
    assert services.search(services.open_shards(copy, model), model, "afib", 2)


def test_a_shard_is_an_index_of_its_own(whole: services.Collection, folder: Path) -> None:
    _, shards = read_shards(folder, checkpoint_hash=None)
    indexes = [open_shard(one) for one in shards]
    ids = [item for index in indexes for item in index.items["item_id"]]
    assert ids == list(whole.index.items["item_id"])
    traces = np.concatenate([index.traces for index in indexes])
    np.testing.assert_array_equal(traces, whole.index.traces)


def test_a_fast_search_of_shards_is_made_and_used(
    model: services.Model, embedded: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("echoing_core.retrieve.index.FEWEST_FOR_CELLS", 50)
    monkeypatch.setattr(shard_folders, "FEWEST_IN_SHARD_FOR_CELLS", 10)
    monkeypatch.setattr("echoing_core.retrieve.cells._MOST_SHARE", 1.0)
    services.build_embedded_index(tmp_path / "i", model, embedded, traces=False, n_shards=N_SHARDS)
    _, shards = read_shards(tmp_path / "i", checkpoint_hash=model.hash)
    asked = []
    for one in shards:
        index = open_shard(one)
        fast = index._fast["ecg"]
        monkeypatch.setattr(fast, "nearest", lambda q, k, fast=fast: asked.append(k) or ([], []))
        index.nearest(index.gaussians("ecg", np.array([0])), 3)
        # Reports of nobody are not looked at.
        assert index._vectors._parsed.keys() == {"ecg"}
    assert asked == [3, 3, 3]


def test_what_is_missing_or_another_is_told(
    model: services.Model, whole: services.Collection, folder: Path, embedded: Path, tmp_path: Path
) -> None:
    request = requests(whole)[0]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "shard-0001")
    with pytest.raises(IndexMismatchError, match=r"shard-0001 of the index .*copy is missing here"):
        services.open_shards(copy, model).judge(request)
    shutil.copytree(folder / "shard-0002", copy / "shard-0001")
    with pytest.raises(IndexMismatchError, match=r"shard-0001 .* is not the shard"):
        services.open_shards(copy, model).judge(request)
    shutil.copytree(folder / "shard-0001", copy / "shard-0001", dirs_exist_ok=True)
    (copy / "shard-0001" / "vectors.faiss").write_bytes(b"")
    with pytest.raises(IndexMismatchError, match=r"vectors\.faiss .* is not the file"):
        services.open_shards(copy, model).judge(request)
    with pytest.raises(IndexMismatchError, match=r"lies in shards.*echoing search --index"):
        services.folder_collection(folder, model)
    other = replace(model, checkpoint=model.checkpoint, hash="0" * 64)
    with pytest.raises(IndexMismatchError, match="made with the model"):
        services.open_shards(folder, other)
    with pytest.raises(IndexMismatchError, match="holds no shards"):
        services.open_shards(whole.index.folder, model)
    with pytest.raises(ConfigError, match="no source 'x'"):
        where = ItemFilter(sources=("x",))
        services.open_shards(folder, model).judge(
            replace(request, options=replace(request.options, where=where))
        )
    with pytest.raises(ConfigError, match=r"13 shards are not possible.*12 parts"):
        services.build_embedded_index(tmp_path / "i", model, embedded, n_shards=13)
    with pytest.raises(ConfigError, match="for an index in shards"):
        services.open_collection(whole.index.folder, model, cluster="ray")
    services.build_embedded_index(tmp_path / "bare", model, embedded, n_shards=2, traces=False)
    bare = services.open_shards(tmp_path / "bare", model)
    with pytest.raises(ConfigError, match="no reports to search in"):
        services.search_collection(bare, model, "afib", target="report")


def test_shards_that_are_built_stay_built(
    model: services.Model, embedded: Path, tmp_path: Path, monkeypatch
) -> None:
    begun = index_building.build_shard
    calls: list[Path] = []

    class KilledError(Exception):
        pass

    def killed(*arguments: object) -> None:
        calls.append(arguments[-1])  # type: ignore[arg-type]
        if len(calls) == 2:
            raise KilledError
        begun(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(index_building, "build_shard", killed)
    with pytest.raises(KilledError):
        services.build_embedded_index(tmp_path / "i", model, embedded, n_shards=3)
    assert not (tmp_path / "i").exists()
    with pytest.raises(ConfigError, match=r"unfinished work.*--restart"):
        services.build_embedded_index(tmp_path / "i", model, embedded, n_shards=2)
    services.build_embedded_index(tmp_path / "i", model, embedded, n_shards=3)
    assert len(calls) == 4 and len(services.open_shards(tmp_path / "i", model)) == N - 1
    assert not (tmp_path / "i-parts").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_holds_shards_and_opens_a_lost_one_elsewhere(
    model: services.Model, whole: services.Collection, folder: Path, monkeypatch
) -> None:
    if os.environ.get("ECHOING_REQUIRE_RAY") != "1":
        pytest.importorskip("ray", reason='Ray is not installed (pip install "echoing-core[ray]")')
    # Workers look the pieces up by their name, as this process does.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = machines.add_node(num_cpus=1)
    expected = {i: joined(r, [judge(whole, r)]) for i, r in enumerate(requests(whole))}

    def as_expected(shards: services.Shards) -> None:
        for i, request in enumerate(requests(whole)):
            same(joined(request, shards.judge(request)), expected[i])

    def place(_: ShardHolder) -> tuple[str, int]:
        return ray.get_runtime_context().get_node_id(), os.getpid()

    try:
        with services.open_shards(folder, model, cluster=machines.address) as shards:
            shards.open()
            as_expected(shards)
            page_is_that_of_the_whole(whole, shards, model)
            actors = list(shards._held._actors.values())
            where = ray.get([actor.__ray_call__.remote(place) for actor in actors])
            assert len({machine for machine, _ in where}) == 2
            os.kill(where[0][1], signal.SIGKILL)
            as_expected(shards)
            machines.remove_node(other, allow_graceful=False)
            as_expected(shards)
            # A server asks through a process of its own, which Ray may end.
            with services.open_shards(folder, model, cluster=machines.address, kept=True) as apart:
                as_expected(apart)
                apart._held._process.kill()
                with pytest.raises(
                    LostProcessError, match=r"The cluster .* ended, or the connection"
                ):
                    apart.judge(requests(whole)[0])
                as_expected(apart)
            with pytest.raises(ConfigError, match=r"No Ray cluster answers at 127\.0\.0\.1:9"):
                services.open_shards(folder, model, cluster="127.0.0.1:9", kept=True)
            # Lost for good: no answer rather than a shorter one.
            monkeypatch.setattr(workers, "_HELD_ANSWER_S", 5.0)
            ray.kill(actors[0])
            with pytest.raises(LostProcessError, match=r"does not answer for shard-000\d of index"):
                shards.judge(requests(whole)[0])
    finally:
        ray.shutdown()
        machines.shutdown()
