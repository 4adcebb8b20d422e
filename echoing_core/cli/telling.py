"""Options by which a person says of a recording what its file does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.errors import ConfigError

if TYPE_CHECKING:
    from echoing_core.services import Told

LeadOption = Annotated[
    list[str] | None,
    typer.Option(
        "--lead",
        help='Which lead a channel is, as in "ECG=II"; "-II" where it is upside down, "none" to '
        "leave it out. May be repeated.",
    ),
]
FsOption = Annotated[
    float | None,
    typer.Option("--fs", help="Sampling rate in Hz, where the file does not say it."),
]
UnitOption = Annotated[
    str | None,
    typer.Option(
        "--unit",
        help="Unit of the file's numbers: mV, uV, V; of raw numbers how many are 1 mV (200/mV) or "
        "the size of one (4.88uV).",
    ),
]
ScaleOption = Annotated[
    float, typer.Option("--scale", help="What all amplitudes are multiplied by.")
]
SamplesInOption = Annotated[
    str | None,
    typer.Option(
        "--samples-in",
        help="Of a table or array: rows, where one row is one moment, or columns, where one row is "
        "one lead.",
    ),
]


PrintedOption = Annotated[
    str | None,
    typer.Option(
        "--printed",
        help="The leads follow one another in time as on a printed page: 3x4 or 6x2.",
    ),
]


def told(
    leads: Sequence[str] | None,
    fs_hz: float | None,
    unit: str | None,
    scale: float = 1.0,
    samples_in: str | None = None,
    printed: str | None = None,
) -> Told:
    """The options as `read_recording` takes them.

    Parameters
    ----------
    leads : sequence of str, optional
        Each ``"channel=lead"``; a channel's own name may hold "=", a lead's does not.
    fs_hz : float, optional
        In Hz.
    unit : str, optional
    scale : float
    samples_in, printed : str, optional

    Raises
    ------
    ConfigError
        Something that is no channel and lead, or no direction.
    RecordError
        A rate or a unit that no ECG has.
    """
    from echoing_core import services

    named: dict[str, str] = {}
    for text in leads or []:
        channel, equals, lead = text.rpartition("=")
        if not equals or not channel.strip() or not lead.strip():
            raise ConfigError(f'{text} is no channel and lead. Give them as in --lead "ECG=II".')
        named[channel.strip()] = lead.strip()
    if samples_in not in (None, "rows", "columns"):
        raise ConfigError(f"Samples can lie in rows or in columns, not in {samples_in}.")
    return services.Told(
        leads=named,
        fs_hz=fs_hz,
        unit=unit or "",
        scale=scale,
        samples_in=samples_in,  # type: ignore[arg-type]
        printed=printed or "",
    )
