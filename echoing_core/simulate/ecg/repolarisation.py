"""ST segment, T and U waves of a conducted beat.

Normal vectors as in `simulate/beats.py`; changes follow Rautaharju et al. (J Am Coll Cardiol
2009;53:982). After abnormal conduction the T vector turns against the QRS vector, such that the
ventricular gradient (the area of QRS and T together) stays about normal.
"""

from __future__ import annotations

import numpy as np

from echoing_core.simulate.ecg.waves import F64, QRS, ST_T, Build, WaveList, turned
from echoing_core.simulate.heart.state import HeartState

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


def add_st_t(waves: WaveList, state: HeartState, build: Build) -> None:
    """Add ST, T and U to a beat that already has its QRS complex."""
    t, qt = state.qrs_ms, state.qt_ms
    qrs_area = waves.area(QRS)
    n = build.t
    men = 1.0 if state.sex == "m" else 0.72
    early = np.array([0.14, 0.050, -0.19 * men]) + np.array([0.06, 0.030, 0.10]) * n[0]
    late = np.array([0.22, 0.130, -0.035]) + np.array([0.07, 0.04, 0.07]) * n[1]
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
    if state.infarct:
        away = _AWAY[_INFARCT_AREA[state.infarct]] * (0.1 + 0.9 * build.uniform[5] ** 2)
        if state.infarct in ("posterior", "inferoposterior"):
            away = away + np.array([0.0, 0.0, -0.15])
        late = late + away * state.infarct_size
        chest = chest + _AWAY_CHEST[_INFARCT_AREA[state.infarct]] * build.uniform[5] ** 2
        if state.infarct in ("anteroseptal", "anterior") and build.uniform[6] < 0.25:
            st = st + np.array([0.02, 0.0, -0.10]) * state.infarct_size
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
    if state.rhythm not in ("af", "flutter") and state.heart_rate_bpm < 95:
        waves.add(ST_T, qt + 65.0, 28.0, 32.0, 0.07 * (np.abs(late) + np.abs(early)) * (1, 1, -1))
