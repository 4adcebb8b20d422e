"""Nothing that a user can bring is ever unpickled, evaluated or executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [
    ROOT / "app.py",
    *(p for room in ("echoing_core", "ui", "pages") for p in sorted((ROOT / room).rglob("*.py"))),
]

MODULES = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
CALLS = {
    "torch.load",
    "torch.hub.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "os.system",
    "eval",
    "exec",
    "__import__",
}


# The server and its own workers speak in pickles. Calls go only from the server to the worker; what
# a worker answers, which a hostile file may have a hand in, is read by an allow-list alone
# (tests/unit/gate).
BETWEEN_PROCESSES = {
    "echoing_core/gate/pool.py": [],
    "echoing_core/gate/wire.py": [],
    "echoing_core/gate/worker.py": ["pickle.load"],
}
"""Modules that may import pickle, and what of it reads."""


def dangers(source: str) -> Iterator[str]:
    """What in a piece of code could run what a file says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        else:
            names = []
        yield from (name for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from full & CALLS
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in CALLS:
                yield called
            for keyword in node.keywords:
                value = keyword.value
                true = isinstance(value, ast.Constant) and value.value is True
                if keyword.arg in ("allow_pickle", "shell", "trust_remote_code") and (
                    true or not isinstance(value, ast.Constant)
                ):
                    yield f"{keyword.arg}={ast.unparse(value)}"


@pytest.mark.parametrize("path", PRODUCT, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_product_code_loads_nothing_unsafely(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    reads = BETWEEN_PROCESSES.get(path.relative_to(ROOT).as_posix())
    assert list(dangers(source)) == ([] if reads is None else ["pickle"])
    called = {ast.unparse(n.func) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)}
    assert sorted(called & {"pickle.load", "pickle.loads"}) == (reads or [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f(p):\n    import torch\n    return torch.load(p)",
        "from torch import load",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "yaml.load(text)",
        "subprocess.run(c, shell=True)",
        "eval(text)",
    ],
)
def test_the_check_sees_what_it_looks_for(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source", ["yaml.safe_load(t)", "np.load(p, allow_pickle=False)", "model.eval()"]
)
def test_the_check_lets_safe_code_pass(source: str) -> None:
    assert not list(dangers(source))
