"""What a person at the browser waits for, on a server that somebody else uses already.

    python benchmarks/app_times.py [--rounds 3]

A server and a real Chromium on this machine; seconds from the click until what was asked for can be
seen, as the person sees it (the browser's own work is in them). The first session opens a recording
and goes through the pages once, which is what loads things; the rounds are sessions after it, each
a new one. Beside the upload of a 10-second ECG stands the same upload while a hostile file of
another session is being read. Of both the server's own share is printed, from the last byte of the
upload until the ECG on paper has reached the browser's end of the connection: what a person's own
computer does not do. The least and the median of the rounds are printed. Chromium comes from
Debian's package of that name.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from broken_uploads import sound_upload  # noqa: E402

from tests.browser.test_hostile_upload import hostile  # noqa: E402

PORT = 8637
expect.set_options(timeout=120_000)


@contextmanager
def served(folder: Path) -> Iterator[float]:
    """A running app, and the seconds until its first page can be used."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    with (folder / "log.txt").open("wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--server.port", str(PORT)], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=2)
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.02)
            yield began
        finally:
            process.terminate()
            process.wait(timeout=30)


class Share:
    """The server's part in an upload: from the last byte of a file to the message with the paper.

    Parameters
    ----------
    page : Page
        Before it is opened.
    """

    def __init__(self, page: Page) -> None:
        self.uploaded = self.drawn = 0.0
        page.on("requestfinished", self._finished)
        page.on("websocket", lambda socket: socket.on("framereceived", self._received))

    def begin(self) -> None:
        self.uploaded = self.drawn = 0.0

    @property
    def seconds(self) -> float:
        return self.drawn - self.uploaded

    def _finished(self, request: Request) -> None:
        if request.method == "PUT":
            self.uploaded = time.perf_counter()

    def _received(self, message: str | bytes) -> None:
        # The samples of the window are in this one.
        if isinstance(message, bytes) and b"paper_drawn" in message and b"samples" in message:
            self.drawn = time.perf_counter()


shares: dict[Page, Share] = {}


def session(browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    shares[page] = Share(page)
    page.goto(f"http://127.0.0.1:{PORT}")
    # Not `expect`, which looks again only after up to a second.
    page.locator("input[type=file][multiple]").first.wait_for(state="attached")
    return page


def go(page: Page, title: str) -> None:
    links = page.get_by_test_id("stTopNavLinkContainer")
    links.get_by_text(title, exact=True).click()


def still(page: Page) -> None:
    page.wait_for_timeout(300)
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")


def seconds(act: Callable[[], object], seen: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    seen()
    return time.perf_counter() - began


def upload(page: Page, files: list[Path], name: str) -> float:
    chosen = page.locator("input[type=file][multiple]").first
    if not chosen.count():
        page.get_by_text("Open another recording").first.click()
    shares[page].begin()
    return seconds(
        lambda: chosen.set_input_files([str(path) for path in files]),
        lambda: (
            page.get_by_text(name).first.wait_for(),
            page.locator(".st-key-ecg_paper .trace").first.wait_for(state="attached"),
        ),
    )


def a_round(browser: Browser, folder: Path, number: int) -> dict[str, float]:
    """A session after others; what it waited for."""
    told: dict[str, float] = {}
    page = session(browser)
    names = [f"mine{number}{letter}" for letter in "abc"]
    for name in names:
        for file, data in sound_upload(name, seconds=10.0).items():
            (folder / file).write_bytes(data)
    files = {name: [folder / f"{name}.hea", folder / f"{name}.dat"] for name in names}
    told["first 10-s ECG of a session"] = upload(page, files[names[0]], names[0])
    still(page)
    told["next 10-s ECG"] = upload(page, files[names[1]], names[1])
    told["of which the server's share"] = shares[page].seconds
    still(page)
    told["Ask, first visit"] = seconds(
        lambda: go(page, "Ask"), lambda: page.locator(".answers tr").nth(3).wait_for()
    )
    still(page)
    told["Retrieve, first visit, with pictures of ten ECGs"] = seconds(
        lambda: go(page, "Retrieve"), lambda: page.locator("img.thumb").nth(9).wait_for()
    )
    still(page)
    told["ECG of a hit"] = seconds(
        lambda: page.get_by_text("Show ECG 1", exact=True).first.click(),
        lambda: page.locator(".hit_paper").first.wait_for(),
    )
    still(page)
    go(page, "Explore")
    still(page)
    box = page.locator(".st-key-take_away")
    box.get_by_text("Take it away", exact=True).click()
    told["report as PDF"] = report(page)
    attacker = session(browser)
    (folder / "hostile.dcm").write_bytes(hostile())
    attacker.locator("input[type=file][multiple]").first.set_input_files(
        str(folder / "hostile.dcm")
    )
    expect(attacker.get_by_text("Reading the recording")).to_be_visible()
    told["10-s ECG beside a hostile file"] = upload(page, files[names[2]], names[2])
    told["of which the server's share, beside a hostile file"] = shares[page].seconds
    if not attacker.get_by_text("Reading the recording").is_visible():
        told["10-s ECG beside a hostile file"] = float("nan")
    attacker.context.close()
    page.context.close()
    return told


def report(page: Page) -> float:
    """From the click to the file."""
    page.get_by_role("tab", name="Report").click()
    still(page)
    button = page.get_by_role("button", name=re.compile("PDF"))
    began = time.perf_counter()
    with page.expect_download() as waiting:
        button.first.click()
    waiting.value.path()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        with served(folder) as began:
            first = session(browser)
            found["start of the server until the first page can be used"].append(
                time.perf_counter() - began
            )
            first.context.close()
            a_round(browser, folder, 0)
            for number in range(1, rounds + 1):
                for what, took in a_round(browser, folder, number).items():
                    found[what].append(took)
        browser.close()
    for what, each in found.items():
        print(f"{what}: {min(each):.2f} s (median {statistics.median(each):.2f})")


if __name__ == "__main__":
    main()
