"""What an echo teacher reads off real videos of known ejection fraction, zero-shot.

ECHO-CLIP's own two ways (`evaluate.echo_prompts`): the number by which prompt it is most similar
to, and the mean similarity to prompts of a reduced function. Nothing is fitted to the videos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.echo.embedding import ECHO_CLIP_FRAMES, FrameChoice
from echoing_core.echo.prompts import (
    BINARY_PROMPTS,
    binary_reading,
    filled,
    regression_reading,
)
from echoing_core.echo.teacher import EchoTeacher
from echoing_core.errors import DataSetError, RecordError
from echoing_core.metrics.bootstrap import patient_bootstrap
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import auroc
from echoing_core.progress import SILENT, Progress
from echoing_core.records import EchoStudy

Floats = npt.NDArray[np.float64]

LIVING_PCT = (10, 80)
"""ECHO-CLIP offers 0 to 100 %; hardly a heart is outside of these."""

LVEF_TASK = "LVEF, points"
LOW_TASK = "LVEF < 40 %"
_LOW_BELOW_PCT = 40.0
_MIN_FRAMES = 2


@dataclass(frozen=True)
class KnownStudy:
    """An echocardiogram that can be read, and its ejection fraction.

    Attributes
    ----------
    study_id, patient_id : str
    lvef_pct : float
    read : callable
        Gives the study.
    """

    study_id: str
    patient_id: str
    lvef_pct: float
    read: Callable[[], EchoStudy]


@dataclass(frozen=True)
class Reading:
    """One study's truth, and what the teacher reads off it.

    Attributes
    ----------
    study_id, patient_id : str
    lvef_pct, read_pct : float
    read_10_80_pct : float
        The same, of the prompts from 10 to 80 % alone.
    low_score : float
        Mean cosine to the prompts of a reduced function.
    """

    study_id: str
    patient_id: str
    lvef_pct: float
    read_pct: float
    read_10_80_pct: float
    low_score: float


@dataclass(frozen=True, eq=False)
class MeasuredVideos:
    """A teacher on videos of known ejection fraction.

    Attributes
    ----------
    results : tuple of Result
    readings : tuple of Reading
    failures : dict of str to str
        Why a study could not be used.
    """

    results: tuple[Result, ...]
    readings: tuple[Reading, ...]
    failures: dict[str, str] = field(default_factory=dict)


def measure_on_videos(
    teacher: EchoTeacher,
    studies: Sequence[KnownStudy],
    data: str,
    *,
    choice: FrameChoice = ECHO_CLIP_FRAMES,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> MeasuredVideos:
    """Read the ejection fraction of each study and compare it with the truth.

    Parameters
    ----------
    teacher : EchoTeacher
    studies : sequence of KnownStudy
    data : str
        What the studies are, for the tables.
    choice : FrameChoice
        By default ECHO-CLIP's 20 frames, every second from the first.
    progress : Progress, optional
        Told how much is done.

    Returns
    -------
    MeasuredVideos
        Mean absolute error in points, also that of answering the median of these studies to each
        (what a teacher has to beat), correlation, and the AUROC of LVEF < 40 %. Intervals
        resample patients.

    Raises
    ------
    DataSetError
        No study can be used.
    """
    texts, values = filled()
    of_texts = teacher.embed_text(texts)
    living = (values >= LIVING_PCT[0]) & (values <= LIVING_PCT[1])
    of_low = teacher.embed_text(BINARY_PROMPTS["lvef_lt40"])
    readings: list[Reading] = []
    failures: dict[str, str] = {}
    simulated = False
    for done, known in enumerate(studies, start=1):
        try:
            study = known.read()
            vectors = np.concatenate([teacher.embed_frames(choice.of(c)) for c in study.clips])
            if len(vectors) < _MIN_FRAMES:
                raise RecordError(f"Study {known.study_id} has fewer than {_MIN_FRAMES} frames.")
        except RecordError as error:
            failures[known.study_id] = str(error)
        else:
            simulated |= any(clip.simulated for clip in study.clips)
            similarity = vectors @ of_texts.T
            readings.append(
                Reading(
                    known.study_id,
                    known.patient_id,
                    known.lvef_pct,
                    regression_reading(similarity, values),
                    regression_reading(similarity[:, living], values[living]),
                    binary_reading(vectors @ of_low.T),
                )
            )
        progress(done, len(studies))
    if not readings:
        why = next(iter(failures.values()), "There are none.")
        raise DataSetError(f"None of {len(studies)} echo studies could be used. {why}")

    patients = np.array([one.patient_id for one in readings])
    truth = np.array([one.lvef_pct for one in readings])
    read_pct = np.array([one.read_pct for one in readings])
    near_pct = np.array([one.read_10_80_pct for one in readings])
    score = np.array([one.low_score for one in readings])
    low = (truth < _LOW_BELOW_PCT).astype(np.float64)

    def result(
        task: str, name: str, way: str, metric: Callable[..., float], *arrays: Floats
    ) -> Result:
        estimate = patient_bootstrap(metric, arrays, patients, n_resamples=n_resamples)
        return Result(data, task, name, way, estimate, simulated=simulated)

    median = np.full_like(truth, float(np.median(truth)))
    results = [
        result(LVEF_TASK, "MAE", "prompts", mean_absolute_error, truth, read_pct),
        result(LVEF_TASK, "MAE", "prompts, 10 to 80 %", mean_absolute_error, truth, near_pct),
        result(LVEF_TASK, "MAE", "always the median", mean_absolute_error, truth, median),
        result(LVEF_TASK, "r", "prompts", correlation, truth, read_pct),
        # Low ejection fractions are positive.
        result(LOW_TASK, "AUROC", "prompts, number", auroc, low, -read_pct),
        result(LOW_TASK, "AUROC", "prompts", auroc, low, score),
    ]
    return MeasuredVideos(tuple(results), tuple(readings), failures)


def mean_absolute_error(truth: Floats, predicted: Floats) -> float:
    """Mean size of the differences, in the unit of both."""
    return float(np.abs(truth - predicted).mean())


def correlation(truth: Floats, predicted: Floats) -> float:
    """Pearson's r, NaN where one of the two does not vary."""
    if min(truth.std(), predicted.std()) == 0.0:
        return float("nan")
    return float(np.corrcoef(truth, predicted)[0, 1])
