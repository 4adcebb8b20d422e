"""What the system refuses, ends in a true sentence, and what stood there before is as it was."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core.artifacts import replacing_folder, write_text_atomically
from echoing_core.cli import app
from echoing_core.errors import UnreadableRecordError, of_the_system


@contextmanager
def full(n_bytes: int) -> Iterator[None]:
    """As on a disk with room for so many bytes in each file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "There is no room left on the disk (/data/x.csv). Free some"),
        (errno.EROFS, "The disk (/data/x.csv) can only be read."),
        (errno.EACCES, "This user may not read or write a file (/data/x.csv)."),
        (errno.EMFILE, "as many files open as it may"),
    ],
)
def test_what_the_system_refuses_has_a_sentence(number: int, expected: str) -> None:
    told = of_the_system(OSError(number, os.strerror(number), "/data/x.csv"))
    assert told is not None and expected in told and told.endswith((".", ")."))


def test_what_is_no_refusal_of_the_system_has_none() -> None:
    assert of_the_system(KeyError("a")) is None
    assert of_the_system(None) is None
    # Whoever looks for a file has to say what it was for.
    assert of_the_system(FileNotFoundError(errno.ENOENT, "No such file", "a")) is None
    assert of_the_system(UnreadableRecordError("a")) is None


def test_a_write_without_a_name_and_a_draft_name_nothing() -> None:
    unnamed = of_the_system(OSError(errno.ENOSPC, "No space left on device"))
    assert unnamed == "There is no room left on the disk. Free some, or choose another place."
    draft = OSError(errno.ENOSPC, "No space left on device", "/data/.x.csv.0a1b2c.draft")
    assert of_the_system(draft) == unnamed
    odd = of_the_system(OSError(errno.EROFS, "Read-only", "/data/a\x1b[31m"))
    assert odd is not None and "\x1b" not in odd


def test_a_full_disk_leaves_what_stood_there_and_no_draft(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "table.csv", "old\n")
    with replacing_folder(tmp_path / "model") as draft:
        (draft / "a").write_text("old")
    before = everything(tmp_path)
    with full(1000):
        with pytest.raises(OSError) as of_a_file:
            write_text_atomically(tmp_path / "table.csv", "new\n" * 1000)
        with pytest.raises(OSError) as of_a_folder, replacing_folder(tmp_path / "model") as draft:
            (draft / "a").write_text("new")
            (draft / "b").write_bytes(bytes(5000))
    for caught in (of_a_file, of_a_folder):
        assert "larger than files may be there" in (of_the_system(caught.value) or "")
    assert everything(tmp_path) == before


def test_weights_that_do_not_fit_are_told_too(tmp_path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with full(1000), pytest.raises((SafetensorError, OSError)) as caught:
        save_file({"a": np.zeros(5000)}, str(tmp_path / "weights.safetensors"))
    assert "larger than files may be there" in (of_the_system(caught.value) or "")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        write_text_atomically(tmp_path / "a.csv", "a")
    assert "may not read or write" in (of_the_system(caught.value) or "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "There is no room left on the disk."),
        (MemoryError(), "There is not enough memory for this."),
    ],
)
def test_a_command_ends_in_the_sentence(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echoing_core import services

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(services, "samples", refused)
    done = CliRunner().invoke(app, ["samples", "list"])
    assert done.exit_code == 2
    assert done.stderr.startswith(expected) and "Traceback" not in done.stderr
    # A bug still is one.
    monkeypatch.setattr(services, "samples", lambda: 1 // 0)
    assert isinstance(CliRunner().invoke(app, ["samples", "list"]).exception, ZeroDivisionError)
