"""The study table and its checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import DataSetError


def table(splits: list[str], patients: list[str] | None = None, source: str = "s") -> pd.DataFrame:
    n = len(splits)
    names = [f"{source}-{i}" for i in range(n)]
    return pd.DataFrame(
        {
            "source": source,
            "patient_id": patients or names,
            "study_id": names,
            "record_id": names,
            "split": splits,
            "report": "normal ecg.",
            "simulated": True,
            "quality": "clean",
            "label_af": [i % 2 == 0 for i in range(n)],
        }
    )


def study_set(rows: pd.DataFrame, n_times: int = 20) -> StudySet:
    signal = np.arange(len(rows) * 12 * n_times, dtype=np.float32).reshape(-1, 12, n_times)
    return StudySet(rows, signal, np.ones_like(signal, dtype=bool))


def test_where_keeps_rows_and_signals_together() -> None:
    whole = study_set(table(["train", "test", "train"]))
    part = whole.where(whole.table["split"] == "train")
    assert part.table["record_id"].tolist() == ["s-0", "s-2"]
    assert np.array_equal(part.signal_mv, whole.signal_mv[[0, 2]])
    assert part.table.index.tolist() == [0, 1]
    assert len(whole.where(np.zeros(3, dtype=bool))) == 0


def test_where_takes_bools_only() -> None:
    whole = study_set(table(["train", "test"]))
    with pytest.raises(ValueError, match="2 bools"):
        whole.where(np.array([0, 1]))


def test_concat_fills_unknown_labels_with_nan() -> None:
    a = study_set(table(["train", "test"]))
    b = study_set(table(["train"], source="t").rename(columns={"label_af": "label_lbbb"}))
    both = a.concat(b)
    assert len(both) == 3
    assert set(both.label_columns) == {"label_af", "label_lbbb"}
    assert both.table["label_af"].tolist()[:2] == [1.0, 0.0]
    assert np.isnan(both.table["label_af"][2])
    assert np.isnan(both.table["label_lbbb"][0])
    assert np.array_equal(both.signal_mv[2], b.signal_mv[0])
    assert "label_lbbb" not in a.table


def test_same_patient_id_of_two_sources_is_two_patients() -> None:
    a = study_set(table(["train"], ["p"]))
    b = study_set(table(["test"], ["p"], source="t"))
    assert len(a.concat(b)) == 2


def test_patient_in_two_splits_is_refused() -> None:
    with pytest.raises(DataSetError, match="p1 of s"):
        study_set(table(["train", "test"], ["p1", "p1"]))
    with pytest.raises(DataSetError, match="more than one split"):
        study_set(table(["train"], ["p"])).concat(study_set(table(["valid"], ["p"])))


def test_parts_that_do_not_fit_are_refused() -> None:
    rows = table(["train", "test"])
    signal = np.zeros((2, 12, 20), dtype=np.float32)
    valid = np.ones((2, 12, 20), dtype=bool)
    for bad_rows, bad_signal, bad_valid, words in (
        (rows, signal[:1], valid[:1], "do not belong together"),
        (rows, signal, valid[:, :, :5], "do not belong together"),
        (rows, signal[:, :8], valid[:, :8], "must be"),
        (rows, signal.astype(np.float64), valid, "float32"),
        (rows.drop(columns="report"), signal, valid, "report"),
        (rows.assign(split="trian"), signal, valid, "trian"),
        (rows.assign(label_af=["yes", "no"]), signal, valid, "label_af"),
        (rows.set_axis([3, 4]), signal, valid, "numbered"),
    ):
        with pytest.raises(DataSetError, match=words):
            StudySet(bad_rows, bad_signal, bad_valid)  # type: ignore[arg-type]


def test_lengths_that_differ_cannot_be_joined() -> None:
    with pytest.raises(DataSetError, match=r"\[10, 20\]"):
        study_set(table(["train"])).concat(study_set(table(["train"], source="t"), n_times=10))
