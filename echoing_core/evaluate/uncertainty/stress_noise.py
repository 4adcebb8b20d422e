"""Real noise of the MIT-BIH Noise Stress Test, as the model would see it, at a chosen strength.

The noise is resampled to 100 Hz and band-passed exactly as the reader does with a recording, and
so is the ECG that it is added to. Filtering is linear, so the sum is what the reader would have
made of the noisy recording, and the signal-to-noise ratio is that of the band that the model
sees. That differs from the noise stress test's own definition, which relates the noise as
recorded to the QRS amplitude: most of its baseline wander lies below 0.5 Hz and never reaches
the model, so what is left of it in the band is amplified to the ratio asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from echoing_core.errors import DataSetError, RecordError
from echoing_core.evaluate.uncertainty.part import Floats
from echoing_core.io import read_recording
from echoing_core.records import STANDARD_FS_HZ, BoolArray, FloatArray
from echoing_core.signals.filters import bandpass
from echoing_core.signals.resample import resample, resampling_ratio

NOISES = {"BW": "baseline wander", "EM": "electrode motion", "MA": "muscle artefact"}

MAT_FS_HZ = 360.0

QUIET_LEAD_MV = 0.05
"""A lead with less RMS than this gets the noise of a lead with this much: a nearly silent lead
would otherwise get nearly none at any ratio."""


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

    Returns
    -------
    ndarray of that shape
    """
    there_and_back = np.concatenate([noise.signal, noise.signal[:, ::-1]], axis=1)
    period = there_and_back.shape[1]
    rows = np.empty(shape)
    for row in rows:
        start = int(rng.integers(period))
        channel = there_and_back[rng.integers(len(there_and_back))]
        row[:] = rng.choice((-1.0, 1.0)) * channel[(start + np.arange(shape[1])) % period]
    return np.asarray(rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True)))


def noise_gain(signal_mv: FloatArray, valid: BoolArray, snr_db: float) -> Floats:
    """RMS in mV of the noise that brings each lead to ``snr_db``.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (n_leads, n_times)
        The clean ECG in the model's band.

    Returns
    -------
    ndarray, shape (n_leads, 1)
        Power of the clean lead over power of the noise is ``snr_db``, with at least
        `QUIET_LEAD_MV` for the lead.
    """
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
    if raw.shape[1] < 20 * fs_hz:
        raise DataSetError(f"The noise {name} lasts {raw.shape[1] / fs_hz:.1f} s; 20 s are needed.")
    if not raw.std(axis=1).all():
        raise DataSetError(f"A channel of the noise {name} never moves.")
    ratio = resampling_ratio(fs_hz, STANDARD_FS_HZ, n_times=raw.shape[1])
    band = bandpass(raw, fs_hz)
    return StressNoise(resample(band, ratio), float((band.var(axis=1) / raw.var(axis=1)).mean()))
