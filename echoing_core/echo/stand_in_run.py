"""The stand-in echo teacher from nothing: simulate, train, write, measure; and what it embeds.

No echo video with a report is public, and ECHO-CLIP's weights are not everybody's. The stand-in
makes everything after the teacher run and be measured; it is not a model of real echo.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.echo.loading import (
    STAND_IN_NAME,
    check_replaceable,
    load_teacher,
    save_teacher,
    stand_in_config,
    write_card,
)
from echoing_core.echo.measured import LIVING_PCT, correlation, mean_absolute_error
from echoing_core.echo.prompts import (
    BINARY_PROMPTS,
    binary_reading,
    filled,
    regression_reading,
)
from echoing_core.echo.stand_in import FrameBank, StandInConfig, train_stand_in
from echoing_core.echo.store import EchoEmbeddings
from echoing_core.echo.teacher import EchoTeacher, echo_gaussian, resized_by_area
from echoing_core.errors import ConfigError
from echoing_core.metrics.bootstrap import patient_bootstrap
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import auroc
from echoing_core.progress import SILENT, Progress
from echoing_core.simulate.ecg.reading import true_labels
from echoing_core.simulate.echo.clips import study_clips
from echoing_core.simulate.heart.patients import parse_record_id, patient_id, patient_state
from echoing_core.simulate.heart.state import HeartState

Floats = npt.NDArray[np.float64]
Item = str | tuple[int, int, int]
"""A simulated study: its study or record id, or seed, patient and ECG."""

FRAMES_PER_CLIP = 16
"""Frames drawn of each simulated view, over two and a half beats."""

HELD_OUT = "simulated held-out patients"

_CHUNK = 16
_POOL_FACTOR = 8
_BIN_POINTS = 5.0
_STUDY_ID = re.compile(r"(sim-\d+-\d{6,})-s(\d+)")
_TASKS = {"lvef_lt40": "LVEF < 40 %", "slvh": "SLVH", "dlv": "DLV"}
_STATES = {"lvef_pct": "LVEF, points", "wall_mm": "wall, mm", "lvedd_mm": "LVEDD, mm"}
_RIDGE_PENALTIES = np.logspace(-1, 5, 13)
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class MeasuredTeacher:
    """A teacher on simulated echo.

    Attributes
    ----------
    results : tuple of Result
        ``model`` is the way of reading: by prompts, or a linear read-out.
    n_studies, n_frames : int
        Measured studies and frames of each.
    """

    results: tuple[Result, ...]
    n_studies: int
    n_frames: int


def train_teacher(
    out: Path,
    config: StandInConfig | None = None,
    *,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> MeasuredTeacher:
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

    Raises
    ------
    CheckpointError
        If ``out`` holds something else.
    """
    config = config or StandInConfig()
    check_replaceable(out)
    size = int(stand_in_config()["vision_cfg"]["image_size"])
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
    seen = FrameBank(bank.frames[: config.n_studies], bank.states[: config.n_studies])
    held_out = FrameBank(bank.frames[config.n_studies :], bank.states[config.n_studies :])
    losses: list[float] = []
    started = time.monotonic()
    model = train_stand_in(
        seen,
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
    measured = measure_teacher(
        load_teacher(out), held_out, progress=progress.stage("measure the stand-in")
    )
    card["held_out"] = {
        f"{r.task}, {r.metric}, {r.model}": round(r.estimate.value, 4) for r in measured.results
    }
    write_card(out, card)
    return measured


def spread_patients(seed: int, n: int, n_pool: int) -> list[int]:
    """Choose simulated patients so that their ejection fractions are spread evenly.

    Seven of ten simulated hearts lie around 60 %, and a contrast of 58 with 62 teaches little.
    Bins of five points are emptied in turn, from 10 % to 78 % or as far as the pool reaches.

    Parameters
    ----------
    seed : int
        Of the cohort.
    n, n_pool : int
        How many to choose, out of patients 0 to n_pool - 1.

    Returns
    -------
    list of int
        In the order of their numbers.
    """
    if n > n_pool:
        raise ValueError(f"{n} patients cannot be chosen out of {n_pool}")
    bins: dict[int, list[int]] = {}
    for patient in range(n_pool):
        lvef_pct = patient_state(seed, patient).lvef_pct
        bins.setdefault(int(lvef_pct // _BIN_POINTS), []).append(patient)
    chosen: list[int] = []
    layer = 0
    while len(chosen) < n:
        # Each turn takes one patient of every bin that is not yet empty.
        chosen += [bins[b][layer] for b in sorted(bins) if layer < len(bins[b])][: n - len(chosen)]
        layer += 1
    return sorted(chosen)


def measure_teacher(
    teacher: EchoTeacher,
    bank: FrameBank,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> MeasuredTeacher:
    """ECHO-CLIP's zero-shot readings of simulated studies, and a linear read-out beside them.

    The read-out is ridge regression from mean and log variance, five-fold over the studies: what
    the embedding holds, whether or not the prompts find it.

    Parameters
    ----------
    teacher : EchoTeacher
    bank : FrameBank
        Studies that it was not trained on, one a patient.
    """
    texts, values = filled()
    of_texts = teacher.embed_text(texts)
    # ECHO-CLIP offers 0 to 100 %; no heart of the simulation, and hardly one elsewhere, is there.
    living = (values >= LIVING_PCT[0]) & (values <= LIVING_PCT[1])
    of_findings = {task: teacher.embed_text(BINARY_PROMPTS[task]) for task in _TASKS}
    read_pct = np.empty(len(bank.states))
    near_pct = np.empty(len(bank.states))
    scores: dict[str, Floats] = {task: np.empty(len(bank.states)) for task in _TASKS}
    mu, log_var = [], []
    for i, frames in enumerate(bank.frames):
        vectors = teacher.embed_frames(_rgb(frames))
        similarity = vectors @ of_texts.T
        read_pct[i] = regression_reading(similarity, values)
        near_pct[i] = regression_reading(similarity[:, living], values[living])
        for task, prompts in of_findings.items():
            scores[task][i] = binary_reading(vectors @ prompts.T)
        gaussian = echo_gaussian(vectors)
        mu.append(gaussian[0])
        log_var.append(gaussian[1])
        progress(i + 1, len(bank.states))

    truth = {name: np.array([getattr(s, name) for s in bank.states]) for name in _STATES}
    labels = [true_labels(state, ()) for state in bank.states]
    patients = np.arange(len(bank.states))

    def result(
        place: tuple[str, str, str], metric: Callable[..., float], *arrays: Floats
    ) -> Result:
        estimate = patient_bootstrap(metric, arrays, patients, n_resamples=n_resamples)
        return Result(HELD_OUT, *place, estimate, simulated=True)

    results = [
        result(
            (_STATES["lvef_pct"], "MAE", "prompts"),
            mean_absolute_error,
            truth["lvef_pct"],
            read_pct,
        ),
        result(
            (_STATES["lvef_pct"], "MAE", "prompts, 10 to 80 %"),
            mean_absolute_error,
            truth["lvef_pct"],
            near_pct,
        ),
        result((_STATES["lvef_pct"], "r", "prompts"), correlation, truth["lvef_pct"], read_pct),
    ]
    # Low ejection fractions are positive.
    scores["lvef_lt40 by number"] = -read_pct
    for task, score in scores.items():
        key = task.removesuffix(" by number")
        way = "prompts" if key == task else "prompts, number"
        positive = np.array([label[key] for label in labels], dtype=np.float64)
        results.append(result((_TASKS[key], "AUROC", way), auroc, positive, score))
    parts = {"mean": np.stack(mu), "log variance": np.stack(log_var)}
    parts["mean and log variance"] = np.hstack(list(parts.values()))
    for part, inputs in parts.items():
        for name, told in _STATES.items():
            predicted = _cross_fitted(inputs.astype(np.float64), truth[name])
            results.append(
                result(
                    (told, "MAE", f"ridge on {part}"), mean_absolute_error, truth[name], predicted
                )
            )
    return MeasuredTeacher(tuple(results), len(bank.states), int(bank.frames.shape[1]))


def simulated_echo_embeddings(
    teacher: EchoTeacher,
    items: Sequence[Item],
    *,
    n_frames: int = FRAMES_PER_CLIP,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> EchoEmbeddings:
    """Gaussians of simulated studies, without files: clips are drawn, embedded and forgotten.

    Parameters
    ----------
    teacher : EchoTeacher
    items : sequence
        Study ids (``sim-7-000123-s0``), record ids (``sim-7-000123-0``), or seed, patient and
        ECG. A text stands in the result as it was given, numbers as their study id.
    n_frames : int
        Of each of the three views; all are embedded and pooled. Half as many as a written
        simulated clip has, of which ECHO-CLIP's choice takes every second.
    n_workers : int
        Processes that simulate; the result does not depend on it.
    progress : Progress, optional
        Counts studies.

    Raises
    ------
    ConfigError
        If a text is not the name of a simulated study.
    """
    numbers = [_numbers(item) for item in items]
    mu, log_var, counts = [], [], []
    for done, frames in enumerate(_drawn(numbers, teacher.image_size, n_frames, n_workers), 1):
        gaussian = echo_gaussian(teacher.embed_frames(_rgb(frames)))
        mu.append(gaussian[0])
        log_var.append(gaussian[1])
        counts.append(len(frames))
        progress(done, len(items))
    empty = np.empty((0, teacher.dim), np.float32)
    return EchoEmbeddings(
        study_ids=tuple(
            item if isinstance(item, str) else f"{patient_id(*item[:2])}-s{item[2]}"
            for item in items
        ),
        mu=np.stack(mu) if mu else empty,
        log_var=np.stack(log_var) if log_var else empty,
        n_frames=np.array(counts, dtype=np.int64),
        teacher=teacher.name,
        teacher_hash=teacher.hash,
        simulated=True,
    )


def draw_frames(
    items: Sequence[tuple[int, int, int]],
    size: tuple[int, int],
    *,
    n_frames: int = FRAMES_PER_CLIP,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> FrameBank:
    """Simulate studies and keep their grey frames at a model's own size.

    Parameters
    ----------
    items : sequence of (seed, patient, ecg)
    size : (int, int)
    """
    frames = []
    for done, drawn in enumerate(_drawn(items, size, n_frames, n_workers), start=1):
        frames.append(drawn)
        progress(done, len(items))
    states: tuple[HeartState, ...] = tuple(patient_state(*item) for item in items)
    return FrameBank(np.stack(frames), states)


def _drawn(
    items: Sequence[tuple[int, int, int]],
    size: tuple[int, int],
    n_frames: int,
    n_workers: int,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Grey frames of one study after the other, shape (n_views * n_frames, *size)."""
    if n_workers < 1:
        raise ConfigError(f"{n_workers} workers cannot simulate anything. Use at least 1.")
    pieces = [items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK)]
    draw = partial(_draw_piece, size=size, n_frames=n_frames)
    if n_workers == 1 or len(pieces) <= 1:
        for piece in pieces:
            yield from draw(piece)
        return
    # A forked child of a process that runs threads (torch) can hang on their locks.
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        for drawn in pool.map(draw, pieces):
            yield from drawn


def _draw_piece(
    items: Sequence[tuple[int, int, int]], size: tuple[int, int], n_frames: int
) -> list[npt.NDArray[np.uint8]]:
    drawn = []
    for item in items:
        clips = study_clips(*item, n_frames=n_frames)
        # Simulated frames are grey, so one of the three channels is all of them.
        grey = np.concatenate([clip.frames[..., 0] for clip in clips])
        small = resized_by_area(torch.from_numpy(grey).float(), size)
        drawn.append(small.round().to(torch.uint8).numpy())
    return drawn


def _rgb(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=-1)


def _numbers(item: Item) -> tuple[int, int, int]:
    if not isinstance(item, str):
        return item
    match = _STUDY_ID.fullmatch(item)
    return parse_record_id(item if match is None else f"{match[1]}-{match[2]}")


def _cross_fitted(inputs: Floats, targets: Floats) -> Floats:
    """Ridge predictions of each fifth of the rows from the other four."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(_RIDGE_PENALTIES))
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, inputs, targets, cv=folds))
