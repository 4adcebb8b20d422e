"""Indexes in shards: building, opening and searching them, by number of items and of shards.

    python benchmarks/sharded.py EMBEDDED WORK [--sizes 10000 100000 1000000] [--shards 1 2 4]

EMBEDDED is what ``echoing embed`` wrote. Where more ECGs are asked for than it has, each is taken
again, drawn from its own Gaussian, as in `neighbours.py`: such sizes say how time grows, not how
ECGs lie. Each index is built by a process of its own and then held by a Ray cluster of this
machine, a process a shard with one thread each. Queries are ECGs that are no items, in turns; all
are compared with the index in one shard, or in the fewest.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from neighbours import N_QUERIES, gaussians, of_size

from echoing_core import load_model
from echoing_core.artifacts import seal
from echoing_core.records import GaussianEmbedding
from echoing_core.services import build_embedded_index, embedding, open_shards
from echoing_core.services.word_search import Options, Request, joined

N_TIMED, K, A_PART = 40, 10, 1024


def write_embedded(folder: Path, known: GaussianEmbedding, n: int) -> None:
    """As ``echoing embed`` leaves them, in larger parts and without the ECGs themselves."""
    model = load_model()
    folder.mkdir(parents=True)
    # Some at a time: of the largest sizes both arrays would not fit into memory.
    step = A_PART * (len(known) // A_PART)
    for first in range(0, n, step):
        here = of_size(known[:step], min(step, n)) if first == 0 else drawn(known[:step], first)
        for at in range(0, min(step, n - first), A_PART):
            some = here[at : min(at + A_PART, n - first)]
            rows = [
                {"record": f"ecg-{first + at + i:08d}", "start_s": 0.0, "content": "",
                 "simulated": True, "percentile": 50.0, "origin": "", "mu": some.mu[i],
                 "log_var": some.log_var[i], "microvolts": b""}
                for i in range(len(some))
            ]  # fmt: skip
            name = embedding._name((first + at) // A_PART)
            embedding._write_part(folder / name, rows, [], known.mu.shape[1])
    seal(
        folder, kind=embedding.KIND, checkpoint_hash=model.hash, n=n, dim=known.mu.shape[1],
        extra={"again": {}, "n_failed": 0},
    )  # fmt: skip


def drawn(known: GaussianEmbedding, seed: int) -> GaussianEmbedding:
    noise = np.random.default_rng(seed).standard_normal(known.mu.shape, dtype=np.float32)
    return GaussianEmbedding(known.mu + noise * np.exp(0.5 * known.log_var), known.log_var)


def build(embedded: Path, out: Path, n_shards: int) -> None:
    began = time.perf_counter()
    build_embedded_index(out, load_model(), embedded, traces=False, n_shards=n_shards)
    print(json.dumps({"s": time.perf_counter() - began, "peak_gb": memory(None)[2]}))


def memory(_: object) -> tuple[float, float, float]:
    """Own and mapped memory of this process, and the most that it ever took, GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kb = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    own, mapped, peak = (int(kb[name]) / 1e6 for name in ("RssAnon", "RssFile", "VmHWM"))
    return own, mapped, peak


def measure(
    folder: Path, queries: GaussianEmbedding, expected: list[tuple[object, ...]] | None
) -> tuple[list[tuple[object, ...]], float]:
    import ray

    began = time.perf_counter()
    with open_shards(folder, load_model(), cluster="ray") as shards:
        cluster_s = time.perf_counter() - began
        began = time.perf_counter()
        shards.open()
        opening_s = time.perf_counter() - began
        kinds = {
            "exact": Options(K, "csd", "ecg", None, False),
            "cosine": Options(K, "cosine", "ecg", None, False),
        }
        card = json.loads((folder / "shard-0000" / "card.json").read_text())
        if card.get("fast_search", {}).get("ecg"):
            kinds["fast"] = Options(K, "csd", "ecg", None, False, exact=False)
        took: dict[str, list[float]] = {kind: [] for kind in kinds}
        found: list[tuple[object, ...]] = []
        recall = []
        for i in range(N_TIMED):
            ids = {}
            for kind, options in kinds.items():
                request = Request(queries[np.array([i])], options, None)
                began = time.perf_counter()
                hits = joined(request, shards.judge(request)).hits
                took[kind].append(1e3 * (time.perf_counter() - began))
                ids[kind] = tuple((hit.item_id, hit.distance) for hit in hits)
            found.append((ids["exact"], ids["cosine"]))
            if "fast" in ids:
                recall.append(len(set(ids["exact"]) & set(ids["fast"])) / K)
        used = ray.get([a.__ray_call__.remote(memory) for a in shards._held._actors.values()])
    # Handles that are let go of later would be taken for those of the next cluster.
    gc.collect()
    ray.shutdown()
    told = ", ".join(
        f"{kind} {statistics.median(t):.1f} ms ({min(t):.1f} to {max(t):.1f})"
        for kind, t in took.items()
    )
    if recall:
        told += f", fast finds {np.mean(recall):.4f}"
    if expected is not None:
        told += f", same as the first: {found == expected}"
    told += f"; opened in {opening_s:.1f} s (cluster {cluster_s:.1f} s), memory of each "
    print(
        "    " + told + ", ".join(f"{own:.2f} + {mapped:.2f} mapped" for own, mapped, _ in used),
        flush=True,
    )
    return found, statistics.median(took["exact"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embedded", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--most", type=int, default=1_000_000, help="Items of a shard.")
    parser.add_argument("--build", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build:
        build(args.embedded, args.work, args.build)
        return
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    known = gaussians(args.embedded)
    queries, known = known[:N_QUERIES], known[N_QUERIES:]
    exact: dict[int, list[tuple[int, float]]] = {}
    for n in args.sizes:
        embedded = args.work / f"embedded-{n}"
        if not embedded.is_dir():
            write_embedded(embedded, known, n)
        expected = None
        for n_shards in args.shards:
            if n / n_shards > args.most:
                continue
            out = args.work / f"index-{n}-{n_shards}"
            command = [sys.executable, __file__, str(embedded), str(out), "--build", str(n_shards)]
            told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            print(
                f"{n:,} in {n_shards}: built in {told['s']:.0f} s, up to {told['peak_gb']:.1f} GB",
                flush=True,
            )
            found, ms = measure(out, queries, expected)
            shutil.rmtree(out)
            expected = expected or found
            exact.setdefault(n_shards, []).append((n, ms))
    for n_shards, times in exact.items():
        if len(times) > 1:
            x, y = (np.log([one[i] for one in times]) for i in (0, 1))
            last = (y[-1] - y[-2]) / (x[-1] - x[-2])
            print(
                f"{n_shards} shards: exact grows with size to the power "
                f"{np.polyfit(x, y, 1)[0]:.2f}, between the last two sizes {last:.2f}"
            )


if __name__ == "__main__":
    main()
