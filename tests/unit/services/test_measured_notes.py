"""What measurements and comparisons say of how a recording was made and read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoing_core import services
from echoing_core.export.measurements import serial_markdown, serial_values
from echoing_core.uncertainty.artefacts import ARMS

ECG = Path(__file__).parents[3] / "assets" / "recordings" / "SIM_LBBB.hea"


def test_swapped_arms_and_what_was_assumed_stand_in_the_notes() -> None:
    right = services.read_recording(services.recording_source([ECG]))
    order = [right.lead_names.index(n) for n in ("I", "III", "II", "aVL", "aVR", "aVF")]
    signal = right.signal_mv[[*order, *range(6, 12)]].copy()
    signal[0] = -signal[0]
    assumed = "The header gives no units; mV is assumed."
    swapped = replace(right, signal_mv=signal, notes=(assumed,))
    assert services.measurements(right).notes == ()
    found = services.measurements(swapped)
    assert found.notes == (assumed, ARMS.sentence)
    assert ARMS.sentence in services.measured_markdown([found])
    serial = services.serial_comparison(right, swapped)
    assert serial_values(serial)["notes"] == {"first": [], "second": [assumed, ARMS.sentence]}
    assert f"Of the second: {assumed}" in serial_markdown(serial)
