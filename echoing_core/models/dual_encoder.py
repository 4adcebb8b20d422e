"""Both encoders side by side."""

from __future__ import annotations

from torch import nn

from echoing_core.config import ModelConfig
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.text_encoder import TextEncoder


class DualEncoder(nn.Module):
    """ECG and text encoders that embed into one space of ``config.dim`` dimensions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.ecg = CompactEcgEncoder(config.ecg, config.dim, config.log_var_bias)
        self.text = TextEncoder(config.text, config.dim, config.log_var_bias)
