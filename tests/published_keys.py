"""Lists of the names and shapes of published weights, which lie beside the checkout."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import pytest
from torch import nn

FACTS = Path(__file__).resolve().parents[2] / "shared" / "facts"


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name; the test is skipped where there is no list."""
    path = FACTS / name
    if not path.is_file():
        pytest.skip(f"the list {name} is not beside this checkout")
    with path.open(encoding="utf-8") as file:
        return {row[0]: ast.literal_eval(row[1]) for row in csv.reader(file, delimiter="\t")}


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The same of a network."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def n_parameters(module: nn.Module) -> int:
    """How many numbers can be trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
