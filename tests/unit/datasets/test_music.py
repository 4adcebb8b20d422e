"""MUSIC on a tree of its published layout: counts, labels, windows, units, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.music import Music
from echoing_core.datasets.preparing import prepare
from echoing_core.datasets.registry import build_adapter
from echoing_core.errors import ConfigError, DataSetError, SignalQualityError
from echoing_core.io import read_recording, read_stretch, record_extent, write_wfdb
from echoing_core.records import Recording
from echoing_core.signals import standardise
from tests.data_trees import music as tree

NAN = math.nan


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.write_music(tmp_path_factory.mktemp("music") / "music-1.0.1")


def rows(adapter: Music, root: Path) -> list[dict[str, Any]]:
    return [
        {str(k): v for k, v in row.items()} for row in adapter.plan(root).table.to_dict("records")
    ]


def test_what_is_taken_and_what_is_left_out_and_why(root: Path) -> None:
    plan = Music().plan(root)
    assert plan.table["record_id"].tolist() == [f"music-P{n:04d}_H" for n in range(1, 7)]
    assert plan.table["patient_id"].tolist() == [f"music-P{n:04d}" for n in range(1, 7)]
    assert set(plan.table["source"]) == {"music"}
    assert plan.table["simulated"].all()
    assert [(left.record_id, left.reason) for left in plan.left_out] == [
        ("music-P0007_H", "no high-resolution recording of this patient"),
        ("music-P0008_H", "file cannot be read"),
        ("music-P0009_H", "too short or not measured"),
        ("music-P0010_H", "no high-resolution recording of this patient"),
    ]
    assert "P0008_H.dat" in plan.left_out[1].detail
    assert plan.card["cells_not_read"] == {"LVEF (%)": 2}
    assert plan.card["thresholds"]["lvef_below_pct"] == 40.0
    holter = Music(recordings="holter").plan(root)
    assert holter.table["record_id"].tolist() == [f"music-P{n:04d}" for n in range(1, 6)]
    assert [(left.record_id, left.reason) for left in holter.left_out] == [
        ("music-P0006", "file is not there"),
        ("music-P0007", "not all of X, Y, Z"),
        ("music-P0008", "file is not there"),
        ("music-P0009", "too short or not measured"),
        ("music-P0010", "no Holter recording of this patient"),
        ("music-P0999", "patient is not in subject-info.csv"),
    ]
    both = Music(recordings="both").plan(root)
    assert len(both.table) == 11
    assert len(both.left_out) == 10
    # High-resolution and Holter of one patient are never in two splits.
    assert both.table.groupby("patient_id")["split"].nunique().max() == 1


def test_labels_by_hand_and_missing_stays_missing(root: Path) -> None:
    table = Music().plan(root).table.set_index("patient_id")
    expected = {
        #           lvef, <40, wall, lvedd, slvh, dlv, either, af
        "P0001": (38.5, 1, 10.2, 61.0, 0, 1, 1, 0),
        "P0002": (40.0, 0, NAN, 52.1, 1, 1, 1, 0),  # a woman; 15 mm decide without the septum
        "P0003": (NAN, NAN, NAN, NAN, NAN, NAN, NAN, 1),  # 14.9 mm and no septum decide nothing
        "P0004": (21.0, 1, 13.0, 55.0, 0, NAN, NAN, 0),  # 55 mm of unknown sex
        "P0005": (NAN, NAN, 13.0, 60.0, 0, 1, 1, 0),  # 60 mm are above both limits; LVEF 0
        "P0006": (NAN, NAN, 11.0, 55.0, 0, 0, 0, 0),
    }
    names = ("lvef_pct", "lvef_lt40", "wall_mm", "lvedd_mm", "slvh", "dlv", "slvh_or_dlv", "af")
    for patient, values in expected.items():
        found = table.loc[f"music-{patient}", [f"label_{name}" for name in names]]
        np.testing.assert_array_equal(
            found.to_numpy(dtype=float), np.array(values, dtype=float), err_msg=patient
        )
    assert table["age"].tolist() == [63, 90, 63, 63, 63, 63]
    assert table["sex"].tolist() == ["m", "f", "m", "", "", "m"]
    assert table["lvesd_mm"].tolist() == [44.5] * 6
    # The ECG's own sign of hypertrophy is no label.
    assert not [n for n in table.columns if "lvh_by" in n or n == "label_lvh"]


def test_thresholds_are_options(root: Path) -> None:
    changed = Music(lvef_below_pct=35.0, slvh_wall_mm=13.0, dlv_men_mm=61.0)
    table = changed.plan(root).table.set_index("patient_id")
    assert "label_lvef_lt40" not in table.columns
    assert table.loc["music-P0001", "label_lvef_lt35"] == 0.0
    assert table.loc["music-P0003", "label_slvh"] == 1.0
    assert table.loc["music-P0001", "label_dlv"] == 0.0
    assert changed.plan(root).card["thresholds"]["slvh_wall_mm_from"] == 13.0


@pytest.mark.parametrize("kind", ["high_resolution", "holter"])
def test_a_window_is_what_the_whole_filtered_recording_holds_there(root: Path, kind: Any) -> None:
    adapter = Music(recordings=kind)
    row = rows(adapter, root)[0]
    assert 10.0 < row["start_s"] < 10.5  # after the test pattern and its guard
    ecg = adapter.read(root, row)
    assert ecg.signal_mv.shape == (12, 1000)
    assert ecg.valid.all()
    assert ecg.lead_origin == ("derived",) * 12
    whole_mv = tree.truth_mv("P0001", kind).copy()
    fs_hz = row["fs_hz"]
    whole_mv[:, : round(10 * fs_hz)] = np.nan
    whole = standardise(Recording(whole_mv, fs_hz, ("X", "Y", "Z"), "whole"))
    first = round(row["start_s"] * 100)
    # 1 microvolt is lost by 16 bits.
    np.testing.assert_allclose(ecg.signal_mv, whole.signal_mv[:, first : first + 1000], atol=0.003)


def test_a_header_of_two_thirds_is_read_to_the_end(root: Path) -> None:
    row = rows(Music(), root)[5]
    assert row["patient_id"] == "music-P0006"
    assert row["duration_s"] == 36.0
    late = Music().read(root, {**row, "start_s": 25.5})
    assert late.valid.all()


def test_the_least_noisy_window(root: Path) -> None:
    plan = Music(windows="lowest_noise", spacing_s=4.0).plan(root)
    assert len(plan.table) == 6
    noisy = plan.table.set_index("patient_id").loc["music-P0002"]
    assert noisy["record_id"] == "music-P0002_H"
    # Of 10.11, 14.11, 18.11, 22.11 and 26.11 s: noise lies on the first three.
    assert noisy["start_s"] in (22.11, 26.11)
    assert "quality index" in plan.card["notes"][0]


def test_every_window_is_a_row_of_the_same_study(root: Path) -> None:
    adapter = Music(recordings="holter", windows="every", spacing_s=30.0)
    table = adapter.plan(root).table
    one = table[table["patient_id"] == "music-P0002"]
    assert one["start_s"].round(2).tolist() == [10.11, 40.11, 70.11, 100.11]
    assert one["study_id"].tolist() == ["music-P0002"] * 4
    assert one["record_id"].tolist() == [f"music-P0002-w{n:05d}" for n in range(4)]
    assert len(set(table["record_id"])) == len(table) == 20
    plan = adapter.plan(root)
    assert plan.card["spacing_s"] == {"holter": 30.0}
    assert plan.table.equals(table)


def test_a_window_with_gaps_is_refused(root: Path) -> None:
    row = rows(Music(), root)[0]
    with pytest.raises(SignalQualityError, match="was measured; 80% are needed"):
        Music().read(root, {**row, "start_s": 2.0})
    with pytest.raises(SignalQualityError, match="Less than 10 s are left"):
        Music().read(root, {**row, "start_s": 30.0})


@pytest.mark.parametrize("name", ["Holter_ECG/P0005.hea", "High-resolution_ECG/P0006_H.hea"])
def test_a_stretch_is_that_part_of_the_whole(root: Path, name: str) -> None:
    whole = read_recording(root / name)
    extent = record_extent(root / name)
    assert (extent.n_times, extent.fs_hz) == (whole.n_times, whole.fs_hz)
    assert extent.lead_names == ("X", "Y", "Z")
    part = read_stretch(root / name, 20.0, 33.5)
    first, stop = round(20.0 * whole.fs_hz), round(33.5 * whole.fs_hz)
    np.testing.assert_array_equal(part.signal_mv, whole.signal_mv[:, first:stop])
    to_the_end = read_stretch(root / name, 20.0, 1e6)
    assert to_the_end.n_times == whole.n_times - first
    with pytest.raises(SignalQualityError, match="the stretch asked for starts at"):
        read_stretch(root / name, 1000.0, 1010.0)


def test_tables_that_are_not_the_published_one(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"no subject-info\.csv"):
        Music().plan(tmp_path)
    table = tmp_path / "subject-info.csv"
    tree.write_table(table, tree.PATIENTS, separator="|")
    with pytest.raises(DataSetError, match="not separated by semicolons"):
        Music().plan(tmp_path)
    tree.write_table(
        table, tree.PATIENTS, columns=tuple(c for c in tree.COLUMNS if c != "LVEF (%)")
    )
    with pytest.raises(DataSetError, match=r"lacks the columns LVEF \(%\)"):
        Music().plan(tmp_path)
    tree.write_table(table, (*tree.PATIENTS, tree.PATIENTS[0]))
    with pytest.raises(DataSetError, match="lists patient P0001 twice"):
        Music().plan(tmp_path)
    tree.write_table(table, (replace(tree.PATIENTS[0], patient="Paciente 1"),))
    with pytest.raises(DataSetError, match="no patient id"):
        Music().plan(tmp_path)
    tree.write_table(table, tree.PATIENTS)
    with pytest.raises(DataSetError, match="no folder High-resolution_ECG"):
        Music().plan(tmp_path)
    (tmp_path / "High-resolution_ECG").mkdir()
    with pytest.raises(DataSetError, match=r"Nothing of .* can be taken"):
        Music().plan(tmp_path)


def test_odd_spaces_and_capitals_of_the_columns_do_not_matter(tmp_path: Path, root: Path) -> None:
    other = tmp_path / "music"
    (other / "High-resolution_ECG").mkdir(parents=True)
    for ending in ("hea", "dat"):
        source = root / "High-resolution_ECG" / f"P0003_H.{ending}"
        (other / "High-resolution_ECG" / source.name).write_bytes(source.read_bytes())
    columns = tuple(f" {c.replace(' ', '  ')} " for c in tree.COLUMNS)
    tree.write_table(other / "subject-info.csv", (tree.PATIENTS[2],))
    header, rest = (other / "subject-info.csv").read_bytes().split(b"\r\n", 1)
    header = ";".join(columns).upper().encode()
    (other / "subject-info.csv").write_bytes(header + b"\r\n" + rest)
    table = Music().plan(other).table
    assert table["label_af"].tolist() == [1.0]


# As the table is published: other columns between those that are read, two of nearly one name, a
# question mark where a letter was lost, 999 and NA for what is not known, quoted times, decimal
# commas, and line feeds alone. The patients are invented.
PUBLISHED = """\
Patient ID;Follow-up period from enrollment (days);days_4years;Exit of the study;Cause of death;\
Age;Gender (male=1);Weight (kg);Body Mass Index (Kg/m2);NYHA class;Diastolic blood  pressure (mmHg)\
;Creatinine (?mol/L);Left atrial size (mm);LVEF (%);Mitral valve insufficiency ;Left ventricular \
posterior wall thickness (mm);Septal thickness (mm);Left ventricle end-diastolic diameter (mm);\
Left ventricle end-systolic diameter (mm);Hig-resolution ECG available;ECG rhythm ;PR interval (ms)\
;Average RR (ms) ;Left ventricular hypertrophy (yes=1);Holter available;Holter onset (hh:mm:ss);\
Holter  rhythm ;Average RR (ms)
P0001;1700;1460;;0;61;1;81,5;28,4;2;75;101;45;33;1;10;11;66;53;1;0;999;980,5;1;1;NA;0;985
P0002;33;33;3;6;>89;0;62;24,7;3;70;999;;40,5;2;17;;52,5;;1;1;999;700;0;1;'9:41:56';4;705
P0003;1460;1460;;0;54;0;70;26;2;80;88;38;999;;999;12;999;999;1;3;210;1000;1;0;NA;;
"""


def _long_enough_records(folder: Path, names: list[str]) -> None:
    """The same 12 seconds for every name: for plans, which need no more than that it is there."""
    records = folder / "High-resolution_ECG"
    records.mkdir(parents=True)
    wave = np.sin(2 * np.pi * 5.0 * np.arange(2400) / 200.0)
    write_wfdb(records, "P9999_H", np.stack([wave, 2 * wave, -wave]), 200.0, ("X", "Y", "Z"))
    header = (records / "P9999_H.hea").read_text(encoding="utf-8")
    (records / "P9999_H.hea").unlink()
    for name in names:
        text = header.replace("P9999_H ", f"{name}_H ", 1)
        (records / f"{name}_H.hea").write_text(text, encoding="utf-8")


def test_the_table_as_it_is_published(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    _long_enough_records(folder, ["P0001", "P0002", "P0003"])
    (folder / "subject-info.csv").write_bytes(PUBLISHED.encode("utf-8"))
    plan = Music().plan(folder)
    table = plan.table.set_index("patient_id")
    expected = {
        #        lvef, <40, slvh, dlv, either, lvesd, age, af
        "P0001": (33.0, 1, 0, 1, 1, 53.0, 61.0, 0),
        "P0002": (40.5, 0, 1, 1, 1, NAN, 90.0, 1),  # a woman of 52.5 mm; 17 mm without a septum
        "P0003": (NAN, NAN, NAN, NAN, NAN, NAN, 54.0, 0),  # 999 is no millimetre
    }
    labels = ("lvef_pct", "lvef_lt40", "slvh", "dlv", "slvh_or_dlv")
    columns = [*(f"label_{name}" for name in labels), "lvesd_mm", "age", "label_af"]
    for patient, values in expected.items():
        found = [float(table.loc[f"music-{patient}", column]) for column in columns]
        np.testing.assert_array_equal(found, values, err_msg=patient)
    assert plan.card["cells_not_read"] == {
        "LVEF (%)": 1,
        "Left ventricle end-diastolic diameter (mm)": 1,
        "Left ventricle end-systolic diameter (mm)": 1,
        "Left ventricular posterior wall thickness (mm)": 1,
    }
    # A rhythm that the codes do not explain is not known to be any of them, nor to be none.
    (folder / "High-resolution_ECG").rename(folder / "Holter_ECG")
    for header in (folder / "Holter_ECG").glob("*.hea"):
        header.rename(header.with_name(header.name.replace("_H.", ".")))
    holter = Music(recordings="holter").plan(folder).table.set_index("patient_id")
    assert holter.loc["music-P0001", "label_sinus_rhythm"] == 1.0
    assert holter.loc[["music-P0002", "music-P0003"], "label_af"].isna().all()


def test_the_real_table(tmp_path: Path, shared_data: Path) -> None:
    published = shared_data / "music_clinical" / "subject-info.csv"
    if not published.is_file():
        pytest.skip("the clinical table of MUSIC is not here")
    truth = pd.read_csv(published, sep=";", decimal=",", encoding="utf-8").set_index("Patient ID")
    names = list(truth.index[truth["Hig-resolution ECG available"] == 1][::12])
    folder = tmp_path / "music"
    _long_enough_records(folder, names)
    (folder / "subject-info.csv").write_bytes(published.read_bytes())
    plan = Music().plan(folder)
    assert plan.card["patients_listed"] == len(truth) == 992
    assert plan.card["cells_not_read"] == {}
    table = plan.table.set_index(plan.table["patient_id"].str.removeprefix("music-"))
    assert table.index.tolist() == names
    rows = truth.loc[names]
    lvef, lvedd = rows["LVEF (%)"], rows["Left ventricle end-diastolic diameter (mm)"]
    np.testing.assert_array_equal(table["label_lvef_pct"], lvef)
    below = (lvef < 40).astype(float).where(lvef.notna())
    np.testing.assert_array_equal(table["label_lvef_lt40"], below)
    dilated = lvedd > rows["Gender (male=1)"].map({1: 58.0, 0: 52.0})
    dilated = dilated.astype(float).where(lvedd.notna())
    np.testing.assert_array_equal(table["label_dlv"], dilated)
    walls = rows[["Septal thickness (mm)", "Left ventricular posterior wall thickness (mm)"]]
    thick = (walls >= 15).any(axis=1)
    known = thick | walls.notna().all(axis=1)
    np.testing.assert_array_equal(table["label_slvh"], thick.astype(float).where(known))
    np.testing.assert_array_equal(table["label_af"], rows["ECG rhythm "] == 1)


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="spacing"):
        Music(spacing_s=0.0)
    with pytest.raises(ConfigError, match="nothing to train on"):
        Music(test_pct=60.0, valid_pct=40.0)


@pytest.mark.slow
def test_prepared_twice_it_is_the_same(root: Path, tmp_path: Path) -> None:
    adapter = Music(recordings="both", windows="every", spacing_s=10.0)
    report = prepare(adapter, root, tmp_path / "one", n_workers=1)
    assert report.card["n_studies"] == 62
    assert report.card["n_patients"] == 6
    assert report.card["simulated"] is True
    assert report.card["left_out"]["file is not there"] == 2
    again = prepare(adapter, root, tmp_path / "two", n_workers=1)
    assert again.card["files"] == report.card["files"]
    assert build_adapter("music", {"windows": "every", "spacing-s": "10"}) == Music(
        windows="every", spacing_s=10.0
    )
