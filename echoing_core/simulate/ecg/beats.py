"""One heart beat as a sum of Gaussians in time, each with a direction in space.

The moving dipole of Sameni et al. (EURASIP J Adv Signal Process 2007:043407), a 3-D form of the
dynamical model of McSharry et al. (IEEE Trans Biomed Eng 2003;50:289): every wave is one or a few
Gaussians, each times a heart vector in Frank's axes (X left, Y down, Z to the back). Time is in
ms from QRS onset. The two halves of a Gaussian may differ in width, because a T wave rises more
slowly than it falls.

The normal vectors and their spread between people were set by least squares to median beats of
normal PTB-XL records through the inverse of Dower's matrix; what conduction defects, infarcts,
hypertrophy and ST-T changes do to them follows the AHA/ACCF/HRS recommendations (Surawicz et al.,
J Am Coll Cardiol 2009;53:976; Rautaharju et al. 2009;53:982; Hancock et al. 2009;53:992) and the
universal definition of myocardial infarction (Thygesen et al., Circulation 2018;138:e618).
"""

from __future__ import annotations

import numpy as np

from echoing_core.simulate.ecg.waves import F64, QRS, ST_T, Build, P, WaveList, Waves, turned
from echoing_core.simulate.heart.state import HeartState


def conducted_beat(state: HeartState, build: Build) -> Waves:
    """Return the waves of a beat that starts in the atria (or is paced from the ventricle).

    Parameters
    ----------
    state : HeartState
    build : Build

    Returns
    -------
    Waves
        P (in sinus rhythm), QRS, ST and T, in the order of their drawing.
    """
    waves = WaveList()
    if state.rhythm == "sinus" or (state.rhythm == "paced" and state.paced_atrium == "sinus"):
        _add_p(waves, state, build)
    if state.rhythm == "paced":
        _add_left_block(waves, state, build, paced=True)
    elif state.conduction == "lbbb":
        _add_left_block(waves, state, build, paced=False)
    else:
        _add_qrs(waves, state, build)
    _add_st_t(waves, state, build)
    return waves.freeze()


def premature_atrial_beat(conducted: Waves, build: Build) -> Waves:
    """Return a beat with its P wave from elsewhere in the atria.

    Parameters
    ----------
    conducted : Waves
        As `conducted_beat` gives it.
    build : Build
    """
    is_p = conducted.group == P
    vector = conducted.vector_mv.copy()
    factor = np.array([0.9, 0.2 + 0.5 * build.ectopic[0], 1.3])
    vector[is_p] = vector[is_p] * factor * (0.9 + 0.15 * build.ectopic[1])
    return Waves(
        conducted.centre_ms + np.where(is_p, 15.0, 0.0),
        conducted.rise_ms,
        conducted.fall_ms,
        vector,
        conducted.chest_mv,
        conducted.group,
    )


def premature_ventricular_beat(state: HeartState, build: Build) -> Waves:
    """Return a wide ventricular beat without P wave, T wave opposite to it.

    Parameters
    ----------
    state : HeartState
        Its QT interval and voltage count.
    build : Build
        Decides where in the ventricles the beats arise: one person's look alike.
    """
    # Outflow tract and right ventricle (to the left, down or up, back) are the usual origins;
    # beats from the left ventricle point to the right and forwards.
    u = build.uniform[0]
    if u < 0.45:
        direction = np.array([0.55, 1.0, 0.55])
    elif u < 0.75:
        direction = np.array([0.9, -0.6, 0.8])
    else:
        direction = np.array([-0.7, 0.5 if u < 0.88 else -0.7, -0.9])
    direction = direction + 0.25 * build.ectopic[:3]
    direction /= np.linalg.norm(direction)
    # The vector bows out to one side on its way, so that no lead sees a plain hump.
    side = np.cross(direction, np.array([0.3, -0.5, 0.8]))
    duration = 150.0 + 12.0 * build.ectopic[3]
    gain = 1.75 * np.exp(0.22 * build.ectopic[4]) * state.voltage**0.5
    waves = WaveList()
    notch = 0.15 + 0.25 * build.uniform[1]
    for share, sd, size, turn in (
        (0.22, 0.085, 0.35, 0.3),
        (0.42, 0.10, 0.9, 0.2),
        (0.62, 0.10, 1.0 - notch, -0.1),
        (0.83, 0.085, 0.35, -0.4),
    ):
        vector = gain * size * (direction + turn * side)
        waves.add(QRS, share * duration, sd * duration, sd * duration, vector)
    opposite = -direction * gain * (0.42 + 0.08 * build.ectopic[5])
    peak = max(0.72 * state.qt_ms + 25.0, duration + 90.0)
    waves.add(ST_T, duration + 25.0, 25.0, 60.0, 0.35 * opposite)
    waves.add(ST_T, peak, 60.0, 42.0, opposite)
    return waves.freeze()


def _add_p(waves: WaveList, state: HeartState, build: Build) -> None:
    """Add the P wave: the right atrium, then the left one."""
    onset = -state.pr_ms
    sd = 17.0 * np.exp(0.10 * build.p_shape[0])
    gap = (30.0 + 6.0 * build.p_shape[1]) * (1.0 + 0.35 * (state.p_terminal - 1.0))
    gap = float(np.clip(gap, 18.0, 62.0))
    # At a short PR the P wave must end before the QRS complex.
    squeeze = min(1.0, state.pr_ms / (2.1 * 2 * sd + gap))
    sd, gap = sd * squeeze, gap * squeeze
    right = np.array([0.035, 0.055, -0.028]) + np.array([0.018, 0.026, 0.014]) * build.p[0]
    left = np.array([0.066, 0.042, 0.010]) + np.array([0.016, 0.022, 0.010]) * build.p[1]
    # A large right atrium makes P tall in II and V1; a loaded left one, late and negative in V1.
    if state.rae:
        right = right * np.array([1.0, 2.6, 2.0])
    grown = state.p_terminal - 1.0
    left = left * np.array([1 + 0.45 * grown, 1 + 0.15 * grown, 1.0])
    left[2] += 0.065 * grown
    waves.add(P, onset + 2.1 * sd, sd, sd, right)
    waves.add(P, onset + 2.1 * sd + gap, sd, sd * 0.95, left)


# Septal, early main, late main and terminal forces: peak time and SD as shares of the QRS
# duration; means and SDs (X, Y, Z) in mV.
_QRS_CENTRE = np.array([0.205, 0.40, 0.515, 0.70])
_QRS_SD = np.array([0.090, 0.080, 0.085, 0.100])
_QRS_MEAN = np.array(
    [[0.01, 0.01, -0.24], [0.66, 0.0, 0.02], [0.95, 0.0, 0.58], [-0.13, -0.03, 0.44]]
)
_QRS_SPREAD = np.array(
    [[0.11, 0.08, 0.10], [0.16, 0.14, 0.22], [0.18, 0.14, 0.22], [0.15, 0.16, 0.20]]
)
_CHEST_SPREAD = np.array([0.06, 0.12, 0.12, 0.09, 0.06, 0.05])


def _add_qrs(waves: WaveList, state: HeartState, build: Build) -> None:
    """Add a QRS complex whose first half uses the normal pathways."""
    slow = {"rbbb": 0.62, "irbbb": 0.84, "ivcd": 0.94, "wpw": 0.80}.get(state.conduction, 1.0)
    duration = state.qrs_ms * slow
    start = state.qrs_ms * 0.20 if state.conduction == "wpw" else 0.0
    v = _QRS_MEAN + _QRS_SPREAD * build.qrs[:4]

    # Initial forces point away from the main ones in fascicular block.
    if state.fascicle == "lafb":
        v[0] += np.array([-0.06, 0.20, 0.0])
        v[3] += np.array([0.05, -0.14, 0.05])
        v[1:3] *= np.array([0.85, 0.50, 0.58])
    elif state.fascicle == "lpfb":
        v[0] += np.array([0.22, -0.28, 0.0])
        v[3] += np.array([-0.12, 0.25, 0.05])
    # The axis turns the strong middle forces; the late ones fully, the early ones a bit less.
    follow = 0.72 if state.fascicle == "lafb" else 1.0
    v[1] = turned(v[1], 0.9 * follow * state.axis_deg, (0, 1))
    v[2] = turned(v[2], 1.08 * follow * state.axis_deg, (0, 1))
    v[3] = turned(v[3], 0.35 * follow * state.axis_deg, (0, 1))
    swing = 15.0 * build.turn[0]
    for k in range(4):
        v[k] = turned(v[k], swing, (0, 2))

    # Lost anterior forces: Z is positive to the back.
    loss = state.anterior_loss
    v[0, 2] *= 1.0 - 0.9 * loss
    v[1, 2] += 0.34 * loss
    v[2, 2] += 0.15 * loss

    # Left ventricular muscle adds to the main forces, most to the left.
    grown = min(state.hypertrophy, 5.0)
    v[1] *= 1.0 + 0.17 * grown
    v[2] *= np.array([1.0 + 0.27 * grown, 1.0 + 0.12 * grown, 1.0 + 0.12 * grown])
    v[3, 2] *= 1.0 + 0.12 * grown
    # The right ventricle's muscle pulls to the right and forwards (tall R in V1, deep S in V6).
    if state.rvh:
        v[1] = np.array([0.25 * v[1, 0], v[1, 1], -0.45])
        v[2] = np.array([-0.45, 0.8, -0.55 + 0.15 * build.qrs[2, 2]])
        v[3] = np.array([-0.45, 0.1, 0.15])
    if state.conduction in ("rbbb", "irbbb"):
        # The right ventricle, late and slow, no longer balances the left one from the front.
        share = 1.0 if state.conduction == "rbbb" else 0.35
        v[1] *= 1.0 - 0.15 * share
        v[2] *= 1.0 - share * np.array([0.30, 0.40, 1.0])
        v[3] *= 1.0 - 0.9 * share
    chest = build.qrs_chest[:4] * _CHEST_SPREAD * np.array([0.35, 0.9, 0.9, 0.6])[:, None]
    if state.fascicle == "lafb":
        # S waves persist to V5 and V6.
        chest[3] -= np.array([0.0, 0.0, 0.35, 0.50, 0.38, 0.22])
    # Lost anterior forces show most in V3 and V4, where the transition moves away.
    chest[2] -= loss * np.array([0.0, 0.0, 0.35, 0.45, 0.15, 0.0])
    _add_infarct(v, chest, state)

    gain = state.voltage
    for k in range(4):
        sd = _QRS_SD[k] * duration * (1.0 + 0.07 * build.qrs_time[k])
        centre = start + duration * (_QRS_CENTRE[k] + 0.012 * build.qrs_time[4] * (k in (1, 2)))
        waves.add(QRS, centre, sd, sd, gain * v[k], gain * chest[k])

    if state.conduction in ("rbbb", "irbbb"):
        late = np.array([-0.42, 0.0, -0.85]) + np.array([0.10, 0.12, 0.14]) * build.qrs[4]
        late = late * (1.0 if state.conduction == "rbbb" else 0.42)
        sd = 0.115 if state.conduction == "rbbb" else 0.09
        centre = 0.70 if state.conduction == "rbbb" else 0.78
        t = state.qrs_ms
        waves.add(QRS, centre * t, sd * t, sd * t * 1.1, late * gain**0.5)
    elif state.conduction == "wpw":
        # The delta wave: slow activation through muscle before the usual pathway sets in.
        delta = 0.28 * turned(np.array([1.0, 0.0, 0.2 + 0.5 * build.qrs[4, 2]]), 30.0, (0, 1))
        t = state.qrs_ms
        waves.add(QRS, 0.27 * t, 0.12 * t, 0.10 * t, delta * gain)
    # A notch is a narrow dent in the main force.
    notch = state.notching + (0.5 if state.conduction == "ivcd" else 0.0)
    if notch > 0.05:
        t = state.qrs_ms
        dent = -0.55 * notch * (0.6 * v[1] + 0.4 * v[2]) + 0.06 * notch * build.qrs[4]
        at = 0.34 + 0.34 * build.uniform[2]
        waves.add(QRS, at * t, 0.035 * t, 0.035 * t, gain * dent)
        if state.conduction == "ivcd":
            tail = 0.35 * v[2] + 0.10 * build.qrs[4]
            waves.add(QRS, 0.80 * t, 0.09 * t, 0.08 * t, gain * tail)


# What an infarct takes away: a vector towards the lost muscle (initial and middle forces), and
# the chest leads right above it.
_INFARCT_VECTOR = {
    "anteroseptal": np.array([0.15, 0.06, -0.24]),
    "anterior": np.array([0.32, 0.08, -0.28]),
    "anterolateral": np.array([0.60, -0.12, -0.24]),
    "lateral": np.array([0.72, -0.25, 0.10]),
    "inferior": np.array([-0.10, 0.90, 0.05]),
    "inferolateral": np.array([0.40, 0.80, 0.12]),
    "inferoposterior": np.array([0.0, 0.78, 0.50]),
    "posterior": np.array([0.05, 0.15, 0.62]),
}
_INFARCT_CHEST = {
    "anteroseptal": np.array([0.05, 0.25, 0.45, 0.32, 0.05, 0.0]),
    "anterior": np.array([0.0, 0.18, 0.48, 0.52, 0.20, 0.0]),
    "anterolateral": np.array([0.0, 0.10, 0.38, 0.52, 0.40, 0.20]),
    "lateral": np.array([0.0, 0.0, 0.0, 0.08, 0.22, 0.25]),
    "inferior": np.zeros(6),
    "inferolateral": np.array([0.0, 0.0, 0.0, 0.0, 0.18, 0.28]),
    "inferoposterior": np.zeros(6),
    "posterior": np.zeros(6),
}


def _add_infarct(v: F64, chest: F64, state: HeartState) -> None:
    """Take the forces of the lost muscle out of ``v`` (4, 3) and ``chest`` (4, 6), in place."""
    if not state.infarct:
        return
    lost = _INFARCT_VECTOR[state.infarct] * state.infarct_size
    near = _INFARCT_CHEST[state.infarct] * state.infarct_size
    # Of the force that is there towards the infarct, so much goes first; then a Q wave appears.
    v[0] -= 0.36 * lost
    v[1] -= 0.70 * lost
    v[2] -= 0.50 * lost
    chest[0] -= 0.5 * near
    chest[1] -= 0.8 * near
    chest[2] -= 0.8 * near


def _add_left_block(waves: WaveList, state: HeartState, build: Build, *, paced: bool) -> None:
    """Add a QRS complex of left bundle branch block, or of pacing from the right apex."""
    t = state.qrs_ms
    gain = state.voltage**0.7 * (1.0 + 0.08 * min(state.hypertrophy, 4.0)) * 0.92
    n = build.qrs
    # No septal force to the right; a small r in V1 is there in about half of them.
    first = np.array([0.10, 0.10, -0.16 + 0.14 * n[0, 2]])
    rise = np.array([0.58, 0.0, 1.00]) + np.array([0.16, 0.12, 0.30]) * n[1]
    plateau = np.array([0.85, 0.0, 1.50]) + np.array([0.20, 0.14, 0.42]) * n[2]
    late = np.array([0.55, 0.0, 0.75]) + np.array([0.16, 0.12, 0.22]) * n[3]
    axis = state.axis_deg
    if paced:
        first = np.array([0.08, -0.10, 0.0]) + 0.08 * n[0]
        rise = rise * np.array([0.85, 1.0, 0.95])
        if build.uniform[3] < 0.55:
            # From the apex the activation also runs away from V5 and V6.
            plateau[0] *= 0.25
            late[0] *= 0.10
            rise[0] *= 0.7
        up = np.tan(np.radians(-axis)) if axis > -85 else 9.0
        for vector in (rise, plateau, late):
            vector[1] -= min(0.55 * up, 1.0)
    else:
        rise = turned(rise, axis * 0.9, (0, 1))
        plateau = turned(plateau, axis, (0, 1))
        late = turned(late, axis * 1.1, (0, 1))
    swing = 10.0 * build.turn[0]
    # Whatever R progression there was, the block hides most of its loss.
    loss = np.array([0.0, 0.0, 0.10 * state.anterior_loss])
    wobble = 1.0 + 0.06 * build.qrs_time
    chest = build.qrs_chest * _CHEST_SPREAD * 1.2
    # The broad S waves reach further to the left than the dipole says.
    chest = chest - np.array([0.0, 0.0, 0.85, 0.75, 0.25, 0.0]) * gain * (0.6 + build.uniform[2])
    parts = (
        (0.14, 0.075, first, 0.4),
        (0.33, 0.085, rise + loss, 0.8),
        (0.54, 0.095, plateau + loss, 1.0),
        (0.77, 0.080, late + loss, 0.7),
    )
    for k, (share, sd, vector, near) in enumerate(parts):
        width = sd * t * wobble[k]
        waves.add(
            QRS,
            share * t,
            width,
            width,
            gain * turned(vector, swing, (0, 2)),
            gain * near * chest[k],
        )


# Direction of a T vector that points away from ischaemic muscle (negative T over it).
_AWAY = {
    "anterior": np.array([-0.12, 0.02, 0.26]),
    "lateral": np.array([-0.30, 0.04, 0.02]),
    "inferior": np.array([0.10, -0.32, 0.0]),
}
_AWAY_CHEST = {
    "anterior": np.array([0.0, -0.08, -0.14, -0.14, -0.06, 0.0]),
    "lateral": np.array([0.0, 0.0, 0.0, -0.06, -0.10, -0.08]),
    "inferior": np.zeros(6),
}
_INFARCT_AREA = {
    "anteroseptal": "anterior",
    "anterior": "anterior",
    "anterolateral": "anterior",
    "lateral": "lateral",
    "inferior": "inferior",
    "inferolateral": "inferior",
    "inferoposterior": "inferior",
    "posterior": "inferior",
}


def _add_st_t(waves: WaveList, state: HeartState, build: Build) -> None:
    """Add ST, T and U to a beat that already has its QRS complex.

    After abnormal conduction the T vector turns against the QRS vector, such that the ventricular
    gradient (the area of QRS and T together) stays about normal.
    """
    # ``early`` and ``late`` are the two Gaussians of the T wave, ``st`` that of the ST segment.
    t, qt = state.qrs_ms, state.qt_ms
    qrs_area = waves.area(QRS)
    n = build.t
    # Men have higher ST segments and T waves in front.
    men = 1.0 if state.sex == "m" else 0.72
    early = np.array([0.14, 0.050, -0.19 * men]) + np.array([0.06, 0.030, 0.10]) * n[0]
    late = np.array([0.22, 0.130, -0.035]) + np.array([0.07, 0.04, 0.07]) * n[1]
    # T waves get lower as the rate rises.
    rate = np.clip(1.0 - 0.006 * (state.heart_rate_bpm - 70.0), 0.6, 1.2)
    gain = state.t_gain * rate * state.voltage**0.4
    st = np.array([0.008, 0.006, -0.055 * men]) + np.array([0.016, 0.014, 0.025]) * build.st
    chest = 0.055 * build.t_chest * state.t_gain
    st_chest = np.zeros(6)

    # The T vector follows the QRS vector a little in its frontal direction.
    follow = float(np.clip(0.25 * (state.axis_deg - 35.0), -20.0, 20.0))
    frontal = follow + 7.0 * build.turn[1] - 0.6 * state.t_turn_deg
    horizontal = 12.0 * build.turn[2] - 0.7 * max(abs(state.t_turn_deg) - 14.0, 0.0)

    def placed(vector: F64) -> F64:
        return turned(turned(vector, frontal, (0, 1)), horizontal, (0, 2))

    early, late = gain * placed(early), gain * placed(late)
    if state.wide_secondary or state.conduction in ("rbbb", "ivcd", "wpw"):
        # The ventricular gradient: what the QRS area gains, the T area loses.
        share = 1.0 if state.wide_secondary else 0.7
        normal_area = np.array([38.0, 18.0, 16.0]) * state.voltage
        turn = (normal_area - qrs_area) * share
        late = late * (1 - 0.4 * share) + turn / 165.0
        early = early * (1 - 0.7 * share) + turn / 420.0
        st = st * 0.5 + turn / 520.0

    size = state.st_t_size
    if state.st_t == "strain":
        away = np.array([-0.46, -0.10, -0.05]) * size * (0.6 + 0.2 * min(state.hypertrophy, 4))
        late = 0.45 * late + away
        early = early * np.array([0.2, 0.5, 1.0]) + 0.3 * away
        st = st + np.array([-0.13, -0.03, -0.05]) * size
    elif state.st_t == "ischemia":
        away = _AWAY[state.st_t_area] * 1.2 * (0.4 + size)
        late = 0.5 * late + away
        early = 0.6 * early + 0.35 * away
        chest = chest + _AWAY_CHEST[state.st_t_area] * 1.6 * size
        # Subendocardial ischaemia depresses ST in the lateral leads whatever the artery.
        st = st + np.array([-0.10, -0.03, 0.03]) * size * (0.4 + build.uniform[4])
    elif state.st_t == "injury":
        toward = -_AWAY[state.st_t_area] / 0.3
        st = st + 0.22 * (0.5 + size) * toward * np.array([1.0, 1.0, 1.4])
        early = early + 0.16 * (0.5 + size) * toward
        st_chest = -_AWAY_CHEST[state.st_t_area] * 1.3 * size
    elif state.st_t == "digitalis":
        st = st + np.array([-0.15, -0.10, 0.06]) * (0.4 + 0.8 * size)
        early = early + np.array([-0.10, -0.07, 0.05]) * (0.4 + 0.8 * size)
        late = late * 0.55
    elif state.st_t == "nonspecific":
        late = late * (0.55 - 0.55 * size)
        early = early * (0.7 - 0.4 * size)
        st = st + np.array([-0.045, -0.03, 0.015]) * size
    # An old infarct inverts T over it in some people, and leaves ST raised in a few (aneurysm).
    if state.infarct:
        away = _AWAY[_INFARCT_AREA[state.infarct]] * (0.1 + 0.9 * build.uniform[5] ** 2)
        if state.infarct in ("posterior", "inferoposterior"):
            away = away + np.array([0.0, 0.0, -0.15])
        late = late + away * state.infarct_size
        chest = chest + _AWAY_CHEST[_INFARCT_AREA[state.infarct]] * build.uniform[5] ** 2
        if state.infarct in ("anteroseptal", "anterior") and build.uniform[6] < 0.25:
            st = st + np.array([0.02, 0.0, -0.10]) * state.infarct_size
    # Strain of the right ventricle: T negative in V1-V3.
    if state.rvh:
        late = late + np.array([0.05, -0.10, 0.24])

    # The T wave ends near QT: two SDs of its falling limb after its peak.
    fall = (40.0 + 5.0 * build.t_shape[0]) * (qt / 400.0) ** 0.7
    peak = qt - 2.1 * fall
    rise = np.clip((peak - t) / 2.5, 22.0, 60.0 + 8.0 * build.t_shape[1])
    before = np.clip(24.0 + 4.0 * build.t_shape[2], 16.0, 34.0) * (qt / 400.0)
    # ST sets in as slowly as the QRS complex is wide.
    j = t + 0.22 * t
    waves.add(ST_T, j, 0.16 * t, max((peak - j) / 1.8, 20.0), st, st_chest)
    waves.add(ST_T, peak - before, rise, fall, early, 0.5 * chest)
    waves.add(ST_T, peak, 0.75 * rise, fall, late, 0.7 * chest)
    # A U wave, where the next P wave or f waves would not cover it.
    if state.rhythm not in ("af", "flutter") and state.heart_rate_bpm < 95:
        waves.add(ST_T, qt + 65.0, 28.0, 32.0, 0.07 * (np.abs(late) + np.abs(early)) * (1, 1, -1))
