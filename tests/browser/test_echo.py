"""An echocardiogram beside the ECG of the same heart, read by the teacher that ships."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from echoing_core import services

pytestmark = pytest.mark.browser

SLOW_MS = 120_000


def go(app: Page, name: str) -> None:
    app.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()


def test_the_sample_pair_and_a_broken_clip(app: Page, camera) -> None:
    pair = next(sample for sample in services.samples() if sample.echo_paths)
    app.get_by_role("button", name=pair.title, exact=True).click()
    expect(app.get_by_role("heading", name=re.compile("^Window "))).to_be_visible(timeout=SLOW_MS)
    go(app, "Echo")
    chosen = app.locator(".st-key-echo_files_0 input[type=file]")
    broken = {"name": "cut.avi", "mimeType": "video/avi", "buffer": b"RIFF\0\0\0\0AVI "}
    chosen.set_input_files([broken])
    told = app.get_by_role("alert").filter(has_text="cut.avi is not an AVI video")
    expect(told).to_be_visible(timeout=SLOW_MS)
    # The real clips, as a person would bring them.
    chosen.set_input_files([str(path) for path in pair.echo_paths])
    expect(app.get_by_text("3 clips")).to_be_visible(timeout=SLOW_MS)
    expect(app.get_by_text("read by a stand-in trained on simulated echo")).to_be_visible()
    beside = app.get_by_role("region", name="Answers of the ECG beside readings of the echo")
    row = beside.get_by_role("row").filter(has_text="LVEF < 40 %")
    # One heart with an LVEF of 18 %: both see it.
    expect(row).to_contain_text("they agree")
    expect(app.locator("[data-testid=stImage] img")).to_have_count(3)
    expect(app.locator(".st-key-echo_frames .js-line").first).to_be_attached()
    camera.take(app, "echo")
