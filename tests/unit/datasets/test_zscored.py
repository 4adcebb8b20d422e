"""ECGs whose millivolts are lost: what is borrowed, what stays true, and what is not told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.ptbxl import study_table
from echoing_core.datasets.study_set import StudySet
from echoing_core.datasets.zscored import load_zscored
from echoing_core.errors import DataSetError

LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")


def _records(codes: list[str]) -> pd.DataFrame:
    n = len(codes)
    return pd.DataFrame(
        {
            "ecg_id": range(1, n + 1),
            "patient_id": np.arange(1.0, n + 1),
            "strat_fold": [1 + i % 2 for i in range(n)],
            "scp_codes": codes,
            "heart_axis": ["MID"] * n,
            "age": [50.0] * n,
        }
    )


def _donors() -> StudySet:
    """A normal heart of 0.2 mV in every lead, and an infarct of 0.5."""
    table = study_table(_records(["{'NORM': 100.0}", "{'IMI': 100.0}"]))
    wave = np.sin(np.linspace(0, 40, 1000))
    wave /= wave.std()
    signal = np.stack([0.2 * np.tile(wave, (12, 1)), 0.5 * np.tile(wave, (12, 1))])
    return StudySet(table, signal.astype(np.float32), np.ones(signal.shape, bool))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    codes = ["{'NORM': 100.0, 'SR': 0.0}", "{'IMI': 100.0, 'LVH': 50.0, 'SR': 0.0}"] * 2
    records, counts = _records(codes), []
    for row in range(4):
        one, two = rng.standard_normal((2, 1000))
        limb = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2])
        ecg = np.concatenate([limb, rng.standard_normal((6, 1000))])
        ecg -= ecg.mean(1, keepdims=True)
        deviation = ecg.std(1)
        for lead, value in zip(LIMB, deviation, strict=False):
            # Up to a factor of its own for every ECG.
            records.loc[row, f"limb_{lead}"] = value * (row + 1)
        counts.append(np.round(500 * ecg / deviation[:, None]).T.astype(np.int16))
    records.to_csv(tmp_path / "records.csv", index=False)
    for shard in (0, 1):
        part = slice(2 * shard, 2 * shard + 2)
        np.savez(
            tmp_path / f"x_{shard:02d}.npz",
            x=np.stack(counts[part]),
            ecg_id=records["ecg_id"].to_numpy()[part],
        )
    return tmp_path


def test_voltages_are_those_of_a_heart_of_the_same_kind(folder: Path) -> None:
    ecgs = load_zscored(folder, folds=(1, 2), donors=_donors())
    deviation = ecgs.signal_mv.std(axis=2)
    # Hypertrophy is a kind, too: an infarct with it has no donor and takes any of the two.
    np.testing.assert_allclose(deviation[[0, 2], 6:], 0.2, rtol=0.01)
    assert set(np.round(deviation[[1, 3], 6:].ravel(), 1)) <= {np.float32(0.2), np.float32(0.5)}
    np.testing.assert_allclose(deviation[[0, 2], :6].mean(axis=1), 0.2, rtol=0.01)


def test_limb_leads_keep_their_triangle(folder: Path) -> None:
    signal = load_zscored(folder, folds=(1, 2), donors=_donors()).signal_mv
    np.testing.assert_allclose(signal[:, 0] + signal[:, 2], signal[:, 1], atol=0.005)
    np.testing.assert_allclose(signal[:, 3], -(signal[:, 0] + signal[:, 1]) / 2, atol=0.005)


def test_nothing_is_said_of_voltage(folder: Path) -> None:
    table = load_zscored(folder, folds=(1, 2), donors=_donors()).table
    assert table["label_HYP"].isna().all() and table["label_lvh"].isna().all()
    assert table["label_MI"].tolist() == [False, True, False, True]
    assert table["voltage_stated"].tolist() == [False, True, False, True]
    assert not any("hypertrophy" in text.lower() for text in table["report"])
    assert all("LVH" not in codes for codes in table["scp_codes"])


def test_only_the_folds_that_are_asked_for(folder: Path) -> None:
    both = load_zscored(folder, folds=(1, 2), donors=_donors())
    second = load_zscored(folder, folds=(2,), donors=_donors())
    assert second.table["record_id"].tolist() == both.table["record_id"].tolist()[1::2]
    # A donor hangs on the ECG, not on what else is read.
    np.testing.assert_array_equal(second.signal_mv, both.signal_mv[1::2])


def test_files_that_do_not_belong_together_are_refused(folder: Path) -> None:
    (folder / "x_01.npz").unlink()
    with pytest.raises(DataSetError, match="same ECGs"):
        load_zscored(folder, folds=(1,), donors=_donors())
    (folder / "records.csv").unlink()
    with pytest.raises(DataSetError, match=r"records\.csv"):
        load_zscored(folder, folds=(1,), donors=_donors())
