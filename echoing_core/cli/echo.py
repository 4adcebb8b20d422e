"""Commands around the echo teacher: ``echoing teacher``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    deliver_both,
    json_text,
    stage_bars,
    table,
    writable,
)
from echoing_core.cli.root import JsonOption, MarkdownOption, ModelOption, SeedOption, teacher_app
from echoing_core.cli.training_options import PrintConfigOption
from echoing_core.config import to_yaml
from echoing_core.errors import ConfigError
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echoing_core.metrics.results import Experiment
    from echoing_core.services import EchoBeside, EchoReading

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
    print_config: PrintConfigOption = False,
) -> None:
    """Train a small stand-in for ECHO-CLIP on simulated echo, and measure it.

    With --steps 200, as the shipped one was, about an hour on two cores; without, one to two hours.
    --steps 5 --studies 16 is a trial of some minutes.
    """
    if print_config:
        from echoing_core.echo.stand_in import StandInConfig

        config = StandInConfig.sized(steps=steps, n_studies=studies, seed=seed)
        typer.echo(to_yaml(config), nl=False)
        return
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
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Keep the simulated readings in the teacher's folder, as the scale of what it "
            "reads of others.",
        ),
    ] = False,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
) -> None:
    """ECHO-CLIP's own zero-shot readings: EF by number, findings by prompt; simulated or real."""
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    # Real videos are read one by one, so one bar; the simulated studies pass several stages.
    if echonet is not None:
        if write:
            raise ConfigError("--write keeps simulated readings. Leave out --echonet or --write.")
        with bar("read videos") as progress:
            experiment = services.measure_echo_teacher_on_echonet(
                echonet, teacher=teacher, split=split, progress=progress
            )
    else:
        with stage_bars() as progress:
            experiment = services.measure_echo_teacher(
                teacher,
                n_studies=studies,
                seed=seed,
                n_workers=workers,
                write=write,
                progress=progress,
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
    frames: Annotated[
        str,
        typer.Option(
            "--frames",
            help="Frames of a clip: echo-clip (20 of the first 40), first-40, or every, which the "
            "presets paper and release need.",
        ),
    ] = "echo-clip",
) -> None:
    """Turn echo studies into Gaussians; a run that was stopped goes on where it was."""
    from echoing_core import services

    with bar("embed echo") as progress:
        run = services.embed_echo_folder(
            folder,
            out,
            teacher=teacher,
            by_clip=by_clip,
            frames=frames,
            paired_with=paired_with,
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


@teacher_app.command("read")
def teacher_read(
    clips: Annotated[
        list[Path],
        typer.Argument(
            help="Clips of one echocardiogram, AVI or DICOM, their folder, or the name "
            "of a shipped recording that has some (SIM_LBBB).",
            show_default=False,
        ),
    ],
    recording: Annotated[
        list[Path] | None,
        typer.Option(
            "--recording",
            help="An ECG to hold it against, named as for `echoing explain`; may be repeated for "
            "each of its files.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            help="Folder or weight file of an echo teacher, or hf-hub:mkaichristensen/echo-clip; "
            "without it, the shipped stand-in trained on simulated echo.",
        ),
    ] = None,
    model: ModelOption = None,
    json_out: JsonOption = None,
) -> None:
    """What the teacher reads off an echocardiogram, and whether an ECG's answers agree with it."""
    from echoing_core import services

    writable(json_out)
    shipped = services.named_sample(clips)
    if shipped is not None and shipped.echo_paths:
        clips = list(shipped.echo_paths)
    # Before the teacher is opened: a wrong path should be told at once.
    services.check_clips(clips)
    services.check_given(teacher=services.teacher_source(teacher))
    ecg = services.read_recording(services.recording_source(recording)) if recording else None
    reader = services.load_echo_reader(teacher)
    reading = reader.read(services.read_echo(clips, reader).study)
    beside = None
    if ecg is not None:
        loaded = services.load_model(model)
        explanation = services.explain(loaded, ecg)
        beside = services.beside_ecg(loaded, explanation, reading)
    if json_out is not None:
        content = {"disclaimer": DISCLAIMER, **reading.to_dict()}
        if beside is not None:
            content["beside_ecg"] = beside.to_dict()
        deliver(json_text(content), json_out)
    if json_out != "-":
        typer.echo(_reading_text(reading, services.echo_cautions(reading)))
        if beside is not None:
            typer.echo(_beside_text(beside))
        typer.echo(DISCLAIMER)


def _reading_text(reading: EchoReading, cautions: Sequence[str]) -> str:
    simulated = " The echocardiogram is simulated." if reading.echo_simulated else ""
    n = len(reading.clips)
    lines = [
        f"Read by: {reading.teacher}.{simulated}",
        *cautions,
        f"{reading.n_frames} frames of {n} clip{'s' if n > 1 else ''}; variance "
        f"{reading.spread:.4f}{_among(reading.spread_pct)}, within clips "
        f"{reading.spread_within:.4f}{_among(reading.spread_within_pct)}",
        f"EF by prompts {reading.lvef_pct:.0f} %"
        + (f": {reading.lvef_words}" if reading.lvef_words else ""),
        "",
        table(
            ("finding", "reading", "score", "known hearts"),
            [
                (one.name, one.verdict or "not known", f"{one.score:+.3f}", one.worth)
                for one in reading.findings
            ],
        ),
    ]
    if reading.scale_source:
        lines.append(f"Known hearts: {reading.scale_source}.")
    lines += [f"note: {note}" for note in reading.notes]
    return "\n".join(lines)


def _among(percentile: float | None) -> str:
    return "" if percentile is None else f" (more than {percentile:.0f} of 100 known)"


def _beside_text(beside: EchoBeside) -> str:
    from echoing_core import services

    rows = [
        (
            one.name,
            f"{line.answer}, {line.probability}",
            one.finding.verdict or "not known",
            one.agreement,
        )
        for one in beside.comparisons
        for line in (services.answer_line(one.answer),)
    ]
    lines = ["", table(("question", "ECG", "echo", "do they agree"), rows)]
    if beside.distance is not None:
        lines.append(f"Distance (CSD) {beside.distance.csd:.3f}. {beside.distance.words}")
    else:
        lines.append(beside.no_distance)
    return "\n".join([*lines, *beside.cautions])


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
