"""Commands around the echo teacher: ``echoing teacher``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver_both,
    stage_bars,
    writable,
)
from echoing_core.cli.root import JsonOption, MarkdownOption, SeedOption, teacher_app
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.metrics.results import Experiment

# ECHO-CLIP itself, or the stand-in that `train` below makes: both are opened in one way.
TeacherOption = Annotated[
    str,
    typer.Option(
        "--teacher",
        help="Folder with open_clip_config.json and weights, a weight file of ECHO-CLIP, or "
        "hf-hub:mkaichristensen/echo-clip.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, help="Processes that simulate echo.")
]


@teacher_app.command("train")
def teacher_train(
    out: Annotated[Path, typer.Argument(help="Teacher folder to write.", show_default=False)],
    steps: Annotated[int | None, typer.Option("--steps", min=1)] = None,
    studies: Annotated[
        int | None, typer.Option("--studies", min=2, help="Simulated studies to train on.")
    ] = None,
    seed: SeedOption = None,
    workers: WorkersOption = 2,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
) -> None:
    """Train a small stand-in for ECHO-CLIP on simulated echo, and measure it."""
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    with stage_bars() as progress:
        experiment = services.train_echo_teacher(
            out, steps=steps, n_studies=studies, seed=seed, n_workers=workers, progress=progress
        )
    _deliver(experiment, str(out), json_out, markdown_out)


@teacher_app.command("measure")
def teacher_measure(
    teacher: TeacherOption,
    studies: Annotated[
        int, typer.Option("--studies", min=20, help="Simulated studies to measure on.")
    ] = 400,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 5011,
    workers: WorkersOption = 2,
    echonet: Annotated[
        Path | None,
        typer.Option(
            "--echonet",
            help="Measure on EchoNet-Dynamic instead: the folder with FileList.csv.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Of EchoNet-Dynamic: train, valid or test.")
    ] = "test",
    device: Annotated[
        str, typer.Option("--device", help="cpu or cuda, for EchoNet-Dynamic.")
    ] = "cpu",
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
) -> None:
    """ECHO-CLIP's own zero-shot readings: EF by number, findings by prompt; simulated or real."""
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    # Real videos are read one by one, so one bar; the simulated studies pass several stages.
    if echonet is not None:
        with bar("read videos") as progress:
            experiment = services.measure_echo_teacher_on_echonet(
                echonet, teacher=teacher, split=split, device=device, progress=progress
            )
    else:
        with stage_bars() as progress:
            experiment = services.measure_echo_teacher(
                teacher, n_studies=studies, seed=seed, n_workers=workers, progress=progress
            )
    _deliver(experiment, teacher, json_out, markdown_out)


@teacher_app.command("embed")
def teacher_embed(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of echo studies, AVI or DICOM, a folder each.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Store to write.", show_default=False)],
    teacher: TeacherOption,
    by_clip: Annotated[
        bool, typer.Option("--by-clip", help="One Gaussian a clip instead of one a study.")
    ] = False,
    paired_with: Annotated[
        Path | None,
        typer.Option(
            "--paired-with", help="Prepared data set: only echo studies that its ECGs belong to."
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
) -> None:
    """Turn echo studies into Gaussians; a run that was stopped goes on where it was."""
    from echoing_core import services

    with bar("embed echo") as progress:
        run = services.embed_echo_folder(
            folder,
            out,
            teacher=teacher,
            by_clip=by_clip,
            paired_with=paired_with,
            device=device,
            progress=progress,
        )
    embeddings = run.embeddings
    # On stderr, so that a script which reads stdout still sees what is missing.
    for study, why in run.failures.items():
        typer.echo(f"left out {study}: {why}", err=True)
    typer.echo(
        f"{len(embeddings)} Gaussians of {run.n_computed + run.n_cached} studies in {out}, by "
        f"{embeddings.teacher}, hash {embeddings.teacher_hash[:16]}; {run.n_cached} were there "
        f"already, {len(run.failures)} left out" + (". Simulated." if embeddings.simulated else ".")
    )


def _deliver(
    experiment: Experiment, teacher: str, json_out: str | None, markdown_out: str | None
) -> None:
    content = experiment.to_dict()
    # Only real videos can be unreadable; simulated studies have no such entry.
    for study, why in content.get("left_out", {}).items():
        typer.echo(f"left out {study}: {why}", err=True)
    # `content` last: what the experiment itself says is not overwritten.
    named = {"disclaimer": DISCLAIMER, "teacher": teacher, **content}
    deliver_both(named, experiment.to_markdown(), json_out, markdown_out)
