"""Retrieve and Ask in a real Chromium: to a hit and back, map and list, answers along a record."""

from __future__ import annotations

import contextlib
import re

import pytest
from playwright.sync_api import Page, expect

from echoing_core import services
from tests.browser.test_accessibility import still

pytestmark = pytest.mark.browser


def go(app: Page, name: str) -> None:
    app.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()


def test_words_filter_and_a_search_from_a_hit(app: Page, camera) -> None:
    go(app, "Retrieve")
    from_this = app.get_by_role("button", name="Search from this one")
    expect(from_this).to_have_count(10)
    app.get_by_text("Order and filters").click()
    app.get_by_text("similarity alone (cosine)").click()
    still(app)
    camera.take(app, "retrieve_words")
    from_this.nth(1).click()
    expect(app.get_by_text("Searched from", exact=True)).to_be_visible()
    expect(app.get_by_text("(1 − cosine)").first).to_be_visible()
    # How near, in one word, on each card; and a picture of its ECG that has loaded.
    cards = app.locator(".stMarkdownBadge:visible").filter(has_text=re.compile("near|middling|far"))
    expect(cards).to_have_count(10)
    pictures = app.locator("img.thumb")
    expect(pictures).to_have_count(10)
    assert pictures.evaluate_all("all => all.every(e => e.complete && e.naturalWidth > 0)")
    camera.take(app, "retrieve_from_hit")
    app.locator(".st-key-find_crumb_0 button:visible").first.click()
    expect(app.get_by_text("Searched from", exact=True)).to_have_count(0)
    expect(app.get_by_text("Marked: number 2 of the list")).to_be_visible()


def test_the_map_and_the_list_point_at_each_other(app: Page, camera) -> None:
    go(app, "Retrieve")
    expect(app.get_by_role("button", name="Search from this one")).to_have_count(10)
    plane = app.locator(".st-key-map_side canvas")
    expect(plane).to_be_visible()
    # From the map: where the normal ECGs lie close together, none of which was found. A model that
    # was trained anew may mirror the map.
    box = plane.bounding_box()
    assert box is not None
    chosen = app.get_by_text("Chosen on the map")
    for across in (0.125, 0.885):
        app.mouse.click(box["x"] + across * box["width"], box["y"] + 0.48 * box["height"])
        with contextlib.suppress(AssertionError):
            expect(chosen).to_be_visible(timeout=15_000)
            break
    expect(chosen).to_be_visible()
    camera.take(app, "retrieve_marked")
    # By keyboard: the third of the list.
    app.locator(".st-key-map_side .plane").focus()
    for _ in range(3):
        app.keyboard.press("ArrowRight")
    app.keyboard.press("Enter")
    expect(app.get_by_text("Marked: number 3 of the list")).to_be_visible()
    # From the list.
    app.get_by_role("button", name="Mark on the map").first.click()
    expect(app.get_by_text("Marked: number 1 of the list")).to_be_visible()


def test_questions_along_twenty_minutes(app: Page, camera) -> None:
    app.get_by_role("button", name=services.samples()[0].title).click()
    expect(app.get_by_role("heading", name="Window ").first).to_be_visible()
    go(app, "Ask")
    expect(app.get_by_role("heading", name="Along the recording")).to_be_visible()
    expect(app.locator(".st-key-answers_along .heatmaplayer image").first).to_be_attached()
    # In the row of its question: a dot on the scale, and what the answer is worth behind "?".
    row = app.locator(".answers tr", has_text="Atrial fibrillation")
    dot, scale = row.locator(".dots b").bounding_box(), row.locator(".dots").bounding_box()
    told = re.search(r"(\d+) %", row.locator("td").nth(2).inner_text())
    assert dot is not None and scale is not None and told is not None
    at = 100 * (dot["x"] + dot["width"] / 2 - scale["x"]) / scale["width"]
    assert abs(at - float(told[1])) < 1.5
    worth = row.locator(".worth")
    expect(worth).to_be_hidden()
    row.locator("summary").click()
    expect(worth).to_be_visible()
    expect(worth).to_contain_text(re.compile(r"AUROC [\d.]+"))
    app.get_by_text("The whole recording, its windows put together").click()
    app.get_by_text("Scores behind the answers").click()
    expect(app.get_by_text("Had it among 100 alike").first).to_be_visible()
    camera.take(app, "ask_along")
