"""``echoing evaluate leads``: what is usual with fewer leads, measured into a model's folder."""

from __future__ import annotations

from typing import Annotated

import typer

from echoing_core.cli.output import deliver, json_text, stage_bars, table
from echoing_core.cli.root import JsonOption, ModelOption, PtbxlOption, evaluate_app
from echoing_core.version import DISCLAIMER


@evaluate_app.command("leads")
def evaluate_leads(
    model: ModelOption = None,
    ptbxl: PtbxlOption = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write them into the model folder, for percentiles to use."),
    ] = False,
    ecgs: Annotated[
        int, typer.Option("--ecgs", min=10, help="How many; of PTB-XL, or simulated without it.")
    ] = 400,
    json_out: JsonOption = None,
) -> None:
    """How unsure the model is of reference ECGs that have only some leads, for each lead set."""
    from echoing_core import services

    services.check_given(ptbxl=ptbxl)
    loaded = services.load_model(model)
    folder = loaded.folder if write else None
    with stage_bars() as progress:
        references = services.measure_lead_references(
            loaded, ptbxl=ptbxl, folder=folder, n_ecgs=ecgs, progress=progress
        )
    shares = (10.0, 50.0, 90.0)
    rows = [
        (reference.lead_set.words, *(f"{v:.4g}" for v in reference.value_at(shares)))
        for reference in references.values()
    ]
    if json_out is not None:
        content = {
            "model_hash": loaded.hash,
            "leads": {key: reference.to_stored() for key, reference in references.items()},
        }
        deliver(json_text(content), json_out)
    if json_out != "-":
        typer.echo(table(("sigma^2 with", "10 %", "median", "90 %"), rows))
        first = next(iter(references.values()))
        typer.echo(f"{first.n} {first.name}. {DISCLAIMER}")
