"""The simulated cohort as a study table."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.simulated import build_simulated, load_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.progress import Progress
from echoing_core.signals import standardise
from echoing_core.simulate import ecg_count, redraw, write_cohort


@pytest.fixture(scope="module")
def cohort() -> StudySet:
    return build_simulated(60, 11)


def test_every_patient_and_ecg_is_there_once(cohort: StudySet) -> None:
    rows = cohort.table
    assert len(rows) == sum(ecg_count(11, p) for p in range(60)) > 60
    assert rows["record_id"].is_unique
    assert rows["patient_id"].nunique() == 60
    assert rows["simulated"].all() and set(rows["source"]) == {"simulated"}
    assert cohort.signal_mv.shape == (len(rows), 12, 1000)
    assert rows["report"].str.len().min() > 5


def test_traces_can_be_drawn_again_from_their_names(cohort: StudySet) -> None:
    for row in (0, 17, len(cohort) - 1):
        again = redraw(str(cohort.table["record_id"][row]))
        ecg = standardise(again.recording_12)
        assert np.array_equal(cohort.signal_mv[row], ecg.signal_mv)
        assert np.array_equal(cohort.valid[row], ecg.valid)
        assert cohort.table["report"][row] == again.report


def test_labels_are_the_truth_of_the_heart(cohort: StudySet) -> None:
    rows = cohort.table
    assert ((rows["label_lvef_pct"] < 40) == rows["label_lvef_lt40"]).all()
    assert (rows["label_af"] == (rows["rhythm"] == "af")).all()
    needed = {"lvef_lt40", "slvh", "dlv", "af", "lbbb", "NORM", "MI", "STTC", "CD", "HYP"}
    assert needed <= {name.removeprefix("label_") for name in cohort.label_columns}


def test_shorter_cohort_and_single_split_are_parts_of_the_longer(cohort: StudySet) -> None:
    short = build_simulated(10, 11)
    n = len(short)
    assert np.array_equal(short.signal_mv, cohort.signal_mv[:n])
    test = build_simulated(60, 11, splits=("test",))
    mask = cohort.table["split"] == "test"
    assert test.table["record_id"].tolist() == cohort.table["record_id"][mask].tolist()
    assert np.array_equal(test.signal_mv, cohort.where(mask).signal_mv)


def test_other_seed_other_people(cohort: StudySet) -> None:
    other = build_simulated(5, 12)
    assert set(other.table["patient_id"]).isdisjoint(cohort.table["patient_id"])
    assert not np.array_equal(other.signal_mv[0], cohort.signal_mv[0])


@pytest.mark.slow
def test_two_processes_give_the_same(cohort: StudySet) -> None:
    calls: list[tuple[int, int]] = []
    both = build_simulated(
        20, 11, n_workers=2, progress=Progress(lambda _, done, total: calls.append((done, total)))
    )
    n = len(both)
    assert np.array_equal(both.signal_mv, cohort.signal_mv[:n])
    assert both.table.equals(cohort.table.iloc[:n])
    assert calls == [(16, 20), (20, 20)]


def test_impossible_requests_end_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="no split exam"):
        build_simulated(3, 1, splits=("exam",))
    with pytest.raises(ConfigError, match="none is in the splits"):
        build_simulated(0, 1)
    with pytest.raises(ConfigError, match="0 workers"):
        build_simulated(3, 1, n_workers=0)


def test_written_cohort_is_read_back(cohort: StudySet, tmp_path: Path) -> None:
    n = write_cohort(tmp_path / "c", 8, 11)
    back = load_simulated(tmp_path / "c")
    same = cohort.where(np.arange(len(cohort)) < n)
    for name in same.table.columns:
        assert back.table[name].tolist() == same.table[name].tolist(), name
    np.testing.assert_allclose(back.signal_mv, same.signal_mv, atol=0.002)
    assert np.array_equal(back.valid, same.valid)


def test_missing_and_foreign_files_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataSetError, match=r"no studies\.csv"):
        load_simulated(tmp_path)
    folder = tmp_path / "c"
    n = write_cohort(folder, 3, 11)
    (folder / "records" / "sim-11-000000-0.dat").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(load_simulated(folder)) == n - 1
    assert f"1 of {n} records left out" in caplog.text
    table = pd.read_csv(folder / "studies.csv")
    table.assign(simulated=False).to_csv(folder / "studies.csv", index=False)
    with pytest.raises(DataSetError, match="not simulated"):
        load_simulated(folder)
    table.drop(columns="report").to_csv(folder / "studies.csv", index=False)
    with pytest.raises(DataSetError, match="lacks report"):
        load_simulated(folder)
    table.assign(path="records/none").to_csv(folder / "studies.csv", index=False)
    with pytest.raises(DataSetError, match="None of the"):
        load_simulated(folder)
