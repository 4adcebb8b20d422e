"""Rhythm over time, and the grading of windows by keyboard, in a real Chromium."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from echoing_core.io import read_recording, write_wfdb
from tests.browser.test_accessibility import findings
from tests.browser.test_journeys import WINDOW, upload, window_heading

pytestmark = pytest.mark.browser

HOLTER = Path(__file__).resolve().parents[2] / "assets" / "recordings" / "SIM_HOLTER.hea"


def test_an_episode_is_found_and_windows_are_graded_by_keyboard(
    app: Page, camera, tmp_path: Path
) -> None:
    # Two minutes of it, so that nobody waits for the rest.
    whole = read_recording(HOLTER)
    signal_mv = whole.signal_mv[:, : round(120 * whole.fs_hz)]
    upload(app, *write_wfdb(tmp_path, "cut", signal_mv, whole.fs_hz, whole.lead_names))
    app.get_by_text("Rhythm over time").click()
    table = app.get_by_role("region", name=re.compile("Measures of the rhythm"))
    expect(table).to_contain_text("Without unsure windows")
    expect(table.get_by_role("row", name=re.compile("^SDANN"))).to_contain_text("not measurable")
    assert findings(app) == []
    camera.take(app, "rhythm")
    app.get_by_text("Rhythm over time").click()

    app.get_by_text("Review windows").click()
    panel = app.locator(".st-key-review_panel")
    expect(panel).to_contain_text("0 graded")
    before = window_heading(app)
    app.keyboard.press("n")
    expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
    first = WINDOW.match(window_heading(app))
    app.keyboard.press("y")
    expect(panel).to_contain_text("1 graded")
    app.keyboard.press("x")
    expect(panel).to_contain_text("2 graded")
    assert findings(app) == []
    camera.take(app, "review")
    with app.expect_download() as waiting:
        panel.get_by_role("button", name="Review list as CSV").click()
    path = tmp_path / "review.csv"
    waiting.value.save_as(path)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["grade"] for row in rows if row["grade"]) == ["accepted", "rejected"]
    accepted = next(row for row in rows if row["grade"] == "accepted")
    assert first is not None
    minutes, seconds = first.group(1).split(":")[-2:]
    assert float(accepted["start_s"]) == pytest.approx(60 * float(minutes) + float(seconds), abs=1)
