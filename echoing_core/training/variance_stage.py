"""The second stage: the variance heads, on the frozen space that `training.run` made.

Why a second: a variance that learns from how far corruption moves mu must not be able to move mu
itself, or it shrinks its own target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import CheckpointError
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.config import DISPLACEMENT
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.losses import displacement_nll, lost_share, sum_nll
from echoing_core.models.tokenizer import ReportTokenizer
from echoing_core.models.variance_head import HOP, lead_statistics
from echoing_core.progress import SILENT, Progress
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.augmentation import rescale, spoil
from echoing_core.training.batches import (
    Source,
    rows_per_source,
    scaled_tensors,
    sentences_of,
)
from echoing_core.training.run import Log
from echoing_core.training.settings import OptimiserConfig, VarianceConfig
from echoing_core.training.trainer import build_optimiser

_WHERE_WEIGHT = 3.0
"""Of the cross-entropy of where the signal is lost, beside the likelihoods of sigma^2."""

_WARMUP_STEPS = 50
_BATCHES_FOR_AXES = 40
_BATCHES_FOR_NOVELTY = 60


def learn_variance(
    encoder: DualEncoder,
    sources: Sequence[Source],
    scaler: LeadScaler,
    tokenizer: ReportTokenizer,
    config: VarianceConfig,
    *,
    seed: int,
    where: Checkpoint | None = None,
    turn: bool = True,
    progress: Progress = SILENT,
    log: Log | None = None,
) -> None:
    """Learn sigma^2 by displacement anew, in place, whatever its heads had learnt before.

    Parameters
    ----------
    encoder : DualEncoder
        Its means stay as they are, up to a rotation of the space; so does a sigma^2 that was
        learnt by matching.
    sources : sequence of Source
        Well recorded ECGs: what is done to them must be all that is wrong with them.
    scaler : LeadScaler
    tokenizer : ReportTokenizer
    config : VarianceConfig
    seed : int
        Of the run. The stage draws from generators of its own, so it is the same with a space
        just trained and with one read from a folder.
    where : Checkpoint, optional
        A model of the same sizes whose knowledge of where a lead is lost is taken over.
    turn : bool
        False keeps the axes of the space: those of an echo teacher, or of another sigma^2.
    progress : Progress
    log : callable, optional
    """
    torch.manual_seed(seed + 1)
    encoder.renew_variance()
    if where is not None:
        head = compact_encoder(where).ecg.displacement_head
        encoder.ecg.displacement_head.look_from(head)
    sampler = Sampler(sources, scaler, tokenizer, np.random.default_rng(seed + 1))
    # A sigma^2 by matching is diagonal in the axes that it was learnt in.
    turn = turn and encoder.ecg.matching_head is None
    train_variance(encoder, sampler, config, turn=turn, progress=progress, log=log)


def compact_encoder(checkpoint: Checkpoint) -> DualEncoder:
    """The encoder of a model that can be trained further here.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    DualEncoder

    Raises
    ------
    CheckpointError
        It is not of the compact architecture.
    """
    if not isinstance(checkpoint.encoder, DualEncoder):
        raise CheckpointError(
            f"Model {checkpoint.name} is not of the compact architecture, and cannot be trained "
            "further here. Name another."
        )
    return checkpoint.encoder


def train_variance(
    encoder: DualEncoder,
    sampler: Sampler,
    config: VarianceConfig,
    *,
    turn: bool = True,
    progress: Progress = SILENT,
    log: Log | None = None,
) -> None:
    """Stage 2, in place: the axes of the space, then the variance heads alone.

    The space is turned so that its axes are the principal directions of what bad recording does
    to mu; angles and distances stay as they are. Then the ECG's head learns, by binary
    cross-entropy with `lost_share`, where in a window what is lost; and, beside that, by
    `displacement_nll` how far mu lies from the mean of the clean original, half of it read from
    all leads, half from the lead that suffered most: one useless lead among twelve hardly moves
    a mean that has learnt to live without leads, and yet misleads whoever looks at it. `sum_nll`
    holds the sum. The text's head learns how far the mean of what is left of a report lies from
    the whole's.

    Parameters
    ----------
    encoder : DualEncoder
    sampler : Sampler
    config : VarianceConfig
    turn : bool
        As in `learn_variance`.
    progress : Progress
    log : callable, optional
        Called with the step, counted over all heads, and its figures.
    """
    # Batch statistics and dropout stay as they are in use: errors of mu are to be those of the
    # finished space.
    encoder.eval()
    encoder.requires_grad_(False)
    second_moment = _error_moment(encoder.ecg, sampler, config.batch_size)
    if turn:
        axes, variances = _axes(second_moment)
        encoder.rotate(axes)
    else:
        variances = second_moment.diagonal()
    ecg_head, text_head = encoder.ecg.displacement_head, encoder.text.variance_head
    # The head then need not learn first which directions are wide.
    ecg_head.start_from(variances)

    def where_loss() -> tuple[Tensor, dict[str, float]]:
        batch = sampler.views(config.batch_size)
        # Of each lead and chunk of 0.2 s, 0..1: how much of the signal degrading took away.
        lost = lost_share(batch.clean, batch.degraded, HOP)
        _, logit = ecg_head.look(ecg_head.frames(*batch.degraded), lead_statistics(*batch.degraded))
        where = functional.binary_cross_entropy_with_logits(logit, lost)
        return where, {"where": where.item()}

    def ecg_loss() -> tuple[Tensor, dict[str, float]]:
        batch = sampler.views(config.batch_size)
        lost = lost_share(batch.clean, batch.degraded, HOP)
        with torch.no_grad():
            squared = _reading_errors(encoder.ecg, batch, lost)
        predicted = encoder.ecg.variance_from(encoder.ecg.frame_maps(*batch.degraded))
        nll = displacement_nll(squared, predicted.log_var)
        nll_of_sum = sum_nll(squared, predicted.log_var)
        where = functional.binary_cross_entropy_with_logits(predicted.lost_logit, lost)
        sigma2 = float(predicted.log_var.detach().exp().sum(1).mean())
        moved = float(squared.sum(1).mean())
        terms = {"nll": nll.item(), "sum_nll": nll_of_sum.item(), "where": where.item()}
        return nll + nll_of_sum + _WHERE_WEIGHT * where, {**terms, "moved": moved, "sigma2": sigma2}

    def text_loss() -> tuple[Tensor, dict[str, float]]:
        batch = sampler.text_views(config.text_batch_size)
        with torch.no_grad():
            # The whole report's mean is the target, so no gradient goes through it.
            whole, _ = encoder.text(*batch.whole)
        left, log_var = encoder.text(*batch.left)
        # Detached: the mean must not move to make its own error small.
        squared = (left.detach() - whole).square()
        nll = displacement_nll(squared, log_var)
        sigma2 = float(log_var.detach().exp().sum(1).mean())
        moved = float(squared.sum(1).mean())
        return nll + sum_nll(squared, log_var), {
            "text_nll": nll.item(),
            "text_moved": moved,
            "text_sigma2": sigma2,
        }

    stages = (
        # Where, first: the sum is learnt from a head that already knows what is lost.
        (ecg_head, where_loss, config.where_steps),
        (ecg_head, ecg_loss, config.steps),
        (text_head, text_loss, config.text_steps),
    )
    total, done = sum(steps for _, _, steps in stages), 0
    with encoder.reading(DISPLACEMENT):
        for head, loss_of_batch, steps in stages:
            for step, terms in enumerate(_fitting(head, loss_of_batch, steps, config)):
                if log is not None:
                    log(done + step, terms)
                progress(done + step + 1, total)
            done += steps
    encoder.requires_grad_(False)
    _fit_novelty(encoder.ecg, sampler, config.batch_size)


def learn_novelty(
    ecg: CompactEcgEncoder,
    sources: Sequence[Source],
    scaler: LeadScaler,
    tokenizer: ReportTokenizer,
    config: VarianceConfig,
    *,
    seed: int,
) -> None:
    """Learn what is unlike training, in place: all of the second stage that is not sigma^2.

    Parameters
    ----------
    ecg : CompactEcgEncoder
        In evaluation mode from here on.
    sources, scaler, tokenizer, config, seed
        As in `learn_variance`.
    """
    ecg.eval()
    sampler = Sampler(sources, scaler, tokenizer, np.random.default_rng(seed + 1))
    _fit_novelty(ecg, sampler, config.batch_size)


def _fit_novelty(ecg: CompactEcgEncoder, sampler: Sampler, batch_size: int) -> None:
    # Features of the trunk, shape (n, n_features), whose spread says what is familiar.
    trunks = []
    with torch.no_grad():
        for _ in range(_BATCHES_FOR_NOVELTY):
            batch = sampler.views(batch_size)
            # Disturbed views: only what is unlike those, too, is to be called novel.
            trunks.append(ecg.trunk_of(ecg.frame_maps(*batch.degraded)))
    ecg.novelty.fit(torch.cat(trunks))


def _fitting(
    head: nn.Module,
    loss_of_batch: Callable[[], tuple[Tensor, dict[str, float]]],
    steps: int,
    config: VarianceConfig,
) -> Iterator[dict[str, float]]:
    """Fit a head in place, and give what each step is to log."""
    head.requires_grad_(True)
    settings = OptimiserConfig(lr=config.lr, weight_decay=config.weight_decay, beta2=0.999)
    optimiser = build_optimiser(head, settings)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * _rate_factor(step, steps)
        # Only the head's own normalisation learns; the trunk's statistics stay as they are.
        head.train()
        loss, terms = loss_of_batch()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
        optimiser.step()
        head.eval()
        yield terms


def _rate_factor(step: int, n_steps: int) -> float:
    """Share of the learning rate: linear over the first steps, then half a cosine to 0."""
    if step < _WARMUP_STEPS:
        return (step + 1) / _WARMUP_STEPS
    # Not `trainer.rate_factor`: its warm-up starts elsewhere, and it rounds in another order.
    return 0.5 * (1.0 + math.cos(math.pi * ((step - _WARMUP_STEPS) / (n_steps - _WARMUP_STEPS))))


def _reading_errors(ecg: CompactEcgEncoder, batch: ViewBatch, lost: Tensor) -> Tensor:
    """Squared errors of mu, shape (n, dim): mean of all leads' reading and the worst lead's."""
    (signal, measured), (view, visible) = batch.clean, batch.degraded
    hidden = visible.mean(-1) < 0.5
    # The lead that lost most among those that are shown at all, shape (n,).
    worst = lost.mean(2).masked_fill(hidden, -1.0).argmax(1)
    # (n, 12, 1): everything but the worst lead is masked.
    alone = functional.one_hot(worst, lost.shape[1]).to(view.dtype)[..., None]

    together = ecg.mean(view, visible) - ecg.mean(signal, measured)
    single = ecg.mean(view * alone, visible * alone) - ecg.mean(signal * alone, measured * alone)
    return 0.5 * (together.square() + single.square())


def _error_moment(ecg: CompactEcgEncoder, sampler: Sampler, batch_size: int) -> Tensor:
    """Second moment of what bad recording does to mu, shape (dim, dim)."""
    dim = ecg.mean_head.out.out_features
    second_moment = torch.zeros(dim, dim)
    with torch.no_grad():
        for _ in range(_BATCHES_FOR_AXES):
            batch = sampler.views(batch_size)
            error = ecg.mean(*batch.degraded) - ecg.mean(*batch.clean)
            # Uncentred, shape (dim, dim): faults that move all means alike count, too.
            second_moment += error.T @ error / (len(error) * _BATCHES_FOR_AXES)
    return second_moment


def _axes(second_moment: Tensor) -> tuple[Tensor, Tensor]:
    """Its principal directions, widest first, as columns; and the mean squares along them."""
    # Ascending, hence the flips below; in double precision, for the narrow directions.
    values, axes = torch.linalg.eigh(second_moment.double())
    kind = second_moment.dtype
    return axes.flip(1).to(kind), values.flip(0).clamp_min(0.0).to(kind)


@dataclass(frozen=True)
class ViewBatch:
    """The same windows twice: as recorded, and degraded.

    Attributes
    ----------
    clean, degraded : (scaled, valid), each of shape (n, 12, n_times)
    """

    clean: tuple[Tensor, Tensor]
    degraded: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TextViewBatch:
    """The same reports twice, as (token_ids, token_mask): whole, and what is left of them.

    Attributes
    ----------
    whole, left : (token_ids, token_mask), each of shape (n, n_tokens)
    """

    whole: tuple[Tensor, Tensor]
    left: tuple[Tensor, Tensor]


class Sampler:
    """Draws batches; every source is walked through in shuffled order before it repeats.

    Parameters
    ----------
    sources : sequence of Source
    scaler : LeadScaler
    tokenizer : ReportTokenizer
    rng : Generator
        Unlike `batches.Batches` a sampler remembers where it is, and cannot be resumed.
    """

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
        """One batch for the variance of ECGs.

        Parameters
        ----------
        batch_size : int

        Returns
        -------
        ViewBatch
        """
        clean_signals, clean_masks, signals, masks = [], [], [], []
        for source, row in self._draw(batch_size):
            base = rescale(source.signal_mv[row], self.rng)
            signal, mask = spoil(base, source.valid[row], self.rng)
            clean_signals.append(base)
            clean_masks.append(source.valid[row])
            signals.append(signal)
            masks.append(mask)
        return ViewBatch(
            scaled_tensors(self.scaler, clean_signals, clean_masks),
            scaled_tensors(self.scaler, signals, masks),
        )

    def text_views(self, batch_size: int) -> TextViewBatch:
        """One batch for the variance of texts: reports, and what is left of them.

        Parameters
        ----------
        batch_size : int

        Returns
        -------
        TextViewBatch
        """
        reports, remainders = [], []
        for source, row in self._draw(batch_size):
            report = source.report(row, self.rng)
            reports.append(report)
            remainders.append(self._garbled(report))
        return TextViewBatch(self._tokens(reports), self._tokens(remainders))

    def _garbled(self, report: str) -> str:
        """A report of which sentences are missing, or words nobody knows; at times as it is."""
        rng = self.rng
        sentences = sentences_of(report)
        if len(sentences) > 1 and rng.random() < 0.6:
            kept = np.sort(rng.permutation(len(sentences))[: int(rng.integers(1, len(sentences)))])
            sentences = [sentences[i] for i in kept]
        words = " ".join(sentences).split()
        # At times a word or two alone, as somebody types into a search.
        if rng.random() < 0.15:
            first = int(rng.integers(len(words)))
            words = words[first : first + int(rng.integers(1, 3))]
        # Made-up words: the head must learn that what nobody knows carries nothing.
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
        counts = rows_per_source(batch_size, [source.share for source in self.sources])
        for i, (source, n) in enumerate(zip(self.sources, counts, strict=True)):
            drawn.extend((source, int(row)) for row in self._next_rows(i, n))
        return drawn

    def _next_rows(self, i: int, n: int) -> npt.NDArray[np.int64]:
        # What is left of one pass comes before the next, so no row is drawn twice before all were.
        while len(self._queues[i]) < n:
            shuffled = self.rng.permutation(len(self.sources[i]))
            self._queues[i] = np.concatenate([self._queues[i], shuffled])
        rows, self._queues[i] = self._queues[i][:n], self._queues[i][n:]
        return rows


def _made_up_word(rng: np.random.Generator) -> str:
    letters = rng.integers(ord("a"), ord("z") + 1, size=int(rng.integers(3, 11)))
    return "".join(chr(letter) for letter in letters)
