"""What writes folders and files is killed at random moments: ``python -m tests.kills --kills 500``.

Half of the kills come after a random time, half before a random one of the calls that open, rename
or remove something, so that narrow gaps are met as often as wide ones. After each, what was there
before must be whole, or what was to come; done again, all must be as if nothing had happened, and
nothing left lying about.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

_CALLS = {
    "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.scandir",
    "shutil.rmtree", "ctypes.dlsym",
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """Something that writes.

    Attributes
    ----------
    name : str
    begin : callable
        Makes, once, what is there before.
    work : callable
        Is killed, and is then done again.
    state : callable
        What is there, in a word or a digest; fails where it is neither old nor new, but broken.
    """

    name: str
    begin: Callable[[Path], None]
    work: Callable[[Path], None]
    state: Callable[[Path], str]


def _digest(*folders: Path) -> str:
    told = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            told.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return told.hexdigest()[:12]


def _prepare() -> Scenario:
    from data_trees.plain import write_plain

    from echoing_core.datasets.prepared import load_prepared
    from echoing_core.datasets.preparing import prepare
    from echoing_core.datasets.registry import build_adapter

    def work(folder: Path) -> None:
        adapter = build_adapter("plain", {"table": "studies.csv"})
        prepare(adapter, folder / "data", folder / "out", n_workers=1, rows_per_shard=1)

    def state(folder: Path) -> str:
        if not (folder / "out").exists():
            return "nothing"
        assert len(load_prepared(folder / "out")) > 0
        return _digest(folder / "out")

    return Scenario("prepare", lambda folder: void(write_plain(folder / "data")), work, state)


def _index() -> Scenario:
    from data_trees.plain import write_plain
    from tiny_model import write_tiny_model

    from echoing_core.retrieve.index import open_index
    from echoing_core.services.index_building import build_folder_index
    from echoing_core.services.models import load_model

    def build(folder: Path, name: str) -> None:
        model = load_model(folder / "model")
        build_folder_index(folder / "index", model, folder / "data", name=name)

    def begin(folder: Path) -> None:
        write_plain(folder / "data")
        write_tiny_model(folder / "model")
        build(folder, "old")

    def state(folder: Path) -> str:
        index = open_index(folder / "index", checkpoint_hash=None)
        assert len(index) > 0
        return str(index.card["name"])

    return Scenario("index", begin, lambda folder: build(folder, "new"), state)


def _train() -> Scenario:
    import tiny_run

    from echoing_core.training.run import train

    def work(folder: Path) -> None:
        settings = tiny_run.config(save_every=1)
        start = tiny_run.trainer(settings)
        resume = (folder / "run").exists()
        trained = train(start.encoder, start.batches, settings, run=folder / "run", resume=resume)
        weights = trained.encoder.state_dict()
        told = hashlib.sha256(b"".join(weights[k].numpy().tobytes() for k in sorted(weights)))
        (folder / "weights.txt").write_text(told.hexdigest())

    def state(folder: Path) -> str:
        path = folder / "weights.txt"
        return path.read_text() if path.exists() else "nothing"

    return Scenario("train", lambda folder: None, work, state)


def _batch() -> Scenario:
    from data_trees.plain import write_plain
    from tiny_model import write_tiny_model

    from echoing_core.cli.output import deliver
    from echoing_core.services import batch, batch_csv
    from echoing_core.services.models import load_model

    def begin(folder: Path) -> None:
        write_plain(folder / "data")
        write_tiny_model(folder / "model")
        (folder / "table").mkdir()
        (folder / "table" / "rows.csv").write_text("old\n")

    def work(folder: Path) -> None:
        model = load_model(folder / "model")
        results = list(batch(model, sorted((folder / "data").rglob("*.hea")), ()))
        deliver(batch_csv(model, results), str(folder / "table" / "rows.csv"))

    def state(folder: Path) -> str:
        # Not of drafts beside it, which the next run sweeps.
        return hashlib.sha256((folder / "table" / "rows.csv").read_bytes()).hexdigest()

    return Scenario("batch", begin, work, state)


def _model() -> Scenario:
    from tiny_model import write_tiny_model

    from echoing_core.models.checkpoint import load_checkpoint

    def put(folder: Path, seed: int) -> None:
        write_tiny_model(folder / "model", seed)

    return Scenario(
        "model replacement",
        lambda folder: put(folder, 1),
        lambda folder: put(folder, 2),
        lambda folder: load_checkpoint(folder / "model").hash,
    )


def _documents() -> Scenario:
    from tiny_model import write_tiny_model

    from echoing_core.models.checkpoint import load_checkpoint, update_documents

    def work(folder: Path) -> None:
        update_documents(
            folder / "model", card="# new\n", training={"note": "new"}, measured={"distances": {}}
        )

    def state(folder: Path) -> str:
        model = load_checkpoint(folder / "model")
        # Together or not at all.
        told = (model.card, model.training.get("note"), model.measured.get("distances"))
        assert told in (("# new\n", "new", {}), (model.card, None, None)), told
        return str(told[1])

    return Scenario(
        "documents of a model", lambda folder: void(write_tiny_model(folder / "model")), work, state
    )


def void(_: object) -> None:
    """For what is called for its effect."""


MAKERS = (_prepare, _index, _train, _batch, _model, _documents)


def _child(scenario: Scenario, folder: Path, at_call: int | None, told: int) -> None:
    """In a forked process: work, count the calls, and end before the one that is named."""
    count = 0

    def watch(event: str, _: object) -> None:
        nonlocal count
        if event in _CALLS:
            count += 1
            if count == at_call:
                os.kill(os.getpid(), signal.SIGKILL)

    os.setsid()
    sys.addaudithook(watch)
    status = 1
    try:
        scenario.work(folder)
        os.write(told, json.dumps(count).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - a fork must never go on where its parent is
        traceback.print_exc()
    finally:
        os._exit(status)


def _run(
    scenario: Scenario, folder: Path, *, at_call: int | None = None, after_s: float | None = None
) -> tuple[bool, int, float]:
    """Whether it was killed, calls made, and seconds taken."""
    reading, writing = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(scenario, folder, at_call, writing)
    os.close(writing)
    if after_s is not None:
        time.sleep(after_s)
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Before it had a group of its own, or after it ended.
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.WEXITSTATUS(status) == 0, f"{scenario.name} failed by itself"
    return killed, json.loads(answer) if answer else 0, time.monotonic() - began


def _leftovers(folder: Path) -> list[str]:
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.startswith(".")] + [
        p.name for p in folder.glob("*-parts")
    ]


def kill_at_random(scenario: Scenario, folder: Path, n: int, rng: Random) -> dict[str, int]:
    """Kill, look, do it again, look; so many times.

    Parameters
    ----------
    scenario : Scenario
    folder : Path
        Empty.
    n : int
    rng : Random

    Returns
    -------
    dict
        How many kills left the old state, how many the new.

    Raises
    ------
    AssertionError
        Something was lost, half-written or left behind.
    """
    sound = folder / "sound"
    sound.mkdir(parents=True)
    scenario.begin(sound)
    shutil.copytree(sound, folder / "whole")
    killed, n_calls, seconds = _run(scenario, folder / "whole")
    assert not killed and n_calls > 0
    old, new = scenario.state(sound), scenario.state(folder / "whole")
    assert old != new, "the work changes nothing"
    assert _leftovers(folder / "whole") == []
    counts = {"old": 0, "new": 0, "kills": 0}
    while counts["kills"] < n:
        here = folder / "here"
        shutil.copytree(sound, here)
        # Now and then several times over: what one kill leaves, the next run finds.
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            if counts["kills"] % 2:
                killed, _, _ = _run(scenario, here, after_s=rng.uniform(0, 1.05 * seconds))
            else:
                killed, _, _ = _run(scenario, here, at_call=rng.randint(1, n_calls))
            if not killed:
                break
            counts["kills"] += 1
            state = scenario.state(here)
            assert state in (old, new), f"{scenario.name}: {state}, which is neither old nor new"
            counts["new" if state == new else "old"] += 1
        again, _, _ = _run(scenario, here)
        assert not again and scenario.state(here) == new, f"{scenario.name}: not as if nothing was"
        assert _leftovers(here) == [], f"{scenario.name}: {_leftovers(here)} left behind"
        shutil.rmtree(here)
    return counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="of all scenarios together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one scenario")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not given.only:
        # Each in a process of its own: threads that one scenario started would be missing in the
        # forks of the next, which then wait for them for ever.
        for make in MAKERS:
            share = ["--only", make().name, "--kills", str(given.kills // len(MAKERS))]
            command = [sys.executable, "-m", "tests.kills", *share, "--seed", str(given.seed)]
            subprocess.run(command, cwd=ROOT, check=True)
        return
    scenarios = [one for one in (make() for make in MAKERS) if one.name == given.only]
    total = 0
    for place, scenario in enumerate(scenarios):
        n = (given.kills - total) // (len(scenarios) - place)
        with tempfile.TemporaryDirectory(prefix="echoing-kills-") as folder:
            began = time.monotonic()
            counts = kill_at_random(scenario, Path(folder), n, Random(given.seed))
        total += counts["kills"]
        print(
            f"{scenario.name:22} {counts['kills']:4} kills: {counts['old']:4} left the old, "
            f"{counts['new']:4} the new ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
    print(f"{total} kills; nothing lost, half-written or left behind")


if __name__ == "__main__":
    main()
