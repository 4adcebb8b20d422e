"""The wheel alone, in an environment outside the checkout: it answers, and the app opens."""

from __future__ import annotations

import json
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path

import pytest

from echoing_core.version import __version__
from tests.installed.conftest import Installed

# One interpreter for all of it: importing torch is most of what each costs.
ANSWERS = """
import json, sys
from typer.testing import CliRunner
import echoing_core
from echoing_core.cli import app
from echoing_core.services import samples, shipped_models
told = {"file": echoing_core.__file__, "models": shipped_models()}
told["samples"] = [str(path) for sample in samples() for path in sample.paths]
commands = {
    "search": ["search", "lbbb without atrial fibrillation", "-k", "3", "--json", "-"],
    "ask": ["ask", "SIM_AF", "--prompt", "atrial fibrillation", "--json", "-"],
    "explain": ["explain", "SIM_NORMAL", "--json", "-"],
    "read": ["teacher", "read", "SIM_LBBB", "--recording", "SIM_LBBB", "--json", "-"],
}
for name, arguments in commands.items():
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    told[name] = json.loads(done.stdout)
print(json.dumps(told))
"""


# One test: in several, processes that share the slow tests would each build a wheel of their own.
@pytest.mark.slow
def test_the_wheel_alone_answers_and_opens_the_app(installed: Installed, repo_root: Path) -> None:
    check_the_archives_hold_what_is_needed_and_nothing_else(installed, repo_root)
    check_it_answers_from_an_empty_folder(installed, repo_root)
    check_the_command_is_there_and_says_where_the_recordings_are(installed)
    check_the_app_opens(installed)


def check_the_archives_hold_what_is_needed_and_nothing_else(
    installed: Installed, repo_root: Path
) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
        metadata = Parser().parsestr(
            archive.read(f"echoing_core-{__version__}.dist-info/METADATA").decode()
        )
        model = archive.read("echoing_core/_shipped/assets/models/demo/model.safetensors")
    shipped = {
        path.relative_to(repo_root).as_posix()
        for top in ("assets", "indexes", "pages", "ui")
        for path in (repo_root / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {"app.py", ".streamlit/config.toml"}
    inside = "echoing_core/_shipped/"
    assert {n.removeprefix(inside) for n in names if n.startswith(inside)} == shipped
    assert "echoing_core/py.typed" in names
    assert model == (repo_root / "assets/models/demo/model.safetensors").read_bytes()
    # Nothing beside the package: a module `ui` or `pages` in site-packages would be everybody's.
    assert {n.split("/")[0] for n in names} == {
        "echoing_core",
        f"echoing_core-{__version__}.dist-info",
    }
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("Provides-Extra") == ["research", "serve", "ray", "s3", "gpu"]
    required = metadata.get_all("Requires-Dist")
    pinned = (repo_root / "requirements.txt").read_text().splitlines()
    pinned = [line for line in pinned if line and not line.startswith("#")]
    assert [one for one in required if "extra" not in one] == pinned
    with tarfile.open(installed.sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped <= in_sdist and "setup.py" in in_sdist
    assert not any("_shipped" in name for name in in_sdist)


def check_it_answers_from_an_empty_folder(installed: Installed, repo_root: Path) -> None:
    told = json.loads(installed.run("python", "-c", ANSWERS))
    # Of the wheel and not of this checkout, both the code and what ships.
    inside = str(installed.bin.parent)
    assert told["file"].startswith(inside)
    assert all(path.startswith(inside) for path in told["samples"]) and told["samples"]
    assert str(repo_root) not in json.dumps(told)
    assert "demo" in told["models"]
    assert len(told["search"]["hits"]) == 3
    assert told["search"]["hits"][0]["simulated"] is True
    assert told["ask"]["answers"][0]["verdict"] == "yes"
    assert len(told["explain"]["windows"]) == 1
    assert told["read"]["echo_simulated"] is True and told["read"]["beside_ecg"]["comparisons"]
    assert list(installed.home.iterdir()) == []


def check_the_command_is_there_and_says_where_the_recordings_are(installed: Installed) -> None:
    assert "SIM_MUSIC" in (listed := installed.run("echoing", "samples", "list"))
    assert str(installed.bin.parent) in listed


def check_the_app_opens(installed: Installed) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _serving(installed, port) as process:
        page = _read(f"http://127.0.0.1:{port}/", process)
        assert page[0] == 200 and "<title>" in page[1]
        assert _read(f"http://127.0.0.1:{port}/_stcore/health", process) == (200, "ok")
    # What Streamlit says at its start follows .streamlit/config.toml, which lies in the wheel: this
    # machine alone, and no word to anybody else. Without it there is a "Network URL" as well.
    assert process.stdout is not None
    with process.stdout as lines:
        said = lines.read()
    assert f"URL: http://127.0.0.1:{port}" in said
    assert "Network URL" not in said and "usage statistics" not in said


@contextmanager
def _serving(installed: Installed, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [str(installed.bin / "echoing"), "app", "--port", str(port)],
        cwd=installed.home,
        env=installed.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _read(url: str, process: subprocess.Popen[str], *, within_s: float = 240.0) -> tuple[int, str]:
    """Status and text of a page, as soon as something answers there."""
    end = time.monotonic() + within_s
    while True:
        assert process.poll() is None, process.stdout and process.stdout.read()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end, "nothing answered"
            time.sleep(0.5)
