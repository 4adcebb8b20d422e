"""The findings a report is composed of, their limits, and how each is worded.

For each finding: one fixed phrase as a cart prints it, and several as people write it.
`composing` makes sentences of them. Every phrase is a noun phrase in lower case, so that it can
stand alone, follow "no", "possible" or "ecg shows", and be joined to others. The five diagnostic
superclasses are those of PTB-XL (Wagner et al. 2020); their own words ("conduction disturbance",
"hypertrophy"...) stand in some phrases, so that a text model meets them beside the particular
finding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Phrases for one finding.

    Attributes
    ----------
    machine : str
        The phrase of a cart's printout.
    free : tuple of str
        Phrases that people use; the first is the plainest.
    group : str
        ``"rhythm"``, ``"beats"``, ``"ecg"``, ``"axis"``, ``"summary"`` or ``"echo"``.
    superclass : str or None
        ``"NORM"``, ``"MI"``, ``"STTC"``, ``"CD"`` or ``"HYP"``, as PTB-XL classes the finding.
    """

    machine: str
    free: tuple[str, ...]
    group: str
    superclass: str | None = None


def _w(group: str, superclass: str | None, machine: str, *others: str) -> Wording:
    return Wording(machine, (machine, *others), group, superclass)


# Three forms of each site: as an adjective, as a place ("old inferior wall infarction"), spelt out.
_SITES = {
    "anteroseptal": ("anteroseptal", "antero-septal", "anterior and septal"),
    "anterior": ("anterior", "anterior wall", "anterior"),
    "anterolateral": ("anterolateral", "antero-lateral", "anterior and lateral"),
    "lateral": ("lateral", "lateral wall", "lateral"),
    "inferior": ("inferior", "inferior wall", "inferior"),
    "inferolateral": ("inferolateral", "infero-lateral", "inferior and lateral"),
    "inferoposterior": ("inferoposterior", "infero-posterior", "inferior and posterior"),
    "inferoposterolateral": (
        "inferoposterolateral",
        "infero-postero-lateral",
        "inferior, posterior and lateral",
    ),
    "posterior": ("posterior", "posterior wall", "posterior"),
}


def _infarct(site: str) -> Wording:
    a, b, c = _SITES[site]
    return _w(
        "ecg",
        "MI",
        f"{a} myocardial infarction",
        f"{a} mi",
        f"{a} infarct",
        f"old {b} myocardial infarction",
        f"{c} myocardial infarct, age undetermined",
        f"myocardial infarction in the {c} leads",
        f"q waves consistent with {b} infarction",
        f"prior {b} mi",
    )


def _ischemia(site: str) -> Wording:
    a, b, c = _SITES[site]
    return _w(
        "ecg",
        "STTC",
        f"{a} ischemia",
        f"ischemic st-t changes in the {c} leads",
        f"st-t changes consistent with {b} ischemia",
        f"{a} ischaemia",
        f"st and t wave changes suggesting {a} ischemia",
    )


def _injury(site: str) -> Wording:
    # PTB-XL counts subendocardial injury as myocardial infarction.
    a, _, c = _SITES[site]
    return _w(
        "ecg",
        "MI",
        f"{a} subendocardial injury",
        f"subendocardial injury in the {c} leads",
        f"acute {a} injury, myocardial infarction pattern",
        f"{a} injury current",
        f"{a} myocardial injury",
    )


def _rhythm(machine: str, *others: str) -> Wording:
    return _w("rhythm", None, machine, *others)


def _ecg(superclass: str | None, machine: str, *others: str) -> Wording:
    return _w("ecg", superclass, machine, *others)


def _echo(machine: str, *others: str) -> Wording:
    return _w("echo", None, machine, *others)


# The order is the order of a machine report: rhythm, ectopy, conduction, infarction, ST-T,
# chambers, axis, conclusion, echo.
WORDING: dict[str, Wording] = {
    "sinus_rhythm": _rhythm(
        "sinus rhythm",
        "normal sinus rhythm",
        "nsr",
        "regular sinus rhythm",
        "rhythm is sinus",
        "sr",
    ),
    "sinus_bradycardia": _rhythm(
        "sinus bradycardia",
        "sinus brady",
        "slow sinus rhythm",
        "bradycardic sinus rhythm",
        "sinus rhythm with bradycardia",
    ),
    "sinus_tachycardia": _rhythm(
        "sinus tachycardia",
        "sinus tach",
        "fast sinus rhythm",
        "tachycardic sinus rhythm",
        "sinus rhythm with tachycardia",
    ),
    "sinus_arrhythmia": _rhythm(
        "sinus arrhythmia",
        "respiratory sinus arrhythmia",
        "sinus rhythm with sinus arrhythmia",
        "irregular sinus rhythm",
        "slightly irregular sinus rhythm",
    ),
    "atrial_fibrillation": _rhythm(
        "atrial fibrillation",
        "af",
        "afib",
        "a fib",
        "atrial fibrillation with irregular ventricular response",
        "atrial fibrillation, absent p waves",
        "irregularly irregular rhythm, atrial fibrillation",
        "rhythm is atrial fibrillation",
    ),
    "atrial_flutter": _rhythm(
        "atrial flutter",
        "aflutter",
        "flutter waves, atrial flutter",
        "atrial flutter with variable block",
        "typical atrial flutter",
        "rhythm is atrial flutter",
    ),
    "paced_rhythm": _rhythm(
        "electronic ventricular pacemaker",
        "paced rhythm",
        "ventricular paced rhythm",
        "pacemaker rhythm",
        "v-paced",
        "artificial pacemaker with capture",
        "pacing spikes, paced rhythm",
    ),
    "svt": _rhythm(
        "supraventricular tachycardia",
        "svt",
        "narrow complex tachycardia, supraventricular",
        "supraventricular tachyarrhythmia",
        "rapid supraventricular rhythm",
    ),
    "psvt": _rhythm(
        "paroxysmal supraventricular tachycardia",
        "psvt",
        "paroxysmal svt",
        "paroxysm of supraventricular tachycardia",
    ),
    "sv_arrhythmia": _rhythm(
        "supraventricular arrhythmia",
        "sv arrhythmia",
        "atrial arrhythmia",
        "irregular supraventricular rhythm",
    ),
    "pvc": _w(
        "beats",
        None,
        "ventricular premature complexes",
        "pvcs",
        "premature ventricular contractions",
        "ventricular extrasystoles",
        "ventricular ectopy",
        "frequent pvcs",
        "ventricular premature beats",
    ),
    "pac": _w(
        "beats",
        None,
        "atrial premature complexes",
        "pacs",
        "premature atrial contractions",
        "atrial extrasystoles",
        "atrial ectopy",
        "supraventricular extrasystoles",
    ),
    "premature_beats": _w(
        "beats",
        None,
        "premature complexes",
        "extrasystoles",
        "ectopic beats",
        "premature beats",
    ),
    "bigeminy": _w(
        "beats",
        None,
        "bigeminy",
        "bigeminal pattern",
        "bigeminal rhythm",
        "premature beats in bigeminy",
        "every second beat premature, bigeminy",
    ),
    "trigeminy": _w(
        "beats",
        None,
        "trigeminy",
        "trigeminal pattern",
        "trigeminal rhythm",
        "premature beats in trigeminy",
    ),
    "lbbb": _ecg(
        "CD",
        "left bundle branch block",
        "lbbb",
        "complete left bundle branch block",
        "complete lbbb",
        "left bundle-branch block",
        "wide qrs with left bundle branch block",
        "conduction disturbance, left bundle branch block",
        "lbbb pattern",
    ),
    "rbbb": _ecg(
        "CD",
        "right bundle branch block",
        "rbbb",
        "complete right bundle branch block",
        "complete rbbb",
        "right bundle-branch block",
        "rsr' in v1, right bundle branch block",
        "conduction disturbance, right bundle branch block",
    ),
    "irbbb": _ecg(
        "CD",
        "incomplete right bundle branch block",
        "irbbb",
        "incomplete rbbb",
        "incomplete right bundle-branch block",
        "minor conduction disturbance, incomplete right bundle branch block",
    ),
    "ilbbb": _ecg(
        "CD",
        "incomplete left bundle branch block",
        "ilbbb",
        "incomplete lbbb",
        "conduction disturbance, incomplete left bundle branch block",
    ),
    "lafb": _ecg(
        "CD",
        "left anterior fascicular block",
        "lafb",
        "left anterior hemiblock",
        "left anterior fascicle block",
        "lahb",
        "conduction disturbance, left anterior fascicular block",
    ),
    "lpfb": _ecg(
        "CD",
        "left posterior fascicular block",
        "lpfb",
        "left posterior hemiblock",
        "lphb",
        "conduction disturbance, left posterior fascicular block",
    ),
    "av_block_1": _ecg(
        "CD",
        "first degree av block",
        "1st degree av block",
        "av block i",
        "first-degree atrioventricular block",
        "prolonged pr interval, first degree av block",
        "av conduction disturbance, first degree av block",
    ),
    "av_block_2": _ecg(
        "CD",
        "second degree av block",
        "2nd degree av block",
        "av block ii",
        "second-degree atrioventricular block",
        "av conduction disturbance, second degree av block",
    ),
    "av_block_3": _ecg(
        "CD",
        "third degree av block",
        "complete heart block",
        "complete av block",
        "3rd degree av block",
        "av dissociation, conduction disturbance with third degree av block",
    ),
    "prolonged_pr": _ecg(
        None, "prolonged pr interval", "long pr", "pr prolongation", "prolonged pr"
    ),
    "ivcd": _ecg(
        "CD",
        "nonspecific intraventricular conduction delay",
        "ivcd",
        "intraventricular conduction disturbance",
        "intraventricular conduction block",
        "non-specific intraventricular conduction disturbance",
        "widened qrs, intraventricular conduction delay",
    ),
    "wpw": _ecg(
        "CD",
        "wolff-parkinson-white pattern",
        "wpw",
        "ventricular preexcitation",
        "delta waves, wolff-parkinson-white",
        "pre-excitation, conduction disturbance",
    ),
    "mi_anteroseptal": _infarct("anteroseptal"),
    "mi_anterior": _infarct("anterior"),
    "mi_anterolateral": _infarct("anterolateral"),
    "mi_lateral": _infarct("lateral"),
    "mi_inferior": _infarct("inferior"),
    "mi_inferolateral": _infarct("inferolateral"),
    "mi_inferoposterior": _infarct("inferoposterior"),
    "mi_inferoposterolateral": _infarct("inferoposterolateral"),
    "mi_posterior": _infarct("posterior"),
    "injury": _ecg(
        "MI",
        "subendocardial injury",
        "myocardial injury",
        "injury current",
        "acute injury, myocardial infarction pattern",
        "acute myocardial injury",
    ),
    "injury_anteroseptal": _injury("anteroseptal"),
    "injury_anterolateral": _injury("anterolateral"),
    "injury_lateral": _injury("lateral"),
    "injury_inferior": _injury("inferior"),
    "injury_inferolateral": _injury("inferolateral"),
    "ischemia": _ecg(
        "STTC",
        "myocardial ischemia",
        "ischemic st-t changes",
        "ischemia",
        "st-t changes suggesting ischemia",
        "ischaemic st changes",
        "st and t wave changes consistent with ischemia",
    ),
    "ischemia_anteroseptal": _ischemia("anteroseptal"),
    "ischemia_anterior": _ischemia("anterior"),
    "ischemia_anterolateral": _ischemia("anterolateral"),
    "ischemia_lateral": _ischemia("lateral"),
    "ischemia_inferior": _ischemia("inferior"),
    "ischemia_inferolateral": _ischemia("inferolateral"),
    "st_depression": _ecg(
        None,
        "st depression",
        "st segment depression",
        "depressed st segments",
        "downsloping st depression",
        "st-depression",
    ),
    "st_elevation": _ecg(
        None,
        "st elevation",
        "st segment elevation",
        "elevated st segments",
        "raised st segments",
        "st-elevation",
    ),
    "t_inversion": _ecg(
        None,
        "t wave inversion",
        "inverted t waves",
        "t inversion",
        "negative t waves",
        "twi",
    ),
    "t_flat": _ecg(
        None,
        "low amplitude t waves",
        "flat t waves",
        "flattened t waves",
        "t wave flattening",
        "low t waves",
    ),
    "t_abnormal": _ecg(
        None, "t wave abnormality", "abnormal t waves", "t wave changes", "t abnormality"
    ),
    "nonspecific_st": _ecg(
        "STTC",
        "nonspecific st abnormality",
        "non-specific st changes",
        "nonspecific st-t changes",
        "minor st changes",
        "unspecific st segment changes",
    ),
    "nonspecific_t": _ecg(
        "STTC",
        "nonspecific t wave abnormality",
        "non-specific t wave changes",
        "nonspecific t changes",
        "minor t wave changes",
        "unspecific t wave abnormalities",
    ),
    "nondiagnostic_t": _ecg(
        "STTC",
        "nondiagnostic t wave abnormality",
        "non-diagnostic t abnormalities",
        "st-t changes, non-diagnostic",
        "borderline t wave changes",
        "non-diagnostic st-t abnormality",
    ),
    "long_qt": _ecg(
        "STTC",
        "prolonged qt interval",
        "long qt",
        "qt prolongation",
        "prolonged qtc",
        "st-t changes with long qt interval",
    ),
    "digitalis_effect": _ecg(
        "STTC",
        "digitalis effect",
        "digoxin effect",
        "st-t changes due to digitalis",
        "scooped st segments, digitalis effect",
        "digitalis st changes",
    ),
    "electrolyte_or_drug": _ecg(
        "STTC",
        "st-t changes compatible with electrolyte abnormality or drug effect",
        "electrolyte or drug related st-t changes",
        "repolarisation changes from electrolyte disturbance or drugs",
        "st-t changes, electrolyte disturbance or drug effect",
    ),
    "aneurysm": _ecg(
        "STTC",
        "st-t changes compatible with ventricular aneurysm",
        "persistent st elevation, ventricular aneurysm",
        "ventricular aneurysm pattern, st-t changes",
        "st-t changes of left ventricular aneurysm",
    ),
    "lvh": _ecg(
        "HYP",
        "left ventricular hypertrophy",
        "lvh",
        "left ventricular hypertrophy by ecg criteria",
        "signs of lvh",
        "hypertrophy of the left ventricle",
        "lv hypertrophy",
        "left ventricular enlargement",
    ),
    "rvh": _ecg(
        "HYP",
        "right ventricular hypertrophy",
        "rvh",
        "hypertrophy of the right ventricle",
        "rv hypertrophy",
        "signs of rvh",
    ),
    "septal_hypertrophy": _ecg(
        "HYP",
        "septal hypertrophy",
        "hypertrophy of the septum",
        "septal wall hypertrophy",
        "interventricular septal hypertrophy",
    ),
    "lae": _ecg(
        "HYP",
        "left atrial enlargement",
        "lae",
        "left atrial overload",
        "p mitrale, left atrial hypertrophy",
        "enlarged left atrium",
        "left atrial abnormality",
    ),
    "rae": _ecg(
        "HYP",
        "right atrial enlargement",
        "rae",
        "right atrial overload",
        "p pulmonale, right atrial hypertrophy",
        "enlarged right atrium",
    ),
    "high_voltage": _ecg(
        None, "high qrs voltage", "high voltage", "tall qrs complexes", "increased qrs amplitude"
    ),
    "lvh_voltage": _ecg(
        None,
        "voltage criteria for left ventricular hypertrophy",
        "voltage criteria for lvh",
        "lvh by voltage",
        "meets voltage criteria for lvh",
        "left ventricular high voltage",
    ),
    "low_voltage": _ecg(
        None, "low qrs voltage", "low voltage", "small qrs complexes", "reduced qrs amplitude"
    ),
    "q_waves": _ecg(None, "abnormal q waves", "q waves", "pathological q waves", "q waves present"),
    "abnormal_qrs": _ecg(
        None, "abnormal qrs", "abnormal qrs complex", "qrs abnormality", "abnormal qrs morphology"
    ),
    "normal_axis": _w("axis", None, "normal axis", "normal qrs axis", "axis within normal limits"),
    "left_axis": _w(
        "axis",
        None,
        "left axis deviation",
        "lad",
        "leftward axis",
        "left axis",
        "axis deviated to the left",
    ),
    "right_axis": _w(
        "axis",
        None,
        "right axis deviation",
        "rightward axis",
        "right axis",
        "axis deviated to the right",
    ),
    "vertical_axis": _w("axis", None, "vertical axis", "steep axis", "vertical qrs axis"),
    "indeterminate_axis": _w(
        "axis", None, "indeterminate axis", "sagittal axis", "axis cannot be determined"
    ),
    "normal_ecg": _w(
        "summary",
        "NORM",
        "normal ecg",
        "ecg within normal limits",
        "normal tracing",
        "normal electrocardiogram",
        "unremarkable ecg",
        "ecg is normal",
    ),
    "abnormal_ecg": _w(
        "summary",
        None,
        "abnormal ecg",
        "abnormal tracing",
        "pathological ecg",
        "abnormal electrocardiogram",
        "ecg is abnormal",
    ),
    "lvef_normal": _echo(
        "normal left ventricular ejection fraction",
        "normal left ventricular systolic function",
        "preserved ejection fraction",
        "normal lvef",
        "preserved lv function",
        "normal ef",
    ),
    "lvef_mildly_reduced": _echo(
        "mildly reduced left ventricular ejection fraction",
        "mildly reduced left ventricular systolic function",
        "mildly reduced ejection fraction",
        "mildly depressed lvef",
        "mild lv systolic dysfunction",
        "mildly reduced ef",
    ),
    "lvef_moderately_reduced": _echo(
        "moderately reduced left ventricular ejection fraction",
        "moderately reduced left ventricular systolic function",
        "moderately reduced ejection fraction",
        "moderately depressed lvef",
        "moderate lv systolic dysfunction",
        "moderately reduced ef",
    ),
    "lvef_severely_reduced": _echo(
        "severely reduced left ventricular ejection fraction",
        "severely reduced left ventricular systolic function",
        "severely reduced ejection fraction",
        "severely depressed lvef",
        "severe lv systolic dysfunction",
        "poor lv function, severely reduced ef",
    ),
    "wall_thickness_normal": _echo(
        "normal left ventricular wall thickness",
        "normal wall thickness",
        "lv walls of normal thickness",
        "left ventricular wall thickness within normal limits",
        "normal lv wall thickness",
    ),
    "wall_severely_thick": _echo(
        "severely increased left ventricular wall thickness",
        "severe left ventricular hypertrophy",
        "severe lvh on echo",
        "severely thickened left ventricular walls",
        "severe concentric hypertrophy of the left ventricle",
        "severe lv wall thickening",
    ),
    "lv_size_normal": _echo(
        "normal left ventricular size",
        "normal lv size",
        "left ventricle of normal size",
        "normal left ventricular cavity size",
        "lv not dilated",
    ),
    "lv_dilated": _echo(
        "dilated left ventricle",
        "left ventricular dilatation",
        "lv dilatation",
        "enlarged left ventricle",
        "dilated lv cavity",
        "left ventricular cavity dilated",
    ),
}

SUPERCLASS_WORDS: dict[str, tuple[str, ...]] = {
    "NORM": ("normal ecg", "no abnormality", "normal tracing"),
    "MI": ("myocardial infarction", "mi", "infarction"),
    "STTC": ("st-t changes", "st/t wave changes", "repolarisation abnormality"),
    "CD": ("conduction disturbance", "conduction abnormality", "conduction defect"),
    "HYP": ("hypertrophy", "chamber hypertrophy", "hypertrophy or enlargement"),
}
"""Words for the five PTB-XL superclasses; the first is the plainest."""

FINDINGS: tuple[str, ...] = tuple(WORDING)
"""Every key that a report is composed of, in the order of a machine report."""

LVEF_LIMITS_PCT: tuple[tuple[float, str], ...] = (
    (50.0, "lvef_normal"),
    (41.0, "lvef_mildly_reduced"),
    (30.0, "lvef_moderately_reduced"),
    (-math.inf, "lvef_severely_reduced"),
)
"""Lowest LVEF in percent of each grade, best first, after Lang et al. (J Am Soc Echocardiogr
2015;28:1, table 4), with one rounded lower limit of normal for both sexes."""

SLVH_WALL_MM = 15.0
"""Walls from this thickness on are severely thick."""

DLV_LVEDD_MM = {"m": 58.0, "f": 52.0}
"""Above this end-diastolic diameter a left ventricle is dilated (Lang et al. 2015)."""


def lvef_grade(lvef_pct: float) -> str:
    """Return the ``lvef_*`` finding of an ejection fraction.

    Parameters
    ----------
    lvef_pct : float
        In percent.

    Raises
    ------
    ValueError
        If it is NaN.
    """
    for lowest_pct, key in LVEF_LIMITS_PCT:
        if lvef_pct >= lowest_pct:
            return key
    raise ValueError(f"LVEF must be a number, not {lvef_pct}")


def superclasses_of(findings: Sequence[str]) -> tuple[str, ...]:
    """Return the PTB-XL superclasses of findings, each once.

    Parameters
    ----------
    findings : sequence of str
        Keys of `FINDINGS`.

    Returns
    -------
    tuple of str
        In the order of `SUPERCLASS_WORDS`.
    """
    present = {WORDING[key].superclass for key in findings}
    return tuple(name for name in SUPERCLASS_WORDS if name in present)
