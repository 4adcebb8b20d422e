"""The how-to for one's own cohort, command by command as it is written, on a tiny cohort."""

from __future__ import annotations

import csv
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.simulate import write_cohort

N_ECGS = 24


def commands(repo_root: Path) -> list[list[str]]:
    """The lines of the how-to's block of commands."""
    text = (repo_root / "docs" / "own_cohort.md").read_text(encoding="utf-8")
    block = text.partition("## The commands")[2].partition("\n1. ")[0]
    lines = [line.strip() for line in block.splitlines() if line.startswith("    echoing ")]
    return [shlex.split(line)[1:] for line in lines]


def write_files(folder: Path) -> None:
    """Simulated ECGs as a clinic might have them: a flat folder, and a table in it."""
    source = folder.parent / "source"
    write_cohort(source, 22, 5)
    folder.mkdir()
    rows = []
    with (source / "studies.csv").open(encoding="utf-8") as file:
        studies = list(csv.DictReader(file))[:N_ECGS]
    for number, study in enumerate(studies):
        name = Path(study["path"]).name
        for part in (source / "records").glob(f"{name}.*"):
            part.rename(folder / part.name)
        # By number, so that every split has both answers, whoever was drawn.
        rows.append(
            {
                "recording": name,
                "patient": study["patient_id"],
                "report": study["report"],
                "label_lvh": number % 2,
                "split": {4: "valid", 5: "test"}.get(number // 4, "train"),
            }
        )
    seen: dict[str, str] = {}
    for row in rows:
        row["split"] = seen.setdefault(str(row["patient"]), str(row["split"]))
    with (folder / "reports.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
def test_the_five_commands_of_the_how_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_root: Path
) -> None:
    write_files(tmp_path / "ECGS")
    monkeypatch.chdir(tmp_path)
    lines = commands(repo_root)
    assert [line[0] for line in lines] == ["prepare", "index", "evaluate", "batch", "app"]
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: started.append(arguments))
    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setenv("ECHOING_MODEL", "")
    monkeypatch.setenv("ECHOING_INDEX", "")
    for line in lines:
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, (line, result.output)
    # The model answers with its head, by its name.
    model = services.load_model("cohort-model")
    assert [head.label for head in model.heads] == ["lvh"]
    index = services.load_index("cohort-index", model)
    assert len(index) == N_ECGS and index.card["n_simulated"] == N_ECGS
    with Path("answers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = [row for row in rows if row["status"] == "read"]
    assert len(read) == N_ECGS
    (column,) = [name for name in rows[0] if name.endswith("fine_tuned_head_question")]
    assert all("trained on" in row[column] for row in read)
    # What the app is told: the model and the index, by folders that do not move.
    assert started[0][:4] == [sys.executable, "-m", "streamlit", "run"]
    assert os.environ["ECHOING_MODEL"] == str(tmp_path / "runs" / "cohort-model")
    assert os.environ["ECHOING_INDEX"] == str(tmp_path / "runs" / "cohort-index")
    assert services.offered_models()[0] == "cohort-model"
    listed = CliRunner().invoke(app, ["indexes", "--json", "-"]).output
    (mine,) = [i for i in json.loads(listed)["indexes"] if i["name"] == "cohort-index"]
    assert {"demo", "cohort-model"} <= set(mine["fits"])
