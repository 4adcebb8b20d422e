"""SPH: 25,770 ECGs of Shandong Provincial Hospital with statements by the AHA's list.

``metadata.csv`` names ECG, patient, age, sex and codes; ``code.csv`` says what a code means;
``records/A00001.h5`` holds an array ``ecg`` of shape (12, n) in millivolts at 500 Hz, 10 to 60 s.
An entry of several statements is divided by ``;``, and the modifiers of one follow it after ``+``.

References
----------
Liu et al. 2022, Scientific Data 9:272 (doi 10.1038/s41597-022-01403-5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.datasets.hdf5 import array_of, opened
from echoing_core.datasets.mimic_tables import header_of, whole_table
from echoing_core.errors import DataSetError, UnreadableRecordError
from echoing_core.records import LEADS, LONG_PADDING, FilterPadding, Recording, StandardEcg
from echoing_core.simulate import split_of

FS_HZ = 500.0
_MOST_SAMPLES = 60_000
NO_STATEMENT = "no statement in the table"

_LABELS: Mapping[str, tuple[int, ...]] = {
    "normal_ecg": (1,),
    "sinus_tachycardia": (21,),
    "sinus_bradycardia": (22,),
    "sinus_arrhythmia": (23,),
    "pac": (30, 31),
    "af": (50,),
    "flutter": (51,),
    "pvc": (60,),
    "prolonged_pr": (82,),
    "lafb": (101,),
    "lbbb": (104,),
    "irbbb": (105,),
    "rbbb": (106,),
    "low_voltage": (125,),
    "lvh": (142,),
}
"""Label -> codes of AHA/ACC/HRS 2007 any of which makes it true."""


@dataclass(frozen=True)
class Sph:
    """SPH; options are the fields.

    A cardiologist chose among all statements, so what an ECG does not carry is false.
    """

    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "sph"

    def plan(self, root: Path) -> Plan:
        """Read the tables; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            A table or the folder of records is not there.
        """
        for part in ("metadata.csv", "code.csv", "records"):
            if not (root / part).exists():
                raise DataSetError(
                    f"There is no {part} in {root.name or root}. Name the folder with "
                    "metadata.csv, code.csv and the unpacked records."
                )
        words = _words(root / "code.csv")
        table = whole_table(
            root / "metadata.csv", ("ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex")
        )
        rows: list[dict[str, Any]] = []
        left_out: list[LeftOut] = []
        for entry in table.to_dict("records"):
            name = entry["ECG_ID"]
            record_id, path = f"sph-{name}", f"records/{name}.h5"
            statements = _statements(entry["AHA_Code"])
            if not statements:
                left_out.append(LeftOut(record_id, NO_STATEMENT))
            elif Path(name).name != name or not (root / path).is_file():
                left_out.append(LeftOut(record_id, NO_FILE, path))
            else:
                rows.append(_row(record_id, path, entry, statements, words))
        return Plan(
            pd.DataFrame(rows),
            tuple(left_out),
            {
                "version": "SPH (figshare collection 5779802, version 1)",
                "licence": "CC BY 4.0",
                "notes": ["Mains, wander and muscle noise were filtered by the device."],
            },
        )

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read the first 10 s of one ECG; see `Adapter.read`."""
        path = root / str(row["path"])
        with opened(path) as file:
            array = array_of(file, "ecg", 2, path.name)
            if array.shape[0] != len(LEADS) or not 0 < array.shape[1] <= _MOST_SAMPLES:
                raise UnreadableRecordError(
                    f"{path.name} holds an array of {array.shape}, where 12 leads are published."
                )
            values = np.asarray(array[:], dtype=np.float32)
        values[~np.isfinite(values)] = np.nan
        recording = Recording(values, FS_HZ, LEADS, str(row["record_id"]), file_format="HDF5")
        return first_window(recording, pad_shorter=True, filter_padding=self.filter_padding)


def _words(path: Path) -> dict[int, str]:
    """What each code means."""
    columns = header_of(path)
    code = next((c for c in columns if c.lower() == "code"), None)
    words = next((c for c in columns if c.lower() in ("description", "statement")), None)
    if code is None or words is None:
        raise DataSetError(
            "code.csv lacks the columns Code and Description. Use the published table."
        )
    table = whole_table(path, (code, words))
    return {int(c): w for c, w in zip(table[code], table[words], strict=True) if c.isdigit()}


def _statements(text: str) -> list[list[int]]:
    """Codes of each statement, its modifiers after it."""
    statements = []
    for one in text.split(";"):
        codes = [int(part) for part in one.split("+") if part.strip().isdigit()]
        if codes:
            statements.append(codes)
    return statements


def _row(
    record_id: str,
    path: str,
    entry: Mapping[Any, str],
    statements: list[list[int]],
    words: Mapping[int, str],
) -> dict[str, Any]:
    patient = f"sph-{entry['Patient_ID']}"
    codes = {one[0] for one in statements}
    phrases = [
        ", ".join(words[code] for code in one if code in words).lower() for one in statements
    ]
    try:
        age = float(entry["Age"])
    except ValueError:
        age = float("nan")
    return {
        "source": "sph",
        "patient_id": patient,
        "study_id": record_id,
        "record_id": record_id,
        "split": split_of(patient),
        "report": ". ".join(phrase for phrase in phrases if phrase),
        "simulated": False,
        "quality": "unknown",
        "age": age,
        # PTB-XL's coding: 0 male, 1 female.
        "sex": {"m": 0.0, "f": 1.0}.get(entry["Sex"].lower()[:1], float("nan")),
        "aha_codes": entry["AHA_Code"],
        "path": path,
        **{f"label_{name}": float(bool(codes & set(any_of))) for name, any_of in _LABELS.items()},
    }
