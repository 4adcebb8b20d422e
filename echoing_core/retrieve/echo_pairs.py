"""What a distance between an ECG and an echocardiogram means: where it lies among known pairs.

Only a model that was trained with a teacher shares that teacher's space. Such a model is measured
once on simulated patients that no training saw: how far an ECG is from the echocardiogram of its
own heart, and from those of other people. Both stand in its folder (``echo_pairs.json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import CheckpointError

Floats = npt.NDArray[np.float64]

FORMAT = 1

# So many of those of other people are kept: sorted and thinned, they hold the distribution.
_MOST = 1000
_FEWEST = 20
# Both kinds of pairs are about as common in this range, so a distance there tells nothing.
_TELLING_PCT = 75.0


@dataclass(frozen=True, eq=False)
class EchoPairDistances:
    """CSDs between ECGs and echocardiograms, each sorted from near to far.

    Attributes
    ----------
    source : str
        Of whom, as a person reads it.
    simulated : bool
    teacher_hash : str
    own : ndarray, shape (n,)
        Of an ECG and the echocardiogram of the same heart.
    other : ndarray, shape (m,)
        Of an ECG and the echocardiogram of somebody else.
    auroc : float
        How often an own pair lies nearer than a pair of two people.
    """

    source: str
    simulated: bool
    teacher_hash: str
    own: Floats
    other: Floats
    auroc: float

    def __post_init__(self) -> None:
        for values in (self.own, self.other):
            if values.ndim != 1 or len(values) < _FEWEST or not np.isfinite(values).all():
                raise ValueError(f"a distribution needs {_FEWEST} or more finite distances")
            if (np.diff(values) < 0).any():
                raise ValueError("distances must be sorted")
        if not 0.0 <= self.auroc <= 1.0:
            raise ValueError("an AUROC lies between 0 and 1")

    @classmethod
    def of(
        cls,
        own: npt.ArrayLike,
        other: npt.ArrayLike,
        *,
        source: str,
        simulated: bool,
        teacher_hash: str,
    ) -> EchoPairDistances:
        """Of distances in any order.

        Parameters
        ----------
        own, other : array_like, shape (n,) and (m,)
            At least 20 each.
        source : str
        simulated : bool
        teacher_hash : str
        """
        near, far = (np.sort(np.asarray(values, dtype=np.float64)) for values in (own, other))
        # Mann-Whitney: pairs of pairs in which the own one is nearer, ties for half.
        below = np.searchsorted(far, near, side="left")
        upto = np.searchsorted(far, near, side="right")
        auroc = float(1.0 - (below + upto).mean() / (2.0 * len(far)))
        return cls(source, simulated, teacher_hash, _thinned(near), _thinned(far), auroc)

    def own_farther_pct(self, distance: float) -> float:
        """Per cent of the pairs of one heart that lie farther apart.

        Parameters
        ----------
        distance : float
            CSD.

        Returns
        -------
        float
            0..100.
        """
        return _farther_pct(self.own, distance)

    def other_farther_pct(self, distance: float) -> float:
        """Per cent of the pairs of two people that lie farther apart; see `own_farther_pct`."""
        return _farther_pct(self.other, distance)

    def words(self, distance: float) -> str:
        """What a distance means, in a sentence.

        Parameters
        ----------
        distance : float
            CSD.

        Returns
        -------
        str
        """
        own, other = self.own_farther_pct(distance), self.other_farther_pct(distance)
        if own < 5.0:
            return "Farther apart than 95 of 100 ECGs and echocardiograms of one heart."
        if other >= _TELLING_PCT:
            return (
                f"Nearer than {_of_100(other)} ECGs and echocardiograms of two people: as of one "
                "heart, or of two that are alike."
            )
        return (
            "No nearer than ECGs and echocardiograms of two people often are: it does not tell "
            "whether they belong together."
        )

    def to_dict(self) -> dict[str, Any]:
        """As ``echo_pairs.json`` holds it."""
        return {
            "format": FORMAT,
            "source": self.source,
            "simulated": self.simulated,
            "echo_teacher": self.teacher_hash,
            "auroc": round(self.auroc, 4),
            "pair_distances": {
                "own": [round(float(v), 5) for v in self.own],
                "other": [round(float(v), 5) for v in self.other],
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> EchoPairDistances:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        document : mapping

        Raises
        ------
        CheckpointError
            The document is of another format, or damaged.
        """
        try:
            if document["format"] != FORMAT:
                raise ValueError("another format")
            pairs = document["pair_distances"]
            return cls(
                source=str(document["source"]),
                simulated=bool(document["simulated"]),
                teacher_hash=str(document["echo_teacher"]),
                own=np.asarray(pairs["own"], dtype=np.float64),
                other=np.asarray(pairs["other"], dtype=np.float64),
                auroc=float(document["auroc"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "echo_pairs.json of the model cannot be used. Measure it again with: "
                "echoing evaluate echo-pairs --write"
            ) from error


def _farther_pct(values: Floats, distance: float) -> float:
    return float(100.0 * (1.0 - np.searchsorted(values, distance, side="right") / len(values)))


def _thinned(values: Floats) -> Floats:
    """At most `_MOST` of sorted values, evenly from the nearest to the farthest."""
    if len(values) <= _MOST:
        return values
    return values[np.linspace(0, len(values) - 1, _MOST).round().astype(np.int64)]


def _of_100(percent: float) -> str:
    # A finite sample knows nothing of the last per cent.
    return "more than 99 of 100" if percent > 99.0 else f"{percent:.0f} of 100"
