"""What `measure` says of a folder of PTB-XL beside its SCP codes, as a table of counts.

    python benchmarks/measures_ptbxl.py PTBXL [--codes TABLE.csv]

PTBXL is a folder as it is published, or a part of it; records at 100 Hz are read. Bundle branch
blocks are complete from 120 ms on, so a complete one at 110 ms is wrong, as is a normal ECG at 120
ms. A deep Q without S in V1 to V3 is told where S was taken for Q, unless the lead is a QS.
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

import pandas as pd

from echoing_core.errors import EchoingError
from echoing_core.io import read_recording
from echoing_core.measure import measure

BLOCKS = ("CLBBB", "CRBBB")
DEEP_MV, ABSENT_MV, AT_ST_MV = 0.3, 0.1, 0.05


def row_of(path: Path) -> dict[str, object]:
    """Measurements of a record by name, those of a lead as ``V1 q_mv``."""
    measured = measure(read_recording(path))
    row: dict[str, object] = {one.name: one.value for one in measured.values}
    row |= {f"{one.name} met": one.met for one in measured.values if one.met is not None}
    row |= {f"{one.lead} {one.name}": one.value for one in measured.by_lead}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("--codes", type=Path, help="Another table of PTB-XL with scp_codes.")
    args = parser.parse_args()
    folder = args.ptbxl
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    rows, unread = {}, 0
    for ecg_id, name in table["filename_lr"].items():
        path = folder / f"{name}.hea"
        if not path.is_file():
            continue
        try:
            rows[ecg_id] = row_of(path)
        except EchoingError:
            unread += 1
    found = pd.DataFrame.from_dict(rows, orient="index")
    told = args.codes or folder / "ptbxl_database.csv"
    # A table of a part of PTB-XL may lack some.
    by_id = pd.read_csv(told, index_col="ecg_id")["scp_codes"].reindex(found.index).fillna("{}")
    codes = by_id.map(lambda one: set(ast.literal_eval(one)))
    print(f"{len(found):,} ECGs measured, {unread} not readable")

    block = codes.map(lambda one: not one.isdisjoint(BLOCKS))
    normal = codes.map(lambda one: "NORM" in one and one.isdisjoint(BLOCKS))
    qrs_ms = pd.to_numeric(found["qrs_ms"])
    for what, which, wrong in (
        ("complete bundle branch block, QRS at most 110 ms", block, qrs_ms <= 110),
        ("normal ECG, QRS at least 120 ms", normal, qrs_ms >= 120),
    ):
        print(f"{what}: {int((which & wrong).sum())} of {int((which & qrs_ms.notna()).sum())}")

    for lead in ("V1", "V2", "V3"):
        q, r, s, st = (
            pd.to_numeric(found[f"{lead} {name}"]) for name in ("q_mv", "r_mv", "s_mv", "st_j_mv")
        )
        taken = (q > DEEP_MV) & (s < ABSENT_MV) & ((r - st).abs() < AT_ST_MV)
        print(f"{lead}, a Q whose R is no more than the level of ST: {int(taken.sum())}")
    for name in ("sokolow_lyon_mv", "cornell_mv"):
        print(f"{name} met: {int((found[f'{name} met'] == True).sum())}")  # noqa: E712


if __name__ == "__main__":
    main()
