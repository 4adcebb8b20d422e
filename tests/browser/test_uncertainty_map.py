"""The uncertainty map in Chromium: click, drag, keys, zoom; a Holter from overview to window."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest
from holter import write_holter, write_holter_edf
from playwright.sync_api import Locator, Page, expect

from echoing_core import services

pytestmark = pytest.mark.browser

logger = logging.getLogger(__name__)

WINDOW = re.compile(r"^Window (\S+) to (\S+)$")
LEFT, RIGHT = 48, 12


def detail_of(app: Page) -> Locator:
    return app.locator(".st-key-overview .detail[data-start]")


def open_sample(app: Page) -> Locator:
    app.get_by_role("button", name=services.samples()[0].title).click()
    expect(app.get_by_role("heading", name=WINDOW)).to_be_visible()
    expect(detail_of(app)).to_be_visible()
    return detail_of(app)


def seconds(clock: str) -> int:
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return total


def chosen_s(app: Page) -> int:
    return seconds(app.get_by_role("heading", name=WINDOW).inner_text().split()[1])


def point(canvas: Locator, share: float, height: float) -> tuple[float, float]:
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + LEFT + share * (box["width"] - LEFT - RIGHT), box["y"] + height


def test_a_click_on_trace_strip_or_lead_chooses_and_a_drag_is_a_span(app: Page, camera) -> None:
    detail = open_sample(app)
    canvas = app.locator(".st-key-overview canvas.picture")
    for share, height in ((0.5, 210), (0.25, 90), (0.75, 300)):
        before = app.get_by_role("heading", name=WINDOW).inner_text()
        app.mouse.click(*point(canvas, share, height))
        expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
        assert abs(chosen_s(app) + 5 - share * 1196.0) < 6
    app.mouse.move(*point(canvas, 0.3, 60))
    app.mouse.down()
    app.mouse.move(*point(canvas, 0.45, 70), steps=4)
    app.mouse.up()
    expect(app.get_by_text(re.compile(r"^Span \d"))).to_be_visible()
    begin, end = (float(s) for s in (detail.get_attribute("data-span") or "").split(","))
    assert begin == pytest.approx(0.3 * 1196, abs=8) and end == pytest.approx(0.45 * 1196, abs=8)
    expect(app.locator(".st-key-span_summary")).to_contain_text("% of the time at 90 or above")
    camera.take(app, "map_span")


def test_the_map_by_keyboard_alone(app: Page) -> None:
    detail = open_sample(app)
    detail.focus()

    def press(key: str) -> int:
        before = app.get_by_role("heading", name=WINDOW).inner_text()
        detail.press(key)
        expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
        return chosen_s(app)

    assert press("Home") == 0
    assert press("ArrowRight") == 1
    assert press("PageDown") == pytest.approx(121, abs=2)
    assert press("End") == 1186
    unsure = press("p")
    expect(detail).to_have_attribute("aria-valuetext", re.compile(r"percentile (9\d|100)$"))
    assert unsure < 1186
    detail.press("+")
    expect(detail).to_have_attribute("data-view", re.compile(r"^(?!0\.00,1196\.00)"))
    detail.press("Shift+ArrowRight")
    expect(app.get_by_text(re.compile(r"^Span \d"))).to_be_visible()
    detail.press("Escape")
    expect(app.get_by_text(re.compile(r"^Span \d"))).to_have_count(0)
    # What is said of the picture names its numbers.
    label = app.locator(".st-key-overview canvas.picture").get_attribute("aria-label") or ""
    assert re.search(r"percentile \d+, \d+ % of the time at 90 or above, in \d+ stretch", label)


def test_hidden_windows_are_grey(app: Page, camera) -> None:
    open_sample(app)
    app.get_by_role("button", name="Hide", exact=False).filter(has_text="Hide").first.click()
    app.get_by_role("slider", name="Hide what is above percentile").focus()
    for _ in range(3):
        app.keyboard.press("PageDown")
    expect(app.get_by_text(re.compile(r"^Hidden: \d+ of 1,187 windows"))).to_be_visible()
    camera.take(app, "map_hidden")


def test_a_holter_from_overview_to_window_while_the_rest_is_looked_at(
    app: Page, camera, tmp_path: Path
) -> None:
    # Two hours and a bit behave as a day does, and take a twelfth of the time.
    files, _ = write_holter(tmp_path, duration_s=7500.0)
    app.locator("input[type=file][multiple]").first.set_input_files([str(f) for f in files])
    detail = detail_of(app)
    expect(detail).to_be_visible(timeout=120_000)
    rows = app.locator(".st-key-overview canvas.whole")
    app.mouse.click(*point(rows, 0.5, 15))
    # A click on the second hour: ten minutes of it, around half past.
    expect(detail).to_have_attribute("data-view", "5100.00,5700.00")
    expect(
        app.get_by_role("heading", name=re.compile("^Window 1:29:|^Window 1:30:"))
    ).to_be_visible()
    # 750 windows of ten seconds, and then one every second in those ten minutes: a key leads to
    # the next second.
    expect(detail).to_have_attribute("data-windows", re.compile(r"^1[23]\d\d$"), timeout=120_000)
    detail.focus()
    before = chosen_s(app)
    detail.press("ArrowRight")
    expect(detail).to_have_attribute("data-start", re.compile(rf"^{before + 1}(\.|$)"))
    camera.take(app, "map_holter")


@pytest.mark.timeout(900)
def test_a_day_in_edf_from_overview_to_a_window(app: Page, camera, tmp_path: Path) -> None:
    file, _ = write_holter_edf(tmp_path / "holter.edf")
    started = time.monotonic()
    app.locator("input[type=file][multiple]").first.set_input_files(str(file))
    detail = detail_of(app)
    expect(detail).to_be_visible(timeout=400_000)
    logger.info("picture of a day after %.0f s", time.monotonic() - started)
    expect(app.get_by_text("24:00:00").first).to_be_visible()
    app.mouse.click(*point(app.locator(".st-key-overview canvas.whole"), 0.5, 15))
    expect(detail).to_have_attribute("data-view", "5100.00,5700.00")
    # The nearest of those that the first picture of a day holds, 150 s apart.
    expect(app.get_by_role("heading", name=re.compile(r"^Window 1:(28|29|30|31):"))).to_be_visible()
    # Ten seconds apart all day (8,640), and one second in these ten minutes.
    expect(detail).to_have_attribute("data-windows", re.compile(r"^9[12]\d\d$"), timeout=400_000)
    logger.info("all windows after %.0f s", time.monotonic() - started)
    app.get_by_role("button", name="Whole", exact=True).click()
    expect(detail).to_have_attribute("data-view", re.compile(r"^0(\.00)?,86400"))
    camera.take(app, "map_day")


def test_a_long_look_can_be_stopped(app: Page, tmp_path: Path) -> None:
    files, _ = write_holter(tmp_path, duration_s=40_000.0)
    app.locator("input[type=file][multiple]").first.set_input_files([str(f) for f in files])
    expect(app.get_by_text("Looking at every window").first).to_be_visible(timeout=120_000)
    app.get_by_role("button", name="Cancel").click()
    expect(app.get_by_text("Stopped before the recording was looked at")).to_be_visible()
    expect(detail_of(app)).to_have_count(0)
