"""Places in object stores, held against fsspec's own store in memory."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from echoing_core import stores
from echoing_core.artifacts import CARD, read_card, read_checked, seal, writing_folder
from echoing_core.errors import ConfigError, IndexMismatchError
from echoing_core.stores import StorePath, opened, place_of, refuse_store
from echoing_core.workers import PLAN_NAME, parts_of


@pytest.fixture
def store(request: pytest.FixtureRequest) -> StorePath:
    return StorePath(f"memory://{request.node.name}/ward")


def test_a_place_answers_as_a_path_does(store: StorePath, tmp_path: Path) -> None:
    for root in (store, tmp_path / "ward"):
        if isinstance(root, Path):
            (root / "b").mkdir(parents=True)
        assert not (root / "a.txt").exists()
        (root / "a.txt").write_bytes(b"first")
        (root / "b" / "c.bin").write_bytes(b"second")
        assert (root / "a.txt").is_file() and not (root / "a.txt").is_dir()
        assert root.is_dir() and root.exists() and not root.is_file()
        assert [one.name for one in sorted(root.iterdir())] == ["a.txt", "b"]
        assert [one.name for one in root.glob("*.txt")] == ["a.txt"]
        assert (root / "a.txt").read_text(encoding="utf-8") == "first"
        assert (root / "a.txt").stat().st_size == 5
        assert (root.name, (root / "a.txt").parent) == ("ward", root)
        with opened(root / "b" / "c.bin") as place:
            stream = place.open("rb") if isinstance(place, Path) else place
            with stream:
                stream.seek(3)
                assert stream.read() == b"ond"
        (root / "a.txt").unlink()
        (root / "a.txt").unlink(missing_ok=True)
        assert [one.name for one in root.iterdir()] == ["b"]
    assert store.sizes() == {"b/c.bin": 6} and store.heads({"b/c.bin": 3}) == {"b/c.bin": b"sec"}
    assert pickle.loads(pickle.dumps(store)) == store
    assert place_of("s3://bucket/x/") == StorePath("s3://bucket/x") and place_of("a/b") == Path(
        "a/b"
    )


def test_a_sealed_folder_counts_from_when_its_card_is_there(store: StorePath, monkeypatch) -> None:
    def write(content: bytes, *, broken: bool = False) -> None:
        with writing_folder(store, kind="thing") as draft:
            (draft / "x").write_bytes(content)
            (draft / "y").write_bytes(content)
            seal(draft, kind="thing", checkpoint_hash="h", n=1, dim=1, extra={})
            if broken:
                fs = stores._file_system("memory")
                put = fs.put_file

                def fails(local: str, path: str) -> None:
                    if path.endswith("y"):
                        raise OSError("connection reset")
                    put(local, path)

                monkeypatch.setattr(fs, "put_file", fails)

    def read() -> bytes:
        card = read_card(store, kind="thing", files=frozenset("xy"), checkpoint_hash="h")
        return bytes(read_checked(store, "x", card, mapped=True))

    write(b"one")
    assert read() == b"one"
    with pytest.raises(ConfigError, match=r"cannot be written: .*connection reset.*Try again"):
        write(b"two", broken=True)
    # Neither the old nor the new one: nothing half counts.
    with pytest.raises(IndexMismatchError, match=f"holds no {CARD}"):
        read()
    monkeypatch.undo()
    (store / CARD).write_bytes(b'{"kind": "thing"}')
    write(b"three")
    assert read() == b"three"
    (store / "x").write_bytes(b"other")
    with pytest.raises(IndexMismatchError, match=r"x in memory://.* is not the file"):
        read()
    (store / CARD).write_bytes(b'{"kind": "another"}')
    with pytest.raises(ConfigError, match="already holds something"):
        write(b"four")


def test_work_goes_on_where_it_was_left(store: StorePath) -> None:
    with pytest.raises(KeyError), parts_of(store, "one", restart=False) as work:
        (work / "part-0").write_bytes(b"")
        raise KeyError
    with pytest.raises(ConfigError, match=r"unfinished work.*--restart"):
        parts_of(store, "two", restart=False).__enter__()
    with parts_of(store, "one", restart=False) as work:
        assert (work / "part-0").is_file()
        (work / CARD).write_bytes(b"{}")
    assert list(store.sizes()) == [CARD, "part-0"]
    with pytest.raises(ConfigError, match="finished work"):
        parts_of(store, "one", restart=False).__enter__()
    with parts_of(store, "two", restart=True):
        assert list(store.sizes()) == [PLAN_NAME]
    (store / "photo.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="something else"):
        parts_of(store, "two", restart=True).__enter__()


def test_what_cannot_be_reached_is_told(store: StorePath, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"x cannot be read: it is not there"):
        (store / "x").read_bytes()
    with pytest.raises(ConfigError, match="Nothing is known that reaches nowhere://"):
        StorePath("nowhere://x").is_dir()
    stores._file_system.cache_clear()
    for name, package in (("s3fs", "s3fs"), ("gcsfs", "gcsfs")):
        monkeypatch.setitem(sys.modules, name, None)
        protocol = {"s3fs": "s3", "gcsfs": "gs"}[name]
        with pytest.raises(ConfigError, match=f"pip install {package}"):
            StorePath(f"{protocol}://bucket/x").is_file()
    for given in (Path("s3://bucket/x"), "s3://bucket/x"):
        with pytest.raises(ConfigError, match=r"s3://bucket/x is in an object store.*Copy it"):
            refuse_store(given)
    refuse_store("C:/data")


class NoCredentialsError(Exception):
    __module__ = "botocore.exceptions"


class ReadTimeoutError(Exception):
    __module__ = "aiobotocore.x"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError("Access Denied"), "the store refuses.*AWS_ACCESS_KEY_ID"),
        (NoCredentialsError("Unable to locate credentials"), "the store refuses"),
        (FileNotFoundError("The specified bucket does not exist"), "no such bucket"),
        (
            ReadTimeoutError("Read timeout\non endpoint"),
            r"does not answer .*timeout on endpoint",
        ),
    ],
)
def test_errors_of_stores_are_sentences(store: StorePath, monkeypatch, error, words) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(stores._file_system("memory"), "cat_file", fails)
    with pytest.raises(ConfigError, match=words):
        store.read_bytes()


def test_a_mistake_of_this_program_stays_one(store: StorePath, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stores._file_system("memory"), "cat_file", fails)
    with pytest.raises(ZeroDivisionError):
        store.read_bytes()
