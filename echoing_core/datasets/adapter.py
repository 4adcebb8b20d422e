"""What an adapter of a published data set is: a plan of its ECGs, and how to read one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from echoing_core.records import StandardEcg

if TYPE_CHECKING:
    import pandas as pd


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

        Raises
        ------
        DataSetError
            The folder is not this data set: says which file or column is missing.
        """
        ...

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read and standardise the ECG of one row of the plan: 12 leads, 100 Hz, 1000 samples.

        Raises
        ------
        RecordError
            It cannot be used; the record is then left out, with the sentence as detail.
        """
        ...
