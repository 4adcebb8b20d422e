"""Commands that prepare data, and the published protocols on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.cli.making import MarkdownOption, ResamplesOption
from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    json_text,
    stage_bars,
    writable,
)
from echoing_core.cli.root import JsonOption, ModelOption, evaluate_app, prepare_app
from echoing_core.export.track import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.evaluate.protocols.results import Study
    from echoing_core.services import Model

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder that `echoing prepare` made; without it, simulated patients.",
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", help="A label such as lvef_lt40; may be repeated. Without, all."),
]
EntropyOption = Annotated[
    bool | None,
    typer.Option(
        "--by-entropy/--by-sigma2",
        help="What the halves are made by; without, entropy where nothing taught sigma^2.",
        show_default=False,
    ),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many draws of the training.")]


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


@evaluate_app.command("zero-shot")
def evaluate_zero_shot(
    model: ModelOption = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """Questions answered by prompts alone; halves by sigma^2, other wordings, random weights."""
    from echoing_core import services

    _check(json_out, markdown_out)
    loaded = services.load_model(model)
    with stage_bars() as progress:
        study = services.evaluate_zero_shot(
            loaded,
            data=data,
            labels=labels,
            n_resamples=resamples,
            by_entropy=by_entropy,
            progress=progress,
        )
    _deliver(study, loaded, json_out, markdown_out)


@evaluate_app.command("few-shot")
def evaluate_few_shot(
    model: ModelOption = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    seeds: SeedsOption = 3,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """A linear probe from 10 % and 100 % of the training patients, beside random weights."""
    from echoing_core import services

    _check(json_out, markdown_out)
    loaded = services.load_model(model)
    with stage_bars() as progress:
        study = services.evaluate_few_shot(
            loaded,
            data=data,
            labels=labels,
            n_seeds=seeds,
            n_resamples=resamples,
            by_entropy=by_entropy,
            progress=progress,
        )
    _deliver(study, loaded, json_out, markdown_out)


@evaluate_app.command("fine-tune")
def evaluate_fine_tune(
    model: ModelOption = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    seeds: SeedsOption = 3,
    train_ecgs: Annotated[
        int, typer.Option("--train-ecgs", min=8, help="About how many ECGs to train on.")
    ] = 512,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1)] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """The whole ECG encoder trained for each label, beside a frozen probe and random weights."""
    from echoing_core import services

    _check(json_out, markdown_out)
    loaded = services.load_model(model)
    with stage_bars() as progress:
        study = services.evaluate_fine_tune(
            loaded,
            data=data,
            labels=labels,
            n_seeds=seeds,
            n_train=train_ecgs,
            epochs=epochs,
            n_resamples=resamples,
            by_entropy=by_entropy,
            progress=progress,
        )
    _deliver(study, loaded, json_out, markdown_out)


@evaluate_app.command("retrieval")
def evaluate_retrieval(
    model: ModelOption = None,
    data: DataOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """From each report to its ECG: recall at 1, 5 and 10, and in halves by sigma^2."""
    from echoing_core import services

    _check(json_out, markdown_out)
    loaded = services.load_model(model)
    with stage_bars() as progress:
        study = services.evaluate_retrieval(
            loaded, data=data, n_resamples=resamples, by_entropy=by_entropy, progress=progress
        )
    _deliver(study, loaded, json_out, markdown_out)


def _check(json_out: str | None, markdown_out: str | None) -> None:
    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)


def _deliver(study: Study, loaded: Model, json_out: str | None, markdown_out: str | None) -> None:
    """JSON and Markdown where they were asked for, and Markdown on stdout where nothing else is."""
    if json_out is not None:
        told = {"disclaimer": DISCLAIMER, "model": loaded.name, "model_hash": loaded.hash}
        deliver(json_text(told | study.to_dict()), json_out)
    if markdown_out is not None:
        deliver(study.to_markdown(), markdown_out)
    if "-" not in (json_out, markdown_out):
        typer.echo(study.to_markdown(), nl=False)
