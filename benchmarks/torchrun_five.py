"""Does training on several processes end as it should, and with the model of one process?

    python benchmarks/torchrun_five.py [--runs 5] [--processes 2] [--steps 3] [--precision float64]

Prepares a small simulated cohort in a temporary folder, trains the demo preset with small encoders
once in one process and so many times by ``torchrun``, always by the command that README names.
Table: seconds on the clock and of processor time, exit code, and the largest difference of a
learnt weight from the one process's. Then a run whose last process is killed after the first saved
step: seconds until all are gone, what they said, and the difference after resuming it with as many
processes and, from the same state, with one. In float32 the difference says how far rounding
alone carries AdamW, which makes whole steps of gradients that are nothing but rounding.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

SMALL = (
    "batch_size=9",
    "save_every=1",
    "variance.batch_size=4",
    "model.dim=16",
    "model.ecg.stem_width=8",
    "model.ecg.mid_width=8",
    "model.ecg.width=16",
    "model.ecg.n_pool_heads=2",
    "model.ecg.variance_width=4",
    "model.ecg.variance_hidden=8",
    "model.text.hidden=16",
    "model.text.n_layers=1",
    "model.text.n_heads=2",
    "model.text.ffn=16",
)


def command(folder: Path, name: str, settings: list[str], *more: str) -> list[str]:
    """``train from demo``, as arguments of Python."""
    places = ["--data", str(folder / "data"), "--out", str(folder / name), *more]
    changes = [part for setting in settings for part in ("--set", setting)]
    return ["-m", "echoing_core.cli", "train", "from", "demo", *places, *changes]


def joined(processes: int) -> list[str]:
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def run(arguments: list[str]) -> tuple[int, float, float, str]:
    """Exit code, seconds, seconds of processor time, and what was said on stderr."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, time.monotonic() - began, used, done.stderr


def difference(folder: Path, first: str, second: str) -> float:
    """Largest, of the weights that gradients made; novelty's eigenvectors may turn freely."""
    one, other = (load_file(str(folder / name / "model.safetensors")) for name in (first, second))
    learnt = [name for name in one if "familiarity" not in name]
    return max((one[k].double() - other[k].double()).abs().max().item() for k in learnt)


def process_of_rank(launcher: int, rank: int) -> int:
    for line in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in b"\0" + Path(f"/proc/{line}/environ").read_bytes():
            return int(line)
    raise LookupError(rank)


def killed(arguments: list[str], steps: Path, rank: int) -> tuple[float, str]:
    """Kill one process after the first saved step: seconds until all are gone, and stderr."""
    started = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True)
    while not (steps.is_dir() and any(path.name.isdigit() for path in steps.iterdir())):
        if started.poll() is not None:
            raise RuntimeError(started.communicate()[1])
        time.sleep(0.002)
    victim = process_of_rank(started.pid, rank)
    os.kill(victim, signal.SIGSTOP)
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    # Its end of the pipe closes when the last process that can write to it is gone.
    _, said = started.communicate()
    return time.monotonic() - began, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--precision", default="float64")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = [*SMALL, f"precision={asked.precision}"]
    few = [*settings, f"steps={asked.steps}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare = ["-m", "echoing_core.cli", "prepare", "simulated", str(folder / "data")]
        run([*prepare, "--patients", "60", "--seed", "7"])
        code, wall, used, said = run(command(folder, "one", few))
        print(said, end="")
        print("run          exit  seconds  processor  largest difference")
        print(f"one process  {code:4d}  {wall:7.1f}  {used:9.1f}", flush=True)
        for number in range(1, asked.runs + 1):
            made = f"joined{number}"
            code, wall, used, said = run(joined(asked.processes) + command(folder, made, few))
            apart = f"{difference(folder, 'one', made):.1e}" if code == 0 else said[-2000:]
            print(f"joined {number}     {code:4d}  {wall:7.1f}  {used:9.1f}  {apart}", flush=True)

        more = [*settings, f"steps={max(8, asked.steps)}"]
        run(command(folder, "whole", more))
        steps = folder / "killed-run" / "steps"
        arguments = joined(asked.processes) + command(folder, "killed", more)
        gone_s, said = killed(arguments, steps, asked.processes - 1)
        print(
            f"\nkilled: all gone after {gone_s:.1f} s; model folder: {(folder / 'killed').exists()}"
        )
        # Lines of the launcher begin with its clock or belong to its report.
        print("first lines said:", *said.splitlines()[:4], sep="\n  ")
        shutil.copytree(folder / "killed-run", folder / "alone-run")
        for made, start in (("killed", joined(asked.processes)), ("alone", [])):
            code, wall, used, said = run(start + command(folder, made, more, "--resume"))
            apart = f"{difference(folder, 'whole', made):.1e}" if code == 0 else said[-2000:]
            who = f"{asked.processes} processes" if start else "one process"
            print(
                f"resumed with {who}: exit {code}, {wall:.1f} s, {used:.1f} s, {apart}", flush=True
            )


if __name__ == "__main__":
    main()
