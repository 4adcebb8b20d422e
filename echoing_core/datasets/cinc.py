"""Folders of the PhysioNet/CinC Challenges 2020 and 2021, and of CSN (Chapman, Ningbo).

Any tree of ``.hea`` files with their ``.mat`` or ``.dat`` beside them, whose comments say
``#Age: 74``, ``#Sex: Male`` and ``#Dx: 164889003,59118001`` (SNOMED-CT): the challenges'
``training/cpsc_2018/g1/A0001``, and ``WFDBRecords/01/010/JS00001`` of CSN.

The headers name no patients. What is known of them decides the split:

* ``ptb-xl``: record ``HRnnnnn`` is ECG nnnnn of PTB-XL. With its ``ptbxl_database.csv`` the
  patients and folds are taken from there, so that nobody trains on PTB-XL's test patients by this
  door. Without it these records are left out, or, by option, kept in train and marked.
* ``chapman_shaoxing`` and ``ningbo``: one ECG a patient, so the record is the patient.
* ``ptb`` and ``st_petersburg_incart``: several records of most patients; all go to train.
* the others: not known. Each record counts as a patient, or, by option, all go to train.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.datasets.ptbxl import ptbxl_patients, split_of_fold
from echoing_core.datasets.snomed import (
    CPSC2018_CODES,
    CSN_CODES,
    DIAGNOSES,
    LABEL_CODES,
    SUBSETS,
    same,
    sources_of,
)
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.io import read_recording
from echoing_core.records import LONG_PADDING, FilterPadding, StandardEcg
from echoing_core.simulate import split_of

CSN: tuple[str, ...] = ("chapman_shaoxing", "ningbo")
OTHER = "other"

NO_DIAGNOSIS = "no diagnosis in the header"
NO_FOLDS = "PTB-XL record without PTB-XL's folds"
NOT_IN_TABLE = "PTB-XL record not in the table given"
NOT_LISTED = "not in the lists of splits"

# Records of one patient cannot be told from those of another there, so a split by record would
# put one patient on both sides.
_SEVERAL_A_PATIENT = ("ptb", "st_petersburg_incart")
# The challenges name a record by the letters of its source and a number.
_NAME = re.compile(r"(A|Q|I|S|HR|E|JS)(\d+)\Z")
_BY_PREFIX = {
    "A": "cpsc_2018",
    "Q": "cpsc_2018_extra",
    "I": "st_petersburg_incart",
    "S": "ptb",
    "HR": "ptb-xl",
    "E": "georgia",
}
# CSN numbers its records through: JS00001-JS10646 are Chapman-Shaoxing, the rest Ningbo.
_LAST_CHAPMAN = 10646
_COMMENT = re.compile(r"#\s*(age|sex|dx)\s*:\s*(.*?)\s*\Z", re.IGNORECASE)
# As the reader of headers allows; the comments stand at the end of the header.
_MAX_HEADER_BYTES = 64_000
_SPLIT_WORDS = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}


@dataclass(frozen=True)
class Cinc:
    """The challenges' training data, or some of its sources, for `datasets.preparing`.

    Labels are true or false only where the source looked for the diagnosis, and otherwise
    unknown: ``label_af`` and the others of `snomed.LABEL_CODES`, ``label_dx_<abbreviation>`` for
    each scored diagnosis and each other that occurs, ``label_cpsc_NORM``... for the nine classes
    of CPSC2018, ``label_csn_AFIB``... for the 38 of CSN. Codes scored as one count as one.
    """

    subsets: tuple[str, ...] = field(
        default=(), metadata={"help": f"Of {', '.join(SUBSETS)}; csn is both of the last. All."}
    )
    ptbxl_csv: Path | None = field(
        default=None,
        metadata={"help": "PTB-XL's ptbxl_database.csv, for patients and folds of its records."},
    )
    ptbxl_without_folds: Literal["leave_out", "train"] = field(
        default="leave_out",
        metadata={"help": "PTB-XL records without that table: left out, or marked in train."},
    )
    unknown_patients: Literal["by_record", "train"] = field(
        default="by_record",
        metadata={"help": "Records whose patients nobody tells: split one by one, or all train."},
    )
    split_lists: Path | None = field(
        default=None,
        metadata={
            "help": "Folder of published lists (*_train.csv, *_val.csv, *_test.csv) naming "
            "records; others are left out."
        },
    )
    shorter: Literal["pad", "leave_out"] = field(
        default="pad",
        metadata={"help": "Records under 10 s: filled up with samples marked invalid, or not."},
    )
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "cinc"

    def plan(self, root: Path) -> Plan:
        """Read the headers' comments; see `Adapter.plan`.

        Raises
        ------
        DataSetError
            There is no header, or a list of splits contradicts itself.
        ConfigError
            There is no such source.
        """
        wanted = self._wanted()
        headers = sorted(root.rglob("*.hea"))
        if not headers:
            raise DataSetError(
                f"There is no header (.hea) in {root.name or root}. Name the folder that holds "
                "the challenge's training data."
            )
        patients = None if self.ptbxl_csv is None else ptbxl_patients(self.ptbxl_csv)
        lists = None if self.split_lists is None else _read_lists(self.split_lists)
        rows: list[dict[str, Any]] = []
        dx: list[frozenset[int]] = []
        left_out: list[LeftOut] = []
        for header in headers:
            subset = subset_of(header.relative_to(root))
            if wanted and subset not in wanted:
                continue
            record = header.stem
            comments, data_name = _read_header(header)
            codes = _codes(comments.get("dx", ""))
            # Relative, without ending: it becomes the column path and stands in the list of what
            # was left out.
            where = header.relative_to(root).with_suffix("").as_posix()
            if not codes:
                left_out.append(LeftOut(f"cinc-{record}", NO_DIAGNOSIS, where))
            elif not (header.parent / data_name).is_file():
                left_out.append(LeftOut(f"cinc-{record}", NO_FILE, f"{where}: {data_name}"))
            else:
                # A sentence says why there is no place in any split; otherwise these are further
                # columns.
                place = self._place(record, subset, patients, lists)
                if isinstance(place, str):
                    left_out.append(LeftOut(f"cinc-{record}", place, where))
                    continue
                rows.append(_row(record, subset, where, comments, codes) | place)
                dx.append(frozenset(codes))
        table = pd.DataFrame(rows)
        if rows:
            labels = pd.DataFrame(_labels(dx, table["subset"].tolist()), index=table.index)
            table = pd.concat([table, labels], axis=1)
        return Plan(table, tuple(left_out), self._card(table, dx))

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read the first 10 s of one record; see `Adapter.read`.

        Raises
        ------
        RecordError
            It is damaged, or too short and ``shorter`` is ``"leave_out"``.
        """
        recording = read_recording(root / f"{row['path']}.hea")
        return first_window(
            recording,
            pad_shorter=self.shorter == "pad",
            filter_padding=self.filter_padding,
        )

    def _wanted(self) -> frozenset[str]:
        named = [part for name in self.subsets for part in (CSN if name == "csn" else (name,))]
        unknown = sorted(set(named) - set(SUBSETS))
        if unknown:
            raise ConfigError(
                f"There is no source {unknown[0]}. The sources are {', '.join(SUBSETS)}, and csn "
                "for the last two."
            )
        return frozenset(named)

    def _place(
        self,
        record: str,
        subset: str,
        patients: Mapping[int, tuple[str, int]] | None,
        lists: Mapping[str, str] | None,
    ) -> dict[str, str] | str:
        """Patient and split of a record, or why it cannot have one."""
        place = {"patient_id": f"cinc-{record}", "same_as": "", "leaks_with": ""}
        if subset == "ptb-xl":
            match = _NAME.match(record)
            number = int(match.group(2)) if match else -1
            # The record number is PTB-XL's ecg_id, which makes duplicates across sets findable by
            # name.
            place["same_as"] = f"ptbxl-{number:05d}"
            if patients is None:
                if self.ptbxl_without_folds == "leave_out":
                    return NO_FOLDS
                return place | {"split": "train", "leaks_with": "ptbxl"}
            if number not in patients:
                return NOT_IN_TABLE
            patient, fold = patients[number]
            return place | {"patient_id": patient, "split": split_of_fold(fold)}
        # PTB-XL's own folds stand above any list: its test patients stay test patients.
        if lists is not None:
            return place | {"split": lists[record]} if record in lists else NOT_LISTED
        # Without published patients a split by record may still leak; by option all go to train.
        unknown = subset not in CSN and self.unknown_patients == "train"
        if subset in _SEVERAL_A_PATIENT or unknown:
            return place | {"split": "train"}
        return place | {"split": split_of(place["patient_id"])}

    def _card(self, table: pd.DataFrame, dx: list[frozenset[int]]) -> dict[str, Any]:
        subsets = [] if table.empty else table["subset"].tolist()
        # Codes that no table of ours names stay in the column dx; the card counts them.
        unknown = Counter(code for codes in dx for code in codes if code not in DIAGNOSES)
        notes = []
        if self.split_lists is not None:
            notes.append("Splits are those of the lists given, PTB-XL's records excepted.")
        else:
            notes.append(
                "Chapman-Shaoxing and Ningbo have one ECG a patient and are split by patient; PTB "
                "and INCART have several of most patients without saying whose, and are in train."
            )
            guessed = sorted(set(subsets) - {*CSN, *_SEVERAL_A_PATIENT, "ptb-xl"})
            if guessed and self.unknown_patients == "by_record":
                notes.append(
                    f"Patients are not published for {', '.join(guessed)}: split by record, so a "
                    "patient with several records may stand in two splits."
                )
        if not table.empty and (table["leaks_with"] == "ptbxl").any():
            notes.append(
                "PTB-XL records are in train without PTB-XL's folds (column leaks_with): a model "
                "trained on them must not be tested on PTB-XL."
            )
        return {
            "version": "PhysioNet/CinC Challenge 2020/2021, CSN",
            "licence": "CC BY 4.0",
            "subsets": dict(sorted(Counter(subsets).items())),
            "codes_without_name": {str(code): n for code, n in sorted(unknown.items())},
            "label_groups": {
                "cpsc2018": [f"cpsc_{name}" for name in CPSC2018_CODES]
                if "cpsc_2018" in subsets
                else [],
                "csn": [f"csn_{name}" for name in CSN_CODES] if set(CSN) & set(subsets) else [],
            },
            "notes": notes,
        }


def subset_of(path: Path) -> str:
    """Source of a record: a folder of that name on its way, or else what its own name says.

    Parameters
    ----------
    path : Path
        Of the header, relative to the root.

    Returns
    -------
    str
        One of `snomed.SUBSETS`, or `OTHER`.
    """
    for part in path.parts[:-1]:
        if part.lower() in SUBSETS:
            return part.lower()
    match = _NAME.match(path.stem)
    if not match:
        return OTHER
    if match.group(1) == "JS":
        return CSN[0] if int(match.group(2)) <= _LAST_CHAPMAN else CSN[1]
    return _BY_PREFIX[match.group(1)]


def _read_header(path: Path) -> tuple[dict[str, str], str]:
    """Age, sex and diagnoses as the comments tell them, and the name of the data file."""
    # Headers are opened as text here, without parsing signals: there are 88,000 of them.
    with path.open("rb") as stream:
        lines = stream.read(_MAX_HEADER_BYTES).decode("latin-1").splitlines()
    comments = {}
    for line in lines:
        match = _COMMENT.match(line.strip())
        if match:
            comments[match.group(1).lower()] = match.group(2)
    # The first line of the body is the record, the second its first signal with the file's name.
    body = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return comments, body[1][0] if len(body) > 1 else f"{path.stem}.mat"


def _codes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    # Some headers list a code twice, or end in a comma.
    return tuple(dict.fromkeys(int(part) for part in parts if part.isdigit()))


def _row(
    record: str, subset: str, path: str, comments: Mapping[str, str], codes: tuple[int, ...]
) -> dict[str, Any]:
    try:
        age = float(comments.get("age", "nan"))
    except ValueError:
        age = float("nan")
    # PTB-XL's coding: 0 male, 1 female. Headers write Male, M, male, or Unknown.
    sex = {"m": 0.0, "f": 1.0}.get(comments.get("sex", "").lower()[:1], float("nan"))
    return {
        "source": "cinc",
        "study_id": f"cinc-{record}",
        "record_id": f"cinc-{record}",
        "report": ". ".join(DIAGNOSES[code].name for code in codes if code in DIAGNOSES),
        "simulated": False,
        "quality": "unknown",
        "subset": subset,
        "age": age,
        "sex": sex,
        "dx": ",".join(str(code) for code in codes),
        "path": path,
    }


def _labels(dx: list[frozenset[int]], subsets: list[str]) -> dict[str, Any]:
    """Label columns: NaN where the source never looked for the diagnosis."""
    occurring = frozenset(code for codes in dx for code in codes if code in DIAGNOSES)
    groups: dict[str, frozenset[int]] = {
        name: frozenset(codes) for name, codes in LABEL_CODES.items()
    }
    for code, item in DIAGNOSES.items():
        if same(code) == code and (item.scored or code in occurring):
            groups[f"dx_{item.abbreviation}"] = _counted_as(code)
    columns = {}
    for name, any_of in groups.items():
        carries = [not any_of.isdisjoint(codes) for codes in dx]
        # A source that never uses a code did not look for it, so its ECGs are unknown and not
        # negative. A source in which an ECG carries the code looks for it, whatever the table
        # says.
        looking = sources_of(any_of) | {s for s, c in zip(subsets, carries, strict=True) if c}
        columns[f"label_{name}"] = _known(carries, [s in looking for s in subsets])
    for prefix, classes, sources in (
        ("cpsc", CPSC2018_CODES, ("cpsc_2018",)),
        ("csn", CSN_CODES, CSN),
    ):
        # These class lists are exhaustive within their source: there, not listed is negative.
        inside = [s in sources for s in subsets]
        if any(inside):
            for name, code in classes.items():
                any_of = _counted_as(code)
                carries = [not any_of.isdisjoint(codes) for codes in dx]
                columns[f"label_{prefix}_{name}"] = _known(carries, inside)
    return columns


def _counted_as(code: int) -> frozenset[int]:
    return frozenset({code, *(other for other in DIAGNOSES if same(other) == same(code))})


def _known(carries: list[bool], known: Iterable[bool]) -> Any:
    looked = np.asarray(list(known), dtype=np.bool_)
    values = np.asarray(carries, dtype=np.bool_)
    # bool where all is known: float with NaN costs eight times the room.
    return values if looked.all() else np.where(looked, values.astype(np.float64), np.nan)


def _read_lists(folder: Path) -> dict[str, str]:
    """Record -> split, from lists whose file names end in train, val or test.

    The record is the last part of the path, without ending, in the first of the columns
    ``filename``, ``ecg_path``, ``path`` and ``record``.
    """
    split_of_record: dict[str, str] = {}
    files = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    for path in files:
        # For example cpsc_2018_train.csv.
        word = re.split(r"[_\-.]", path.stem.lower())[-1]
        if word not in _SPLIT_WORDS:
            continue
        table = pd.read_csv(path, dtype=str)
        columns = [c for c in ("filename", "ecg_path", "path", "record") if c in table.columns]
        if not columns:
            raise DataSetError(
                f"{path.name} has no column filename, ecg_path, path or record that names records."
            )
        for entry in table[columns[0]].dropna():
            record = Path(entry.replace("\\", "/")).name.removesuffix(".mat").removesuffix(".hea")
            split = _SPLIT_WORDS[word]
            if split_of_record.setdefault(record, split) != split:
                raise DataSetError(f"The lists put {record} into two splits.")
    if not split_of_record:
        raise DataSetError(
            f"{folder.name} holds no list called *_train.csv, *_val.csv or *_test.csv."
        )
    return split_of_record
