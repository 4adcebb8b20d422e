"""PTB-XL (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6) in the layout of its releases.

``ptbxl_database.csv``, ``scp_statements.csv`` and the WFDB records under ``records100`` and
``records500``. Further columns are ignored, except ``scp_labels`` and ``metadata_complete``:
tables in which some rows lost their likelihoods and notes carry them.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echoing_core.datasets.scp_text import (
    SCP_FINDINGS,
    SUPERCLASS_CODES,
    report_from_scp,
    superclasses_of_codes,
)
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError, RecordError
from echoing_core.io import read_recording
from echoing_core.records import STANDARD_FS_HZ, StandardEcg
from echoing_core.signals import standardise

logger = logging.getLogger(__name__)

FOLDS: tuple[int, ...] = tuple(range(1, 11))
"""Folds 1-8 are for training, 9 for validation, 10 for test (Wagner et al. 2020)."""

LABEL_CODES: dict[str, tuple[str, ...]] = {
    "sinus_rhythm": ("SR",),
    "sinus_bradycardia": ("SBRAD",),
    "sinus_tachycardia": ("STACH",),
    "sinus_arrhythmia": ("SARRH",),
    "af": ("AFIB",),
    "flutter": ("AFLT",),
    "paced": ("PACE",),
    "pvc": ("PVC",),
    "pac": ("PAC",),
    "lbbb": ("CLBBB",),
    "rbbb": ("CRBBB",),
    "irbbb": ("IRBBB",),
    "lafb": ("LAFB",),
    "av_block_1": ("1AVB",),
    "lvh": ("LVH",),
}
"""Label (without ``label_``) -> SCP codes any of which makes it true."""

NOTES: tuple[str, ...] = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems")
"""Signal-quality notes, each naming the leads concerned; kept as columns."""

_NEEDED = ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
_DURATION_S = 10
_N_NAMED = 3


def load_ptbxl(
    folder: str | Path,
    *,
    folds: Sequence[int],
    rate: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> StudySet:
    """Read the recordings of some folds with labels, quality notes and an English report each.

    Parameters
    ----------
    folder : path
        The folder with ``ptbxl_database.csv``.
    folds : sequence of int
        Of 1-10. Folds 1-8 become split ``"train"``, 9 ``"valid"``, 10 ``"test"``.
    rate : {100, 500}
        Which recordings to read, in Hz; both end at 100 Hz.
    seed : int
        Wording of the ``report`` column. For other wordings of the same ECG, call
        `report_from_scp` with ``table["scp_codes"]`` and ``table["heart_axis"]``.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    StudySet
        Signals of shape (n, 12, 1000). Beyond the common columns: ``fold``, ``age`` (NaN where
        unknown; 300 in the file means over 89 and becomes 90), ``sex``, ``scp_codes`` (dict of
        code to likelihood, 0 where not stated), ``heart_axis``, ``report_original`` and the
        `NOTES`. ``quality`` is ``"clean"``, ``"noisy"`` (some note is there) or ``"unknown"``
        (``metadata_complete`` is false, so that an empty note says nothing).

        ``label_NORM``, ``label_MI``, ``label_STTC``, ``label_CD`` and ``label_HYP`` follow
        the PTB-XL benchmark: any listed diagnostic code counts, whatever its likelihood. The
        other labels, see `LABEL_CODES`, do too.

    Raises
    ------
    DataSetError
        The folder or its table is not as it should be, or no recording of the folds is there.

    Notes
    -----
    Rows whose files are missing or cannot be used, or which have no statement at all, are left
    out, counted, and named in the log. Rows without ``patient_id`` count as patients of their
    own: PTB-XL's folds are disjoint by patient already.
    """
    root = Path(folder)
    table = _read_table(root, folds, rate)
    column = "filename_lr" if rate == 100 else "filename_hr"
    ecgs: list[StandardEcg] = []
    kept: list[int] = []
    skipped: dict[str, list[str]] = {"has no SCP statement": [], "has no file": []}
    for done, (row, codes, name) in enumerate(
        zip(table.index, table["scp_codes"], table[column], strict=True)
    ):
        if progress is not None:
            progress(done, len(table))
        header = root / f"{name}.hea"
        if not codes:
            skipped["has no SCP statement"].append(str(name))
        elif not header.is_file() or not header.with_suffix(".dat").is_file():
            skipped["has no file"].append(str(name))
        else:
            try:
                ecgs.append(_read_ecg(header))
                kept.append(int(row))
            except RecordError as error:
                skipped.setdefault(str(error), []).append(str(name))
    if progress is not None:
        progress(len(table), len(table))
    for reason, names in skipped.items():
        if names:
            named = ", ".join(names[:_N_NAMED]) + ("..." if len(names) > _N_NAMED else "")
            logger.warning(
                "PTB-XL: %d of %d rows left out (%s): %s", len(names), len(table), named, reason
            )
    if not ecgs:
        raise DataSetError(
            f"None of the {len(table)} rows of folds {list(folds)} has a usable recording under "
            f"records{rate}. Download that folder, or choose the other rate."
        )
    return StudySet(
        _study_table(table.loc[kept].reset_index(drop=True), seed),
        np.stack([ecg.signal_mv for ecg in ecgs]).astype(np.float32, copy=False),
        np.stack([ecg.valid for ecg in ecgs]),
    )


def _read_table(root: Path, folds: Sequence[int], rate: int) -> pd.DataFrame:
    if rate not in (100, 500):
        raise DataSetError(f"PTB-XL comes at 100 and 500 Hz, not at {rate} Hz. Choose one of them.")
    wrong = sorted(set(folds) - set(FOLDS))
    if wrong or not folds:
        raise DataSetError(f"PTB-XL has the folds 1 to 10; {list(folds)} is not a choice of them.")
    path = root / "ptbxl_database.csv"
    if not path.is_file():
        raise DataSetError(
            f"There is no ptbxl_database.csv in {root.name or root}. Name the folder that holds "
            "it, as PTB-XL is published."
        )
    _check_statements(root)
    table = pd.read_csv(path)
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise DataSetError(
            f"ptbxl_database.csv lacks the columns {', '.join(missing)}. Use the published table."
        )
    table = table[table["strat_fold"].isin(list(folds))].reset_index(drop=True)
    if "scp_labels" not in table.columns:
        table["scp_labels"] = None
    codes = [
        _codes(ecg_id, listed, labels)
        for ecg_id, listed, labels in zip(
            table["ecg_id"], table["scp_codes"], table["scp_labels"], strict=True
        )
    ]
    return table.assign(scp_codes=pd.Series(codes, index=table.index, dtype=object))


def _check_statements(root: Path) -> None:
    """Refuse a folder whose diagnostic classes are not those that the labels follow."""
    path = root / "scp_statements.csv"
    if not path.is_file():
        raise DataSetError(
            f"There is no scp_statements.csv in {root.name or root}. Put it beside "
            "ptbxl_database.csv, as PTB-XL is published."
        )
    statements = pd.read_csv(path, index_col=0)
    if "diagnostic_class" not in statements.columns:
        raise DataSetError("scp_statements.csv lacks the column diagnostic_class.")
    for code, name in statements["diagnostic_class"].items():
        theirs = (name,) if isinstance(name, str) else ()
        if superclasses_of_codes({str(code): 0.0}) != theirs:
            raise DataSetError(
                f"scp_statements.csv puts {code} into the class {name}, which PTB-XL 1.0.3 does "
                "not. Use the published file."
            )


def _codes(ecg_id: int, codes: object, labels: object) -> dict[str, float]:
    """SCP codes with likelihoods; 0 ("not stated") for all where only ``scp_labels`` is there."""
    if isinstance(codes, str):
        try:
            parsed = ast.literal_eval(codes)
            found = {str(code): float(likelihood) for code, likelihood in parsed.items()}
        except (ValueError, SyntaxError, AttributeError, TypeError) as error:
            raise DataSetError(
                f"scp_codes of ECG {ecg_id} is {codes!r}; it must be a list of codes with "
                "likelihoods in braces."
            ) from error
    elif isinstance(labels, str):
        found = {code.strip(): 0.0 for code in labels.split(";") if code.strip()}
    else:
        found = {}
    unknown = sorted(code for code in found if code not in SCP_FINDINGS)
    if unknown:
        raise DataSetError(
            f"ECG {ecg_id} has the SCP codes {', '.join(unknown)}, which PTB-XL 1.0.3 does not "
            "know. Use the published table."
        )
    return found


def _read_ecg(header: Path) -> StandardEcg:
    ecg = standardise(read_recording([header, header.with_suffix(".dat")]))
    n_times = round(_DURATION_S * STANDARD_FS_HZ)
    if ecg.n_times != n_times:
        raise RecordError(f"Record {ecg.record_id} lasts {ecg.duration_s} s, not {_DURATION_S} s.")
    return ecg


def _study_table(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    codes: list[dict[str, float]] = rows["scp_codes"].tolist()
    axes: list[Any] = _column(rows, "heart_axis").tolist()
    # One generator for each ECG, so that its text does not depend on which folds were read.
    reports = [
        report_from_scp(c, axis, np.random.default_rng([seed, int(ecg_id)]), style="free")
        for ecg_id, c, axis in zip(rows["ecg_id"], codes, axes, strict=True)
    ]
    fold = rows["strat_fold"].astype(int)
    ages = _column(rows, "age").astype(float)
    record_ids = [f"ptbxl-{int(ecg_id):05d}" for ecg_id in rows["ecg_id"]]
    patients = [
        f"ptbxl-p{int(patient):05d}" if pd.notna(patient) else f"{record_id}-patient-unknown"
        for patient, record_id in zip(rows["patient_id"], record_ids, strict=True)
    ]
    columns: dict[str, Any] = {
        "source": "ptbxl",
        "patient_id": patients,
        "study_id": record_ids,
        "record_id": record_ids,
        "split": np.select([fold <= 8, fold == 9], ["train", "valid"], "test"),
        "report": reports,
        "simulated": False,
        "quality": _quality(rows),
        "fold": fold,
        "age": ages.where(ages <= 89, 90.0).where(ages.notna()),
        "sex": _column(rows, "sex"),
        "scp_codes": codes,
        "heart_axis": axes,
        "report_original": _column(rows, "report"),
        **{name: _column(rows, name) for name in NOTES},
    }
    for name in SUPERCLASS_CODES:
        columns[f"label_{name}"] = [name in superclasses_of_codes(c) for c in codes]
    for name, any_of in LABEL_CODES.items():
        columns[f"label_{name}"] = [not c.keys().isdisjoint(any_of) for c in codes]
    return pd.DataFrame(columns, index=rows.index)


def _column(rows: pd.DataFrame, name: str) -> pd.Series[Any]:
    return rows[name] if name in rows.columns else pd.Series(np.nan, index=rows.index)


def _quality(rows: pd.DataFrame) -> list[str]:
    noted = np.zeros(len(rows), dtype=bool)
    for name in NOTES:
        # Some notes are commas and spaces only.
        text = _column(rows, name).fillna("").astype(str).str.strip(" ,")
        noted |= (text != "").to_numpy()
    complete = np.ones(len(rows), dtype=bool)
    if "metadata_complete" in rows.columns:
        complete = rows["metadata_complete"].to_numpy(dtype=bool)
    words = np.select([noted, complete], ["noisy", "clean"], "unknown")
    return [str(word) for word in words]
