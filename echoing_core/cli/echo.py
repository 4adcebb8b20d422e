"""Commands around the echo teacher: ``echoing teacher``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoing_core.cli.making import MarkdownOption
from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    json_text,
    stage_bars,
    writable,
)
from echoing_core.cli.root import JsonOption, SeedOption, teacher_app
from echoing_core.export.track import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.echo.measured import MeasuredVideos
    from echoing_core.echo.stand_in_run import MeasuredTeacher

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
        measured = services.train_echo_teacher(
            out, steps=steps, n_studies=studies, seed=seed, n_workers=workers, progress=progress
        )
    _deliver(measured, str(out), json_out, markdown_out)


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
    if echonet is not None:
        with bar("read videos") as told:
            videos = services.measure_echo_teacher_on_echonet(
                echonet, teacher=teacher, split=split, device=device, progress=told
            )
        _deliver_videos(videos, teacher, json_out, markdown_out)
        return
    with stage_bars() as progress:
        measured = services.measure_echo_teacher(
            teacher, n_studies=studies, seed=seed, n_workers=workers, progress=progress
        )
    _deliver(measured, teacher, json_out, markdown_out)


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
    made = run.embeddings
    for study, why in run.failures.items():
        typer.echo(f"left out {study}: {why}", err=True)
    typer.echo(
        f"{len(made)} Gaussians of {run.n_computed + run.n_cached} studies in {out}, by "
        f"{made.teacher}, hash {made.teacher_hash[:16]}; {run.n_cached} were there already, "
        f"{len(run.failures)} left out" + (". Simulated." if made.simulated else ".")
    )


def _deliver_videos(
    measured: MeasuredVideos, teacher: str, json_out: str | None, markdown_out: str | None
) -> None:
    from dataclasses import asdict

    from echoing_core.metrics.results import results_table, to_records

    for study, why in measured.failures.items():
        typer.echo(f"left out {study}: {why}", err=True)
    table = results_table(measured.results).to_markdown()
    if json_out is not None:
        content: dict[str, Any] = {
            "disclaimer": DISCLAIMER,
            "teacher": teacher,
            "data": measured.results[0].data,
            "n_studies": len(measured.readings),
            "left_out": measured.failures,
            "results": to_records(measured.results),
            "readings": [asdict(one) for one in measured.readings],
        }
        deliver(json_text(content), json_out)
    if markdown_out is not None:
        deliver(table, markdown_out)
    if "-" not in (json_out, markdown_out):
        typer.echo(table, nl=False)


def _deliver(
    measured: MeasuredTeacher, teacher: str, json_out: str | None, markdown_out: str | None
) -> None:
    from echoing_core.metrics.results import results_table, to_records

    table = results_table(measured.results).to_markdown()
    if json_out is not None:
        content: dict[str, Any] = {
            "disclaimer": DISCLAIMER,
            "teacher": teacher,
            "data": "simulated echo",
            "n_studies": measured.n_studies,
            "n_frames": measured.n_frames,
            "results": to_records(measured.results),
        }
        deliver(json_text(content), json_out)
    if markdown_out is not None:
        deliver(table, markdown_out)
    if "-" not in (json_out, markdown_out):
        typer.echo(table, nl=False)
