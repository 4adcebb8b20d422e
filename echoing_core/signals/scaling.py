"""One mean and one scale per lead for a whole data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import CheckpointError, DataSetError
from echoing_core.records import LEADS, BoolArray, FloatArray


@dataclass(frozen=True)
class LeadScaler:
    """Turns millivolts into numbers of order one, with the same rule for every recording.

    Never fitted to a single recording, which would wipe out its amplitudes.

    Attributes
    ----------
    mean_mv, scale_mv : tuple of 12 float
        Mean and standard deviation of each lead of `LEADS` in mV.
    """

    mean_mv: tuple[float, ...]
    scale_mv: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean_mv) != len(LEADS) or len(self.scale_mv) != len(LEADS):
            raise ValueError("mean_mv and scale_mv need one value for each of the 12 leads")
        if not all(math.isfinite(mean) for mean in self.mean_mv):
            raise ValueError(f"mean_mv must be finite: {self.mean_mv}")
        if not all(math.isfinite(scale) and scale > 0 for scale in self.scale_mv):
            raise ValueError(f"scale_mv must be finite and positive: {self.scale_mv}")

    @classmethod
    def fit(cls, signal_mv: FloatArray, valid: BoolArray) -> LeadScaler:
        """Mean and standard deviation of each lead over all valid samples of a data set.

        Parameters
        ----------
        signal_mv : ndarray, shape (n, 12, n_times)
            mV.
        valid : ndarray, shape (n, 12, n_times), bool

        Raises
        ------
        DataSetError
            If a lead is nowhere valid, or constant throughout.
        """
        if signal_mv.ndim != 3 or signal_mv.shape[1] != len(LEADS):
            raise ValueError(f"signal_mv must have shape (n, 12, n_times), not {signal_mv.shape}")
        if valid.shape != signal_mv.shape:
            raise ValueError(f"valid has shape {valid.shape}, not {signal_mv.shape}")
        means, scales = [], []
        for row, lead in enumerate(LEADS):
            # float64: a sum over millions of float32 samples would drift.
            values = signal_mv[:, row][valid[:, row]].astype(np.float64)
            scale = float(values.std()) if values.size else 0.0
            if not math.isfinite(scale) or scale <= 0.0:
                raise DataSetError(
                    f"Lead {lead} holds no usable signal in any of the {signal_mv.shape[0]} "
                    f"recordings, so no scale can be fitted. Add recordings with that lead."
                )
            means.append(float(values.mean()))
            scales.append(scale)
        return cls(tuple(means), tuple(scales))

    def apply(
        self, signal_mv: FloatArray, valid: BoolArray | None = None
    ) -> npt.NDArray[np.float32]:
        """Scale each lead; samples that are not valid become exactly 0, the mean.

        Parameters
        ----------
        signal_mv : ndarray, shape (..., 12, n_times)
            mV.
        valid : ndarray, shape (..., 12, n_times), bool, optional
            Without it every sample is scaled, and masking is left to the caller.

        Returns
        -------
        ndarray, shape (..., 12, n_times), float32
        """
        if signal_mv.ndim < 2 or signal_mv.shape[-2] != len(LEADS):
            raise ValueError(f"signal_mv must have shape (..., 12, n_times), not {signal_mv.shape}")
        if valid is not None and valid.shape != signal_mv.shape:
            raise ValueError(f"valid has shape {valid.shape}, not {signal_mv.shape}")
        mean = np.array(self.mean_mv, dtype=np.float32)[:, np.newaxis]
        scale = np.array(self.scale_mv, dtype=np.float32)[:, np.newaxis]
        scaled = (signal_mv.astype(np.float32, copy=False) - mean) / scale
        if valid is None:
            return np.asarray(scaled, dtype=np.float32)
        return np.where(valid, scaled, np.float32(0.0))

    def to_dict(self) -> dict[str, object]:
        """As JSON holds it: lead names, means and scales in mV."""
        return {
            "lead_names": list(LEADS),
            "mean_mv": list(self.mean_mv),
            "scale_mv": list(self.scale_mv),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> LeadScaler:
        """The inverse of `to_dict`.

        Raises
        ------
        CheckpointError
            If keys are missing or unknown, the leads are others or stand in another order,
            or the values are not 12 numbers each.
        """
        expected = {"lead_names", "mean_mv", "scale_mv"}
        if set(values) != expected:
            raise CheckpointError(
                f"The lead scaler holds the keys {', '.join(sorted(values)) or 'none'}; it "
                f"needs exactly {', '.join(sorted(expected))}. Restore the checkpoint."
            )
        if values["lead_names"] != list(LEADS):
            raise CheckpointError(
                f"The lead scaler is for the leads {values['lead_names']}, not "
                f"{', '.join(LEADS)}. Restore the checkpoint."
            )
        # The file may have been edited by hand, and True is an int to Python.
        numbers: dict[str, tuple[float, ...]] = {}
        for key in ("mean_mv", "scale_mv"):
            column = values[key]
            if not isinstance(column, list) or not all(
                isinstance(v, int | float) and not isinstance(v, bool) for v in column
            ):
                raise CheckpointError(
                    f"The lead scaler's {key} is not a list of numbers. Restore the checkpoint."
                )
            numbers[key] = tuple(float(v) for v in column)
        try:
            return cls(numbers["mean_mv"], numbers["scale_mv"])
        except ValueError as error:
            raise CheckpointError(
                f"The lead scaler cannot be used: {error}. Restore the checkpoint."
            ) from error
