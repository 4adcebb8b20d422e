"""Prepared folders for a training loop of one's own, as a dataset of torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from echoing_core.datasets.prepared import load_prepared


class EchoingDataset(Dataset[dict[str, Any]]):
    """ECGs of a prepared folder with their reports and labels; signals stay on disk until used.

    An item is a dict that torch's own `default_collate` puts together:

    - ``signal_mv``: Tensor, shape (12, n_times), float32; millivolts, 0.5-40 Hz, 100 Hz, leads in
      the order of `LEADS`, 0 where ``valid`` is False.
    - ``valid``: Tensor, shape (12, n_times), bool; where something was measured.
    - ``report``: str, empty where there is none.
    - ``labels``: Tensor, shape (n_labels,), float32; NaN where unknown.
    - ``patient_id``, ``study_id``: str.

    Parameters
    ----------
    folder : path
        As ``echoing prepare`` wrote it.
    split : {"train", "valid", "test"}

    Attributes
    ----------
    label_names : tuple of str
        Of ``labels``, without the prefix ``label_``.
    table : DataFrame
        All that the folder knows of each ECG, a row an item.

    Raises
    ------
    DataSetError
        The folder is missing, damaged or of another kind, or has nothing in this split.
    ConfigError
        There is no such split.
    """

    def __init__(self, folder: str | os.PathLike[str], split: str = "train") -> None:
        self.folder, self.split = Path(folder), split
        studies = load_prepared(self.folder, splits=[split])
        self.table = studies.table
        self.label_names = tuple(name.removeprefix("label_") for name in studies.label_columns)
        self._signal_mv, self._valid = studies.signal_mv, studies.valid
        self._labels = self.table[list(studies.label_columns)].to_numpy(dtype=np.float32)
        # As lists: a column of a table costs a hundred times as much to look into.
        self._texts = {
            "report": [str(text) for text in self.table["report"].fillna("")],
            "patient_id": [str(text) for text in self.table["patient_id"]],
            "study_id": [str(text) for text in self.table["study_id"]],
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # Processes that load batches open the folder themselves: a map of a file cannot be sent.
        return type(self), (self.folder, self.split)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = range(len(self))[index]
        item: dict[str, Any] = {
            # Copies: the file is read-only, and torch would warn of a tensor on its memory.
            "signal_mv": _copied(self._signal_mv[row]),
            "valid": _copied(self._valid[row]),
            "labels": _copied(self._labels[row]),
        }
        return item | {name: texts[row] for name, texts in self._texts.items()}

    def with_label(self, name: str) -> list[int]:
        """Items whose label is known, for `torch.utils.data.Subset`.

        Parameters
        ----------
        name : str
            Of `label_names`.

        Returns
        -------
        list of int
        """
        known = np.isfinite(self._labels[:, self.label_names.index(name)])
        return [int(row) for row in np.flatnonzero(known)]


def _copied(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))
