"""A 12-lead is measured, a mark is moved by keyboard and by mouse, and what is signed says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from echoing_core.io import write_wfdb
from tests.browser.test_accessibility import findings, still
from tests.browser.test_journeys import upload
from tests.browser.test_take_away import take_away
from tests.unit.measure.made import Heart, made

pytestmark = pytest.mark.browser


def ecg_files(folder: Path, name: str, heart: Heart, seed: int = 0) -> tuple[Path, ...]:
    """A heart whose intervals are known, as a file of ten seconds."""
    ecg = made(heart, (800.0,) * 12, seed=seed)
    return write_wfdb(
        folder, name, ecg.signal_mv, ecg.fs_hz, ecg.lead_names, gain=1000.0,
        comments=("simulated by EchoingECG",),
    )  # fmt: skip


def interval(line: Locator, name: str) -> int:
    """Milliseconds of PR, QRS or QT as the line over the paper says."""
    said = re.search(rf"{name} (\d+) ms", line.inner_text())
    assert said is not None, line.inner_text()
    return int(said[1])


def test_a_mark_is_moved_signed_and_comes_back(app: Page, camera, tmp_path: Path) -> None:
    files = ecg_files(tmp_path, "ecg", Heart())
    upload(app, *files)
    paper = app.locator(".st-key-ecg_paper section.paper")
    paper.get_by_role("checkbox", name="Waves").check()
    line = paper.get_by_role("group", name="Waves")
    expect(line).to_contain_text("QT ")
    assert paper.locator(".band").count() >= 30
    before = {name: interval(line, name) for name in ("PR", "QRS", "QT")}
    assert before["PR"] == pytest.approx(160, abs=18) and before["QT"] == pytest.approx(400, abs=18)
    # By keyboard: the end of T, 30 ms later.
    end = paper.get_by_role("slider", name="T end")
    end.focus()
    for _ in range(3):
        app.keyboard.press("Shift+ArrowRight")
    expect(line).to_contain_text(f"QT {before['QT'] + 30} ms")
    expect(line).to_contain_text("set by hand: T end")
    # The whole page knows it, and the focus is still where it was.
    expect(end).to_be_focused()
    # By mouse: the onset of P to the left, which undo takes back.
    ring = paper.locator("[data-mark=p_onset] .ring")
    ring.scroll_into_view_if_needed()
    box = ring.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    app.mouse.move(x, y)
    app.mouse.down()
    app.mouse.move(x - 6, y, steps=3)
    app.mouse.up()
    expect(line).to_contain_text("set by hand: P onset, T end")
    assert interval(line, "PR") > before["PR"] + 20
    assert findings(app) == []
    camera.take(app, "waves")
    line.get_by_role("button", name="Undo").click()
    expect(line).not_to_contain_text("P onset")
    assert interval(line, "PR") == before["PR"] and interval(line, "QT") == before["QT"] + 30
    # A caliper, for the session file.
    paper.get_by_role("button", name="Add", exact=True).click()
    expect(paper.locator(".readings li")).to_have_count(1)

    app.get_by_text("Measurements: PR, QRS, QT").click()
    row = app.get_by_role("region", name="Measurements of this recording").get_by_role(
        "row", name=re.compile("^QT interval")
    )
    expect(row).to_contain_text(f"{before['QT'] + 30} ms")
    expect(row).to_contain_text(f"T end set by hand, measured: {before['QT']} ms")
    camera.take(app, "measured_by_hand")
    take_away(app, "Report")
    report = tmp_path / "report.html"
    # A run of the page gives the buttons new files.
    still(app)
    with app.expect_download() as waiting:
        app.get_by_role("button", name="Report as HTML").click()
    waiting.value.save_as(report)
    front = report.read_text(encoding="utf-8").split("<h1>Appendix</h1>")[0]
    assert "QT, by hand" in front and "PR, by hand" not in front and "Read by" in front
    take_away(app, "Session and link")
    session = tmp_path / "session.json"
    still(app)
    with app.expect_download() as waiting:
        app.get_by_role("button", name="Save session").click()
    waiting.value.save_as(session)

    app.reload()
    app.get_by_text("Go on with a saved session").click()
    app.locator("input[type=file]:not([multiple])").last.set_input_files(str(session))
    expect(app.get_by_text("Open the recording of this session")).to_be_visible()
    upload(app, *files)
    expect(line).to_contain_text("set by hand: T end")
    assert interval(line, "QT") == before["QT"] + 30
    expect(paper.locator(".readings li")).to_have_count(1)
    line.get_by_role("button", name="As measured").click()
    expect(line).not_to_contain_text("set by hand")
    assert interval(line, "QT") == before["QT"]
