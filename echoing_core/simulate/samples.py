"""The shipped recordings: all simulated, each to show one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echoing_core.artifacts import replacing_folder
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.records import Recording
from echoing_core.simulate import SimulatedStudy, simulate_long, simulate_study

SEED = 30_001
_SEARCHED_PATIENTS = 400


@dataclass(frozen=True)
class _Made:
    sample_id: str
    title: str
    description: str
    recording: Recording


def build_samples(folder: Path) -> list[str]:
    """Write the shipped recordings and ``samples.yaml``; returns the sample ids."""
    import yaml

    made = [_music_like(), _low_lvef(), _fibrillation(), _normal(), _holter()]
    with replacing_folder(folder) as draft:
        entries = []
        for sample in made:
            paths = write_wfdb(
                draft,
                sample.sample_id,
                sample.recording.signal_mv,
                sample.recording.fs_hz,
                sample.recording.lead_names,
                comments=("simulated by EchoingECG", sample.title),
            )
            entries.append(
                {
                    "id": sample.sample_id,
                    "title": sample.title,
                    "description": sample.description,
                    "simulated": True,
                    "files": sorted(path.name for path in paths),
                }
            )
        (draft / "samples.yaml").write_text(
            yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return [sample.sample_id for sample in made]


def _music_like() -> _Made:
    long = simulate_long(SEED, 1, duration_s=1196.0, fs_hz=200.0, leads="xyz")
    return _Made(
        "SIM_MUSIC",
        "20-minute vectorcardiogram with noise that comes and goes",
        "Simulated. Leads X, Y, Z at 200 Hz, 1196 s, laid out like a MUSIC high-resolution "
        "record. The 12 leads that the model reads are derived.",
        long.recording,
    )


def _holter() -> _Made:
    long = simulate_long(SEED, 2, duration_s=1800.0, fs_hz=200.0, leads="12")
    names = ("II", "V1")
    rows = [long.recording.lead_names.index(name) for name in names]
    return _Made(
        "SIM_HOLTER",
        "30-minute Holter with two leads",
        "Simulated. Only leads II and V1 were recorded; the model says how much less sure it is.",
        Recording(
            long.recording.signal_mv[rows], 200.0, names, "SIM_HOLTER", names, simulated=True
        ),
    )


def _low_lvef() -> _Made:
    study = _first(lambda s: bool(s.labels["lbbb"]) and float(s.labels["lvef_pct"]) < 35)
    return _Made(
        "SIM_LBBB",
        "Left bundle branch block, low ejection fraction",
        f"Simulated 12-lead ECG, 10 s. The simulated heart's LVEF is "
        f"{float(study.labels['lvef_pct']):.0f} %.",
        study.recording_12,
    )


def _fibrillation() -> _Made:
    study = _first(lambda s: bool(s.labels["af"]) and not s.labels["lbbb"])
    return _Made(
        "SIM_AF",
        "Atrial fibrillation",
        "Simulated 12-lead ECG, 10 s.",
        study.recording_12,
    )


def _normal() -> _Made:
    study = _first(lambda s: bool(s.labels["NORM"]))
    return _Made(
        "SIM_NORMAL",
        "Normal ECG",
        "Simulated 12-lead ECG, 10 s.",
        study.recording_12,
    )


def _first(fits: Callable[[SimulatedStudy], bool]) -> SimulatedStudy:
    """The first patient of the samples' cohort that fits and was recorded without faults."""
    for patient in range(_SEARCHED_PATIENTS):
        study = simulate_study(SEED, patient)
        if fits(study) and not study.noise_spans:
            return study
    raise RuntimeError("no simulated patient fits a sample; widen the search")
