"""Commands that train on prepared data: the paper's run, the release's, or a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    deliver_both,
    stage_bars,
    writable,
)
from echoing_core.cli.root import JsonOption, SeedOption, evaluate_app, train_app
from echoing_core.cli.training_options import (
    LogToOption,
    PrintConfigOption,
    complete_setting,
    logger_names,
)
from echoing_core.config import to_yaml
from echoing_core.errors import ConfigError
from echoing_core.version import DISCLAIMER

# The three commands take the same options, so each stands here once. --data and --out have no
# default and are still optional, since --print-config needs neither.
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Prepared data set (echoing prepare).", show_default=False),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Model folder to write.", show_default=False)
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
BeginOption = Annotated[
    str | None,
    typer.Option(
        "--begin",
        help="A model whose ECG network is taken over: that of melp-stage1 for melp-stage2.",
    ),
]
TextCacheOption = Annotated[
    Path | None,
    typer.Option("--text-cache", help="Folder for the states of a frozen text model."),
]
TensorboardOption = Annotated[
    Path | None, typer.Option("--tensorboard", help="Write TensorBoard events here, too.")
]
ClipsOption = Annotated[
    Path | None,
    typer.Option(
        "--echo",
        help="Embeddings of the clips: a store (echoing teacher embed --by-clip), or a file of "
        "EchoPrime's form, .npz or .parquet. Without it, clips of simulated patients are drawn and "
        "embedded.",
    ),
]
TeacherOption = Annotated[
    Path | None,
    typer.Option("--teacher", help="Who embeds what is simulated; without it, the stand-in."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a setting: optimiser.lr=1e-4, keep=best. May be repeated.",
        autocompletion=complete_setting,
    ),
]


def _train(
    name: str,
    data: Path | None,
    out: Path | None,
    changes: list[str] | None,
    seed: int | None,
    print_config: bool,
    log_to: str,
    service: str = "train_preset",
    **given: Any,
) -> None:
    from echoing_core.training.settings import load_preset

    # Before the data are opened: a misspelt setting ends at once.
    changed = [*(changes or ()), *([] if seed is None else [f"seed={seed}"])]
    config = load_preset(name, changed)
    if print_config:
        typer.echo(to_yaml(config), nl=False)
        return
    if data is None or out is None:
        raise ConfigError(
            "Name the prepared data set with --data and the model folder to write with --out; "
            "echoing prepare makes the first."
        )
    from echoing_core import services

    with stage_bars() as progress:
        model = getattr(services, service)(
            config, data, out, log_to=logger_names(log_to), progress=progress, **given
        )
    # None in all processes of a distributed run but the first.
    if isinstance(model, dict):
        worth = ", ".join(f"{name} {value:.3g}" for name, value in model.items())
        typer.echo(f"Text model in {out}" + (f"; {worth}" if worth else ""))
    elif model is not None:
        typer.echo(f"Model {model.name}, hash {model.hash[:16]}, in {out}")


# The two published recipes are commands of their own, `from` takes any other.
@train_app.command("paper")
def train_paper(
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: EchoOption = None,
    text_model: TextModelOption = None,
    text_cache: TextCacheOption = None,
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Train as the paper describes it: joint objective, CSD in InfoNCE, 256 dimensions.

    Made for a GPU and days: the text model is a BERT of full size.
    """
    _train(
        "paper",
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        run=run,
        resume=resume,
        echo=echo,
        text_model=text_model,
        text_cache=text_cache,
        tensorboard=tensorboard,
    )


@train_app.command("release")
def train_release(
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: EchoOption = None,
    text_model: TextModelOption = None,
    text_cache: TextCacheOption = None,
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Train as the published configuration has it: PCME++, 512 dimensions, unmixed batches.

    Made for a GPU and days: the text model is a BERT of full size.
    """
    _train(
        "release",
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        run=run,
        resume=resume,
        echo=echo,
        text_model=text_model,
        text_cache=text_cache,
        tensorboard=tensorboard,
    )


@train_app.command("echo2ecg")
def train_echo2ecg(
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: ClipsOption = None,
    teacher: TeacherOption = None,
    settings: Annotated[
        str, typer.Option("--settings", help="A YAML file in place of the preset.")
    ] = "echo2ecg",
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Train Echo2ECG: an ECG encoder drawn towards whole echo studies of several views.

    Made for a GPU. Of full size it takes 9.5 GFLOP an ECG; for a trial set model.dim and
    model.frozen.width to 24, model.frozen.ffn to 96, model.study.study_width to 128 and
    model.study.dim to 64.
    """
    _train(
        settings,
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        service="train_echo2ecg",
        run=run,
        resume=resume,
        echo=echo,
        teacher=teacher,
        tensorboard=tensorboard,
    )


@train_app.command("melp-stage1")
def train_melp_stage1(
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    begin: BeginOption = None,
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """MELP's first stage: a wav2vec 2.0 learns from ECGs alone, by masked prediction.

    Made for a GPU. For a trial divide model.dim, model.frozen.width, ffn and stem_width by 8.
    """
    _train(
        "melp-stage1",
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        run=run,
        resume=resume,
        begin=begin,
        tensorboard=tensorboard,
    )


@train_app.command("melp-text")
def train_melp_text(
    data: DataOption = None,
    out: OutOption = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="A text file with further texts, one a line."),
    ] = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    text_model: TextModelOption = None,
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """MELP's language model, for --text-model of the second stage: next tokens of reports.

    Says its perplexity on reports of validation patients, beside that of counting words alone.
    Made for a GPU. For a trial divide model.released_text.hidden, ffn and model.frozen.width by 8.
    """
    _train(
        "melp-text",
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        service="train_language_model",
        run=run,
        resume=resume,
        texts=texts,
        text_model=text_model,
        tensorboard=tensorboard,
    )


@train_app.command("melp-stage2")
def train_melp_stage2(
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    begin: BeginOption = None,
    text_model: TextModelOption = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="As the authors' code has it, traps included."),
    ] = False,
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """MELP's second stage: ECGs with reports, by the losses of rhythm, caption and beat.

    Without --text-model the language model, too, learns from these reports alone. Made for a GPU.
    """
    _train(
        "melp-published" if published else "melp-stage2",
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        run=run,
        resume=resume,
        begin=begin,
        text_model=text_model,
        tensorboard=tensorboard,
    )


@train_app.command("ulip")
def train_ulip(
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: ClipsOption = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            "--texts",
            help="Embeddings of the studies' reports by the same teacher, in the form of --echo. "
            "Without it, reports of simulated patients are worded and embedded.",
        ),
    ] = None,
    teacher: TeacherOption = None,
    settings: Annotated[
        str, typer.Option("--settings", help="A YAML file in place of the preset.")
    ] = "ulip",
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Train as ULIP does: an ECG encoder drawn to a frozen teacher's echo and text.

    Made for a GPU, as echo2ecg, whose ECG encoder it has.
    """
    _train(
        settings,
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        service="train_echo2ecg",
        run=run,
        resume=resume,
        echo=echo,
        texts=texts,
        teacher=teacher,
        tensorboard=tensorboard,
    )


@train_app.command("from")
def train_from(
    settings: Annotated[
        str,
        typer.Argument(help="paper, release, demo, ecg-fm, or a YAML file.", show_default=False),
    ],
    data: DataOption = None,
    out: OutOption = None,
    run: RunOption = None,
    resume: ResumeOption = False,
    echo: EchoOption = None,
    text_model: TextModelOption = None,
    begin: BeginOption = None,
    text_cache: TextCacheOption = None,
    log_to: LogToOption = "json",
    tensorboard: TensorboardOption = None,
    second_stage: Annotated[
        bool,
        typer.Option("--second-stage", help="Learn sigma^2 anew on the frozen means (compact)."),
    ] = False,
    seed: SeedOption = None,
    changes: SetOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Train from settings of one's own, or the small demo model on prepared data.

    As it is, demo takes half an hour of one core, and sigma^2 by displacement (--second-stage, or
    model.sigma2=both) an hour more; --set steps=100 is a trial of minutes.
    """
    _train(
        settings,
        data,
        out,
        changes,
        seed,
        print_config,
        log_to,
        run=run,
        resume=resume,
        echo=echo,
        text_model=text_model,
        begin=begin,
        text_cache=text_cache,
        tensorboard=tensorboard,
        with_second_stage=second_stage,
    )


@evaluate_app.command("ablation")
def evaluate_ablation(
    out: Annotated[
        Path, typer.Argument(help="Folder of the runs; a study goes on there.", show_default=False)
    ],
    data: Annotated[
        Path | None, typer.Option("--data", help="Prepared data set; without it, a simulated one.")
    ] = None,
    echo: EchoOption = None,
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", help="Teacher folder; without it, the stand-in is trained."),
    ] = None,
    patients: Annotated[int, typer.Option("--patients", min=20)] = 4000,
    test_patients: Annotated[int, typer.Option("--test-patients", min=20)] = 2000,
    echo_in_report: Annotated[
        float,
        typer.Option("--echo-in-report", min=0.0, max=1.0, help="Reports that tell the echo, too."),
        # Few: a report that tells the echo teaches what the teacher is there to teach.
    ] = 0.02,
    # Each row is trained so many times; more seeds may be added to a folder later.
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 3,
    steps: Annotated[int | None, typer.Option("--steps", min=1)] = None,
    # Without, the article's four rows; its wording, CSD in a softmax, adds two more.
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="infonce, infonce_echo, pcmepp, pcmepp_echo, csd_infonce, csd_infonce_echo; the "
            "first four without.",
        ),
    ] = None,
    both_variances: Annotated[
        bool,
        typer.Option(
            "--both-variances",
            help="Every run learns both kinds of sigma^2; tables set them beside each other.",
        ),
    ] = False,
    ptbxl: Annotated[
        Path | None,
        typer.Option("--ptbxl", help="Folds 1-7 of PTB-XL train, too; fold 9 is measured."),
    ] = None,
    cinc: Annotated[
        Path | None, typer.Option("--cinc", help="Graded recordings, for --both-variances.")
    ] = None,
    nstdb: Annotated[
        Path | None, typer.Option("--nstdb", help="Real noise, for --both-variances.")
    ] = None,
    json_out: JsonOption = None,
    markdown_out: Annotated[
        str | None, typer.Option("--markdown", help="Write the tables to this file; - for stdout.")
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=10)] = 1000,
) -> None:
    """Table 5: InfoNCE and PCME++, each with and without the echo teacher, several seeds each.

    A training of 900 steps takes about half an hour of one core, so the four rows with three seeds
    some six hours, after half an hour for the simulated cohort and its echo; --steps, --seeds,
    --patients and --method make it shorter. A run that was stopped goes on.
    """
    from echoing_core import services

    # Before hours of training, not after.
    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    with stage_bars() as progress:
        report = services.evaluate_ablation(
            out,
            data=data,
            echo=echo,
            teacher=teacher,
            n_patients=patients,
            n_test_patients=test_patients,
            echo_in_report=echo_in_report,
            n_seeds=seeds,
            steps=steps,
            methods=methods,
            both_variances=both_variances,
            ptbxl=ptbxl,
            cinc=cinc,
            nstdb=nstdb,
            n_resamples=resamples,
            progress=progress,
        )
    # No model to name: each row has one for every seed, and only their scores stay.
    content = {"disclaimer": DISCLAIMER} | report.to_dict()
    deliver_both(content, report.to_markdown(), json_out, markdown_out)
