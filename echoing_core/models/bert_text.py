"""The published text tower: BioBERT's states, pooled into a Gaussian by two learnt poolings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from echoing_core.errors import CheckpointError
from echoing_core.models.config import BertTextConfig
from echoing_core.models.pooling import GeneralisedPooling, to_unit
from echoing_core.models.tokenizer import BIOBERT
from echoing_core.models.torchvision_ops import declare_missing_operators


class BertTextEncoder(nn.Module):
    """Tokens -> Gaussian in the shared space. All real tokens are pooled, [CLS] and [SEP] too.

    Parameters
    ----------
    config : BertTextConfig
    dim : int
    log_var_bias : float
        Added to the start of the log-variance; 0 is the release's.

    References
    ----------
    EchoingECG, sec. 2.2; layers as released.
    """

    def __init__(self, config: BertTextConfig, dim: int, log_var_bias: float) -> None:
        super().__init__()
        self.config = config
        self.backbone: Any = _bert(config)
        self.linear = nn.Linear(config.hidden, dim)
        self.gpool = GeneralisedPooling()
        self.std_linear = nn.Linear(config.hidden, dim)
        self.std_gpool = GeneralisedPooling()
        with torch.no_grad():
            self.std_linear.bias.add_(log_var_bias)

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
        mu = to_unit(self.gpool(self.linear(states), attention_mask))
        return mu, self.std_gpool(self.std_linear(states), attention_mask)

    def load_pretrained(self, source: str = BIOBERT) -> None:
        """Take the backbone's weights from a local folder or a name on the Hugging Face hub.

        Raises
        ------
        CheckpointError
            There is no such folder, the hub cannot be reached, or the BERT there has another size.
        """
        declare_missing_operators()
        from transformers import BertModel

        try:
            found: Any = BertModel.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"No BERT could be loaded from {source!r}. Name a local folder with config.json "
                f"and weights, or a name such as {BIOBERT} while the Hugging Face hub can be "
                "reached."
            ) from error
        try:
            self.backbone.load_state_dict(found.state_dict(), strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"The BERT of {source!r} has {found.config.num_hidden_layers} layers of width "
                f"{found.config.hidden_size} and {found.config.vocab_size} tokens; needed are "
                f"{self.config.n_layers} of {self.config.hidden} and {self.config.vocab_size}. "
                "Name another, or change the settings of the text encoder."
            ) from error


def _bert(config: BertTextConfig) -> nn.Module:
    declare_missing_operators()
    from transformers import BertConfig, BertModel

    # With its pooler, which nothing reads, because the published weights have one.
    model: nn.Module = BertModel(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            intermediate_size=config.ffn,
            max_position_embeddings=config.n_positions,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
    )
    return model
