"""A recording as a file of another format, without names and dates, with what was done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from echoing_core.errors import ConfigError
from echoing_core.export.document.deidentify import plain_annotations, plain_notes
from echoing_core.io.write import WRITERS, outgoing
from echoing_core.records import Recording, TextMark
from echoing_core.version import __version__


def recording_files(
    recording: Recording, file_format: str, stem: str, marks: Sequence[TextMark] = ()
) -> dict[str, bytes]:
    """Write a recording in another format.

    Samples are whole numbers of the finest unit that fits into 16 bits, 0.1 uV where nothing is
    larger than 3.2 mV. Gaps stay gaps; names, dates and free texts of the file are left out. Beats,
    rhythms, measurements and statements go into WFDB (.atr), EDF+ and aECG, see
    `plain_annotations`.

    Parameters
    ----------
    recording : Recording
    file_format : str
        A key of `WRITERS`.
    stem : str
        Of the files' names.
    marks : sequence of TextMark, optional
        Words of this program or of the person who exports, which stay as they are.

    Returns
    -------
    dict of str to bytes
        The files by name, the one that is to be opened first.

    Raises
    ------
    ConfigError
        No such format, or one that cannot hold this recording.
    """
    writer = WRITERS.get(file_format)
    if writer is None:
        raise ConfigError(f"{file_format} cannot be written; choose {', '.join(WRITERS)}.")
    said = replace(plain_annotations(recording.annotations), texts=tuple(marks))
    return writer.files(outgoing(recording, remarks_of(recording), said), stem)


def remarks_of(recording: Recording) -> tuple[str, ...]:
    """Lines on where a recording comes from, and nobody's name.

    Parameters
    ----------
    recording : Recording
    """
    # The first words are what a reader of ours looks for.
    simulated = ("Simulated by EchoingECG.",) if recording.simulated else ()
    return (
        *simulated,
        f"Converted by EchoingECG {__version__} from {recording.file_format}; names, dates and "
        "free texts are left out.",
        *plain_notes(recording),
    )
