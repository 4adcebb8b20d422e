"""What the commands that train have in common: settings in view, seed, where figures go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

LogToOption = Annotated[
    str,
    typer.Option(
        "--log-to",
        help="Who keeps the figures of every step: json (metrics.jsonl), tensorboard, wandb, "
        "mlflow; several by commas. The last two want a package of their own.",
    ),
]
PrintConfigOption = Annotated[
    bool,
    typer.Option(
        "--print-config", help="Print all settings, as they would be used, as YAML; train nothing."
    ),
]


def logger_names(text: str) -> list[str]:
    """What ``--log-to`` names.

    Parameters
    ----------
    text : str
        Names with commas between them.

    Returns
    -------
    list of str
        Not checked; see `training.metric_logs.check_loggers`.
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def complete_setting(incomplete: str) -> Iterator[tuple[str, str]]:
    """Settings whose name begins as what was typed, or has a word that does, for the shell.

    Parameters
    ----------
    incomplete : str
        What stands behind ``--set`` so far.

    Yields
    ------
    (str, str)
        Name with its ``=``, and the default.
    """
    if "=" in incomplete:
        return
    from echoing_core.config import setting_names
    from echoing_core.training.settings import RunConfig

    for name, default in setting_names(RunConfig).items():
        if name.startswith(incomplete) or name.rpartition(".")[2].startswith(incomplete):
            yield f"{name}=", f"default {default}"
