"""What a careful reader would find in a simulated ECG, and the truth about its heart.

Conduction, infarct and rhythm are known from the state. Voltages, axis, ST levels and T waves
are measured on one clean conducted beat, so that a finding is reported because it is visible.
Criteria: low voltage, Sokolow-Lyon and Cornell (Hancock et al., J Am Coll Cardiol 2009;53:992);
axis limits -30 and +90 degrees (Surawicz et al. 2009;53:976); ST and T (Rautaharju et al.
2009;53:982; Thygesen et al., Circulation 2018;138:e618).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS
from echoing_core.reports.vocabulary import (
    DLV_LVEDD_MM,
    SLVH_WALL_MM,
    lvef_grade,
    superclasses_of,
)
from echoing_core.simulate.ecg.beats import conducted_beat
from echoing_core.simulate.ecg.heart_vector import Torso, twelve_leads
from echoing_core.simulate.ecg.waves import QRS, ST_T, Build, Waves
from echoing_core.simulate.heart.rhythm import PAC, PVC
from echoing_core.simulate.heart.state import HeartState

F64 = npt.NDArray[np.float64]

# Leads that look at neighbouring muscle: a change counts in two of them.
_ROW = {lead: i for i, lead in enumerate(LEADS)}
_NEIGHBOURS = ("I", "aVL"), ("II", "III"), ("III", "aVF"), ("II", "aVF")
_CHEST = LEADS[6:]
_PAIRS = (*_NEIGHBOURS, *itertools.pairwise(_CHEST), ("V6", "I"))

# Findings of infarcts and injuries, by their site.
_SITES = {
    "anteroseptal": "mi_anteroseptal",
    "anterior": "mi_anterior",
    "anterolateral": "mi_anterolateral",
    "lateral": "mi_lateral",
    "inferior": "mi_inferior",
    "inferolateral": "mi_inferolateral",
    "inferoposterior": "mi_inferoposterior",
    "posterior": "mi_posterior",
}
_INJURY = {"anterior": "anteroseptal", "lateral": "lateral", "inferior": "inferior"}


@dataclass(frozen=True)
class BeatMeasures:
    """Measurements on one clean conducted beat.

    Attributes
    ----------
    r_mv, s_mv : ndarray, shape (12,)
        Highest and lowest QRS values, leads in the order of `LEADS`.
    st_mv : ndarray, shape (12,)
        Level 60 ms after the J point.
    t_mv : ndarray, shape (12,)
        Largest value of the T wave by size, with its sign.
    axis_deg : float
        Frontal axis of the net QRS area.
    """

    r_mv: F64
    s_mv: F64
    st_mv: F64
    t_mv: F64
    axis_deg: float

    def any_pair(self, holds: npt.NDArray[np.bool_]) -> bool:
        """Whether something holds in two neighbouring leads.

        Parameters
        ----------
        holds : ndarray, shape (12,), bool
            In the order of `LEADS`.
        """
        return any(holds[_ROW[a]] and holds[_ROW[b]] for a, b in _PAIRS)


def measure_beat(state: HeartState, build: Build, torso: Torso) -> BeatMeasures:
    """Draw one clean conducted beat and measure it.

    Parameters
    ----------
    state : HeartState
    build : Build
    torso : Torso

    Returns
    -------
    BeatMeasures
    """
    # Sampled every 4 ms (250 Hz), from QRS onset to behind the T wave.
    waves = conducted_beat(state, build)
    t = np.arange(-10.0, state.qt_ms + 120.0, 4.0)
    qrs = _leads(waves, QRS, t, torso)
    rest = _leads(waves, ST_T, t, torso)
    inside = (t >= 0) & (t <= state.qrs_ms)
    j60 = int(np.searchsorted(t, state.qrs_ms + 60.0))
    late = t > state.qrs_ms + 80.0
    t_wave = rest[:, late]
    t_mv = t_wave[np.arange(12), np.abs(t_wave).argmax(axis=1)]
    area = qrs[:, inside].sum(axis=1)
    # aVF is 1.15 times weaker than I's scale in the frontal plane.
    axis = np.degrees(np.arctan2(1.1547 * area[_ROW["aVF"]], area[_ROW["I"]]))
    both = qrs + rest
    return BeatMeasures(
        r_mv=both[:, inside].max(axis=1),
        s_mv=both[:, inside].min(axis=1),
        st_mv=both[:, j60],
        t_mv=t_mv,
        axis_deg=float(axis),
    )


def find_in_ecg(
    state: HeartState, measures: BeatMeasures, beat_kinds: npt.NDArray[np.int8]
) -> tuple[str, ...]:
    """Return the findings that the ECG shows.

    Parameters
    ----------
    state : HeartState
    measures : BeatMeasures
        Of a clean beat of that heart.
    beat_kinds : ndarray, shape (n_beats,)
        Kinds of the beats inside the recording.

    Returns
    -------
    tuple of str
        Keys of `reports.vocabulary.FINDINGS`; the last is "normal_ecg" or "abnormal_ecg".
    """
    findings = [*_rhythm(state), *_ectopy(state, beat_kinds), *_conduction(state)]
    if state.infarct:
        findings.append(_SITES[state.infarct])
    findings += _repolarisation(state, measures)
    findings += _chambers(state, measures)
    # A fascicular block or pacing says by itself where the axis is.
    if measures.axis_deg < -30.0 and state.fascicle != "lafb" and state.rhythm != "paced":
        findings.append("left_axis")
    elif measures.axis_deg > 100.0 and state.fascicle != "lpfb" and state.rhythm != "paced":
        findings.append("right_axis")
    if state.notching > 0.55 and state.conduction == "normal" and not state.wide_secondary:
        findings.append("abnormal_qrs")
    harmless = {"sinus_rhythm", "sinus_bradycardia", "sinus_arrhythmia"}
    findings.append("normal_ecg" if set(findings) <= harmless else "abnormal_ecg")
    return tuple(findings)


def find_in_echo(state: HeartState) -> tuple[str, ...]:
    """Return what an echocardiogram of this heart shows.

    Parameters
    ----------
    state : HeartState

    Returns
    -------
    tuple of str
        Keys of `reports.vocabulary.FINDINGS`.
    """
    findings = [lvef_grade(state.lvef_pct)]
    # Walls between 11 and 15 mm are neither normal nor severely thick: nothing is said of them.
    if state.wall_mm >= SLVH_WALL_MM:
        findings.append("wall_severely_thick")
    elif state.wall_mm < 11.0:
        findings.append("wall_thickness_normal")
    dilated = state.lvedd_mm > DLV_LVEDD_MM[state.sex]
    findings.append("lv_dilated" if dilated else "lv_size_normal")
    return tuple(findings)


def true_labels(state: HeartState, findings: tuple[str, ...]) -> dict[str, float | bool | str]:
    """Return the truth about one ECG: its heart, and what its clean trace shows.

    Parameters
    ----------
    state : HeartState
    findings : tuple of str
        As `find_in_ecg` gives them.

    Returns
    -------
    dict of str to float, bool or str
        Columns ``label_*`` of a cohort's table; the five superclasses are those of PTB-XL.
    """
    shown = set(findings)
    classes = superclasses_of(findings)
    slvh = state.wall_mm >= SLVH_WALL_MM
    dlv = state.lvedd_mm > DLV_LVEDD_MM[state.sex]
    labels: dict[str, float | bool | str] = {
        "age_years": state.age_years,
        "sex": state.sex,
        "lvef_pct": state.lvef_pct,
        "wall_mm": state.wall_mm,
        "lvedd_mm": state.lvedd_mm,
        "lvef_lt40": state.lvef_pct < 40.0,
        "slvh": slvh,
        "dlv": dlv,
        "slvh_or_dlv": slvh or dlv,
        "rhythm": state.rhythm,
        "heart_rate_bpm": round(state.heart_rate_bpm, 1),
        "qrs_ms": round(state.qrs_ms, 1),
        "af": "atrial_fibrillation" in shown,
        "flutter": "atrial_flutter" in shown,
        "paced": state.rhythm == "paced",
        "lbbb": "lbbb" in shown,
        "rbbb": "rbbb" in shown,
        "lafb": "lafb" in shown,
        "av_block_1": "av_block_1" in shown,
        "mi": bool(state.infarct),
        "pvc": "pvc" in shown,
        "pac": "pac" in shown,
        "lvh": "lvh" in shown,
    }
    labels.update({name: name in classes for name in ("NORM", "MI", "STTC", "CD", "HYP")})
    return labels


def _leads(waves: Waves, group: int, t_ms: F64, torso: Torso) -> F64:
    keep = waves.group == group
    z = t_ms - waves.centre_ms[keep, None]
    z = z / np.where(z < 0, waves.rise_ms[keep, None], waves.fall_ms[keep, None])
    shape = np.exp(-0.5 * z**2)
    eight = torso.matrix @ (waves.vector_mv[keep].T @ shape)
    eight[2:] += torso.near * (waves.chest_mv[keep].T @ shape)
    return twelve_leads(eight).astype(np.float64)


def _rhythm(state: HeartState) -> list[str]:
    if state.rhythm != "sinus":
        name = {
            "af": "atrial_fibrillation",
            "flutter": "atrial_flutter",
            "svt": "svt",
            "paced": "paced_rhythm",
        }[state.rhythm]
        return [name]
    if state.heart_rate_bpm > 100.0:
        return ["sinus_tachycardia"]
    if state.heart_rate_bpm < 60.0:
        return ["sinus_bradycardia"]
    return ["sinus_arrhythmia"] if state.hrv > 0.075 else ["sinus_rhythm"]


def _ectopy(state: HeartState, beat_kinds: npt.NDArray[np.int8]) -> list[str]:
    findings = []
    if (beat_kinds == PVC).any():
        findings.append("pvc")
        if state.bigeminy:
            findings.append("bigeminy")
    if (beat_kinds == PAC).any():
        findings.append("pac")
    return findings


def _conduction(state: HeartState) -> list[str]:
    if state.rhythm == "paced":
        return []
    findings = [] if state.conduction == "normal" else [state.conduction]
    if state.fascicle:
        findings.append(state.fascicle)
    if state.rhythm == "sinus" and state.pr_ms > 200.0:
        findings.append("av_block_1")
    return findings


def _repolarisation(state: HeartState, measures: BeatMeasures) -> list[str]:
    # After abnormal conduction nobody reads ST and T.
    if state.wide_secondary or state.conduction == "wpw":
        return []
    findings = []
    if state.st_t == "ischemia":
        findings.append(f"ischemia_{state.st_t_area}")
    elif state.st_t == "injury":
        findings.append(f"injury_{_INJURY[state.st_t_area]}")
    elif state.st_t == "digitalis":
        findings.append("digitalis_effect")
    usually_up = np.array([lead not in ("III", "aVR", "aVL", "V1", "V2") for lead in LEADS])
    # ST more than 0.1 mV below, T inverted or under a twenty-fifth of R.
    depressed = measures.any_pair((measures.st_mv < -0.10) & usually_up)
    # Up to 0.25 mV are normal in V2 and V3 of men.
    limit = np.array([0.28 if lead in ("V2", "V3", "V4") else 0.13 for lead in LEADS])
    raised = measures.any_pair((measures.st_mv > limit) & (np.array(LEADS) != "aVR"))
    tall = np.maximum(measures.r_mv, 0.3)
    inverted = measures.any_pair((measures.t_mv < -0.10) & usually_up)
    flat = measures.any_pair((np.abs(measures.t_mv) < 0.04 * tall + 0.015) & usually_up)
    if depressed and state.st_t != "digitalis":
        findings.append("st_depression")
    if raised:
        findings.append("st_elevation")
    if inverted and state.conduction != "rbbb":
        findings.append("t_inversion")
    elif flat:
        findings.append("t_flat")
    if state.st_t == "nonspecific":
        findings += ["nonspecific_st"] * (not depressed) + ["nonspecific_t"] * (not inverted)
    # A wide QRS lengthens the QT by itself.
    if state.qtc_ms - 0.5 * max(state.qrs_ms - 110.0, 0.0) > 475.0 and state.rhythm == "sinus":
        findings.append("long_qt")
    return findings


def _chambers(state: HeartState, measures: BeatMeasures) -> list[str]:
    findings = []
    r, s = measures.r_mv, measures.s_mv
    # Sokolow-Lyon and Cornell voltage; conduction defects change both.
    if not state.wide_secondary and state.conduction not in ("wpw", "rbbb"):
        sokolow = -s[_ROW["V1"]] + max(r[_ROW["V5"]], r[_ROW["V6"]])
        cornell = r[_ROW["aVL"]] - s[_ROW["V3"]]
        high = sokolow >= 3.5 or cornell >= (2.8 if state.sex == "m" else 2.0)
        young = state.age_years < 40.0
        if high and (state.hypertrophy > 2.2 or state.st_t == "strain"):
            findings.append("lvh")
        elif high and (sokolow >= 4.2 or cornell >= 3.2) and not young:
            findings.append("lvh_voltage")
        elif state.st_t == "strain":
            findings.append("lvh")
    if state.rvh:
        findings.append("rvh")
    findings += ["lae"] * state.lae + ["rae"] * state.rae
    # Under 0.5 mV from peak to peak in all limb leads.
    if (r - s)[:6].max() < 0.5:
        findings.append("low_voltage")
    return findings
