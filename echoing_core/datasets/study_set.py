"""One table of ECGs with their reports and labels, whatever data set they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.errors import DataSetError
from echoing_core.records import LEADS, BoolArray

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: tuple[str, ...] = (
    "source",
    "patient_id",
    "study_id",
    "record_id",
    "split",
    "report",
    "simulated",
    "quality",
)
"""Columns that every table has. Labels are further columns named ``label_...``."""

SPLITS: tuple[str, ...] = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class StudySet:
    """ECGs of equal length at 100 Hz, with one table row for each.

    Attributes
    ----------
    table : DataFrame, n rows
        The columns `COLUMNS`, label columns ``label_*`` (bool or float, NaN where unknown), and
        whatever else a data set has. ``patient_id`` is unique within a ``source``. ``quality``
        is ``"clean"`` where the recording is known to be free of noise. Rows are numbered from 0.
    signal_mv : ndarray, shape (n, 12, n_times), float32
        As in `StandardEcg`, leads in the order of `LEADS`, 0 wherever ``valid`` is False.
    valid : ndarray, shape (n, 12, n_times), bool

    Raises
    ------
    DataSetError
        The parts do not fit each other, or a patient stands in two splits.
    """

    table: pd.DataFrame
    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray

    def __post_init__(self) -> None:
        n = len(self.table)
        if self.signal_mv.ndim != 3 or self.signal_mv.shape[1] != len(LEADS):
            raise DataSetError(
                f"The signals have shape {self.signal_mv.shape}; they must be (studies, 12, times)."
            )
        if self.signal_mv.shape[0] != n or self.valid.shape != self.signal_mv.shape:
            raise DataSetError(
                f"{n} table rows, signals of shape {self.signal_mv.shape} and validity of shape "
                f"{self.valid.shape} do not belong together."
            )
        # Silent copies to another type would double the memory of a large set.
        if self.signal_mv.dtype != np.float32 or self.valid.dtype != np.bool_:
            raise DataSetError(
                f"Signals must be float32 and validity bool, not {self.signal_mv.dtype} and "
                f"{self.valid.dtype}."
            )
        missing = [name for name in COLUMNS if name not in self.table.columns]
        if missing:
            raise DataSetError(f"The study table lacks the columns {', '.join(missing)}.")
        # Rows of table and signals belong together by position; a kept index would mislead `loc`.
        if not np.array_equal(self.table.index.to_numpy(), np.arange(n)):
            raise DataSetError("The rows of a study table must be numbered 0, 1, 2... in order.")
        self._check_labels()
        self._check_splits()

    def _check_labels(self) -> None:
        for name in self.label_columns:
            # object columns hide None and words, which NaN-aware metrics would not see.
            if self.table[name].dtype.kind not in "bf":
                raise DataSetError(
                    f"Column {name} holds {self.table[name].dtype}; labels are bool or float."
                )

    def _check_splits(self) -> None:
        unknown = sorted(set(self.table["split"]) - set(SPLITS))
        if unknown:
            raise DataSetError(f"Unknown splits {unknown}; the splits are {', '.join(SPLITS)}.")
        # A patient in train and test would make every figure on the test too good.
        n_splits = self.table.groupby(["source", "patient_id"])["split"].nunique()
        shared = n_splits[n_splits > 1]
        if len(shared):
            source, patient = shared.index[0]
            raise DataSetError(
                f"{len(shared)} patients stand in more than one split, for example {patient} of "
                f"{source}. Split by patient, not by recording."
            )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Names of the label columns, with their prefix ``label_``, in the table's order."""
        return tuple(str(name) for name in self.table.columns if str(name).startswith("label_"))

    def where(self, mask: BoolArray | pd.Series) -> StudySet:
        """Keep the rows where ``mask`` is true.

        Parameters
        ----------
        mask : ndarray of bool, shape (n,)

        Returns
        -------
        StudySet
            Of copies.

        Raises
        ------
        ValueError
            ``mask`` is not one bool for each row.
        """
        rows = np.asarray(mask)
        if rows.dtype != np.bool_ or rows.shape != (len(self),):
            raise ValueError(
                f"the mask must be {len(self)} bools, not {rows.dtype} of shape {rows.shape}"
            )
        table = self.table.loc[rows].reset_index(drop=True)
        return StudySet(table, self.signal_mv[rows], self.valid[rows])

    def concat(self, *others: StudySet) -> StudySet:
        """Put other sets below this one. A label that one of them lacks becomes NaN there.

        Parameters
        ----------
        *others : StudySet

        Returns
        -------
        StudySet
            Of copies; labels are float.

        Raises
        ------
        DataSetError
            The signals have different lengths, or a patient would stand in two splits.
        """
        import pandas as pd

        sets = [self, *others]
        lengths = sorted({one.signal_mv.shape[2] for one in sets})
        if len(lengths) > 1:
            raise DataSetError(
                f"ECGs of {lengths} samples cannot stand in one study set. Cut them to one length."
            )
        tables = []
        labels = {name for one in sets for name in one.label_columns}
        for one in sets:
            table = one.table.copy()
            for name in labels:
                # Float from the start: a bool column that gains NaN would become object.
                known = name in table.columns
                table[name] = table[name].astype(np.float64) if known else np.nan
            tables.append(table)
        return StudySet(
            pd.concat(tables, ignore_index=True),
            np.concatenate([one.signal_mv for one in sets]),
            np.concatenate([one.valid for one in sets]),
        )
