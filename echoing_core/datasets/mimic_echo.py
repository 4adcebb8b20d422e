"""MIMIC-IV-ECHO 0.1 and 1.0 (doi 10.13026/nrjh-5r77): studies, their clips, and measurements.

::

    echo-study-list.csv              subject_id, study_id, study_datetime, (note_id, note_seq,
                                     note_charttime; 1.0 adds measurement_id and its time)
    echo-record-list.csv             subject_id, study_id, acquisition_datetime, dicom_filepath
    structured-measurement.csv.gz    1.0 only: subject_id, measurement_id, measurement_datetime,
                                     test_type, measurement, measurement_description, result, unit
    files/p10/p10000000/s90000000/90000000_0001.dcm

Version 1.0 has measurements of 206,488 echocardiograms, of which 7,243 have clips. Measurements
alone give labels; a study with clips can be embedded by a teacher and paired with ECGs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from echoing_core.datasets.mimic_tables import (
    find_table,
    need_table,
    patient_name,
    read_table,
    times,
    whole_table,
)
from echoing_core.errors import DataSetError

LVEF_NAMES: tuple[tuple[str, str], ...] = (
    ("lvef", "lvef_upper"),
    ("lvef_3d", ""),
    ("biplane_lvef", ""),
)
"""Measurements of the ejection fraction, and the other end of the range where they are one.

The first that a study has is taken: ``lvef`` is the reader's own conclusion, the others are single
ways to measure it. Of a range the middle is taken.
"""

LVEF_PLAUSIBLE_PCT: tuple[float, float] = (5.0, 90.0)
"""An ejection fraction outside is a slip of the pen or of the unit (0.55)."""

TEST_TYPES: tuple[str, ...] = ("tte",)
"""Kinds of echocardiogram that label an ECG. Stress echo has an LVEF at rest and one in stress."""

MEASUREMENT_STEMS = ("structured-measurement", "structured_measurement")

_RANGE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*%?\s*(?:-|–|to)\s*(\d+(?:\.\d+)?)\s*%?\s*$")
_ONE = re.compile(r"^\s*(<|>|<=|>=|≤|≥|=|~)?\s*(\d+(?:\.\d+)?)\s*%?\s*$")
# The bounds with "or equal" count as their own value.
_BEYOND_PCT = {"<": -0.5, ">": 0.5}


@dataclass(frozen=True)
class EchoFiles:
    """One echocardiogram and its clips.

    Attributes
    ----------
    study_id : str
        ``"s"`` and the number: the name of its folder, of its row in an embedding store, and of
        the column ``echo_study_id`` that pairs it with ECGs.
    patient_id : str
    time : str
        ``study_datetime`` as it is published, "" where there is none.
    folder : Path
        Where its clips are.
    clips : tuple of Path
        Files that are there, in the order of their names. Single pictures are among them.
    n_missing : int
        Files in the list that are not there.
    """

    study_id: str
    patient_id: str
    time: str
    folder: Path
    clips: tuple[Path, ...]
    n_missing: int


def echo_study_name(study_id: object) -> str:
    """Name of a study: that of its folder.

    Parameters
    ----------
    study_id : int or str
        As the tables spell it.

    Returns
    -------
    str
    """
    return f"s{study_id}"


def read_echo_study_list(root: Path) -> pd.DataFrame:
    """``subject_id``, ``id`` (name of the study), ``time`` and ``time_text``, each study once.

    Parameters
    ----------
    root : Path
        Of MIMIC-IV-ECHO.

    Returns
    -------
    DataFrame

    Raises
    ------
    DataSetError
        The folder is not MIMIC-IV-ECHO.
    """
    path = need_table(root, "echo-study-list", of="MIMIC-IV-ECHO")
    table = whole_table(path, ("subject_id", "study_id", "study_datetime"))
    table = table.drop_duplicates("study_id")
    return pd.DataFrame(
        {
            "subject_id": table["subject_id"],
            "id": table["study_id"].map(echo_study_name),
            "time": times(table["study_datetime"]),
            "time_text": table["study_datetime"],
        }
    ).reset_index(drop=True)


def echo_studies(root: str | Path) -> Iterator[EchoFiles]:
    """Every study in the list with the clips that are on disk, in the order of the list.

    Studies of which nothing has been downloaded are left out; people download what they can.

    Parameters
    ----------
    root : path
        Of MIMIC-IV-ECHO.

    Returns
    -------
    iterator of EchoFiles

    Raises
    ------
    DataSetError
        The folder is not MIMIC-IV-ECHO, the lists contradict each other, or no clip is there.
    """
    root = Path(root)
    studies = read_echo_study_list(root)
    path = need_table(root, "echo-record-list", of="MIMIC-IV-ECHO")
    records = whole_table(path, ("subject_id", "study_id", "dicom_filepath"))
    owner = dict(zip(studies["id"], studies["subject_id"], strict=True))
    listed: dict[str, list[Path]] = {}
    for subject, number, name in records.itertuples(index=False):
        study = echo_study_name(number)
        # Mixed-up patients would leak between splits, so this is an error and no reason to leave
        # out.
        if owner.get(study, subject) != subject:
            raise DataSetError(
                f"Study {study} is of one patient in echo-study-list and of another in "
                "echo-record-list. Use the published tables."
            )
        file = root / name.lstrip("/")
        # A table must not reach for files outside of the data set.
        if ".." in Path(name).parts:
            raise DataSetError("echo-record-list names a file outside of its folder.")
        listed.setdefault(study, []).append(file)
    n_given = 0
    for study, subject, time in zip(
        studies["id"], studies["subject_id"], studies["time_text"], strict=True
    ):
        # By name, so that frames come in the same order on every file system.
        files = sorted(set(listed.get(study, ())), key=lambda file: file.name)
        there = tuple(file for file in files if file.is_file())
        if there:
            n_given += 1
            yield EchoFiles(
                study, patient_name(subject), time, there[0].parent, there, len(files) - len(there)
            )
    if not n_given:
        raise DataSetError(
            f"None of the {len(records)} clips that echo-record-list names is in "
            f"{root.name or root}. Download the folder files, or some of its studies."
        )


def has_measurements(root: Path) -> bool:
    """Whether the folder holds version 1.0's structured measurements.

    Parameters
    ----------
    root : Path
        Of MIMIC-IV-ECHO.

    Returns
    -------
    bool
    """
    return find_table(root, *MEASUREMENT_STEMS) is not None


def read_lvef(root: Path, test_types: tuple[str, ...] = TEST_TYPES) -> pd.DataFrame:
    """Ejection fractions from the structured measurements, one row a study.

    Parameters
    ----------
    root : Path
    test_types : tuple of str
        Of ``"tte"``, ``"tee"`` and ``"stress"``.

    Returns
    -------
    DataFrame
        ``subject_id``, ``id`` (measurement_id), ``time``, ``lvef_pct``; only studies that have
        one that can be a number.

    Raises
    ------
    DataSetError
        There is no such table, or it is not as it is published.
    """
    path = need_table(root, *MEASUREMENT_STEMS, of="MIMIC-IV-ECHO 1.0")
    wanted = {name for pair in LVEF_NAMES for name in pair if name}
    parts = []
    columns = (
        "subject_id", "measurement_id", "measurement_datetime", "test_type", "measurement",
        "result",
    )  # fmt: skip
    for part in read_table(path, columns):
        # Filtered part by part: the table has tens of millions of rows, of which few are LVEF.
        chosen = part["measurement"].str.lower().isin(wanted)
        parts.append(part[chosen & part["test_type"].str.lower().isin(test_types)])
    empty = pd.DataFrame({name: pd.Series(dtype=str) for name in columns})
    table = pd.concat(parts, ignore_index=True) if parts else empty
    table["value"] = table["result"].map(percent).astype(np.float64)
    table = table[table["value"].notna()]
    key = ["subject_id", "measurement_id"]
    table["measurement"] = table["measurement"].str.lower()
    # Written twice: the later row is the corrected one.
    single = table.drop_duplicates([*key, "measurement"], keep="last")
    values = single.set_index([*key, "measurement"])["value"].unstack("measurement")
    lvef_pct = pd.Series(np.nan, index=values.index)
    for name, other in LVEF_NAMES:
        # All NaN where this release has no such measurement.
        low = values[name] if name in values else lvef_pct * np.nan
        # An upper end below the lower one is a slip; the lower end alone is what was read.
        high = values[other].where(values[other] >= low) if other in values else low
        lvef_pct = lvef_pct.fillna((low + high.fillna(low)) / 2)
    # The time of a study is that of its first measurement.
    first = table.groupby(key)["measurement_datetime"].min()
    studies = pd.DataFrame({"time": times(first.astype(str)), "lvef_pct": lvef_pct})
    studies = studies.dropna(subset="lvef_pct").reset_index()
    studies = studies.rename(columns={"measurement_id": "id"})
    return studies.drop_duplicates("id").reset_index(drop=True)


def percent(result: str) -> float:
    """Percentage of a result as it is written.

    Parameters
    ----------
    result : str
        ``"55"``, ``"55.0 %"``, ``"50-55"``, ``">55"``.

    Returns
    -------
    float
        The middle of a range; half a point beyond a bound, so that ``"<40"`` is below 40. NaN for
        words and for what no ejection fraction can be: it is not guessed at.
    """
    low, high = LVEF_PLAUSIBLE_PCT
    both, one = _RANGE.match(result), _ONE.match(result)
    if both is not None:
        value = (float(both[1]) + float(both[2])) / 2
    elif one is not None:
        value = float(one[2]) + _BEYOND_PCT.get(one[1] or "", 0.0)
    else:
        return math.nan
    return value if low <= value <= high else math.nan
