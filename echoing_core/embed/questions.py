"""A question in words and embedded ECGs -> the margin of every ECG."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from echoing_core.embed.encode import encode_texts
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]


def encode_sides(
    checkpoint: Checkpoint, question: PromptSet
) -> tuple[GaussianEmbedding, GaussianEmbedding]:
    """Embed the prompts of a question.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its text encoder embeds the prompts.
    question : PromptSet

    Returns
    -------
    yes, no : GaussianEmbedding
        One row a prompt.
    """
    # Side by side, never in one batch: the padding to the longest prompt would change last bits.
    return encode_texts(checkpoint, question.positive), encode_texts(checkpoint, question.negative)


def question_margins(
    checkpoint: Checkpoint, ecg: GaussianEmbedding, question: PromptSet
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the margin z . (p - n) of each ECG for one question.

    The ECGs may have been embedded by another encoder than the checkpoint's own, such as one with
    random weights; the prompts always go through the checkpoint's text encoder.

    Parameters
    ----------
    checkpoint : Checkpoint
    ecg : GaussianEmbedding, n rows
    question : PromptSet

    Returns
    -------
    margin, margin_std : ndarray, shape (n,)
        The answer is yes where the margin is positive.

    Raises
    ------
    ConfigError
        The prompts of one side cancel out.
    """
    return closed_form.margins(ecg, *encode_sides(checkpoint, question))
