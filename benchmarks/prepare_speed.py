"""How fast `echoing prepare` reads, how much memory it needs, and what all of MIMIC-IV-ECG takes.

    python benchmarks/prepare_speed.py [--records 2000] [--workers 1 2] [--folder FOLDER]

Writes so many WFDB records as MIMIC-IV-ECG has them (12 leads in its order, 500 Hz, 10 s, format
16, its folders), with its two tables, of a few simulated hearts; prepares them with the command
that a user types; and prints records per second, the processor time of a record, the largest
resident memory of all processes together, and what 800,035 records would take at that speed.
Writing the tree is not counted. Its files are warm in the page cache, so a slow disk or a network
comes on top; what else runs on the machine shows as processor time below the time that passed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from echoing_core.io import write_wfdb
from echoing_core.records import LEADS
from echoing_core.simulate import simulate_study

N_MIMIC = 800_035
N_HEARTS = 8
STORED = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
_MB = 1e6


def write_records(root: Path, n: int) -> None:
    """A tree as MIMIC-IV-ECG's, of a few simulated hearts copied under other names."""
    made = root.parent / "hearts"
    made.mkdir()
    for number in range(N_HEARTS):
        signal = np.asarray(simulate_study(5, number).recording_12.signal_mv)
        rows = [LEADS.index(lead) for lead in STORED]
        write_wfdb(made, f"heart{number}", signal[rows], 500.0, STORED, gain=200.0)
    records = ["subject_id,study_id,file_name,ecg_time,path"]
    machine = ["subject_id,study_id,ecg_time,report_0,report_1"]
    for number in range(n):
        subject, study = 10_000_000 + number // 5, 40_000_000 + number
        path = f"files/p{subject // 10_000}/p{subject}/s{study}/{study}"
        (root / path).parent.mkdir(parents=True)
        heart = made / f"heart{number % N_HEARTS}"
        header = heart.with_suffix(".hea").read_text(encoding="ascii")
        (root / f"{path}.hea").write_text(header.replace(heart.name, str(study)), encoding="ascii")
        shutil.copyfile(heart.with_suffix(".dat"), root / f"{path}.dat")
        stamp = f"2150-01-01 00:00:{number % 60:02d}"
        records.append(f"{subject},{study},{study},{stamp},{path}")
        machine.append(f"{subject},{study},{stamp},Sinus rhythm,Normal ECG")
    (root / "record_list.csv").write_text("\n".join(records) + "\n", encoding="utf-8")
    (root / "machine_measurements.csv").write_text("\n".join(machine) + "\n", encoding="utf-8")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children; pages they share count more than once."""
    found = 0
    for process in [pid, *_children(pid)]:
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            continue
        found += pages * 4096
    return found


def _children(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [process for child in listed for process in (int(child), *_children(int(child)))]


def measure(root: Path, out: Path, n_workers: int) -> tuple[float, float, int]:
    """Seconds, processor seconds and the largest resident memory, bytes, of one run."""
    command = [
        sys.executable,
        "-c",
        "from echoing_core.cli import main; main()",
        "prepare",
        "mimic",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    with subprocess.Popen(
        [*command, str(root), str(out), "--workers", str(n_workers)], stdout=subprocess.DEVNULL
    ) as run:
        peak = 0
        while run.poll() is None:
            peak = max(peak, resident_bytes(run.pid))
            time.sleep(0.05)
    if run.returncode:
        raise SystemExit(f"echoing prepare mimic ended with {run.returncode}")
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, busy, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where to write; removed afterwards")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        root = Path(name) / "mimic"
        root.mkdir()
        write_records(root, given.records)
        print("| workers | records | seconds | records/s | CPU ms a record | peak MB | 800,035 |")
        print("|---|---|---|---|---|---|---|")
        for n_workers in given.workers:
            seconds, busy, peak = measure(root, Path(name) / f"out{n_workers}", n_workers)
            rate = given.records / seconds
            hours = N_MIMIC / rate / 3600
            print(
                f"| {n_workers} | {given.records} | {seconds:.1f} | {rate:.0f} "
                f"| {1000 * busy / given.records:.1f} | {peak / _MB:.0f} | {hours:.1f} h |",
                flush=True,
            )


if __name__ == "__main__":
    main()
