"""Questions answered without training for them, and how much that hangs on the wording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_texts
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    embed_ecgs,
    patients_of,
    truth_of,
)
from echoing_core.evaluate.protocols.results import (
    AUROC,
    BALANCED_ACCURACY,
    ZERO_SHOT,
    Place,
    PromptSpread,
    Scored,
)
from echoing_core.evaluate.protocols.splits import BY_ENTROPY, BY_SIGMA2, surer
from echoing_core.metrics.scores import auroc, balanced_accuracy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]


def zero_shot_scores(
    checkpoint: Checkpoint,
    studies: StudySet,
    prompt_sets: Sequence[PromptSet],
    *,
    encoder: EcgEncoder | None = None,
) -> dict[str, Floats]:
    """Margin of every ECG for every question: mu . (p - n), yes where it is positive.

    Parameters
    ----------
    studies : StudySet, n rows
    prompt_sets : sequence of PromptSet
        Each with a label.
    encoder : EcgEncoder, optional
        Another ECG encoder than the model's own, such as one with random weights.

    Returns
    -------
    dict of label to ndarray, shape (n,)
    """
    ecg = embed_ecgs(encoder or checkpoint.encoder.ecg, checkpoint.scaler, studies)
    return margins_of(checkpoint, ecg, prompt_sets)


def margins_of(
    checkpoint: Checkpoint, ecg: GaussianEmbedding, prompt_sets: Sequence[PromptSet]
) -> dict[str, Floats]:
    """`zero_shot_scores` of ECGs that are embedded already."""
    found = {}
    for item in prompt_sets:
        yes, no = (encode_texts(checkpoint, side) for side in (item.positive, item.negative))
        found[str(item.label)] = closed_form.margins(ecg, yes, no)[0]
    return found


def zero_shot(
    checkpoint: Checkpoint,
    name: str,
    ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    *,
    deterministic: bool,
) -> list[Scored]:
    """Zero-shot margins of the test split, for each question.

    Parameters
    ----------
    name : str
        How tables call the encoder that made ``ecg``.
    ecg : GaussianEmbedding
        The test split.
    """
    test = data.split("test")
    found: list[Scored] = []
    for item, margin in zip(
        questions, margins_of(checkpoint, ecg, questions).values(), strict=True
    ):
        truth = truth_of(test, str(item.label))
        low = halves_among_known(
            ecg, checkpoint.logit_scale * margin, truth, deterministic=deterministic
        )
        place = Place(
            data.name,
            name,
            item.question,
            str(item.label),
            ZERO_SHOT,
            data.simulated,
            BY_ENTROPY if deterministic else BY_SIGMA2,
        )
        found.append(Scored(place, truth, [margin], [low], patients_of(test)))
    return found


def halves_among_known(
    ecg: GaussianEmbedding, logit: Floats, truth: Floats, *, deterministic: bool
) -> npt.NDArray[np.bool_]:
    """`surer`, with the median taken over the ECGs whose true answer is known; False elsewhere."""
    known = np.isfinite(truth)
    low = np.zeros(len(ecg), dtype=bool)
    low[known] = surer(ecg[known], logit[known], deterministic=deterministic)
    return low


def prompt_spread(
    checkpoint: Checkpoint,
    name: str,
    ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
) -> list[PromptSpread]:
    """The figures of every single pair of one prompt for yes and one for no: least to greatest.

    A pair uses one wording where the shipped question averages several. The spread is no interval:
    it tells how much a figure could be moved by choosing words.
    """
    test = data.split("test")
    found = []
    for item in questions:
        truth = truth_of(test, str(item.label))
        known = np.isfinite(truth)
        label = truth[known] > 0.5
        mu = ecg.mu[known].astype(np.float64)
        yes, no = (
            mu @ encode_texts(checkpoint, side).mu.astype(np.float64).T
            for side in (item.positive, item.negative)
        )
        pairs = [p - n for p in yes.T for n in no.T]
        for metric, values in (
            (BALANCED_ACCURACY, [balanced_accuracy(label, margin > 0) for margin in pairs]),
            (AUROC, [auroc(label, margin) for margin in pairs]),
        ):
            found.append(
                PromptSpread(
                    data.name,
                    name,
                    item.question,
                    str(item.label),
                    metric,
                    low=float(np.min(values)),
                    median=float(np.median(values)),
                    high=float(np.max(values)),
                    n_pairs=len(pairs),
                )
            )
    return found
