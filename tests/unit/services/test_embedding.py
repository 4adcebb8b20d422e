"""Collections of embeddings: the same vectors whoever makes them, each recording once."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.errors import ConfigError, DataSetError, IndexMismatchError
from echoing_core.io.many import BatchItem
from echoing_core.io.sources import SourceFile
from echoing_core.services import embedding
from tests.ecg_files import ecg, wfdb
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.protocols.test_runs import study_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> services.Model:
    return services.load_model(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven ECGs, one of them a copy of another under another name, and a file that is none."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "ward").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "d", "e", "ward/f"):
        noisy = ecg(10.0) + rng.normal(0, 20, (12, 5000)).round().astype(np.int16)
        for file, content in wfdb(noisy, name=name.rpartition("/")[2]).items():
            (folder / name).parent.joinpath(file).write_bytes(content)
    for ending in ("hea", "dat"):
        content = (folder / f"b.{ending}").read_bytes()
        (folder / "ward" / f"copy.{ending}").write_bytes(
            content.replace(b"b.dat", b"copy.dat").replace(b"b 12", b"copy 12")
        )
    (folder / "empty.edf").write_bytes(b"")
    return folder


def vectors(folder: Path, model: services.Model) -> dict[str, np.ndarray]:
    parts = list(services.embedded_parts(folder, model))
    records = [record for part in parts for record in part.table["record"]]
    both = [np.hstack([p.embedding.mu, p.embedding.log_var]) for p in parts]
    return dict(zip(records, np.concatenate(both), strict=True))


def test_a_folder_is_embedded_as_its_recordings_are(
    folder: Path, model: services.Model, files: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(embedding, "ITEMS_A_PART", 3)
    done = services.embed_collection(files, tmp_path / "out", model=folder)
    assert (done.n, done.n_recordings, done.n_resumed, done.n_again) == (6, 8, 0, 1)
    assert [name for name, _ in done.failures] == ["empty.edf"]
    found = vectors(tmp_path / "out", model)
    assert set(found) == {"a", "b", "c", "d", "e", "ward/f"}
    for name, vector in found.items():
        explanation = services.explain(model, services.read_recording(files / name), 10.0)
        alone = explanation.track.embedding
        np.testing.assert_allclose(vector, np.hstack([alone.mu[0], alone.log_var[0]]), atol=1e-6)
    built = services.build_embedded_index(tmp_path / "index", model, tmp_path / "out")
    assert built.n == 6 and "1 recordings could not be read" in built.notes[0]
    index = services.load_index(tmp_path / "index", model)
    one = next(services.embedded_parts(tmp_path / "out", model)).embedding[np.array([1])]
    rows, distances = index.nearest(one, 1)
    assert index.items["record_id"][rows[0]] == "b at 0 s" and distances[0] >= 0
    # The ECG is kept as the index of the folder itself keeps it.
    services.build_folder_index(tmp_path / "other", model, files)
    other = services.load_index(tmp_path / "other", model)
    np.testing.assert_array_equal(index.traces, np.delete(other.traces, 5, axis=0))


def test_a_prepared_set_is_embedded_by_rows(
    folder: Path, model: services.Model, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(embedding, "ITEMS_A_PART", 4)
    save_prepared(tmp_path / "data", study_set(6, "train").concat(study_set(4, "test")))
    done = services.embed_collection(tmp_path / "data", tmp_path / "out", model=folder)
    assert (done.n, done.n_recordings, done.failures) == (10, 10, ())
    services.build_embedded_index(tmp_path / "i", model, tmp_path / "out")
    services.build_prepared_index(tmp_path / "j", model, tmp_path / "data")
    one, two = (services.load_index(tmp_path / name, model) for name in "ij")
    np.testing.assert_allclose(one.gaussians().mu, two.gaussians().mu, atol=1e-6)
    np.testing.assert_array_equal(one.traces, two.traces)


def test_what_is_done_stays_done(
    folder: Path, model: services.Model, files: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(embedding, "ITEMS_A_PART", 3)
    whole = services.embed_collection(files, tmp_path / "whole", model=folder)
    begun = embedding.embed_part
    calls: list[Path] = []

    class KilledError(Exception):
        pass

    def killed(*arguments: object) -> int:
        calls.append(arguments[-1])  # type: ignore[arg-type]
        if len(calls) == 2:
            raise KilledError
        return begun(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(embedding, "embed_part", killed)
    with pytest.raises(KilledError):
        services.embed_collection(files, tmp_path / "out", model=folder)
    assert not (tmp_path / "out").exists()
    with pytest.raises(IndexMismatchError):
        services.embedded_parts(tmp_path / "out-parts", model).__next__()
    # Other work is not mixed with it.
    with pytest.raises(ConfigError, match=r"unfinished work.*--restart"):
        services.embed_collection(files, tmp_path / "out", model=folder, windows=2)
    done = services.embed_collection(files, tmp_path / "out", model=folder)
    assert done.n_resumed == 3 and done.n == whole.n and len(calls) == 4
    one, two = (vectors(tmp_path / name, model) for name in ("whole", "out"))
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)
    assert not (tmp_path / "out-parts").exists()
    # Damage is told by name.
    part = tmp_path / "out" / "part-000001.parquet"
    part.chmod(0o644)
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(IndexMismatchError, match="part-000001"):
        list(services.embedded_parts(tmp_path / "out", model))


@pytest.mark.slow
def test_two_processes_make_the_same_vectors(
    folder: Path, model: services.Model, files: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(embedding, "ITEMS_A_PART", 3)
    services.embed_collection(files, tmp_path / "one", model=folder)
    result = CliRunner().invoke(
        app, ["embed", str(files), str(tmp_path / "two"), "--workers", "2", "--model", str(folder)]
    )
    assert result.exit_code == 0, result.output
    assert "6 ECGs of 8 recordings, 1 left out that were there twice" in result.output
    one, two = (vectors(tmp_path / name, model) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-6)
    card = json.loads((tmp_path / "two" / "card.json").read_text())
    assert card["again"] == {"part-000002.parquet": [0]} and card["n_failed"] == 1


def test_nothing_to_embed_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "empty.edf").write_bytes(b"")
    with pytest.raises(DataSetError, match=r"None of the recordings.*empty\.edf"):
        services.embed_collection(tmp_path / "data", tmp_path / "out", model=folder)
    with pytest.raises(ConfigError, match="6 windows"):
        services.embed_collection(tmp_path / "data", tmp_path / "out", model=folder, windows=6)


def test_the_hash_of_a_long_recording_holds_none_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "holter.dat"
    path.write_bytes(b"ab" * 1_000_000)
    item = BatchItem("holter", (SourceFile(path.name, path.stat().st_size, path=path),))
    tracemalloc.start()
    try:
        told = embedding._content_of(item)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told == hashlib.sha256(hashlib.sha256(path.read_bytes()).digest()).hexdigest()
    assert peak < 100_000
