"""Graded recordings: what the table may say, what the figures are, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty.annotations import find_records, read_bad_leads, read_grades
from echoing_core.evaluate.uncertainty.quality import notes_study, quality_of_recordings
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.records import LEADS
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.uncertainty.made_up_ecgs import ptbxl_like

FS_HZ = 250.0


def write_table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four regular ECGs, two that are noise, one that is flat; a table of grades; a model."""
    folder = tmp_path_factory.mktemp("graded")
    write_tiny_model(folder / "model")
    (folder / "ecgs" / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    t = np.arange(0, 20, 1 / FS_HZ)
    beat = np.exp(-((((t * 1.2) % 1.0 - 0.3) / 0.02) ** 2))
    good = np.linspace(0.4, 1.5, 12)[:, None] * beat
    for i in range(4):
        noise = rng.normal(0, 0.002, good.shape)
        write_wfdb(folder / "ecgs", f"0{i}", good + noise, FS_HZ, LEADS)
    for i in range(2):
        noise = rng.normal(0, 1.0, good.shape)
        write_wfdb(folder / "ecgs" / "more", f"noise{i}", noise, FS_HZ, LEADS)
    write_wfdb(folder / "ecgs" / "more", "flat", np.zeros_like(good), FS_HZ, LEADS)
    write_wfdb(folder / "ecgs", "short", good[:, :500], FS_HZ, LEADS)
    write_table(
        folder / "grades.csv",
        "record,quality",
        "00,acceptable",
        "01,acceptable",
        "02,acceptable",
        "03,acceptable",
        "noise0,unacceptable",
        "noise1,unacceptable",
        "flat,unacceptable",
    )
    return folder


@pytest.fixture(scope="module")
def checkpoint(graded: Path) -> Checkpoint:
    return load_checkpoint(graded / "model")


@pytest.mark.parametrize(
    "words", [("acceptable", "unacceptable"), ("good", "Bad"), ("CLEAN", "noisy"), (" 0", "1 ")]
)
def test_grades_in_all_their_words(tmp_path: Path, words: tuple[str, str]) -> None:
    # Further columns and a spreadsheet's byte-order mark do no harm; names keep their zeros.
    table = write_table(
        tmp_path / "g.csv", "\ufeffn,record,quality", f"7,007,{words[0]}", "", f"8,x,{words[1]}"
    )
    assert read_grades(table) == {"007": False, "x": True}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["record,grade", "a,0"], "lacks the column quality; it has record, grade"),
        (["record,quality", "a,0", "b,awful"], "grades record 'b' as 'awful'"),
        (["record,quality", "a,0", "b,0"], "All 2 records of g.csv are graded good"),
        (["record,quality", "a,1"], "All 1 records of g.csv are graded bad"),
        (["record,quality", "a,0", "a,1"], "names record 'a' twice"),
        (["record,quality", "a,0", "b"], "Line 3 of g.csv has 1 cells, and the header 2"),
        (["record,quality"], "no line below it"),
        ([""], "lacks the columns record, quality; it has none"),
        (["record,quality", '"a,0'], "cannot be read as a CSV file"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(DataSetError) as error:
        read_grades(write_table(tmp_path / "g.csv", *lines))
    assert says in str(error.value)
    assert str(error.value).endswith(".")


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_bytes(b"record,quality\n\xff\xfe,1\n")
    with pytest.raises(DataSetError, match="not UTF-8"):
        read_grades(tmp_path / "g.csv")


def test_bad_leads_in_the_order_of_the_leads(tmp_path: Path) -> None:
    header = ",".join(["record", "group", *(f"bad_{lead}" for lead in reversed(LEADS))])
    table = write_table(tmp_path / "l.csv", header, "a,I,1" + ",0" * 11)
    assert read_bad_leads(table)["a"].tolist() == [False] * 11 + [True]
    with pytest.raises(DataSetError, match="holds '2' as bad_V6"):
        read_bad_leads(write_table(tmp_path / "l.csv", header, "a,I,2" + ",0" * 11))


def test_records_are_found_at_any_depth_and_only_once(graded: Path, tmp_path: Path) -> None:
    headers = find_records(graded / "ecgs", ["flat", "00"])
    assert list(headers) == ["flat", "00"]
    assert headers["flat"] == graded / "ecgs" / "more" / "flat.hea"
    with pytest.raises(DataSetError, match=r"1 of 2 graded records have no header .* nobody"):
        find_records(graded / "ecgs", ["00", "nobody"])
    with pytest.raises(DataSetError, match="There is no folder nowhere"):
        find_records(graded / "nowhere", ["00"])
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "same.hea").touch()
    with pytest.raises(DataSetError, match="2 records named same"):
        find_records(tmp_path, ["same"])


def test_figures_of_a_folder(graded: Path, checkpoint: Checkpoint) -> None:
    study = quality_of_recordings(
        checkpoint, graded / "ecgs", graded / "grades.csv", n_resamples=50
    )
    told = study.to_dict()
    assert told["n"] == told["sigma2"]["n"] == 7
    assert told["n_bad"] == 3
    assert told["auroc"] == told["sigma2"]["auroc"]
    assert told["auroc_ci"] == told["sigma2"]["auroc_ci"]
    assert told["auroc_ci"][0] <= told["auroc"] <= told["auroc_ci"][1]
    # Noise in every lead, and a flat recording that counts as the worst.
    assert told["plain_index"]["auroc"] == told["plain_index"]["average_precision"] == 1.0
    assert told["auroc_difference"]["value"] == pytest.approx(told["auroc"] - 1.0)
    assert told["refused"] == {"n": 1, "n_bad": 1}
    assert told["parts"]["no_flat_lead"]["plain_index"]["n"] == 6
    assert (told["model"], told["model_hash"]) == ("model", checkpoint.hash)
    assert "| bad recordings | AUROC | " in study.to_markdown()


def test_a_refused_recording_ranks_above_all_others(graded: Path, checkpoint: Checkpoint) -> None:
    table = write_table(
        graded / "flat.csv", "record,quality", *(f"0{i},0" for i in range(4)), "noise0,0", "flat,1"
    )
    told = quality_of_recordings(checkpoint, graded / "ecgs", table, n_resamples=20).to_dict()
    for score in ("sigma2", "plain_index", "random_weights"):
        assert told[score]["auroc"] == 1.0
    # Without flat leads one grade is left, and a figure that is not defined is null.
    assert told["parts"]["no_flat_lead"]["sigma2"]["auroc"] is None
    json.dumps(told, allow_nan=False)


def test_a_recording_that_cannot_be_used_is_named(graded: Path, checkpoint: Checkpoint) -> None:
    table = write_table(graded / "short.csv", "record,quality", "00,good", "short,bad")
    with pytest.raises(DataSetError, match=r"record short cannot be used: .* 2\.00 s long"):
        quality_of_recordings(checkpoint, graded / "ecgs", table)


def test_notes_count_only_where_they_are_known(checkpoint: Checkpoint) -> None:
    study = notes_study(checkpoint, ptbxl_like(16), n_resamples=20)
    assert study.counts == {"ECGs": 12, "left out, notes unknown": 4}
    # " , " is no note, and a kind of note that nobody made gives no figure.
    assert {r.task for r in study.results} == {"any note (4)", "static noise (4)"}
    assert study.results[0].estimate.n_items == 12


def test_the_command_writes_json_and_markdown(graded: Path, tmp_path: Path) -> None:
    given = ["--recordings", graded / "ecgs", "--labels", graded / "grades.csv"]
    out = ["--json", tmp_path / "out.json", "--markdown", "-", "--resamples", "20"]
    arguments = ["evaluate", "uncertainty", *given, *out, "--model", graded / "model"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    told = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {"auroc", "auroc_ci", "n", "sigma2", "plain_index", "random_weights"} <= set(told)
    assert {"disclaimer", "refused", "parts", "model", "model_hash"} <= set(told)
    assert done.stdout.startswith("## Graded recordings")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--recordings", "{place}/ecgs"],
        ["--labels", "{place}/grades.csv"],
        ["--recordings", "{place}/nowhere", "--labels", "{place}/grades.csv"],
        ["--recordings", "{place}/ecgs", "--labels", "{place}/nothing.csv"],
        ["--recordings", "{place}/ecgs", "--labels", "{place}"],
        ["--recordings", "{place}/ecgs", "--labels", "{place}/grades.csv", "--json", "no/such/x"],
    ],
    ids=" ".join,
)
def test_what_a_user_gets_wrong_ends_in_a_sentence(graded: Path, arguments: list[str]) -> None:
    given = [argument.format(place=graded) for argument in arguments]
    model = ["--model", str(graded / "model")]
    done = CliRunner().invoke(app, ["evaluate", "uncertainty", *given, *model])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.strip().endswith(".")
