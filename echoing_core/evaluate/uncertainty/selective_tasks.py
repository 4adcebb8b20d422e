"""What `selective` measures: questions about ECGs in several conditions, answers, and doubts.

The conditions say in what state the test ECGs are shown: as recorded, and worse in ways that are
known. One recipe each, drawn with a seed of its own. The first three were written down before any
figure was seen. That the doses of `until_lost` go down to -24 dB was decided when answers were seen
to withstand those of `every_dose`; its figures, and those of `misplaced`, had been seen in a trial
with other seeds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from echoing_core.config import from_mapping
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.simulated import CohortConfig, build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.shipped.held_out import PTBXL, SIMULATED, HeldOut, held_out_sets
from echoing_core.evaluate.uncertainty.added_noise import (
    StressNoise,
    lead_noise,
    noisy_window,
    read_stress_noise,
)
from echoing_core.evaluate.uncertainty.scores import PLAIN, RANDOM, SIGMA2, Floats, Scorer
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import binary_entropy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import STANDARD_FS_HZ, BoolArray, FloatArray, GaussianEmbedding
from echoing_core.signals.filters import bandpass
from echoing_core.simulate.noise.electrodes import misplace
from echoing_core.simulate.noise.shapes import DRAW
from echoing_core.training.augmentation import disturb, drop_leads
from echoing_core.training.demo import PTBXL_TRAIN_FOLDS
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet, with_either

logger = logging.getLogger(__name__)

LABELS: Mapping[str, tuple[str, ...]] = {
    SIMULATED: ("lvef_lt40", "slvh", "dlv", "slvh_or_dlv"),
    PTBXL: ("NORM", "MI", "STTC", "CD", "HYP"),
}

ENTROPY, P_WRONG = "entropy", "P(wrong)"
REJECTERS = (SIGMA2, ENTROPY, PLAIN, RANDOM, P_WRONG)
"""By what ECGs are left out; for each of them higher means less sure."""

ZERO_SHOT, PROBE = "zero-shot", "linear probe"

N_PROBE_PATIENTS = 2500
"""Of the simulated cohort's first patients, those of the training split train the probes."""

AS_RECORDED, MIXED, DOSED = "as recorded", "mixed quality", "every dose of noise"
LOST, MISPLACED = "real noise until all is lost", "misplaced electrodes"
CONDITIONS = (AS_RECORDED, MIXED, DOSED, LOST, MISPLACED)

Change = Callable[[FloatArray, BoolArray, np.random.Generator], tuple[FloatArray, BoolArray]]
"""Signal and mask of one window, shape (12, n_times) each, and a generator -> both, changed."""

# The seeds are apart from each other and from those of training, so that no draw is one that the
# model has learnt from.
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


@dataclass(frozen=True, eq=False)
class Task:
    """One question about n ECGs, answered in one way in one condition.

    Attributes
    ----------
    data, question : str
    method : str
        `ZERO_SHOT` or `PROBE`.
    condition : str
        One of `CONDITIONS`.
    simulated : bool
    patients : ndarray, shape (n,)
    truth : ndarray of bool, shape (n,)
    score : ndarray, shape (n,)
        Margin, or logit of the probe; the answer is yes where it is positive.
    plain, closed : ndarray, shape (n,)
        Probability of yes from the score alone, and averaged over the ECG's Gaussian.
    unsure : mapping of str to ndarray, shape (n,)
        One for each of `REJECTERS`.
    """

    data: str
    question: str
    method: str
    condition: str
    simulated: bool
    patients: npt.NDArray[np.str_]
    truth: BoolArray
    score: Floats
    plain: Floats
    closed: Floats
    unsure: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class _Embedded:
    """One test set in one condition, embedded."""

    held_out: HeldOut
    condition: str
    embedding: GaussianEmbedding
    plain_index: Floats
    random_sigma2: Floats


def build_tasks(
    checkpoint: Checkpoint,
    ptbxl: Path | None,
    prompts: Sequence[PromptSet],
    *,
    nstdb: Path | None = None,
) -> list[Task]:
    """All tasks of a model: each test set, condition, label and way of answering.

    A label that the test set has only one class of is left out and named in the log. Without the
    folder of real noise, the condition that adds it is left out.

    Parameters
    ----------
    checkpoint : Checkpoint
    ptbxl : path or None
        Folder of PTB-XL; without it, simulated patients only.
    prompts : sequence of PromptSet
        With the labels of `LABELS`.
    nstdb : path or None
        Folder with real noise.

    Returns
    -------
    list of Task
    """
    noises = None if nstdb is None else read_stress_noise(nstdb)
    sets = held_out_sets(checkpoint, ptbxl)
    questions = {str(item.label): item for item in with_either(prompts)}
    tasks: list[Task] = []
    for held_out in sets:
        # Probes are trained once per test set, on ECGs as recorded: a condition must not train
        # them.
        probes = _probes(checkpoint, held_out.name, ptbxl)
        for condition, changed in in_conditions(held_out, noises):
            embedded = _embedded(checkpoint, changed, condition)
            for label, probe in probes.items():
                truth = embedded.held_out.labels(label)
                if truth is None or np.unique(truth[np.isfinite(truth)]).size < 2:
                    logger.warning("%s does not have both classes of %s", held_out.name, label)
                    continue
                tasks += _of_label(checkpoint, embedded, questions[label], probe, truth)
    return tasks


def _embedded(checkpoint: Checkpoint, held_out: HeldOut, condition: str) -> _Embedded:
    signal_mv, valid = held_out.studies.signal_mv, held_out.studies.valid
    # sigma^2 itself comes with the embedding below.
    baselines = Scorer.of(checkpoint).baselines(signal_mv, valid)
    return _Embedded(
        held_out,
        condition,
        encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid),
        baselines[PLAIN],
        baselines[RANDOM],
    )


def _probes(checkpoint: Checkpoint, data: str, ptbxl: Path | None) -> dict[str, LinearProbe]:
    """One probe for each label of a test set, from training ECGs as they were recorded."""
    if data == PTBXL and ptbxl is not None:
        # Folds that no figure is taken from.
        train = load_ptbxl(ptbxl, folds=PTBXL_TRAIN_FOLDS)
    else:
        cohort = from_mapping(CohortConfig, checkpoint.training["cohort"])
        # The first patients only: a probe needs hundreds of ECGs, not thousands.
        n_patients = min(N_PROBE_PATIENTS, cohort.n_patients)
        train = build_simulated(n_patients, cohort.seed, n_workers=2, splits=("train",))
    mu = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, train.signal_mv, train.valid).mu
    labels = {label: train.table[f"label_{label}"].astype(float) for label in LABELS[data]}
    probes = {}
    for label, column in labels.items():
        truth = column.to_numpy()
        known = np.isfinite(truth)
        probes[label] = LinearProbe.fit(mu[known], truth[known] > 0.5)
    return probes


def _of_label(
    checkpoint: Checkpoint,
    embedded: _Embedded,
    question: PromptSet,
    probe: LinearProbe,
    truth: Floats,
) -> list[Task]:
    # An unknown label is no negative.
    known = np.flatnonzero(np.isfinite(truth))
    embedding = embedded.embedding[known]
    answers = {
        ZERO_SHOT: question_margins(checkpoint, embedding, question),
        PROBE: probe.logits(embedding),
    }
    # The logit of a probe is calibrated already; a margin needs the model's scale.
    scale = {ZERO_SHOT: checkpoint.logit_scale, PROBE: 1.0}
    tasks = []
    for method, (score, score_std) in answers.items():
        plain = expit(scale[method] * score)
        closed = closed_form.probabilities(score, score_std, logit_scale=scale[method])
        tasks.append(
            Task(
                data=embedded.held_out.name,
                question=question.question,
                method=method,
                condition=embedded.condition,
                simulated=embedded.held_out.simulated,
                patients=embedded.held_out.patients[known],
                truth=truth[known] > 0.5,
                score=score,
                plain=plain,
                closed=closed,
                unsure={
                    SIGMA2: embedding.uncertainty,
                    # Of the answer without sigma^2: a function of |score|, and larger near 0.
                    ENTROPY: binary_entropy(scale[method] * score),
                    PLAIN: embedded.plain_index[known],
                    RANDOM: embedded.random_sigma2[known],
                    P_WRONG: np.minimum(closed, 1.0 - closed),
                },
            )
        )
    return tasks


def in_conditions(
    held_out: HeldOut, noises: Mapping[str, StressNoise] | None
) -> Iterator[tuple[str, HeldOut]]:
    """A test set in each of `CONDITIONS`, one after the other.

    Parameters
    ----------
    noises : mapping of str to StressNoise, or None
        Of `read_stress_noise`; without it `LOST` is left out.

    Yields
    ------
    condition : str
    held_out : HeldOut
        The test set in that condition.
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
    in training, with other seeds.

    Parameters
    ----------
    held_out : HeldOut

    Returns
    -------
    HeldOut
        `N_DRAWS` draws of every ECG in a row.
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

    For every draw one of `DOSES_DB` and one of `DOSE_KINDS` at random, all equally likely: the
    doses of the dose study, which takes real noise; here it is simulated, so that nothing but the
    tasks' own data is needed. Every lead has its own noise, at that signal-to-noise ratio within
    the model's band.

    Parameters
    ----------
    held_out : HeldOut

    Returns
    -------
    HeldOut
        `N_DRAWS` draws of every ECG in a row.
    """

    def noise_of(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        # In the model's band, so that the ratio is that of what it sees.
        noise = bandpass(DRAW[kind](*shape, STANDARD_FS_HZ, rng), STANDARD_FS_HZ)
        return np.asarray(noise / np.sqrt(np.square(noise).mean(axis=1, keepdims=True)))

    return _dosed(held_out, DOSE_SEED, DOSES_DB, DOSE_KINDS, noise_of)


def until_lost(held_out: HeldOut, noises: Mapping[str, StressNoise]) -> HeldOut:
    """Each ECG of a test set several times, with real noise from none to where no beat is seen.

    For every draw one of `LOSS_DB` and one of ``noises`` at random, all equally likely. Every lead
    has its own stretch of it.

    Parameters
    ----------
    held_out : HeldOut
    noises : mapping of str to StressNoise
        Of `read_stress_noise`.

    Returns
    -------
    HeldOut
        `N_DRAWS` draws of every ECG in a row.
    """

    def noise_of(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
        return lead_noise(noises[kind], shape, rng)

    return _dosed(held_out, LOSS_SEED, LOSS_DB, tuple(sorted(noises)), noise_of)


def misplaced(held_out: HeldOut) -> HeldOut:
    """Each ECG of a test set several times, half of the draws with electrodes in wrong places.

    By the lead equations (`simulate.noise.electrodes.misplace`). Training draws no misplacements.

    Parameters
    ----------
    held_out : HeldOut

    Returns
    -------
    HeldOut
        `N_DRAWS` draws of every ECG in a row.
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
        # No noise is one of the doses, so that some draws are the ECG as recorded.
        if dose_db is None:
            return signal_mv, valid
        n_leads, n_times = signal_mv.shape
        noise = noise_of(kind, (n_leads, n_times), rng)
        return noisy_window(signal_mv, valid, noise, dose_db), valid

    return _drawn(held_out, seed, change)


def _drawn(held_out: HeldOut, seed: int, change: Change) -> HeldOut:
    """Every ECG `N_DRAWS` times in a row, each time changed anew."""
    studies = held_out.studies
    rows = np.repeat(np.arange(len(studies)), N_DRAWS[held_out.name])
    signal_mv, valid = studies.signal_mv[rows], studies.valid[rows]
    # One generator for all draws: the set is the same in every run.
    rng = np.random.default_rng(seed)
    for row in range(len(rows)):
        signal_mv[row], valid[row] = change(signal_mv[row], valid[row], rng)
    table = studies.table.iloc[rows].reset_index(drop=True)
    return replace(held_out, studies=StudySet(table, signal_mv, valid))
