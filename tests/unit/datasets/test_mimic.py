"""MIMIC-IV-ECG, -ECHO and -Note on a small tree of the published layout, traps included."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.adapter import Plan
from echoing_core.datasets.mimic_ecg import MimicEcg
from echoing_core.datasets.mimic_echo import echo_studies, percent, read_lvef
from echoing_core.datasets.prepared import load_prepared
from echoing_core.datasets.preparing import prepare
from echoing_core.datasets.ptbxl import PtbXl
from echoing_core.errors import ConfigError, DataSetError, RecordError
from echoing_core.io import write_wfdb
from echoing_core.records import LEADS
from tests.data_trees import mimic
from tests.data_trees.mimic import MimicTree, write_mimic

pytest.importorskip("pydicom")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> MimicTree:
    return write_mimic(tmp_path_factory.mktemp("mimic"))


@pytest.fixture(scope="module")
def full(tree: MimicTree) -> Plan:
    return MimicEcg(hosp=tree.hosp, echo=tree.echo, note=tree.note).plan(tree.ecg)


def of(plan: Plan, column: str) -> dict[str, Any]:
    ids = plan.table["record_id"].str.removeprefix("mimic-iv-")
    return dict(zip(ids, plan.table[column], strict=True))


def test_counts_and_reasons(full: Plan) -> None:
    assert len(full.table) == 9
    assert [(one.record_id, one.reason) for one in full.left_out] == [
        ("mimic-iv-43000004", "listed twice"),
        ("mimic-iv-43000009", "no path in the data set"),
        ("mimic-iv-43000003", "file is not there"),
        ("mimic-iv-43000005", "no report, echo or LVEF"),
    ]
    assert full.card["n_listed"] == 11
    assert "not to be passed on" in full.card["licence"]


def test_reports_are_joined_cleaned_and_free_text_goes_first(full: Plan) -> None:
    report = of(full, "report")
    assert report["40689238"] == "Sinus rhythm. Normal ECG."
    assert report["44458630"] == "Sinus tachycardia."
    assert report["49036311"] == "Sinus rhythm. ACUTE MI."
    assert report["41000001"] == "Atrial fibrillation."  # the link is to somebody else's note
    assert report["42000001"] == (
        "Sinus rhythm with frequent ectopy. Compared to the previous tracing the QRS complex is "
        "wider."
    )
    assert of(full, "report_machine")["42000001"] == "Sinus rhythm."
    assert of(full, "report_source")["42000001"] == "note"
    quality = of(full, "quality")
    assert quality["42000001"] == "noisy"
    assert set(quality.values()) == {"noisy", "unknown"}


def test_stays_and_echocardiograms_of_the_same_stay(full: Plan) -> None:
    stay = of(full, "hadm_id")
    assert stay["40689238"] == "22595853"
    assert stay["44458630"] == "22841357"  # in two stays; this one began last
    assert stay["49036311"] == ""
    assert stay["43000004"] == ""  # a stay that ends before it begins holds nothing
    assert stay["44000001"] == "29000001"  # at the very minute of admission
    echo = of(full, "echo_study_id")
    assert {k: v for k, v in echo.items() if v} == {
        "40689238": "s90000001",
        "44458630": "s90000001",  # 48 h from both; the earlier
        "44000001": "s90000004",
    }
    hours = of(full, "echo_hours")
    assert hours["40689238"] == 6.0
    assert hours["44458630"] == -48.0
    assert np.isnan(hours["49036311"])
    assert full.card["n_echo_pairs"] == 3
    assert full.card["n_echo_studies"] == 2


def test_other_rules_give_other_pairs(tree: MimicTree) -> None:
    near = MimicEcg(echo=tree.echo, echo_same_admission=False, echo_window_days=2.0,
                    lvef_same_admission=False, lvef_window_days=90.0)  # fmt: skip
    plan = near.plan(tree.ecg)
    assert of(plan, "echo_study_id")["41000001"] == "s90000003"  # a day apart, in two stays
    assert of(plan, "lvef_pct")["49036311"] == 58.0
    assert set(of(plan, "hadm_id").values()) == {""}
    one = MimicEcg(hosp=tree.hosp, echo=tree.echo, echo_for="nearest-ecg").plan(tree.ecg)
    pairs = {k: v for k, v in of(one, "echo_study_id").items() if v}
    assert pairs == {
        "40689238": "s90000001", "44458630": "s90000002", "44000001": "s90000004"
    }  # fmt: skip
    assert of(one, "echo_hours")["44458630"] == 48.0


def test_ejection_fractions_measured_and_told(full: Plan, tree: MimicTree) -> None:
    lvef = of(full, "lvef_pct")
    assert lvef["40689238"] == 37.5  # 35 to 40; not the biplane value of the same study
    assert lvef["44458630"] == 37.5
    assert np.isnan(lvef["49036311"])
    assert np.isnan(lvef["44000001"])  # stress only, and 0.55 is no percentage
    label = of(full, "label_lvef_lt40")
    assert label["40689238"] == 1.0
    assert np.isnan(label["44000001"])
    measured = read_lvef(tree.echo)
    assert dict(zip(measured["id"], measured["lvef_pct"], strict=True)) == {
        "1001": 37.5, "1002": 58.0, "1004": 55.5
    }  # fmt: skip
    assert len(read_lvef(tree.echo, ("tte", "stress"))) == 4


def test_ejection_fraction_from_the_discharge_letter(full: Plan) -> None:
    pytest.importorskip("echoing_core.reports.echo_text.reading")
    assert of(full, "lvef_pct")["41000001"] == 30.0
    assert of(full, "lvef_source")["41000001"] == "discharge note"
    assert of(full, "label_lvef_lt40")["41000001"] == 1.0
    assert full.card["lvef_sources"] == {"measured": 2, "discharge note": 1}


def test_results_as_they_are_written() -> None:
    assert percent("55") == 55.0
    assert percent(" 55.0 %") == 55.0
    assert percent("50-55") == 52.5
    assert percent("50 to 55%") == 52.5
    assert percent("<40") < 40.0 < percent(">40")
    assert percent("<=40") == 40.0
    for none in ("", "Normal", "0.55", "550", "55 cm", "nan"):
        assert np.isnan(percent(none)), none


def test_machine_measures_have_units_and_29999_is_none(full: Plan) -> None:
    assert of(full, "heart_rate_bpm")["40689238"] == 75.0
    assert of(full, "pr_ms")["40689238"] == 130.0
    assert of(full, "qrs_ms")["40689238"] == 88.0
    assert of(full, "qt_ms")["40689238"] == 348.0
    assert of(full, "qrs_axis_deg")["40689238"] == 77.0
    assert np.isnan(of(full, "pr_ms")["41000001"])
    assert of(full, "age")["40689238"] == 52.0
    assert of(full, "age")["42000001"] == 76.0
    assert of(full, "sex")["41000001"] == "male"
    assert of(full, "sex")["44000001"] == ""


def test_version_0_1_has_pairs_but_no_measured_labels(tree: MimicTree) -> None:
    plan = MimicEcg(hosp=tree.hosp, echo=tree.echo_old).plan(tree.ecg)
    assert plan.card["n_echo_pairs"] == 3
    assert plan.table["label_lvef_lt40"].isna().all()


def test_ecgs_alone(tree: MimicTree) -> None:
    plan = MimicEcg().plan(tree.ecg)
    assert len(plan.table) == 9
    assert plan.card["licence"] == "Open Database License 1.0"
    assert (plan.table["report_source"] == "machine").all()


def test_a_sample_takes_whole_patients_and_grows(tree: MimicTree) -> None:
    small = set(MimicEcg(max_ecgs=2).plan(tree.ecg).table["patient_id"])
    large = set(MimicEcg(max_ecgs=5).plan(tree.ecg).table["patient_id"])
    assert small <= large
    whole = MimicEcg().plan(tree.ecg).table.groupby("patient_id").size()
    part = MimicEcg(max_ecgs=5).plan(tree.ecg).table.groupby("patient_id").size()
    assert (part == whole[part.index]).all()


@pytest.mark.parametrize("subject", ["10000032", "10000048", "10001725"])
def test_same_heart_in_mimic_and_ptb_xl(subject: str, tmp_path: Path) -> None:
    """Order, names and gain of the leads differ; what remains is the rounding of both files.

    MIMIC has 200 units a mV, so a sample is off by up to 2.5 microvolt, PTB-XL's by 0.5. The
    band-pass can add neighbours' errors up, but hardly does: 5 microvolt.
    """
    heart = mimic.heart_mv(subject, 0)
    mimic.write_record(tmp_path, subject, "1", heart)
    row = {"path": mimic.path_of(subject, "1"), "record_id": "mimic-iv-1"}
    one = MimicEcg().read(tmp_path, row)
    upper = [lead.upper() if lead.startswith("aV") else lead for lead in LEADS]
    write_wfdb(tmp_path, "00001_hr", heart, 500.0, upper, gain=1000.0)
    two = PtbXl(rate=500).read(tmp_path, {"path": "00001_hr", "record_id": "ptbxl-00001"})
    np.testing.assert_allclose(one.signal_mv, two.signal_mv, rtol=0, atol=0.005)
    assert one.lead_origin == two.lead_origin
    assert one.valid.all()
    assert two.valid.all()
    # The order matters: aVL and aVF are not alike.
    assert np.abs(one.signal_mv[4] - two.signal_mv[5]).max() > 0.05


def test_gaps_are_left_out_or_marked(tree: MimicTree) -> None:
    row = {"path": mimic.path_of("10001217", "43000001"), "record_id": "x"}
    with pytest.raises(RecordError, match="missing"):
        MimicEcg().read(tree.ecg, row)
    ecg = MimicEcg(max_gap_share=0.01).read(tree.ecg, row)
    assert not ecg.valid[6, 200:240].any()
    assert ecg.valid[7].all()
    assert np.isfinite(ecg.signal_mv).all()
    wrong = {"path": mimic.path_of("10001217", "43000002"), "record_id": "x"}
    with pytest.raises(RecordError):
        MimicEcg(max_gap_share=0.9).read(tree.ecg, wrong)


def test_prepared_folder(tree: MimicTree, tmp_path: Path) -> None:
    adapter = MimicEcg(hosp=tree.hosp, echo=tree.echo)
    report = prepare(adapter, tree.ecg, tmp_path / "out", n_workers=1)
    studies = load_prepared(tmp_path / "out")
    assert len(studies) == 7
    assert studies.signal_mv.shape == (7, 12, 1000)
    assert sum(report.reasons.values()) == 6
    assert str(tree.hosp.parent) not in (tmp_path / "out" / "card.json").read_text()
    by_id = studies.table.set_index("record_id")
    row = by_id.index.get_loc("mimic-iv-40689238")
    expected = adapter.read(tree.ecg, {"path": mimic.path_of("10000032", "40689238")})
    np.testing.assert_array_equal(studies.signal_mv[row], expected.signal_mv)
    again = prepare(adapter, tree.ecg, tmp_path / "again", n_workers=1)
    assert again.card["files"] == report.card["files"]


def test_refusals_say_what_is_missing(tree: MimicTree, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="record_list"):
        MimicEcg().plan(tmp_path)
    with pytest.raises(DataSetError, match="admissions"):
        MimicEcg(hosp=tmp_path).plan(tree.ecg)
    with pytest.raises(ConfigError, match="hosp"):
        MimicEcg(echo=tree.echo).plan(tree.ecg)
    with pytest.raises(ConfigError, match="window_days"):
        MimicEcg(echo_same_admission=False)
    with pytest.raises(DataSetError, match="structured-measurement"):
        read_lvef(tree.echo_old)
    copy = tmp_path / "ecg"
    shutil.copytree(tree.ecg, copy, ignore=shutil.ignore_patterns("files"))
    table = pd.read_csv(copy / "record_list.csv", dtype=str)
    table.drop(columns="ecg_time").to_csv(copy / "record_list.csv", index=False)
    with pytest.raises(DataSetError, match="ecg_time"):
        MimicEcg().plan(copy)
    table.to_csv(copy / "record_list.csv", index=False, encoding="utf-8-sig")
    assert not len(MimicEcg().plan(copy).table)  # a byte order mark does no harm; no files do
    packed = copy / "machine_measurements.csv.gz"
    packed.write_bytes(gzip.compress((copy / "machine_measurements.csv").read_bytes())[:200])
    (copy / "machine_measurements.csv").unlink()
    with pytest.raises(DataSetError, match="cannot be read"):
        MimicEcg().plan(copy)


def test_clips_where_they_are(tree: MimicTree, tmp_path: Path) -> None:
    studies = list(echo_studies(tree.echo))
    assert [study.study_id for study in studies] == ["s90000001", "s90000002", "s90000003"]
    assert [len(study.clips) for study in studies] == [3, 3, 2]
    assert [study.n_missing for study in studies] == [0, 0, 1]
    assert studies[0].folder.name == "s90000001"
    assert studies[0].patient_id == "mimic-iv-10000032"
    with pytest.raises(DataSetError, match="None of the 12 clips"):
        list(echo_studies(tree.echo_old))
