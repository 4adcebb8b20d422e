"""Sealed folders: what is written comes back, and nothing else does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from echoing_core.artifacts import (
    CARD,
    read_card,
    read_checked,
    replacing_folder,
    seal,
    settled,
    write_text_atomically,
    writing_folder,
)
from echoing_core.errors import ConfigError, IndexMismatchError

HASH = "ab" * 32
FILES = frozenset({"numbers.bin", "names.txt"})


def write(folder: Path, numbers: bytes = b"12345678", **extra: object) -> None:
    with writing_folder(folder, kind="store") as draft:
        (draft / "numbers.bin").write_bytes(numbers)
        (draft / "names.txt").write_text("a\nb\n")
        seal(draft, kind="store", checkpoint_hash=HASH, n=2, dim=4, extra=extra)


def card_of(folder: Path, checkpoint_hash: str | None = HASH) -> dict[str, object]:
    return read_card(folder, kind="store", files=FILES, checkpoint_hash=checkpoint_hash)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    write(path, cohort="test")
    return path


def test_what_was_written_comes_back(folder: Path) -> None:
    card = card_of(folder)
    assert (card["cohort"], card["n"], card["dim"]) == ("test", 2, 4)
    assert read_checked(folder, "numbers.bin", card) == b"12345678"
    assert read_checked(folder, "names.txt", card) == b"a\nb\n"


@pytest.mark.parametrize("name", sorted(FILES))
def test_changed_bytes_are_refused_and_named(folder: Path, name: str) -> None:
    """Truncated, one bit turned, or replaced by as many other bytes: only the hash can tell."""
    card = card_of(folder)
    content = (folder / name).read_bytes()
    flipped = bytes([content[0] ^ 1]) + content[1:]
    for damaged in (content[:-1], flipped, content + b"\0", b"", content[::-1]):
        (folder / name).write_bytes(damaged)
        with pytest.raises(IndexMismatchError, match=f"{name} .* is not the file that its card"):
            read_checked(folder, name, card)
    (folder / name).unlink()
    with pytest.raises(IndexMismatchError, match=f"{name} .* is missing"):
        read_checked(folder, name, card)


def test_another_checkpoint_is_refused(folder: Path) -> None:
    assert card_of(folder, None)["checkpoint_hash"] == HASH
    with pytest.raises(IndexMismatchError, match="in use is cdcd"):
        card_of(folder, "cd" * 32)


def test_a_failed_write_leaves_the_old_folder_and_no_rubbish(folder: Path) -> None:
    with pytest.raises(OSError, match="no space"), writing_folder(folder, kind="store") as draft:
        (draft / "numbers.bin").write_bytes(b"half")
        raise OSError("no space left on device")
    assert [path.name for path in folder.parent.iterdir()] == ["store"]
    assert read_checked(folder, "numbers.bin", card_of(folder)) == b"12345678"


def test_writing_again_replaces_the_folder_whole(folder: Path) -> None:
    write(folder, b"87654321")
    card = card_of(folder)
    assert "cohort" not in card and read_checked(folder, "numbers.bin", card) == b"87654321"
    assert sorted(path.name for path in folder.iterdir()) == sorted({*FILES, CARD})


def test_what_cannot_be_sealed_or_replaced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="written by seal itself"):
        write(tmp_path / "store", n=3)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="not a store"):
        write(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_text_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text_atomically(path, "one\n")
    write_text_atomically(path, "two µV\n")
    assert path.read_text(encoding="utf-8") == "two µV\n"
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "half \ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text(encoding="utf-8") == "two µV\n"


def test_a_link_keeps_leading_to_what_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    write(tmp_path / "link", b"87654321")
    assert (tmp_path / "link").is_symlink()
    assert read_checked(tmp_path / "real", "numbers.bin", card_of(tmp_path / "real")) == b"87654321"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_what_dead_writers_left_is_swept_and_what_living_ones_write_is_not(
    folder: Path,
) -> None:
    parent = folder.parent
    for name in (".store.00.draft", ".other.00.draft"):
        (parent / name).mkdir()
        (parent / name / "half").write_bytes(b"x")
    (parent / ".table.csv.00.draft.csv").write_text("half")
    with replacing_folder(folder) as living:
        (living / "new").touch()
        write(folder, b"87654321")
        write_text_atomically(parent / "table.csv", "whole\n")
        left = {path.name for path in parent.iterdir()}
        assert left == {"store", "table.csv", ".other.00.draft", living.name}
    assert [path.name for path in folder.iterdir()] == ["new"]


_KILLED = """
import os, sys
from pathlib import Path
from echoing_core import artifacts
steps = int(sys.argv[2])
if sys.argv[3] == "two":
    artifacts._exchanged = lambda one, other: False
def killed_after(function):
    def counted(*arguments):
        global steps
        result = function(*arguments)
        steps -= 1
        if not steps:
            os._exit(9)
        return result
    return counted
Path.replace = killed_after(Path.replace)
artifacts._exchanged = killed_after(artifacts._exchanged)
artifacts.shutil.rmtree = killed_after(artifacts.shutil.rmtree)
with artifacts.replacing_folder(Path(sys.argv[1])) as draft:
    (draft / "numbers").write_text("new")
"""


@pytest.mark.parametrize("way", ["exchange", "two"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_folder(tmp_path: Path, way: str) -> None:
    """Killed after the first, second, ... step that changes a name, until none is left."""
    target = tmp_path / "model"
    seen = []
    for steps in range(1, 9):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        (target / "numbers").write_text("old")
        command = [sys.executable, "-c", _KILLED, str(target), str(steps), way]
        code = subprocess.run(command, check=False, timeout=60).returncode
        seen.append((settled(target) / "numbers").read_text())
        with replacing_folder(tmp_path / "model") as draft:
            (draft / "numbers").write_text("after")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        if not code:
            break
    assert not code and seen[-1] == "new"
    assert ("old" in seen) == (way == "two")
