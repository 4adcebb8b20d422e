"""A real Chromium against a real server, both on this machine alone.

``ECHOING_REQUIRE_BROWSER=1`` makes a missing Chromium a failure instead of a skip;
``ECHOING_SCREENSHOTS=folder`` keeps pictures of each journey.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
_START_S = 120.0
# Patient, because a busy machine is no fault of the app's.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of an installed Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("ECHOING_REQUIRE_BROWSER") == "1":
            pytest.fail("ECHOING_REQUIRE_BROWSER is set and no Chromium is installed")
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    return found


@pytest.fixture(scope="session")
def browser_here(chromium: str) -> Iterator[Browser]:
    """One Chromium that cannot look up any name, so a request to elsewhere fails."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's log and its temporary files are."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "tmp").mkdir()
    return folder


@pytest.fixture(scope="session")
def server(chromium: str, repo_root: Path, server_folder: Path) -> Iterator[str]:
    """Address of a running app."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log_path = server_folder / "log.txt"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)],
            cwd=repo_root,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "TMPDIR": str(server_folder / "tmp"),
                # Empty until a test makes a collection in it.
                "ECHOING_COLLECTIONS": str(server_folder / "collections"),
            },
        )
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/_stcore/health", process, log_path)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_up(address: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"the server ended: {log_path.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the server did not come up: {log_path.read_text()[-2000:]}")


@contextmanager
def visit(browser: Browser, server: str, **context_options: Any) -> Iterator[Page]:
    """The app in a fresh session; afterwards, that it asked nothing of any other machine."""
    context = browser.new_context(**{"viewport": DESKTOP, **context_options})
    page = context.new_page()
    page.set_default_timeout(60_000)
    foreign: list[str] = []
    failures: list[str] = []

    def note(request: Request) -> None:
        here = re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", request.url)
        if not here:
            foreign.append(request.url)

    page.on("request", note)
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(server)
    expect(page.get_by_role("heading", name="Explore a recording")).to_be_visible(timeout=60_000)
    yield page
    context.close()
    assert foreign == []
    assert failures == []


@pytest.fixture
def app(browser_here: Browser, server: str) -> Iterator[Page]:
    """See `visit`."""
    with visit(browser_here, server) as page:
        yield page


@pytest.fixture
def visitor(browser_here: Browser, server: str) -> Callable[..., AbstractContextManager[Page]]:
    """Opens further sessions; options are those of a browser context."""
    return partial(visit, browser_here, server)


class Camera:
    """Pictures of the whole page at the two sizes, where somebody asked for them."""

    def __init__(self) -> None:
        folder = os.environ.get("ECHOING_SCREENSHOTS")
        self.folder = Path(folder) if folder else None

    def take(self, page: Page, name: str) -> None:
        """Check that the page does not overflow sideways at either size, and picture it."""
        for size, label in ((PHONE, "390"), (DESKTOP, "1440")):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            page.wait_for_timeout(400)
            main = page.get_by_test_id("stMain")
            wide, shown = main.evaluate("e => [e.scrollWidth, e.clientWidth]")
            assert wide <= shown, f"{name} overflows at {label} px: {wide} > {shown}"
            if self.folder is None:
                continue
            self.folder.mkdir(parents=True, exist_ok=True)
            page.wait_for_timeout(1200)
            page.screenshot(path=self.folder / f"{name}_{label}.png")
            # Streamlit scrolls an inner box, so the whole page needs a window as tall.
            tall = min(int(main.evaluate("e => e.scrollHeight")) + 20, 5000)
            page.set_viewport_size({"width": size["width"], "height": tall})
            page.wait_for_timeout(1200)
            page.screenshot(path=self.folder / f"{name}_{label}_whole.png")
        page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


@pytest.fixture
def camera() -> Camera:
    """See `Camera`."""
    return Camera()
