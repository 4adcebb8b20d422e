"""Where training data come from, and pairs of clean and degraded views of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.models.tokenizer import ReportTokenizer
from echoing_core.records import BoolArray
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.augmentation import rescale, spoil

ReportSource = Callable[[int, np.random.Generator], str]
"""Row number and generator -> one wording of that study's report."""


@dataclass(frozen=True, eq=False)
class Source:
    """Studies of one origin.

    Attributes
    ----------
    signal_mv : ndarray, shape (n, 12, 1000)
    valid : ndarray of bool, same shape
    report : ReportSource
        May word the same findings differently at every call.
    share : float
        Share of every batch that comes from here; the shares of all sources sum to 1.
    """

    name: str
    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    report: ReportSource
    share: float

    def __len__(self) -> int:
        return len(self.signal_mv)


@dataclass(frozen=True)
class ViewBatch:
    """The same windows twice: as recorded, and degraded."""

    clean: tuple[Tensor, Tensor]
    seen: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TextViewBatch:
    """The same reports twice, as (token_ids, token_mask): whole, and what is left of them."""

    whole: tuple[Tensor, Tensor]
    left: tuple[Tensor, Tensor]


_SENTENCE_END = re.compile(r"(?<=\.)\s+")


def sentences_of(report: str) -> list[str]:
    """The sentences of a report, each with its full stop; a number's point ends none."""
    return [sentence for sentence in _SENTENCE_END.split(report.strip()) if sentence]


def _made_up_word(rng: np.random.Generator) -> str:
    letters = rng.integers(ord("a"), ord("z") + 1, size=int(rng.integers(3, 11)))
    return "".join(chr(letter) for letter in letters)


class Sampler:
    """Draws batches; every source is walked through in shuffled order before it repeats."""

    def __init__(
        self,
        sources: Sequence[Source],
        scaler: LeadScaler,
        tokenizer: ReportTokenizer,
        rng: np.random.Generator,
    ) -> None:
        self.sources = [source for source in sources if len(source)]
        self.scaler = scaler
        self.tokenizer = tokenizer
        self.rng = rng
        self._queues = [np.zeros(0, dtype=np.int64) for _ in self.sources]

    def views(self, batch_size: int) -> ViewBatch:
        """One batch for the variance of ECGs."""
        clean_signals, clean_masks, signals, masks = [], [], [], []
        for source, row in self._draw(batch_size):
            base = rescale(source.signal_mv[row], self.rng)
            signal, mask = spoil(base, source.valid[row], self.rng)
            clean_signals.append(base)
            clean_masks.append(source.valid[row])
            signals.append(signal)
            masks.append(mask)
        return ViewBatch(self._tensors(clean_signals, clean_masks), self._tensors(signals, masks))

    def text_views(self, batch_size: int) -> TextViewBatch:
        """One batch for the variance of texts: reports, and what is left of them."""
        whole, left = [], []
        for source, row in self._draw(batch_size):
            report = source.report(row, self.rng)
            whole.append(report)
            left.append(self._garbled(report))
        return TextViewBatch(self._tokens(whole), self._tokens(left))

    def _garbled(self, report: str) -> str:
        """A report of which sentences are missing, or words nobody knows; at times as it is."""
        rng = self.rng
        sentences = sentences_of(report)
        if len(sentences) > 1 and rng.random() < 0.6:
            kept = np.sort(rng.permutation(len(sentences))[: int(rng.integers(1, len(sentences)))])
            sentences = [sentences[i] for i in kept]
        words = " ".join(sentences).split()
        if rng.random() < 0.15:
            first = int(rng.integers(len(words)))
            words = words[first : first + int(rng.integers(1, 3))]
        if rng.random() < 0.4:
            strange = rng.random(len(words)) < rng.random()
            words = [
                _made_up_word(rng) if is_strange else word
                for word, is_strange in zip(words, strange, strict=True)
            ]
        return " ".join(words)

    def _tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        ids, mask = self.tokenizer.encode(texts)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def _draw(self, batch_size: int) -> list[tuple[Source, int]]:
        drawn: list[tuple[Source, int]] = []
        for i, source in enumerate(self.sources):
            last = i == len(self.sources) - 1
            n = batch_size - len(drawn) if last else round(batch_size * source.share)
            drawn.extend((source, int(row)) for row in self._next_rows(i, n))
        return drawn

    def _next_rows(self, i: int, n: int) -> npt.NDArray[np.int64]:
        while len(self._queues[i]) < n:
            shuffled = self.rng.permutation(len(self.sources[i]))
            self._queues[i] = np.concatenate([self._queues[i], shuffled])
        rows, self._queues[i] = self._queues[i][:n], self._queues[i][n:]
        return rows

    def _tensors(
        self, signals: Sequence[npt.NDArray[np.float32]], masks: Sequence[BoolArray]
    ) -> tuple[Tensor, Tensor]:
        valid = np.stack(masks)
        scaled = np.where(valid, self.scaler.apply(np.stack(signals)), 0.0)
        return (
            torch.from_numpy(scaled.astype(np.float32)),
            torch.from_numpy(valid.astype(np.float32)),
        )
