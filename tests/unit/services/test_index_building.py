"""Indexes of one's own ECGs: of files and a table, and of a prepared set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.retrieve.index import GAP
from tests.ecg_files import ecg, wfdb
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.protocols.test_runs import study_set


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> services.Model:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return services.load_model(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four ECGs, one of them in a folder of its own, and a file that is none."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "ward").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "ward/d"):
        noisy = ecg(10.0) + rng.normal(0, 20, (12, 5000)).round().astype(np.int16)
        for file, content in wfdb(noisy, name=name.rpartition("/")[2]).items():
            (folder / name).parent.joinpath(file).write_bytes(content)
    (folder / "empty.edf").write_bytes(b"")
    return folder


def write(folder: Path, *rows: str) -> Path:
    path = folder / "reports.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


HEADER = "Recording,Report,patient,label_af"


def test_a_folder_and_a_table_become_an_index(
    model: services.Model, files: Path, tmp_path: Path
) -> None:
    table = write(
        tmp_path,
        HEADER,
        "a,atrial fibrillation,p1,1",
        "b.hea,sinus rhythm,p1,0",
        "ward/d,,p2,",
        "gone,normal ecg,p3,0",
    )
    built = services.build_folder_index(tmp_path / "index", model, files, table)
    assert (built.n, built.n_reports) == (4, 2)
    assert [name for name, _ in built.failures] == ["empty.edf"]
    assert "1 of 4 rows of reports.csv name no recording" in built.notes[0]
    assert "gone" in built.notes[0] and "c" in built.notes[1]
    index = services.load_index(tmp_path / "index", model)
    items = index.items.set_index(index.items["record_id"].str.partition(" at ")[0])
    assert items.loc["a", "report"] == "atrial fibrillation"
    assert list(items["patient_id"]) == ["p1", "p1", "c", "p2"]
    assert items.loc["a", "label_af"] == 1 and np.isnan(items.loc["ward/d", "label_af"])
    # What is found is the recording itself, and its own report is searched by.
    recording = services.read_recording(files / "b.hea")
    collection = services.folder_collection(tmp_path / "index", model)
    hit, *_ = services.search_collection(collection, model, recording, 4, target="ecg").hits
    assert hit.record_id.startswith("b") and hit.distance == pytest.approx(
        2 * float(services.explain(model, recording).track.uncertainty.min()), rel=1e-3
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((HEADER, "a,x,p,1", "a.dat,y,p,0"), r"names a\.dat twice, in rows 2 and 3"),
        ((HEADER, "d,x,p,1", "ward/d,y,p,0"), r"names ward/d twice"),
        ((HEADER, "x,1,p,1"), "None of the 1 rows of reports.csv names a recording"),
        ((HEADER, ",1,p,1"), "Row 2 of reports.csv names no recording"),
        (("who,report", "a,x"), "no column that names the recordings. Call it recording"),
        ((HEADER, "a,x,p,maybe"), "'maybe' in the column label_af"),
    ],
)
def test_tables_that_cannot_be_used_say_why(
    model: services.Model, files: Path, tmp_path: Path, rows: tuple[str, ...], words: str
) -> None:
    with pytest.raises(DataSetError, match=words):
        services.build_folder_index(tmp_path / "index", model, files, write(tmp_path, *rows))
    assert not (tmp_path / "index").exists()


def test_a_prepared_set_becomes_an_index_with_its_traces(
    model: services.Model, tmp_path: Path
) -> None:
    whole = study_set(6, "train").concat(study_set(4, "test"))
    whole.valid[0, 3] = False
    whole.table.loc[1, "report"] = ""
    save_prepared(tmp_path / "set", whole)
    result = CliRunner().invoke(
        app,
        ["index", "build", str(tmp_path / "index"), "--data", str(tmp_path / "set"), "--model",
         str(model.folder), "--name", "My cohort"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "10 ECGs, 9 with a report" in result.output
    index = services.load_index(tmp_path / "index", model)
    assert index.card["name"] == "My cohort" and index.card["n_simulated"] == 10
    assert index.traces is not None
    row = list(index.items["record_id"]).index("train0")
    assert (index.traces[row, 3] == GAP).all() and (index.traces[row, 2] != GAP).all()
    np.testing.assert_allclose(index.traces[row, 2] / 1000, whole.signal_mv[0, 2], atol=6e-4)
    # The report that is not there is found by no search for reports.
    (listed,) = services.indexes_at_hand(tmp_path / "index")
    assert (listed.n, listed.n_simulated, listed.title) == (10, 10, "My cohort")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "x", "--folder", "y"], "a prepared set with --data, files with --folder"),
        (["--data", "x", "--items", "5"], "--items and --seed are for simulated ECGs"),
        (["--reports", "x"], "--reports goes with --folder or --embedded"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["index", "build", str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and words in result.output
    result = CliRunner().invoke(app, ["index", "build", "--data", "x"])
    assert "Name the index folder to write" in result.output


def test_without_a_folder_the_index_of_the_model_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: services.Model
) -> None:
    monkeypatch.setattr(services, "indexes_folder", lambda: tmp_path)
    result = CliRunner().invoke(
        app, ["index", "build", "--items", "2", "--model", str(model.folder)]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "tiny" / "card.json").is_file()


def test_more_windows_than_there_are_kinds_of_is_refused(
    model: services.Model, files: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="6 windows of a recording are not possible"):
        services.build_folder_index(tmp_path / "index", model, files, windows=6)
