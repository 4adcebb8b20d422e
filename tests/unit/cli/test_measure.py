"""``echoing measure`` and ``echoing compare`` on recordings whose waves are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.io import read_recording
from echoing_core.services import convert
from tests.unit.measure.made import Heart, made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("two")
    rr, leads = (800.0,) * 6, ("I", "II", "V1", "V5", "V6")
    later = Heart(t_onset_ms=260.0, qt_ms=460.0)
    convert(made(rr_ms=rr, leads=leads), folder / "first.hea")
    convert(made(later, rr, leads=leads, seed=1), folder / "second.hea")
    return str(folder / "first.hea"), str(folder / "second.hea")


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_recording_is_measured_into_json_csv_and_a_table(
    files: tuple[str, str], tmp_path: Path
) -> None:
    csv, markdown = tmp_path / "m.csv", tmp_path / "m.md"
    values = json.loads(
        told("measure", files[0], "--json", "-", "--csv", str(csv), "--markdown", str(markdown))
    )
    assert values["values"]["qt_ms"]["value"] == pytest.approx(400.0, abs=18.0)
    assert values["values"]["qrs_axis_deg"]["value"] == pytest.approx(50.0, abs=3.0)
    assert "qtc_fridericia_ms" in csv.read_text(encoding="utf-8")
    assert "| QT interval |" in markdown.read_text(encoding="utf-8")


def test_two_recordings_are_compared(files: tuple[str, str]) -> None:
    values = json.loads(told("compare", *files, "--json", "-"))
    qt = values["differences"]["qt_ms"]
    assert qt["difference"] == pytest.approx(60.0, abs=8.0)
    assert qt["changed"] is True
    assert values["differences"]["pr_ms"]["changed"] is False
    assert values["likeness"]["V1"] > 0.8


def test_two_raw_tables_are_compared_as_a_person_says(
    files: tuple[str, str], tmp_path: Path
) -> None:
    """The same recording in millivolts, and in a table of microvolts that says nothing."""
    read = read_recording(Path(files[0]))
    table = tmp_path / "raw.csv"
    header = ",".join(f"channel {name}" for name in "abcde")
    np.savetxt(table, 1000.0 * read.signal_mv.T, "%.3f", ",", header=header, comments="")
    said = [f"--lead=channel {c}={n}" for c, n in zip("abcde", read.lead_names, strict=True)]
    said += ["--fs", f"{read.fs_hz:g}", "--unit", "uV"]
    one = json.loads(
        told("compare", files[0], str(table), "--said-of", "second", *said, "--json", "-")
    )
    both = json.loads(told("compare", str(table), str(table), *said, "--at", "1", "--json", "-"))
    for values in (one, both):
        assert values["differences"]["qt_ms"]["difference"] == pytest.approx(0.0, abs=0.5)
    later = json.loads(
        told("compare", files[0], files[0], "--second-at", "2", "--at", "0", "--json", "-")
    )
    assert later["differences"]["qt_ms"]["changed"] is False


def test_a_score_beside_another_is_called_no_probability() -> None:
    lines = told("compare", "SIM_NORMAL", "SIM_AF", "--questions").splitlines()
    (lvef,) = [line for line in lines if line.startswith("- LVEF < 40 %")]
    assert lvef.count("score") >= 2 and lvef.count("no probability") == 2
    assert "intervals apart" not in lvef
