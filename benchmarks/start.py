"""How long until a command answers, beside the import of torch alone?

    python benchmarks/start.py [--rounds 5]

Every command is a process of its own. In each round all are run in turn, so that what else the
machine does meets all of them; printed are the least seconds on the clock and of processor time of
each, and the median over rounds of its processor time in multiples of ``import torch``. The last
row is a process that has imported torch and then loads the model, explains ten seconds and answers
a question: what it takes after that import.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

ECHOING = ("-m", "echoing_core.cli")
COMMANDS = {
    "import torch": ("-c", "import torch"),
    "echoing --help": (*ECHOING, "--help"),
    "echoing explain SIM_AF": (*ECHOING, "explain", "SIM_AF"),
    "echoing ask SIM_LBBB --prompt lbbb": (*ECHOING, "ask", "SIM_LBBB", "--prompt", "lbbb"),
    "echoing search lbbb": (*ECHOING, "search", "lbbb"),
}
AFTER = """
import torch, time
began, used = time.perf_counter(), time.process_time()
from echoing_core import ask, explain, load_model, read_recording
from echoing_core.services import named_sample
model = load_model()
ask(model, explain(model, read_recording(named_sample(["SIM_AF"]).paths)), ["lbbb"])
print(time.perf_counter() - began, time.process_time() - used)
"""


def run(arguments: tuple[str, ...]) -> tuple[float, float, str]:
    """Seconds on the clock, seconds of processor time, and what was printed."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    clock = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return clock, used, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    last = "load_model, explain, ask (torch imported)"
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*COMMANDS, last)}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(run(arguments)[:2])
        clock, used = (float(part) for part in run(("-c", AFTER))[2].split())
        times[last].append((clock, used))
    print(f"load of the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| process | least s | least s of a core | times import torch (median) |")
    print("|---|---|---|---|")
    for name, found in times.items():
        ratio = statistics.median(
            used / torch for (_, used), (_, torch) in zip(found, times["import torch"], strict=True)
        )
        clocks, cores = zip(*found, strict=True)
        print(f"| {name} | {min(clocks):.2f} | {min(cores):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
