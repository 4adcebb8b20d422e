"""Reading echo reports by rules, and how often the rules are right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echoing_core.evaluate.echo_text import EchoTextReport


def evaluate_echo_text(
    sentences: str | os.PathLike[str], halves: Sequence[str] | None = None
) -> tuple[EchoTextReport, ...]:
    """Measure the reader of echo reports on sentences with known truth.

    Parameters
    ----------
    sentences : path
        A CSV as `evaluate.echo_text.read_sentences` takes it.
    halves : sequence of str, optional
        Values of its column ``half``; without, each in the order in which it appears.

    Raises
    ------
    DataSetError
        The file cannot be used, or has no sentence of such a half.
    """
    from echoing_core.errors import DataSetError
    from echoing_core.evaluate.echo_text import read_sentences, score_echo_text

    known = read_sentences(Path(sentences))
    there = list(dict.fromkeys(sentence.half for sentence in known))
    for half in halves or ():
        if half not in there:
            raise DataSetError(
                f"{Path(sentences).name} has no sentence of {half!r}; it has {', '.join(there)}."
            )
    return tuple(score_echo_text(known, half) for half in (halves or there))
