"""Uploads through the gate: the same as without it, by plans that hold no bytes; and no traces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ecg_files as made
import numpy as np
import pytest
from broken_uploads import sound_upload

from echoing_core.errors import EchoingError, StoppedReadingError, UnreadableRecordError
from echoing_core.gate import IN_PROCESS, Limits
from echoing_core.io.looking import look, opened_archive
from echoing_core.io.many import BatchItem, group_files
from echoing_core.services import uploads
from echoing_core.services.own_index import grouped, grouped_places
from echoing_core.services.session_file import Setting, read_session
from echoing_core.zeroshot.prompts import parse_prompt_sets


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IN_PROCESS, "1")


def many() -> list[tuple[str, bytes]]:
    one, two = sound_upload("one"), sound_upload("two")
    table = b"record,report\none,sinus rhythm\n"
    loose = {"b/night.edf": made.edf(made.ecg()), "b/.hidden": b"x", "b/note.txt": b"no ECG"}
    return [
        *(("a/" + name, data) for name, data in one.items()),
        *two.items(),
        *loose.items(),
        ("reports.csv", table),
    ]


@pytest.mark.usefixtures("here")
def test_a_plan_groups_as_the_whole_files_do() -> None:
    files = many()
    plan = uploads.plan(files)
    assert not any(isinstance(part, bytes) for entry in plan for part in entry)
    expected, found = group_files(files), uploads.planned(plan, files)
    assert [item.name for item in found] == [item.name for item in expected]
    for one, other in zip(found, expected, strict=True):
        assert [(f.name, f.size, f.data) for f in one.files] == [
            (f.name, f.size, f.data) for f in other.files
        ]


def test_places_of_groups_are_those_of_their_files() -> None:
    files = [(name.removeprefix("a/").removeprefix("b/"), data) for name, data in many()]
    (groups, metadata), (places, same) = grouped(files), grouped_places(files)
    assert metadata == same and metadata["one"].report == "sinus rhythm"
    assert [[files[place] for place in group] for group in places] == groups


def test_one_look_tells_what_a_person_has_to_say_first() -> None:
    sound = look(sound_upload("a"))
    assert sound.recording is not None and sound.names == ("a",) and sound.error is None
    several = look({**sound_upload("a"), **sound_upload("b")})
    assert several.names == ("a", "b") and several.recording is None
    chosen = look({**sound_upload("a"), **sound_upload("b")}, "b")
    assert chosen.recording is not None and chosen.recording.record_id == "b"
    assert look({"a.npy": made.npy(made.ecg())}).is_table
    unnamed = look({"a.edf": made.edf(made.ecg(), leads=[f"chan {i}" for i in range(12)])})
    assert unnamed.recording is None or not unnamed.is_table
    damaged = look({"a.hea": b""})
    assert isinstance(damaged.error, UnreadableRecordError) and not damaged.can_be_told


def test_an_archive_becomes_its_recordings() -> None:
    (item,) = group_files([("both.zip", made.zipped({**sound_upload("a"), **sound_upload("b")}))])
    inside = opened_archive(item)
    assert inside is not None and [one.name for one in inside] == ["both.zip/a", "both.zip/b"]
    assert {file.name for file in inside[0].files} == {"a.hea", "a.dat"} == set(inside[0].members)
    (alone,) = group_files(sound_upload("a").items())
    assert opened_archive(alone) is None


def test_what_killed_versions_left_is_swept(tmp_path: Path) -> None:
    old = time.time() - 3600
    kinds = {"echoing-ab12_xyz": True, "echoing-tests-0": False, "echoing-AB12cdef": False}
    for name in (*kinds, "echoing-newer123", "other-ab12cdef"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data0.dat").write_bytes(b"signal")
        if name != "echoing-newer123":
            os.utime(tmp_path / name, (old, old))
    (tmp_path / "echoing-linked12").symlink_to(tmp_path / "other-ab12cdef")
    assert uploads.sweep(tmp_path) == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        "echoing-tests-0", "echoing-AB12cdef", "echoing-newer123", "echoing-linked12",
        "other-ab12cdef",
    }  # fmt: skip
    assert uploads.sweep(tmp_path / "absent") == 0


@pytest.fixture(scope="module")
def gate() -> Iterator[None]:
    yield
    uploads.close()


@pytest.mark.slow
@pytest.mark.usefixtures("gate")
def test_every_kind_of_upload_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IN_PROCESS, raising=False)
    signal = made.ecg()
    for files in (made.wfdb(signal), {"a.dcm": made.dicom(signal)}, {"a.csv": made.csv(signal)}):
        expected, found = look(files), uploads.gated(look, files)
        assert (found.names, found.is_table) == (expected.names, expected.is_table)
        assert str(found.error) == str(expected.error)
        if expected.recording is not None and found.recording is not None:
            np.testing.assert_array_equal(found.recording.signal_mv, expected.recording.signal_mv)
            assert found.recording.notes == expected.recording.notes
    (item,) = group_files([("a.zip", made.zipped(sound_upload("a")))])
    (inside,) = uploads.gated(opened_archive, item) or []
    assert uploads.gated(BatchItem.read, replace(inside, members=())).n_times > 0
    questions = b"- name: q\n  question: Is it?\n  positive: [yes it is]\n  negative: [no]\n"
    try:
        expected_sets = parse_prompt_sets(questions, "The file")
    except EchoingError as error:
        with pytest.raises(type(error), match=str(error)[:30]):
            uploads.gated(parse_prompt_sets, questions, "The file")
    else:
        assert uploads.gated(parse_prompt_sets, questions, "The file") == expected_sets
    with pytest.raises(EchoingError):
        uploads.gated(read_session, b"{", (Setting("layout", "text"),))
    assert uploads.gated(grouped_places, list(sound_upload("a").items()))[0] == [[0, 1]]


_SERVER = """
import time
from echoing_core.gate import Gate, Limits
gate = Gate()
print("up", flush=True)
gate.run(Limits(60.0, 120.0, 2**30, 2**20), time.sleep, 100)
"""


@pytest.mark.slow
def test_a_worker_ends_with_its_server_whatever_it_reads() -> None:
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdout.readline() == "up\n"
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    if not children.exists():
        server.kill()
        pytest.skip("this system does not say which processes a process has started")
    end = time.monotonic() + 30
    while not (workers := children.read_text().split()) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.0)
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    while any(_is_alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.2)
    assert workers and not any(_is_alive(pid) for pid in workers)


def _is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.usefixtures("gate")
def test_others_are_served_while_one_upload_holds_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(IN_PROCESS, raising=False)
    monkeypatch.setattr(uploads, "limits_for", lambda n_bytes: Limits(20.0, 60.0, 2**30, 2**24))
    files = sound_upload("a", seconds=10.0)

    ended: list[BaseException] = []

    def hold() -> None:
        try:
            uploads.gated(sum, range(10**12))
        except StoppedReadingError as error:
            ended.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    time.sleep(0.5)
    # Read while the other holds its worker: it neither waits for its turn nor for the other's end.
    # How long it takes is in benchmarks/gate.py.
    for _ in range(5):
        assert uploads.gated(look, files).recording is not None
    assert thread.is_alive() and not ended
    thread.join(60)
    assert not thread.is_alive() and len(ended) == 1
