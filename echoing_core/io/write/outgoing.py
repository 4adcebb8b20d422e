"""A recording on its way out: whole numbers of one unit, plain names, lines on where it comes from.

Every writer takes an `Outgoing`, so that all files of one recording hold the same numbers and the
same gaps, and nothing that could name a person: channels that are called like no lead are numbered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.records import NO_ANNOTATIONS, Annotations, Recording

NOT_MEASURED = -32768
"""The digital value of a sample that was not measured."""

_LARGEST = 32767
# What ECG channels are called that are none of the known leads; any other name may be a person's.
_NAMELESS = re.compile(
    r"(?:E[CK]G|MCL|CM|CC|CS|V|ES|AS|AI|channel)[ _-]?\d{0,3}[LR]?", re.IGNORECASE | re.ASCII
)
_UNITS_UV = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Gap:
    """A run of samples in which a lead was not measured.

    Attributes
    ----------
    lead : int or None
        Its row; None where it is a gap of every lead.
    start, stop : int
        First sample, and the first after it.
    """

    lead: int | None
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Outgoing:
    """One recording ready to be written.

    Attributes
    ----------
    fs_hz : float
    lead_names : tuple of str
        Canonical, of a kind such as ``"ECG1"``, or ``"channel 3"``.
    digital : ndarray, shape (n_leads, n_times), int16
        `NOT_MEASURED` where nothing was measured.
    unit_uv : float
        Microvolts of one digital unit, the finest that fits.
    remarks : tuple of str
        Where the recording comes from and what was done to it, a line each.
    annotations : Annotations
        Without anything that could name a person; formats without a place for them leave them out.
    """

    fs_hz: float
    lead_names: tuple[str, ...]
    digital: npt.NDArray[np.int16]
    unit_uv: float
    remarks: tuple[str, ...]
    annotations: Annotations = NO_ANNOTATIONS

    @property
    def n_times(self) -> int:
        return int(self.digital.shape[1])

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Which samples were measured, shape (n_leads, n_times)."""
        return np.not_equal(self.digital, NOT_MEASURED)

    def signal_mv(self) -> npt.NDArray[np.float64]:
        """Millivolts of the digital values, NaN where nothing was measured."""
        # By a division: 3 * 0.1 is not 0.3.
        mv = self.digital / (1000.0 / self.unit_uv)
        mv[~self.valid] = np.nan
        return mv

    def gaps(self) -> list[Gap]:
        """Runs that were not measured, those of every lead once and first."""
        missing = ~self.valid
        everywhere: npt.NDArray[np.bool_] = np.all(missing, axis=0)
        found = [Gap(None, *run) for run in _runs(everywhere)]
        for lead, row in enumerate(missing):
            found += [Gap(lead, *run) for run in _runs(row & ~everywhere)]
        return found


def outgoing(
    recording: Recording, remarks: Sequence[str] = (), annotations: Annotations = NO_ANNOTATIONS
) -> Outgoing:
    """Make a recording ready to be written.

    Parameters
    ----------
    recording : Recording
    remarks : sequence of str
        Lines without anything that could name a person.
    annotations : Annotations, optional
        The same, of what the file says of the recording.

    Raises
    ------
    ConfigError
        An amplitude is beyond 16 bits in the coarsest unit.
    """
    names = tuple(
        name
        if canonical_lead_name(name) == name or _NAMELESS.fullmatch(name)
        else f"channel {number}"
        for number, name in enumerate(recording.lead_names, 1)
    )
    signal_mv = recording.signal_mv
    largest_uv = 1000.0 * max(float(np.nanmax(np.abs(row), initial=0.0)) for row in signal_mv)
    fitting = [unit for unit in _UNITS_UV if largest_uv / unit <= _LARGEST]
    if not fitting:
        raise ConfigError(
            f"An amplitude of {largest_uv / 1e6:.1f} V cannot be written, and no ECG has it. Read "
            "the recording with the right units first."
        )
    digital = np.empty(signal_mv.shape, dtype=np.int16)
    # Row by row: float64 of a whole day would double the memory.
    for into, row in zip(digital, signal_mv, strict=True):
        missing = np.isnan(row)
        units = np.rint(np.where(missing, 0.0, row.astype(np.float64)) * (1000.0 / fitting[0]))
        into[:] = np.where(missing, NOT_MEASURED, units)
    return Outgoing(recording.fs_hz, names, digital, fitting[0], tuple(remarks), annotations)


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First sample of each run that is True, and the first after it."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
