"""Many people use one server for a while: ``python -m tests.soak --people 20 --minutes 15``.

Each has a session of a real Chromium and a recording whose name and samples are a mark of their
own. They go from page to page at the same time and take their numbers away. Whatever shows, holds
or keeps somebody else's mark is an error: a page, a download, a file on disk, the log. At the end
all leave, and the server's memory is read beside what it was before.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from random import Random

from playwright.sync_api import Browser, TimeoutError, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from broken_uploads import sound_upload  # noqa: E402

from tests.browser.test_several_people import PAGES, left_behind  # noqa: E402
from tests.processes import tree  # noqa: E402

_PATIENCE_MS = 120_000
expect.set_options(timeout=_PATIENCE_MS)


class Person:
    """A session with a marked recording."""

    def __init__(self, browser: Browser, address: str, number: int, folder: Path) -> None:
        self.name = f"zq{number:02d}mark{number * 7919 % 10007:05d}"
        # Exports are without names, so everybody's recording has a length of its own.
        self.n_windows = 3 + number
        files = sound_upload(self.name, seconds=12.0 + number)
        self.samples = files[f"{self.name}.dat"][2000:2064]
        self.files = [folder / name for name in files]
        for path in self.files:
            path.write_bytes(files[path.name])
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.failures: list[str] = []
        self.clicked_again = 0
        self.page.on("pageerror", lambda error: self.failures.append(f"{self.name}: {error}"))
        self.page.goto(address)

    def put_in(self) -> None:
        expect(self.page.get_by_role("heading", name="Explore a recording")).to_be_visible()
        self.page.locator("input[type=file][multiple]").first.set_input_files(
            [str(path) for path in self.files]
        )

    def go(self, title: str) -> None:
        links = self.page.get_by_test_id("stTopNavLinkContainer")
        links.get_by_text(title, exact=True).click()

    def wait(self) -> None:
        self.page.wait_for_timeout(300)
        app = self.page.get_by_test_id("stApp")
        expect(app).to_have_attribute("data-test-script-state", "notRunning")

    def windows(self) -> str:
        """The table of windows, as it is taken away."""
        box = self.page.locator(".st-key-take_away")
        tab = box.get_by_role("tab", name="Table of windows")
        if not tab.is_visible():
            box.get_by_text("Take it away", exact=True).click()
        tab.click()
        for _ in range(5):
            self.wait()
            try:
                with self.page.expect_download(timeout=_PATIENCE_MS / 5) as download:
                    self.page.get_by_role("button", name="Download CSV").click()
            except TimeoutError:
                # The button was drawn anew under the pointer; a person clicks again. It counts.
                self.clicked_again += 1
                continue
            return Path(download.value.path()).read_text(encoding="utf-8")
        raise SystemExit(f"{self.name} could not take the table away")


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of the server's own process, and of its workers together."""

    def of(one: int) -> float:
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            return 0.0
        return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS")), 0.0)

    return of(pid), sum(of(one) for one in tree(pid) if one != pid)


def served(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "tmp").mkdir()
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true",
         "--server.port", str(port)],
        cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(400):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
            return process, address
        except OSError:
            time.sleep(0.3)
    raise SystemExit(f"the server did not come up: {(folder / 'log.txt').read_text()[-2000:]}")


def foreign(shown: str, people: list[Person], own: Person) -> list[str]:
    return [one.name for one in people if one is not own and one.name in shown]


def round_of(people: list[Person], rng: Random, told: Counter[str], errors: list[str]) -> None:
    """Everybody goes to a page of their own choice at once; then what each sees is looked at."""
    chosen = {one.name: rng.choice(PAGES) for one in people}
    for one in people:
        one.go(chosen[one.name])
    for one in people:
        one.wait()
        shown = one.page.content()
        told[chosen[one.name]] += 1
        errors += [f"{one.name} saw {other}" for other in foreign(shown, people, one)]
        if 'data-testid="stException"' in shown or "Traceback" in shown:
            errors.append(f"{one.name}: an exception on {chosen[one.name]}")
    takers = rng.sample(people, max(1, len(people) // 5))
    for one in takers:
        one.go("Explore")
    for one in takers:
        one.wait()
        expect(one.page.get_by_text(one.name).first).to_be_visible()
        text = one.windows()
        told["taken away"] += 1
        errors += [f"{one.name} took {other}" for other in foreign(text, people, one)]
        rows = [line for line in text.splitlines() if line and not line.startswith("#")]
        if len(rows) - 1 != one.n_windows:
            errors.append(f"{one.name} took {len(rows) - 1} windows, not {one.n_windows}")


def soak(people: int, minutes: float, seed: int) -> dict[str, object]:
    """What happened, as plain values."""
    rng, told, errors = Random(seed), Counter[str](), list[str]()
    since = time.time() - 1
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "files").mkdir()
        (folder / "server").mkdir()
        process, address = served(folder / "server")
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium",
                                                 args=["--no-sandbox"])  # fmt: skip
            fresh = memory_mb(process.pid)
            # The first session loads the model; what it leaves is what the server is made of.
            first = Person(browser, address, 99, folder / "files")
            first.put_in()
            for title in PAGES:
                first.go(title)
                first.wait()
            first.context.close()
            time.sleep(20)
            warm = memory_mb(process.pid)
            everybody = [Person(browser, address, n, folder / "files") for n in range(people)]
            for one in everybody:
                one.put_in()
            for one in everybody:
                one.wait()
            most, until = (0.0, 0.0), time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                round_of(everybody, rng, told, errors)
                most = max(most, memory_mb(process.pid))
                told["rounds"] += 1
                print(json.dumps(dict(told)), most, errors, file=sys.stderr, flush=True)
            for one in everybody:
                errors += one.failures
                told["clicked again"] += one.clicked_again
                one.context.close()
            browser.close()
            after = []
            # Two minutes in which a session may come back, and half a one until it is let go.
            for _ in range(10):
                time.sleep(20)
                after.append(memory_mb(process.pid))
        finally:
            process.terminate()
            process.wait(timeout=30)
        marks = [mark for one in everybody for mark in (one.name.encode(), one.samples)]
        places = [folder / "server", ROOT, Path.home() / ".streamlit"]
        kept = left_behind([p for p in places if p.is_dir()], marks, since)
        cores = [str(p) for p in (*ROOT.glob("core*"), *Path("/tmp").glob("core*")) if p.is_file()]
        log = (folder / "server" / "log.txt").read_text(errors="replace")
    return {
        "people": people, "minutes": minutes, "done": dict(told), "errors": errors,
        "marks on disk or in the log": kept, "core files": cores,
        "tracebacks in the log": [part[:2000] for part in log.split("Traceback")[1:]],
        "memory, MB (server, workers)": {
            "fresh": fresh, "after one session": warm, "most": most, "afterwards": after,
        },
    }  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    told = soak(chosen.people, chosen.minutes, chosen.seed)
    print(json.dumps(told, indent=1))
    if told["errors"] or told["marks on disk or in the log"] or told["core files"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
