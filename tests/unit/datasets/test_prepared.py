"""A study set as a folder: what is written is read back, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.prepared import CARD, load_prepared, read_card, save_prepared
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import ConfigError, DataSetError

SPLIT = ["test", "train", "valid", "train", "test"]


def study_set() -> StudySet:
    rng = np.random.default_rng(0)
    signal_mv = rng.normal(size=(5, 12, 40)).astype(np.float32)
    valid = rng.random(size=signal_mv.shape) > 0.1
    signal_mv[~valid] = 0.0
    table = pd.DataFrame(
        {
            "source": "toy",
            "patient_id": ["a", "b", "c", "b", "e"],
            "study_id": [f"s{i}" for i in range(5)],
            "record_id": [f"r{i}" for i in range(5)],
            "split": SPLIT,
            "report": [f"report {i}" for i in range(5)],
            "simulated": True,
            "quality": "clean",
            "label_af": [True, False, True, False, False],
            "label_lvef_pct": [30.0, np.nan, 55.0, 60.0, 20.0],
        }
    )
    return StudySet(table, signal_mv, valid)


def test_what_is_written_is_read_back_in_the_order_of_the_splits(tmp_path: Path) -> None:
    given = study_set()
    save_prepared(tmp_path / "set", given, card={"seed": 3})
    read = load_prepared(tmp_path / "set")
    order = [1, 3, 2, 0, 4]
    assert isinstance(read.signal_mv, np.memmap)
    np.testing.assert_array_equal(read.signal_mv, given.signal_mv[order])
    np.testing.assert_array_equal(read.valid, given.valid[order])
    pd.testing.assert_frame_equal(read.table, given.table.iloc[order].reset_index(drop=True))


def test_the_card_counts_studies_patients_and_labels(tmp_path: Path) -> None:
    card = save_prepared(tmp_path / "set", study_set(), card={"seed": 3})
    assert read_card(tmp_path / "set") == card
    assert (card["source"], card["simulated"], card["seed"]) == ("toy", True, 3)
    assert (card["n_studies"], card["n_patients"]) == (5, 4)
    assert card["splits"]["train"] == {"studies": 2, "patients": 1}
    assert card["labels"] == {"af": {"known": 5, "positive": 2}, "lvef_pct": {"known": 4}}


def test_one_split_stays_on_disk(tmp_path: Path) -> None:
    save_prepared(tmp_path / "set", study_set())
    test = load_prepared(tmp_path / "set", splits=("test",))
    assert list(test.table["record_id"]) == ["r0", "r4"]
    assert isinstance(test.signal_mv, np.memmap)
    ends = load_prepared(tmp_path / "set", splits=("train", "test"))
    assert list(ends.table["record_id"]) == ["r1", "r3", "r0", "r4"]
    np.testing.assert_array_equal(ends.signal_mv[2:], test.signal_mv)


@pytest.mark.parametrize("name", ["studies.parquet", "signal_mv.npy", "valid.npy"])
def test_a_changed_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save_prepared(tmp_path / "set", study_set())
    path = tmp_path / "set" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataSetError, match=name):
        load_prepared(tmp_path / "set")
    path.unlink()
    with pytest.raises(DataSetError, match=f"lacks {name}"):
        load_prepared(tmp_path / "set")


def test_what_is_no_prepared_set_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not a prepared study set"):
        save_prepared(other, study_set())
    assert (other / "mine.txt").read_text() == "mine"
    with pytest.raises(DataSetError, match="echoing prepare"):
        load_prepared(other)
    (other / CARD).write_text(json.dumps({"kind": "index"}))
    with pytest.raises(DataSetError, match="not a prepared study set"):
        load_prepared(other)


def test_splits_must_exist_and_hold_something(tmp_path: Path) -> None:
    given = study_set()
    save_prepared(tmp_path / "set", given.where(given.table["split"] == "train"))
    with pytest.raises(ConfigError, match="no split dev"):
        load_prepared(tmp_path / "set", splits=("dev",))
    with pytest.raises(DataSetError, match="no study in test"):
        load_prepared(tmp_path / "set", splits=("test",))
    with pytest.raises(DataSetError, match="without studies"):
        save_prepared(tmp_path / "none", given.where(np.zeros(5, dtype=bool)))


def test_an_older_set_is_replaced(tmp_path: Path) -> None:
    given = study_set()
    save_prepared(tmp_path / "set", given)
    save_prepared(tmp_path / "set", given.where(given.table["split"] == "test"))
    assert len(load_prepared(tmp_path / "set")) == 2


def test_the_command_writes_the_simulated_cohort(tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    arguments = ["prepare", "simulated", str(out), "--patients", "6", "--echo-in-report", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "6 simulated patients" in done.output
    card = read_card(out)
    assert (card["source"], card["simulated"], card["echo_in_report"]) == ("simulated", True, 1.0)
    assert len(load_prepared(out)) == card["n_studies"] >= 6
    refused = CliRunner().invoke(app, [*arguments[:-1], "2"])
    assert refused.exit_code == 2 and "between 0 and 1" in refused.output
