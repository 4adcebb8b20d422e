"""Commands that prepare data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import bar
from echoing_core.cli.root import prepare_app


@prepare_app.command("simulated")
def prepare_simulated(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    patients: Annotated[int, typer.Option("--patients", min=1)] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 7,
    echo_in_report: Annotated[
        float | None,
        typer.Option(
            "--echo-in-report",
            help="Share of reports that also tell the echocardiogram; without it, 0.6.",
        ),
    ] = None,
) -> None:
    """A simulated cohort, filtered and ready for training and evaluation."""
    from echoing_core import services

    with bar("simulate") as progress:
        card = services.prepare_simulated(
            out, patients, seed, echo_in_report=echo_in_report, progress=progress
        )
    typer.echo(
        f"{card['n_studies']} simulated ECGs of {card['n_patients']} simulated patients in {out}"
    )
