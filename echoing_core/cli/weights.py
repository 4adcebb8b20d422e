"""The command that turns published weights into a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import stage_bars
from echoing_core.cli.root import app
from echoing_core.errors import ConfigError
from echoing_core.records import SCIPY_PADDING
from echoing_core.version import DISCLAIMER


@app.command("import-weights")
def import_weights(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Published weights: echoingecg.pt and ecg_scaler.pkl, or the one file of ECG-FM, "
            "MELP or Echo2ECG, which is recognised by its content.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Model folder to write.", show_default=False)],
    vocab: Annotated[
        str | None,
        typer.Option(
            "--vocab",
            help="The vocab.txt that goes with the weights, a folder with it, or a hub name. "
            "EchoingECG: BioBERT's own without it. MELP: without it the ECG tower is taken alone.",
        ),
    ] = None,
    lead_order: Annotated[
        str | None,
        typer.Option(
            "--lead-order",
            help="Order of the leads that the weights were trained with: mimic (aVF before aVL) or "
            "standard; without it what is known of the system.",
        ),
    ] = None,
    reference_ecgs: Annotated[
        int,
        typer.Option(
            "--reference-ecgs",
            min=10,
            help="EchoingECG: simulated ECGs that percentiles compare with.",
        ),
    ] = 200,
    filter_padding: Annotated[
        str,
        typer.Option(
            "--filter-padding",
            help="EchoingECG: what is mirrored at a recording's ends while filtering: scipy, as "
            "published, or long (3 s), as our own models.",
        ),
    ] = SCIPY_PADDING,
    input_hz: Annotated[
        int | None,
        typer.Option(
            "--input-hz",
            help="The others: the rate at which the network reads, in Hz; without it 500, and 400 "
            "for Echo2ECG, whose authors do not say.",
            show_default=False,
        ),
    ] = None,
    segments: Annotated[
        str | None,
        typer.Option(
            "--segments",
            help="The others: of each window of 10 s the mean over all whole segments that the "
            "network reads (all), or the first alone (first).",
        ),
    ] = None,
) -> None:
    """Make a model folder of published weights. No file of them is ever executed."""
    from echoing_core import services

    if len(files) > 2:
        raise ConfigError(
            f"{len(files)} files were given. EchoingECG has two, echoingecg.pt and ecg_scaler.pkl; "
            "the others have one; the model folder to write comes last."
        )
    with stage_bars() as progress:
        if len(files) == 1:
            made = services.import_encoder(
                files[0],
                out,
                input_hz=input_hz,
                segments=segments,
                lead_order=lead_order,
                vocab=vocab,
                progress=progress,
            )
        else:
            made = services.import_weights(
                files[0],
                files[1],
                out,
                vocab=vocab,
                # MIMIC-IV-ECG, which the weights were trained on, has aVF before aVL.
                lead_order=lead_order or "mimic",
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
