"""Is a fused recording nearer the truth than one of its windows? Simulated 20-minute X, Y, Z."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echoing_core.config import from_mapping
from echoing_core.datasets.simulated import CohortConfig
from echoing_core.embed.encode import encode_dense
from echoing_core.embed.questions import question_margins
from echoing_core.errors import ConfigError
from echoing_core.evaluate.uncertainty.scores import Floats, section
from echoing_core.metrics.bootstrap import patient_bootstrap_all
from echoing_core.metrics.results import Experiment, Result
from echoing_core.metrics.scores import auroc, balanced_accuracy
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import (
    FRANK_LEADS,
    STANDARD_FS_HZ,
    WINDOW_S,
    GaussianEmbedding,
    Recording,
)
from echoing_core.signals import standardise
from echoing_core.signals.windows import stride_to_samples, window_starts
from echoing_core.simulate import NoiseEpisode, patient_id, simulate_long, split_of
from echoing_core.simulate.noise.spans import add_noise
from echoing_core.uncertainty.fusion import RULES, fuse
from echoing_core.zeroshot.prompts import PromptSet

N_PATIENTS = 400
DURATION_S = 1200.0
FS_HZ = 200.0
STRIDE_S = 5.0
NOISE_SEED = 20_111

QUESTIONS = ("lvef_lt40", "slvh", "dlv", "af", "lbbb")
GAPS = tuple(
    (fused, single) for fused in ("precision", "trimmed") for single in ("start", "lowest")
)

_USUAL = ("baseline_wander", "muscle", "electrode_motion", "mains")
_FAULTS = ("lead_off", "saturation", "step", "spike")


@dataclass(frozen=True)
class Quality:
    """How noise comes and goes in a recording.

    Attributes
    ----------
    name : str
    quiet_s, disturbed_s : float
        Mean lengths of the stretches without and with noise, which alternate.
    severity : (float, float)
        Of a disturbed stretch, drawn evenly between these.
    fault_share : float
        Share of the disturbed stretches with a fault (lead off, saturation, step, spikes).
    """

    name: str
    quiet_s: float
    disturbed_s: float
    severity: tuple[float, float]
    fault_share: float


QUALITIES = (
    Quality("clean", np.inf, 0.0, (0.0, 0.0), 0.0),
    Quality("mixed", 60.0, 60.0, (0.15, 1.0), 0.25),
    Quality("bad", 15.0, 85.0, (0.5, 1.0), 0.5),
)

_METHOD = (
    "Recordings of 20 minutes in X, Y, Z at 200 Hz of simulated test patients, windows of 10 s "
    "every 5 s; the recordings of one patient differ in their noise only. *clean*: nothing but "
    "the noise floor. *mixed*: quiet and disturbed stretches of 60 s each on average, severity "
    "0.15-1, a device fault in a quarter of them. *bad*: 85 % of the time disturbed, severity "
    "0.5-1, faults in half. Each disturbed stretch has one or two of baseline wander, muscle, "
    "electrode motion and mains; lengths are exponential, and the start is drawn as any other "
    "moment, so no more often noisy. Truth of the squared distance: mean mu of the windows of the "
    "patient's recording without noise (for *clean* that is the recording itself). Truth of the "
    "questions: the simulated heart; zero-shot, decision margin > 0. Intervals: 95 %, bootstrap "
    "over patients, gaps paired. Constants of the rules were chosen on validation patients."
)


@dataclass(frozen=True, eq=False)
class _Fused:
    """Fused recordings of one quality, one row a patient, by rule."""

    embedding: Mapping[str, GaussianEmbedding]
    squared_distance: Mapping[str, Floats]


def fusion_study(
    checkpoint: Checkpoint,
    prompts: Sequence[PromptSet],
    *,
    n_patients: int = N_PATIENTS,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Compare the rules of `uncertainty.fusion` at three qualities of recording.

    Parameters
    ----------
    checkpoint : Checkpoint
    prompts : sequence of PromptSet
        Those with a label of `QUESTIONS` are asked.
    n_patients : int
        Test patients of the cohort that the model was trained on, the first ones.
    n_resamples : int
    progress : Progress
        Counts patients.

    Returns
    -------
    Experiment
        ``model`` of a result is a rule, or ``"precision - start"`` for a paired gap.

    Raises
    ------
    ConfigError
        Fewer test patients are there than asked for.
    """
    seed, patients = _test_patients(checkpoint, n_patients)
    # Of a recording only fused Gaussians are kept: 239 windows times 400 patients times 3.
    labels: list[Mapping[str, float | bool | str]] = []
    rows: dict[str, list[_Fused]] = {quality.name: [] for quality in QUALITIES}
    for done, patient in enumerate(patients, start=1):
        heart, fused = _patient(checkpoint, seed, patient)
        labels.append(heart)
        for name, one in fused.items():
            rows[name].append(one)
        progress(done, len(patients))
    asked = [item for item in prompts if item.label in QUESTIONS]
    # Labels of the simulated heart, so nothing is unknown.
    truths = {q.question: np.array([bool(heart[str(q.label)]) for heart in labels]) for q in asked}
    results: list[Result] = []
    for name, patient_rows in rows.items():
        fused_rows = _stacked(patient_rows)
        margins = _margins(checkpoint, asked, fused_rows.embedding)
        results += _distances(name, fused_rows, n_resamples)
        results += _answers(name, truths, margins, n_resamples)
    return section(
        "fusion",
        "Long recordings: one window, or all of them",
        _METHOD,
        results,
        {"patients": len(patients)}
        | {f"with {question}": int(truth.sum()) for question, truth in truths.items()},
    )


def draw_schedule(
    quality: Quality, duration_s: float, rng: np.random.Generator
) -> list[NoiseEpisode]:
    """Where the noise lies in one recording of this quality.

    Parameters
    ----------
    quality : Quality
    duration_s : float
    rng : Generator

    Returns
    -------
    list of NoiseEpisode
        In the order of time; those of one stretch share start and end.
    """
    if quality.disturbed_s == 0:
        return []
    episodes: list[NoiseEpisode] = []
    # Exponential lengths have no memory: begun in its long-run share, the process is the same
    # at the start as anywhere.
    disturbed = bool(rng.random() < quality.disturbed_s / (quality.quiet_s + quality.disturbed_s))
    start_s = 0.0
    while start_s < duration_s:
        length_s = rng.exponential(quality.disturbed_s if disturbed else quality.quiet_s)
        end_s = min(start_s + length_s, duration_s)
        if disturbed:
            kinds = list(rng.choice(_USUAL, size=int(rng.integers(1, 3))))
            if rng.random() < quality.fault_share:
                kinds.append(rng.choice(_FAULTS))
            severity = float(rng.uniform(*quality.severity))
            # Two of one kind are one.
            episodes += [
                NoiseEpisode(str(kind), severity, start_s, end_s) for kind in dict.fromkeys(kinds)
            ]
        start_s, disturbed = end_s, not disturbed
    return episodes


def with_noise(recording: Recording, quality: Quality, seed: int, patient: int) -> Recording:
    """A recording of X, Y, Z with noise that comes and goes.

    Parameters
    ----------
    recording : Recording
        Without noise.
    quality : Quality
        One of `QUALITIES`.
    seed, patient : int
        Of the simulated cohort, and the patient's number in it.

    Returns
    -------
    Recording
    """
    # The noise of one recording does not depend on which others are simulated.
    rng = np.random.default_rng([NOISE_SEED, seed, patient, QUALITIES.index(quality)])
    episodes = draw_schedule(quality, recording.duration_s, rng)
    signal_mv, _ = add_noise(recording.signal_mv, recording.fs_hz, FRANK_LEADS, episodes, rng)
    return replace(recording, signal_mv=signal_mv)


def _test_patients(checkpoint: Checkpoint, n_patients: int) -> tuple[int, list[int]]:
    cohort = from_mapping(CohortConfig, checkpoint.training["cohort"])
    held_out = [
        patient
        for patient in range(cohort.n_patients)
        if split_of(patient_id(cohort.seed, patient)) == "test"
    ]
    if not 1 <= n_patients <= len(held_out):
        raise ConfigError(
            f"{n_patients} patients cannot be taken: the model's cohort has {len(held_out)} test "
            "patients. Ask for at most so many."
        )
    return cohort.seed, held_out[:n_patients]


def windows_of_patient(
    checkpoint: Checkpoint, seed: int, patient: int
) -> tuple[Mapping[str, float | bool | str], dict[str, tuple[GaussianEmbedding, Floats]]]:
    """Simulate and embed the recordings of one patient.

    Parameters
    ----------
    checkpoint : Checkpoint
    seed, patient : int
        Of the simulated cohort, and the patient's number in it.

    Returns
    -------
    labels : mapping
        Truth about the heart.
    windows : dict of str to (GaussianEmbedding, ndarray)
        For each of `QUALITIES`, in their order: the windows and their starts in seconds.
    """
    # One heart without noise; the three qualities differ in what is added to it.
    simulated = simulate_long(
        seed, patient, duration_s=DURATION_S, fs_hz=FS_HZ, leads="xyz", noise=()
    )
    windows = {}
    for quality in QUALITIES:
        ecg = standardise(with_noise(simulated.recording, quality, seed, patient))
        starts = window_starts(ecg.n_times, stride_n=stride_to_samples(STRIDE_S))
        embedding = encode_dense(checkpoint.encoder.ecg, checkpoint.scaler, ecg, starts)
        windows[quality.name] = (embedding, starts / STANDARD_FS_HZ)
    return simulated.labels, windows


def _patient(
    checkpoint: Checkpoint, seed: int, patient: int
) -> tuple[Mapping[str, float | bool | str], dict[str, _Fused]]:
    """Labels of a patient, and the recording of each quality by each rule (one row)."""
    labels, windows = windows_of_patient(checkpoint, seed, patient)
    without_noise, _ = windows[QUALITIES[0].name]
    # The truth is where the model puts this heart without noise, not where it ought to.
    truth = without_noise.mu.mean(axis=0, dtype=np.float64)
    fused_by_quality = {}
    for name, (embedding, start_s) in windows.items():
        fused = {rule: fuse(embedding, start_s, WINDOW_S, rule).embedding for rule in RULES}
        distance = {rule: ((one.mu - truth) ** 2).sum(axis=1) for rule, one in fused.items()}
        fused_by_quality[name] = _Fused(fused, distance)
    return labels, fused_by_quality


def _stacked(rows: Sequence[_Fused]) -> _Fused:
    embedding = {
        rule: GaussianEmbedding(
            np.concatenate([row.embedding[rule].mu for row in rows]),
            np.concatenate([row.embedding[rule].log_var for row in rows]),
        )
        for rule in RULES
    }
    distance = {
        rule: np.concatenate([row.squared_distance[rule] for row in rows]) for rule in RULES
    }
    return _Fused(embedding, distance)


def _margins(
    checkpoint: Checkpoint,
    asked: Sequence[PromptSet],
    embedding: Mapping[str, GaussianEmbedding],
) -> dict[str, Floats]:
    """Margins of each question, shape (n_patients, n_rules)."""
    margins = {}
    for question in asked:
        columns = [question_margins(checkpoint, embedding[rule], question)[0] for rule in RULES]
        margins[question.question] = np.stack(columns, axis=1)
    return margins


def _distances(quality: str, fused: _Fused, n_resamples: int) -> list[Result]:
    distance = np.stack([fused.squared_distance[rule] for rule in RULES], axis=1)
    sigma2 = np.stack([fused.embedding[rule].uncertainty for rule in RULES], axis=1)
    results = [
        *_compared(
            (quality, "squared distance from the truth", "mean, times 1000"),
            lambda d: 1000.0 * d.mean(axis=0),
            (distance,),
            n_resamples,
        )
    ]
    ratio = _compared(
        (quality, "squared distance from the truth", "ratio to sigma^2, means"),
        lambda d, s: d.mean(axis=0) / s.mean(axis=0),
        (distance, sigma2),
        n_resamples,
    )
    # Whether a rule knows its own error; a gap between two rules' ratios would say nothing.
    return results + [result for result in ratio if result.model in RULES]


def _answers(
    quality: str,
    truths: Mapping[str, npt.NDArray[np.bool_]],
    margins: Mapping[str, Floats],
    n_resamples: int,
) -> list[Result]:
    results: list[Result] = []
    label = np.stack(list(truths.values()), axis=1)
    margin = np.stack([margins[question] for question in truths], axis=1)
    for metric, of_column in (("AUROC", _aurocs), ("balanced accuracy", _balanced_accuracies)):
        for number, question in enumerate(truths):
            results += _compared(
                (quality, question, metric),
                of_column,
                (label[:, number], margin[:, number]),
                n_resamples,
            )
        results += _compared(
            (quality, f"mean of the {len(truths)} questions", metric),
            lambda y, m, each=of_column: np.mean(
                [each(y[:, q], m[:, q]) for q in range(y.shape[1])], axis=0
            ),
            (label, margin),
            n_resamples,
        )
    return results


def _aurocs(label: npt.NDArray[np.bool_], margin: Floats) -> Floats:
    return np.array([auroc(label, column) for column in margin.T])


def _balanced_accuracies(label: npt.NDArray[np.bool_], margin: Floats) -> Floats:
    return np.array([balanced_accuracy(label, column > 0) for column in margin.T])


def _compared(
    place: tuple[str, str, str],
    by_rule: Callable[..., Floats],
    arrays: tuple[npt.NDArray[np.generic], ...],
    n_resamples: int,
) -> Iterator[Result]:
    """One figure for each rule and for each gap, on the same resamples of patients.

    ``by_rule`` takes ``arrays`` cut to the same patients and returns one number for each rule.
    """

    def metrics(*rows: npt.NDArray[np.generic]) -> dict[str, float]:
        value = dict(zip(RULES, by_rule(*rows).tolist(), strict=True))
        # Paired: both rules on the same patients of a resample.
        gaps = {f"{fused} - {single}": value[fused] - value[single] for fused, single in GAPS}
        return value | gaps

    estimates = patient_bootstrap_all(
        metrics, arrays, np.arange(len(arrays[0])), n_resamples=n_resamples
    )
    quality, task, metric = place
    data = f"simulated 20-minute X, Y, Z: {quality}"
    for name, estimate in estimates.items():
        yield Result(data, task, metric, name, estimate, simulated=True)
