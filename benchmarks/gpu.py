"""What a GPU gives, beside all cores of the same machine: ratios of one run.

    python benchmarks/gpu.py [--rounds 5] [--ecgs 20000] [--without-embedding]

Rounds in which both take turns, medians; float32 on both sides:

1. windows that share a pass (a window every second) and windows one by one, by the shipped encoder;
2. windows of the published network (its shape, random weights);
3. one query among a million vectors, exactly;
4. ``echoing embed`` of simulated ECGs whose arrays are made up, one process and as many as there
   are cores: the whole command, disk and start included.

How a step of training at full size takes is measured by ``paper_step.py``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from echoing_core import load_model
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.simulated import build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch_terms, encode_dense_terms
from echoing_core.models.config import ModelConfig
from echoing_core.models.devices import placed
from echoing_core.models.encoders import EcgEncoder
from echoing_core.models.released import ReleasedEcgEncoder
from echoing_core.records import GaussianEmbedding, StandardEcg
from echoing_core.retrieve.vectors import Vectors, as_vectors

N_SEARCHED, DIM = 1_000_000, 256


def turns(rounds: int, n: int, what: str, **sides: Callable[[], object]) -> None:
    """Each side in turn; how many a second, and how often the second is as fast as the first."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, act in sides.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            act()
            torch.cuda.synchronize()
            # The first round loads and chooses kernels.
            if number:
                took[name].append(time.perf_counter() - began)
    rates = ", ".join(f"{name} {n / statistics.median(t):,.0f}/s" for name, t in took.items())
    first, last = took.values()
    ratios = sorted(a / b for a, b in zip(first, last, strict=True))
    middle = statistics.median(ratios)
    print(f"{what}: {rates}; {middle:.1f} x ({ratios[0]:.1f} to {ratios[-1]:.1f})", flush=True)


def apart(a: GaussianEmbedding, b: GaussianEmbedding) -> str:
    mu, log_var = np.abs(a.mu - b.mu).max(), np.abs(a.log_var - b.log_var).max()
    return f"  differ by at most {mu:.1e} in mu, {log_var:.1e} in log sigma^2"


def encoders(rounds: int) -> None:
    device = torch.device("cuda")
    checkpoint = load_model().checkpoint
    scaler = checkpoint.scaler
    rng = np.random.default_rng(0)
    long = rng.normal(0, 0.2, (12, 100 * 3 * 3600)).astype(np.float32)
    ecg = StandardEcg(long, np.ones(long.shape, np.bool_), ("measured",) * 12, "made")
    starts = np.arange(0, ecg.n_times - 1000, 100)
    own, moved = checkpoint.encoder.ecg, placed(checkpoint.encoder.ecg, device)

    # A processor's side must not go to the GPU by itself; what lies there stays.
    os.environ["ECHOING_DEVICE"] = "cpu"

    def dense(encoder: EcgEncoder) -> GaussianEmbedding:
        return encode_dense_terms(encoder, scaler, ecg, starts).embedding

    turns(
        rounds, len(starts), "a window every second of three hours",
        processor=lambda: dense(own), gpu=lambda: dense(moved),
    )  # fmt: skip
    print(apart(dense(own), dense(moved)))
    many = rng.normal(0, 0.2, (8192, 12, 1000)).astype(np.float32)
    valid = np.ones(many.shape, np.bool_)

    def alone(encoder: EcgEncoder, n: int) -> GaussianEmbedding:
        return encode_batch_terms(encoder, scaler, many[:n], valid[:n]).embedding

    turns(
        rounds, len(many), "windows one by one",
        processor=lambda: alone(own, len(many)), gpu=lambda: alone(moved, len(many)),
    )  # fmt: skip
    print(apart(alone(own, 2048), alone(moved, 2048)))
    torch.manual_seed(0)
    config = ModelConfig(architecture="released", dim=512, log_var_bias=0.0).released_ecg
    published: EcgEncoder = ReleasedEcgEncoder(config, 512, 0.0).eval()
    there = placed(published, device)
    turns(
        min(rounds, 3), 64, "published network",
        processor=lambda: alone(published, 64), gpu=lambda: alone(there, 64),
    )  # fmt: skip
    began = time.perf_counter()
    alone(there, 2048)
    print(f"  and in batches of 128 {2048 / (time.perf_counter() - began):,.0f}/s")
    print(apart(alone(published, 64), alone(there, 64)))


def searches(rounds: int) -> None:
    rng = np.random.default_rng(0)
    mu = rng.standard_normal((N_SEARCHED, DIM), dtype=np.float32)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    rows = as_vectors(GaussianEmbedding(mu, np.full_like(mu, -6.0)))
    query = GaussianEmbedding(mu[:1] + 0.01, np.full_like(mu[:1], -6.0))
    os.environ["ECHOING_DEVICE"] = "cpu"
    processor = Vectors(rows)
    wanted = processor.nearest(query, 10, "csd")
    os.environ["ECHOING_DEVICE"] = "cuda"
    gpu = Vectors(rows)
    assert all(
        np.array_equal(a, b) for a, b in zip(gpu.nearest(query, 10, "csd"), wanted, strict=True)
    )
    turns(
        5 * rounds, 1, f"the ten nearest of {N_SEARCHED:,}",
        processor=lambda: processor.nearest(query, 10, "csd"),
        gpu=lambda: gpu.nearest(query, 10, "csd"),
    )  # fmt: skip


def collection(n: int) -> None:
    made = build_simulated(100, 7, n_workers=os.cpu_count() or 1)
    some = np.arange(n) % len(made)
    rng = np.random.default_rng(0)
    table = made.table.iloc[some].reset_index(drop=True)
    table["record_id"] = [f"r{i}" for i in range(n)]
    # Other numbers in each, or they would be known as one.
    signal = np.array(made.signal_mv)[some] + rng.normal(0, 0.01, (n, 12, 1)).astype(np.float32)
    studies = StudySet(table, signal, np.array(made.valid)[some])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_prepared(folder / "set", studies)
        cores = os.cpu_count() or 1
        for device, workers in (
            ("cuda", 1),
            ("cpu", cores),
            ("cuda", 4),
            ("cuda", cores),
        ):
            began = time.perf_counter()
            command = [sys.executable, "-m", "echoing_core.cli", "--device", device, "embed"]
            subprocess.run(
                [*command, str(folder / "set"), str(folder / "out"), "--workers", str(workers)],
                check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            rate = n / (time.perf_counter() - began)
            print(
                f"echoing embed, {n:,} ECGs, {device}, {workers} workers: {rate:,.0f}/s", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ecgs", type=int, default=40_000)
    parser.add_argument("--without-embedding", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU here, so there is nothing to compare.")
    name = torch.cuda.get_device_name()
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    encoders(arguments.rounds)
    searches(arguments.rounds)
    if not arguments.without_embedding:
        collection(arguments.ecgs)


if __name__ == "__main__":
    main()
