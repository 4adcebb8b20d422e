"""The command tree, the options that commands share, and how user errors end."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from echoing_core.errors import EchoingError, of_the_system
from echoing_core.version import DISCLAIMER

# The code that Typer, too, uses for a wrong command line.
_EXIT_USER = 2


class _OneSentence(TyperGroup):
    """Ends any `EchoingError` as one sentence on stderr, and what the system refuses, too.

    Programming mistakes still surface.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            said = str(error) if isinstance(error, EchoingError) else of_the_system(error)
            if said is None:
                raise
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                from echoing_core.training.distributed import end_with

                end_with(said, _EXIT_USER)
            # No traceback: it would hide the one sentence that says what to do.
            typer.echo(said, err=True)
            raise typer.Exit(_EXIT_USER) from None


# Plain text: help looks alike in any terminal and in a file, and tracebacks of mistakes of ours
# stay as Python prints them.
_PLAIN: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
app = typer.Typer(
    name="echoing",
    cls=_OneSentence,
    help=f"ECGs and reports as Gaussians in one space. {DISCLAIMER}",
    # Of the whole tree: --install-completion puts it into the shell.
    **{**_PLAIN, "add_completion": True},
)
train_app = typer.Typer(help="Train a model.", **_PLAIN)
index_app = typer.Typer(help="Build an index to search in.", **_PLAIN)
evaluate_app = typer.Typer(help="Measure a model on data it was not trained on.", **_PLAIN)
prepare_app = typer.Typer(help="Prepare a data set for training and evaluation.", **_PLAIN)
teacher_app = typer.Typer(help="The echo teacher: a stand-in for ECHO-CLIP.", **_PLAIN)
samples_app = typer.Typer(help="The recordings that ship with the project.", **_PLAIN)
# All groups hang on one tree here; modules only add their commands to them.
app.add_typer(train_app, name="train")
app.add_typer(index_app, name="index")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(prepare_app, name="prepare")
app.add_typer(teacher_app, name="teacher")
app.add_typer(samples_app, name="samples")

# Options that commands of several modules share: one name and one help text each.
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Model folder, or a model by its name (echoing models lists them); after an @, which "
        "sigma^2 of two (echoing@displacement). Without it, the shipped demo model.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", help="Write JSON to this file; - for stdout, instead of the table."),
]
MarkdownOption = Annotated[
    str | None,
    typer.Option("--markdown", help="Write the table to this file; - for stdout."),
]
CardOption = Annotated[
    str | None,
    typer.Option(
        "--card",
        help="Write an evaluation card to this file: the figures as a model-index, the data and "
        "its licence, and the tables; - for stdout.",
    ),
]
ResamplesOption = Annotated[
    int, typer.Option("--resamples", min=10, help="Bootstrap resamples of the patients.")
]
RecordingArgument = Annotated[
    list[Path],
    typer.Argument(
        help="A header (.hea), a record's name, a folder with one record, all of its files, or the "
        "name of a shipped recording (echoing samples list).",
        show_default=False,
    ),
]
RecordOption = Annotated[
    str | None,
    typer.Option("--record", help="Which record, where a folder holds several."),
]
VcgOption = Annotated[
    str,
    typer.Option(
        "--vcg-method",
        help="How 12 leads are made of X, Y, Z where only those exist: dower, kors_pinv, kors_gls.",
    ),
]
PrevalenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prevalence",
        help="Share of your patients who have what is asked, such as 0.05, or by question as in "
        "lbbb=0.02; may be repeated. Without, that of the calibration.",
    ),
]
PtbxlOption = Annotated[
    Path | None,
    typer.Option("--ptbxl", help="Folder of PTB-XL with records100/ and ptbxl_database.csv."),
]
ZscoredOption = Annotated[
    Path | None,
    typer.Option(
        "--zscored",
        help="Folder of further ECGs of PTB-XL that lost their millivolts (x_NN.npz).",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="A Ray cluster that does the work: its address, auto, or ray for this machine alone. "
        "All machines see the same files.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes of this machine, 0.4 GB each, or parts that a cluster does at once. "
        "Without, one process, or all cores of the cluster.",
        show_default=False,
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0)]


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="Where networks compute: cpu, cuda, cuda:1, or auto (a GPU where there is one and "
            "the work repays its start). Stands before the command.",
            envvar="ECHOING_DEVICE",
            show_default="auto",
        ),
    ] = None,
) -> None:
    if device is not None:
        # For the processes that a command starts, too.
        os.environ["ECHOING_DEVICE"] = device
    # Only here and in the app are handlers set; basicConfig writes to stderr.
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
