"""Several people at once: nobody sees what another opened, and nothing of it is left behind."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from broken_uploads import sound_upload
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PAGES = ("Ask", "Retrieve", "Compare", "Batch", "Model", "Explore")
NAMES = ("zqalpha7", "zqbeta9")
_SKIPPED = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}


def files_below(folder: Path, since: float) -> Iterator[Path]:
    """Files that were written since then, outside of what tools of developers keep."""
    for path in folder.iterdir():
        if path.is_symlink() or path.name in _SKIPPED:
            continue
        if path.is_dir():
            yield from files_below(path, since)
        elif path.is_file() and path.stat().st_mtime >= since:
            yield path


def left_behind(folders: list[Path], marks: list[bytes], since: float) -> list[str]:
    """Files whose name or content has one of the marks."""
    found = []
    for folder in folders:
        for path in files_below(folder, since):
            data = path.name.encode() + path.read_bytes()
            if any(mark in data for mark in marks):
                found.append(str(path))
    return found


def test_two_at_once_never_see_each_other_and_leave_nothing(
    visitor: Callable[..., AbstractContextManager[Page]],
    tmp_path: Path,
    server_folder: Path,
    repo_root: Path,
) -> None:
    since = time.time() - 1
    marks = [name.encode() for name in NAMES]
    uploads = {}
    for name, seconds in zip(NAMES, (20.0, 33.0), strict=True):
        files = sound_upload(name, seconds=seconds)
        uploads[name] = [tmp_path / file for file in files]
        for file, data in files.items():
            (tmp_path / file).write_bytes(data)
        marks.append(files[f"{name}.dat"][2000:2064])
    with visitor() as one, visitor() as two:
        people = dict(zip(NAMES, (one, two), strict=True))
        # Both begin before either is done.
        for name, page in people.items():
            page.locator("input[type=file][multiple]").first.set_input_files(
                [str(path) for path in uploads[name]]
            )
        for name, page in people.items():
            expect(page.get_by_text(name).first).to_be_visible()
            expect(page.locator(".st-key-ecg_paper .trace").first).to_be_attached()
        for title in PAGES:
            for page in people.values():
                page.get_by_test_id("stTopNavLinkContainer").get_by_text(title, exact=True).click()
            for name, page in people.items():
                other = NAMES[1 - NAMES.index(name)]
                page.wait_for_timeout(400)
                expect(page.get_by_test_id("stApp")).to_have_attribute(
                    "data-test-script-state", "notRunning"
                )
                assert other not in page.content(), f"{title} shows another person's recording"
                assert name not in page.url
        expect(one.get_by_text(NAMES[0]).first).to_be_visible()
        expect(two.get_by_text(NAMES[1]).first).to_be_visible()
        with visitor() as third:
            expect(third.get_by_text("A sample to try")).to_be_visible()
            assert not any(name in third.content() for name in NAMES)
    # Neither while they were here, nor afterwards; the log is in the server's folder.
    folders = [server_folder, repo_root, Path.home() / ".streamlit"]
    assert left_behind([f for f in folders if f.is_dir()], marks, since) == []
    assert [p for p in (server_folder / "tmp").rglob("*") if p.is_file()] == []


def test_only_this_machines_own_pages_may_open_a_session(server: str) -> None:
    address = urlsplit(server)

    def answer(host: str, origin: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", address.port or 80, timeout=30)
        connection.putrequest("GET", "/_stcore/stream", skip_host=True)
        for name, value in {
            "Host": host,
            "Origin": origin,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status

    assert answer(address.netloc, server) == 101
    # Another site in the same browser, and a name of another site that leads here.
    assert answer(address.netloc, "https://elsewhere.example") == 403
    assert answer("elsewhere.example", "http://elsewhere.example") == 403
