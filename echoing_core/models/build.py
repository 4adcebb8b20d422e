"""From a configuration to a model: the compact encoders or the published ones."""

from __future__ import annotations

from torch import nn

from echoing_core.models.bert_text import BertTextEncoder
from echoing_core.models.config import ModelConfig
from echoing_core.models.dual_encoder import DualEncoder
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.released_ecg import ReleasedEcgEncoder


class ReleasedDualEncoder(nn.Module):
    """The published ECG and text encoders, side by side in ``config.dim`` dimensions.

    They have no parts of sigma^2 by lead or moment, and no measure of novelty.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.ecg = ReleasedEcgEncoder(config.released_ecg, config.dim, config.log_var_bias)
        self.text = BertTextEncoder(config.released_text, config.dim, config.log_var_bias)


Encoder = DualEncoder | ReleasedDualEncoder
EcgEncoder = CompactEcgEncoder | ReleasedEcgEncoder


def build_ecg_encoder(config: ModelConfig) -> EcgEncoder:
    """The ECG half of `build_encoder`, with the weights that it would have there."""
    if config.architecture == "compact":
        return CompactEcgEncoder(config.ecg, config.dim)
    return ReleasedEcgEncoder(config.released_ecg, config.dim, config.log_var_bias)


def build_encoder(config: ModelConfig) -> Encoder:
    """The model that a configuration describes, with new weights.

    Returns
    -------
    DualEncoder or ReleasedDualEncoder
        Both have ``config``, ``ecg(scaled, valid)`` and ``text(token_ids, attention_mask)``, which
        give (mu, log_var) of shape (batch, dim). Only the first tells leads and moments apart.
    """
    return DualEncoder(config) if config.architecture == "compact" else ReleasedDualEncoder(config)
