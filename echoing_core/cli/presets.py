"""``echoing evaluate --preset NAME``: a published evaluation by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.making import MarkdownOption, ResamplesOption
from echoing_core.cli.output import (
    at_most_one_on_stdout,
    deliver,
    json_text,
    stage_bars,
    table,
    writable,
)
from echoing_core.cli.protocols import EntropyOption
from echoing_core.cli.root import JsonOption, ModelOption, evaluate_app
from echoing_core.errors import ConfigError
from echoing_core.export.track import DISCLAIMER


@evaluate_app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="A published evaluation, or a YAML file; list for all."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `echoing prepare` made.")
    ] = None,
    model: ModelOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """Measure a model on data it was not trained on: by a command below, or by --preset."""
    from echoing_core import services

    if context.invoked_subcommand is not None:
        if preset is not None or data is not None:
            raise ConfigError(
                f"--preset and --data before {context.invoked_subcommand} do nothing. Give its "
                "options after it, or a preset alone."
            )
        return
    if preset is None:
        typer.echo(context.get_help())
        return
    if preset == "list":
        rows = [
            (name, found.title, found.protocol, found.prepare)
            for name, found in services.evaluation_presets().items()
        ]
        typer.echo(table(("preset", "what", "protocol", "made ready by"), rows))
        return
    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    if data is None:
        raise ConfigError(f"Preset {preset} needs a prepared set: name its folder with --data.")
    loaded = services.load_model(model)
    with stage_bars() as progress:
        study = services.evaluate_preset(
            loaded,
            preset,
            data,
            by_entropy=by_entropy,
            n_resamples=resamples,
            progress=progress,
        )
    if json_out is not None:
        told = {
            "disclaimer": DISCLAIMER,
            "preset": preset,
            "model": loaded.name,
            "model_hash": loaded.hash,
        }
        deliver(json_text(told | study.to_dict()), json_out)
    if markdown_out is not None:
        deliver(study.to_markdown(), markdown_out)
    if "-" not in (json_out, markdown_out):
        typer.echo(study.to_markdown(), nl=False)
