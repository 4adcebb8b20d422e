"""The second stage: the variance heads, on the frozen space that `training.run` made.

Why a second: a variance that learns from how far corruption moves mu must not be able to move mu
itself, or it shrinks its own target.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.losses import displacement_nll, lost_share, sum_nll
from echoing_core.models.variance_head import HOP, lead_statistics
from echoing_core.progress import SILENT, Progress
from echoing_core.training.sampling import Sampler, ViewBatch
from echoing_core.training.settings import TrainingConfig

logger = logging.getLogger(__name__)

Log = Callable[[int, Mapping[str, float]], None]
"""Called with step and figures."""

_WHERE_WEIGHT = 3.0
_BATCHES_FOR_AXES = 40
_BATCHES_FOR_FAMILIARITY = 60


def train_variance(
    encoder: DualEncoder,
    sampler: Sampler,
    config: TrainingConfig,
    *,
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
    """
    encoder.eval()
    encoder.requires_grad_(False)
    axes, variances = _error_axes(encoder.ecg, sampler, config.variance_batch_size)
    encoder.rotate(axes)
    encoder.ecg.variance_head.start_from(variances)
    ecg_head, text_head = encoder.ecg.variance_head, encoder.text.variance_head

    def where_loss() -> tuple[Tensor, dict[str, float]]:
        batch = sampler.views(config.variance_batch_size)
        lost = lost_share(batch.clean, batch.seen, HOP)
        _, logit = ecg_head.look(ecg_head.frames(*batch.seen), lead_statistics(*batch.seen))
        where = functional.binary_cross_entropy_with_logits(logit, lost)
        return where, {"where": where.item()}

    def ecg_loss() -> tuple[Tensor, dict[str, float]]:
        batch = sampler.views(config.variance_batch_size)
        lost = lost_share(batch.clean, batch.seen, HOP)
        with torch.no_grad():
            squared = _reading_errors(encoder.ecg, batch, lost)
        parts = encoder.ecg.variance_from(encoder.ecg.frame_maps(*batch.seen))
        nll = displacement_nll(squared, parts.log_var)
        whole = sum_nll(squared, parts.log_var)
        where = functional.binary_cross_entropy_with_logits(parts.lost_logit, lost)
        sigma2 = float(parts.log_var.detach().exp().sum(1).mean())
        moved = float(squared.sum(1).mean())
        terms = {"nll": nll.item(), "sum_nll": whole.item(), "where": where.item()}
        return nll + whole + _WHERE_WEIGHT * where, {**terms, "moved": moved, "sigma2": sigma2}

    def text_loss() -> tuple[Tensor, dict[str, float]]:
        batch = sampler.text_views(config.batch_size)
        with torch.no_grad():
            whole, _ = encoder.text(*batch.whole)
        left, log_var = encoder.text(*batch.left)
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
        (ecg_head, where_loss, config.where_steps),
        (ecg_head, ecg_loss, config.variance_steps),
        (text_head, text_loss, config.text_variance_steps),
    )
    total, done = sum(steps for _, _, steps in stages), 0
    for head, loss_of_batch, steps in stages:
        for step, terms in enumerate(_fitting(head, loss_of_batch, steps, config)):
            if log is not None:
                log(done + step, terms)
            progress(done + step + 1, total)
        done += steps
    encoder.requires_grad_(False)
    _learn_what_is_familiar(encoder.ecg, sampler, config.variance_batch_size)


def _learn_what_is_familiar(ecg: CompactEcgEncoder, sampler: Sampler, batch_size: int) -> None:
    trunks = []
    with torch.no_grad():
        for _ in range(_BATCHES_FOR_FAMILIARITY):
            batch = sampler.views(batch_size)
            trunks.append(ecg.trunk_of(ecg.frame_maps(*batch.seen)))
    ecg.novelty.fit(torch.cat(trunks))


def _fitting(
    head: nn.Module,
    loss_of_batch: Callable[[], tuple[Tensor, dict[str, float]]],
    steps: int,
    config: TrainingConfig,
) -> Iterator[dict[str, float]]:
    """Fit a head in place, and give what each step is to log."""
    head.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        _parameter_groups([head], config.weight_decay), lr=config.variance_lr
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(50, steps))
    for _ in range(steps):
        # Only the head's own normalisation learns; the trunk's statistics stay as they are.
        head.train()
        loss, terms = loss_of_batch()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
        optimiser.step()
        schedule.step()
        head.eval()
        yield terms


def _reading_errors(ecg: CompactEcgEncoder, batch: ViewBatch, lost: Tensor) -> Tensor:
    """Squared errors of mu, shape (n, dim): mean of all leads' reading and the worst lead's."""
    (signal, measured), (view, visible) = batch.clean, batch.seen
    hidden = visible.mean(-1) < 0.5
    worst = lost.mean(2).masked_fill(hidden, -1.0).argmax(1)
    alone = functional.one_hot(worst, lost.shape[1]).to(view.dtype)[..., None]

    together = ecg.mean(view, visible) - ecg.mean(signal, measured)
    single = ecg.mean(view * alone, visible * alone) - ecg.mean(signal * alone, measured * alone)
    return 0.5 * (together.square() + single.square())


def _error_axes(ecg: CompactEcgEncoder, sampler: Sampler, batch_size: int) -> tuple[Tensor, Tensor]:
    """Principal directions of what bad recording does to mu, widest first, as columns.

    Beside them the mean squared error in each direction, shape (dim,).
    """
    dim = ecg.mean_head.out.out_features
    second_moment = torch.zeros(dim, dim)
    with torch.no_grad():
        for _ in range(_BATCHES_FOR_AXES):
            batch = sampler.views(batch_size)
            error = ecg.mean(*batch.seen) - ecg.mean(*batch.clean)
            second_moment += error.T @ error / (len(error) * _BATCHES_FOR_AXES)
    values, axes = torch.linalg.eigh(second_moment.double())
    kind = second_moment.dtype
    return axes.flip(1).to(kind), values.flip(0).clamp_min(0.0).to(kind)


def _parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices only: on biases, norms and scales it has no meaning."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _warmup_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return factor
