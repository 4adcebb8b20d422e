"""Two kinds of sigma^2 beside each other, for each loss, with and without the echo teacher.

The article's sigma^2 is learnt by the matching loss jointly with mu ("joint"); the other by how
far bad recording moves a finished mu ("displacement"). Every run of the ablation has both, so that
loss, teacher and sigma^2 can be told apart: whether an ECG of low sigma^2 is answered better,
whether sigma^2 finds bad recordings and follows the dose of noise, and what it adds to a search by
CSD. Beside them stand rivals that need no sigma^2: the answer's own entropy, and a plain index of
signal quality.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import replacing_file
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_batch_terms, encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.protocols.ablation import GALLERY_N, Method, run_folder
from echoing_core.evaluate.shipped.held_out import PTBXL, SIMULATED, HeldOut, random_encoder
from echoing_core.evaluate.uncertainty.added_noise import (
    SNR_DB,
    clean_rows,
    lead_noise,
    read_stress_noise,
    with_noise,
)
from echoing_core.evaluate.uncertainty.annotations import find_records, read_grades, read_judged
from echoing_core.evaluate.uncertainty.scores import plain_index
from echoing_core.evaluate.uncertainty.selective_tasks import (
    AS_RECORDED,
    MIXED,
    mixed_quality,
)
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    EXACT_PAIR,
    SAME_TEXT,
    midranks,
    text_to_ecg_ranks,
)
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.models.config import DISPLACEMENT, MATCHING
from echoing_core.models.encoders import DualEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.signals.windows import WINDOW_N
from echoing_core.training.demo import PTBXL_TEST_FOLDS
from echoing_core.zeroshot.prompts import PromptSet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

JOINT, DISPLACED, TOGETHER = "joint", "displacement", "both"
READINGS = (JOINT, DISPLACED, TOGETHER)
"""By which sigma^2 ECGs are ordered. Both together: the mean of the two ranks within a test set; in
a search, the sum of the two variances, as of errors that do not know of each other."""

LABELS: Mapping[str, tuple[str, ...]] = {
    SIMULATED: ("lvef_lt40", "slvh", "dlv"),
    PTBXL: ("NORM", "MI", "STTC", "CD", "HYP", "af", "lbbb"),
}

CALIBRATION_FOLDS = (8,)
RANDOM_PROBE = "probe on random encoders"


@dataclass(frozen=True, eq=False)
class Shown:
    """A test set in one condition.

    Attributes
    ----------
    data : str
        One of `LABELS`.
    condition : str
    held_out : HeldOut
    plain_index : ndarray, shape (n,)
    """

    data: str
    condition: str
    held_out: HeldOut
    plain_index: Floats

    @property
    def truth(self) -> dict[str, Floats]:
        """0, 1 or NaN of each ECG, by the labels that the set knows."""
        known = {label: self.held_out.labels(label) for label in LABELS[self.data]}
        return {label: values for label, values in known.items() if values is not None}


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows that only sigma^2 is asked about.

    Attributes
    ----------
    signal_mv, valid : ndarray, shape (n, 12, 1000)
    groups : ndarray of str, shape (n,)
        Recording or patient of each window.
    """

    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    groups: npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything that each run is measured on.

    Attributes
    ----------
    shown : sequence of Shown
    calibration : mapping of data to HeldOut
        On which thresholds are chosen.
    training : mapping of data to StudySet
        From which the rival's probes learn.
    gallery : StudySet
    graded : Windows or None
        Of CinC 2011, with ``bad``.
    bad : ndarray of bool
    ladders : mapping of noise to Windows
        Every ECG at each dose, in rows one after the other.
    """

    shown: Sequence[Shown]
    calibration: Mapping[str, HeldOut]
    training: Mapping[str, StudySet]
    gallery: StudySet
    graded: Windows | None
    bad: BoolArray
    ladders: Mapping[str, Windows]


@dataclass(frozen=True, eq=False)
class RunReadings:
    """What one run says of a `Bench`.

    Attributes
    ----------
    margins : mapping of "data|condition|label" to ndarray
    thresholds : mapping of "data|label" to float
    sigma2 : mapping of "data|condition|reading" to ndarray
    ranks : mapping of "reading|hit" to ndarray of int
        Also by cosine.
    graded, doses : mapping of reading, or "noise|reading", to ndarray
        Doses of shape (n_ecgs, 1 + n_strengths).
    probes : mapping of "data|label" to ndarray
        Logits of a linear probe on random encoders of the same sizes.
    """

    margins: Mapping[str, Floats]
    thresholds: Mapping[str, float]
    sigma2: Mapping[str, Floats]
    ranks: Mapping[str, npt.NDArray[np.int64]]
    graded: Mapping[str, Floats]
    doses: Mapping[str, Floats]
    probes: Mapping[str, Floats]


def build_bench(
    studies: StudySet,
    *,
    ptbxl: Path | None = None,
    cinc: Path | None = None,
    nstdb: Path | None = None,
    n_dosed: int = 80,
) -> Bench:
    """Gather the test sets.

    Parameters
    ----------
    studies : StudySet
        The cohort of an ablation, all splits; only simulated rows are tested here.
    ptbxl : path, optional
        Fold 9 is tested, fold 8 sets thresholds, fold 10 is not read.
    cinc : path, optional
        Recordings with ``quality_labels.csv``.
    nstdb : path, optional
        Real noise, added to clean ECGs of fold 9.
    n_dosed : int
        ECGs that noise is added to.

    Returns
    -------
    Bench
    """
    simulated = studies.where(studies.table["simulated"].to_numpy(dtype=bool))

    def part(split: str) -> StudySet:
        return simulated.where((simulated.table["split"] == split).to_numpy())

    sets = [HeldOut(SIMULATED, part("test"), simulated=True)]
    calibration = {SIMULATED: HeldOut(SIMULATED, part("valid"), simulated=True)}
    training = {SIMULATED: part("train")}
    ladders: dict[str, Windows] = {}
    if ptbxl is not None:
        fold_9 = load_ptbxl(ptbxl, folds=PTBXL_TEST_FOLDS)
        sets.append(HeldOut(PTBXL, fold_9, simulated=False))
        fold_8 = load_ptbxl(ptbxl, folds=CALIBRATION_FOLDS)
        calibration[PTBXL] = HeldOut(PTBXL, fold_8, simulated=False)
        real = studies.table["source"].to_numpy() == "ptbxl"
        training[PTBXL] = studies.where(real & (studies.table["split"] == "train").to_numpy())
        if nstdb is not None:
            ladders = _ladders(fold_9, nstdb, n_dosed)
    shown = []
    for held_out in sets:
        for condition, changed in ((AS_RECORDED, held_out), (MIXED, mixed_quality(held_out))):
            plain = plain_index(changed.studies.signal_mv, changed.studies.valid)
            shown.append(Shown(held_out.name, condition, changed, plain))
    graded, bad = (None, np.zeros(0, dtype=np.bool_)) if cinc is None else _graded(cinc)
    gallery = sets[0].studies
    gallery = gallery.where(np.arange(len(gallery)) < GALLERY_N)
    return Bench(shown, calibration, training, gallery, graded, bad, ladders)


def readings_of(checkpoint: Checkpoint, bench: Bench, prompts: Sequence[PromptSet]) -> RunReadings:
    """Measure one model that has both kinds of sigma^2.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of a model with ``sigma2: both``.
    bench : Bench
    prompts : sequence of PromptSet

    Returns
    -------
    RunReadings
    """
    questions = {str(item.label): item for item in prompts}
    margins: dict[str, Floats] = {}
    sigma2: dict[str, Floats] = {}
    thresholds: dict[str, float] = {}
    probes: dict[str, Floats] = {}
    for shown in bench.shown:
        place = f"{shown.data}|{shown.condition}"
        embedding, by_kind = _encode(
            checkpoint, shown.held_out.studies.signal_mv, shown.held_out.studies.valid
        )
        sigma2 |= {f"{place}|{kind}": values for kind, values in by_kind.items()}
        for label in shown.truth:
            if label in questions:
                margin, _ = question_margins(checkpoint, embedding, questions[label])
                margins[f"{place}|{label}"] = margin
        if shown.condition == AS_RECORDED:
            probes |= _random_probes(checkpoint, bench, shown)
    for data, held_out in bench.calibration.items():
        embedding, _ = _encode(checkpoint, held_out.studies.signal_mv, held_out.studies.valid)
        for label in LABELS[data]:
            truth = held_out.labels(label)
            if truth is None or label not in questions:
                continue
            margin, _ = question_margins(checkpoint, embedding, questions[label])
            known = np.isfinite(truth)
            thresholds[f"{data}|{label}"] = best_threshold(truth[known] > 0.5, margin[known])
    graded: dict[str, Floats] = {}
    if bench.graded is not None:
        names, first = np.unique(bench.graded.groups, return_inverse=True)
        for kind, values in _sums(checkpoint, bench.graded).items():
            # Of a recording's windows, as everywhere else.
            graded[kind] = np.bincount(first, values, len(names)) / np.bincount(first)
    doses = {
        f"{noise}|{kind}": values.reshape(-1, 1 + len(SNR_DB))
        for noise, windows in bench.ladders.items()
        for kind, values in _sums(checkpoint, windows).items()
    }
    return RunReadings(
        margins, thresholds, sigma2, _ranks(checkpoint, bench.gallery), graded, doses, probes
    )


def readings_of_runs(
    folder: Path,
    bench: Bench,
    prompts: Sequence[PromptSet],
    methods: Sequence[Method],
    seeds: Sequence[int],
    *,
    progress: Progress = SILENT,
) -> dict[str, list[RunReadings]]:
    """`readings_of` for every run of an ablation; what is there already is read.

    Parameters
    ----------
    folder : Path
        Of the runs, all trained with ``sigma2: both``.
    bench : Bench
    prompts : sequence of PromptSet
    methods : sequence of Method
    seeds : sequence of int
    progress : Progress
        Counts runs.

    Returns
    -------
    dict of method key to list of RunReadings, in the order of the seeds
    """
    runs: dict[str, list[RunReadings]] = {}
    for done, (method, seed) in enumerate(itertools.product(methods, seeds), start=1):
        model = run_folder(folder, method, seed)
        path = model.with_suffix(".readings.npz")
        if not path.is_file():
            save_readings(path, readings_of(load_checkpoint(model), bench, prompts))
        runs.setdefault(method.key, []).append(load_readings(path))
        progress(done, len(methods) * len(seeds))
    return runs


def best_threshold(truth: BoolArray, margin: Floats) -> float:
    """Where yes begins, for the best balanced accuracy on these ECGs.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        With both classes.
    margin : ndarray, shape (n,)

    Returns
    -------
    float
        Halfway between two neighbouring margins.
    """
    order = np.argsort(margin, kind="stable")
    yes, sorted_margin = truth[order], margin[order]
    # Of a cut below row i: positives from i on are found, negatives before i are spared.
    found = 1.0 - np.concatenate([[0.0], np.cumsum(yes)]) / max(int(yes.sum()), 1)
    spared = np.concatenate([[0.0], np.cumsum(~yes)]) / max(int((~yes).sum()), 1)
    ends = np.concatenate([[sorted_margin[0] - 1.0], sorted_margin, [sorted_margin[-1] + 1.0]])
    cuts = 0.5 * (ends[:-1] + ends[1:])
    # Between equal margins no cut is possible.
    possible = np.concatenate([[True], np.diff(sorted_margin) > 0, [True]])
    return float(cuts[np.argmax(np.where(possible, found + spared, -1.0))])


def save_readings(path: Path, readings: RunReadings) -> None:
    """Write what one run said, so that a study that is cut off goes on.

    Parameters
    ----------
    path : Path
        ``.npz``.
    readings : RunReadings
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{field.name}|{key}": np.asarray(value)
        for field in dataclasses.fields(readings)
        for key, value in getattr(readings, field.name).items()
    }
    with replacing_file(path) as draft:
        np.savez(draft, **arrays)  # type: ignore[arg-type]


def load_readings(path: Path) -> RunReadings:
    """Read what `save_readings` wrote.

    Parameters
    ----------
    path : Path

    Returns
    -------
    RunReadings
    """
    gathered: dict[str, dict[str, Any]] = {f.name: {} for f in dataclasses.fields(RunReadings)}
    with np.load(path) as arrays:
        for name in arrays.files:
            field, key = name.split("|", 1)
            value = arrays[name]
            gathered[field][key] = float(value) if value.ndim == 0 else value
    return RunReadings(**gathered)


def _encode(
    checkpoint: Checkpoint, signal_mv: npt.NDArray[np.float32], valid: BoolArray
) -> tuple[GaussianEmbedding, dict[str, Floats]]:
    """Means, and the sum of sigma^2 by each of `READINGS`."""
    windows = encode_batch_terms(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid)
    assert windows.other_sigma2 is not None, "the model has one kind of sigma^2"
    joint = windows.embedding.uncertainty.astype(np.float64)
    displaced = windows.other_sigma2.astype(np.float64)
    both = (midranks(joint) + midranks(displaced)) / 2.0
    return windows.embedding, {JOINT: joint, DISPLACED: displaced, TOGETHER: both}


def _sums(checkpoint: Checkpoint, windows: Windows) -> dict[str, Floats]:
    return _encode(checkpoint, windows.signal_mv, windows.valid)[1]


def _ranks(checkpoint: Checkpoint, gallery: StudySet) -> dict[str, npt.NDArray[np.int64]]:
    """Ranks of the gallery's own ECG for each report, by every distance."""
    encoder = checkpoint.encoder
    assert isinstance(encoder, DualEncoder)
    reports = [str(text) for text in gallery.table["report"]]
    by_kind: dict[str, tuple[GaussianEmbedding, GaussianEmbedding]] = {}
    for reading, kind in ((JOINT, MATCHING), (DISPLACED, DISPLACEMENT)):
        with encoder.reading(kind):
            ecg = encode_batch(encoder.ecg, checkpoint.scaler, gallery.signal_mv, gallery.valid)
            by_kind[reading] = encode_texts(checkpoint, reports), ecg
    (text, ecg), (text_too, ecg_too) = by_kind[JOINT], by_kind[DISPLACED]
    by_kind[TOGETHER] = (
        GaussianEmbedding(text.mu, np.logaddexp(text.log_var, text_too.log_var)),
        GaussianEmbedding(ecg.mu, np.logaddexp(ecg.log_var, ecg_too.log_var)),
    )
    ranks = {
        f"{reading}|{hit}": text_to_ecg_ranks(*pair, reports, order=CSD, hit=hit)
        for reading, pair in by_kind.items()
        for hit in (EXACT_PAIR, SAME_TEXT)
    }
    for hit in (EXACT_PAIR, SAME_TEXT):
        ranks[f"{COSINE}|{hit}"] = text_to_ecg_ranks(text, ecg, reports, order=COSINE, hit=hit)
    return ranks


def _random_probes(checkpoint: Checkpoint, bench: Bench, shown: Shown) -> dict[str, Floats]:
    encoder, train = random_encoder(checkpoint), bench.training[shown.data]
    learnt = encode_batch(encoder, checkpoint.scaler, train.signal_mv, train.valid)
    studies = shown.held_out.studies
    tested = encode_batch(encoder, checkpoint.scaler, studies.signal_mv, studies.valid)
    logits = {}
    for label in shown.truth:
        column = f"label_{label}"
        if column not in train.table.columns:
            continue
        truth = train.table[column].to_numpy(dtype=np.float64)
        known = np.isfinite(truth)
        if np.unique(truth[known]).size == 2:
            probe = LinearProbe.fit(learnt.mu[known], truth[known] > 0.5)
            logits[f"{shown.data}|{label}"] = probe.logits(tested)[0]
    return logits


def _graded(folder: Path) -> tuple[Windows, BoolArray]:
    """Whole windows of recordings that people graded; those in which nothing moves are left out."""
    grades = read_grades(folder / "quality_labels.csv")
    signals, masks, names, bad = [], [], [], {}
    for name, header in find_records(folder, grades).items():
        judged = read_judged(header)
        if judged is None:
            continue
        _, ecg = judged
        for start in range(0, ecg.n_times - WINDOW_N + 1, WINDOW_N):
            signals.append(ecg.signal_mv[:, start : start + WINDOW_N])
            masks.append(ecg.valid[:, start : start + WINDOW_N])
            names.append(name)
            bad[name] = grades[name]
    groups = np.array(names)
    # In the order of `numpy.unique`, as `readings_of` averages.
    return Windows(np.stack(signals), np.stack(masks), groups), np.array(
        [bad[name] for name in np.unique(groups)], dtype=np.bool_
    )


def _ladders(fold_9: StudySet, nstdb: Path, n_ecgs: int) -> dict[str, Windows]:
    rows = clean_rows(fold_9, n_ecgs)
    signal_mv, valid = fold_9.signal_mv[rows], fold_9.valid[rows]
    people = np.asarray(fold_9.table["patient_id"].astype(str))[rows]
    steps = 1 + len(SNR_DB)
    ladders = {}
    for number, (name, noise) in enumerate(read_stress_noise(nstdb).items()):
        rng = np.random.default_rng([90_130, number])
        stretches = np.stack([lead_noise(noise, signal_mv.shape[1:], rng) for _ in signal_mv])
        doses = [signal_mv, *(with_noise(signal_mv, valid, stretches, db) for db in SNR_DB)]
        # (n_ecgs, 1 + n_strengths, 12, n_times), an ECG's doses in a row.
        stacked = np.stack(doses, axis=1)
        ladders[name] = Windows(
            stacked.reshape(-1, *signal_mv.shape[1:]),
            np.repeat(valid, steps, axis=0),
            np.repeat(people, steps),
        )
    return ladders
