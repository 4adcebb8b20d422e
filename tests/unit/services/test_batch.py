"""Many recordings: what belongs together, rows and failures, stopping, and the table."""

from __future__ import annotations

import csv
import gc
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.errors import ConfigError
from echoing_core.io import many as files_module
from echoing_core.progress import Progress
from echoing_core.services import BatchFailure, BatchJob, BatchRow, Model
from tests import broken_uploads as broken
from tests import ecg_files as made
from tests.tiny_model import write_tiny_model

Named = list[tuple[str, bytes]]
FIRST = "left bundle branch block"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_model(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return services.load_model(folder)


def sound(name: str = "rec", seconds: float = 12.0) -> dict[str, bytes]:
    return broken.sound_upload(name, seconds=seconds)


def named(*parts: dict[str, bytes], folder: str = "") -> Named:
    return [(f"{folder}{name}", data) for part in parts for name, data in part.items()]


def names_of(items: list[services.BatchItem]) -> list[str]:
    return [item.name for item in items]


def test_pairs_are_put_together_whatever_their_order() -> None:
    files = named(sound("b"), sound("a"), {"c.edf": made.edf(made.ecg())})
    items = services.group_files(files[::-1])
    assert names_of(items) == ["a", "b", "c.edf"]
    assert [len(item.files) for item in items] == [2, 2, 1]
    assert items[0].size == sum(len(data) for name, data in files if name.startswith("a."))


def test_a_header_takes_what_it_names_and_not_what_is_called_alike() -> None:
    header = broken.header("one", broken.TWELVE, 1200, data="signals.dat")
    data = sound("one")["one.dat"]
    extra = {"one.apn": b"\0\1\2\3", "one.edf": made.edf(made.ecg())}
    items = services.group_files(named({"one.hea": header, "signals.dat": data}, extra))
    assert names_of(items) == ["one", "one.edf"]
    assert {file.name for file in items[0].files} == {"one.hea", "signals.dat"}
    assert items[0].read().duration_s == 12.0


def test_folders_keep_records_of_one_name_apart() -> None:
    files = named(sound(), folder="ward/x/") + named(sound(), folder="ward/y/")
    assert names_of(services.group_files(files)) == ["ward/x/rec", "ward/y/rec"]
    twice = services.group_files(named(sound(), sound()))
    assert [bool(item.refusal) for item in twice].count(True) == 2
    assert "another name" in next(item.refusal for item in twice if item.refusal)


def test_a_record_of_segments_is_one(tmp_path: Path) -> None:
    parts = [sound("s1"), sound("s2")]
    master = b"whole/2 12 100 2400\ns1 1200\ns2 1200\n"
    items = services.group_files(named({"whole.hea": master}, *parts))
    assert names_of(items) == ["whole"] and len(items[0].files) == 5
    assert items[0].read().duration_s == 24.0


def test_an_archive_is_opened_only_when_its_turn_comes(model: Model) -> None:
    archive = made.zipped({**sound("a"), **sound("b"), "c.hea": b"nonsense"})
    (item,) = services.group_files([("lab.zip", archive)])
    assert item.is_archive and not item.members
    found = list(services.batch(model, [item], ()))
    assert [r.name for r in found] == ["lab.zip/a", "lab.zip/b", "lab.zip/c"]
    assert [type(r) for r in found] == [BatchRow, BatchRow, BatchFailure]
    # A row knows its archive and its names in it, not a second copy of the bytes.
    assert found[0].item.size == len(archive)
    assert found[0].item.read().duration_s == 12.0


@pytest.mark.slow
def test_every_broken_upload_is_a_failure_and_stops_nothing(model: Model) -> None:
    cases = broken.broken_uploads()
    items = []
    for number, case in enumerate(cases):
        items += services.group_files(named(case.files, folder=f"{number}/"))
        items += services.group_files(named(sound(), folder=f"{number}/good/"))
    assert len(cases) > 20
    found = list(services.batch(model, items, ()))
    good = [r for r in found if r.name.endswith("/good/rec")]
    assert len(good) == len(cases) and all(isinstance(r, BatchRow) for r in good)
    failures = [r for r in found if isinstance(r, BatchFailure)]
    assert len(failures) >= 0.8 * len(cases)
    assert all(f.reason.endswith((".", "?")) and "Traceback" not in f.reason for f in failures)
    assert not [f for f in failures if f.kind == "Unexpected"]


def test_what_is_said_holds_for_the_files_that_have_the_channel(model: Model) -> None:
    files = {**broken.sound_upload("a", names=("ECG1", "V5")), **broken.sound_upload("b")}
    items = services.group_files(named(files))
    unsaid, _ = services.batch(model, items, ())
    assert isinstance(unsaid, BatchRow) and unsaid.measured == ("V5",)
    said, twelve = services.batch(model, items, (), told=services.Told({"ECG1": "II"}))
    assert isinstance(said, BatchRow) and said.measured == ("II", "V5")
    assert isinstance(twelve, BatchRow) and len(twelve.measured) == 12


def test_a_row_says_what_the_single_services_say(model: Model) -> None:
    (item,) = services.group_files(named(sound(seconds=40.0)))
    (row,) = services.batch(model, [item], FIRST)
    assert isinstance(row, BatchRow)
    explanation = services.explain(model, item.read(), 1.0)
    track = explanation.track
    best = services.most_sure_window(track)
    assert row.n_windows == len(track) == 31
    assert row.best_start_s == track.start_s[best]
    assert row.best_percentile == pytest.approx(track.percentile[best], abs=0.2)
    assert row.median_percentile == pytest.approx(float(np.median(track.percentile)), abs=0.2)
    assert row.unsure_share == pytest.approx((track.percentile >= 90).mean(), abs=0.05)
    (answer,) = services.ask(model, explanation, FIRST)
    assert row.answers[0].probability == pytest.approx(answer.probability, abs=1e-5)
    assert row.answers[0].question == answer.question
    assert row.heart_rate_bpm == pytest.approx(60, abs=1)
    assert len(row.measured) == 12 and not row.missing


def test_an_error_nobody_expected_is_one_failure(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    items = services.group_files(named(sound("a"), sound("secret_name"), sound("z")))
    read = files_module.read_recording

    def fails(source: Named, **told: object) -> object:
        if source[0][0].startswith("secret"):
            raise RuntimeError("secret_name is bad")
        return read(source, **told)

    monkeypatch.setattr(files_module, "read_recording", fails)
    found = list(services.batch(model, items, ()))
    assert [isinstance(r, BatchFailure) for r in found] == [False, True, False]
    assert "secret" not in caplog.text and "RuntimeError" in caplog.text


def test_stopping_keeps_what_is_there(model: Model) -> None:
    items = services.group_files(named(*(sound(f"r{i}") for i in range(6))))
    found: list[object] = []
    for result in services.batch(model, items, (), stop=lambda: len(found) >= 2):
        found.append(result)
    assert len(found) == 2


def test_progress_counts_files(model: Model) -> None:
    seen: list[tuple[float, int]] = []
    items = services.group_files(named(sound("a"), sound("b")))
    list(services.batch(model, items, (), progress=Progress(lambda _, *step: seen.append(step))))
    assert seen[0] == (0, 2) and seen[-1] == (2, 2)
    assert [step[0] for step in seen] == sorted(step[0] for step in seen)
    # The share of a file under way never makes it a whole one.
    assert {int(step[0]) for step in seen} == {0, 1, 2} and any(0 < step[0] < 1 for step in seen)


class Gate:
    """A turn that a test opens and shuts."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self) -> Gate:
        return self

    def __enter__(self) -> None:
        self.open.wait(20)

    def __exit__(self, *args: object) -> None:
        return


def test_a_job_streams_and_can_be_cancelled(model: Model) -> None:
    gate = Gate()
    items = services.group_files(named(*(sound(f"r{i}") for i in range(4))))
    job = BatchJob(model, items, turn=gate)
    assert not job.finished and job.results == () and job.total == 4
    job.cancel()
    gate.open.set()
    job.wait(20)
    assert job.finished and job.stopped and job.done == 0
    assert job.held_bytes == sum(item.size for item in items)
    whole = BatchJob(model, items)
    whole.wait(60)
    assert whole.finished and not whole.stopped and len(whole.rows) == 4
    assert whole.done == 4 and whole.share == 1.0 and whole.left_s == 0.0


def test_the_thread_ends_with_whoever_holds_the_job(model: Model) -> None:
    gate = Gate()
    items = services.group_files(named(*(sound(f"r{i}") for i in range(50))))
    job = BatchJob(model, items, turn=gate)
    thread, work = job._thread, job._work
    del job
    gc.collect()
    gate.open.set()
    thread.join(20)
    assert not thread.is_alive() and len(work.results) <= 1


def test_the_table_has_every_recording(model: Model) -> None:
    files = named(sound("=HYPERLINK(1)"), sound("Doe_John"), {"Roe_Jane.edf": b"0"})
    found = list(services.batch(model, services.group_files(files), ["LVEF < 40 %", "LVEF > 40 %"]))
    rows = list(csv.DictReader(io.StringIO(services.batch_csv(model, found))))
    assert [r["status"] for r in rows] == ["read", "read", "failed"]
    assert rows[0]["recording"] == "'=HYPERLINK(1)"
    assert rows[2]["failure"] and rows[2]["duration_s"] == ""
    assert "lvef_under_40_probability" in rows[0] and "lvef_over_40_probability" in rows[0]
    assert 0 <= float(rows[0]["lvef_under_40_low"]) <= float(rows[0]["lvef_under_40_high"]) <= 1
    table = pd.read_parquet(io.BytesIO(services.batch_parquet(model, found)))
    assert len(table) == 3 and table["percentile_best"].notna().sum() == 2
    without = services.batch_csv(model, found, names=False)
    assert "Doe" not in without and "Roe" not in without and "recording 3" in without


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "ward"
    (root / "a").mkdir(parents=True)
    for name, data in sound("one").items():
        (root / "a" / name).write_bytes(data)
    (root / "two.edf").write_bytes(made.edf(made.ecg()))
    (root / "three.dat").write_bytes(b"\0" * 100)
    (root / "README.txt").write_text("a ward")
    (root / ".hidden.edf").write_bytes(b"0")
    (root / "linked.edf").symlink_to(root / "two.edf")
    yield root


def test_a_folder_on_the_command_line(ward: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    arguments = ["batch", str(ward), "--csv", str(out), "--prompt", FIRST, "--model", str(folder)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "2 read, 2 failed." in done.output
    assert "1 other file is no recording: README.txt." in done.output
    assert "failed: three.dat: three.dat came without its header" in done.output
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [r["recording"] for r in rows] == ["three.dat", "two.edf", "a/one", "linked.edf"]
    assert "links are not followed" in rows[3]["failure"]
    assert rows[1][f"{FIRST.replace(' ', '_')}_verdict"]


def test_a_folder_without_recordings_is_told(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds no recording"):
        services.folder_items(tmp_path)
    # A link that somebody names is followed, one that is found there is not.
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.edf").write_bytes(made.edf(made.ecg()))
    (tmp_path / "named").symlink_to(tmp_path / "real")
    (item,), _ = services.folder_items(tmp_path / "named")
    assert item.name == "x.edf" and not item.refusal
    items, _ = services.folder_items(tmp_path)
    assert [(one.name, bool(one.refusal)) for one in items] == [
        ("real/x.edf", False),
        ("named", True),
    ]
    done = CliRunner().invoke(app, ["batch", str(tmp_path / "none"), "--model", str(folder)])
    assert done.exit_code == 2 and "no folder" in done.output


def test_time_left_follows_the_size_of_files(model: Model) -> None:
    gate = Gate()
    job = BatchJob(model, services.group_files(named(sound("a"), sound("b"))), turn=gate)
    assert np.isnan(job.left_s)
    job._work.done = 1
    time.sleep(0.05)
    assert 0.02 < job.left_s < 20
    job.cancel()
    gate.open.set()
    job.wait(20)


def test_measurements_have_columns_where_they_are_asked_for(model: Model) -> None:
    items = services.group_files(named(sound("a"), {"page.xml": b"<html>no</html>"}))
    plain = list(services.batch(model, items, ()))
    measured = list(services.batch(model, items, (), measured=True))
    assert "qrs_ms" not in csv_rows(model, plain)[0]
    row, failed = csv_rows(model, measured)
    found = services.measurements(items[0].read())
    lacking = {
        n for part in row["not_measurable"].split("; ") for n in part.split(": ")[0].split(", ")
    }
    for name, words in services.BATCH_MEASURED:
        value = found.get(name).value
        assert row[name] == ("" if value is None else str(round(value, 1)))
        assert (words in lacking) == (value is None)
        assert failed[name] == ""


def csv_rows(model: Model, results: list[BatchRow | BatchFailure]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(services.batch_csv(model, results))))
