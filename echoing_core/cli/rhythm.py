"""``echoing rhythm``: beats, pauses, atrial fibrillation and variability of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    json_text,
    show,
    writable,
)
from echoing_core.cli.recordings import check_leads
from echoing_core.cli.root import (
    JsonOption,
    MarkdownOption,
    ModelOption,
    RecordingArgument,
    RecordOption,
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


@app.command()
def rhythm(
    recording: RecordingArgument,
    above: Annotated[
        float,
        typer.Option(
            "--above",
            min=0.0,
            max=100.0,
            help="Windows from this percentile of sigma^2 on are left out in the second column.",
        ),
    ] = 90.0,
    beats_alone: Annotated[
        bool,
        typer.Option("--beats-alone", help="Without a model, and so without the second column."),
    ] = False,
    json_out: JsonOption = None,
    csv_out: Annotated[
        str | None, typer.Option("--csv", help="Write one row per beat to this file; - for stdout.")
    ] = None,
    markdown_out: MarkdownOption = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--annotated",
            help="Write the recording with its beats, episodes and pauses as annotations; the "
            "ending says the format, as in `echoing convert`.",
        ),
    ] = None,
    record: RecordOption = None,
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
    model: ModelOption = None,
) -> None:
    """Beats and their kinds, heart rate, pauses, atrial fibrillation and variability over time.

    Everything is told twice: of the whole recording, and without the windows in which the model
    is unsure.
    """
    at_most_one_on_stdout(json_out, csv_out, markdown_out)
    writable(json_out, csv_out, markdown_out)
    from echoing_core import services

    if annotated is not None:
        services.format_for(annotated)
    read = services.read_recording(
        services.recording_source(recording),
        record_name=record,
        told=told(lead, fs, unit, scale, samples_in, printed),
        stay_stored=annotated is None,
    )
    check_leads(read)
    explanation = None
    if not beats_alone:
        loaded = services.load_model(model)
        with bar("embed") as progress:
            explanation = services.explain(
                loaded, read, services.fitting_stride_s(read.duration_s), progress=progress
            )
    with bar("beats") as progress:
        found = services.rhythm_over_time(read, explanation, above=above, progress=progress)
    if json_out is not None:
        deliver(json_text(services.rhythm_values(found)), json_out)
    if csv_out is not None:
        deliver(services.rhythm_csv(found), csv_out)
    markdown = services.rhythm_markdown(found)
    if markdown_out is not None:
        deliver(markdown, markdown_out)
    if annotated is not None:
        ours, marks = services.annotated(read, found), services.pause_marks(found)
        for path in services.convert(ours, annotated, marks):
            typer.echo(f"Written: {path}", err=True)
    if "-" not in (json_out, csv_out, markdown_out):
        show(markdown)
