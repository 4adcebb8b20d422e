"""Two stages: the space, then the variance head on the frozen space.

Why two: a variance that learns from how far corruption moves mu must not be able to move mu
itself, or it shrinks its own target.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from echoing_core.config import TrainingConfig
from echoing_core.losses import MatchingLoss, displacement_nll
from echoing_core.models.dual_encoder import DualEncoder
from echoing_core.training.sampling import Sampler

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Log = Callable[[dict[str, float]], None]


@dataclass(frozen=True, eq=False)
class TrainedSpace:
    """Result of the first stage: averaged weights and the loss's learnt constants."""

    encoder: DualEncoder
    scale: float
    shift: float


def train_space(
    encoder: DualEncoder,
    sampler: Sampler,
    config: TrainingConfig,
    *,
    progress: Progress | None = None,
    log: Log | None = None,
) -> TrainedSpace:
    """Stage 1: both encoders, by the matching loss of ``config.loss``.

    AdamW, linear warm-up, cosine to zero, gradient norm clipped. Returned are the exponential
    moving average of the weights (its BatchNorm statistics follow the live model).
    """
    loss = MatchingLoss(config.loss)
    average = copy.deepcopy(encoder)
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(
        _parameter_groups([encoder, loss], config.weight_decay), lr=config.lr, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _warmup_cosine(config.warmup_steps, config.steps)
    )
    for step in range(config.steps):
        encoder.train()
        batch = sampler.pairs(config.batch_size)
        mu_ecg, log_var_ecg = encoder.ecg(batch.scaled, batch.valid)
        mu_text, log_var_text = encoder.text(batch.token_ids, batch.token_mask)
        terms = loss(mu_ecg, log_var_ecg, mu_text, log_var_text, batch.match)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(terms.total)
        norm = nn.utils.clip_grad_norm_(encoder.parameters(), config.clip_norm)
        optimiser.step()
        schedule.step()
        # A short memory at the start, or the average would drag its random beginning along.
        _follow(average, encoder, min(config.ema_decay, (1 + step) / (10 + step)))
        if log is not None:
            log(
                {
                    "step": float(step),
                    "loss": terms.total.item(),
                    "match": terms.match.item(),
                    "grad_norm": norm.item(),
                    "scale": loss.scale.item(),
                    "shift": loss.shift.item(),
                    "sigma2_ecg": float(log_var_ecg.detach().exp().sum(1).mean()),
                    "sigma2_text": float(log_var_text.detach().exp().sum(1).mean()),
                }
            )
        if progress is not None:
            progress(step + 1, config.steps)
    average.eval()
    return TrainedSpace(average, loss.scale.item(), loss.shift.item())


def train_variance(
    encoder: DualEncoder,
    sampler: Sampler,
    config: TrainingConfig,
    *,
    progress: Progress | None = None,
    log: Log | None = None,
) -> None:
    """Stage 2, in place: the ECG variance head alone, by `displacement_nll`."""
    encoder.eval()
    encoder.requires_grad_(False)
    head = encoder.ecg.variance_head
    head.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        _parameter_groups([head], config.weight_decay), lr=config.variance_lr
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _warmup_cosine(20, config.variance_steps)
    )
    for step in range(config.variance_steps):
        batch = sampler.views(config.batch_size)
        with torch.no_grad():
            mu_clean = encoder.ecg.mean_from(encoder.ecg.frame_maps(*batch.clean))
            maps = encoder.ecg.frame_maps(*batch.seen)
            mu_seen = encoder.ecg.mean_from(maps)
        # Only the head's own normalisation learns; the trunk's statistics stay as they are.
        head.train()
        log_var = encoder.ecg.log_var_from(maps)
        loss = displacement_nll(mu_seen, mu_clean, log_var)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
        optimiser.step()
        schedule.step()
        head.eval()
        if log is not None:
            moved = (mu_seen - mu_clean).square().sum(1)
            log(
                {
                    "step": float(step),
                    "nll": loss.item(),
                    "moved": float(moved.mean()),
                    "sigma2": float(log_var.detach().exp().sum(1).mean()),
                }
            )
        if progress is not None:
            progress(step + 1, config.variance_steps)
    encoder.requires_grad_(False)


def _follow(average: nn.Module, live: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), live.parameters(), strict=True):
            slow.lerp_(fast, 1.0 - decay)
        for kept, current in zip(average.buffers(), live.buffers(), strict=True):
            kept.copy_(current)


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
