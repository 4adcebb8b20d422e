"""``echoing plugins``: what installed packages add, and what of it does not work."""

from __future__ import annotations

from dataclasses import asdict

import typer

from echoing_core import plugins
from echoing_core.cli.output import deliver, json_text, table
from echoing_core.cli.root import JsonOption, app
from echoing_core.errors import ConfigError


@app.command("plugins")
def list_plugins(json_out: JsonOption = None) -> None:
    """Encoders, losses, text encoders, data sets and readers that installed packages add."""
    entries = []
    for group in plugins.GROUPS:
        for name, plugin in plugins.plugins(group).items():
            problem = ""
            try:
                plugins.load(group, name)
            except ConfigError as error:
                problem = str(error)
            entries.append({**asdict(plugin), "problem": problem})
    if json_out is not None:
        deliver(json_text({"plugins": entries}), json_out)
    if json_out != "-":
        rows = [
            (plugins.GROUPS[e["group"]], e["name"], e["package"], e["problem"] or "works")
            for e in entries
        ]
        none = "No package adds anything; examples/plugin shows how one does."
        typer.echo(table(("what", "name", "package", "state"), rows) if rows else none)
