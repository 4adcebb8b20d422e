"""Names, origins and headers on every route of the running app."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPResponse

import pytest

pytestmark = pytest.mark.slow

# One of each kind that Streamlit 1.67 serves: pages, its core, files, parts of pages, frontend.
ROUTES = {
    "/": 200,
    "/ask": 200,
    "/?leads=I": 200,
    "/no-such-page": 200,
    "/index.html": 200,
    "/favicon.png": 200,
    "/static/js/no-such-script.js": None,
    "/_stcore/health": 200,
    "/_stcore/host-config": 200,
    "/_stcore/metrics": 404,
    "/_stcore/agent/openapi.json": 404,
    "/_stcore/script-health-check": None,
    "/_stcore/stream": None,
    "/_stcore/upload_file/none/none": None,
    "/_stcore/bidi-components/none": None,
    "/media/none.csv": 404,
    "/component/none": 404,
    "/app/static/none": None,
    "/oauth2callback": None,
    "/auth/login": None,
    "/auth/logout": None,
    "//": None,
    "/%2e%2e/%2e%2e/etc/passwd": None,
}


def ask(port: int, path: str, *, method: str = "GET", **headers: str) -> HTTPResponse:
    """One answer, read whole; ``Host`` may be any."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{port}", "Content-Length": "0", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    response.text = response.read().decode("utf-8", "replace")  # type: ignore[attr-defined]
    connection.close()
    return response


def assert_signed(response: HTTPResponse) -> None:
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in response.headers["Permissions-Policy"]
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy and "'unsafe-inline'" not in policy.split("style-src")[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_every_answer_has_the_headers_and_no_foreign_name_gets_one(
    app_port: int, method: str
) -> None:
    for path, status in ROUTES.items():
        response = ask(app_port, path, method=method)
        assert_signed(response)
        assert response.status < 500, (method, path)
        if method == "GET" and status is not None:
            assert response.status == status, path
        for foreign in (
            {"Host": "elsewhere.example"},
            {"Host": f"127.0.0.1.elsewhere.example:{app_port}"},
            {"Host": ""},
            {"Origin": "https://elsewhere.example"},
            {"Origin": "http://localhost:3000"},
            {"Origin": "null"},
        ):
            refused = ask(app_port, path, method=method, **foreign)
            assert refused.status == 403, (method, path, foreign)
            assert_signed(refused)
            assert "root:" not in refused.text  # type: ignore[attr-defined]


def test_metrics_open_with_the_token_alone(app_port: int) -> None:
    assert ask(app_port, "/_stcore/metrics", Authorization="Bearer wrong").status == 404
    told = ask(app_port, "/_stcore/metrics", Authorization="Bearer token-of-this-test")
    assert told.status == 200
    assert "session" in told.text  # type: ignore[attr-defined]


def test_no_site_may_steer_the_app_from_around_a_frame(app_port: int) -> None:
    told = ask(app_port, "/_stcore/host-config")
    assert json.loads(told.text)["allowedOrigins"] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"Origin": "http://127.0.0.1:{port}"}, 101),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Host": "elsewhere.example", "Origin": "http://elsewhere.example"}, 403),
    ],
)
def test_the_websocket_too(app_port: int, headers: dict[str, str], status: int) -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        **{name: value.format(port=app_port) for name, value in headers.items()},
    }
    connection = HTTPConnection("127.0.0.1", app_port, timeout=60)
    connection.putrequest("GET", "/_stcore/stream", skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{app_port}", **handshake}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == status
    if status == 101:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    connection.close()
