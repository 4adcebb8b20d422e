"""What an echo teacher reads off videos, zero-shot, against the truth.

ECHO-CLIP reads a number by which of its prompts a video is most similar to, and a finding by the
mean similarity to that finding's prompts. Nothing is fitted to the videos. Simulated studies have
a linear read-out beside it, which says what the embedding holds whether or not prompts find it.

References
----------
Christensen et al., Nat Med 30 (2024) 1481, and its code's ``prompts_used.json``: regression and
binary prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.echo.simulated import FrameBank, rgb_of
from echoing_core.echo.store import ECHO_CLIP_FRAMES, FrameChoice
from echoing_core.echo.teacher import F32, EchoTeacher, echo_gaussian
from echoing_core.errors import DataSetError, RecordError
from echoing_core.metrics.bootstrap import patient_bootstrap
from echoing_core.metrics.results import Experiment, Result, results_table, to_records
from echoing_core.metrics.scores import auroc
from echoing_core.progress import SILENT, Progress
from echoing_core.records import EchoStudy
from echoing_core.simulate.ecg.reading import true_labels
from echoing_core.simulate.echo.clips import VIEWS

Floats = npt.NDArray[np.float64]

HELD_OUT = "simulated held-out patients"
LIVING_PCT = (10, 80)
"""ECHO-CLIP offers 0 to 100 %; no heart of the simulation, and hardly any other, is outside."""

EF_TEMPLATES = (
    "THE LEFT VENTRICULAR EJECTION FRACTION IS ESTIMATED TO BE <#>% ",
    "LV EJECTION FRACTION IS <#>%. ",
)
"""ECHO-CLIP's own two, trailing spaces included."""

EF_VALUES_PCT = tuple(range(101))

BINARY_PROMPTS: Mapping[str, tuple[str, ...]] = {
    "lvef_lt40": (
        "THE LEFT VENTRICULAR EJECTION FRACTION IS SEVERELY REDUCED. ",
        "LEFT VENTRICULAR SYSTOLIC FUNCTION IS SEVERELY REDUCED. ",
        "THERE IS SEVERE GLOBAL HYPOKINESIS OF THE LEFT VENTRICLE. ",
    ),
    "slvh": (
        "THERE IS SEVERE CONCENTRIC LEFT VENTRICULAR HYPERTROPHY. ",
        "LEFT VENTRICULAR WALL THICKNESS IS SEVERELY INCREASED. ",
    ),
    "dlv": (
        "THE LEFT VENTRICLE IS DILATED. ",
        "LEFT VENTRICULAR CAVITY SIZE IS INCREASED. ",
    ),
}
"""Prompts of ours in the same style; the keys are those of the simulated truth."""

# ECHO-CLIP's own.
_TOP_SHARE = 0.2

_LOW_BELOW_PCT = 40.0
_MIN_FRAMES = 2
TASKS: Mapping[str, str] = {"lvef_lt40": "LVEF < 40 %", "slvh": "SLVH", "dlv": "DLV"}
_STATES = {"lvef_pct": "LVEF, points", "wall_mm": "wall, mm", "lvedd_mm": "LVEDD, mm"}
# Six decades, since the spread of the embedding's dimensions differs between teachers.
_RIDGE_PENALTIES = np.logspace(-1, 5, 13)
_FOLDS = 5


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


def measure_on_videos(
    teacher: EchoTeacher,
    studies: Sequence[KnownStudy],
    data: str,
    *,
    choice: FrameChoice = ECHO_CLIP_FRAMES,
    left_out: Mapping[str, str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Read the ejection fraction of each study and compare it with the truth.

    Parameters
    ----------
    teacher : EchoTeacher
    studies : sequence of KnownStudy
    data : str
        What the studies are, for the tables.
    choice : FrameChoice
        By default ECHO-CLIP's 20 frames, every second from the first.
    left_out : mapping of str to str, optional
        Why other studies of the same data are not among ``studies``.
    n_resamples : int
        Draws of patients behind each interval.
    progress : Progress, optional
        Counts studies.

    Returns
    -------
    Experiment
        Mean absolute error in points, also that of answering the median of these studies to each
        (what a teacher has to beat), correlation, and the AUROC of LVEF < 40 %. Intervals
        resample patients. Its content holds every reading, and why studies are left out.

    Raises
    ------
    DataSetError
        No study can be used.
    """
    prompts = ZeroShot(teacher, ["lvef_lt40"])
    readings: list[Reading] = []
    failures: dict[str, str] = {}
    simulated = False
    for done, known in enumerate(studies, start=1):
        try:
            study = known.read()
            vectors = np.concatenate([teacher.embed_frames(choice.of(c)) for c in study.clips])
            # A still picture has no motion, and so no ejection fraction to read.
            if len(vectors) < _MIN_FRAMES:
                raise RecordError(f"Study {known.study_id} has fewer than {_MIN_FRAMES} frames.")
        except RecordError as error:
            failures[known.study_id] = str(error)
        else:
            # One simulated video makes the figure one of simulation.
            simulated |= any(clip.simulated for clip in study.clips)
            readings.append(
                Reading(
                    known.study_id,
                    known.patient_id,
                    known.lvef_pct,
                    *prompts.lvef_pct(vectors),
                    prompts.score(vectors, "lvef_lt40"),
                )
            )
        progress(done, len(studies))
    if not readings:
        why = next(iter(failures.values()), "There are none.")
        raise DataSetError(f"None of {len(studies)} echo studies could be used. {why}")

    # A patient's videos are drawn together, since they are not independent.
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

    lvef, low_lvef = _STATES["lvef_pct"], TASKS["lvef_lt40"]
    # What somebody reaches who has never seen a video.
    median = np.full_like(truth, float(np.median(truth)))
    results = [
        result(lvef, "MAE", "prompts", mean_absolute_error, truth, read_pct),
        result(lvef, "MAE", "prompts, 10 to 80 %", mean_absolute_error, truth, near_pct),
        result(lvef, "MAE", "always the median", mean_absolute_error, truth, median),
        result(lvef, "r", "prompts", correlation, truth, read_pct),
        # Low ejection fractions are positive.
        result(low_lvef, "AUROC", "prompts, number", auroc, low, -read_pct),
        result(low_lvef, "AUROC", "prompts", auroc, low, score),
    ]
    return _experiment(
        results,
        data=data,
        n_studies=len(readings),
        left_out=dict(left_out or {}) | failures,
        results=to_records(results),
        readings=[asdict(one) for one in readings],
    )


@dataclass(frozen=True, eq=False)
class BankReadings:
    """What a teacher read off simulated studies whose hearts are known.

    Attributes
    ----------
    truth : mapping of str to ndarray, shape (n_studies,)
        LVEF in percent, wall and LVEDD in mm, by the names of `HeartState`.
    having : mapping of str to ndarray of bool, shape (n_studies,)
        Whether a heart has a finding, by the keys of `TASKS`.
    read_pct, read_10_80_pct : ndarray, shape (n_studies,)
        Ejection fraction by all prompts, and by those from 10 to 80 %.
    scores : mapping of str to ndarray, shape (n_studies,)
        Mean cosine to the prompts of a finding.
    mu, log_var : ndarray, shape (n_studies, dim)
    spread, spread_within : ndarray, shape (n_studies,)
        Summed variance of the frames' vectors: of all frames, and the mean over the views of
        that of a view's own frames.
    n_frames : int
        Of each study.
    """

    truth: Mapping[str, Floats]
    having: Mapping[str, npt.NDArray[np.bool_]]
    read_pct: Floats
    read_10_80_pct: Floats
    scores: Mapping[str, Floats]
    mu: F32
    log_var: F32
    spread: Floats
    spread_within: Floats
    n_frames: int


def read_bank(
    teacher: EchoTeacher, bank: FrameBank, *, progress: Progress = SILENT
) -> BankReadings:
    """Read every study of a bank.

    Parameters
    ----------
    teacher : EchoTeacher
    bank : FrameBank
        Studies that it was not trained on, one a patient.
    progress : Progress, optional
        Counts studies.
    """
    prompts = ZeroShot(teacher, list(TASKS))
    n_studies = len(bank.states)
    read_pct, near_pct = np.empty(n_studies), np.empty(n_studies)
    spread, within = np.empty(n_studies), np.empty(n_studies)
    scores: dict[str, Floats] = {task: np.empty(n_studies) for task in TASKS}
    mu, log_var = [], []
    for i, frames in enumerate(bank.frames):
        # One study at a time: all vectors of 400 studies are not needed together.
        vectors = teacher.embed_frames(rgb_of(frames))
        read_pct[i], near_pct[i] = prompts.lvef_pct(vectors)
        for task, score in scores.items():
            score[i] = prompts.score(vectors, task)
        gaussian = echo_gaussian(vectors)
        mu.append(gaussian[0])
        log_var.append(gaussian[1])
        spread[i] = frame_spread(vectors)
        within[i] = np.mean([frame_spread(view) for view in np.split(vectors, len(VIEWS))])
        progress(i + 1, n_studies)
    labels = [true_labels(state, ()) for state in bank.states]
    return BankReadings(
        truth={name: np.array([getattr(s, name) for s in bank.states]) for name in _STATES},
        having={task: np.array([bool(label[task]) for label in labels]) for task in TASKS},
        read_pct=read_pct,
        read_10_80_pct=near_pct,
        scores=scores,
        mu=np.stack(mu),
        log_var=np.stack(log_var),
        spread=spread,
        spread_within=within,
        n_frames=int(bank.frames.shape[1]),
    )


def frame_spread(vectors: npt.ArrayLike) -> float:
    """Summed variance of unit vectors of frames: 1 minus the squared length of their mean.

    Parameters
    ----------
    vectors : array-like, shape (n_frames, dim)

    Returns
    -------
    float
        From 0, where all frames look alike, to 1.
    """
    frames = np.asarray(vectors, dtype=np.float64)
    return float(np.square(frames - frames.mean(axis=0)).sum(axis=1).mean())


def measure_teacher(
    teacher: EchoTeacher,
    bank: FrameBank,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """ECHO-CLIP's zero-shot readings of simulated studies, and a linear read-out beside them.

    Parameters
    ----------
    teacher : EchoTeacher
    bank : FrameBank
        Studies that it was not trained on, one a patient.
    n_resamples : int
        Draws of patients behind each interval.
    progress : Progress, optional
        Counts studies.

    Returns
    -------
    Experiment
        As `figures_of` gives it.
    """
    return figures_of(read_bank(teacher, bank, progress=progress), n_resamples=n_resamples)


def figures_of(readings: BankReadings, *, n_resamples: int = 1000) -> Experiment:
    """What readings of known hearts are worth, and a linear read-out beside them.

    The read-out is ridge regression from mean and log variance, five-fold over the studies.

    Parameters
    ----------
    readings : BankReadings
    n_resamples : int
        Draws of patients behind each interval.

    Returns
    -------
    Experiment
        ``model`` of a result is the way of reading: by prompts, or a linear read-out.
    """
    truth, read_pct = readings.truth, readings.read_pct
    patients = np.arange(len(read_pct))

    def result(
        task: str, name: str, way: str, metric: Callable[..., float], *arrays: Floats
    ) -> Result:
        estimate = patient_bootstrap(metric, arrays, patients, n_resamples=n_resamples)
        return Result(HELD_OUT, task, name, way, estimate, simulated=True)

    lvef, lvef_pct = _STATES["lvef_pct"], truth["lvef_pct"]
    near_pct = readings.read_10_80_pct
    results = [
        result(lvef, "MAE", "prompts", mean_absolute_error, lvef_pct, read_pct),
        result(lvef, "MAE", "prompts, 10 to 80 %", mean_absolute_error, lvef_pct, near_pct),
        result(lvef, "r", "prompts", correlation, lvef_pct, read_pct),
    ]
    positive = {task: having.astype(np.float64) for task, having in readings.having.items()}
    for task, score in readings.scores.items():
        results.append(result(TASKS[task], "AUROC", "prompts", auroc, positive[task], score))
    # Low ejection fractions are positive.
    low = positive["lvef_lt40"]
    results.append(result(TASKS["lvef_lt40"], "AUROC", "prompts, number", auroc, low, -read_pct))
    inputs = {"mean": readings.mu, "log variance": readings.log_var}
    # Together they show whether the variance adds what the mean does not hold.
    inputs["mean and log variance"] = np.hstack(list(inputs.values()))
    for source, values in inputs.items():
        for name, task in _STATES.items():
            predicted = _cross_fitted(values.astype(np.float64), truth[name])
            results.append(
                result(
                    task, "MAE", f"ridge on {source}", mean_absolute_error, truth[name], predicted
                )
            )
    return _experiment(
        results,
        data="simulated echo",
        n_studies=len(read_pct),
        n_frames=readings.n_frames,
        results=to_records(results),
    )


def _experiment(figures: Sequence[Result], **content: object) -> Experiment:
    """Figures as one table; ``content`` in the order in which JSON holds it."""
    results = tuple(figures)
    return Experiment(
        "teacher", "", "", results=results, tables=(results_table(results),), content=content
    )


def mean_absolute_error(truth: Floats, predicted: Floats) -> float:
    """Mean size of the differences.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n,)

    Returns
    -------
    float
        In the unit of both.
    """
    return float(np.abs(truth - predicted).mean())


def correlation(truth: Floats, predicted: Floats) -> float:
    """Pearson's correlation.

    Parameters
    ----------
    truth, predicted : ndarray, shape (n,)

    Returns
    -------
    float
        NaN where one of the two does not vary.
    """
    # corrcoef would divide by zero and warn.
    if min(truth.std(), predicted.std()) == 0.0:
        return float("nan")
    return float(np.corrcoef(truth, predicted)[0, 1])


def _cross_fitted(inputs: Floats, targets: Floats) -> Floats:
    """Ridge predictions of each fifth of the rows from the other four."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Scaled within each fold: spreads of held-out rows must not be known.
    model = make_pipeline(StandardScaler(), RidgeCV(_RIDGE_PENALTIES))
    # Shuffled, since patients stand in the order of their numbers.
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, inputs, targets, cv=folds))


# ECHO-CLIP's readings: similarities in, numbers out


class ZeroShot:
    """The prompts of a teacher, embedded once.

    Parameters
    ----------
    teacher : EchoTeacher
    findings : sequence of str
        Keys of `BINARY_PROMPTS`.
    """

    def __init__(self, teacher: EchoTeacher, findings: Sequence[str]) -> None:
        texts, self.values = filled()
        self.numbers = teacher.embed_text(texts)
        # Of all candidates: texts far from any heart only catch frames that fit nothing.
        self.living = (self.values >= LIVING_PCT[0]) & (self.values <= LIVING_PCT[1])
        self.findings = {key: teacher.embed_text(BINARY_PROMPTS[key]) for key in findings}

    def lvef_pct(self, vectors: F32) -> tuple[float, float]:
        """Ejection fraction in percent by all prompts, and by those from 10 to 80 % alone.

        Parameters
        ----------
        vectors : ndarray, shape (n_frames, dim)
            Unit vectors of frames.

        Returns
        -------
        (float, float)
        """
        similarity = vectors @ self.numbers.T
        return (
            regression_reading(similarity, self.values),
            regression_reading(similarity[:, self.living], self.values[self.living]),
        )

    def score(self, vectors: F32, finding: str) -> float:
        """Mean cosine to the prompts of a finding.

        Parameters
        ----------
        vectors : ndarray, shape (n_frames, dim)
        finding : str

        Returns
        -------
        float
        """
        return binary_reading(vectors @ self.findings[finding].T)


def filled(
    templates: Sequence[str] = EF_TEMPLATES, values: Sequence[int] = EF_VALUES_PCT
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Every template with every value in the place of ``<#>``, and the value of each text.

    Returns
    -------
    tuple of str, ndarray of shape (n_templates * n_values,)
    """
    texts = tuple(t.replace("<#>", str(value)) for t in templates for value in values)
    return texts, np.tile(np.asarray(values, dtype=np.float64), len(templates))


def regression_reading(similarity: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Read a number off the candidates that the frames of one video are most similar to.

    Each frame sorts the candidates by similarity and writes down their values. The value of a
    rank is the mean over frames of what stands there; the answer is the median over the first
    20 % of the ranks (rounded down, at least one).

    Parameters
    ----------
    similarity : array-like, shape (n_frames, n_candidates)
    values : array-like, shape (n_candidates,)
        What each candidate says, in the unit of the answer.

    Returns
    -------
    float
        Equal similarities keep the candidates' order.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a similarity is not finite.

    References
    ----------
    Christensen et al., Nat Med 30 (2024) 1481: zero-shot regression.
    """
    scores, numbers = _frames_by_texts(similarity), np.asarray(values, dtype=np.float64)
    if numbers.shape != (scores.shape[1],):
        raise ValueError(f"{numbers.shape} values do not fit {scores.shape[1]} candidates")
    # Stable, so that equal similarities keep the candidates' order on every machine.
    order = np.argsort(-scores, axis=1, kind="stable")
    by_rank = numbers[order].mean(axis=0)
    # Rounded down as the released code does, but never to nothing.
    n_top = max(int(_TOP_SHARE * numbers.size), 1)
    return float(np.median(by_rank[:n_top]))


def binary_reading(similarity: npt.ArrayLike) -> float:
    """Mean cosine over the frames of one video and all prompts of a finding.

    The number is not calibrated: it orders videos, and a threshold has to come from others.

    Parameters
    ----------
    similarity : array-like, shape (n_frames, n_prompts)

    Returns
    -------
    float
        From -1 to 1.

    References
    ----------
    Christensen et al., Nat Med 30 (2024) 1481: binary zero-shot classification.
    """
    return float(_frames_by_texts(similarity).mean())


def _frames_by_texts(similarity: npt.ArrayLike) -> npt.NDArray[np.float64]:
    scores = np.asarray(similarity, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"similarity must be finite, frames by texts, not of {scores.shape}")
    return scores
