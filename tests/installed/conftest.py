"""The wheel, built once from what is in this checkout, in an environment that knows no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

# What the build reads; everything else of a checkout (tests, benchmarks, data) stays away from it.
SOURCES = (
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "requirements.txt",
    "requirements-research.txt",
    "requirements-serve.txt",
    "requirements-ray.txt",
    "requirements-s3.txt",
    "app.py",
    ".streamlit",
    "assets",
    "echoing_core",
    "indexes",
    "pages",
    "ui",
)


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel alone.

    Attributes
    ----------
    sdist, wheel : Path
        What was built.
    bin : Path
        Folder of its python and `echoing`.
    home : Path
        An empty folder to work in.
    """

    sdist: Path
    wheel: Path
    bin: Path
    home: Path

    def environment(self) -> dict[str, str]:
        """What a process gets: nothing of this checkout is on its path."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ECHOING_HOME")}
        return kept | {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home.parent),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command of the environment in the empty folder; returns its stdout."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd or self.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="package")
def installed(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Installed:
    """The wheel of an sdist of this checkout, installed outside of it.

    Dependencies are those of the environment that runs the tests: torch alone would take minutes
    to install. A path file leads to them; the package itself it cannot lead to, since an editable
    install of it lies in path files, which Python reads in its own folders only.
    """
    place = tmp_path_factory.mktemp("installed")
    source = place / "source"
    source.mkdir()
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        path = repo_root / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=left_out)
        else:
            shutil.copy(path, source / name)
    # As `python -m build` does by default, but with the setuptools that is there: no network.
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place / "dist"), "."],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (sdist,) = (place / "dist").glob("*.tar.gz")
    (wheel,) = (place / "dist").glob("*.whl")
    shutil.rmtree(source)
    venv.create(place / "venv", symlinks=True)
    bin_folder = place / "venv" / "bin"
    own = sysconfig.get_path("purelib", vars={"base": str(place / "venv")})
    (Path(own) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", str(bin_folder / "python"), "install")
    options = ("--quiet", "--no-deps", "--no-index", "--ignore-installed")
    subprocess.run([*pip, *options, str(wheel)], check=True, capture_output=True)
    home = place / "empty"
    home.mkdir()
    return Installed(sdist, wheel, bin_folder, home)
