"""Searches of one query at sizes up to a million and beyond: time, memory, and what is found.

    python benchmarks/neighbours.py [--embedded FOLDER] [--sizes 10000 100000 1000000]

Vectors are the Gaussians that ``echoing embed`` wrote into FOLDER; without it, of simulated ECGs.
Where more are asked for than there are, each is taken again, drawn from its own Gaussian: such
sizes say how time grows, not how ECGs lie. Queries are ECGs that are no items. In each round all
searches take turns:

- faiss, the flat index, as it searches for one query: on one core;
- exact, as the product searches (`retrieve.vectors`), and among a third of the items;
- by cosine;
- fast (`retrieve.cells`), with its share of the ten nearest;
- the sum of all numbers, which reads the memory once: the limit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from echoing_core import load_model
from echoing_core.datasets.simulated import build_simulated
from echoing_core.embed.encode import encode_batch
from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.cells import FastSearch, K, sort_into_cells
from echoing_core.retrieve.vectors import Vectors, as_vectors
from echoing_core.services import embedded_parts

N_QUERIES = 200
N_SIMULATED = 1000


def gaussians(embedded: Path | None) -> GaussianEmbedding:
    """All there are, in no order."""
    model = load_model()
    if embedded is None:
        made = build_simulated(N_SIMULATED, 7, n_workers=2)
        found = encode_batch(
            model.checkpoint.encoder.ecg, model.checkpoint.scaler, made.signal_mv, made.valid
        )
    else:
        parts = [part.embedding for part in embedded_parts(embedded, model)]
        found = GaussianEmbedding(
            np.concatenate([p.mu for p in parts]), np.concatenate([p.log_var for p in parts])
        )
    return found[np.random.default_rng(0).permutation(len(found))]


def of_size(known: GaussianEmbedding, n: int) -> GaussianEmbedding:
    if n <= len(known):
        return known[:n]
    rng = np.random.default_rng(1)
    mu = np.empty((n, known.mu.shape[1]), dtype=np.float32)
    log_var = np.empty((n, known.mu.shape[1]), dtype=np.float32)
    for first in range(0, n, len(known)):
        some = slice(first, min(first + len(known), n))
        own = known[: some.stop - first]
        log_var[some] = own.log_var
        mu[some] = own.mu
        if first:
            drawn = rng.standard_normal(own.mu.shape, dtype=np.float32)
            mu[some] += drawn * np.exp(0.5 * own.log_var)
    return GaussianEmbedding(mu, log_var)


def measure(items: GaussianEmbedding, queries: GaussianEmbedding) -> None:
    n = len(items)
    vectors = Vectors(as_vectors(items))
    flat = faiss.IndexFlatL2(vectors.rows.shape[1])
    flat.add(vectors.rows)
    third = np.arange(0, n, 3, dtype=np.int64)
    began = time.perf_counter()
    # The number of cells to look into is not chosen by the queries that judge it.
    cells = sort_into_cells(vectors)
    sorting_s = time.perf_counter() - began
    searches: dict[str, Callable[[GaussianEmbedding], object]] = {
        "faiss flat": lambda q: flat.search(np.append(q.mu, np.zeros((1, 1), "f4"), 1), K),
        "exact": lambda q: vectors.nearest(q, K, "csd"),
        "exact, a third": lambda q: vectors.nearest(q, K, "csd", third),
        "cosine": lambda q: vectors.nearest(q, K, "cosine"),
        "memory": lambda q: vectors.rows.sum(),
    }
    opening_s = 0.0
    if cells is not None:
        began = time.perf_counter()
        fast = FastSearch(vectors, cells.centroids, cells.cell_of, cells.n_probed)
        opening_s = time.perf_counter() - began
        searches["fast"] = lambda q: fast.nearest(q, K)
    took: dict[str, list[float]] = {name: [] for name in searches}
    found = []
    for i in range(len(queries) if n <= 100_000 else 40):
        query = queries[np.array([i])]
        rows: dict[str, object] = {}
        for name, search in searches.items():
            began = time.perf_counter()
            rows[name] = search(query)
            took[name].append(1e3 * (time.perf_counter() - began))
        if cells is not None:
            exact, quick = rows["exact"][0], rows["fast"][0]  # type: ignore[index]
            found.append(len(set(exact) & set(quick)) / K)
    told = ", ".join(
        f"{name} {statistics.median(t):.2f} ms ({min(t):.2f} to {max(t):.2f})"
        for name, t in took.items()
    )
    print(f"{n:,} of {items.mu.shape[1]} ({vectors.rows.nbytes / 1e9:.2f} GB): {told}")
    if cells is None:
        print("  no fast search: a tenth of the cells holds too little of what is nearest")
        return
    ratios = [a / b for a, b in zip(took["exact"], took["fast"], strict=True)]
    print(
        f"  {cells.facts()}; found by these queries {np.mean(found):.4f}; "
        f"{statistics.median(ratios):.1f} x as fast as exact; cells made in {sorting_s:.0f} s, "
        f"opened in {opening_s:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedded", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    args = parser.parse_args()
    known = gaussians(args.embedded)
    queries, known = known[:N_QUERIES], known[N_QUERIES:]
    for n in args.sizes:
        measure(of_size(known, n), queries)


if __name__ == "__main__":
    main()
