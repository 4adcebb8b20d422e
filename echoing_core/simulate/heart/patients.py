"""Patients of a simulated cohort: their names, their hearts and their streams of random numbers.

Everything about a simulated ECG follows from three whole numbers: the cohort's seed, the patient
and the ECG. Each purpose draws from its own stream, so that more draws for one of them (noise,
say) never change another (the heart).
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

from echoing_core.errors import ConfigError
from echoing_core.simulate.heart.sampling import drift, sample_heart_state
from echoing_core.simulate.heart.state import HeartState

SIMULATED_NOTE = "Simulated by EchoingECG; no person stands behind it."

# Purposes start at one: SeedSequence pads its words with zeros. Numbers are never used anew, or
# every cohort that was drawn before would change: the seventh is not in use any more.
HEART, BUILD, DRIFT, BEATS, NOISE, REPORT, _, LONG, ECHO = range(1, 10)

_RECORD_ID = re.compile(r"sim-(\d+)-(\d{6,})-(\d+)")


def stream(purpose: int, seed: int, patient: int, ecg: int = 0) -> np.random.Generator:
    """Random numbers of one purpose.

    Parameters
    ----------
    purpose : int
        One of `HEART` to `ECHO`.
    seed, patient, ecg : int
        The cohort, the patient in it and the ECG of the patient, from 0. What belongs to all ECGs
        of a patient is drawn with ``ecg`` 0.

    Returns
    -------
    Generator
        The same draws for the same arguments, whatever else was drawn.

    Raises
    ------
    ConfigError
        If the seed, the patient or the ECG is negative.
    """
    if min(seed, patient, ecg) < 0:
        raise ConfigError(
            f"Seed {seed}, patient {patient} and ECG {ecg} must be whole numbers from 0 upwards."
        )
    return np.random.default_rng(np.random.SeedSequence([seed, patient, ecg, purpose]))


def patient_id(seed: int, patient: int) -> str:
    """Name of a simulated patient.

    Parameters
    ----------
    seed, patient : int
        The cohort, and the number of the patient in it, from 0.
    """
    return f"sim-{seed}-{patient:06d}"


def record_id(seed: int, patient: int, ecg: int = 0) -> str:
    """Name of a simulated ECG, from which it can be drawn again.

    Parameters
    ----------
    seed, patient, ecg : int
        As in `stream`.
    """
    return f"{patient_id(seed, patient)}-{ecg}"


def study_id(seed: int, patient: int, ecg: int = 0) -> str:
    """Name of a simulated examination: the ECG, its report and its echocardiogram.

    Parameters
    ----------
    seed, patient, ecg : int
        As in `stream`.
    """
    return f"{patient_id(seed, patient)}-s{ecg}"


def parse_record_id(name: str) -> tuple[int, int, int]:
    """Return seed, patient and ECG of a record's name.

    Parameters
    ----------
    name : str
        As `record_id` makes it.

    Raises
    ------
    ConfigError
        If it is not the name of a simulated record.
    """
    match = _RECORD_ID.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{name!r} is not the name of a simulated ECG, so it cannot be drawn again. "
            "Such names look like sim-7-000123-0."
        )
    return int(match[1]), int(match[2]), int(match[3])


def ecg_count(seed: int, patient: int) -> int:
    """How many ECGs a patient has: one for two thirds, else two or three.

    Parameters
    ----------
    seed, patient : int
        As in `patient_id`.
    """
    u = stream(DRIFT, seed, patient).random()
    return 1 if u < 0.67 else 2 if u < 0.89 else 3


def split_of(patient: str) -> str:
    """Split of a patient: 80 % train, 10 % valid, 10 % test.

    Parameters
    ----------
    patient : str
        Name of the patient, of any data set.

    Returns
    -------
    str
        ``"train"``, ``"valid"`` or ``"test"``.
    """
    # A hash of the name: the split of a patient never depends on who else is in the data.
    tenth = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") % 10
    return {8: "valid", 9: "test"}.get(tenth, "train")


def patient_state(seed: int, patient: int, ecg: int = 0) -> HeartState:
    """Return the heart of a patient at the time of one ECG; the arguments determine it.

    Parameters
    ----------
    seed : int
        The cohort.
    patient : int
        From 0.
    ecg : int
        0 is the heart as it was drawn; at later ones rate, intervals and T waves have moved.

    Raises
    ------
    ConfigError
        If a number is negative.
    """
    state = sample_heart_state(stream(HEART, seed, patient))
    return state if ecg == 0 else drift(state, stream(DRIFT, seed, patient, ecg))
