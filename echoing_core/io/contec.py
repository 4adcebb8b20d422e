"""Files of Contec's ECG90A to `Recording`, where a person says unit and leads.

The format is not published, and the file says neither its unit nor its leads: eight channels of
16-bit numbers around 2048, 800 a second, between a header and a footer of fixed length. So both
have to be said (`Told`), and nothing of it is guessed.

References
----------
N. Rigacci, Contec ECG90A Electrocardiograph - ECG File Format (rigacci.org, 2020).
"""

from __future__ import annotations

import re

import numpy as np

from echoing_core.errors import UnitsError, UnreadableRecordError
from echoing_core.io.channels import Channel, Findings, check_size, recording_from
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING
from echoing_core.records import Recording

# Number of the case and time of recording: there is no other mark.
_BEGINNING = re.compile(
    rb"[\w-]{1,8}\0{2,10}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\0", re.ASCII
)  # fmt: skip
_HEADER_BYTES, _FOOTER_BYTES = 43, 37
_N_CHANNELS = 8
_FS_HZ = 800.0
_ZERO = 2048
_NOT_MEASURED = 0x6800


def is_contec(head: bytes) -> bool:
    """Whether a file begins as those of an ECG90A do.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return _BEGINNING.match(head) is not None


def read_contec(file: SourceFile) -> Recording:
    """Read the eight channels of one file.

    Parameters
    ----------
    file : SourceFile
        Its ``told`` gives the unit; channels are "channel 1" to "channel 8".

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    told = file.told or NOTHING
    if told.mv_per_number is None:
        raise UnitsError(
            f"{name} is a file of a Contec ECG90A, which says neither its leads nor its units; say "
            "both, or export it with Contec's program."
        )
    n_times = (file.size - _HEADER_BYTES - _FOOTER_BYTES) // (2 * _N_CHANNELS)
    if n_times < 1:
        raise UnreadableRecordError(f"{name} holds no sample; copy or export it again.")
    fs_hz = told.fs_hz or _FS_HZ
    check_size(n_times, _N_CHANNELS, fs_hz, name)
    raw = np.frombuffer(file.content(), "<u2", n_times * _N_CHANNELS, _HEADER_BYTES)
    notes = Findings()
    if told.fs_hz is None:
        notes.add("The sampling rate of 800 Hz is that of the device; the file does not say it.")
    channels = []
    for i, row in enumerate(raw.reshape(n_times, _N_CHANNELS).T, 1):
        mv = (row.astype(np.float32) - _ZERO) * np.float32(told.mv_per_number)
        mv[row == _NOT_MEASURED] = np.nan
        channels.append(Channel(f"channel {i}", f"channel {i}", fs_hz, mv))
    return recording_from(channels, file.name.rsplit(".", 1)[0], "Contec ECG90A", notes)
