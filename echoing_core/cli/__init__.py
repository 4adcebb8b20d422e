"""The command line: ``echoing --help``.

Results go to stdout as tables, or as JSON where ``--json -`` asks for it; progress and
warnings go to stderr. What a user can cause ends in one sentence and exit code 2.

`services` and what it imports cost most of a second, so every command imports it when it
runs: help answers at once.
"""

from __future__ import annotations

import gc

from echoing_core.cli import (  # noqa: F401 - importing them adds their commands
    at_hand,
    batch,
    compare_models,
    echo,
    evaluate,
    lead_references,
    making,
    measure,
    measuring,
    plugged,
    preparing,
    recordings,
    rhythm,
    searching,
    training,
    weights,
)
from echoing_core.cli.root import app


def main() -> None:
    """Entry point of the console script ``echoing``."""
    # Python would look through all that torch brings along again and again while it is loaded: a
    # fifteenth of the time of a short command.
    gc.set_threshold(10_000, 20, 20)
    app()


__all__ = ["app", "main"]
