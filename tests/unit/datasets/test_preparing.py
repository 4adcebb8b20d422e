"""The engine that prepares data sets: in shards, resumable after a kill, the same bytes always."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.adapter import NO_FILE, LeftOut, Plan
from echoing_core.datasets.plain import Plain
from echoing_core.datasets.prepared import load_prepared, read_card
from echoing_core.datasets.preparing import prepare
from echoing_core.datasets.registry import DATA_SETS, build_adapter, data_set_names, options_of
from echoing_core.errors import (
    ConfigError,
    DataSetError,
    MissingLeadError,
    SignalQualityError,
    UnreadableRecordError,
)
from echoing_core.io import write_wfdb
from echoing_core.progress import Progress
from echoing_core.records import LEADS, StandardEcg
from echoing_core.simulate import simulate_study, split_of

FILES = ("studies.parquet", "signal_mv.npy", "valid.npy", "card.json", "report.md", "left_out.csv")


@dataclass(frozen=True)
class Toy:
    """ECGs made of their row's number; some are refused."""

    n: int = 23

    @property
    def name(self) -> str:
        return "toy"

    def plan(self, root: Path) -> Plan:
        del root
        ids = [f"r{i:02d}" for i in range(self.n)]
        table = pd.DataFrame(
            {
                "source": "toy",
                "patient_id": [f"p{i // 2}" for i in range(self.n)],
                "study_id": ids,
                "record_id": ids,
                "split": [("test", "train", "valid")[i // 2 % 3] for i in range(self.n)],
                "report": "sinus rhythm",
                "simulated": False,
                "quality": "unknown",
                "label_af": [i % 5 == 0 for i in range(self.n)],
                "path": ids,
                "number": range(self.n),
            }
        )
        return Plan(table, (LeftOut("r99", "no report", "its cell is empty"),), {"version": "1"})

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        number = int(row["number"])
        if number == 3:
            raise MissingLeadError("it holds no lead")
        if number == 4:
            raise SignalQualityError("it is too short")
        if number in (5, 6):
            raise UnreadableRecordError("it is not there")
        valid = np.ones((12, 1000), dtype=np.bool_)
        valid[:, 900 + number :] = False
        return StandardEcg(
            np.where(valid, np.float32(number), np.float32(0)).astype(np.float32),
            valid,
            ("measured",) * 12,
            str(row["record_id"]),
            simulated=number == 7,
        )


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_rows_stand_by_split_with_their_signals_and_the_rest_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    report = prepare(
        Toy(), tmp_path, tmp_path / "out", n_workers=1, rows_per_shard=4,
        progress=Progress(lambda _, done, total: told.append((done, total))),
    )  # fmt: skip
    studies = load_prepared(tmp_path / "out")
    rows = studies.table
    assert len(studies) == 19 and report.n_planned == 23 and report.n_resumed == 0
    assert rows["split"].tolist() == sorted(rows["split"], key=["train", "valid", "test"].index)
    np.testing.assert_array_equal(studies.signal_mv[:, 0, 0], rows["number"].to_numpy())
    np.testing.assert_array_equal(studies.valid[:, 0].sum(axis=1), 900 + rows["number"].to_numpy())
    # A file that says it was simulated is believed against the table.
    assert rows.loc[rows["simulated"], "number"].tolist() == [7]
    assert told[0] == (0, 23) and told[-1] == (23, 23) and len(told) == 7
    card = read_card(tmp_path / "out")
    assert card["left_out"] == report.reasons
    assert report.reasons == {
        NO_FILE: 2, "no report": 1, "leads are missing": 1, "too short or not measured": 1,
    }  # fmt: skip
    assert (card["data_set"], card["options"], card["version"]) == ("toy", {"n": 23}, "1")
    with (tmp_path / "out" / "left_out.csv").open(encoding="utf-8") as file:
        listed = [(row["record_id"], row["detail"]) for row in csv.DictReader(file)]
    assert listed[0] == ("r99", "its cell is empty") and len(listed) == 5
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert text == report.markdown
    assert "19 ECGs of 11 patients taken, 5 left out." in text
    assert "holds simulated ECGs" in text and "| af | 19 | 4 |" in text
    assert not (tmp_path / "out-parts").exists()


@pytest.mark.slow
def test_neither_workers_nor_shards_nor_repetition_change_a_byte(tmp_path: Path) -> None:
    prepare(Toy(), tmp_path, tmp_path / "a", n_workers=1, rows_per_shard=256)
    prepare(Toy(), tmp_path, tmp_path / "b", n_workers=2, rows_per_shard=5)
    first = bytes_of(tmp_path / "a")
    assert bytes_of(tmp_path / "b") == first
    prepare(Toy(), tmp_path, tmp_path / "a", n_workers=1)
    assert bytes_of(tmp_path / "a") == first


def test_finished_shards_are_kept_and_damaged_ones_read_anew(tmp_path: Path) -> None:
    class StopsError(Exception):
        pass

    def stop(stage: str, done: float, total: int) -> None:
        if done >= 12:
            raise StopsError

    def run(**more: Any) -> Any:
        return prepare(Toy(), tmp_path, tmp_path / "out", n_workers=1, rows_per_shard=4, **more)

    with pytest.raises(StopsError):
        run(progress=Progress(stop))
    work = tmp_path / "out-parts"
    assert len(list(work.glob("part-*.npz"))) == 3
    assert not (tmp_path / "out").exists()
    (work / ".part-000003.npz.draft").write_bytes(b"half")
    shard = work / "part-000001.npz"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(DataSetError, match="damaged and was removed"):
        run()
    report = run()
    assert report.n_resumed == 23 - 4
    prepare(Toy(), tmp_path, tmp_path / "undisturbed", n_workers=1)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "undisturbed")


def test_unfinished_work_on_something_else_is_not_mixed_in(tmp_path: Path) -> None:
    def stop(stage: str, done: float, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare(Toy(), tmp_path, out, n_workers=1, rows_per_shard=4, progress=Progress(stop))
    with pytest.raises(ConfigError, match="--restart"):
        prepare(Toy(n=8), tmp_path, out, n_workers=1, rows_per_shard=4)
    assert prepare(Toy(n=8), tmp_path, out, n_workers=1, restart=True).card["n_studies"] == 4
    (tmp_path / "mine-parts").mkdir()
    (tmp_path / "mine-parts" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ConfigError, match="something else"):
        prepare(Toy(), tmp_path, tmp_path / "mine", restart=True)
    with pytest.raises(ConfigError, match="already holds"):
        prepare(Toy(), tmp_path, tmp_path / "mine-parts")
    with pytest.raises(DataSetError, match="no folder"):
        prepare(Toy(), tmp_path / "nowhere", out)


def test_two_runs_at_once_do_not_share_their_shards(tmp_path: Path) -> None:
    def meanwhile(stage: str, done: float, total: int) -> None:
        with pytest.raises(ConfigError, match="Another process"):
            prepare(Toy(), tmp_path, tmp_path / "out", n_workers=1)

    prepare(Toy(), tmp_path, tmp_path / "out", n_workers=1, progress=Progress(meanwhile))


def test_plans_that_cannot_become_a_set_are_refused_before_reading(tmp_path: Path) -> None:
    class Leaking(Toy):
        def plan(self, root: Path) -> Plan:
            plan = super().plan(root)
            return Plan(plan.table.assign(patient_id="p"), plan.left_out, plan.card)

    class Twice(Toy):
        def plan(self, root: Path) -> Plan:
            plan = super().plan(root)
            return Plan(plan.table.assign(record_id="r"), plan.left_out, plan.card)

    class Nothing(Toy):
        def plan(self, root: Path) -> Plan:
            return Plan(super().plan(root).table.iloc[3:6], (LeftOut("a", "no report"),) * 7)

    with pytest.raises(DataSetError, match="more than one split"):
        prepare(Leaking(), tmp_path, tmp_path / "out")
    with pytest.raises(DataSetError, match="twice"):
        prepare(Twice(), tmp_path, tmp_path / "out")
    with pytest.raises(DataSetError, match=r"None of the 10 records .* no report"):
        prepare(Nothing(), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# A kill in the middle


def write_many(root: Path, n: int) -> None:
    """So many records, of a few simulated hearts, and the CSV that names them."""
    root.mkdir()
    hearts = [np.asarray(simulate_study(3, i).clean_12)[:, ::5] for i in range(4)]
    for i in range(4):
        write_wfdb(root, f"heart{i}", hearts[i], 100.0, LEADS)
    lines = ["path,label_af"]
    for i in range(n):
        header = (root / f"heart{i % 4}.hea").read_text(encoding="ascii")
        (root / f"r{i:05d}.hea").write_text(
            header.replace(f"heart{i % 4}", f"r{i:05d}"), encoding="ascii"
        )
        if i % 50 != 49:  # every fiftieth has no data
            shutil.copyfile(root / f"heart{i % 4}.dat", root / f"r{i:05d}.dat")
        lines.append(f"r{i:05d},{i % 2}")
    (root / "studies.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


SCRIPT = """
import os, signal, sys
from echoing_core.datasets.plain import Plain
from echoing_core.datasets.preparing import prepare
from echoing_core.progress import Progress

def kill(stage, done, total):
    if done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    prepare(
        Plain(), sys.argv[1], sys.argv[2], n_workers=2, rows_per_shard=int(sys.argv[3]),
        progress=Progress(kill),
    )
"""
"""Kills itself (as ``kill -9`` does) once so many rows are read."""


def check_kill(tmp_path: Path, n: int, n_shards: int, rows: int) -> None:
    root, out = tmp_path / "records", tmp_path / "out"
    write_many(root, n)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT, encoding="utf-8")
    given = (str(root), str(out), str(rows), str(n_shards * rows))
    run = subprocess.run([sys.executable, str(script), *given], check=False, timeout=900)
    assert run.returncode == -signal.SIGKILL
    # The workers notice that they are alone and end; until then one may finish its part.
    time.sleep(1.0)
    n_done = len(list(out.with_name(out.name + "-parts").glob("part-*.npz")))
    assert n_shards <= n_done < -(-n // rows) and not out.exists()
    resumed = prepare(Plain(), root, out, n_workers=1, rows_per_shard=rows)
    assert n_shards * rows <= resumed.n_resumed < n
    prepare(Plain(), root, tmp_path / "undisturbed", n_workers=1)
    assert bytes_of(out) == bytes_of(tmp_path / "undisturbed")
    assert read_card(out)["n_studies"] == n - n // 50
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    check_kill(tmp_path, 150, n_shards=4, rows=5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_the_middle_of_5000_records(tmp_path: Path) -> None:
    check_kill(tmp_path, 5000, n_shards=8, rows=256)


# Names and options


def test_every_data_set_of_the_registry_can_be_made_and_told() -> None:
    for name in data_set_names():
        options = options_of(name)
        if all(option.default is not None for option in options):
            assert build_adapter(name).name
        assert all(option.help for option in options), name
        assert DATA_SETS[name].summary


def test_options_are_read_by_their_types() -> None:
    made: Any = build_adapter("cinc", {"subsets": "cpsc_2018, csn", "ptbxl-csv": "a/b.csv"})
    assert made.subsets == ("cpsc_2018", "csn") and made.ptbxl_csv == Path("a/b.csv")
    made = build_adapter("ptbxl", {"rate": "500", "folds": "9,10"})
    assert (made.rate, made.folds) == (500, (9, 10))
    assert build_adapter("cinc", {"ptbxl_csv": "none"}) == build_adapter("cinc")
    with pytest.raises(ConfigError, match="no option rates"):
        build_adapter("ptbxl", {"rates": "500"})
    with pytest.raises(ConfigError, match="one of 100, 500"):
        build_adapter("ptbxl", {"rate": "250"})
    with pytest.raises(ConfigError, match="a whole number"):
        build_adapter("ptbxl", {"seed": "a"})
    with pytest.raises(ConfigError, match="There is no data set nothing"):
        build_adapter("nothing")


def test_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["prepare", *arguments])

    listed = run("--list")
    assert listed.exit_code == 0
    assert all(name in listed.output for name in (*data_set_names(), "simulated", "--set rate="))
    write_many(tmp_path / "records", 6)
    places = (str(tmp_path / "records"), str(tmp_path / "out"))
    done = run("plain", *places, "--workers", "1", "--set", "source=ward")
    assert done.exit_code == 0, done.output
    assert "6 ECGs of 6 patients taken, 0 left out." in done.output
    rows = load_prepared(tmp_path / "out").table
    assert set(rows["source"]) == {"ward"}
    assert rows["split"].tolist() == [split_of(patient) for patient in rows["patient_id"]]
    for wrong, words in (
        (("--set", "source"), "is not key=value"),
        (("--set", "source=a", "--set", "source=b"), "given twice"),
        (("--set", "sauce=a"), "no option sauce"),
        (("--set", "table=nothing.csv"), "no nothing.csv"),
    ):
        refused = run("plain", *places, *wrong)
        assert refused.exit_code == 2 and words in refused.output
