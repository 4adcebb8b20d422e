"""Rhythm over time, and the grading of windows by keyboard, in a real Chromium."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from echoing_core.io import read_recording, write_wfdb
from echoing_core.simulate.ecg.long import RhythmEpisode, simulate_long
from tests.browser.test_accessibility import findings, still
from tests.browser.test_journeys import WINDOW, upload, window_heading

pytestmark = pytest.mark.browser

HOLTER = Path(__file__).resolve().parents[2] / "assets" / "recordings" / "SIM_HOLTER.hea"


def test_fibrillation_is_found_in_hours_of_two_leads(app: Page, camera, tmp_path: Path) -> None:
    # An hour and a half, in fibrillation from 1:02 to 1:15.
    begin_s, stop_s = 3720.0, 4500.0
    made = simulate_long(
        30_777,
        5,
        duration_s=5400.0,
        fs_hz=100.0,
        leads="12",
        schedule=(
            RhythmEpisode(begin_s, (("rhythm", "af"), ("heart_rate_bpm", 105.0), ("hrv", 0.22))),
            RhythmEpisode(stop_s),
        ),
        noise=(),
    ).recording
    rows = [made.lead_names.index(lead) for lead in ("II", "V1")]
    upload(app, *write_wfdb(tmp_path, "hours", made.signal_mv[rows], made.fs_hz, ("II", "V1")))
    still(app)
    app.get_by_text("Rhythm over time").click()
    table = app.locator("[data-testid=stDataFrame]:visible").first
    expect(table).to_be_visible()
    still(app)
    table.scroll_into_view_if_needed()
    camera.take(app, "rhythm_hours")
    # The first row of it, by its box: there the window is that in which the episode begins.
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    app.mouse.click(box["x"] + 12, box["y"] + 52)
    still(app)
    at = WINDOW.match(window_heading(app))
    assert at is not None
    hours, minutes, seconds = (int(part) for part in at.group(1).split(":"))
    assert abs(3600 * hours + 60 * minutes + seconds - begin_s) < 90


def test_rhythm_is_told_and_ten_windows_are_graded_by_keyboard(
    app: Page, camera, tmp_path: Path
) -> None:
    # Three minutes of it, so that nobody waits for the rest.
    whole = read_recording(HOLTER)
    signal_mv = whole.signal_mv[:, : round(180 * whole.fs_hz)]
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
    for n in range(2, 11):
        app.keyboard.press("x")
        expect(panel).to_contain_text(f"{n} graded")
    assert findings(app) == []
    camera.take(app, "review")
    with app.expect_download() as waiting:
        panel.get_by_role("button", name="Review list as CSV").click()
    path = tmp_path / "review.csv"
    waiting.value.save_as(path)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    grades = sorted(row["grade"] for row in rows if row["grade"])
    assert grades == ["accepted", *["rejected"] * 9]
    accepted = next(row for row in rows if row["grade"] == "accepted")
    assert first is not None
    minutes, seconds = first.group(1).split(":")[-2:]
    assert float(accepted["start_s"]) == pytest.approx(60 * float(minutes) + float(seconds), abs=1)
