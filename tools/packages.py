"""What is installed, exactly, and under which licences.

    python tools/packages.py lock       # writes requirements.lock
    python tools/packages.py licences   # prints a table in Markdown

The lock names every package that requirements.txt and requirements-serve.txt lead to, in one
version and with the hash of its file. It holds for the system and Python that it was made on,
which it says.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LISTS = ("requirements.txt", "requirements-serve.txt")
LOCK = ROOT / "requirements.lock"
# What builds this package itself; taken from the lock too, so that nothing comes without a hash.
BUILDS = "setuptools>=77"


def lock_text(report: dict[str, Any]) -> str:
    """The lock that a report of pip says.

    Parameters
    ----------
    report : dict
        Of ``pip install --report``.

    Returns
    -------
    str
        One package after another, by name.

    Raises
    ------
    ValueError
        A package came without a hash, or from elsewhere than an index of packages.
    """
    system = report["environment"]
    lines = [
        "# Made by `make lock`; not to be changed by hand. `make app LOCKED=1` installs from it.",
        f"# For {system['sys_platform']} on {system['platform_machine']} and Python "
        f"{system['python_version']}; elsewhere use requirements.txt, or make it anew.",
        "# torch is the one without CUDA, which PyPI does not have:",
        "# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make app LOCKED=1",
    ]
    for item in sorted(report["install"], key=lambda i: canonicalize_name(i["metadata"]["name"])):
        name, version = canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if digest is None:
            raise ValueError(f"{name} {version} came without a sha256")
        lines += [f"{name}=={version} \\", f"    --hash=sha256:{digest}"]
    return "\n".join(lines) + "\n"


def lock() -> None:
    """Ask pip what it would install into an empty environment, and write that down."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        wanted = [part for name in LISTS for part in ("-r", str(ROOT / name))]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        options = ["--ignore-installed", "--only-binary=:all:", "--report", str(path)]
        subprocess.run([*command, *options, *wanted, BUILDS], check=True)
        report = json.loads(path.read_text())
    LOCK.write_text(lock_text(report), encoding="utf-8")
    print(f"{len(report['install'])} packages in {LOCK.name}")


def licence_of(about: importlib.metadata.PackageMetadata) -> str:
    """The licence that a package says it has.

    Parameters
    ----------
    about : PackageMetadata

    Returns
    -------
    str
        An SPDX expression where it gives one, or else the words of its classifiers or its field.
    """
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    # Some put the whole text into the field.
    first = str(about.get("License") or "").strip().split("\n")[0][:60]
    return "; ".join(classifiers) or first or "not said"


def needed() -> list[str]:
    """Names of the packages that the app needs, and that those need, as they are installed."""
    waiting = [
        Requirement(line).name
        for name in LISTS
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith(("#", "-"))
    ]
    found: set[str] = set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            about = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        wanted = [Requirement(line) for line in about.requires or []]
        waiting += [
            one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return sorted(found)


def licences() -> None:
    """Print one line a package."""
    print("| package | version | licence |", "|---|---|---|", sep="\n")
    for name in needed():
        about = importlib.metadata.metadata(name)
        print(f"| {name} | {about['Version']} | {licence_of(about).replace('|', '/')} |")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    _parser.add_argument("what", choices=("lock", "licences"))
    {"lock": lock, "licences": licences}[_parser.parse_args().what]()
