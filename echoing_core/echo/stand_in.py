"""The stand-in echo teacher: a small open_clip model, trained on simulated frames and reports.

The loss is open_clip's own. A study enters with several frames, whose unit vectors are averaged
before the loss: one frame does not tell an ejection fraction, while the mean over frames of what
is not linear in a frame can (the mean of a size and of its square is a size and its variation).

Frames cost most of the time, and texts need more examples than that allows: after some hundred
steps texts of 45 % and 35 % are still nearer to each other than those of 45 % and 47 %. So the
frames' tower is then locked, as in LiT (Zhai et al., CVPR 2022), every third frame is embedded
once, and the texts' tower goes on alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from echoing_core.echo.measuring import figures_of, read_bank
from echoing_core.echo.reading_scale import N_ALIKE, ReadingScale, save_scale
from echoing_core.echo.simulated import FrameBank, draw_frames, spread_patients
from echoing_core.echo.teacher import (
    MEAN,
    STAND_IN_NAME,
    STD,
    check_replaceable,
    clip_loss,
    load_teacher,
    new_stand_in,
    prepare_frames,
    save_teacher,
    stand_in_config,
    tokenizer_of,
    write_card,
)
from echoing_core.metrics.results import Experiment
from echoing_core.progress import SILENT, Progress
from echoing_core.simulate.heart.state import HeartState
from echoing_core.simulate.reports import echo_report, ejection_fraction_sentence

_CLIP_NORM = 1.0
# Neighbouring frames look alike; a third of them says what all do at a third of the cost.
_BANK_STRIDE = 3
_MAX_LOGIT_SCALE = math.log(100.0)
# Patients to choose one training patient from, so that rare ejection fractions have enough.
_POOL_FACTOR = 8


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
    text_steps, text_batch_size, text_frames : int
        Of the second stage, on frames that are embedded once.
    reports_per_study : int
        Texts that each drawn study is matched with in a step: the first is its sentence with the
        ejection fraction, the others are any one of its sentences. The loss is their mean; texts
        cost little beside frames.
    """

    seed: int = 20261122
    cohort_seed: int = 4011
    n_studies: int = 1500
    n_held_out: int = 400
    n_frames: int = 16
    steps: int = 450
    batch_size: int = 40
    frames_per_study: int = 6
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 40
    text_steps: int = 200
    text_batch_size: int = 256
    text_frames: int = 8
    reports_per_study: int = 3

    @classmethod
    def sized(
        cls, *, steps: int | None = None, n_studies: int | None = None, seed: int | None = None
    ) -> StandInConfig:
        """The settings of a training of a size, with what costs time beside it in proportion.

        Parameters
        ----------
        steps, n_studies, seed : int, optional
            Without them, the defaults. The texts' own stage is at most as long as the first, and
            no more studies are held out than are trained on, down to what a scale needs.

        Returns
        -------
        StandInConfig
        """
        usual = cls()
        steps = usual.steps if steps is None else steps
        n_studies = usual.n_studies if n_studies is None else n_studies
        return cls(
            seed=usual.seed if seed is None else seed,
            steps=steps,
            n_studies=n_studies,
            text_steps=min(usual.text_steps, steps),
            n_held_out=min(usual.n_held_out, max(N_ALIKE, n_studies)),
        )


def train_teacher(
    out: Path,
    config: StandInConfig | None = None,
    *,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> Experiment:
    """Train the stand-in on simulated echo, write its folder and measure it on other patients.

    Parameters
    ----------
    out : Path
        Teacher folder, new or an older one of ours; written before the measurement and its card
        again after it.
    config : StandInConfig, optional
    n_workers : int
        Processes that simulate; the result does not depend on it.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    Experiment
        As `measuring.measure_teacher` gives it, of the held-out patients.

    Raises
    ------
    CheckpointError
        If ``out`` holds something else.
    """
    config = config or StandInConfig()
    check_replaceable(out)
    size = int(stand_in_config()["vision_cfg"]["image_size"])
    # Held-out patients have numbers beyond the pool, so none is trained on.
    first_held_out = _POOL_FACTOR * config.n_studies
    patients = [
        *spread_patients(config.cohort_seed, config.n_studies, first_held_out),
        *range(first_held_out, first_held_out + config.n_held_out),
    ]
    bank = draw_frames(
        [(config.cohort_seed, patient, 0) for patient in patients],
        (size, size),
        n_frames=config.n_frames,
        n_workers=n_workers,
        progress=progress.stage("simulate echo"),
    )
    learnt_from = FrameBank(bank.frames[: config.n_studies], bank.states[: config.n_studies])
    held_out = FrameBank(bank.frames[config.n_studies :], bank.states[config.n_studies :])
    # Only the last ones are written; the course of a loss is not comparable between settings.
    losses: list[float] = []
    started = time.monotonic()
    model = train_stand_in(
        learnt_from,
        config,
        log=lambda _, loss: losses.append(loss),
        progress=progress.stage("train the stand-in"),
    )
    card: dict[str, Any] = {
        "name": STAND_IN_NAME,
        "simulated": True,
        "note": "Learnt from simulated frames and reports only; not a model of real echo.",
        "training": asdict(config),
        "training_s": round(time.monotonic() - started, 1),
        "last_loss": round(float(np.mean(losses[-20:])), 4),
    }
    save_teacher(out, model, stand_in_config(), card)
    # As written and read again: half-precision weights are what will be used.
    teacher = load_teacher(out)
    readings = read_bank(teacher, held_out, progress=progress.stage("measure the stand-in"))
    measured = figures_of(readings)
    card["held_out"] = {
        f"{r.task}, {r.metric}, {r.model}": round(r.estimate.value, 4) for r in measured.results
    }
    write_card(out, card)
    # Fewer are no scale for what it reads of others.
    if config.n_held_out >= N_ALIKE:
        source = f"{config.n_held_out:,} simulated studies of three views, held out from training"
        save_scale(out, ReadingScale.of(readings, source=source, teacher_hash=teacher.hash))
    return measured


def train_stand_in(
    bank: FrameBank,
    config: StandInConfig,
    *,
    log: Callable[[int, float], None] | None = None,
    progress: Progress = SILENT,
) -> Any:
    """Train the small open_clip model from random weights.

    Parameters
    ----------
    bank : FrameBank
        Training studies.
    config : StandInConfig
    log : callable, optional
        Called with (step, loss).
    progress : Progress, optional
        Counts steps.

    Returns
    -------
    open_clip model
        In evaluation. The same arguments give the same weights on the same machine.
    """
    model = new_stand_in(config.seed)
    _Stages(model, bank, config, log, progress).run()
    return model.eval()


class _Stages:
    """Both stages of one training; `train_stand_in` runs them."""

    def __init__(
        self,
        model: Any,
        bank: FrameBank,
        config: StandInConfig,
        log: Callable[[int, float], None] | None,
        progress: Progress,
    ) -> None:
        self.model, self.bank, self.config = model, bank, config
        self.log, self.progress = log, progress
        self.rng = np.random.default_rng(config.seed)
        self.tokenizer, self.loss_of = tokenizer_of(stand_in_config()), clip_loss()
        self.n_done = 0

    def run(self) -> None:
        config = self.config
        self.model.train()
        self._steps(
            config.steps,
            config.batch_size,
            config.frames_per_study,
            self.bank.frames.shape[1],
            # Both towers learn: every step embeds its frames anew.
            self._of_pixels,
        )
        self.model.eval()
        # Locked, as in LiT: from here on the texts follow the frames.
        self.model.visual.requires_grad_(False)
        if config.text_steps:
            self.vectors = self._embedded_bank()
            self._steps(
                config.text_steps,
                config.text_batch_size,
                config.text_frames,
                self.vectors.shape[1],
                self._of_vectors,
            )

    def _steps(
        self,
        n_steps: int,
        batch_size: int,
        n_frames: int,
        n_bank_frames: int,
        embed: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], torch.Tensor],
    ) -> None:
        """Steps of AdamW with a warm-up and cosine of their own."""
        config, model, bank = self.config, self.model, self.bank
        groups = _parameter_groups(model, config.weight_decay)
        optimiser = torch.optim.AdamW(groups, lr=config.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: _lr_factor(step, n_steps, config.warmup_steps)
        )
        n_studies = len(bank.states)
        for _ in range(n_steps):
            rows = self.rng.choice(n_studies, min(batch_size, n_studies), replace=False)
            # With replacement: a frame drawn twice only weighs twice in the mean.
            columns = self.rng.integers(n_bank_frames, size=(len(rows), n_frames))
            # The mean over frames before the loss: it holds variation, one frame does not.
            of_studies = functional.normalize(embed(rows, columns).mean(dim=1), dim=-1)
            reports = _drawn_reports([bank.states[int(i)] for i in rows], config, self.rng)
            of_reports = self._of_texts(reports).unflatten(0, (-1, len(rows)))
            # Learnt as its logarithm, so that it stays positive.
            scale = model.logit_scale.exp()
            losses = [self.loss_of(of_studies, texts, scale) for texts in of_reports]
            loss = torch.stack(losses).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            # A batch of hearts that are all alike gives gradients many times the usual ones.
            torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                # As CLIP: a scale beyond 100 makes training unstable.
                model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
            if self.log is not None:
                self.log(self.n_done, float(loss.detach()))
            self.n_done += 1
            self.progress(self.n_done, config.steps + config.text_steps)

    def _of_texts(self, texts: list[str]) -> Any:
        """Unit vectors; hearts that share a sentence share its cost."""
        distinct = list(dict.fromkeys(texts))
        vectors = self.model.encode_text(self.tokenizer(distinct), normalize=True)
        place = {text: i for i, text in enumerate(distinct)}
        return vectors[torch.tensor([place[text] for text in texts])]

    def _of_pixels(
        self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> torch.Tensor:
        pixels = _prepared(self.bank.frames[rows[:, None], columns])
        vectors: torch.Tensor = self.model.encode_image(pixels.flatten(0, 1), normalize=True)
        return vectors.reshape(*columns.shape, -1)

    def _of_vectors(
        self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> torch.Tensor:
        return self.vectors[torch.from_numpy(rows)[:, None], torch.from_numpy(columns)]

    def _embedded_bank(self) -> torch.Tensor:
        """Unit vectors of every third frame, shape (n_studies, n_frames / 3, dim)."""
        with torch.no_grad():
            return torch.stack(
                [
                    self.model.encode_image(_prepared(frames), normalize=True)
                    for frames in self.bank.frames[:, ::_BANK_STRIDE]
                ]
            )


def _prepared(grey: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Grey frames, shape (..., size, size), as the model reads them: (..., 3, size, size)."""
    frames = torch.from_numpy(grey)
    lead, size = frames.shape[:-2], (frames.shape[-2], frames.shape[-1])
    # A view, not a copy: the three channels are the same numbers.
    rgb = frames.reshape(-1, *size, 1).expand(-1, -1, -1, 3)
    return prepare_frames(rgb, size, MEAN, STD).reshape(*lead, 3, *size)


def _drawn_reports(
    states: Sequence[HeartState], config: StandInConfig, rng: np.random.Generator
) -> list[str]:
    """All studies' first texts, then all studies' second ones, and so on."""
    texts = [ejection_fraction_sentence(state, rng) for state in states]
    for _ in range(config.reports_per_study - 1):
        texts += [echo_report(state, rng, n_sentences=1) for state in states]
    return texts


def _parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only, as CLIP."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    # Gains, biases and the logit scale have one axis or none.
    decayed = [p for p in learnt if p.ndim > 1]
    plain = [p for p in learnt if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def _lr_factor(step: int, n_steps: int, n_warmup: int) -> float:
    if step < n_warmup:
        return (step + 1) / n_warmup
    # A run that is all warm-up would divide by zero.
    done = (step - n_warmup) / max(n_steps - n_warmup, 1)
    return 0.5 * (1.0 + math.cos(math.pi * done))
