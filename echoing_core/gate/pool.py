"""Workers that are there before they are needed, and one more while one is busy."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from echoing_core.errors import EchoingError, StoppedReadingError
from echoing_core.gate.limits import Limits, in_a_process, put_after_others
from echoing_core.gate.wire import BrokenAnswerError, TooMuchError, receive
from echoing_core.gate.worker import MEMORY, OUTPUT, TOLD, UNEXPECTED, VALUE, answer

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

IN_PROCESS = "ECHOING_READ_IN_PROCESS"
"""Set to 1, files are parsed in the server itself, under the checks of the readers alone."""

_GRACE_S = 5.0
_PATIENCE_S = 60.0
# One at work and one to spare is what a server usually needs.
_READY = 2
# A process takes a second of processor time to start, and whoever gave the upload waits for its
# page meanwhile.
_LATER_S = 3.0
# Steps behind others: while it starts ahead of need, in a call, and in a call that takes long.
_STARTING, _AT_WORK, _LONG = 10, 0, 15
# Of a call by the clock; a worker that was started for it imports that long.
_LONG_S, _STARTED_S = 0.4, 3.0
_GB = 1024**3


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, modules: Sequence[str]) -> None:
        root = str(Path(__file__).resolve().parents[2])
        known = os.environ.get("PYTHONPATH")
        env = os.environ | in_a_process()
        env["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else root
        self._process = subprocess.Popen(
            # -P: no folder that the server happens to run in gives it modules.
            [sys.executable, "-P", "-m", "echoing_core.gate.worker", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What a library says of a file quotes it.
            stderr=subprocess.DEVNULL,
            env=env,
            # A Ctrl-C for the server is none for its workers: they end with it.
            start_new_session=True,
        )
        self._since, self._steps = time.monotonic(), 0
        self.out_of_time = False
        self.is_done = False

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, call: tuple[Any, ...], limits: Limits) -> tuple[str, Any]:
        """One answer; OSError or EOFError where the worker ends before it."""
        calls, answers = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        # Also while it is written to: a worker may have stopped reading.
        long_s = max(_LONG_S, _STARTED_S - (time.monotonic() - self._since))
        timers = (
            threading.Timer(limits.wall_s + _GRACE_S, self._over),
            threading.Timer(long_s, self.put_after_others, [_LONG]),
        )
        self.put_after_others(_AT_WORK)
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            pickle.dump((call, limits), calls, protocol=5)
            calls.flush()
            # The answer has a few bytes around what was measured.
            kind, value, self.is_done = receive(answers, limits.output_bytes + 4096)
        finally:
            for timer in timers:
                timer.cancel()
        return str(kind), value

    def put_after_others(self, steps: int) -> None:
        """Give it the cores that others leave; 0 as everybody, 19 the last."""
        # The system takes few changes a second, and a batch has many calls.
        if steps != self._steps:
            self._steps = steps
            put_after_others(self._process.pid, steps)

    def _over(self) -> None:
        self.out_of_time = True
        self._process.kill()

    def end(self, patience_s: float = 0.0) -> int:
        """Its exit status, once it has ended, after this many seconds by force."""
        try:
            status = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            # What was not written yet never will be.
            with contextlib.suppress(OSError):
                cast(BinaryIO, stream).close()
        return status


class Gate:
    """Runs functions on bytes of strangers, each call in a worker process within limits.

    Parameters
    ----------
    modules : sequence of str
        That a worker imports before it is needed.
    most : int
        Workers at a time; whoever comes then waits.
    """

    def __init__(self, modules: Sequence[str] = (), most: int = 4) -> None:
        self._modules, self._most = tuple(modules), most
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._later: threading.Timer | None = None

    def warm(self) -> None:
        """Have a worker ready, and another a little later; costs a few milliseconds."""
        with self._changed:
            if not self._idle:
                self._prepare()
            self._prepare_later()

    def close(self) -> None:
        """End the workers that are not at work."""
        with self._changed:
            if self._later is not None:
                self._later.cancel()
                self._later = None
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def run(
        self, limits: Limits, function: Callable[P, R], /, *args: P.args, **named: P.kwargs
    ) -> R:
        """Call a function in a worker.

        Parameters
        ----------
        limits : Limits
        function : callable
            At the top of a module of this package.
        *args, **named
            That can be pickled.

        Returns
        -------
        object
            What the function gives: plain values, arrays, and records of this package.

        Raises
        ------
        EchoingError
            What the function raises, as it is.
        StoppedReadingError
            It was stopped at a limit, failed in a way that nobody expected, or no worker is free.
        """
        call = (function, args, named)
        worker = self._take()
        try:
            kind, value = worker.call(call, limits)
        except (OSError, EOFError, TooMuchError, BrokenAnswerError) as error:
            raise self._lost(worker, limits, error) from None
        except BaseException:
            # Ended from outside, as by Ctrl-C; half an answer may be in the pipe.
            self._drop(worker)
            raise
        self._give_back(worker)
        return cast(R, _told(kind, value, limits))

    def _take(self) -> _Worker:
        until = time.monotonic() + _PATIENCE_S
        with self._changed:
            while True:
                while self._idle:
                    worker = self._idle.pop()
                    if worker.alive:
                        break
                    worker.end()
                else:
                    if len(self._busy) >= self._most:
                        if not self._changed.wait(until - time.monotonic()):
                            raise StoppedReadingError(
                                "As many files of others are being read as this server can read at "
                                "a time. Try again in a minute."
                            )
                        continue
                    worker = self._new()
                break
            self._busy.add(worker)
            # The next person waits for no process to start.
            self._prepare_later()
            return worker

    def _prepare(self) -> None:
        """Start a worker that is not needed yet; the lock is held."""
        if len(self._idle) < _READY and len(self._idle) + len(self._busy) < self._most:
            with contextlib.suppress(StoppedReadingError):
                worker = self._new()
                worker.put_after_others(_STARTING)
                self._idle.append(worker)

    def _prepare_later(self) -> None:
        """The same in some seconds, once for all who ask meanwhile; the lock is held."""
        if self._later is None and len(self._idle) < _READY:
            self._later = threading.Timer(_LATER_S, self._prepare_now)
            self._later.daemon = True
            self._later.start()

    def _prepare_now(self) -> None:
        with self._changed:
            # Closed meanwhile.
            if self._later is None:
                return
            self._later = None
            self._prepare()

    def _new(self) -> _Worker:
        try:
            return _Worker(self._modules)
        except OSError as error:
            logger.error("no process can be started to read files in: errno %s", error.errno)
            # Not in the server instead: then a file could hold it up for everybody.
            raise StoppedReadingError(
                "This server has no memory or processes left to read files safely. Try again in a "
                "minute, or tell whoever runs it."
            ) from None

    def _give_back(self, worker: _Worker) -> None:
        with self._changed:
            self._busy.discard(worker)
            keep = len(self._idle) < _READY and not worker.is_done
            if keep:
                self._idle.append(worker)
            self._changed.notify()
        if not keep:
            worker.end()

    def _drop(self, worker: _Worker, patience_s: float = 0.0) -> int:
        status = worker.end(patience_s)
        with self._changed:
            self._busy.discard(worker)
            self._changed.notify()
        return status

    def _lost(self, worker: _Worker, limits: Limits, error: Exception) -> StoppedReadingError:
        """Why a worker gave no answer; it is replaced."""
        # One that ended by itself says by its status why.
        by_itself = isinstance(error, EOFError | OSError)
        status = self._drop(worker, _GRACE_S if by_itself else 0.0)
        if isinstance(error, TooMuchError):
            return _too_large(limits)
        if worker.out_of_time or status in (-_signal("SIGALRM"), -_signal("SIGXCPU")):
            logger.warning("reading an upload was stopped: out of time")
            return StoppedReadingError(
                f"Reading this was stopped after {limits.cpu_s:.0f} s, which nothing of its size "
                "should need. It is damaged, or was made to hold a program up; export it again, or "
                "choose another file."
            )
        logger.warning("a process that read an upload ended with status %s", status)
        return StoppedReadingError(
            "The process that read this ended before it was done, which a damaged file or too "
            "little memory can cause. Nothing else was disturbed; export it again, or choose "
            "another file."
        )


def direct(limits: Limits, function: Callable[P, R], /, *args: P.args, **named: P.kwargs) -> R:
    """As `Gate.run`, in this process: under the checks of the readers, without other limits.

    Parameters
    ----------
    limits, function, *args, **named
        As there.
    """
    return cast(R, _told(*answer((function, args, named)), limits))


def _told(kind: str, value: Any, limits: Limits) -> Any:
    if kind == VALUE:
        return value
    if kind == TOLD and isinstance(value, EchoingError):
        raise value
    if kind == MEMORY:
        raise StoppedReadingError(
            f"Reading this needs more than the {limits.memory_bytes / _GB:.1f} GB of memory that a "
            "file of its size may take. Export a shorter part, or in another format."
        )
    if kind == OUTPUT:
        raise _too_large(limits)
    what = value if kind == UNEXPECTED and isinstance(value, str) else "answer"
    # Type and place alone: the message of an exception quotes the file.
    logger.error("unexpected %s while an upload was read", what)
    raise StoppedReadingError(
        "This could not be read, for a reason that this program did not expect. Export it again, "
        "or choose another file."
    )


def _too_large(limits: Limits) -> StoppedReadingError:
    return StoppedReadingError(
        f"This unpacks to more than {limits.output_bytes / _GB:.1f} GB, which no recording in a "
        "file of its size does. Export a shorter part, or choose another file."
    )


def _signal(name: str) -> int:
    # 0, which no ended worker has with a minus, where a system lacks it.
    return int(getattr(signal, name, 0)) or 1000
