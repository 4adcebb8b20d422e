"""English report texts and labels from SCP-ECG statements, as PTB-XL carries them.

PTB-XL's own reports are German (and some Swedish); its SCP statements (Wagner et al. 2020,
Sci Data 7:154, Table 2 and ``scp_statements.csv``) say the same in 71 codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from echoing_core.reports.composing import compose_report
from echoing_core.reports.vocabulary import SUPERCLASS_WORDS, WORDING

SCP_FINDINGS: dict[str, str] = {
    "NDT": "nondiagnostic_t",
    "NST_": "nonspecific_st",
    "DIG": "digitalis_effect",
    "LNGQT": "long_qt",
    "NORM": "normal_ecg",
    "IMI": "mi_inferior",
    "ASMI": "mi_anteroseptal",
    "LVH": "lvh",
    "LAFB": "lafb",
    "ISC_": "ischemia",
    "IRBBB": "irbbb",
    "1AVB": "av_block_1",
    "IVCD": "ivcd",
    "ISCAL": "ischemia_anterolateral",
    "CRBBB": "rbbb",
    "CLBBB": "lbbb",
    "ILMI": "mi_inferolateral",
    "LAO/LAE": "lae",
    "AMI": "mi_anterior",
    "ALMI": "mi_anterolateral",
    "ISCIN": "ischemia_inferior",
    "INJAS": "injury_anteroseptal",
    "LMI": "mi_lateral",
    "ISCIL": "ischemia_inferolateral",
    "LPFB": "lpfb",
    "ISCAS": "ischemia_anteroseptal",
    "INJAL": "injury_anterolateral",
    "ISCLA": "ischemia_lateral",
    "RVH": "rvh",
    "ANEUR": "aneurysm",
    "RAO/RAE": "rae",
    "EL": "electrolyte_or_drug",
    "WPW": "wpw",
    "ILBBB": "ilbbb",
    "IPLMI": "mi_inferoposterolateral",
    "ISCAN": "ischemia_anterior",
    "IPMI": "mi_inferoposterior",
    "SEHYP": "septal_hypertrophy",
    "INJIN": "injury_inferior",
    "INJLA": "injury_lateral",
    "PMI": "mi_posterior",
    "3AVB": "av_block_3",
    "INJIL": "injury_inferolateral",
    "2AVB": "av_block_2",
    "ABQRS": "abnormal_qrs",
    "PVC": "pvc",
    "STD_": "st_depression",
    "VCLVH": "lvh_voltage",
    "QWAVE": "q_waves",
    "LOWT": "t_flat",
    "NT_": "nonspecific_t",
    "PAC": "pac",
    "LPR": "prolonged_pr",
    "INVT": "t_inversion",
    "LVOLT": "low_voltage",
    "HVOLT": "high_voltage",
    "TAB_": "t_abnormal",
    "STE_": "st_elevation",
    "PRC(S)": "premature_beats",
    "SR": "sinus_rhythm",
    "AFIB": "atrial_fibrillation",
    "STACH": "sinus_tachycardia",
    "SARRH": "sinus_arrhythmia",
    "SBRAD": "sinus_bradycardia",
    "PACE": "paced_rhythm",
    "SVARR": "sv_arrhythmia",
    "BIGU": "bigeminy",
    "AFLT": "atrial_flutter",
    "SVTAC": "svt",
    "PSVT": "psvt",
    "TRIGU": "trigeminy",
}
"""Finding of each of the 71 SCP codes of PTB-XL."""

HEART_AXIS_FINDINGS: dict[str, str] = {
    "MID": "normal_axis",
    "LAD": "left_axis",
    "ALAD": "left_axis",
    "RAD": "right_axis",
    "ARAD": "right_axis",
    "AXL": "left_axis",
    "AXR": "vertical_axis",
    "SAG": "indeterminate_axis",
}
"""Finding of each value of PTB-XL's column ``heart_axis``.

Checked against the QRS axis of the recordings: AXL lies near -36 degrees, AXR near 78.
"""

SUPERCLASS_CODES: dict[str, tuple[str, ...]] = {
    "NORM": ("NORM",),
    "MI": (
        *("IMI", "ASMI", "ILMI", "AMI", "ALMI", "LMI", "IPLMI", "IPMI", "PMI"),
        *("INJAS", "INJAL", "INJIN", "INJLA", "INJIL"),
    ),
    "STTC": (
        *("NDT", "NST_", "DIG", "LNGQT", "ANEUR", "EL"),
        *("ISC_", "ISCAL", "ISCIN", "ISCIL", "ISCAS", "ISCLA", "ISCAN"),
    ),
    "CD": (
        *("LAFB", "LPFB", "IRBBB", "CRBBB", "ILBBB", "CLBBB", "IVCD", "WPW"),
        *("1AVB", "2AVB", "3AVB"),
    ),
    "HYP": ("LVH", "RVH", "SEHYP", "LAO/LAE", "RAO/RAE"),
}
"""Diagnostic superclass -> SCP codes, as ``diagnostic_class`` of ``scp_statements.csv``."""

FINDING_CODES: dict[str, tuple[str, ...]] = {
    "normal_ecg": ("NORM",),
    "sinus_rhythm": ("SR", "SBRAD", "STACH", "SARRH"),
    "sinus_bradycardia": ("SBRAD",),
    "sinus_tachycardia": ("STACH",),
    "atrial_fibrillation": ("AFIB",),
    "atrial_flutter": ("AFLT",),
    "paced_rhythm": ("PACE",),
    "pvc": ("PVC",),
    "pac": ("PAC",),
    "lbbb": ("CLBBB",),
    "rbbb": ("CRBBB", "IRBBB"),
    "lafb": ("LAFB",),
    "av_block_1": ("1AVB", "LPR"),
    "infarction": SUPERCLASS_CODES["MI"],
    "mi_inferior": ("IMI", "ILMI", "IPMI", "IPLMI"),
    "mi_anterior": ("AMI", "ASMI", "ALMI"),
    "st_t": (*SUPERCLASS_CODES["STTC"], *("STD_", "STE_", "INVT", "LOWT", "NT_", "TAB_")),
    "ischemia": ("ISC_", "ISCAL", "ISCIN", "ISCIL", "ISCAS", "ISCLA", "ISCAN"),
    "long_qt": ("LNGQT",),
    "lvh": ("LVH", "VCLVH"),
    "lae": ("LAO/LAE",),
}
"""Finding that may be asked -> SCP codes any of which makes it true, whatever their likelihood.

The one truth of free questions: calibration and benchmarks take it from here."""

ABSENCE_SHARE = 0.3
"""Share of free texts that deny something."""

# Injury counts as infarction and long QT as ST-T change, as in the published table.
_CLASS_OF = {code: name for name, codes in SUPERCLASS_CODES.items() for code in codes}

# What a text may deny, and the codes that speak against denying it. Broader than the code of
# the finding itself: nobody writes "no lvh" under voltage criteria for it.
_DENIABLE: dict[str, frozenset[str]] = {
    "atrial_fibrillation": frozenset({"AFIB", "AFLT", "SVARR"}),
    "lbbb": frozenset({"CLBBB", "ILBBB", "IVCD", "PACE"}),
    "rbbb": frozenset({"CRBBB", "IRBBB", "IVCD", "PACE"}),
    "lvh": frozenset({"LVH", "VCLVH", "HVOLT", "SEHYP"}),
    "ischemia": frozenset({*SUPERCLASS_CODES["STTC"], *SUPERCLASS_CODES["MI"], "STD_", "STE_"}),
    "pvc": frozenset({"PVC", "BIGU", "TRIGU", "PRC(S)"}),
    "av_block_1": frozenset({"1AVB", "2AVB", "3AVB", "LPR"}),
}
# Stated likelihoods are 15, 35, 50, 80 and 100.
_DOUBTFUL_BELOW_PCT = 50.0


LABEL_GROUPS = ("sub_", "form_", "rhythm_")
"""How labels of these groups begin; those of the superclasses are plain names."""

# Reports are lower case throughout; a list for people is not.
_ABBREVIATIONS = re.compile(r"\b(av|ecg|pr|q|qrs|qt|st|t)\b")
# Of the subclasses of the PTB-XL benchmark that are no statement themselves.
_SUBCLASS_WORDS = {
    "AMI": "anterior or septal myocardial infarction",
    "IMI": "inferior myocardial infarction",
    "LMI": "lateral myocardial infarction",
    "ISCA": "anterior ischemia",
    "ISCI": "inferior ischemia",
    "LAFB/LPFB": "left fascicular block",
    "_AVB": "AV block",
    "STTC": "nondiagnostic ST-T changes",
}


def label_words(name: str) -> str | None:
    """What a label of PTB-XL (`datasets.ptbxl.LABEL_GROUPS`) says, in words.

    Parameters
    ----------
    name : str
        Without ``label_``: a superclass (``MI``), ``sub_IMI``, ``form_PVC``, ``rhythm_AFIB``, or a
        finding of the vocabulary.

    Returns
    -------
    str or None
        Beginning with a capital; None for a label that is none of these.
    """
    group, _, code = name.partition("_")
    words = SUPERCLASS_WORDS.get(name, ("",))[0]
    if name in WORDING:
        words = WORDING[name].machine
    if f"{group}_" in LABEL_GROUPS and code:
        finding = SCP_FINDINGS.get(code)
        stated = "" if finding is None else WORDING[finding].machine
        words = _SUBCLASS_WORDS.get(code, stated) if group == "sub" else stated
    words = _ABBREVIATIONS.sub(lambda found: found[0].upper(), words)
    return f"{words[0].upper()}{words[1:]}" if words else None


def superclasses_of_codes(codes: Mapping[str, float]) -> tuple[str, ...]:
    """Return the diagnostic superclasses of SCP codes, whatever their likelihoods.

    Any diagnostic code that is listed counts, also at likelihood 0, which PTB-XL uses for "not
    stated".

    Parameters
    ----------
    codes : mapping of str to float
        SCP code -> likelihood in percent; codes of form and rhythm belong to no superclass.

    Returns
    -------
    tuple of str
        In the order of `SUPERCLASS_CODES`.

    References
    ----------
    Strodthoff et al., IEEE J Biomed Health Inform 2021;25:1519: the rule of the PTB-XL benchmark.
    """
    present = {_CLASS_OF[code] for code in codes if code in _CLASS_OF}
    return tuple(name for name in SUPERCLASS_CODES if name in present)


def report_from_scp(
    codes: Mapping[str, float],
    heart_axis: str | None,
    rng: np.random.Generator,
    *,
    style: str,
) -> str:
    """Word the SCP statements of one ECG in English; other ``rng`` draws give other texts.

    Parameters
    ----------
    codes : mapping of str to float
        SCP code -> likelihood in percent. 0 means that none was stated; a stated likelihood
        under 50 % becomes "possible" in some texts.
    heart_axis : str or None
        PTB-XL's ``heart_axis``; anything that is not one of its values (NaN included) is
        left unsaid.
    rng : Generator
    style : {"machine", "free"}
        As in `compose_report`. Some free texts deny what the codes leave out.

    Returns
    -------
    str
        Lower case.

    Raises
    ------
    ValueError
        A code is not one of PTB-XL's 71, or there is none.
    """
    unknown = sorted(code for code in codes if code not in SCP_FINDINGS)
    if unknown or not codes:
        raise ValueError(f"SCP codes {unknown} are unknown" if unknown else "no SCP codes given")
    findings = [SCP_FINDINGS[code] for code in codes]
    axis = HEART_AXIS_FINDINGS.get(heart_axis) if isinstance(heart_axis, str) else None
    if axis is not None:
        findings.append(axis)
    # A cart ends with a conclusion; PTB-XL has a code only for the normal one.
    if style == "machine" and "NORM" not in codes and set(codes) != {"SR"}:
        findings.append("abnormal_ecg")
    absent: list[str] = []
    if style == "free" and rng.random() < ABSENCE_SHARE:
        options = [key for key, against in _DENIABLE.items() if against.isdisjoint(codes)]
        n_denied = min(len(options), int(rng.integers(1, 3)))
        absent = [str(key) for key in rng.permutation(options)[:n_denied]]
    return compose_report(
        findings,
        rng,
        style=style,
        absent=absent,
        doubtful=[
            SCP_FINDINGS[code] for code, pct in codes.items() if 0 < pct < _DOUBTFUL_BELOW_PCT
        ],
        superclasses=superclasses_of_codes(codes),
    )
