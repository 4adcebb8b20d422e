"""Noise added to clean ECGs at a chosen strength: does sigma^2 grow with it?

The noise is real, that of the MIT-BIH Noise Stress Test. It is resampled to 100 Hz and band-passed
exactly as the reader does with a recording, and so is the ECG that it is added to. Filtering is
linear, so the sum is what the reader would have made of the noisy recording, and the
signal-to-noise ratio is that of the band that the model sees. That differs from the noise stress
test's own definition, which relates the noise as recorded to the QRS amplitude: most of its
baseline wander lies below 0.5 Hz and never reaches the model, so what is left of it in the band is
amplified to the ratio asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError, RecordError
from echoing_core.evaluate.uncertainty.scores import (
    Floats,
    Scorer,
    measure_quartiles,
    measure_scores,
    section,
)
from echoing_core.io import read_recording
from echoing_core.metrics.results import Experiment, Result
from echoing_core.metrics.scores import auroc, spearman
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import STANDARD_FS_HZ, BoolArray, FloatArray
from echoing_core.signals.filters import bandpass, resample, resampling_ratio
from echoing_core.training.demo import PTBXL_TEST_FOLDS

NOISES = {"BW": "baseline wander", "EM": "electrode motion", "MA": "muscle artefact"}

MAT_FS_HZ = 360.0

QUIET_LEAD_MV = 0.05
"""A lead with less RMS than this gets the noise of a lead with this much: a nearly silent lead
would otherwise get nearly none at any ratio."""


SNR_DB = (24, 18, 12, 6, 0, -6)
N_ECGS = 240
SEED = 18_000

_METHOD = (
    "Real ECGs of PTB-XL that carry no note on noise (metadata complete), chosen by a seed: all "
    "of the held-out fold first, then others, on which the model may have been trained. Each lead "
    "gets its own stretch of noise of the MIT-BIH Noise Stress Test, the same one at every "
    "strength. The signal-to-noise ratio is that of each lead within 0.5-40 Hz, the band that the "
    "model sees (a lead below 0.05 mV RMS counts as 0.05 mV); of the noise as recorded only the "
    "share named below lies in that band, so that the same ratio of the raw signals would be less "
    "noise here, most of all for baseline wander. Rank "
    "correlation: per ECG, over clean and the six strengths. Intervals: 95 %, bootstrap over "
    "patients."
)


@dataclass(frozen=True, eq=False)
class StressNoise:
    """One noise in the model's band.

    Attributes
    ----------
    signal : ndarray, shape (2, n_times)
        Both channels at 100 Hz, in units that mean nothing: it is scaled when it is added.
    share_in_band : float
        Part of the recorded noise's power that lies in the band.
    """

    signal: Floats
    share_in_band: float


def read_stress_noise(folder: Path) -> dict[str, StressNoise]:
    """The three noises, filtered and resampled as the reader does with a recording.

    Parameters
    ----------
    folder : path
        With ``BW.mat``, ``EM.mat`` and ``MA.mat`` (columns sample, channel 1, channel 2 at
        360 Hz), or with the WFDB records ``bw``, ``em`` and ``ma`` of the published database.

    Returns
    -------
    dict of ``"BW"``, ``"EM"``, ``"MA"`` to StressNoise

    Raises
    ------
    DataSetError
        A noise is missing, or not two channels of at least 20 s.
    """
    return {name: _in_band(*_raw(folder, name), name) for name in NOISES}


def lead_noise(noise: StressNoise, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Noise of unit RMS for each lead: its own stretch of one of the channels, either way up.

    Parameters
    ----------
    noise : StressNoise
    shape : (n_leads, n_times)
        Where there are more times than the noise holds, it runs forwards and backwards in
        turn, so that no step stands where it repeats.
    rng : Generator
        Draws start, channel and sign of each lead.

    Returns
    -------
    ndarray of that shape
    """
    # Forwards and backwards, so that the end meets its own mirror image.
    there_and_back = np.concatenate([noise.signal, noise.signal[:, ::-1]], axis=1)
    period = there_and_back.shape[1]
    rows = np.empty(shape)
    for row in rows:
        start = int(rng.integers(period))
        channel = there_and_back[rng.integers(len(there_and_back))]
        # Half of the leads upside down: the two channels would else be alike in six leads each.
        row[:] = rng.choice((-1.0, 1.0)) * channel[(start + np.arange(shape[1])) % period]
    # Unit RMS per lead, after the cut: noise comes in bursts.
    return np.asarray(rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True)))


def noise_gain(signal_mv: FloatArray, valid: BoolArray, snr_db: float) -> Floats:
    """RMS in mV of the noise that brings each lead to ``snr_db``.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (n_leads, n_times)
        The clean ECG in the model's band.
    snr_db : float
        Power of a clean lead over that of its noise, in decibels.

    Returns
    -------
    ndarray, shape (n_leads, 1)
        Power of the clean lead over power of the noise is ``snr_db``, with at least
        `QUIET_LEAD_MV` for the lead.
    """
    # Over valid samples only: gaps are 0 and no signal.
    power = (np.square(signal_mv, dtype=np.float64) * valid).sum(axis=1, keepdims=True)
    rms = np.sqrt(power / np.maximum(valid.sum(axis=1, keepdims=True), 1))
    return np.asarray(np.maximum(rms, QUIET_LEAD_MV) * 10.0 ** (-snr_db / 20.0))


def noisy_window(
    signal_mv: FloatArray, valid: BoolArray, unit_noise: Floats, snr_db: float
) -> FloatArray:
    """One window with noise of unit RMS per lead added at ``snr_db``, where it was measured.

    Parameters
    ----------
    signal_mv, valid, unit_noise : ndarray, shape (n_leads, n_times)
    snr_db : float

    Returns
    -------
    ndarray, shape (n_leads, n_times), float32
    """
    added = noise_gain(signal_mv, valid, snr_db) * unit_noise
    return np.asarray(signal_mv + added * valid, dtype=np.float32)


def _raw(folder: Path, name: str) -> tuple[Floats, float]:
    mat, header = folder / f"{name}.mat", folder / f"{name.lower()}.hea"
    try:
        if mat.is_file():
            columns = np.asarray(loadmat(mat)[name], dtype=np.float64)
            if columns.ndim == 2 and columns.shape[1] == 3:
                return columns[:, 1:].T, MAT_FS_HZ
        elif header.is_file():
            recording = read_recording(header)
            if len(recording.signal_mv) == 2 and np.isfinite(recording.signal_mv).all():
                return recording.signal_mv.astype(np.float64), recording.fs_hz
        else:
            raise DataSetError(
                f"There is neither {mat.name} nor {header.name} in {folder.name or folder}. Name "
                "the folder with the noises of the MIT-BIH Noise Stress Test."
            )
    except (MatReadError, ValueError, TypeError, KeyError, OSError, RecordError) as error:
        raise DataSetError(f"The noise {name} cannot be read: {error}.") from error
    raise DataSetError(f"The noise {name} is not two channels without gaps.")


def _in_band(raw: Floats, fs_hz: float, name: str) -> StressNoise:
    # Leads get stretches of their own; of less than two windows these would be nearly the same.
    if raw.shape[1] < 20 * fs_hz:
        raise DataSetError(f"The noise {name} lasts {raw.shape[1] / fs_hz:.1f} s; 20 s are needed.")
    if not raw.std(axis=1).all():
        raise DataSetError(f"A channel of the noise {name} never moves.")
    ratio = resampling_ratio(fs_hz, STANDARD_FS_HZ, n_times=raw.shape[1])
    # Filtered before resampling, as `standardise` does.
    band = bandpass(raw, fs_hz)
    return StressNoise(resample(band, ratio), float((band.var(axis=1) / raw.var(axis=1)).mean()))


def dose_study(
    checkpoint: Checkpoint,
    studies: StudySet,
    nstdb: Path,
    *,
    n_ecgs: int = N_ECGS,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Rank correlation of the scores with the noise, and AUROC of noisy against clean.

    Parameters
    ----------
    checkpoint : Checkpoint
    studies : StudySet
        PTB-XL, from `load_ptbxl`.
    nstdb : path
        Folder with the three noises.
    n_ecgs : int
        ECGs chosen, all of the held-out fold first.
    n_resamples : int
    progress : Progress
        Counts noises times strengths.

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        A noise is missing, or no ECG is known to be clean.
    """
    noises = read_stress_noise(nstdb)
    chosen = clean_rows(studies, n_ecgs)
    held_out = np.isin(studies.table["fold"].to_numpy()[chosen], PTBXL_TEST_FOLDS)
    signal_mv, valid = studies.signal_mv[chosen], studies.valid[chosen]
    patients = np.asarray(studies.table["patient_id"].astype(str))[chosen]
    scorer = Scorer.of(checkpoint)
    # The same ECG and the same noise at every strength, so that nothing but the dose differs.
    clean = scorer.windows(signal_mv, valid)
    results: list[Result] = []
    for done, (name, noise) in enumerate(noises.items()):
        # One generator a noise: what is drawn for one does not depend on the others.
        rng = np.random.default_rng([SEED, done])
        stretches = np.stack([lead_noise(noise, signal_mv.shape[1:], rng) for _ in signal_mv])
        noisy = []
        for step, snr_db in enumerate(SNR_DB, start=1):
            noisy.append(scorer.windows(with_noise(signal_mv, valid, stretches, snr_db), valid))
            progress(done * len(SNR_DB) + step, len(noises) * len(SNR_DB))
        # (n_ecgs, 1 + n_strengths), from clean to the most noise
        ladders = {
            score: np.stack([clean[score], *(level[score] for level in noisy)], axis=1)
            for score in clean
        }
        results += _dose_figures(
            f"PTB-XL + {NOISES[name]} ({name}, {noise.share_in_band:.0%} of it in the band)",
            ladders,
            patients,
            n_resamples,
        )
    return section(
        "dose",
        "Noise added to clean ECGs",
        _METHOD,
        results,
        {
            "ECGs": len(chosen),
            "held-out": int(held_out.sum()),
            "from training folds": int((~held_out).sum()),
        },
    )


def clean_rows(studies: StudySet, n_ecgs: int) -> npt.NDArray[np.int64]:
    """Rows without any note on noise: the held-out fold first, then the others, both shuffled.

    Parameters
    ----------
    studies : StudySet
        PTB-XL with its quality notes.
    n_ecgs : int
        At most so many.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    DataSetError
        There is no such row.
    """
    rng = np.random.default_rng(SEED)
    clean = np.flatnonzero(studies.table["quality"] == "clean")
    if clean.size == 0:
        raise DataSetError(
            "No ECG of this PTB-XL is known to be clean: its quality notes are missing. Use the "
            "published table."
        )
    # A stable sort by fold keeps the shuffled order within both groups.
    shuffled = rng.permutation(clean)
    others = ~np.isin(studies.table["fold"].to_numpy()[shuffled], PTBXL_TEST_FOLDS)
    return np.asarray(shuffled[np.argsort(others, kind="stable")][:n_ecgs], dtype=np.int64)


def with_noise(
    signal_mv: npt.NDArray[np.float32],
    valid: BoolArray,
    unit_noise: Floats,
    snr_db: float,
) -> npt.NDArray[np.float32]:
    """Add noise of unit RMS to several windows at one signal-to-noise ratio.

    Parameters
    ----------
    signal_mv, valid, unit_noise : ndarray, shape (n, 12, n_times)
    snr_db : float

    Returns
    -------
    ndarray, shape (n, 12, n_times)
    """
    return np.stack(
        [
            noisy_window(x, known, noise, snr_db)
            for x, known, noise in zip(signal_mv, valid, unit_noise, strict=True)
        ]
    )


def _dose_figures(
    data: str, ladders: Mapping[str, Floats], patients: npt.NDArray[np.str_], n_resamples: int
) -> list[Result]:
    # Ranks alone matter, so the steps of 6 dB may be 0, 1, 2, ...
    level = np.arange(1 + len(SNR_DB), dtype=np.float64)
    correlation = {
        score: np.array([spearman(level, ladder) for ladder in rows])
        for score, rows in ladders.items()
    }
    results = measure_quartiles(
        (data, "rank correlation with the noise"),
        correlation,
        patients,
        simulated=False,
        n_resamples=n_resamples,
    )
    # Each ECG is in it twice, clean and noisy; both are drawn together with its patient.
    label = np.repeat([False, True], len(patients))
    for step, snr_db in enumerate(SNR_DB, start=1):
        results += measure_scores(
            (data, f"noisy at {snr_db} dB against clean", "AUROC"),
            auroc,
            {score: np.concatenate([rows[:, 0], rows[:, step]]) for score, rows in ladders.items()},
            np.tile(patients, 2),
            given=(label,),
            simulated=False,
            n_resamples=n_resamples,
        )
    return results
