"""``echoing evaluate distances``: what distances of a model mean, measured into its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import bar, deliver, json_text, table
from echoing_core.cli.root import JsonOption, ModelOption, evaluate_app
from echoing_core.version import DISCLAIMER


@evaluate_app.command("distances")
def evaluate_distances(
    model: ModelOption = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write them into the model folder, for searches to use."),
    ] = False,
    patients: Annotated[int, typer.Option("--patients", min=20, help="Simulated patients.")] = 900,
    json_out: JsonOption = None,
) -> None:
    """Distances of ECGs and reports that belong together and that do not, on simulated patients."""
    from echoing_core import services

    loaded = services.load_model(model)
    folder: Path | None = None
    if write:
        folder = model or services.assets_folder() / "models" / "demo"
    with bar("simulate") as progress:
        measured = services.measure_distances(
            loaded, n_patients=patients, folder=folder, progress=progress
        )
    if json_out is not None:
        deliver(json_text({"model_hash": loaded.hash, **measured.to_dict()}), json_out)
    if json_out != "-":
        rows = [
            (words, *(f"{value:.3f}" for value in values))
            for words, values in services.pair_rows(measured)
        ]
        typer.echo(table(("CSD of", "5 %", "median", "95 %"), rows))
        typer.echo(f"{len(measured.findings)} findings with a scale of their own.")
        typer.echo(f"{measured.source}. {DISCLAIMER}")
