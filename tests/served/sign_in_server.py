"""A provider of sign-ins (OpenID Connect) for tests: whoever comes is who the test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "echoing"


@dataclass
class Provider:
    """What it says of the next person.

    Attributes
    ----------
    address : str
        Of the server.
    email : str
        Of who signs in next.
    """

    address: str = ""
    email: str = "somebody@clinic.example"
    nonces: dict[str, str] = field(default_factory=dict)


@contextmanager
def provider() -> Iterator[Provider]:
    """Such a server, as long as the block lasts."""
    told = Provider()
    key = RSAKey.generate_key(2048, {"kid": "of-this-test"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
            if asked.path == "/authorize":
                code = f"code-{len(told.nonces)}"
                told.nonces[code] = query["nonce"]
                back = urlencode({"code": code, "state": query["state"]})
                self.send_response(302)
                self.send_header("Location", f"{query['redirect_uri']}?{back}")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif asked.path == "/keys":
                self._say({"keys": [key.as_dict(private=False)]})
            else:
                self._say(
                    {
                        "issuer": told.address,
                        "authorization_endpoint": f"{told.address}/authorize",
                        "token_endpoint": f"{told.address}/token",
                        "jwks_uri": f"{told.address}/keys",
                        "id_token_signing_alg_values_supported": ["RS256"],
                    }
                )

        def do_POST(self) -> None:
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            claims = {
                "iss": told.address,
                "aud": CLIENT,
                "sub": told.email,
                "email": told.email,
                "nonce": told.nonces.pop(body["code"][0]),
                "iat": int(time.time()),
                "exp": int(time.time()) + 300,
            }
            token = jwt.encode({"alg": "RS256", "kid": "of-this-test"}, claims, key)
            self._say({"access_token": "a", "token_type": "Bearer", "id_token": token})

        def _say(self, words: Any) -> None:
            body = json.dumps(words).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
