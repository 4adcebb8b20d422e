"""The compact text encoder's own BERT: post-norm transformer layers, nothing else.

``transformers`` has the same network, and takes six seconds of processor time to import before a
word is read: more than everything else that a question on the command line needs. Weights have the
names that its ``BertModel`` gives them, so files of either are files of both.

References
----------
Devlin et al., "BERT: Pre-training of deep bidirectional transformers for language understanding",
NAACL 2019, section 3 and the released code's constants (exact GELU, LayerNorm with eps 1e-12).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from echoing_core.models.config import BertTextConfig, TextEncoderConfig

_EPS = 1.0e-12
_INITIAL_STD = 0.02
_N_SEGMENTS = 2


class _Embeddings(nn.Module):
    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_tokens, config.hidden)
        self.token_type_embeddings = nn.Embedding(_N_SEGMENTS, config.hidden)
        self.LayerNorm = nn.LayerNorm(config.hidden, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, token_ids: Tensor, places: Tensor | None = None) -> Tensor:
        # One segment only: a report is never paired with a second text.
        words = self.word_embeddings(token_ids) + self.token_type_embeddings.weight[0]
        at = slice(token_ids.shape[1]) if places is None else places
        x: Tensor = self.dropout(self.LayerNorm(words + self.position_embeddings.weight[at]))
        return x


class _SelfAttention(nn.Module):
    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.query = nn.Linear(config.hidden, config.hidden)
        self.key = nn.Linear(config.hidden, config.hidden)
        self.value = nn.Linear(config.hidden, config.hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, n_tokens, hidden = x.shape

        def heads(y: Tensor) -> Tensor:
            # (batch, n_heads, n_tokens, hidden / n_heads)
            return y.view(batch, n_tokens, self.n_heads, -1).transpose(1, 2)

        attended = functional.scaled_dot_product_attention(
            heads(self.query(x)),
            heads(self.key(x)),
            heads(self.value(x)),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return attended.transpose(1, 2).reshape(batch, n_tokens, hidden)


class _Projected(nn.Module):
    """Linear, dropout, and the norm of the sum with what came in."""

    def __init__(self, n_in: int, config: TextEncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(n_in, config.hidden)
        self.LayerNorm = nn.LayerNorm(config.hidden, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        y: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return y


class _Layer(nn.Module):
    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": _SelfAttention(config), "output": _Projected(config.hidden, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden, config.ffn)})
        self.output = _Projected(config.ffn, config)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        y: Tensor = self.output(functional.gelu(self.intermediate["dense"](x)), x)
        return y


class _Stack(nn.Module):
    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.n_layers))


class Bert(nn.Module):
    """Tokens to states.

    Parameters
    ----------
    config : TextEncoderConfig
        ``hidden`` is a multiple of ``n_heads``.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.recompute = False
        """Compute activations a second time in the backward pass instead of keeping them."""
        self.embeddings = _Embeddings(config)
        self.encoder = _Stack(config)
        self.apply(_initialise)

    def forward(
        self, token_ids: Tensor, attention_mask: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """States of every token, padding included.

        Parameters
        ----------
        token_ids : Tensor of int64, shape (batch, n_tokens)
        attention_mask : Tensor, shape (batch, n_tokens) or (batch, n_tokens, n_tokens)
            1 at tokens and 0 at padding; or, for each token, 1 at those that it sees.
        places : Tensor of int64, shape (n_tokens,), optional
            Of the tokens, where they do not simply follow each other.

        Returns
        -------
        Tensor, shape (batch, n_tokens, hidden)
        """
        # True where attention may look, broadcast over heads, and over tokens that see the same.
        seen = attention_mask if attention_mask.ndim == 3 else attention_mask[:, None]
        mask = seen[:, None].bool()
        x: Tensor = self.embeddings(token_ids, places)
        for layer in self.encoder.layer:
            if self.recompute and self.training:
                x = checkpoint(layer, x, mask, use_reentrant=False)
            else:
                x = layer(x, mask)
        return x


class PooledBert(Bert):
    """A `Bert` with BERT's pooling layer, as published files have one; nothing here reads it.

    Parameters
    ----------
    config : TextEncoderConfig
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__(config)
        self.pooler = nn.ModuleDict({"dense": nn.Linear(config.hidden, config.hidden)})
        self.pooler.apply(_initialise)


def published_sizes(config: BertTextConfig) -> TextEncoderConfig:
    """Sizes of a published BERT as `Bert` takes them.

    Parameters
    ----------
    config : BertTextConfig

    Returns
    -------
    TextEncoderConfig
    """
    return TextEncoderConfig(
        hidden=config.hidden,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        ffn=config.ffn,
        vocab_size=config.vocab_size,
        # Of the table of positions; reports are cut earlier.
        max_tokens=config.n_positions,
        dropout=config.dropout,
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_INITIAL_STD)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=_INITIAL_STD)
        if module.padding_idx is not None:
            # Padding is masked; as zeros it adds nothing wherever it is summed.
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
