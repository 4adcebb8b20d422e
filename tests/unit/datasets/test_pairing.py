"""Which ECG belongs to which echocardiogram, splits by person, and people in several sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets import pairing
from echoing_core.datasets.pairing import (
    PairingRule,
    admission_of,
    check_no_leak,
    pair,
    patient_split,
    shared_between,
)
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import ConfigError, DataSetError


def events(*rows: tuple[str, str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["subject_id", "id", "time"])
    return table.assign(time=pd.to_datetime(table["time"], format="ISO8601"))


def stays(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["subject_id", "hadm_id", "start", "end"])
    return table.assign(start=pd.to_datetime(table["start"]), end=pd.to_datetime(table["end"]))


ADMISSIONS = stays(
    ("1", "20", "2100-01-01", "2100-01-10"),
    ("1", "21", "2100-01-08", "2100-01-20"),
    ("2", "30", "2100-01-01", "2100-01-10"),
)


def found(left: pd.DataFrame, right: pd.DataFrame, rule: PairingRule) -> dict[str, str]:
    made = pair(left, right, rule, ADMISSIONS)
    return dict(zip(made["left_id"], made["right_id"], strict=True))


def test_one_person_one_stay_nearest() -> None:
    ecg = events(("1", "a", "2100-01-02"), ("2", "b", "2100-01-02"), ("3", "c", "2100-01-02"))
    echo = events(
        ("1", "7", "2100-01-05"),
        ("1", "8", "2100-01-04"),
        ("1", "9", "2100-01-11"),  # in another stay
        ("2", "5", "2100-01-02 12:00"),
    )
    assert found(ecg, echo, PairingRule()) == {"a": "8", "b": "5"}
    made = pair(ecg, echo, PairingRule(), ADMISSIONS)
    assert made["hours"].tolist() == [48.0, 12.0]
    assert made["hadm_id"].tolist() == ["20", "30"]


def test_a_stay_must_hold_both_though_each_lies_in_some() -> None:
    ecg = events(("1", "a", "2100-01-02"), ("1", "b", "2100-01-09"))
    echo = events(("1", "7", "2100-01-12"))
    # b lies in both stays, a only in the first, the echo only in the second.
    assert found(ecg, echo, PairingRule()) == {"b": "7"}


def test_ties_go_to_the_earlier_then_to_the_smaller_number() -> None:
    ecg = events(("1", "a", "2100-01-05"))
    late, early = ("1", "3", "2100-01-06"), ("1", "10", "2100-01-04")
    for order in ((late, early), (early, late)):
        assert found(ecg, events(*order), PairingRule()) == {"a": "10"}
    same = [("1", name, "2100-01-06") for name in ("10", "9", "s1")]
    for turn in range(3):
        rows = same[turn:] + same[:turn]
        assert found(ecg, events(*rows), PairingRule()) == {"a": "9"}


def test_windows_end_where_they_say() -> None:
    ecg = events(("1", "a", "2100-01-05"))
    echo = events(("1", "7", "2100-01-07 00:00:01"), ("1", "8", "2100-03-01"))
    assert found(ecg, echo, PairingRule(window_days=2)) == {}
    assert found(ecg, echo, PairingRule(window_days=2.1)) == {"a": "7"}
    exact = events(("1", "7", "2100-01-07"))
    assert found(ecg, exact, PairingRule(window_days=2)) == {"a": "7"}
    anywhere = PairingRule(same_admission=False, window_days=100)
    assert found(events(("3", "a", "2100-01-05")), events(("3", "7", "2100-02-05")), anywhere) == {
        "a": "7"
    }


def test_events_without_a_time_have_no_partner() -> None:
    ecg = events(("1", "a", "2100-01-05"))
    none = ecg.assign(time=pd.NaT)
    assert found(none, ecg, PairingRule()) == {}
    assert found(ecg, none, PairingRule()) == {}
    assert admission_of(none, ADMISSIONS).tolist() == [""]
    assert list(pair(ecg, none, PairingRule(), ADMISSIONS).columns) == [
        "left_id", "right_id", "hours", "hadm_id"
    ]  # fmt: skip


def test_stay_of_an_event() -> None:
    table = events(
        ("1", "a", "2100-01-01"),  # the very beginning
        ("1", "b", "2100-01-09"),  # in two: the one that began last
        ("1", "c", "2100-01-20"),
        ("1", "d", "2100-01-20 00:00:01"),
        ("2", "e", "2099-12-31"),
    )
    assert admission_of(table, ADMISSIONS).tolist() == ["20", "21", "21", "", ""]


@pytest.mark.slow
def test_against_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "_EVENTS_AT_ONCE", 7)
    rng = np.random.default_rng(0)

    def drawn(n: int, name: str) -> pd.DataFrame:
        hours = rng.integers(0, 400, n)
        return events(
            *(
                (
                    str(rng.integers(5)),
                    f"{name}{i}",
                    f"{pd.Timestamp('2100-01-01') + pd.Timedelta(hours=int(h))}",
                )
                for i, h in enumerate(hours)
            )
        )

    ecg, echo = drawn(60, "e"), drawn(25, "x")
    admissions = stays(
        *(
            (str(p), f"{p}{k}", f"2100-01-{1 + 3 * k:02d}", f"2100-01-{5 + 3 * k:02d}")
            for p in range(5)
            for k in range(4)
        )
    )
    made = pair(ecg, echo, PairingRule(window_days=1.5), admissions)
    expected = {}
    for _, one in ecg.iterrows():
        best = []
        for _, two in echo.iterrows():
            hours = (two["time"] - one["time"]).total_seconds() / 3600
            held = any(
                stay["subject_id"] == one["subject_id"]
                and stay["start"] <= min(one["time"], two["time"])
                and max(one["time"], two["time"]) <= stay["end"]
                for _, stay in admissions.iterrows()
            )
            if one["subject_id"] == two["subject_id"] and held and abs(hours) <= 36:
                best.append((abs(hours), hours, two["id"]))
        if best:
            expected[one["id"]] = min(best)[2]
    assert dict(zip(made["left_id"], made["right_id"], strict=True)) == expected
    assert len(expected) > 20


def test_rules_that_cannot_be_meant() -> None:
    with pytest.raises(ConfigError, match="years"):
        PairingRule(same_admission=False)
    with pytest.raises(ConfigError, match="days"):
        PairingRule(window_days=-1)
    with pytest.raises(ConfigError, match="admissions"):
        pair(events(), events(), PairingRule())
    assert "7 days" in PairingRule(window_days=7).in_words()


def test_split_hangs_on_the_name_alone() -> None:
    names = [f"mimic-iv-{10_000_000 + i}" for i in range(4000)]
    splits = [patient_split(name) for name in names]
    assert splits == [patient_split(name) for name in names]
    share = {split: splits.count(split) / 4000 for split in ("train", "valid", "test")}
    assert share["train"] == pytest.approx(0.7, abs=0.03)
    assert share["valid"] == pytest.approx(0.1, abs=0.02)
    assert share["test"] == pytest.approx(0.2, abs=0.02)
    assert patient_split(names[0], (0.0, 0.0, 1.0)) == "test"
    with pytest.raises(ConfigError):
        patient_split(names[0], (0.5, 0.1, 0.1))


def studies(source: str, rows: list[tuple[str, str, str]], signal_mv: np.ndarray) -> StudySet:
    patients, records, splits = zip(*rows, strict=True)
    table = pd.DataFrame(
        {
            "source": source,
            "patient_id": patients,
            "study_id": records,
            "record_id": records,
            "split": splits,
            "report": "",
            "simulated": True,
            "quality": "clean",
        }
    )
    signal_mv = signal_mv.astype(np.float32)
    return StudySet(table, signal_mv, np.ones(signal_mv.shape, dtype=np.bool_))


def test_people_and_recordings_in_several_sets(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first = np.cumsum(rng.standard_normal((4, 12, 1000)), axis=2) * 0.01
    second = np.cumsum(rng.standard_normal((3, 12, 1000)), axis=2) * 0.01
    # One ECG under another name, as another file and filter give it.
    second[2] = first[3] * 1.01 + 0.002 * rng.standard_normal((12, 1000))
    a_rows = [("p1", "a1", "train"), ("p2", "a2", "train"), ("p3", "a3", "test"),
              ("p4", "a4", "test")]  # fmt: skip
    b_rows = [("p1", "b1", "train"), ("p3", "b2", "train"), ("q9", "b3", "train")]
    a, b = studies("ptbxl", a_rows, first), studies("cinc", b_rows, second)
    save_prepared(tmp_path / "a", a)
    save_prepared(tmp_path / "b", b)
    folders = [tmp_path / "a", tmp_path / "b"]
    shared = shared_between(folders)
    assert [(s.kind, s.first_id, s.second_id, s.leaks) for s in shared] == [
        ("patient", "p1", "p1", False),
        ("patient", "p3", "p3", True),
        ("signal", "a4", "b3", True),
    ]
    assert len(shared_between(folders, signals=False)) == 2
    with pytest.raises(DataSetError, match="2 patients or recordings"):
        check_no_leak(folders)
    save_prepared(tmp_path / "c", b.where(np.array([True, False, False])))
    assert len(check_no_leak([tmp_path / "a", tmp_path / "c"])) == 1
    for wrong in ([tmp_path / "a"], [tmp_path / "a", tmp_path / "a"]):
        with pytest.raises(ConfigError):
            shared_between(wrong)
