"""What some ECGs of a collection have in common, against all of it; and these as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.export.collection_table import collection_csv

if TYPE_CHECKING:
    from echoing_core.services.searching import Collection

CHANCE = 0.05
"""Of all findings that are looked at together: less probable by chance is not called chance."""


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


def in_common(
    collection: Collection, rows: npt.NDArray[np.integer], names: Sequence[str]
) -> tuple[FindingShare, ...]:
    """How often each finding is among some items of a collection, and in all of it.

    Parameters
    ----------
    collection : Collection
    rows : ndarray of int
        Of the items.
    names : sequence of str
        Labels that are yes or no.

    Returns
    -------
    tuple of FindingShare
        Those that are among the items, what stands out most from the collection first.
    """
    found = []
    for name in names:
        values = collection.index.items[f"label_{name}"].astype(np.float64).to_numpy()
        known, here = np.isfinite(values), values[rows]
        n, n_known = int((here == 1).sum()), int(np.isfinite(here).sum())
        n_all, n_all_known = int((values == 1).sum()), int(known.sum())
        if n:
            by_chance = _at_least(n, n_known, n_all, n_all_known)
            chance = by_chance * len(names) > CHANCE
            found.append(FindingShare(name, n, n_known, n_all, n_all_known, chance))
    return tuple(sorted(found, key=lambda one: one.base - one.share))


def selection_csv(collection: Collection, rows: npt.NDArray[np.integer]) -> str:
    """Some items of a collection as CSV, see `export.collection_table`.

    Parameters
    ----------
    collection : Collection
    rows : ndarray of int

    Returns
    -------
    str
    """
    model = str(collection.index.card["checkpoint_hash"])
    return collection_csv(collection.index.items, collection.map.xy, rows, model)


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
