"""MIMIC-IV-ECG 1.0 (Gow et al. 2023, doi 10.13026/4nqg-sb35), with what MIMIC-IV adds to it.

::

    record_list.csv           subject_id, study_id, file_name, ecg_time, path
    machine_measurements.csv  subject_id, study_id, report_0 ... report_17, rr_interval, p_onset,
                              p_end, qrs_onset, qrs_end, t_end, p_axis, qrs_axis, t_axis
    waveform_note_links.csv   subject_id, study_id, note_id, ...
    files/p1000/p10000032/s40689238/40689238.hea, .dat

500 Hz, 10 s, mV, stored as I, II, III, aVR, **aVF, aVL**, V1-V6: leads are taken by name. The
tables have no ``hadm_id``; ECGs are put into stays by subject and time (`datasets.pairing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan, first_window
from echoing_core.datasets.mimic_echo import (
    TEST_TYPES,
    has_measurements,
    read_echo_study_list,
    read_lvef,
)
from echoing_core.datasets.mimic_tables import (
    SOURCE,
    find_table,
    header_of,
    need_table,
    numbers,
    patient_name,
    read_admissions,
    read_table,
    times,
    whole_table,
)
from echoing_core.datasets.pairing import PairingRule, admission_of, pair, patient_split
from echoing_core.errors import ConfigError, MissingLeadError, SignalQualityError
from echoing_core.io import read_recording
from echoing_core.records import LEADS, LONG_PADDING, FilterPadding, StandardEcg
from echoing_core.reports.cleaning import (
    Report,
    clean_note,
    is_about_quality,
    machine_report,
    report_of,
)

# Lines of the machine: report_0 to report_17.
N_REPORTS = 18
MEASURED, DISCHARGE = "measured", "discharge note"
LVEF_BELOW_PCT = 40.0
"""Positive class of the paper's test on MIMIC."""

_MEASURES = (
    "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis",
    "t_axis",
)  # fmt: skip
# The machine writes this number for a point that it could not find.
_NOT_MEASURED = 29999.0
# Their note_id never belongs to an ECG, and they are the large ones.
_OTHER_NOTES = ("discharge", "discharge_detail", "radiology", "radiology_detail")


@dataclass(frozen=True)
class MimicEcg:
    """Adapter of MIMIC-IV-ECG.

    Without further folders it gives ECGs with machine reports. With MIMIC-IV's ``hosp`` it knows
    stays in hospital, with -ECHO echocardiograms and ejection fractions, and with -Note what
    cardiologists and discharge letters say.
    """

    hosp: Path | None = field(
        default=None, metadata={"help": "MIMIC-IV's folder (hosp) with admissions and patients."}
    )
    echo: Path | None = field(default=None, metadata={"help": "Folder of MIMIC-IV-ECHO."})
    note: Path | None = field(default=None, metadata={"help": "Folder of MIMIC-IV-Note."})
    echo_same_admission: bool = field(
        default=True, metadata={"help": "One stay must hold the ECG and the echocardiogram."}
    )
    echo_window_days: float | None = field(
        default=None, metadata={"help": "How many days they may lie apart at most."}
    )
    echo_for: Literal["every-ecg", "nearest-ecg"] = field(
        default="every-ecg",
        metadata={
            "help": "every-ecg: each ECG with its nearest echocardiogram; nearest-ecg: each "
            "echocardiogram only with its nearest ECG."
        },
    )
    lvef_same_admission: bool = field(
        default=True, metadata={"help": "One stay must hold the ECG and the measured LVEF."}
    )
    lvef_window_days: float | None = field(
        default=None, metadata={"help": "How many days they may lie apart at most."}
    )
    lvef_tests: tuple[str, ...] = field(
        default=TEST_TYPES, metadata={"help": "Kinds of echo that label: tte, tee, stress."}
    )
    max_gap_share: float = field(
        default=0.0,
        metadata={
            "help": "How much of an ECG may be missing (NaN); what is missing is marked. 0 leaves "
            "out every ECG with a gap, as the published encoder's data did."
        },
    )
    max_ecgs: int | None = field(
        default=None,
        metadata={"help": "Take whole patients, in a fixed order, until there are so many ECGs."},
    )
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    def __post_init__(self) -> None:
        if not 0 <= self.max_gap_share < 1:
            raise ConfigError(f"max_gap_share is {self.max_gap_share}; it must be 0 to below 1.")
        if self.max_ecgs is not None and self.max_ecgs < 1:
            raise ConfigError("max_ecgs must be 1 or more.")
        PairingRule(self.echo_same_admission, self.echo_window_days)
        PairingRule(self.lvef_same_admission, self.lvef_window_days)

    @property
    def name(self) -> str:
        """As ``source`` of every row."""
        return SOURCE

    def plan(self, root: Path) -> Plan:
        """Records with files, their texts, stays, pairs and labels.

        Beyond the common columns: ``report_machine``, ``report_source`` (``"note"``,
        ``"machine"``, ""), ``ecg_time``, ``hadm_id`` ("" outside of a stay or without hosp),
        ``age``, ``sex`` (``"male"``, ``"female"``, ""), ``heart_rate_bpm``, ``pr_ms``, ``qrs_ms``,
        ``qt_ms``, ``qrs_axis_deg`` (the machine's), ``echo_study_id`` ("" without),
        ``echo_hours`` (echo minus ECG), ``lvef_pct``, ``lvef_hours``, ``lvef_source``
        (``"measured"``, ``"discharge note"``, "") and ``label_lvef_lt40``.

        ``quality`` is ``"noisy"`` where the machine warned of the recording, else ``"unknown"``.
        ECGs with neither text nor echo nor LVEF are left out.

        Raises
        ------
        DataSetError
            A table or a column is missing.
        ConfigError
            Pairs within admissions are asked for without hosp.
        """
        listed, left_out = _listed(root)
        n_listed = len(listed)
        if self.max_ecgs is not None:
            # Before files are looked for: of a partial download the sample stays the same
            # patients.
            listed = _sample(listed, self.max_ecgs)
        listed, no_file = _with_files(listed, root)
        left_out += no_file
        ecgs = _described(listed, root, self.note)
        ecgs, admissions = self._with_stays(ecgs)
        notes: list[str] = []
        ecgs = self._with_echo(ecgs, admissions, notes)
        ecgs = self._with_lvef(ecgs, admissions, notes)
        paired = ecgs["echo_study_id"] != ""
        counts = {
            "n_echo_pairs": int(paired.sum()),
            "n_echo_studies": int(ecgs.loc[paired, "echo_study_id"].nunique()),
            "lvef_sources": {
                one: int((ecgs["lvef_source"] == one).sum()) for one in (MEASURED, DISCHARGE)
            },
        }
        # Nothing to train on and nothing to test: such an ECG would only cost room.
        useless = (
            (ecgs["report"] == "") & (ecgs["echo_study_id"] == "") & (ecgs["lvef_source"] == "")
        )
        reason = "no report, echo or LVEF"
        left_out += [LeftOut(str(one), reason) for one in ecgs.loc[useless, "record_id"]]
        table = ecgs[~useless].drop(columns=["subject_id", "id", "time"]).reset_index(drop=True)
        credentialed = [name for name in ("hosp", "echo", "note") if getattr(self, name)]
        card = {
            "data_set": "MIMIC-IV-ECG 1.0, doi 10.13026/4nqg-sb35",
            # What a table holds decides on who may have it: texts and dates of MIMIC-IV may not
            # be passed on.
            "licence": "PhysioNet Credentialed Health Data License; not to be passed on"
            if credentialed
            else "Open Database License 1.0",
            "modules": ["ecg", *credentialed],
            "n_listed": n_listed,
            "notes": [
                "split by SHA-256 of patient_id: 70, 10 and 20 % of patients",
                "text: a cardiologist's note where there is one, else the machine's statements",
                *notes,
            ],
            **counts,
        }
        return Plan(table, tuple(left_out), card)

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """The 10 s of one ECG, by lead names, whatever their order in the file.

        Raises
        ------
        RecordError
            It is damaged, too short, lacks leads, or more of it is missing than
            ``max_gap_share``.
        """
        header = root / f"{row['path']}.hea"
        recording = read_recording([header, header.with_suffix(".dat")])
        missing = [lead for lead in LEADS if lead not in recording.lead_names]
        if missing:
            raise MissingLeadError(f"{recording.record_id} lacks the leads {', '.join(missing)}.")
        # Share of all samples of all leads.
        gaps = float(np.isnan(recording.signal_mv).mean())
        if gaps > self.max_gap_share:
            raise SignalQualityError(f"{100 * gaps:.2g} % of {recording.record_id} are missing.")
        return first_window(recording, filter_padding=self.filter_padding)

    def _with_stays(self, ecgs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        if self.hosp is None:
            return ecgs.assign(hadm_id="", age=np.nan, sex=""), None
        admissions = read_admissions(self.hosp)
        # Half a million stays, of which a sample of ECGs needs few.
        admissions = admissions[admissions["subject_id"].isin(set(ecgs["subject_id"]))]
        ecgs = ecgs.assign(hadm_id=admission_of(ecgs[["subject_id", "time"]], admissions))
        return _with_people(ecgs, self.hosp), admissions

    def _with_echo(
        self, ecgs: pd.DataFrame, admissions: pd.DataFrame | None, notes: list[str]
    ) -> pd.DataFrame:
        ecgs = ecgs.assign(echo_study_id="", echo_hours=np.nan)
        if self.echo is None:
            return ecgs
        # Both rules were checked when the adapter was made, so a mistake costs no reading.
        rule = PairingRule(self.echo_same_admission, self.echo_window_days)
        studies = read_echo_study_list(self.echo)
        if self.echo_for == "every-ecg":
            pairs = pair(ecgs, studies, rule, admissions)
        else:
            # Turned around: left are the echocardiograms, and each finds its nearest ECG.
            turned = pair(studies, ecgs, rule, admissions)
            # Of two echocardiograms whose nearest ECG is the same, the nearer keeps it.
            turned = turned.assign(distance=turned["hours"].astype(float).abs()).sort_values(
                ["distance", "left_id"], kind="stable"
            )
            pairs = pd.DataFrame(
                {
                    "left_id": turned["right_id"],
                    "right_id": turned["left_id"],
                    # The sign turns with the sides: hours is always echo minus ECG.
                    "hours": -turned["hours"].astype(float),
                }
            ).drop_duplicates("left_id")
        by_ecg = pairs.set_index("left_id")
        rows = ecgs["id"]
        ecgs["echo_study_id"] = rows.map(by_ecg["right_id"]).fillna("").astype(str)
        ecgs["echo_hours"] = rows.map(by_ecg["hours"]).astype(np.float64)
        notes.append(f"echo: {rule.in_words()}; {self.echo_for}")
        return ecgs

    def _with_lvef(
        self, ecgs: pd.DataFrame, admissions: pd.DataFrame | None, notes: list[str]
    ) -> pd.DataFrame:
        ecgs = ecgs.assign(lvef_pct=np.nan, lvef_hours=np.nan, lvef_source="")
        if self.echo is not None and has_measurements(self.echo):
            rule = PairingRule(self.lvef_same_admission, self.lvef_window_days)
            measured = read_lvef(self.echo, self.lvef_tests)
            pairs = pair(ecgs, measured, rule, admissions).set_index("left_id")
            value = pairs["right_id"].map(measured.set_index("id")["lvef_pct"])
            ecgs["lvef_pct"] = ecgs["id"].map(value).astype(np.float64)
            ecgs["lvef_hours"] = ecgs["id"].map(pairs["hours"]).astype(np.float64)
            kinds = ", ".join(self.lvef_tests)
            notes.append(f"LVEF: {rule.in_words()}; measured in {kinds}")
        measured_pct = ecgs["lvef_pct"]
        ecgs.loc[measured_pct.notna(), "lvef_source"] = MEASURED
        # float with NaN where it is unknown, as labels are.
        low = (measured_pct < LVEF_BELOW_PCT).astype(np.float64).where(measured_pct.notna())
        if self.note is not None:
            # A measurement stands above a letter, and a letter tells of its own stay only.
            wanted = set(ecgs.loc[ecgs["lvef_pct"].isna() & (ecgs["hadm_id"] != ""), "hadm_id"])
            letters = _lvef_of_discharges(self.note, wanted)
            from_note = ecgs["lvef_pct"].isna() & ecgs["hadm_id"].isin(set(letters.index))
            stay = ecgs.loc[from_note, "hadm_id"]
            ecgs.loc[from_note, "lvef_pct"] = stay.map(letters["lvef_pct"]).astype(np.float64)
            ecgs.loc[from_note, "lvef_source"] = DISCHARGE
            low[from_note] = stay.map(letters["below"]).astype(np.float64)
            notes.append("LVEF without a measurement: from the discharge letter of the same stay")
        return ecgs.assign(label_lvef_lt40=low)


def _listed(root: Path) -> tuple[pd.DataFrame, list[LeftOut]]:
    """The record list, each study once, paths inside the folder."""
    path = need_table(root, "record_list", of="MIMIC-IV-ECG")
    table = whole_table(path, ("subject_id", "study_id", "ecg_time", "path"))
    table["record_id"] = [f"{SOURCE}-{study}" for study in table["study_id"]]
    # The ending belongs to the file, not to the record; some tools put it into the list.
    table["path"] = table["path"].str.removesuffix(".hea").str.removesuffix(".dat")
    # The first of two rows stays.
    again = table.duplicated("study_id")
    outside = [Path(name).is_absolute() or ".." in Path(name).parts for name in table["path"]]
    bad = np.asarray(outside) | (table["path"] == "")
    left_out = [LeftOut(one, "listed twice") for one in table.loc[again, "record_id"]]
    left_out += [LeftOut(one, "no path in the data set") for one in table.loc[bad, "record_id"]]
    return table[~again & ~bad].reset_index(drop=True), left_out


def _with_files(table: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[LeftOut]]:
    # 800,000 look-ups take minutes, but a missing file found while reading would take hours.
    there = np.array(
        [
            (root / f"{name}.hea").is_file() and (root / f"{name}.dat").is_file()
            for name in table["path"]
        ],
        dtype=np.bool_,
    )
    left_out = [LeftOut(one, NO_FILE) for one in table.loc[~there, "record_id"]]
    return table[there].reset_index(drop=True), left_out


def _sample(table: pd.DataFrame, n_ecgs: int) -> pd.DataFrame:
    """Whole patients until there are ``n_ecgs``: an order by hash, so part of a larger sample."""
    counts = table["subject_id"].value_counts()
    order = sorted(
        counts.index, key=lambda who: hashlib.sha256(f"sample {who}".encode()).hexdigest()
    )
    # ECGs of the patients before this one; the patient who crosses the limit is still taken
    # whole.
    before = counts.loc[order].cumsum() - counts.loc[order]
    chosen = set(before.index[(before < n_ecgs).to_numpy()])
    return table[table["subject_id"].isin(chosen)].reset_index(drop=True)


def _described(listed: pd.DataFrame, root: Path, note: Path | None) -> pd.DataFrame:
    """The common columns, with texts and the machine's measures."""
    machine = _machine(root, set(listed["study_id"]))
    notes = {} if note is None else _ecg_notes(root, note)
    measures = machine.reindex(listed["study_id"])
    texts = [str(text) for text in measures["text"].fillna("")]
    reports: list[Report] = [
        report_of(notes.get(study), text)
        for study, text in zip(listed["study_id"], texts, strict=True)
    ]
    patients = [patient_name(subject) for subject in listed["subject_id"]]
    columns: dict[str, Any] = {
        "source": SOURCE,
        "patient_id": patients,
        "study_id": listed["record_id"],
        "record_id": listed["record_id"],
        "split": [patient_split(patient) for patient in patients],
        "report": [report.text for report in reports],
        "simulated": False,
        "quality": np.where(measures["noisy"].eq(True), "noisy", "unknown"),
        "path": listed["path"],
        "report_source": [report.source for report in reports],
        "report_machine": texts,
        "ecg_time": listed["ecg_time"],
    }
    for name in ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qrs_axis_deg"):
        columns[name] = measures[name].to_numpy(np.float64)
    # Helpers for stays and pairs, dropped at the end of the plan.
    columns["subject_id"] = listed["subject_id"]
    columns["id"] = listed["study_id"]
    columns["time"] = times(listed["ecg_time"])
    return pd.DataFrame(columns, index=listed.index)


def _machine(root: Path, studies: set[str]) -> pd.DataFrame:
    """Report, warning and intervals of the machine, by study."""
    path = need_table(root, "machine_measurements", of="MIMIC-IV-ECG")
    lines = [f"report_{i}" for i in range(N_REPORTS)]
    parts = [pd.DataFrame(columns=["text", "noisy", *_MEASURES, "study_id"])]
    for part in read_table(path, ("study_id", lines[0]), (*lines[1:], *_MEASURES)):
        part = part[part["study_id"].isin(studies)]
        statements = [[line for line in row if line] for row in part[lines].to_numpy()]
        measures = {name: numbers(part[name]) for name in _MEASURES}
        parts.append(
            pd.DataFrame(
                {
                    "study_id": part["study_id"],
                    "text": [machine_report(row) for row in statements],
                    "noisy": [any(is_about_quality(line) for line in row) for row in statements],
                    **{name: v.where(v != _NOT_MEASURED) for name, v in measures.items()},
                }
            )
        )
    # Empty parts would turn the columns of the others into objects, and warn of it.
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    table = table.drop_duplicates("study_id").set_index("study_id")
    # Intervals are in ms since the start of the beat.
    rr_ms = table["rr_interval"].where(table["rr_interval"] > 0)
    spans = {
        "pr_ms": ("p_onset", "qrs_onset"),
        "qrs_ms": ("qrs_onset", "qrs_end"),
        "qt_ms": ("qrs_onset", "t_end"),
    }
    by_study = table[["text", "noisy"]].assign(
        heart_rate_bpm=60_000.0 / rr_ms, qrs_axis_deg=table["qrs_axis"]
    )
    for name, (start, end) in spans.items():
        # Points in the wrong order are a slip of the machine, not a negative interval.
        span = table[end] - table[start]
        by_study[name] = span.where(span > 0)
    return by_study


def _ecg_notes(root: Path, note: Path) -> dict[str, str]:
    """Free text by ECG, for links whose note is in a table of the notes' folder.

    MIMIC-IV-Note 2.2 has no table of ECG reports; who has one puts it beside the others.
    """
    path = find_table(root, "waveform_note_links")
    if path is None:
        return {}
    links = whole_table(path, ("subject_id", "study_id", "note_id"))
    # By note and person, so that a wrong link cannot bring in the text of somebody else.
    texts: dict[tuple[str, str], str] = {}
    wanted = set(links["note_id"]) - {""}
    for table in _ecg_note_tables(note):
        for part in read_table(table, ("note_id", "subject_id", "text")):
            own = part[part["note_id"].isin(wanted)]
            for note_id, subject, text in own.itertuples(index=False):
                texts.setdefault((note_id, subject), clean_note(text))
    text_of_study: dict[str, str] = {}
    for subject, study, note_id in links[["subject_id", "study_id", "note_id"]].itertuples(
        index=False
    ):
        # A link to a note of somebody else is a slip of the table, not a report of this ECG.
        text = texts.get((note_id, subject), "")
        if text:
            text_of_study.setdefault(study, text)
    return text_of_study


def _ecg_note_tables(note: Path) -> Iterator[Path]:
    for place in (note, note / "note"):
        for path in sorted((*place.glob("*.csv"), *place.glob("*.csv.gz"))):
            stem = path.name.removesuffix(".gz").removesuffix(".csv")
            # The name of the table is not published, so its columns decide.
            if stem not in _OTHER_NOTES and {"note_id", "subject_id", "text"} <= set(
                header_of(path)
            ):
                yield path


def _lvef_of_discharges(note: Path, stays: set[str]) -> pd.DataFrame:
    """What the discharge letter of a stay says of this stay's echocardiogram, by ``hadm_id``.

    Returns
    -------
    DataFrame
        ``lvef_pct`` (NaN of words alone, "severely reduced") and ``below`` (1.0 or 0.0 where the
        words decide on `LVEF_BELOW_PCT`, else NaN); stays with neither are not in it.
    """
    from echoing_core.reports.echo_text.reading import echo_findings

    path = need_table(note, "discharge", of="MIMIC-IV-Note", below=("note",))
    lvef_of_stay: dict[str, tuple[float, float]] = {}
    for part in read_table(path, ("hadm_id", "text")):
        own = part[part["hadm_id"].isin(stays)]
        for stay, text in zip(own["hadm_id"], own["text"], strict=True):
            findings = echo_findings(text)
            below = findings.lvef_below(LVEF_BELOW_PCT)
            value = np.nan if findings.lvef_pct is None else float(findings.lvef_pct)
            if below is not None or findings.lvef_pct is not None:
                lvef_of_stay.setdefault(stay, (value, np.nan if below is None else float(below)))
    return pd.DataFrame(
        list(lvef_of_stay.values()),
        index=list(lvef_of_stay),
        columns=["lvef_pct", "below"],
        dtype=np.float64,
    )


def _with_people(ecgs: pd.DataFrame, hosp: Path) -> pd.DataFrame:
    """Age at the ECG and sex, where the patients table is there."""
    path = find_table(hosp, "patients", below=("hosp",))
    if path is None:
        return ecgs.assign(age=np.nan, sex="")
    table = whole_table(path, ("subject_id", "gender", "anchor_age", "anchor_year"))
    people = table.drop_duplicates("subject_id").set_index("subject_id")
    subject = ecgs["subject_id"]
    # Years are shifted for each patient, but alike in all tables, so the age is true.
    born = numbers(people["anchor_year"]) - numbers(people["anchor_age"])
    sex = people["gender"].map({"M": "male", "F": "female"})
    return ecgs.assign(
        age=ecgs["time"].dt.year - subject.map(born), sex=subject.map(sex).fillna("")
    )
