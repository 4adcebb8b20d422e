"""A small tree laid out as EchoNext 1.1 is published, of simulated hearts, with its traps.

Normalised waveforms, rows of ``no_split`` between the others, blanks and flags of 0 without a
measurement, walls in cm, a record of NaN only, and one with some.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.echonext import COMPOSITE, FLAGS
from echoing_core.signals.filters import bandpass
from echoing_core.simulate import SimulationConfig, simulate_study

SEED = 31
VALUES = tuple(name for names in FLAGS.values() for name in names)
COLUMNS = (
    "patient_key", "ecg_key", "split", "acquisition_year", "location_setting", "race_ethnicity",
    "most_recent_ecg", "sex", "ventricular_rate", "atrial_rate", "pr_interval", "qrs_duration",
    "qt_corrected", "age_at_ecg", *VALUES, *FLAGS, COMPOSITE,
)  # fmt: skip

SD_UNITS = np.linspace(0.8, 1.2, 12)
"""Standard deviation of each lead of the published numbers."""


@dataclass(frozen=True)
class Row:
    """One row of the table: cells that are not the usual ones."""

    split: str
    patient: int
    cells: dict[str, str] = field(default_factory=dict)


ROWS = (
    Row("train", 1, {"lvef_value": "38.5", "lvef_lte_45_flag": "1", COMPOSITE: "1"}),
    Row("no_split", 9),
    Row("val", 4, {"lvef_value": "", "age_at_ecg": "90+", "sex": "Male"}),
    Row("train", 2, {"ivs_measurement": "1.5", "lvpw_measurement": "", "lvwt_gte_13_flag": "1"}),
    Row("test", 5, {"ivs_measurement": "1.4", "lvpw_measurement": ""}),
    Row("train", 2, {"ivs_measurement": "", "lvpw_measurement": "", "lvef_value": "40"}),
    Row("no_split", 9),
    Row("train", 3, {"aortic_stenosis_value": "", "mitral_regurgitation_value": "none"}),
    Row("test", 6, {"pasp_value": "", "pasp_gte_45_flag": "0", "lvef_value": "0"}),
    Row("val", 4),
    Row("train", 7, {"sex": "1"}),
)
"""Train row 3 (patient 3) holds NaN only, train row 4 (patient 7) a second of it in one lead."""


def write_echonext(root: Path, *, columns: tuple[str, ...] = COLUMNS) -> Path:
    """Write the tree and return its root."""
    root.mkdir(parents=True)
    write_metadata(root / "echonext_metadata_100k.csv", ROWS, columns)
    for split in ("train", "val", "test", "no_split"):
        numbers = [i for i, row in enumerate(ROWS) if row.split == split]
        array = np.stack([truth_mv(i) for i in numbers])
        array = (array / sd_mv()[:, None] * SD_UNITS[:, None]).transpose(0, 2, 1)[:, None]
        if split == "train":
            array[3] = np.nan
            array[4, 0, 500:750, 6] = np.nan
        np.save(root / f"EchoNext_{split}_waveforms.npy", array.astype(np.float64))
        np.save(root / f"EchoNext_{split}_tabular_features.npy", np.zeros((len(numbers), 7)))
    return root


def write_metadata(path: Path, rows: tuple[Row, ...], columns: tuple[str, ...] = COLUMNS) -> None:
    """Write the table."""
    lines = [",".join(columns)]
    for number, row in enumerate(rows):
        cells = {
            "patient_key": str(row.patient),
            "ecg_key": str(1000 + number),
            "split": row.split,
            "acquisition_year": "2015",
            "location_setting": "outpatient",
            "race_ethnicity": "Unknown",
            "most_recent_ecg": "1",
            "sex": "Female",
            "ventricular_rate": "71",
            "qrs_duration": "96.0",
            "age_at_ecg": "63",
            **dict.fromkeys(VALUES, "none"),
            "lvef_value": "60",
            "ivs_measurement": "1.0",
            "lvpw_measurement": "0.9",
            "pasp_value": "31",
            "tr_max_velocity_value": "2.4",
            **dict.fromkeys((*FLAGS, COMPOSITE), "0"),
            **row.cells,
        }
        lines.append(",".join(cells.get(name, "") for name in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def truth_mv(number: int) -> npt.NDArray[np.float64]:
    """Row ``number`` of the table at 250 Hz in mV, filtered, shape (12, 2500)."""
    drawn = simulate_study(SEED, number, 0, SimulationConfig()).recording_12
    assert drawn.fs_hz == 500.0
    filtered = np.stack([bandpass(np.nan_to_num(lead), 500.0) for lead in drawn.signal_mv])
    return np.asarray(filtered[:, ::2][:, :2500], dtype=np.float64)


def sd_mv() -> npt.NDArray[np.float64]:
    """Standard deviation of each lead over all rows, by which the waveforms are divided."""
    return np.asarray(np.stack([truth_mv(i) for i in range(len(ROWS))]).std(axis=(0, 2)))
