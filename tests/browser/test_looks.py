"""Key screens look as they did: small grey pictures of them beside those that are kept.

A difference in a letter or a colour is no matter here; a chart that is gone, text that lies over
text, or a page that begins with something else is. ``ECHOING_KEEP_LOOKS=1`` keeps what is seen
now, to be looked at before it is committed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.test_accessibility import still

pytestmark = pytest.mark.browser

KEPT = Path(__file__).parent / "looks"
# Cells of ten pixels, so that how letters are smoothed does not count.
CELL = 10
# Grey levels of 255 by which a cell may differ, and the share of cells that may differ by more.
LEVELS, MOST = 12, 0.06
PAGES = ("Explore", "Ask", "Retrieve", "Model")

Grey = npt.NDArray[np.int64]


def grey(page: Page) -> Grey:
    """What stands at the top of the page; how far a click had scrolled it is no matter here."""
    page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L")
    size = (picture.width // CELL, picture.height // CELL)
    return np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.int64)


def differing(one: Grey, other: Grey) -> float:
    """Share of cells that differ, 0..1; pictures of other sizes differ all over."""
    if one.shape != other.shape:
        return 1.0
    return float((np.abs(one - other) > LEVELS).mean())


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_key_screens_look_as_they_did(
    visitor: Callable[..., AbstractContextManager[Page]], width: int, scheme: str
) -> None:
    seen: dict[str, Grey] = {}
    size = DESKTOP if width == 1440 else PHONE
    with visitor(viewport=size, color_scheme=scheme) as page:
        still(page)
        seen["start"] = grey(page)
        page.get_by_role("button", name="Normal ECG").first.click()
        expect(page.locator(".st-key-ecg_paper .trace").first).to_be_attached(timeout=180_000)
        for name in PAGES:
            if name != "Explore":
                menu = (
                    page.get_by_test_id("stTopNavLinkContainer")
                    if width == 1440
                    else page.locator(".st-key-phone_menu")
                )
                heading = page.get_by_role("heading", level=1)
                before = heading.inner_text()
                menu.get_by_text(name, exact=True).click()
                # On a slow machine the page before stays for a while.
                expect(heading).not_to_have_text(before)
            still(page)
            seen[name.lower()] = grey(page)
    # What is compared can tell one page from another.
    assert min(differing(seen["explore"], seen[other]) for other in ("start", "ask")) > 2 * MOST
    wrong = []
    for name, now in seen.items():
        path = KEPT / f"{name}_{width}_{scheme}.png"
        if os.environ.get("ECHOING_KEEP_LOOKS") == "1":
            KEPT.mkdir(exist_ok=True)
            Image.fromarray(now.astype(np.uint8)).save(path, optimize=True)
        share = differing(now, np.asarray(Image.open(path), dtype=np.int64))
        if share > MOST:
            wrong.append(f"{path.name}: {100 * share:.0f} % of it looks otherwise")
    assert not wrong, "\n".join(wrong)
