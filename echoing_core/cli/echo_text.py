"""Command that measures the reader of echo reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    deliver_both,
    stage_bars,
    writable,
)
from echoing_core.cli.root import JsonOption, MarkdownOption, evaluate_app


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
    with stage_bars() as progress:
        reports = services.evaluate_echo_text(
            sentences, half, language_model=language_model, progress=progress
        )
    text = "\n".join(report.to_markdown() for report in reports)
    content = {"reports": [report.to_dict() for report in reports]}
    deliver_both(content, text, json_out, markdown_out)
