"""What a person sees of long work on the command line: lines in a log, and lengths of time."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from echoing_core.cli import output
from echoing_core.cli.output import (
    SECONDS_BETWEEN_LINES,
    bar,
    deliver_both,
    duration,
    stage_bars,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the module, in seconds: its one entry may be moved."""
    now = [1000.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_a_log_is_told_now_and_then_and_how_long_the_rest_takes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_bars() as progress:
        simulate = progress.stage("simulate")
        # 40 of 100 were done by a run before: they say nothing of the pace of this one.
        simulate(40, 100)
        for done in (41, 42, 50):
            clock[0] += SECONDS_BETWEEN_LINES / 2
            simulate(done, 100)
        clock[0] += 1
        simulate(51, 100)
    told = capsys.readouterr()
    assert told.out == ""
    # After 30 s 2 are done, so the other 58 take 870 s; the later calls come too soon for a line.
    assert told.err == "simulate: 42 of 100, 14 min left\n"


def test_each_stage_has_a_pace_of_its_own(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_bars() as progress:
        slow, quick = progress.stage("slow"), progress.stage("quick")
        slow(0, 2)
        clock[0] += 1000
        quick(0, 100)
        clock[0] += SECONDS_BETWEEN_LINES
        quick(50, 100)
    assert capsys.readouterr().err == "quick: 50 of 100, 30 s left\n"


def test_work_without_stages_takes_the_name_of_its_bar(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with bar("recordings") as progress:
        progress(0.5, 3)
        clock[0] += 60
        progress(1.0, 3)
    assert capsys.readouterr().err == "recordings: 1 of 3, 4 min left\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (29, "29 s"), (31, "1 min"), (3540, "59 min"), (7500, "2 h 5 min")],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert duration(seconds) == words


TABLE = """# Zero-shot

Simulated patients.

| Task | AUROC (95 %) |
|---|---|
| LVEF < 40 % | 0.826 (0.787 to 0.862) |
"""


def test_a_table_is_markdown_for_whatever_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    deliver_both({"a": 1}, TABLE, None, None)
    assert capsys.readouterr().out == TABLE


def test_a_table_is_drawn_for_whoever_looks_at_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    # Beside it a file has the same as Markdown, and - asks for Markdown here, too.
    deliver_both({"a": 1}, TABLE, None, str(tmp_path / "t.md"))
    # Without the letters that make a heading bold.
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "|" not in drawn and "---" not in drawn
    (row,) = [line for line in drawn.splitlines() if "LVEF" in line]
    assert "LVEF < 40 %" in row and "0.826 (0.787 to 0.862)" in row
    assert "Simulated patients." in drawn and max(map(len, drawn.splitlines())) <= 70
    assert (tmp_path / "t.md").read_text() == TABLE
    deliver_both({"a": 1}, TABLE, None, "-")
    assert capsys.readouterr().out == TABLE
    deliver_both({"a": 1}, TABLE, "-", None)
    assert capsys.readouterr().out == '{\n "a": 1\n}\n'
