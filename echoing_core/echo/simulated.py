"""Simulated studies as a teacher sees them: grey frames in memory at the model's own size.

No echo video with a report is public, and ECHO-CLIP's weights are not everybody's. Simulated
studies make everything around the teacher run and be measured; they are not real echo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.echo.store import POINT_LOG_VAR, EchoEmbeddings
from echoing_core.echo.teacher import EchoTeacher, echo_gaussian, resized_by_area
from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.simulate.echo.clips import VIEWS, study_clips
from echoing_core.simulate.heart.patients import parse_record_id, patient_id, patient_state
from echoing_core.simulate.heart.state import HeartState
from echoing_core.simulate.reports import echo_report
from echoing_core.workers import in_order

Item = str | tuple[int, int, int]
"""A simulated study: its study or record id, or seed, patient and ECG."""

FRAMES_PER_CLIP = 16
"""Frames drawn of each simulated view, over two and a half beats."""

# Studies that a worker draws before it hands them back: the cost of a process against memory.
_CHUNK = 16
_BIN_POINTS = 5.0
_STUDY_ID = re.compile(r"(sim-\d+-\d{6,})-s(\d+)")


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
        # The state alone costs microseconds; nothing is drawn for patients that are not chosen.
        lvef_pct = patient_state(seed, patient).lvef_pct
        bins.setdefault(int(lvef_pct // _BIN_POINTS), []).append(patient)
    chosen: list[int] = []
    layer = 0
    while len(chosen) < n:
        # Each turn takes one patient of every bin that is not yet empty.
        chosen += [bins[b][layer] for b in sorted(bins) if layer < len(bins[b])][: n - len(chosen)]
        layer += 1
    return sorted(chosen)


def simulated_echo_embeddings(
    teacher: EchoTeacher,
    items: Sequence[Item],
    *,
    n_frames: int = FRAMES_PER_CLIP,
    by_clip: bool = False,
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
        Of each of the three views. Half as many as a written simulated clip has, of which
        ECHO-CLIP's choice takes every second.
    by_clip : bool
        One row a view, in the order of `simulate.echo.clips.VIEWS`; else all views of a study are
        pooled.
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
    n_rows = len(VIEWS) if by_clip else 1
    for done, frames in enumerate(_drawn(numbers, teacher.image_size, n_frames, n_workers), 1):
        # Pooled, or apart, as `store.embed_study` does.
        for vectors in np.split(teacher.embed_frames(rgb_of(frames)), n_rows):
            gaussian = echo_gaussian(vectors)
            mu.append(gaussian[0])
            log_var.append(gaussian[1])
            counts.append(len(vectors))
        progress(done, len(items))
    # np.stack refuses an empty list.
    empty = np.empty((0, teacher.dim), np.float32)
    studies = [
        item if isinstance(item, str) else f"{patient_id(*item[:2])}-s{item[2]}" for item in items
    ]
    return EchoEmbeddings(
        study_ids=tuple(study for study in studies for _ in range(n_rows)),
        clip_ids=tuple(f"{study}-{view}" for study in studies for view in VIEWS) if by_clip else (),
        mu=np.stack(mu) if mu else empty,
        log_var=np.stack(log_var) if log_var else empty,
        n_frames=np.array(counts, dtype=np.int64),
        teacher=teacher.name,
        teacher_hash=teacher.hash,
        simulated=True,
    )


def simulated_text_embeddings(
    teacher: EchoTeacher, items: Sequence[Item], *, n_texts: int = 4, seed: int = 0
) -> EchoEmbeddings:
    """A teacher's embeddings of echo reports of simulated studies, worded anew for each.

    Parameters
    ----------
    teacher : EchoTeacher
    items : sequence
        As in `simulated_echo_embeddings`.
    n_texts : int
        Reports a study.
    seed : int
        Of the wording.

    Returns
    -------
    EchoEmbeddings
        One row a report; a point, without a variance that means anything.

    Raises
    ------
    ConfigError
        If a text is not the name of a simulated study.
    """
    texts, ids = [], []
    for item in items:
        numbers = _numbers(item)
        rng = np.random.default_rng((seed, *numbers))
        texts += [echo_report(patient_state(*numbers), rng) for _ in range(n_texts)]
        name = item if isinstance(item, str) else f"{patient_id(*item[:2])}-s{item[2]}"
        ids += [name] * n_texts
    mu = teacher.embed_text(texts)
    return EchoEmbeddings(
        study_ids=tuple(ids),
        mu=mu,
        log_var=np.full(mu.shape, POINT_LOG_VAR, dtype=np.float32),
        n_frames=np.ones(len(mu), dtype=np.int64),
        teacher=teacher.name,
        teacher_hash=teacher.hash,
        simulated=True,
        clip_ids=tuple(f"{name}-text-{k % n_texts}" for k, name in enumerate(ids)),
        frames="",
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
        Height and width.
    n_frames : int
        Of each view.
    n_workers : int
        Processes that simulate; the result does not depend on it.
    progress : Progress, optional
        Counts studies.

    Returns
    -------
    FrameBank

    Raises
    ------
    ConfigError
        If ``n_workers`` is less than one.
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
    # Pieces of fixed size, so that the number of workers changes no draw.
    pieces = [items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK)]
    draw = partial(_draw_piece, size=size, n_frames=n_frames)
    # A process of its own takes seconds to import what it needs.
    n_workers = min(n_workers, max(1, len(pieces)))
    for drawn in in_order(draw, ((piece,) for piece in pieces), n_workers=n_workers):
        yield from drawn


def _draw_piece(
    items: Sequence[tuple[int, int, int]], size: tuple[int, int], n_frames: int
) -> list[npt.NDArray[np.uint8]]:
    drawn = []
    for item in items:
        clips = study_clips(*item, n_frames=n_frames)
        # Simulated frames are grey, so one of the three channels is all of them.
        grey = np.concatenate([clip.frames[..., 0] for clip in clips])
        # At the model's size at once: the full frames of 1500 studies take 2.7 GB.
        small = resized_by_area(torch.from_numpy(grey).float(), size)
        drawn.append(small.round().to(torch.uint8).numpy())
    return drawn


def rgb_of(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey frames of shape (n, height, width) as the three equal channels that a teacher reads."""
    return np.repeat(grey[..., None], 3, axis=-1)


def _numbers(item: Item) -> tuple[int, int, int]:
    if not isinstance(item, str):
        return item
    # Ids of studies and of records name the same patient and ECG.
    match = _STUDY_ID.fullmatch(item)
    return parse_record_id(item if match is None else f"{match[1]}-{match[2]}")
