"""The pages of `docs` and README: their links lead somewhere, and their commands can be typed.

Commands are parsed by the very objects that the command line is made of, options and their ranges
included, and nothing is run. The site itself is built by ``make docs``.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import echoing_core
from echoing_core.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
_INLINE = re.compile(r"`(echoing [^`]+)`", re.S)


def text_of(name: str) -> str:
    """A page of `NAMES`."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Blocks of a page: their language, ``""`` for an indented one, and their lines."""
    fence: list[str] | None = None
    language = ""
    indented: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            if fence is not None:
                yield language, fence
            language, fence = line[3:], [] if fence is None else None
        elif fence is not None:
            fence.append(line)
        elif line.startswith("    "):
            indented.append(line[4:])
        elif indented:
            yield "", indented
            indented = []


def typed(text: str) -> list[str]:
    """Lines of the blocks that begin with ``echoing``, without comments, continued ones joined."""
    found = []
    for language, lines in blocks(text):
        if language in ("", "bash", "shell"):
            joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
            bare = (re.sub(r"\s+#\s.*$", "", line) for line in joined.splitlines())
            found += [line for line in bare if line.startswith("echoing ")]
    return found


@cache
def root_command() -> Any:
    """The command ``echoing``."""
    return get_command(app)


def options_of(command: Any) -> set[str]:
    """Every option that a command takes."""
    return {"--help", *(name for p in command.params for name in (*p.opts, *p.secondary_opts))}


def parse(line: str, *, whole: bool) -> None:
    """Parse a command as the shell would give it.

    Parameters
    ----------
    line : str
        Begins with ``echoing``.
    whole : bool
        Everything that the command needs must be there. In the middle of a sentence a command may
        be cut short; then its names alone are looked at.
    """
    words = shlex.split(line)[1:]
    command, context = root_command(), root_command().make_context("echoing", ["models"])
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name, *words = words
        if name.isupper() and not whole:
            return  # it stands for any of them
        assert name in command.commands, f"{line}: there is no {name!r}"
        command = command.commands[name]
        if whole and not hasattr(command, "commands"):
            context = command.make_context(name, words, parent=context)
    for word in words:
        if word.startswith("-") and word != "-":
            known = word.split("=")[0] in options_of(command)
            assert known, f"{line}: there is no option {word}"
    if whole and hasattr(command, "commands"):
        # A group does something only where one of its own options says so.
        assert words[:1] and words[0].startswith("--"), line


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_to_files(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", text_of(name), flags=re.M | re.S)
    page = ROOT / name
    broken = [
        hit[1]
        for hit in _LINK.finditer(text)
        if hit[1] and not (page.parent / hit[1]).resolve().is_file()
    ]
    assert not broken
    assert not [hit[1] for hit in _LINK.finditer(text) if hit[1].startswith("/")]


@pytest.mark.parametrize("name", NAMES)
def test_commands_can_be_typed(name: str) -> None:
    text = text_of(name)
    for line in typed(text):
        parse(line, whole=True)
    for hit in _INLINE.finditer(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        parse(" ".join(hit[1].replace("...", "").split()), whole=False)


def test_a_command_that_is_not_there_is_noticed() -> None:
    for line in (
        "echoing expalin SIM_AF",
        "echoing explain SIM_AF --strid 2",
        "echoing train paper --lr 3",
    ):
        with pytest.raises(Exception, match=r"there is no|No such option"):
            parse(line, whole=True)
    with pytest.raises(Exception, match="Missing"):
        parse("echoing explain", whole=True)
    with pytest.raises(Exception, match="greater than or equal to 10"):
        parse("echoing evaluate demo --resamples 1", whole=True)


@pytest.mark.parametrize("name", NAMES)
def test_python_names_what_there_is(name: str) -> None:
    """Blocks of Python parse, and what they import from this project exists."""
    for language, lines in blocks(text_of(name)):
        if language != "python":
            continue
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("echoing_core"):
                module = importlib.import_module(str(node.module))
                assert not [a.name for a in node.names if not hasattr(module, a.name)]


class _Loader(yaml.SafeLoader):
    """YAML that passes over the tags by which MkDocs names Python objects."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)

    def leaves(entry: Any) -> Iterator[str]:
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from [value] if isinstance(value, str) else leaves(value)

    listed = list(leaves(settings["nav"]))
    assert len(listed) == len(set(listed))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    assert written <= set(listed)
    # The others are made by docs/hooks.py: a page a room, and files that stand outside docs.
    made = set(listed) - written
    rooms = {p.parent.name for p in (ROOT / "echoing_core").glob("*/__init__.py")} - {"cli"}
    assert {name for name in made if "/" in name} == {f"reference/rooms/{r}.md" for r in rooms}


def test_the_reference_has_every_public_name() -> None:
    # Read and not imported: MkDocs is no part of what tests need.
    tree = ast.parse((ROOT / "docs" / "hooks.py").read_text(encoding="utf-8"))
    (public,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PUBLIC"
    )
    assert {path.rpartition(".")[2] for path in public} == set(echoing_core.__all__) - {
        "__version__"
    }
    for path in public:
        module = ROOT / (path.rpartition(".")[0].replace(".", "/") + ".py")
        assert re.search(rf"^(def|class) {path.rpartition('.')[2]}\b", module.read_text(), re.M)


def test_nothing_is_fetched_from_elsewhere() -> None:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)
    assert settings["theme"]["font"] is False
    assert "://" not in yaml.dump([settings.get("extra_css"), settings.get("extra_javascript")])
