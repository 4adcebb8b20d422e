"""Recordings, embeddings and indexes in object stores: what comes out is what folders give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.errors import ConfigError, DataSetError, IndexMismatchError
from echoing_core.services import embedding, index_building
from echoing_core.stores import StorePath
from tests.unit.services.test_embedding import files, folder, model, vectors

__all__ = ["files", "folder", "model"]


def put(files: Path, store: StorePath) -> None:
    for path in files.rglob("*"):
        if path.is_file():
            (store / path.relative_to(files).as_posix()).write_bytes(path.read_bytes())


class KilledError(Exception):
    pass


def killed_at(n: int, module: object, name: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let the n-th call fail; the list grows with each."""
    begun, calls = getattr(module, name), []

    def called(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == n:
            raise KilledError
        return begun(*arguments)

    monkeypatch.setattr(module, name, called)
    return calls


def whole_way(
    store: StorePath, files: Path, folder: Path, model: services.Model, tmp_path: Path, monkeypatch
) -> None:
    """Embed, index and search, each once killed in between."""
    monkeypatch.setattr(embedding, "ITEMS_A_PART", 3)
    put(files, store / "in")
    source, out, index = str(store / "in"), str(store / "out"), str(store / "index")
    calls = killed_at(2, embedding, "embed_part", monkeypatch)
    with pytest.raises(KilledError):
        services.embed_collection(source, out, model=folder)
    with pytest.raises(IndexMismatchError, match=r"holds no card\.json"):
        services.build_embedded_index(tmp_path / "i", model, out)
    done = services.embed_collection(source, out, model=folder)
    assert (done.n, done.n_recordings, done.n_resumed, done.n_again) == (6, 8, 3, 1)
    assert len(calls) == 4 and [name for name, _ in done.failures] == ["empty.edf"]
    with pytest.raises(ConfigError, match=r"finished work.*--restart"):
        services.embed_collection(source, out, model=folder)
    services.embed_collection(files, tmp_path / "out", model=folder)
    one, two = vectors(StorePath(out), model), vectors(tmp_path / "out", model)
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)
    # An index of it, in a folder and where it is, whole and in shards.
    calls = killed_at(2, index_building, "build_shard", monkeypatch)
    with pytest.raises(KilledError):
        services.build_embedded_index(index, model, out, n_shards=2)
    with pytest.raises(IndexMismatchError, match="holds no"):
        services.open_collection(index, model)
    services.build_embedded_index(index, model, out, n_shards=2)
    assert len(calls) == 3
    services.build_embedded_index(str(store / "whole"), model, out)
    services.build_embedded_index(tmp_path / "index", model, tmp_path / "out")
    query = services.read_recording(files / "c")
    found = [
        services.search_collection(services.open_collection(place, model), model, query, 4).hits
        for place in (tmp_path / "index", str(store / "whole"), index)
    ]
    assert found[0] == found[1] == found[2] and found[0][0].record_id == "c at 0 s"
    traces = services.load_index(str(store / "whole"), model).traces
    np.testing.assert_array_equal(traces, services.load_index(tmp_path / "index", model).traces)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> StorePath:
    return StorePath(f"memory://{request.node.name}")


def test_the_whole_way_in_a_store(
    store: StorePath, files: Path, folder: Path, model, tmp_path: Path, monkeypatch
) -> None:
    whole_way(store, files, folder, model, tmp_path, monkeypatch)


def test_commands_say_what_they_take(store: StorePath, files: Path, folder: Path) -> None:
    put(files, store / "in")
    (store / "set" / "studies.parquet").write_bytes(b"")
    for arguments, words in (
        (["embed", f"{store}/nothing", "out"], "no folder memory://"),
        (["embed", f"{store}/set", f"{store}/out"], "in an object store, and here a folder"),
        (["embed", f"{store}/in", f"{store}/in"], "not an older collection"),
        (["index", "build", f"{store}/i", "--folder", str(files)], "in an object store"),
        (["index", "build", "i", "--data", f"{store}/set"], "in an object store"),
        (["index", "build", "i", "--folder", f"{store}/in"], "in an object store"),
        (["search", "af", "--index", f"{store}/in"], "so it is not an index"),
        (["prepare", "ptbxl", f"{store}/in", "out"], "in an object store"),
        (["prepare", "simulated", f"{store}/set", "--patients", "2"], "in an object store"),
        (["batch", str(files), "--csv", f"{store}/t/table.csv"], "in an object store"),
        (["explain", "SIM_NORMAL", "--json", f"{store}/t/e.json"], "in an object store"),
        (["app", "--collection", f"{store}/in"], "in an object store"),
    ):
        done = CliRunner().invoke(app, arguments)
        told = " ".join((done.stderr or str(done.exception)).split())
        assert done.exit_code == 2 and words in told, (arguments, told)


def test_a_batch_reads_from_a_store(store: StorePath, files: Path, model) -> None:
    put(files, store)
    items, others = services.folder_items(store)
    on_disk, _ = services.folder_items(files)
    assert [item.name for item in items] == [item.name for item in on_disk] and others == ()
    chosen = [item for item in items if item.name in ("a", "empty.edf")]
    read, failed = services.batch(model, chosen, [])
    assert isinstance(read, services.BatchRow) and read.duration_s == 10.0
    assert isinstance(failed, services.BatchFailure) and failed.name == "empty.edf"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorePath]:
    """A bucket of a server that speaks S3, on this machine."""
    pytest.importorskip("s3fs", reason='s3fs is not installed (pip install "echoing-core[s3]")')
    server_of = pytest.importorskip("moto.server", reason="moto is for tests alone")
    from echoing_core import stores

    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    stores._file_system.cache_clear()
    stores._file_system("s3").mkdir("ward")
    yield StorePath("s3://ward/some/ecgs")
    server.stop()
    # Whoever asks now hears that nobody answers.
    with pytest.raises(ConfigError, match="the store does not answer"):
        StorePath("s3://ward/x").read_bytes()
    stores._file_system.cache_clear()


@pytest.mark.slow
def test_the_whole_way_in_s3(
    s3: StorePath, files: Path, folder: Path, model, tmp_path: Path, monkeypatch
) -> None:
    whole_way(s3, files, folder, model, tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="no such bucket"):
        StorePath("s3://nowhere/x/y").write_bytes(b"")
    with pytest.raises(DataSetError, match="no folder s3://nowhere"):
        services.embed_collection("s3://nowhere/x", str(s3 / "z"), model=folder)
