"""Packages whose names load what they need when they are first used.

A package that re-exports names of many modules would import all of them for the sake of one. It
writes its imports under ``if TYPE_CHECKING`` instead, where type checkers and readers find them,
and has this module look them up there::

    if TYPE_CHECKING:
        from echoing_core.services.asking import ask
    else:
        __getattr__ = lazily(__name__, __file__)
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazily(package: str, file: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package that imports under ``if TYPE_CHECKING`` alone.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    file : str
        Its ``__file__``, which is read for the imports.

    Returns
    -------
    callable
        Raises AttributeError for names that are not imported there.
    """
    homes = _homes(Path(file))

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = homes[name]
        # Not kept in the package: a test that puts something else into the module for a while
        # would stay in force here.
        return getattr(importlib.import_module(module), original)

    return attribute


def _homes(file: Path) -> dict[str, tuple[str, str]]:
    """Module and name there of every name imported under ``if TYPE_CHECKING``."""
    homes: dict[str, tuple[str, str]] = {}
    for block in ast.parse(file.read_text(encoding="utf-8")).body:
        if not (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"):
            continue
        for node in block.body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    homes[alias.asname or alias.name] = (str(node.module), alias.name)
    return homes
