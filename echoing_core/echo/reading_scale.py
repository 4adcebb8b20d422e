"""What a teacher's readings are worth: those of studies whose hearts are known.

A cosine to prompts is no probability, and an ejection fraction by prompts is off by points. So a
reading is held against studies that the teacher did not learn from: of the `N_ALIKE` that it read
most alike, how many had the finding, and what their ejection fractions were. Those readings are
measured once and stand in the teacher's folder (`SCALE_FILE`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import write_text_atomically
from echoing_core.documents import parse_json
from echoing_core.echo.measuring import TASKS, BankReadings
from echoing_core.errors import CheckpointError

Floats = npt.NDArray[np.float64]

N_ALIKE = 40
"""Known studies that a reading is compared with."""

SCALE_FILE = "readings.json"
"""In the folder of a teacher; its hash does not cover it."""

FORMAT = 1

_RANGE_PCT = (5.0, 50.0, 95.0)
_MAX_STUDIES = 100_000
_MAX_SCALE_BYTES = 20_000_000


@dataclass(frozen=True, eq=False)
class ReadingScale:
    """Readings of studies whose hearts are known.

    Attributes
    ----------
    source : str
        Which studies, as a person reads it.
    simulated : bool
    teacher_hash : str
    lvef_pct, read_pct : ndarray, shape (n,)
        True ejection fractions, and those read by prompts.
    spread, spread_within : ndarray, shape (n,)
        As in `measuring.BankReadings`.
    scores : mapping of str to ndarray, shape (n,)
        Mean cosine to the prompts of a finding, by the keys of `measuring.TASKS`.
    having : mapping of str to ndarray of bool, shape (n,)
    """

    source: str
    simulated: bool
    teacher_hash: str
    lvef_pct: Floats
    read_pct: Floats
    spread: Floats
    spread_within: Floats
    scores: Mapping[str, Floats]
    having: Mapping[str, npt.NDArray[np.bool_]]

    def __post_init__(self) -> None:
        n = len(self.lvef_pct)
        numbers = (self.read_pct, self.spread, self.spread_within, *self.scores.values())
        if any(one.shape != (n,) or not np.isfinite(one).all() for one in numbers):
            raise ValueError("every study needs one finite number of each kind")
        if set(self.scores) != set(TASKS) or set(self.having) != set(TASKS):
            raise ValueError(f"scores and truth are needed of {', '.join(TASKS)}")
        if not N_ALIKE <= n <= _MAX_STUDIES:
            raise ValueError(f"{n} studies are no scale")

    def __len__(self) -> int:
        return len(self.lvef_pct)

    @classmethod
    def of(cls, readings: BankReadings, *, source: str, teacher_hash: str) -> ReadingScale:
        """The scale of simulated studies that were read.

        Parameters
        ----------
        readings : BankReadings
            Of at least `N_ALIKE` studies.
        source : str
        teacher_hash : str
        """
        return cls(
            source=source,
            simulated=True,
            teacher_hash=teacher_hash,
            lvef_pct=readings.truth["lvef_pct"],
            read_pct=readings.read_pct,
            spread=readings.spread,
            spread_within=readings.spread_within,
            scores=readings.scores,
            having=readings.having,
        )

    def lvef_range_pct(self, read_pct: float) -> tuple[float, float, float]:
        """True ejection fractions of the hearts that were read most alike.

        Parameters
        ----------
        read_pct : float
            As read by prompts.

        Returns
        -------
        (float, float, float)
            5 %, median and 95 % of the `N_ALIKE` nearest.
        """
        low, middle, high = np.percentile(
            self.lvef_pct[_nearest(self.read_pct, read_pct)], _RANGE_PCT
        )
        return float(low), float(middle), float(high)

    def n_with(self, finding: str, score: float) -> int:
        """How many of the `N_ALIKE` most alike had a finding.

        Parameters
        ----------
        finding : str
        score : float
            Mean cosine to its prompts.

        Returns
        -------
        int
        """
        return int(self.having[finding][_nearest(self.scores[finding], score)].sum())

    def to_dict(self) -> dict[str, Any]:
        """As the folder of a teacher holds it, in digits that its readings are good for."""
        return {
            "format": FORMAT,
            "source": self.source,
            "simulated": self.simulated,
            "teacher_hash": self.teacher_hash,
            "lvef_pct": _rounded(self.lvef_pct, 1),
            "read_pct": _rounded(self.read_pct, 2),
            "spread": _rounded(self.spread, 5),
            "spread_within": _rounded(self.spread_within, 5),
            "scores": {key: _rounded(values, 5) for key, values in self.scores.items()},
            # Rows that have it, which are few.
            "having": {key: np.flatnonzero(one).tolist() for key, one in self.having.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], teacher_hash: str) -> ReadingScale:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        document : mapping
        teacher_hash : str
            Of the teacher in use; a scale of another one is refused.

        Raises
        ------
        CheckpointError
            It is damaged, or of other weights.
        """
        try:
            if document["format"] != FORMAT or document["teacher_hash"] != teacher_hash:
                raise ValueError("another format or other weights")
            n = len(document["lvef_pct"])
            return cls(
                source=str(document["source"]),
                simulated=bool(document["simulated"]),
                teacher_hash=teacher_hash,
                lvef_pct=_floats(document["lvef_pct"]),
                read_pct=_floats(document["read_pct"]),
                spread=_floats(document["spread"]),
                spread_within=_floats(document["spread_within"]),
                scores={key: _floats(document["scores"][key]) for key in TASKS},
                having={
                    key: np.isin(np.arange(n), np.asarray(document["having"][key], dtype=np.int64))
                    for key in TASKS
                },
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "What the echo teacher's readings are worth is not known of these weights. Measure "
                "it with: echoing teacher measure --teacher FOLDER --write"
            ) from error


def save_scale(folder: Path, scale: ReadingScale) -> None:
    """Write a scale into the folder of its teacher.

    Parameters
    ----------
    folder : Path
    scale : ReadingScale
    """
    text = json.dumps(scale.to_dict(), separators=(",", ":")) + "\n"
    write_text_atomically(folder / SCALE_FILE, text)


def load_scale(folder: Path, teacher_hash: str) -> ReadingScale | None:
    """The scale in a teacher's folder; None where there is none.

    Parameters
    ----------
    folder : Path
        Also a weight file, which has no scale.
    teacher_hash : str
        Of the teacher in use.

    Raises
    ------
    CheckpointError
        It is damaged, or of other weights.
    """
    path = folder / SCALE_FILE
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_SCALE_BYTES:
            raise ValueError("too long")
        document = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        # Read as a document in which everything is missing: one sentence for all damage.
        document = {}
    return ReadingScale.from_dict(document, teacher_hash)


def _nearest(values: Floats, value: float) -> npt.NDArray[np.int64]:
    """Rows of the `N_ALIKE` values nearest to one."""
    # Stable, so that equal values keep their order on every machine.
    return np.argsort(np.abs(values - value), kind="stable")[:N_ALIKE]


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _rounded(values: Floats, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
