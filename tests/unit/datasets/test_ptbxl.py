"""The PTB-XL adapter, on a small tree of the same layout and on the real one."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.errors import DataSetError
from echoing_core.progress import Progress
from echoing_core.records import LEADS
from echoing_core.reports.scp_text import SCP_FINDINGS, superclasses_of_codes

NAMES = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]


def burst(f_hz: float, times: np.ndarray) -> np.ndarray:
    """A sine that rises from and falls to zero, so that no filter rings at the ends."""
    return np.asarray(np.sin(2 * np.pi * f_hz * times) * np.sin(np.pi * times / 10.0) ** 2)


def write_record(root: Path, name: str, fs_hz: int, seconds: float = 10.0) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * fs_hz)) / fs_hz
    lead = {n: burst(2 + i, times) for i, n in enumerate(NAMES)}
    lead["III"] = lead["II"] - lead["I"]
    lead["AVR"] = -(lead["I"] + lead["II"]) / 2
    lead["AVL"] = lead["I"] - lead["II"] / 2
    lead["AVF"] = lead["II"] - lead["I"] / 2
    wfdb.wrsamp(
        path.name,
        fs=fs_hz,
        units=["mV"] * 12,
        sig_name=NAMES,
        p_signal=np.stack([lead[n] for n in NAMES], axis=1),
        fmt=["16"] * 12,
        adc_gain=[1000.0] * 12,
        baseline=[0] * 12,
        write_dir=str(path.parent),
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rows = [
        (1, 11.0, "{'NORM': 100.0, 'SR': 0.0}", 1, "", 56.0),
        (2, 11.0, "{'IMI': 15.0, 'CLBBB': 0.0, 'AFIB': 0.0}", 1, " , I-V1,  ", 300.0),
        (3, 12.0, "{'LVH': 100.0, 'SR': 0.0}", 9, " , ", None),
        (4, None, "{'NDT': 100.0}", 10, "", 40.0),
        (5, 13.0, "{'1AVB': 100.0}", 9, "", 40.0),
    ]
    table = pd.DataFrame(
        [
            {
                "ecg_id": ecg_id,
                "patient_id": patient,
                "age": age,
                "sex": 1,
                "report": "sinusrhythmus",
                "scp_codes": codes,
                "heart_axis": "LAD" if ecg_id == 1 else None,
                "baseline_drift": None,
                "static_noise": noise or None,
                "burst_noise": None,
                "electrodes_problems": None,
                "strat_fold": fold,
                "filename_lr": f"records100/00000/{ecg_id:05d}_lr",
                "filename_hr": f"records500/00000/{ecg_id:05d}_hr",
            }
            for ecg_id, patient, codes, fold, noise, age in rows
        ]
    )
    table.to_csv(tmp_path / "ptbxl_database.csv", index=False)
    with (tmp_path / "scp_statements.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        groups = ("diagnostic_class", "diagnostic_subclass", "form", "rhythm")
        writer.writerow(["", "description", "diagnostic", *groups])
        for code in SCP_FINDINGS:
            (diagnostic_class,) = superclasses_of_codes({code: 0.0}) or ("",)
            diagnostic = 1.0 if diagnostic_class else ""
            writer.writerow([code, "", diagnostic, diagnostic_class, "", "", ""])
    for ecg_id in (1, 2, 3, 4):  # number 5 is missing
        write_record(tmp_path, f"records100/00000/{ecg_id:05d}_lr", 100)
    write_record(tmp_path, "records500/00000/00001_hr", 500)
    return tmp_path


def edit(tree: Path, **columns: object) -> None:
    path = tree / "ptbxl_database.csv"
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)  # type: ignore[arg-type]


def test_small_tree(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        studies = load_ptbxl(tree, folds=[1, 9, 10])
    assert "1 of 5 rows left out" in caplog.text
    assert "00005_lr" in caplog.text
    rows = studies.table
    assert rows["record_id"].tolist() == [f"ptbxl-{i:05d}" for i in (1, 2, 3, 4)]
    assert rows["split"].tolist() == ["train", "train", "valid", "test"]
    assert rows["fold"].tolist() == [1, 1, 9, 10]
    assert rows["patient_id"].nunique() == 3
    assert rows["quality"].tolist() == ["clean", "noisy", "clean", "clean"]
    assert rows["age"].tolist()[:2] == [56.0, 90.0]
    assert np.isnan(rows["age"][2])
    assert not rows["simulated"].any()
    classes = ["NORM", "MI", "STTC", "CD", "HYP"]
    assert rows[[f"label_{name}" for name in classes]].astype(int).to_numpy().tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 1, 0, 0],
    ]
    assert rows["label_af"].tolist() == [False, True, False, False]
    assert rows["label_lbbb"].tolist() == [False, True, False, False]
    assert rows["scp_codes"][1] == {"IMI": 15.0, "CLBBB": 0.0, "AFIB": 0.0}
    assert studies.signal_mv.shape == studies.valid.shape == (4, 12, 1000)
    assert studies.valid.all()


def test_leads_go_by_name_and_both_rates_agree(tree: Path) -> None:
    low = load_ptbxl(tree, folds=[1])
    high = load_ptbxl(tree, folds=[1], rate=500)
    assert high.table["record_id"].tolist() == ["ptbxl-00001"]
    np.testing.assert_allclose(high.signal_mv, low.signal_mv[:1], atol=0.02)
    v3_mv = burst(2 + NAMES.index("V3"), np.arange(1000) / 100)
    np.testing.assert_allclose(low.signal_mv[0, LEADS.index("V3")], v3_mv, atol=0.02)
    avf_mv = burst(3, np.arange(1000) / 100) - burst(2, np.arange(1000) / 100) / 2
    np.testing.assert_allclose(low.signal_mv[0, LEADS.index("aVF")], avf_mv, atol=0.02)


def test_rows_without_likelihoods_fall_back_on_the_list(tree: Path) -> None:
    path = tree / "ptbxl_database.csv"
    table = pd.read_csv(path)
    table["scp_labels"] = ["SR;NORM", "AFIB;IMI", None, None, None]
    table["metadata_complete"] = [True, False, True, True, True]
    table.loc[[1, 2], "scp_codes"] = None
    table.loc[1, "static_noise"] = None
    table.to_csv(path, index=False)
    rows = load_ptbxl(tree, folds=[1, 9, 10]).table
    # ECG 3 has neither, and no statement is not the same as nothing found.
    assert rows["record_id"].tolist() == ["ptbxl-00001", "ptbxl-00002", "ptbxl-00004"]
    assert rows["scp_codes"][1] == {"AFIB": 0.0, "IMI": 0.0}
    assert rows["quality"].tolist() == ["clean", "unknown", "clean"]


def test_report_depends_on_seed_and_ecg_alone(tree: Path) -> None:
    alone = load_ptbxl(tree, folds=[9]).table["report"][0]
    together = load_ptbxl(tree, folds=[1, 9]).table["report"][2]
    assert alone == together
    assert len({load_ptbxl(tree, folds=[9], seed=s).table["report"][0] for s in range(5)}) > 1


def test_progress_ends_with_all(tree: Path) -> None:
    calls: list[tuple[int, int]] = []
    load_ptbxl(
        tree, folds=[1, 9], progress=Progress(lambda _, done, total: calls.append((done, total)))
    )
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_wrong_length_is_left_out_and_said(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_record(tree, "records100/00000/00001_lr", 100, seconds=12.0)
    with caplog.at_level(logging.WARNING):
        assert len(load_ptbxl(tree, folds=[1])) == 1
    assert "12.0 s" in caplog.text


def test_folders_that_are_not_ptbxl_are_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="folds 1 to 10"):
        load_ptbxl(tree, folds=[0, 1])
    with pytest.raises(DataSetError, match="250 Hz"):
        load_ptbxl(tree, folds=[1], rate=250)
    with pytest.raises(DataSetError, match="records500"):
        load_ptbxl(tree, folds=[9], rate=500)
    with pytest.raises(DataSetError, match=r"no ptbxl_database\.csv"):
        load_ptbxl(tmp_path / "records100", folds=[1])
    edit(tree, scp_codes="NORM")
    with pytest.raises(DataSetError, match="scp_codes of ECG 1"):
        load_ptbxl(tree, folds=[1])
    edit(tree, scp_codes="{'NORMAL': 100.0}")
    with pytest.raises(DataSetError, match="NORMAL"):
        load_ptbxl(tree, folds=[1])


def test_changed_classes_and_missing_columns_are_refused(tree: Path) -> None:
    statements = tree / "scp_statements.csv"
    text = statements.read_text(encoding="utf-8")
    statements.write_text(text.replace("IMI,,1.0,MI", "IMI,,1.0,CD", 1), encoding="utf-8")
    with pytest.raises(DataSetError, match="IMI into the class CD"):
        load_ptbxl(tree, folds=[1])
    statements.write_text(text.replace("diagnostic_class", "class"), encoding="utf-8")
    with pytest.raises(DataSetError, match="diagnostic_class"):
        load_ptbxl(tree, folds=[1])
    statements.unlink()
    with pytest.raises(DataSetError, match=r"no scp_statements\.csv"):
        load_ptbxl(tree, folds=[1])
    statements.write_text(text, encoding="utf-8")
    path = tree / "ptbxl_database.csv"
    pd.read_csv(path).drop(columns="strat_fold").to_csv(path, index=False)
    with pytest.raises(DataSetError, match="strat_fold"):
        load_ptbxl(tree, folds=[1])


@pytest.mark.slow
def test_shared_recordings_count_as_their_table_says(shared_data: Path) -> None:
    folder = shared_data / "ptbxl"
    studies = load_ptbxl(folder, folds=[9])
    with (folder / "ptbxl_database.csv").open(encoding="utf-8") as file:
        listed = [row for row in csv.DictReader(file) if row["strat_fold"] == "9"]
    there = [row for row in listed if (folder / f"{row['filename_lr']}.dat").is_file()]
    assert len(studies) == len(there) > 200
    ids = [f"ptbxl-{int(row['ecg_id']):05d}" for row in there]
    assert studies.table["record_id"].tolist() == ids
    for name in ("NORM", "MI", "STTC", "CD", "HYP"):
        # The table's own superclass column is empty where its list of statements is.
        known = np.array([bool(row["scp_labels"]) for row in there])
        theirs = np.array([name in row["superclass"].split(";") for row in there])
        ours = studies.table[f"label_{name}"].to_numpy()
        assert np.array_equal(ours[known], theirs[known])
    afib = sum(
        "'AFIB'" in row["scp_codes"] or "AFIB" in row["scp_labels"].split(";") for row in there
    )
    assert studies.table["label_af"].sum() == afib > 10
    # Einthoven holds in the table's leads, so they were not mixed up.
    lead = studies.signal_mv
    assert np.abs(lead[:, 1] - lead[:, 0] - lead[:, 2]).mean() < 0.002
