"""How the left ventricle of a simulated heart fills, empties and thickens.

The cavity is an ellipsoid cut at the mitral plane. All its sections shrink together: with the
volume v as a share of the end-diastolic one, its length is v^0.22 and its width v^0.39 of the
end-diastolic length and width (0.22 + 2 * 0.39 = 1), so that

- the area-length volume 8 A^2 / (3 pi L) of the four-chamber view has exactly the ejection
  fraction of the heart (the shape only changes by scales, and A^2 / L goes with width^2 * length);
- the area of the short-axis view is v^0.78 of the end-diastolic area: EF = 1 - (1 - FAC)^(1/0.78).

At an ejection fraction of 60 % this shortens the cavity by 18 % lengthwise and 30 % across.
The wall keeps its volume (myocardium is nearly incompressible), which makes it thicker in systole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.simulate.heart.rhythm import PVC, BeatTrain
from echoing_core.simulate.heart.state import HeartState

F64 = npt.NDArray[np.float64]

LENGTH_POWER = 0.22
"""Exponent of the volume share that gives the cavity's length."""

WIDTH_POWER = (1 - LENGTH_POWER) / 2
"""Exponent of the volume share that gives the cavity's width."""

BASE_CUT = 0.7
"""Where the mitral plane cuts the ellipsoid, in long semi-axes below its centre."""

# Stroke volume of a PVC against a usual one: the ventricle has hardly filled.
_PVC_STROKE = 0.6


@dataclass(frozen=True, eq=False)
class Pump:
    """The left ventricle at the time of each frame.

    Attributes
    ----------
    volume : ndarray, shape (n_frames,)
        Share of the end-diastolic volume.
    mitral, aortic : ndarray, shape (n_frames,)
        How far each valve is open, 0 to 1.
    """

    volume: F64
    mitral: F64
    aortic: F64

    @property
    def length(self) -> F64:
        """Share of the end-diastolic length, shape (n_frames,)."""
        return self.volume**LENGTH_POWER

    @property
    def width(self) -> F64:
        """Share of the end-diastolic width, shape (n_frames,)."""
        return self.volume**WIDTH_POWER

    def wall_mm(self, radius_mm: float, wall_mm: float) -> F64:
        """Thickness that keeps the wall's volume.

        Parameters
        ----------
        radius_mm, wall_mm : float
            Radius of the cavity and thickness of the wall at end-diastole.

        Returns
        -------
        ndarray, shape (n_frames,)
            In mm.
        """
        # Volume goes with the area of the ring times the length.
        ring = (radius_mm + wall_mm) ** 2 - radius_mm**2
        radius = radius_mm * self.width
        return np.asarray(np.sqrt(radius**2 + ring / self.length) - radius)


def pump(state: HeartState, train: BeatTrain, times_s: F64) -> Pump:
    """Volume and valves at some times.

    The length of systole follows the rate of each beat as Weissler's QS2 = 546 - 2.1 HR ms
    (Weissler et al., Circulation 1968;37:149). Premature ventricular beats eject less, and
    without a P wave the late filling is missing.

    Parameters
    ----------
    state : HeartState
    train : BeatTrain
        Must hold the beat before the first of ``times_s`` and the one after the last.
    times_s : ndarray, shape (n_frames,)
        On the clock of the train.

    Returns
    -------
    Pump
    """
    onset = train.onset_s
    beat = np.clip(np.searchsorted(onset, times_s, side="right") - 1, 0, len(onset) - 2)
    cycle = (onset[1:] - onset[:-1])[beat]
    since = times_s - onset[beat]
    # The beat before sets the rate; a pause after this one cannot lengthen its systole.
    before = np.maximum(train.rr_s[beat], 0.25)
    systole = np.clip(0.546 - 0.126 / before, 0.13, 0.44)
    # However early the next beat comes, some time is left for filling.
    systole = np.minimum(systole, 0.62 * cycle)
    filling = np.maximum(cycle - systole, 1e-3)

    # Isovolumic contraction and relaxation hold the volume for a tenth of systole at each end.
    ejected = _smooth_step((since / systole - 0.12) / 0.74)
    atrial = state.rhythm == "sinus" or (state.rhythm == "paced" and state.paced_atrium == "sinus")
    # Three quarters of the filling are early, the rest is the atrium's.
    phase = (since - systole) / filling
    early = _smooth_step((phase - 0.06) / 0.42)
    late = _smooth_step((phase - 0.70) / 0.22)
    share = 0.75 if atrial else 1.0
    filled = share * early + (1 - share) * late

    stroke = state.lvef_pct / 100.0 * np.where(train.kind[beat] == PVC, _PVC_STROKE, 1.0)
    volume = 1.0 - stroke * np.where(since < systole, ejected, 1.0 - filled)
    # Open wide in early filling, half closed between, and again for the atrium.
    opening = np.sin(np.pi * np.clip((phase - 0.05) / 0.50, 0, 1)) ** 0.5
    again = np.sin(np.pi * np.clip((phase - 0.62) / 0.30, 0, 1)) ** 0.5 * (0.7 if atrial else 0.2)
    mitral = np.where((phase > 0.05) & (phase < 0.92), np.maximum(0.25, opening), 0.0)
    mitral = np.where((phase > 0.05) & (phase < 0.92), np.maximum(mitral, again), 0.0)
    aortic = np.where((since > 0.12 * systole) & (since < 0.88 * systole), 1.0, 0.0)
    return Pump(volume=volume, mitral=mitral, aortic=aortic)


def length_mm(lvedd_mm: float) -> float:
    """End-diastolic length of the cavity; dilated hearts are more spherical.

    About 87 mm at 48 mm, 101 mm at 65 mm and 111 mm at 85 mm.

    Parameters
    ----------
    lvedd_mm : float
        End-diastolic diameter in mm.
    """
    return lvedd_mm * float(np.clip(1.84 - 0.0150 * (lvedd_mm - 46.0), 1.30, 1.95))


# Which wall of each view an infarct lies in: the two numbers are how much less the first (septal
# or anteroseptal) and the second (lateral or posterior) wall moves when the infarct is large.
_SIDES = {
    "a4c": {
        "anteroseptal": (0.6, 0.0),
        "anterior": (0.5, 0.0),
        "anterolateral": (0.0, 0.5),
        "inferior": (0.3, 0.0),
        "inferolateral": (0.0, 0.5),
        "inferoposterior": (0.2, 0.0),
        "lateral": (0.0, 0.6),
        "posterior": (0.0, 0.2),
    },
    "plax": {
        "anteroseptal": (0.6, 0.0),
        "anterior": (0.5, 0.0),
        "anterolateral": (0.3, 0.0),
        "inferior": (0.0, 0.3),
        "inferolateral": (0.0, 0.6),
        "inferoposterior": (0.0, 0.5),
        "lateral": (0.0, 0.4),
        "posterior": (0.0, 0.6),
    },
}

# Clock positions of the middle of each infarct in the short axis, in degrees from the right of
# the picture and turning down: anterior wall at the top, septum on the left.
_CLOCK_DEG = {
    "anteroseptal": -140.0,
    "anterior": -90.0,
    "anterolateral": -45.0,
    "lateral": 0.0,
    "inferolateral": 45.0,
    "posterior": 60.0,
    "inferior": 100.0,
    "inferoposterior": 80.0,
}


def side_motion(state: HeartState, view: str) -> tuple[float, float]:
    """Share of the mean inward motion of the first and of the second wall; they add up to 2.

    The healthy wall makes up for the other, so that the volume keeps the ejection fraction.

    Parameters
    ----------
    state : HeartState
        Its infarct counts.
    view : {"a4c", "plax"}
    """
    first, second = _SIDES[view].get(state.infarct, (0.0, 0.0))
    loss = (first - second) * state.infarct_size
    return 1.0 - loss, 1.0 + loss


def clock_motion(state: HeartState, n_angles: int) -> F64:
    """Share of the mean inward motion at each angle of the short axis, mean 1.

    Parameters
    ----------
    state : HeartState
        Its infarct counts.
    n_angles : int

    Returns
    -------
    ndarray, shape (n_angles,)
        Angles from -180 degrees up, as `_CLOCK_DEG`.
    """
    angle = np.linspace(-180.0, 180.0, n_angles, endpoint=False)
    motion = np.ones(n_angles)
    if state.infarct:
        away = (angle - _CLOCK_DEG[state.infarct] + 180.0) % 360.0 - 180.0
        motion -= 0.9 * state.infarct_size * np.exp(-((away / 45.0) ** 2))
    return np.asarray(motion / motion.mean())


def _smooth_step(x: F64) -> F64:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))
