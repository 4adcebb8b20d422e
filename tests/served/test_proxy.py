"""The example of a web server in front (``examples/serve``), driven over HTTPS with sign-in."""

from __future__ import annotations

import datetime
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.served.conftest import free_port, running
from tests.served.session import Session
from ui import sign_in

pytestmark = pytest.mark.slow

NAME = "ecg.clinic.example"


@dataclass
class Front:
    """What a browser would see."""

    port: int
    plain_port: int
    trusted: ssl.SSLContext
    folder: Path
    cookies: dict[str, str]
    provider: Any

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def session(self) -> Session:
        # Where Streamlit hands out its token against forged requests.
        self.ask("/_stcore/health")
        held = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return Session(self.origin, self.port, held, self.trusted)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """One answer over TLS; cookies are kept, as a browser keeps them."""
        connection = http.client.HTTPSConnection(NAME, self.port, timeout=60)
        connection.sock = self.trusted.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), timeout=60), server_hostname=NAME
        )
        held = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(
            method, path, body, {"Host": f"{NAME}:{self.port}", "Cookie": held, **headers}
        )
        response = connection.getresponse()
        response.text = response.read().decode("utf-8", "replace")  # type: ignore[attr-defined]
        for line in response.headers.get_all("Set-Cookie") or []:
            self.cookies.update({name: one.coded_value for name, one in SimpleCookie(line).items()})
        connection.close()
        return response

    def sign_in(self) -> None:
        """Press the button, and follow where it leads to and back."""
        self.cookies.clear()
        with self.session() as page:
            assert page.run().headings == [sign_in.TITLE]
            address = page.run(pressed="Sign in").redirect
        for _ in range(4):
            parts = urlsplit(address)
            path = f"{parts.path}?{parts.query}"
            if parts.netloc in ("", f"{NAME}:{self.port}"):
                response = self.ask(path)
            else:
                outside = http.client.HTTPConnection(parts.netloc, timeout=60)
                outside.request("GET", path)
                response = outside.getresponse()
                outside.close()
            if response.status not in (302, 307):
                return
            address = response.headers["Location"]
        pytest.fail("signing in leads nowhere")


def _certificate(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, f"the example has no {old!r} any more"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def front(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx with the example's configuration and the app with its secrets behind it."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        if os.environ.get("ECHOING_REQUIRE_NGINX") == "1":
            pytest.fail("ECHOING_REQUIRE_NGINX is set and no nginx is installed")
        pytest.skip("no nginx is installed (apt-get install nginx-light)")
    pytest.importorskip("authlib", reason="Authlib is not installed (requirements-serve.txt)")
    from tests.served.sign_in_server import CLIENT, provider

    folder = tmp_path_factory.mktemp("front")
    _certificate(folder)
    port, plain_port = free_port(), free_port()
    with provider() as told:
        secrets = _replaced(
            (repo_root / "examples" / "serve" / "secrets.toml").read_text(),
            (f"https://{NAME}/", f"https://{NAME}:{port}/"),
            ("https://login.clinic.example", told.address),
            ('cookie_secret = "CHANGE-ME"', f'cookie_secret = "{os.urandom(32).hex()}"'),
            ('client_id = "CHANGE-ME"', f'client_id = "{CLIENT}"'),
        )
        (folder / "secrets.toml").write_text(secrets)
        with running(
            repo_root,
            folder / "app.log",
            f"--secrets.files={folder / 'secrets.toml'}",
            environment={"STREAMLIT_SERVER_ALLOWED_HOSTS": f"other.example {NAME}"},
        ) as app_port:
            example = (repo_root / "examples" / "serve" / "nginx.conf").read_text()
            settings = _replaced(
                example,
                ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
                ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
                ("/run/nginx.pid", str(folder / "nginx.pid")),
                ("/var/log/nginx", str(folder)),
                ("/etc/echoing", str(folder)),
                ("127.0.0.1:8501", f"127.0.0.1:{app_port}"),
                ("http {\n", f"http {{\n    client_body_temp_path {folder}/bodies;\n"),
            )
            (folder / "nginx.conf").write_text(settings)
            # The folder of a test is closed to other users, and root's nginx would become one.
            alone = "daemon off;" + (" user root;" if os.getuid() == 0 else "")
            with (folder / "nginx.err").open("wb") as said:
                process = subprocess.Popen(
                    [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", alone],
                    stderr=said,
                )
            trusted = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
            front = Front(port, plain_port, trusted, folder, {}, told)
            try:
                end = time.monotonic() + 60
                while True:
                    try:
                        socket.create_connection(("127.0.0.1", port), timeout=5).close()
                        break
                    except OSError:
                        if process.poll() is not None or time.monotonic() > end:
                            pytest.fail((folder / "nginx.err").read_text())
                        time.sleep(0.1)
                yield front
            finally:
                process.terminate()
                process.wait(timeout=60)


def test_pages_come_over_tls_with_all_headers(front: Front) -> None:
    page = front.ask("/")
    assert page.status == 200
    assert page.headers["Strict-Transport-Security"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    policy = page.headers["Content-Security-Policy"]
    assert f"wss://{NAME}:{front.port}" in policy
    plain = http.client.HTTPConnection("127.0.0.1", front.plain_port, timeout=60)
    plain.request("GET", "/ask", headers={"Host": NAME})
    sent_on = plain.getresponse()
    assert (sent_on.status, sent_on.headers["Location"]) == (308, f"https://{NAME}/ask")
    plain.close()


def test_nobody_else_is_let_in_by_a_name_or_a_side_door(front: Front) -> None:
    assert front.ask("/_stcore/metrics").status == 404
    assert front.ask("/", Host="elsewhere.example").status == 421
    assert front.ask("/", Origin="https://elsewhere.example").status == 403
    with pytest.raises((ssl.SSLError, ConnectionError)):
        front.trusted.wrap_socket(
            socket.create_connection(("127.0.0.1", front.port), timeout=60),
            server_hostname="elsewhere.example",
        )


@pytest.mark.parametrize("name", ["", "ask", "model"])
def test_who_has_not_signed_in_sees_a_button_and_nothing_else(front: Front, name: str) -> None:
    front.cookies.clear()
    with front.session() as session:
        session.run(name)
        assert session.headings == [sign_in.TITLE]
        assert list(session.buttons) == ["Sign in"]


def test_members_sign_in_and_out_and_others_do_not_get_further(
    front: Front,
) -> None:
    front.provider.email = "Somebody@Clinic.Example"
    front.sign_in()
    with front.session() as session:
        session.run()
        assert session.headings[0] == "Explore a recording"
        address = session.run(pressed="Sign out").redirect
    front.ask(urlsplit(address).path)
    with front.session() as session:
        assert session.run().headings == [sign_in.TITLE]
    # Known to the provider, and not among those of the example's list.
    front.provider.email = "somebody@elsewhere.example"
    front.sign_in()
    with front.session() as session:
        assert session.run("ask").headings == [sign_in.TITLE]
        assert list(session.buttons) == ["Sign out"]


def test_a_file_is_taken_from_a_session_alone_and_never_too_large(front: Front) -> None:
    # Refused by nginx before a byte of it was read, and by the app, since no session asked for it.
    large = front.ask(
        "/_stcore/upload_file/x/y", "PUT", b"", **{"Content-Length": str(300 * 2**20)}
    )
    assert large.status == 413
    assert front.ask("/_stcore/upload_file/x/y", "PUT", b"1" * 2**20).status in (400, 403)
    assert front.ask("/ask", "POST", b"1" * 2**17).status == 413
    assert [p for p in (front.folder / "bodies").rglob("*") if p.is_file()] == []


def test_the_log_holds_paths_and_no_queries(front: Front) -> None:
    front.ask("/ask?prompt=atrial")
    end = time.monotonic() + 30
    log = front.folder / "access.log"
    while "GET /ask 200" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.1)
    assert "GET /ask 200" in log.read_text()
    assert "atrial" not in log.read_text()


def test_who_asks_too_often_is_told_so(front: Front) -> None:
    # The last one, since it uses the limit up.
    seen = {front.ask("/_stcore/upload_file/x/y", "PUT", b"1").status for _ in range(40)}
    assert 429 in seen
