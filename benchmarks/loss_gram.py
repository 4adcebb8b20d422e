"""Time and memory of the matching loss: distances by a Gram matrix against broadcasting.

    python benchmarks/loss_gram.py [--loss pcmepp] [--dim 256] [--batch 128 256 512] [--alone 8192]

Both forms compute the same closed-form sampled distance, and the benchmark stops if the losses
differ. Broadcasting holds an (n, n, dim) tensor, the Gram form an (n, n) one. Each measurement
has a process of its own; memory is the growth of its high-water mark over one forward and
backward pass (Linux: /proc/self/status). What counts are the ratios of one run. Batches too large
to be broadcast are measured with the Gram form alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from echoing_core.metrics.distances import csd
from echoing_core.models import losses
from echoing_core.models.config import LossConfig
from echoing_core.models.losses import MatchingLoss

SEED = 0
N_TIMED = 7
TOLERANCE = 1e-4


def csd_by_broadcasting(mu_a: Tensor, log_var_a: Tensor, mu_b: Tensor, log_var_b: Tensor) -> Tensor:
    """The same distance written down as the formula stands: every pair, every dimension."""
    difference = (mu_a[:, None, :] - mu_b[None, :, :]).square().sum(-1)
    spread = (log_var_a.exp()[:, None, :] + log_var_b.exp()[None, :, :]).sum(-1)
    return difference + spread


FORMS: dict[str, Callable[..., Tensor]] = {"gram": csd, "broadcast": csd_by_broadcasting}


def measure(job: tuple[str, str, int, int]) -> tuple[float, float, float]:
    """Median seconds, peak growth in MB, and the loss, of one form at one batch size."""
    form, name, n, dim = job
    torch.set_num_threads(1)
    loss = MatchingLoss(LossConfig(name=name))

    def step(inputs: list[Tensor]) -> float:
        total = loss(*inputs, torch.eye(len(inputs[0]), dtype=torch.bool)).total
        total.backward()
        return float(total.detach())

    with mock.patch.object(losses, "csd", FORMS[form]):
        step(_gaussians(8, dim))  # what torch needs once is not the loss's
        inputs = _gaussians(n, dim)
        before = _memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts here
        value = step(inputs)
        grown = _memory_mb("VmHWM") - before
        seconds = []
        for _ in range(N_TIMED):
            started = time.perf_counter()
            step(inputs)
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), grown, value


def _gaussians(n: int, dim: int) -> list[Tensor]:
    """mu and log_var of n ECGs, then of n texts."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = [torch.randn(n, dim, generator=generator) for _ in range(4)]
    for i in (0, 2):
        drawn[i] = torch.nn.functional.normalize(drawn[i], dim=1)
        drawn[i + 1] = 0.3 * drawn[i + 1] - 7.0
    return [tensor.requires_grad_(True) for tensor in drawn]


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads its memory from /proc/self/status, which is not here")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", default="pcmepp", choices=["pcmepp", "csd_infonce"])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--alone", type=int, nargs="*", default=[8192])
    chosen = parser.parse_args()
    print(f"{chosen.loss}, dim {chosen.dim}, one thread, median of {N_TIMED} passes")
    print("batch   gram ms  broadcast ms  time ratio   gram MB  broadcast MB  memory ratio")
    # A fresh process for every measurement: what an allocator kept would hide what is needed.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for n in chosen.batch:
            jobs = [(form, chosen.loss, n, chosen.dim) for form in FORMS]
            (fast, small, value), (slow, large, expected) = pool.map(measure, jobs, chunksize=1)
            if abs(value - expected) > TOLERANCE * abs(expected):
                raise SystemExit(f"the two forms differ at {n}: {value} and {expected}")
            print(
                f"{n:5d}  {1e3 * fast:8.1f}  {1e3 * slow:12.1f}  {slow / fast:10.1f}"
                f"  {small:8.1f}  {large:12.1f}  {large / max(small, 0.1):12.1f}"
            )
        for n in chosen.alone:
            ((fast, small, _),) = pool.map(measure, [("gram", chosen.loss, n, chosen.dim)])
            print(f"{n:5d}  {1e3 * fast:8.1f}  {'':24s}  {small:8.1f}")


if __name__ == "__main__":
    main()
