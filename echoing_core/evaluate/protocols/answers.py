"""Answers to yes/no questions by a frozen encoder, and their figures for all ECGs and for halves.

Two ways to answer: by prompts alone (zero-shot), and by a linear probe on means (few-shot). Each
gives a score for every test ECG, yes where it is positive; `Scored` measures such scores, whoever
made them, for all ECGs and for the surer and less sure ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.questions import encode_sides, question_margins
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    patient_subset,
    patients_of,
    truth_of,
)
from echoing_core.evaluate.protocols.settings import ZERO_SHOT
from echoing_core.metrics.bootstrap import patient_bootstrap_over_seeds
from echoing_core.metrics.nearest import K, nearest_share, share_logit
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.results import ALL, Result
from echoing_core.metrics.scores import auroc, balanced_accuracy, binary_entropy, median_split
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.config import ABSENT, UNTAUGHT
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.zeroshot.prompts import PromptSet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

LOW, HIGH, GAP = "low", "high", "low - high"
BALANCED_ACCURACY, AUROC = "balanced accuracy", "AUROC"

FEW_SHOT_10, FEW_SHOT_100 = "10 % probe", "100 % probe"
FROZEN_PROBE, FINE_TUNED = "frozen probe", "fine-tuned"
NEIGHBOURS = f"{K} nearest"

SHARES: Mapping[str, float] = {FEW_SHOT_10: 0.1, FEW_SHOT_100: 1.0}
"""Of the training patients, by which probe."""

BY_SIGMA2 = "median of sigma^2"
BY_ENTROPY = "entropy at 0.5 bit"
ENTROPY_LIMIT_BIT = 0.5


def is_deterministic(checkpoint: Checkpoint) -> bool:
    """Whether nothing ever taught the model's sigma^2, or it has none.

    The loss ``infonce`` knows means alone; a second stage may have taught the variance after it.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its training record says so.

    Returns
    -------
    bool
    """
    return checkpoint.sigma2_taught_by in (UNTAUGHT, ABSENT)


def surer(ecg: GaussianEmbedding, logit: Floats, *, by_entropy: bool) -> BoolArray:
    """True for the ECGs that the article's tables call low uncertainty.

    Parameters
    ----------
    ecg : GaussianEmbedding, n rows
    logit : ndarray, shape (n,)
        Of the answer yes.
    by_entropy : bool
        A model without sigma^2 is split by the entropy of its answer,
        H = -p log2 p - (1 - p) log2(1 - p): low up to `ENTROPY_LIMIT_BIT`. The article prints H
        without its minus sign, under which no answer would be above 0.5. Any other model is split
        at the median of its sum of sigma^2, ties to the low half.

    Returns
    -------
    ndarray of bool, shape (n,)

    References
    ----------
    EchoingECG, section 3 and the footnotes of Table 2.
    """
    if by_entropy:
        return np.asarray(binary_entropy(logit) <= ENTROPY_LIMIT_BIT)
    return median_split(ecg.uncertainty)


def halves_among_known(
    ecg: GaussianEmbedding, logit: Floats, truth: Floats, *, by_entropy: bool
) -> BoolArray:
    """`surer`, with the median taken over the ECGs whose true answer is known.

    Parameters
    ----------
    ecg, logit, by_entropy
        As in `surer`.
    truth : ndarray, shape (n,)
        NaN where the answer is not known.

    Returns
    -------
    ndarray of bool, shape (n,)
        False where the answer is not known.
    """
    known = np.isfinite(truth)
    low = np.zeros(len(ecg), dtype=bool)
    low[known] = surer(ecg[known], logit[known], by_entropy=by_entropy)
    return low


@dataclass(frozen=True)
class Place:
    """Where figures belong.

    Attributes
    ----------
    data, model, task, label, protocol, simulated, split
        As in `Result`.
    """

    data: str
    model: str
    task: str
    label: str
    protocol: str
    simulated: bool
    split: str


@dataclass(frozen=True, eq=False)
class Scored:
    """What one way of answering one question gave, before it is measured.

    Attributes
    ----------
    place : Place
    truth : ndarray, shape (n,)
        0, 1 or NaN; ECGs whose answer is not known are left out.
    scores : sequence of ndarray, shape (n,)
        For each seed the score of each ECG; yes where it is positive.
    low : sequence of ndarray of bool, shape (n,)
        For each seed, which ECGs are the surer ones. The halves are those of the whole test set in
        every resample.
    patients : ndarray of str, shape (n,)
    """

    place: Place
    truth: npt.NDArray[Any]
    scores: Sequence[Floats]
    low: Sequence[BoolArray]
    patients: npt.NDArray[np.str_]

    @classmethod
    def of(
        cls,
        data: EvaluationData,
        model: str,
        question: PromptSet,
        protocol: str,
        ecg: GaussianEmbedding,
        scores: Sequence[Floats],
        *,
        by_entropy: bool,
        logit_scale: float = 1.0,
    ) -> Scored:
        """Scores of the test split, with its truth and halves.

        Parameters
        ----------
        data : EvaluationData
        model : str
            How tables call the encoder.
        question : PromptSet
        protocol : str
        ecg : GaussianEmbedding
            The test split; of a tuned encoder, as it was before tuning.
        scores : sequence of ndarray, shape (n,)
            One for each seed.
        by_entropy : bool
            As in `surer`.
        logit_scale : float
            Turns a score into a logit.

        Returns
        -------
        Scored
        """
        # Questions come from `questions_of`, which gives only those with a label.
        test, label = data.split("test"), str(question.label)
        truth = truth_of(test, label)
        split = BY_ENTROPY if by_entropy else BY_SIGMA2
        return cls(
            Place(data.name, model, question.question, label, protocol, data.simulated, split),
            truth,
            scores,
            [
                halves_among_known(ecg, logit_scale * score, truth, by_entropy=by_entropy)
                for score in scores
            ],
            patients_of(test),
        )

    def results(self, *, n_resamples: int) -> list[Result]:
        """Balanced accuracy at score > 0 and AUROC: all, low, high, and the gap of the halves.

        Parameters
        ----------
        n_resamples : int
            Of the patients; seeds are drawn with them.

        Returns
        -------
        list of Result
            One for each metric and group.
        """
        known = np.isfinite(self.truth)
        yes = self.truth[known] > 0.5
        per_seed = [
            (yes, score[known], low[known])
            for score, low in zip(self.scores, self.low, strict=True)
        ]
        # A probe's halves by entropy differ from seed to seed, so their size is a mean.
        n_low = round(float(np.mean([low.sum() for _, _, low in per_seed])))
        sizes = {ALL: yes.size, LOW: n_low, HIGH: yes.size - n_low, GAP: yes.size}
        estimates = patient_bootstrap_over_seeds(
            _by_group, per_seed, self.patients[known], n_resamples=n_resamples
        )
        by_seed = [_by_group(*arrays) for arrays in per_seed]
        results = []
        for name, estimate in estimates.items():
            # The bootstrap knows flat names only.
            metric, group = name.split("|")
            results.append(
                Result(
                    **asdict(self.place),
                    metric=metric,
                    estimate=estimate,
                    group=group,
                    n_group=sizes[group],
                    n_seeds=len(per_seed),
                    per_seed=tuple(one[name] for one in by_seed),
                )
            )
        return results

    def minus(self, other: Scored, name: str, *, n_resamples: int) -> list[Result]:
        """Both figures of all ECGs minus those of ``other``, paired by patient and by seed.

        Parameters
        ----------
        other : Scored
            The same ECGs and question, with as many seeds.
        name : str
            What the difference is called, in the place of the protocol.
        n_resamples : int

        Returns
        -------
        list of Result
            One for each metric.
        """
        known = np.isfinite(self.truth)
        yes = self.truth[known] > 0.5
        per_seed = [
            (yes, one[known], two[known])
            for one, two in zip(self.scores, other.scores, strict=True)
        ]
        estimates = patient_bootstrap_over_seeds(
            _differences, per_seed, self.patients[known], n_resamples=n_resamples
        )
        # The estimate is the mean over seeds; the single ones are kept for the JSON.
        by_seed = [_differences(*arrays) for arrays in per_seed]
        # A difference stands where its first term would, under the name of the comparison.
        place = asdict(self.place) | {"protocol": name}
        return [
            Result(
                **place,
                metric=metric,
                estimate=estimate,
                n_group=yes.size,
                n_seeds=len(per_seed),
                per_seed=tuple(one[metric] for one in by_seed),
            )
            for metric, estimate in estimates.items()
        ]


def differences(
    scored: Sequence[Scored], *, model: str, control: str, n_resamples: int
) -> list[Result]:
    """What a model gains over its control, protocol by protocol, and tuning over its own probe.

    Parameters
    ----------
    scored : sequence of Scored
    model, control : str
        As tables call the two encoders.
    n_resamples : int

    Returns
    -------
    list of Result
        ``protocol`` tells what is subtracted from what.
    """
    # One way of answering stands once for each encoder, so its partner is found by name.
    by_place = {(s.place.label, s.place.protocol, s.place.model): s for s in scored}
    gains: list[Result] = []
    for (label, protocol, name), one in by_place.items():
        other = by_place.get((label, protocol, control))
        if name == model and other is not None:
            gains += one.minus(other, f"{protocol}: {model} - {control}", n_resamples=n_resamples)
        probe = by_place.get((label, FROZEN_PROBE, name))
        if protocol == FINE_TUNED and probe is not None:
            gains += one.minus(
                probe, f"{name}: {FINE_TUNED} - {FROZEN_PROBE}", n_resamples=n_resamples
            )
    return gains


def zero_shot(
    checkpoint: Checkpoint,
    name: str,
    ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    *,
    by_entropy: bool,
) -> list[Scored]:
    """Zero-shot margins of the test split, for each question.

    Parameters
    ----------
    checkpoint : Checkpoint
        Embeds the prompts.
    name : str
        How tables call the encoder that made ``ecg``.
    ecg : GaussianEmbedding
        The test split.
    data : EvaluationData
    questions : sequence of PromptSet
        Each with a label.
    by_entropy : bool
        As in `surer`.

    Returns
    -------
    list of Scored
        None where the checkpoint has no text encoder.
    """
    if not checkpoint.has_text:
        return []
    return [
        Scored.of(
            data,
            name,
            question,
            ZERO_SHOT,
            ecg,
            [question_margins(checkpoint, ecg, question)[0]],
            by_entropy=by_entropy,
            logit_scale=checkpoint.logit_scale,
        )
        for question in questions
    ]


def few_shot(
    name: str,
    train_ecg: GaussianEmbedding,
    test_ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    *,
    n_seeds: int,
    by_entropy: bool,
) -> list[Scored]:
    """Logits of probes on the test split, for each question.

    The 10 % are drawn by patient, stratified by the label, once for every seed. With all patients
    there is nothing to draw, and logistic regression has one solution: one fit. Means are
    standardised by the training ECGs of the probe alone, in `LinearProbe.fit`.

    Parameters
    ----------
    name : str
        How tables call the encoder that made the embeddings.
    train_ecg, test_ecg : GaussianEmbedding
        The splits, by one frozen encoder.
    data : EvaluationData
    questions : sequence of PromptSet
    n_seeds : int
        Draws of the 10 %.
    by_entropy : bool
        As in `surer`.

    Returns
    -------
    list of Scored
        None for a question of which the training ECGs have one answer only.
    """
    train = data.split("train")
    scored: list[Scored] = []
    for question in questions:
        answers = truth_of(train, str(question.label))
        # An unknown answer is not a no.
        usable = np.isfinite(answers)
        if np.unique(answers[usable]).size < 2:
            logger.warning(
                "%s: only one class of it among the training ECGs; left out", question.label
            )
            continue
        mu, yes, people = train_ecg.mu[usable], answers[usable] > 0.5, patients_of(train)[usable]
        for protocol, share in SHARES.items():
            scores = [
                probe_scores(mu, yes, people, test_ecg, share=share, seed=seed)
                # All patients: nothing to draw, and one solution.
                for seed in range(n_seeds if share < 1.0 else 1)
            ]
            scored.append(
                Scored.of(data, name, question, protocol, test_ecg, scores, by_entropy=by_entropy)
            )
    return scored


def by_nearest(
    name: str,
    train_ecg: GaussianEmbedding,
    test_ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    *,
    by_entropy: bool,
) -> list[Scored]:
    """What most of the nearest training ECGs are, for each ECG of the test split and question.

    Parameters
    ----------
    name, train_ecg, test_ecg, data, questions, by_entropy
        As in `few_shot`.

    Returns
    -------
    list of Scored
        None for a question of which the training ECGs have one answer only.
    """
    scored: list[Scored] = []
    for question in questions:
        answers = truth_of(data.split("train"), str(question.label))
        usable = np.isfinite(answers)
        if np.unique(answers[usable]).size < 2:
            logger.warning(
                "%s: only one class of it among the training ECGs; left out", question.label
            )
            continue
        share = nearest_share(train_ecg.mu[usable], answers[usable] > 0.5, test_ecg.mu)
        score = share_logit(share, min(K, int(usable.sum())))
        scored.append(
            Scored.of(data, name, question, NEIGHBOURS, test_ecg, [score], by_entropy=by_entropy)
        )
    return scored


def full_probes(
    train_ecg: GaussianEmbedding, train: StudySet, questions: Sequence[PromptSet]
) -> list[tuple[PromptSet, LinearProbe]]:
    """The probes from all training patients, those of `FEW_SHOT_100`.

    Parameters
    ----------
    train_ecg : GaussianEmbedding
        The training split, by one frozen encoder.
    train : StudySet
    questions : sequence of PromptSet

    Returns
    -------
    list of (PromptSet, LinearProbe)
        Without questions of which the training ECGs have one answer only.
    """
    probes = []
    for question in questions:
        answers = truth_of(train, str(question.label))
        usable = np.isfinite(answers)
        if np.unique(answers[usable]).size == 2:
            probe = LinearProbe.fit(train_ecg.mu[usable], answers[usable] > 0.5)
            probes.append((question, probe))
    return probes


def probe_scores(
    train_mu: npt.NDArray[np.float32],
    labels: BoolArray,
    patients: npt.NDArray[np.str_],
    test_ecg: GaussianEmbedding,
    *,
    share: float,
    seed: int,
) -> Floats:
    """Logit of each test ECG, by a probe from a share of the training patients.

    Parameters
    ----------
    train_mu : ndarray, shape (n_train, dim)
    labels : ndarray of bool, shape (n_train,)
    patients : ndarray of str, shape (n_train,)
    test_ecg : GaussianEmbedding, n_test rows
    share : float, 0 < share <= 1
    seed : int
        Of the draw.

    Returns
    -------
    ndarray, shape (n_test,)
    """
    rows = patient_subset(patients, labels, share, np.random.default_rng(seed))
    return LinearProbe.fit(train_mu[rows], labels[rows]).logits(test_ecg)[0]


@dataclass(frozen=True)
class PromptSpread:
    """How much a zero-shot figure hangs on the wording: over all pairs of one yes and one no.

    Attributes
    ----------
    data, model, task, label, metric : str
        As in `Result`.
    low, median, high : float
    n_pairs : int
    """

    data: str
    model: str
    task: str
    label: str
    metric: str
    low: float
    median: float
    high: float
    n_pairs: int


def prompt_spread(
    checkpoint: Checkpoint,
    name: str,
    ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
) -> list[PromptSpread]:
    """Measure every single pair of one prompt for yes and one for no: least to greatest figure.

    A pair uses one wording where the shipped question averages several. The spread is no interval:
    it tells how much a figure could be moved by choosing words.

    Parameters
    ----------
    checkpoint : Checkpoint
        Embeds the prompts.
    name : str
        How tables call the encoder that made ``ecg``.
    ecg : GaussianEmbedding
        The test split.
    data : EvaluationData
    questions : sequence of PromptSet
        Each with a label.

    Returns
    -------
    list of PromptSpread
        Two a question, one for each metric.
    """
    test = data.split("test")
    spreads = []
    for question in questions:
        truth = truth_of(test, str(question.label))
        known = np.isfinite(truth)
        label = truth[known] > 0.5
        # Single prompts are unit vectors as they are; only their mean would need its norm restored.
        mu = ecg.mu[known].astype(np.float64)
        yes, no = (mu @ side.mu.astype(np.float64).T for side in encode_sides(checkpoint, question))
        # Shape (n_known,) each: mu . (p - n) for one wording of yes and one of no.
        pairs = [p - n for p in yes.T for n in no.T]
        for metric, values in (
            # No bootstrap: this is a spread over wordings on one fixed set of ECGs.
            (BALANCED_ACCURACY, [balanced_accuracy(label, margin > 0) for margin in pairs]),
            (AUROC, [auroc(label, margin) for margin in pairs]),
        ):
            spreads.append(
                PromptSpread(
                    data.name,
                    name,
                    question.question,
                    str(question.label),
                    metric,
                    low=float(np.min(values)),
                    median=float(np.median(values)),
                    high=float(np.max(values)),
                    n_pairs=len(pairs),
                )
            )
    return spreads


def _by_group(truth: BoolArray, score: Floats, low: BoolArray) -> dict[str, float]:
    """Figures by ``metric|group``."""
    figures: dict[str, float] = {}
    groups = {ALL: np.ones(truth.shape, dtype=bool), LOW: low, HIGH: ~low}
    for metric in (BALANCED_ACCURACY, AUROC):
        for group, rows in groups.items():
            figures[f"{metric}|{group}"] = metric_of(metric, truth[rows], score[rows])
        # Within the resample, so that the interval of the gap is that of a paired difference.
        figures[f"{metric}|{GAP}"] = figures[f"{metric}|{LOW}"] - figures[f"{metric}|{HIGH}"]
    return figures


def _differences(truth: BoolArray, one: Floats, other: Floats) -> dict[str, float]:
    return {
        metric: metric_of(metric, truth, one) - metric_of(metric, truth, other)
        for metric in (BALANCED_ACCURACY, AUROC)
    }


def metric_of(metric: str, truth: BoolArray, score: Floats) -> float:
    """Balanced accuracy at score > 0, or AUROC.

    Parameters
    ----------
    metric : str
        `BALANCED_ACCURACY` or `AUROC`.
    truth : ndarray of bool, shape (n,)
    score : ndarray, shape (n,)

    Returns
    -------
    float
        NaN where there are not both classes.
    """
    # In a resample a half may be empty.
    if truth.size == 0:
        return float("nan")
    return auroc(truth, score) if metric == AUROC else balanced_accuracy(truth, score > 0)
