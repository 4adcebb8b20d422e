"""MELP whole: its ECG tower, a language model that reads reports, and a decoder that writes them.

============  ===================================================================================
part          what it gives
============  ===================================================================================
ECG tower     beats; their mean is the rhythm (`wav2vec2.MelpTower`)
text          a BERT in which each token sees those before it alone. The [CLS] token stands last,
              behind the report and its padding, and becomes the report's vector
sentences     the mean over the tokens of each, in the space of beats
decoder       the tokens of a report, each written from those before it and from the ECG; six times
              a block that looks at tokens and one that looks at the ECG
============  ===================================================================================

Names and shapes of the weights are those of the authors' files (`published_name`); the text encoder
is `models.bert.Bert`, whose names are the same as theirs.

References
----------
Wang et al., "From token to rhythm: a multi-scale approach for ECG-language pretraining", ICML 2025.
Yu et al., "CoCa: contrastive captioners are image-text foundation models", TMLR 2022, whose
decoder it has.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.models.bert import Bert, published_sizes
from echoing_core.models.config import BertTextConfig, ModelConfig
from echoing_core.models.frozen import FrozenEcgEncoder
from echoing_core.models.tokenizer import ReportTokenizer, read_bert_tokenizer
from echoing_core.models.wav2vec2 import pool_heads

BEGIN = "[BOS]"
TEMPLATE = BEGIN + " {text}"
"""What a report stands in."""

_EPS = 1.0e-12


class LanguageModel(nn.Module):
    """A BERT, and with ``head`` what predicts tokens from its states.

    Parameters
    ----------
    config : BertTextConfig
    head : bool
    """

    def __init__(self, config: BertTextConfig, *, head: bool) -> None:
        super().__init__()
        self.bert = Bert(published_sizes(config))
        if head:
            # Of the stage that this one follows; no loss here reads it.
            predictions = nn.Module()
            dense = nn.Linear(config.hidden, config.hidden)
            norm = nn.LayerNorm(config.hidden, eps=_EPS)
            predictions.transform = nn.ModuleDict({"dense": dense, "LayerNorm": norm})
            predictions.requires_grad_(False)
            predictions.decoder = nn.Linear(config.hidden, config.vocab_size)
            predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
            predictions.bias = predictions.decoder.bias.requires_grad_(False)
            self.cls = nn.ModuleDict({"predictions": predictions})

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of each token's successor; a token sees itself and those before it.

        Parameters
        ----------
        token_ids, attention_mask : Tensor of int64, shape (batch, n_tokens)
            With a head.

        Returns
        -------
        Tensor, shape (batch, n_tokens, vocab_size)
        """
        n = token_ids.shape[1]
        earlier = torch.ones(n, n, dtype=torch.bool, device=token_ids.device).tril()
        states: Tensor = self.bert(token_ids, attention_mask[:, None].bool() & earlier)
        predictions: Any = self.cls["predictions"]
        transform = predictions.transform
        hidden = transform["LayerNorm"](functional.gelu(transform["dense"](states)))
        logits: Tensor = predictions.decoder(hidden)
        return logits


class _Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and added to what came in."""

    def __init__(self, width: int, *, cross: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, pool_heads(width), batch_first=True)
        if cross:
            self.ln_1_kv = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(
        self, x: Tensor, memory: Tensor | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        query = self.ln_1(x)
        known = query if memory is None else self.ln_1_kv(memory)
        x = x + self.attn(query, known, known, attn_mask=hidden, need_weights=False)[0]
        out: Tensor = x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x))))
        return out


class CaptionDecoder(nn.Module):
    """States of a report's tokens, and an ECG -> what is expected after each token.

    Parameters
    ----------
    width : int
        Of the states, and of what the ECG tower gives to captions.
    vocab_size, layers : int
    """

    def __init__(self, width: int, vocab_size: int, layers: int = 6) -> None:
        super().__init__()
        self.text_projection = nn.Parameter(torch.randn(width, vocab_size) * width**-0.5)
        self.resblocks = nn.ModuleList(_Block(width, cross=False) for _ in range(layers))
        self.cross_attn = nn.ModuleList(_Block(width, cross=True) for _ in range(layers))
        self.ln_final = nn.LayerNorm(width)

    def forward(self, states: Tensor, memory: Tensor) -> Tensor:
        """Logits of the token after each.

        Parameters
        ----------
        states : Tensor, shape (batch, n_tokens, width)
        memory : Tensor, shape (batch, n_queries, width)
            `MelpTower.caption_memory`.

        Returns
        -------
        Tensor, shape (batch, n_tokens, vocab_size)
        """
        n = states.shape[1]
        # True where a token may not look: at what follows it.
        later = torch.ones(n, n, dtype=torch.bool, device=states.device).triu(1)
        for own, cross in zip(self.resblocks, self.cross_attn, strict=True):
            states = cross(own(states, hidden=later), memory)
        out: Tensor = self.ln_final(states) @ self.text_projection
        return out


class MelpText(nn.Module):
    """Tokens -> a point on the unit sphere; with ``full``, all that the losses need beside it.

    Parameters
    ----------
    config : ModelConfig
        ``released_text``, ``dim`` and ``log_var_bias`` of it.
    full : bool
        With sentences, decoder and the scale of the rhythm loss.
    decoder_layers : int
    """

    def __init__(self, config: ModelConfig, *, full: bool = False, decoder_layers: int = 6) -> None:
        super().__init__()
        sizes = config.released_text
        self.max_tokens, self.log_var = sizes.max_tokens, config.log_var_bias
        self.lm_model = LanguageModel(sizes, head=full)
        self.proj_t = nn.Sequential(
            nn.Linear(sizes.hidden, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim)
        )
        if full:
            self.sent_proj = nn.Linear(sizes.hidden, config.dim)
            self.text_decoder = CaptionDecoder(sizes.hidden, sizes.vocab_size, decoder_layers)
            self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def read(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The state of the report, and of each of its tokens.

        Parameters
        ----------
        token_ids, attention_mask : Tensor of int64, shape (batch, n_tokens)
            [CLS] first, as tokenizers give it.

        Returns
        -------
        report : Tensor, shape (batch, hidden)
        tokens : Tensor, shape (batch, n_tokens - 1, hidden)
            Of all but [CLS].
        """
        ids = token_ids.roll(-1, dims=1)
        known = attention_mask.roll(-1, dims=1).bool()
        n = ids.shape[1]
        # Padding is not seen, so [CLS] needs no more of it before it than there is: the place of
        # the last of ``max_tokens`` is what tells it.
        places = torch.arange(n, device=ids.device)
        places[-1] = self.max_tokens - 1
        earlier = torch.ones(n, n, dtype=torch.bool, device=ids.device).tril()
        states: Tensor = self.lm_model.bert(ids, known[:, None] & earlier, places)
        return states[:, -1], states[:, :-1]

    def mean(self, report: Tensor) -> Tensor:
        """mu, shape (batch, dim), of states of reports, shape (batch, hidden)."""
        return functional.normalize(self.proj_t(report), dim=-1)

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim), the second one constant; see `read`."""
        mu = self.mean(self.read(token_ids, attention_mask)[0])
        return mu, torch.full_like(mu, self.log_var)


class MelpEncoder(nn.Module):
    """MELP behind the contract of other models: ``ecg``, ``text``, one space.

    Parameters
    ----------
    config : ModelConfig
        Of the architecture ``melp``.
    full : bool
        With what its training needs and its use does not: then it has every array of the
        published files.
    decoder_layers : int
    dropout : float
        Of the ECG tower, in training; the text's is that of ``config``.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        full: bool = False,
        decoder_layers: int = 6,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config
        self.ecg = FrozenEcgEncoder(config.frozen, config.log_var_bias, full=full, dropout=dropout)
        self.text = MelpText(config, full=full, decoder_layers=decoder_layers)


def published_name(name: str) -> str:
    """Of an array of `MelpEncoder`, as the authors' files have it.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    if name.startswith("ecg.tower."):
        return "ecg_encoder." + name.removeprefix("ecg.tower.")
    return name.removeprefix("text.")


def sentence_means(
    states: Tensor,
    token_ids: Tensor,
    full_stop: int,
    special: Collection[int],
    *,
    keep_rest: bool = True,
) -> tuple[Tensor, Tensor]:
    """The mean over the tokens of each sentence, its full stop among them.

    Parameters
    ----------
    states : Tensor, shape (n, n_tokens, hidden)
    token_ids : Tensor of int64, shape (n, n_tokens)
    full_stop : int
        The token that ends a sentence.
    special : collection of int
        Tokens that count nowhere, such as padding.
    keep_rest : bool
        Whether what stands after the last full stop is a sentence, too. As published it is not; a
        report without any full stop is one in either case.

    Returns
    -------
    means : Tensor, shape (n, n_sentences, hidden)
        0 where there is no such sentence.
    there : Tensor of bool, shape (n, n_sentences)
    """
    stops = token_ids == full_stop
    # How many sentences ended before each token.
    number = stops.cumsum(1) - stops.long()
    word = ~torch.isin(token_ids, torch.tensor(sorted(special), device=token_ids.device))
    if not keep_rest:
        n_stops = stops.sum(1, keepdim=True)
        word = word & ((number < n_stops) | (n_stops == 0))
    places = torch.arange(int(number.max()) + 1, device=token_ids.device)
    inside = ((number[..., None] == places) & word[..., None]).to(states.dtype)
    count = inside.sum(1)
    means = torch.einsum("nts,nth->nsh", inside, states) / count.clamp_min(1.0)[..., None]
    return means, count > 0


def melp_tokenizer(tokenizer: ReportTokenizer) -> ReportTokenizer:
    """A vocabulary with [BOS] behind its entries, where it has none, and before every text.

    Parameters
    ----------
    tokenizer : ReportTokenizer

    Returns
    -------
    ReportTokenizer
    """
    tokenizer.tokenizer.add_special_tokens([BEGIN])
    return replace(tokenizer, template=TEMPLATE)


def read_melp_tokenizer(source: str, max_tokens: int) -> ReportTokenizer:
    """The vocabulary of a BERT, as MELP reads with it.

    Parameters
    ----------
    source, max_tokens
        As in `read_bert_tokenizer`.

    Returns
    -------
    ReportTokenizer
    """
    return melp_tokenizer(read_bert_tokenizer(source, max_tokens))
