"""In what state the test ECGs are shown: as recorded, and worse in ways that are known.

One recipe a condition, each drawn by a seed of its own. The first three were written down before
any figure was seen. That the doses of `until_lost` go down to -24 dB was decided when answers were
seen to withstand those of `every_dose`; its figures, and those of `misplaced`, had been seen in a
trial with other lots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.shipped.held_out import PTBXL, SIMULATED, HeldOut
from echoing_core.evaluate.uncertainty.part import Floats
from echoing_core.evaluate.uncertainty.stress_noise import StressNoise, lead_noise, noisy_window
from echoing_core.records import STANDARD_FS_HZ, BoolArray, FloatArray
from echoing_core.signals.filters import bandpass
from echoing_core.simulate.noise.electrodes import misplace
from echoing_core.simulate.noise.shapes import DRAW
from echoing_core.training.augmentation import disturb, drop_leads

AS_RECORDED, MIXED, DOSED = "as recorded", "mixed quality", "every dose of noise"
LOST, MISPLACED = "real noise until all is lost", "misplaced electrodes"
CONDITIONS = (AS_RECORDED, MIXED, DOSED, LOST, MISPLACED)

Change = Callable[[FloatArray, BoolArray, np.random.Generator], tuple[FloatArray, BoolArray]]
"""Signal and mask of one window, shape (12, n_times) each, and a generator -> both, changed."""

N_DRAWS: Mapping[str, int] = {SIMULATED: 2, PTBXL: 4}
FAULT_SHARE = 0.5
LOST_LEADS_SHARE = 0.25
MIXED_SEED = 90_125

DOSES_DB: tuple[float | None, ...] = (None, 24.0, 18.0, 12.0, 6.0, 0.0, -6.0)
DOSE_KINDS = ("baseline_wander", "electrode_motion", "muscle")
DOSE_SEED = 90_126

LOSS_DB = (*DOSES_DB, -12.0, -18.0, -24.0)
LOSS_SEED = 90_127

MISPLACED_SHARE = 0.5
MISPLACED_SEED = 90_128


def in_conditions(
    held_out: HeldOut, noises: Mapping[str, StressNoise] | None
) -> Iterator[tuple[str, HeldOut]]:
    """A test set in each of `CONDITIONS`, one after the other.

    Parameters
    ----------
    noises : mapping of str to StressNoise, or None
        Of `read_stress_noise`; without it `LOST` is left out.
    """
    yield AS_RECORDED, held_out
    yield MIXED, mixed_quality(held_out)
    yield DOSED, every_dose(held_out)
    if noises is not None:
        yield LOST, until_lost(held_out, noises)
    yield MISPLACED, misplaced(held_out)


def mixed_quality(held_out: HeldOut) -> HeldOut:
    """Each ECG of a test set several times, from as it was recorded to very bad.

    Device faults (`training.augmentation.disturb`) in half of the draws, severity even from 0 to
    1, and lost leads (`drop_leads`) in a quarter, independent of the faults. So three in eight
    draws are the ECG as it was recorded. Faults and lost leads are drawn by the same functions as
    in training, by other lots.
    """

    def change(
        signal_mv: FloatArray, valid: BoolArray, rng: np.random.Generator
    ) -> tuple[FloatArray, BoolArray]:
        if rng.random() < FAULT_SHARE:
            signal_mv = disturb(signal_mv, rng, float(rng.random()))
        if rng.random() < LOST_LEADS_SHARE:
            valid = drop_leads(valid, rng)
        return np.where(valid, signal_mv, np.float32(0.0)), valid

    return _drawn(held_out, MIXED_SEED, change)


def every_dose(held_out: HeldOut) -> HeldOut:
    """Each ECG of a test set several times, with noise from none to twice the signal's RMS.

    For every draw one of `DOSES_DB` and one of `DOSE_KINDS` at random, all equally likely: the doses
    of the dose study, which takes real noise; here it is simulated, so that nothing but the
    tasks' own data is needed. Every lead has its own noise, at that signal-to-noise ratio within
    the model's band.
    """

    def noise_of(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        noise = bandpass(DRAW[kind](*shape, STANDARD_FS_HZ, rng), STANDARD_FS_HZ)
        return np.asarray(noise / np.sqrt(np.square(noise).mean(axis=1, keepdims=True)))

    return _dosed(held_out, DOSE_SEED, DOSES_DB, DOSE_KINDS, noise_of)


def until_lost(held_out: HeldOut, noises: Mapping[str, StressNoise]) -> HeldOut:
    """Each ECG of a test set several times, with real noise from none to where no beat is seen.

    For every draw one of `LOSS_DB` and one of ``noises`` at random, all equally likely. Every lead
    has its own stretch of it.
    """

    def noise_of(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        return lead_noise(noises[kind], shape, rng)

    return _dosed(held_out, LOSS_SEED, LOSS_DB, tuple(sorted(noises)), noise_of)


def misplaced(held_out: HeldOut) -> HeldOut:
    """Each ECG of a test set several times, half of the draws with electrodes in wrong places.

    By the lead equations (`simulate.misplacement`). Training draws no misplacements.
    """

    def change(
        signal_mv: FloatArray, valid: BoolArray, rng: np.random.Generator
    ) -> tuple[FloatArray, BoolArray]:
        if rng.random() < MISPLACED_SHARE:
            signal_mv = misplace(signal_mv, valid, rng)
        return signal_mv, valid

    return _drawn(held_out, MISPLACED_SEED, change)


def _dosed(
    held_out: HeldOut,
    seed: int,
    doses_db: tuple[float | None, ...],
    kinds: tuple[str, ...],
    noise_of: Callable[[str, tuple[int, int], np.random.Generator], Floats],
) -> HeldOut:
    """One dose and one kind of noise at random for every draw; ``noise_of`` gives it unit RMS."""

    def change(
        signal_mv: FloatArray, valid: BoolArray, rng: np.random.Generator
    ) -> tuple[FloatArray, BoolArray]:
        dose_db = doses_db[rng.integers(len(doses_db))]
        kind = kinds[rng.integers(len(kinds))]
        if dose_db is None:
            return signal_mv, valid
        n_leads, n_times = signal_mv.shape
        noise = noise_of(kind, (n_leads, n_times), rng)
        return noisy_window(signal_mv, valid, noise, dose_db), valid

    return _drawn(held_out, seed, change)


def _drawn(held_out: HeldOut, seed: int, change: Change) -> HeldOut:
    """Every ECG `N_DRAWS` times in a row, each time changed by a lot of its own."""
    studies = held_out.studies
    rows = np.repeat(np.arange(len(studies)), N_DRAWS[held_out.name])
    signal_mv, valid = studies.signal_mv[rows], studies.valid[rows]
    rng = np.random.default_rng(seed)
    for row in range(len(rows)):
        signal_mv[row], valid[row] = change(signal_mv[row], valid[row], rng)
    table = studies.table.iloc[rows].reset_index(drop=True)
    return replace(held_out, studies=StudySet(table, signal_mv, valid))
