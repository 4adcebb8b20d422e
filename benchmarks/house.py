"""The house in numbers: rooms, floors, arrows, lines, what the main jobs reach, comments.

``python benchmarks/house.py [CHECKOUT ...]`` prints one column for each checkout, so that a
redesign can be set beside what was there before. Only the text of the files is read.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "echoing_core"
FRONT = ("ui", "pages", "tests", "benchmarks")


class House:
    """Modules of a checkout's package, and who imports whom."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {self._name(p): p for p in sorted((root / PACKAGE).rglob("*.py"))}
        self.text = {name: path.read_text(encoding="utf-8") for name, path in self.files.items()}
        self.tree = {name: ast.parse(text) for name, text in self.text.items()}
        self.imports = {name: frozenset(self._imports(name, lazy=True)) for name in self.files}
        self.at_start = {name: frozenset(self._imports(name, lazy=False)) for name in self.files}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root / PACKAGE).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _imports(self, name: str, *, lazy: bool) -> Iterator[str]:
        for node in ast.walk(self.tree[name]) if lazy else _at_start(self.tree[name]):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                # `from room import module` names a module in its second half.
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for full in wanted:
                if not full.startswith(PACKAGE + "."):
                    continue
                short = full.removeprefix(PACKAGE + ".")
                target = short if short in self.files else short.rpartition(".")[0]
                if target in self.files and target != name:
                    yield target

    def reachable(self, start: str) -> set[str]:
        """Modules that a module imports, directly or not, wherever in a file it does."""
        seen, todo = set(), [start]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.imports[name]
        return seen

    def floors(self, arrows: Mapping[str, frozenset[str]]) -> int:
        """Number of rooms on the longest chain of imports; rooms import in one direction only."""
        heights: dict[str, int] = {}

        def height(name: str) -> int:
            if name not in heights:
                heights[name] = 1 + max((height(below) for below in arrows[name]), default=0)
            return heights[name]

        return max(height(name) for name in arrows)

    def room_arrows(self) -> dict[str, frozenset[str]]:
        rooms: dict[str, set[str]] = {}
        for name, targets in self.imports.items():
            if name:
                own = name.split(".")[0]
                rooms.setdefault(own, set()).update(t.split(".")[0] for t in targets if t)
        return {room: frozenset(targets - {room}) for room, targets in rooms.items()}


def _at_start(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run when a module is imported: not those in functions or for checkers."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        todo += list(ast.iter_child_nodes(node))


def _lazy(tree: ast.Module) -> int:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)}
    return len(found)


def _lines(text: str, tree: ast.Module) -> tuple[int, int]:
    """Lines of code (no blank, comment or docstring) and comments."""
    comments, code = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if not token.string.startswith(("# type:", "# noqa")):
                comments.add(token.start[0])
        elif token.type not in (
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        ):
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code), len(comments)


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                todo += node.body


SECTIONS = ("Parameters\n", "Returns\n", "Raises\n", "Attributes\n", "Yields\n", "References\n")


def measured(root: Path) -> dict[str, str]:
    """Every figure of a checkout, as it is printed."""
    house = House(root)
    rooms = house.room_arrows()
    lines = {name: text.count("\n") for name, text in house.text.items()}
    pairs = [_lines(house.text[name], house.tree[name]) for name in house.files]
    code, comments = sum(c for c, _ in pairs), sum(n for _, n in pairs)
    functions = [
        (n.end_lineno or n.lineno) - n.lineno + 1 - _docstring_lines(n)
        for tree in house.tree.values()
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef)
    ]
    public = [n for tree in house.tree.values() for n in _public(tree)]
    docs = [ast.get_docstring(n) or "" for n in public]
    front = {
        d: sum(p.read_text(encoding="utf-8").count("\n") for p in (root / d).rglob("*.py"))
        for d in FRONT
    }
    values = {
        "rooms": len(rooms),
        "room floors (longest chain)": house.floors(rooms),
        "arrows between rooms": sum(len(t) for t in rooms.values()),
        "modules": len(house.files),
        "lines of the package": sum(lines.values()),
        "of these code (no blank, comment, docstring)": code,
        **{f"lines of {name}": n for name, n in front.items()},
        "lines in all": sum(lines.values()) + sum(front.values()),
        "median module, lines": statistics.median(n for n in lines.values() if n > 5),
        "median function, lines": statistics.median(functions),
        "lazy imports": sum(_lazy(tree) for tree in house.tree.values()),
        "Any": sum(
            isinstance(n, ast.Name) and n.id == "Any"
            for tree in house.tree.values()
            for n in ast.walk(tree)
        ),
        "type: ignore and noqa": sum(
            text.count("# type: ignore") + text.count("# noqa") for text in house.text.values()
        ),
        "code lines per comment": round(code / max(comments, 1), 1),
        "public with docstring, %": round(100 * sum(map(bool, docs)) / len(docs)),
        "public with sections, %": round(
            100 * sum(any(s in d for s in SECTIONS) for d in docs) / len(docs)
        ),
    }
    for job, modules in JOBS.items():
        start = next((m for m in modules if m in house.files), None)
        if start is not None:
            values[f"modules reachable from {job}"] = len(house.reachable(start))
    return {key: str(value) for key, value in values.items()}


JOBS = {
    "the model's loading and explain": ("services.explaining", "services.recordings"),
    "training from prepared data": ("training.paired", "recipes.paired"),
}
"""Main jobs and the module that does each, under the names it has had."""


def _docstring_lines(node: ast.FunctionDef) -> int:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0


def main() -> None:
    roots = [Path(a) for a in sys.argv[1:]] or [Path(__file__).resolve().parents[1]]
    columns = [measured(root) for root in roots]
    names = list(dict.fromkeys(name for column in columns for name in column))
    for name in names:
        print(f"{name:44s}" + "".join(f"{column.get(name, '-'):>12s}" for column in columns))


if __name__ == "__main__":
    main()
