"""MIMIC-IV-ECG 1.0, -ECHO 0.1 and 1.0, -Note 2.2 and MIMIC-IV's hosp, in small and with traps.

Every heart is simulated. Subjects and what is wrong with them:

======== ==========================================================================================
10000032 two stays that overlap; two echocardiograms, one in each; an ECG in the overlap, as far
         from one as from the other; an ECG outside of any stay; a third stay a year later
10000048 ECG and echo a day apart in two stays; LVEF only in the discharge letter
10000980 machine warns of the quality; link to a cardiologist's note with underscores and cp1252
10001217 a record with NaN, one whose header promises more than there is, one without its files,
         one that is listed twice, one without any statement, one whose path leaves the folder
10001725 an echo in stress only, an LVEF that is none, an upper-case extension of a path
======== ==========================================================================================
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.io import write_wfdb
from echoing_core.records import LEADS
from echoing_core.simulate import SimulationConfig, simulate_study
from echoing_core.simulate.echo.clips import study_clips

ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""As the leads are stored: aVF before aVL."""

GAIN = 200.0
CLEAN = SimulationConfig(clean_share=1.0, moderate_share=0.0)
SEED = 11


@dataclass(frozen=True)
class MimicTree:
    """Folders of the modules."""

    ecg: Path
    hosp: Path
    echo: Path
    echo_old: Path
    note: Path


Ecg = tuple[str, str, str, Sequence[str]]

ECGS: tuple[Ecg, ...] = (
    ("10000032", "40689238", "2180-05-08 03:00:00", ("Sinus rhythm", "Normal ECG")),
    ("10000032", "44458630", "2180-05-10 09:00:00", ("Sinus tachycardia", "Sinus tachycardia.")),
    ("10000032", "49036311", "2180-08-06 09:07:00", ("Sinus rhythm.", "*** ACUTE MI ***")),
    ("10000048", "41000001", "2126-11-22 20:45:00", ("Atrial fibrillation",)),
    (
        "10000980",
        "42000001",
        "2189-06-26 10:00:00",
        (
            "--- Warning: Data quality may affect interpretation ---",
            "Sinus rhythm",
            "*** report made without knowing patient's sex ***",
        ),
    ),
    ("10001217", "43000001", "2157-11-18 23:00:00", ("Sinus rhythm",)),  # NaN
    ("10001217", "43000002", "2157-11-19 23:00:00", ("Sinus rhythm",)),  # header promises more
    ("10001217", "43000003", "2157-11-20 23:00:00", ("Sinus rhythm",)),  # no files
    ("10001217", "43000004", "2157-11-21 23:00:00", ("Sinus rhythm",)),  # twice in the list
    ("10001217", "43000005", "", ("Warning: machine interpretation not available",)),
    ("10001725", "44000001", "2110-04-11 15:00:00", ("Left bundle branch block", "Abnormal ECG")),
)

ADMISSIONS = (
    ("10000032", "22595853", "2180-05-06 22:23:00", "2180-05-10 17:15:00"),
    ("10000032", "22841357", "2180-05-10 08:00:00", "2180-05-14 19:00:00"),
    ("10000032", "25742920", "2181-08-05 23:44:00", "2181-08-07 17:50:00"),
    ("10000048", "26000001", "2126-11-21 10:00:00", "2126-11-22 23:59:00"),
    ("10000048", "26000002", "2126-11-23 08:00:00", "2126-11-25 12:00:00"),
    ("10000980", "27000001", "2189-06-26 08:00:00", "2189-06-30 12:00:00"),
    # Ends before it begins: nothing lies in it.
    ("10001217", "28000001", "2157-11-25 00:00:00", "2157-11-18 00:00:00"),
    ("10001725", "29000001", "2110-04-11 15:00:00", "2110-04-14 15:00:00"),
)

ECHOS = (
    ("10000032", "90000001", "2180-05-08 09:00:00"),
    ("10000032", "90000002", "2180-05-12 09:00:00"),
    ("10000048", "90000003", "2126-11-23 20:45:00"),
    ("10001725", "90000004", "2110-04-12 10:00:00"),
)
"""Subject, study, time; the last has no clip on disk."""

MEASUREMENTS = (
    # subject, measurement_id, time, kind, name, result, unit
    ("10000032", "1001", "2180-05-08 09:10:00", "tte", "lvef", "35", "%"),
    ("10000032", "1001", "2180-05-08 09:10:00", "tte", "lvef_upper", "40", "%"),
    ("10000032", "1001", "2180-05-08 09:10:00", "tte", "biplane_lvef", "44", "%"),
    ("10000032", "1001", "2180-05-08 09:10:00", "tte", "septal_thickness", "1.1", "cm"),
    ("10000032", "1002", "2180-05-12 09:10:00", "tte", "biplane_lvef", "58.0", "%"),
    ("10000032", "1003", "2180-05-10 09:30:00", "tte", "lvef", "Not well seen", ""),
    ("10000048", "1004", "2126-11-23 20:50:00", "tte", "lvef", ">55", "%"),
    ("10001725", "1005", "2110-04-11 15:30:00", "stress", "lvef", "60", "%"),
    ("10001725", "1006", "2110-04-11 16:00:00", "tte", "lvef", "0.55", ""),
)

DISCHARGE_48 = (
    "Name:  ___               Unit No:  ___\n\nBrief Hospital Course:\n"
    "TTE this admission: The left ventricular ejection fraction is 30%.\n"
)
CARDIOLOGIST = (
    "Sinus rhythm with frequent ectopy.\nCompared to the previous tracing of ___ the QRS complex "
    "is wider.\nConfirmed by Dr. ___, M.D.\n"
)


def write_mimic(folder: Path) -> MimicTree:
    """All modules below ``folder``, each in a folder of its own."""
    tree = MimicTree(
        folder / "mimic-iv-ecg-1.0",
        folder / "mimiciv" / "3.1" / "hosp",
        folder / "mimic-iv-echo-1.0",
        folder / "mimic-iv-echo-0.1",
        folder / "mimic-iv-note-2.2",
    )
    write_ecg(tree.ecg)
    write_hosp(tree.hosp)
    write_echo(tree.echo)
    write_echo(tree.echo_old, with_measurements=False, clips=False)
    write_note(tree.note)
    return tree


def heart_mv(subject: str, n: int) -> np.ndarray:
    """12 leads in the order of `LEADS` of a simulated heart, mV at 500 Hz."""
    study = simulate_study(SEED, int(subject) % 100_000, n, CLEAN)
    return np.asarray(study.recording_12.signal_mv)


def path_of(subject: str, study: str) -> str:
    """As record_list.csv has it."""
    return f"files/p{subject[:4]}/p{subject}/s{study}/{study}"


def write_record(root: Path, subject: str, study: str, signal_mv: np.ndarray) -> Path:
    """A record with the leads in MIMIC's order; ``signal_mv`` has them in ours."""
    place = (root / path_of(subject, study)).parent
    place.mkdir(parents=True, exist_ok=True)
    rows = signal_mv[[LEADS.index(lead) for lead in ORDER]]
    told = ("simulated by EchoingECG; no person stands behind it",)
    write_wfdb(place, study, rows, 500.0, ORDER, gain=GAIN, comments=told)
    return place / study


def write_ecg(root: Path) -> None:
    """Tables and records of MIMIC-IV-ECG."""
    root.mkdir(parents=True)
    for n, (subject, study, _, _) in enumerate(ECGS):
        if study == "43000003":
            continue
        signal = heart_mv(subject, n % 3)
        if study == "43000001":
            signal = signal.copy()
            signal[6, 1000:1200] = np.nan
        place = write_record(root, subject, study, signal)
        if study == "43000002":
            data = place.with_suffix(".dat")
            data.write_bytes(data.read_bytes()[:60_000])
    rows: list[tuple[str, ...]] = [
        (subject, study, study, time, path_of(subject, study)) for subject, study, time, _ in ECGS
    ]
    rows[-1] = (*rows[-1][:4], rows[-1][4] + ".hea")
    rows.append(rows[8])
    rows.append(("10001217", "43000009", "43000009", "2157-11-22 23:00:00", "../../43000009"))
    names = ("subject_id", "study_id", "file_name", "ecg_time", "path")
    write_table(root / "record_list.csv", names, rows)
    intervals = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end")
    reports = tuple(f"report_{i}" for i in range(18))
    rest = ("bandwidth", "filtering", *intervals, "p_axis", "qrs_axis", "t_axis")
    measured = []
    for subject, study, time, said in ECGS:
        # 29999 stands for "not measured".
        p_onset = "29999" if study == "41000001" else "40"
        told = ("0.005-150 Hz", "60 Hz notch Baseline filter", "800", p_onset, "128", "170", "258")
        lines = [*said, *([""] * (len(reports) - len(said)))]
        measured.append(
            (subject, study, "6848296", time, *lines, *told, "518", "81", "77", "29999")
        )
    names = ("subject_id", "study_id", "cart_id", "ecg_time", *reports, *rest)
    write_table(root / "machine_measurements.csv", names, measured)
    write_table(
        root / "waveform_note_links.csv",
        ("subject_id", "study_id", "waveform_path", "note_id", "note_seq", "charttime"),
        [
            ("10000980", "42000001", path_of("10000980", "42000001"), "10000980-EK-1", "1", ""),
            # A note of somebody else, and one that is in no table.
            ("10000048", "41000001", path_of("10000048", "41000001"), "10000980-EK-1", "1", ""),
            ("10000032", "40689238", path_of("10000032", "40689238"), "10000032-EK-7", "7", ""),
        ],
    )
    (root / "RECORDS").write_text("\n".join(row[4] for row in rows) + "\n", encoding="ascii")


def write_hosp(hosp: Path) -> None:
    """Admissions and patients, gzipped, with columns that nobody reads."""
    hosp.mkdir(parents=True)
    write_table(
        hosp / "admissions.csv.gz",
        ("subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type"),
        [(*row, "", "EW EMER.") for row in ADMISSIONS],
    )
    write_table(
        hosp / "patients.csv.gz",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        [
            ("10000032", "F", "52", "2180", "2014 - 2016", ""),
            ("10000048", "M", "23", "2126", "2008 - 2010", ""),
            ("10000980", "F", "73", "2186", "2008 - 2010", "2193-08-26"),
        ],
    )


def write_echo(root: Path, *, with_measurements: bool = True, clips: bool = True) -> None:
    """MIMIC-IV-ECHO 1.0, or 0.1 without measurements; single pictures and clips."""
    root.mkdir(parents=True)
    more = ("measurement_id", "measurement_datetime") if with_measurements else ()
    write_table(
        root / "echo-study-list.csv",
        ("subject_id", "study_id", "study_datetime", *more, "note_id", "note_seq"),
        [(*echo, *(("",) * len(more)), "", "") for echo in ECHOS],
    )
    records = []
    for subject, study, time in ECHOS:
        for n in range(1, 4):
            name = f"files/p{subject[:2]}/p{subject}/s{study}/{study}_{n:04d}.dcm"
            records.append((subject, study, time, name))
            # One file of the third study is missing, and the fourth was not downloaded.
            if clips and study != "90000004" and (study, n) != ("90000003", 2):
                views = ("a4c", "plax", "psax")
                (clip,) = study_clips(
                    SEED, int(study) % 1000, views=(views[n - 1],), size=32, n_frames=6
                )
                # Number 3 is a still picture, as a third of the published objects are.
                write_dicom(root / name, clip.frames if n < 3 else clip.frames[:1])
    write_table(
        root / "echo-record-list.csv",
        ("subject_id", "study_id", "acquisition_datetime", "dicom_filepath"),
        records,
    )
    if with_measurements:
        write_table(
            root / "structured-measurement.csv.gz",
            (
                "subject_id", "measurement_id", "measurement_datetime", "test_type",
                "measurement", "measurement_description", "result", "unit",
            ),
            [(*row[:5], "", *row[5:]) for row in MEASUREMENTS],
        )  # fmt: skip


def write_note(root: Path) -> None:
    """MIMIC-IV-Note with, beside the published tables, one of ECG reports."""
    place = root / "note"
    place.mkdir(parents=True)
    names = (
        "note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime",
        "text",
    )  # fmt: skip
    write_table(
        place / "discharge.csv.gz",
        names,
        [
            ("10000048-DS-1", "10000048", "26000001", "DS", "1", "", "", DISCHARGE_48),
            ("10000980-DS-2", "10000980", "27000001", "DS", "2", "", "", "No echo was done.\n"),
        ],
    )
    # The dash is one byte of cp1252, which is no UTF-8.
    write_table(
        place / "ecg.csv",
        names,
        [("10000980-EK-1", "10000980", "", "EK", "1", "", "", "\u2013 " + CARDIOLOGIST)],
        encoding="cp1252",
    )


def write_dicom(path: Path, frames: np.ndarray) -> None:
    """An ultrasound object without compression; one frame makes it a still picture."""
    import pydicom

    path.parent.mkdir(parents=True, exist_ok=True)
    moving = len(frames) > 1
    kind = "1.2.840.10008.5.1.4.1.1.3.1" if moving else "1.2.840.10008.5.1.4.1.1.6.1"
    data: Any = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = kind, "1.2.3.4"
    data.Modality, data.SamplesPerPixel, data.PlanarConfiguration = "US", 3, 0
    data.Rows, data.Columns = frames.shape[1], frames.shape[2]
    if moving:
        data.NumberOfFrames, data.FrameTime = len(frames), 33.3
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PhotometricInterpretation = "RGB"
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.file_meta.MediaStorageSOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data.PixelData = frames.tobytes()
    data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)


def write_table(
    path: Path,
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    encoding: str = "utf-8",
) -> None:
    """A CSV, gzipped where the name says so."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
