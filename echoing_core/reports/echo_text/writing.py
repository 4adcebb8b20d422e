"""Echo reports in ECHO-CLIP's manner: capitals, one finding a sentence.

Each sentence follows from a measured value; which of its wordings is used is drawn. The manner is
that of the report lines that ECHO-CLIP was trained on and is asked with (Christensen et al., Nat
Med 2024;30:1481).
"""

from __future__ import annotations

import numpy as np

from echoing_core.reports.vocabulary import DLV_LVEDD_MM, SLVH_WALL_MM, lvef_grade

EF_SENTENCES = (
    "THE LEFT VENTRICULAR EJECTION FRACTION IS ESTIMATED TO BE {}%. ",
    "LV EJECTION FRACTION IS {}%. ",
)
"""With a place for whole percent."""

_GRADES = {
    "lvef_normal": "NORMAL",
    "lvef_mildly_reduced": "MILDLY REDUCED",
    "lvef_moderately_reduced": "MODERATELY REDUCED",
    "lvef_severely_reduced": "SEVERELY REDUCED",
}
_FUNCTION = (
    "THE LEFT VENTRICULAR EJECTION FRACTION IS {}. ",
    "LEFT VENTRICULAR SYSTOLIC FUNCTION IS {}. ",
)
_MOTION = {
    "lvef_normal": "LEFT VENTRICULAR WALL MOTION IS NORMAL. ",
    "lvef_mildly_reduced": "THERE IS MILD GLOBAL HYPOKINESIS OF THE LEFT VENTRICLE. ",
    "lvef_moderately_reduced": "THERE IS MODERATE GLOBAL HYPOKINESIS OF THE LEFT VENTRICLE. ",
    "lvef_severely_reduced": "THERE IS SEVERE GLOBAL HYPOKINESIS OF THE LEFT VENTRICLE. ",
}
_HYPERTROPHY = (
    "THERE IS {} CONCENTRIC LEFT VENTRICULAR HYPERTROPHY. ",
    "LEFT VENTRICULAR WALL THICKNESS IS {}LY INCREASED. ",
)
_NO_HYPERTROPHY = (
    "LEFT VENTRICULAR WALL THICKNESS IS NORMAL. ",
    "THERE IS NO LEFT VENTRICULAR HYPERTROPHY. ",
)
_WALL_SENTENCES = (
    "MAXIMAL WALL THICKNESS IS {} MM. ",
    "INTERVENTRICULAR SEPTUM MEASURES {} MM. ",
)
# Thinnest wall of each grade, worst first.
_WALL_LIMITS_MM = ((SLVH_WALL_MM, "SEVERE"), (13.0, "MODERATE"), (11.0, "MILD"))
# End-diastolic diameter beyond the limit of dilation (`DLV_LVEDD_MM`) in mm, largest first.
_SIZES: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.0, ("THE LEFT VENTRICLE IS DILATED. ", "LEFT VENTRICULAR CAVITY SIZE IS INCREASED. ")),
    (
        -18.0,
        ("THE LEFT VENTRICLE IS NORMAL IN SIZE. ", "LEFT VENTRICULAR CAVITY SIZE IS NORMAL. "),
    ),
    (-99.0, ("THE LEFT VENTRICLE IS SMALL. ", "LEFT VENTRICULAR CAVITY SIZE IS DECREASED. ")),
)


def ejection_fraction_sentence(lvef_pct: float, rng: np.random.Generator) -> str:
    """State an ejection fraction in whole percent from 1 to 99.

    Parameters
    ----------
    lvef_pct : float
        In percent, as it was read.
    rng : numpy Generator
        Chooses the wording.
    """
    return _one(EF_SENTENCES, rng).format(round(float(np.clip(lvef_pct, 1.0, 99.0))))


def function_sentence(lvef_pct: float, rng: np.random.Generator) -> str:
    """State the grade of systolic function, or of wall motion.

    Parameters
    ----------
    lvef_pct : float
        Ejection fraction in percent, whose grade (`lvef_grade`) is stated.
    rng : numpy Generator
        Chooses the wording.
    """
    grade = lvef_grade(lvef_pct)
    return _one((*(text.format(_GRADES[grade]) for text in _FUNCTION), _MOTION[grade]), rng)


def wall_sentences(wall_mm: float, rng: np.random.Generator) -> tuple[str, str]:
    """State the grade of hypertrophy, and the thickness.

    Parameters
    ----------
    wall_mm : float
        Thickest wall in mm.
    rng : numpy Generator
        Chooses the wordings.
    """
    wordings: tuple[str, ...] = _NO_HYPERTROPHY
    for limit_mm, grade in _WALL_LIMITS_MM:
        if wall_mm >= limit_mm:
            wordings = tuple(text.format(grade) for text in _HYPERTROPHY)
            break
    return _one(wordings, rng), _one(_WALL_SENTENCES, rng).format(round(wall_mm))


def size_sentences(lvedd_mm: float, sex: str, rng: np.random.Generator) -> tuple[str, str]:
    """State the size of the left ventricle, and its diameter.

    Parameters
    ----------
    lvedd_mm : float
        End-diastolic diameter in mm.
    sex : {"m", "f"}
        The limit of dilation is that of the sex.
    rng : numpy Generator
        Chooses the wording.

    Raises
    ------
    ValueError
        If the diameter is NaN.
    """
    beyond_mm = lvedd_mm - DLV_LVEDD_MM[sex]
    for limit_mm, wordings in _SIZES:
        if beyond_mm > limit_mm:
            diameter = f"LEFT VENTRICULAR END-DIASTOLIC DIAMETER IS {round(lvedd_mm)} MM. "
            return _one(wordings, rng), diameter
    raise ValueError(f"LVEDD must be a number of millimetres, not {lvedd_mm}")


def _one(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]
