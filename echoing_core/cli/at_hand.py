"""``echoing models`` and ``echoing indexes``: what is at hand, by the names that commands take."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import deliver, json_text, table
from echoing_core.cli.root import JsonOption, app

FolderArgument = Annotated[
    Path | None,
    typer.Argument(help="List what lies in this folder; without it, all that goes by its name."),
]


@app.command("models")
def models(folder: FolderArgument = None, json_out: JsonOption = None) -> None:
    """The models at hand: shipped, in runs/, or in a folder; --model takes their names."""
    from echoing_core import services

    found = services.models_at_hand(folder)
    if json_out is not None:
        entries = [asdict(one) | {"folder": str(one.folder)} for one in found]
        deliver(json_text({"models": entries}), json_out)
    if json_out != "-":
        rows = [
            (
                one.name,
                one.hash[:16],
                " and ".join(one.sigma2),
                f"{one.size_mb:.0f}",
                str(one.folder),
                one.problem or one.trained_on,
            )
            for one in found
        ]
        header = ("name", "hash", "sigma^2", "MB", "folder", "trained on")
        typer.echo(table(header, rows) if rows else "No model.")
        for one in found:
            for head in one.heads:
                typer.echo(f"{one.name} answers, too: {head}")


@app.command("indexes")
def indexes(folder: FolderArgument = None, json_out: JsonOption = None) -> None:
    """The indexes at hand: shipped, in runs/, or in a folder; --index takes their names."""
    from echoing_core import services

    found = services.indexes_at_hand(folder)
    if json_out is not None:
        entries = [asdict(one) | {"folder": str(one.folder)} for one in found]
        deliver(json_text({"indexes": entries}), json_out)
    if json_out != "-":
        rows = [
            (
                one.name,
                f"{one.n:,}" + (f" ({one.n_simulated:,} simulated)" if one.n_simulated else ""),
                f"{one.size_mb:.0f}",
                # Any model of this hash searches it, whatever it is called.
                f"{one.model or '?'} {one.model_hash[:16]}",
                ", ".join(one.fits) or "none at hand",
                str(one.folder),
                one.problem or one.title,
            )
            for one in found
        ]
        header = ("name", "ECGs", "MB", "built with", "searched with", "folder", "title")
        typer.echo(table(header, rows) if rows else "No index.")
