"""Commands that train on prepared data: the paper's run, the release's, or a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import stage_bars
from echoing_core.cli.root import train_app

DataOption = Annotated[
    Path, typer.Option("--data", help="Prepared data set (echoing prepare).", show_default=False)
]
OutOption = Annotated[
    Path, typer.Option("--out", help="Model folder to write.", show_default=False)
]
RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of metrics and states; OUT-run without it."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the newest state of the run's folder.")
]
EchoOption = Annotated[
    Path | None,
    typer.Option("--echo", help="The echo teacher's embeddings (echoing teacher embed)."),
]
TextModelOption = Annotated[
    str | None,
    typer.Option("--text-model", help="Folder or hub name of the BERT to start from."),
]
TextCacheOption = Annotated[
    Path | None,
    typer.Option("--text-cache", help="Folder for the states of a frozen text model."),
]
TensorboardOption = Annotated[
    Path | None, typer.Option("--tensorboard", help="Write TensorBoard events here, too.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting: optimiser.lr=1e-4. May be repeated."),
]


def _train(
    name: str,
    data: Path,
    out: Path,
    run: Path | None,
    resume: bool,
    echo: Path | None,
    text_model: str | None,
    text_cache: Path | None,
    tensorboard: Path | None,
    changes: list[str] | None,
    with_second_stage: bool = False,
) -> None:
    from echoing_core import services

    config = services.preset(name, changes or ())
    with stage_bars() as progress:
        model = services.train_preset(
            config,
            data,
            out,
            run=run,
            resume=resume,
            echo=echo,
            text_model=text_model,
            text_cache=text_cache,
            tensorboard=tensorboard,
            with_second_stage=with_second_stage,
            progress=progress,
        )
    if model is not None:
        typer.echo(f"Model {model.name}, hash {model.hash[:16]}, in {out}")


@train_app.command("paper")
def train_paper(
    data: DataOption,
    out: OutOption,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: EchoOption = None,
    text_model: TextModelOption = None,
    text_cache: TextCacheOption = None,
    tensorboard: TensorboardOption = None,
    changes: SetOption = None,
) -> None:
    """Train as the paper describes it: joint objective, CSD in InfoNCE, 256 dimensions."""
    _train("paper", data, out, run, resume, echo, text_model, text_cache, tensorboard, changes)


@train_app.command("release")
def train_release(
    data: DataOption,
    out: OutOption,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: EchoOption = None,
    text_model: TextModelOption = None,
    text_cache: TextCacheOption = None,
    tensorboard: TensorboardOption = None,
    changes: SetOption = None,
) -> None:
    """Train as the published configuration has it: PCME++, 512 dimensions, unmixed batches."""
    _train("release", data, out, run, resume, echo, text_model, text_cache, tensorboard, changes)


@train_app.command("from")
def train_from(
    settings: Annotated[
        str, typer.Argument(help="paper, release, demo, or a YAML file.", show_default=False)
    ],
    data: DataOption,
    out: OutOption,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: EchoOption = None,
    text_model: TextModelOption = None,
    text_cache: TextCacheOption = None,
    tensorboard: TensorboardOption = None,
    second_stage: Annotated[
        bool,
        typer.Option("--second-stage", help="Learn sigma^2 anew on the frozen means (compact)."),
    ] = False,
    changes: SetOption = None,
) -> None:
    """Train from settings of one's own, or the small demo model on prepared data."""
    _train(
        settings,
        data,
        out,
        run,
        resume,
        echo,
        text_model,
        text_cache,
        tensorboard,
        changes,
        second_stage,
    )
