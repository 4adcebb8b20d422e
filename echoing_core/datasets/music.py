"""MUSIC 1.0.1 (doi 10.13026/z3m7-rf58): orthogonal leads of patients with heart failure.

``High-resolution_ECG/P0001_H.hea`` (20 minutes at 1000 Hz), ``Holter_ECG/P0001.hea`` (a day at
200 Hz), leads X, Y, Z, and ``subject-info.csv``: semicolons, decimal commas, cp1252, column names
with odd spaces. Twelve leads are derived as `signals.standardise` does it.

The labels are those of the echocardiogram. ``Left ventricular hypertrophy (yes=1)`` is not among
them: it stands in the ECG's part of the table and is read off the ECG.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan
from echoing_core.errors import ConfigError, DataSetError, RecordError, SignalQualityError
from echoing_core.io import Extent, read_stretch, record_extent
from echoing_core.records import (
    FRANK_LEADS,
    LONG_PADDING,
    STANDARD_FS_HZ,
    WINDOW_S,
    FilterPadding,
    StandardEcg,
)
from echoing_core.reports.vocabulary import DLV_LVEDD_MM, SLVH_WALL_MM
from echoing_core.signals.quality import window_quality_index
from echoing_core.signals.standard import standardise
from echoing_core.signals.windows import WINDOW_N, window_starts

TABLE = "subject-info.csv"
VERSION = "1.0.1"

MARGIN_S = 10.0
"""Read before and after a window. The 0.5 Hz edge of the filter forgets in 0.8 s, so what lies
farther away changes the window by less than 1e-5 of itself."""

MIN_VALID_SHARE = 0.8
"""Of a window's samples; a window with more gaps is left out."""

SPACING_S = {"high_resolution": 60.0, "holter": 1800.0}
"""Seconds between windows where none are given."""

_HEADS_S = (60.0, 600.0, math.inf)
"""How much of a record is looked at for its first measured window, one after the other."""

_FOLDERS = {"high_resolution": ("High-resolution_ECG", "_H"), "holter": ("Holter_ECG", "")}
# Names as published, but for spaces and capitals, see `_plain`.
_COLUMNS = {
    "patient": "Patient ID",
    "age": "Age",
    "male": "Gender (male=1)",
    "lvef_pct": "LVEF (%)",
    "posterior_wall_mm": "Left ventricular posterior wall thickness (mm)",
    "septum_mm": "Septal thickness (mm)",
    "lvedd_mm": "Left ventricle end-diastolic diameter (mm)",
}
_FURTHER = {
    "lvesd_mm": "Left ventricle end-systolic diameter (mm)",
    "nyha_class": "NYHA class",
    "follow_up_days": "Follow-up period from enrollment (days)",
    "exit_code": "Exit of the study",
    "cause_of_death_code": "Cause of death",
    "high_resolution_rhythm": "ECG rhythm",
    "holter_rhythm": "Holter rhythm",
    "high_resolution_there": "Hig-resolution ECG available",
    "holter_there": "Holter available",
}
# Beyond these a value is a slip of the pen: a wall of 1.1 is in cm, an EF of 0.4 a fraction; 999
# stands for what could not be measured, in several columns and under no heading.
_POSSIBLE = {
    "lvef_pct": (1.0, 100.0),
    "posterior_wall_mm": (2.0, 60.0),
    "septum_mm": (2.0, 60.0),
    "lvedd_mm": (15.0, 150.0),
    "lvesd_mm": (5.0, 150.0),
}
# Codes of the columns "ECG rhythm" and "Holter rhythm"; the table has a few 4 in the second, which
# its list of codes does not explain.
_RHYTHMS = {"sinus_rhythm": 0, "af": 1, "flutter": 2, "paced": 3}
_PATIENT = re.compile(r"P\d{4}")
# The table writes ">89" for all who are older.
_OLDEST = 90.0


class _Subjects(NamedTuple):
    rows: list[dict[str, float | str]]
    unread: Counter[str]


@dataclass(frozen=True)
class Music:
    """MUSIC 1.0.1; options are the fields.

    Several windows of one recording are rows with their own ``record_id`` and ``start_s``, and
    the same ``patient_id`` and ``study_id``.
    """

    recordings: Literal["high_resolution", "holter", "both"] = field(
        default="high_resolution", metadata={"help": "Which recordings: 20 minutes, a day, both."}
    )
    windows: Literal["first", "lowest_noise", "every"] = field(
        default="first",
        metadata={"help": "Which 10 s: the first measured, the least noisy of several, or all."},
    )
    spacing_s: float | None = field(
        default=None,
        metadata={
            "help": "Seconds from window to window, for lowest_noise and every; without it 60 in "
            "high-resolution and 1800 in Holter recordings."
        },
    )
    lvef_below_pct: float = field(
        default=40.0, metadata={"help": "Ejection fractions below it are positive."}
    )
    slvh_wall_mm: float = field(
        default=SLVH_WALL_MM,
        metadata={"help": "Severe hypertrophy: septum or posterior wall from this on."},
    )
    dlv_men_mm: float = field(
        default=DLV_LVEDD_MM["m"],
        metadata={"help": "Dilated: end-diastolic diameter above it, men."},
    )
    dlv_women_mm: float = field(
        default=DLV_LVEDD_MM["f"],
        metadata={"help": "Dilated: end-diastolic diameter above it, women."},
    )
    test_pct: float = field(default=20.0, metadata={"help": "Share of patients for the test."})
    valid_pct: float = field(default=10.0, metadata={"help": "Share of patients for validation."})
    split_seed: int = field(default=0, metadata={"help": "Another number, another split."})
    vcg_method: Literal["dower", "kors_pinv", "kors_gls"] = field(
        default="dower", metadata={"help": "How 12 leads are derived from X, Y, Z."}
    )
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "music"

    def __post_init__(self) -> None:
        if self.spacing_s is not None and not self.spacing_s >= 1.0 / STANDARD_FS_HZ:
            raise ConfigError(
                f"Windows cannot follow each other every {self.spacing_s} s. Give a spacing of "
                "0.01 s or more."
            )
        shares = (self.test_pct, self.valid_pct)
        if min(shares) < 0 or not sum(shares) < 100:
            raise ConfigError(
                f"{self.test_pct:g} % for the test and {self.valid_pct:g} % for validation leave "
                "nothing to train on. Choose shares that add up to less than 100."
            )

    def plan(self, root: Path) -> Plan:
        """Decide on windows; see `Adapter.plan`.

        The start of each record is opened, and where the least noisy window is asked for, each
        candidate: where a record begins to be measured stands in no table.

        Raises
        ------
        DataSetError
            The table or a folder is missing, or nothing can be taken.
        """
        import pandas as pd

        subjects = _read_subjects(root / TABLE)
        kinds: list[str] = list(_FOLDERS) if self.recordings == "both" else [self.recordings]
        for kind in kinds:
            if not (root / _FOLDERS[kind][0]).is_dir():
                raise DataSetError(
                    f"There is no folder {_FOLDERS[kind][0]} in {root.name or root}. Name the "
                    "folder of MUSIC 1.0.1 as it is published, or choose other recordings."
                )
        rows: list[dict[str, Any]] = []
        left_out: list[LeftOut] = []
        for subject in subjects.rows:
            for kind in kinds:
                planned = self._plan_record(root, kind, subject)
                if isinstance(planned, LeftOut):
                    left_out.append(planned)
                else:
                    rows += planned
        left_out += _unlisted(root, kinds, {str(s["patient"]) for s in subjects.rows})
        if not rows:
            why = Counter(one.reason for one in left_out).most_common(1)
            raise DataSetError(
                f"Nothing of {root.name or root} can be taken; the commonest reason: "
                f"{why[0][0] if why else 'it lists no patient'}."
            )
        return Plan(pd.DataFrame(rows), tuple(left_out), self._card(subjects, kinds))

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read one window; see `Adapter.read`.

        Raises
        ------
        RecordError
            It is damaged, or less than 80 % of it was measured.
        """
        ecg = self._window(root / str(row["path"]), float(row["start_s"]))
        if ecg.valid.mean() < MIN_VALID_SHARE:
            raise SignalQualityError(
                f"Of the window at {row['start_s']:g} s, {ecg.valid.mean():.0%} was measured; "
                f"{MIN_VALID_SHARE:.0%} are needed."
            )
        return ecg

    def _plan_record(
        self, root: Path, kind: str, subject: Mapping[str, float | str]
    ) -> list[dict[str, Any]] | LeftOut:
        folder, ending = _FOLDERS[kind]
        stem = f"{subject['patient']}{ending}"
        record_id = f"music-{stem}"
        path = f"{folder}/{stem}.hea"
        if not (root / path).is_file():
            # The table says which recordings were made; one that it promises is a gap in the
            # download.
            there = subject[f"{kind}_there"] == 1.0
            reason = NO_FILE if there else f"no {_words(kind)} recording of this patient"
            return LeftOut(record_id, reason, path if there else "")
        try:
            extent = record_extent(root / path)
            lacking = [lead for lead in FRANK_LEADS if lead not in extent.lead_names]
            if lacking:
                return LeftOut(record_id, "not all of X, Y, Z", f"lacks {' and '.join(lacking)}")
            starts = self._starts(root / path, kind, extent)
        except SignalQualityError as error:
            return LeftOut(record_id, "too short or not measured", str(error))
        except RecordError as error:
            return LeftOut(record_id, "file cannot be read", str(error))
        if not starts:
            return LeftOut(record_id, "too short or not measured")
        shared = {
            "source": self.name,
            "patient_id": f"music-{subject['patient']}",
            "study_id": record_id,
            "split": self._split(str(subject["patient"])),
            "report": "",
            "simulated": extent.simulated,
            "quality": "unknown",
            "path": path,
            "recording": kind,
            "fs_hz": extent.fs_hz,
            "duration_s": extent.duration_s,
            **self._labels(subject, kind),
        }
        # record_id is unique in a prepared set, study_id may repeat.
        several = self.windows == "every"
        return [
            {
                **shared,
                "record_id": f"{record_id}-w{number:05d}" if several else record_id,
                "start_s": start_s,
            }
            for number, start_s in enumerate(starts)
        ]

    def _starts(self, path: Path, kind: str, extent: Extent) -> list[float]:
        """Starts in seconds of the windows to take, none where nothing was measured."""
        first_s = self._first_measured(path, extent)
        if first_s is None:
            return []
        if self.windows == "first":
            return [first_s]
        spacing_s = self.spacing_s or SPACING_S[kind]
        last_s = extent.duration_s - WINDOW_S
        # 1e-9: a spacing that divides the duration must not lose the last window to rounding.
        count = int((last_s - first_s) / spacing_s + 1e-9) + 1
        starts = [round(first_s + i * spacing_s, 2) for i in range(count)]
        if self.windows == "every":
            return starts
        # The first of equals, so that the choice depends on nothing else.
        return [min(starts, key=lambda start_s: self._badness(path, start_s))]

    def _badness(self, path: Path, start_s: float) -> float:
        try:
            ecg = self._window(path, start_s)
        except RecordError:
            # A window that cannot be read is worse than any noise.
            return math.inf
        return float(window_quality_index(ecg, [0])[0])

    def _first_measured(self, path: Path, extent: Extent) -> float | None:
        """Start of the first window in which all is measured, None where there is none."""
        # Longer and longer heads: most recordings are measured within the first, and a day is not
        # read for it.
        for head_s in _HEADS_S:
            try:
                ecg = self._standard(path, 0.0, min(head_s, extent.duration_s))
            except SignalQualityError:
                if head_s >= extent.duration_s:
                    raise
                continue
            # Cumulative counts: a window is measured throughout if its two ends differ by its
            # length.
            measured = np.concatenate([[0], np.cumsum(ecg.valid.all(axis=0))])
            starts = window_starts(ecg.n_times, stride_n=1)
            complete = measured[starts + WINDOW_N] - measured[starts] == WINDOW_N
            if complete.any():
                return float(starts[complete.argmax()] / STANDARD_FS_HZ)
            if head_s >= extent.duration_s:
                break
        return None

    def _window(self, path: Path, start_s: float) -> StandardEcg:
        # Only as much as the filter needs around the window is read: a day at 200 Hz is 200 MB.
        before_s = min(start_s, MARGIN_S)
        around = self._standard(path, start_s - before_s, start_s + WINDOW_S + MARGIN_S)
        first = round(before_s * STANDARD_FS_HZ)
        cut = slice(first, first + WINDOW_N)
        if around.n_times < first + WINDOW_N:
            raise SignalQualityError(
                f"Less than {WINDOW_S:g} s are left of {path.stem} at {start_s:g} s."
            )
        return StandardEcg(
            signal_mv=around.signal_mv[:, cut].copy(),
            valid=around.valid[:, cut].copy(),
            lead_origin=around.lead_origin,
            record_id=around.record_id,
            derivation=around.derivation,
            notes=around.notes,
            simulated=around.simulated,
        )

    def _standard(self, path: Path, start_s: float, stop_s: float) -> StandardEcg:
        return standardise(
            read_stretch(path, start_s, stop_s),
            vcg_method=self.vcg_method,
            filter_padding=self.filter_padding,
        )

    def _split(self, patient: str) -> str:
        # By hash of the patient alone, so that a larger or smaller part of the set splits alike.
        digest = hashlib.sha256(f"music {self.split_seed} {patient}".encode()).digest()
        at_pct = int.from_bytes(digest[:8], "big") / 2**64 * 100
        if at_pct < self.test_pct:
            return "test"
        return "valid" if at_pct < self.test_pct + self.valid_pct else "train"

    def _labels(self, subject: Mapping[str, float | str], kind: str) -> dict[str, Any]:
        """Labels and further columns of a patient; what is not known is NaN."""
        value = {n: float(v) for n, v in subject.items() if n != "patient"}
        lvef_pct, lvedd_mm = value["lvef_pct"], value["lvedd_mm"]
        walls = (value["septum_mm"], value["posterior_wall_mm"])
        # One thick wall decides; that none is thick needs both.
        slvh = _any_known([_at_least(wall, self.slvh_wall_mm) for wall in walls])
        limits = {1.0: [self.dlv_men_mm], 0.0: [self.dlv_women_mm]}.get(
            value["male"], [self.dlv_men_mm, self.dlv_women_mm]
        )
        # Of unknown sex, what is above both limits is dilated, and what is below both is not.
        dilated = [float(lvedd_mm > limit) for limit in limits]
        known = not math.isnan(lvedd_mm) and len(set(dilated)) == 1
        dlv = dilated[0] if known else math.nan
        rhythm = value[f"{kind}_rhythm"]
        return {
            "age": value["age"],
            "sex": {1.0: "m", 0.0: "f"}.get(value["male"], ""),
            **{n: value[n] for n in _FURTHER if n.endswith(("_code", "_class", "_days", "_mm"))},
            "septum_mm": walls[0],
            "posterior_wall_mm": walls[1],
            "label_lvef_pct": lvef_pct,
            "label_wall_mm": float(np.maximum(*walls)),  # NaN where one of them is
            "label_lvedd_mm": lvedd_mm,
            # The threshold stands in the name, so that two preparations are not confused.
            f"label_lvef_lt{self.lvef_below_pct:g}": (
                math.nan if math.isnan(lvef_pct) else float(lvef_pct < self.lvef_below_pct)
            ),
            "label_slvh": slvh,
            "label_dlv": dlv,
            "label_slvh_or_dlv": _any_known([slvh, dlv]),
            **{
                f"label_{name}": float(rhythm == code) if rhythm in _RHYTHMS.values() else math.nan
                for name, code in _RHYTHMS.items()
            },
        }

    def _card(self, subjects: _Subjects, kinds: list[str]) -> dict[str, Any]:
        spacing = {kind: self.spacing_s or SPACING_S[kind] for kind in kinds}
        rules = {
            "first": "the first 10 s in which every lead is measured, after the test pattern with "
            "which recordings begin",
            "lowest_noise": "of the windows that follow each other at the spacing, the one with "
            "the lowest signal quality index (signals.quality)",
            "every": "all windows that follow each other at the spacing, from the first measured "
            f"on; left out where less than {MIN_VALID_SHARE:.0%} was measured",
        }
        return {
            "version": VERSION,
            "licence": "as LICENSE.txt of the data set says",
            "recordings": self.recordings,
            "windows": self.windows,
            "spacing_s": None if self.windows == "first" else spacing,
            "leads": f"12 leads derived from X, Y, Z by the method {self.vcg_method}",
            "split": f"by patient: {self.test_pct:g} % test, {self.valid_pct:g} % validation, "
            f"by hash with seed {self.split_seed}; no split is published",
            "thresholds": {
                "lvef_below_pct": self.lvef_below_pct,
                "slvh_wall_mm_from": self.slvh_wall_mm,
                "dlv_lvedd_mm_above": {"men": self.dlv_men_mm, "women": self.dlv_women_mm},
            },
            "notes": [
                f"Windows: {rules[self.windows]}.",
                "X is taken to point to the left, Y downwards and Z to the back, as Frank's.",
                "Labels are those of the echocardiogram; missing stays missing. "
                f"{sum(subjects.unread.values())} cells of {TABLE} hold no possible value.",
            ],
            "patients_listed": len(subjects.rows),
            "cells_not_read": dict(sorted(subjects.unread.items())),
        }


def _read_subjects(path: Path) -> _Subjects:
    """Rows of subject-info.csv with numbers as numbers and NaN for what is not one."""
    if not path.is_file():
        raise DataSetError(
            f"There is no {TABLE} in {path.parent.name or path.parent}. Name the folder of MUSIC "
            f"{VERSION} as it is published."
        )
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # As published. Bytes that cp1252 lacks are read as well: no column here needs them.
        text = data.decode("cp1252", errors="replace")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    header = [_plain(name) for name in next(lines, [])]
    if len(header) < 2:
        raise DataSetError(
            f"{TABLE} is not separated by semicolons, as MUSIC {VERSION} publishes it. Use the "
            "published file."
        )
    # Reversed: of two columns of one name the first counts.
    position = {name: column for column, name in reversed(list(enumerate(header)))}
    missing = [name for name in _COLUMNS.values() if _plain(name) not in position]
    if missing:
        raise DataSetError(
            f"{TABLE} lacks the columns {', '.join(missing)}. Use the published file."
        )
    wanted = {key: position.get(_plain(name)) for key, name in (_COLUMNS | _FURTHER).items()}
    rows: list[dict[str, float | str]] = []
    unread: Counter[str] = Counter()
    listed: set[str] = set()
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        patient = _cell(cells, wanted["patient"]).upper()
        if not _PATIENT.fullmatch(patient):
            raise DataSetError(
                f"Row {lines.line_num} of {TABLE} begins with no patient id such as P0001. Use "
                "the published file."
            )
        if patient in listed:
            raise DataSetError(f"{TABLE} lists patient {patient} twice. Use the published file.")
        listed.add(patient)
        row: dict[str, float | str] = {"patient": patient}
        for key, column in wanted.items():
            if key != "patient":
                row[key] = _number(_cell(cells, column), key, unread)
        rows.append(row)
    return _Subjects(rows, unread)


def _number(text: str, key: str, unread: Counter[str]) -> float:
    """A cell as a number; NaN where it is empty, no number, or one that cannot be."""
    if not text:
        return math.nan
    if key == "age" and text.startswith(">"):
        return _OLDEST
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    low, high = _POSSIBLE.get(key, (-math.inf, math.inf))
    if not low <= value <= high:
        # Counted by column: the card says how much of the table is not used.
        unread[(_COLUMNS | _FURTHER)[key]] += 1
        return math.nan
    return value


def _cell(cells: list[str], column: int | None) -> str:
    return cells[column].strip() if column is not None and column < len(cells) else ""


def _plain(name: str) -> str:
    """A column's name without the spaces and capitals that vary."""
    return " ".join(name.split()).casefold()


def _unlisted(root: Path, kinds: list[str], listed: set[str]) -> list[LeftOut]:
    left_out = []
    for kind in kinds:
        folder, ending = _FOLDERS[kind]
        # Files without a row have no labels; they are named so that nobody wonders about the sum.
        for header in sorted((root / folder).glob("*.hea")):
            if header.stem.removesuffix(ending) not in listed:
                left_out.append(LeftOut(f"music-{header.stem}", f"patient is not in {TABLE}"))
    return left_out


def _words(kind: str) -> str:
    return kind.replace("_", "-").replace("holter", "Holter")


def _at_least(value: float, limit: float) -> float:
    return math.nan if math.isnan(value) else float(value >= limit)


def _any_known(answers: list[float]) -> float:
    """Or of answers some of which may be NaN: one yes decides, a no needs all."""
    if 1.0 in answers:
        return 1.0
    return math.nan if any(math.isnan(answer) for answer in answers) else 0.0
