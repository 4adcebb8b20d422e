"""What a distance means: where it lies among distances of reference pairs of the model.

How near the nearest of a collection is says little: of twenty ECGs one is always the nearest. So a
distance is held against pairs that are known to belong together or not: an ECG and its own report,
an ECG and another patient's report, two ECGs of one patient, and so on. They are measured once
with a model and stand in its folder (``distances.json``); a distance then means the same in a
collection of 20 and of 20,000.

For a finding in words the margin z.(p - n) of its question is compared instead, with the margins
of the reference ECGs that have the finding and of those that have not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.errors import CheckpointError

Floats = npt.NDArray[np.float64]
Order = Literal["csd", "cosine"]

FORMAT = 1
LEVELS_PCT: tuple[float, ...] = (0, 1, 2, *range(5, 100, 5), 98, 99, 100)
"""Quantiles that are kept of every distribution."""

PAIRS: Mapping[str, str] = {
    "own_report": "an ECG and its own report",
    "other_report": "an ECG and the report of another patient",
    "same_patient": "two ECGs of one patient",
    "other_patient": "ECGs of two patients",
    "reports": "reports of two patients",
}
"""Kinds of pairs, and what they are."""

FEWEST = 8
"""A finding that fewer reference ECGs have is without a scale."""

# Farther than 95 of 100 pairs that belong together, or as near as 1 of 100 that do not.
_FAR_PCT = 95.0
_LIKE_STRANGERS_PCT = 99.0

CHANCE_PCT = 100.0 - _LIKE_STRANGERS_PCT
"""Per cent of the ECGs without a finding that `FindingScale.fits` takes for such with it."""


@dataclass(frozen=True)
class FindingScale:
    """Margins of one question among reference ECGs with and without the finding.

    Attributes
    ----------
    n_with, n_without : int
    having, lacking : tuple of float
        Quantiles at `LEVELS_PCT`.
    """

    n_with: int
    n_without: int
    having: tuple[float, ...]
    lacking: tuple[float, ...]

    def above_lacking_pct(self, margin: npt.ArrayLike, *, negated: bool = False) -> Floats:
        """Per cent of the ECGs of the other kind that are less like it.

        Parameters
        ----------
        margin : array_like, shape (...)
            Of the question itself, not of its denial.
        negated : bool
            The finding is to be absent: of the other kind are then those that have it.

        Returns
        -------
        ndarray, shape (...)
            0..100.
        """
        if negated:
            return 100.0 - _level(self.having, margin)
        return _level(self.lacking, margin)

    def above_having_pct(self, margin: npt.ArrayLike, *, negated: bool = False) -> Floats:
        """Per cent of the ECGs of this kind that are less like it.

        Parameters
        ----------
        margin, negated
            As in `above_lacking_pct`.

        Returns
        -------
        ndarray, shape (...)
            0..100.
        """
        if negated:
            return 100.0 - _level(self.lacking, margin)
        return _level(self.having, margin)

    def fits(self, margin: npt.ArrayLike, *, negated: bool = False) -> npt.NDArray[np.bool_]:
        """Whether an ECG is as such ECGs are, and as hardly any other is.

        A finding is present where the margin is not below that of 95 of 100 ECGs with it and above
        that of 99 of 100 without it. It is absent unless the margin is above that of 95 of 100
        without it.

        Parameters
        ----------
        margin, negated
            As in `above_lacking_pct`.

        Returns
        -------
        ndarray of bool, shape (...)
        """
        like_such = self.above_having_pct(margin, negated=negated) >= 100.0 - _FAR_PCT
        if negated:
            # Nearly every ECG lacks nearly every finding: there is nothing to stand out from.
            return np.asarray(like_such)
        return np.asarray(like_such & (self.above_lacking_pct(margin) >= _LIKE_STRANGERS_PCT))


@dataclass(frozen=True)
class ReferenceDistances:
    """Distances of reference pairs of a model.

    Attributes
    ----------
    source : str
        Of which ECGs, as a person reads it.
    n_ecgs : int
    simulated : bool
        Whether none of these ECGs was measured on a person.
    pairs : mapping of (order, kind) to tuple of float
        Quantiles at `LEVELS_PCT` of CSD, or of 1 - cosine.
    findings : mapping of str to FindingScale
        By the name of the question.
    """

    source: str
    n_ecgs: int
    simulated: bool
    pairs: Mapping[tuple[str, str], tuple[float, ...]]
    findings: Mapping[str, FindingScale]

    def nearer_than_pct(self, order: str, kind: str, distance: float) -> float | None:
        """Per cent of the pairs of a kind that lie farther apart.

        Parameters
        ----------
        order : {"csd", "cosine"}
        kind : str
            One of `PAIRS`.
        distance : float

        Returns
        -------
        float, 0..100, or None
            None where the model's folder has no such pairs.
        """
        quantiles = self.pairs.get((order, kind))
        return None if quantiles is None else 100.0 - float(_level(quantiles, distance))

    def is_far(self, order: str, distance: float, *, with_report: bool) -> bool:
        """Whether a distance is larger than that of 95 of 100 pairs that belong together.

        Parameters
        ----------
        order : {"csd", "cosine"}
        distance : float
        with_report : bool
            Between an ECG and a text; otherwise between two ECGs.

        Returns
        -------
        bool
            False where there is nothing to compare with.
        """
        kind = "own_report" if with_report else "same_patient"
        nearer = self.nearer_than_pct(order, kind, distance)
        return nearer is not None and nearer < 100.0 - _FAR_PCT

    def _nearer_than_own_and_others(
        self, order: str, distance: float, with_report: bool
    ) -> tuple[float | None, float | None]:
        """`nearer_than_pct` of pairs that belong together, and of those that do not."""
        own, other = (
            ("own_report", "other_report") if with_report else ("same_patient", "other_patient")
        )
        return (
            self.nearer_than_pct(order, own, distance),
            self.nearer_than_pct(order, other, distance),
        )

    def words(self, order: str, distance: float, *, with_report: bool) -> str:
        """What a distance means, in words that follow "this ECG is".

        Parameters
        ----------
        order : {"csd", "cosine"}
        distance : float
        with_report : bool
            Between an ECG and a text; otherwise between two ECGs.

        Returns
        -------
        str
            Empty where there is nothing to compare with.
        """
        own, other = self._nearer_than_own_and_others(order, distance, with_report)
        if own is None or other is None:
            return ""
        together = "an ECG and its own report" if with_report else "two ECGs of one patient"
        strangers = "ECGs and reports of others" if with_report else "ECGs of different patients"
        if other < 75.0:
            return f"no nearer than {strangers} often are"
        if own >= 75.0:
            return f"nearer than {together} usually are"
        if own >= 25.0:
            return f"as near as {together} usually are"
        if own >= 100.0 - _FAR_PCT:
            return (
                f"farther than {together} usually are, nearer than {_share(other)} of {strangers}"
            )
        return (
            f"farther than {together} nearly ever are, nearer than {_share(other)} of {strangers}"
        )

    def nearness(self, order: str, distance: float, *, with_report: bool) -> str:
        """A distance in one word; `words` says by what it is told.

        Parameters
        ----------
        order : {"csd", "cosine"}
        distance : float
        with_report : bool
            Between an ECG and a text; otherwise between two ECGs.

        Returns
        -------
        {"near", "middling", "far", ""}
            Near: as near as three of four pairs that belong together. Far: farther than 95 of 100
            of them, or no nearer than strangers often are. Empty where there is nothing to compare
            with.
        """
        own, other = self._nearer_than_own_and_others(order, distance, with_report)
        if own is None or other is None:
            return ""
        if other < 75.0 or own < 100.0 - _FAR_PCT:
            return "far"
        return "near" if own >= 25.0 else "middling"

    def to_dict(self) -> dict[str, Any]:
        """As ``distances.json`` holds it."""
        pairs: dict[str, dict[str, list[float]]] = {}
        for (order, kind), quantiles in self.pairs.items():
            pairs.setdefault(order, {})[kind] = list(quantiles)
        return {
            "format": FORMAT,
            "source": self.source,
            "n_ecgs": self.n_ecgs,
            "simulated": self.simulated,
            "levels_pct": list(LEVELS_PCT),
            "pairs": pairs,
            "findings": {
                name: {
                    "n_with": scale.n_with,
                    "n_without": scale.n_without,
                    "with": list(scale.having),
                    "without": list(scale.lacking),
                }
                for name, scale in self.findings.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ReferenceDistances:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        document : mapping

        Returns
        -------
        ReferenceDistances

        Raises
        ------
        CheckpointError
            The document is of another format, or incomplete.
        """
        try:
            if document["format"] != FORMAT or tuple(document["levels_pct"]) != LEVELS_PCT:
                raise ValueError("another format")
            return cls(
                source=str(document["source"]),
                n_ecgs=int(document["n_ecgs"]),
                simulated=bool(document["simulated"]),
                pairs={
                    (str(order), str(kind)): _quantiles(quantiles)
                    for order, kinds in document["pairs"].items()
                    for kind, quantiles in kinds.items()
                },
                findings={
                    str(name): FindingScale(
                        int(entry["n_with"]),
                        int(entry["n_without"]),
                        _quantiles(entry["with"]),
                        _quantiles(entry["without"]),
                    )
                    for name, entry in document["findings"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                "distances.json of the model cannot be used. Measure the distances again with: "
                "echoing evaluate distances --write"
            ) from error


def quantiles_of(values: npt.ArrayLike) -> tuple[float, ...]:
    """Quantiles at `LEVELS_PCT`, rounded to six digits.

    Parameters
    ----------
    values : array_like, shape (n,)
        At least one.

    Returns
    -------
    tuple of float
    """
    found = np.percentile(np.asarray(values, dtype=np.float64), LEVELS_PCT)
    return tuple(round(float(value), 6) for value in found)


def finding_scale(margins: Floats, having: npt.NDArray[np.bool_]) -> FindingScale | None:
    """The scale of a finding from margins of ECGs of which it is known.

    Parameters
    ----------
    margins : ndarray, shape (n,)
    having : ndarray of bool, shape (n,)

    Returns
    -------
    FindingScale or None
        None where fewer than `FEWEST` have the finding, or lack it.
    """
    n_with, n_without = int(having.sum()), int((~having).sum())
    if min(n_with, n_without) < FEWEST:
        return None
    return FindingScale(
        n_with, n_without, quantiles_of(margins[having]), quantiles_of(margins[~having])
    )


def _quantiles(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != len(LEVELS_PCT) or not np.isfinite(numbers).all():
        raise ValueError("not the quantiles of a distribution")
    if any(a > b for a, b in pairwise(numbers)):
        raise ValueError("quantiles fall")
    return numbers


def _level(quantiles: tuple[float, ...], value: npt.ArrayLike) -> Floats:
    """Per cent of a distribution below a value, by straight lines between its quantiles."""
    return np.asarray(np.interp(np.asarray(value, dtype=np.float64), quantiles, LEVELS_PCT))


def _share(percent: float) -> str:
    # A finite sample knows nothing of the last per cent.
    return "more than 99 %" if percent > 99.0 else f"{percent:.0f} %"
