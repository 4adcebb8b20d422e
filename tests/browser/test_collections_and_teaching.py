"""A prepared collection and a teaching case in a real Chromium."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from echoing_core import services
from tests.browser.test_accessibility import findings, still

pytestmark = pytest.mark.browser


def go(app: Page, name: str) -> None:
    app.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()


@pytest.fixture
def ward(server_folder: Path, tmp_path: Path) -> Iterator[services.ReadyCollection]:
    """A prepared set as a collection of this server."""
    services.prepare_simulated(tmp_path / "ward", 40, 11)
    keep = server_folder / "collections"
    yield services.ready_collection(tmp_path / "ward", services.load_model(), keep=keep)
    shutil.rmtree(keep)


def drag(app: Page, *places: tuple[float, float]) -> None:
    """Draw on the map, by shares of its width and height."""
    plane = app.locator(".st-key-map_side canvas")
    plane.scroll_into_view_if_needed()
    # Where it is now: a picture of the page, or what was said above, may have moved it.
    box = plane.bounding_box()
    assert box is not None
    spots = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    app.mouse.move(*spots[0])
    app.mouse.down()
    for spot in spots[1:]:
        app.mouse.move(*spot, steps=4)
    app.mouse.up()


def test_a_collection_is_opened_drawn_around_searched_and_saved(
    app: Page, ward: services.ReadyCollection, camera
) -> None:
    go(app, "Retrieve")
    app.locator(".st-key-find_collection label", has_text=f"ward, {ward.n} ECGs").click()
    expect(app.get_by_text(re.compile("Searching in: ward"))).to_be_visible()
    still(app)
    # A box over the left half of the map, which begins and ends beside it.
    app.get_by_role("button", name="Choose an area: draw a box").click()
    drag(app, (0.01, 0.01), (0.3, 0.5), (0.5, 0.99))
    panel = app.locator(".st-key-find_selection")
    expect(panel.get_by_role("region", name="Findings of the chosen ECGs")).to_be_visible()
    told = re.match(rf"(\d+) of {ward.n} ECGs in the area", panel.inner_text())
    assert told is not None
    n = int(told[1])
    assert 0 < n < ward.n
    # The search goes on inside.
    expect(app.get_by_text(f"({n} pass the filters)")).to_be_visible()
    text = app.get_by_role("textbox", name="What should the ECG show?")
    text.fill("sinus rhythm")
    text.press("Enter")
    expect(app.get_by_text("nearest to “sinus rhythm”").or_(
        app.get_by_text("The diamond is “sinus rhythm”")
    ).first).to_be_visible()  # fmt: skip
    expect(app.get_by_text(f"({n} pass the filters)")).to_be_visible()
    camera.take(app, "retrieve_area")
    still(app)
    assert not findings(app)
    with app.expect_download() as saved:
        panel.get_by_role("button", name=f"Save these {n} as a table").click()
    rows = list(csv.DictReader(Path(saved.value.path()).read_text(encoding="utf-8").splitlines()))
    assert len(rows) == n and all(row["simulated"] == "true" for row in rows)
    middle = max(float(row["map_x"]) for row in rows)
    # A lasso around everything: by the same hand, another shape.
    app.get_by_role("button", name="Choose an area: draw around it").click()
    drag(app, (0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99))
    expect(panel.get_by_text(f"{ward.n} of {ward.n} ECGs")).to_be_visible()
    with app.expect_download() as saved:
        panel.get_by_role("button", name=f"Save these {ward.n} as a table").click()
    rows = list(csv.DictReader(Path(saved.value.path()).read_text(encoding="utf-8").splitlines()))
    assert sum(float(row["map_x"]) <= middle for row in rows) == n
    # By keyboard: back to the whole, and a filter in place of the area.
    app.get_by_role("button", name="Whole collection again").press("Enter")
    expect(panel).to_have_count(0)
    still(app)
    app.get_by_text("Order and filters").click()
    # A list closes when the page moves below it, as it does while the filters unfold.
    still(app)
    wanted = app.get_by_role("combobox", name="Only ECGs with", exact=False).first
    # As a hand does it: letters typed at once while the list opens are lost, and Enter takes
    # what the list offers, so not before it offers that alone.
    wanted.press("ArrowDown")
    expect(app.get_by_role("option").nth(1)).to_be_visible()
    wanted.press_sequentially("Atrial fib", delay=50)
    expect(wanted).to_have_value("Atrial fib")
    expect(app.get_by_role("option")).to_have_text(["Atrial fibrillation"])
    wanted.press("Enter")
    expect(panel.get_by_text("pass the filters")).to_be_visible()


def test_a_teaching_case_is_solved(app: Page, camera) -> None:
    first, second = (services.teaching_case(one) for one in services.case_ids()[:2])
    app.get_by_role("button", name="200 teaching cases").click()
    panel = app.locator(".st-key-teaching")
    expect(panel.get_by_text("Teaching case 1 of 200")).to_be_visible()
    # Its recording is open, and marked as simulated.
    expect(app.get_by_text(first.case_id, exact=True).first).to_be_visible()
    expect(panel.locator(".stMarkdownBadge", has_text="simulated")).to_be_visible()
    panel.get_by_text(first.choices[first.answer], exact=True).click()
    panel.get_by_role("button", name="Check my answer").click()
    expect(panel.get_by_text(re.compile("^Right:"))).to_be_visible()
    expect(panel.get_by_text(re.compile(f"Uncertainty percentile.*{first.truth}"))).to_be_visible()
    expect(panel.get_by_text("1 right of 1 answered")).to_be_visible()
    camera.take(app, "teaching_solved")
    still(app)
    assert not findings(app)
    panel.get_by_role("button", name="Next case").click()
    expect(panel.get_by_text("Teaching case 2 of 200")).to_be_visible()
    expect(app.get_by_text(second.case_id, exact=True).first).to_be_visible()
    # A wrong answer says which is right; the case stays above other pages.
    panel.get_by_text(second.choices[second.answer - 1], exact=True).click()
    go(app, "Ask")
    panel.get_by_role("button", name="Check my answer").click()
    expect(panel.get_by_text(re.compile("^It is"))).to_be_visible()
    expect(panel.get_by_text("1 right of 2 answered")).to_be_visible()
    panel.get_by_role("button", name="Leave the cases").click()
    expect(panel).to_have_count(0)
