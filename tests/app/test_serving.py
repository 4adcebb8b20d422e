"""What stands between network and app: `ui.serving`, without a server."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import resource
import tempfile
import weakref
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser
from streamlit.runtime import Runtime, RuntimeConfig
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.session_manager import SessionInfo

from ui import serving


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("localhost:8501", ["localhost"], True),
        ("LOCALHOST.", ["localhost"], True),
        ("[::1]:8501", ["::1"], True),
        ("a.clinic.example", ["*.clinic.example"], True),
        ("clinic.example", ["*.clinic.example"], False),
        ("evilclinic.example", ["*.clinic.example"], False),
        ("elsewhere.example", ["localhost", "127.0.0.1"], False),
        ("localhost.elsewhere.example", ["localhost"], False),
        ("elsewhere.example", ["*"], True),
        ("elsewhere.example", [], True),
        # None of these is a host, whatever is allowed.
        (None, ["*"], False),
        ("", ["*"], False),
        ("localhost:80:80", ["*"], False),
        ("user@localhost", ["*"], False),
        ("localhost/x", ["*"], False),
        ("localhost; script-src *", ["*"], False),
        ("localhost\r\nX: y", ["*"], False),
    ],
)
def test_names_the_app_answers_to(host: str | None, allowed: list[str], expected: bool) -> None:
    assert serving.host_is_allowed(host, allowed) is expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("", "localhost:8501", True),
        ("http://localhost:8501", "localhost:8501", True),
        ("https://ecg.example", "ecg.example", True),
        ("https://lab.example", "ecg.example", True),
        # Another program of the same machine is another site.
        ("http://localhost:3000", "localhost:8501", False),
        ("http://localhost", "localhost:8501", False),
        ("https://elsewhere.example", "localhost:8501", False),
        ("null", "localhost:8501", False),
        ("file://", "localhost:8501", False),
        ("http://[", "localhost:8501", False),
        (None, "localhost:8501", False),
    ],
)
def test_sites_that_may_use_the_app(origin: str | None, host: str, expected: bool) -> None:
    assert serving.origin_is_allowed(origin, host, ["https://lab.example/"]) is expected


async def _answers(scope: Any, receive: Any, send: Any) -> None:
    """An app that any request reaches, with a header of its own that is in the way."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": []})
        return
    if scope["path"] == "/breaks":
        raise ZeroDivisionError
    headers = [(b"x-frame-options", b"ALLOWALL"), (b"x-kept", b"yes")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"reached"})


def _ask(
    path: str = "/", kind: str = "http", **more: str | list[str]
) -> tuple[Any, dict[bytes, bytes]]:
    """Status (or kind of the first message), and headers, of one request through the guard."""
    given = {"host": "localhost:8501", **more}
    headers = [
        (name.encode(), value.encode())
        for name, values in given.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        raise AssertionError("nobody reads the body")

    scope = {"type": kind, "path": path, "method": "GET", "headers": headers}
    asyncio.run(serving.Guard(_answers, ["'sha256-x'"], ["static/js/a.js"])(scope, nothing, send))
    first = sent[0]
    names = [name for name, _ in first.get("headers", ())]
    assert len(names) == len(set(names))
    return first.get("status", first["type"]), dict(first.get("headers", ()))


# With the settings of .streamlit/config.toml, as the app has them.
class TestGuard:
    def test_every_answer_is_signed_once(self) -> None:
        status, headers = _ask()
        assert status == 200
        assert headers[b"x-kept"] == b"yes"
        assert headers[b"x-frame-options"] == b"DENY"
        assert headers[b"x-content-type-options"] == b"nosniff"
        policy = dict(
            part.split(" ", 1) for part in headers[b"content-security-policy"].decode().split("; ")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == "'self' blob: 'sha256-x'"
        assert policy["connect-src"].split() == [
            "'self'", "ws://localhost:8501", "wss://localhost:8501",
        ]  # fmt: skip

    def test_a_websocket_too(self) -> None:
        status, headers = _ask("/_stcore/stream", "websocket", origin="http://localhost:8501")
        assert status == "websocket.accept"
        assert headers[b"x-content-type-options"] == b"nosniff"

    @pytest.mark.parametrize("kind", ["http", "websocket"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"host": "elsewhere.example"},
            {"host": ["localhost:8501", "elsewhere.example"]},
            {"host": []},
            {"origin": "https://elsewhere.example"},
            {"origin": "http://localhost:3000"},
            {"origin": ["http://localhost:8501", "https://elsewhere.example"]},
        ],
    )
    def test_foreign_names_and_sites_reach_nothing(self, kind: str, headers: Any) -> None:
        status, answered = _ask("/_stcore/health", kind, **headers)
        assert status == (403 if kind == "http" else "websocket.close")
        # What was refused is not repeated in what the browser is told to allow.
        assert b"elsewhere" not in answered.get(b"content-security-policy", b"")

    @pytest.mark.parametrize("path", ["/_stcore/metrics", "//_stcore/metrics/"])
    def test_metrics_are_for_whoever_holds_the_token(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert _ask(path)[0] == 404
        # No token was set, so an empty one opens nothing.
        assert _ask(path, authorization="Bearer ")[0] == 404
        monkeypatch.setenv(serving.METRICS_TOKEN, "s3cret")
        assert _ask(path)[0] == 404
        assert _ask(path, authorization="Bearer s3creT")[0] == 404
        assert _ask(path, authorization="Bearer s3cret")[0] == 200

    def test_the_interface_for_programs_is_closed(self) -> None:
        assert _ask("/_stcore/agent/openapi.json")[0] == 404

    def test_what_came_from_a_file_is_not_kept_by_the_browser(self) -> None:
        assert _ask("/media/abc.csv")[1][b"cache-control"] == b"no-store"
        assert b"cache-control" not in _ask("/static/js/index.js")[1]

    def test_a_page_is_told_of_its_scripts_ahead(self) -> None:
        for path in ("/", "/ask"):
            link = _ask(path)[1][b"link"]
            assert link == b"<./static/js/a.js>; rel=modulepreload; crossorigin"
        for path in ("/static/js/index.js", "/_stcore/health", "/favicon.png"):
            assert b"link" not in _ask(path)[1]

    def test_a_bug_is_answered_with_headers_and_surfaces(self) -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "path": "/breaks", "method": "GET", "headers": [(b"host", b"localhost")]
        }  # fmt: skip
        with pytest.raises(ZeroDivisionError):
            asyncio.run(serving.Guard(_answers)(scope, None, send))  # type: ignore[arg-type]
        assert sent[0]["status"] == 500
        assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]


def test_the_page_of_streamlit_may_run_its_own_script_and_no_other() -> None:
    (guard,) = serving.middleware()
    (source,) = guard.kwargs["scripts"]
    text = "\n      window.prerenderReady = false\n    "
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert source == f"'sha256-{digest}'"


def test_scripts_that_a_first_page_needs_are_those_of_this_streamlit() -> None:
    (guard,) = serving.middleware()
    ahead = guard.kwargs["ahead"]
    static = Path(st.__file__).parent / "static"
    assert len(ahead) == len(set(ahead)) and all((static / path).is_file() for path in ahead)
    # Each part under its name, or Streamlit has renamed one.
    found = {Path(path).name.split(".")[0] for path in ahead}
    assert set(serving._PARTS) <= found


def test_an_upload_is_kept_in_memory_even_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A disk that is full or may not be written to, as a folder that is not there.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    monkeypatch.setattr(MultiPartParser, "spool_max_size", MultiPartParser.spool_max_size)
    serving.keep_uploads_in_memory()
    signal = b"\1\2\3\4" * (1 << 19)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.dat"\r\n\r\n'

    async def body() -> AsyncGenerator[bytes, None]:
        yield head
        for start in range(0, len(signal), 1 << 16):
            yield signal[start : start + (1 << 16)]
        yield b"\r\n--x--\r\n"

    async def parsed() -> bytes:
        headers = Headers({"content-type": "multipart/form-data; boundary=x"})
        form = await MultiPartParser(headers, body()).parse()
        (upload,) = form.values()
        assert isinstance(upload, UploadFile)
        data = await upload.read()
        await form.close()
        return data

    assert asyncio.run(parsed()) == signal
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


def test_a_closed_session_is_let_go_without_waiting_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = MemorySessionStorage(ttl_seconds=60)
    config = RuntimeConfig(
        "app.py", MemoryMediaFileStorage("/media"), MemoryUploadedFileManager("")
    )
    monkeypatch.setattr(Runtime, "_instance", None)
    Runtime(replace(config, session_storage=storage))

    class Session:
        id = "mine"

    session: Any = Session()
    there = weakref.ref(session)
    now = [0.0]
    monkeypatch.setattr(storage._cache, "_timer", lambda: now[0])
    storage.save(SessionInfo(client=None, session=session))
    del session
    # It may come back for a while.
    now[0] = 59.0
    assert serving.let_go_of_closed_sessions() == 0
    assert there() is not None
    now[0] = 61.0
    assert serving.let_go_of_closed_sessions() == 1
    assert there() is None
    gc.unfreeze()


def test_without_a_server_there_is_nothing_to_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "_instance", None)
    assert serving.let_go_of_closed_sessions() == 0
