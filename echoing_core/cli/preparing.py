"""``echoing prepare NAME ROOT OUT`` for every data set of the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import bar
from echoing_core.cli.root import ClusterOption, prepare_app
from echoing_core.datasets.registry import data_set_names, summary_of
from echoing_core.errors import ConfigError
from echoing_core.records import LONG_PADDING


@prepare_app.callback(invoke_without_command=True)
def prepare(
    context: typer.Context,
    show: Annotated[
        bool, typer.Option("--list", help="List the data sets with their options.")
    ] = False,
) -> None:
    """Prepare a data set for training and evaluation."""
    if show:
        typer.echo(_listed(), nl=False)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _listed() -> str:
    # Here and not above: `services` costs most of a second, and --help needs none of it.
    from echoing_core import services

    lines = ["simulated: a simulated cohort; see echoing prepare simulated --help"]
    for name, (summary, options) in services.data_sets().items():
        lines.append(f"{name}: {summary}")
        for option in options:
            default = "must be given" if option.default is None else option.default or "nothing"
            lines.append(f"  --set {option.name}=...  {option.kind}; {default}")
            if option.help:
                lines.append(f"      {option.help}")
    return "\n".join(lines) + "\n"


def _add(name: str) -> None:
    # A function of its own for each data set: Typer takes name, options and help from it.
    def command(
        root: Annotated[
            Path, typer.Argument(help="The data set as it was downloaded.", show_default=False)
        ],
        out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
        settings: Annotated[
            list[str] | None,
            typer.Option(
                "--set", help="An option of the set, key=value; see echoing prepare --list."
            ),
        ] = None,
        workers: Annotated[
            int | None,
            typer.Option(
                "--workers",
                min=1,
                help="Processes that read; 2, or all cores of a cluster.",
                show_default=False,
            ),
        ] = None,
        cluster: ClusterOption = None,
        restart: Annotated[
            bool, typer.Option("--restart", help="Throw away unfinished work on other data.")
        ] = False,
    ) -> None:
        from echoing_core import services

        # Texts: the data set knows the types of its options and reads them itself.
        typed: dict[str, str] = {}
        for setting in settings or []:
            key, equals, value = setting.partition("=")
            if not equals or not key.strip():
                raise ConfigError(f"--set {setting} is not key=value.")
            if key.strip() in typed:
                raise ConfigError(f"--set {key.strip()} is given twice; separate values by commas.")
            typed[key.strip()] = value.strip()
        with bar("prepare") as progress:
            report = services.prepare_data_set(
                name,
                root,
                out,
                settings=typed,
                n_workers=workers,
                cluster=cluster,
                restart=restart,
                progress=progress,
            )
        typer.echo(report.markdown, nl=False)

    # Typer shows the docstring as help, and an f-string in its place would be none.
    summary = summary_of(name)
    command.__doc__ = f"{summary[0].upper()}{summary[1:]}."
    prepare_app.command(name)(command)


for _name in data_set_names():
    _add(_name)


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
    filter_padding: Annotated[
        str,
        typer.Option(
            "--filter-padding",
            help="What is mirrored at the ends while filtering: long (3 s), or scipy for the "
            "presets paper and release.",
        ),
    ] = LONG_PADDING,
) -> None:
    """A simulated cohort, filtered and ready for training and evaluation."""
    from echoing_core import services

    with bar("simulate") as progress:
        card = services.prepare_simulated(
            out,
            patients,
            seed,
            echo_in_report=echo_in_report,
            filter_padding=filter_padding,
            progress=progress,
        )
    typer.echo(
        f"{card['n_studies']} simulated ECGs of {card['n_patients']} simulated patients in {out}"
    )
