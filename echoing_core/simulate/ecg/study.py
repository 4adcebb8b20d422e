"""One simulated study: heart, 12 leads, VCG, noise with its place, report and truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, Recording
from echoing_core.simulate.ecg.heart_vector import Torso, render, sample_torso, twelve_leads
from echoing_core.simulate.ecg.reading import find_in_ecg, find_in_echo, measure_beat, true_labels
from echoing_core.simulate.ecg.waves import Build, sample_build
from echoing_core.simulate.heart.patients import (
    BEATS,
    BUILD,
    NOISE,
    REPORT,
    SIMULATED_NOTE,
    parse_record_id,
    patient_id,
    patient_state,
    record_id,
    stream,
    study_id,
)
from echoing_core.simulate.heart.rhythm import beat_train
from echoing_core.simulate.heart.state import HeartState
from echoing_core.simulate.noise.spans import NoiseSpan, corrupt, noise_floor
from echoing_core.simulate.reports import write_report

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of a simulated cohort.

    Attributes
    ----------
    fs_hz, duration_s : float
        Of the 12-lead and XYZ recordings.
    machine_share : float
        Share of reports in machine style.
    echo_in_report : float
        Share of reports that also tell the echocardiogram; 0 never.
    omission : float
        Probability that a free report leaves out a finding.
    wrong : float
        Probability that a free report holds one wrong finding.
    clean_share, moderate_share : float
        Shares of ECGs with only the noise floor, and with mild to moderate noise; the rest is
        bad.
    torso_spread : float
        How much bodies differ; 0 makes the 12 clean leads exactly Dower's of the XYZ.
    """

    fs_hz: float = 500.0
    duration_s: float = 10.0
    machine_share: float = 0.55
    echo_in_report: float = 0.6
    omission: float = 0.12
    wrong: float = 0.01
    clean_share: float = 0.45
    moderate_share: float = 0.40
    torso_spread: float = 1.0


DEFAULT_CONFIG = SimulationConfig()


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
    """One ECG of a simulated patient and everything that is true about it.

    Attributes
    ----------
    patient_id, study_id, record_id : str
    state : HeartState
    recording_12 : Recording
        The 12 leads with noise.
    clean_12 : ndarray, shape (12, n_times), float32
        The same leads without any noise.
    clean_xyz : ndarray, shape (3, n_times), float32
        The heart vector in Frank's leads.
    noise_spans : tuple of NoiseSpan
        Empty when there is nothing but the noise floor.
    quality : str
        ``"clean"``, ``"moderate"`` or ``"bad"``, as the noise was drawn.
    findings, echo_findings : tuple of str
        Keys of `reports.vocabulary.FINDINGS`.
    report, report_style : str
        The text, and ``"machine"`` or ``"free"``.
    labels : dict of str to float, bool or str
        The truth (`reading.true_labels`).
    onset_s : ndarray, shape (n_beats,)
        QRS onsets inside the recording, in s.
    simulated : bool
        Always True.
    """

    patient_id: str
    study_id: str
    record_id: str
    state: HeartState
    recording_12: Recording
    clean_12: F32
    clean_xyz: F32
    noise_spans: tuple[NoiseSpan, ...]
    quality: str
    findings: tuple[str, ...]
    echo_findings: tuple[str, ...]
    report: str
    report_style: str
    labels: dict[str, float | bool | str]
    onset_s: npt.NDArray[np.float64]
    simulated: bool = field(default=True)


def patient_body(seed: int, patient: int, torso_spread: float = 1.0) -> tuple[Build, Torso]:
    """Return what shapes all ECGs of a patient, apart from the heart's state.

    Parameters
    ----------
    seed, patient : int
        As in `simulate_study`.
    torso_spread : float
        As in `SimulationConfig`.

    Returns
    -------
    build : Build
    torso : Torso
    """
    # One stream for both: the torso comes second, so its spread does not move the build.
    rng = stream(BUILD, seed, patient)
    return sample_build(rng), sample_torso(rng, torso_spread)


def simulate_study(
    seed: int, patient: int, ecg: int = 0, config: SimulationConfig = DEFAULT_CONFIG
) -> SimulatedStudy:
    """Simulate one ECG; the arguments determine it fully.

    Parameters
    ----------
    seed : int
        The cohort.
    patient : int
        Number of the patient in the cohort, from 0.
    ecg : int
        Number of the ECG of this patient, from 0; `ecg_count` says how many there are in a cohort.
    config : SimulationConfig

    Raises
    ------
    ConfigError
        If a number is negative.
    """
    state = patient_state(seed, patient, ecg)
    build, torso = patient_body(seed, patient, config.torso_spread)
    fs_hz, n_times = config.fs_hz, round(config.duration_s * config.fs_hz)
    rng = stream(BEATS, seed, patient, ecg)
    train = beat_train(state, 0.0, config.duration_s, rng)
    xyz, eight = render(
        state, build, torso, train, start_s=0.0, n_times=n_times, fs_hz=fs_hz, rng=rng
    )
    clean = twelve_leads(eight)
    noisy, spans, quality = _with_noise(clean, fs_hz, config, seed, patient, ecg)

    # A premature beat counts when its QRS complex fits into the recording.
    inside = (train.onset_s > 0.0) & (train.onset_s < config.duration_s - 0.15)
    findings = find_in_ecg(state, measure_beat(state, build, torso), train.kind[inside])
    echo_findings = find_in_echo(state)
    report_rng = stream(REPORT, seed, patient, ecg)
    style = "machine" if report_rng.random() < config.machine_share else "free"
    report = write_report(
        state,
        findings,
        echo_findings,
        report_rng,
        style=style,
        echo_in_report=config.echo_in_report,
        omission=config.omission,
        wrong=config.wrong,
    )
    name = record_id(seed, patient, ecg)
    return SimulatedStudy(
        patient_id=patient_id(seed, patient),
        study_id=study_id(seed, patient, ecg),
        record_id=name,
        state=state,
        recording_12=Recording(
            signal_mv=noisy,
            fs_hz=fs_hz,
            lead_names=LEADS,
            record_id=name,
            source_names=LEADS,
            notes=(SIMULATED_NOTE,),
            simulated=True,
        ),
        clean_12=clean,
        clean_xyz=xyz,
        noise_spans=spans,
        quality=quality,
        findings=findings,
        echo_findings=echo_findings,
        report=report,
        report_style=style,
        labels=true_labels(state, findings),
        onset_s=train.onset_s[inside],
    )


def redraw(record_id: str, config: SimulationConfig = DEFAULT_CONFIG) -> SimulatedStudy:
    """Draw a study again from its record's name.

    Parameters
    ----------
    record_id : str
    config : SimulationConfig
        Must be that of its cohort.

    Raises
    ------
    ConfigError
        If it is not the name of a simulated record.
    """
    return simulate_study(*parse_record_id(record_id), config=config)


def _with_noise(
    clean: F32, fs_hz: float, config: SimulationConfig, seed: int, patient: int, ecg: int
) -> tuple[F32, tuple[NoiseSpan, ...], str]:
    """The leads with noise, its spans, and the quality that was drawn."""
    rng = stream(NOISE, seed, patient, ecg)
    floor = noise_floor(12, clean.shape[1], fs_hz, rng, size_mv=rng.uniform(0.003, 0.013))
    u = rng.random()
    if u < config.clean_share:
        return clean + floor, (), "clean"
    moderate = u < config.clean_share + config.moderate_share
    severity = rng.uniform(0.0, 0.5) if moderate else rng.uniform(0.6, 1.0)
    noisy, spans = corrupt(clean + floor, fs_hz, rng, float(severity))
    if not spans:
        # What was drawn stayed below the floor.
        return clean + floor, (), "clean"
    return noisy, spans, "moderate" if moderate else "bad"
