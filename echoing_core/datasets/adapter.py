"""What an adapter of a published data set is: a plan of its ECGs, and how to read one of them.

A plan is made from tables and names alone, so that mistakes in a folder show within seconds; the
signals, which take hours, are read row by row in any order and by several processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from echoing_core.errors import SignalQualityError
from echoing_core.records import LONG_PADDING, WINDOW_S, Recording, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.windows import WINDOW_N

if TYPE_CHECKING:
    import pandas as pd

PADDING_HELP = {
    "help": "What is mirrored at the ends while filtering: 3 s (long), or as the published "
    "EchoingECG has it (scipy), which the presets paper and release need."
}
"""Of the option ``filter_padding``, which every data set has."""

NO_FILE = "file is not there"
"""The one reason, in all sets, of a record that a table names and the folder does not hold."""


@dataclass(frozen=True)
class LeftOut:
    """A record that is not taken, and why.

    Attributes
    ----------
    record_id : str
    reason : str
        A few words that are the same for all records left out for it, so that they can be
        counted: ``"no report"``.
    detail : str
        What is particular to this one.
    """

    record_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be read, decided from tables and file names alone, without opening signals.

    Attributes
    ----------
    table : DataFrame
        One row an ECG: the columns of `study_set.COLUMNS`, ``label_*``, ``path`` (relative to the
        root, what `Adapter.read` needs), and whatever else the set has. The order is that of the
        result and depends on nothing but the data.
    left_out : tuple of LeftOut
    card : mapping
        Further entries for the prepared set's card: version, licence, thresholds, rules.
    """

    table: pd.DataFrame
    left_out: tuple[LeftOut, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)


class Adapter(Protocol):
    """One data set. Instances hold their options and are small enough to send to a worker."""

    @property
    def name(self) -> str:
        """As it is called on the command line and in the column ``source``."""
        ...

    def plan(self, root: Path) -> Plan:
        """Read the tables.

        Parameters
        ----------
        root : Path
            The data set as it was downloaded.

        Returns
        -------
        Plan

        Raises
        ------
        DataSetError
            The folder is not this data set: says which file or column is missing.
        """
        ...

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read and standardise the ECG of one row of the plan: 12 leads, 100 Hz, 1000 samples.

        Parameters
        ----------
        root : Path
        row : mapping
            Of `Plan.table`, by column.

        Returns
        -------
        StandardEcg

        Raises
        ------
        RecordError
            It cannot be used; the record is then left out, with the sentence as detail.
        """
        ...


def first_window(
    recording: Recording, *, pad_shorter: bool = False, filter_padding: str = LONG_PADDING
) -> StandardEcg:
    """Standardise a recording and cut out its first 10 s that were measured.

    The whole recording is filtered before it is cut, so that the filter does not ring at the cut.
    The window begins at the first sample at which at least half of the leads that are measured at
    all are measured, or so much earlier that it fits into the recording.

    Parameters
    ----------
    recording : Recording
    pad_shorter : bool
        A recording under 10 s is filled up at its end with samples that are not valid. Without,
        it is refused.
    filter_padding : {"long", "scipy"}
        As in `signals.standardise`.

    Returns
    -------
    StandardEcg
        1000 samples at 100 Hz.

    Raises
    ------
    RecordError
        It cannot be standardised, is too short, or has nothing measured in that window.
    """
    # NaN, not zeros: what was not measured must come out as not valid.
    if pad_shorter and recording.duration_s < WINDOW_S:
        lacking = int(np.ceil(WINDOW_S * recording.fs_hz)) - recording.n_times
        filled = np.pad(recording.signal_mv, ((0, 0), (0, lacking)), constant_values=np.nan)
        recording = replace(recording, signal_mv=filled)
    ecg = standardise(recording, filter_padding=filter_padding)
    # The usual case of 10-s ECGs; also where padding and resampling give exactly one window.
    if ecg.n_times == WINDOW_N:
        return ecg
    # Leads that are missing throughout must not keep the window from beginning.
    measured = ecg.valid[ecg.valid.any(axis=1)]
    # argmax of all False is 0, and then the check below refuses the recording.
    enough = 2 * measured.sum(axis=0) >= max(1, len(measured))
    start = min(int(np.argmax(enough)), ecg.n_times - WINDOW_N)
    window = slice(start, start + WINDOW_N)
    if not ecg.valid[:, window].any():
        raise SignalQualityError(
            f"Recording {recording.record_id} has nothing measured in the 10 s from "
            f"{start / ecg.fs_hz:g} s on. Choose another recording."
        )
    return replace(
        ecg,
        signal_mv=np.ascontiguousarray(ecg.signal_mv[:, window]),
        valid=np.ascontiguousarray(ecg.valid[:, window]),
    )
