"""CinC Challenge 2017: one lead of a hand-held recorder, 9 to 61 s, in four classes.

``REFERENCE.csv`` (and later versions of it) has a line ``A00001,N`` for each record of the training
set: N normal, A atrial fibrillation, O another rhythm, ~ too noisy. The records lie beside it or in
folders such as ``training/A00``. Their one channel is called ECG and is lead I.

References
----------
Clifford et al. 2017, Computing in Cardiology 44 (doi 10.22489/CinC.2017.065-469).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.errors import DataSetError
from echoing_core.io import Told, read_recording
from echoing_core.records import LONG_PADDING, FilterPadding, StandardEcg
from echoing_core.simulate import split_of

TABLES = ("REFERENCE-v3.csv", "REFERENCE.csv", "labels.csv")
"""The latest first; each in the folder or in ``training``."""

NO_CLASS = "no class of the challenge"
_CLASSES = {"N": "normal", "A": "af", "O": "other_rhythm", "~": "noisy"}
_REPORTS = {"N": "sinus rhythm", "A": "atrial fibrillation"}
_LEAD_I = Told({"ECG": "I"})


@dataclass(frozen=True)
class Cinc2017:
    """CinC 2017; options are the fields.

    Nobody tells whose records they are, so each counts as a patient. Of a record that is too noisy
    to be read, no rhythm is known.
    """

    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "cinc2017"

    def plan(self, root: Path) -> Plan:
        """Read the list of classes; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            There is none.
        """
        places = [folder / name for name in TABLES for folder in (root, root / "training")]
        table = next((path for path in places if path.is_file()), None)
        if table is None:
            raise DataSetError(
                f"There is no REFERENCE.csv in {root.name or root}. Name the challenge's folder "
                "with its training set."
            )
        paths = {path.stem: path for path in sorted(root.rglob("*.hea"))}
        rows: list[dict[str, Any]] = []
        left_out: list[LeftOut] = []
        for record, label in _classes(table):
            record_id = f"cinc2017-{record}"
            if label not in _CLASSES:
                left_out.append(LeftOut(record_id, NO_CLASS, label))
            elif record not in paths:
                left_out.append(LeftOut(record_id, NO_FILE, f"{record}.hea"))
            else:
                path = paths[record].relative_to(root).with_suffix("").as_posix()
                rows.append(_row(record_id, path, label))
        return Plan(
            pd.DataFrame(rows),
            tuple(left_out),
            {
                "version": f"PhysioNet/CinC Challenge 2017, {table.name}",
                "licence": "ODC-By 1.0",
                "notes": ["One lead; patients are not published, so it is split by record."],
            },
        )

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read the first 10 s of one record as lead I; see `Adapter.read`."""
        recording = read_recording(root / f"{row['path']}.hea", told=_LEAD_I)
        return first_window(recording, pad_shorter=True, filter_padding=self.filter_padding)


def _classes(path: Path) -> list[tuple[str, str]]:
    """Record and class of each line; a head line, where there is one, is no record."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        lines = [[cell.strip() for cell in line] for line in csv.reader(stream)]
    return [(line[0], line[1]) for line in lines if len(line) > 1 and line[0] != "record"]


def _row(record_id: str, path: str, label: str) -> dict[str, Any]:
    known = label != "~"
    return {
        "source": "cinc2017",
        "patient_id": record_id,
        "study_id": record_id,
        "record_id": record_id,
        "split": split_of(record_id),
        "report": _REPORTS.get(label, ""),
        "simulated": False,
        "quality": "unknown" if known else "noisy",
        "path": path,
        # Another rhythm is none of the two that have a name here.
        "label_sinus_rhythm": float(label == "N") if known else float("nan"),
        "label_af": float(label == "A") if known else float("nan"),
        "label_noisy": float(not known),
    }
