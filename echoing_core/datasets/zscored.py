"""PTB-XL recordings that were z-scored lead by lead: their millivolts are lost.

A folder of ``x_NN.npz`` (``x``: int16, shape (n, 1000, 12), 100 Hz, `COUNTS_PER_SD` counts to
one standard deviation of that lead; ``ecg_id``) and ``records.csv``, rows in the same order: the
columns of ``ptbxl_database.csv`` and ``limb_I`` ... ``limb_aVF``, the standard deviations of the
six limb leads up to one factor that they share.

An encoder that takes millivolts needs some. They are borrowed: a donor, a whole recording of the
same kind of heart, lends the standard deviations of its chest leads and the mean one of its limb
leads. What rests on voltage (hypertrophy, low voltage) is neither labelled nor told by the
reports, and no quality is: sigma^2 must not learn from voltages that nobody measured.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from echoing_core.datasets.ptbxl import study_table
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError
from echoing_core.records import LEADS
from echoing_core.reports.scp_text import report_from_scp

logger = logging.getLogger(__name__)

COUNTS_PER_SD = 500.0

VOLTAGE_CODES = frozenset({"LVH", "VCLVH", "RVH", "SEHYP", "HVOLT", "LVOLT"})
"""SCP statements that rest on millivolts."""

ZSCORED_SOURCE = "ptbxl-zscored"

VOLTAGE_LABELS = ("label_lvh", "label_HYP")

_LIMB = tuple(f"limb_{lead}" for lead in LEADS[:6])
# Kinds of heart whose voltages differ most; a donor is of the same kind.
_KINDS = ("label_HYP", "label_lbbb", "label_paced", "label_MI", "label_NORM")


def load_zscored(
    folder: str | Path, *, folds: Sequence[int], donors: StudySet, seed: int = 0
) -> StudySet:
    """Read some folds, with borrowed millivolts.

    Parameters
    ----------
    folder : path
        With ``records.csv`` and ``x_NN.npz``.
    folds : sequence of int
        Of 1-10.
    donors : StudySet
        Recordings in mV with the label columns of `PtbXl`; of training folds.
    seed : int
        Decides which donor an ECG has.

    Returns
    -------
    StudySet
        Signals of shape (n, 12, 1000). `VOLTAGE_LABELS` are NaN. ``scp_codes`` (dict) holds no
        statement on voltage; of an ECG that had one, ``voltage_stated`` is true.

    Raises
    ------
    DataSetError
        A file is missing, or table and signals do not belong together.
    """
    root = Path(folder)
    path = root / "records.csv"
    if not path.is_file():
        raise DataSetError(f"There is no records.csv in {root.name or root}. Name its folder.")
    records = pd.read_csv(path)
    missing = [
        name for name in ("ecg_id", "strat_fold", "scp_codes", *_LIMB) if name not in records
    ]
    if missing:
        raise DataSetError(f"records.csv lacks the columns {', '.join(missing)}.")
    shards = sorted(root.glob("x_*.npz"))
    parts = [np.load(shard, allow_pickle=False) for shard in shards]
    ids = np.concatenate([part["ecg_id"] for part in parts]) if parts else np.zeros(0)
    if not np.array_equal(ids, records["ecg_id"].to_numpy()):
        raise DataSetError("records.csv and x_*.npz do not list the same ECGs in the same order.")
    # Without one factor for all limb leads there is no lead triangle, and no axis.
    usable = records["strat_fold"].isin(list(folds)) & records[list(_LIMB)].notna().all(axis=1)
    if "limb_ok" in records:
        usable &= records["limb_ok"].astype(bool)
    rows = np.flatnonzero(usable.to_numpy())
    if not rows.size:
        raise DataSetError(f"No ECG of the folds {list(folds)} is there.")
    z = np.concatenate([part["x"] for part in parts])[rows].transpose(0, 2, 1)
    table = study_table(records.iloc[rows].reset_index(drop=True))
    deviations = _borrowed(table, records.iloc[rows], donors, seed)
    signal = z.astype(np.float32) / np.float32(COUNTS_PER_SD)
    signal *= deviations[:, :, None].astype(np.float32)
    return StudySet(_without_voltage(table, seed), signal, np.ones(signal.shape, dtype=np.bool_))


def _borrowed(
    table: pd.DataFrame, records: pd.DataFrame, donors: StudySet, seed: int
) -> npt.NDArray[np.float64]:
    """Standard deviation of each lead in mV, shape (n, 12)."""
    lent = donors.signal_mv.std(axis=2).astype(np.float64)
    kinds = {
        kind: np.asarray(rows) for kind, rows in donors.table.groupby(list(_KINDS)).indices.items()
    }
    ratios = records[list(_LIMB)].to_numpy(dtype=np.float64)
    deviations = np.empty((len(table), len(LEADS)))
    for row, kind in enumerate(table[list(_KINDS)].itertuples(index=False, name=None)):
        rng = np.random.default_rng([seed, int(records["ecg_id"].iloc[row])])
        # A kind that no donor is of may have any.
        pool = kinds.get(kind, np.arange(len(lent)))
        donor = lent[pool[int(rng.integers(len(pool)))]]
        deviations[row, :6] = ratios[row] * donor[:6].mean() / ratios[row].mean()
        deviations[row, 6:] = donor[6:]
    return deviations


def _without_voltage(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    table = table.copy()
    stated = [not VOLTAGE_CODES.isdisjoint(codes) for codes in table["scp_codes"]]
    without: list[dict[str, float]] = [
        {code: value for code, value in codes.items() if code not in VOLTAGE_CODES}
        for codes in table["scp_codes"]
    ]
    table["scp_codes"] = pd.Series(without, index=table.index, dtype=object)
    table["report"] = [
        report_from_scp(codes, axis, np.random.default_rng([seed, row]), style="free")
        for row, (codes, axis) in enumerate(
            zip(table["scp_codes"], table["heart_axis"], strict=True)
        )
    ]
    table["voltage_stated"] = stated
    for name in VOLTAGE_LABELS:
        table[name] = np.nan
    table["source"] = ZSCORED_SOURCE
    table["quality"] = "unknown"
    return table
