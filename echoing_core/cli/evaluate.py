"""``echoing evaluate``: measuring a model, by one command each or by a published evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    deliver_both,
    stage_bars,
    table,
    writable,
)
from echoing_core.cli.root import (
    CardOption,
    JsonOption,
    MarkdownOption,
    ModelOption,
    PtbxlOption,
    ResamplesOption,
    ZscoredOption,
    evaluate_app,
)
from echoing_core.errors import ConfigError
from echoing_core.evaluate.protocols.settings import (
    WINDOWS,
    EvaluationOptions,
    FineTuneSettings,
    WindowSettings,
    load_evaluation_preset,
)
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.metrics.results import Experiment
    from echoing_core.services import Model

# Options that several subcommands share stand here once, with one help text each.
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
HeadsOutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Model folder to write: the model with what is trained here as its heads, which then "
        "answer in the app and on the command line.",
    ),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many draws of the training.")]


@evaluate_app.command("echo-text")
def evaluate_echo_text(
    sentences: Annotated[
        Path,
        typer.Argument(help="CSV with the columns half, text and truth.", show_default=False),
    ],
    half: Annotated[
        list[str] | None,
        typer.Option("--half", help="Only this half; may be repeated. Without, each."),
    ] = None,
    language_model: Annotated[
        Path | None,
        typer.Option(
            "--language-model",
            help="Local folder of a causal language model that reads in place of the rules.",
        ),
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
) -> None:
    """How often the rules that read echo reports are right; every failure is listed."""
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    services.check_given(files=[sentences], language_model=language_model)
    with stage_bars() as progress:
        # One stage a half, which the service names.
        reports = services.evaluate_echo_text(
            sentences, half, language_model=language_model, progress=progress
        )
    # One table a half; the JSON has them in a list, since a file may name any halves.
    text = "\n".join(report.to_markdown() for report in reports)
    content = {"reports": [report.to_dict() for report in reports]}
    deliver_both(content, text, json_out, markdown_out)


@evaluate_app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="A published evaluation, or a YAML file; list for all."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder that `echoing prepare` made; for music-table3 also MUSIC itself, or "
            "nothing for simulated 20-minute recordings.",
        ),
    ] = None,
    patients: Annotated[
        int | None,
        typer.Option("--patients", min=8, help="Simulated test patients of music-table3."),
    ] = None,
    model: ModelOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """Measure a model on data it was not trained on: by a command below, or by --preset."""
    from echoing_core import services

    # The callback runs before every subcommand, which has options of the same names.
    if context.invoked_subcommand is not None:
        if preset is not None or data is not None or patients is not None:
            raise ConfigError(
                f"--preset, --data and --patients before {context.invoked_subcommand} do nothing. "
                "Give its options after it, or a preset alone."
            )
        return
    if preset is None:
        typer.echo(context.get_help())
        return
    # A word in the place of a name, so that no preset file may be called list.
    if preset == "list":
        rows = [
            (name, one.title, one.protocol, one.prepare)
            for name, one in services.evaluation_presets().items()
        ]
        typer.echo(table(("preset", "what", "protocol", "made ready by"), rows))
        return
    _check(json_out, markdown_out, card_out)
    # Before the model is loaded, like every mistake in the options.
    published = load_evaluation_preset(preset)
    services.check_preset_data(published, preset, data)
    simulates = published.protocol == WINDOWS
    if patients is not None and (data is not None or not simulates):
        raise ConfigError(
            "--patients is for simulated recordings: a preset such as music-table3 without --data."
        )
    loaded = services.load_model(model)
    # The preset fixes labels, seeds and training ECGs; what is left to choose is given here.
    windows = WindowSettings() if patients is None else WindowSettings(n_patients=patients)
    options = EvaluationOptions(by_entropy=by_entropy, n_resamples=resamples, windows=windows)
    with stage_bars() as progress:
        experiment = services.evaluate_preset(
            loaded, preset, data, options=options, progress=progress
        )
    _deliver(experiment, loaded, json_out, markdown_out, card_out, data, preset=preset)


@evaluate_app.command("demo")
def evaluate_demo(
    model: ModelOption = None,
    ptbxl: PtbxlOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    # Not by default: a card should change only when its author wants it to.
    into_card: Annotated[
        bool, typer.Option("--write-card", help="Put the figures into the model's card.")
    ] = False,
) -> None:
    """Zero-shot and retrieval figures with intervals, beside those of random weights."""
    from echoing_core import services

    _check(json_out, markdown_out, card_out)
    # Here and below: a wrong path is told before a model is loaded.
    services.check_given(ptbxl=ptbxl)
    loaded = services.load_model(model)
    with bar("simulate the test patients") as progress:
        experiment = services.evaluate_held_out(
            loaded,
            ptbxl=ptbxl,
            folder=loaded.folder if into_card else None,
            n_resamples=resamples,
            progress=progress,
        )
    _deliver(experiment, loaded, json_out, markdown_out, card_out, ptbxl)


@evaluate_app.command("fusion")
def evaluate_fusion(
    model: ModelOption = None,
    patients: Annotated[
        int | None,
        typer.Option("--patients", min=1, help="Simulated test patients; without it, 400."),
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
) -> None:
    """Fused long recordings against single windows, on simulated recordings with noise."""
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    loaded = services.load_model(model)
    with bar("simulate and embed") as progress:
        experiment = services.evaluate_fusion(
            loaded, n_patients=patients, n_resamples=resamples, progress=progress
        )
    _deliver(experiment, loaded, json_out, markdown_out)


@evaluate_app.command("uncertainty")
def evaluate_uncertainty(
    recordings: Annotated[
        Path | None,
        typer.Option("--recordings", help="Only this: a folder of graded recordings."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Their grades: a CSV with the columns record, quality."),
    ] = None,
    cinc: Annotated[
        Path | None,
        typer.Option("--cinc", help="Folder of the CinC Challenge 2011 with quality_labels.csv."),
    ] = None,
    ptbxl: PtbxlOption = None,
    nstdb: Annotated[
        Path | None, typer.Option("--nstdb", help="Folder of the MIT-BIH Noise Stress Test.")
    ] = None,
    mitdb: Annotated[
        list[Path] | None,
        typer.Option(
            "--mitdb", help="Folder of long recordings with leads II and V1; may be repeated."
        ),
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    model: ModelOption = None,
) -> None:
    """What sigma^2 follows: grades, added noise and its place, lost leads, vague words, errors.

    With all four folders and 300 resamples about 40 minutes of one core; more resamples take
    longer.
    """
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    # Two ways to use the command: grades of one's own recordings, or the whole benchmark.
    graded = recordings is not None or labels is not None
    # Before the model is loaded, like every mistake in the options.
    if graded and (cinc or ptbxl or nstdb or mitdb):
        raise ConfigError(
            "Either --recordings and --labels, or the folders of the whole benchmark; not both."
        )
    if graded:
        if recordings is None or labels is None:
            raise ConfigError("Graded recordings need both --recordings DIR and --labels CSV.")
        # Only now, after all that can be wrong with the options: the model takes seconds.
        services.check_given(recordings=[recordings], files=[labels])
        loaded = services.load_model(model)
        # One stage, so one bar.
        with bar("graded recordings") as done:
            experiment = services.evaluate_quality(
                loaded, recordings, labels, n_resamples=resamples, progress=done
            )
    else:
        services.check_given(ptbxl=ptbxl, cinc=cinc, nstdb=nstdb, recordings=mitdb or ())
        loaded = services.load_model(model)
        with stage_bars() as progress:
            experiment = services.evaluate_uncertainty(
                loaded,
                cinc=cinc,
                ptbxl=ptbxl,
                nstdb=nstdb,
                long_recordings=mitdb or (),
                n_resamples=resamples,
                progress=progress,
            )
    _deliver(experiment, loaded, json_out, markdown_out)


@evaluate_app.command("statements")
def evaluate_statements(
    recordings: Annotated[
        Path,
        typer.Argument(
            help="Folder of recordings whose files hold statements of the device (GE MUSE, "
            "CardioSoft, Philips, aECG, SCP-ECG, EDF+) or rhythms (.atr).",
            show_default=False,
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="YAML file or folder of prompt sets, in place of ours."),
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    model: ModelOption = None,
) -> None:
    """How often zero-shot answers agree with what the device itself says in the same files.

    The device's program errs, too: this is agreement, not accuracy.
    """
    from echoing_core import services

    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    services.check_given(recordings=[recordings])
    # A folder without recordings is told before the model is loaded.
    services.folder_items(recordings)
    asked = None if prompts is None else services.prompt_sets(prompts)
    loaded = services.load_model(model)
    with bar("recordings") as done:
        experiment = services.evaluate_statements(
            loaded, recordings, asked, n_resamples=resamples, progress=done
        )
    _deliver(experiment, loaded, json_out, markdown_out)


@evaluate_app.command("calibration")
def evaluate_calibration(
    model: ModelOption = None,
    ptbxl: PtbxlOption = None,
    zscored: ZscoredOption = None,
    measure_zscored: Annotated[
        bool,
        typer.Option("--measure-zscored", help="Measure on fold 9 of --zscored, too."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder that `echoing prepare` made, in place of PTB-XL: fitted on its split "
            "valid, measured on test.",
        ),
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
    # Not by default: every answer of the model changes with it.
    write: Annotated[
        bool, typer.Option("--write", help="Put the calibration into the model's folder.")
    ] = False,
) -> None:
    """How often answers are right: fitted on fold 8 of PTB-XL, measured on fold 9."""
    from echoing_core import services

    _check(json_out, markdown_out)
    services.check_calibration_data(
        ptbxl=ptbxl,
        zscored=zscored,
        data=data,
        measure_zscored=measure_zscored,
        writes=write,
    )
    loaded = services.load_model(model)
    with bar("lead sets") as progress:
        experiment = services.evaluate_calibration(
            loaded,
            ptbxl=ptbxl,
            zscored=zscored,
            measure_zscored=measure_zscored,
            data=data,
            folder=loaded.folder if write else None,
            n_resamples=resamples,
            progress=progress,
        )
    _deliver(experiment, loaded, json_out, markdown_out)


@evaluate_app.command("zero-shot")
def evaluate_zero_shot(
    model: ModelOption = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """Questions answered by prompts alone; halves by sigma^2, other wordings, random weights."""
    # The names of commands are those of the protocols in `settings`.
    options = EvaluationOptions(_labels(labels), by_entropy, resamples)
    _run("zero-shot", model, data, options, json_out, markdown_out, card_out)


@evaluate_app.command("few-shot")
def evaluate_few_shot(
    model: ModelOption = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    seeds: SeedsOption = 3,
    out: HeadsOutOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """A linear probe from 10 % and 100 % of the training patients, beside random weights."""
    options = EvaluationOptions(_labels(labels), by_entropy, resamples, seeds)
    _run("few-shot", model, data, options, json_out, markdown_out, card_out, out)


@evaluate_app.command("knn")
def evaluate_nearest(
    model: ModelOption = None,
    data: DataOption = None,
    labels: LabelsOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """Yes where most of the 5 nearest training ECGs are; nothing is trained; random weights."""
    options = EvaluationOptions(_labels(labels), by_entropy, resamples)
    _run("knn", model, data, options, json_out, markdown_out, card_out)


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
    out: HeadsOutOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """The whole ECG encoder trained for each label, beside a frozen probe and random weights."""
    settings = FineTuneSettings(n_train=train_ecgs)
    # Without it, the default of the settings, which stands in one place.
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    options = EvaluationOptions(_labels(labels), by_entropy, resamples, seeds, settings)
    _run("fine-tune", model, data, options, json_out, markdown_out, card_out, out)


@evaluate_app.command("retrieval")
def evaluate_retrieval(
    model: ModelOption = None,
    data: DataOption = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    card_out: CardOption = None,
    resamples: ResamplesOption = 1000,
    by_entropy: EntropyOption = None,
) -> None:
    """From each report to its ECG: recall at 1, 5 and 10, and in halves by sigma^2."""
    options = EvaluationOptions(by_entropy=by_entropy, n_resamples=resamples)
    _run("retrieval", model, data, options, json_out, markdown_out, card_out)


@evaluate_app.command("echo-studies")
def evaluate_echo_studies(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Folder that `echoing prepare` made, with ejection fractions or a label of "
            "structural disease.",
            show_default=False,
        ),
    ],
    model: ModelOption = None,
    echo: Annotated[
        Path | None,
        typer.Option(
            "--echo",
            help="Embeddings of the test patients' clips, as `train echo2ecg` takes them. Without "
            "it, clips of simulated patients are drawn and embedded.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", help="Who embeds drawn clips; without it, the stand-in."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Store where drawn clips are kept.")
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    resamples: ResamplesOption = 1000,
) -> None:
    """Classes of ejection fraction and structural disease; search between ECGs and echo studies.

    Precision and mean average precision of the search stand beside what chance finds and beside
    random weights.
    """
    from echoing_core import services

    _check(json_out, markdown_out)
    services.check_protocol_data(data, "knn")
    loaded = services.load_model(model)
    with stage_bars() as progress:
        experiment = services.evaluate_echo_studies(
            loaded,
            data,
            echo=echo,
            teacher=teacher,
            cache=cache,
            n_resamples=resamples,
            progress=progress,
        )
    _deliver(experiment, loaded, json_out, markdown_out)


def _run(
    protocol: str,
    model: Path | None,
    data: Path | None,
    options: EvaluationOptions,
    json_out: str | None,
    markdown_out: str | None,
    card_out: str | None,
    out: Path | None = None,
) -> None:
    """One of the article's protocols, from the model's folder to what is printed."""
    from echoing_core import services

    _check(json_out, markdown_out, card_out)
    services.check_protocol_data(data, protocol)
    loaded = services.load_model(model)
    with stage_bars() as progress:
        experiment = services.evaluate_protocol(
            loaded, protocol, data=data, options=options, out=out, progress=progress
        )
    _deliver(experiment, loaded, json_out, markdown_out, card_out, data)
    if out is not None:
        typer.echo(
            f"Model {out.name} with its heads in {out}; read {out / 'card.md'}. Use it with "
            f"--model {out}",
            err=True,
        )


def _labels(labels: list[str] | None) -> tuple[str, ...] | None:
    # None means all labels that the protocol has; an empty tuple would mean none of them.
    return None if labels is None else tuple(labels)


def _check(json_out: str | None, markdown_out: str | None, card_out: str | None = None) -> None:
    at_most_one_on_stdout(json_out, markdown_out, card_out)
    writable(json_out, markdown_out, card_out)


def _deliver(
    experiment: Experiment,
    loaded: Model,
    json_out: str | None,
    markdown_out: str | None,
    card_out: str | None = None,
    data: Path | None = None,
    **further: str,
) -> None:
    """Write an experiment out, under the model that it was made with."""
    # Which model, first, so that a file of figures can be told from that of another model.
    named = {
        "disclaimer": DISCLAIMER,
        **further,
        "model": loaded.name,
        "model_hash": loaded.hash,
    }
    if card_out is not None:
        from echoing_core import services

        deliver(services.evaluation_card(experiment, {loaded.name: loaded.hash}, data), card_out)
    content = named | experiment.to_dict()
    deliver_both(content, experiment.to_markdown(), json_out, markdown_out, card_out)
