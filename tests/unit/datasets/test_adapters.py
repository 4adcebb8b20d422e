"""PTB-XL, CinC 2020/21 and a folder of one's own: on small trees of their layout, and for real."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.adapter import NO_FILE
from echoing_core.datasets.cinc import (
    CSN,
    NO_DIAGNOSIS,
    NO_FOLDS,
    NOT_IN_TABLE,
    NOT_LISTED,
    Cinc,
    subset_of,
)
from echoing_core.datasets.plain import NO_RECORD, OUTSIDE, Plain
from echoing_core.datasets.prepared import load_prepared
from echoing_core.datasets.preparing import prepare
from echoing_core.datasets.ptbxl import LABEL_GROUPS, NO_STATEMENT, PtbXl, load_ptbxl
from echoing_core.datasets.snomed import CSN_CODES, DIAGNOSES
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.records import Recording
from echoing_core.signals import standardise
from tests.data_trees import cinc as cinc_tree
from tests.data_trees import plain as plain_tree
from tests.data_trees import ptbxl as ptbxl_tree

TOO_SHORT = "too short or not measured"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    ptbxl_tree.write_ptbxl(root / "ptbxl")
    cinc_tree.write_cinc(root / "cinc")
    plain_tree.write_plain(root / "plain")
    return root


def prepared(adapter: Any, root: Path, out: Path) -> tuple[StudySet, Any]:
    report = prepare(adapter, root, out, n_workers=1)
    return load_prepared(out), report


def of(rows: pd.DataFrame, record: str) -> pd.Series[Any]:
    return rows.set_index("record_id").loc[record]


# PTB-XL


def test_ptbxl_tree(trees: Path, tmp_path: Path) -> None:
    studies, report = prepared(PtbXl(rate=500), trees / "ptbxl", tmp_path / "out")
    rows = studies.table
    assert rows["record_id"].tolist() == [f"ptbxl-{i:05d}" for i in (1, 2, 3, 4, 5, 9)]
    assert rows["split"].tolist() == ["train", "train", "train", "valid", "test", "test"]
    assert report.reasons == {NO_STATEMENT: 1, NO_FILE: 1, "file cannot be read": 1}
    assert rows["patient_id"].nunique() == 5
    assert rows["age"].tolist()[2] == 90.0 and np.isnan(rows["age"][4])
    assert rows["quality"].tolist()[:3] == ["clean", "noisy", "clean"]
    assert rows["report_original"][3] == "t abnormalität möglicherweise unspez."
    assert rows["statements_en"][1] == "mi inferior. lbbb. atrial fibrillation"
    assert json.loads(rows["scp_codes"][1]) == {"IMI": 15.0, "CLBBB": 0.0, "AFIB": 0.0}
    groups = report.card["label_groups"]
    assert {name: len(groups[name]) for name in LABEL_GROUPS} == {
        "super": 5, "sub": 23, "form": 19, "rhythm": 12,
    }  # fmt: skip
    true = {
        record: [name for name in studies.label_columns if row[name]]
        for record, row in rows.set_index("record_id").iterrows()
    }
    assert [name.removeprefix("label_") for name in true["ptbxl-00002"]] == [
        "MI", "CD", "af", "lbbb", "sub_IMI", "sub_CLBBB", "rhythm_AFIB",
    ]  # fmt: skip
    assert [name.removeprefix("label_") for name in true["ptbxl-00003"]] == [
        "HYP", "pvc", "lvh", "sub_LVH", "form_PVC",
    ]  # fmt: skip
    assert "label_sub__AVB" in true["ptbxl-00005"]
    # V6 of number 9 holds gaps only: not valid, and not a reason to lose the other leads.
    assert not studies.valid[5, 11].any() and studies.valid[5, :11].all()
    assert studies.valid[:5].all()


def test_ptbxl_texts_folds_and_the_loader_agree(trees: Path) -> None:
    root = trees / "ptbxl"
    loaded = load_ptbxl(root, folds=range(1, 11))
    plan = PtbXl().plan(root).table
    assert plan["report"].tolist()[:5] == loaded.table["report"].tolist()[:5]
    original = PtbXl(text="original").plan(root).table
    assert original["report"].tolist() == plan["report_original"].tolist()
    stated = PtbXl(text="statements").plan(root).table
    assert stated["report"][0] == "normal ecg. sinus rhythm"
    machine = PtbXl(text="machine").plan(root).table
    assert "abnormal ecg" in machine["report"][1] and machine["report"][1] != plan["report"][1]
    chosen = PtbXl(folds=(1, 8, 9), valid_folds=(8,), test_folds=(9,)).plan(root).table
    assert chosen["split"].tolist() == ["train", "train", "valid", "test"]
    with pytest.raises(DataSetError, match=r"no ptbxl_database\.csv"):
        PtbXl().plan(trees)


@pytest.mark.slow
def test_ptbxl_for_real(shared_data: Path) -> None:
    root = shared_data / "ptbxl"
    if not root.is_dir():
        pytest.skip("the part of PTB-XL is not beside this checkout")
    plan = PtbXl().plan(root)
    given = pd.read_csv(root / "ptbxl_database.csv")
    statements = pd.read_csv(root / "scp_statements.csv", index_col=0)
    table = plan.table
    assert len(table) + len(plan.left_out) == len(given) == 1744
    given = given.set_index("ecg_id").loc[[int(r[6:]) for r in table["record_id"]]]
    assert (table["fold"].to_numpy() == given["strat_fold"].to_numpy()).all()
    assert ((table["split"] == "valid").to_numpy() == (given["strat_fold"] == 9).to_numpy()).all()
    # The labels again, from the CSVs alone and row by row.
    names = plan.card["label_groups"]
    checked = 0
    for (_, row), (_, mine) in zip(given.iterrows(), table.iterrows(), strict=True):
        listed = row["scp_codes"]
        codes = set(
            ast.literal_eval(listed) if isinstance(listed, str) else row["scp_labels"].split(";")
        )
        told = statements.loc[sorted(codes)]
        expected = {
            "super": set(told["diagnostic_class"].dropna()),
            "sub": {f"sub_{name}" for name in told["diagnostic_subclass"].dropna()},
            "form": {f"form_{code}" for code in told.index[told["form"] == 1]},
            "rhythm": {f"rhythm_{code}" for code in told.index[told["rhythm"] == 1]},
        }
        for group, true in expected.items():
            assert {name for name in names[group] if mine[f"label_{name}"]} == true
        if isinstance(row["superclass"], str):
            checked += 1
            assert set(row["superclass"].split(";")) == expected["super"]
    assert checked > 1000
    known = given["report"].notna().to_numpy()
    assert table.loc[known, "report_original"].tolist() == given["report"][known].tolist()
    ecg = PtbXl().read(root, table.iloc[0].to_dict())
    assert ecg.signal_mv.shape == (12, 1000) and ecg.valid.all()


# CinC 2020/21


def test_cinc_tree(trees: Path, tmp_path: Path) -> None:
    table = trees / "ptbxl" / "ptbxl_database.csv"
    adapter = Cinc(ptbxl_csv=table)
    studies, report = prepared(adapter, trees / "cinc", tmp_path / "out")
    rows = studies.table
    assert report.reasons == {NO_DIAGNOSIS: 1, NO_FILE: 1, NOT_IN_TABLE: 1}
    assert len(rows) == 10
    assert report.card["subsets"] == {
        "chapman_shaoxing": 1, "cpsc_2018": 3, "cpsc_2018_extra": 1, "georgia": 1, "ningbo": 1,
        "ptb": 1, "ptb-xl": 2,
    }  # fmt: skip
    assert report.card["codes_without_name"] == {str(cinc_tree.NOBODYS): 1}
    first = of(rows, "cinc-A0001")
    assert (first["age"], first["sex"], first["dx"]) == (74.0, 0.0, "59118001")
    assert first["report"] == "right bundle branch block" and first["label_cpsc_CRBBB"] == 1.0
    unknown = of(rows, "cinc-A0002")
    assert np.isnan(unknown["age"]) and np.isnan(unknown["sex"])
    third = of(rows, "cinc-A0003")
    assert third["sex"] == 1.0
    assert (third["label_af"], third["label_pvc"], third["label_cpsc_VPC"]) == (1, 1, 1)
    # CPSC2018 never looked for flutter; Chapman did, and Ningbo found it.
    assert np.isnan(third["label_flutter"]) and of(rows, "cinc-JS00001")["label_flutter"] == 0
    # Of Ningbo nobody is said to have fibrillation, so there its absence says nothing.
    ningbo = of(rows, "cinc-JS45551")
    assert ningbo["label_flutter"] == 1 and np.isnan(ningbo["label_af"])
    assert ningbo["label_rbbb"] == ningbo["label_csn_RBBB"] == ningbo["label_dx_RBBB"] == 1
    assert "label_dx_CRBBB" not in rows.columns
    assert np.isnan(third["label_csn_AFIB"]) and np.isnan(ningbo["label_cpsc_AFIB"])
    assert len(report.card["label_groups"]["csn"]) == 38
    # 6 s are filled up with samples that are not valid; of 60 s the first 10 are kept.
    place = rows.index[rows["record_id"] == "cinc-A0001"][0]
    assert studies.valid[place, :, :590].all() and not studies.valid[place, :, 600:].any()
    long = rows.index[rows["record_id"] == "cinc-A0002"][0]
    whole = standardise(recording_of(cinc_tree.heart_mv("A0002", 60)))
    np.testing.assert_allclose(studies.signal_mv[long], whole.signal_mv[:, :1000], atol=1e-3)
    short = prepare(Cinc(shorter="leave_out"), trees / "cinc", tmp_path / "no", n_workers=1)
    assert short.reasons[TOO_SHORT] == 1


def test_cinc_never_trains_on_ptbxl_patients_of_its_test(trees: Path) -> None:
    root, table = trees / "cinc", trees / "ptbxl" / "ptbxl_database.csv"
    rows = Cinc(ptbxl_csv=table).plan(root).table
    tested = PtbXl().plan(trees / "ptbxl").table
    assert of(rows, "cinc-HR00005")["split"] == of(tested, "ptbxl-00005")["split"] == "test"
    assert of(rows, "cinc-HR00005")["same_as"] == "ptbxl-00005"
    assert of(rows, "cinc-HR00001")["patient_id"] == of(tested, "ptbxl-00001")["patient_id"]
    both = pd.concat([rows, tested]).groupby("patient_id")["split"].nunique()
    assert both.max() == 1
    without = Cinc().plan(root)
    assert not (without.table["subset"] == "ptb-xl").any()
    assert [item.reason for item in without.left_out].count(NO_FOLDS) == 3
    marked = Cinc(ptbxl_without_folds="train").plan(root)
    theirs = marked.table[marked.table["subset"] == "ptb-xl"]
    assert set(theirs["split"]) == {"train"} and set(theirs["leaks_with"]) == {"ptbxl"}
    assert any("must not be tested on PTB-XL" in note for note in marked.card["notes"])


def test_cinc_sources_splits_and_lists(trees: Path, tmp_path: Path) -> None:
    root = trees / "cinc"
    rows = Cinc(subsets=("csn", "ptb")).plan(root).table
    assert sorted(rows["subset"]) == ["chapman_shaoxing", "ningbo", "ptb"]
    assert of(rows, "cinc-S0001")["split"] == "train"
    careful = Cinc(unknown_patients="train").plan(root).table
    known = careful["subset"].isin(["chapman_shaoxing", "ningbo"])
    assert set(careful.loc[~known, "split"]) == {"train"}
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "icbeb_train.csv").write_text("filename,AFIB\nA0001,0\n", encoding="utf-8")
    (lists / "icbeb_test.csv").write_text(
        "ecg_path,AFIB\n/x/WFDBRecords/A0003.mat,1\n", encoding="utf-8"
    )
    listed = Cinc(subsets=("cpsc_2018",), split_lists=lists).plan(root)
    assert dict(zip(listed.table["record_id"], listed.table["split"], strict=True)) == {
        "cinc-A0001": "train", "cinc-A0003": "test",
    }  # fmt: skip
    assert [item.reason for item in listed.left_out] == [NOT_LISTED]
    with pytest.raises(ConfigError, match="no source cpsc"):
        Cinc(subsets=("cpsc",)).plan(root)
    with pytest.raises(DataSetError, match="no header"):
        Cinc().plan(tmp_path)
    assert subset_of(Path("a/JS10646.hea")) == "chapman_shaoxing"
    assert subset_of(Path("a/JS10647.hea")) == "ningbo"
    assert subset_of(Path("training/georgia/g1/X1.hea")) == "georgia"
    assert subset_of(Path("a/X1.hea")) == "other"


def test_the_table_of_diagnoses() -> None:
    assert len(DIAGNOSES) == 133 and sum(item.scored for item in DIAGNOSES.values()) == 30
    assert len(CSN_CODES) == 38 and set(CSN_CODES.values()) <= set(DIAGNOSES)
    assert DIAGNOSES[164889003].subsets == {
        "cpsc_2018", "cpsc_2018_extra", "st_petersburg_incart", "ptb", "ptb-xl", "georgia",
        "chapman_shaoxing",
    }  # fmt: skip


def test_cinc_for_real(shared_data: Path) -> None:
    root = shared_data / "cinc2021_challenge"
    if not root.is_dir():
        pytest.skip("the part of CinC 2021 is not beside this checkout")
    ptbxl_csv = shared_data / "ptbxl" / "ptbxl_database.csv"
    plan = Cinc(ptbxl_csv=ptbxl_csv).plan(root)
    given = pd.read_csv(root / "records.csv", dtype={"dx_snomed": str}).set_index("record")
    assert len(plan.table) + len(plan.left_out) == len(given) == 166
    assert {item.reason for item in plan.left_out} <= {NOT_IN_TABLE}
    known = set(pd.read_csv(ptbxl_csv)["ecg_id"])
    absent = [n for n in given.index if n.startswith("HR") and int(n[2:]) not in known]
    assert sorted(item.record_id for item in plan.left_out) == sorted(f"cinc-{n}" for n in absent)
    for _, row in plan.table.iterrows():
        csv_row = given.loc[row["record_id"].removeprefix("cinc-")]
        codes = set(str(csv_row["dx_snomed"]).replace("|", ",").split(","))
        assert set(row["dx"].split(",")) == codes
        assert row["age"] == csv_row["age"] or np.isnan(row["age"])
        merged = csv_row["source"] == "chapman_shaoxing_ningbo"
        assert row["subset"] in (CSN if merged else (csv_row["source"],))
        assert (row["label_rbbb"] == 1) == bool(codes & {"59118001", "713427006"})
    folds = pd.read_csv(ptbxl_csv).set_index("ecg_id")["strat_fold"]
    theirs = plan.table[plan.table["subset"] == "ptb-xl"]
    assert len(theirs) == 38 - len(absent)
    for record, split in zip(theirs["same_as"], theirs["split"], strict=True):
        assert split == {9: "valid", 10: "test"}.get(folds[int(record[6:])], "train")
    # HRnnnnn is PTB-XL's nnnnn at 500 Hz: the same ECG through both doors.
    shared = [r for r in theirs["same_as"] if (shared_data / f"{high_of(r)}.hea").is_file()]
    assert shared
    adapter = Cinc()
    for record in shared[:3]:
        row = theirs.set_index("same_as").loc[record]
        other = PtbXl().read(shared_data / "ptbxl", {"path": high_of(record)[6:]})
        mine = adapter.read(root, row.to_dict())
        np.testing.assert_allclose(mine.signal_mv, other.signal_mv, atol=2e-3)


def high_of(record: str) -> str:
    number = int(record[6:])
    return f"ptbxl/records500/{number // 1000 * 1000:05d}/{number:05d}_hr"


# A folder of one's own


def test_plain_tree(trees: Path, tmp_path: Path) -> None:
    studies, report = prepared(Plain(), trees / "plain", tmp_path / "out")
    rows = studies.table
    assert report.reasons == {OUTSIDE: 1, NO_RECORD: 1, NO_FILE: 1, TOO_SHORT: 1}
    assert sorted(rows["record_id"]) == ["p2", "p3", "ward_p1_a", "ward_p1_b"]
    first, second = of(rows, "ward_p1_a"), of(rows, "ward_p1_b")
    assert first["report"] == "Vorhofflimmern, möglicher Hinterwandinfarkt"
    # One row of the patient names the split, so both have it.
    assert first["patient_id"] == second["patient_id"] == "p1"
    assert first["split"] == second["split"] == "train" and of(rows, "p2")["split"] == "valid"
    assert of(rows, "p3")["patient_id"] == "p3"
    assert rows["label_af"].dtype == np.bool_ and first["label_af"]
    assert np.isnan(first["label_lvef_lt40"]) and second["label_lvef_lt40"] == 1.0
    assert first["lvef_pct"] == "38,5"
    padded = prepare(Plain(shorter="pad"), trees / "plain", tmp_path / "pad", n_workers=1)
    assert padded.card["n_studies"] == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,report\na,b\n", "no column path or record"),
        ("path\n", "no row below its names"),
        ("path,path\na,b\n", "two columns of one name"),
        ("path,split\na\n", "Line 2"),
        ("path,split\na,later\n", "names the split later"),
        ("path,patient_id,split\na,p,train\nb,p,test\n", "into two splits"),
        ("path,label_af\na,1\nb,perhaps\n", "'perhaps' in the column label_af"),
        # Under its own name there is a column already.
        ("path,sex,label_sex\na,1,m\n", "'m' in the column label_sex"),
    ],
)
def test_plain_tables_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "studies.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataSetError, match=words):
        Plain().plan(tmp_path)


def test_plain_numbers_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(
        "\ufefffile;label_ef;label_yes\r\na;38,5;ja\r\n".replace("ja", "yes").encode()
    )
    rows = Plain(table="mine.csv").plan(tmp_path).table
    assert rows["label_ef"].tolist() == [38.5] and rows["label_yes"].tolist() == [True]


def test_plain_takes_the_table_of_a_simulated_cohort(tmp_path: Path) -> None:
    """Its truth has words among its labels, as tables of one's own have."""
    from echoing_core.simulate import write_cohort

    write_cohort(tmp_path, n_patients=3, seed=7)
    given = pd.read_csv(tmp_path / "studies.csv")
    plan = Plain().plan(tmp_path)
    assert plan.table["sex"].tolist() == given["label_sex"].tolist()
    assert set(plan.table["sex"]) <= {"m", "f"}
    assert "label_sex" not in plan.table.columns
    assert plan.table["label_af"].tolist() == given["label_af"].tolist()
    np.testing.assert_allclose(plan.table["label_lvef_pct"], given["label_lvef_pct"])
    assert any("label_sex as sex, label_rhythm as rhythm" in note for note in plan.card["notes"])


# One heart through every door


def recording_of(signal_mv: np.ndarray) -> Recording:
    from echoing_core.records import LEADS

    return Recording(np.asarray(signal_mv, dtype=np.float32), 500.0, LEADS, "heart")


def test_the_same_heart_is_the_same_ecg_whatever_the_data_set(trees: Path) -> None:
    from_ptbxl = PtbXl().read(trees / "ptbxl", {"path": "records500/00000/00001_hr"})
    from_cinc = Cinc().read(trees / "cinc", {"path": "WFDBRecords/01/010/JS00001"})
    own = Plain().read(trees / "plain", {"path": "ward/p1_a"})
    for other in (from_cinc, own):
        np.testing.assert_array_equal(other.signal_mv, from_ptbxl.signal_mv)
        np.testing.assert_array_equal(other.valid, from_ptbxl.valid)
        assert other.lead_origin == from_ptbxl.lead_origin
    exact = standardise(recording_of(ptbxl_tree.heart_mv(1)))
    np.testing.assert_allclose(from_ptbxl.signal_mv, exact.signal_mv, atol=1e-3)
