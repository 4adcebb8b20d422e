"""``echoing compare-models``: models beside each other on one prepared set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    deliver,
    deliver_both,
    stage_bars,
    writable,
)
from echoing_core.cli.root import CardOption, JsonOption, MarkdownOption, ResamplesOption, app
from echoing_core.evaluate.protocols.settings import EvaluationOptions, FineTuneSettings
from echoing_core.version import DISCLAIMER


@app.command("compare-models")
def compare_models(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model folders, or models by their names (echoing models lists them); the others "
            "are compared with the first.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Folder that `echoing prepare` made, with training and test ECGs.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            help="A label such as lvef_lt40; may be repeated. Without, each shipped question whose "
            "label the folder has, with 10 test ECGs or more of either answer.",
        ),
    ] = None,
    fine_tune: Annotated[
        bool,
        typer.Option("--fine-tune", help="Train all weights for each label, too (long)."),
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="How many draws of the training.")
    ] = 3,
    train_ecgs: Annotated[
        int,
        typer.Option("--train-ecgs", min=8, help="About how many ECGs to fine-tune on."),
    ] = 512,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Of fine-tuning; without it, 6.")
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    html_out: Annotated[
        str | None,
        typer.Option("--html", help="Write one page with tables and a drawing to this file."),
    ] = None,
    field_out: Annotated[
        str | None,
        typer.Option(
            "--field",
            help="Write the field's published figures to this file (Markdown) with a column for "
            "each model, from a folder of PTB-XL, CPSC2018 or CSN.",
        ),
    ] = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
) -> None:
    """Models in one table: zero-shot, probes, neighbours, retrieval, sigma^2, size and speed.

    Every figure with its interval, the paired difference to the first model, and random weights of
    each architecture beside them. Each model embeds the folder once: about 0.01 s of one core an
    ECG for the shipped models, 0.2 s for ECG-FM or MELP. Both shipped models and their control on
    1,571 ECGs take a minute and a half and 0.9 GB; --fine-tune takes hours.
    """
    from echoing_core import services

    outputs = (json_out, markdown_out, html_out, field_out, card_out)
    at_most_one_on_stdout(*outputs)
    writable(*outputs)
    chosen = None if labels is None else tuple(labels)
    services.check_comparison(
        models, data, labels=chosen, fine_tuned=fine_tune, field=field_out is not None
    )
    settings = FineTuneSettings(n_train=train_ecgs)
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    options = EvaluationOptions(chosen, n_resamples=resamples, n_seeds=seeds, fine_tune=settings)
    with stage_bars() as progress:
        made = services.compare_models(
            models,
            data,
            options=options,
            fine_tuned=fine_tune,
            field=field_out is not None,
            progress=progress,
        )
    for target, text in ((html_out, made.html), (field_out, made.field), (card_out, made.card)):
        if target is not None:
            deliver(text, target)
    content = {"disclaimer": DISCLAIMER, **made.experiment.to_dict()}
    markdown = made.experiment.to_markdown()
    deliver_both(content, markdown, json_out, markdown_out, html_out, field_out, card_out)
