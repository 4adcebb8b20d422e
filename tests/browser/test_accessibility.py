"""What axe finds on every page in light and dark, and Explore and the guide by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Locator, Page, expect

from echoing_core import services

pytestmark = pytest.mark.browser

PAGES = ("Ask", "Retrieve", "Compare", "Echo", "Batch", "Model")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
BAD = ("moderate", "serious", "critical")
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
WINDOW = re.compile(r"^Window (\S+) to (\S+)$")

STREAMLITS_OWN = {
    # A table wider than a phone scrolls in a box of st.table that has no tabindex, and no option
    # gives it one. Chromium and Firefox let the keyboard reach such a box by themselves.
    "scrollable-region-focusable": "[data-testid=stTable]",
    # Where Streamlit hangs what opens over the page, outside of all of its landmarks.
    "region": "#stFloatingOverlayPortal",
}
"""Rule of axe, and in which of Streamlit's own elements it is let through; nothing else is."""


def findings(page: Page) -> list[str]:
    """Findings of axe but the minor ones, one line for each element."""
    page.evaluate(AXE)
    result: dict[str, Any] = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", TAGS
    )
    lines = []
    for rule in result["violations"]:
        if rule["impact"] not in BAD:
            continue
        for node in rule["nodes"]:
            if not _known(page, rule["id"], node["target"]):
                checks = [c["message"] for c in node["any"] + node["all"] + node["none"]]
                lines.append(f"{rule['id']}: {node['html'][:160]} ({'; '.join(checks)[:160]})")
    return lines


def _known(page: Page, rule: str, target: list[Any]) -> bool:
    if rule not in STREAMLITS_OWN or not isinstance(target[0], str):
        return False
    inside = "([target, box]) => !!document.querySelector(target)?.closest(box)"
    return bool(page.evaluate(inside, [target[0], STREAMLITS_OWN[rule]]))


def still(page: Page) -> None:
    """Until the script has run and what moves has come to rest."""
    state = page.get_by_test_id("stApp")
    page.wait_for_timeout(300)
    expect(state).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    page.wait_for_timeout(500)


def go(page: Page, name: str) -> None:
    page.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Explore a recording")
    still(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_more_than_a_minor_finding(
    visitor: Callable[..., AbstractContextManager[Page]], scheme: str
) -> None:
    found: dict[str, list[str]] = {}
    with visitor(color_scheme=scheme) as page:

        def check(name: str) -> None:
            for width, height in ((1440, 900), (390, 844)):
                page.set_viewport_size({"width": width, "height": height})
                still(page)
                lines = findings(page)
                if lines:
                    found[f"{name} at {width}"] = lines
                main = page.get_by_test_id("stMain")
                wide, shown = main.evaluate("e => [e.scrollWidth, e.clientWidth]")
                assert wide <= shown, f"{name} overflows at {width}"
            page.set_viewport_size({"width": 1440, "height": 900})

        expect(page.get_by_role("button", name=services.samples()[0].title)).to_be_visible()
        background = page.get_by_test_id("stApp").evaluate(
            "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
        )
        assert (sum(background) < 200) == (scheme == "dark")
        check("Explore with nothing open")
        go(page, "Ask")
        check("Ask with nothing open")
        page.get_by_test_id("stTopNavLinkContainer").get_by_text("Explore", exact=True).click()
        still(page)
        page.get_by_role("button", name=services.samples()[0].title).click()
        # The first to open one waits for the model, too.
        expect(page.locator(".st-key-ecg_paper .trace").first).to_be_attached(timeout=180_000)
        expect(page.locator(".st-key-overview .detail[data-start]")).to_be_attached()
        check("Explore")
        for name in PAGES:
            go(page, name)
            check(name)
    told = [f"{where}: {line}" for where, lines in found.items() for line in lines]
    assert not told, "\n".join(told)


def focused(locator: Locator) -> bool:
    return bool(locator.count()) and locator.first.evaluate("e => e.matches(':focus')")


WHERE = """() => {
  let e = document.activeElement;
  while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
  return `${e.tagName} ${(e.getAttribute("aria-label") || e.innerText || "").slice(0, 30)}`;
}"""


def tab_to(page: Page, locator: Locator, at_most: int = 90) -> Locator:
    """Press Tab until it has the focus; nothing is clicked."""
    passed: list[str] = []
    for _ in range(at_most):
        if focused(locator):
            return locator.first
        page.keyboard.press("Tab")
        passed.append(page.evaluate(WHERE))
    raise AssertionError(f"{locator} is not reached by {at_most} times Tab: {passed}")


def test_the_whole_explore_page_by_keyboard_alone(app: Page) -> None:
    def heading() -> str:
        return app.get_by_role("heading", name=WINDOW).inner_text()

    def changes(press: Callable[[], None]) -> None:
        before = heading()
        press()
        expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
        still(app)

    def press(key: str) -> Callable[[], None]:
        return lambda: app.keyboard.press(key)

    expect(app.get_by_role("button", name=services.samples()[0].title)).to_be_visible()
    tab_to(app, app.get_by_role("button", name=services.samples()[0].title))
    app.keyboard.press("Enter")
    expect(app.get_by_role("heading", name=WINDOW)).to_be_visible()
    expect(app.locator(".st-key-overview .detail[data-start]")).to_be_visible()
    still(app)
    # From the top: what is above, the map, the slider, the buttons, the table, the paper.
    app.evaluate("document.activeElement.blur()")
    tab_to(app, app.locator("summary").filter(has_text="Open another recording"))
    tab_to(app, app.locator(".st-key-overview").get_by_role("button", name="2 min"))
    tab_to(app, app.locator(".st-key-overview .detail"))
    changes(press("ArrowRight"))
    tab_to(app, app.get_by_role("slider", name="Window starts at"))
    changes(press("ArrowRight"))
    tab_to(app, app.locator(".st-key-unsure_0 button:visible"))
    changes(press("Enter"))
    expect(app.locator(".st-key-reasons").get_by_role("listitem").first).to_be_visible()
    tab_to(app, app.locator(".st-key-ecg_paper select").first)
    app.keyboard.press("6")
    expect(app.locator(".st-key-ecg_paper .trace[data-rhythm=true]")).to_have_count(0)
    tab_to(app, app.locator(".st-key-ecg_paper").get_by_role("button", name="Add", exact=True))
    app.keyboard.press("Enter")
    expect(app.locator(".st-key-ecg_paper .readings li")).to_have_count(1)
    tab_to(app, app.locator("summary").filter(has_text="Windows and stretches as a table"))
    app.keyboard.press("Enter")
    expect(app.get_by_test_id("stDataFrame")).to_be_visible()
    still(app)
    tab_to(app, app.locator("summary").filter(has_text="What the model saw"))
    app.keyboard.press("Enter")
    expect(app.get_by_role("table").first).to_be_visible()
    for words in ("Settings", "Take it away"):
        tab_to(app, app.locator("summary").filter(has_text=words))
        app.keyboard.press("Enter")
    tab_to(app, app.get_by_role("tab").first)
    app.keyboard.press("ArrowRight")
    expect(app.get_by_role("tab").nth(1)).to_be_focused()


def test_the_guide_by_keyboard_from_noise_to_report(app: Page, camera: Any) -> None:
    guide = app.locator(".st-key-guide")

    def step(number: int) -> None:
        expect(guide.get_by_role("status")).to_contain_text(f"Step {number} of 5")
        still(app)

    begin = app.get_by_role("button", name="Show me around")
    expect(begin).to_be_visible()
    tab_to(app, begin)
    app.keyboard.press("Enter")
    expect(app.get_by_role("heading", name=WINDOW)).to_be_visible()
    step(1)
    camera.take(app, "guide_1")
    following = guide.get_by_role("button", name="Next")
    app.evaluate("document.activeElement.blur()")
    tab_to(app, following)
    app.keyboard.press("Enter")
    step(2)
    before = app.get_by_role("heading", name=WINDOW).inner_text()
    tab_to(app, guide.get_by_role("button", name="Show me"))
    app.keyboard.press("Enter")
    expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
    for number, title in ((3, "Ask about"), (4, "Find similar"), (5, "Explore a recording")):
        tab_to(app, following)
        app.keyboard.press("Enter")
        expect(app.get_by_role("heading", level=1)).to_contain_text(title)
        step(number)
        if number == 4:
            tab_to(app, guide.get_by_role("button", name="Search"))
            app.keyboard.press("Enter")
            still(app)
            expect(app.get_by_text("best match first")).to_be_visible()
        camera.take(app, f"guide_{number}")
    tab_to(app, guide.get_by_role("button", name="Done"))
    app.keyboard.press("Enter")
    expect(guide).to_have_count(0)
