"""A small tree laid out as MUSIC 1.0.1 is published, of simulated hearts, with its traps.

Semicolons, decimal commas, cp1252, column names with odd spaces, ages ">89", empty cells; a test
pattern at the start of every recording; a header that declares two thirds of its data; leads X
and Y only; header without data; patients without a recording and recordings without a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.io import write_wfdb
from echoing_core.simulate import NoiseEpisode, simulate_long

__all__ = ["COLUMNS", "PATIENTS", "Patient", "truth_mv", "write_music"]

COLUMNS = (
    "Patient ID",
    "Follow-up period from enrollment (days)",
    "Exit of the study",
    "Cause of death",
    "Age",
    "Gender (male=1)",
    "Weight (kg)",
    "Body Mass Index (Kg/m2)",
    "NYHA class",
    "Diastolic blood  pressure (mmHg)",
    "HF etiology - Diagnosis",
    "Left atrial size (mm)",
    "LVEF (%)",
    "Mitral valve insufficiency ",
    "Left ventricular posterior wall thickness (mm)",
    "Septal thickness (mm)",
    "Left ventricle end-diastolic diameter (mm)",
    "Left ventricle end-systolic diameter (mm)",
    "Hig-resolution ECG available",
    "ECG rhythm ",
    "QRS > 120 ms ",
    "Left ventricular hypertrophy (yes=1)",
    "Holter available",
    "Holter  rhythm ",
    "Beta blockers (yes=1)",
)

SEED = 20
PATTERN_S = 10.0
HIGH_RESOLUTION_S = 36.0
HOLTER_S = 120.0
NOISY_UNTIL_S = 22.0
"""Of patient P0002's high-resolution recording."""


@dataclass(frozen=True)
class Patient:
    """One row of the table, cells as they are written."""

    patient: str
    age: str = "63"
    male: str = "1"
    lvef: str = "35"
    wall: str = "10"
    septum: str = "11"
    lvedd: str = "55"
    rhythm: str = "0"
    holter_rhythm: str = "0"
    high_resolution: str = "1"
    holter: str = "1"
    lvh_by_ecg: str = "1"


PATIENTS = (
    Patient("P0001", lvef="38,5", wall="9,5", septum="10,2", lvedd="61,0"),
    Patient("P0002", age=">89", male="0", lvef="40", wall="15", septum="", lvedd="52,1"),
    Patient("P0003", lvef="", wall="14,9", septum="", lvedd="", rhythm="1"),
    Patient("P0004", male="", lvef="21", wall="12", septum="13", lvedd="55"),
    Patient("P0005", male="", lvef="0", wall="12", septum="13", lvedd="60"),
    Patient("P0006", lvef="n.d.", holter_rhythm="3"),
    Patient("P0007", high_resolution="0"),
    Patient("P0008"),
    Patient("P0009"),
    Patient("P0010", high_resolution="0", holter="0"),
)
"""P0006: header too short; P0007: no high-resolution record, Holter with X, Y only; P0008: a
header without data and a missing Holter; P0009: shorter than a window, and flat."""


def write_music(root: Path) -> Path:
    """Write the tree and return its root."""
    high, holter = root / "High-resolution_ECG", root / "Holter_ECG"
    high.mkdir(parents=True)
    holter.mkdir()
    write_table(root / "subject-info.csv", PATIENTS)
    for number in range(1, 7):
        name = f"P{number:04d}"
        _record(high, f"{name}_H", truth_mv(name, "high_resolution"), 1000.0)
    for number in range(1, 6):
        name = f"P{number:04d}"
        _record(holter, name, truth_mv(name, "holter"), 200.0)
    _declare(high / "P0006_H.hea", round(HIGH_RESOLUTION_S * 1000), 24_000)
    _record(holter, "P0007", truth_mv("P0007", "holter")[:2], 200.0)
    _record(high, "P0008_H", truth_mv("P0001", "high_resolution"), 1000.0)
    (high / "P0008_H.dat").unlink()
    _record(high, "P0009_H", truth_mv("P0001", "high_resolution")[:, -9000:], 1000.0)
    _record(holter, "P0009", np.zeros((3, 24_000)), 200.0)
    _record(holter, "P0999", truth_mv("P0001", "holter"), 200.0)
    # Some bytes more than the header declares.
    with (holter / "P0005.dat").open("ab") as stream:
        stream.write(b"\0" * 6)
    (root / "RECORDS").write_text("High-resolution_ECG/P0001_H\n", encoding="ascii")
    (root / "LICENSE.txt").write_text("Of a simulated tree.\n", encoding="ascii")
    return root


def write_table(
    path: Path,
    patients: tuple[Patient, ...],
    *,
    columns: tuple[str, ...] = COLUMNS,
    separator: str = ";",
) -> None:
    """Write subject-info.csv as published: cp1252, CRLF, a diagnosis with an accent."""
    lines = [separator.join(columns)]
    for one in patients:
        cells = {
            "Patient ID": one.patient,
            "Follow-up period from enrollment (days)": "1825",
            "Exit of the study": "",
            "Cause of death": "0",
            "Age": one.age,
            "Gender (male=1)": one.male,
            "Weight (kg)": "81,5",
            "HF etiology - Diagnosis": "miocardiopatía dilatada",
            "LVEF (%)": one.lvef,
            "Left ventricular posterior wall thickness (mm)": one.wall,
            "Septal thickness (mm)": one.septum,
            "Left ventricle end-diastolic diameter (mm)": one.lvedd,
            "Left ventricle end-systolic diameter (mm)": "44,5",
            "Hig-resolution ECG available": one.high_resolution,
            "ECG rhythm ": one.rhythm,
            "Left ventricular hypertrophy (yes=1)": one.lvh_by_ecg,
            "Holter available": one.holter,
            "Holter  rhythm ": one.holter_rhythm,
        }
        lines.append(separator.join(cells.get(name, "") for name in columns))
    path.write_bytes(("\r\n".join(lines) + "\r\n;;;;\r\n").encode("cp1252"))


def truth_mv(patient: str, kind: str) -> npt.NDArray[np.float32]:
    """X, Y, Z of a patient, shape (3, n_times), the test pattern included."""
    high = kind == "high_resolution"
    noise = [NoiseEpisode("muscle", 1.0, PATTERN_S, NOISY_UNTIL_S)] if patient == "P0002" else []
    drawn = simulate_long(
        SEED,
        int(patient[1:]),
        duration_s=HIGH_RESOLUTION_S if high else HOLTER_S,
        fs_hz=1000.0 if high else 200.0,
        leads="xyz",
        noise=noise,
        test_pattern_s=PATTERN_S,
    )
    return np.nan_to_num(drawn.recording.signal_mv)


def _record(folder: Path, name: str, xyz_mv: npt.NDArray[np.floating], fs_hz: float) -> None:
    write_wfdb(
        folder, name, xyz_mv, fs_hz, ("X", "Y", "Z")[: len(xyz_mv)],
        comments=("Simulated by EchoingECG; no person stands behind it.",),
    )  # fmt: skip


def _declare(header: Path, n_times: int, declared: int) -> None:
    text = header.read_text(encoding="utf-8")
    first, rest = text.split("\n", 1)
    assert first.endswith(f" {n_times}")
    header.write_text(first.removesuffix(f"{n_times}") + f"{declared}\n" + rest, encoding="utf-8")
