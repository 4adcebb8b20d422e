"""A simulated Holter of a day, made in some seconds whenever a test needs one: never in git."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echoing_core.io import write_wfdb
from echoing_core.simulate.ecg.long import SimulatedLong, simulate_long

DAY_S = 86_400.0


def holter(duration_s: float = DAY_S, fs_hz: float = 200.0) -> SimulatedLong:
    """X, Y, Z at 200 Hz; noise comes and goes as on a person who walks and lies down."""
    return simulate_long(30_777, 1, duration_s=duration_s, fs_hz=fs_hz, leads="xyz")


def write_holter(
    folder: Path, name: str = "holter", duration_s: float = DAY_S
) -> tuple[list[Path], SimulatedLong]:
    """The same as WFDB files; a day has 104 MB."""
    made = holter(duration_s)
    recording = made.recording
    files = write_wfdb(
        folder,
        name,
        recording.signal_mv,
        recording.fs_hz,
        recording.lead_names,
        gain=200.0,
        comments=("simulated by EchoingECG",),
    )
    return [Path(f) for f in files], made


def write_holter_edf(
    path: Path, duration_s: float = DAY_S, fs_hz: float = 200.0
) -> tuple[Path, SimulatedLong]:
    """The same as EDF, one file as recorders export it."""
    import ecg_files

    made = holter(duration_s, fs_hz)
    numbers = np.round(made.recording.signal_mv * (1000.0 / ecg_files.UV)).astype(np.int32)
    path.write_bytes(ecg_files.edf(numbers, int(fs_hz), leads=made.recording.lead_names))
    return path, made
