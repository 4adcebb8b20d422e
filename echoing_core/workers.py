"""Work shared out to processes of this machine, or to a Ray cluster of many.

Every piece of work is a function of a module with its arguments, and is done at least once; what it
writes must appear whole (`artifacts.replacing_file`), so that a piece done twice leaves what one
done once leaves. What is made in parts lies beside its place in a locked folder with a plan
(`locked_parts`, `agree_on`), where the same command goes on after a kill. A process that dies takes
its piece with it, and the piece is given to another.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, TypeVar

from echoing_core.artifacts import CARD, take_lock, write_text_atomically
from echoing_core.errors import ConfigError, EchoingError, LostProcessError
from echoing_core.stores import Place, StorePath

Key = TypeVar("Key")
Result = TypeVar("Result")

RAY = "ray"
"""A cluster of this machine alone, made for the work; an address names one that runs."""

PLAN_NAME = "plan.json"

_ANSWER_S = 5.0
# A large part of an archive is read from a network file system in that time.
_HELD_ANSWER_S = 600.0
_AGAIN_S = 0.5
_MOST_DEATHS = 3
"""So often a piece may lose the process that does it, before it is held to be the cause."""


def shared(
    work: Callable[..., Result],
    pieces: Iterable[tuple[Key, tuple[Any, ...]]],
    *,
    n_workers: int | None = None,
    cluster: str | None = None,
    n_pieces: int | None = None,
) -> Iterator[tuple[Key, Result]]:
    """Do every piece, and tell of each when it is done.

    Parameters
    ----------
    work : callable
        A function of a module, since other processes look it up by its name.
    pieces : iterable of (key, arguments)
        Drawn as they are needed, a few ahead, so that they may be many.
    n_workers : int, optional
        Processes of this machine; with 1, as without, this process does all of it by itself. On a
        cluster, how many pieces are under way at once; without, as many as it has cores.
    cluster : str, optional
        Address of a Ray cluster, or `RAY`. All of its machines see the same files.
    n_pieces : int, optional
        How many there are: no more processes are started.

    Yields
    ------
    key
        Of a piece, in the order in which they end.
    result
        What ``work`` gave.

    Raises
    ------
    ConfigError
        There are less than one worker, or a cluster is named and Ray is not installed, or nobody
        answers there.
    LostProcessError
        The process died `_MOST_DEATHS` times over one piece.
    """
    if n_workers is not None and n_workers < 1:
        raise ConfigError(f"{n_workers} workers cannot do anything. Use at least 1.")
    if cluster is not None:
        yield from _on_ray(work, pieces, n_workers, cluster)
        return
    n_workers = n_workers or 1
    if n_pieces is not None:
        n_workers = min(n_workers, max(1, n_pieces))
    if n_workers == 1:
        # Without processes mistakes can be followed in a debugger.
        for key, arguments in pieces:
            yield key, work(*arguments)
        return
    yield from _on_processes(work, pieces, n_workers)


def in_order(
    work: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], *, n_workers: int
) -> Iterator[Result]:
    """`shared` on this machine, with results in the order of the pieces.

    Parameters
    ----------
    work : callable
    arguments : iterable of tuple
    n_workers : int

    Yields
    ------
    result
    """
    early: dict[int, Result] = {}
    due = 0
    for number, result in shared(work, enumerate(arguments), n_workers=n_workers):
        early[number] = result
        while due in early:
            yield early.pop(due)
            due += 1


def _on_processes(
    work: Callable[..., Result], pieces: Iterable[tuple[Key, tuple[Any, ...]]], n_workers: int
) -> Iterator[tuple[Key, Result]]:
    waiting = iter(pieces)
    again: list[tuple[Key, tuple[Any, ...]]] = []
    deaths: Counter[Any] = Counter()
    while True:
        # A forked child of a process that runs threads (torch, Streamlit) can hang on their locks.
        pool = ProcessPoolExecutor(
            n_workers, mp_context=get_context("spawn"), initializer=_end_with_parent
        )
        running: dict[Future[Result], tuple[Key, tuple[Any, ...]]] = {}
        try:
            while True:
                # One more than workers, so that none waits; not all, because arguments are copied.
                while len(running) <= n_workers:
                    piece = again.pop() if again else next(waiting, None)
                    if piece is None:
                        break
                    # It counts as given before it is: a pool that is broken refuses it.
                    again.append(piece)
                    job = pool.submit(work, *piece[1])
                    running[job] = again.pop()
                if not running:
                    pool.shutdown()
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for job in finished:
                    # Its piece stays among the running ones until its result is there.
                    result = job.result()
                    key, _ = running.pop(job)
                    yield key, result
        except BrokenProcessPool:
            # All of the pool dies with one process, so that any of these may be the cause.
            again += running.values()
            deaths.update(key for key, _ in running.values())
            worst, n = deaths.most_common(1)[0]
            if n >= _MOST_DEATHS:
                raise LostProcessError(
                    f"The process that worked on {worst} was ended {n} times, most often because "
                    "memory was short. Use fewer --workers; what is done stays done."
                ) from None
            n_workers = max(1, n_workers - 1) if n > 1 else n_workers
        finally:
            # Also on Ctrl-C: what is finished stays, pieces that wait are dropped.
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is killed; it would wait for ever."""
    # Each core has a worker already: threads of torch would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        # Not sys.exit, which in a thread ends that thread alone.
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_ray(
    work: Callable[..., Result],
    pieces: Iterable[tuple[Key, tuple[Any, ...]]],
    n_at_once: int | None,
    cluster: str,
) -> Iterator[tuple[Key, Result]]:
    ray = _ray(cluster)
    # Any worker or machine may end; Ray gives what it was doing to another.
    remote = ray.remote(work).options(num_cpus=1, max_retries=_MOST_DEATHS)
    cores = int(ray.cluster_resources().get("CPU", 1))
    most = n_at_once or cores
    waiting = iter(pieces)
    running: dict[Any, Key] = {}
    try:
        while True:
            while len(running) <= most:
                piece = next(waiting, None)
                if piece is None:
                    break
                running[remote.remote(*piece[1])] = piece[0]
            if not running:
                return
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                key = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    # The error of the piece itself, as it would be without a cluster.
                    raise error.as_instanceof_cause() from None
                except ray.exceptions.RayError as error:
                    raise LostProcessError(
                        f"The cluster lost {key} more than {_MOST_DEATHS} times. Look at its "
                        "machines, and start the command again; what is done stays done."
                    ) from error
                yield key, result
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


@dataclass(frozen=True)
class Holding:
    """What one process of a cluster holds.

    Attributes
    ----------
    name : str
        Who asks for the same name finds it where it is held already.
    arguments : tuple
        It is made of these.
    n_bytes : int
        Memory that its machine must have.
    """

    name: str
    arguments: tuple[Any, ...]
    n_bytes: int


class Held:
    """Objects that processes of a Ray cluster hold, one each, and that are asked together.

    Where a process or its machine is lost, the object is made again elsewhere. They last as long as
    the process that first asked for them.

    Parameters
    ----------
    make : callable
        A class of a module. It takes long in its methods and not when it is made, so that what
        goes wrong can be told.
    holdings : sequence of Holding
    cluster : str
        As in `shared`.

    Raises
    ------
    ConfigError
        As in `shared`.
    """

    def __init__(self, make: Callable[..., Any], holdings: Sequence[Holding], cluster: str) -> None:
        ray = _ray(cluster)
        self._ray = ray
        self._actors = {
            one.name: ray.remote(make)
            .options(
                name=one.name,
                namespace="echoing",
                get_if_exists=True,
                # Memory is what they need; each is idle most of the time.
                num_cpus=0,
                memory=one.n_bytes,
                scheduling_strategy="SPREAD",
                max_restarts=_MOST_DEATHS,
            )
            .remote(*one.arguments)
            for one in holdings
        }

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """What a method of all objects gives, in their order.

        Parameters
        ----------
        method : str
        *arguments
            The same for all.

        Returns
        -------
        list

        Raises
        ------
        LostProcessError
            One was lost and could not be made again.
        """
        asked = {
            name: getattr(actor, method).remote(*arguments) for name, actor in self._actors.items()
        }
        until = time.monotonic() + _HELD_ANSWER_S
        return [
            self._answer(name, reference, until, method, arguments)
            for name, reference in asked.items()
        ]

    def ask_one(self, number: int, method: str, *arguments: Any) -> Any:
        """As `ask`, of one of the objects alone.

        Parameters
        ----------
        number : int
            Its place among the holdings.
        method : str
        *arguments

        Returns
        -------
        object

        Raises
        ------
        LostProcessError
            As `ask`.
        """
        name = list(self._actors)[number]
        reference = getattr(self._actors[name], method).remote(*arguments)
        until = time.monotonic() + _HELD_ANSWER_S
        return self._answer(name, reference, until, method, arguments)

    def _answer(
        self, name: str, reference: Any, until: float, method: str, arguments: tuple[Any, ...]
    ) -> Any:
        ray = self._ray
        while True:
            try:
                return ray.get(reference, timeout=max(0.1, until - time.monotonic()))
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except ray.exceptions.RayError as error:
                # While it is being made again. Ray's own retries would be used up before it has
                # noticed that a machine is lost.
                again = isinstance(error, ray.exceptions.ActorUnavailableError)
                if not again or time.monotonic() > until:
                    raise LostProcessError(
                        f"The cluster does not answer for {name}: its process or machine was lost, "
                        "or no machine has memory for it. Look at `ray status`, and start again."
                    ) from error
            time.sleep(_AGAIN_S)
            reference = getattr(self._actors[name], method).remote(*arguments)

    def close(self) -> None:
        """Let go of the objects; those that another process holds stay."""
        self._actors.clear()


class HeldApart:
    """`Held`, asked through a process of its own.

    Ray ends a process whose cluster is lost, without a word; a server must not end with it. Who
    asks while another does waits.

    Parameters
    ----------
    make, holdings, cluster
        As in `Held`.

    Raises
    ------
    ConfigError, LostProcessError
        As in `Held`.
    """

    def __init__(self, make: Callable[..., Any], holdings: Sequence[Holding], cluster: str) -> None:
        self._cluster = cluster
        self._held = (make, tuple(holdings), cluster)
        self._turn = threading.Lock()
        self._line: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        with self._turn:
            self._begin()

    def _begin(self) -> None:
        self._line, theirs = multiprocessing.Pipe()
        root = str(Path(__file__).resolve().parents[1])
        known = os.environ.get("PYTHONPATH")
        # Not by multiprocessing, which would run the program of the server once more.
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                f"from echoing_core.workers import answer_for; answer_for({theirs.fileno()})",
            ],
            env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root},
            pass_fds=[theirs.fileno()],
            # A Ctrl-C for the server is none for it: it ends when its line does.
            start_new_session=True,
        )
        theirs.close()
        try:
            self._told(self._held)
        except ConfigError:
            self.close()
            raise

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """As `Held.ask`."""
        found: list[Any] = self._asked("ask", method, *arguments)
        return found

    def ask_one(self, number: int, method: str, *arguments: Any) -> Any:
        """As `Held.ask_one`."""
        return self._asked("ask_one", number, method, *arguments)

    def _asked(self, *said: Any) -> Any:
        with self._turn:
            if self._process is None:
                self._begin()
            return self._told(said)

    def _told(self, said: Any) -> Any:
        try:
            self._line.send(said)
            well, value = self._line.recv()
        except (OSError, EOFError) as error:
            self.close()
            raise LostProcessError(
                f"The cluster {self._cluster} ended, or the connection to it did. Start it again; "
                "the next try connects anew."
            ) from error
        if not well:
            # Ray remembers in a process what a name stood for: the next try begins in another.
            if isinstance(value, LostProcessError):
                self.close()
            raise value
        return value

    def close(self) -> None:
        """Let go of the objects, as `Held.close`, and end the process."""
        if self._process is not None:
            self._line.close()
            self._process.kill()
            self._process.wait()
            self._process = None


def answer_for(number: int) -> None:
    """What the process of `HeldApart` does, until nobody is at the other end of the line.

    Parameters
    ----------
    number : int
        File descriptor of the line.
    """
    line = connection.Connection(number)
    try:
        make, holdings, cluster = line.recv()
        held = Held(make, holdings, cluster)
        line.send((True, None))
        while True:
            name, *arguments = line.recv()
            try:
                line.send((True, getattr(held, name)(*arguments)))
            except EchoingError as error:
                line.send((False, error))
    except EchoingError as error:
        line.send((False, error))
    except (OSError, EOFError):
        return


def _ray(cluster: str) -> Any:
    """The package, connected."""
    # Ray takes its token along only to a cluster that it has found by itself, and looks when it is
    # imported; a program that has imported it has settled that. Where no token is asked for, one
    # does no harm.
    told = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "ray" not in sys.modules and (told or (Path.home() / ".ray" / "auth_token").is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            'Work on a cluster needs Ray: pip install "echoing-core[ray]". Without --cluster, this '
            "machine's own cores do the work."
        ) from error
    if not ray.is_initialized():
        # Workers get one thread each: as many pieces are under way as there are cores.
        settings = {"env_vars": {"OMP_NUM_THREADS": "1"}}
        try:
            _check_reachable(cluster)
            ray.init(
                address=None if cluster == RAY else cluster,
                runtime_env=settings,
                log_to_driver=False,
                include_dashboard=False,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"No Ray cluster answers at {cluster}. Start one with `ray start --head`, and name "
                "its address, such as 10.0.0.1:6379 or auto. A token that it asks for belongs into "
                "~/.ray/auth_token of this machine; `ray get-auth-token` on the head shows it."
            ) from error
    return ray


def _check_reachable(cluster: str) -> None:
    """Fail in seconds where nobody listens; Ray itself asks for minutes."""
    host, _, port = cluster.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()


@contextlib.contextmanager
def locked_parts(work: Path) -> Iterator[None]:
    """Lock a folder of parts for this process; the OS frees the lock when it ends.

    Parameters
    ----------
    work : Path
        ``<out>-parts``; made if it is not there.

    Raises
    ------
    ConfigError
        Another process has it.
    """
    work.mkdir(parents=True, exist_ok=True)
    handle = os.open(work, os.O_RDONLY)
    try:
        if not take_lock(handle):
            raise ConfigError(
                f"Another process is making {work.name.removesuffix('-parts')} right now. "
                "Wait for it, or choose another folder."
            )
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def parts_of(out: Place, fingerprint: str, *, restart: bool) -> Iterator[Place]:
    """Where to make the parts of ``out``; whoever began the same work goes on with it.

    On disk ``<out>-parts``, locked for this process and removed in the end: what is finished is
    put in its place by `artifacts.writing_folder`. In an object store, where nothing can be renamed
    and nothing is locked, ``out`` itself: it counts from when its card is there.

    Parameters
    ----------
    out : Path or StorePath
    fingerprint, restart
        As in `agree_on`.

    Yields
    ------
    Path or StorePath

    Raises
    ------
    ConfigError
        As `locked_parts` and `agree_on`.
    """
    if isinstance(out, StorePath):
        _agree_in_store(out, fingerprint, restart=restart)
        yield out
        (out / PLAN_NAME).unlink(missing_ok=True)
        return
    work = out.with_name(out.name + "-parts")
    with locked_parts(work):
        agree_on(work, fingerprint, restart=restart)
        yield work
    shutil.rmtree(work)


def agree_on(work: Path, fingerprint: str, *, restart: bool) -> None:
    """Begin, or go on with, the work that ``fingerprint`` names.

    Parameters
    ----------
    work : Path
        Holds ``part-...`` files or folders and `PLAN_NAME`, nothing else.
    fingerprint : str
        Hash of everything that decides what stands in a part.
    restart : bool
        Throw away unfinished work of another fingerprint; without, it is an error.

    Raises
    ------
    ConfigError
        There is such work, or something that is no work of this kind.
    """
    # A damaged plan counts as none: then the names below decide.
    path = work / PLAN_NAME
    stored: object = None
    if path.is_file():
        with contextlib.suppress(ValueError):
            stored = json.loads(path.read_text(encoding="utf-8")).get("fingerprint")
    if stored == fingerprint:
        for draft in work.glob(".part-*.draft*"):
            _remove(draft)
        return
    names = [item.name for item in work.iterdir()]
    # A plan that was not finished was no work yet.
    if not restart and any(not name.startswith(f".{PLAN_NAME}.") for name in names):
        raise ConfigError(
            f"{work} holds unfinished work on other data or with other options. Add --restart to "
            "throw it away, or choose another folder."
        )
    if any(not n.startswith(("part-", ".part-", PLAN_NAME, f".{PLAN_NAME}")) for n in names):
        raise ConfigError(f"{work} holds files of something else. Choose another folder.")
    for name in names:
        _remove(work / name)
    write_text_atomically(path, json.dumps({"fingerprint": fingerprint}) + "\n")


def _agree_in_store(out: StorePath, fingerprint: str, *, restart: bool) -> None:
    there = out.sizes()
    plan = out / PLAN_NAME
    stored: object = None
    if PLAN_NAME in there:
        with contextlib.suppress(ValueError):
            stored = json.loads(plan.read_text()).get("fingerprint")
    # Killed after its card was written and before its plan was removed, it is finished all the
    # same; its parts are there.
    if stored == fingerprint:
        return
    if there and PLAN_NAME not in there and CARD not in there:
        raise ConfigError(f"{out} holds objects of something else. Choose another place.")
    if there and not restart:
        what = "unfinished work on other data or with other options"
        raise ConfigError(
            f"{out} holds {what if PLAN_NAME in there else 'finished work'}. Add --restart to "
            "throw it away, or choose another place."
        )
    # The card first: from then on nothing of it counts.
    out.remove(sorted(there, key=lambda name: (name != CARD, name == PLAN_NAME)))
    plan.write_bytes((json.dumps({"fingerprint": fingerprint}) + "\n").encode())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
