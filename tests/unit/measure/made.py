"""A heart whose waves begin and end where they are told to, for the tests of measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.measure.voltages import LIMB_DEG
from echoing_core.records import LEADS, Recording

CHEST = {"V1": -0.6, "V2": -0.3, "V3": 0.3, "V4": 0.9, "V5": 1.0, "V6": 0.8}


@dataclass(frozen=True)
class Heart:
    """Milliseconds from the onset of the QRS, millivolts, degrees."""

    p_onset_ms: float = -160.0
    p_offset_ms: float = -60.0
    qrs_ms: float = 90.0
    t_onset_ms: float = 200.0
    qt_ms: float = 400.0
    qrs_axis_deg: float = 50.0
    p_axis_deg: float = 60.0
    t_axis_deg: float = 40.0
    r_mv: float = 1.2
    p_mv: float = 0.15
    t_mv: float = 0.35


def hump(at_ms: npt.NDArray[np.float64], begin: float, end: float) -> npt.NDArray[np.float64]:
    """1 in the middle, 0 at both ends and outside, with a corner at each end."""
    share = np.clip((at_ms - begin) / (end - begin), 0.0, 1.0)
    return np.sin(np.pi * share) ** 1.5


def made(
    heart: Heart = Heart(),
    rr_ms: tuple[float, ...] = (800.0,) * 12,
    *,
    fs_hz: float = 500.0,
    noise_mv: float = 0.005,
    leads: tuple[str, ...] = LEADS,
    factor: dict[str, float] | None = None,
    seed: int = 0,
) -> Recording:
    """A recording of that heart, one QRS onset after each interval."""
    onsets = np.cumsum(rr_ms)
    at = np.arange(round((onsets[-1] + 800.0) / 1000.0 * fs_hz)) * 1000.0 / fs_hz
    waves = {"p": np.zeros(at.size), "qrs": np.zeros(at.size), "t": np.zeros(at.size)}
    for onset in onsets:
        x = at - onset
        waves["p"] += heart.p_mv * hump(x, heart.p_onset_ms, heart.p_offset_ms)
        waves["qrs"] += heart.r_mv * hump(x, 0.0, heart.qrs_ms)
        waves["t"] += heart.t_mv * hump(x, heart.t_onset_ms, heart.qt_ms)
    axis = {"p": heart.p_axis_deg, "qrs": heart.qrs_axis_deg, "t": heart.t_axis_deg}
    rng = np.random.default_rng(seed)
    rows = {}
    for lead, turn in LIMB_DEG.items():
        size = np.sqrt(3.0) / 2.0 if lead.startswith("aV") else 1.0
        rows[lead] = sum(size * waves[w] * np.cos(np.radians(axis[w] - turn)) for w in waves)
    for lead, share in CHEST.items():
        rows[lead] = share * waves["qrs"] + 0.6 * waves["t"] + 0.5 * waves["p"]
    # Noise of the electrodes, so that the limb leads still add up.
    limb = rng.normal(0.0, noise_mv, (2, at.size))
    rows["I"] = rows["I"] + limb[0]
    rows["II"] = rows["II"] + limb[1]
    rows["III"] = rows["III"] + limb[1] - limb[0]
    for lead in CHEST:
        rows[lead] = rows[lead] + rng.normal(0.0, noise_mv, at.size)
    signal = np.stack([rows[lead] * (factor or {}).get(lead, 1.0) for lead in leads])
    return Recording(signal.astype(np.float32), fs_hz, leads, "made", simulated=True)
