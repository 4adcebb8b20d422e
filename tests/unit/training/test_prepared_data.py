"""A prepared folder as a dataset of torch."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.training.prepared_data import EchoingDataset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudySet]:
    """Five ECGs, of which the second has a gap, the third no report and the fourth no LVEF."""
    n = 5
    rng = np.random.default_rng(0)
    valid = np.ones((n, 12, 1000), dtype=bool)
    valid[1, :, :100] = False
    signal = rng.standard_normal((n, 12, 1000)).astype(np.float32) * valid
    table = pd.DataFrame(
        {
            "source": "made",
            "patient_id": [f"p{k}" for k in range(n)],
            "study_id": [f"s{k}" for k in range(n)],
            "record_id": [f"r{k}" for k in range(n)],
            "split": ["train", "train", "train", "train", "valid"],
            "report": ["sinus rhythm.", "atrial fibrillation.", None, "normal ecg.", "pause."],
            "simulated": True,
            "quality": "clean",
            "label_lbbb": [True, False, False, True, False],
            "label_lvef_pct": [55.0, 30.0, 61.0, np.nan, 58.0],
        }
    )
    studies = StudySet(table, signal, valid)
    folder = tmp_path_factory.mktemp("made") / "data"
    save_prepared(folder, studies)
    return folder, studies


def test_an_item_is_the_ecg_with_all_that_is_known(made: tuple[Path, StudySet]) -> None:
    folder, studies = made
    data = EchoingDataset(folder, "train")
    assert len(data) == 4
    assert data.label_names == ("lbbb", "lvef_pct")
    item = data[1]
    assert torch.equal(item["signal_mv"], torch.from_numpy(studies.signal_mv[1]))
    assert item["valid"].dtype == torch.bool
    assert not item["valid"][:, :100].any() and item["valid"][:, 100:].all()
    assert (item["report"], item["patient_id"], item["study_id"]) == (
        "atrial fibrillation.",
        "p1",
        "s1",
    )
    assert item["labels"].tolist() == [0.0, 30.0]
    assert data[2]["report"] == ""
    assert torch.isnan(data[-1]["labels"][1])
    assert data.with_label("lvef_pct") == [0, 1, 2]
    assert [one["study_id"] for one in (data[k] for k in range(len(data)))] == list(
        data.table["study_id"]
    )
    with pytest.raises(IndexError):
        data[4]


def test_batches_come_from_torchs_own_loader(made: tuple[Path, StudySet]) -> None:
    folder, _ = made
    batch = next(iter(DataLoader(EchoingDataset(folder, "train"), batch_size=3)))
    assert batch["signal_mv"].shape == batch["valid"].shape == (3, 12, 1000)
    assert batch["labels"].shape == (3, 2)
    assert batch["report"][0] == "sinus rhythm."


def test_signals_stay_on_disk_and_a_copy_for_another_process_opens_them_itself(
    made: tuple[Path, StudySet],
) -> None:
    folder, _ = made
    data = EchoingDataset(folder, "valid")
    assert isinstance(data._signal_mv, np.memmap)
    sent = pickle.dumps(data)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)[0]["signal_mv"], data[0]["signal_mv"])


def test_what_is_not_there_is_refused(made: tuple[Path, StudySet], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train, valid, test"):
        EchoingDataset(made[0], "validation")
    with pytest.raises(DataSetError, match="no study in test"):
        EchoingDataset(made[0], "test")
    with pytest.raises(DataSetError):
        EchoingDataset(tmp_path)
