"""Recompute `signals.leads.PTBXL_LEAD_COVARIANCE_MV2` from a PTB-XL folder.

    python benchmarks/ptbxl_lead_covariance.py PTBXL_FOLDER

PTB-XL (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6) is licensed CC BY 4.0. The folder
holds ``ptbxl_database.csv`` and ``records100``; records of folds 9 and 10 are not read.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from echoing_core.io import read_recording
from echoing_core.signals.filters import bandpass
from echoing_core.signals.leads import EIGHT_LEADS, KORS, generalised_inverse

MAX_AMPLITUDE_MV = 5.0
LAST_FOLD = 8


def lead_covariance(folder: Path) -> tuple[np.ndarray, int, int]:
    """Mean of x x^T over folds 1-8 in mV^2, and how many records were used and left out."""
    total = np.zeros((len(EIGHT_LEADS), len(EIGHT_LEADS)))
    n_times = n_used = n_left_out = 0
    with (folder / "ptbxl_database.csv").open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if int(row["strat_fold"]) <= LAST_FOLD]
    for row in rows:
        header = (folder / row["filename_lr"]).with_suffix(".hea")
        if not header.exists():
            continue
        recording = read_recording(header)
        eight = recording.signal_mv[[recording.lead_names.index(lead) for lead in EIGHT_LEADS]]
        x = bandpass(eight, recording.fs_hz)
        if np.abs(x).max() > MAX_AMPLITUDE_MV:
            n_left_out += 1
            continue
        total += x @ x.T
        n_times += x.shape[1]
        n_used += 1
    if n_times == 0:
        raise SystemExit(f"no record of folds 1-{LAST_FOLD} found in {folder}")
    return total / n_times, n_used, n_left_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    covariance, n_used, n_left_out = lead_covariance(parser.parse_args().folder)
    print(f"{n_used} records; {n_left_out} left out for amplitudes beyond {MAX_AMPLITUDE_MV} mV")
    print("covariance (mV^2), leads", ", ".join(EIGHT_LEADS))
    print(np.array2string(covariance, precision=5, suppress_small=True))
    print("C K^T (K C K^T)^-1, columns X, Y, Z")
    print(np.array2string(generalised_inverse(KORS, covariance), precision=3))


if __name__ == "__main__":
    main()
