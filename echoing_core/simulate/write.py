"""Simulated data as files that the readers take back: a cohort, and the shipped recordings."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from echoing_core.artifacts import replacing_folder
from echoing_core.errors import ConfigError
from echoing_core.io.decoders import import_decoder
from echoing_core.io.echo.avi import write_avi
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.progress import SILENT, Progress
from echoing_core.records import EchoClip, Recording
from echoing_core.simulate.ecg.long import simulate_long
from echoing_core.simulate.ecg.study import (
    DEFAULT_CONFIG,
    SimulatedStudy,
    SimulationConfig,
    simulate_study,
)
from echoing_core.simulate.echo.clips import study_clips
from echoing_core.simulate.heart.patients import ecg_count, parse_record_id, split_of

_MOST_UNITS = 32_766
"""Largest amplitude of format 16; one more below zero means "not measured"."""

# A cohort of its own: no shipped recording is of a patient that a model was trained on.
_SAMPLES_SEED = 30_001
_SEARCHED_PATIENTS = 400

_README = """\
SIMULATED ECGs. No person stands behind any of these records.

Made by EchoingECG with seed {seed}: {n_patients} patients, {n_ecgs} ECGs.
Settings: {config}

records/        WFDB records, 12 leads, {fs_hz:g} Hz, {duration_s:g} s, 1000 units per mV (fewer,
                as the header says, where an artefact is larger than 32 mV)
studies.csv     one row per ECG: patient_id, study_id, record_id, path, split (by patient),
                quality, echo_path, findings, echo_findings, report_style, report, and the
                simulated heart's truth in the columns label_*
noise_spans.csv record_id, kind, leads, start_s, end_s, snr_db of every disturbance
echo/           {echo}

Research use only; not for diagnosis.
"""

# Lines of the README on ``echo/``.
_ECHO_THERE = "SIMULATED echocardiography videos (AVI), one folder per study (column echo_path)"
_ECHO_ABSENT = "the place of echocardiography videos; empty here (column echo_path too)"


def write_cohort(
    folder: Path,
    n_patients: int,
    seed: int,
    config: SimulationConfig = DEFAULT_CONFIG,
    progress: Progress = SILENT,
    *,
    echo: bool = False,
) -> int:
    """Write patients 0 to ``n_patients`` - 1 of a cohort.

    Parameters
    ----------
    folder : path
        Appears when all of it is written; if it is there, it must hold nothing.
    n_patients, seed : int
        The patients are numbers 0 to ``n_patients`` - 1 of the cohort ``seed``.
    config : SimulationConfig
    progress : Progress, optional
        Counts patients.
    echo : bool
        Write the echocardiogram of each study too, as AVI videos in three views under
        ``echo/<study_id>/``, about 0.6 MB a study; the column ``echo_path`` names that folder.

    Returns
    -------
    int
        Number of ECGs written.

    Raises
    ------
    ConfigError
        If ``folder`` holds something, or ``n_patients`` is not positive, or PyAV is not installed
        where echocardiograms are asked for.
    """
    if n_patients < 1:
        raise ConfigError(f"A cohort needs at least one patient, not {n_patients}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is not empty, and a cohort never overwrites anything. "
            "Choose a new folder, or empty this one."
        )
    if echo:
        import_decoder("av", "PyAV")  # before anything is written
    with replacing_folder(folder) as draft:
        return _write_all(draft, n_patients, seed, config, progress, echo)


def _write_all(
    folder: Path,
    n_patients: int,
    seed: int,
    config: SimulationConfig,
    progress: Progress,
    echo: bool,
) -> int:
    records = folder / "records"
    records.mkdir(parents=True)
    (folder / "echo").mkdir()
    n_ecgs = 0
    # Row by row: a cohort may be larger than memory.
    with (
        (folder / "studies.csv").open("w", newline="", encoding="utf-8") as studies_file,
        (folder / "noise_spans.csv").open("w", newline="", encoding="utf-8") as spans_file,
    ):
        spans = csv.writer(spans_file)
        spans.writerow(("record_id", "kind", "leads", "start_s", "end_s", "snr_db"))
        studies: csv.DictWriter[str] | None = None
        for study, done in _cohort(n_patients, seed, config):
            row = study_row(study)
            if echo:
                row["echo_path"] = _write_echo(folder, study)
            if studies is None:
                studies = csv.DictWriter(studies_file, fieldnames=list(row))
                studies.writeheader()
            studies.writerow(row)
            for span in study.noise_spans:
                leads = " ".join(span.lead_names)
                start, end = round(span.start_s, 3), round(span.end_s, 3)
                spans.writerow((study.record_id, span.kind, leads, start, end, span.snr_db))
            recording = study.recording_12
            write_wfdb(
                records,
                study.record_id,
                recording.signal_mv,
                recording.fs_hz,
                recording.lead_names,
                comments=(
                    f"simulated by EchoingECG, seed {seed}; no person stands behind it",
                    f"report: {study.report}",
                ),
                gain=_gain(recording.signal_mv),
            )
            n_ecgs += 1
            if done:
                progress(done, n_patients)
    readme = _README.format(
        seed=seed,
        n_patients=n_patients,
        n_ecgs=n_ecgs,
        config=config,
        echo=_ECHO_THERE if echo else _ECHO_ABSENT,
        fs_hz=config.fs_hz,
        duration_s=config.duration_s,
    )
    (folder / "README.txt").write_text(readme, encoding="utf-8")
    return n_ecgs


def _gain(signal_mv: npt.NDArray[np.floating]) -> float:
    """Units per mV: 1000, or so few that 16 bits hold the largest artefact.

    In some thousand patients one has a spike of 40 mV.
    """
    gain, largest = 1000.0, float(np.nanmax(np.abs(signal_mv)))
    while largest * gain > _MOST_UNITS:
        gain /= 2.0
    return gain


def _write_echo(folder: Path, study: SimulatedStudy) -> str:
    """Write the clips of a study; returns their folder as the table names it."""
    place = f"echo/{study.study_id}"
    (folder / place).mkdir()
    for clip in study_clips(*parse_record_id(study.record_id)):
        write_avi(folder / place / f"{clip.view}.avi", clip)
    return place


def study_row(study: SimulatedStudy) -> dict[str, object]:
    """Return one row of ``studies.csv``.

    Parameters
    ----------
    study : SimulatedStudy

    Returns
    -------
    dict of str to object
        Columns in their order; the truth in ``label_*``.
    """
    row: dict[str, object] = {
        "patient_id": study.patient_id,
        "study_id": study.study_id,
        "record_id": study.record_id,
        "path": f"records/{study.record_id}",
        "split": split_of(study.patient_id),
        "simulated": True,
        "quality": study.quality,
        "echo_path": "",
        "findings": " ".join(study.findings),
        "echo_findings": " ".join(study.echo_findings),
        "report_style": study.report_style,
        "report": study.report,
    }
    row.update({f"label_{name}": value for name, value in study.labels.items()})
    return row


def _cohort(
    n_patients: int, seed: int, config: SimulationConfig
) -> Iterator[tuple[SimulatedStudy, int]]:
    """Every study; the number is the patients done, 0 before a patient's last ECG."""
    for patient in range(n_patients):
        count = ecg_count(seed, patient)
        for ecg in range(count):
            study = simulate_study(seed, patient, ecg, config)
            yield study, patient + 1 if ecg == count - 1 else 0


@dataclass(frozen=True)
class _Sample:
    sample_id: str
    title: str
    description: str
    recording: Recording
    clips: tuple[EchoClip, ...] = ()


def build_samples(folder: Path) -> list[str]:
    """Write the shipped recordings and ``samples.yaml``, each recording to show one thing.

    One of them has the echocardiogram of the same heart beside it.

    Parameters
    ----------
    folder : path
        Replaced as a whole, or left as it was.

    Returns
    -------
    list of str
        The sample ids.

    Raises
    ------
    ConfigError
        PyAV is not installed.
    """
    import_decoder("av", "PyAV")  # before anything is simulated
    samples = [_music_like(), _low_lvef(), _fibrillation(), _normal(), _holter()]
    with replacing_folder(folder) as draft:
        entries = []
        for sample in samples:
            paths = write_wfdb(
                draft,
                sample.sample_id,
                sample.recording.signal_mv,
                sample.recording.fs_hz,
                sample.recording.lead_names,
                comments=("simulated by EchoingECG", sample.title),
            )
            entry: dict[str, object] = {
                "id": sample.sample_id,
                "title": sample.title,
                "description": sample.description,
                "simulated": True,
                "files": sorted(path.name for path in paths),
            }
            if sample.clips:
                entry["echo"] = [f"{sample.sample_id}_{clip.view}.avi" for clip in sample.clips]
                for clip in sample.clips:
                    write_avi(draft / f"{sample.sample_id}_{clip.view}.avi", clip)
            entries.append(entry)
        (draft / "samples.yaml").write_text(
            yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return [sample.sample_id for sample in samples]


def _music_like() -> _Sample:
    long = simulate_long(_SAMPLES_SEED, 1, duration_s=1196.0, fs_hz=200.0, leads="xyz")
    return _Sample(
        "SIM_MUSIC",
        "20-minute vectorcardiogram with noise that comes and goes",
        "Simulated. Leads X, Y, Z at 200 Hz, 1196 s, laid out like a MUSIC high-resolution "
        "record. The 12 leads that the model reads are derived.",
        long.recording,
    )


def _holter() -> _Sample:
    long = simulate_long(_SAMPLES_SEED, 2, duration_s=1800.0, fs_hz=200.0, leads="12")
    names = ("II", "V1")
    rows = [long.recording.lead_names.index(name) for name in names]
    return _Sample(
        "SIM_HOLTER",
        "30-minute Holter with two leads",
        "Simulated. Only leads II and V1 were recorded; the model says how much less sure it is.",
        Recording(
            long.recording.signal_mv[rows], 200.0, names, "SIM_HOLTER", names, simulated=True
        ),
    )


def _low_lvef() -> _Sample:
    study = _first(lambda s: bool(s.labels["lbbb"]) and float(s.labels["lvef_pct"]) < 35)
    return _Sample(
        "SIM_LBBB",
        "Left bundle branch block, low ejection fraction",
        f"Simulated 12-lead ECG, 10 s. The simulated heart's LVEF is "
        f"{float(study.labels['lvef_pct']):.0f} %; its echocardiogram is shipped beside it.",
        study.recording_12,
        # Of the same heart and the same examination, so that ECG and echo can be held together.
        study_clips(*parse_record_id(study.record_id)),
    )


def _fibrillation() -> _Sample:
    study = _first(lambda s: bool(s.labels["af"]) and not s.labels["lbbb"])
    return _Sample(
        "SIM_AF",
        "Atrial fibrillation",
        "Simulated 12-lead ECG, 10 s.",
        study.recording_12,
    )


def _normal() -> _Sample:
    study = _first(lambda s: bool(s.labels["NORM"]))
    return _Sample(
        "SIM_NORMAL",
        "Normal ECG",
        "Simulated 12-lead ECG, 10 s.",
        study.recording_12,
    )


def _first(fits: Callable[[SimulatedStudy], bool]) -> SimulatedStudy:
    """The first patient of the samples' cohort that fits and was recorded without faults."""
    for patient in range(_SEARCHED_PATIENTS):
        study = simulate_study(_SAMPLES_SEED, patient)
        if fits(study) and not study.noise_spans:
            return study
    raise RuntimeError("no simulated patient fits a sample; widen the search")
