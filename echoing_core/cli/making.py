"""Commands that make things: simulate, train, index, samples, app."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import bar, stage_bars, table
from echoing_core.cli.root import (
    ClusterOption,
    ModelOption,
    PtbxlOption,
    SeedOption,
    WorkersOption,
    ZscoredOption,
    app,
    index_app,
    samples_app,
    train_app,
)
from echoing_core.cli.training_options import LogToOption, PrintConfigOption, logger_names
from echoing_core.config import to_yaml
from echoing_core.errors import ConfigError
from echoing_core.version import DISCLAIMER


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    patients: Annotated[int, typer.Option("--patients", min=1)] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 7,
    echo: Annotated[
        bool, typer.Option("--echo", help="Write simulated echocardiography videos too (AVI).")
    ] = False,
) -> None:
    """Write a simulated cohort with known truth, as WFDB and CSV."""
    from echoing_core import services

    with bar("simulate") as progress:
        n_ecgs = services.simulate_cohort(out, patients, seed, progress=progress, echo=echo)
    typer.echo(f"{n_ecgs} simulated ECGs of {patients} simulated patients in {out}")


@train_app.command("demo")
def train_demo(
    out: Annotated[
        Path | None, typer.Option("--out", help="Model folder to write.", show_default=False)
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="demo, or echoing: PCME++'s own loss, sigma^2 learnt jointly, with --teacher.",
        ),
    ] = "demo",
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            help="Folder of an echo teacher, for simulated echo of some training patients.",
        ),
    ] = None,
    echo_share: Annotated[
        float,
        typer.Option("--echo-share", help="Of the training patients, who have an echo.", min=0.0),
    ] = 0.1,
    ptbxl: PtbxlOption = None,
    zscored: ZscoredOption = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1)] = None,
    where_steps: Annotated[int | None, typer.Option("--where-steps", min=0)] = None,
    variance_steps: Annotated[int | None, typer.Option("--variance-steps", min=1)] = None,
    text_variance_steps: Annotated[int | None, typer.Option("--text-variance-steps", min=1)] = None,
    patients: Annotated[
        int | None,
        typer.Option("--patients", min=1, help="Simulated patients, test patients included."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2)] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space", help="Keep the means of this model folder and learn sigma^2 anew only."
        ),
    ] = None,
    where_from: Annotated[
        Path | None,
        typer.Option(
            "--where-from",
            help="Take over from this model where in a window a lead is lost; --where-steps 0 then "
            "spares most of the time.",
        ),
    ] = None,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures/--no-figures", help="Measure the model at the end, for its card (minutes)."
        ),
    ] = True,
    begin: Annotated[
        Path | None,
        typer.Option(
            "--begin", help="Begin with the weights of this model, trained on the same data."
        ),
    ] = None,
    real_share: Annotated[
        float | None, typer.Option("--real-share", help="Of every batch: ECGs of PTB-XL.")
    ] = None,
    borrowed_share: Annotated[
        float | None, typer.Option("--borrowed-share", help="Of every batch: ECGs of --zscored.")
    ] = None,
    seed: SeedOption = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Write the losses of every step here, as JSON lines."),
    ] = None,
    log_to: LogToOption = "json",
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder for the states of the first stage.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest state in the --run folder.")
    ] = False,
    print_config: PrintConfigOption = False,
) -> None:
    """Train a model that ships: on simulated ECGs, and on PTB-XL where a folder is given.

    One to two hours on two cores as it is; --steps, --where-steps, --variance-steps and --patients
    make it as short as you like.
    """
    from echoing_core import services

    services.check_given(ptbxl=ptbxl, zscored=zscored, teacher=teacher)
    from echoing_core.datasets.simulated import CohortConfig
    from echoing_core.training.settings import demo_recipe

    # None leaves a setting to the recipe, so that each default stands in one place.
    if recipe not in ("demo", "echoing"):
        raise ConfigError(f"There is no recipe {recipe!r}. Choose demo or echoing.")
    config = demo_recipe(
        recipe,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        where_steps=where_steps,
        variance_steps=variance_steps,
        text_variance_steps=text_variance_steps,
    )
    cohort = CohortConfig() if patients is None else CohortConfig(n_patients=patients)
    if print_config:
        typer.echo(to_yaml(config), nl=False)
        return
    if out is None:
        raise ConfigError("Name the model folder to write: --out MODEL")
    with stage_bars() as progress:
        model = services.train_demo(
            out,
            ptbxl=ptbxl,
            zscored=zscored,
            config=config,
            cohort=cohort,
            space=space,
            where_from=where_from,
            figures=figures,
            begin=begin,
            real_share=real_share,
            borrowed_share=borrowed_share,
            teacher=teacher,
            echo_share=echo_share,
            log_path=log,
            log_to=logger_names(log_to),
            run=run,
            resume=resume,
            progress=progress,
        )
    typer.echo(f"Model {model.name}, hash {model.hash[:16]}, in {out}; read {out / 'card.md'}")


@index_app.command("build")
def index_build(
    out: Annotated[
        str | None,
        typer.Argument(
            help="Index folder to write, with --embedded also in an object store; without it and "
            "without --data or --folder, the shipped one of the model.",
            metavar="OUT",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Of every ECG of this prepared set.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Of the recordings in this folder, of any format."),
    ] = None,
    embedded: Annotated[
        str | None,
        typer.Option(
            "--embedded",
            help="Of what echoing embed made, in a folder or an object store (s3://BUCKET/...).",
        ),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option(
            "--reports",
            help="With --folder or --embedded: a CSV with the columns recording, report and, if"
            " you like, patient and label_NAME.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="How the app calls it; without, as its source.")
    ] = None,
    windows: Annotated[
        int, typer.Option("--windows", min=1, max=5, help="With --folder: windows of each.")
    ] = 1,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces/--no-traces", help="With --data or --embedded: keep the ECGs, 24 kB each."
        ),
    ] = True,
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Simulated ECGs; without it, 1000.")
    ] = None,
    seed: SeedOption = None,
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards",
            min=1,
            help="With --embedded: an index in so many shards, of which no two need be in one "
            "memory. Resumable by the same command.",
        ),
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="With --shards: throw away unfinished ones.")
    ] = False,
    model: ModelOption = None,
) -> None:
    """Embed ECGs and reports and write an index: one's own, or simulated ones without --data.

    1,000 simulated ECGs take two minutes on two cores.
    """
    from echoing_core import services

    own = any(given is not None for given in (data, folder, embedded))
    if sum(given is not None for given in (data, folder, embedded)) > 1:
        raise ConfigError(
            "Give a prepared set with --data, files with --folder, or what echoing embed made with "
            "--embedded: one of them."
        )
    if own and out is None:
        raise ConfigError("Name the index folder to write: echoing index build OUT --data ...")
    if own and (items is not None or seed is not None):
        raise ConfigError(
            "--items and --seed are for simulated ECGs, without --data, --folder and --embedded."
        )
    if reports is not None and folder is None and embedded is None:
        raise ConfigError(
            "--reports goes with --folder or --embedded; a prepared set has its own reports."
        )
    if shards is None and (workers is not None or cluster is not None or restart):
        raise ConfigError("--workers, --cluster and --restart go with --shards.")
    if shards is not None and embedded is None:
        raise ConfigError(
            "--shards goes with --embedded: embed the ECGs first with `echoing embed FOLDER OUT`."
        )
    services.check_given(data=data, recordings=[folder], files=[reports], embedded=embedded)
    services.check_index_out(out)
    if embedded is None and out is not None:
        services.refuse_store(out)
    loaded = services.load_model(model)
    if out is None or not own:
        # Without a folder the shipped index is replaced: this command is how it is made.
        target = Path(out) if out is not None else services.indexes_folder() / loaded.name
        with bar("simulate the gallery") as progress:
            n_items = services.build_demo_index(
                target, loaded, n_items=items or 1000, seed=seed, progress=progress
            )
        typer.echo(f"{n_items} simulated items in {target}, for model {loaded.hash[:16]}")
        return
    with bar("embed") as progress:
        if data is not None:
            built = services.build_prepared_index(
                out, loaded, data, name=name, traces=traces, progress=progress
            )
        elif embedded is not None:
            built = services.build_embedded_index(
                out,
                loaded,
                embedded,
                reports,
                name=name,
                traces=traces,
                n_shards=shards,
                n_workers=workers,
                cluster=cluster,
                restart=restart,
                progress=progress,
            )
        else:
            built = services.build_folder_index(
                out, loaded, str(folder), reports, name=name, windows=windows, progress=progress
            )
    for failed, reason in built.failures:
        typer.echo(f"failed: {failed}: {reason}", err=True)
    for note in built.notes:
        typer.echo(note, err=True)
    told = f"{built.n} ECGs, {built.n_reports} with a report, in {out}, for model {loaded.name} "
    told += f"{loaded.hash[:16]}. Search with --index {out}, or "
    if shards is None:
        typer.echo(f"{told}open it with: echoing app --index {out}")
    else:
        typer.echo(
            f"{told}open it with: echoing app --collection {out}, or keep it open with: "
            f"echoing index serve {out} --cluster ADDRESS"
        )


@index_app.command("serve")
def index_serve(
    index: Annotated[str, typer.Argument(help="Index in shards, or its name.", show_default=False)],
    cluster: ClusterOption = None,
) -> None:
    """Keep the shards of an index open on a Ray cluster, for `echoing search --cluster`.

    A process for each shard; one that is lost with its machine is opened on another. Until Ctrl+C.
    """
    from echoing_core import services
    from echoing_core.workers import RAY

    if cluster is None:
        raise ConfigError(
            "Name the cluster that holds the shards: --cluster ADDRESS, or --cluster ray for this "
            "machine alone, where searches then say --cluster auto."
        )
    folder = services.index_place(index)
    services.check_given(index=folder)
    with services.open_shards(folder, cluster=cluster) as shards:
        shards.open()
        address = "auto" if cluster == RAY else cluster
        typer.echo(
            f"{len(shards):,} ECGs in {shards.n_shards} shards are open (stop with Ctrl+C). Search "
            f"with: echoing search TEXT --index {index} --cluster {address}, or open the app with: "
            f"echoing app --collection {index} --cluster {address}"
        )
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@app.command("embed")
def embed(
    root: Annotated[
        str,
        typer.Argument(
            help="Folder with recordings, or one that echoing prepare made; or recordings in an "
            "object store (s3://BUCKET/...).",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(help="Folder to make, or place in an object store.", show_default=False),
    ],
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    windows: Annotated[
        int, typer.Option("--windows", min=1, max=5, help="So many of each recording's surest.")
    ] = 1,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away unfinished work on other recordings.")
    ] = False,
    model: ModelOption = None,
) -> None:
    """Embed very many ECGs, by several processes or machines; resumable by the same command.

    What comes out is Parquet: mu and log sigma^2 of each ECG, its percentile and the ECG itself. It
    becomes an index by `echoing index build OUT --embedded FOLDER`. One core embeds some 40 ECGs a
    second.
    """
    from echoing_core import services

    with bar("embed") as progress:
        done = services.embed_collection(
            root,
            out,
            model=model,
            windows=windows,
            n_workers=workers,
            cluster=cluster,
            restart=restart,
            progress=progress,
        )
    for failed, reason in done.failures:
        typer.echo(f"failed: {failed}: {reason}", err=True)
    again = f", {done.n_again:,} left out that were there twice" if done.n_again else ""
    there = f", {done.n_resumed:,} of them done before" if done.n_resumed else ""
    typer.echo(
        f"{done.n:,} ECGs of {done.n_recordings:,} recordings{there}{again}, in {out}. Make an "
        f"index of them with: echoing index build INDEX --embedded {out}"
    )


@samples_app.command("build")
def samples_build(
    out: Annotated[
        Path | None,
        typer.Argument(help="Folder to write; without it, the shipped one.", metavar="OUT"),
    ] = None,
) -> None:
    """Make the shipped recordings again (all of them simulated)."""
    from echoing_core import services

    typer.echo("\n".join(services.build_samples(out)))


@samples_app.command("list")
def samples_list() -> None:
    """The shipped recordings, by the names that commands take in place of files."""
    from echoing_core import services

    rows = [
        (sample.sample_id, sample.title, str(sample.paths[0].parent))
        for sample in services.samples()
    ]
    typer.echo(table(("name", "what (simulated)", "folder"), rows))


@samples_app.command("cases")
def samples_cases(
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", help="Write their recordings (WFDB) and solutions to this folder."
        ),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Draw them anew, keeping those that the model shows."),
    ] = False,
    model: ModelOption = None,
) -> None:
    """The teaching cases of the app (all simulated), and how many of each kind a model shows."""
    from echoing_core import services

    if write and export is not None:
        raise ConfigError("Give --write or --export: what is drawn anew is exported afterwards.")
    if export is not None:
        with bar("simulate") as progress:
            n = services.export_cases(export, progress=progress)
        typer.echo(f"{n} simulated teaching cases in {export}")
        return
    if write:
        with stage_bars() as progress:
            services.draw_teaching_cases(services.load_model(model), progress=progress)
    rows = [
        (services.STORIES[one.kind], str(one.n_shown), f"{one.n_shown} of {one.n_drawn} drawn")
        for one in services.drawn_cases()
    ]
    header = ("story (simulated)", "cases", "shown by the model")
    typer.echo(table(header, rows) if rows else "No teaching case: echoing samples cases --write")


@app.command("app")
def run_app(
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    index: Annotated[
        list[Path] | None,
        typer.Option(
            "--index", help="Index folder, or its name, that the app offers too; may be repeated."
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            help="Model folder, or its name, that the app offers too and begins with; may be "
            "repeated.",
        ),
    ] = None,
    collection: Annotated[
        list[Path] | None,
        typer.Option(
            "--collection",
            help="Folder of a collection that the app begins with: PTB-XL as published, a prepared "
            "set, an index, recordings, or a folder with several of these. Indexes are made once "
            "and kept; may be repeated.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            help="With --collection: where its indexes are kept; without, runs/collections.",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            help="A Ray cluster that holds the indexes in shards: its address, auto, or ray for "
            "this machine alone. Without it the app holds them itself.",
        ),
    ] = None,
) -> None:
    """Open the app in the browser; without a display, only serve it."""
    from echoing_core import services

    # Here, since the app would only say so once somebody opens a page.
    index = [services.index_folder(one) for one in index or []]
    for folder in index:
        services.check_given(index=folder)
    models = [services.model_folder(one)[0] for one in model or []]
    for folder in models:
        services.check_given(model=folder)
        # A model that ships keeps its name, so that one of one's own would not be found by it.
        if folder.name in services.shipped_models() and folder.parent != (
            services.assets_folder() / "models"
        ):
            raise ConfigError(
                f"{folder} has the name of a model that ships. Rename the folder to open it."
            )
    if keep is not None and not collection:
        raise ConfigError("--keep says where the indexes of a --collection go. Name one.")
    sources = services.collection_sources(collection or [])
    if cluster is not None:
        from echoing_core.retrieve.shard_names import is_sharded

        if not any(is_sharded(folder) for folder in [*index, *sources]):
            raise ConfigError(services.NO_SHARDS_FOR_CLUSTER)
    root = services.shipped_folder()
    if not (root / "app.py").is_file():
        raise ConfigError(
            f"The app is not in {root}, so this is a part of the package only. Install it from a "
            "wheel or a checkout: pip install FOLDER_OF_THE_CHECKOUT"
        )
    collections = _ready(sources, models, keep)
    display = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    arguments = [sys.executable, "-m", "streamlit", "run", "app.py"]
    arguments += ["--server.port", str(port), "--server.headless", str(not display).lower()]
    typer.echo(f"EchoingECG at http://127.0.0.1:{port} (stop with Ctrl+C). {DISCLAIMER}")
    # execv below replaces the process and drops what is still buffered.
    sys.stdout.flush()
    # By the environment: Streamlit takes no arguments of ours, and imports the app by itself.
    # Absolute, since the working folder changes below.
    for variable, given in (
        ("ECHOING_INDEX", index),
        ("ECHOING_MODEL", models),
        (services.COLLECTIONS_VARIABLE, collections),
    ):
        # What was set before stays for who names nothing; a relative path would lose its way.
        before = [Path(p) for p in os.environ.get(variable, "").split(os.pathsep) if p.strip()]
        if given or before:
            os.environ[variable] = os.pathsep.join(str(f.resolve()) for f in given or before)
    if cluster is not None:
        os.environ[services.CLUSTER_VARIABLE] = cluster
    for name in ("ECHOING_HOME", "ECHOING_TEACHER"):
        # A teacher may be a hub name, which is no path and stays as it is.
        if (set_to := os.environ.get(name)) and Path(set_to).exists():
            os.environ[name] = str(Path(set_to).resolve())
    # Streamlit looks for .streamlit/config.toml in the folder that it is started from.
    os.chdir(root)
    # Replaced, not started: Ctrl+C and exit code then are those of Streamlit itself.
    os.execv(sys.executable, arguments)


def _ready(sources: list[Path], models: list[Path], keep: Path | None) -> list[Path]:
    """Indexes of collections, made where they are not kept, and the folder of the others."""
    from echoing_core import services

    place = keep if keep is not None else services.KEPT
    if not sources:
        # The server works in another folder, from which a relative one is not seen.
        named = os.environ.get(services.COLLECTIONS_VARIABLE, "").strip()
        return [place] if place.is_dir() and not named else []
    # That the app begins with.
    model = services.load_model(models[0] if models else services.offered_models()[0])
    ready = []
    for source in sources:
        with stage_bars() as progress:
            one = services.ready_collection(source, model, keep=place, progress=progress)
        left = f", {one.failures:,} could not be used" if one.failures else ""
        typer.echo(
            f"{source}: {one.n:,} ECGs{left}, for model {model.name}, "
            f"{'made and kept' if one.made else 'as kept'} in {one.folder}"
        )
        ready.append(one.folder)
    return [*ready, *([place] if place.is_dir() else [])]
