"""A line for each opening, and nothing of the patient in it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from echoing_core.errors import ConfigError, UnreadableRecordError
from echoing_core.gate import IN_PROCESS
from echoing_core.io.looking import look
from echoing_core.services import audit
from echoing_core.services.audit import AUDIT_FILE, Audited, audit_file, check_audit


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The audit, switched on; files are read in this process."""
    monkeypatch.setenv(IN_PROCESS, "1")
    monkeypatch.setenv(AUDIT_FILE, str(tmp_path / "audit.jsonl"))
    return tmp_path / "audit.jsonl"


def test_a_line_says_what_happened_and_nothing_of_the_patient(lines: Path, repo_root: Path) -> None:
    of_this_session = Audited("f00d")
    folder = repo_root / "assets" / "recordings"
    files = [
        (f"Anna Muster/{path.name}", path.read_bytes())
        for path in sorted(folder.rglob("SIM_NORMAL.*"))
        if path.suffix in (".hea", ".dat")
    ]
    opened = of_this_session(look, files, None)
    assert opened.recording is not None
    refused = of_this_session(look, [("Anna Muster.csv", b"%PDF-1.4 Muster")], None)
    assert refused.recording is None and refused.error is not None
    first, second = map(json.loads, lines.read_text().splitlines())
    assert set(first) == {"time", "session", "task", "format", "bytes", "seconds", "outcome"}
    assert (first["session"], first["task"], first["bytes"]) == (
        "f00d", "look", sum(len(data) for _, data in files),
    )  # fmt: skip
    assert (first["outcome"], first["format"]) == ("opened", opened.recording.file_format)
    assert (second["outcome"], second["format"]) == (type(refused.error).__name__, "")
    assert first["time"].endswith("+00:00") and first["seconds"] >= 0
    assert "uster" not in lines.read_text() and "Anna" not in lines.read_text()
    # For whoever runs the app alone.
    assert lines.stat().st_mode & 0o077 == 0


def refuses(data: bytes) -> None:
    raise UnreadableRecordError("of Anna Muster")


def fails(data: bytes) -> None:
    raise KeyError("Anna Muster")


def test_what_is_refused_or_fails_has_its_line_too(lines: Path) -> None:
    with pytest.raises(UnreadableRecordError):
        Audited("1")(refuses, b"12345")
    with pytest.raises(Exception):  # noqa: B017 - the gate decides what becomes of it
        Audited("1")(fails, b"12345")
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert told[0]["outcome"] == "UnreadableRecordError"
    assert told[1]["outcome"] != "opened"
    assert [one["bytes"] for one in told] == [5, 5]
    assert "Muster" not in lines.read_text()


def test_many_at_once_do_not_mix_their_lines(lines: Path) -> None:
    def many(name: str) -> None:
        for _ in range(25):
            Audited(name)(len, b"123")

    threads = [threading.Thread(target=many, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert sorted(one["session"] for one in told) == sorted(str(i % 8) for i in range(200))


def test_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IN_PROCESS, "1")
    monkeypatch.setenv(AUDIT_FILE, "  ")
    assert audit_file() is None
    check_audit()
    assert Audited("1")(len, b"123") == 3


def test_a_full_disk_is_told_to_the_log_and_the_file_is_opened_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(IN_PROCESS, "1")
    # A file that is always full.
    monkeypatch.setenv(AUDIT_FILE, "/dev/full")
    assert Audited("1")(len, b"123") == 3
    assert "could not be written" in caplog.text


def test_a_place_that_cannot_be_written_is_refused_at_the_start(
    lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_audit()
    monkeypatch.setenv(AUDIT_FILE, str(lines.parent / "none" / "audit.jsonl"))
    with pytest.raises(ConfigError, match=r"cannot be written \(No such file"):
        check_audit()
    assert audit.audit_file() == lines.parent / "none" / "audit.jsonl"
