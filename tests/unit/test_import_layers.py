"""The rooms of the package and the direction of imports between them (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "echoing_core"

ROOMS = (
    "version",
    "lazy",
    "errors",
    "records",
    "documents",
    "config",
    "stores",
    "artifacts",
    "progress",
    "workers",
    "plugins",
    "gate",
    "io",
    "signals",
    "rhythm",
    "measure",
    "zeroshot",
    "metrics",
    "models",
    "embed",
    "retrieve",
    "uncertainty",
    "reports",
    "simulate",
    "datasets",
    "echo",
    "training",
    "evaluate",
    "figures",
    "export",
    "services",
    "cli",
)
"""A room imports from itself and from rooms above it, never from one below."""

ONLY_IN = {
    "torch": (
        "models",
        "training",
        "embed/encode.py",
        "retrieve/gpu.py",
        "echo",
        "evaluate",
    ),
    "open_clip": ("echo",),
    "pydicom": ("io",),
    "av": ("io",),
    "faiss": ("retrieve/index.py", "retrieve/cells.py"),
    "wfdb": ("io",),
    "streamlit": (),
    "ui": (),
}
"""Who in the package may name these modules at all, in a function or at the top of a file."""

# The package's own file re-exports names of any room, lazily.
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Full dotted names that a file imports, wherever in the file it does."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} uses a relative import"
            yield str(node.module)
            # `from echoing_core import zeroshot` names a room in its second half.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def inside(path: Path, places: tuple[str, ...]) -> bool:
    relative = path.relative_to(PACKAGE)
    return any(relative.as_posix() == place or place in relative.parts[:1] for place in places)


def test_every_room_is_listed_once_and_exists() -> None:
    found = {room_of(path) for path in MODULES}
    assert len(set(ROOMS)) == len(ROOMS)
    assert found == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    height = ROOMS.index(room_of(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "echoing_core" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= height, f"{path.name} imports {name} from below"


@pytest.mark.parametrize("module", sorted(ONLY_IN))
def test_heavy_modules_stay_in_their_rooms(module: str) -> None:
    users = [path for path in MODULES if module in {n.split(".")[0] for n in imported(path)}]
    strangers = [p.relative_to(PACKAGE).as_posix() for p in users if not inside(p, ONLY_IN[module])]
    assert not strangers, f"{module} is imported by {strangers}"


@pytest.mark.parametrize(
    ("room", "unknown"),
    [
        ("signals", {"io"}),
        ("metrics", {"io", "models", "training", "embed", "retrieve"}),
        ("reports", {"models", "simulate"}),
        ("figures", {"io", "models", "embed", "retrieve"}),
    ],
)
def test_absences(room: str, unknown: set[str]) -> None:
    """What a room must not know although it stands above it."""
    for path in MODULES:
        if room_of(path) == room:
            names = {name.split(".")[1] for name in imported(path) if "echoing_core." in name}
            assert not names & unknown, path.name


PAGES = [
    ROOT / "app.py",
    *(path for folder in ("pages", "ui") for path in sorted((ROOT / folder).rglob("*.py"))),
]


def test_the_app_has_pages() -> None:
    assert len(PAGES) > 5


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_app_touches_neither_torch_nor_faiss_nor_readers(path: Path) -> None:
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] not in ("torch", "faiss", "wfdb", "transformers"), name
        # All else of the package comes through its services.
        if parts[0] == "echoing_core" and len(parts) > 1:
            assert parts[1] in ("services", "figures", "records", "errors"), name


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_state_of_a_session_is_touched_in_one_place(path: Path) -> None:
    if path != ROOT / "ui" / "state.py":
        assert "session_state" not in path.read_text(encoding="utf-8")


def test_what_one_page_alone_uses_is_used_by_no_other() -> None:
    folders = {path.stem for path in (ROOT / "pages").glob("*.py")}
    for path in PAGES:
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "ui" and len(parts) > 1 and parts[1] in folders:
                owner = path.stem if path.parent.name == "pages" else path.parent.name
                assert owner == parts[1], f"{path} uses {name}"


def test_the_checks_see_a_violation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    import faiss.contrib\n    from echoing_core import cli\n")
    assert list(imported(bad)) == ["faiss.contrib", "echoing_core", "echoing_core.cli"]
    assert inside(PACKAGE / "embed" / "encode.py", ONLY_IN["torch"])
    assert not inside(PACKAGE / "signals" / "leads.py", ONLY_IN["torch"])
