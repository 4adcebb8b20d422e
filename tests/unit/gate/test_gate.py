"""Calls in a worker: what comes back, what is stopped, and what is told of it."""

from __future__ import annotations

import io
import operator
import pickle
import resource
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_uploads import sound_upload

from echoing_core.errors import MissingLeadError, StoppedReadingError, UnreadableRecordError
from echoing_core.gate import Gate, Limits, direct, limits_for
from echoing_core.gate.limits import GROWN, kept
from echoing_core.gate.wire import BrokenAnswerError, TooMuchError, receive, send
from echoing_core.gate.worker import fingerprint, serve
from echoing_core.io import read_recording
from echoing_core.records import Recording

_MB = 1024**2
SMALL = Limits(cpu_s=1.0, wall_s=2.0, memory_bytes=256 * _MB, output_bytes=16 * _MB)


def there_and_back(value: Any, most: int = 10**6) -> Any:
    stream = io.BytesIO()
    send(stream, value, most)
    stream.seek(0)
    return receive(stream, most)


def test_records_arrays_and_errors_come_back_as_they_were() -> None:
    signal = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    sent = Recording(signal, 500.0, ("I", "II", "a"), "r", notes=("n",), simulated=True)
    found = there_and_back(sent)
    np.testing.assert_array_equal(found.signal_mv, signal)
    assert (found.lead_names, found.notes, found.simulated) == (sent.lead_names, ("n",), True)
    error = there_and_back(MissingLeadError("No lead."))
    assert type(error) is MissingLeadError and str(error) == "No lead."
    plain = {"a": [1, 2.5, None, True, b"x", "y"], "b": {3}, "c": np.float64(0.5), "d": slice(1, 2)}
    assert there_and_back(plain) == plain


class Call:
    """Runs something where it is unpickled, if that is allowed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.add, (1, 2)


@pytest.mark.parametrize("value", [Call(), Path("x"), datetime(2020, 1, 1), read_recording])
def test_an_answer_can_build_nothing_else(value: object) -> None:
    with pytest.raises(BrokenAnswerError):
        there_and_back(value)


def test_an_answer_is_bounded_before_it_is_taken_in() -> None:
    with pytest.raises(TooMuchError):
        send(io.BytesIO(), np.zeros(1000), 7000)
    stream = io.BytesIO()
    send(stream, np.zeros(1000), 9000)
    whole = stream.getvalue()
    with pytest.raises(TooMuchError):
        receive(io.BytesIO(whole), 8000)
    with pytest.raises(EOFError):
        receive(io.BytesIO(whole[:-1]), 9000)
    # A body that is no pickle at all.
    with pytest.raises(BrokenAnswerError):
        receive(io.BytesIO(bytes(7) + b"\4" + bytes(4) + b"\xff" * 4), 9000)


def test_limits_grow_with_the_upload_and_end() -> None:
    small, large, huge = limits_for(100_000), limits_for(50 * _MB), limits_for(10**12)
    assert small.cpu_s < large.cpu_s < huge.cpu_s <= 120
    assert small.memory_bytes < large.memory_bytes < huge.memory_bytes
    assert small.output_bytes < large.output_bytes < huge.output_bytes < huge.memory_bytes
    assert all(x.wall_s > x.cpu_s for x in (small, large, huge))


def test_a_fingerprint_says_where_and_nothing_of_the_file() -> None:
    try:
        read_recording(12)  # type: ignore[arg-type]
    except TypeError as error:
        told = fingerprint(error)
    assert told.startswith("TypeError at io/sources.py:") and "12" not in told.split(":")[0]
    assert fingerprint(ValueError("Jane Doe")) == "ValueError"


def test_in_the_same_process_the_same_sentences(caplog: pytest.LogCaptureFixture) -> None:
    assert direct(SMALL, operator.add, 1, 2) == 3
    with pytest.raises(UnreadableRecordError, match="does not begin like"):
        direct(SMALL, read_recording, {"a.hea": b"x"})
    with pytest.raises(StoppedReadingError, match="did not expect"):
        direct(SMALL, int, "Jane Doe")
    assert "ValueError" in caplog.text and "Jane" not in caplog.text


def test_a_worker_answers_one_call_after_another_and_says_when_it_ends() -> None:
    calls, answers = io.BytesIO(), io.BytesIO()
    for call in ((operator.add, (1, 2), {}), (int, ("x",), {}), (bytes, (20 * _MB,), {})):
        pickle.dump((call, SMALL), calls)
    calls.seek(0)
    before = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU)
    serve(calls, answers)
    assert before == (
        resource.getrlimit(resource.RLIMIT_AS),
        resource.getrlimit(resource.RLIMIT_CPU),
    )
    answers.seek(0)
    kind, value, last = receive(answers, _MB)
    assert (kind, value) == ("value", 3)
    # Whatever this process has done before it, a worker of its size is used no more.
    if not last:
        assert receive(answers, _MB)[0] == "unexpected"
        assert receive(answers, _MB)[0] == "output"


def test_memory_beyond_the_limit_is_not_given() -> None:
    with pytest.raises(MemoryError), kept(SMALL):
        np.empty(400 * _MB, dtype=np.uint8)
    # And afterwards it is again; not touched, it costs nothing.
    assert np.empty(400 * _MB, dtype=np.uint8).size == 400 * _MB


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    gate = Gate(("echoing_core.io",))
    yield gate
    gate.close()


@pytest.fixture
def fresh() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@pytest.mark.slow
def test_a_recording_read_in_a_worker_is_the_same(gate: Gate) -> None:
    files = sound_upload("a", seconds=10.0)
    expected, found = read_recording(files), gate.run(limits_for(10**5), read_recording, files)
    np.testing.assert_array_equal(found.signal_mv, expected.signal_mv)
    assert found.lead_names == expected.lead_names and found.notes == expected.notes
    with pytest.raises(UnreadableRecordError, match="does not begin like"):
        gate.run(SMALL, read_recording, {"a.hea": b"x"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "argument", "sentence"),
    [
        (time.sleep, 60, "stopped after 1 s"),
        (sum, range(10**11), "stopped after 1 s"),
        (bytes, 1024 * _MB, "0.2 GB of memory"),
        (bytes, 20 * _MB, "unpacks to more than 0.0 GB"),
        (exit, 3, "ended before it was done"),
        (int, "Jane Doe", "did not expect"),
    ],
)
def test_a_call_beyond_its_limits_is_ended_and_the_next_one_served(
    gate: Gate, caplog: pytest.LogCaptureFixture, function: Any, argument: Any, sentence: str
) -> None:
    began = time.monotonic()
    with pytest.raises(StoppedReadingError, match=sentence):
        gate.run(SMALL, function, argument)
    assert time.monotonic() - began < 20
    assert gate.run(SMALL, operator.add, 1, 2) == 3
    assert "Jane" not in caplog.text


@pytest.mark.slow
def test_a_worker_writes_no_file(gate: Gate, tmp_path: Path) -> None:
    with pytest.raises(StoppedReadingError):
        gate.run(SMALL, (tmp_path / "left").write_bytes, b"signal")
    left = tmp_path / "left"
    assert not left.exists() or left.stat().st_size == 0


def test_where_no_process_can_be_started_nothing_is_read(
    fresh: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: object, **named: object) -> None:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr("echoing_core.gate.pool.subprocess.Popen", none)
    fresh.warm()
    with pytest.raises(StoppedReadingError, match="no memory or processes left"):
        fresh.run(SMALL, operator.add, 1, 2)


def steps_behind(gate: Gate) -> list[int]:
    """Of the workers that are idle, as Linux has it."""
    paths = [Path(f"/proc/{worker._process.pid}/autogroup") for worker in gate._idle]
    if not all(path.exists() for path in paths):
        pytest.skip("this system shares its cores out by processes alone")
    return [int(path.read_text(encoding="ascii").split()[-1]) for path in paths]


def test_who_waits_comes_before_workers_that_start_and_calls_that_take_long(
    fresh: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.warm()
    assert steps_behind(fresh) == [10]
    assert fresh.run(SMALL, operator.add, 1, 2) == 3
    assert steps_behind(fresh) == [0]
    with monkeypatch.context() as soon:
        soon.setattr("echoing_core.gate.pool._LONG_S", 0.05)
        soon.setattr("echoing_core.gate.pool._STARTED_S", 0.0)
        fresh.run(SMALL, time.sleep, 0.4)
    assert steps_behind(fresh) == [15]
    assert fresh.run(SMALL, operator.add, 1, 2) == 3
    assert steps_behind(fresh) == [0]


def test_a_worker_is_used_again_however_large_the_server_is(fresh: Gate) -> None:
    held = b"x" * (GROWN + 32 * _MB)
    assert fresh.run(SMALL, operator.add, 1, 2) == 3
    assert len(fresh._idle) == 1 and held


def test_another_worker_is_started_when_the_page_is_there(
    fresh: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echoing_core.gate.pool._LATER_S", 0.05)
    fresh.warm()
    assert len(fresh._idle) == 1
    until = time.monotonic() + 10
    while len(fresh._idle) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(fresh._idle) == 2
