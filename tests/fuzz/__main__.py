"""Give changed files to every reader: ``python -m tests.fuzz --minutes 10``.

Each input follows from seed, target and number alone, so that one which ends the process or never
ends is made again by whoever watches it. What must not happen is kept in a folder; an input goes
from there to ``tests/fuzz/corpus``, once what it found is mended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz.attempt import Finding, attempt, packed, unpacked  # noqa: E402
from tests.fuzz.mutate import Files, mutated  # noqa: E402
from tests.fuzz.targets import Target, targets  # noqa: E402

_SLICE_S = 1.0
_HANG_S = 60.0
_MOST_MEMORY = 4 * 2**30


def made(target: Target, seeds: list[Files], seed: int, number: int) -> Files:
    """The input with a number."""
    rng = Random(f"{seed} {target.name} {number}")
    return mutated(rng.choice(seeds), rng, seeds)


def known_seeds(target: Target, corpus: Path) -> list[Files]:
    """Sound files, and what was found before: others of the kind are near it."""
    seeds = list(target.seeds())
    for path in sorted(corpus.glob("*.zip")):
        name, files = unpacked(path.read_bytes())
        if name == target.name:
            seeds.append(files)
    return seeds


def work(
    chosen: list[Target], seed: int, until: float, starts: dict[str, int], told: Any, found: Any,
    corpus: Path,
) -> None:  # fmt: skip
    """Targets in turn, a second each; ``told`` holds what is being done, for whoever watches."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    # Libraries speak of damaged files on their own.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    seeds = {target.name: known_seeds(target, corpus) for target in chosen}
    numbers = dict(starts)
    seen: set[str] = set()
    while time.time() < until:
        for place, target in enumerate(chosen):
            ends = min(until, time.time() + _SLICE_S)
            while time.time() < ends:
                number = numbers[target.name]
                numbers[target.name] += 1
                told[0], told[1], told[2] = place, number, time.time()
                told[3 + place] += 1
                files = made(target, seeds[target.name], seed, number)
                finding = attempt(target, files)
                if finding is not None and finding.key not in seen:
                    seen.add(finding.key)
                    found.put((finding, number))
                    if finding.kind == "growth":
                        # What was held once hides what the next inputs take.
                        found.close()
                        found.join_thread()
                        os._exit(3)


def run(chosen: list[Target], seed: int, minutes: float, out: Path, corpus: Path) -> dict[str, Any]:
    """One worker process for so long; it is watched, and begun again where it ended."""
    context = multiprocessing.get_context("fork")
    until = time.time() + 60.0 * minutes
    told = context.Array("d", 3 + len(chosen))
    starts = {target.name: 0 for target in chosen}
    findings: dict[str, Finding] = {}
    for target in chosen:
        target.seeds()
    # What a reader imports when it is first used must not count as time or growth of an input.
    for target in chosen:
        for files in known_seeds(target, corpus):
            attempt(target, files)

    def keep(finding: Finding, number: int, target: Target) -> None:
        if finding.key in findings:
            return
        findings[finding.key] = finding
        out.mkdir(parents=True, exist_ok=True)
        files = made(target, known_seeds(target, corpus), seed, number)
        (out / f"{finding.key}.zip").write_bytes(packed(files, target.name))
        print(f"{finding.target}: {finding.kind}: {finding.what} (number {number})", flush=True)

    while time.time() < until:
        found: Any = context.Queue()
        told[2] = time.time()
        worker = context.Process(
            target=work, args=(chosen, seed, until, starts, told, found, corpus)
        )
        worker.start()
        hung = False
        while worker.is_alive():
            worker.join(0.5)
            by_name = {target.name: target for target in chosen}
            while not found.empty():
                finding, number = found.get()
                keep(finding, number, by_name[finding.target])
            if time.time() - told[2] > _HANG_S:
                hung = True
                worker.kill()
                worker.join()
        while not found.empty():
            finding, number = found.get()
            keep(finding, number, {t.name: t for t in chosen}[finding.target])
        target, number = chosen[int(told[0])], int(told[1])
        if hung:
            keep(Finding(target.name, "hang", f"number {number}"), number, target)
        elif worker.exitcode not in (0, 3):
            keep(Finding(target.name, "crash", f"exit {worker.exitcode}"), number, target)
        for place, one in enumerate(chosen):
            # Never fewer than were given, so that no input is repeated.
            starts[one.name] = int(told[3 + place]) + 1
    counts = {target.name: int(told[3 + i]) for i, target in enumerate(chosen)}
    return {"inputs": counts, "findings": [vars(one) for one in findings.values()]}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs")
    parser.add_argument("--target", action="append", help="one reader; may be repeated")
    parser.add_argument(
        "--engine", choices=("ours", "atheris"), default="ours",
        help="atheris follows what lines an input reaches; pip install atheris",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "fuzz" / "found")
    parser.add_argument("--count", type=Path, help="add the numbers of inputs to this JSON file")
    parser.add_argument("--repeat", type=Path, help="give this one kept input again, and say")
    given = parser.parse_args()
    corpus = Path(__file__).parent / "corpus"
    if given.repeat:
        name, files = unpacked(given.repeat.read_bytes())
        (target,) = (one for one in targets() if one.name == name)
        target.read(files)
        return
    chosen = [t for t in targets() if not given.target or t.name in given.target]
    if given.target and len(chosen) != len(set(given.target)):
        parser.error(f"targets are: {', '.join(t.name for t in targets())}")
    if given.engine == "atheris":
        from tests.fuzz.guided import run_guided

        result = run_guided(chosen, given.seed, given.minutes, given.out, corpus)
    else:
        result = run(chosen, given.seed, given.minutes, given.out, corpus)
    for name, number in result["inputs"].items():
        print(f"{name:12} {number:9,}")
    print(f"{sum(result['inputs'].values()):,} inputs, {len(result['findings'])} findings")
    if given.count:
        before = json.loads(given.count.read_text()) if given.count.exists() else {}
        both = {n: before.get(n, 0) + k for n, k in result["inputs"].items()}
        given.count.write_text(json.dumps({**before, **both}, indent=1) + "\n")
    sys.exit(1 if result["findings"] else 0)


if __name__ == "__main__":
    main()
