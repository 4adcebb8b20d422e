"""The hidden heart of a simulated patient, and how it shows in the ECG.

The ventricle reaches the ECG through one noisy number, the visible severity: every sign of a
low ejection fraction (bundle branch block, infarct pattern, flat or inverted T waves, P terminal
force, ectopy, heart rate) is drawn from it, and none from the ejection fraction itself. So the
noise of that one number bounds what any reader of the ECG can know
(`benchmarks/simulated_ceiling.py` measures the bound). Wall thickness reaches the ECG the same way,
through a visible hypertrophy.

Directions and rough sizes of the couplings follow the literature; prevalences are those of a
disease-enriched hospital sample and are choices of ours:

- LVEF: a normal ECG makes left ventricular systolic dysfunction unlikely (Davie et al., BMJ
  1996;312:222); AUROC of AI-ECG for a low LVEF is 0.85-0.93 (Attia et al., Nat Med 2019;25:70).
- LBBB in a quarter of heart failure patients (Baldasseroni et al., Am Heart J 2002;143:398), and
  a long QRS duration with a low LVEF (Kashani & Barold, J Am Coll Cardiol 2005;46:2183).
- AF in 10-30 % of heart failure patients (Maisel & Stevenson, Am J Cardiol 2003;91:2D).
- Voltage and strain with wall thickness (Hancock et al., J Am Coll Cardiol 2009;53:992; Okin et
  al., Circulation 2006;113:67).
- P terminal force with left atrial load (Morris et al., Circulation 1964;29:242).
- A wide angle between QRS and T with ventricular disease (Kardys et al., Eur Heart J
  2003;24:1357).
- Normal ranges by age and sex: Rijnbeek et al., J Electrocardiol 2014;47:914; echo limits: Lang
  et al., J Am Soc Echocardiogr 2015;28:1.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from echoing_core.simulate.heart.state import HeartState

ANTERIOR_SITES = ("anteroseptal", "anterior", "anterolateral")
INFERIOR_SITES = ("inferior", "inferolateral", "inferoposterior")
INFARCT_SITES = (*ANTERIOR_SITES, *INFERIOR_SITES, "lateral", "posterior")

SEVERITY_NOISE = 0.8
"""SD of the visible severity around the deficit of LVEF (one unit is 15 percentage points)."""

HYPERTROPHY_NOISE = 1.2
"""SD of the visible hypertrophy around the wall's excess (one unit is 2.2 mm)."""


def sample_heart_state(rng: np.random.Generator) -> HeartState:
    """Draw one heart: first the ventricle, then what of it the ECG shows.

    Parameters
    ----------
    rng : Generator

    Returns
    -------
    HeartState
    """
    sex = "m" if rng.random() < 0.53 else "f"
    age = float(np.clip(rng.normal(62.0, 16.0), 18.0, 97.0))
    lvef = _sample_lvef(rng)
    wall = _sample_wall(rng, sex, age)
    deficit = deficit_of(lvef)
    # A ventricle dilates as it fails, but not every one, and not only then.
    dilation = rng.normal(0.0, 1.0) + 2.2 * max(deficit - 0.2, 0.0) ** 0.7
    lvedd = float(np.clip((49.5 if sex == "m" else 45.5) + 4.2 * dilation, 34.0, 85.0))

    # The three noisy numbers that the ECG sees in the place of LVEF, wall and diameter.
    severity = deficit + SEVERITY_NOISE * rng.normal()
    seen = max(severity, 0.0)
    hypertrophy = max(
        0.0, (wall - (10.0 if sex == "m" else 9.3)) / 2.2 + HYPERTROPHY_NOISE * rng.normal()
    )
    dilated_seen = max(0.0, (lvedd - (52.0 if sex == "m" else 48.0)) / 6.0 + 0.6 * rng.normal())

    rhythm, paced_atrium, rate = _sample_rhythm(rng, age, seen)
    conduction, fascicle = _sample_conduction(rng, age, severity, seen, rhythm)
    infarct, infarct_size = _sample_infarct(rng, age, sex, severity, conduction, rhythm)
    qrs = _sample_qrs_ms(rng, sex, conduction, rhythm, seen, dilated_seen)
    st_t, area, st_t_size = _sample_st_t(
        rng, severity, hypertrophy, rhythm, conduction, infarct, age
    )
    axis = _sample_axis(rng, age, fascicle, conduction, rhythm)
    # The right ventricle's hypertrophy has nothing to do with the left one's state.
    rvh = conduction == "normal" and rhythm != "paced" and rng.random() < 0.012
    if rvh:
        axis = float(rng.uniform(95.0, 140.0))

    # Bundle branch block and pacing prolong the QT by about half of what they add to the QRS.
    qtc = (408.0 if sex == "m" else 418.0) + 15.0 * rng.normal() + 0.15 * (age - 60) + 5.0 * seen
    if rng.random() < 0.025 + 0.03 * _sigmoid(2 * (severity - 1.2)):
        qtc += rng.uniform(55.0, 110.0)
    # Digitalis shortens the QT.
    qtc -= 25.0 if st_t == "digitalis" else 0.0
    qt = qtc * (60.0 / rate) ** (1 / 3) + 0.5 * (qrs - 92.0)

    pr = float(
        np.clip(152.0 + 0.25 * (age - 55) - 0.15 * (rate - 70) + 18.0 * rng.normal(), 112, 198)
    )
    if rng.random() < 0.05 + 0.05 * (age > 70) + 0.07 * _sigmoid(2 * (severity - 1.0)):
        pr = float(rng.uniform(206.0, 300.0))
    if conduction == "wpw":
        pr = float(rng.uniform(85.0, 115.0))
    # The PQ-U of a fast rhythm has no room for a long PR.
    pr = min(pr, 0.42 * 60_000.0 / rate)

    # Left atrial load follows the ventricle's stiffness and failure.
    p_terminal = float(np.exp(0.25 * rng.normal() + 0.32 * seen + 0.10 * hypertrophy - 0.08))
    bigeminy = rhythm in ("sinus", "af") and rate < 105 and rng.random() < 0.006 + 0.006 * seen
    return HeartState(
        age_years=round(age, 1),
        sex=sex,
        lvef_pct=lvef,
        wall_mm=wall,
        lvedd_mm=round(lvedd, 1),
        rhythm=rhythm,
        paced_atrium=paced_atrium,
        heart_rate_bpm=rate,
        hrv=_sample_hrv(rng, rhythm, age, seen),
        conduction=conduction,
        fascicle=fascicle,
        pr_ms=pr,
        qrs_ms=qrs,
        qt_ms=float(qt),
        axis_deg=axis,
        infarct=infarct,
        infarct_size=infarct_size,
        st_t=st_t,
        st_t_area=area,
        st_t_size=st_t_size,
        t_gain=float(np.exp(0.20 * rng.normal() - 0.36 * seen)),
        t_turn_deg=float(12.0 * rng.normal() + rng.choice((-1.0, 1.0, 1.0)) * 34.0 * seen**1.2),
        voltage=_sample_voltage(rng, sex, age),
        anterior_loss=float(np.clip(0.12 * rng.normal() + 0.40 * seen, 0.0, 1.1)),
        hypertrophy=float(hypertrophy + 0.25 * dilated_seen),
        rvh=rvh,
        lae=rhythm == "sinus" and p_terminal > 1.75,
        rae=rhythm == "sinus" and rng.random() < (0.25 if rvh else 0.012),
        p_terminal=p_terminal,
        notching=float(np.clip(rng.exponential(0.10) + 0.16 * seen * rng.random(), 0.0, 1.0)),
        pvc_per_min=_sample_pvc(rng, rhythm, age, severity),
        pac_per_min=_sample_pac(rng, rhythm, age, seen),
        bigeminy=bigeminy,
    )


def drift(state: HeartState, rng: np.random.Generator) -> HeartState:
    """Return the same heart some weeks later: rate, intervals and T waves move a little.

    Rhythm, conduction and infarcts stay, so that a patient's labels stay one patient's.

    Parameters
    ----------
    state : HeartState
    rng : Generator
    """
    rate = float(np.clip(state.heart_rate_bpm * np.exp(0.07 * rng.normal()), 34.0, 185.0))
    if state.rhythm == "sinus":
        # Stay in the same rhythm name: brady-, normo- or tachycardia.
        low, high = _rate_band(state.heart_rate_bpm)
        rate = float(np.clip(rate, low, high))
    # A machine or a circuit sets these rates.
    if state.rhythm in ("flutter", "paced", "svt"):
        rate = state.heart_rate_bpm
    # First-degree AV block stays, and does not come.
    long_pr = state.pr_ms > 200.0
    pr = state.pr_ms + 5.0 * rng.normal()
    pr = min(max(pr, 203.0), 0.42 * 60_000.0 / rate) if long_pr else min(pr, 198.0)
    qt = state.qt_ms * (state.heart_rate_bpm / rate) ** (1 / 3) + 5.0 * rng.normal()
    return replace(
        state,
        lvef_pct=round(float(np.clip(state.lvef_pct + 1.5 * rng.normal(), 8.0, 80.0)), 1),
        heart_rate_bpm=rate,
        pr_ms=pr,
        qrs_ms=state.qrs_ms + 1.5 * rng.normal(),
        qt_ms=qt,
        axis_deg=state.axis_deg + 4.0 * rng.normal(),
        t_gain=state.t_gain * float(np.exp(0.08 * rng.normal())),
        voltage=state.voltage * float(np.exp(0.05 * rng.normal())),
        p_terminal=state.p_terminal * float(np.exp(0.04 * rng.normal())),
        hrv=state.hrv * float(np.exp(0.15 * rng.normal())),
    )


def deficit_of(lvef_pct: float) -> float:
    """How far an ejection fraction is below 53 %, in units of 15 points.

    Parameters
    ----------
    lvef_pct : float
        In percent.

    Returns
    -------
    float
        From -0.8 (LVEF of 65 % and more) to 2.6 (14 % and less).
    """
    return min(max((53.0 - lvef_pct) / 15.0, -0.8), 2.6)


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def _rate_band(rate_bpm: float) -> tuple[float, float]:
    """Rates of sinus brady-, normo- or tachycardia, away from the limits at 60 and 100."""
    if rate_bpm < 60.0:
        return 36.0, 59.4
    return (60.6, 99.4) if rate_bpm <= 100.0 else (100.6, 150.0)


def _sample_lvef(rng: np.random.Generator) -> float:
    # 70 % normal, 10 % mildly reduced, 20 % clearly reduced.
    u = rng.random()
    if u < 0.70:
        lvef = rng.normal(60.5, 5.0)
    elif u < 0.80:
        lvef = rng.normal(47.0, 4.5)
    else:
        lvef = rng.normal(29.5, 6.5)
    return round(float(np.clip(lvef, 10.0, 78.0)), 1)


def _sample_wall(rng: np.random.Generator, sex: str, age: float) -> float:
    # A quarter is thickened, about half of these severely.
    wall = (9.9 if sex == "m" else 9.2) + 0.012 * (age - 60) + 1.1 * rng.normal()
    u = rng.random()
    if u < 0.12:
        wall = rng.normal(16.3, 1.7)
    elif u < 0.25:
        wall = rng.normal(12.3, 1.1)
    return round(float(np.clip(wall, 6.0, 26.0)), 1)


def _sample_rhythm(rng: np.random.Generator, age: float, seen: float) -> tuple[str, str, float]:
    # One draw goes through the rhythms in turn, so that their shares add up.
    old = max(age - 50.0, 0.0) / 40.0
    p_af = 0.015 + 0.13 * old + 0.045 * min(seen, 2.0)
    p_paced = 0.008 + 0.02 * old + 0.012 * min(seen, 2.0)
    u = rng.random()
    if u < p_af:
        return "af", "", float(np.clip(rng.normal(88.0 + 4 * seen, 20.0), 42.0, 165.0))
    u -= p_af
    if u < p_paced:
        return (
            "paced",
            "af" if rng.random() < 0.4 else "sinus",
            float(np.clip(rng.normal(71.0, 8.0), 58.0, 105.0)),
        )
    u -= p_paced
    if u < 0.018:
        # The atria beat near 300/min; the ventricles follow every second to fourth beat.
        return "flutter", "", float(rng.uniform(255.0, 330.0) / rng.choice((2.0, 2.0, 3.0, 4.0)))
    u -= 0.018
    if u < 0.008:
        return "svt", "", float(rng.uniform(150.0, 200.0))
    rate = float(np.clip(rng.normal(69.0 + 7.0 * seen, 11.5), 38.0, 125.0))
    if rng.random() < 0.05 + 0.03 * min(seen, 2.0):
        rate = float(rng.uniform(101.0, 140.0))
    return "sinus", "", rate


def _sample_conduction(
    rng: np.random.Generator, age: float, severity: float, seen: float, rhythm: str
) -> tuple[str, str]:
    old = max(age - 50.0, 0.0) / 40.0
    visible = _sigmoid(2.5 * (severity - 1.2))
    odds = (
        ("lbbb", 0.010 + 0.31 * visible),
        ("rbbb", 0.035 + 0.06 * old + 0.03 * visible),
        ("ivcd", 0.010 + 0.11 * visible),
        ("irbbb", 0.03),
        ("wpw", 0.007 if rhythm == "sinus" else 0.0),
    )
    conduction = "normal"
    u = rng.random()
    for name, share in odds:
        if u < share:
            conduction = name
            break
        u -= share
    # With a left block no fascicle is left to be blocked; with a right one it often is.
    fascicle = ""
    if conduction in ("normal", "rbbb", "irbbb"):
        v = rng.random()
        if v < 0.03 + 0.05 * old + 0.04 * min(seen, 2.0) + 0.08 * (conduction == "rbbb"):
            fascicle = "lafb"
        elif v > 0.993:
            fascicle = "lpfb"
    return conduction, fascicle


def _sample_infarct(
    rng: np.random.Generator, age: float, sex: str, severity: float, conduction: str, rhythm: str
) -> tuple[str, float]:
    visible = _sigmoid(2.2 * (severity - 1.0))
    share = 0.03 + 0.03 * (sex == "m") + 0.03 * (age > 60) + 0.42 * visible
    # All is drawn whether or not there is an infarct: the streams stay in step.
    hit = rng.random() < share
    anterior = rng.random() < 0.30 + 0.40 * visible
    site = str(rng.choice(ANTERIOR_SITES if anterior else INFERIOR_SITES))
    u = rng.random()
    if u < 0.07:
        site = "lateral"
    elif u < 0.11:
        site = "posterior"
    size = float(np.clip(0.45 + 0.2 * min(max(severity, 0), 2) + 0.2 * rng.normal(), 0.35, 1.0))
    # Left bundle branch block, pacing and pre-excitation hide an old infarct.
    if not hit or conduction in ("lbbb", "wpw") or rhythm == "paced":
        return "", 0.0
    return site, size


def _sample_qrs_ms(
    rng: np.random.Generator,
    sex: str,
    conduction: str,
    rhythm: str,
    seen: float,
    dilated_seen: float,
) -> float:
    if rhythm == "paced":
        return float(np.clip(rng.normal(160.0, 13.0), 132.0, 200.0))
    if conduction == "lbbb":
        return float(np.clip(rng.normal(142.0 + 3 * dilated_seen, 11.0), 124.0, 190.0))
    if conduction == "rbbb":
        return float(np.clip(rng.normal(138.0, 11.0), 122.0, 175.0))
    if conduction == "ivcd":
        return float(np.clip(rng.normal(122.0 + 4 * dilated_seen, 7.0), 112.0, 155.0))
    if conduction == "irbbb":
        return float(rng.uniform(100.0, 117.0))
    if conduction == "wpw":
        return float(rng.uniform(112.0, 150.0))
    # Under 118 ms: wider is a conduction defect, which has a name of its own.
    base = (92.0 if sex == "m" else 86.0) + 7.0 * seen + 2.5 * dilated_seen + 6.0 * rng.normal()
    return float(np.clip(base, 68.0, 117.0))


def _sample_st_t(
    rng: np.random.Generator,
    severity: float,
    hypertrophy: float,
    rhythm: str,
    conduction: str,
    infarct: str,
    age: float,
) -> tuple[str, str, float]:
    size = float(np.clip(0.55 + 0.22 * rng.normal(), 0.2, 1.0))
    u, v = rng.random(), rng.random()
    area = str(rng.choice(("anterior", "lateral", "lateral", "inferior")))
    # Abnormal conduction hides what repolarisation would show.
    if conduction in ("lbbb", "wpw") or rhythm == "paced":
        return "", "", 0.0
    if v < 0.75 * _sigmoid(2.5 * (hypertrophy - 2.7)):
        return "strain", "", size
    visible = _sigmoid(2.2 * (severity - 0.9))
    odds = (
        ("ischemia", 0.02 + 0.20 * visible + 0.10 * bool(infarct)),
        ("injury", 0.012 + 0.02 * bool(infarct)),
        ("digitalis", 0.008 + 0.10 * (rhythm == "af") + 0.03 * visible),
        ("nonspecific", 0.045 + 0.04 * (age > 65) + 0.16 * visible),
    )
    for name, share in odds:
        if u < share:
            return name, area if name in ("ischemia", "injury") else "", size
        u -= share
    return "", "", 0.0


def _sample_axis(
    rng: np.random.Generator, age: float, fascicle: str, conduction: str, rhythm: str
) -> float:
    if rhythm == "paced":
        return float(rng.uniform(-88.0, -55.0))
    if fascicle == "lafb":
        return float(rng.uniform(-75.0, -46.0))
    if fascicle == "lpfb":
        return float(rng.uniform(98.0, 125.0))
    if conduction == "lbbb":
        return float(np.clip(rng.normal(-12.0, 24.0), -58.0, 65.0))
    # The axis turns to the left with age, about 40 degrees in a lifetime.
    return float(np.clip(rng.normal(42.0 - 0.5 * (age - 50.0), 20.0), -42.0, 100.0))


def _sample_voltage(rng: np.random.Generator, sex: str, age: float) -> float:
    voltage = 1.08 * np.exp(0.25 * rng.normal()) * (1.05 if sex == "m" else 0.95)
    voltage *= 1.0 - 0.003 * (age - 60.0)
    # Effusion, obesity, emphysema: low voltage.
    if rng.random() < 0.03:
        voltage *= rng.uniform(0.35, 0.6)
    return float(voltage)


def _sample_hrv(rng: np.random.Generator, rhythm: str, age: float, seen: float) -> float:
    if rhythm == "af":
        return float(rng.uniform(0.15, 0.28))
    if rhythm in ("paced", "svt", "flutter"):
        return 0.004
    young = max(60.0 - age, 0.0) / 40.0
    # Log-normal about 2 %; falls with age and disease.
    usual = float(np.exp(rng.normal(np.log(0.022), 0.5)) * (1.0 + 0.8 * young) / (1 + 0.4 * seen))
    # Sinus arrhythmia.
    if rng.random() < 0.03 + 0.06 * young:
        usual = float(rng.uniform(0.08, 0.15))
    return min(usual, 0.15)


def _sample_pvc(rng: np.random.Generator, rhythm: str, age: float, severity: float) -> float:
    if rhythm in ("svt", "flutter"):
        return 0.0
    share = 0.03 + 0.04 * (age > 65) + 0.28 * _sigmoid(2.0 * (severity - 1.0))
    return float(rng.uniform(5.0, 18.0)) if rng.random() < share else 0.0


def _sample_pac(rng: np.random.Generator, rhythm: str, age: float, seen: float) -> float:
    if rhythm != "sinus":
        return 0.0
    share = 0.015 + 0.04 * (age > 65) + 0.015 * min(seen, 2.0)
    return float(rng.uniform(5.0, 15.0)) if rng.random() < share else 0.0
