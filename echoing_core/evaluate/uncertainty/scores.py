"""sigma^2, and the two scores that it has to beat: a plain index, and random weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.embed.encode import encode_batch, encode_dense
from echoing_core.evaluate.shipped.held_out import random_encoder
from echoing_core.evaluate.uncertainty.part import Floats
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, StandardEcg
from echoing_core.signals.quality import lead_quality, quality_index, window_quality_index
from echoing_core.signals.scaling import LeadScaler

SIGMA2, PLAIN, RANDOM = "sigma^2", "plain index", "random weights"
SCORES = (SIGMA2, PLAIN, RANDOM)
"""Names as tables show them; for each of them higher means worse."""


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
        """
        sigma2 = encode_batch(self.trained, self.scaler, signal_mv, valid, progress=progress)
        return {SIGMA2: sigma2.uncertainty, **self.baselines(signal_mv, valid)}

    def baselines(self, signal_mv: npt.NDArray[np.float32], valid: BoolArray) -> dict[str, Floats]:
        """`windows` without sigma^2, for windows whose embedding is at hand."""
        plain = [
            quality_index(lead_quality(x, known)) for x, known in zip(signal_mv, valid, strict=True)
        ]
        random = encode_batch(self.random, self.scaler, signal_mv, valid)
        return {PLAIN: np.array(plain, dtype=np.float64), RANDOM: random.uncertainty}

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
        starts : ndarray, shape (n_windows,)
            First samples, at 100 Hz.
        saturated : ndarray, shape (12, n_times), bool, optional
            From `signals.quality.rail_samples`, for the plain index.
        """
        return {
            SIGMA2: encode_dense(self.trained, self.scaler, ecg, starts).uncertainty,
            PLAIN: window_quality_index(ecg, starts, saturated=saturated),
            RANDOM: encode_dense(self.random, self.scaler, ecg, starts).uncertainty,
        }
