"""The stand-in echo teacher: a small open_clip model, trained on simulated frames and reports.

The loss is open_clip's own. A study enters with several frames, whose unit vectors are averaged
before the loss: one frame does not tell an ejection fraction, while the mean over frames of what
is not linear in a frame can (the mean of a size and of its square is a size and its variation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from echoing_core.models.echo_loading import (
    MEAN,
    STD,
    clip_loss,
    new_stand_in,
    stand_in_config,
    tokenizer_of,
)
from echoing_core.models.echo_teacher import prepare_frames
from echoing_core.simulate.echo_reports import echo_report, ejection_fraction_sentence
from echoing_core.simulate.heart import HeartState

Progress = Callable[[int, int], None]

_CLIP_NORM = 1.0
_MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class StandInConfig:
    """One training of the stand-in.

    Attributes
    ----------
    seed : int
        Of weights, draws of frames and reports.
    cohort_seed : int
        Of the simulated patients; different from every cohort that is evaluated.
    n_studies, n_held_out : int
        Simulated patients to train on, and others to measure on.
    n_frames : int
        Frames drawn of each view.
    steps, batch_size, frames_per_study : int
    lr, weight_decay : float
        Of AdamW, with warm-up and cosine.
    warmup_steps : int
    reports_per_study : int
        Texts that each drawn study is matched with in a step: the first is its sentence with the
        ejection fraction, the others are one to three sentences. The loss is their mean; texts
        cost little beside frames.
    """

    seed: int = 20261122
    cohort_seed: int = 4011
    n_studies: int = 1500
    n_held_out: int = 400
    n_frames: int = 16
    steps: int = 600
    batch_size: int = 40
    frames_per_study: int = 6
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 40
    reports_per_study: int = 3


@dataclass(frozen=True, eq=False)
class FrameBank:
    """Grey frames of simulated studies in memory, at the model's own size.

    Attributes
    ----------
    frames : ndarray, shape (n_studies, n_frames, size, size), uint8
        All views of a study, one after the other.
    states : tuple of HeartState, n_studies
    """

    frames: npt.NDArray[np.uint8]
    states: tuple[HeartState, ...]

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or len(self.frames) != len(self.states):
            raise ValueError(f"frames {self.frames.shape} do not fit {len(self.states)} states")


def train_stand_in(
    bank: FrameBank,
    config: StandInConfig,
    *,
    log: Callable[[int, float], None] | None = None,
    progress: Progress | None = None,
) -> Any:
    """Train the small open_clip model from random weights.

    Parameters
    ----------
    bank : FrameBank
        Training studies.
    config : StandInConfig
    log : callable, optional
        Called with (step, loss).
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    open_clip model
        In evaluation. The same arguments give the same weights on the same machine.
    """
    model = new_stand_in(config.seed)
    tokenizer, loss_of = tokenizer_of(stand_in_config()), clip_loss()
    rng = np.random.default_rng(config.seed)
    optimiser = torch.optim.AdamW(_parameter_groups(model, config.weight_decay), lr=config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _lr_factor(step, config))
    model.train()
    for step in range(config.steps):
        rows = rng.choice(len(bank.states), min(config.batch_size, len(bank.states)), replace=False)
        pixels = _drawn_frames(bank, rows, config.frames_per_study, rng)
        ids = tokenizer(_drawn_reports([bank.states[int(i)] for i in rows], config, rng))
        of_frames = model.encode_image(pixels, normalize=True)
        of_studies = of_frames.unflatten(0, (len(rows), config.frames_per_study)).mean(dim=1)
        of_studies = functional.normalize(of_studies, dim=-1)
        of_reports = model.encode_text(ids, normalize=True).unflatten(0, (-1, len(rows)))
        scale = model.logit_scale.exp()
        losses = [loss_of(of_studies, reports, scale) for reports in of_reports]
        loss = torch.stack(losses).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            # As CLIP: a scale beyond 100 makes training unstable.
            model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
        if log is not None:
            log(step, float(loss.detach()))
        if progress is not None:
            progress(step + 1, config.steps)
    return model.eval()


def _drawn_frames(
    bank: FrameBank, rows: npt.NDArray[np.int64], n_frames: int, rng: np.random.Generator
) -> torch.Tensor:
    """Frames of any view, shape (n_rows * n_frames, 3, size, size), as the model reads them."""
    drawn = rng.integers(bank.frames.shape[1], size=(len(rows), n_frames))
    grey = torch.from_numpy(bank.frames[rows[:, None], drawn]).flatten(0, 1)
    size = (grey.shape[1], grey.shape[2])
    return prepare_frames(grey[..., None].expand(-1, -1, -1, 3), size, MEAN, STD)


def _drawn_reports(
    states: Sequence[HeartState], config: StandInConfig, rng: np.random.Generator
) -> list[str]:
    """All studies' first texts, then all studies' second ones, and so on."""
    texts = [ejection_fraction_sentence(state, rng) for state in states]
    for _ in range(config.reports_per_study - 1):
        texts += [echo_report(s, rng, n_sentences=int(rng.integers(1, 4))) for s in states]
    return texts


def _parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only, as CLIP."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def _lr_factor(step: int, config: StandInConfig) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return 0.5 * (1.0 + math.cos(math.pi * done))
