"""EchoNext on a tree of its published layout: counts, labels, amplitudes, refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echoing_core.datasets.echonext import COMPOSITE, FLAGS, PTBXL_SD_MV, EchoNext
from echoing_core.datasets.preparing import prepare
from echoing_core.datasets.registry import build_adapter
from echoing_core.errors import DataSetError, SignalQualityError
from tests.data_trees import echonext as tree

NAN = math.nan


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.write_echonext(tmp_path_factory.mktemp("echonext") / "1.1.0")


def rows(adapter: EchoNext, root: Path) -> dict[str, dict[str, Any]]:
    table = adapter.plan(root).table
    return {
        str(row["record_id"]): {str(k): v for k, v in row.items()}
        for row in table.to_dict("records")
    }


def test_row_k_of_a_split_is_the_k_th_row_of_that_split(root: Path) -> None:
    plan = EchoNext().plan(root)
    places = plan.table[["record_id", "patient_id", "split", "path", "row"]].to_numpy().tolist()
    train, val, test = (f"EchoNext_{s}_waveforms.npy" for s in ("train", "val", "test"))
    assert places == [
        ["echonext-1000", "echonext-p1", "train", train, 0],
        ["echonext-1003", "echonext-p2", "train", train, 1],
        ["echonext-1005", "echonext-p2", "train", train, 2],
        ["echonext-1007", "echonext-p3", "train", train, 3],
        ["echonext-1010", "echonext-p7", "train", train, 4],
        ["echonext-1002", "echonext-p4", "valid", val, 0],
        ["echonext-1009", "echonext-p4", "valid", val, 1],
        ["echonext-1004", "echonext-p5", "test", test, 0],
        ["echonext-1008", "echonext-p6", "test", test, 1],
    ]
    assert [(left.record_id, left.reason) for left in plan.left_out] == [
        ("echonext-1001", "no_split"),
        ("echonext-1006", "no_split"),
    ]
    assert plan.card["version"] == "1.1.1"


def test_labels_by_hand(root: Path) -> None:
    table = EchoNext().plan(root).table.set_index("record_id")
    expected = {
        #      lvef, <40, wall mm, slvh, lvef<=45, wall>=13, as, mr, pasp
        "1000": (38.5, 1, 10, 0, 1, 0, 0, 0, 0),
        "1003": (60, 0, NAN, 1, 0, 1, 0, 0, 0),  # 1.5 cm are 15 mm
        "1005": (40, 0, NAN, NAN, 0, NAN, 0, 0, 0),  # no wall measured
        "1007": (60, 0, 10, 0, 0, 0, NAN, 0, 0),  # "none" is a grade, a blank is not
        "1002": (NAN, NAN, 10, 0, NAN, 0, 0, 0, 0),
        "1004": (60, 0, NAN, NAN, 0, 0, 0, 0, 0),  # 14 mm, the other wall not measured
        "1008": (NAN, NAN, 10, 0, 0, 0, 0, 0, NAN),  # LVEF of 0 %: no value, though looked at
    }
    names = ["lvef_pct", "lvef_lt40", "wall_mm", "slvh", "lvef_lte_45", "lvwt_gte_13"]
    names += [f"{v}_moderate_or_greater" for v in ("aortic_stenosis", "mitral_regurgitation")]
    labels = [f"label_{name}" for name in (*names, "pasp_gte_45")]
    for key, values in expected.items():
        np.testing.assert_array_equal(
            table.loc[f"echonext-{key}", labels].to_numpy(dtype=float),
            np.array(values, dtype=float),
            err_msg=key,
        )
    own = [f"label_{flag.removesuffix('_flag')}" for flag in (*FLAGS, COMPOSITE)]
    assert len(own) == 12
    assert set(own) <= set(table.columns)
    assert table["label_shd_moderate_or_greater"].sum() == 1.0
    assert "label_dlv" not in table.columns
    assert table.loc["echonext-1002", "age"] == 90
    assert table["sex"].tolist() == ["f", "f", "f", "f", "", "m", "f", "f", "f"]


def test_a_flag_without_a_measurement_can_stay_negative(root: Path) -> None:
    plan = EchoNext(not_measured="negative").plan(root)
    table = plan.table.set_index("record_id")
    assert table.loc["echonext-1002", "label_lvef_lte_45"] == 0.0
    assert table.loc["echonext-1005", "label_lvwt_gte_13"] == 0.0
    assert "may mean that nothing was measured" in plan.card["notes"][1]
    by_option = EchoNext(lvef_below_pct=50.0, slvh_wall_mm=14.0).plan(root).table
    assert by_option.set_index("record_id").loc["echonext-1004", "label_slvh"] == 1.0
    assert by_option["label_lvef_lt50"].sum() == 2.0


def test_amplitudes_are_brought_to_those_of_ptbxl(root: Path) -> None:
    adapter = EchoNext()
    planned = rows(adapter, root)
    ecg = adapter.read(root, planned["echonext-1000"])
    assert ecg.signal_mv.shape == (12, 1000)
    assert ecg.lead_origin == ("measured",) * 12
    assert "no measured mV" in ecg.notes[0]
    # One factor a lead, in the order of LEADS: the shape is that of the simulated heart.
    truth = tree.truth_mv(0)
    for lead in range(12):
        own = np.interp(np.arange(1000) / 100, np.arange(2500) / 250, truth[lead])
        # Two seconds at either end are left to the filter.
        r = np.corrcoef(own[200:800], ecg.signal_mv[lead, 200:800])[0, 1]
        assert r > 0.97, lead
    stored = np.load(root / "EchoNext_train_waveforms.npy")[[0, 1, 2, 4], 0]
    scale = np.array([float(part) for part in planned["echonext-1000"]["mv_per_unit"].split()])
    np.testing.assert_allclose(np.nanstd(stored, axis=(0, 1)) * scale, PTBXL_SD_MV, rtol=1e-4)
    plain = EchoNext(amplitudes="published")
    as_published = plain.read(root, rows(plain, root)["echonext-1000"])
    np.testing.assert_allclose(
        as_published.signal_mv * scale[:, None], ecg.signal_mv, rtol=1e-4, atol=1e-5
    )


def test_gaps_stay_gaps(root: Path) -> None:
    planned = rows(EchoNext(), root)
    with pytest.raises(SignalQualityError, match="holds no measured value"):
        EchoNext().read(root, planned["echonext-1007"])
    ecg = EchoNext().read(root, planned["echonext-1010"])
    assert not ecg.valid[6, 200:300].any()
    assert ecg.valid[[0, 5, 7, 11]].all()


def test_prepared_it_has_what_was_planned(root: Path, tmp_path: Path) -> None:
    report = prepare(build_adapter("echonext"), root, tmp_path / "out", n_workers=1)
    assert report.card["n_studies"] == 8
    assert report.reasons == {"no_split": 2, "too short or not measured": 1}
    assert report.card["splits"]["test"] == {"studies": 2, "patients": 2}


def test_splits_whose_array_is_not_there(root: Path, tmp_path: Path) -> None:
    for name in ("echonext_metadata_100k.csv", "EchoNext_val_waveforms.npy"):
        # The README's spelling of the table's name.
        (tmp_path / name.replace("echonext", "EchoNext")).write_bytes((root / name).read_bytes())
    plan = EchoNext().plan(tmp_path)
    assert plan.table["record_id"].tolist() == ["echonext-1002", "echonext-1009"]
    reasons = [left.reason for left in plan.left_out]
    assert reasons.count("file is not there") == 7
    assert reasons.count("no_split") == 2
    (tmp_path / "EchoNext_val_waveforms.npy").unlink()
    with pytest.raises(DataSetError, match=r"no EchoNext_train_waveforms\.npy"):
        EchoNext().plan(tmp_path)


def test_what_is_not_the_published_set(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"no echonext_metadata_100k\.csv"):
        EchoNext().plan(tmp_path)
    metadata = tmp_path / "echonext_metadata_100k.csv"
    kept = tuple(name for name in tree.COLUMNS if name != "patient_key")
    tree.write_metadata(metadata, tree.ROWS, kept)
    with pytest.raises(DataSetError, match="lacks the columns patient_key"):
        EchoNext().plan(tmp_path)
    tree.write_metadata(metadata, tree.ROWS)
    waveforms = tmp_path / "EchoNext_val_waveforms.npy"
    whole = np.load(root / waveforms.name)
    np.save(waveforms, whole[:1])
    with pytest.raises(DataSetError, match=r"holds 1 ECGs, and .* lists 2 of the split val"):
        EchoNext().plan(tmp_path)
    np.save(waveforms, whole[:, 0])
    with pytest.raises(DataSetError, match=r"of shape \(2, 2500, 12\)"):
        EchoNext().plan(tmp_path)
    waveforms.write_bytes(waveforms.read_bytes()[:500])
    with pytest.raises(DataSetError, match="cut short"):
        EchoNext().plan(tmp_path)
    np.save(waveforms, whole)
    tree.write_metadata(metadata, (*tree.ROWS[:9], tree.Row("test", 4), tree.Row("val", 4)))
    np.save(tmp_path / "EchoNext_test_waveforms.npy", np.repeat(whole, 2, axis=0)[:3])
    with pytest.raises(DataSetError, match=r"1 patients .* stand in more than one split"):
        EchoNext().plan(tmp_path)
