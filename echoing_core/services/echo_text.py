"""Reading echo reports by rules, and how often the rules are right."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.progress import SILENT, Progress

if TYPE_CHECKING:
    from echoing_core.evaluate.echo_text import EchoTextReport
    from echoing_core.reports.echo_text.reading import EchoFindings


def evaluate_echo_text(
    sentences: str | os.PathLike[str],
    halves: Sequence[str] | None = None,
    *,
    language_model: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> tuple[EchoTextReport, ...]:
    """Measure the reader of echo reports on sentences with known truth.

    Parameters
    ----------
    sentences : path
        A CSV as `evaluate.echo_text.read_sentences` takes it.
    halves : sequence of str, optional
        Values of its column ``half``; without, each in the order in which it appears.
    language_model : path, optional
        A local folder of a causal language model, which then reads in place of the rules.
    progress : Progress, optional
        Told of each half by its name.

    Raises
    ------
    DataSetError
        The file cannot be used, or has no sentence of such a half.
    CheckpointError
        The language model cannot be loaded.
    """
    from echoing_core.errors import DataSetError
    from echoing_core.evaluate.echo_text import read_sentences, score_echo_text
    from echoing_core.reports.echo_text.reading import echo_findings

    known = read_sentences(Path(sentences))
    there = list(dict.fromkeys(sentence.half for sentence in known))
    for half in halves or ():
        if half not in there:
            raise DataSetError(
                f"{Path(sentences).name} has no sentence of {half!r}; it has {', '.join(there)}."
            )
    read = echo_findings if language_model is None else _reader(language_model)
    return tuple(
        score_echo_text(
            known,
            half,
            read=read,
            progress=progress.stage(half),
        )
        for half in (halves or there)
    )


def _reader(folder: str | os.PathLike[str]) -> Callable[[str], EchoFindings]:
    from echoing_core.models.hugging_face import load_text_generator
    from echoing_core.reports.echo_text.language_model import read_with

    generate = load_text_generator(Path(folder))
    return lambda text: read_with(generate, text).findings
