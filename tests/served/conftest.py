"""A running app on this machine, asked over HTTP by no browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

_START_S = 240.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    root: Path, log_path: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """The app, started as people start it; gives its port.

    Parameters
    ----------
    root : Path
        Of the checkout.
    log_path : Path
        What it says.
    *options : str
        Of Streamlit.
    environment : mapping of str to str, optional
        On top of this process's.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.port", str(port), *options],
            cwd=root,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
        try:
            end = time.monotonic() + _START_S
            while not answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the app did not come up: {log_path.read_text()[-2000:]}")
                time.sleep(0.2)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=60)


def answers(port: int) -> bool:
    """Whether anybody serves there yet."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/_stcore/health")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


@pytest.fixture(scope="session")
def app_port(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a running app with a token for its metrics."""
    log_path = tmp_path_factory.mktemp("served") / "log.txt"
    with running(
        repo_root, log_path, environment={"ECHOING_METRICS_TOKEN": "token-of-this-test"}
    ) as port:
        yield port
