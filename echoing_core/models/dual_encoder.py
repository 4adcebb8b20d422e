"""Both encoders side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echoing_core.models.config import ModelConfig
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.text_encoder import TextEncoder


class DualEncoder(nn.Module):
    """ECG and text encoders that embed into one space of ``config.dim`` dimensions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.ecg = CompactEcgEncoder(config.ecg, config.dim)
        self.text = TextEncoder(config.text, config.dim, config.log_var_bias)

    def renew_variance(self) -> None:
        """Both variance heads as if never trained, in place; the means stay as they are."""
        fresh = DualEncoder(self.config)
        self.ecg.variance_head.load_state_dict(fresh.ecg.variance_head.state_dict())
        self.text.variance_head.load_state_dict(fresh.text.variance_head.state_dict())

    def rotate(self, axes: Tensor) -> None:
        """Turn the space, in place: column k of ``axes`` becomes dimension k.

        Distances and cosines between means stay as they are, whatever the rotation. A diagonal
        sigma^2 does not: it can only be narrow in one direction and wide in another if these are
        axes.

        Parameters
        ----------
        axes : Tensor, shape (dim, dim)
            Orthogonal.
        """
        with torch.no_grad():
            for linear in (self.ecg.mean_head.out, self.text.mean):
                linear.weight.copy_(axes.T @ linear.weight)
                linear.bias.copy_(axes.T @ linear.bias)
