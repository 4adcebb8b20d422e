"""Which ECGs a figure is about: surer and less sure ones, and subsets of training patients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.uncertainty.selective_tasks import binary_entropy
from echoing_core.metrics.scores import median_split
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import BoolArray, GaussianEmbedding

Floats = npt.NDArray[np.float64]

BY_SIGMA2 = "median of sigma^2"
BY_ENTROPY = "entropy at 0.5 bit"
ENTROPY_LIMIT_BIT = 0.5


def is_deterministic(checkpoint: Checkpoint) -> bool:
    """Whether nothing ever taught the model's sigma^2.

    The loss ``infonce`` knows means alone; a second stage may have taught the variance after it.
    """
    training = checkpoint.training
    config = training.get("config", {})
    means_alone = config.get("loss", {}).get("name") == "infonce"
    second_stage = training.get("second_stage") is not None or config.get("variance_steps", 0) > 0
    return bool(means_alone and not second_stage)


def surer(ecg: GaussianEmbedding, logit: Floats, *, deterministic: bool) -> BoolArray:
    """True for the ECGs that the paper's tables call low uncertainty, shape (n,).

    Parameters
    ----------
    ecg : GaussianEmbedding, n rows
    logit : ndarray, shape (n,)
        Of the answer yes.
    deterministic : bool
        A model without sigma^2 is split by the entropy of its answer,
        H = -p log2 p - (1 - p) log2(1 - p): low up to `ENTROPY_LIMIT_BIT`. The paper prints H
        without its minus sign, under which no answer would be above 0.5. Any other model is split
        at the median of its sum of sigma^2, ties to the low half.

    References
    ----------
    EchoingECG, section 3 and the footnotes of Table 2.
    """
    if deterministic:
        return np.asarray(binary_entropy(np.asarray(logit)) <= ENTROPY_LIMIT_BIT)
    return median_split(ecg.uncertainty)


def patient_subset(
    patients: npt.NDArray[np.str_], positive: BoolArray, share: float, rng: np.random.Generator
) -> BoolArray:
    """Rows of a share of the patients, drawn apart among those with and without the finding.

    Parameters
    ----------
    patients : ndarray of str, shape (n,)
    positive : ndarray of bool, shape (n,)
        A patient has the finding if any of the patient's ECGs has it.
    share : float, 0 < share <= 1
        Of the patients, rounded to whole ones, and at least one of each kind that there is.
    rng : Generator

    Returns
    -------
    ndarray of bool, shape (n,)
        All the rows of the patients drawn.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a share of the patients lies above 0 and up to 1, not at {share}")
    names, code = np.unique(patients, return_inverse=True)
    found = np.bincount(code, weights=positive, minlength=len(names)) > 0
    drawn = np.zeros(len(names), dtype=bool)
    for stratum in (np.flatnonzero(found), np.flatnonzero(~found)):
        if stratum.size:
            n = max(1, round(share * stratum.size))
            drawn[rng.permutation(stratum)[:n]] = True
    return np.asarray(drawn[code])
