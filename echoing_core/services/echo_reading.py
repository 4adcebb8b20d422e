"""An echocardiogram beside an ECG: read by the teacher, and held against what the ECG says."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.errors import CheckpointError
from echoing_core.export.track import Explanation
from echoing_core.metrics import distances
from echoing_core.progress import SILENT, Progress
from echoing_core.records import Answer
from echoing_core.services.asking import asked_window, encode_question, verdict_kind
from echoing_core.services.models import Model, assets_folder, prompt_sets
from echoing_core.services.windows import most_sure_window
from echoing_core.zeroshot.answering import NO, YES

if TYPE_CHECKING:
    from echoing_core.echo.reading import EchoReader, EchoReading, FindingReading
    from echoing_core.retrieve.echo_pairs import EchoPairDistances

Agreement = Literal["agree", "disagree", "cannot be told"]

TEACHER_VARIABLE = "ECHOING_TEACHER"
"""Environment variable with the folder or file of an echo teacher to use in place of the shipped
one."""


@dataclass(frozen=True, eq=False)
class EchoComparison:
    """One finding, as the ECG model answers it and as the teacher reads it off the echo.

    Attributes
    ----------
    name : str
    answer : Answer
        Of the ECG.
    finding : FindingReading
        Of the echocardiogram.
    agreement : {"agree", "disagree", "cannot be told"}
        Told only where both say yes or no.
    """

    name: str
    answer: Answer
    finding: FindingReading
    agreement: Agreement

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "finding": self.name,
            "ecg_answer": self.answer.verdict,
            "ecg_probability": round(self.answer.probability, 4),
            "ecg_basis": self.answer.basis,
            "echo_reading": self.finding.verdict or None,
            "agreement": self.agreement,
        }


@dataclass(frozen=True, eq=False)
class EchoDistance:
    """How far a window of an ECG is from an echocardiogram.

    Attributes
    ----------
    csd : float
    pairs : EchoPairDistances
        What distances of the model mean.
    """

    csd: float
    pairs: EchoPairDistances

    @property
    def words(self) -> str:
        return self.pairs.words(self.csd)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "csd": round(self.csd, 5),
            "own_pairs_farther_pct": round(self.pairs.own_farther_pct(self.csd), 1),
            "other_pairs_farther_pct": round(self.pairs.other_farther_pct(self.csd), 1),
            "words": self.words,
            "reference": self.pairs.source,
        }


@dataclass(frozen=True, eq=False)
class EchoBeside:
    """An ECG and an echocardiogram beside each other.

    Attributes
    ----------
    comparisons : tuple of EchoComparison
    distance : EchoDistance or None
    no_distance : str
        The sentence that says why there is no distance; empty where there is one.
    cautions : tuple of str
        What to know before the two are held together.
    """

    comparisons: tuple[EchoComparison, ...]
    distance: EchoDistance | None
    no_distance: str
    cautions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "comparisons": [one.to_dict() for one in self.comparisons],
            "distance": None if self.distance is None else self.distance.to_dict(),
            "no_distance": self.no_distance or None,
            "cautions": list(self.cautions),
        }


def teacher_source(given: str | os.PathLike[str] | None = None) -> str | os.PathLike[str]:
    """Which echo teacher is used: the one named, that of ``ECHOING_TEACHER``, or the shipped one.

    Parameters
    ----------
    given : path or str, optional
        As `echo.teacher.load_teacher` takes it.
    """
    named = given or os.environ.get(TEACHER_VARIABLE, "").strip()
    return named or assets_folder() / "teachers" / "stand_in"


def load_echo_reader(source: str | os.PathLike[str] | None = None) -> EchoReader:
    """Open an echo teacher and embed its prompts; some seconds.

    Parameters
    ----------
    source : path or str, optional
        See `teacher_source`.

    Raises
    ------
    CheckpointError
        It cannot be opened, or open_clip is not installed.
    """
    from echoing_core.echo.reading import EchoReader
    from echoing_core.echo.reading_scale import load_scale
    from echoing_core.echo.teacher import load_teacher

    chosen = teacher_source(source)
    teacher = load_teacher(chosen)
    return EchoReader(teacher, load_scale(Path(chosen), teacher.hash))


def beside_ecg(
    model: Model,
    explanation: Explanation,
    reading: EchoReading,
    *,
    window: int | None = None,
) -> EchoBeside:
    """Hold a window of an ECG against an echocardiogram that the teacher has read.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    reading : EchoReading
    window : int, optional
        Row of the track; without it, the surest window.

    Returns
    -------
    EchoBeside

    Raises
    ------
    CheckpointError
        What the model's folder says of distances is damaged.
    """
    index = most_sure_window(explanation.track) if window is None else window
    asked = [
        question
        for one in reading.findings
        for question in prompt_sets()
        if question.label == one.key
    ]
    ecg = explanation.track.embedding[np.array([index])]
    asked_of = asked_window(explanation, index)
    comparisons = []
    for question in asked:
        answer = encode_question(model, question).answer(ecg, asked_of)
        finding = reading.finding(str(question.label))
        told = agreement_of(answer.verdict, finding.verdict)
        comparisons.append(EchoComparison(question.question, answer, finding, told))
    pairs = echo_pair_distances(model, reading.teacher_hash)
    why = why_no_distance(model, reading)
    distance = None
    if pairs is not None and not why:
        echo = reading.embedding
        apart = distances.csd(ecg.mu, ecg.log_var, echo.mu, echo.log_var)
        distance = EchoDistance(float(apart[0, 0]), pairs)
    return EchoBeside(tuple(comparisons), distance, why, _cautions(explanation, reading, distance))


def agreement_of(ecg_verdict: str, echo_verdict: str) -> Agreement:
    """Whether an answer of the ECG and a reading of the echo say the same.

    Parameters
    ----------
    ecg_verdict : str
        Of `Answer`; leaning counts as saying.
    echo_verdict : str
        Of `echo.reading.FindingReading`.

    Returns
    -------
    {"agree", "disagree", "cannot be told"}
    """
    said = verdict_kind(ecg_verdict)
    if said not in (YES, NO) or echo_verdict not in (YES, NO):
        return "cannot be told"
    return "agree" if said == echo_verdict else "disagree"


def trained_with(model: Model, teacher_hash: str) -> bool:
    """Whether a model's space is that of a teacher: its training record names the teacher's hash.

    Parameters
    ----------
    model : Model
    teacher_hash : str
    """
    named = model.trained_on.get("echo_teacher")
    return isinstance(named, str) and named == teacher_hash


def why_no_distance(model: Model, reading: EchoReading) -> str:
    """Why no distance between ECG and echo can be told; empty where it can.

    Parameters
    ----------
    model : Model
    reading : EchoReading
        By the teacher in use.

    Returns
    -------
    str
        A sentence or two.
    """
    if not trained_with(model, reading.teacher_hash):
        return (
            f"The model {model.name} was not trained with this echo teacher, so the two have no "
            "space in common and no distance between ECG and echo can be told."
        )
    if len(reading.embedding.mu[0]) != model.checkpoint.encoder.config.dim:
        return (
            "The model was trained with a projection of this teacher that its folder does not "
            "keep, so no distance between ECG and echo can be told."
        )
    if echo_pair_distances(model, reading.teacher_hash) is None:
        return (
            "The model was trained with this echo teacher, but what its distances mean was never "
            "measured. Measure it with: echoing evaluate echo-pairs --write"
        )
    return ""


def echo_pair_distances(model: Model, teacher_hash: str) -> EchoPairDistances | None:
    """Reference pairs of ECGs and echocardiograms, as the model's folder has them.

    Parameters
    ----------
    model : Model
    teacher_hash : str
        Those of another teacher count as none.

    Raises
    ------
    CheckpointError
        The document is damaged.
    """
    from echoing_core.retrieve.echo_pairs import EchoPairDistances

    document = model.checkpoint.measured.get("echo_pairs")
    if document is None:
        return None
    pairs = EchoPairDistances.from_dict(document)
    return pairs if pairs.teacher_hash == teacher_hash else None


def echo_pair_rows(
    measured: EchoPairDistances,
) -> list[tuple[str, tuple[float, float, float]]]:
    """CSD of each kind of pairs: what they are; 5 % quantile, median, 95 % quantile.

    Parameters
    ----------
    measured : EchoPairDistances
    """
    rows = []
    for words, values in (("one heart", measured.own), ("two people", measured.other)):
        low, middle, high = (float(v) for v in np.percentile(values, (5, 50, 95)))
        rows.append((words, (low, middle, high)))
    return rows


def measure_echo_pairs(
    model: Model,
    *,
    teacher: str | os.PathLike[str] | None = None,
    n_patients: int = 300,
    n_workers: int = 2,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> EchoPairDistances:
    """Measure how far ECGs lie from echocardiograms of the same heart and of others.

    Parameters
    ----------
    model : Model
        Trained with this teacher.
    teacher : path or str, optional
        See `teacher_source`.
    n_patients, n_workers : int
        Simulated patients; processes that simulate them.
    folder : path, optional
        Model folder into which ``echo_pairs.json`` is written.
    progress : Progress, optional
        Told of each stage by its name.

    Raises
    ------
    CheckpointError
        The model was not trained with this teacher.
    """
    from echoing_core.echo.teacher import load_teacher
    from echoing_core.evaluate.shipped.echo_pairs import measure_echo_pairs as measure
    from echoing_core.models.checkpoint import update_documents

    loaded = load_teacher(teacher_source(teacher))
    if not trained_with(model, loaded.hash):
        raise CheckpointError(
            f"The model {model.name} was not trained with this echo teacher, so they have no "
            "space in common and distances between them mean nothing. Name its own teacher with "
            "--teacher, or a model that was trained with this one with --model."
        )
    measured = measure(
        model.checkpoint,
        loaded,
        n_patients=n_patients,
        n_workers=n_workers,
        progress=progress,
    )
    if folder is not None:
        update_documents(
            Path(folder), measured={"echo_pairs": measured.to_dict()}, sigma2=model.sigma2
        )
    return measured


def echo_cautions(reading: EchoReading) -> tuple[str, ...]:
    """What to know before anything that a teacher reads is believed, as sentences.

    Parameters
    ----------
    reading : EchoReading

    Returns
    -------
    tuple of str
    """
    said = []
    if reading.teacher_simulated and not reading.echo_simulated:
        said.append(
            "This teacher learnt from simulated echo alone and has never seen a real "
            "echocardiogram: what it reads off this one is not to be believed. Real echo needs "
            f"ECHO-CLIP's weights; name them in {TEACHER_VARIABLE}, or with --teacher."
        )
    if not reading.teacher_simulated and reading.echo_simulated:
        said.append("The echocardiogram is simulated, and this teacher was made for real ones.")
    if not reading.scale_source:
        said.append(
            "This teacher was never measured on studies whose hearts are known: its scores order "
            "studies and say neither yes nor no."
        )
    elif len(reading.clips) < 3:
        n = len(reading.clips)
        said.append(
            f"Read from {n} clip{'s' if n > 1 else ''}; the studies that it is compared with have "
            "three views each, so the comparison is rough."
        )
    return tuple(said)


def _cautions(
    explanation: Explanation, reading: EchoReading, distance: EchoDistance | None
) -> tuple[str, ...]:
    said = []
    if explanation.ecg.simulated != reading.echo_simulated:
        said.append(
            "One of the two is simulated and the other is not, so they are not of one heart."
        )
    if distance is not None and explanation.ecg.leads_with("missing"):
        said.append(
            "The reference pairs have all 12 leads and this recording has not, so its distance "
            "cannot be read as theirs."
        )
    return tuple(said)


def frame_times_s(reading: EchoReading) -> tuple[npt.NDArray[np.float64], ...]:
    """Seconds of the frames that were read of each clip; numbers of frames where no rate is known.

    Parameters
    ----------
    reading : EchoReading

    Returns
    -------
    tuple of ndarray, shape (n_frames,)
    """
    return tuple(
        np.arange(clip.n_frames) * clip.stride / (clip.fps if math.isfinite(clip.fps) else 1.0)
        for clip in reading.clips
    )
