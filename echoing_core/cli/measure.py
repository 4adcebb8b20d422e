"""``echoing measure`` and ``echoing compare``: intervals, axes, voltages, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    deliver,
    json_text,
    show,
    writable,
)
from echoing_core.cli.recordings import check_leads, finite
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
from echoing_core.errors import ConfigError

if TYPE_CHECKING:
    from echoing_core.records import Recording

SexOption = Annotated[
    str | None,
    typer.Option("--sex", help="male or female: the Cornell criterion depends on it."),
]
_SEXES = ("male", "female")
_SAID_OF = ("both", "first", "second")


def _sex(given: str | None) -> str | None:
    if given is not None and given not in _SEXES:
        raise ConfigError(f"--sex is {given!r}; it is one of {', '.join(_SEXES)}.")
    return given


@app.command()
def measure(
    recording: RecordingArgument,
    at: Annotated[
        float | None,
        typer.Option(
            "--at",
            min=0.0,
            help="Second to measure from. Without it all of a recording of up to a minute is "
            "measured, and the beginning of a longer one.",
        ),
    ] = None,
    length: Annotated[
        float, typer.Option("--length", min=2.5, max=60.0, help="Seconds to measure from there.")
    ] = 10.0,
    sex: SexOption = None,
    json_out: JsonOption = None,
    csv_out: Annotated[
        str | None,
        typer.Option("--csv", help="Write one row per measurement to this file; - for stdout."),
    ] = None,
    markdown_out: MarkdownOption = None,
    record: RecordOption = None,
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
) -> None:
    """PR, QRS, QT and QTc, axes, voltages, ST and LVH criteria of the median beat.

    Each value has its spread over beats; what cannot be measured says why. No model is asked.
    """
    at_most_one_on_stdout(json_out, csv_out, markdown_out)
    writable(json_out, csv_out, markdown_out)
    known_sex = _sex(sex)
    from echoing_core import services

    read = services.read_recording(
        services.recording_source(recording),
        record_name=record,
        told=told(lead, fs, unit, scale, samples_in, printed),
        stay_stored=True,
    )
    check_leads(read)
    found = services.measurements(read, at, length, sex=known_sex)
    if json_out is not None:
        deliver(json_text(services.measured_values(found)), json_out)
    if csv_out is not None:
        deliver(services.measured_csv([found]), csv_out)
    markdown = services.measured_markdown([found])
    if markdown_out is not None:
        deliver(markdown, markdown_out)
    if "-" not in (json_out, csv_out, markdown_out):
        show(markdown)


@app.command()
def compare(
    first: Annotated[
        Path,
        typer.Argument(help="The earlier recording: a file, or a name.", show_default=False),
    ],
    second: Annotated[
        Path, typer.Argument(help="The later one, of the same person.", show_default=False)
    ],
    questions: Annotated[
        bool,
        typer.Option("--questions", help="Also ask the model its questions of both (slower)."),
    ] = False,
    sex: SexOption = None,
    at: Annotated[
        float | None,
        typer.Option(
            "--at",
            min=0.0,
            help="Second from which ten are measured and asked, of both. Without it all of a "
            "recording of up to a minute is measured, the beginning of a longer one, and the "
            "surest window is asked.",
        ),
    ] = None,
    second_at: Annotated[
        float | None,
        typer.Option("--second-at", min=0.0, help="The same of the second, where it is another."),
    ] = None,
    json_out: JsonOption = None,
    markdown_out: MarkdownOption = None,
    record: RecordOption = None,
    second_record: Annotated[
        str | None,
        typer.Option("--second-record", help="The same of the second, where it is another."),
    ] = None,
    said_of: Annotated[
        str,
        typer.Option(
            "--said-of",
            help="Whom --lead, --fs, --unit, --scale, --samples-in and --printed hold for: both, "
            "first or second.",
        ),
    ] = "both",
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
    model: ModelOption = None,
) -> None:
    """Two recordings of one person: measurements beside each other, and what changed.

    A difference has a 95 % interval; what is too noisy in one of the two is not compared.
    """
    at_most_one_on_stdout(json_out, markdown_out)
    writable(json_out, markdown_out)
    known_sex = _sex(sex)
    if said_of not in _SAID_OF:
        raise ConfigError(f"--said-of is {said_of!r}; it is one of {', '.join(_SAID_OF)}.")
    starts_s = finite(at), finite(at if second_at is None else second_at)
    from echoing_core import services

    said = told(lead, fs, unit, scale, samples_in, printed)
    names = record, second_record or record
    both = [
        services.read_recording(
            services.recording_source([path]),
            record_name=name,
            told=said if said_of in ("both", which) else services.Told(),
            stay_stored=True,
        )
        for which, path, name in zip(("first", "second"), (first, second), names, strict=True)
    ]
    for read in both:
        check_leads(read)
    found = services.serial_comparison(both[0], both[1], starts_s=starts_s, sex=known_sex)
    content, markdown = services.serial_values(found), services.serial_markdown(found)
    if questions:
        content["answers"], lines = _answers(both, starts_s, model)
        markdown = "\n".join([markdown, *lines, ""])
    if json_out is not None:
        deliver(json_text(content), json_out)
    if markdown_out is not None:
        deliver(markdown, markdown_out)
    if "-" not in (json_out, markdown_out):
        show(markdown)


def _answers(
    both: list[Recording], starts_s: tuple[float | None, float | None], model: Path | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The shipped questions asked of a window of each, the surest or as told: values and lines."""
    from echoing_core import services

    loaded = services.load_model(model)
    one, other = (
        services.ask(loaded, read, start_s=start_s)
        for read, start_s in zip(both, starts_s, strict=True)
    )
    where = " and ".join(
        f"the surest window of the {which}"
        if start_s is None
        else f"the {which} from {start_s:g} s"
        for which, start_s in zip(("first", "second"), starts_s, strict=True)
    )
    if starts_s == (None, None):
        where = "the surest window of each"
    values, lines = [], [f"## Answers in {where}", ""]
    for pair in (services.AnswerPair(*pair) for pair in zip(one, other, strict=True)):
        values.append(
            {
                "question": pair.one.question,
                "first": services.answer_values(pair.one),
                "second": services.answer_values(pair.other),
                "difference": round(pair.difference, 4),
                "intervals_apart": pair.apart,
            }
        )
        said = [services.answer_line(answer) for answer in (pair.one, pair.other)]
        apart = "; intervals apart" if pair.apart else ""
        lines.append(
            f"- {pair.one.question}: "
            + " -> ".join(f"{line.answer}, {line.probability}" for line in said)
            + apart
        )
    return values, lines
