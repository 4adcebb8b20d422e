"""Very many ECGs embedded by one process and by two: ECGs a second, memory, and the same vectors.

    python benchmarks/embedding.py SET [--rounds 2] [--sizes 1000 3000 10000]

SET is a prepared set (``echoing prepare simulated SET --patients 68900`` makes one of 100,000
ECGs). ``echoing embed`` runs in a process of its own, each worker with one thread; one and two
workers take turns. Memory is the largest of the whole tree of processes, looked at ten times a
second: proportional, so that what processes share counts once (Linux), and without pages of files,
since SET is mapped and the system keeps of it what it has room for. Then the first ECGs of SET in
several numbers, for the slope of seconds against size in logarithms, and memory at each.
Efficiency is the time of one worker over twice that of two.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from echoing_core import load_model
from echoing_core.datasets.prepared import load_prepared, save_prepared
from echoing_core.services import embedded_parts

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.processes import tree


def own_mb(pid: int) -> float:
    total = 0.0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(x.split()[1]) for x in lines if x.startswith("Pss_Anon:")) / 1024
    return total


def embed(root: Path, out: Path, n_workers: int) -> tuple[float, float]:
    """Seconds and MB of a command."""
    began, most = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "echoing_core.cli", "embed", str(root), str(out)]
    process = subprocess.Popen(
        [*command, "--workers", str(n_workers)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None:
        most = max(most, own_mb(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"echoing embed ended with {process.returncode}")
    return time.perf_counter() - began, most


def vectors(folder: Path) -> np.ndarray:
    model = load_model()
    return np.concatenate([part.embedding.mu for part in embedded_parts(folder, model)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, metavar="SET")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 3000, 10_000])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        took: dict[int, list[float]] = {1: [], 2: []}
        most: dict[int, float] = {1: 0.0, 2: 0.0}
        for _ in range(args.rounds):
            for n_workers in took:
                seconds, mb = embed(args.root, folder / f"by{n_workers}", n_workers)
                took[n_workers].append(seconds)
                most[n_workers] = max(most[n_workers], mb)
        one, two = vectors(folder / "by1"), vectors(folder / "by2")
        print(f"{len(one):,} ECGs, largest difference {np.abs(one - two).max():.1e}")
        for n_workers, seconds in took.items():
            rates = ", ".join(f"{len(one) / s:.0f}" for s in seconds)
            print(f"  {n_workers} workers: {rates} ECGs/s, {most[n_workers]:.0f} MB at most")
        both = [a / (2 * b) for a, b in zip(took[1], took[2], strict=True)]
        print(f"  efficiency of two {100 * statistics.median(both):.0f} %")
        studies = load_prepared(args.root)
        sizes, found = [*args.sizes, len(one)], []
        for n in args.sizes:
            save_prepared(folder / f"set{n}", studies.where(np.arange(len(studies)) < n))
            found.append(embed(folder / f"set{n}", folder / f"of{n}", 1))
        found.append((statistics.median(took[1]), most[1]))
        slope = np.polyfit(np.log(sizes), np.log([t for t, _ in found]), 1)[0]
        told = ", ".join(
            f"{n:,} in {t:.0f} s and {mb:.0f} MB" for n, (t, mb) in zip(sizes, found, strict=True)
        )
        print(f"  {told}: slope {slope:.2f}")


if __name__ == "__main__":
    main()
