"""What two ECGs of one heart differ by: halves of a recording, and two visits of healthy people.

    python benchmarks/serial.py PTBXL [--records 150] [--table ptbxl_database.csv]

PTBXL is a folder with ``ptbxl_database.csv`` and records; another table may name more of its
people. The constants of heights in `echoing_core.measure.serial` come from here: `REPEAT` is the
smallest SD with which 95 % of the differences between halves of records of even number lie within
their interval, beside what that covers of those of odd number; `VISIT_SD` is the SD of the
difference between the first two ECGs of people whose ECGs were both called normal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from echoing_core.errors import EchoingError
from echoing_core.io import read_recording
from echoing_core.measure import Difference, Serial, compare_measured, measure
from echoing_core.measure.serial import REPEAT
from echoing_core.metrics.results import Table

_Z = 1.96


def halves(path: Path) -> Serial | None:
    """The two halves of ten seconds beside each other; None where it cannot be measured."""
    recording = read_recording(path)
    try:
        return compare_measured(measure(recording, 0.0, 5.0), measure(recording, 5.0, 5.0))
    except EchoingError:
        return None


def by_name(serials: list[Serial]) -> dict[str, list[Difference]]:
    """Differences that could be told, of all pairs."""
    found: dict[str, list[Difference]] = {}
    for serial in serials:
        for one in (*serial.differences, *serial.by_lead):
            if one.value is not None:
                found.setdefault(one.one.name, []).append(one)
    return found


def spread(differences: list[Difference]) -> tuple[np.ndarray, np.ndarray]:
    """The differences, and the standard error of each by how beats vary."""
    value = np.array([d.value for d in differences], np.float64)
    error = [
        np.hypot(d.one.standard_error or 0.0, d.other.standard_error or 0.0) for d in differences
    ]
    return value, np.array(error)


def covered(value: np.ndarray, error: np.ndarray, repeat: float) -> float:
    return float(np.mean(np.abs(value) <= _Z * np.sqrt(error**2 + 2.0 * repeat**2)))


def halves_table(files: list[Path]) -> Table:
    even, odd = (
        by_name([s for f in files if int(f.name[:5]) % 2 == rest and (s := halves(f)) is not None])
        for rest in (0, 1)
    )
    rows = []
    for name, differences in even.items():
        value, error = spread(differences)
        steps = np.linspace(0.0, max(float(np.abs(value).max()), 1e-9), 2000)
        repeat = next((s for s in steps if covered(value, error, float(s)) >= 0.95), steps[-1])
        rows.append([name, str(len(differences)), f"{repeat:.4f}"])
        for sd in (float(repeat), REPEAT[name]):
            held = covered(*spread(odd[name]), sd) if name in odd else float("nan")
            rows[-1].append(f"{100 * held:.1f} %")
    head = [
        "Measurement",
        "Pairs",
        "SD of one, beside the beats",
        "Odd within",
        "Odd within REPEAT",
    ]
    return Table("Two halves of ten seconds", head, rows)


def visits_table(table: Path, paths: dict[int, Path]) -> Table:
    told = pd.read_csv(table)
    normal = told[told.ecg_id.isin(paths) & told.scp_codes.str.contains("'NORM'")]
    serials, days = [], []
    for _, visits in normal.sort_values("recording_date").groupby("patient_id"):
        if len(visits) < 2:
            continue
        one, other = (measure(read_recording(paths[i])) for i in visits.ecg_id.iloc[:2])
        serials.append(compare_measured(one, other))
        first, second = pd.to_datetime(visits.recording_date.iloc[:2])
        days.append((second - first).days)
    rows = []
    for name, differences in by_name(serials).items():
        value, _ = spread(differences)
        within = np.mean([not d.changed for d in differences])
        rows.append([name, str(len(value)), f"{value.std():.3f}", f"{100 * within:.0f} %"])
    note = f"{len(serials)} people, {np.median(days):.0f} days apart in the median."
    head = ["Measurement", "Pairs", "SD of the difference", "Not called a change"]
    return Table("Two visits of people whose ECGs were called normal", head, rows, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=150, help="Of each half, for the halves.")
    parser.add_argument("--table", type=Path, help="By default that of the folder.")
    given = parser.parse_args()
    paths = {int(f.name[:5]): f for f in sorted(given.folder.rglob("*_lr.hea"))}
    files = list(paths.values())
    np.random.default_rng(0).shuffle(files)  # type: ignore[arg-type]
    even, odd = ([f for f in files if int(f.name[:5]) % 2 == rest] for rest in (0, 1))
    half = [*even[: given.records], *odd[: given.records]]
    paths |= {int(f.name[:5]): f for f in given.folder.rglob("*_hr.hea")}
    for table in (
        halves_table(half),
        visits_table(given.table or given.folder / "ptbxl_database.csv", paths),
    ):
        print(f"## {table.title}\n\n{table.to_markdown()}")


if __name__ == "__main__":
    main()
