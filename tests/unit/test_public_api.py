"""What `import echoing_core` gives, and what it leaves alone."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import echoing_core
from echoing_core import services

PROBE = """
import json, sys
import echoing_core
heavy = ("torch", "streamlit", "faiss", "transformers", "sklearn", "wfdb", "pandas")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_the_public_names_are_these() -> None:
    assert set(echoing_core.__all__) == {
        "EchoingDataset",
        "EchoingFeatures",
        "__version__",
        "ask",
        "explain",
        "load_index",
        "load_model",
        "read_recording",
        "search",
    }


def test_every_public_name_is_there_and_comes_from_where_it_says() -> None:
    for name in echoing_core.__all__:
        value = getattr(echoing_core, name)
        if callable(value):
            assert value.__name__ == name
            assert getattr(importlib.import_module(value.__module__), name) is value
    assert set(echoing_core._HOME) | {"__version__"} == set(echoing_core.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = echoing_core.no_such_name  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", ["export", "figures", "cli", "zeroshot", "metrics", "evaluate"])
def test_what_rooms_export_exists(room: str) -> None:
    module = importlib.import_module(f"echoing_core.{room}")
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name), f"echoing_core.{room}.__all__ names {name}"


def test_what_is_taken_from_services_exists() -> None:
    """The commands and the app take names from them in functions, which an import does not see."""
    root = Path(__file__).resolve().parents[2]
    users = [*(root / "echoing_core" / "cli").glob("*.py"), *(root / "ui").rglob("*.py")]
    taken = set()
    for path in [*users, *(root / "pages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                taken |= {node.attr} if node.value.id == "services" else set()
    assert len(taken) > 50
    assert not [name for name in sorted(taken) if not hasattr(services, name)]


@pytest.mark.parametrize("statement", ["import echoing_core", "import echoing_core.cli"])
def test_importing_is_cheap_and_leaves_no_trace(statement: str, tmp_path: Path) -> None:
    probe = PROBE.replace("import echoing_core\n", statement + "\n")
    done = subprocess.run(
        [sys.executable, "-B", "-c", probe],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_importing_services_loads_no_torch(tmp_path: Path) -> None:
    probe = PROBE.replace("import echoing_core\n", "import echoing_core.services\n")
    command = [sys.executable, "-B", "-c", probe]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & {"torch", "streamlit", "faiss", "transformers"}
