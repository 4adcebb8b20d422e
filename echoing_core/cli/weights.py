"""The command that turns published weights into a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import stage_bars
from echoing_core.cli.root import app
from echoing_core.records import SCIPY_PADDING
from echoing_core.version import DISCLAIMER


@app.command("import-weights")
def import_weights(
    weights: Annotated[
        Path, typer.Argument(help="The published echoingecg.pt.", show_default=False)
    ],
    scaler: Annotated[
        Path, typer.Argument(help="The published ecg_scaler.pkl.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="Model folder to write.", show_default=False)],
    vocab: Annotated[
        str | None,
        typer.Option(
            "--vocab",
            help="BioBERT's vocab.txt, a folder with it, or a hub name; without it BioBERT's own.",
        ),
    ] = None,
    lead_order: Annotated[
        str,
        typer.Option(
            "--lead-order",
            help="Order of the leads in both files: mimic (aVF before aVL) or standard.",
        ),
        # MIMIC-IV-ECG, which the weights were trained on, has aVF before aVL.
    ] = "mimic",
    reference_ecgs: Annotated[
        int,
        typer.Option(
            "--reference-ecgs", min=10, help="Simulated ECGs that percentiles compare with."
        ),
    ] = 200,
    filter_padding: Annotated[
        str,
        typer.Option(
            "--filter-padding",
            help="What is mirrored at a recording's ends while filtering: scipy, as published, or "
            "long (3 s), as our own models.",
        ),
    ] = SCIPY_PADDING,
) -> None:
    """Make a model folder of EchoingECG's published weights. Neither file is ever executed."""
    from echoing_core import services

    with stage_bars() as progress:
        made = services.import_weights(
            weights,
            scaler,
            out,
            vocab=vocab,
            lead_order=lead_order,
            reference_ecgs=reference_ecgs,
            filter_padding=filter_padding,
            progress=progress,
        )
    typer.echo(f"Model {made.model.name}, hash {made.model.hash[:16]}, in {out}")
    # Not only in the card: whoever makes a copy must have seen what holds for it.
    typer.echo(made.licence)
    for note in made.notes:
        typer.echo(note)
    typer.echo(DISCLAIMER)
