"""What MkDocs does beside turning pages into HTML: the parts of the reference that code writes.

A page names such a part by a line of its own, ``<!-- made: NAME -->``, so that the page and links
to it are there in the repository, too. Files of the repository that pages link to, but that stand
outside ``docs``, become pages. A page that would fetch anything from elsewhere ends the build.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command

from echoing_core.cli import app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "echoing_core"
PRESETS = PACKAGE / "training" / "presets"

OUTSIDE = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "assets/models/demo/card.md": "model-card.md",
}
"""Files of the repository that are pages of the site, and as which page."""

PUBLIC = (
    "echoing_core.io.reading.read_recording",
    "echoing_core.services.models.load_model",
    "echoing_core.services.models.load_index",
    "echoing_core.services.explaining.explain",
    "echoing_core.services.asking.ask",
    "echoing_core.services.word_search.search",
    "echoing_core.services.features.EchoingFeatures",
    "echoing_core.training.prepared_data.EchoingDataset",
)
"""Where the names that `echoing_core` exports are written."""

SETTINGS = ("echoing_core.training.settings", "echoing_core.models.config")
"""Modules that the page of settings shows."""

_MADE = re.compile(r"^<!-- made: ([a-z ]+) -->$", re.M)
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
# Whatever a browser loads by itself; an <a> is followed by a person.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc=\"?((?:https?:)?//[^\"\s>]+)"
    r"|<link\b(?=[^>]*rel=\"?(?:stylesheet|preconnect|preload|icon))[^>]*?"
    r"\bhref=\"?((?:https?:)?//[^\"\s>]+)"
)


def commands(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """Each command below this one, itself first: its path, itself, and its context."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield context.command_path, command, context
    for child in getattr(command, "commands", {}):
        yield from commands(command.commands[child], child, context)


def command_line() -> str:
    """The command line as Markdown, from the same objects that print ``--help``."""
    parts = []
    for path, command, context in commands(get_command(app), "echoing"):
        usage = " ".join(command.collect_usage_pieces(context))
        told = [f"## `{path}`", command.help or "", f"```text\n{path} {usage}\n```"]
        rows = [
            record
            for parameter in command.get_params(context)
            if parameter.name != "help" and (record := parameter.get_help_record(context))
        ]
        if rows:
            cells = [[part.replace("|", "\\|") for part in row] for row in rows]
            lines = [f"| `{named}` | {help_text} |" for named, help_text in cells]
            told.append("\n".join(["| Argument or option | What it is |", "|---|---|", *lines]))
        parts += [part for part in told if part]
    return "\n\n".join(parts)


def presets() -> str:
    """The YAML files of the presets, as they are."""
    return "\n\n".join(
        f"### `{path.stem}`\n\n```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```"
        for path in sorted(PRESETS.glob("*.yaml"))
    )


def public() -> str:
    """The functions that `echoing_core` itself exports."""
    return "\n\n".join(f"::: {path}" for path in PUBLIC)


def room(name: str) -> str:
    """The public objects of a room, one heading a module; each object has one page alone."""
    parts = [f"# `echoing_core.{name}`"]
    for path in sorted((PACKAGE / name).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name.startswith("_") or module in SETTINGS:
            continue
        shown = [p.removeprefix(f"{module}.") for p in PUBLIC if p.startswith(f"{module}.")]
        filters = ", ".join(f'"!^{hidden}"' for hidden in ("_", *(f"{one}$" for one in shown)))
        parts.append(f"::: {module}\n    options:\n      filters: [{filters}]")
    return "\n\n".join(parts)


MADE = {"command line": command_line, "presets": presets, "public names": public}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file of ``docs`` holds."""
    for source, target in OUTSIDE.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=content))
    for folder in sorted(PACKAGE.glob("*/__init__.py")):
        name = folder.parent.name
        # The command line has a page of its own.
        if name not in ("cli", "_shipped"):
            target = f"reference/rooms/{name}.md"
            files.append(File.generated(config, target, content=room(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the parts that are made, and lead links out of ``docs`` to the pages of the site."""
    markdown = _MADE.sub(lambda hit: MADE[hit[1]](), markdown)
    source = page.file.src_uri
    outside = {target: origin for origin, target in OUTSIDE.items()}
    folder = posixpath.dirname(outside.get(source, f"docs/{source}"))

    def led(hit: re.Match[str]) -> str:
        if "://" in hit[2] or hit[2].startswith("mailto:"):
            return hit[0]
        path = posixpath.normpath(posixpath.join(folder, hit[2]))
        target = OUTSIDE.get(path, path.removeprefix("docs/"))
        return hit[1] + posixpath.relpath(target, posixpath.dirname(source) or ".") + hit[3]

    return _LINK.sub(led, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would load anything from another machine."""
    for hit in _FETCHED.finditer(output):
        raise PluginError(f"{page.file.src_uri} would load {hit[1] or hit[2]} from elsewhere.")
    return output
