"""The model folder of an encoder without sigma^2: every file is there, and some say nothing.

A folder has a reference of sigma^2, which then holds one constant; and a vocabulary, which holds no
word where the model reads ECGs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.models.checkpoint import save_checkpoint, update_documents
from echoing_core.models.config import ModelConfig
from echoing_core.models.frozen import FrozenEncoder
from echoing_core.models.melp import MelpEncoder
from echoing_core.models.tokenizer import ReportTokenizer, train_tokenizer
from echoing_core.records import LEADS, LONG_PADDING
from echoing_core.signals.scaling import LeadScaler
from echoing_core.uncertainty.reference import Reference

UNSCALED = LeadScaler((0.0,) * len(LEADS), (1.0,) * len(LEADS))
"""The network scales by itself."""


def absent_reference(config: ModelConfig) -> Reference:
    """What every ECG of a model without sigma^2 gets, as a reference.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    Reference
    """
    # As `GaussianEmbedding.uncertainty` sums it.
    constant = np.exp(np.full(config.dim, config.log_var_bias, np.float32).astype(np.float64)).sum()
    return Reference.from_values(
        np.array([constant]), name="one constant, for this model has no sigma^2"
    )


def save_without_sigma2(
    folder: Path,
    encoder: FrozenEncoder | MelpEncoder,
    training: Mapping[str, Any],
    card: Callable[[str], str],
    *,
    tokenizer: ReportTokenizer | None = None,
    logit_scale: float = 1.0,
    filter_padding: str = LONG_PADDING,
) -> str:
    """Write the folder and return the model's hash.

    Parameters
    ----------
    folder : Path
        An older model of that name is replaced.
    encoder : FrozenEncoder or MelpEncoder
    training : mapping
        What it was trained on, and how; JSON.
    card : callable
        From the hash to the card as Markdown.
    tokenizer : ReportTokenizer, optional
        Of a model that reads texts.
    logit_scale : float
        Of its answers in words.
    filter_padding : str
        See `models.checkpoint.Checkpoint`.

    Returns
    -------
    str
    """
    model_hash = save_checkpoint(
        folder,
        encoder=encoder,
        # A model of ECGs alone reads nothing with it.
        tokenizer=tokenizer or train_tokenizer([], vocab_size=0, max_tokens=2),
        scaler=UNSCALED,
        logit_scale=logit_scale,
        reference=absent_reference(encoder.config).to_dict(),
        training=training,
        # The card names the hash, which is known only once the folder is written.
        card="",
        filter_padding=filter_padding,
    )
    update_documents(folder, card=card(model_hash))
    return model_hash
