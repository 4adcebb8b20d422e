"""LUDB: 200 ECGs of the Lobachevsky University with diagnoses of a cardiologist.

``ludb.csv`` has a column for each group of diagnoses, several of them on lines of their own within
a cell; ``data/1.hea`` (or the records beside the table) are 10 s of 12 leads at 500 Hz. Each lead
has an amplitude scale of its own, so voltages cannot be compared between leads.

References
----------
Kalyakulina et al. 2020, IEEE Access 8:186181 (doi 10.13026/eegm-h675).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.datasets.mimic_tables import whole_table
from echoing_core.errors import DataSetError
from echoing_core.io import read_recording
from echoing_core.records import LONG_PADDING, FilterPadding, StandardEcg
from echoing_core.simulate import split_of

TABLE = "ludb.csv"
_RHYTHMS, _CONDUCTION, _HYPERTROPHY = "Rhythms", "Conduction abnormalities", "Hypertrophies"
_EXTRA, _PACING, _ISCHEMIA = "Extrasystolies", "Cardiac pacing", "Ischemia"
_STATEMENTS = (
    _RHYTHMS, "Electric axis of the heart", _CONDUCTION, _EXTRA, _HYPERTROPHY, _PACING, _ISCHEMIA,
    "Non-specific repolarization abnormalities", "Other states",
)  # fmt: skip

_LABELS: Mapping[str, tuple[str, str]] = {
    "sinus_rhythm": (_RHYTHMS, "sinus rhythm"),
    "sinus_bradycardia": (_RHYTHMS, "sinus bradycardia"),
    "sinus_tachycardia": (_RHYTHMS, "sinus tachycardia"),
    "sinus_arrhythmia": (_RHYTHMS, "sinus arrhythmia|irregular sinus rhythm"),
    "af": (_RHYTHMS, "atrial fibrillation"),
    "flutter": (_RHYTHMS, "atrial flutter"),
    "paced": (_PACING, "."),
    "pvc": (_EXTRA, "ventricular extrasystole"),
    "pac": (_EXTRA, "atrial extrasystole"),
    "lbbb": (_CONDUCTION, "^complete left bundle branch block"),
    "rbbb": (_CONDUCTION, "^complete right bundle branch block"),
    "irbbb": (_CONDUCTION, "incomplete right bundle branch block"),
    "lafb": (_CONDUCTION, "left anterior hemiblock"),
    "av_block_1": (_CONDUCTION, "^i degree"),
    "lvh": (_HYPERTROPHY, "left ventricular hypertrophy"),
    "stemi": (_ISCHEMIA, "stemi"),
}
"""Label -> column of the table, and what one of its lines begins with or holds."""


@dataclass(frozen=True)
class Ludb:
    """LUDB; options are the fields. One ECG a person; what is not named counts as false."""

    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "ludb"

    def plan(self, root: Path) -> Plan:
        """Read the table; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            It is not there.
        """
        if not (root / TABLE).is_file():
            raise DataSetError(
                f"There is no {TABLE} in {root.name or root}. Name the folder of LUDB 1.0.1 as it "
                "is published."
            )
        table = whole_table(root / TABLE, ("ID", "Sex", "Age", *_STATEMENTS))
        folder = "data/" if (root / "data").is_dir() else ""
        rows: list[dict[str, Any]] = []
        left_out: list[LeftOut] = []
        for entry in table.to_dict("records"):
            record_id, path = f"ludb-{entry['ID']}", f"{folder}{entry['ID']}"
            if not entry["ID"].isdigit() or not (root / f"{path}.hea").is_file():
                left_out.append(LeftOut(record_id, NO_FILE, f"{path}.hea"))
            else:
                rows.append(_row(record_id, path, entry))
        return Plan(
            pd.DataFrame(rows),
            tuple(left_out),
            {
                "version": "LUDB 1.0.1",
                "licence": "ODC-By 1.0",
                "notes": [
                    "Each lead has an amplitude scale of its own: I + III is not II, and voltages "
                    "mean little."
                ],
            },
        )

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read one ECG; see `Adapter.read`."""
        recording = read_recording(root / f"{row['path']}.hea")
        return first_window(recording, pad_shorter=True, filter_padding=self.filter_padding)


def _row(record_id: str, path: str, entry: Mapping[Any, str]) -> dict[str, Any]:
    lines = {column: _lines(entry[column]) for column in _STATEMENTS}
    try:
        # ">89" for all who are older.
        age = 90.0 if entry["Age"].startswith(">") else float(entry["Age"])
    except ValueError:
        age = float("nan")
    return {
        "source": "ludb",
        "patient_id": record_id,
        "study_id": record_id,
        "record_id": record_id,
        "split": split_of(record_id),
        "report": ". ".join(line.lower() for column in _STATEMENTS for line in lines[column]),
        "simulated": False,
        "quality": "unknown",
        "age": age,
        # PTB-XL's coding: 0 male, 1 female.
        "sex": {"m": 0.0, "f": 1.0}.get(entry["Sex"].lower()[:1], float("nan")),
        "path": path,
        **{
            f"label_{name}": float(any(re.search(p, line.lower()) for line in lines[column]))
            for name, (column, p) in _LABELS.items()
        },
    }


def _lines(cell: str) -> list[str]:
    return [line.strip() for line in cell.splitlines() if line.strip()]
