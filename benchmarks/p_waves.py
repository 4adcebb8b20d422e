"""In how many ECGs called atrial fibrillation, and sinus rhythm, `measure` gives a PR interval.

    python benchmarks/p_waves.py DATA

DATA holds ``ptbxl``, ``cinc2021_challenge`` and ``cinc2017_one_lead`` as they are published, or
parts of them. AFIB and SR are the codes of PTB-XL, 164889003 and 426783006 those of the Challenge
of 2021 (without its PTB-XL), A and N those of CinC 2017, whose one lead is I. The limits of
`echoing_core.measure.whole` were set with most of these records in view, so the counts flatter.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from echoing_core.errors import EchoingError
from echoing_core.io import Told, read_recording
from echoing_core.measure import measure
from echoing_core.metrics.results import Table

AF, SINUS = "atrial fibrillation", "sinus rhythm"
AF_CODE, SINUS_CODE = "164889003", "426783006"


def of_ptbxl(folder: Path) -> Iterator[tuple[str, Path]]:
    table = pd.read_csv(folder / "ptbxl_database.csv")
    for name, said in zip(table["filename_lr"], table["scp_codes"], strict=True):
        codes = ast.literal_eval(said) if isinstance(said, str) else {}
        if "AFIB" in codes or "SR" in codes:
            yield AF if "AFIB" in codes else SINUS, folder / f"{name}.hea"


def of_challenge(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.hea")):
        header = path.read_text()
        if path.parent.name != "ptb-xl" and (AF_CODE in header or SINUS_CODE in header):
            yield AF if AF_CODE in header else SINUS, path


def of_one_lead(folder: Path) -> Iterator[tuple[str, Path]]:
    table = pd.read_csv(folder / "labels.csv")
    for name, label in zip(table["record"], table["label"], strict=True):
        if label in ("A", "N"):
            yield AF if label == "A" else SINUS, folder / f"{name}.hea"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    rows = []
    for source, found, told in (
        ("PTB-XL", of_ptbxl(data / "ptbxl"), Told()),
        ("CinC 2021", of_challenge(data / "cinc2021_challenge"), Told()),
        ("CinC 2017", of_one_lead(data / "cinc2017_one_lead"), Told(leads={"ECG": "I"})),
    ):
        count: dict[str, list[bool]] = {}
        for rhythm, path in found:
            if not path.is_file():
                continue
            given = count.setdefault(rhythm, [])
            try:
                measured = measure(read_recording(path, told=told))
                given.append(measured.get("pr_ms").value is not None)
            except EchoingError:
                given.append(False)
        rows += [
            [source, rhythm, f"{sum(got)} of {len(got)}"] for rhythm, got in sorted(count.items())
        ]
    print(Table("", ["Source", "Called", "PR given"], rows).to_markdown())


if __name__ == "__main__":
    main()
