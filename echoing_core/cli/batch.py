"""Command about many recordings: batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    read_prevalence,
    table,
    writable,
)
from echoing_core.cli.recordings import asked_questions, refusal_lines
from echoing_core.cli.root import (
    ClusterOption,
    ModelOption,
    PrevalenceOption,
    VcgOption,
    WorkersOption,
    app,
)
from echoing_core.cli.telling import (
    FsOption,
    LeadOption,
    PrintedOption,
    SamplesInOption,
    ScaleOption,
    UnitOption,
    told,
)
from echoing_core.errors import ConfigError
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.services import BatchFailure, BatchRow, BatchTable


_N_NAMED = 8
"""Files that are no recordings are named up to this many."""


@app.command()
def batch(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder with recordings, and folders in it; or a place in an object store.",
            show_default=False,
        ),
    ],
    csv_out: Annotated[
        str | None,
        typer.Option("--csv", help="Write one row per recording to this file; - for stdout."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="A finding in words; may be repeated."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="YAML file or folder of prompt sets."),
    ] = None,
    names: Annotated[
        bool,
        typer.Option("--names/--no-names", help="Names of files in the CSV, or numbers instead."),
    ] = True,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure PR, QRS, QT, QTc (Fridericia) and axes, too; a reason where one cannot "
            "be.",
        ),
    ] = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away unfinished work on other recordings.")
    ] = False,
    prevalence: PrevalenceOption = None,
    vcg_method: VcgOption = "dower",
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
    model: ModelOption = None,
) -> None:
    """Look at all recordings of a folder: one row each, or the reason why there is none.

    Without --prompt or --prompts, the shipped questions are asked of the surest window of each.
    What is said of leads, rate, unit and size holds for all files, --lead for those that have such
    a channel. With --workers or --cluster the table of very many is made in parts: after a kill the
    same command goes on, and no row is printed.
    """
    # Before anything is loaded: a folder of recordings takes minutes, a wrong path a moment.
    at_most_one_on_stdout(csv_out)
    writable(csv_out)
    from echoing_core import services

    said = told(lead, fs, unit, scale, samples_in, printed)
    asked, _, refused = asked_questions(prompt, prompts)
    shares = read_prevalence(prevalence)
    if workers is not None or cluster is not None:
        if csv_out in (None, "-"):
            raise ConfigError("Name a file for the table, as in --csv TABLE.csv.")
        settings = services.BatchSettings(asked, vcg_method, shares, said, measure, names, refused)
        with bar("recordings") as progress:
            made = services.batch_in_parts(
                folder,
                str(csv_out),
                settings,
                model=model,
                n_workers=workers,
                cluster=cluster,
                restart=restart,
                progress=progress,
            )
        typer.echo("\n".join([*refusal_lines(refused), _told_of_table(made, str(csv_out))]))
        return
    if restart:
        raise ConfigError("--restart goes with --workers or --cluster.")
    items, others = services.folder_items(folder)
    loaded = services.load_model(model)
    results: list[BatchRow | BatchFailure] = []
    with bar("recordings") as progress:
        results += services.batch(
            loaded,
            items,
            asked,
            vcg_method=vcg_method,
            prevalence=shares,
            told=said,
            measured=measure,
            progress=progress,
        )
    if csv_out is not None:
        deliver(services.batch_csv(loaded, results, names=names, refused=refused), csv_out)
    # With the CSV on stdout, a summary there would be read as one more row.
    if csv_out != "-":
        typer.echo("\n".join([*refusal_lines(refused), _summary(results, others)]))


def _measured(row: BatchRow) -> tuple[str, ...]:
    from echoing_core import services

    values = [row.measured_value(name) for name, _ in services.BATCH_MEASURED]
    return tuple("–" if value is None else f"{value:.0f}" for value in values)


def _told_of_table(made: BatchTable, path: str) -> str:
    there = f", {made.n_resumed:,} of them done before" if made.n_resumed else ""
    lines = [
        f"{made.n_read:,} read, {made.n_failed:,} failed, of {made.n_files:,} files{there}, in "
        f"{path}. {DISCLAIMER}"
    ]
    return "\n".join([*lines, *_not_recordings(made.others)])


def _not_recordings(others: Sequence[str]) -> list[str]:
    if not others:
        return []
    more = f" and {len(others) - _N_NAMED} more" if len(others) > _N_NAMED else ""
    files = "1 other file is" if len(others) == 1 else f"{len(others)} other files are"
    return [f"{files} no recording: {', '.join(others[:_N_NAMED])}{more}."]


def _summary(results: Sequence[BatchRow | BatchFailure], others: Sequence[str]) -> str:
    from echoing_core import services

    rows = [r for r in results if isinstance(r, services.BatchRow)]
    failures = [r for r in results if isinstance(r, services.BatchFailure)]
    lines = []
    if rows:
        cells: list[tuple[str, ...]] = [
            (
                r.name + (" (simulated)" if r.simulated else ""),
                f"{r.duration_s:.0f}",
                f"{r.best_percentile:.0f}",
                f"{r.median_percentile:.0f}",
                # Windows at or above the percentile from which a window is called unsure.
                f"{100 * r.unsure_share:.0f} %",
                "" if r.heart_rate_bpm is None else f"{r.heart_rate_bpm:.0f}",
                r.reason,
            )
            for r in rows
        ]
        header: tuple[str, ...] = (
            "recording",
            "s",
            "best",
            "median",
            "unsure",
            "bpm",
            "least sure window",
        )
        if any(r.measurements for r in rows):
            # Before the sentence, which is long.
            cells = [(*c[:-1], *_measured(r), c[-1]) for c, r in zip(cells, rows, strict=True)]
            header = (*header[:-1], *(words for _, words in services.BATCH_MEASURED), header[-1])
        lines.append(table(header, cells))
    lines += [f"failed: {f.name}: {f.reason}" for f in failures]
    lines.append(f"{len(rows)} read, {len(failures)} failed. {DISCLAIMER}")
    return "\n".join([*lines, *_not_recordings(others)])
