"""What a beat is made of: waves, how one person's differ, and how they are put together.

Axes are Frank's: X to the left, Y down, Z to the back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

P, QRS, ST_T = 0, 1, 2
"""Values of `Waves.group`."""


@dataclass(frozen=True, eq=False)
class Waves:
    """Waves of one kind of beat.

    Attributes
    ----------
    centre_ms, rise_ms, fall_ms : ndarray, shape (n_waves,)
        Peak time from QRS onset, and the SD of the Gaussian before and after it.
    vector_mv : ndarray, shape (n_waves, 3)
        Heart vector at the peak, X, Y, Z.
    chest_mv : ndarray, shape (n_waves, 6)
        What V1-V6 see of each wave beyond the dipole (muscle close to the electrode).
    group : ndarray, shape (n_waves,)
        `P`, `QRS` or `ST_T`.
    """

    centre_ms: F64
    rise_ms: F64
    fall_ms: F64
    vector_mv: F64
    chest_mv: F64
    group: npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Build:
    """What makes one person's waves differ from another's, apart from disease.

    Standard normal numbers unless noted otherwise; they belong to the patient, so all ECGs of a
    patient share them.

    Attributes
    ----------
    qrs : ndarray, shape (5, 3)
        Forces of the QRS complex in X, Y, Z, in the order of their time.
    qrs_chest : ndarray, shape (5, 6)
        The same as V1-V6 see them beyond the dipole.
    qrs_time : ndarray, shape (5,)
        Widths, and a shift of the main forces.
    turn : ndarray, shape (3,)
        Horizontal turn of the QRS, frontal and horizontal turn of the T wave.
    t : ndarray, shape (2, 3)
        Early and late forces of the T wave.
    t_chest : ndarray, shape (6,)
    t_shape : ndarray, shape (3,)
        Fall, rise and distance of the two.
    p : ndarray, shape (2, 3)
        Right and left atrium.
    p_shape : ndarray, shape (2,)
        Width, and distance of the two.
    st : ndarray, shape (3,)
    ectopic : ndarray, shape (6,)
        Premature beats and pacing.
    uniform : ndarray, shape (8,)
        Uniform from 0 to 1: choices between forms.
    """

    qrs: F64
    qrs_chest: F64
    qrs_time: F64
    turn: F64
    t: F64
    t_chest: F64
    t_shape: F64
    p: F64
    p_shape: F64
    st: F64
    ectopic: F64
    uniform: F64


def sample_build(rng: np.random.Generator) -> Build:
    """Draw one person's build.

    Parameters
    ----------
    rng : Generator
        Drawn from in the order of the fields, which must stay as it is.
    """
    return Build(
        qrs=rng.normal(size=(5, 3)),
        qrs_chest=rng.normal(size=(5, 6)),
        qrs_time=rng.normal(size=5),
        turn=rng.normal(size=3),
        t=rng.normal(size=(2, 3)),
        t_chest=rng.normal(size=6),
        t_shape=rng.normal(size=3),
        p=rng.normal(size=(2, 3)),
        p_shape=rng.normal(size=2),
        st=rng.normal(size=3),
        ectopic=rng.normal(size=6),
        uniform=rng.random(8),
    )


class WaveList:
    """Waves while they are being put together.

    Attributes
    ----------
    rows : list of tuple
        One for each wave: centre, rise and fall in ms, vector and chest leads in mV, group.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float, F64, F64, int]] = []

    def add(
        self,
        group: int,
        centre_ms: float,
        rise_ms: float,
        fall_ms: float,
        vector_mv: npt.ArrayLike,
        chest_mv: npt.ArrayLike | None = None,
    ) -> None:
        """Add one wave.

        Parameters
        ----------
        group, centre_ms, rise_ms, fall_ms, vector_mv, chest_mv
            As in `Waves`, of one wave; by default the chest leads see the dipole alone.
        """
        chest = np.zeros(6) if chest_mv is None else np.asarray(chest_mv, dtype=np.float64)
        vector = np.asarray(vector_mv, dtype=np.float64)
        self.rows.append((centre_ms, rise_ms, fall_ms, vector, chest, group))

    def area(self, group: int) -> F64:
        """Time integral of the vectors of a group.

        Parameters
        ----------
        group : int

        Returns
        -------
        ndarray, shape (3,)
            In mV ms.
        """
        total = np.zeros(3)
        for _, rise, fall, vector, _, g in self.rows:
            if g == group:
                # Half a Gaussian has the area sqrt(pi / 2) times its SD.
                total += vector * (rise + fall) * 1.2533
        return total

    def freeze(self) -> Waves:
        """Return the waves as arrays."""
        centre, rise, fall, vector, chest, group = zip(*self.rows, strict=True)
        return Waves(
            np.array(centre),
            np.array(rise),
            np.array(fall),
            np.array(vector),
            np.array(chest),
            np.array(group, dtype=np.int8),
        )


def turned(vector: F64, angle_deg: float, axes: tuple[int, int]) -> F64:
    """Turn a vector in the plane of two of its axes, the first towards the second.

    Parameters
    ----------
    vector : ndarray, shape (3,)
        Not changed.
    angle_deg : float
        In degrees.
    axes : tuple of int
        (0, 1) is the frontal plane, (0, 2) the horizontal one.

    Returns
    -------
    ndarray, shape (3,)
    """
    # A rotation: positive angles turn from left to down, or from left to the back.
    a, b = axes
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    out = np.array(vector, dtype=np.float64)
    out[a], out[b] = c * vector[a] - s * vector[b], s * vector[a] + c * vector[b]
    return out
