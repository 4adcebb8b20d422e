"""How results leave the command line: tables, JSON, files, progress bars."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from echoing_core.artifacts import write_text_atomically
from echoing_core.errors import ConfigError
from echoing_core.progress import Progress
from echoing_core.stores import refuse_store

SECONDS_BETWEEN_LINES = 30.0
"""Often enough to see that a command lives, rare enough for a run of a day in a log."""


def at_most_one_on_stdout(*targets: str | None) -> None:
    """Refuse two outputs on stdout, where they would run into each other.

    Parameters
    ----------
    *targets : str or None
        A file, ``-`` for stdout, or None where it was not asked for.

    Raises
    ------
    ConfigError
        More than one is ``-``.
    """
    if targets.count("-") > 1:
        raise ConfigError("Only one output can go to stdout (-). Name a file for the other.")


def writable(*targets: str | None) -> None:
    """Refuse files that cannot be written before minutes of work, not after.

    A folder that does not exist is made where the one above it does, as for ``runs/table.csv``.

    Parameters
    ----------
    *targets : str or None
        A file, ``-`` for stdout, or None where it was not asked for.

    Raises
    ------
    ConfigError
        The folder of a file does not exist, and cannot be made.
    """
    for target in targets:
        folder = Path(str(target)).parent
        if target in (None, "-") or folder.is_dir():
            continue
        refuse_store(str(target))
        if not folder.parent.is_dir():
            raise ConfigError(f"{target} cannot be written: its folder does not exist.")
        try:
            folder.mkdir()
        except OSError as error:
            raise ConfigError(f"{target} cannot be written: {error.strerror}.") from error


def deliver(text: str, target: str) -> None:
    """Write ``text`` to stdout (``-``) or to a file, whole or not at all.

    Parameters
    ----------
    text : str
        As it is written; no line end is added.
    target : str
        A file, or ``-``.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    if target == "-":
        typer.echo(text, nl=False)
        return
    writable(target)
    try:
        write_text_atomically(Path(target), text)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.") from error


def json_text(content: dict[str, Any]) -> str:
    """JSON as it is written to files and stdout, with a line end.

    Parameters
    ----------
    content : dict

    Returns
    -------
    str
        Letters beyond ASCII stay as they are.
    """
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def deliver_both(
    content: Mapping[str, Any],
    markdown: str,
    json_out: str | None,
    markdown_out: str | None,
    *further: str | None,
) -> None:
    """JSON and Markdown where they were asked for, and tables on stdout where nothing else is.

    Parameters
    ----------
    content : mapping
        What the JSON holds.
    markdown : str
    json_out, markdown_out : str or None
        A file, ``-`` for stdout, or None where it was not asked for.
    *further : str or None
        Where else something was written: with ``-`` among them stdout is taken.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    if json_out is not None:
        deliver(json_text(dict(content)), json_out)
    if markdown_out is not None:
        deliver(markdown, markdown_out)
    if "-" not in (json_out, markdown_out, *further):
        show(markdown)


def show(markdown: str) -> None:
    """Markdown on stdout: drawn on a terminal, and as it is where a file or a program reads it.

    Parameters
    ----------
    markdown : str
        With a line end.
    """
    if not sys.stdout.isatty():
        typer.echo(markdown, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=sys.stdout).print(Markdown(markdown, hyperlinks=False))


def read_prevalence(typed: Sequence[str] | None) -> float | dict[str, float] | None:
    """What ``--prevalence`` says: one share of all questions, or a share by question.

    Parameters
    ----------
    typed : sequence of str or None
        ``"0.05"`` once, or ``"lbbb=0.02"`` any number of times.

    Returns
    -------
    float, dict or None

    Raises
    ------
    ConfigError
        It is neither.
    """
    if not typed:
        return None
    shares: dict[str, float] = {}
    for text in typed:
        name, _, value = text.rpartition("=")
        try:
            shares[name.strip()] = float(value)
        except ValueError as error:
            raise ConfigError(
                f"{text!r} is no prevalence. Write 0.05, or lbbb=0.02 for one question."
            ) from error
    if "" not in shares:
        return shares
    if len(typed) > 1:
        raise ConfigError("Give one prevalence for all questions, or one by question, not both.")
    return shares[""]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the last one is left ragged.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequence of str
        As long as the header.

    Returns
    -------
    str
        Without a line end.
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


@contextlib.contextmanager
def bar(stage: str) -> Iterator[Progress]:
    """Progress of work of a single stage; see `stage_bars`.

    Parameters
    ----------
    stage : str
        What the bar is called.

    Yields
    ------
    Progress
    """
    with stage_bars() as progress:
        yield progress.stage(stage)


@contextlib.contextmanager
def stage_bars() -> Iterator[Progress]:
    """Each stage on stderr with the time left: as a bar, or in a log as a line now and then.

    What was done before the first word of a stage, by a run that was stopped, does not count for
    its pace.

    Yields
    ------
    Progress
    """
    from tqdm import tqdm

    is_terminal = sys.stderr.isatty()
    bars: dict[str, tqdm[Any]] = {}
    paces: dict[str, _Pace] = {}

    def tell(stage: str, done: float, total: int) -> None:
        if not is_terminal:
            pace = paces.setdefault(stage, _Pace(done))
            if line := pace.line(done, total):
                typer.echo(f"{stage}: {line}" if stage else line, err=True)
            return
        if stage not in bars:
            # Stages follow each other: a new one closes those before it, which stay on screen.
            for shown in bars.values():
                shown.close()
            bars[stage] = tqdm(total=total, initial=done, desc=stage or None, file=sys.stderr)
        # tqdm adds what it is given, and `done` counts from the start.
        bars[stage].update(done - bars[stage].n)

    try:
        yield Progress(tell)
    finally:
        for shown in bars.values():
            shown.close()


class _Pace:
    """How fast a stage goes, in lines for a log: a bar would be one endless line there."""

    def __init__(self, done: float) -> None:
        self.first = done
        self.started = self.last_line = time.monotonic()

    def line(self, done: float, total: int) -> str:
        """How much is done and how long the rest takes; empty where it is too early for a line."""
        now = time.monotonic()
        if now - self.last_line < SECONDS_BETWEEN_LINES or done <= self.first:
            return ""
        self.last_line = now
        left_s = (now - self.started) / (done - self.first) * (total - done)
        return f"{done:.0f} of {total}, {duration(left_s)} left"


def duration(seconds: float) -> str:
    """A length of time in words, no finer than it can be known.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str
        Such as ``"40 s"``, ``"3 min"``, ``"2 h 5 min"``.
    """
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
