"""How long a recording takes from the upload to the picture, and what it costs in memory.

    python benchmarks/app_memory.py [--uploads 50]

Uses what the app uses, without a browser: bytes are read, the first round is made, the map's data
are built, then the second round. Prints seconds on the clock and seconds of processor time (other
work on the machine changes only the first), the highest memory of the process, and its memory
after as many uploads by one session as args for. Simulated recordings; nothing is kept on disk.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from echoing_core import figures, services
from echoing_core.io import write_wfdb
from echoing_core.simulate.ecg.long import simulate_long


def memory_mb() -> float:
    """Resident memory of this process now."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Peak:
    """Highest resident memory while it is entered, looked at fifty times a second."""

    def __enter__(self) -> Peak:
        self.mb = memory_mb()
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.mb = max(self.mb, memory_mb())


def recorded(duration_s: float) -> list[tuple[str, bytes]]:
    """The files of a simulated recording of three leads at 200 Hz."""
    made = simulate_long(30_777, 1, duration_s=duration_s, fs_hz=200.0, leads="xyz").recording
    with tempfile.TemporaryDirectory() as folder:
        files = write_wfdb(
            Path(folder), "rec", made.signal_mv, made.fs_hz, made.lead_names, gain=200.0,
            comments=("simulated by EchoingECG",),
        )  # fmt: skip
        return [(Path(f).name, Path(f).read_bytes()) for f in files]


def opened(model: services.Model, files: list[tuple[str, bytes]]) -> services.Explanation:
    """As the app opens a recording; prints when what is reached."""
    wall, cpu = time.perf_counter(), time.process_time()

    def say(what: str) -> None:
        now = memory_mb()
        spent = f"{time.perf_counter() - wall:6.1f} s, processor {time.process_time() - cpu:6.1f} s"
        sys.stdout.write(f"  {what:<28} {spent}, {now:6.0f} MB\n")

    recording = services.read_recording(files)
    say("read")
    job = services.ExplainJob(model, recording)
    say("filtered")
    longest = 0.0
    while not job.has_overview:
        begun = time.perf_counter()
        job.step()
        longest = max(longest, time.perf_counter() - begun)
    explanation = job.explanation()
    flagged = services.flagged_intervals(model, explanation)
    data = figures.map_data(explanation.ecg, explanation.track, model.reference)
    numbers = sum(len(v) for v in data.values() if isinstance(v, str))
    say("picture")
    if not job.finished:
        while not job.finished:
            job.step()
        explanation = job.explanation()
        services.flagged_intervals(model, explanation, known=flagged)
        say("all windows")
    sys.stdout.write(
        f"  {len(explanation.track)} windows, longest step {longest:.2f} s, "
        f"{len(flagged)} stretches at the first look, map {numbers / 1e3:.0f} kB\n"
    )
    return explanation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=50)
    args = parser.parse_args()
    model = services.load_model()
    services.explain(model, services.read_recording(recorded(30.0)))
    sys.stdout.write(f"model loaded: {memory_mb():.0f} MB\n")
    for name, duration_s in (("10 seconds", 10.0), ("20 minutes", 1196.0), ("24 hours", 86_400.0)):
        files = recorded(duration_s)
        gc.collect()
        sys.stdout.write(f"{name}: {sum(len(b) for _, b in files) / 1e6:.1f} MB of files\n")
        with Peak() as peak:
            explanation = opened(model, files)
        sys.stdout.write(f"  highest {peak.mb:.0f} MB\n")
        del explanation, files
        gc.collect()
    files = recorded(1196.0)
    held, after = None, []
    for _ in range(args.uploads):
        job = services.ExplainJob(model, services.read_recording(files))
        while not job.finished:
            job.step()
        held = job.explanation()
        figures.map_data(held.ecg, held.track, model.reference)
        after.append(memory_mb())
    steps = np.linspace(0, len(after) - 1, 6).round().astype(int)
    course = ", ".join(f"{after[i]:.0f} after {i + 1}" for i in dict.fromkeys(steps.tolist()))
    sys.stdout.write(f"{args.uploads} uploads of 20 minutes, one held: {course} (MB)\n")


if __name__ == "__main__":
    main()
