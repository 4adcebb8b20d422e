"""MELP's stage between its two: a language model learns cardiology's words before any ECG.

It predicts each next token of a report from those before it, as the second stage reads reports.
What comes out is a BERT in the published form (configuration, safetensors, ``vocab.txt``), for
``--text-model`` of the second stage or of any other training here.

References
----------
MELP (ICML 2025), section on the cardiology-specific language model. The authors' corpus (articles
of cardiology) and how long they train are not published with the code; here it is the reports of
training patients and whatever texts are given beside them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.artifacts import seal, writing_folder
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError
from echoing_core.models.config import BertTextConfig
from echoing_core.models.melp import LanguageModel
from echoing_core.models.tokenizer import ReportTokenizer
from echoing_core.training.batches import rows_of_epoch
from echoing_core.training.distributed import share_of
from echoing_core.training.melp import mean_of_all, take_bert
from echoing_core.training.trainer import Term, Trainer, widened

KIND = "text model"
_STREAM = 7
_BATCH = 64


class Texts:
    """Batches of texts; each is a function of its number.

    Parameters
    ----------
    texts : sequence of str
    tokenizer : ReportTokenizer
    size : int
        Texts in a batch.
    seed : int

    Raises
    ------
    DataSetError
        There are fewer texts than a batch holds.
    """

    def __init__(
        self, texts: Sequence[str], tokenizer: ReportTokenizer, size: int, seed: int
    ) -> None:
        if len(texts) < size:
            raise DataSetError(
                f"There are {len(texts):,} different texts, and a batch needs {size} of them. Use "
                "a smaller batch (--set batch_size=) or add texts with --texts."
            )
        self.texts, self.tokenizer, self.size, self.seed = tuple(texts), tokenizer, size, seed

    @property
    def per_epoch(self) -> int:
        """Batches of one pass over the texts."""
        return len(self.texts) // self.size

    def at(self, number: int) -> tuple[Tensor, Tensor]:
        """Token ids and mask of batch ``number``, each of shape (size, longest)."""
        rows = rows_of_epoch(self.seed, _STREAM, len(self.texts), self.size, number)
        return tokens_of(self.tokenizer, [self.texts[row] for row in rows])

    def fingerprint(self) -> str:
        """Hash over the texts and how they are cut."""
        told = hashlib.sha256(self.tokenizer.tokenizer.to_str().encode())
        told.update(json.dumps(self.texts).encode())
        return told.hexdigest()


def tokens_of(tokenizer: ReportTokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and mask without [CLS], which the second stage moves behind a report's end.

    Parameters
    ----------
    tokenizer : ReportTokenizer
        Of MELP: every text begins with [BOS].
    texts : sequence of str

    Returns
    -------
    ids, mask : Tensor of int64, shape (n_texts, longest)
    """
    ids, mask = tokenizer.encode(texts)
    return torch.from_numpy(ids[:, 1:]), torch.from_numpy(mask[:, 1:])


class LanguageTrainer(Trainer):
    """Cross-entropy of the next token, the mean over all tokens of a batch."""

    def terms(self, batch: Any) -> list[tuple[float, Term]]:
        """See `Trainer.terms`."""
        return [(1.0, partial(self._next_token, *batch))]

    def _next_token(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, float]]:
        world, n = self.world, len(ids)
        # Counted over all processes, or one with short reports would weigh them more.
        n_tokens = max(1, int(mask[:, 1:].sum()))
        rows = share_of(n, world)
        ids, mask = ids[rows].to(world.device), mask[rows].to(world.device)
        autocast = torch.autocast(world.device.type, torch.bfloat16, enabled=self._autocast)
        with autocast, self._dropping(n):
            logits = self.encoder(ids[:, :-1], mask[:, :-1])
        total = summed_cross_entropy(widened(logits), ids[:, 1:], mask[:, 1:])
        loss = mean_of_all(total * world.size / n_tokens, world)
        return loss, {"next token": float(loss.detach())}


def summed_cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Nats of all tokens that are there.

    Parameters
    ----------
    logits : Tensor, shape (n, n_tokens, vocab_size)
    ids, mask : Tensor, shape (n, n_tokens)

    Returns
    -------
    Tensor, shape ()
    """
    wanted = ids.masked_fill(mask == 0, -100)
    return functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="sum")


def perplexities(
    model: nn.Module, tokenizer: ReportTokenizer, texts: Sequence[str], learnt: Sequence[str]
) -> dict[str, float]:
    """How surprising unseen texts are, beside what counting words alone makes of them.

    Parameters
    ----------
    model : nn.Module
        A `LanguageModel`.
    tokenizer : ReportTokenizer
    texts : sequence of str
        That it did not learn from.
    learnt : sequence of str
        That it learnt from; the rival counts their tokens, each once more than it occurs.

    Returns
    -------
    dict
        ``"perplexity"`` and ``"perplexity by frequency alone"``: e to the mean nats of a token.
    """
    size = tokenizer.tokenizer.get_vocab_size()
    counts = np.ones(size)
    for start in range(0, len(learnt), _BATCH):
        ids, mask = tokens_of(tokenizer, learnt[start : start + _BATCH])
        seen = ids[:, 1:][mask[:, 1:] == 1].numpy()
        counts += np.bincount(seen, minlength=size)
    by_frequency = -np.log(counts / counts.sum())
    nats = rival = 0.0
    n_tokens = 0
    with torch.no_grad():
        for start in range(0, len(texts), _BATCH):
            ids, mask = tokens_of(tokenizer, texts[start : start + _BATCH])
            logits = model(ids[:, :-1], mask[:, :-1])
            nats += float(summed_cross_entropy(logits, ids[:, 1:], mask[:, 1:]))
            wanted = ids[:, 1:][mask[:, 1:] == 1].numpy()
            rival += float(by_frequency[wanted].sum())
            n_tokens += len(wanted)
    n = max(1, n_tokens)
    return {
        "perplexity": math.exp(nats / n),
        "perplexity by frequency alone": math.exp(rival / n),
    }


def write_text_model(
    folder: Path,
    model: LanguageModel,
    tokenizer: ReportTokenizer,
    config: BertTextConfig,
    card: dict[str, Any],
) -> None:
    """Write a folder that ``--text-model`` takes, whole or not at all.

    Parameters
    ----------
    folder : Path
    model : LanguageModel
    tokenizer : ReportTokenizer
    config : BertTextConfig
        Its sizes.
    card : dict
        What it was made of, and its figures.
    """
    vocabulary = tokenizer.tokenizer.get_vocab()
    state = {name: value.contiguous() for name, value in model.bert.state_dict().items()}
    with writing_folder(folder, kind=KIND) as draft:
        save_file(state, draft / "model.safetensors", metadata={"format": "pt"})
        entries = sorted(vocabulary, key=vocabulary.__getitem__)
        (draft / "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
        (draft / "config.json").write_text(json.dumps(published_config(config), indent=2))
        weights = hashlib.sha256((draft / "model.safetensors").read_bytes()).hexdigest()
        seal(
            draft, kind=KIND, checkpoint_hash=weights, n=config.vocab_size, dim=config.hidden,
            extra=card,
        )  # fmt: skip


def published_config(config: BertTextConfig) -> dict[str, Any]:
    """The configuration of a BERT by its published names.

    Parameters
    ----------
    config : BertTextConfig

    Returns
    -------
    dict
    """
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": config.hidden,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.ffn,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.n_positions,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "layer_norm_eps": 1.0e-12,
        "pad_token_id": 0,
        "type_vocab_size": 2,
    }


def texts_to_learn(studies: StudySet, more: Path | None) -> tuple[list[str], list[str]]:
    """The texts of training patients and those given beside them, and what neither holds.

    Parameters
    ----------
    studies : StudySet
    more : Path, optional
        One text a line.

    Returns
    -------
    learnt, unseen : list of str
        Each text once; the second of validation patients.

    Raises
    ------
    DataSetError
        There is none, or the file cannot be read as text.
    """
    reports = studies.table["report"].fillna("").astype(str).str.strip()
    split = studies.table["split"]
    learnt = list(reports[split == "train"])
    if more is not None:
        try:
            learnt += [line.strip() for line in more.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise DataSetError(
                f"{more} cannot be read as text. Name a file in UTF-8 with one text a line."
            ) from error
    learnt = [text for text in dict.fromkeys(learnt) if text]
    if not learnt:
        raise DataSetError("There is no text to learn from. Prepare data with reports.")
    known = frozenset(learnt)
    unseen = dict.fromkeys(reports[split == "valid"])
    return learnt, [text for text in unseen if text and text not in known]


def new_language_model(
    config: BertTextConfig, text_model: str | None, *, seed: int
) -> LanguageModel:
    """What the stage begins with: random weights, or those of a BERT.

    Parameters
    ----------
    config : BertTextConfig
        With the size of the vocabulary that is used.
    text_model : str, optional
        Folder or hub name of a BERT of the same sizes.
    seed : int
        Of random weights.

    Returns
    -------
    LanguageModel

    Raises
    ------
    CheckpointError
        The BERT has other sizes.
    """
    torch.manual_seed(seed)
    model = LanguageModel(config, head=True)
    model.cls.requires_grad_(True)
    if text_model is not None:
        take_bert(model.bert, text_model)
    return model
