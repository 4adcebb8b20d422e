"""The repository is fit to be given away: no machine's own paths, no huge files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 25_000_000

# Absolute homes, mounts and clusters; the halves are apart so that this file passes itself.
_ROOTS = (
    "ho" + "me",
    "Us" + "ers",
    "clu" + "ster",
    "scr" + "atch",
    "mn" + "t",
    "wo" + "rk",
    "disk1",
)
PRIVATE = re.compile(rf"(?<![\w.])/(?:{'|'.join(_ROOTS)})/[\w.-]+|[A-Za-z]:\\{_ROOTS[1]}\\")


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("this is not a git checkout, so nobody knows which files belong to it")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary: weights, vectors, signals
        found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in PRIVATE.finditer(text)]
    assert not found


def test_no_file_is_too_large_to_clone() -> None:
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    assert sizes
    assert not {name: size for name, size in sizes.items() if size >= MAX_BYTES}


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("read '/ho" + "me/ada/ecg'", True),
        ("/wo" + "rk/main", True),
        ("C:\\Us" + "ers\\ada", True),
        ("../shared/data", False),
        ("https://example.org/ho" + "me/page", False),
        ("assets/wo" + "rk/file", False),
    ],
)
def test_the_pattern_tells_private_from_public(text: str, private: bool) -> None:
    assert bool(PRIVATE.search(text)) is private
