"""How electrodes make the leads, and what the leads look like with electrodes misplaced."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from echoing_core.records import BoolArray, FloatArray

F64 = npt.NDArray[np.float64]

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The electrodes that measure; the right leg's is the ground."""


def _leads_from_electrodes() -> F64:
    matrix = np.zeros((12, 9))
    # I, II, III (Einthoven); aVR, aVL, aVF (Goldberger: against the mean of the other two).
    matrix[:6, :3] = np.array(
        [[-1, 1, 0], [-1, 0, 1], [0, -1, 1], [1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]]
    )
    # V1-V6 against Wilson's central terminal, the mean of the three limb electrodes.
    matrix[6:, :3] = -1 / 3
    matrix[6:, 3:] = np.eye(6)
    return matrix


LEADS_FROM_ELECTRODES = _leads_from_electrodes()
"""Shape (12, 9): potentials of `ELECTRODES` to the leads in the order of `LEADS`."""

MISPLACEMENTS: Mapping[str, float] = {
    "arms": 0.35,
    "arm and leg": 0.13,
    "right leg": 0.12,
    "chest pair": 0.20,
    "chest reversed": 0.12,
    "cables turned": 0.08,
}
"""What is swapped, and how often it is drawn: the arms' electrodes; an arm's and the left leg's; an
arm's and the ground's on the right leg; two of the chest's; V1-V6 in reverse; the three limb cables
in a turn. The shares are plain guesses at what happens in practice."""

_ELECTRODES_FROM_LEADS = np.linalg.pinv(LEADS_FROM_ELECTRODES)
"""Shape (9, 12): potentials of `ELECTRODES` up to one that all have in common, which no lead
shows."""


def misplace(
    signal_mv: FloatArray, valid: BoolArray, rng: np.random.Generator, kind: str | None = None
) -> FloatArray:
    """Electrodes of one window in each other's places, as the hardware then combines them.

    The leads are linear in the electrodes' potentials, so this is exact, but for the ground: the
    right leg is taken to have the left leg's potential, as one leg nearly has the other's. A
    window in which not all leads were measured together is returned as it is.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (12, n_times)
        Millivolts in the order of `LEADS`.
    kind : str, optional
        One of `MISPLACEMENTS`; by default one is drawn.

    Returns
    -------
    ndarray, shape (12, n_times), float32

    Raises
    ------
    ValueError
        ``kind`` is not known.
    """
    if not (valid == valid[:1]).all():
        return signal_mv
    kind = kind or str(rng.choice(list(MISPLACEMENTS), p=list(MISPLACEMENTS.values())))
    order = np.arange(len(ELECTRODES))
    if kind == "arms":
        order[[0, 1]] = 1, 0
    elif kind == "arm and leg":
        arm = int(rng.integers(2))
        order[[arm, 2]] = 2, arm
    elif kind == "right leg":
        order[int(rng.integers(2))] = 2
    elif kind == "cables turned":
        order[:3] = np.roll(order[:3], int(rng.choice((-1, 1))))
    elif kind == "chest pair":
        first, second = 3 + rng.permutation(6)[:2]
        order[[first, second]] = second, first
    elif kind == "chest reversed":
        order[3:] = order[:2:-1]
    else:
        raise ValueError(f"{kind!r} is none of {', '.join(MISPLACEMENTS)}")
    potentials = _ELECTRODES_FROM_LEADS @ signal_mv
    return np.asarray(LEADS_FROM_ELECTRODES @ potentials[order], dtype=np.float32)
