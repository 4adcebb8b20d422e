"""Does sigma^2 grow with the noise? Real clean ECGs, real noise, six strengths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty.part import Floats, Part, measured
from echoing_core.evaluate.uncertainty.scores import Scorer
from echoing_core.evaluate.uncertainty.stress_noise import (
    NOISES,
    lead_noise,
    noisy_window,
    read_stress_noise,
)
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import auroc, spearman
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.training.demo import PTBXL_TEST_FOLDS

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


def dose_study(
    checkpoint: Checkpoint,
    studies: StudySet,
    nstdb: Path,
    *,
    n_ecgs: int = N_ECGS,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Part:
    """Rank correlation of the scores with the noise, and AUROC of noisy against clean.

    Parameters
    ----------
    studies : StudySet
        PTB-XL, from `load_ptbxl`.
    nstdb : path
        Folder with the three noises.

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
    clean = scorer.windows(signal_mv, valid)
    results: list[Result] = []
    for done, (name, noise) in enumerate(noises.items()):
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
        results += _figures(
            f"PTB-XL + {NOISES[name]} ({name}, {noise.share_in_band:.0%} of it in the band)",
            ladders,
            patients,
            n_resamples,
        )
    return Part(
        name="dose",
        title="Noise added to clean ECGs",
        method=_METHOD,
        results=tuple(results),
        counts={
            "ECGs": len(chosen),
            "held-out": int(held_out.sum()),
            "from training folds": int((~held_out).sum()),
        },
    )


def clean_rows(studies: StudySet, n_ecgs: int) -> npt.NDArray[np.int64]:
    """Rows without any note on noise: the held-out fold first, then the others, both shuffled.

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
    shuffled = rng.permutation(clean)
    others = ~np.isin(studies.table["fold"].to_numpy()[shuffled], PTBXL_TEST_FOLDS)
    return np.asarray(shuffled[np.argsort(others, kind="stable")][:n_ecgs], dtype=np.int64)


def with_noise(
    signal_mv: npt.NDArray[np.float32],
    valid: BoolArray,
    unit_noise: Floats,
    snr_db: float,
) -> npt.NDArray[np.float32]:
    """Add noise of unit RMS at a signal-to-noise ratio; all of shape (n, 12, n_times)."""
    return np.stack(
        [
            noisy_window(x, known, noise, snr_db)
            for x, known, noise in zip(signal_mv, valid, unit_noise, strict=True)
        ]
    )


def _figures(
    data: str, ladders: Mapping[str, Floats], patients: npt.NDArray[np.str_], n_resamples: int
) -> list[Result]:
    level = np.arange(1 + len(SNR_DB), dtype=np.float64)
    correlation = {
        score: np.array([spearman(level, ladder) for ladder in rows])
        for score, rows in ladders.items()
    }
    results: list[Result] = []
    for name, quantile in (("median", 0.5), ("lower quartile", 0.25), ("upper quartile", 0.75)):
        results += measured(
            (data, "rank correlation with the noise", name),
            lambda values, q=quantile: float(np.quantile(values, q)),
            correlation,
            patients,
            simulated=False,
            n_resamples=n_resamples,
        )
    label = np.repeat([False, True], len(patients))
    for step, snr_db in enumerate(SNR_DB, start=1):
        results += measured(
            (data, f"noisy at {snr_db} dB against clean", "AUROC"),
            auroc,
            {score: np.concatenate([rows[:, 0], rows[:, step]]) for score, rows in ladders.items()},
            np.tile(patients, 2),
            given=(label,),
            simulated=False,
            n_resamples=n_resamples,
        )
    return results
