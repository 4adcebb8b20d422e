"""Linear probes beside the prompts: what labels alone reach, on trained and on random encoders.

Prompts through a trained text encoder make an encoder with random weights look worthless, which
it is not: its features hold much of an ECG, and a logistic regression on them is the cheap rival
that a trained space must beat. Probes learn from PTB-XL's training folds, as the model did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.shipped.held_out import (
    PTBXL,
    RANDOM_WEIGHTS,
    SUPERCLASSES,
    HeldOut,
    random_encoder,
)
from echoing_core.metrics.bootstrap import patient_bootstrap
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import macro_auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.training.demo import PTBXL_TRAIN_FOLDS
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

N_SEEDS = 5
"""Random encoders, each with weights of its own."""

LABEL_SHARES = (0.01, 0.1, 1.0)

_TASK = "five superclasses"


def probe_results(
    checkpoint: Checkpoint,
    train: StudySet,
    test: HeldOut,
    prompts: Sequence[PromptSet],
    *,
    n_seeds: int = N_SEEDS,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> list[Result]:
    """Macro AUROC of the five superclasses by probes, and what prompting has on the random one.

    Parameters
    ----------
    checkpoint : Checkpoint
    train : StudySet
        Labelled ECGs for the probes, of patients that ``test`` has not.
    test : HeldOut
    prompts : sequence of PromptSet
        Among them those of the five superclasses.
    n_seeds : int
        Random encoders; their figures are averaged within every resample of the patients.
    n_resamples : int
        Of the patients.
    progress : Progress
        Counts encoders.

    Returns
    -------
    list of Result
        For each share of labels the trained encoder's and the random encoders' figure, then the
        paired difference of prompting and the random encoders' probe with all labels.
    """
    truth = _truth(test.studies)
    encoders: list[EcgEncoder] = [checkpoint.encoder.ecg]
    encoders += [random_encoder(checkpoint, seed) for seed in range(n_seeds)]
    # Of each share of labels: scores of every encoder, (n_encoders, n_ecgs, 5).
    scores: dict[float, list[Floats]] = {share: [] for share in LABEL_SHARES}
    for number, encoder in enumerate(encoders):
        progress(number, len(encoders))
        mu, mu_test = (
            encode_batch(encoder, checkpoint.scaler, one.signal_mv, one.valid).mu
            for one in (train, test.studies)
        )
        for share in LABEL_SHARES:
            # The same ECGs are labelled for the trained and the first random encoder.
            rows = labelled_rows(_truth(train), share, seed=max(number - 1, 0))
            scores[share].append(_probe_scores(mu[rows], _truth(train)[rows], mu_test))
    progress(len(encoders), len(encoders))

    def figure(task: str, metric: str, name: str, function: _Metric, arrays: _Arrays) -> Result:
        estimate = patient_bootstrap(function, arrays, test.patients, n_resamples=n_resamples)
        return Result(test.name, task, metric, name, estimate, test.simulated)

    results = []
    for share in LABEL_SHARES:
        trained, random = scores[share][0], np.stack(scores[share][1:], axis=1)
        task = f"{_TASK}, linear probe on {share:.0%} of the labels".replace("%", " %")
        results += [
            figure(task, "macro AUROC", checkpoint.name, macro_auroc, (truth, trained)),
            figure(task, "macro AUROC", RANDOM_WEIGHTS, _mean_macro_auroc, (truth, random)),
        ]
    prompted = _prompted(checkpoint, test.studies, prompts)
    results.append(
        figure(
            f"{_TASK}, prompting less the probe on random weights (100 % of the labels)",
            "macro AUROC, difference",
            checkpoint.name,
            _lead,
            (truth, prompted, np.stack(scores[1.0][1:], axis=1)),
        )
    )
    return results


_Arrays = tuple[npt.NDArray[np.generic], ...]
_Metric = Callable[..., float]


def on_ptbxl(
    checkpoint: Checkpoint,
    folder: Path,
    sets: Sequence[HeldOut],
    prompts: Sequence[PromptSet],
    *,
    n_resamples: int = 1000,
) -> list[Result]:
    """`probe_results` on PTB-XL, from the folds that the shipped model learns from.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : Path
        Of PTB-XL.
    sets : sequence of HeldOut
        That of PTB-XL among them.
    prompts : sequence of PromptSet
    n_resamples : int

    Returns
    -------
    list of Result
    """
    train = load_ptbxl(folder, folds=PTBXL_TRAIN_FOLDS)
    test = next(one for one in sets if one.name == PTBXL)
    return probe_results(checkpoint, train, test, prompts, n_resamples=n_resamples)


def labelled_rows(
    truth: npt.NDArray[np.bool_], share: float, *, seed: int
) -> npt.NDArray[np.int64]:
    """ECGs whose labels a probe is given.

    Parameters
    ----------
    truth : ndarray of bool, shape (n, n_classes)
    share : float
        Of all ECGs, rounded up; at least as many as it takes for every class to occur.
    seed : int

    Returns
    -------
    ndarray of int
        In increasing order.
    """
    order = np.random.default_rng(seed).permutation(len(truth))
    n = int(np.ceil(share * len(truth)))
    # A class that no labelled ECG has cannot be learnt: ECGs are added until each has one of both.
    while (
        n < len(truth) and not (truth[order[:n]].any(axis=0) & ~truth[order[:n]].all(axis=0)).all()
    ):
        n += 1
    return np.sort(order[:n])


def _probe_scores(
    mu: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_], mu_test: npt.NDArray[np.floating]
) -> Floats:
    probes = [LinearProbe.fit(mu, truth[:, k]) for k in range(truth.shape[1])]
    return np.stack([mu_test @ probe.weights + probe.bias for probe in probes], axis=1)


def _prompted(checkpoint: Checkpoint, studies: StudySet, prompts: Sequence[PromptSet]) -> Floats:
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, studies.signal_mv, studies.valid)
    asked = {prompt_set.label: prompt_set for prompt_set in prompts}
    return np.stack(
        [question_margins(checkpoint, ecg, asked[name])[0] for name in SUPERCLASSES], axis=1
    )


def _mean_macro_auroc(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> float:
    """Mean over encoders; scores of shape (n_ecgs, n_encoders, n_classes)."""
    return float(np.mean([macro_auroc(truth, scores[:, k]) for k in range(scores.shape[1])]))


def _lead(
    truth: npt.NDArray[np.bool_],
    prompted: npt.NDArray[np.floating],
    random: npt.NDArray[np.floating],
) -> float:
    return macro_auroc(truth, prompted) - _mean_macro_auroc(truth, random)


def _truth(studies: StudySet) -> npt.NDArray[np.bool_]:
    columns = [studies.table[f"label_{name}"].to_numpy(dtype=bool) for name in SUPERCLASSES]
    return np.stack(columns, axis=1)
