"""A small tree laid out as the CinC Challenge 2021's training data, of simulated hearts.

MATLAB files of version 4 behind a text header, units spelt "mv", ages that are no number, codes
nobody named, records of 6 and 60 s, one without a diagnosis, one whose data are not there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS
from echoing_core.simulate import SimulationConfig, simulate_study

AF, FLUTTER, SINUS, RBBB, COMPLETE_RBBB = 164889003, 164890007, 426783006, 59118001, 713427006
ECTOPICS, ST_DEPRESSION, LVH, NOBODYS = 164884008, 429622005, 164873001, 106019003


@dataclass(frozen=True)
class Record:
    """One record: where it lies, and what its header says."""

    folder: str
    name: str
    dx: str
    age: str = "74"
    sex: str = "Male"
    seconds: int = 10
    written: bool = True


RECORDS = (
    Record("training/cpsc_2018/g1", "A0001", f"{RBBB}", seconds=6),
    Record("training/cpsc_2018/g1", "A0002", f"{SINUS}", age="NaN", sex="Unknown", seconds=60),
    Record("training/cpsc_2018/g1", "A0003", f"{AF},{ECTOPICS}", sex="F"),
    Record("training/cpsc_2018_extra/g1", "Q0001", f"{FLUTTER}, {NOBODYS}"),
    Record("training/ptb-xl/g1", "HR00001", f"{SINUS}", sex="Female"),
    Record("training/ptb-xl/g1", "HR00005", f"{SINUS},{LVH}"),
    Record("training/ptb-xl/g1", "HR20000", f"{SINUS}"),
    Record("training/ptb/g1", "S0001", f"{SINUS}"),
    Record("training/georgia/g1", "E00001", f"{ST_DEPRESSION},{RBBB}"),
    Record("WFDBRecords/01/010", "JS00001", f"{AF},{RBBB}"),
    Record("WFDBRecords/45/459", "JS45551", f"{FLUTTER},{COMPLETE_RBBB}"),
    Record("WFDBRecords/45/459", "JS45550", "Unknown"),
    Record("WFDBRecords/45/459", "JS45549", f"{SINUS}", written=False),
)


def heart_mv(name: str, seconds: int = 10) -> npt.NDArray[np.float32]:
    """The leads of a record, mV at 500 Hz, shape (12, n)."""
    number = int("".join(c for c in name if c.isdigit()))
    config = SimulationConfig(duration_s=float(seconds))
    return np.asarray(simulate_study(11, number % 1000, config=config).clean_12)


def write_cinc(root: Path) -> Path:
    """Write the tree and return its root."""
    for record in RECORDS:
        write_record(root, record)
    return root


def write_record(root: Path, record: Record) -> None:
    """Header and ``.mat`` of one record."""
    folder = root / record.folder
    folder.mkdir(parents=True, exist_ok=True)
    digital = np.round(heart_mv(record.name, record.seconds) * 1000).astype("<i2")
    unit = "mv" if record.name.startswith("HR") else "mV"
    lines = [f"{record.name} 12 500 {digital.shape[1]} 12-May-2020 12:33:59"]
    for lead, row in zip(LEADS, digital, strict=True):
        checksum = int(np.int64(row.sum(dtype=np.int64)).astype(np.int16))
        lines.append(f"{record.name}.mat 16+24 1000/{unit} 16 0 {row[0]} {checksum} 0 {lead}")
    lines += [f"#Age: {record.age}", f"#Sex: {record.sex}", f"#Dx: {record.dx}"]
    lines += ["#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown"]
    text = "\n".join(lines) + "\n"
    (folder / f"{record.name}.hea").write_text(text, encoding="ascii")
    if record.written:
        # MATLAB 4: int16 (30), rows, columns, not complex, length of the name; column by column.
        head = struct.pack("<5i", 30, *digital.shape, 0, 4) + b"val\0"
        (folder / f"{record.name}.mat").write_bytes(head + digital.tobytes(order="F"))
