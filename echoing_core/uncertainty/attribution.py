"""Which leads and which moments a window's sigma^2 comes from.

The ECG encoder's sigma^2 is a sum over leads and fifths of a second (`models.variance_head`), so
nothing is estimated here: what is given are the terms of that sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.errors import CheckpointError
from echoing_core.records import BoolArray

if TYPE_CHECKING:
    from echoing_core.models.encoders import EcgEncoder
    from echoing_core.signals.scaling import LeadScaler

N_CHUNKS = 50
"""Chunks in a window of 10 s."""

CHUNK_S = 0.2


@dataclass(frozen=True, eq=False)
class Attribution:
    """The terms of the sum of sigma^2 of windows.

    Attributes
    ----------
    cells : ndarray, shape (n_windows, 12, 50), float32, >= 0
        By lead and chunk of 0.2 s from the window's start.
    rest : ndarray, shape (n_windows,), >= 0
        What belongs to no lead: ``cells.sum((1, 2)) + rest`` is the sum of sigma^2.
    lost : ndarray, shape (n_windows, 12, 50), 0..1
        How much of the signal the model takes for lost, by lead and chunk.
    """

    cells: npt.NDArray[np.float32]
    rest: npt.NDArray[np.float32]
    lost: npt.NDArray[np.float32]

    @property
    def by_lead(self) -> npt.NDArray[np.float64]:
        """Terms of each lead summed over time, shape (n_windows, 12)."""
        return np.asarray(self.cells.sum(axis=2, dtype=np.float64))

    @property
    def badness(self) -> npt.NDArray[np.float64]:
        """How bad each lead is, shape (n_windows, 12), >= 0, in no unit."""
        return lead_badness(self.cells, self.lost)


def lead_badness(cells: npt.ArrayLike, lost: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How bad leads are: the geometric mean of what they cost and of how much of them is lost.

    A lead's terms of sigma^2 say what it costs the reading of the whole ECG. That is little for a
    lead that the others tell all about, however ruined; and how much is lost alone would blame
    leads that nothing hangs on.

    Parameters
    ----------
    cells, lost : array-like, shape (..., n_leads, n_chunks)
        As in `Attribution`.

    Returns
    -------
    ndarray, shape (..., n_leads)
        For comparing leads and windows of one model; no term of any sum.
    """
    costs = np.asarray(cells, dtype=np.float64).sum(axis=-1)
    return np.asarray(np.sqrt(costs * np.asarray(lost, dtype=np.float64).mean(axis=-1)))


def attribute_windows(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    signal_mv: npt.NDArray[np.float32],
    valid: BoolArray,
) -> Attribution:
    """Embed windows and take their sigma^2 apart.

    Parameters
    ----------
    encoder : EcgEncoder
    scaler : LeadScaler
        Of the checkpoint that the encoder belongs to.
    signal_mv, valid : ndarray, shape (n, 12, 1000)
        Windows at 100 Hz, 0.5-40 Hz.

    Returns
    -------
    Attribution

    Raises
    ------
    CheckpointError
        The model's sigma^2 is no sum over leads and moments.
    """
    # Here: what windows look like is said without torch, which comes with the encoders.
    from echoing_core.embed.encode import encode_batch_terms

    windows = encode_batch_terms(encoder, scaler, signal_mv, valid, keep_cells=True)
    if windows.cells is None or windows.rest is None or windows.lost is None:
        raise CheckpointError(
            "This model does not tell which leads and moments its sigma^2 comes from. Take one of "
            "the compact architecture, such as the shipped one."
        )
    return Attribution(windows.cells, windows.rest, windows.lost)
