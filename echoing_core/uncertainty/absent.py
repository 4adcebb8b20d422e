"""The model folder of an encoder of ECGs alone: every file is there, and two say nothing.

A folder has a vocabulary and a reference of sigma^2. Of a model without texts and sigma^2 the first
holds no word, and the second one constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.models.checkpoint import save_checkpoint, update_documents
from echoing_core.models.config import ModelConfig
from echoing_core.models.frozen import FrozenEncoder
from echoing_core.models.tokenizer import train_tokenizer
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


def save_ecg_only(
    folder: Path,
    encoder: FrozenEncoder,
    training: Mapping[str, Any],
    card: Callable[[str], str],
    *,
    filter_padding: str = LONG_PADDING,
) -> str:
    """Write the folder and return the model's hash.

    Parameters
    ----------
    folder : Path
        An older model of that name is replaced.
    encoder : FrozenEncoder
    training : mapping
        What it was trained on, and how; JSON.
    card : callable
        From the hash to the card as Markdown.
    filter_padding : str
        See `models.checkpoint.Checkpoint`.

    Returns
    -------
    str
    """
    model_hash = save_checkpoint(
        folder,
        encoder=encoder,
        # Nothing is ever read with it.
        tokenizer=train_tokenizer([], vocab_size=0, max_tokens=2),
        scaler=UNSCALED,
        # Of answers in words, of which there are none.
        logit_scale=1.0,
        reference=absent_reference(encoder.config).to_dict(),
        training=training,
        # The card names the hash, which is known only once the folder is written.
        card="",
        filter_padding=filter_padding,
    )
    update_documents(folder, card=card(model_hash))
    return model_hash
