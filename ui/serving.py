"""What stands between the network and the app: names, origins, headers, closed routes.

Streamlit checks ``Host`` on its WebSocket alone and sends no security header at all, so every other
route answers whoever asks, under any name that leads here. `Guard` is ASGI middleware of `st.App`,
Streamlit's own way to add some, and every request passes it first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import hashlib
import hmac
import logging
import os
import re
import sys
import webbrowser
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from streamlit import runtime

from echoing_core.errors import ConfigError
from echoing_core.services import uploads
from echoing_core.services.audit import check_audit
from ui import sign_in, warming

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

METRICS_TOKEN = "ECHOING_METRICS_TOKEN"
# Counts of sessions and memory, for whoever holds the token.
_METRICS = "/_stcore/metrics"
# Streamlit's interface for programs is off, and says at length what it would do if it were on.
_CLOSED = ("/_stcore/agent",)
# What came from a patient's file leaves through these: no copy in the browser's cache on disk.
_NEVER_STORED = ("/media", "/_stcore/upload_file")

_SWEPT_EVERY_S = 30.0
# Of glibc's malloc.h.
_M_ARENA_MAX = -8

# A name, an IPv4 or a bracketed IPv6 address, and perhaps a port; anything else is no host.
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,252}))(?::\d{1,5})?")
# Parts of Streamlit that the first page draws with, and then an ECG: it fetches each when it first
# meets one.
_PARTS = (
    "PageLink",
    "Button",
    "FileUploader",
    "Html",
    "WidgetLabelHelpIcon",
    "axios",
    "BidiComponent",
)
_POWERS = (
    "accelerometer", "autoplay", "camera", "display-capture", "geolocation",
    "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment", "serial", "usb",
    "xr-spatial-tracking",
)  # fmt: skip
_FIXED = {
    "X-Content-Type-Options": "nosniff",
    # For browsers that know no frame-ancestors.
    "X-Frame-Options": "DENY",
    # To the app itself, never to another site: a link to it may hold choices.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{power}=()" for power in _POWERS),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def middleware() -> list[Middleware]:
    """What `st.App` is to run before everything of its own.

    Returns
    -------
    list of Middleware

    Raises
    ------
    SystemExit
        Secrets are there and cannot be read (`sign_in.check_secrets`), or the audit is on and has
        nowhere to go.
    """
    try:
        sign_in.check_secrets(st.get_option("secrets.files"))
        check_audit()
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    keep_uploads_in_memory()
    _few_arenas()
    uploads.sweep()
    return [Middleware(Guard, scripts=_inline_scripts(), ahead=_parts())]


def keep_uploads_in_memory() -> None:
    """From now on this process puts nothing of an upload on a disk, not even by crashing.

    The server's parser of requests would put what is larger than 1 MB into a temporary file without
    a name. How much may come at all is limited by ``server.maxUploadSize`` before it.
    """
    MultiPartParser.spool_max_size = sys.maxsize
    uploads.no_core_file()


def _few_arenas() -> None:
    """Let threads share the C library's memory, so that what one frees another can use.

    It would give each thread of a session a region of its own, of which little ever goes back.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 2)


@asynccontextmanager
async def running(app: object) -> AsyncIterator[None]:
    """As long as the server runs: what sessions held is let go soon after they were closed.

    At the start the browser is opened, where there is a display. `st.App` leaves that to the app.
    The server listens right after this start, hence the second.

    Parameters
    ----------
    app : object
        Unused; named by `st.App`.
    """
    if not st.get_option("server.headless"):
        address = f"http://127.0.0.1:{st.get_option('server.port')}"
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: loop.run_in_executor(None, webbrowser.open, address))
    warming.begin()
    sweeping = asyncio.create_task(_sweep_sessions())
    yield
    sweeping.cancel()


async def _sweep_sessions() -> None:
    while True:
        await asyncio.sleep(_SWEPT_EVERY_S)
        try:
            let_go_of_closed_sessions()
        except Exception:
            # Whatever Streamlit changes inside, the server goes on, and its log tells.
            logger.exception("closed sessions could not be let go")


def let_go_of_closed_sessions() -> int:
    """Forget sessions whose browser has been away longer than it may come back.

    Streamlit keeps a session for two minutes after its connection is lost. It then forgets it when
    the next one is lost, which on a quiet server is tomorrow; so long a recording would stay.

    Returns
    -------
    int
        So many were forgotten.
    """
    if not runtime.exists():
        return 0
    # A thin wrapper around a cache of `cachetools`; Streamlit gives no other way to it.
    storage: Any = runtime.get_instance()._session_mgr._session_storage  # type: ignore[attr-defined]
    gone = len(list(storage._cache.expire()))
    if gone:
        warming.set_aside()
        # Freed memory goes back to the system, where the C library can do that.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    return gone


class Guard:
    """Refuses foreign names and origins, closes routes, and signs every answer with headers.

    Parameters
    ----------
    app : ASGI application
    scripts : sequence of str
        Sources that may run although they stand in the page itself, as Content-Security-Policy
        writes them.
    ahead : sequence of str
        Scripts that the browser is told to fetch beside those that the page names.
    """

    def __init__(
        self, app: ASGIApp, scripts: Sequence[str] = (), ahead: Sequence[str] = ()
    ) -> None:
        self.app = app
        self.scripts = tuple(scripts)
        self.ahead = ", ".join(f"<./{path}>; rel=modulepreload; crossorigin" for path in ahead)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI says."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        host = only(scope["headers"], b"host")
        origin = only(scope["headers"], b"origin", absent="")
        refusal = self._refusal(scope, host, origin)
        headers = self._headers(None if refusal else host, scope["path"])
        answering = False

        async def signed(message: Message) -> None:
            nonlocal answering
            if message["type"] in ("http.response.start", "websocket.accept"):
                answering = True
                ours = {name for name, _ in headers}
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
                message = {**message, "headers": [*kept, *headers]}
            await send(message)

        if refusal is not None:
            await _refuse(scope, signed, *refusal)
            return
        try:
            await self.app(scope, receive, signed)
        except Exception:
            # The framework's own answer to a bug goes around this middleware, without headers.
            if not answering and scope["type"] == "http":
                await _refuse(scope, signed, 500, "Internal server error.")
            raise

    def _refusal(
        self, scope: Scope, host: str | None, origin: str | None
    ) -> tuple[int, str] | None:
        allowed: list[str] = st.get_option("server.allowedHosts")
        if not host_is_allowed(host, allowed):
            return 403, "This app is not served under that name (server.allowedHosts)."
        # Streamlit would ask a server on the internet which address this machine has, before it
        # refuses, and would let every other program of this machine in.
        if not origin_is_allowed(origin, host, st.get_option("server.corsAllowedOrigins")):
            return 403, "No other site may use this app (server.corsAllowedOrigins)."
        path = "/" + scope["path"].strip("/")
        if path == _METRICS and not _holds_token(scope["headers"]):
            return 404, "Not found."
        if any(path == closed or path.startswith(closed + "/") for closed in _CLOSED):
            return 404, "Not found."
        return None

    def _headers(self, host: str | None, path: str) -> list[tuple[bytes, bytes]]:
        # Some browsers do not count WebSockets of the same host as 'self'. A refused host is never
        # repeated here.
        sockets = f" ws://{host} wss://{host}" if host else ""
        policy = {
            "default-src": "'none'",
            # Our own parts of a page are handed to the browser as blobs.
            "script-src": " ".join(("'self'", "blob:", *self.scripts)),
            "style-src": "'self' 'unsafe-inline'",
            "img-src": "'self' data: blob:",
            "font-src": "'self' data:",
            "media-src": "'self' blob:",
            "connect-src": "'self'" + sockets,
            "worker-src": "'self' blob:",
            "manifest-src": "'self'",
            "base-uri": "'self'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
        }
        words = {
            **_FIXED,
            "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in policy.items()),
        }
        if path.startswith(_NEVER_STORED):
            words["Cache-Control"] = "no-store"
        if self.ahead and "/" not in path[1:] and "." not in path:
            words["Link"] = self.ahead
        return [(k.lower().encode(), v.encode("latin-1")) for k, v in words.items()]


def only(
    headers: Iterable[tuple[bytes, bytes]], name: bytes, absent: str | None = None
) -> str | None:
    """The value of a header that may stand once.

    Parameters
    ----------
    headers : iterable of pairs of bytes
        Names in lower case, as ASGI has them.
    name : bytes
    absent : str, optional
        What no such header means.

    Returns
    -------
    str or None
        None where it stands twice: two programs would read two different ones.
    """
    found = [value.decode("latin-1") for key, value in headers if key == name]
    if not found:
        return absent
    return found[0] if len(found) == 1 else None


def host_is_allowed(host: str | None, allowed: Sequence[str]) -> bool:
    """Whether the app answers to a name.

    Parameters
    ----------
    host : str or None
        The header ``Host``; None if there is none, or several.
    allowed : sequence of str
        Names without port, as ``server.allowedHosts`` has them: ``*.clinic.example`` is every name
        below, ``*`` every name. Empty allows all, as Streamlit means it.

    Returns
    -------
    bool
    """
    if host is None or (read := _HOST.fullmatch(host.lower())) is None:
        return False
    name = read["name"].rstrip(".").strip("[]")
    for one in allowed:
        pattern = one.strip().lower().rstrip(".").strip("[]")
        if pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return True
    return not allowed


def origin_is_allowed(origin: str | None, host: str | None, allowed: Sequence[str]) -> bool:
    """Whether a page may ask, by where it came from.

    Parameters
    ----------
    origin : str or None
        The header ``Origin``; empty where there is none (a program, or a page of the app itself
        that only reads), None where there are several.
    host : str or None
    allowed : sequence of str
        Further origins, such as ``https://ecg.clinic.example``.

    Returns
    -------
    bool
    """
    if not origin:
        return origin is not None
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    same = host is not None and parts.netloc == host.lower()
    return same or origin.lower().rstrip("/") in {o.strip().lower().rstrip("/") for o in allowed}


def _holds_token(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    token = os.environ.get(METRICS_TOKEN, "")
    given = only(headers, b"authorization", absent="") or ""
    # compare_digest takes as long for a wrong token as for one that is nearly right.
    return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def _inline_scripts() -> list[str]:
    """The hashes of what runs inside Streamlit's own page, so that nothing else inside one may."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    return [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    ]


def _parts() -> list[str]:
    """The scripts of `_PARTS` and those that they need, without those that the page names."""
    static = Path(st.__file__).parent / "static"
    page = (static / "index.html").read_text(encoding="utf-8")
    found: dict[str, None] = {}
    names = [
        path.name for part in _PARTS for path in (static / "static" / "js").glob(f"{part}.*.js")
    ]
    while names:
        name = names.pop(0)
        if name in found or f"static/js/{name}" in page:
            continue
        found[name] = None
        text = (static / "static" / "js" / name).read_text(encoding="utf-8")
        names += re.findall(r'(?:from|import)"\./([\w.-]+\.js)"', text)
    return [f"static/js/{name}" for name in found]


async def _refuse(scope: Scope, send: Any, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        # Before it was accepted, that is a 403 to whoever asked.
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        return
    body = (sentence + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
