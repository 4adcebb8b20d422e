"""CODE-15%, SaMi-Trop, SPH, LUDB and CinC 2017 as they are published, in small."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from echoing_core.datasets.adapter import NO_FILE
from echoing_core.datasets.cinc2017 import Cinc2017
from echoing_core.datasets.code15 import NO_ROW, Code15, SamiTrop
from echoing_core.datasets.ludb import Ludb
from echoing_core.datasets.registry import DATA_SETS, build_adapter
from echoing_core.datasets.sph import NO_STATEMENT, Sph
from echoing_core.errors import DataSetError, SignalQualityError, UnreadableRecordError
from echoing_core.io import write_wfdb
from echoing_core.records import LEADS, Recording
from echoing_core.signals import standardise
from echoing_core.simulate import SimulationConfig, simulate_study

h5py = pytest.importorskip("h5py", reason="h5py is not installed")


def heart_mv(number: int, seconds: float, fs_hz: int) -> npt.NDArray[np.float32]:
    """A simulated heart's 12 leads, at a rate of one's own."""
    clean = simulate_study(5, number, config=SimulationConfig(duration_s=12.0)).clean_12
    times = np.arange(round(seconds * fs_hz)) / fs_hz
    known = np.arange(clean.shape[1]) / 500.0
    return np.array([np.interp(times, known, row) for row in clean], dtype=np.float32)


def centred(ecg_mv: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(4096, 12) with zeros before and after, as CODE has it."""
    before = (4096 - ecg_mv.shape[1]) // 2
    return np.pad(ecg_mv, ((0, 0), (before, 4096 - ecg_mv.shape[1] - before))).T


TEN, SEVEN = heart_mv(1, 10.0, 400), heart_mv(2, 7.0, 400)
EXAMS = """exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,\
normal_ecg,trace_file
11,38,True,40.1,True,False,False,False,False,True,7,False,2.098628,False,exams_part0.hdf5
12,73,False,70.2,False,False,False,False,False,False,7,,,True,exams_part0.hdf5
13,50,True,51.0,False,False,False,False,False,False,8,True,0.5,False,exams_part0.hdf5
14,50,True,51.0,False,False,False,False,False,False,9,True,0.5,False,exams_part1.hdf5
15,50,True,51.0,False,False,False,False,False,False,9,True,0.5,False,../exams_part0.hdf5
16,50,True,51.0,False,False,False,False,False,False,9,True,0.5,False,exams_part0.hdf5
"""


@pytest.fixture
def code15(tmp_path: Path) -> Path:
    (tmp_path / "exams.csv").write_text(EXAMS)
    with h5py.File(tmp_path / "exams_part0.hdf5", "w") as file:
        # Another order than the table's, and the empty last row of the published parts.
        file["exam_id"] = np.array([12, 11, 13, 0])
        file["tracings"] = np.stack(
            [centred(SEVEN), centred(TEN), np.zeros((4096, 12)), np.zeros((4096, 12))]
        ).astype(np.float32)
    return tmp_path


def planned(adapter: Any, root: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    plan = adapter.plan(root)
    return plan.table.set_index("record_id", drop=False), {
        one.record_id: one.reason for one in plan.left_out
    }


def test_code15_labels_patients_and_what_is_left_out(code15: Path) -> None:
    table, left_out = planned(Code15(), code15)
    assert table.index.tolist() == ["code15-11", "code15-12", "code15-13"]
    assert left_out == {"code15-14": NO_FILE, "code15-15": NO_FILE, "code15-16": NO_ROW}
    first, second = table.loc["code15-11"], table.loc["code15-12"]
    assert (first["label_af"], first["label_av_block_1"], first["label_lbbb"]) == (1.0, 1.0, 0.0)
    assert first["report"] == "first degree av block. atrial fibrillation"
    assert second["report"] == "normal ecg" and second["label_normal_ecg"] == 1.0
    assert (first["sex"], second["sex"], first["age"]) == (0.0, 1.0, 38.0)
    assert np.isnan(second["died"]) and first["follow_up_years"] == pytest.approx(2.098628)
    # Two ECGs of one patient stand in one split.
    assert first["patient_id"] == second["patient_id"] and first["split"] == second["split"]


def test_code15_signals_are_millivolts_and_zeros_are_not_measured(code15: Path) -> None:
    table, _ = planned(Code15(), code15)
    ten = Code15().read(code15, table.loc["code15-11"].to_dict())
    wanted = standardise(Recording(TEN, 400.0, LEADS, "x"))
    np.testing.assert_allclose(ten.signal_mv, wanted.signal_mv, atol=1e-5)
    assert ten.valid.all()
    seven = Code15(mv_per_unit=0.1).read(code15, table.loc["code15-12"].to_dict())
    # 7 s and nothing else, apart from the guard of the filter at the end.
    assert seven.valid[:, :670].all() and not seven.valid[:, 700:].any()
    assert np.abs(seven.signal_mv).max() == pytest.approx(0.1 * np.abs(SEVEN).max(), rel=0.3)
    with pytest.raises(SignalQualityError, match="zeros alone"):
        Code15().read(code15, table.loc["code15-13"].to_dict())


def test_code15_that_is_not_what_it_should_be(code15: Path, tmp_path: Path) -> None:
    table, _ = planned(Code15(), code15)
    row = table.loc["code15-11"].to_dict()
    with pytest.raises(DataSetError, match=r"no exams\.csv"):
        Code15().plan(tmp_path / "elsewhere")
    with h5py.File(code15 / "exams_part0.hdf5", "w") as file:
        file["tracings"] = np.zeros((4, 100, 12), dtype=np.float32)
        file["exam_id"] = h5py.ExternalLink("other.hdf5", "exam_id")
    with pytest.raises(UnreadableRecordError, match="no longer the array"):
        Code15().read(code15, row)
    with pytest.raises(DataSetError, match="no array exam_id"):
        Code15().plan(code15)
    (code15 / "exams_part0.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    with pytest.raises(UnreadableRecordError, match="damaged"):
        Code15().plan(code15)
    (code15 / "exams_part0.hdf5").unlink()
    with pytest.raises(DataSetError, match="Unpack the"):
        Code15().plan(code15)


def test_samitrop_goes_by_the_order_of_its_table(tmp_path: Path) -> None:
    (tmp_path / "exams.csv").write_text(
        "exam_id,age,is_male,normal_ecg,death,timey,nn_predicted_age\n"
        "294669,60,True,False,False,2.0,61\n291209,71,False,True,True,1.1,70\n"
    )
    with h5py.File(tmp_path / "exams.hdf5", "w") as file:
        file["tracings"] = np.stack([centred(SEVEN), centred(TEN)])
    table, left_out = planned(SamiTrop(), tmp_path)
    assert table.index.tolist() == ["samitrop-294669", "samitrop-291209"] and not left_out
    assert table["label_normal_ecg"].tolist() == [0.0, 1.0] and table["died"].tolist() == [0.0, 1.0]
    assert "label_af" not in table
    assert SamiTrop().read(tmp_path, table.iloc[1].to_dict()).valid.all()
    assert not SamiTrop().read(tmp_path, table.iloc[0].to_dict()).valid.all()
    with h5py.File(tmp_path / "exams.hdf5", "w") as file:
        file["tracings"] = np.zeros((3, 4096, 12), dtype=np.float32)
    with pytest.raises(DataSetError, match="3 ECGs and"):
        SamiTrop().plan(tmp_path)


def test_sph_reads_statements_with_their_modifiers(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "code.csv").write_text(
        "Code,Description\n1,Normal ECG\n50,Atrial fibrillation\n106,Right bundle branch block\n"
        "308,Probable\n"
    )
    (tmp_path / "metadata.csv").write_text(
        "ECG_ID,AHA_Code,Patient_ID,Age,Sex,N,Date\nA00001,50;106+308,S1,55,M,6000,2020-03-04\n"
        "A00002,1,S2,32,F,5000,2019-09-03\nA00003,,S3,63,M,6500,2020-07-16\n"
        "A00004,1,S3,63,M,6500,2020-07-16\n"
    )
    signal = heart_mv(3, 12.0, 500)
    for name in ("A00001", "A00002"):
        with h5py.File(tmp_path / "records" / f"{name}.h5", "w") as file:
            file["ecg"] = signal.astype(np.float16)
    table, left_out = planned(Sph(), tmp_path)
    assert left_out == {"sph-A00003": NO_STATEMENT, "sph-A00004": NO_FILE}
    first, second = table.loc["sph-A00001"], table.loc["sph-A00002"]
    assert first["report"] == "atrial fibrillation. right bundle branch block, probable"
    assert (first["label_af"], first["label_rbbb"], first["label_normal_ecg"]) == (1.0, 1.0, 0.0)
    assert (second["label_normal_ecg"], second["sex"], second["age"]) == (1.0, 1.0, 32.0)
    ecg = Sph().read(tmp_path, first.to_dict())
    wanted = standardise(Recording(signal, 500.0, LEADS, "x")).signal_mv[:, :1000]
    np.testing.assert_allclose(ecg.signal_mv, wanted, atol=2e-3)
    with h5py.File(tmp_path / "records" / "A00001.h5", "w") as file:
        file["ecg"] = np.zeros((3, 5000))
    with pytest.raises(UnreadableRecordError, match="12 leads are published"):
        Sph().read(tmp_path, first.to_dict())


LUDB = """ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,\
Hypertrophies,Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states
1,"F
","51
",Sinus bradycardia,Electric axis of the heart: left axis deviation,,,"Left ventricular overload
Left ventricular hypertrophy",,,,
2,"M
",>89,Atrial fibrillation,Electric axis of the heart: normal,Incomplete left bundle branch block,\
"Ventricular extrasystole, type: single pvc",,Biventricular pacing,Scar formation: septal,,
3,M,60,Sinus rhythm,,,,,,,,
"""


def test_ludb_reads_its_table_of_lines_in_cells(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "ludb.csv").write_text(LUDB)
    signal = heart_mv(4, 10.0, 500)
    for name in ("1", "2"):
        write_wfdb(tmp_path / "data", name, signal, 500.0, [lead.lower() for lead in LEADS])
    table, left_out = planned(Ludb(), tmp_path)
    assert left_out == {"ludb-3": NO_FILE}
    first, second = table.loc["ludb-1"], table.loc["ludb-2"]
    assert first["report"] == (
        "sinus bradycardia. electric axis of the heart: left axis deviation. left ventricular "
        "overload. left ventricular hypertrophy"
    )
    said = {n.removeprefix("label_") for n in table if n.startswith("label_") and first[n] == 1.0}
    assert said == {"sinus_bradycardia", "lvh"}
    said = {n.removeprefix("label_") for n in table if n.startswith("label_") and second[n] == 1.0}
    assert said == {"af", "pvc", "paced"}
    assert (first["age"], second["age"], first["sex"], second["sex"]) == (51.0, 90.0, 1.0, 0.0)
    ecg = Ludb().read(tmp_path, first.to_dict())
    assert ecg.leads_with("measured") == LEADS


def test_real_ludb(shared_data: Path) -> None:
    root = shared_data / "ludb_delineation"
    if not root.is_dir():
        pytest.skip("no shared/data/ludb_delineation")
    table, left_out = planned(Ludb(), root)
    assert len(table) + len(left_out) == 200 and len(table) == len(list(root.glob("*.hea")))
    assert Ludb().read(root, table.iloc[0].to_dict()).valid.all()
    text = (root / f"{table.iloc[0]['path']}.hea").read_text()
    # The header says the same as the table.
    assert table.iloc[0]["report"].split(". ")[0] in text.lower()


def write_one_lead(root: Path, name: str, seconds: float) -> None:
    """A record as the challenge has it: a MATLAB 4 file behind a header, the channel called ECG."""
    digital = np.round(heart_mv(6, seconds, 300)[:1] * 1000).astype("<i2")
    (root / f"{name}.hea").write_text(
        f"{name} 1 300 {digital.shape[1]} 10:06:01 1/06/2000 \n"
        f"{name}.mat 16+24 1000/mV 16 0 {digital[0, 0]} 0 0 ECG \n"
    )
    head = struct.pack("<5i", 30, *digital.shape, 0, 4) + b"val\0"
    (root / f"{name}.mat").write_bytes(head + digital.tobytes(order="F"))


def test_cinc2017_is_lead_i_in_four_classes(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "A00"
    folder.mkdir(parents=True)
    (tmp_path / "training" / "REFERENCE.csv").write_text(
        "A00001,N\nA00002,A\nA00003,~\nA00004,X\nA00005,N\n"
    )
    for name in ("A00001", "A00002", "A00003", "A00004"):
        write_one_lead(folder, name, 9.0 if name == "A00001" else 12.0)
    table, left_out = planned(Cinc2017(), tmp_path)
    assert table["label_af"].tolist()[:2] == [0.0, 1.0]
    assert np.isnan(table.loc["cinc2017-A00003", "label_af"])
    assert table["label_noisy"].tolist() == [0.0, 0.0, 1.0]
    assert left_out == {"cinc2017-A00004": "no class of the challenge", "cinc2017-A00005": NO_FILE}
    ecg = Cinc2017().read(tmp_path, table.iloc[0].to_dict())
    assert ecg.leads_with("measured") == ("I",) and not ecg.valid[0, 900:].any()
    assert ecg.valid[0, :870].all()
    assert Cinc2017().read(tmp_path, table.iloc[1].to_dict()).valid[0].all()


def test_real_cinc2017(shared_data: Path) -> None:
    root = shared_data / "cinc2017_one_lead"
    if not root.is_dir():
        pytest.skip("no shared/data/cinc2017_one_lead")
    table, left_out = planned(Cinc2017(), root)
    assert len(table) == 725 and not left_out
    assert int(table["label_af"].sum()) == 199 and int(table["label_noisy"].sum()) == 148
    assert Cinc2017().read(root, table.iloc[0].to_dict()).leads_with("measured") == ("I",)


@pytest.mark.parametrize("name", ["code15", "samitrop", "sph", "ludb", "cinc2017"])
def test_each_is_in_the_registry_and_refuses_another_folder(name: str, tmp_path: Path) -> None:
    assert DATA_SETS[name].summary
    with pytest.raises(DataSetError, match="There is no"):
        build_adapter(name).plan(tmp_path)
