"""sigma^2, the two scores that it has to beat, and how figures of them are measured.

Every section of the benchmark puts one question to sigma^2, and gives the same figures of a plain
signal-quality index and of sigma^2 of an encoder with random weights, all on the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.embed.encode import encode_batch, encode_dense
from echoing_core.evaluate.shipped.held_out import random_encoder
from echoing_core.metrics.bootstrap import patient_bootstrap_all
from echoing_core.metrics.results import Experiment, Result, side_by_side
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, StandardEcg
from echoing_core.signals.quality import lead_quality, quality_index, window_quality_index
from echoing_core.signals.scaling import LeadScaler

Floats = npt.NDArray[np.float64]

SIGMA2, PLAIN, RANDOM = "sigma^2", "plain index", "random weights"
SCORES = (SIGMA2, PLAIN, RANDOM)
"""Names as tables show them; for each of them higher means worse."""

QUARTILES = {"median": 0.5, "lower quartile": 0.25, "upper quartile": 0.75}


@dataclass(frozen=True, eq=False)
class Scorer:
    """The three scores of windows and recordings.

    Attributes
    ----------
    scaler : LeadScaler
    trained, random : CompactEcgEncoder or ReleasedEcgEncoder
        The model's encoder, and one of its architecture with random weights.
    """

    scaler: LeadScaler
    trained: EcgEncoder
    random: EcgEncoder

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Scorer:
        """The scores of a model, with the plain index and random weights of its architecture."""
        return cls(checkpoint.scaler, checkpoint.encoder.ecg, random_encoder(checkpoint))

    def windows(
        self,
        signal_mv: npt.NDArray[np.float32],
        valid: BoolArray,
        *,
        progress: Progress = SILENT,
    ) -> dict[str, Floats]:
        """Scores of windows that stand alone, each of shape (n,).

        The plain index judges the filtered signal only: rails of the raw one are not known here.

        Parameters
        ----------
        signal_mv, valid : ndarray, shape (n, 12, 1000)
            0.5-40 Hz at 100 Hz, in mV.
        progress : Progress
            Counts windows.

        Returns
        -------
        dict of score to ndarray
            By the names of `SCORES`.
        """
        sigma2 = encode_batch(self.trained, self.scaler, signal_mv, valid, progress=progress)
        return {SIGMA2: sigma2.uncertainty, **self.baselines(signal_mv, valid)}

    def baselines(self, signal_mv: npt.NDArray[np.float32], valid: BoolArray) -> dict[str, Floats]:
        """`windows` without sigma^2, for windows whose embedding is at hand.

        Parameters
        ----------
        signal_mv, valid : ndarray, shape (n, 12, 1000)

        Returns
        -------
        dict of score to ndarray, shape (n,)
            Of `PLAIN` and `RANDOM`.
        """
        random = encode_batch(self.random, self.scaler, signal_mv, valid)
        return {PLAIN: plain_index(signal_mv, valid), RANDOM: random.uncertainty}

    def recording(
        self,
        ecg: StandardEcg,
        starts: npt.NDArray[np.int64],
        *,
        saturated: BoolArray | None = None,
    ) -> dict[str, Floats]:
        """Scores of the windows of one recording, each of shape (n_windows,).

        Parameters
        ----------
        ecg : StandardEcg
        starts : ndarray, shape (n_windows,)
            First samples, at 100 Hz.
        saturated : ndarray, shape (12, n_times), bool, optional
            From `signals.quality.rail_samples`, for the plain index.

        Returns
        -------
        dict of score to ndarray
            By the names of `SCORES`.
        """
        return {
            SIGMA2: encode_dense(self.trained, self.scaler, ecg, starts).uncertainty,
            PLAIN: window_quality_index(ecg, starts, saturated=saturated),
            RANDOM: encode_dense(self.random, self.scaler, ecg, starts).uncertainty,
        }


def plain_index(signal_mv: npt.NDArray[np.float32], valid: BoolArray) -> Floats:
    """The plain index of signal quality, which needs no model, of windows that stand alone.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (n, 12, 1000)

    Returns
    -------
    ndarray, shape (n,)
        Higher is worse.
    """
    # One window at a time: the index finds the beats of each.
    plain = [
        quality_index(lead_quality(x, known)) for x, known in zip(signal_mv, valid, strict=True)
    ]
    return np.array(plain, dtype=np.float64)


def measure_scores(
    place: tuple[str, str, str],
    metric: Callable[..., float],
    scores: Mapping[str, npt.NDArray[Any]],
    ids: npt.ArrayLike,
    *,
    given: tuple[npt.NDArray[Any], ...] = (),
    simulated: bool,
    n_resamples: int,
) -> list[Result]:
    """One figure for each score, all on the same resamples; none where there are no rows.

    Parameters
    ----------
    place : (data, task, metric)
        As in `Result`.
    metric : callable
        Takes the arrays of ``given``, then a score, each cut to the same rows.
    scores : mapping of name to ndarray, first dimension n
    ids : array-like, shape (n,)
        What is resampled: the patient, recording or block of time that a row belongs to.
    given : tuple of ndarray, first dimension n
        For example the labels.
    simulated : bool
        True when the data were simulated.
    n_resamples : int

    Returns
    -------
    list of Result
        In the order of ``scores``.
    """
    data, task, name = place
    names, columns = list(scores), tuple(scores.values())
    # No row, no figure: a bootstrap of nothing is not defined.
    if not len(columns[0]):
        return []

    def all_scores(*rows: npt.NDArray[Any]) -> dict[str, float]:
        labels, values = rows[: len(given)], rows[len(given) :]
        return {n: metric(*labels, column) for n, column in zip(names, values, strict=True)}

    # All scores on the same resamples, so that they can be compared.
    estimates = patient_bootstrap_all(all_scores, (*given, *columns), ids, n_resamples=n_resamples)
    return [
        Result(data, task, name, score, estimate, simulated)
        for score, estimate in estimates.items()
    ]


def measure_quartiles(
    place: tuple[str, str],
    values: Mapping[str, Floats],
    ids: npt.ArrayLike,
    *,
    simulated: bool,
    n_resamples: int,
) -> list[Result]:
    """Median and quartiles of each score over ECGs.

    Parameters
    ----------
    place : (data, task)
    values : mapping of name to ndarray, shape (n,)
    ids, simulated, n_resamples
        As in `measure_scores`.

    Returns
    -------
    list of Result
        The metrics are those of `QUARTILES`.
    """
    results: list[Result] = []
    for name, level in QUARTILES.items():
        results += measure_scores(
            (*place, name),
            lambda rows, q=level: float(np.quantile(rows, q)),
            values,
            ids,
            simulated=simulated,
            n_resamples=n_resamples,
        )
    return results


def section(
    name: str,
    title: str,
    method: str,
    results: Sequence[Result],
    counts: Mapping[str, int] | None = None,
) -> Experiment:
    """A section of the benchmark whose figures stand in one table, one column a score.

    Parameters
    ----------
    name : str
        Key in the JSON.
    title, method : str
        Heading, and how it was measured, in sentences.
    results : sequence of Result
        ``model`` is the score measured.
    counts : mapping of str to int, optional
        What entered and what was left out.

    Returns
    -------
    Experiment
    """
    return Experiment(
        name, title, method, tuple(results), (side_by_side(results),), counts=counts or {}
    )
