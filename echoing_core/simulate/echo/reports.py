"""What a simulated heart's echo report says, in ECHO-CLIP's manner: capitals, one finding a line.

Each sentence follows from the state but for the reader's error in the ejection fraction; which of
several wordings is used is drawn. Limits are those of the labels (`reading_ecg`): a wall of 15 mm
is severely thick, and a left ventricle above 58 mm (men) or 52 mm (women) is dilated.
"""

from __future__ import annotations

import numpy as np

from echoing_core.reports.vocabulary import DLV_LVEDD_MM, SLVH_WALL_MM, lvef_grade
from echoing_core.simulate.heart.state import HeartState

EF_SENTENCES = (
    "THE LEFT VENTRICULAR EJECTION FRACTION IS ESTIMATED TO BE {}%. ",
    "LV EJECTION FRACTION IS {}%. ",
)

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
_WALL_LIMITS_MM = ((SLVH_WALL_MM, "SEVERE"), (13.0, "MODERATE"), (11.0, "MILD"))
_SIZES = (
    (0.0, "THE LEFT VENTRICLE IS DILATED. ", "LEFT VENTRICULAR CAVITY SIZE IS INCREASED. "),
    (-18.0, "THE LEFT VENTRICLE IS NORMAL IN SIZE. ", "LEFT VENTRICULAR CAVITY SIZE IS NORMAL. "),
    (-99.0, "THE LEFT VENTRICLE IS SMALL. ", "LEFT VENTRICULAR CAVITY SIZE IS DECREASED. "),
)


READER_SD_POINTS = 3.0
"""Two readings of one echocardiogram differ by about this much, and reports tell one of them."""


def ejection_fraction_sentence(state: HeartState, rng: np.random.Generator) -> str:
    """Tell the ejection fraction in whole percent, as one reader would."""
    read_pct = state.lvef_pct + READER_SD_POINTS * rng.normal()
    return _one(EF_SENTENCES, rng).format(round(float(np.clip(read_pct, 1.0, 99.0))))


def echo_sentences(state: HeartState, rng: np.random.Generator) -> tuple[str, ...]:
    """Tell a heart's ejection fraction, function, walls and size: one sentence each or two."""
    grade = lvef_grade(state.lvef_pct)
    return (
        ejection_fraction_sentence(state, rng),
        _one((*(f.format(_GRADES[grade]) for f in _FUNCTION), _MOTION[grade]), rng),
        _wall_grade(state, rng),
        _one(
            (
                f"MAXIMAL WALL THICKNESS IS {round(state.wall_mm)} MM. ",
                f"INTERVENTRICULAR SEPTUM MEASURES {round(state.wall_mm)} MM. ",
            ),
            rng,
        ),
        _size(state, rng),
        f"LEFT VENTRICULAR END-DIASTOLIC DIAMETER IS {round(state.lvedd_mm)} MM. ",
    )


def echo_report(
    state: HeartState, rng: np.random.Generator, *, n_sentences: int | None = None
) -> str:
    """Compose a report of a simulated heart.

    Parameters
    ----------
    state : HeartState
    rng : numpy Generator
        Chooses the wording, the sentences and their order.
    n_sentences : int, optional
        How many of the sentences are told; without it, all.
    """
    sentences = echo_sentences(state, rng)
    told = len(sentences) if n_sentences is None else min(n_sentences, len(sentences))
    return "".join(sentences[int(i)] for i in rng.permutation(len(sentences))[:told])


def _wall_grade(state: HeartState, rng: np.random.Generator) -> str:
    for limit_mm, grade in _WALL_LIMITS_MM:
        if state.wall_mm >= limit_mm:
            return _one(
                (
                    f"THERE IS {grade} CONCENTRIC LEFT VENTRICULAR HYPERTROPHY. ",
                    f"LEFT VENTRICULAR WALL THICKNESS IS {grade}LY INCREASED. ",
                ),
                rng,
            )
    return _one(
        (
            "LEFT VENTRICULAR WALL THICKNESS IS NORMAL. ",
            "THERE IS NO LEFT VENTRICULAR HYPERTROPHY. ",
        ),
        rng,
    )


def _size(state: HeartState, rng: np.random.Generator) -> str:
    above_mm = state.lvedd_mm - DLV_LVEDD_MM[state.sex]
    for limit_mm, *wordings in _SIZES:
        if above_mm > limit_mm:
            return _one(tuple(wordings), rng)
    raise ValueError(f"LVEDD must be a number of millimetres, not {state.lvedd_mm}")


def _one(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]
