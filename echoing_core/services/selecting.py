"""What some ECGs of a collection have in common, against all of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 0.05
"""Of all findings that are looked at together: less probable by chance is not called chance."""

_STEPS = 100
"""Of a per cent, in which percentiles are counted; a page shows whole ones."""


@dataclass(frozen=True)
class FindingShare:
    """How often a finding is among some ECGs, and among all.

    Attributes
    ----------
    name : str
        Of the label.
    n, n_known : int
        ECGs of the selection that have it, and of which it is known.
    n_all, n_all_known : int
        The same of the collection.
    chance : bool
        As many would be drawn by chance too, for one of the findings looked at.
    """

    name: str
    n: int
    n_known: int
    n_all: int
    n_all_known: int
    chance: bool

    @property
    def share(self) -> float:
        """0..1; NaN where it is known of none."""
        return self.n / self.n_known if self.n_known else math.nan

    @property
    def base(self) -> float:
        """The share in the whole collection, 0..1."""
        return self.n_all / self.n_all_known if self.n_all_known else math.nan


@dataclass(frozen=True)
class LabelCount:
    """How many ECGs have a finding.

    Attributes
    ----------
    n, n_known : int
        That have it, and of which it is known.
    digest : str
        By which two labels that the same ECGs have are told; empty where nobody asked.
    """

    n: int
    n_known: int
    digest: str = ""


@dataclass(frozen=True, eq=False)
class Tally:
    """Some ECGs of a collection, or all of them, counted; counts of shards add up.

    Attributes
    ----------
    n : int
    labels : mapping of str to LabelCount
        Those that are yes or no.
    percentiles : ndarray of int, shape (10001,)
        How many have each uncertainty percentile, in hundredths.
    """

    n: int
    labels: Mapping[str, LabelCount]
    percentiles: npt.NDArray[np.int64]

    @property
    def median_percentile(self) -> float:
        """NaN where there is none."""
        if not self.n:
            return math.nan
        up_to = np.cumsum(self.percentiles)
        middle = np.searchsorted(up_to, [(self.n - 1) // 2 + 1, self.n // 2 + 1])
        return float(middle.mean()) / _STEPS


def tally(
    items: pd.DataFrame,
    names: Sequence[str],
    rows: npt.NDArray[np.integer] | None = None,
    *,
    digests: bool = False,
) -> Tally:
    """Count some items.

    Parameters
    ----------
    items : DataFrame
        `GalleryIndex.items`.
    names : sequence of str
        Labels that are yes or no; one that these items lack is known of none.
    rows : ndarray of int, optional
        Which; without, all.
    digests : bool
        Work out `LabelCount.digest`.

    Returns
    -------
    Tally
    """
    n = len(items) if rows is None else len(rows)
    labels = {}
    for name in names:
        if f"label_{name}" in items.columns:
            values = items[f"label_{name}"].astype(np.float64).to_numpy()
            values = values if rows is None else values[rows]
        else:
            values = np.full(n, np.nan)
        there = values == 1
        digest = hashlib.sha256(there.tobytes()).hexdigest() if digests else ""
        labels[name] = LabelCount(int(there.sum()), int(np.isfinite(values).sum()), digest)
    percentile = items["percentile"].to_numpy(dtype=np.float64)
    percentile = percentile if rows is None else percentile[rows]
    hundredths = np.round(np.clip(percentile, 0, 100) * _STEPS).astype(np.int64)
    return Tally(n, labels, np.bincount(hundredths, minlength=100 * _STEPS + 1))


def joined_tally(parts: Sequence[Tally]) -> Tally:
    """That of all shards of a collection.

    Parameters
    ----------
    parts : sequence of Tally
        Of the same labels, in the order of the shards; one at least.

    Returns
    -------
    Tally
    """
    labels = {}
    for name in parts[0].labels:
        counts = [part.labels[name] for part in parts]
        told = "".join(count.digest for count in counts)
        digest = hashlib.sha256(told.encode()).hexdigest() if told else ""
        labels[name] = LabelCount(
            sum(count.n for count in counts), sum(count.n_known for count in counts), digest
        )
    percentiles = np.sum([part.percentiles for part in parts], axis=0)
    return Tally(sum(part.n for part in parts), labels, percentiles)


def in_common(here: Tally, everywhere: Tally) -> tuple[FindingShare, ...]:
    """How often each finding is among some items of a collection, and in all of it.

    Parameters
    ----------
    here, everywhere : Tally
        Of these items, and of all; of the labels of ``here``.

    Returns
    -------
    tuple of FindingShare
        Those that are among the items, what stands out most from the collection first.
    """
    found = []
    for name, some in here.labels.items():
        of_all = everywhere.labels[name]
        if some.n:
            by_chance = _at_least(some.n, some.n_known, of_all.n, of_all.n_known)
            chance = by_chance * len(here.labels) > CHANCE
            found.append(FindingShare(name, some.n, some.n_known, of_all.n, of_all.n_known, chance))
    return tuple(sorted(found, key=lambda one: one.base - one.share))


def _at_least(n: int, n_drawn: int, n_with: int, n_all: int) -> float:
    """Probability of n or more among n_drawn drawn from n_all of which n_with have it."""

    def log_choose(top: int, of: int) -> float:
        return math.lgamma(top + 1) - math.lgamma(of + 1) - math.lgamma(top - of + 1)

    low, high = max(n, n_drawn + n_with - n_all), min(n_drawn, n_with)
    whole = log_choose(n_all, n_drawn)
    return sum(
        math.exp(log_choose(n_with, k) + log_choose(n_all - n_with, n_drawn - k) - whole)
        for k in range(low, high + 1)
    )
