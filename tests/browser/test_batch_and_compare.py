"""Fifty files with five broken ones, two people at once, and what changed between two ECGs."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import broken_uploads as broken
import ecg_files as made
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_accessibility import findings
from tests.browser.test_journeys import upload
from tests.browser.test_measure_by_hand import ecg_files
from tests.unit.measure.made import Heart

pytestmark = pytest.mark.browser

SLOW_MS = 90_000


def go(app: Page, name: str) -> None:
    app.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()


def payload(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def records(names: Sequence[str]) -> list[dict[str, Any]]:
    files = [item for name in names for item in broken.sound_upload(name).items()]
    return [payload(name, data) for name, data in files]


def start_batch(app: Page, files: Sequence[dict[str, Any]]) -> None:
    go(app, "Batch")
    # Until then the only place for files is that of Explore.
    expect(app.get_by_text("All files of all recordings together")).to_be_visible()
    app.locator(".stMain input[type=file]").first.set_input_files(list(files))
    app.get_by_role("button", name=re.compile(r"^Look at \d+ recordings$")).click()


def test_fifty_files_with_five_broken(app: Page, camera, tmp_path: Path) -> None:
    names = [f"ward_{number:02d}" for number in range(45)]
    header_alone = payload("alone.hea", broken.sound_upload("alone")["alone.hea"])
    files = [
        *records(names),
        payload("empty.edf", b""),
        payload("page.xml", b"<html><body>not found</body></html>"),
        header_alone,
        payload("cut.edf", made.edf(made.ecg())[:700]),
        payload("strip.npy", made.npy(made.ecg())),
    ]
    start_batch(app, files)
    expect(app.get_by_text("45 read, 5 could not be read")).to_be_visible(timeout=SLOW_MS)
    failures = app.locator(".st-key-batch_failures").get_by_role("listitem")
    expect(failures).to_have_count(5)
    expect(failures.filter(has_text="alone.dat")).to_have_count(1)
    camera.take(app, "batch")
    with app.expect_download() as download:
        app.get_by_role("button", name="Download CSV").click()
    target = tmp_path / "batch.csv"
    download.value.save_as(target)
    with target.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows].count("read") == 45
    assert {row["recording"] for row in rows if row["status"] == "failed"} == {
        "alone", "cut.edf", "empty.edf", "page.xml", "strip.npy",
    }  # fmt: skip
    app.get_by_role("button", name="Open in Explore").click()
    expect(app.get_by_role("heading", name=re.compile(r"^Window 00:0"))).to_be_visible()
    go(app, "Batch")
    expect(app.get_by_text("45 read, 5 could not be read")).to_be_visible()


def test_two_people_at_once_see_their_own_rows(app: Page, browser_here: Browser) -> None:
    context = browser_here.new_context(viewport={"width": 1440, "height": 900})
    other = context.new_page()
    other.goto(app.url)
    expect(other.get_by_role("heading", name="Explore a recording")).to_be_visible()
    start_batch(app, records(["ann_1", "ann_2", "ann_3"]))
    start_batch(other, records(["bob_1", "bob_2"]))
    for page, mine, words in ((app, "ann", "3 read, 0"), (other, "bob", "2 read, 0")):
        expect(page.get_by_text(words)).to_be_visible(timeout=SLOW_MS)
        page.locator(".st-key-batch_row input").click()
        options = page.get_by_role("option")
        expect(options.first).to_be_visible()
        assert all(name.startswith(mine) for name in options.all_inner_texts())
        assert ("bob_1" if mine == "ann" else "ann_1") not in page.content()
    context.close()


def test_cancel_keeps_what_was_found(app: Page) -> None:
    start_batch(app, records([f"r{number:03d}" for number in range(120)]))
    expect(app.get_by_text(re.compile(r"[2-9]\d? of 120 files"))).to_be_visible(timeout=SLOW_MS)
    app.get_by_role("button", name="Cancel").click()
    stopped = app.get_by_text(re.compile(r"Stopped after \d+ of 120 files: [1-9]\d* read"))
    expect(stopped).to_be_visible(timeout=SLOW_MS)
    expect(app.get_by_role("button", name="Download CSV")).to_be_visible()


def test_two_ecgs_of_one_heart_and_what_changed(app: Page, camera, tmp_path: Path) -> None:
    upload(app, *ecg_files(tmp_path, "first", Heart()))
    go(app, "Compare")
    expect(app.get_by_text("The second recording (B)")).to_be_visible()
    later = Heart(t_onset_ms=260.0, qt_ms=460.0)
    second = ecg_files(tmp_path, "second", later, seed=1)
    app.locator(".stMain input[type=file][multiple]").first.set_input_files(
        [str(f) for f in second]
    )
    expect(app.get_by_text("Both on the same paper")).to_be_visible(timeout=SLOW_MS)
    papers = app.locator("[class*=st-key-ecg_compare_paper] section.paper")
    expect(papers).to_have_count(2)
    expect(app.get_by_role("region", name="Answers of the model")).to_contain_text("LVEF")
    # What is set on one paper goes for the other, so that both keep one scale.
    gains = papers.locator("select[data-setting=gain]")
    gains.nth(0).select_option("20")
    expect(gains.nth(1)).to_have_value("20")
    scales = papers.evaluate_all("all => all.map(p => p.dataset.pxPerMm)")
    assert scales[0] == scales[1]
    # Both are seen at once, and never a screen apart.
    boxes = [papers.nth(i).locator(".sheet-box").bounding_box() for i in (0, 1)]
    assert all(boxes) and abs(boxes[0]["y"] - boxes[1]["y"]) < 60  # type: ignore[index]
    # The beats lie over each other, and the table tells the 60 ms by which QT became longer.
    expect(app.locator(".beats img")).to_have_count(12)
    table = app.get_by_role("region", name=re.compile("^Measurements of A and B"))
    row = table.get_by_role("row", name=re.compile("^QT interval"))
    expect(row).to_contain_text("changed")
    told = re.search(r"\+(\d+) \(", row.inner_text())
    assert told is not None and abs(int(told[1]) - 60) <= 8
    expect(table.get_by_role("row", name=re.compile("^PR interval"))).not_to_contain_text("changed")
    assert findings(app) == []
    camera.take(app, "compare")
    app.set_viewport_size({"width": 390, "height": 844})
    app.wait_for_timeout(400)
    phone = [papers.nth(i).locator(".sheet-box").bounding_box() for i in (0, 1)]
    assert phone[0] is not None and phone[1] is not None
    assert phone[1]["y"] - (phone[0]["y"] + phone[0]["height"]) < 300
    app.set_viewport_size({"width": 1440, "height": 900})
    app.get_by_text("Over each other", exact=True).click()
    expect(papers).to_have_count(1)
    expect(papers.locator(".trace.under")).to_have_count(13)
    expect(app.get_by_text("Orange: B")).to_be_visible()
    camera.take(app, "compare_over")
