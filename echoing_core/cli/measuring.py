"""``echoing evaluate distances`` and ``echo-pairs``: what distances of a model mean."""

from __future__ import annotations

from typing import Annotated

import typer

from echoing_core.cli.output import bar, deliver, json_text, stage_bars, table
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
    folder = loaded.folder if write else None
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


@evaluate_app.command("echo-pairs")
def evaluate_echo_pairs(
    model: ModelOption = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", help="The echo teacher that it was trained with; without, the shipped one."
        ),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write them into the model folder, for the page Echo to use."),
    ] = False,
    patients: Annotated[int, typer.Option("--patients", min=20, help="Simulated patients.")] = 300,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that simulate.")] = 2,
    json_out: JsonOption = None,
) -> None:
    """Distances of ECGs and echocardiograms of one heart and of two, on simulated patients."""
    from echoing_core import services

    services.check_given(teacher=services.teacher_source(teacher))
    loaded = services.load_model(model)
    folder = loaded.folder if write else None
    with stage_bars() as progress:
        measured = services.measure_echo_pairs(
            loaded,
            teacher=teacher,
            n_patients=patients,
            n_workers=workers,
            folder=folder,
            progress=progress,
        )
    if json_out is not None:
        deliver(json_text({"model_hash": loaded.hash, **measured.to_dict()}), json_out)
    if json_out != "-":
        rows = [
            (words, *(f"{value:.3f}" for value in values))
            for words, values in services.echo_pair_rows(measured)
        ]
        typer.echo(table(("CSD of ECG and echo of", "5 %", "median", "95 %"), rows))
        typer.echo(f"AUROC of one heart against two people: {measured.auroc:.3f}.")
        typer.echo(f"{measured.source}. {DISCLAIMER}")
