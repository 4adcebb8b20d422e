"""CODE-15% and SaMi-Trop: Brazilian 12-lead ECGs as they lie on Zenodo, in HDF5.

Both hold an array ``tracings`` of shape (n, 4096, 12) at 400 Hz: ECGs of 7 or 10 s (2800 or 4000
samples) in the middle of 10.24 s of zeros. The zeros are cut off here, so that 7 s are filled up to
a window by samples that are marked as not measured, and never by a flat line.

The README that goes with the arrays gives their unit in a way that contradicts itself ("1e-4V", "by
1000 to obtain V"); their amplitudes are those of millivolts, which ``mv_per_unit`` can change.

References
----------
Ribeiro et al. 2021, CODE-15% (doi 10.5281/zenodo.4916206); Ribeiro et al. 2021, SaMi-Trop
(doi 10.5281/zenodo.4905618).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.datasets.hdf5 import array_of, opened, rows_of
from echoing_core.datasets.mimic_tables import whole_table
from echoing_core.errors import DataSetError, SignalQualityError, UnreadableRecordError
from echoing_core.records import LEADS, LONG_PADDING, FilterPadding, Recording, StandardEcg
from echoing_core.reports.vocabulary import WORDING
from echoing_core.simulate import split_of

FS_HZ = 400.0
N_SAMPLES = 4096
NO_ROW = "no signal of this number in its file"

_FLAGS = {
    "1dAVb": ("av_block_1", "av_block_1"),
    "RBBB": ("rbbb", "rbbb"),
    "LBBB": ("lbbb", "lbbb"),
    "SB": ("sinus_bradycardia", "sinus_bradycardia"),
    "ST": ("sinus_tachycardia", "sinus_tachycardia"),
    "AF": ("af", "atrial_fibrillation"),
    "normal_ecg": ("normal_ecg", "normal_ecg"),
}
"""Column -> our label, and the finding whose phrase stands in the report."""
_TRUTH = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
_UNIT_HELP = {"help": "Millivolts of one unit of the arrays."}


@dataclass(frozen=True)
class Code15:
    """CODE-15%; parts that were not downloaded are left out.

    Labels are true or false for all ECGs: six abnormalities and a normal ECG. The report is made of
    them, and empty where none is true.
    """

    mv_per_unit: float = field(default=1.0, metadata=_UNIT_HELP)
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "code15"

    def plan(self, root: Path) -> Plan:
        """Read ``exams.csv`` and the numbers of ECGs in each part; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            The table or all of the parts are not there.
        """
        needed = ("exam_id", "patient_id", "age", "is_male", "trace_file", *_FLAGS)
        table = _exams(root, needed, ("death", "timey"))
        parts = {name: root / name for name in sorted(set(table["trace_file"])) if _is_name(name)}
        there = {name: path for name, path in parts.items() if path.is_file()}
        if not there:
            raise DataSetError(
                f"There is no exams_part0.hdf5 or other part in {root.name or root}. Unpack the "
                "downloaded parts beside exams.csv."
            )
        # The last row of a part is empty and has the number 0.
        rows_by_part = {
            name: {int(exam): row for row, exam in enumerate(rows_of(path, "exam_id")) if exam}
            for name, path in there.items()
        }
        rows: list[dict[str, Any]] = []
        left_out: list[LeftOut] = []
        for exam in table.to_dict("records"):
            record_id, part = f"code15-{exam['exam_id']}", exam["trace_file"]
            number = int(exam["exam_id"]) if exam["exam_id"].isdigit() else -1
            if part not in there:
                left_out.append(LeftOut(record_id, NO_FILE, part))
            elif number not in rows_by_part[part]:
                left_out.append(LeftOut(record_id, NO_ROW, part))
            else:
                patient = f"code15-p{exam['patient_id']}"
                rows.append(
                    _row(self.name, record_id, patient, exam)
                    | {"path": part, "row": rows_by_part[part][number]}
                )
        return Plan(
            pd.DataFrame(rows), tuple(left_out), _card("CODE-15%", parts=len(there), of=len(parts))
        )

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read one ECG; see `Adapter.read`."""
        return _read(root, row, self.mv_per_unit, self.filter_padding)


@dataclass(frozen=True)
class SamiTrop:
    """SaMi-Trop: one ECG of each of 1631 patients with chronic Chagas cardiomyopathy."""

    mv_per_unit: float = field(default=1.0, metadata=_UNIT_HELP)
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "samitrop"

    def plan(self, root: Path) -> Plan:
        """Read ``exams.csv``, whose rows are those of ``exams.hdf5``; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            A file is not there, or the two do not fit each other.
        """
        table = _exams(root, ("exam_id", "age", "is_male", "normal_ecg"), ("death", "timey"))
        path = root / "exams.hdf5"
        if not path.is_file():
            raise DataSetError(
                f"There is no exams.hdf5 in {root.name or root}. Unpack exams.zip beside exams.csv."
            )
        with opened(path) as file:
            n = int(array_of(file, "tracings", 3, path.name).shape[0])
        if n != len(table):
            raise DataSetError(
                f"exams.hdf5 holds {n:,} ECGs and exams.csv {len(table):,} rows, which belong to "
                "each other by their order. Use the published files."
            )
        rows = [
            _row(self.name, record_id, record_id, exam) | {"path": path.name, "row": number}
            for number, exam in enumerate(table.to_dict("records"))
            for record_id in (f"samitrop-{exam['exam_id']}",)
        ]
        return Plan(pd.DataFrame(rows), (), _card("SaMi-Trop"))

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read one ECG; see `Adapter.read`."""
        return _read(root, row, self.mv_per_unit, self.filter_padding)


def _exams(root: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> pd.DataFrame:
    path = root / "exams.csv"
    if not path.is_file():
        raise DataSetError(
            f"There is no exams.csv in {root.name or root}. Name the folder with the published "
            "files."
        )
    return whole_table(path, needed, optional)


def _is_name(name: str) -> bool:
    # A table names files of its own folder alone.
    return bool(name) and Path(name).name == name


def _row(source: str, record_id: str, patient: str, exam: Mapping[Any, str]) -> dict[str, Any]:
    truth = {column: _truth(exam[column]) for column in _FLAGS if column in exam}
    phrases = [WORDING[_FLAGS[column][1]].machine for column, so in truth.items() if so == 1.0]
    return {
        "source": source,
        "patient_id": patient,
        "study_id": record_id,
        "record_id": record_id,
        "split": split_of(patient),
        "report": ". ".join(phrases),
        "simulated": False,
        "quality": "unknown",
        "age": _number(exam["age"]),
        # PTB-XL's coding: 0 male, 1 female.
        "sex": 1.0 - _truth(exam["is_male"]),
        "died": _truth(exam["death"]),
        "follow_up_years": _number(exam["timey"]),
        **{f"label_{_FLAGS[column][0]}": so for column, so in truth.items()},
    }


def _truth(text: str) -> float:
    return _TRUTH.get(text.lower(), float("nan"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _card(name: str, **counts: int) -> dict[str, Any]:
    return {
        "version": name,
        "licence": "CC BY 4.0",
        "notes": [
            "Zeros before and after each ECG are cut off; what an ECG of 7 s lacks of 10 s is "
            "marked as not measured.",
            "The arrays are taken for millivolts; the README contradicts itself on it.",
        ],
        **counts,
    }


def _read(
    root: Path, row: Mapping[str, Any], mv_per_unit: float, padding: FilterPadding
) -> StandardEcg:
    path = root / str(row["path"])
    with opened(path) as file:
        array = array_of(file, "tracings", 3, path.name)
        if array.shape[1:] != (N_SAMPLES, len(LEADS)) or not int(row["row"]) < array.shape[0]:
            raise UnreadableRecordError(
                f"{path.name} is no longer the array that was planned; prepare the set anew."
            )
        values = np.asarray(array[int(row["row"])], dtype=np.float64).T
    measured = np.flatnonzero((values != 0).any(axis=0))
    if not measured.size:
        raise SignalQualityError(f"{row['record_id']} holds zeros alone.")
    values = values[:, measured[0] : measured[-1] + 1]
    values[~np.isfinite(values)] = np.nan
    recording = Recording(
        (values * mv_per_unit).astype(np.float32),
        FS_HZ,
        LEADS,
        str(row["record_id"]),
        file_format="HDF5",
    )
    return first_window(recording, pad_shorter=True, filter_padding=padding)
