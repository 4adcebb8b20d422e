"""PTB-XL (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6) in the layout of its releases.

``ptbxl_database.csv``, ``scp_statements.csv`` and the WFDB records under ``records100`` and
``records500``. Further columns are ignored, except ``scp_labels`` and ``metadata_complete``:
tables in which some rows lost their likelihoods and notes carry them.

`PtbXl` plans and reads for `echoing prepare ptbxl`; `load_ptbxl` reads some folds into memory.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from echoing_core.datasets.adapter import PADDING_HELP, LeftOut, Plan
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError, RecordError
from echoing_core.io import read_recording
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LONG_PADDING, STANDARD_FS_HZ, FilterPadding, StandardEcg
from echoing_core.reports.scp_text import (
    SCP_FINDINGS,
    SUPERCLASS_CODES,
    report_from_scp,
    superclasses_of_codes,
)
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

LABEL_GROUPS: tuple[str, ...] = ("super", "sub", "form", "rhythm")
"""Groups of labels of the PTB-XL benchmark (Strodthoff et al. 2021).

Columns ``label_NORM`` for the 5 superclasses, ``label_sub_IMI``, ``label_form_PVC`` and
``label_rhythm_AFIB`` for the 23 subclasses, 19 form and 12 rhythm statements. The benchmark uses
of each group only the ECGs that have at least one label of it.
"""

NO_STATEMENT = "no SCP statement"

_NEEDED = ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
_DURATION_S = 10
_N_NAMED = 3


@dataclass(frozen=True)
class PtbXl:
    """PTB-XL as an `Adapter`: the one way its tables and recordings are read.

    Beyond `COLUMNS` the table has ``fold``, ``age`` (NaN where unknown; 300 in the file means over
    89 and becomes 90), ``sex``, ``scp_codes`` (JSON of code to likelihood, 0 where not stated),
    ``heart_axis``, ``statements_en`` (the official English descriptions of the statements),
    ``report_original`` (German, some Swedish) and the `NOTES`. ``quality`` is ``"clean"``,
    ``"noisy"`` (some note is there) or ``"unknown"`` (``metadata_complete`` is false, so that an
    empty note says nothing).

    ``label_NORM``, ``label_MI``, ``label_STTC``, ``label_CD`` and ``label_HYP`` follow the PTB-XL
    benchmark: any listed diagnostic code counts, whatever its likelihood. The other labels, of
    `LABEL_CODES` and `LABEL_GROUPS`, do too. Rows without ``patient_id`` count as patients of
    their own: PTB-XL's folds are disjoint by patient already.
    """

    rate: Literal[100, 500] = field(
        default=100, metadata={"help": "Which recordings to read, in Hz; both end at 100 Hz."}
    )
    folds: tuple[int, ...] = field(
        default=FOLDS,
        metadata={"help": "Which to take; those named nowhere below are for training."},
    )
    valid_folds: tuple[int, ...] = field(default=(9,), metadata={"help": "Folds for validation."})
    test_folds: tuple[int, ...] = field(
        default=(10,), metadata={"help": "Folds for test; one that is named in both is for test."}
    )
    text: Literal["free", "machine", "statements", "original"] = field(
        default="free",
        metadata={
            "help": "The column report: English worded from the statements as people or machines "
            "write, the statements' official descriptions, or the German original."
        },
    )
    seed: int = field(default=0, metadata={"help": "Wording of the English report."})
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "ptbxl"

    def plan(self, root: Path) -> Plan:
        """Read the tables; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            A table or column is missing, or codes or classes are not those of the release.
        """
        table = _read_table(root, self.folds, self.rate)
        statements = _read_statements(root)
        # An ECG without any statement is not a normal ECG: nobody said what it shows.
        stated = table["scp_codes"].map(bool)
        left_out = tuple(
            LeftOut(_record_id(ecg_id), NO_STATEMENT, str(name))
            for ecg_id, name in zip(
                table.loc[~stated, "ecg_id"], table.loc[~stated, "filename_lr"], strict=True
            )
        )
        rows = table[stated].reset_index(drop=True)
        style = "machine" if self.text == "machine" else "free"
        studies = _study_table(rows, self.seed, style=style)
        codes: list[dict[str, float]] = studies["scp_codes"].tolist()
        # Parquet holds no dicts with keys of their own.
        studies["scp_codes"] = [json.dumps(one) for one in codes]
        studies["statements_en"] = [_described(one, statements) for one in codes]
        if "report_en" in rows.columns:
            studies["report_en"] = rows["report_en"].fillna("").astype(str)
        studies["report_original"] = studies["report_original"].fillna("").astype(str)
        if self.text == "statements":
            studies["report"] = studies["statements_en"]
        elif self.text == "original":
            studies["report"] = studies["report_original"]
        studies["path"] = rows[_path_column(self.rate)].astype(str)
        studies["split"] = [self._split(fold) for fold in studies["fold"]]
        for column in ("sex", "age", *NOTES):
            # A column of text and NaN would be refused by Parquet; numbers keep their NaN.
            if studies[column].dtype == object:
                studies[column] = studies[column].fillna("").astype(str)
        studies["heart_axis"] = studies["heart_axis"].fillna("").astype(str)
        # The superclasses come with the study table, so only the other groups are added.
        groups = _group_labels(codes, statements)
        further = {name: values for name, values in groups.items() if name not in studies}
        studies = pd.concat([studies, pd.DataFrame(further, index=studies.index)], axis=1)
        card = {
            "version": "PTB-XL, layout of 1.0.3",
            "licence": "CC BY 4.0",
            "split_rule": f"folds {_listed(self.valid_folds)} valid, {_listed(self.test_folds)} "
            "test, the others train",
            "label_groups": {
                group: [
                    column.removeprefix("label_") for column in groups if _group_of(column) == group
                ]
                for group in LABEL_GROUPS
            },
            "notes": [
                "A label is true where the code is listed, whatever its likelihood. The benchmark "
                "of each group (super, sub, form, rhythm) uses only ECGs with a label of it.",
            ],
        }
        return Plan(studies, left_out, card)

    def _split(self, fold: int) -> str:
        # Test first: a fold that is named for both must never be trained or tuned on.
        if fold in self.test_folds:
            return "test"
        return "valid" if fold in self.valid_folds else "train"

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read one recording of 10 s; see `Adapter.read`.

        Parameters
        ----------
        root : Path
        row : mapping
            ``path``: the record below ``root``, without ending.

        Raises
        ------
        RecordError
            It is missing, damaged, or lasts another time.
        """
        return _read_ecg(root / f"{row['path']}.hea", self.filter_padding)


def load_ptbxl(
    folder: str | Path,
    *,
    folds: Sequence[int],
    rate: Literal[100, 500] = 100,
    seed: int = 0,
    filter_padding: FilterPadding = LONG_PADDING,
    progress: Progress = SILENT,
) -> StudySet:
    """Read the recordings of some folds into memory, planned and read by `PtbXl`.

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
    filter_padding : {"long", "scipy"}
        As in `signals.standardise`.
    progress : Progress, optional
        Counts rows.

    Returns
    -------
    StudySet
        Signals of shape (n, 12, 1000). The table is that of `PtbXl.plan`, with ``scp_codes`` as
        dict of code to likelihood.

    Raises
    ------
    DataSetError
        The folder or its table is not as it should be, or no recording of the folds is there.

    Notes
    -----
    Rows whose files are missing or cannot be used, or which have no statement at all, are left
    out, counted, and named in the log.
    """
    root = Path(folder)
    adapter = PtbXl(rate=rate, folds=tuple(folds), seed=seed, filter_padding=filter_padding)
    plan = adapter.plan(root)
    left_out = {f"has {NO_STATEMENT}": [item.detail for item in plan.left_out]}
    ecgs: list[StandardEcg] = []
    rows: list[int] = []
    n_planned = len(plan.table)
    for row, name in enumerate(plan.table["path"]):
        progress(row, n_planned)
        header = root / f"{name}.hea"
        # Asked before reading, so that a partial download is one line in the log and not
        # thousands.
        if not header.is_file() or not header.with_suffix(".dat").is_file():
            left_out.setdefault("has no file", []).append(name)
            continue
        try:
            ecgs.append(adapter.read(root, {"path": name}))
            rows.append(row)
        except RecordError as error:
            # By reason, so that a thousand records with one fault are one line of the log.
            left_out.setdefault(str(error), []).append(name)
    progress(n_planned, n_planned)
    # Rows of the table in these folds, with and without statements.
    n_rows = n_planned + len(plan.left_out)
    for reason, names in left_out.items():
        if names:
            named = ", ".join(names[:_N_NAMED]) + ("..." if len(names) > _N_NAMED else "")
            logger.warning(
                "PTB-XL: %d of %d rows left out (%s): %s", len(names), n_rows, named, reason
            )
    if not ecgs:
        raise DataSetError(
            f"None of the {n_rows} rows of folds {list(folds)} has a usable recording under "
            f"records{rate}. Download that folder, or choose the other rate."
        )
    table = plan.table.iloc[rows].reset_index(drop=True)
    return StudySet(
        table.assign(scp_codes=table["scp_codes"].map(json.loads)),
        np.stack([ecg.signal_mv for ecg in ecgs]).astype(np.float32, copy=False),
        np.stack([ecg.valid for ecg in ecgs]),
    )


def _listed(folds: Sequence[int]) -> str:
    return ", ".join(str(fold) for fold in folds) or "none"


def _path_column(rate: int) -> str:
    return "filename_lr" if rate == 100 else "filename_hr"


def _record_id(ecg_id: float) -> str:
    return f"ptbxl-{int(ecg_id):05d}"


def ptbxl_patients(path: Path) -> dict[int, tuple[str, int]]:
    """Patient, as `PtbXl` calls it, and fold of each ``ecg_id`` of a ``ptbxl_database.csv``.

    Parameters
    ----------
    path : Path
        Of the table.

    Returns
    -------
    dict of int to (str, int)

    Raises
    ------
    DataSetError
        It is not that table.
    """
    needed = ("ecg_id", "patient_id", "strat_fold")
    if not path.is_file():
        raise DataSetError(f"There is no {path.name} at the place given for PTB-XL's table.")
    table = pd.read_csv(path)
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataSetError(f"{path.name} lacks the columns {', '.join(missing)}.")
    return {
        int(ecg_id): (_patient(patient, ecg_id), int(fold))
        for ecg_id, patient, fold in zip(*(table[name] for name in needed), strict=True)
    }


def split_of_fold(fold: int) -> str:
    """Split that a fold of PTB-XL belongs to (Wagner et al. 2020).

    Parameters
    ----------
    fold : int
        1 to 10.

    Returns
    -------
    {"train", "valid", "test"}
    """
    return {9: "valid", 10: "test"}.get(fold, "train")


def _patient(patient: float, ecg_id: float) -> str:
    # A few rows have no patient; folds are disjoint by patient, so each may count as one.
    if np.isfinite(patient):
        return f"ptbxl-p{int(patient):05d}"
    return f"{_record_id(ecg_id)}-patient-unknown"


def _read_statements(root: Path) -> pd.DataFrame:
    """``scp_statements.csv``, with which codes are form and rhythm and the subclasses.

    Raises
    ------
    DataSetError
        A column is missing, or the groups are not those of the release.
    """
    statements = pd.read_csv(root / "scp_statements.csv", index_col=0)
    needed = ("description", "form", "rhythm", "diagnostic_subclass")
    missing = [name for name in needed if name not in statements.columns]
    if missing:
        raise DataSetError(
            f"scp_statements.csv lacks the columns {', '.join(missing)}. Use the published file."
        )
    return statements


def _described(codes: Mapping[str, float], statements: pd.DataFrame) -> str:
    # A code that the table does not describe stands for itself.
    described = statements["description"]
    return ". ".join(str(described.get(code, code)) for code in codes)


def _group_labels(
    codes: Sequence[Mapping[str, float]], statements: pd.DataFrame
) -> dict[str, list[bool]]:
    """Label columns of the four groups, in the order of the statements."""
    columns = {
        f"label_{name}": [name in superclasses_of_codes(one) for one in codes]
        for name in SUPERCLASS_CODES
    }
    # Form and rhythm statements have no subclass.
    subclass = statements["diagnostic_subclass"].dropna()
    for name in subclass.unique():
        any_of = set(subclass.index[subclass == name])
        columns[f"label_sub_{name}"] = [not any_of.isdisjoint(one) for one in codes]
    for group in ("form", "rhythm"):
        for code in statements.index[statements[group] == 1]:
            columns[f"label_{group}_{code}"] = [code in one for one in codes]
    return columns


def _group_of(column: str) -> str:
    group = column.removeprefix("label_").partition("_")[0]
    return group if group in LABEL_GROUPS else "super"


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
    # Only in tables in which some rows lost their likelihoods.
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
        # Codes that are form or rhythm alone have no diagnostic class.
        theirs = (name,) if isinstance(name, str) else ()
        # Compared code by code with the published classes: other ones would give other labels
        # silently.
        if superclasses_of_codes({str(code): 0.0}) != theirs:
            raise DataSetError(
                f"scp_statements.csv puts {code} into the class {name}, which PTB-XL 1.0.3 does "
                "not. Use the published file."
            )


def _codes(ecg_id: int, codes: object, labels: object) -> dict[str, float]:
    """SCP codes with likelihoods; 0 ("not stated") for all where only ``scp_labels`` is there."""
    if isinstance(codes, str):
        try:
            # The column holds a Python dict as text, with single quotes.
            parsed = ast.literal_eval(codes)
            likelihoods = {str(code): float(value) for code, value in parsed.items()}
        except (ValueError, SyntaxError, AttributeError, TypeError) as error:
            raise DataSetError(
                f"scp_codes of ECG {ecg_id} is {codes!r}; it must be a list of codes with "
                "likelihoods in braces."
            ) from error
    elif isinstance(labels, str):
        likelihoods = {code.strip(): 0.0 for code in labels.split(";") if code.strip()}
    else:
        likelihoods = {}
    unknown = sorted(code for code in likelihoods if code not in SCP_FINDINGS)
    if unknown:
        raise DataSetError(
            f"ECG {ecg_id} has the SCP codes {', '.join(unknown)}, which PTB-XL 1.0.3 does not "
            "know. Use the published table."
        )
    return likelihoods


def _read_ecg(header: Path, filter_padding: str = LONG_PADDING) -> StandardEcg:
    recording = read_recording([header, header.with_suffix(".dat")])
    ecg = standardise(recording, filter_padding=filter_padding)
    n_times = round(_DURATION_S * STANDARD_FS_HZ)
    if ecg.n_times != n_times:
        raise RecordError(f"Record {ecg.record_id} lasts {ecg.duration_s} s, not {_DURATION_S} s.")
    return ecg


def study_table(records: pd.DataFrame) -> pd.DataFrame:
    """The study table of rows of ``ptbxl_database.csv``, whatever holds their signals.

    Parameters
    ----------
    records : DataFrame
        With the columns of the release, ``scp_codes`` as text; rows numbered from 0.

    Returns
    -------
    DataFrame
        As `PtbXl` describes it, without the `LABEL_GROUPS`.

    Raises
    ------
    DataSetError
        ``scp_codes`` is not as published.
    """
    codes = [
        _codes(ecg_id, listed, None)
        for ecg_id, listed in zip(records["ecg_id"], records["scp_codes"], strict=True)
    ]
    return _study_table(records.assign(scp_codes=pd.Series(codes, dtype=object)), 0)


def _study_table(rows: pd.DataFrame, seed: int, *, style: str = "free") -> pd.DataFrame:
    codes: list[dict[str, float]] = rows["scp_codes"].tolist()
    axes: list[Any] = _column(rows, "heart_axis").tolist()
    # One generator for each ECG, so that its text does not depend on which folds were read.
    reports = [
        report_from_scp(c, axis, np.random.default_rng([seed, int(ecg_id)]), style=style)
        for ecg_id, c, axis in zip(rows["ecg_id"], codes, axes, strict=True)
    ]
    fold = rows["strat_fold"].astype(int)
    ages = _column(rows, "age").astype(float)
    record_ids = [_record_id(ecg_id) for ecg_id in rows["ecg_id"]]
    patients = [
        _patient(patient, ecg_id)
        for patient, ecg_id in zip(rows["patient_id"], rows["ecg_id"], strict=True)
    ]
    columns: dict[str, Any] = {
        "source": "ptbxl",
        "patient_id": patients,
        "study_id": record_ids,
        "record_id": record_ids,
        # By the folds of the release; `PtbXl.plan` puts those of its options in their place.
        "split": [split_of_fold(number) for number in fold],
        "report": reports,
        "simulated": False,
        "quality": _quality(rows),
        "fold": fold,
        # 300 stands for all above 89 (HIPAA).
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
    # The first that holds: a note counts even where the notes are not complete.
    words = np.select([noted, complete], ["noisy", "clean"], "unknown")
    return [str(word) for word in words]
