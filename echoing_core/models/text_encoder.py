"""Report and prompt text -> Gaussian in the shared space, by a small BERT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.models.config import TextEncoderConfig
from echoing_core.models.gaussian_head import LOG_VAR_RANGE
from echoing_core.models.torchvision_ops import declare_missing_operators


class TextEncoder(nn.Module):
    """A BERT whose token states are averaged into a mean and a log-variance.

    Parameters
    ----------
    config : TextEncoderConfig
    dim : int
        Dimension of the shared space.
    log_var_bias : float
        Start of the log-variance output. With 0 the summed variance would start at ``dim``
        and drown the distance between means.
    """

    def __init__(self, config: TextEncoderConfig, dim: int, log_var_bias: float) -> None:
        super().__init__()
        self.backbone: Any = _small_bert(config)
        self.mean = nn.Linear(2 * config.hidden, dim)
        last = nn.Linear(config.hidden, dim)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(last.bias, log_var_bias)
        self.variance_head = nn.Sequential(
            nn.LayerNorm(2 * config.hidden),
            nn.Linear(2 * config.hidden, config.hidden),
            nn.GELU(),
            last,
        )

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim), from int64 tokens of shape (batch, n_tokens)."""
        return self.from_states(self.states(token_ids, attention_mask), attention_mask)

    def states(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token states of the backbone, shape (batch, n_tokens, hidden)."""
        states: Tensor = self.backbone(
            input_ids=token_ids, attention_mask=attention_mask
        ).last_hidden_state
        return states

    def from_states(self, states: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var) from token states, which a frozen backbone needs to give only once."""
        weight = attention_mask[..., None].to(states.dtype)
        average = (states * weight).sum(1) / weight.sum(1).clamp_min(1.0)
        pooled = torch.cat([average, states[:, 0]], dim=1)
        mu = functional.normalize(self.mean(pooled), dim=-1)
        return mu, self.variance_head(pooled).clamp(*LOG_VAR_RANGE)


def _small_bert(config: TextEncoderConfig) -> nn.Module:
    # transformers costs seconds to import; only a model that is really built pays for it.
    declare_missing_operators()
    from transformers import BertConfig, BertModel

    model: nn.Module = BertModel(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            intermediate_size=config.ffn,
            max_position_embeddings=config.max_tokens,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        ),
        add_pooling_layer=False,
    )
    return model
